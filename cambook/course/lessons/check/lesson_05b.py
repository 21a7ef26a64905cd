"""Lesson 05b: how a map catches a network that looks at the background."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task
from cambook.maps.arrays import as_array


def _map_and_mask(g, h, w):
    map2d = normal(g, h, w) + 0.3
    mask = torch.zeros(h, w, dtype=torch.bool)
    mask[h // 4 : h // 2 + 1, w // 4 : w // 2 + 2] = True
    return map2d, mask


@exercise(
    "the percentage of the positive map (h, w) that lies on the object, mask (h, w); 0 if nothing is positive",
    inputs=lambda g: [
        _map_and_mask(g, 8, 8),
        _map_and_mask(g, 5, 9),
        _map_and_mask(g, 12, 6),
        (-normal(g, 4, 4).abs(), torch.ones(4, 4, dtype=torch.bool)),
    ],
    hints=[
        "First cut the map off at zero: what lowers the score does not count.",
        "Then divide the sum over the object by the sum over the whole image, and look out for a sum of zero.",
        "positive = map2d.relu(); 100 * positive[mask].sum() / positive.sum(), if positive.sum() > 0.",
    ],
)
def share_on_object(map2d, mask):
    positive = map2d.relu()
    total = positive.sum()
    return 100 * positive[mask].sum() / total if total > 0 else 0.0


@share_on_object.mistake("negative positions must not count: cut the map off at zero before you add it up")
def not_cut(map2d, mask):
    return 100 * map2d[mask].sum() / map2d.sum()


@share_on_object.mistake("this is a fraction; give percent")
def fraction(map2d, mask):
    return share_on_object.reference(map2d, mask) / 100


@share_on_object.mistake(
    "you divided by the object's pixels: that is a mean; divide by the sum of the whole positive map"
)
def mean_on_object(map2d, mask):
    return 100 * map2d.relu()[mask].mean()


@share_on_object.mistake("you counted positive pixels; add up the map's values, so that bright positions count more")
def pixels_counted(map2d, mask):
    positive = map2d > 0
    return 100 * (positive & mask).sum() / positive.sum().clamp(min=1)


@share_on_object.mistake("this is the part of the OBJECT that is positive; asked is the part of the MAP on the object")
def recall(map2d, mask):
    return 100 * (map2d[mask] > 0).double().mean()


@share_on_object.mistake("a map without a positive value gives 0 / 0, which is NaN: return 0 then")
def nan_if_nothing(map2d, mask):
    positive = map2d.relu()
    return 100 * positive[mask].sum() / positive.sum()


@exercise(
    "how many points accuracy falls when backgrounds are mixed, class by class: (C,) in points",
    inputs=lambda g: [
        (g.integers(0, 3, 30), g.integers(0, 3, 30), g.integers(0, 3, 30), 3),
        (np.arange(40) % 4, g.integers(0, 4, 40), np.arange(40)[::-1] % 4, 4),
    ],
    hints=[
        "labels, on_their_own (predictions on the biased test set) and mixed (on any background) have N entries each.",
        "For class c, look only at the images whose label is c: labels == c.",
        "100 * ((on_their_own == c)[labels == c].mean() - (mixed == c)[labels == c].mean()) for each c",
    ],
)
def fall_per_class(labels, on_their_own, mixed, classes):
    right, still = on_their_own == labels, mixed == labels
    return np.array([100 * (right[labels == c].mean() - still[labels == c].mean()) for c in range(classes)])


@fall_per_class.mistake("the sign is reversed: a loss of accuracy is a positive fall")
def reversed_sign(labels, on_their_own, mixed, classes):
    return -fall_per_class.reference(labels, on_their_own, mixed, classes)


@fall_per_class.mistake("you divided by all images; a class is judged on its own images alone")
def over_all_images(labels, on_their_own, mixed, classes):
    right, still = on_their_own == labels, mixed == labels
    return np.array([100 * ((right & (labels == c)).mean() - (still & (labels == c)).mean()) for c in range(classes)])


@fall_per_class.mistake("these are fractions; give points, that is, percent minus percent")
def as_fraction(labels, on_their_own, mixed, classes):
    return fall_per_class.reference(labels, on_their_own, mixed, classes) / 100


@fall_per_class.mistake("you grouped by what was predicted; group by the true label")
def by_prediction(labels, on_their_own, mixed, classes):
    right, still = on_their_own == labels, mixed == labels
    rows = [(right[on_their_own == c], still[mixed == c]) for c in range(classes)]
    return np.array([100 * (a.mean() - b.mean()) if len(a) and len(b) else np.nan for a, b in rows])


def _in_the_rim(map2d):
    positive = np.clip(as_array(map2d, np.float64), 0, None)
    height, width = positive.shape
    middle = positive[height // 4 : height - height // 4, width // 4 : width - width // 4].sum()
    return 1 - middle / positive.sum() if positive.sum() > 0 else 0.0


def _spot(row, column, side=16):
    rows, columns = np.mgrid[:side, :side]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)


@task(
    "an alarm without masks: a number for one map (h, w), higher the further the map lies from the middle",
    hints=[
        "No mask is at hand, but objects tend to be in the middle. What can you measure with the map alone?",
        "The share of the positive map that lies outside a window in the middle, or the mean distance from the middle.",
        "Divide by the sum of the map, so that a map twice as bright is not twice as suspicious; 0 if the sum is 0.",
    ],
    example=_in_the_rim,
)
def map_alarm(function):
    def alarm(map2d):
        return float(as_array(function(torch.from_numpy(map2d)), np.float64).reshape(()))

    middle, corner, ring = _spot(7.5, 7.5), _spot(1, 1), _spot(7.5, 7.5, 16) < 0.02
    try:
        values = [alarm(each) for each in (middle, corner, ring.astype(float), np.zeros((16, 16)))]
    except (TypeError, ValueError):
        yield "give one number for a map (h, w)"
        return
    if not np.isfinite(values[:3]).all():
        yield "it gives no finite number for a map that lies in the middle, in a corner, or around an object"
        return
    if not values[1] > values[0]:
        yield "a spot in the corner must get a higher number than the same spot in the middle"
    if not values[2] > values[0]:
        yield "a map around the middle must get a higher number than one on it: the mean position is not enough"
    if not np.isclose(alarm(10 * corner), values[1]):
        yield "a map ten times as bright must get the same number: divide by the sum of the map, or by its maximum"
    if not np.isfinite(values[3]):
        yield "for a map that is zero everywhere it gives no finite number; give 0"
    if not np.isfinite(alarm(np.ones((5, 9)))):
        yield "for a map of another size it gives no finite number"


@map_alarm.wrong
def brightness_at_the_rim(map2d):
    return map2d[0].sum() + map2d[-1].sum() + map2d[:, 0].sum() + map2d[:, -1].sum()


@map_alarm.wrong
def share_in_the_middle(map2d):
    return map2d[4:-4, 4:-4].sum() / map2d.sum()


@map_alarm.wrong
def centre_of_mass(map2d):
    rows, columns = np.mgrid[: map2d.shape[0], : map2d.shape[1]]
    total = max(float(map2d.sum()), 1e-12)
    row, column = (float((map2d.numpy() * at).sum()) / total for at in (rows, columns))
    return np.hypot(row - (map2d.shape[0] - 1) / 2, column - (map2d.shape[1] - 1) / 2)


@map_alarm.wrong
def without_a_sum(map2d):
    return 1 - map2d[4:-4, 4:-4].sum() / map2d.sum()


@map_alarm.wrong
def a_whole_map(map2d):
    return map2d / 2
