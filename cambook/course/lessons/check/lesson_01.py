"""Lesson 01: pooling, and what a classifier on top of it costs."""

from __future__ import annotations

import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task


def _feature_maps(g):
    return [(normal(g, 2, 3, 4, 4),), (normal(g, 1, 5, 3, 7),), (normal(g, 4, 2, 6, 5),)]


@exercise(
    "global average pooling: one number for each image and channel",
    inputs=_feature_maps,
    hints=[
        "feature_maps is (B, K, h, w); the result is (B, K).",
        "Average over the two spatial axes, the third and the fourth: .mean((2, 3)).",
    ],
)
def gap(feature_maps):
    return feature_maps.mean((2, 3))


@gap.mistake("you summed over the positions instead of averaging")
def summed(feature_maps):
    return feature_maps.sum((2, 3))


@gap.mistake("you took the maximum; that is GMP, average the positions instead")
def maximum(feature_maps):
    return feature_maps.amax((2, 3))


@gap.mistake("you averaged over the channels; average over the positions and keep the channels")
def over_channels(feature_maps):
    return feature_maps.mean(1)


@gap.mistake("you averaged over the images and the channels too; each image and channel keeps its own number")
def over_everything(feature_maps):
    return feature_maps.mean()


def _negative_channels_too(g):
    return [*_feature_maps(g), (-normal(g, 2, 3, 3, 4).abs() - 0.1,)]


@exercise(
    "global max pooling: one number for each image and channel",
    inputs=_negative_channels_too,
    hints=[
        "Only the loudest position of each channel counts.",
        ".amax((2, 3)) takes the maximum over two axes at once; .max() takes one axis and also gives indices.",
    ],
)
def gmp(feature_maps):
    return feature_maps.amax((2, 3))


@gmp.mistake("you averaged; that is GAP, take the maximum over the positions instead")
def mean(feature_maps):
    return feature_maps.mean((2, 3))


@gmp.mistake("you took the maximum over the channels; take it over the positions and keep the channels")
def largest_channel(feature_maps):
    return feature_maps.amax(1)


@gmp.mistake(
    "you took the maximum over the channels, and .max(1) of a tensor is a pair (values, indices); use .amax((2, 3))"
)
def pairs_of_the_largest_channel(feature_maps):
    return feature_maps.max(1)


@gmp.mistake(".max(2) of a tensor is a pair (values, indices); take its .values")
def values_and_indices(feature_maps):
    return feature_maps.flatten(2).max(2)


@gmp.mistake(
    "right for channels that are positive somewhere, but the maximum of a channel that is negative everywhere is "
    "negative: neither clamp it at 0 nor start a loop at 0"
)
def not_below_zero(feature_maps):
    return feature_maps.amax((2, 3)).clamp(min=0)


@gmp.mistake("you took the largest size, sign ignored; a strongly negative position is not the maximum")
def largest_size(feature_maps):
    return feature_maps.abs().amax((2, 3))


@exercise(
    "the parameters of a linear layer for C classes on (K, h, w) feature maps: (after flattening, after pooling)",
    inputs=lambda g: [(512, 7, 7, 1000), (64, 4, 6, 12), (3, 2, 5, 2)],
    hints=[
        "A linear layer has one weight for each pair of an input and an output, and one bias for each output.",
        "Flattened there are K * h * w inputs, after pooling K.",
    ],
)
def parameters_of_head(K, h, w, C):
    return K * h * w * C + C, K * C + C


@parameters_of_head.mistake("the biases are missing: one for each class")
def no_bias(K, h, w, C):
    return K * h * w * C, K * C


@parameters_of_head.mistake("the biases after flattening are missing: C of them, as after pooling")
def no_bias_after_flattening(K, h, w, C):
    return K * h * w * C, K * C + C


@parameters_of_head.mistake("the two are swapped: flattened first, pooled second")
def swapped(K, h, w, C):
    return K * C + C, K * h * w * C + C


@parameters_of_head.mistake("pooling leaves one number a channel, so h and w play no part after it")
def not_pooled(K, h, w, C):
    return K * h * w * C + C, K * h * w * C + C


@parameters_of_head.mistake("there is one bias for each class, not one bias in all")
def one_bias_in_all(K, h, w, C):
    return K * h * w * C + 1, K * C + 1


@parameters_of_head.mistake("there is one bias for each class, not one for each input")
def bias_for_each_input(K, h, w, C):
    return K * h * w * C + K * h * w, K * C + K


@exercise(
    "the maps of a linear layer on flattened feature maps: each position's share of each score, bias left out",
    inputs=lambda g: [
        (normal(g, 3, 4, 5), normal(g, 2, 60)),
        (normal(g, 2, 3, 3), normal(g, 4, 18)),
        (normal(g, 4, 2, 4), normal(g, 1, 32)),
    ],
    hints=[
        "The layer has its own weight for each channel AND position: weight.view(C, K, h, w).",
        "Multiply by feature_maps, which then needs no new axis, and sum over the channels only.",
        'In one line: torch.einsum("khw,ckhw->chw", feature_maps, weight.view(-1, *feature_maps.shape)).',
    ],
)
def flat_layer_map(feature_maps, weight):
    own_weight_of_each_place = weight.view(-1, *feature_maps.shape)
    return (own_weight_of_each_place * feature_maps).sum(1)


