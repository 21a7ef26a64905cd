"""Maps of a whole set, their boxes at every threshold, and what it costs to choose a threshold with boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cambook import metrics
from cambook.datasets.batches import Batch
from cambook.maps.boxes import box_from_map, box_iou
from cambook.maps.cam import upsample
from cambook.maps.methods import find_method
from cambook.metrics.grid import boxes_on_grid, count_boxes, maps_on_grid, masks_on_grid
from cambook.networks.base import Network

TOGETHER = 100  # so many maps are drawn large at a time


@dataclass
class MapEvaluation:
    """One kind of map on one set of images, counted as Choe et al. 2020 count (rule wsol, 224 x 224).

    maps:     (N, 1, h, w), of the true classes, raw
    accuracy: metrics.BoxAccuracy of the set: its curve, hits, max_box_acc and max_box_acc_v2
    pixels:   metrics.PixelAveragePrecision, or None where the set has no masks
    """

    maps: Tensor
    accuracy: metrics.BoxAccuracy
    pixels: metrics.PixelAveragePrecision | None

    @property
    def hits(self) -> np.ndarray:
        """(N, 1000) bool: which image is right at which threshold i / 1000, largest contour, IoU >= 0.5."""
        return self.accuracy.hits()

    def pxap(self) -> float | str:
        """PxAP in percent, or "not applicable" without masks."""
        return "not applicable" if self.pixels is None else self.pixels.value()


@torch.no_grad()
def feature_maps(network: Network, batch: Batch, some: int = 100) -> Tensor:
    """The network's feature maps (B, K, h, w) of a batch, on the CPU; the network is put into evaluation mode."""
    network.eval()
    device = network.mean.device
    return torch.cat([network(images.to(device))[1].cpu() for images in batch.images.split(some)])


@torch.no_grad()
def true_class_maps(network: Network, batch: Batch, source: str, some: int = 100) -> Tensor:
    """Raw maps of the true classes (B, 1, h, w), on the CPU.

    source: what makes the map, a name in maps.MAPS; some: how many images at a time
    raises: ValueError for another source
    """
    method = find_method(source)
    network.eval()
    device, found = network.mean.device, []
    for images, labels in zip(batch.images.split(some), batch.labels.split(some), strict=True):
        images = images.to(device)
        _, features = network(images)
        found.append(method(network, images, features, labels[:, None].to(device)).cpu())
    return torch.cat(found)


def evaluate_maps(maps: Tensor, batch: Batch) -> MapEvaluation:
    """Counts the boxes and pixels of raw maps (B, 1, h, w) against a batch's boxes and masks, at every threshold."""
    truth = boxes_on_grid(batch.boxes, batch.images.shape[-1])
    accuracy = metrics.BoxAccuracy()
    pixels = None if batch.masks is None else metrics.PixelAveragePrecision()
    masks = [None] * len(batch) if batch.masks is None else masks_on_grid(batch.masks)
    ignored = [None] * len(batch) if batch.ignore is None else masks_on_grid(batch.ignore)
    for some in torch.arange(len(batch)).split(TOGETHER):
        large = maps_on_grid(maps[some])
        count_boxes(large, [truth[n] for n in some], accuracy)
        if pixels is not None:
            for n, map2d in zip(some, large, strict=True):
                pixels.update(map2d, masks[n], ignored[n])
    return MapEvaluation(maps, accuracy, pixels)


def table(found: dict[str, MapEvaluation]) -> pd.DataFrame:
    """A row for each name: MaxBoxAcc, MaxBoxAccV2 and PxAP in percent, each at its best threshold on this set."""
    columns = {
        "MaxBoxAcc": [one.accuracy.max_box_acc()[0] for one in found.values()],
        "MaxBoxAccV2": [one.accuracy.max_box_acc_v2() for one in found.values()],
        "PxAP": [one.pxap() for one in found.values()],
    }
    return pd.DataFrame(columns, index=list(found))


def rule_hits(maps: Tensor, batch: Batch, rule: str, thresholds: ArrayLike, iou: float = 0.5) -> np.ndarray:
    """Which image has a right box at which threshold by a box rule, on the images' own grid: (N, T) bool.

    maps: (N, 1, h, w) raw; rule, thresholds: as in boxes.box_from_map; plain IoU of half-open boxes
    """
    full = upsample(maps, batch.images.shape[-1])[:, 0].numpy()
    hits = np.zeros((len(full), len(thresholds)), bool)
    for n, (map2d, truth) in enumerate(zip(full, batch.boxes, strict=True)):
        for t, threshold in enumerate(thresholds):
            box = box_from_map(map2d, rule, threshold)
            hits[n, t] = box is not None and box_iou(box[None], truth).max() >= iou
    return hits


def middle_of_best(hits: ArrayLike) -> int:
    """The position of the threshold that serves the most images; of several equally good ones the middle one.

    hits: (N, T), right or wrong. With few images many thresholds are best, and the lowest of them, which MaxBoxAcc
    names, lies at the edge of what still works.
    """
    served = np.asarray(hits).sum(0)
    best = np.flatnonzero(served == served.max())
    return int(best[len(best) // 2])


@dataclass(frozen=True)
class Tuned:
    """Thresholds tuned on n boxed images, `repeats` times: each (repeats,).

    apparent:  BoxAcc in percent at the tuned threshold on the very images that tuned it
    actual:    BoxAcc in percent at the same threshold on the test images
    choice:    which column of the hits was chosen
    """

    apparent: np.ndarray
    actual: np.ndarray
    choice: np.ndarray


def tune(boxed: ArrayLike, test: ArrayLike, n: int, repeats: int, seed: int) -> Tuned:
    """Draws n boxed images, takes their best threshold to the test images; again and again.

    boxed: (M, T) hits of the images that may be drawn, without replacement; test: (N, T) hits at the same thresholds
           (or at the thresholds of several methods side by side: then the method is chosen as well)
    n:     how many are drawn, at most M, otherwise all M
    raises: ValueError where the numbers of thresholds differ or n is below 1
    """
    boxed, test = np.asarray(boxed, bool), np.asarray(test, bool)
    if boxed.ndim != 2 or test.ndim != 2 or boxed.shape[1] != test.shape[1] or n < 1:
        raise ValueError(
            f"hits of shapes {boxed.shape} and {test.shape}, n={n}: give (M, T), (N, T) and n of 1 or more."
        )
    draw, on_test = np.random.default_rng(seed), 100 * test.mean(0)
    apparent, choice = np.empty(repeats), np.empty(repeats, int)
    for r in range(repeats):
        drawn = boxed[draw.permutation(len(boxed))[:n]]
        choice[r] = middle_of_best(drawn)
        apparent[r] = 100 * drawn[:, choice[r]].mean()
    return Tuned(apparent, on_test[choice], choice)
