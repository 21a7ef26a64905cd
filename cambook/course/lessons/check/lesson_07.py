"""Lesson 07: labels that are guessed or wrong, seeds from a map, and how masks are scored."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal


@exercise(
    "places and classes of the pictures whose likeliest class has at least this probability",
    inputs=lambda g: [(3 * normal(g, n, c), t) for n, c, t in ((12, 3, 0.8), (20, 5, 0.6), (9, 4, 0.9))],
    hints=[
        "The softmax makes probabilities of logits; the likeliest class and its probability: .max(1).",
        "torch.nonzero(condition)[:, 0] gives the places where it is True.",
        "probability, guess = logits.softmax(1).max(1); sure = torch.nonzero(probability >= confidence)[:, 0]",
    ],
)
def sure_labels(logits, confidence):
    probability, guess = logits.softmax(1).max(1)
    sure = torch.nonzero(probability >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("you compared logits with the confidence; take the softmax first")
def raw_logits(logits, confidence):
    score, guess = logits.max(1)
    sure = torch.nonzero(score >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("you kept every picture; keep those that reach the confidence")
def all_of_them(logits, confidence):
    return torch.arange(len(logits)), logits.argmax(1)


@sure_labels.mistake("you kept the pictures of which the network is NOT sure")
def unsure(logits, confidence):
    probability, guess = logits.softmax(1).max(1)
    left = torch.nonzero(probability < confidence)[:, 0]
    return left, guess[left]


@sure_labels.mistake("the softmax runs over the classes (dim 1), not over the pictures")
def over_the_pictures(logits, confidence):
    probability, guess = logits.softmax(0).max(1)
    sure = torch.nonzero(probability >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("give the classes of the sure pictures only, as many as there are places")
def every_guess(logits, confidence):
    return sure_labels.reference(logits, confidence)[0], logits.argmax(1)


def _noise(g):
    result = []
    for count, classes in ((15, 4), (9, 3), (30, 12)):
        labels, moves = g.integers(0, classes, count), g.integers(1, classes, count)
        wrong = g.random(count) < 0.4
        labels[0], moves[0], wrong[0], wrong[1] = classes - 1, 1, True, False
        result.append((labels, wrong, moves, classes))
    return result


@exercise(
    "labels in which the marked ones become ANOTHER class: moves says by how many classes, from 1 to classes - 1",
    inputs=_noise,
    hints=[
        "A label that moves on by 1 to classes - 1 places, round in a circle, never lands on itself.",
        "% classes closes the circle; np.where(wrong, a, b) takes a where wrong is True, else b.",
        "np.where(wrong, (labels + moves) % classes, labels)",
    ],
)
def flipped_labels(labels, wrong, moves, classes):
    return np.where(wrong, (labels + moves) % classes, labels)


@flipped_labels.mistake("a label ran past the last class; % classes closes the circle")
def past_the_end(labels, wrong, moves, classes):
    return np.where(wrong, labels + moves, labels)


@flipped_labels.mistake("you changed every label; change those marked wrong only")
def every_label(labels, wrong, moves, classes):
    return (labels + moves) % classes


@flipped_labels.mistake("you changed the labels that should stay")
def the_others(labels, wrong, moves, classes):
    return np.where(wrong, labels, (labels + moves) % classes)


@flipped_labels.mistake(
    "moves says how far a label goes, not where to: as a class of its own it could be the right one again"
)
def as_classes(labels, wrong, moves, classes):
    return np.where(wrong, moves, labels)


@exercise(
    "seeds (h, w) of a map: 1 where it is at least `foreground` of its maximum, 0 where it is at most `background` "
    "of it, -100 between",
    inputs=lambda g: [
        (normal(g, *shape) + 0.5, *levels)
        for shape, levels in (((5, 5), (0.6, 0.2)), ((4, 7), (0.4, 0.1)), ((8, 3), (0.5, 0.3)))
    ],
    hints=[
        "Divide the map by its maximum; a negative place is then below every background threshold.",
        "Start with torch.full(map2d.shape, -100) and fill in the ones and the zeros.",
        "value = map2d / map2d.max(); result[value >= foreground] = 1; result[value <= background] = 0",
    ],
)
def cam_seeds(map2d, foreground, background):
    value = map2d / map2d.max()
    result = torch.full(map2d.shape, -100)
    result[value >= foreground] = 1
    result[value <= background] = 0
    return result


@cam_seeds.mistake("the thresholds are shares of the map's maximum; divide by it first")
def undivided(map2d, foreground, background):
    result = torch.full(map2d.shape, -100)
    result[map2d >= foreground] = 1
    result[map2d <= background] = 0
    return result


@cam_seeds.mistake("you shifted the minimum to 0; here a place below 0 is background whatever its size")
def stretched(map2d, foreground, background):
    return cam_seeds.reference(map2d - map2d.min(), foreground, background)


@cam_seeds.mistake("what is not sure must be ignored (-100), not background")
def no_doubt(map2d, foreground, background):
    return (map2d / map2d.max() >= foreground).long()


@cam_seeds.mistake("you exchanged object (1) and background (0)")
def exchanged(map2d, foreground, background):
    right = cam_seeds.reference(map2d, foreground, background)
    return torch.where(right == -100, right, 1 - right)


def _masks(g):
    result = []
    for count, side in ((3, 6), (2, 9), (4, 5)):
        truth = g.random((count, side, side)) < g.random((count, 1, 1))
        found = truth ^ (g.random(truth.shape) < 0.3 * g.random((count, 1, 1)))
        result.append((found, truth))
    return result


@exercise(
    "mean IoU in percent of masks (N, H, W) bool: IoU of the object and IoU of the background over all pixels of the "
    "set, then their mean",
    inputs=_masks,
    hints=[
        "IoU of the object: pixels True in both, divided by pixels True in either; & and | and .sum().",
        "The background is the same with ~found and ~truth.",
        "Sum over ALL pictures before you divide.",
    ],
)
def mean_iou(found, truth):
    of_object = (found & truth).sum() / (found | truth).sum()
    of_background = (~found & ~truth).sum() / (~found | ~truth).sum()
    return 100 * (of_object + of_background) / 2


@mean_iou.mistake("this is the IoU of the object alone; the background counts as a class too")
def object_only(found, truth):
    return 100 * (found & truth).sum() / (found | truth).sum()


@mean_iou.mistake("this is the share of right pixels; it is high wherever the background is large")
def pixel_accuracy(found, truth):
    return 100 * (found == truth).mean()


@mean_iou.mistake("you averaged over pictures; add up the pixels of the whole set before you divide")
def picture_by_picture(found, truth):
    return np.mean([mean_iou.reference(a, b) for a, b in zip(found, truth, strict=True)])


@mean_iou.mistake("you divided by both areas added up (half of the Dice score); the shared pixels count once")
def added_areas(found, truth):
    of_object = (found & truth).sum() / (found.sum() + truth.sum())
    of_background = (~found & ~truth).sum() / ((~found).sum() + (~truth).sum())
    return 100 * (of_object + of_background) / 2


@mean_iou.mistake("this is a share between 0 and 1; give percent")
def unit_share(found, truth):
    return mean_iou.reference(found, truth) / 100
