"""Histograms of the scores of pixels, inside and outside of objects, in one compiled pass."""

from __future__ import annotations

import numpy as np

from cambook.machine import compiled


@compiled
def add_to_histograms(
    count: np.ndarray, edges: np.ndarray, scores: np.ndarray, inside: np.ndarray, counted: np.ndarray
) -> None:
    """Adds pixels to two histograms of their scores: outside and inside of an object.

    Args:
        count: (2, bins) int64, changed: one more in count[inside, i] for edges[i] <= score < edges[i + 1].
        edges: (bins + 1,), rising, about evenly spaced from 0, the last one infinite.
        scores: (pixels,) float64, 0 to 1.
        inside: (pixels,) bool.
        counted: (pixels,) bool; the others are passed over.

    Example:
        >>> count, edges = np.zeros((2, 2), np.int64), np.array([0.0, 0.5, np.inf])
        >>> add_to_histograms(count, edges, np.array([0.2, 0.7, 0.9]), np.array([False, True, True]), np.ones(3, bool))
        >>> count.tolist()
        [[1, 0], [0, 2]]
    """
    for n in range(len(scores)):
        if not counted[n]:
            continue
        score = scores[n]
        i = min(int(score * (len(edges) - 2)), len(edges) - 2)
        while score < edges[i]:
            i -= 1
        while score >= edges[i + 1]:
            i += 1
        count[int(inside[n]), i] += 1
