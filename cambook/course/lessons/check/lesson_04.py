"""Lesson 04: how localization is counted, and a control of your own."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise
from cambook.course.lessons.check.task import task
from cambook.maps.arrays import as_array
from cambook.metrics.box_accuracy import BoxAccuracy
from cambook.metrics.grid import boxes_on_grid, count_boxes, maps_on_grid


def _ious(g, count):
    """IoUs on a grid of tenths, so that exactly 0.5 occurs."""
    ious = g.integers(0, 11, count) / 10
    ious[:2] = 0.5
    return ious


def _answers(g):
    result = []
    for count in (12, 7, 25):
        labels = g.integers(0, 3, count)
        predicted = np.where(g.random(count) < 0.6, labels, g.integers(0, 3, count))
        predicted[0], predicted[1] = labels[0], (labels[1] + 1) % 3
        result.append((labels, predicted, _ious(g, count)))
    return result


@exercise(
    "Top-1 Loc in percent: the class is right and the box has IoU of at least 0.5",
    inputs=_answers,
    hints=[
        "Two conditions for each image: predicted == labels, and ious >= 0.5.",
        "& joins two boolean arrays; their mean is the share of True.",
        "100 * ((predicted == labels) & (ious >= 0.5)).mean()",
    ],
)
def top1_loc(labels, predicted, ious):
    return 100 * ((predicted == labels) & (ious >= 0.5)).mean()


@top1_loc.mistake("you looked at the box only; that is near GT-known, Top-1 Loc also asks for the class")
def box_only(labels, predicted, ious):
    return 100 * (ious >= 0.5).mean()


@top1_loc.mistake("you looked at the class only; the box must have IoU of at least 0.5 too")
def class_only(labels, predicted, ious):
    return 100 * (predicted == labels).mean()


@top1_loc.mistake("this is the error; the accuracy is 100 minus it")
def error(labels, predicted, ious):
    return 100 - top1_loc.reference(labels, predicted, ious)


@top1_loc.mistake("you left out an IoU of exactly 0.5; at least 0.5 includes it")
def strict(labels, predicted, ious):
    return 100 * ((predicted == labels) & (ious > 0.5)).mean()


@top1_loc.mistake("you counted only among images of the right class; divide by all images")
def among_right(labels, predicted, ious):
    return 100 * (ious >= 0.5)[predicted == labels].mean()


@top1_loc.mistake("this is a share between 0 and 1; give percent")
def share(labels, predicted, ious):
    return top1_loc.reference(labels, predicted, ious) / 100


@exercise(
    "GT-known in percent: ious[i, c] is the IoU of image i's box from the map of class c; take the map of "
    "the TRUE class",
    inputs=lambda g: [
        (g.integers(0, classes, count), _ious(g, count * classes).reshape(count, classes))
        for count, classes in ((10, 3), (7, 7), (23, 5))
    ],
    hints=[
        "One IoU for each image: that of the column of its label.",
        "ious[np.arange(len(labels)), labels] picks one entry a row.",
    ],
)
def gt_known(labels, ious):
    return 100 * (ious[np.arange(len(labels)), labels] >= 0.5).mean()


@gt_known.mistake("you took the best box of any class; GT-known takes the map of the true class only")
def any_class(labels, ious):
    return 100 * (ious.max(1) >= 0.5).mean()


@gt_known.mistake(
    "ious[:, labels] takes the columns of ALL labels from every row; ious[np.arange(len(labels)), labels] takes one "
    "entry per row"
)
def all_columns(labels, ious):
    return 100 * (ious[:, labels] >= 0.5).mean()


@gt_known.mistake("you averaged over the maps of all classes; take that of the true class only")
def all_classes(labels, ious):
    return 100 * (ious >= 0.5).mean()


@gt_known.mistake("you averaged the IoU itself; count the images with at least 0.5")
def mean_iou(labels, ious):
    return 100 * ious[np.arange(len(labels)), labels].mean()


@gt_known.mistake("you left out an IoU of exactly 0.5; at least 0.5 includes it")
def strictly(labels, ious):
    return 100 * (ious[np.arange(len(labels)), labels] > 0.5).mean()


@exercise(
    "MaxBoxAcc in percent from hits (N, T): is image n's box right at threshold t? One threshold for the whole set",
    inputs=lambda g: [(g.random((12, 9)) < 0.4,), (g.random((7, 20)) < 0.3,), (g.random((30, 5)) < 0.6,)],
    hints=[
        "First the accuracy at each threshold: the mean over the images, (T,) numbers.",
        "Then the best of them.",
        "100 * hits.mean(0).max()",
    ],
)
def max_box_acc(hits):
    return 100 * hits.mean(0).max()


@max_box_acc.mistake("each image chose its own best threshold; one threshold must serve the whole set")
def own_threshold(hits):
    return 100 * hits.any(1).mean()


@max_box_acc.mistake("you averaged over the thresholds; take the best one")
def average_threshold(hits):
    return 100 * hits.mean()


@max_box_acc.mistake("this is the best image; average over images (axis 0) and take the maximum over thresholds")
def best_picture(hits):
    return 100 * hits.mean(1).max()


@max_box_acc.mistake("this is a share between 0 and 1; give percent")
def as_share(hits):
    return hits.mean(0).max()


_BLIND = 45  # percent of the boxes, about ten points below the course's spot


@cache
def _true_boxes():
    from cambook import datasets

    return boxes_on_grid(datasets.load("scenes", "test", 64, length=200).batch(range(200)).boxes, 64)


def _blind_accuracy(map2d):
    """MaxBoxAcc, in percent, of one map (h, w) for every image of the scenes' test set."""
    counted, maps = BoxAccuracy(), maps_on_grid(torch.from_numpy(map2d)[None, None].float())
    truth = _true_boxes()
    count_boxes(np.repeat(maps, len(truth), 0), truth, counted)
    return counted.max_box_acc()[0]


