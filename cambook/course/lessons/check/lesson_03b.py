"""Lesson 03b: several classes in one image, several objects of one class, and what of an object a map covers."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task
from cambook.maps import boxes
from cambook.maps.boxes import largest_component


@exercise(
    "the map of what speaks for class c rather than for class d: positive where c gains, negative where d does",
    inputs=lambda g: [
        (normal(g, 3, 4, 4), normal(g, 2, 3), 0, 1),
        (normal(g, 5, 3, 6), normal(g, 4, 5), 3, 1),
        (normal(g, 6, 2, 5), normal(g, 3, 6), 1, 2),
    ],
    hints=[
        "Make the map of c and the map of d, both raw, and compare them position by position.",
        "The map is linear in the weights, so one map is enough: with the row weight[c] - weight[d].",
        "torch.einsum('khw,k->hw', feature_maps, weight[c] - weight[d]).",
    ],
)
def why_rather(feature_maps, weight, c, d):
    return torch.einsum("khw,k->hw", feature_maps, weight[c] - weight[d])


@why_rather.mistake("the sign is wrong: this speaks for d rather than for c")
def other_way_round(feature_maps, weight, c, d):
    return why_rather.reference(feature_maps, weight, d, c)


@why_rather.mistake(
    "you brought each map to its own maximum before subtracting, so the two no longer have one scale; subtract the raw "
    "maps"
)
def each_to_its_maximum(feature_maps, weight, c, d):
    one, other = (torch.einsum("khw,k->hw", feature_maps, weight[each]) for each in (c, d))
    return one / one.max() - other / other.max()


@why_rather.mistake(
    "you brought each map to [0, 1] before subtracting, so the two no longer have one scale; subtract the raw maps"
)
def each_to_its_range(feature_maps, weight, c, d):
    one, other = (torch.einsum("khw,k->hw", feature_maps, weight[each]) for each in (c, d))
    return (one - one.min()) / (one.max() - one.min()) - (other - other.min()) / (other.max() - other.min())


@why_rather.mistake("what speaks for d is missing: keep the negative positions, there is no ReLU here")
def relu_behind(feature_maps, weight, c, d):
    return why_rather.reference(feature_maps, weight, c, d).clamp(min=0)


@why_rather.mistake("you cut the negative positions of each map away before subtracting; subtract the raw maps")
def relu_before(feature_maps, weight, c, d):
    one, other = (torch.einsum("khw,k->hw", feature_maps, weight[each]).clamp(min=0) for each in (c, d))
    return one - other


@why_rather.mistake("this is how far the two maps are from each other; the sign says for which class a position speaks")
def distance(feature_maps, weight, c, d):
    return why_rather.reference(feature_maps, weight, c, d).abs()


@why_rather.mistake("this is the map of c alone; what d says at the same position must be taken away from it")
def one_class_alone(feature_maps, weight, c, d):
    return torch.einsum("khw,k->hw", feature_maps, weight[c])


def _pairs(g):
    """Random maps, and one whose peaks lie in the two columns beside the border."""
    border = np.zeros((2, 2, 3, 6))
    border[0, 0, 2, 2] = border[0, 1, 0, 3] = border[1, 0, 1, 3] = border[1, 1, 1, 2] = 1
    border[0, 0, 0, 5] = border[1, 1, 0, 5] = 0.9
    odd_one_out = np.zeros((3, 2, 4, 4))
    odd_one_out[:, 0, 0, 1] = [1, 5, 2]
    odd_one_out[:, 1, 3, 2] = [9, 1, 3]
    odd_one_out[2, 1, 3, 0] = 4
    return [(torch.from_numpy(border),), (normal(g, 7, 2, 5, 8),), (torch.from_numpy(odd_one_out),)]


@exercise(
    "the percentage of maps whose maximum lies in the half of its own object; maps (n, 2, h, w), the left object's map "
    "first, w even",
    inputs=_pairs,
    hints=[
        "For each map you need the column of its maximum. argmax over the flattened map gives row * w + column.",
        "column = maps.flatten(2).argmax(2) % w has shape (n, 2). In the right half it is at least w // 2.",
        "A map is right if (column >= w // 2) equals False for the first of the two and True for the second.",
    ],
)
def own_half(maps):
    width = maps.shape[3]
    column = maps.flatten(2).argmax(2) % width
    right_half = column >= width // 2
    return 100 * (right_half == torch.tensor([False, True])).double().mean()


def _share_in_own_half(maps, is_right):
    return 100 * (is_right == torch.tensor([False, True])).double().mean()


@own_half.mistake("this is a share; give percent")
def share(maps):
    return own_half.reference(maps) / 100


@own_half.mistake("you divided the flat position by w, which is its row; its column is the remainder, position % w")
def rows(maps):
    row = torch.div(maps.flatten(2).argmax(2), maps.shape[3], rounding_mode="floor")
    return _share_in_own_half(maps, row >= maps.shape[3] // 2)


_ROW_FOR_COLUMN = (
    "you compared the row of the maximum with half the height, which is the upper or the lower half; whether it lies "
    "left or right is in its column, position % w"
)


@own_half.mistake(_ROW_FOR_COLUMN)
def lower_half(maps):
    row = torch.div(maps.flatten(2).argmax(2), maps.shape[3], rounding_mode="floor")
    return _share_in_own_half(maps, row >= maps.shape[2] // 2)


@own_half.mistake(_ROW_FOR_COLUMN)
def lower_half_unrounded(maps):
    row = torch.div(maps.flatten(2).argmax(2), maps.shape[3], rounding_mode="floor")
    return _share_in_own_half(maps, row >= maps.shape[2] / 2)


@own_half.mistake("column w // 2 belongs to the right half already: use >=")
def one_column_late(maps):
    column = maps.flatten(2).argmax(2) % maps.shape[3]
    return _share_in_own_half(maps, column > maps.shape[3] // 2)


@own_half.mistake("you counted the first of the two maps alone")
def left_alone(maps):
    column = maps[:, 0].flatten(1).argmax(1) % maps.shape[3]
    return 100 * (column < maps.shape[3] // 2).double().mean()


@own_half.mistake("this is the share of maps whose maximum lies in the half of the OTHER object")
def other_half(maps):
    return 100 - own_half.reference(maps)


@own_half.mistake(
    "you counted the images in which BOTH maps are right; count each map, so that an image with one of two is worth "
    "half"
)
def both_right(maps):
    column = maps.flatten(2).argmax(2) % maps.shape[3]
    right = (column >= maps.shape[3] // 2) == torch.tensor([False, True])
    return 100 * right.all(1).double().mean()


@own_half.mistake(
    "you compared the sums of the two halves; the question is in which half the maximum, one position, lies"
)
def more_in_own_half(maps):
    half = maps.shape[3] // 2
    left, right = maps[..., :half].sum((2, 3)), maps[..., half:].sum((2, 3))
    return _share_in_own_half(maps, right > left)


def _maps_and_masks(g):
    """Noisy bumps of which masks cover a part, some of them negative everywhere; no two values are equal."""
    given = []
    for (height, width), lift in (((8, 10), 0.0), ((7, 5), -9.0), ((12, 12), 0.5)):
        y, x = np.mgrid[:height, :width]
        bump = 3 * np.exp(-((x - width * 0.4) ** 2 + (y - height * 0.5) ** 2) / (0.1 * width * height))
        mask = (abs(x - width * 0.5) < width * 0.28) & (abs(y - height * 0.45) < height * 0.3)
        given.append((bump + lift + g.random((height, width)), mask))
    return given


@exercise(
    "the share of the object, in percent, that a map covers when it may keep exactly as many pixels as the object has",
    inputs=_maps_and_masks,
    hints=[
        "How many pixels has the object? mask.sum(). The map keeps that many: its highest ones.",
        "np.sort(map2d, axis=None)[::-1] are the values from high to low. Which of them is the last that is kept?",
        "level = np.sort(map2d, axis=None)[::-1][mask.sum() - 1], and what is kept is map2d >= level.",
    ],
)
def covered(map2d, mask):
    level = np.sort(map2d, axis=None)[::-1][mask.sum() - 1]
    kept = map2d >= level
    return 100 * (kept & mask).sum() / mask.sum()


@covered.mistake("this is a share; give percent")
def covered_share(map2d, mask):
    return covered.reference(map2d, mask) / 100


@covered.mistake("you kept what is above half of the maximum; keep as many pixels as the object has, its highest ones")
def half_of_the_maximum(map2d, mask):
    return 100 * ((map2d > 0.5 * map2d.max()) & mask).sum() / mask.sum()


@covered.mistake("you kept what is above 20% of the maximum; keep as many pixels as the object has, its highest ones")
def fifth_of_the_maximum(map2d, mask):
    return 100 * ((map2d > 0.2 * map2d.max()) & mask).sum() / mask.sum()


@covered.mistake("you kept the lowest values; keep the highest ones")
def lowest(map2d, mask):
    level = np.sort(map2d, axis=None)[mask.sum() - 1]
    return 100 * ((map2d <= level) & mask).sum() / mask.sum()


@covered.mistake("you divided by the number of all pixels; divide by the number of the object's pixels")
def of_all_pixels(map2d, mask):
    level = np.sort(map2d, axis=None)[::-1][mask.sum() - 1]
    return 100 * ((map2d >= level) & mask).sum() / mask.size


@covered.mistake("one pixel too few is kept: the last one is at index mask.sum() - 1, and it counts (>=)")
def one_too_few(map2d, mask):
    level = np.sort(map2d, axis=None)[::-1][mask.sum() - 1]
    return 100 * ((map2d > level) & mask).sum() / mask.sum()


@covered.mistake("one pixel too many is kept: counting begins at 0, so the last one is at index mask.sum() - 1")
def one_too_many(map2d, mask):
    level = np.sort(map2d, axis=None)[::-1][mask.sum()]
    return 100 * ((map2d >= level) & mask).sum() / mask.sum()


@covered.mistake(
    "this is IoU: you divided by the union of kept and object; divide by the object, since the question is what of it "
    "is kept"
)
def overlap_of_both(map2d, mask):
    level = np.sort(map2d, axis=None)[::-1][mask.sum() - 1]
    return 100 * ((map2d >= level) & mask).sum() / ((map2d >= level) | mask).sum()


def _several(g):
    """A map (48, 72) with one to three objects of one class, a speck of noise, and the objects' true boxes."""
    centres = {
        1: [(36, 24)],
        2: [(16, 16), (54, 30)],
        3: [(12, 14), (58, 12), (36, 36)],
    }
    y, x = np.mgrid[:48, :72] + 0.5
    for number, points in centres.items():
        map2d = np.full((48, 72), -0.3) + 0.02 * g.random((48, 72))
        truth = []
        for (cx, cy), peak in zip(points, (4.0, 3.0, 2.4), strict=False):
            far = ((x - cx) / 7) ** 2 + ((y - cy) / 6) ** 2
            map2d += peak * np.clip(1.15 - far, 0, 1)
            truth.append(boxes.tight_box(far < 0.8))
        map2d[44, 4] = 3.0
        yield number, map2d, np.array(truth)


