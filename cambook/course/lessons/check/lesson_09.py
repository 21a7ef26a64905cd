"""Lesson 09: how localization is evaluated."""

from __future__ import annotations

import numpy as np

from cambook.course.lessons.check.exercise import exercise
from cambook.course.lessons.check.task import task


def _ious(g, *shape):
    """IoUs on a grid of tenths, so that exactly 0.5 occurs."""
    ious = g.integers(0, 11, shape) / 10
    ious[0] = 0.5
    return ious


@exercise(
    "BoxAcc in percent at every threshold: ious[n, t] is the IoU of image n's box at threshold t, right from 0.5 on",
    inputs=lambda g: [(_ious(g, 8, 5),), (_ious(g, 5, 9),), (_ious(g, 20, 3),)],
    hints=[
        "ious >= 0.5 says which box is right: an array of True and False, (N, T).",
        "The mean over the images (axis 0) leaves one number for each threshold.",
        "100 * (ious >= 0.5).mean(0)",
    ],
)
def box_acc(ious):
    return 100 * (ious >= 0.5).mean(0)


@box_acc.mistake("you averaged over the thresholds; one number for each threshold is asked for, so average over axis 0")
def over_thresholds(ious):
    return 100 * (ious >= 0.5).mean(1)


@box_acc.mistake("you averaged the IoU itself; count the images with at least 0.5")
def mean_iou(ious):
    return 100 * ious.mean(0)


@box_acc.mistake("you left out an IoU of exactly 0.5; at least 0.5 includes it")
def strict(ious):
    return 100 * (ious > 0.5).mean(0)


@box_acc.mistake("this is the best threshold only (MaxBoxAcc); give the whole curve")
def best_only(ious):
    return 100 * (ious >= 0.5).mean(0).max()


@box_acc.mistake("this is a share between 0 and 1; give percent")
def share(ious):
    return (ious >= 0.5).mean(0)


def _hits(g, *shape):
    """Hits at three IoUs: a box that is right at a higher IoU is right at the lower ones."""
    quality = g.random(shape)
    return np.stack([quality >= bar for bar in (0.3, 0.55, 0.8)])


@exercise(
    "MaxBoxAccV2 in percent from hits (D, N, T): is one of image n's boxes right at threshold t, at the d-th IoU?",
    inputs=lambda g: [(_hits(g, 9, 6),), (_hits(g, 6, 11),), (_hits(g, 25, 4),)],
    hints=[
        "For each IoU there is a curve: hits.mean(1), (D, T) numbers.",
        "Each IoU chooses its own best threshold: the maximum over the last axis, then the mean of the D numbers.",
        "100 * hits.mean(1).max(1).mean()",
    ],
)
def max_box_acc_v2(hits):
    return 100 * hits.mean(1).max(1).mean()


@max_box_acc_v2.mistake("you took one threshold for all IoUs; each IoU chooses its own: maximum first, then the mean")
def one_threshold(hits):
    return 100 * hits.mean(1).mean(0).max()


@max_box_acc_v2.mistake("each image chose its own threshold; one threshold must serve the whole set")
def own_threshold(hits):
    return 100 * hits.any(2).mean()


@max_box_acc_v2.mistake("you took the best IoU; take the mean over the IoUs")
def best_iou(hits):
    return 100 * hits.mean(1).max()


@max_box_acc_v2.mistake("you averaged over the thresholds; take the best one for each IoU")
def average_threshold(hits):
    return 100 * hits.mean()


@max_box_acc_v2.mistake("this is a share between 0 and 1; give percent")
def as_share(hits):
    return hits.mean(1).max(1).mean()


@exercise(
    "PxAP in percent from counts of pixels, highest score first: inside[t] lie in an object, outside[t] do not",
    inputs=lambda g: [(g.integers(1, 30, t)[::-1].copy(), g.integers(1, 60, t)) for t in (4, 7, 12)],
    hints=[
        "Lowering the threshold to position t finds all pixels of positions 0 to t: np.cumsum.",
        "precision = found inside / all found; recall = found inside / all inside.",
        "Each step adds its precision times what recall gained: np.diff(recall, prepend=0).",
    ],
)
def pxap(inside, outside):
    found = np.cumsum(inside)
    precision = found / (found + np.cumsum(outside))
    recall = found / found[-1]
    return 100 * (precision * np.diff(recall, prepend=0)).sum()


