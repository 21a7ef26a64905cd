"""Lesson 07: labels that are guessed or wrong, seeds from a map, and how masks are scored."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal


def _logits(g):
    """With images of which several classes reach the confidence, and with images that reach it exactly."""
    result = [(3 * normal(g, n, c), t) for n, c, t in ((12, 3, 0.8), (20, 5, 0.6), (9, 4, 0.9))]
    exact = normal(g, 5, 3)
    exact[1], exact[3] = torch.tensor([0.0, 100, 0]), torch.tensor([0.0, 0, 100])  # a probability of 1, to the last bit
    return [*result, (normal(g, 6, 3), 0.3), (exact, 1.0)]


@exercise(
    "row numbers and classes of the images whose most likely class has at least this probability",
    inputs=_logits,
    hints=[
        "The softmax makes probabilities of logits; the most likely class and its probability: .max(1).",
        "torch.nonzero(condition)[:, 0] gives the row numbers where it is True.",
        "probability, guess = logits.softmax(1).max(1); sure = torch.nonzero(probability >= confidence)[:, 0]",
    ],
)
def sure_labels(logits, confidence):
    probability, guess = logits.softmax(1).max(1)
    sure = torch.nonzero(probability >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("a probability of exactly the confidence is enough: at least means >=, not >")
def more_than(logits, confidence):
    probability, guess = logits.softmax(1).max(1)
    sure = torch.nonzero(probability > confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake(
    "you took every class that reaches the confidence; an image gets one label at most, its most likely class"
)
def every_class(logits, confidence):
    sure = torch.nonzero(logits.softmax(1) >= confidence)
    return sure[:, 0], sure[:, 1]


@sure_labels.mistake("you compared logits with the confidence; take the softmax first")
def raw_logits(logits, confidence):
    score, guess = logits.max(1)
    sure = torch.nonzero(score >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("you kept every image; keep those that reach the confidence")
def all_of_them(logits, confidence):
    return torch.arange(len(logits)), logits.argmax(1)


@sure_labels.mistake("you kept the images of which the network is NOT sure")
def unsure(logits, confidence):
    probability, guess = logits.softmax(1).max(1)
    left = torch.nonzero(probability < confidence)[:, 0]
    return left, guess[left]


@sure_labels.mistake("the softmax runs over the classes (axis 1), not over the images")
def over_the_pictures(logits, confidence):
    probability, guess = logits.softmax(0).max(1)
    sure = torch.nonzero(probability >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("give the classes of the sure images only, as many as there are row numbers")
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
        "A label that moves on by 1 to classes - 1, round in a circle, never lands on itself.",
        "% classes closes the circle; np.where(wrong, a, b) takes a where wrong is True, else b.",
        "np.where(wrong, (labels + moves) % classes, labels)",
    ],
)
def flipped_labels(labels, wrong, moves, classes):
    return np.where(wrong, (labels + moves) % classes, labels)


@flipped_labels.mistake(
    "the result is right, but labels[wrong] = ... also changes the labels that were passed in; begin with "
    "labels = labels.copy(), or use np.where"
)
def flipped_in_place(labels, wrong, moves, classes):
    labels[wrong] = (labels + moves)[wrong] % classes
    return labels


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


def _maps_and_levels(g):
    """With a map that reaches both thresholds exactly, and whose minimum is larger in size than its maximum."""
    levels = (((5, 5), (0.6, 0.2)), ((4, 7), (0.4, 0.1)), ((8, 3), (0.5, 0.3)))
    result = [(normal(g, *shape) + 0.5, *shares) for shape, shares in levels]
    exact = torch.tensor([[4.0, 2, 1, 3], [1.5, -10, 2, 0], [1, 2.5, 0.5, 4]], dtype=torch.float64)
    return [*result, (exact, 0.5, 0.25)]


@exercise(
    "seeds (h, w) of a map: 1 where it is at least `foreground` of its maximum, 0 where it is at most `background` "
    "of it, -100 between",
    inputs=_maps_and_levels,
    hints=[
        "Divide the map by its maximum; a negative position is then below every background threshold.",
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


def _seeds(value, object_here, background_here):
    result = torch.full(value.shape, -100)
    result[object_here] = 1
    result[background_here] = 0
    return result


@cam_seeds.mistake("a position exactly at a threshold is a seed too: at least is >=, at most is <=")
def strict_seeds(map2d, foreground, background):
    value = map2d / map2d.max()
    return _seeds(value, value > foreground, value < background)


@cam_seeds.mistake("a position exactly at the foreground threshold is object: at least is >=, not >")
def strict_foreground(map2d, foreground, background):
    value = map2d / map2d.max()
    return _seeds(value, value > foreground, value <= background)


@cam_seeds.mistake("a position exactly at the background threshold is background: at most is <=, not <")
def strict_background(map2d, foreground, background):
    value = map2d / map2d.max()
    return _seeds(value, value >= foreground, value < background)


@cam_seeds.mistake(
    "you divided by the largest |value|, which can be that of a very negative position; divide by the map's maximum"
)
def largest_size(map2d, foreground, background):
    value = map2d / map2d.abs().max()
    return _seeds(value, value >= foreground, value <= background)


@cam_seeds.mistake(
    "you took the absolute values first, so a very negative position passes for object; divide the map as it is by its "
    "maximum"
)
def without_sign(map2d, foreground, background):
    return cam_seeds.reference(map2d.abs(), foreground, background)


@cam_seeds.mistake("you shifted the minimum to 0; here a position below 0 is background whatever its size")
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
        "Sum over ALL images before you divide.",
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


@mean_iou.mistake("you averaged over images; add up the pixels of the whole set before you divide")
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
