"""The progress bar of everything below the notebooks: tqdm's, or a silent one where tqdm is not installed.

A rented GPU often has torch, torchvision and NumPy and no way to get more; a bar is no reason not to train there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

try:
    from tqdm.auto import tqdm
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


__all__ = ["tqdm"]
