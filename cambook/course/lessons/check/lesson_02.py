"""Lesson 02: from feature maps to a class score, the exchange of the two sums, and what a map cannot say."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task


@exercise(
    "the score S_c of each class: average the feature maps, weigh the channels, add the bias",
    inputs=lambda g: [
        (normal(g, 3, 4, 4), normal(g, 2, 3), normal(g, 2)),
        (normal(g, 5, 3, 7), normal(g, 4, 5), normal(g, 4)),
        (normal(g, 4, 1, 2), normal(g, 4, 4), normal(g, 4)),
    ],
    hints=[
        "First F_k, the mean of channel k over its positions: (K,) numbers.",
        "Then S_c = sum over k of weight[c, k] * F_k, plus bias[c].",
        "weight @ feature_maps.mean((1, 2)) + bias.",
    ],
)
def class_score(feature_maps, weight, bias):
    pooled = feature_maps.mean((1, 2))
    scores = []
    for c in range(len(weight)):
        scores.append(sum(weight[c, k] * pooled[k] for k in range(len(pooled))) + bias[c])
    return torch.stack(scores)


@class_score.mistake("you summed over the positions instead of averaging")
def summed(feature_maps, weight, bias):
    return weight @ feature_maps.sum((1, 2)) + bias


@class_score.mistake("the bias is missing")
def no_bias(feature_maps, weight, bias):
    return weight @ feature_maps.mean((1, 2))


@class_score.mistake("you took the maximum over the positions; average them")
def maximum(feature_maps, weight, bias):
    return weight @ feature_maps.amax((1, 2)) + bias


@class_score.mistake("softmax was taken; the score S_c comes before it")
def probabilities(feature_maps, weight, bias):
    return torch.softmax(weight @ feature_maps.mean((1, 2)) + bias, 0)


@exercise(
    "the same score the other way round: first the map of the class, then (map, score) with score = mean of "
    "the map + bias",
    inputs=lambda g: [
        (normal(g, 3, 4, 4), normal(g, 3), 0.5),
        (normal(g, 6, 3, 5), normal(g, 6), -1.25),
        (normal(g, 2, 7, 2), normal(g, 2), 2.0),
    ],
    hints=[
        "The map is an image: at each position, the sum over k of weight[k] * feature_maps[k].",
        "The score is one number: the mean of the map over its positions, plus the bias.",
        "torch.einsum('khw,k->hw', feature_maps, weight) is the map.",
    ],
)
def score_from_positions(feature_maps, weight, bias):
    class_map = (weight[:, None, None] * feature_maps).sum(0)
    return class_map, class_map.mean() + bias


@score_from_positions.mistake("you summed the map over its positions instead of averaging")
def sum_of_the_map(feature_maps, weight, bias):
    class_map, _ = score_from_positions.reference(feature_maps, weight, bias)
    return class_map, class_map.sum() + bias


@score_from_positions.mistake("the bias is missing from the score")
def mean_alone(feature_maps, weight, bias):
    class_map, score = score_from_positions.reference(feature_maps, weight, bias)
    return class_map, score - bias


@score_from_positions.mistake(
    "the bias went into the map; it does not belong to any position, add it to the score only"
)
def bias_in_the_map(feature_maps, weight, bias):
    class_map, score = score_from_positions.reference(feature_maps, weight, bias)
    return class_map + bias, score


@score_from_positions.mistake(
    "you cut the negative positions away; they belong to the score, there is no ReLU in this map"
)
def relu(feature_maps, weight, bias):
    class_map = score_from_positions.reference(feature_maps, weight, bias)[0].clamp(min=0)
    return class_map, class_map.mean() + bias


def _rows_far_apart():
    """Scores of three images whose sizes have nothing to do with each other; those of the last differ by 2000."""
    return torch.tensor([[1000.0, 1001.0], [0.0, 1.0], [0.0, 2000.0]], dtype=torch.float64)


@exercise(
    "softmax of the scores (B, C) over the classes, right for scores of any size",
    inputs=lambda g: [(normal(g, 3, 4),), (normal(g, 1, 7) * 5,), (normal(g, 2, 3) * 10 + 1000,), (_rows_far_apart(),)],
    hints=[
        "exp of each score, divided by the sum of the exps of the same image.",
        "Adding one number to all scores of an image changes nothing: subtract the largest before exp.",
        "exps.sum(1, keepdim=True) keeps the axis, so that the division fits.",
    ],
)
def softmax(scores):
    exps = (scores - scores.amax(1, keepdim=True)).exp()
    return exps / exps.sum(1, keepdim=True)


@softmax.mistake(
    "right for small scores, but exp(1000) is too large for a number: subtract the largest score before exp"
)
def overflowing(scores):
    return scores.exp() / scores.exp().sum(1, keepdim=True)


@softmax.mistake(
    "you subtracted one maximum for the whole batch, which leaves an image with small scores exp(-1000) = 0 for every "
    "class, and 0 / 0 is NaN: subtract from each row its own largest score"
)
def one_maximum_for_all(scores):
    exps = (scores - scores.max()).exp()
    return exps / exps.sum(1, keepdim=True)


@softmax.mistake(
    "you subtracted the mean of each row, but a score far above the mean still overflows: subtract the largest score "
    "of the row"
)
def mean_of_the_row(scores):
    exps = (scores - scores.mean(1, keepdim=True)).exp()
    return exps / exps.sum(1, keepdim=True)


@softmax.mistake("you divided by the sum over the images; divide by the sum over the classes, axis 1")
def over_pictures(scores):
    return torch.softmax(scores, 0)


@softmax.mistake("this is a sigmoid, which judges each class on its own; divide by the sum over the classes")
def sigmoid(scores):
    return torch.sigmoid(scores)


@softmax.mistake("this is the logarithm of the softmax")
def logarithm(scores):
    return torch.log_softmax(scores, 1)


@exercise(
    "a classifier weight (C, K) that gives class c a map of zeros for every image and changes no probability",
    inputs=lambda g: [(normal(g, 2, 3), 0), (normal(g, 5, 4), 3), (normal(g, 3, 6), 1)],
    hints=[
        "Subtracting ONE vector from every row changes no probability. Which vector turns row c into zeros?",
        "The vector to subtract is row c itself. Subtract it from every row, not from row c alone.",
        "weight - weight[c]: row c is subtracted from each of the rows, and weight itself stays as it was.",
    ],
)
def hide_class(weight, c):
    return weight - weight[c]


@hide_class.mistake("you changed row c alone, so this score moves and the others do not, and the probabilities change")
def row_alone(weight, c):
    weight = weight.clone()
    weight[c] = 0
    return weight


@hide_class.mistake(
    "the result is right, but -= changes the weight of the network that was passed in; weight - ... makes a new one"
)
def in_place(weight, c):
    weight -= weight[c].clone()
    return weight


@hide_class.mistake(
    "row c became zero before the rows after it were reached, so nothing was subtracted from them: keep row c first "
    "(row = weight[c].clone()), or write weight - weight[c]"
)
def row_lost_on_the_way(weight, c):
    for row in weight:
        row -= weight[c]
    return weight


@hide_class.mistake("every row is zero now, so all classes score alike; the rows' differences must stay")
def all_zero(weight, c):
    return torch.zeros_like(weight)


@hide_class.mistake("you added row c; subtract it")
def added(weight, c):
    return weight + weight[c]


@hide_class.mistake("you took the mean row away: that changes no probability, but class c still has a map")
def centred(weight, c):
    return weight - weight.mean(0)


@hide_class.mistake("you took column c; a class is a row of weight")
def column(weight, c):
    return weight - weight[:, c : c + 1]


def _towards_the_middle(feature_maps):
    """A mean that counts the middle more than the edges."""
    height, width = feature_maps.shape[1:]
    down = torch.arange(1.0, height + 1).minimum(torch.arange(float(height), 0, -1))
    across = torch.arange(1.0, width + 1).minimum(torch.arange(float(width), 0, -1))
    share = (down[:, None] * across).to(feature_maps.dtype)
    return (feature_maps * (share / share.sum())).sum((1, 2))


@task(
    "a pooling of your own, (K, h, w) to (K,), that is not the mean and for which a class score still is a weighted "
    "sum of its map over the positions, with fixed shares: the same for every image",
    hints=[
        "Go back to the exchange of the two sums. Which step needed the mean, and which would work with other shares?",
        "Every position may count differently, as long as its share depends on the position alone: not on the values, "
        "and not on the channel.",
        "For example: shares that are larger in the middle than at the edges, then (feature_maps * shares).sum((1, "
        "2)).",
    ],
    example=_towards_the_middle,
)
def own_pooling(function):
    g = np.random.default_rng(2)
    for shape in ((3, 4, 4), (2, 3, 5)):
        a, b = normal(g, *shape), normal(g, *shape)
        parts = a.clamp(min=0), (-a).clamp(min=0)  # a is the first minus the second, and both have zeros
        pooled = [_numbers(function(x)) for x in (a, b, a + b, 3 * a, -a, a.flip(0), 0 * a, *parts)]
        if pooled[0].shape != (shape[0],):
            yield (
                f"for feature maps of shape {shape} it gives {tuple(pooled[0].shape)}: give one number for each "
                f"channel, ({shape[0]},)"
            )
            return
        of_a, of_b, of_sum, of_triple, of_minus, of_flipped, of_zeros, of_plus, of_rest = pooled
        if not all(each.isfinite().all() for each in pooled):
            yield "it gives numbers that are not finite"
        if not _close(of_zeros, torch.zeros_like(of_zeros)):
            yield (
                "feature maps of zeros do not pool to zeros: you added a constant, which comes from no position (the "
                "bias does that), so leave it out"
            )
        if not _close(of_triple, 3 * of_a):
            yield (
                "feature maps that are three times as large do not pool to three times as much, so it is not a "
                "weighted sum with fixed shares: something is squared, or the shares depend on the values of the image"
            )
        if not _close(of_minus, -of_a):
            yield (
                "-f does not pool to minus what f pools to, so the shares of the positions are not fixed: a maximum, a "
                "minimum or a ReLU lets the values decide which positions count"
            )
        if not _close(of_sum, of_a + of_b):
            yield (
                "f + g does not pool to what f and g pool to, added up: which positions count depends on the values of "
                "the image, and the shares should be the same for every image"
            )
        if not _close(of_a, of_plus - of_rest):
            yield (
                "positions with the value 0 are treated in their own way (perhaps left out), so which positions count "
                "depends on the image: the shares should be the same for every image"
            )
        if not _close(of_flipped, of_a.flip(0)):
            yield (
                "a channel is pooled differently when the channels change places: use the same share of a position for "
                "every channel, or the share cannot be moved out of the sum over the channels"
            )
        if _close(of_a, torch.zeros_like(of_a)):
            yield "it gives 0 for every channel: nothing is left to score"
        ratio = of_a / a.mean((1, 2))
        if _close(ratio, ratio[:1].expand_as(ratio)) and _close(of_b, ratio[0] * b.mean((1, 2))):
            yield "this is the mean, or a multiple of it: let the positions count differently"


def _numbers(values):
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


def _close(a, b):
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@own_pooling.wrong
def mean_again(feature_maps):
    return feature_maps.mean((1, 2))


@own_pooling.wrong
def sum_again(feature_maps):
    return feature_maps.sum((1, 2))


@own_pooling.wrong
def mean_and_a_constant(feature_maps):
    return feature_maps.mean((1, 2)) + 1


@own_pooling.wrong
def max_pooling(feature_maps):
    return feature_maps.amax((1, 2))


@own_pooling.wrong
def median(feature_maps):
    return feature_maps.flatten(1).quantile(0.5, 1)


@own_pooling.wrong
def mean_of_squares(feature_maps):
    return (feature_maps**2).mean((1, 2))


@own_pooling.wrong
def mean_of_what_is_positive(feature_maps):
    return feature_maps.clamp(min=0).mean((1, 2))


@own_pooling.wrong
def shares_from_the_values(feature_maps):
    share = feature_maps.sum(0).flatten().softmax(0)
    return feature_maps.flatten(1) @ share


@own_pooling.wrong
def strongest_position_of_all_channels(feature_maps):
    return feature_maps.flatten(1)[:, feature_maps.sum(0).flatten().argmax()]


@own_pooling.wrong
def mean_of_what_is_not_zero(feature_maps):
    return feature_maps.sum((1, 2)) / (feature_maps != 0).sum((1, 2)).clamp(min=1)


@own_pooling.wrong
def another_corner_for_each_channel(feature_maps):
    return torch.stack([channel.flatten()[k] for k, channel in enumerate(feature_maps)])


@own_pooling.wrong
def one_number(feature_maps):
    return feature_maps.mean()
