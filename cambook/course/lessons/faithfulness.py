"""Does a map tell what the network uses? Pixels taken away and put back, weights made random, boxes as ever."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from skimage.filters import sobel
from torch import Tensor, nn

from cambook import metrics, networks
from cambook.datasets.batches import Batch
from cambook.maps.cam import blur, upsample
from cambook.maps.gradients import choose_classes
from cambook.maps.methods import BLUR_SIGMA, GRID
from cambook.metrics.grid import boxes_on_grid, count_boxes, maps_on_grid, masks_on_grid
from cambook.networks.base import Network


def deletion(
    network: Network,
    images: Tensor,
    maps: Tensor,
    classes: Tensor | int,
    steps: int = 10,
    filling: Tensor | None = None,
) -> Tensor:
    """The class's probability while an image loses its pixels, those where the map is highest first.

    images: (B, 3, H, W); maps: (B, 1, h, w), brought to the image's size; classes: (B,) or a number; filling: what
            stands in place of deleted pixels, as images, by default the network's grey
    returns: (B, steps + 1), after a share 0, 1 / steps, ..., 1 of the pixels was replaced
    A map that knows what the network uses makes it fall at once. Petsiuk et al. 2018.
    """
    filling = network.mean.expand_as(images) if filling is None else filling.to(images)
    return _replaced(network, images, filling, maps, classes, steps)


def insertion(network: Network, images: Tensor, maps: Tensor, classes: Tensor | int, steps: int = 10) -> Tensor:
    """The class's probability while a blurred image gets its pixels back, those where the map is highest first.

    Arguments and result as in deletion; the blur is a Gaussian of an eighth of the image's side. Here a good map
    makes it rise at once. Petsiuk et al. 2018.
    """
    return _replaced(network, blur(images, images.shape[-1] / 8), images, maps, classes, steps)


@torch.no_grad()
def _replaced(network, before: Tensor, after: Tensor, maps: Tensor, classes: Tensor | int, steps: int) -> Tensor:
    if steps < 1:
        raise ValueError(f"steps={steps} replaces nothing: give at least 1.")
    size = before.shape[2:]
    order = upsample(maps, tuple(size)).flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).view(len(maps), 1, *size)
    curve = []
    for step in range(steps + 1):
        shown = torch.where(rank < round(step / steps * rank[0].numel()), after, before)
        logits = network(shown)[0]
        curve.append(logits.softmax(1).gather(1, choose_classes(logits, classes, one_each=True))[:, 0])
    return torch.stack(curve, 1)


def cascade(network: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """Copies of the network with more and more of its layers random, from the last down: ("classifier", copy), ...

    A layer is a convolution or linear layer with the batch norm after it; its random state is that of a network built
    with `seed`, before any training. The name says which layer became random last. Adebayo et al. 2018.
    """
    fresh = dict(networks.build(network.name, network.classes, seed=seed).to(network.mean.device).named_modules())
    layers: list[list[str]] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            layers.append([name])
        elif layers and next(module.parameters(recurse=False), None) is not None:
            layers[-1].append(name)
    network = copy.deepcopy(network)
    for number, names in reversed(list(enumerate(layers, 1))):
        for name in names:
            network.get_submodule(name).load_state_dict(fresh[name].state_dict())
        kind = "conv" if isinstance(fresh[names[0]], nn.Conv2d) else "linear"
        yield f"{kind} {number}", copy.deepcopy(network)


def edges(images: Tensor) -> Tensor:
    """The strength of the edges of images (B, 3, H, W), by the Sobel filter of their grey values: (B, 1, H, W).

    The control for maps that show the image rather than the network.
    """
    grey = images.mean(1).cpu().numpy()
    return torch.from_numpy(np.stack([sobel(one) for one in grey]))[:, None].to(images.device)


def localize(maps: Tensor, batch: Batch, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Pointing game and MaxBoxAcc (rule wsol, IoU 0.5) of maps of the true class, in percent.

    maps:    (N, 1, h, w), of the batch's N images
    returns: {"pointing": (value, low, high), "max_box_acc": ...} with the 95% bootstrap interval over the images
    """
    large, truth = maps_on_grid(maps), boxes_on_grid(batch.boxes, batch.images.shape[-1])
    targets = truth if batch.masks is None else masks_on_grid(batch.masks)
    boxes = count_boxes(large, truth)
    hit = np.array([metrics.pointing_hit(one, target) for one, target in zip(large, targets, strict=True)])
    return {
        "pointing": (100 * float(hit.mean()), *metrics.bootstrap_interval(hit, seed)),
        "max_box_acc": (boxes.max_box_acc()[0], *metrics.bootstrap_interval(boxes.hits(), seed)),
    }


