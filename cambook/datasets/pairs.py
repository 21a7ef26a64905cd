"""Scenes with two objects, for questions about where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from cambook.datasets.scenes import Layout, Scenes

PAIR_LAYOUT = Layout(object_side=(0.34, 0.5), clutter=2, clutter_side=(0.12, 0.22))
ARRANGEMENTS = ("left of", "above")


class Pairs(Scenes):
    """Scenes with two labelled objects of different categories, the first left of the second or above it.

    first, second: the categories that the first and the second object are drawn from, by default all 12
    split, size, length, seed, layout: as for Scenes
    raises: as Scenes; ValueError for an unknown category, or where the two leave no pair of different ones

    categories:    all 12 names; first, second and masks count in them
    first, second: (N,) int64, the categories of the two objects
    arrangement:   (N,) int64, 0 where the first is left of the second, 1 where it is above (ARRANGEMENTS)
    labels:        (N,) int64, the second object's category as its place in `classes`, the names of `second`: with one
                   category as the first, what is done with which object, as an action is
    A batch's masks are (B, 2, S, S) and its boxes (2, 4), the first object's first; the two do not overlap.
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
        return self._shown(np.arange(self.length))[:, 0]

    @cached_property
    def second(self) -> np.ndarray:
        return self._shown(np.arange(self.length))[:, 1]

    @cached_property
    def arrangement(self) -> np.ndarray:
        return self._arrangement(np.arange(self.length))

    def _arrangement(self, indices: np.ndarray) -> np.ndarray:
        return (self._stream("arrangement", indices, 1)[:, 0] * len(ARRANGEMENTS)).astype(np.int64)

    def _shown(self, indices: np.ndarray) -> np.ndarray:
        order = self._stream("pairs", indices // len(self._pairs), len(self._pairs)).argsort(1)
        return self._pairs[order[np.arange(len(indices)), indices % len(self._pairs)]]

    def _labels(self, indices: np.ndarray) -> np.ndarray:
        place = np.array([self.classes.index(c) if c in self.classes else -1 for c in self.categories])
        return place[self._shown(indices)[:, 1]]

    def _windows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        corner, room = super()._windows(indices)
        axis, rows = self._arrangement(indices), np.arange(len(indices))
        room[rows, -2, axis] = room[rows, -1, axis] = 0.5
        corner[rows, -1, axis] = 0.5
        return corner, room