def _piece_by_piece(map2d):
    """The largest piece again and again, as long as it has a tenth of the pixels of the first."""
    mask = map2d > 0.2 * map2d.max()
    found, first = [], None
    while mask.any():
        piece = largest_component(mask)
        first = first or piece.sum()
        if piece.sum() < 0.1 * first:
            break
        found.append(boxes.tight_box(piece))
        mask = mask & ~piece
    return found


@task(
    "a list with one box for each object of the class in a map, however many there are, and none for a speck of one "
    "pixel",
    hints=[
        "Rule paper stops after the largest piece. What is left of the mask when that piece is taken away?",
        "mask & ~piece is the rest, and largest_component finds the next piece in it. When do you stop, so that a "
        "single bright pixel gets no box?",
        "A loop: largest_component, tight_box, remove the piece, and stop when a piece has less than a tenth of the "
        "pixels of the first one.",
    ],
    example=_piece_by_piece,
)
def every_object(function):
    for number, map2d, truth in _several(np.random.default_rng(3)):
        objects = "1 object" if number == 1 else f"{number} objects"
        try:
            found = np.array([np.asarray(each, dtype=np.float64) for each in function(map2d.copy())])
        except TypeError:
            found = np.zeros(0)
        if found.size and (found.ndim != 2 or found.shape[1] != 4):
            yield f"for a map with {objects} it gives shape {found.shape}: give a list of boxes (x0, y0, x1, y1)"
            return
        if len(found) == 0:
            yield f"it gives no box for a map with {objects}: give a list of boxes (x0, y0, x1, y1)"
            return
        if (found[:, 2:] <= found[:, :2]).any():
            yield "a box has no area: x1 and y1 are one past the last column and row"
            return
        ious = boxes.box_iou(truth, found)
        smallest = (found[:, 2:] - found[:, :2]).prod(1).min()
        whole = boxes.box_iou(found, [[truth[:, 0].min(), truth[:, 1].min(), truth[:, 2].max(), truth[:, 3].max()]])
        if len(found) < number and number > 1 and whole.max() > 0.8:
            yield f"one box contains all {number} objects: each piece of the mask needs a box of its own"
        if len(found) < number:
            yield (
                f"a map with {number} objects gets {len(found)} box{'es' if len(found) > 1 else ''}: look at what is "
                "left of the mask when the largest piece is taken away"
            )
        if smallest <= 9:
            yield f"a speck gets a box, too ({len(found)} boxes for {objects}): leave pieces out that are far too small"
        if len(found) > number:
            yield f"a map with {objects} gets {len(found)} boxes: one object, one box"
        if ious.max(1).min() < 0.5:
            yield (
                f"in a map with {objects}, one has no box with an IoU of at least 0.5 (the best is "
                f"{ious.max(1).min():.2f}): the threshold is too high or too low for it, or x and y are swapped"
            )


@every_object.wrong
def rule_paper_alone(map2d):
    return [boxes.box_from_map(map2d, "paper", 0.2)]


@every_object.wrong
def one_box_around_all(map2d):
    mask = map2d > 0.2 * map2d.max()
    mask[44, 4] = False
    return [boxes.tight_box(mask)]


@every_object.wrong
def every_piece_and_speck(map2d):
    mask, found = map2d > 0.2 * map2d.max(), []
    while mask.any():
        piece = largest_component(mask)
        found.append(boxes.tight_box(piece))
        mask = mask & ~piece
    return found


@every_object.wrong
def always_two(map2d):
    return (_piece_by_piece(map2d) * 2)[:2]


@every_object.wrong
def swapped_axes(map2d):
    return [(y0, x0, y1, x1) for x0, y0, x1, y1 in _piece_by_piece(map2d)]


@every_object.wrong
def so_high_that_one_is_lost(map2d):
    return _piece_by_piece(np.where(map2d > 0.7 * map2d.max(), map2d, 0))


@every_object.wrong
def one_box_and_no_list(map2d):
    return boxes.box_from_map(map2d, "paper", 0.2)