@flat_layer_map.mistake("these are the scores; keep the positions, sum over the channels only")
def scores(feature_maps, weight):
    return weight @ feature_maps.flatten()


@flat_layer_map.mistake("you averaged over the channels; the layer adds them up")
def averaged_over_channels(feature_maps, weight):
    return (weight.view(-1, *feature_maps.shape) * feature_maps).mean(1)


@flat_layer_map.mistake("you divided by the number of positions, as GAP does; a flat layer adds its positions up")
def divided_as_in_gap(feature_maps, weight):
    return (weight.view(-1, *feature_maps.shape) * feature_maps).sum(1) / feature_maps[0].numel()


@flat_layer_map.mistake("this treats all positions alike; here each position has a weight of its own")
def shared_weight(feature_maps, weight):
    shared = weight.view(-1, *feature_maps.shape).mean((2, 3))
    return torch.einsum("khw,ck->chw", feature_maps, shared)


@flat_layer_map.mistake("flatten puts the channel first, (K, h, w); you read the weight as (h, w, K)")
def channels_last(feature_maps, weight):
    channels, height, width = feature_maps.shape
    own = weight.view(-1, height, width, channels).permute(0, 3, 1, 2)
    return (own * feature_maps).sum(1)


def _mean_of_the_highest_four(feature_maps):
    return feature_maps.flatten(2).topk(4).values.mean(2)


@task(
    "a pooling between the mean and the maximum: feature maps (B, K, h, w) in, one number per image and channel out",
    hints=[
        "feature_maps.flatten(2) is (B, K, h * w): the order of the cells plays no part any more.",
        "Take the mean of some of the highest cells, weigh the cells by a softmax of their values, or mix GAP and GMP.",
    ],
    example=_mean_of_the_highest_four,
)
def pooling(function):
    generator = torch.Generator().manual_seed(0)

    def pool(maps):
        return torch.as_tensor(function(maps.clone())).double()

    for shape in ((2, 3, 4, 6), (1, 5, 7, 7)):
        maps = torch.randn(shape, generator=generator, dtype=torch.float64)
        pooled = pool(maps)
        if pooled.shape != shape[:2]:
            yield f"maps of shape {shape} must give one number per image and channel, not shape {tuple(pooled.shape)}"
            return
        yield from _not_in_between(maps, pooled, "perhaps you add up where you should average")
        order = torch.randperm(shape[2] * shape[3], generator=generator)
        if not torch.allclose(pool(maps.flatten(2)[..., order].view(shape)), pooled):
            yield "shuffle the cells of a map and your number changes, so it depends on where the object is"
    negative = -maps.abs() - 0.1
    for complaint in _not_in_between(negative, pool(negative), "perhaps a square or a ReLU loses the sign"):
        yield f"right for maps that are positive somewhere, but on one that is negative everywhere, {complaint}"
    levels = torch.tensor([[-1.5, 0, 2]], dtype=torch.float64)
    if not torch.allclose(pool(levels[..., None, None].expand(1, 3, 4, 6)), levels, atol=1e-6):
        yield (
            "if all values of a map are the same, your number must be that value, and it is not: perhaps you divide by "
            "a difference, which is 0 there"
        )


def _not_in_between(maps, pooled, why_above):
    """A sentence for each way in which pooled numbers do not lie between mean and maximum."""
    mean, highest = maps.mean((2, 3)), maps.amax((2, 3))
    if not pooled.isfinite().all():
        yield "some values are NaN or infinite; feature maps can have negative values"
    elif torch.allclose(pooled, mean):
        yield "that is GAP itself; let high cells count more than low ones"
    elif torch.allclose(pooled, highest):
        yield "that is GMP itself; let more than one cell of each map take part"
    elif (pooled < mean - 1e-6).any():
        yield "one of your numbers is below the mean of its map"
    elif (pooled > highest + 1e-6).any():
        yield f"one of your numbers is above the maximum of its map; {why_above}"


@pooling.wrong
def mean_itself(feature_maps):
    return feature_maps.mean((2, 3))


@pooling.wrong
def maximum_itself(feature_maps):
    return feature_maps.amax((2, 3))


@pooling.wrong
def median(feature_maps):
    return feature_maps.flatten(2).median(2).values


@pooling.wrong
def sum_of_the_highest_four(feature_maps):
    return feature_maps.flatten(2).topk(4).values.sum(2)


@pooling.wrong
def mean_of_each_rows_maximum(feature_maps):
    return feature_maps.amax(3).mean(2)


@pooling.wrong
def root_of_the_mean(feature_maps):
    return feature_maps.mean((2, 3)).sqrt()


@pooling.wrong
def root_mean_square(feature_maps):
    return (feature_maps**2).mean((2, 3)).sqrt()


@pooling.wrong
def root_mean_square_of_the_positive(feature_maps):
    return (feature_maps.relu() ** 2).mean((2, 3)).sqrt()


@pooling.wrong
def weighed_by_height_above_the_lowest(feature_maps):
    height = feature_maps - feature_maps.amin((2, 3), keepdim=True)
    return (height * feature_maps).sum((2, 3)) / height.sum((2, 3))


@pooling.wrong
def one_number_per_image(feature_maps):
    return feature_maps.flatten(1).topk(4).values.mean(1)
