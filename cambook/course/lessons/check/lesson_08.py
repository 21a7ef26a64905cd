"""Lesson 08: erase, fuse, the loss of two classifiers, coverage, and a fusing rule of one's own."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task


def _maps_to_erase(g):
    """Maps on whole numbers from -4 to 6, so that a position exactly at delta occurs."""
    result = []
    for delta, channels in ((0.6, 3), (0.5, 2), (0.8, 5)):
        class_map = torch.from_numpy(g.permutation(np.repeat(np.arange(-4, 7), 2)[:20]).reshape(4, 5).astype(float))
        class_map[0, 0], class_map[0, 1] = -4, 6
        result.append((normal(g, channels, 4, 5), class_map, delta))
    return result


@exercise(
    "ACoL's erasing: features (K, h, w) with zeros where the map (h, w), brought to [0, 1], is at least delta",
    inputs=_maps_to_erase,
    hints=[
        "First the map from 0 to 1: subtract its minimum, divide by (maximum - minimum).",
        "keep = (normalized < delta) is (h, w); True counts as 1 in a product.",
        "features * ((m - m.min()) / (m.max() - m.min()) < delta)",
    ],
)
def acol_erase(features, class_map, delta):
    normalized = (class_map - class_map.min()) / (class_map.max() - class_map.min())
    return features * (normalized < delta)


@acol_erase.mistake(
    "the result is right, but features itself is changed, so branch A loses its features as well as B: multiply into a "
    "new tensor, or begin with features = features.clone()"
)
def erased_in_place(features, class_map, delta):
    normalized = (class_map - class_map.min()) / (class_map.max() - class_map.min())
    features[:, normalized >= delta] = 0
    return features


@acol_erase.mistake("you kept what is high; ACoL erases there, so that B must find something else")
def kept_high(features, class_map, delta):
    normalized = (class_map - class_map.min()) / (class_map.max() - class_map.min())
    return features * (normalized >= delta)


@acol_erase.mistake("you compared the raw map with delta; bring it to [0, 1] first")
def raw(features, class_map, delta):
    return features * (class_map < delta)


@acol_erase.mistake("you divided by the maximum only; subtract the minimum first, as min-max normalization does")
def without_minimum(features, class_map, delta):
    return features * (class_map / class_map.max() < delta)


@acol_erase.mistake("a position exactly at delta is erased too: keep what is below delta, not what is at most delta")
def kept_at_delta(features, class_map, delta):
    normalized = (class_map - class_map.min()) / (class_map.max() - class_map.min())
    return features * (normalized <= delta)


@acol_erase.mistake("you weighed the features with one minus the map; erasing is all or nothing")
def softly(features, class_map, delta):
    return features * (1 - (class_map - class_map.min()) / (class_map.max() - class_map.min()))


@exercise(
    "ACoL's fused map (h, w) from two raw maps (h, w): at each position the larger of the two normalized values",
    inputs=lambda g: [(5 * normal(g, 4, 4), normal(g, 4, 4) - 2), (normal(g, 3, 5) + 9, 2 * normal(g, 3, 5))],
    hints=[
        "Normalize each map on its own first.",
        "torch.maximum(a, b) takes the larger value at each position.",
    ],
)
def acol_fuse(map_a, map_b):
    a, b = ((m - m.min()) / (m.max() - m.min()) for m in (map_a, map_b))
    return torch.maximum(a, b)


@acol_fuse.mistake("you took the maximum of the raw maps; A and B have different scales, normalize each first")
def fused_raw(map_a, map_b):
    return torch.maximum(map_a, map_b)


@acol_fuse.mistake("you normalized after the maximum; the louder branch wins everywhere then, normalize each first")
def normalized_after(map_a, map_b):
    m = torch.maximum(map_a, map_b)
    return (m - m.min()) / (m.max() - m.min())


@acol_fuse.mistake("you averaged the two; ACoL takes the larger one, so that one branch alone is enough")
def averaged(map_a, map_b):
    a, b = ((m - m.min()) / (m.max() - m.min()) for m in (map_a, map_b))
    return (a + b) / 2


@acol_fuse.mistake("you took the smaller value: that is where both agree; ACoL asks where either sees the object")
def smaller(map_a, map_b):
    a, b = ((m - m.min()) / (m.max() - m.min()) for m in (map_a, map_b))
    return torch.minimum(a, b)


@exercise(
    "ACoL's loss from the maps of both branches (B, C, h, w) and the labels (B,): each branch's cross-entropy, summed",
    inputs=lambda g: [
        (
            normal(g, b, c, 3, 3).requires_grad_(),
            (2 * normal(g, b, c, 3, 3)).requires_grad_(),
            torch.from_numpy(g.integers(0, c, b)),
        )
        for b, c in ((4, 3), (2, 7))
    ],
    hints=[
        "The logits of a branch are the spatial means of its maps: maps.mean((2, 3)).",
        "torch.nn.functional.cross_entropy(logits, labels) takes logits, not probabilities.",
        "Return the sum as the tensor that it is: both branches learn from its gradient.",
    ],
)
def acol_loss(maps_a, maps_b, labels):
    cross_entropy = torch.nn.functional.cross_entropy
    return cross_entropy(maps_a.mean((2, 3)), labels) + cross_entropy(maps_b.mean((2, 3)), labels)


@acol_loss.mistake("you added the logits and took one cross-entropy; each classifier must be right on its own")
def one_for_both(maps_a, maps_b, labels):
    return torch.nn.functional.cross_entropy((maps_a + maps_b).mean((2, 3)), labels)


@acol_loss.mistake("you summed over the positions; the logits are their means")
def summed_places(maps_a, maps_b, labels):
    cross_entropy = torch.nn.functional.cross_entropy
    return cross_entropy(maps_a.sum((2, 3)), labels) + cross_entropy(maps_b.sum((2, 3)), labels)


@acol_loss.mistake("cross_entropy takes the softmax itself; give it logits, not probabilities")
def softmax_twice(maps_a, maps_b, labels):
    cross_entropy = torch.nn.functional.cross_entropy
    return sum(cross_entropy(m.mean((2, 3)).softmax(1), labels) for m in (maps_a, maps_b))


@acol_loss.mistake(
    "the number is right, but .item() (or float, or .detach()) cuts its gradient off, so this loss cannot train "
    "anything; return the tensor itself"
)
def cut_off(maps_a, maps_b, labels):
    return acol_loss.reference(maps_a, maps_b, labels).item()


@acol_loss.mistake(
    "the number is right, but B's part is cut off from its gradient, so B would never learn; leave it on"
)
def b_cut_off(maps_a, maps_b, labels):
    return acol_loss.reference(maps_a, maps_b.detach(), labels)


@acol_loss.mistake(
    "the number is right, but A's part is cut off from its gradient, so A would never learn; leave it on"
)
def a_cut_off(maps_a, maps_b, labels):
    return acol_loss.reference(maps_a.detach(), maps_b, labels)


@acol_loss.mistake("this is A's part only; B has to learn from the same labels")
def a_only(maps_a, maps_b, labels):
    return torch.nn.functional.cross_entropy(maps_a.mean((2, 3)), labels)


@acol_loss.mistake("you averaged the two losses; the paper adds them")
def averaged_losses(maps_a, maps_b, labels):
    return acol_loss.reference(maps_a, maps_b, labels) / 2


def _maps_and_masks(g):
    result = []
    for shape, threshold, highest in (((2, 4, 4), 0.5, 10), ((3, 5, 4), 0.3, 10), ((3, 4, 6), 0.4, 7)):
        maps = g.integers(0, highest + 1, shape) / 10
        maps[-1] = np.minimum(maps[-1], highest / 10 - 0.3)  # not all maps have the same maximum
        maps[0, 0, :2] = threshold
        masks = g.random(shape) < 0.4
        masks[0, 0, :2] = True, False
        masks[1] = g.random(shape[1:]) < 0.15
        masks[1, 0, 0] = True
        result.append((maps, masks, threshold))
    return result


@exercise(
    "coverage (recall) and precision in percent, all pixels together: maps (N, h, w) in [0, 1], masks (N, h, w) bool",
    inputs=_maps_and_masks,
    hints=[
        "found = maps >= threshold; found & masks is what was found rightly.",
        "Recall divides by the pixels of masks, precision by the pixels found.",
        "100 * (found & masks).sum() / masks.sum(), 100 * (found & masks).sum() / found.sum()",
    ],
)
def mask_coverage(maps, masks, threshold):
    found = maps >= threshold
    right = (found & masks).sum()
    return np.array([100 * right / masks.sum(), 100 * right / found.sum()])


@mask_coverage.mistake("the two are swapped: coverage divides by the pixels of the masks, precision by those found")
def swapped(maps, masks, threshold):
    return mask_coverage.reference(maps, masks, threshold)[::-1]


@mask_coverage.mistake(
    "you compared with a share of the maximum of all maps; they are in [0, 1] already, so compare them with the "
    "threshold itself"
)
def share_of_the_maximum(maps, masks, threshold):
    return mask_coverage.reference(maps, masks, threshold * maps.max())


@mask_coverage.mistake(
    "you compared each map with a share of its own maximum; maps are in [0, 1] already, so compare them with the "
    "threshold itself"
)
def share_of_each_maximum(maps, masks, threshold):
    return mask_coverage.reference(maps, masks, threshold * maps.max((1, 2), keepdims=True))


@mask_coverage.mistake("a pixel exactly at the threshold is found too; use >=")
def above_only(maps, masks, threshold):
    found = maps > threshold
    right = (found & masks).sum()
    return np.array([100 * right / masks.sum(), 100 * right / found.sum()])


PER_IMAGE = "you averaged over images; count the pixels of the whole set together, so that a large object counts more"


@mask_coverage.mistake(PER_IMAGE)
def per_picture(maps, masks, threshold):
    found = maps >= threshold
    right = (found & masks).sum((1, 2))
    return 100 * np.array([(right / masks.sum((1, 2))).mean(), (right / np.maximum(found.sum((1, 2)), 1)).mean()])


@mask_coverage.mistake(PER_IMAGE)
def per_image_with_nan(maps, masks, threshold):
    found = maps >= threshold
    right = (found & masks).sum((1, 2))
    return 100 * np.array([(right / masks.sum((1, 2))).mean(), (right / found.sum((1, 2))).mean()])


@mask_coverage.mistake(PER_IMAGE)
def per_image_that_has_any(maps, masks, threshold):
    pairs = [mask_coverage.reference(*each, threshold) for each in zip(maps, masks, strict=True)]
    coverage, precision = np.transpose(pairs)
    return np.array([coverage.mean(), np.nanmean(precision)])


@mask_coverage.mistake("these are shares between 0 and 1; give percent")
def as_shares(maps, masks, threshold):
    return mask_coverage.reference(maps, masks, threshold) / 100


# ---- the open task ----


def larger_of_the_raw(map_a, map_b):
    fused = torch.maximum(map_a, map_b).clamp(min=0)
    return fused / fused.max()


def _two_maps(strength_b):
    """A's map (6, 8) with its peak at the left, B's with its peak at the right, as strong as is asked for."""
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    a, b = (torch.exp(-((y - 2.5) ** 2 + (x - column) ** 2) / 2).double() for column in (1.5, 5.5))
    return 10 * a, strength_b * b


@task(
    "one map (h, w) in [0, 1] from the raw maps of two branches (h, w) by a rule of your own, in which either branch "
    "can add a part of the object, but a branch that sees nothing adds nothing",
    hints=[
        "ACoL stretches each map to 1 on its own, and with it the noise of a branch that sees nothing. What would keep "
        "a weak map weak?",
        "Bring both maps to ONE scale, that of the larger maximum, or weigh each by its own height.",
        "fused = torch.maximum(map_a, map_b).clamp(min=0); fused / fused.max()",
    ],
    example=larger_of_the_raw,
)
def fusing_rule(function):
    for strength in (10.0, 8.0):
        a, b = _two_maps(strength)
        both = np.asarray(function(a.clone(), b.clone()), dtype=np.float64)
        if both.shape != tuple(a.shape):
            yield f"give one map of the shape of the two, {tuple(a.shape)}, not {both.shape}"
        if not (np.isfinite(both).all() and both.min() >= -1e-9 and both.max() <= 1 + 1e-9):
            yield "the fused map has values from 0 to 1; yours leave that range"
        for name, (row, column) in (("A", (2, 1)), ("B", (2, 5))):
            if both[row, column] < both[0, 3] + 0.25:
                yield f"the peak of {name} is lost where the other branch is low; a part that one branch sees must show"
    a, noise = _two_maps(0.01)
    alone = np.asarray(function(a.clone(), noise.clone()), dtype=np.float64)
    if alone[2, 5] > alone[2, 1] / 4:
        yield (
            "a branch that sees nothing (its map never exceeds 0.01, the other one's reaches almost 10) still adds a "
            "peak of its own; let a weak map stay weak"
        )
    nothing, b = noise.flip(1), _two_maps(10.0)[1]
    alone = np.asarray(function(nothing.clone(), b.clone()), dtype=np.float64)
    if alone[2, 1] > alone[2, 5] / 4:
        yield "if A sees nothing and B does, A still adds a peak; your rule must work in both directions"
    below = 5 * (noise / noise.max() - 1)  # from -5 to 0, highest at the right
    alone = np.asarray(function(a.clone(), below.clone()), dtype=np.float64)
    mirrored = np.asarray(function(below.flip(1), b.clone()), dtype=np.float64)
    if not (alone[2, 5] <= alone[2, 1] / 4 and mirrored[2, 1] <= mirrored[2, 5] / 4):
        yield (
            "a branch that sees nothing can be negative, too, and yours lets a map from -5 to 0 change the other one; "
            "cut both maps off at zero before you put them together"
        )
    if min(alone.min(), mirrored.min()) < -1e-9:
        yield "the fused map has values from 0 to 1; yours fall below 0 if a branch gives negative ones"


@fusing_rule.wrong
def as_acol_does(map_a, map_b):
    return acol_fuse.reference(map_a, map_b)


@fusing_rule.wrong
def a_alone(map_a, map_b):
    return map_a / map_a.max()


@fusing_rule.wrong
def product(map_a, map_b):
    return (map_a / map_a.max()) * (map_b / map_b.max())


@fusing_rule.wrong
def not_brought_to_one(map_a, map_b):
    return torch.maximum(map_a, map_b)


@fusing_rule.wrong
def mean_of_stretched(map_a, map_b):
    return sum((m - m.min()) / (m.max() - m.min()) for m in (map_a, map_b)) / 2


@fusing_rule.wrong
def sum_below_zero(map_a, map_b):
    return (map_a + map_b) / (map_a + map_b).max()


@fusing_rule.wrong
def stretched_sum(map_a, map_b):
    fused = map_a + map_b
    return (fused - fused.min()) / (fused.max() - fused.min())


@fusing_rule.wrong
def b_beside_a_stretched(map_a, map_b):
    a = (map_a - map_a.min()) / (map_a.max() - map_a.min())
    return torch.maximum(a, (map_b / max(map_a.max(), map_b.max())).clamp(min=0))
