"""Evaluates a network on a data set: one row of metrics, with the intervals that stand beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cambook.datasets.batches import image_getter, prefetch
from cambook.datasets.plain import check_labelled
from cambook.machine import resolve_device, tqdm
from cambook.maps.arrays import widened
from cambook.maps.boxes import box_from_map
from cambook.maps.cam import upsample
from cambook.maps.methods import MAPS, check_source
from cambook.metrics.box_accuracy import IOUS, BoxAccuracy
from cambook.metrics.grid import boxes_on_grid, count_boxes, maps_on_grid, masks_on_grid
from cambook.metrics.intervals import bootstrap_interval
from cambook.metrics.localization import (
    gt_known_correct,
    pointing_hit,
    share_inside,
    topk_correct,
    topk_error,
)
from cambook.metrics.pixels import PixelAveragePrecision
from cambook.networks.base import Network
from cambook.training import distributed

if TYPE_CHECKING:
    import pandas as pd


PAPER_THRESHOLD = 0.2
METRICS = (
    *("top1_error", "top5_error", "top1_loc_error", "top5_loc_error", "gt_known"),
    *("max_box_acc", "max_box_acc_v2", "pxap", "pointing"),
)


def check_finite(values: Tensor, batch, data, what: str) -> None:
    """Raises if a value of a batch is NaN or infinite, and names the first such image.

    Args:
        values: (B, ...), one row per image of the batch.
        batch: its indices say which images these are.
        data: the data set, for its name and, if it has any, its images' names.
        what: what the values are, for the message.

    Raises:
        ValueError: some value is not finite.

    Example:
        >>> from types import SimpleNamespace as Some
        >>> check_finite(torch.tensor([[1.0], [torch.nan]]), Some(indices=[4, 7]), Some(name="scenes"), "a score")
        Traceback (most recent call last):
        ValueError: scenes, image 7: a score is NaN or infinite; look at the weights.
    """
    finite = torch.isfinite(values).flatten(1).all(1).tolist()
    if not all(finite):
        place = int(batch.indices[finite.index(False)])
        name = f" ({data.names[place]})" if hasattr(data, "names") else ""
        raise ValueError(f"{data.name}, image {place}{name}: {what} is NaN or infinite; look at the weights.")


@dataclass
class Evaluation:
    """One row of a results table, in percent, with 95% bootstrap intervals over the images.

    row: metric -> value
        top1_error, top5_error           classification
        top1_loc_error, top5_loc_error   ILSVRC rule; boxes by rule "paper" at 20% of the raw map's maximum, IoU >= 0.5
        gt_known                         accuracy of that box from the map of the true class
        max_box_acc, max_box_acc_v2      rule "wsol" on a 224 x 224 grid, map of the true class (Choe et al. 2020)
        pxap                             the same maps, if the data set has masks; ignored pixels drop out
        pointing                         share of images whose map is highest on the object, or within 15 px at 224 px
        The top-5 rows are there for more than five classes.
    intervals:      metric -> (low, high)
    best_threshold: the one threshold at which max_box_acc is reached
    curve:          (1000,) BoxAcc at the thresholds i / 1000, largest contour, IoU >= 0.5
    correct:        top1, top5, top1_loc, top5_loc, gt_known, pointing -> (N,) bool, in the data set's order
    inside:         (N,) percent of the true class's positive map that lies on the object, at the image's own size
                    (metrics.share_inside); None without masks
    pixels:         the histograms behind pxap, None if the data set has no masks; see `coverage`
    boxes:          the counts behind max_box_acc; their `hits` are what metrics.paired_interval compares
    protocol:       how the data set's true boxes were scaled and which of its images counted
    """

    source: str
    row: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    best_threshold: float
    curve: np.ndarray = field(repr=False)
    correct: dict[str, np.ndarray] = field(repr=False)
    inside: np.ndarray | None = field(default=None, repr=False)
    pixels: PixelAveragePrecision | None = field(default=None, repr=False)
    boxes: BoxAccuracy | None = field(default=None, repr=False)
    protocol: str = ""

    def coverage(self, threshold: float | None = None) -> tuple[float, float] | None:
        """Share of the objects' pixels that the maps find, and share of what they find that is object, in percent.

        threshold: on the maps from 0 to 1, one for the whole set; None: best_threshold, at which MaxBoxAcc is reached
        returns:   (recall, precision) over all pixels of the set together; None if the data set has no masks
        """
        return self.pixels and self.pixels.coverage(self.best_threshold if threshold is None else threshold)


@torch.no_grad()
def evaluate(
    network: Network,
    data,
    source: str = "cam",
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 64,
    seed: int = 0,
) -> Evaluation:
    """Classifies and localizes every image of a data set: one row of metrics.

    Under torchrun each process takes its share of the batches, which are those of one process, and all of them return
    the Evaluation of the whole set: every bit as one process with as many threads makes it.

    Args:
        network: from networks.build; left in evaluation mode on the device.
        data: from datasets.load, with boxes.
        source: what makes the map, a name in maps.MAPS: "cam", "grad-cam", "saliency", "smooth-saliency", for ACoL
            "acol", or the control "centre"; the control of random weights is another network.
        device: "cpu", "cuda", ...
        batch_size: images at a time.
        seed: of the bootstrap.

    Returns:
        An Evaluation: its row in percent, its intervals, and what they are made of.

    Raises:
        ValueError, TypeError: as `maps.check_source`; a batch_size below 1; a score or a map that is not finite, with
            the image's name.

    Source: Zhou et al. 2016, section 3.2, for boxes at 20%; Choe et al. 2020, section 3, for MaxBoxAcc and PxAP.

    Example:
        >>> from cambook import datasets, networks
        >>> data = datasets.load("scenes", "test", 64, length=12)
        >>> found = evaluate(networks.build("mini-gap", 12, seed=0), data, "cam")
        >>> list(found.row)[2:8]
        ['top1_loc_error', 'top5_loc_error', 'gt_known', 'max_box_acc', 'max_box_acc_v2', 'pxap']
    """
    check_source(network, source)
    check_labelled(data, "evaluation")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} contains no image: give a whole number of at least 1.")
    device = resolve_device(device)
    network.to(device).eval()
    tally = _Tally(ks=(1, 5) if network.classes > 5 else (1,))
    mine = distributed.share(torch.arange(len(data)).split(batch_size))
    made = prefetch(data, lambda indices: data.batch(indices, device=device), mine)
    bar = {"desc": f"evaluating {source}", "total": len(mine), "unit": "batch", "leave": False}
    for batch in tqdm(made, **bar, disable=distributed.rank() > 0):
        logits, feature_maps = network(batch.images)
        raw = MAPS[source](network, batch.images, feature_maps, batch.labels[:, None])
        raw = widened(raw).cpu()
        check_finite(logits, batch, data, "a score of the network")
        check_finite(raw, batch, data, f"its {source} map")
        tally.add(batch, logits.cpu(), raw, data.size)
    whole, *later = distributed.gather(tally)
    for part in later:
        whole.extend(part)
    found = whole.evaluation(source, seed)
    found.protocol = getattr(data, "protocol", "")
    return found


@dataclass
class _Tally:
    """What is counted image by image while batches pass: see `Evaluation` for the names.

    ks: the k of top-k
    """

    ks: tuple[int, ...]
    correct: dict[str, list[np.ndarray]] = field(default_factory=dict)
    boxes: BoxAccuracy = field(default_factory=BoxAccuracy)
    pixels: PixelAveragePrecision = field(default_factory=PixelAveragePrecision)
    inside: list[float] = field(default_factory=list)

    def add(self, batch, logits: Tensor, raw: Tensor, size: int) -> None:
        """One batch: logits (B, C) and raw maps (B, 1, h, w) of the true class, on the CPU; size: the images' side."""
        full = upsample(raw, size)[:, 0].numpy()
        self._add_boxes_of_the_paper(batch, logits, full)
        self._add_maps_on_the_grid(batch, raw, size)
        if batch.masks is not None:
            ignored = _each(batch.ignore, len(batch), lambda ignore: ignore.cpu().numpy())
            own_maps = zip(full, batch.masks.cpu().numpy(), ignored, strict=True)
            self.inside += [share_inside(m, mask, ignore) for m, mask, ignore in own_maps]

    def _add_boxes_of_the_paper(self, batch, logits: Tensor, full: np.ndarray) -> None:
        """Classes, and boxes by rule "paper" at 20% on maps (B, S, S) of the images' own size.

        A guess is right in class and box only if it is the true class, so the true class's box decides for all k.
        """
        right_box = gt_known_correct([box_from_map(one, "paper", PAPER_THRESHOLD) for one in full], batch.boxes)
        self._count("gt_known", right_box)
        for k in self.ks:
            right_class = topk_correct(logits, batch.labels.cpu(), k)
            self._count(f"top{k}", right_class)
            self._count(f"top{k}_loc", right_class & right_box)

    def _add_maps_on_the_grid(self, batch, raw: Tensor, size: int) -> None:
        """The true class's maps on the 224 x 224 grid: boxes and pixels at every threshold, and the pointing game."""
        maps, truth = maps_on_grid(raw), boxes_on_grid(batch.boxes, size)
        count_boxes(maps, truth, self.boxes)
        targets = truth if batch.masks is None else masks_on_grid(batch.masks)
        self._count("pointing", np.array([pointing_hit(m, t) for m, t in zip(maps, targets, strict=True)]))
        if batch.masks is not None:
            for one, target, ignore in zip(maps, targets, _each(batch.ignore, len(batch), masks_on_grid), strict=True):
                self.pixels.update(one, target, ignore)

    def _count(self, name: str, right: np.ndarray) -> None:
        self.correct.setdefault(name, []).append(right)

    def extend(self, later: _Tally) -> None:
        """Those images too, behind the own ones."""
        for name, values in later.correct.items():
            self.correct[name] += values
        self.boxes.extend(later.boxes)
        self.pixels.extend(later.pixels)
        self.inside += later.inside

    def evaluation(self, source: str, seed: int) -> Evaluation:
        """The row of all images so far, with its intervals."""
        correct = {name: np.concatenate(values) for name, values in self.correct.items()}
        found = _summary(source, correct, self.boxes, self.pixels if len(self.pixels) else None, seed)
        found.inside = np.array(self.inside) if self.inside else None
        return found


