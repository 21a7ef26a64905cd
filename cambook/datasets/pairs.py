"""Scenes with two labelled objects, one left of the other or above it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from cambook.datasets.scenes import Layout, Scenes

PAIR_LAYOUT = Layout(object_side=(0.34, 0.5), clutter=2, clutter_side=(0.12, 0.22))
ARRANGEMENTS = ("left of", "above")


class Pairs(Scenes):
    """Scenes with two labelled objects of different categories, one left of the other or above it.

    A batch's masks are (B, 2, S, S) and its boxes (2, 4), the first object's first; the two do not overlap.

    Args:
        split, size, length, seed, layout: as for `Scenes`.
        first: the categories that the first object is drawn from, by default all 12.
        second: those of the second object.

    Raises:
        ValueError: as `Scenes`; for an unknown category, or if the two leave no pair of different ones.

    Attributes:
        categories: all 12 names; `first` and `second` are positions in them.
        first: (N,) int64, the category of the first object.
        second: (N,) int64, that of the second.
        arrangement: (N,) int64, 0 if the first is left of the second, 1 if it is above (ARRANGEMENTS).
        labels: (N,) int64, the second object's category as its position in `classes`, the names of `second`. With one
            category as the first, a label says with which object something is done, as an action does.

    Example:
        >>> pairs = Pairs("test", 64, 24, first=["bird"])
        >>> {pairs.categories[c] for c in pairs.first}, pairs.batch([0]).boxes[0].shape
        ({'bird'}, (2, 4))
    """

    labelled = 2

    def __init__(
        self,
        split: str,
        size: int,
        length: int | None = None,
        seed: int = 0,
        first: Sequence[str] | None = None,
        second: Sequence[str] | None = None,
        layout: Layout = PAIR_LAYOUT,
    ):
        super().__init__(split, size, length, seed, layout=layout)
        self.categories = self.classes
        for name in [*(first or ()), *(second or ())]:
            if name not in self.categories:
                raise ValueError(f"category {name!r} is unknown: scenes have {', '.join(self.categories)}.")
        self.classes = list(second or self.categories)
        chosen = [[self.categories.index(name) for name in names or self.categories] for names in (first, second)]
        pairs = [(a, b) for a in chosen[0] for b in chosen[1] if a != b]
        if not pairs:
            raise ValueError(f"first={first} and second={second} leave no two different categories: widen one.")
        self.name = f"pairs of {', '.join(first or ['any'])} and {', '.join(second or ['any'])}"
        self._pairs = np.array(pairs)

    @cached_property
    def first(self) -> np.ndarray:
        """(N,) int64: the category of the first object."""
        return self._shown(np.arange(self.length))[:, 0]

    @cached_property
    def second(self) -> np.ndarray:
        """(N,) int64: the category of the second object."""
        return self._shown(np.arange(self.length))[:, 1]

    @cached_property
    def arrangement(self) -> np.ndarray:
        """(N,) int64: an index into ARRANGEMENTS."""
        return self._arrangement(np.arange(self.length))

    def _arrangement(self, indices: np.ndarray) -> np.ndarray:
        return (self._stream("arrangement", indices, 1)[:, 0] * len(ARRANGEMENTS)).astype(np.int64)

    def _shown(self, indices: np.ndarray) -> np.ndarray:
        order = self._stream("pairs", indices // len(self._pairs), len(self._pairs)).argsort(1)
        return self._pairs[order[np.arange(len(indices)), indices % len(self._pairs)]]

    def _labels(self, indices: np.ndarray) -> np.ndarray:
        position = np.array([self.classes.index(c) if c in self.classes else -1 for c in self.categories])
        return position[self._shown(indices)[:, 1]]

    def _windows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        corner, room = super()._windows(indices)
        axis, rows = self._arrangement(indices), np.arange(len(indices))
        room[rows, -2, axis] = room[rows, -1, axis] = 0.5
        corner[rows, -1, axis] = 0.5
        return corner, room