@dataclass
class Assessment:
    """What maps of the true class are worth.

    row: metric -> (value, low, high), with the 95% bootstrap interval over the images
    deletion, insertion:  area under the class's probability, 0 to 1; deletion: lower is better, insertion: higher
    pointing, max_box_acc: percent, for maps that follow single pixels after a blur
    raw_max_box_acc:      percent, the maps as they are
    per_picture: deletion and insertion scores (N,), to compare two methods image by image
    curves:      deletion and insertion, the mean probability (steps + 1,)
    """

    row: dict[str, tuple[float, float, float]]
    per_picture: dict[str, np.ndarray] = field(repr=False)
    curves: dict[str, np.ndarray] = field(repr=False)


def assess(network: Network, maps: Tensor, batch: Batch, pixels: bool, seed: int = 0, steps: int = 10) -> Assessment:
    """All scores of maps (N, 1, h, w) of the batch's true classes.

    pixels: whether pointing game and boxes are read after a Gaussian of 9 px at 224 px, as for smooth saliency
    steps:  of the deletion and insertion curves
    """
    curves = {
        "deletion": deletion(network, batch.images, maps, batch.labels, steps).cpu().numpy(),
        "insertion": insertion(network, batch.images, maps, batch.labels, steps).cpu().numpy(),
    }
    areas = {name: metrics.area_under(curve) for name, curve in curves.items()}
    row = {name: (float(a.mean()), *metrics.bootstrap_interval(a, seed)) for name, a in areas.items()}
    raw = localize(maps, batch, seed)
    large = upsample(maps, batch.images.shape[-1])
    read = localize(blur(large, BLUR_SIGMA * large.shape[-1] / GRID), batch, seed) if pixels else raw
    row |= {**read, "raw_max_box_acc": raw["max_box_acc"]}
    return Assessment(row, areas, {name: curve.mean(0) for name, curve in curves.items()})


def paired(a: np.ndarray, b: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """The mean of a - b over the same images, and its 95% bootstrap interval: (difference, low, high)."""
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    return float(difference.mean()), *metrics.bootstrap_interval(difference, seed)


def gains(assessed: Mapping[str, Assessment], control: str, score: str, seed: int = 0) -> dict[str, tuple]:
    """What each map gains over a control, image by image: {name: (gain, low, high)}, plus is always good.

    assessed: by name, the control among them, and names that begin with "control" are left out of the result; score:
              "deletion", where low is good and the sign is turned, or "insertion"
    """
    sign = {"deletion": -1, "insertion": 1}[score]
    blind = sign * assessed[control].per_picture[score]
    return {
        name: paired(sign * one.per_picture[score], blind, seed)
        for name, one in assessed.items()
        if not name.startswith("control")
    }


def decided(differences: Mapping[str, tuple[float, float, float]]) -> list[str]:
    """The names whose interval lies above 0."""
    return [name for name, (_, low, _) in differences.items() if low > 0]


def table(assessed: Mapping[str, Assessment]) -> pd.DataFrame:
    """Assessments under each other, each value with its interval: two digits for areas, one for percent."""

    def cell(name: str, value: float, low: float, high: float) -> str:
        digits = 2 if name in ("deletion", "insertion") else 1
        return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    rows = {who: {name: cell(name, *given) for name, given in e.row.items()} for who, e in assessed.items()}
    return pd.DataFrame.from_dict(rows, orient="index")