def _each(ignore: Tensor | None, number: int, prepare: Callable[[Tensor], np.ndarray]) -> Sequence[np.ndarray | None]:
    """The pixels to ignore of each image of a batch, prepared; None for each if the data set names none."""
    return [None] * number if ignore is None else prepare(ignore)


def classify(network: Network, data, *, device: str | torch.device = "cpu", batch_size: int = 256) -> Tensor:
    """The logits of every image of a data set; the network is left in evaluation mode.

    Images are held in memory as in training, so that several networks in turn see images that were made once. Under
    torchrun each process takes its share of the batches, and all get all logits.

    Args:
        network: from networks.build.
        data: from datasets.load.
        device: "cpu", "cuda", ...
        batch_size: images at a time.

    Returns:
        (N, C), on the CPU, in the data set's order.

    Example:
        >>> from cambook import datasets, networks
        >>> classify(networks.build("mini-gap", 12), datasets.load("scenes", "test", 64, length=12)).shape
        torch.Size([12, 12])
    """
    device = resolve_device(device)
    network.to(device).eval()
    mine = distributed.share(torch.arange(len(data)).split(batch_size))
    with torch.no_grad(), closing(prefetch(data, image_getter(data, device), mine)) as shown:
        logits = [network(images)[0].cpu() for images in shown]
    return torch.cat([one for part in distributed.gather(logits) for one in part])