def _cone(size):
    rows, columns = np.mgrid[:size, :size] / (size - 1) - 0.5
    return np.clip(1 - 2 * np.hypot(rows, columns), 0, 1)


def _is_round_gaussian(map2d):
    """Whether a map (n, n) is a Gaussian in its middle, of any width, up to a factor and a constant."""
    n = len(map2d)
    for middle in ((n - 1) / 2, n / 2):
        rows, columns = np.mgrid[:n, :n] - middle
        for spread in np.geomspace(0.05, 0.7, 90) * n:  # each 3% wider than the one before
            bell = np.exp(-(rows**2 + columns**2) / (2 * spread**2))
            if np.corrcoef(bell.ravel(), map2d.ravel())[0, 1] > 0.999:
                return True
    return False


@task(
    f"one map (size, size) for every image, blind to all of them and not a Gaussian, whose box is right for {_BLIND}% "
    "of the objects",
    hints=[
        "Where in these images would you look if your eyes were closed? And how large is a box that fits most objects?",
        "A map that falls from the middle to the rim gives a centred box at every threshold; MaxBoxAcc picks the best.",
        "A rectangle works, too: ones in the middle, zeros elsewhere. Its side decides.",
    ],
    example=_cone,
)
def blind_map(function):
    first, again = (as_array(function(64), np.float64) for _ in range(2))
    if first.shape != (64, 64):
        yield f"give one map of shape (size, size); for size = 64 yours has the shape {first.shape}"
        return
    if not np.isfinite(first).all():
        yield "the map has a value that is not a finite number"
        return
    if not np.array_equal(first, again):
        yield "called twice, it gives two different maps; a control is one and the same map for every image"
    if np.ptp(first) == 0:
        yield "the map is the same everywhere, so no threshold cuts a box out of it; let it be higher somewhere"
        return
    if _is_round_gaussian(first):
        yield "that is a round Gaussian, like the lesson's blurred spot; give the map another shape"
    if (right := _blind_accuracy(first)) < _BLIND:
        yield f"at its best threshold its box is right for {right:.0f}% of the objects; {_BLIND}% is the aim"
    if as_array(function(32)).shape != (32, 32):
        yield "asked for size = 32 it does not give a map of shape (32, 32): use the argument"


@blind_map.wrong
def everywhere(size):
    return np.ones((size, size))


@blind_map.wrong
def in_a_corner(size):
    rows, columns = np.mgrid[:size, :size]
    return np.exp(-(rows**2 + columns**2) / size**2)


@blind_map.wrong
def the_blurred_spot(size):
    rows, columns = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    return np.exp(-(rows**2 + columns**2) / (2 * 0.25**2))


@blind_map.wrong
def too_narrow(size):
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    return (np.hypot(rows, columns) < size / 8).astype(float)


@blind_map.wrong
def noise(size):
    return np.random.default_rng().random((size, size))


@blind_map.wrong
def one_size(size):
    return _cone(64)


@blind_map.wrong
def as_a_row(size):
    return _cone(size).ravel()