@pxap.mistake(
    "you took the precision of each position alone; a lower threshold keeps what the higher ones found (cumsum)"
)
def not_cumulated(inside, outside):
    return 100 * (inside / (inside + outside) * inside / inside.sum()).sum()


@pxap.mistake("you averaged the precisions; each counts as much as recall gained at its step")
def mean_precision(inside, outside):
    found = np.cumsum(inside)
    return 100 * (found / (found + np.cumsum(outside))).mean()


TRAPEZOIDS = (
    "you added up trapezoids, which mix the precisions of two neighbouring steps; each step adds its own precision "
    "times what recall gained"
)


def _trapezoids(inside, outside, *first):
    """The area by trapezoids, from recall 0 with the precision `first` if that is given."""
    found = np.cumsum(inside)
    precision = np.array([*first, *found / (found + np.cumsum(outside))])
    recall = np.array([*[0 for _ in first], *found / found[-1]])
    return 100 * ((precision[1:] + precision[:-1]) / 2 * np.diff(recall)).sum()


@pxap.mistake(TRAPEZOIDS)
def trapezoids_from_the_first_step(inside, outside):
    return _trapezoids(inside, outside)


@pxap.mistake(TRAPEZOIDS)
def trapezoids_from_precision_one(inside, outside):
    return _trapezoids(inside, outside, 1)


@pxap.mistake(TRAPEZOIDS)
def trapezoids_from_the_first_precision(inside, outside):
    return _trapezoids(inside, outside, inside[0] / (inside[0] + outside[0]))


@pxap.mistake(TRAPEZOIDS)
def trapezoids_from_precision_zero(inside, outside):
    return _trapezoids(inside, outside, 0)


@pxap.mistake("you went from the lowest score up; the highest scores come first")
def from_below(inside, outside):
    return pxap.reference(inside[::-1], outside[::-1])


@pxap.mistake("you forgot what the first threshold gained; recall starts from 0 (prepend=0)")
def first_step_lost(inside, outside):
    found = np.cumsum(inside)
    precision = found / (found + np.cumsum(outside))
    return 100 * (precision[1:] * np.diff(found / found[-1])).sum()


@pxap.mistake("this is a share between 0 and 1; give percent")
def pxap_share(inside, outside):
    return pxap.reference(inside, outside) / 100


@exercise(
    "BoxAcc in percent on the test images, at the threshold that is best on the boxed ones (the first, if several "
    "are): both are hits (images, T)",
    inputs=lambda g: [
        (g.random((m, t)) < g.random(t) * 0.8 + 0.1, g.random((n, t)) < g.random(t) * 0.8 + 0.1)
        for m, n, t in ((9, 12, 7), (5, 20, 11), (14, 9, 6), (6, 8, 9))
    ],
    hints=[
        "Choose with boxed alone: boxed.mean(0).argmax() is a column.",
        "Report with test alone: 100 * test[:, column].mean().",
    ],
)
def threshold_transfer(boxed, test):
    return 100 * test[:, boxed.mean(0).argmax()].mean()


@threshold_transfer.mistake(
    "you chose the threshold on the test images; that is MaxBoxAcc, choose it on the boxed ones"
)
def tuned_on_test(boxed, test):
    return 100 * test.mean(0).max()


@threshold_transfer.mistake("several thresholds are equally good, and you took the last of them; take the first")
def last_of_equals(boxed, test):
    rates = boxed.mean(0)
    return 100 * test[:, np.flatnonzero(rates == rates.max())[-1]].mean()


@threshold_transfer.mistake("several thresholds are equally good, and you averaged over them; take the first")
def mean_of_equals(boxed, test):
    rates = boxed.mean(0)
    return 100 * test[:, rates == rates.max()].mean()


@threshold_transfer.mistake("this is the accuracy on the images that tuned the threshold; report it on the test ones")
def apparent(boxed, test):
    return 100 * boxed.mean(0).max()


