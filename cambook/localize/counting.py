"""One pass over maps on disk: each image's boxes and pixels counted right or wrong, beside two controls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from cambook.localize.map_files import MapFiles, in_threads
from cambook.localize.truths import Truth, Truths
from cambook.machine import compiled
from cambook.maps.boxes import box_iou
from cambook.maps.methods import GRID, centre_maps
from cambook.metrics.box_accuracy import BoxAccuracy, SameMap
from cambook.metrics.evaluation import PAPER_THRESHOLD
from cambook.metrics.grid import maps_on_grid
from cambook.metrics.pixels import PixelAveragePrecision

MAPS, CENTRE, WHOLE = "maps", "centre", "whole image"
SIZES = ("under 10%", "10 to 25%", "25 to 50%", "50 to 75%", "75% and more")  # the object's share of the grid
MOST_CLASSES = 2000  # PxAP by class takes 16 kB for each

_EDGES = (10, 25, 50, 75)


@dataclass
class Counts:
    """What was counted of one set of images, whose order is that of `ids`.

    Attributes:
        ids: of the images.
        labels: (N,) int64, indices of classes.
        shares: (N,) the object's share of the grid in percent: of its mask, else of its largest true box.
        boxes: boxes at every threshold, by rule "wsol", of the maps and of each control; empty without true boxes.
        paper: (N,) bool each: whether the box by rule "paper" at 20% reaches IoU 0.5; empty without true boxes.
        pixels: pixels at every threshold, likewise; empty without masks.
        image_pixels: (N,) PxAP of each image's own pixels.
        class_pixels: label -> (2, scores), pixels outside and inside masks.
        size_pixels: pixels of the maps by `SIZES`.
        unmarked: how many images have masks that mark nothing.

    Example:
        >>> Counts(["cat.jpg"], np.array([0]), shares=np.array([20.0])).size_bins().tolist()
        [1]
    """

    ids: list[str]
    labels: np.ndarray
    shares: np.ndarray = field(default_factory=lambda: np.zeros(0))
    boxes: dict[str, BoxAccuracy] = field(default_factory=dict)
    paper: dict[str, np.ndarray] = field(default_factory=dict)
    pixels: dict[str, PixelAveragePrecision] = field(default_factory=dict)
    image_pixels: np.ndarray = field(default_factory=lambda: np.zeros(0))
    class_pixels: dict[int, np.ndarray] = field(default_factory=dict)
    size_pixels: list[PixelAveragePrecision] = field(default_factory=list)
    unmarked: int = 0

    def size_bins(self) -> np.ndarray:
        """(N,) the position of each image in `SIZES`."""
        return np.digitize(self.shares, _EDGES)


@dataclass
class _Seen:
    """What came of one image, in the order of the maps and the controls."""

    share: float
    boxes: list[tuple[int, np.ndarray]]
    paper: list[bool]
    pixels: list[np.ndarray]
    unmarked: bool


def controls() -> dict[str, np.ndarray]:
    """The maps that look at no image: a spot in its centre, and the same value everywhere.

    Returns:
        (224, 224) each, from 0 to 1.

    Example:
        >>> {name: float(map2d[0, 0]) for name, map2d in controls().items()}
        {'centre': 0.0, 'whole image': 1.0}
    """
    centre = centre_maps(None, torch.zeros(1, 3, GRID, GRID), None, torch.zeros(1, 1))
    return {CENTRE: maps_on_grid(centre)[0], WHOLE: np.ones((GRID, GRID), np.float32)}


def count(
    maps: MapFiles,
    truths: Truths,
    read: Callable[[Path], np.ndarray],
    thresholds: int = 1000,
    beside: bool = True,
) -> Counts:
    """Count every map against its truth, streaming from disk on all cores of the processor.

    Args:
        maps: from `find_maps`; the ids that it has are counted, in the order of `truths`.
        truths: from `truths.from_metadata` or `truths.from_dataset`.
        read: from a file to its map (224, 224) from 0 to 1; several threads call it.
        thresholds: how many thresholds 0, 1 / thresholds, ...
        beside: whether controls, boxes by rule "paper" and pixels are counted, too.

    Returns:
        `Counts`. Beside ids, labels and sizes it takes 386 bytes for each image, however large the maps are.

    Raises:
        ValueError, OSError: the first map that cannot be read or counted, with its file.

    Source: Choe et al. 2020, section 3.

    Example:
        >>> found = count(MapFiles(Path("maps"), {}), Truths("mine", "test", {}, Truth), np.load)
        >>> len(found.boxes["maps"]), found.pixels
        (0, {})
    """
    ids = [identity for identity in truths.labels if identity in maps.files]
    found = Counts(ids, np.array([truths.labels[identity] for identity in ids], np.int64))
    names = [MAPS, CENTRE, WHOLE] if beside else [MAPS]
    if truths.has_boxes:
        found.boxes = {name: BoxAccuracy(GRID, thresholds, keep_hits=name != WHOLE) for name in names}
    if truths.has_masks and beside:
        found.pixels = {name: PixelAveragePrecision(thresholds) for name in names}
        found.size_pixels = [PixelAveragePrecision(thresholds) for _ in SIZES]
    judge = _Judge(maps, truths, read, found, controls() if beside else {})
    by_class = len(set(truths.labels.values())) <= MOST_CLASSES
    shares, paper, own = np.zeros(len(ids)), np.zeros((len(names), len(ids)), bool), np.full(len(ids), np.nan)
    with closing(in_threads(judge, ids, f"scoring {truths.split}")) as seen_in_order:  # an interrupt ends it at once
        for number, seen in enumerate(seen_in_order):
            shares[number] = seen.share
            found.unmarked += seen.unmarked
            for accuracy, judged in zip(found.boxes.values(), seen.boxes, strict=True):
                accuracy.add(*judged)
            if seen.paper:
                paper[:, number] = seen.paper
            if seen.pixels:
                for pixels, histograms in zip(found.pixels.values(), seen.pixels, strict=True):
                    pixels.add(histograms)
                first, label = seen.pixels[0], int(found.labels[number])
                own[number] = PixelAveragePrecision.value_of(first)
                found.size_pixels[int(np.digitize(seen.share, _EDGES))].add(first)
                if by_class:
                    found.class_pixels[label] = found.class_pixels.get(label, 0) + first
    found.shares, found.image_pixels = shares, own
    if truths.has_boxes and beside:
        found.paper = dict(zip(names, paper, strict=True))
    return found


def paper_box(map2d: np.ndarray) -> np.ndarray:
    """The box of a map by rule "paper" at 20%, as `maps.box_from_map` finds it, in a fifth of its time.

    Args:
        map2d: (H, W), from 0 to 1.

    Returns:
        (4,), half-open; zeros if there is none.

    Source: Zhou et al. 2016, section 3.2.

    Example:
        >>> paper_box(np.array([[0.0, 0.0, 0.0, 0.0, 0.9], [0.0, 0.5, 0.6, 0.0, 0.0]])).tolist()
        [1, 1, 3, 2]
    """
    peak = map2d.max()
    return _largest_piece(np.ascontiguousarray((map2d > PAPER_THRESHOLD * peak) & (peak > 0)))


@compiled
def _largest_piece(mask):
    """The tight box around the 8-connected piece with the most pixels; of several, the first in reading order.

    Runs of pixels in a row are joined with those they touch in the row before; a piece is known by its first run.
    """
    height, width = mask.shape
    runs = np.empty((height * (width + 1) // 2 + 1, 5), np.int64)  # x0, y0, x1, y1 and pixels; of a piece, at its first
    parent, ends = np.empty(len(runs), np.int64), np.empty((len(runs), 2), np.int64)
    count = before = 0
    for y in range(height):
        row, x = count, 0
        while x < width:
            if not mask[y, x]:
                x += 1
                continue
            start = x
            while x < width and mask[y, x]:
                x += 1
            runs[count, 0], runs[count, 1], runs[count, 2], runs[count, 3] = start, y, x, y + 1
            runs[count, 4], parent[count] = x - start, count
            ends[count, 0], ends[count, 1] = start, x
            while before < row and ends[before, 1] < start:
                before += 1
            other = before
            while other < row and ends[other, 0] <= x:
                first, second = other, count
                while parent[first] != first:
                    first = parent[first]
                while parent[second] != second:
                    second = parent[second]
                if first != second:
                    first, second = min(first, second), max(first, second)
                    parent[second] = first
                    runs[first, 0] = min(runs[first, 0], runs[second, 0])
                    runs[first, 1] = min(runs[first, 1], runs[second, 1])
                    runs[first, 2] = max(runs[first, 2], runs[second, 2])
                    runs[first, 3] = max(runs[first, 3], runs[second, 3])
                    runs[first, 4] += runs[second, 4]
                other += 1
            count += 1
        before = row
    best, box = 0, np.zeros(4, np.int64)
    for run in range(count):
        if parent[run] == run and runs[run, 4] > best:
            best = runs[run, 4]
            box[:] = runs[run, :4]
    return box


class _Judge:
    """From an id to what came of its image; several threads call it."""

    def __init__(self, maps: MapFiles, truths: Truths, read, counts: Counts, beside: dict[str, np.ndarray]) -> None:
        self.maps, self.where, self.read, self.counts, self.beside = maps, truths.where, read, counts, beside
        self.same = {name: SameMap(map2d) for name, map2d in beside.items()} if truths.has_boxes else {}
        self.fixed = [paper_box(map2d) for map2d in beside.values()]

    def __call__(self, identity: str) -> _Seen:
        truth: Truth = self.where(identity)
        path = self.maps.path(identity)
        map2d = self.read(path)
        boxes, paper, pixels = [], [], []
        try:
            for name, accuracy in self.counts.boxes.items():
                boxes.append(accuracy.judge(self.same.get(name, map2d), truth.boxes))
            if boxes and self.beside:
                guesses = [paper_box(map2d), *self.fixed]
                paper = (box_iou(guesses, truth.boxes).max(axis=1) >= 0.5).tolist()
            for name, seen in self.counts.pixels.items():
                pixels.append(seen.histograms(self.beside.get(name, map2d), truth.mask, truth.ignore))
        except ValueError as error:
            raise ValueError(f"{path} ({identity}): {error}") from error
        return _Seen(truth.share, boxes, paper, pixels, bool(pixels) and not truth.mask.any())
