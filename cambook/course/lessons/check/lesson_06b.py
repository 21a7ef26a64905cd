"""Lesson 06b: the units of a class, what excites a unit, units switched off, a probe of your own."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task


@exercise(
    "the indices of the n units that count most for class c, largest weight first. weight is (C, K), one row a class",
    inputs=lambda g: [(normal(g, 5, 5), 3, 2), (normal(g, 4, 9), 0, 3), (normal(g, 12, 20), 11, 5)],
    hints=["weight[c] is the row of class c: w_k^c for all k.", "weight[c].topk(n).indices"],
)
def unit_ranking(weight, c, n):
    return weight[c].topk(n).indices


@unit_ranking.mistake("these are the smallest weights; the units that raise the class most come first")
def lowest(weight, c, n):
    return weight[c].topk(n, largest=False).indices


@unit_ranking.mistake("these are the right units, but smallest weight first; give the largest first")
def ascending(weight, c, n):
    return weight[c].topk(n).indices.flip(0)


@unit_ranking.mistake("you ranked by size without sign; a large negative weight counts against the class")
def by_size(weight, c, n):
    return weight[c].abs().topk(n).indices


@unit_ranking.mistake("you gave the weights; give the indices of the units")
def the_weights(weight, c, n):
    return weight[c].topk(n).values


@unit_ranking.mistake("you ranked by the mean over all classes; take the row of class c")
def of_all_classes(weight, c, n):
    return weight.mean(0).topk(n).indices


def _labelled_maps(g):
    """Maps whose highest position and whose mean rank the images differently, with labels of three classes."""
    cases = []
    for count, channels, unit, n in ((12, 4, 1, 4), (9, 3, 2, 3), (20, 5, 0, 8), (15, 3, 1, 5), (16, 2, 0, 7)):
        maps = g.random((count, channels, 3, 3))
        maps[:, :, 1, 1] += 3 * g.random((count, channels))
        cases.append((maps, g.integers(0, 3, count), unit, n))
    return cases


@exercise(
    "the precision of a unit in percent: of the n images whose map of this unit has the highest maximum, the share "
    "that belongs to the most frequent class among them. maps are (N, K, h, w), labels (N,)",
    inputs=_labelled_maps,
    hints=[
        "One number for each image: the maximum of its map, maps[:, unit].max((1, 2)).",
        "The n largest: argsort gives ascending order, so take the last n.",
        "np.bincount(labels[top]).max() counts the most frequent class.",
    ],
)
def unit_precision(maps, labels, unit, n):
    top = maps[:, unit].max((1, 2)).argsort()[-n:]
    return 100 * np.bincount(labels[top]).max() / n


@unit_precision.mistake("you ranked the images by the mean of their map; one high position is enough, take the maximum")
def by_mean(maps, labels, unit, n):
    top = maps[:, unit].mean((1, 2)).argsort()[-n:]
    return 100 * np.bincount(labels[top]).max() / n


@unit_precision.mistake(
    "you counted the class of the image that excites the unit most; count the most frequent class among the n images"
)
def class_of_the_first(maps, labels, unit, n):
    top = maps[:, unit].max((1, 2)).argsort()[-n:]
    return 100 * (labels[top] == labels[top[-1]]).mean()


@unit_precision.mistake(
    "you counted the class of the first image that argsort gives, the n-th strongest; count the most frequent class "
    "among the n images"
)
def class_of_the_last(maps, labels, unit, n):
    top = maps[:, unit].max((1, 2)).argsort()[-n:]
    return 100 * (labels[top] == labels[top[0]]).mean()


@unit_precision.mistake("these are the images that excite the unit least; argsort is ascending, take the last n")
def least(maps, labels, unit, n):
    top = maps[:, unit].max((1, 2)).argsort()[:n]
    return 100 * np.bincount(labels[top]).max() / n


@unit_precision.mistake("you counted over all images; only the n that excite the unit most have a say")
def of_all_images(maps, labels, unit, n):
    return 100 * np.bincount(labels).max() / len(labels)


@unit_precision.mistake("this is a share between 0 and 1; give percent")
def precision_as_share(maps, labels, unit, n):
    return unit_precision.reference(maps, labels, unit, n) / 100


@exercise(
    "the scores (B, C) with the units in `off` (a list of channels) switched off: feature maps (B, K, h, w), then "
    "average pooling and the classifier's weight (C, K) and bias (C,)",
    inputs=lambda g: [
        (normal(g, 2, 4, 3, 3), normal(g, 3, 4), normal(g, 3), [1]),
        (normal(g, 3, 6, 2, 2), normal(g, 6, 6), normal(g, 6), [0, 4]),
    ],
    hints=[
        "After pooling a unit is one number per image: pooled = feature_maps.mean((2, 3)).",
        "A unit that is off gives 0: set those columns of pooled to 0.",
        "pooled @ weight.T + bias",
    ],
)
def switched_off(feature_maps, weight, bias, off):
    pooled = feature_maps.mean((2, 3))
    pooled[:, off] = 0
    return pooled @ weight.T + bias


@switched_off.mistake("you switched off classes: rows of the weight; a unit is one of its columns")
def classes_off(feature_maps, weight, bias, off):
    weight = weight.clone()
    weight[off] = 0
    return feature_maps.mean((2, 3)) @ weight.T + bias


@switched_off.mistake("you kept the units in off and switched off all others")
def all_but(feature_maps, weight, bias, off):
    pooled = feature_maps.mean((2, 3))
    return pooled[:, off] @ weight[:, off].T + bias


@switched_off.mistake("the bias belongs to the class and not to the units: it stays")
def without_bias(feature_maps, weight, bias, off):
    return switched_off.reference(feature_maps, weight, 0 * bias, off)


@switched_off.mistake("you pooled with the maximum; this network takes the mean of each feature map")
def pooled_by_maximum(feature_maps, weight, bias, off):
    pooled = feature_maps.amax((2, 3))
    pooled[:, off] = 0
    return pooled @ weight.T + bias


def rings(side):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.repeat(0.5 + 0.5 * np.sign(np.sin(2 * np.pi * np.hypot(x, y) / 8))[None], 3, axis=0)


def _long(flags):
    """The share of the true pixels that lie in connected pieces longer than a third of the side; 1 if none is true."""
    pieces, _ = ndimage.label(flags)
    sizes = [(pieces[box] == i + 1).sum() for i, box in enumerate(ndimage.find_objects(pieces))]
    spans = [max(each.stop - each.start for each in box) for box in ndimage.find_objects(pieces)]
    return sum(size for size, span in zip(sizes, spans, strict=True) if 3 * span > len(flags)) / max(flags.sum(), 1)


@task(
    "a probe: an image (3, side, side) in [0, 1] full of stripes that are not a sine and not straight grey bars of one "
    "direction alone; bend or colour them",
    hints=[
        "np.mgrid[:side, :side] gives the row and the column of every pixel.",
        "A stripe pattern is a wave in some quantity: the radius gives rings, column + 3 * sin(row / 5) bent stripes.",
        "0.5 + 0.5 * np.sign(np.sin(2 * np.pi * radius / 8)), three times for the colours.",
    ],
    example=rings,
)
def striped_probe(function):
    side = 64
    image = np.asarray(function(side), dtype=float)
    if image.shape != (3, side, side):
        yield f"give an image of shape (3, {side}, {side}) for side {side}, not {image.shape}"
    if not np.isfinite(image).all() or image.min() < -1e-6 or image.max() > 1 + 1e-6:
        yield f"images lie between 0 and 1, and yours runs from {image.min():.3g} to {image.max():.3g}"
    contrast = image.std((1, 2)).max()
    if contrast < 0.1:
        yield f"it is nearly flat (standard deviation {contrast:.2f}): stripes need a dark and a bright side"
    channel = image[image.std((1, 2)).argmax()]
    power = np.abs(np.fft.fft2(channel - channel.mean())) ** 2
    cycles = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side) * side] * 2))
    coarse = power[cycles < 2.5].sum() / power.sum()
    if coarse > 0.5:
        yield "most of it is coarser than a third of the image: draw at least three stripes side by side"
    ordered = np.sort(power.ravel())[::-1]
    if ordered[: side**2 // 20].sum() < 0.6 * ordered.sum():
        yield "it looks like noise, which has no period: let dark and bright take turns at equal distances"
    if ordered[:2].sum() > 0.9 * ordered.sum() and np.abs(image - channel).max() < 0.05:
        yield "this is the sine grating of the lesson again: bend it or colour it"
    soft = ndimage.gaussian_filter(channel - channel.mean(), 1)
    if min(_long(soft > 0.6 * soft.std()), _long(soft < -0.6 * soft.std())) < 0.5:
        yield (
            "these are patches, such as dots or the squares of a chessboard: stripes are long, the dark ones and the "
            "bright ones; bend or colour them instead of crossing them"
        )
    if np.asarray(function(32)).shape != (3, 32, 32):
        yield "for side 32 give an image of 32 by 32 pixels"


@striped_probe.wrong
def flat(side):
    return np.full((3, side, side), 0.5)


@striped_probe.wrong
def one_edge(side):
    image = np.zeros((3, side, side))
    image[:, :, side // 2 :] = 1
    return image


@striped_probe.wrong
def noise(side):
    return np.random.default_rng(0).random((3, side, side))


@striped_probe.wrong
def grating(side):
    return np.tile(0.5 + 0.5 * np.sin(2 * np.pi * np.arange(side) / 8), (3, side, 1))


@striped_probe.wrong
def coloured_chessboard(side):
    bright = np.add(*np.mgrid[:side, :side] // 4) % 2
    return np.stack([bright, 0.5 * bright, 1 - bright])


@striped_probe.wrong
def dots(side):
    wave = np.sin(2 * np.pi * np.arange(side) / 8)
    return np.stack([0.5 + 0.5 * np.outer(wave, wave)] * 3)


@striped_probe.wrong
def below_zero(side):
    return torch.sin(2 * torch.pi * torch.arange(side) / 8).expand(3, side, side)


@striped_probe.wrong
def one_channel(side):
    return rings(side)[0]