def top1_error(network: Network, data, *, device: str | torch.device = "cpu") -> float:
    """Top-1 classification error of a network on a data set, in percent.

    Args:
        network: from networks.build.
        data: from datasets.load.
        device: "cpu", "cuda", ...

    Returns:
        0 to 100.

    Example:
        >>> from cambook import datasets, networks
        >>> 0 <= top1_error(networks.build("mini-gap", 12), datasets.load("scenes", "test", 64, length=12)) <= 100
        True
    """
    check_labelled(data, "its error")
    return topk_error(classify(network, data, device=device), data.labels, 1)


def table(evaluations: dict[str, Evaluation]) -> pd.DataFrame:
    """Evaluations as a table: a row each, a column per metric, values with their intervals.

    Args:
        evaluations: {name: Evaluation}, in the order of the rows.

    Returns:
        A DataFrame of strings; "-" for a metric that an evaluation lacks.

    Example:
        >>> found = Evaluation("cam", {"gt_known": 70.0}, {"gt_known": (65.0, 74.0)}, 0.2, None, {})
        >>> table({"CAM": found}).loc["CAM", "gt_known"]
        '70.0 [65.0, 74.0]'
    """

    import pandas as pd  # here, so that networks can be evaluated if pandas is not installed

    def cell(e: Evaluation, name: str) -> str:
        low, high = e.intervals.get(name, (None, None))
        return f"{e.row[name]:.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")

    return pd.DataFrame({who: {name: cell(e, name) for name in e.row} for who, e in evaluations.items()}).T.fillna("-")


