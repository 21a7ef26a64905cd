"""The few-shot baseline on any data set with boxes: what n boxed images teach, beside what they tune.

wsolevaluation chooses thresholds, methods and epochs with boxed images. Choe et al. (2020) ask what the same images
could do as plain training data. The network stays as it is here: n boxed images teach one more row of weights, that of
a class "object" (`course.lessons.few_shot`), or they choose one threshold for the network's maps
(`course.lessons.tuning`). Each draw gives both the same images.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cambook import datasets, files
from cambook.course.lessons import few_shot, tuning
from cambook.datasets import Batch, DataSet, prefetch
from cambook.localize.inputs import open_images
from cambook.localize.making import class_choice
from cambook.machine import tqdm
from cambook.maps import MAPS, upsample
from cambook.maps.arrays import widened
from cambook.maps.boxes import box_from_map
from cambook.metrics import BoxAccuracy, boxes_on_grid, check_finite, count_boxes, gt_known_correct, maps_on_grid
from cambook.networks import Network

IOU = 0.5
TOGETHER = 64  # images of a batch
MOST_BYTES = 4 * 2**30  # of the feature maps of drawn images
RULES = {
    "few-shot": "plain IoU >= 0.5 of half-open boxes on the image's own grid; box of the largest piece (8-connected) "
    "above one half; no threshold is tuned",
    "threshold": "MaxBoxAcc's counting at IoU 0.5: box rule wsol, largest contour, 224 x 224, 1000 thresholds",
}


@dataclass
class FewShot:
    """What `baseline` measured, in percent of the test images.

    Attributes:
        numbers: how many boxed images, n of them.
        taught: (repeats, n), right boxes of the localizer that so many images taught.
        tuned: for each number the thresholds that so many images chose, and what they are worth.
        best: MaxBoxAcc of the network's maps, at the threshold that is best on the test images.
        best_threshold: that threshold.
        best_plain: the same maps and threshold, counted by plain IoU as the localizer's boxes are; None if
            the maps are too large to be kept.
        centre, whole: MaxBoxAcc of the centre spot, and the share of images on which the whole image is right.
        classes: "true" if the maps are of the true class, "top" if of the network's most likely one.
        boxed, test: how many images could be drawn, and how many were tested.
        without_box: how many images of both splits have no box and were left aside.

    Example:
        >>> found = FewShot([1], np.array([[50.0], [60.0]]), [], 66.8, 0.2, 66.0, 62.5, 48.4, "true", 100, 994, 0)
        >>> found.summary()[0]["few_shot"]["mean"]
        55.0
    """

    numbers: Sequence[int]
    taught: np.ndarray
    tuned: list[tuning.Tuned]
    best: float
    best_threshold: float
    best_plain: float | None
    centre: float
    whole: float
    classes: str
    boxed: int
    test: int
    without_box: int

    def summary(self) -> list[dict[str, Any]]:
        """For each number the mean, the standard deviation and the middle 90% over the draws, of each column."""
        rows = []
        for column, number in enumerate(self.numbers):
            row: dict[str, Any] = {"boxed_images": number, "few_shot": _spread(self.taught[:, column])}
            if self.tuned:
                one = self.tuned[column]
                row |= {"tuned_threshold": _spread(one.actual), "apparent": _spread(one.apparent)}
            rows.append(row)
        return rows

    def results(self) -> dict[str, Any]:
        """Everything, for the record."""
        return {
            "draws": self.summary(),
            "best_threshold_on_test": {"max_box_acc": self.best, "threshold": self.best_threshold},
            "best_threshold_by_plain_iou": self.best_plain,
            "centre_max_box_acc": self.centre,
            "whole_image": self.whole,
            "maps_of_class": self.classes,
            "boxed_images": self.boxed,
            "test_images": self.test,
            "images_without_box": self.without_box,
            "rules": RULES,
            "ridge": f"{few_shot.RIDGE:g} times the mean variance of a feature map, chosen on drawn scenes",
        }


# ---- before the work


def read_numbers(text: str) -> list[int]:
    """Numbers of boxed images, as they are typed.

    Args:
        text: whole numbers of at least 1, separated by commas.

    Returns:
        They, sorted, each once.

    Raises:
        ValueError: for anything else.

    Example:
        >>> read_numbers("1, 5,20")
        [1, 5, 20]
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 and int(word) for word in words):
        raise ValueError(f'--numbers "{text}": give whole numbers of at least 1, separated by commas, such as 1,5,20')
    return sorted(set(map(int, words)))


def open_boxed(dataset: str, split: str | None, test: DataSet, length: int | None = None) -> DataSet:
    """The images that boxed ones are drawn from.

    Args:
        dataset: its name.
        split: which split; None: "val" if the data set has one, else "train".
        test: the split that is measured, which must be another one.
        length: at most so many images.

    Returns:
        A data set of the same size as `test`.

    Raises:
        ValueError: if both are the same split.

    Example:
        >>> from cambook import datasets
        >>> open_boxed("scenes", None, datasets.load("scenes", "test", 32, length=2), 4).split
        'train'
    """
    boxed = None
    if split is None and "val" in datasets.find(dataset).splits:
        with suppress(FileNotFoundError):
            boxed = open_images(dataset, "val", test.size, length=length, boxes=True)
    boxed = boxed or open_images(dataset, split or "train", test.size, length=length, boxes=True)
    if boxed.split == test.split:
        raise ValueError(f"boxed images are drawn from the {test.split} split, which is measured: give another split")
    return boxed


