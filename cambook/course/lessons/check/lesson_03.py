"""Lesson 03: the map, the box, and how well a box fits."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import Number, exercise, normal
from cambook.course.lessons.check.task import task
from cambook.maps import boxes
from cambook.maps.boxes import largest_component


@exercise(
    "the class activation map M_c of one class",
    inputs=lambda g: [
        (normal(g, 3, 4, 4), normal(g, 3)),
        (normal(g, 5, 3, 7), normal(g, 5)),
        (normal(g, 8, 6, 2), normal(g, 8)),
    ],
    hints=[
        "feature_maps is (K, h, w), weight is (K,), the map is (h, w).",
        "M_c(x, y) is the sum over k of weight[k] * feature_maps[k, y, x].",
        "torch.einsum('khw,k->hw', feature_maps, weight), or the same with a loop over k.",
    ],
)
def cam(feature_maps, weight):
    return torch.einsum("khw,k->hw", feature_maps, weight)


@cam.mistake("you averaged over the channels; the map is their weighted sum")
def averaged(feature_maps, weight):
    return cam.reference(feature_maps, weight) / len(weight)


@cam.mistake("the negative positions are missing: that ReLU belongs to Grad-CAM, CAM has none")
def relu(feature_maps, weight):
    return cam.reference(feature_maps, weight).clamp(min=0)


@cam.mistake("the weights are missing: multiply each channel by the weight of the class")
def unweighted(feature_maps, weight):
    return feature_maps.sum(0)


@cam.mistake("the axes are swapped: rows (y) come first, columns (x) second")
def swapped(feature_maps, weight):
    return cam.reference(feature_maps, weight).T


@cam.mistake("softmax of the weights was taken first; use the weights as they are")
def softmax_first(feature_maps, weight):
    return cam.reference(feature_maps, torch.softmax(weight, 0))


@cam.mistake("the map is right but brought to [0, 1]; M_c is the plain sum, its scale is part of the score")
def normalized(feature_maps, weight):
    class_map = cam.reference(feature_maps, weight)
    return (class_map - class_map.min()) / (class_map.max() - class_map.min())


def _maps(g):
    """Two bumps of different size on a negative background, at two shapes; a map that is negative everywhere."""
    result = []
    for height, width in ((24, 32), (21, 14)):
        y, x = np.mgrid[:height, :width]
        wide = 3.0 * np.exp(-((x - width * 0.7) ** 2 + (y - height * 0.6) ** 2) / (0.025 * width * height))
        narrow = 2.0 * np.exp(-((x - width * 0.15) ** 2 + (y - height * 0.12) ** 2) / (0.005 * width * height))
        result.append((wide + narrow - 0.3 + 0.01 * g.random((height, width)),))
    return [*result, (-1.0 - g.random((5, 6)),), (_exactly_a_fifth(),)]


def _exactly_a_fifth():
    """A maximum of 5 in a ring of 1, exactly 20% of it, on a negative background."""
    class_map = np.full((7, 8), -2.0)
    class_map[1:5, 2:7] = 1
    class_map[2:4, 3:6] = 5
    return class_map


@exercise(
    "the box of a map under rule paper: around the largest component of what lies above 20% of the maximum",
    inputs=_maps,
    hints=[
        "Three steps: which pixels lie above the threshold, which of them form the largest piece, and where do its "
        "rows and columns begin and end? And what if the map is negative everywhere?",
        "boxes.largest_component(mask) keeps the largest piece of an array of True and False. If the maximum is not "
        "above 0 there is nothing to draw a box around: return None.",
        "rows, columns = np.nonzero(mask); a box is (x0, y0, x1, y1), half-open: x1 is one past the last column.",
        "The mask is map2d > 0.2 * map2d.max(): of the raw map, and strictly above.",
    ],
)
def box(map2d):
    if map2d.max() <= 0:
        return None
    mask = largest_component(map2d > 0.2 * map2d.max())
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@box.mistake("you shifted the map to its minimum first: that is rule wsol, rule paper takes the raw map")
def wsol(map2d):
    if map2d.max() <= 0:
        return None
    shifted = map2d - map2d.min()
    return boxes.tight_box(largest_component(shifted > 0.2 * shifted.max()))


@box.mistake(
    "you shifted the map to its minimum first: that is rule wsol, rule paper takes the raw map; and a map that is "
    "negative everywhere has no box by rule paper, return None"
)
def wsol_always(map2d):
    shifted = map2d - map2d.min()
    return boxes.tight_box(largest_component(shifted > 0.2 * shifted.max()))


@box.mistake("a pixel exactly at 20% of the maximum does not lie above it: use >, not >=")
def at_least(map2d):
    return None if map2d.max() <= 0 else boxes.tight_box(largest_component(map2d >= 0.2 * map2d.max()))


@box.mistake("your box contains every piece above the threshold; keep the largest component only")
def every_piece(map2d):
    return None if map2d.max() <= 0 else boxes.tight_box(map2d > 0.2 * map2d.max())


@box.mistake("x1 and y1 are the last pixel inside; in a half-open box they are one further")
def inclusive(map2d):
    found = box.reference(map2d)
    return None if found is None else (found[0], found[1], found[2] - 1, found[3] - 1)


@box.mistake("x and y are swapped: columns are x, rows are y")
def swapped_axes(map2d):
    found = box.reference(map2d)
    return None if found is None else (found[1], found[0], found[3], found[2])


@box.mistake("the threshold is 20% of the map's maximum, not the number 0.2")
def absolute(map2d):
    return None if map2d.max() <= 0 else boxes.tight_box(largest_component(map2d > 0.2))


@box.mistake("right, except for a map that is negative everywhere: it has no box, return None")
def no_way_out(map2d):
    found = box.reference(map2d)
    if found is None:
        raise ValueError("zero-size array to reduction operation minimum which has no identity")
    return found


@exercise(
    "the IoU of two half-open boxes (x0, y0, x1, y1)",
    inputs=lambda g: [
        ((0, 0, 4, 4), (2, 2, 6, 6)),
        ((1, 2, 9, 5), (3, 0, 7, 10)),
        ((0, 0, 2, 3), (5, 7, 9, 8)),
        ((0, 0, 10, 10), (2, 3, 5, 4)),
    ],
    hints=[
        "The intersection is a box too: the larger of the two x0, the smaller of the two x1, the same for y.",
        "Boxes apart have width or height below zero there: make it 0.",
        "The union is area a + area b - intersection.",
    ],
)
def iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    intersection = width * height
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    return intersection / (area_a + area_b - intersection)


def _parts(a, b, extra=0):
    """Sides of the intersection, not cut at 0, and the two areas."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + extra
    height = min(a[3], b[3]) - max(a[1], b[1]) + extra
    areas = [(c[2] - c[0] + extra) * (c[3] - c[1] + extra) for c in (a, b)]
    return width, height, *areas


