"""Histograms of the scores of pixels, inside and outside of objects, in one compiled pass."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def add_to_histograms(count, edges, scores, inside, counted):
    """One more in count[inside, i] for each counted score with edges[i] <= score < edges[i + 1]; all are flat."""
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
