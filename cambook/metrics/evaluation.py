"""network + data set -> one row of metrics, with the controls and the intervals that stand beside it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cambook import distributed, metrics
from cambook.acol import fuse
from cambook.boxes import box_from_map
from cambook.maps import blur, class_activation_map, grad_cam, normalize, saliency, upsample
from cambook.networks import Network
from cambook.progress import tqdm
from cambook.training import ahead, pictures

if TYPE_CHECKING:
    import pandas as pd

GRID = 224
PAPER_THRESHOLD = 0.2
BLUR_SIGMA = 9.0
METRICS = (
    *("top1_error", "top5_error", "top1_loc_error", "top5_loc_error", "gt_known"),
    *("max_box_acc", "max_box_acc_v2", "pxap", "pointing"),
)


def cam_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Class activation maps of `classes` (B, n), from the forward pass that already happened: (B, n, h, w)."""
    return class_activation_map(feature_maps, network.class_weight[classes])


def grad_cam_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM of `classes` (B, n) at the feature maps, for any head: (B, n, h, w)."""
    return grad_cam(network, images, classes, network.cam_conv).maps


def acol_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Fused maps of ACoL's two branches for `classes` (B, n), erased for the class that branch A predicts."""
    return _of(fuse(*network.both(feature_maps)), classes)


def acol_a_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Maps of ACoL's branch A alone: (B, n, h, w)."""
    return _of(network.both(feature_maps)[0], classes)


def acol_b_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Maps of ACoL's branch B alone, which sees what is left: (B, n, h, w)."""
    return _of(network.both(feature_maps)[1], classes)


def acol_peeking_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """ACoL's fused maps erased for the TRUE class, the first of `classes`: what the released test code does."""
    return _of(fuse(*network.both(feature_maps, classes[:, 0])), classes)


def _of(maps: Tensor, classes: Tensor) -> Tensor:
    """(B, C, h, w) and classes (B, n) -> (B, n, h, w)."""
    return maps.gather(1, classes[..., None, None].expand(-1, -1, *maps.shape[2:]))


def saliency_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Gradient saliency of `classes` (B, n), one backward pass a class, not smoothed: (B, n, H, W)."""
    return torch.cat([saliency(network, images, column) for column in classes.unbind(1)], 1)


def smooth_saliency_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Gradient saliency under a Gaussian of 9 px at 224 px (in proportion at other sizes): (B, n, H, W)."""
    return blur(saliency_maps(network, images, feature_maps, classes), BLUR_SIGMA * images.shape[-1] / GRID)


