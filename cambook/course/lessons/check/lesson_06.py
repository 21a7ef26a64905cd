"""Lesson 06: occlusion by hand, the deletion score, rank correlation, the units of a class."""

from __future__ import annotations

import numpy as np

from cambook.course.lessons.check.exercise import exercise, normal


@exercise(
    "the occlusion map of an image of size by size pixels. covered[i, j] is the score with a square of `side` pixels "
    "over rows i to i + side - 1, columns j to j + side - 1; a pixel gets the mean fall over the squares that cover it",
    inputs=lambda g: [
        (float(g.normal()), g.standard_normal((size - side + 1,) * 2), side, size)
        for side, size in ((1, 3), (2, 4), (3, 6))
    ],
    hints=[
        "The fall of square (i, j) is score - covered[i, j]: positive if what is covered was needed.",
        "Two arrays of zeros (size, size): add the fall to total[i:i + side, j:j + side] and 1 to count there.",
        "The map is total / count.",
    ],
)
def occlusion_map(score, covered, side, size):
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for i in range(len(covered)):
        for j in range(len(covered)):
            total[i : i + side, j : j + side] += score - covered[i, j]
            count[i : i + side, j : j + side] += 1
    return total / count


@occlusion_map.mistake("the sign is turned: a position that is needed makes the score fall, so take score - covered")
def rise(score, covered, side, size):
    return -occlusion_map.reference(score, covered, side, size)


@occlusion_map.mistake("you summed over the squares that cover a pixel; there are more in the middle: take the mean")
def total_only(score, covered, side, size):
    total = np.zeros((size, size))
    for i, j in np.ndindex(*covered.shape):
        total[i : i + side, j : j + side] += score - covered[i, j]
    return total


@occlusion_map.mistake("this is the mean score of the covered images; take how much it fell from the whole image's")
def no_fall(score, covered, side, size):
    return score - occlusion_map.reference(score, covered, side, size)


@occlusion_map.mistake("you gave each fall to the square's first pixel only; every pixel under it counts")
def corner_only(score, covered, side, size):
    result = np.zeros((size, size))
    result[: len(covered), : len(covered)] = score - covered
    return result


@exercise(
    "the deletion score: the area under probabilities (steps + 1,), evenly spaced from 0 (nothing deleted) to 1 (all "
    "deleted), by trapezoids",
    inputs=lambda g: [(np.sort(g.random(count))[::-1].copy(),) for count in (2, 5, 11)],
    hints=[
        "Between two neighbouring points the area is their mean times the step's width.",
        "The width is 1 / steps, and there are len(probabilities) - 1 steps.",
        "((p[1:] + p[:-1]) / 2).mean()",
    ],
)
def deletion_score(probabilities):
    return ((probabilities[1:] + probabilities[:-1]) / 2).mean()


@deletion_score.mistake("this is the plain mean of the points; the two at the ends have only half a step each")
def plain_mean(probabilities):
    return probabilities.mean()


@deletion_score.mistake("the width of a step is missing: the curve runs from 0 to 1, not from 0 to the number of steps")
def unit_steps(probabilities):
    return ((probabilities[1:] + probabilities[:-1]) / 2).sum()


@deletion_score.mistake("you took the higher end of each step; a trapezoid takes the mean of both ends")
def upper_sum(probabilities):
    return probabilities[:-1].mean()


@deletion_score.mistake("this is the area above the curve; low is good here because it is the area below")
def area_above(probabilities):
    return 1 - deletion_score.reference(probabilities)


def _pairs_of_maps(g):
    """Of the same order in part, and of nearly the reverse order; the cube keeps the order and changes the values."""
    pairs = []
    for sign, shape in ((1, (2, 3)), (-1, (3, 4)), (-1, (5, 5))):
        a = g.standard_normal(shape)
        pairs.append((a**3, sign * a + g.standard_normal(shape)))
    return pairs


@exercise(
    "Spearman's rank correlation of two maps (h, w) without equal values: the Pearson correlation of their ranks",
    inputs=_pairs_of_maps,
    hints=[
        "Flatten first. x.argsort().argsort() gives the rank of each value.",
        "np.corrcoef(ranks_a, ranks_b)[0, 1] is the correlation of two rows of numbers.",
    ],
)
def spearman(a, b):
    ranks_a, ranks_b = a.ravel().argsort().argsort(), b.ravel().argsort().argsort()
    return np.corrcoef(ranks_a, ranks_b)[0, 1]


@spearman.mistake("this is the correlation of the values; take that of their ranks, so that only the order counts")
def of_values(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@spearman.mistake("one argsort gives the positions in order, not the rank of each position: apply argsort twice")
def one_argsort(a, b):
    return np.corrcoef(a.ravel().argsort(), b.ravel().argsort())[0, 1]


@spearman.mistake("you took the size without the sign; a reversed map must give -1")
def without_sign(a, b):
    return abs(spearman.reference(a, b))


@exercise(
    "the indices of the n units that count most for class c, largest weight first. weight is (C, K), one row a class",
    inputs=lambda g: [(normal(g, 5, 5), 3, 2), (normal(g, 4, 9), 0, 3), (normal(g, 12, 20), 11, 5)],
    hints=["weight[c] is the row of class c: w_k^c for all k.", "weight[c].topk(n).indices"],
)
def unit_ranking(weight, c, n):
    return weight[c].topk(n).indices


@unit_ranking.mistake("these are the smallest weights; the units that raise the class most come first")
def lowest(weight, c, n):
    return weight[c].topk(n, largest=False).indices


@unit_ranking.mistake("you ranked by size without sign; a large negative weight counts against the class")
def by_size(weight, c, n):
    return weight[c].abs().topk(n).indices


@unit_ranking.mistake("you gave the weights; give the indices of the units")
def the_weights(weight, c, n):
    return weight[c].topk(n).values


@unit_ranking.mistake("you ranked by the mean over all classes; take the row of class c")
def of_all_classes(weight, c, n):
    return weight.mean(0).topk(n).indices