@threshold_transfer.mistake("you tuned on both sets together; the test images may have no say")
def tuned_on_both(boxed, test):
    return 100 * test[:, np.concatenate([boxed, test]).mean(0).argmax()].mean()


@threshold_transfer.mistake("this is a share between 0 and 1; give percent")
def transfer_share(boxed, test):
    return test[:, boxed.mean(0).argmax()].mean()


def mean_overlap(ious):
    return 100 * np.asarray(ious).mean()


@task(
    "a metric of your own, in percent, from the IoU of each image's box (N,): more than right or wrong at one bar",
    hints=[
        "BoxAcc forgets how much better than 0.5 a box is. What should a tight box earn, what a rough one?",
        "Several bars, a sum of bars, a curve over the IoU: all of them are answers. Nothing may ever fall when an IoU "
        "rises.",
        "100 * np.mean([(ious >= bar).mean() for bar in (0.3, 0.5, 0.7)]) uses three bars.",
    ],
    example=mean_overlap,
)
def own_metric(function):
    def value(ious):
        return float(function(np.array(ious, dtype=float)))

    ious = np.random.default_rng(3).random(40)
    values = [value(ious), value(np.zeros(6)), value(np.ones(6))]
    if not np.isfinite(values).all():
        yield f"it gives {values[0]:g}; a metric is a number"
    if abs(values[1]) > 1e-9:
        yield f"boxes that all miss (IoU 0) should earn 0 and earn {values[1]:g}"
    if abs(values[2] - 100) > 1e-6:
        yield f"boxes that are all exact (IoU 1) should earn 100 percent and earn {values[2]:g}"
    if abs(value(ious[::-1]) - values[0]) > 1e-9:
        yield "the order of the images changes it"
    if abs(value(np.concatenate([ious, ious])) - values[0]) > 1e-6:
        yield "the same images twice change it; it should not depend on how many there are, so take a mean"
    better = np.minimum(ious + np.random.default_rng(4).random(40) / 3, 1)
    steps = [value(ious + share * (better - ious)) for share in np.linspace(0, 1, 11)]
    single = [value([0.3] * 7 + [last]) for last in np.linspace(0, 1, 11)]
    if min(*np.diff(steps), *np.diff(single)) < -1e-9:
        yield "it falls although no IoU falls and some rise"
    if not value(np.full(8, 0.95)) > value(np.full(8, 0.55)) + 1e-9:
        yield "IoU 0.55 and IoU 0.95 earn the same, as in BoxAcc; let a tight box earn more"
    if not value(np.full(8, 0.45)) > value(np.full(8, 0.1)) + 1e-9:
        yield "IoU 0.1 and IoU 0.45 earn the same; let a tighter box earn more below 0.5, too"
    if not value([0.9, 0.9, 0.9, 0.1]) > value([0.9, 0.1, 0.1, 0.1]) + 1e-9:
        yield "three good boxes of four earn no more than one of four; every image should count"
    ninth = [value([0.55] * 8 + [last]) for last in (0.1, 0.55, 0.95)]
    if not min(np.diff(ninth)) > 1e-9:
        yield (
            "of nine boxes eight have IoU 0.55, and a better or worse ninth does not always change your metric (nor "
            "would it change a median); every image should count, the best and the worst, too"
        )


@own_metric.wrong
def at_one_half(ious):
    return 100 * (ious >= 0.5).mean()


@own_metric.wrong
def a_share(ious):
    return ious.mean()


@own_metric.wrong
def a_sum(ious):
    return 100 * ious.sum() / 6


@own_metric.wrong
def the_best(ious):
    return 100 * ious.max()


@own_metric.wrong
def against_the_spread(ious):
    return 100 * ious.mean() - 100 * ious.std()


@own_metric.wrong
def median(ious):
    return 100 * np.median(ious)


@own_metric.wrong
def better_half(ious):
    return 100 * np.sort(ious)[len(ious) // 2 :].mean()


@own_metric.wrong
def worse_half(ious):
    return 100 * np.sort(ious)[: (len(ious) + 1) // 2].mean()


@own_metric.wrong
def nothing_below_one_half(ious):
    return 100 * np.where(ious >= 0.5, ious, 0).mean()


@own_metric.wrong
def the_first(ious):
    return 100 * ious[0]