def centre_maps(network: Network, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """The control that never looks: one Gaussian in the middle of every picture: (B, n, H, W)."""
    side = images.shape[-1]
    offsets = (torch.arange(side, dtype=torch.float32, device=images.device) + 0.5) / side - 0.5
    bell = torch.exp(-0.5 * (offsets / 0.25) ** 2)
    return (bell[:, None] * bell).expand(*classes.shape, side, side)


MAPS: dict[str, Callable[[Network, Tensor, Tensor, Tensor], Tensor]] = {
    "cam": cam_maps,
    "grad-cam": grad_cam_maps,
    "acol": acol_maps,
    "acol branch a": acol_a_maps,
    "acol branch b": acol_b_maps,
    "acol peeking": acol_peeking_maps,
    "saliency": saliency_maps,
    "smooth saliency": smooth_saliency_maps,
    "centre": centre_maps,
}


def check_source(network: Network, source: str) -> None:
    """raises: ValueError where no map is called so, or the network lacks the branches that it is made of; TypeError
    where the network has no class activation map. It may be asked before the network is trained."""
    if source not in MAPS:
        near = difflib.get_close_matches(source, MAPS, 1)
        hint = f", did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"source={source!r} is unknown: choose one of {', '.join(MAPS)}{hint}")
    if source.startswith("acol") and not hasattr(network, "both"):
        raise ValueError(f"source={source!r} asks for ACoL's two branches, which {network.name} lacks: use mini-acol.")
    if source == "cam":
        _ = network.class_weight


def check_finite(values: Tensor, batch, data, what: str) -> None:
    """values: (B, ...), one row a picture of the batch. raises: ValueError that names the first picture where one of
    them is NaN or infinite"""
    finite = torch.isfinite(values).flatten(1).all(1).tolist()
    if not all(finite):
        place = int(batch.indices[finite.index(False)])
        name = f" ({data.names[place]})" if hasattr(data, "names") else ""
        raise ValueError(f"{data.name}, picture {place}{name}: {what} is NaN or infinite; look at the weights.")


@dataclass
class Evaluation:
    """One row of a results table, in percent, with 95% bootstrap intervals over the pictures.

    row: metric -> value
        top1_error, top5_error           classification
        top1_loc_error, top5_loc_error   ILSVRC rule; boxes by rule "paper" at 20% of the raw map's maximum, IoU >= 0.5
        gt_known                         accuracy of that box from the map of the true class
        max_box_acc, max_box_acc_v2      rule "wsol" on a 224 x 224 grid, map of the true class (Choe et al. 2020)
        pxap                             the same maps, where the data set has masks; ignored pixels drop out
        pointing                         share of pictures whose map is highest on the object, or within 15 px at 224 px
        The top-5 rows are there for more than five classes.
    intervals:      metric -> (low, high)
    best_threshold: the one threshold at which max_box_acc is reached
    curve:          (1000,) BoxAcc at the thresholds i / 1000, largest contour, IoU >= 0.5
    correct:        top1, top5, top1_loc, top5_loc, gt_known, pointing -> (N,) bool, in the data set's order
    inside:         (N,) percent of the true class's positive map that lies on the object, at the picture's own size
                    (metrics.share_inside); None without masks
    pixels:         the histograms behind pxap, None where the data set has no masks; see `coverage`
    boxes:          the counts behind max_box_acc; their `hits` are what metrics.paired_interval compares
    """

    source: str
    row: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    best_threshold: float
    curve: np.ndarray = field(repr=False)
    correct: dict[str, np.ndarray] = field(repr=False)
    inside: np.ndarray | None = field(default=None, repr=False)
    pixels: metrics.PixelAveragePrecision | None = field(default=None, repr=False)
    boxes: metrics.BoxAccuracy | None = field(default=None, repr=False)

    def coverage(self, threshold: float | None = None) -> tuple[float, float] | None:
        """Share of the objects' pixels that the maps find, and share of what they find that is object, in percent.

        threshold: on the maps from 0 to 1, one for the whole set; None: best_threshold, at which MaxBoxAcc is reached
        returns:   (recall, precision) over all pixels of the set together; None where the data set has no masks
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
    """Classifies and localizes every picture of a data set.

    network: left in evaluation mode on the device; data: from datasets.load
    source:  what makes the map, a key of MAPS: "cam", "grad-cam", "saliency", "smooth saliency", for ACoL "acol", or
             the control "centre"; the control of random weights is another network
    seed:    of the bootstrap
    raises:  ValueError for another source or a batch_size below 1; as `check_source`; ValueError that names the picture
             where a score or a map is not finite

    Under torchrun each process looks at its share of the batches, which are those of one process, and all of them
    return the Evaluation of the whole set: every bit as one process with as many threads makes it.
    """
    check_source(network, source)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} holds no picture: give a whole number of at least 1.")
    device = distributed.own(device)
    network.to(device).eval()
    ks = (1, 5) if network.classes > 5 else (1,)
    boxes_seen, pixels_seen = metrics.BoxAccuracy(GRID), metrics.PixelAveragePrecision()
    correct: dict[str, list[np.ndarray]] = {}
    inside: list[float] = []
    mine = distributed.share(torch.arange(len(data)).split(batch_size))
    made = ahead(data, lambda indices: data.batch(indices, device=device), mine)
    bar = {"desc": f"evaluating {source}", "total": len(mine), "unit": "batch", "leave": False}
    for batch in tqdm(made, **bar, disable=distributed.rank() > 0):
        logits, feature_maps = network(batch.images)
        guesses = logits.topk(max(ks)).indices
        raw = MAPS[source](network, batch.images, feature_maps, torch.cat([batch.labels[:, None], guesses], 1)).cpu()
        check_finite(logits, batch, data, "a score of the network")
        check_finite(raw, batch, data, f"its {source} map")
        full = upsample(raw, data.size).numpy()
        boxes = [[box_from_map(m, "paper", PAPER_THRESHOLD) for m in maps] for maps in full]
        logits, labels, guesses = logits.cpu(), batch.labels.cpu().numpy(), guesses.cpu().numpy()
        own, guessed = [b[0] for b in boxes], [b[1:] for b in boxes]
        right = {"gt_known": metrics.gt_known_correct(own, batch.boxes)}
        for k in ks:
            right[f"top{k}"] = metrics.topk_correct(logits, labels, k)
            right[f"top{k}_loc"] = metrics.topk_localization_correct(guesses, guessed, labels, batch.boxes, k)
        maps = normalize(upsample(raw[:, :1], GRID))[:, 0].numpy()
        truth = [b * (GRID / data.size) for b in batch.boxes]
        targets = truth if batch.masks is None else masks_on_grid(batch.masks)
        right["pointing"] = np.array([metrics.pointing_hit(m, t) for m, t in zip(maps, targets, strict=True)])
        nothing = [None] * len(batch)
        ignored = nothing if batch.ignore is None else masks_on_grid(batch.ignore)
        boxes_seen.update_all(maps, truth)
        if batch.masks is not None:
            for one, target, dropped in zip(maps, targets, ignored, strict=True):
                pixels_seen.update(one, target, dropped)
        if batch.masks is not None:
            dropped = nothing if batch.ignore is None else batch.ignore.cpu().numpy()
            own_maps = zip(full[:, 0], batch.masks.cpu().numpy(), dropped, strict=True)
            inside += [metrics.share_inside(m, mask, ignore) for m, mask, ignore in own_maps]
        for name, values in right.items():
            correct.setdefault(name, []).append(values)
    (correct, boxes_seen, pixels_seen, inside), *later = distributed.gather((correct, boxes_seen, pixels_seen, inside))
    for its_correct, its_boxes, its_pixels, its_inside in later:
        for name, values in its_correct.items():
            correct[name] += values
        boxes_seen.extend(its_boxes)
        pixels_seen.extend(its_pixels)
        inside += its_inside
    together = {name: np.concatenate(values) for name, values in correct.items()}
    found = _summary(source, together, boxes_seen, pixels_seen if len(pixels_seen) else None, seed)
    found.inside = np.array(inside) if inside else None
    return found


@torch.no_grad()
def acol_branches(
    network: Network, data, *, peeking: bool = False, device: str | torch.device = "cpu", batch_size: int = 64
) -> dict[str, float]:
    """What ACoL's second branch is left with, and what it makes of it, over a data set, in percent.

    peeking: whether the map of the label is erased, as the released test code does, and not that of A's guess
    returns: a_error, b_error     top-1 classification errors of the two branches
             erased               share of places erased
             peak_erased          share of pictures whose map of B, for the erased class, is highest at an erased place
    """
    network.to(device).eval()
    counts = dict.fromkeys(("a_error", "b_error", "erased", "peak_erased"), 0.0)
    for indices in torch.arange(len(data)).split(batch_size):
        batch = data.batch(indices, device=device)
        features = network.features(batch.images)
        maps_a = network.branch_a(features)
        guess_a = maps_a.mean((2, 3)).argmax(1)
        which = batch.labels if peeking else guess_a
        _, maps_b = network.both(features, which)
        gone = (_of(normalize(maps_a), which[:, None]) >= network.delta).flatten(1)
        peak = _of(maps_b, which[:, None]).flatten(1).argmax(1, keepdim=True)
        counts["a_error"] += (guess_a != batch.labels).sum().item()
        counts["b_error"] += (maps_b.mean((2, 3)).argmax(1) != batch.labels).sum().item()
        counts["erased"] += gone.float().mean(1).sum().item()
        counts["peak_erased"] += gone.gather(1, peak).sum().item()
    return {name: 100 * count / len(data) for name, count in counts.items()}


def masks_on_grid(masks: Tensor) -> np.ndarray:
    """(B, S, S) bool -> (B, 224, 224) bool, each pixel that of the nearest one."""
    return F.interpolate(masks[:, None].float(), GRID, mode="nearest-exact")[:, 0].cpu().numpy() > 0


def classify(network: Network, data, *, device: str | torch.device = "cpu", batch_size: int = 256) -> Tensor:
    """The logits (N, C) of every picture of a data set, on the CPU; the network is left in evaluation mode.

    The pictures are held as in training, so that several networks in turn see pictures that were made once. Under
    torchrun each process takes its share of the batches, and all get all logits.
    """
    device = distributed.own(device)
    network.to(device).eval()
    mine = distributed.share(torch.arange(len(data)).split(batch_size))
    with torch.no_grad(), closing(ahead(data, pictures(data, device), mine)) as shown:
        logits = [network(images)[0].cpu() for images in shown]
    return torch.cat([one for part in distributed.gather(logits) for one in part])


def top1_error(network: Network, data, *, device: str | torch.device = "cpu") -> float:
    """Top-1 classification error on a data set, in percent."""
    return metrics.topk_error(classify(network, data, device=device), data.labels, 1)


def table(evaluations: dict[str, Evaluation]) -> pd.DataFrame:
    """Evaluations under each other, metrics beside each other: value and, where there is one, its interval."""

    import pandas as pd  # here, so that networks can be examined where pandas is not installed

    def cell(e: Evaluation, name: str) -> str:
        low, high = e.intervals.get(name, (None, None))
        return f"{e.row[name]:.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")

    return pd.DataFrame({who: {name: cell(e, name) for name in e.row} for who, e in evaluations.items()}).T.fillna("-")


def coverage_table(evaluations: dict[str, Evaluation]) -> pd.DataFrame:
    """Evaluations under each other: the threshold at which MaxBoxAcc is best, and there, over all pixels of the set,
    recall (the coverage of the objects) and precision in percent; "not applicable" where a data set has no masks."""

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
    per_picture["max_box_acc_v2"] = np.stack([boxes_seen.hits(iou, "all") for iou in metrics.IOUS])
    if pixels_seen is not None:
        row["pxap"] = pixels_seen.value()
    row = {metric: row[metric] for metric in METRICS if metric in row}
    intervals = {m: metrics.bootstrap_interval(values, seed) for m, values in per_picture.items()}
    if pixels_seen is not None:
        intervals["pxap"] = pixels_seen.interval(seed)
    seen = {"pixels": pixels_seen, "boxes": boxes_seen}
    return Evaluation(source, row, intervals, best_threshold, boxes_seen.curve(), correct, **seen)