@iou.mistake(
    "right for boxes that meet, wrong for boxes apart: two negative sides multiply to a positive area, cut them at 0"
)
def apart(a, b):
    width, height, area_a, area_b = _parts(a, b)
    return width * height / (area_a + area_b - width * height)


@iou.mistake("you divided by the sum of the areas; the shared part is counted twice in it, subtract it once")
def sum_of_areas(a, b):
    width, height, area_a, area_b = _parts(a, b)
    return max(0, width) * max(0, height) / (area_a + area_b)


@iou.mistake("you added 1 to the sides; half-open boxes have width x1 - x0")
def inclusive_sides(a, b):
    width, height, area_a, area_b = _parts(a, b, extra=1)
    shared = max(0, width) * max(0, height)
    return shared / (area_a + area_b - shared)


@iou.mistake("you divided by the smaller area; divide by the union of both")
def smaller_area(a, b):
    width, height, area_a, area_b = _parts(a, b)
    return max(0, width) * max(0, height) / min(area_a, area_b)


iou_by_hand = Number(
    "iou_by_hand",
    "the IoU of the half-open boxes (0, 0, 4, 4) and (2, 2, 6, 6), to three digits",
    4 / 28,
    "shared (2, 2, 4, 4): 2 * 2 = 4; areas 16 and 16; union 16 + 16 - 4 = 28; IoU = 4 / 28 = 0.143",
    mistakes=[
        (4 / 32, "you divided by the sum of the areas; the shared part is in it twice"),
        (4 / 16, "you divided by the area of one box; divide by the union of both"),
        (9 / 41, "you counted x1 and y1 as inside; half-open boxes end before them"),
    ],
    hints=["Draw both on squared paper and count squares: shared ones, then all.", "4 squares are shared."],
    tolerance=0.001,
)