def with_boxes(data: DataSet) -> list[int]:
    """The positions of the images that have a box.

    Args:
        data: a data set with boxes.

    Returns:
        Sorted; all of them if the data set does not know it without making its images.

    Example:
        >>> from cambook import datasets
        >>> with_boxes(datasets.load("scenes", "test", 32, length=2))
        [0, 1]
    """
    known = getattr(data, "boxes", None)
    return [i for i in range(len(data)) if known is None or len(known(i, 1, 1))]


def check_drawn(network: Network, boxed: DataSet, there: int, numbers: Sequence[int], repeats: int) -> None:
    """Refuses more boxed images than there are, and more than memory should have to contain.

    Args:
        network: from `inputs.ready_network`.
        boxed: the data set they are drawn from.
        there: how many of its images have a box.
        numbers, repeats: as for `baseline`.

    Raises:
        ValueError: with both numbers.

    Example:
        >>> from cambook import datasets, networks
        >>> data = datasets.load("scenes", "train", 32, length=2)
        >>> check_drawn(networks.build("mini-gap", 12), data, 2, [5], 1)
        Traceback (most recent call last):
        ValueError: --numbers asks for 5 boxed images, and the train split of scenes has 2: give smaller numbers
    """
    most = max(numbers)
    if most > there:
        raise ValueError(
            f"--numbers asks for {most} boxed images, and the {boxed.split} split of {boxed.name} has {there}: give "
            "smaller numbers"
        )
    device = network.mean.device
    with torch.no_grad():
        features = network.eval()(torch.zeros(1, 3, boxed.size, boxed.size, device=device))[1]
    wanted = min(there, most * repeats) * features[0].numel() * 4
    if wanted > MOST_BYTES:
        raise ValueError(
            f"the feature maps of the drawn images take {wanted / 2**30:.1f} GiB, more than {MOST_BYTES / 2**30:.0f}: "
            "give smaller --numbers, fewer --repeats or a smaller --length"
        )


# ---- the work


@torch.no_grad()
def baseline(
    network: Network,
    boxed: DataSet,
    test: DataSet,
    numbers: Sequence[int],
    *,
    repeats: int = 20,
    seed: int = 0,
    source: str = "cam",
    device: str | torch.device = "cpu",
) -> FewShot:
    """Draws n boxed images again and again; they teach a localizer and choose a threshold; both meet the test images.

    Only the feature maps of drawn images are in memory; the test images pass once, in batches.

    Args:
        network: from `inputs.ready_network`; it stays as it is.
        boxed: the images that may be drawn.
        test: the images that are measured.
        numbers: how many are drawn; each draw shows every number the first images of one order.
        repeats: how many draws.
        seed: of the draws, the same as in `few_shot.accuracies` and `tuning.tune`.
        source: what makes the maps whose threshold is tuned, a name in maps.MAPS.
        device: "cpu", "cuda", ...

    Returns:
        `FewShot`.

    Raises:
        ValueError: as `check_drawn`; for a map or score that is not finite.

    Source: Choe et al. 2020, section 4, for the comparison; theirs trains a network with the boxes.

    Example:
        >>> from cambook import datasets, networks
        >>> train, test = (datasets.load("scenes", split, 64, length=8) for split in ("train", "test"))
        >>> found = baseline(networks.build("mini-gap", 12), train, test, [1, 4], repeats=3)
        >>> found.taught.shape, len(found.tuned), found.test
        ((3, 2), 2, 8)
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}: give a whole number of at least 1")
    may, tested = with_boxes(boxed), with_boxes(test)
    network.to(device).eval()
    check_drawn(network, boxed, len(may), numbers, repeats)
    if not tested:
        raise ValueError(f"the {test.split} split of {test.name} has no image with a box")
    choice = class_choice(network, test)
    draw = np.random.default_rng(seed)
    orders = [draw.permutation(len(may))[: max(numbers)] for _ in range(repeats)]
    drawn = np.unique(np.concatenate(orders))
    orders = [np.searchsorted(drawn, order) for order in orders]  # positions among the drawn ones

    features, boxes, counted = [], [], BoxAccuracy()
    shown = _batches(network, boxed, np.array(may)[drawn], source, choice, device, "boxed images")
    for batch, feature_maps, raw in shown:
        features.append(feature_maps)
        boxes += batch.boxes
        count_boxes(maps_on_grid(raw), boxes_on_grid(batch.boxes, boxed.size), counted)
    taught = _taught(torch.cat(features), boxes, boxed.size, orders, numbers)

    right = np.zeros((repeats, len(numbers)), np.int64)
    on_test, centre, whole, kept = BoxAccuracy(), BoxAccuracy(), 0, []
    everything = np.array([0, 0, test.size, test.size])
    for batch, feature_maps, raw in _batches(network, test, tested, source, choice, device, "test images"):
        truth = boxes_on_grid(batch.boxes, test.size)
        count_boxes(maps_on_grid(raw), truth, on_test)
        count_boxes(maps_on_grid(MAPS["centre"](network, batch.images, None, batch.labels[:, None])), truth, centre)
        whole += int(gt_known_correct([everything] * len(batch), batch.boxes).sum())
        kept += [(raw, batch.boxes)] if 4 * raw[0].numel() * len(tested) < MOST_BYTES / 4 else []
        for r, row in enumerate(taught):
            for column, localizer in enumerate(row):
                right[r, column] += gt_known_correct(localizer.boxes(feature_maps, test.size), batch.boxes).sum()
    best, threshold = on_test.max_box_acc()
    plain = sum(int(_hits_by_plain_iou(maps, true, test.size, threshold).sum()) for maps, true in kept)
    return FewShot(
        numbers=list(numbers),
        taught=100 * right / len(tested),
        tuned=[_tuned(counted.hits(), on_test.curve(), [order[:n] for order in orders]) for n in numbers],
        best=best,
        best_threshold=threshold,
        best_plain=100 * plain / len(tested) if kept else None,
        centre=centre.max_box_acc()[0],
        whole=100 * whole / len(tested),
        classes=choice,
        boxed=len(may),
        test=len(tested),
        without_box=len(boxed) - len(may) + len(test) - len(tested),
    )


def _batches(
    network: Network,
    data: DataSet,
    indices: Sequence[int],
    source: str,
    choice: str,
    device: str | torch.device,
    describe: str,
) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Batches of the images at `indices`, their feature maps (B, K, h, w) and raw maps (B, 1, h, w), on the CPU."""
    some = torch.as_tensor(indices).split(TOGETHER)
    with closing(prefetch(data, lambda each: data.batch(each, device=device), some)) as made:
        for batch in tqdm(made, total=len(some), desc=describe, unit="batch", leave=False):
            logits, feature_maps = network(batch.images)
            wanted = batch.labels[:, None] if choice == "true" else logits.argmax(1, keepdim=True)
            raw = widened(MAPS[source](network, batch.images, feature_maps, wanted)).cpu()
            check_finite(logits, batch, data, "a score of the network")
            check_finite(feature_maps, batch, data, "a feature map")
            check_finite(raw, batch, data, f"its {source} map")
            yield batch, feature_maps.cpu(), raw


