"""cambook: Class Activation Mapping, derived, built and measured.

The ten names of a first session can be had from here, and each package below by its name: `cambook.maps`,
`cambook.networks`, `cambook.datasets`, `cambook.training`, `cambook.metrics`. What is named here is imported when it
is first used, so that importing the package itself takes no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from cambook.machine import keep_memory

if TYPE_CHECKING:
    from cambook.datasets import load
    from cambook.maps import box_from_map, box_iou, class_activation_map, grad_cam, normalize, upsample
    from cambook.metrics import evaluate
    from cambook.networks import build
    from cambook.training import trained

__version__ = "0.1.0"
__all__ = [
    "box_from_map",
    "box_iou",
    "build",
    "class_activation_map",
    "evaluate",
    "grad_cam",
    "load",
    "normalize",
    "trained",
    "upsample",
]

_ROOM_OF = {
    "box_from_map": "maps",
    "box_iou": "maps",
    "build": "networks",
    "class_activation_map": "maps",
    "evaluate": "metrics",
    "grad_cam": "maps",
    "load": "datasets",
    "normalize": "maps",
    "trained": "training",
    "upsample": "maps",
}
_ROOMS = ("cli", "course", "datasets", "files", "localize", "machine", "maps", "metrics", "networks", "training")

keep_memory()  # before the first large tensor of any program that uses the package


def __getattr__(name: str) -> object:
    """One of the ten names, or a package, imported when it is first used."""
    if name in _ROOMS:
        return importlib.import_module(f"cambook.{name}")
    if name in _ROOM_OF:
        globals()[name] = getattr(importlib.import_module(f"cambook.{_ROOM_OF[name]}"), name)
        return globals()[name]
    import difflib

    near = difflib.get_close_matches(name, [*_ROOM_OF, *_ROOMS], n=1)
    hint = f", did you mean {near[0]}?" if near else f"; it has {', '.join([*_ROOM_OF, *_ROOMS])}."
    raise AttributeError(f"cambook has no {name!r}{hint}")


def __dir__() -> list[str]:
    """All that can be had from the package, imported or not."""
    return sorted({*globals(), *__all__, *_ROOMS})