def coverage_table(evaluations: dict[str, Evaluation]) -> pd.DataFrame:
    """Coverage as a table: recall and precision of pixels where MaxBoxAcc is best.

    Args:
        evaluations: {name: Evaluation}, in the order of the rows.

    Returns:
        A DataFrame of strings: best threshold; recall (the coverage of the objects) and precision in percent, over all
        pixels of the set together, "not applicable" if a data set has no masks.

    Example:
        >>> found = Evaluation("cam", {"gt_known": 70.0}, {}, 0.25, None, {})
        >>> coverage_table({"CAM": found}).loc["CAM"].tolist()
        ['0.25', 'not applicable', 'not applicable']
    """

    import pandas as pd

    def line(e: Evaluation) -> list[str]:
        found = e.coverage()
        return [f"{e.best_threshold:.2f}", *(["not applicable"] * 2 if found is None else [f"{v:.1f}" for v in found])]

    columns = ["best threshold", "coverage (recall)", "precision"]
    return pd.DataFrame.from_dict({who: line(e) for who, e in evaluations.items()}, orient="index", columns=columns)


def _summary(source, correct, boxes_seen, pixels_seen, seed) -> Evaluation:
    row, per_picture = {}, {}
    for name, right in correct.items():
        error = name.startswith("top")
        metric = f"{name}_error" if error else name
        per_picture[metric] = ~right if error else right
        row[metric] = 100 * float(per_picture[metric].mean())
    row["max_box_acc"], best_threshold = boxes_seen.max_box_acc()
    per_picture["max_box_acc"] = boxes_seen.hits()
    row["max_box_acc_v2"] = boxes_seen.max_box_acc_v2()
    per_picture["max_box_acc_v2"] = np.stack([boxes_seen.hits(iou, "all") for iou in IOUS])
    if pixels_seen is not None:
        row["pxap"] = pixels_seen.value()
    row = {metric: row[metric] for metric in METRICS if metric in row}
    intervals = {m: bootstrap_interval(values, seed) for m, values in per_picture.items()}
    if pixels_seen is not None:
        intervals["pxap"] = pixels_seen.interval(seed)
    seen = {"pixels": pixels_seen, "boxes": boxes_seen}
    return Evaluation(source, row, intervals, best_threshold, boxes_seen.curve(), correct, **seen)
