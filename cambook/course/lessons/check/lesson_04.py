"""Lesson 04: how localization is counted."""

from __future__ import annotations

import numpy as np

from cambook.course.lessons.check.exercise import exercise


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