def _taught(
    features: Tensor, boxes: list[np.ndarray], size: int, orders: list[np.ndarray], numbers: Sequence[int]
) -> list[list[few_shot.Localizer]]:
    """The localizers that each draw teaches, one for each number."""
    found = []
    for order in tqdm(orders, desc="teaching", unit="draw", leave=False):
        found.append([few_shot.fit(features[order[:n]], [boxes[k] for k in order[:n]], size) for n in numbers])
    return found


def _tuned(hits: np.ndarray, on_test: np.ndarray, orders: list[np.ndarray]) -> tuning.Tuned:
    """As `tuning.tune`, for these draws: hits (M, T) of the drawn images, on_test (T,) in percent."""
    choice = np.array([tuning.middle_of_best(hits[order]) for order in orders])
    apparent = [100 * hits[order, one].mean() for order, one in zip(orders, choice, strict=True)]
    return tuning.Tuned(np.array(apparent), on_test[choice], choice)


def _hits_by_plain_iou(raw: Tensor, boxes: list[np.ndarray], size: int, threshold: float) -> np.ndarray:
    found = [box_from_map(map2d, "wsol", threshold) for map2d in upsample(raw, size)[:, 0].numpy()]
    return gt_known_correct(found, boxes, IOU)


# ---- what is written


def write_draws(found: FewShot, file: Path) -> None:
    """Every draw as a row of a CSV file: number of boxed images, draw, both accuracies, the threshold and its own.

    Args:
        found: from `baseline`.
        file: is written or replaced at once.

    Example:
        >>> import tempfile
        >>> tuned = [tuning.Tuned(np.array([100.0]), np.array([64.0]), np.array([210]))]
        >>> found = FewShot([1], np.array([[55.0]]), tuned, 66.8, 0.2, 66.0, 62.5, 48.4, "true", 100, 994, 0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_draws(found, Path(folder, "draws.csv"))
        ...     Path(folder, "draws.csv").read_text(encoding="utf-8").splitlines()[1]
        '1,1,55.0,64.0,0.21,100.0'
    """
    rows: list[Sequence[object]] = [("boxed_images", "draw", "few_shot", "tuned_threshold", "threshold", "apparent")]
    for column, (number, one) in enumerate(zip(found.numbers, found.tuned, strict=True)):
        for r, taught in enumerate(found.taught[:, column].tolist()):
            tuned = (one.actual[r], one.choice[r] / 1000, one.apparent[r])
            rows.append((number, r + 1, taught, *map(float, tuned)))
    with files.atomic_write(file) as part, part.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(rows)


def _spread(values: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(values, (5, 95))
    return {"mean": float(values.mean()), "std": float(values.std()), "p5": float(low), "p95": float(high)}