def _one_map(width, height, centre, spread, floor, seed):
    """A bump (x, y) of some spread, in shares of the image, on a noisy background around `floor`."""
    y, x = np.mgrid[:height, :width] + 0.5
    far = ((x / width - centre[0]) ** 2 + (y / height - centre[1]) ** 2) / (2 * spread**2)
    return 6 * np.exp(-far) + floor + 0.2 * np.random.default_rng(seed).normal(size=(height, width))


def _a_fifth_of_the_largest_few(map2d):
    """20% of the 99th percentile above the median, in place of the maximum above 0."""
    middle, high = np.quantile(map2d, [0.5, 0.99])
    return middle + 0.2 * (high - middle)


@task(
    "a third rule: the level above which a map is kept, which no single position decides",
    hints=[
        "Both rules of the lesson depend on one number of the map, the maximum (and rule wsol on the minimum, too). "
        "Which numbers describe a map and hardly move when one position changes?",
        "A quantile does not notice one position: the median, or the value that a tenth of the map exceeds. A level "
        "between two quantiles follows the map when it is multiplied, and when a constant is added.",
        "For example: middle, high = np.quantile(map2d, [0.5, 0.99]), and the level is middle + 0.2 * (high - middle).",
    ],
    example=_a_fifth_of_the_largest_few,
)
def own_level(function):
    shapes = ((64, 48, (0.6, 0.5), 0.12, -0.5, 1), (40, 60, (0.4, 0.6), 0.16, 0.3, 2), (56, 56, (0.5, 0.4), 0.2, -2, 3))
    for given in shapes:
        map2d = _one_map(*given)
        level = _level(function, map2d)
        if isinstance(level, str):
            yield level
            return
        kept = map2d > level
        if not kept.any():
            yield "nothing of a map with one bright object lies above your level: choose a lower one"
        if kept.mean() > 0.7:
            yield f"{kept.mean():.0%} of a map with one bright object lies above your level: choose a higher one"
        if not _alike_masks(kept, 50 * map2d > _level(function, 50 * map2d)):
            yield (
                "a map that is multiplied by 50 keeps other positions, although it says the same: build the level from "
                "numbers of the map"
            )
        hot = map2d.copy()
        hot[1, 2] = 5 * map2d.max()
        if not _alike_masks(kept, hot > _level(function, hot)):
            yield (
                "one position in a corner that is 5 times as high as the rest changes nearly the whole mask, as it "
                "does under both rules of the lesson: do not let the maximum (or the minimum) decide alone"
            )
        if not _alike_masks(kept, map2d + 30 > _level(function, map2d + 30)):
            yield (
                "a constant that is added to every position changes the mask, as under rule paper: measure the level "
                "from a number of the map, such as its median, and not from 0"
            )


def _level(function, map2d):
    """The reader's level as a float, or what is wrong with it."""
    given = np.asarray(function(map2d.copy()))
    if given.size != 1:
        return f"it gives {given.shape}: give the level, one number; the mask is made of it afterwards"
    level = float(given.reshape(()))
    return level if np.isfinite(level) else "the level is not a finite number"


def _alike_masks(a, b):
    return (a & b).sum() >= 0.9 * (a | b).sum()


@own_level.wrong
def rule_paper(map2d):
    return 0.2 * map2d.max()


@own_level.wrong
def rule_wsol(map2d):
    return map2d.min() + 0.2 * (map2d.max() - map2d.min())


@own_level.wrong
def a_fixed_number(map2d):
    return np.float64(1)


@own_level.wrong
def nearly_everything(map2d):
    return np.quantile(map2d, 0.1)


@own_level.wrong
def above_the_maximum(map2d):
    return np.quantile(map2d, 0.5) + 10 * (np.quantile(map2d, 0.99) - np.quantile(map2d, 0.5))


@own_level.wrong
def a_share_of_a_quantile(map2d):
    return 0.5 * np.quantile(map2d, 0.95)


@own_level.wrong
def the_mask_itself(map2d):
    return map2d > np.quantile(map2d, 0.8)
