"""The progress bar of everything below the notebooks: tqdm's, or a silent one where tqdm is not installed.

A rented GPU often has torch, torchvision and NumPy and no way to get more; a bar is no reason not to train there.
In a notebook that `runs.execute` started, nobody sees the kernel's bars, so each also says how far it is in a file of
the run's folder, from which the bar of the run takes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cambook.paths import RUN_DIR

FILE = "progress"

try:
    from tqdm.auto import tqdm as _tqdm

    class tqdm(_tqdm):
        """tqdm's bar, which in a run's kernel also writes `training mini-gap 12/625` to the run's folder."""

        def display(self, *args, **options):
            if (folder := os.environ.get(RUN_DIR)) and not self.disable:
                with suppress(OSError):  # a full disk is no reason to stop a training
                    Path(folder, FILE).write_text(f"{self.desc} {self.n}/{self.total}", encoding="utf-8")
            return super().display(*args, **options)

        def close(self):
            if (folder := os.environ.get(RUN_DIR)) and not self.disable:
                with suppress(OSError):
                    Path(folder, FILE).unlink()
            super().close()

except ModuleNotFoundError:

    class tqdm:
        """As much of tqdm as training and evaluation call, without a word."""

        def __init__(self, iterable: Iterable = (), **options):
            self._iterable = iterable

        def __iter__(self) -> Iterator:
            return iter(self._iterable)

        def __enter__(self) -> tqdm:
            return self

        def __exit__(self, *error) -> None:
            pass

        def update(self, n: int = 1) -> None:
            pass

        def set_postfix(self, **values) -> None:
            pass


def inside(folder: str | os.PathLike) -> str:
    """What the kernel of a run is at, such as `training mini-gap 12/625`; empty where it says nothing."""
    try:
        return Path(folder, FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # not begun, just ended, or half written
        return ""


__all__ = ["tqdm", "inside"]
