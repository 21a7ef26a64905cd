"""Networks by name: `build` makes one, each returns logits and feature maps.

Every module of this folder is imported, so a new file that calls `register(Spec(...))` is all that a network needs.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from cambook.networks.acol import ACoL, branch, with_branches
from cambook.networks.base import (
    IGNORED,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MINI_SIZE,
    HiddenLayerNetwork,
    Layers,
    Network,
    NetworkInNetwork,
    PooledNetwork,
    count_parameters,
    fine_tuned_copy,
    misfit,
)
from cambook.networks.building import HEADS, build, imagenet_classes, on_backbone
from cambook.networks.lite0 import Lite0Backbone
from cambook.networks.registry import (
    KNOWN,
    Spec,
    Weights,
    check_name,
    cuts,
    models_of,
    names,
    register,
    register_family,
    spec,
)
from cambook.networks.small import MINI_HIDDEN, mini_backbone, mini_pooled
from cambook.networks.states import load_weights
from cambook.networks.surgery import cut

for found in iter_modules(__path__):
    import_module(f"{__name__}.{found.name}")

__all__ = [
    "ACoL",
    "HEADS",
    "HiddenLayerNetwork",
    "IGNORED",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "KNOWN",
    "Layers",
    "Lite0Backbone",
    "MINI_HIDDEN",
    "MINI_SIZE",
    "Network",
    "NetworkInNetwork",
    "PooledNetwork",
    "Spec",
    "Weights",
    "branch",
    "build",
    "check_name",
    "count_parameters",
    "cut",
    "cuts",
    "fine_tuned_copy",
    "imagenet_classes",
    "load_weights",
    "mini_backbone",
    "mini_pooled",
    "misfit",
    "models_of",
    "names",
    "on_backbone",
    "register",
    "register_family",
    "spec",
    "with_branches",
]
