"""The papers' tables, ours beside theirs, and what the papers claim, judged by our runs.

TABLES says, row by row, which network stands for which line of a paper's table: the paper's own at the profiles full
and paper, a small one in its place at quick. CLAIMS says what the papers conclude from those lines. The notebooks of
notebooks/reproduce measure; `table`, `claims` and `write` take the numbers of one run or of hundreds.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.svm import LinearSVC
from torch import Tensor
from tqdm.auto import tqdm

from cambook import datasets, metrics, networks, paths, published, show
from cambook.batch import Batch
from cambook.boxes import box_from_map, loose_and_tight
from cambook.evaluation import MAPS, PAPER_THRESHOLD, Evaluation, classify, evaluate
from cambook.maps import class_activation_map, upsample
from cambook.networks import HiddenLayerNetwork, Network
from cambook.runs import Run
from cambook.tables import read_table
from cambook.training import Recipe, Trained, is_large, pictures, recipe_for, throughput, trained

# ---- which network stands for which line of a paper ----


class Line(NamedTuple):
    """A line of a published table: data/published/FILE.csv, its method and, where several have one, its backbone."""

    file: str
    method: str
    backbone: str | None = None


class Row(NamedTuple):
    """A row of our table.

    lines:   the published lines it stands beside, none or several (one file has its accuracy, another its boxes)
    network: at the profiles full and paper; None where the line is only quoted
    small:   in its place at quick; None where no small network plays that part
    source:  what makes the map, a key of evaluation.MAPS with - for spaces; "-" where no map is asked for
    """

    lines: tuple[Line, ...]
    network: str | None = None
    small: str | None = None
    source: str = "-"


class Table(NamedTuple):
    """A table: its title, our names of its metrics, all in percent, and its rows."""

    title: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


def _one(method: str) -> tuple[Line, ...]:
    return (Line("cam_table1", method),)


def _two(method: str) -> tuple[Line, ...]:
    return (Line("cam_table2", method),)


def _three(method: str) -> tuple[Line, ...]:
    return (Line("cam_table3", method),)


def _four(method: str) -> tuple[Line, ...]:
    return (Line("cam_table4", f"GoogLeNet-GAP on {method}"),)


def _five(method: str) -> tuple[Line, ...]:
    return (Line("cam_table5", f"{method} + linear SVM"),)


def _wsol(method: str, backbone: str, *more: Line) -> tuple[Line, ...]:
    return (Line("wsol_right", method, backbone), *more)


def _centre(*rules: str) -> tuple[Line, ...]:
    return tuple(Line("wsol_right", f"centred square box, best size; all GT boxes ({rule})") for rule in rules)


TABLES = {
    "table1": Table(
        "Classification error, with and without the cut",
        ("top1_error", "top5_error"),
        (  #  the paper's line       full, paper         quick
            Row(_one("VGGnet"), "vgg16", "mini-fc"),
            Row(_one("VGGnet-GAP"), "vgg16-gap", "mini-fc-gap"),
            Row(_one("GoogLeNet"), "googlenet", "mini-gap"),
            Row(_one("GoogLeNet-GAP"), "googlenet-gap"),
            Row(_one("GoogLeNet-GMP"), "googlenet-gmp", "mini-fc-gmp"),
            Row(_one("AlexNet"), "alexnet"),
            Row(_one("AlexNet-GAP"), "alexnet-gap"),
            Row(_one("AlexNet*-GAP"), "alexnet-star-gap"),
            Row(_one("NIN"), "nin", "mini-nin"),
        ),
    ),
    "table2": Table(
        "Localization error",
        ("top1_loc_error", "top5_loc_error"),
        (
            Row(_two("CAM on VGGnet-GAP"), "vgg16-gap", "mini-fc-gap", "cam"),
            Row(_two("CAM on GoogLeNet-GAP"), "googlenet-gap", None, "cam"),
            Row(_two("CAM on GoogLeNet-GMP"), "googlenet-gmp", "mini-fc-gmp", "cam"),
            Row(_two("CAM on GoogLeNet (unmodified)"), "googlenet", "mini-gap", "cam"),
            Row(_two("CAM on AlexNet-GAP"), "alexnet-gap", None, "cam"),
            Row(_two("CAM on AlexNet*-GAP"), "alexnet-star-gap", None, "cam"),
            Row(_two("CAM on NIN"), "nin", "mini-nin", "cam"),
            Row(_two("Backprop (Simonyan) on VGGnet"), "vgg16", "mini-fc", "saliency"),
            Row(_two("Backprop (Simonyan) on VGGnet"), "vgg16", "mini-fc", "smooth-saliency"),
            Row(_two("Backprop (Simonyan) on GoogLeNet"), "googlenet", None, "saliency"),
            Row(_two("Backprop (Simonyan) on GoogLeNet"), "googlenet", None, "smooth-saliency"),
            Row(_two("Backprop (Simonyan) on AlexNet"), "alexnet", None, "saliency"),
            Row(_two("Backprop (Simonyan) on AlexNet"), "alexnet", None, "smooth-saliency"),
        ),
    ),
    "table3": Table(
        "Top-5 localization error with a tight and a loose box",
        ("top5_loc_error",),
        (
            Row(
                _three("GoogLeNet-GAP (heuristics) [weakly supervised]"), "googlenet-gap", "mini-fc-gap", "cam-5-boxes"
            ),
            Row(_three("GoogLeNet-GAP [weakly supervised]"), "googlenet-gap", "mini-fc-gap", "cam"),
            Row(_three("Backprop (Simonyan) [weakly supervised]"), "googlenet", "mini-fc", "saliency"),
            Row(_three("Backprop (Simonyan) [weakly supervised]"), "googlenet", "mini-fc", "smooth-saliency"),
            Row(_three("GoogLeNet [full supervised]")),
            Row(_three("OverFeat [full supervised]")),
            Row(_three("AlexNet [full supervised]")),
        ),
    ),
    "table4": Table(
        "Fine-grained classification: the whole picture, or what a box holds",
        ("accuracy",),
        (
            Row(_four("full image [train/test anno: n/a]"), "googlenet-gap", "mini-gap", "whole-picture"),
            Row(_four("crop (CAM box) [train/test anno: n/a]"), "googlenet-gap", "mini-gap", "cam-box"),
            Row(_four("BBox (GT box) [train/test anno: BBox]"), "googlenet-gap", "mini-gap", "true-box"),
        ),
    ),
    "table5": Table(
        "Generic features: a linear SVM on what a network sees",
        ("accuracy",),
        (
            Row(_five("fc7 from AlexNet"), "alexnet", "mini-fc"),
            Row(_five("ave pool from GoogLeNet"), "googlenet", "mini-gap"),
            Row(_five("gap from GoogLeNet-GAP"), "googlenet-gap", "mini-fc-gap"),
        ),
    ),
    "wsol": Table(
        "CAM, Grad-CAM and ACoL under one evaluation",
        ("top1_loc_error", "max_box_acc", "max_box_acc_v2", "pxap", "coverage", "precision"),
        (
            Row(_wsol("CAM", "VGG16", Line("grad_cam", "CAM", "VGG-16 (GAP)")), "vgg16-gap", "mini-gap", "cam"),
            Row((Line("grad_cam", "Grad-CAM", "VGG-16"),), "vgg16", "mini-fc", "grad-cam"),
            Row((), "vgg16-gap", "mini-gap", "grad-cam"),
            Row(_wsol("ACoL", "VGG16", Line("acol", "VGGnet-ACoL")), "vgg16-acol", "mini-acol", "acol"),
            Row(_centre("released evaluator rule", "one per image"), "vgg16-gap", "mini-gap", "centre"),
            Row(_wsol("CAM", "ResNet50"), "resnet50-gap", None, "cam"),
            Row((), "resnet50-gap", None, "grad-cam"),
            Row((), "googlenet-gap", None, "cam"),
            Row((), "googlenet-acol", None, "acol"),
        ),
    ),
}

PUBLISHED = {  # our name of a metric -> that of data/published
    "top1_error": "top-1 cls error",
    "top5_error": "top-5 cls error",
    "top1_loc_error": "top-1 loc error",
    "top5_loc_error": "top-5 loc error",
    "accuracy": "cls accuracy",
    "max_box_acc": "MaxBoxAcc@0.5",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
}
IMAGENET = ("ILSVRC", "ImageNet", "ILSVRC-15", "ILSVRC 2014")
SAME_DATA = {"ilsvrc": IMAGENET, "cub": ("CUB-200-2011",)}  # our name of a data set -> those in data/published
SPLITS = {"ilsvrc": "val"}  # what our "test" is called there; elsewhere it is a test split
BOX_GRID = 256  # side of the maps that loose and tight boxes are drawn on: its 5 px at the border are counted there

# ---- which conditions differ ----

BUILT_OTHERWISE = {  # network -> how it differs from the paper's by construction
    "googlenet": "torchvision's GoogLeNet has batch norm, and 3x3 convolutions in place of 5x5",
    "alexnet": "torchvision's AlexNet is the version with one tower",
    "resnet50": "maps of 7x7 places, where Choe et al. change strides for 14x14 or 28x28",
}
OTHER_MAPS = {  # source -> what the paper does otherwise, or leaves open
    "saliency": "box at 20% of the raw map's maximum, as for CAM (the paper does not say)",
    "smooth-saliency": "Gaussian of 9 px at 224 px first, then the box at 20% (the paper does not say)",
    "grad-cam": "maps of the last layer before the head, box at 20% of the maximum in top1_loc_error, not 15%",
    "cam-5-boxes": "one view, not ten crops, and the heatmap not stored as JPEG",
    "acol": "erased for the class that branch A predicts, not for the label",
    "centre": "a Gaussian in the middle, not the best centred square",
    "cam-box": "classes' weights from the SVM, in training the box of the label, in testing that of the guess",
}


def _conditions(name: str, network: str, source: str, dataset: str, profile: str, found: pd.Series | None) -> list[str]:
    """What is not as it was when the published figure was measured; without one, what ours was measured under."""
    kind, small = dataset.partition(":")[0], network.startswith("mini")
    theirs = {"dataset": None, "split": None, "method": ""} if found is None else found
    split = SPLITS.get(kind, "test")
    differs = []
    if theirs["dataset"] not in SAME_DATA.get(kind, ()):
        differs.append(f"data: {dataset}" + (f", not {theirs['dataset']}" if theirs["dataset"] else ""))
    if theirs["split"] not in (None, split):
        differs.append(f"split: {split}, not {theirs['split']}")
    if kind.startswith("scenes") or small:
        differs.append("trained from scratch")
    elif network.startswith(networks.PRETRAINED):
        differs.append("from torchvision's ImageNet weights")
    if name in ("table4", "table5"):
        if kind == "scenes":
            differs.append("classes: the single objects, while the network was trained for their categories")
        elif network in networks.CUTS:
            differs.append("cut network fine-tuned on this data, not on ILSVRC")
    differs += ["500 test pictures"] if profile == "quick" else []
    if small:
        said = theirs["method"] if name != "wsol" else theirs.get("backbone", "none")
        differs.append(f"network: {network}" + (f" in place of {said}" if said != "none" else ""))
        differs.append("pictures of 64 px, not 224")
    differs += [how for start, how in BUILT_OTHERWISE.items() if network.startswith(start)]
    if source in OTHER_MAPS:
        differs.append(OTHER_MAPS[source])
    return differs


# ---- what a notebook does: networks, data, numbers ----


def rows(name: str) -> pd.DataFrame:
    """Which network stands for which line of a paper's table: one row each, for readers."""
    lines = [
        {
            "the paper's line": "; ".join(", ".join(filter(None, line[1:])) for line in row.lines) or "-",
            "full, paper": row.network or "quoted",
            "quick": row.small or "-",
            "map": row.source,
        }
        for row in _table(name).rows
    ]
    return pd.DataFrame(lines)


def networks_of(name: str, profile: str, network: str | None = None) -> list[str]:
    """The networks of a table at a profile, in its order; only `network` where one is given.

    raises: KeyError for an unknown table, ValueError where the table has no such network
    """
    rows = _table(name).rows
    chosen = [row.small if profile == "quick" else row.network for row in rows]
    if network is None:
        return list(dict.fromkeys(one for one in chosen if one))
    known = list(dict.fromkeys(one for row in rows for one in (row.small, row.network) if one))
    if network not in known:
        raise ValueError(f"network={network!r} has no row in {name}: choose one of {', '.join(known)}.")
    return [network]


def load(dataset: str, chosen: Sequence[str], run: Run, detail: int = 1) -> tuple:
    """The data set's train and test split for these networks: 64 px where all are small, else 224.

    detail: times as many pixels a side, to crop from
    At quick 500 test pictures; of scenes at full 20,000 to train on, at paper 100,000, and 10,000 to test on.
    raises: ValueError where some networks take 64 px and others 224, or where Table 3 has no five classes to guess;
            what datasets.load raises, for a set without boxes too unless no row of the table makes maps (1, 5)
    """
    sizes = {64 if one.startswith("mini") else 224 for one in chosen}
    if len(sizes) > 1:
        raise ValueError(f"{', '.join(chosen)} take pictures of {sorted(sizes)} pixels: choose networks of one size.")
    scenes = dataset.startswith("scenes")
    train = run.pick(quick=None, full=20000 if scenes else None, paper=100000 if scenes else None)
    test = run.pick(quick=500, full=None, paper=10000 if scenes else None)
    size, lengths = sizes.pop() * detail, {"train": train, "test": test}
    boxes = any(row.source != "-" for row in _table(run.notebook).rows)
    sets = [
        datasets.load(dataset, split, size, length=length, seed=run.seed, boxes=boxes)
        for split, length in lengths.items()
    ]
    if run.notebook == "table3" and len(sets[0].classes) <= 5:
        raise ValueError(f"{dataset} has {len(sets[0].classes)} classes: five guesses need a data set with more.")
    return tuple(sets)


def train(chosen: Sequence[str], data, *, seed: int, device: str | torch.device = "cpu") -> dict[str, Network]:
    """Every network of `chosen`, trained on the data set's labels or taken from the cache: {name: network}.

    A cut starts from its original, trained on the same data, as in the paper. On scenes all originals start from random
    weights; on other data from ImageNet's, where torchvision has some. On ILSVRC those are trained already: the
    original stays as it is, and the cut starts from it.
    raises: OSError where ImageNet's weights cannot be downloaded; what training.fit raises
    """
    return {name: _trained(name, data, seed, device).network for name in chosen}


def record_speed(trained: Mapping[str, Network], data, run: Run) -> None:
    """Pictures per second of the loader alone and of each network's training step, into the record of the run.

    Recorded only where the data set is too large to be held and its pictures are made batch by batch; training waits
    for the loader where the step is the faster one.
    """
    if not is_large(data):
        return
    for name, network in trained.items():
        for metric, value in throughput(network, data, recipe_of(name, data), device=run.device).items():
            run.record(f"{name} - {metric}", value)


# Ours, for the paper's networks on scenes from random weights; VGG-16 is deep without batch norm. The published recipes
# start from ImageNet's weights, or last for weeks.
RATES = {"alexnet": 3e-4, "vgg16": 1e-4, "googlenet": 1e-3, "resnet50": 1e-3, "nin": 3e-4}


def recipe_of(name: str, data) -> Recipe:
    """How a network is trained for a table: training.recipe_for, but on scenes for the paper's networks AdamW from
    random weights, and for a cut a third of the rate with its new layers ten times as fast."""
    rate = RATES.get(name.split("-")[0])
    if rate is None or not data.name.startswith("scenes"):
        return recipe_for(name)
    if name in networks.CUTS:
        return Recipe(epochs=4, lr=rate / 3, new_layer_factor=10)
    return Recipe(epochs=10, lr=rate)


def _trained(name: str, data, seed: int, device: str | torch.device) -> Trained:
    original = networks.CUTS.get(name, (name,))[0]
    pretrained = original.startswith(networks.PRETRAINED) and not data.name.startswith("scenes")
    how = {"seed": seed, "device": device}
    if pretrained:
        how["weights"] = "pretrained"
    if pretrained and data.name.startswith("ilsvrc"):
        built = networks.build(name, len(data.classes), "pretrained", seed)
        if not built.new_layers:
            return Trained(built.to(device), [], 0.0, True, "pretrained")
        return trained(name, data, recipe_of(name, data), **how)
    if name == original:
        return trained(name, data, recipe_of(name, data), **how)
    before = trained(original, data, recipe_of(original, data), **how)
    return trained(name, data, recipe_of(name, data), seed=seed, device=device, start=before)


@dataclass
class Found:
    """What a notebook measured.

    values:   "NETWORK SOURCE METRIC" -> number, in percent
    pictures: of the same names those whose number is a mean over the test pictures -> (N,) one number a picture
    """

    values: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def add(self, network: str, source: str, metric: str, what: float | np.ndarray) -> None:
        """One number, or (N,) bool: what is so in each picture, of which the number is the share."""
        key = f"{network} {source} {metric}"
        if np.ndim(what):
            self.pictures[key] = 100.0 * np.asarray(what)
            what = self.pictures[key].mean()
        self.values[key] = float(what)

    def record(self, run: Run) -> None:
        """Every number into the record of the run."""
        for name, value in self.values.items():
            run.record(name, value)


def classification(trained: Mapping[str, Network], data, device: str | torch.device = "cpu") -> Found:
    """Table 1: top-1 and top-5 error of each network on a data set."""
    found = Found()
    for name, network in trained.items():
        logits = classify(network, data, device=device)
        for k in (1, 5) if network.classes > 5 else (1,):
            found.add(name, "-", f"top{k}_error", ~metrics.topk_correct(logits, data.labels, k))
    return found


def localization(
    name: str, trained: Mapping[str, Network], data, *, seed: int, device: str | torch.device = "cpu"
) -> Found:
    """Table 2, 3 or wsol: the metrics of table `name` for each network and each of its sources of maps."""
    found = Found()
    for network, source in _measured(name, trained):
        if source == "cam-5-boxes":
            found.add(network, source, "top5_loc_error", ~five_boxes_correct(trained[network], data, device=device))
            continue
        e = evaluate(trained[network], data, _map_name(source), device=device, seed=seed)
        for metric, what in _of_evaluation(e):
            if metric in _table(name).metrics:
                found.add(network, source, metric, what)
    return found


def _measured(name: str, trained: Mapping[str, Network]) -> list[tuple[str, str]]:
    """(network, source) of each row that the trained networks can fill, in the table's order."""
    both = [(one, row.source) for row in _table(name).rows for one in (row.small, row.network)]
    return list(dict.fromkeys(pair for pair in both if pair[0] in trained))


def _map_name(source: str) -> str:
    return next(known for known in MAPS if known.replace(" ", "-") == source)


def _of_evaluation(e: Evaluation) -> Iterator[tuple[str, float | np.ndarray]]:
    """(metric, number or one truth value a picture) of an evaluation."""
    errors = {f"{which}_error": ~right for which, right in e.correct.items() if which.startswith("top")}
    for metric, value in e.row.items():
        yield metric, errors.get(metric, value)
    if (reached := e.coverage()) is not None:
        yield from zip(("coverage", "precision"), reached, strict=True)


@torch.no_grad()
def five_boxes_correct(
    network: Network, data, *, device: str | torch.device = "cpu", batch_size: int = 64
) -> np.ndarray:
    """Whether one of five guesses is right, class and box: (N,) bool, with the heuristics of the paper's Table 3.

    The five are a tight and a loose box for the likeliest class, both for the second, the loose one for the third, by
    `boxes.loose_and_tight` on the map at 256 x 256 pixels. Zhou et al. 2016, section 3.2.
    """
    network.to(device).eval()
    right = []
    batches = torch.arange(len(data)).split(batch_size)
    for indices in tqdm(batches, desc="tight and loose boxes", unit="batch", leave=False):
        batch = data.batch(indices, device=device)
        logits, feature_maps = network(batch.images)
        top3 = logits.topk(3).indices
        maps = upsample(class_activation_map(feature_maps, network.class_weight[top3]), BOX_GRID).cpu().numpy()
        truth = [boxes * (BOX_GRID / data.size) for boxes in batch.boxes]
        boxes = [
            [loose_1, tight_1, loose_2, tight_2, loose_3]
            for (loose_1, tight_1), (loose_2, tight_2), (loose_3, _) in (map(loose_and_tight, m) for m in maps)
        ]
        classes = top3.cpu().numpy()[:, [0, 0, 1, 1, 2]]
        labels = batch.labels.cpu().numpy()
        right.append(metrics.topk_localization_correct(classes, boxes, labels, truth, 5))
    return np.concatenate(right)


def both_boxes(network: Network, batch: Batch) -> tuple[Tensor, list[list[np.ndarray]]]:
    """Maps of the true classes at the size of the pictures (B, H, W), and of each its loose and its tight box.

    CAM, and of a network without one its smooth saliency
    """
    source = "smooth saliency" if isinstance(network, HiddenLayerNetwork) else "cam"
    with torch.no_grad():
        raw = MAPS[source](network, batch.images, network.features(batch.images), batch.labels[:, None])
    side = batch.images.shape[-1]
    pairs = [loose_and_tight(one) for one in upsample(raw, BOX_GRID)[:, 0].cpu().numpy()]
    scaled = [[box * (side / BOX_GRID) for box in pair if box is not None] for pair in pairs]
    return upsample(raw, side)[:, 0].cpu(), scaled


# ---- features and linear SVMs: tables 4 and 5 ----


def fine_labels(data) -> np.ndarray:
    """(N,) int64, the finest labels a data set has: of scenes which of the 176 objects is seen, of others the class."""
    return data.object_indices if data.name == "scenes" else data.labels


def features(network: Network, feature_maps: Tensor) -> Tensor:
    """What the last linear layer sees: pooled maps, or the last hidden layer's output (fc7 of AlexNet).

    feature_maps: (B, K, h, w), from network.features; returns (B, K) or (B, hidden units)
    """
    if isinstance(network, HiddenLayerNetwork):
        return network.classifier[:-1](feature_maps)
    return feature_maps.mean((2, 3))


BoxesOf = Callable[[Batch, Tensor], Sequence[np.ndarray | None]]  # a batch, its pictures at the network's size


@dataclass
class LinearSVM:
    """One linear SVM against all others for each class; weight (C, K), bias (C,) and the C classes' labels.

    Scores of features x are weight x + bias, so `weight` makes class activation maps, as any linear classifier's.
    """

    weight: Tensor
    bias: Tensor
    labels: np.ndarray

    @classmethod
    def fit(cls, x: Tensor, labels: np.ndarray) -> LinearSVM:
        """scikit-learn's LinearSVC, C = 1, on features (N, K) divided by their standard deviation, one for all."""
        scale = float(x.std()) or 1.0
        svm = LinearSVC(C=1.0, dual="auto", random_state=0).fit(x.numpy() / scale, labels)
        weight, bias = torch.from_numpy(svm.coef_ / scale).float(), torch.from_numpy(svm.intercept_).float()
        if len(weight) == 1:  # two classes share one line
            weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
        return cls(weight, bias, svm.classes_)

    def scores(self, x: Tensor) -> Tensor:
        """x: (B, K) -> (B, C)"""
        return x @ self.weight.T + self.bias

    def map_boxes(self, network: Network, labels: np.ndarray | None = None) -> BoxesOf:
        """Boxes of the class activation maps that this SVM's weights make, for `_seen`.

        labels: (N,) the class whose map is taken, by a picture's place in its data set; None: the one guessed
        """

        def boxes(batch: Batch, whole: Tensor) -> list[np.ndarray | None]:
            feature_maps = network.features(whole)
            if labels is None:
                rows = self.scores(features(network, feature_maps).cpu()).argmax(1)
            else:
                rows = torch.from_numpy(np.searchsorted(self.labels, labels[batch.indices.cpu().numpy()]))
            maps = class_activation_map(feature_maps, self.weight[rows][:, None].to(feature_maps))
            full = upsample(maps, batch.images.shape[-2:])[:, 0].cpu().numpy()
            return [box_from_map(one, "paper", PAPER_THRESHOLD) for one in full]

        return boxes

    def correct(self, x: Tensor, labels: np.ndarray) -> np.ndarray:
        """Whether the highest score is the label's: (N,) bool."""
        return self.labels[self.scores(x).argmax(1).numpy()] == labels


@torch.no_grad()
def all_features(network: Network, data, device: str | torch.device = "cpu", batch_size: int = 256) -> Tensor:
    """`features` of every picture of a data set, on the CPU: (N, K)."""
    network.to(device).eval()
    seen = pictures(data, torch.device(device))
    places = tqdm(torch.arange(len(data)).split(batch_size), desc="features", unit="batch", leave=False)
    return torch.cat([features(network, network.features(seen(some))).cpu() for some in places])


def generic_features(trained: Mapping[str, Network], train, test, device: str | torch.device = "cpu") -> Found:
    """Table 5: accuracy of a linear SVM on each network's features, on a data set's finest labels.

    train, test: any labelled pictures; the network is not trained further
    Zhou et al. 2016, section 4.
    """
    found = Found()
    for name, network in trained.items():
        svm = LinearSVM.fit(all_features(network, train, device), fine_labels(train))
        right = svm.correct(all_features(network, test, device), fine_labels(test))
        found.add(name, "-", "accuracy", right)
    return found


def crop(image: Tensor, box: np.ndarray | None, size: int) -> Tensor:
    """What a box holds, scaled to size x size; the whole picture where box is None: (3, H, W) -> (3, size, size).

    box: (4,), half-open, in pixels, rounded outward and cut at the picture's border
    """
    if box is not None:
        limit = image.shape[1]
        x0, y0 = (int(min(max(np.floor(v), 0), limit - 1)) for v in box[:2])
        x1, y1 = (int(min(max(np.ceil(v), low + 1), limit)) for v, low in zip(box[2:], (x0, y0), strict=True))
        image = image[:, y0:y1, x0:x1]
    return F.interpolate(image[None], (size, size), mode="bilinear", align_corners=False, antialias=True)[0]


def fine_grained(trained: Mapping[str, Network], train, test, device: str | torch.device = "cpu") -> Found:
    """Table 4: accuracy of a linear SVM on GAP features of whole pictures, of what the CAM box, and the true box holds.

    train, test: larger than the network's pictures, to crop from (see `load`); at their finest labels
    The CAM box is found without boxes: the SVM of the whole pictures has a weight for each feature map and class, so it
    has class activation maps (box at 20% of the maximum). In training it is the map of the label, in testing that of
    the class that the SVM guesses. A new SVM learns from the crops. Zhou et al. 2016, section 4.1.
    """
    found, known, asked = Found(), fine_labels(train), fine_labels(test)
    for name, network in trained.items():
        size = 64 if name.startswith("mini") else 224
        network.to(device).eval()
        whole, held = _seen(network, train, size, (_nothing, _true_box), device)
        whole_asked, held_asked = _seen(network, test, size, (_nothing, _true_box), device)
        svm = LinearSVM.fit(whole, known)
        (found_boxes,) = _seen(network, train, size, (svm.map_boxes(network, known),), device)
        (found_asked,) = _seen(network, test, size, (svm.map_boxes(network),), device)
        found.add(name, "whole-picture", "accuracy", svm.correct(whole_asked, asked))
        found.add(name, "cam-box", "accuracy", LinearSVM.fit(found_boxes, known).correct(found_asked, asked))
        found.add(name, "true-box", "accuracy", LinearSVM.fit(held, known).correct(held_asked, asked))
    return found


@torch.no_grad()
def _seen(network, data, size: int, kinds: Sequence[BoxesOf], device, batch_size: int = 128) -> list[Tensor]:
    """Features (N, K) of what each kind of boxes holds, in one pass over the data set."""
    seen = [[] for _ in kinds]
    for indices in tqdm(torch.arange(len(data)).split(batch_size), desc="crops", unit="batch", leave=False):
        batch = data.batch(indices, device=device)
        whole = torch.stack([crop(image, None, size) for image in batch.images])
        for features_of, kind in zip(seen, kinds, strict=True):
            boxes = kind(batch, whole)
            crops = torch.stack([crop(image, box, size) for image, box in zip(batch.images, boxes, strict=True)])
            features_of.append(features(network, network.features(crops)).cpu())
    return [torch.cat(parts) for parts in seen]


def _nothing(batch: Batch, whole: Tensor) -> list[None]:
    return [None] * len(batch)


def _true_box(batch: Batch, whole: Tensor) -> list[np.ndarray]:
    """The box around all boxes of a picture."""
    return [np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)]) for boxes in batch.boxes]


# ---- ours beside published ----

THIS_RUN = "this run"
COLUMNS = (
    "run",
    "notebook",
    "profile",
    "dataset",
    "seed",
    "network",
    "source",
    "metric",
    "value",
    "device",
    "finished",
)


def recorded(name: str) -> pd.DataFrame:
    """Our recorded runs of a table, data/results/NAME.csv, one row a number; empty where nothing was recorded."""
    path = paths.DATA / "results" / f"{name}.csv"
    return read_table(path, COLUMNS, ["value"]) if path.is_file() else pd.DataFrame(columns=COLUMNS)


def results(name: str, run: Run, found: Found) -> pd.DataFrame:
    """The recorded runs of a table together with this run, in place of a recorded one of the same setting and seed."""
    about = {"run": THIS_RUN, "notebook": name, "profile": run.profile, "seed": run.seed, "device": run.device.type}
    about |= {"dataset": run.parameters.portable()["dataset"], "finished": datetime.now(UTC).isoformat()}
    rows = []
    for key, value in found.values.items():
        network, source, metric = key.split(" ")
        rows.append(about | {"network": network, "source": source, "metric": metric, "value": value})
    now = pd.DataFrame(rows, columns=COLUMNS)
    before = recorded(name)
    return _latest(pd.concat([before, now]) if len(before) else now)


def _latest(results: pd.DataFrame) -> pd.DataFrame:
    """Each number once: of one seed's runs of one setting the latest counts. ValueError where a column is missing."""
    missing = [column for column in COLUMNS if column not in results]
    if missing:
        raise ValueError(f"The results have no column {', '.join(missing)}: take them from experiments.results().")
    key = ["notebook", "profile", "dataset", "seed", "network", "source", "metric"]
    return results.sort_values("finished", kind="stable").drop_duplicates(key, keep="last")


def published_figure(row: Row, metric: str, dataset: str) -> pd.Series | None:
    """The published figure that stands beside a metric of a row, or None where the papers have none.

    Of figures on several data sets that on the same as ours, else that on ImageNet, else their mean, which says so.
    raises: KeyError where a line is in no file
    """
    found = [_lines_of(line, metric) for line in row.lines]
    lines = pd.concat(found) if found else pd.DataFrame(columns=published.COLUMNS)
    for same in (SAME_DATA.get(dataset.partition(":")[0], ()), IMAGENET):
        if lines["dataset"].isin(same).any():
            return lines[lines["dataset"].isin(same)].iloc[0]
    if len(lines) > 1:
        mean = {"value": round(lines["value"].mean(), 2), "dataset": f"the mean of {len(lines)} data sets"}
        return pd.Series(lines.iloc[0].to_dict() | mean | {"evidence": "derived"})
    return lines.iloc[0] if len(lines) else None


def _lines_of(line: Line, metric: str) -> pd.DataFrame:
    """The published figures of one line and metric, one for each data set; the first where a file has several."""
    rows = published.table(line.file)
    rows = rows[
        (rows["method"] == line.method) & rows["backbone"].isin([line.backbone] if line.backbone else rows["backbone"])
    ]
    if rows.empty:
        raise KeyError(f"data/published/{line.file}.csv has no method {line.method!r}, backbone {line.backbone}.")
    return rows[rows["metric"] == PUBLISHED.get(metric)].drop_duplicates("dataset")


def table(name: str, results: pd.DataFrame) -> pd.DataFrame:
    """A paper's table with our figures beside the published ones: one row for each setting and metric.

    results: one row a number, with the columns of COLUMNS; where one seed measured the same twice, the latest counts
    returns: row (what the paper calls it), network, map, data, profile, metric; ours (mean over seeds), spread (their
             standard deviation, none for one), seeds; published, difference, evidence; differs in. Lines that are only
             quoted have no `ours`
    raises:  KeyError for an unknown table, ValueError where results lack a column
    """
    chosen = _table(name)
    ours = _latest(results)
    ours = ours[ours["notebook"] == name]
    lines = []
    for row in chosen.rows:
        label = ", ".join(filter(None, row.lines[0][1:])) if row.lines else ""
        mine = ours[ours["network"].isin([row.network, row.small]) & (ours["source"] == row.source)]
        for metric in chosen.metrics:
            here = mine[mine["metric"] == metric]
            for (profile, dataset, network), group in here.groupby(["profile", "dataset", "network"]):
                line = {"row": label, "network": network, "map": row.source, "data": dataset, "profile": profile}
                line |= {"metric": metric, "ours": group["value"].mean(), "spread": group["value"].std(ddof=1)}
                theirs = published_figure(row, metric, dataset)
                differs = _conditions(name, network, row.source, dataset, profile, theirs)
                lines.append(line | {"seeds": len(group)} | _beside(line["ours"], theirs, differs))
            if row.network is None:
                line = {"row": label, "network": "-", "map": "-", "data": "-", "profile": "-", "metric": metric}
                line |= {"ours": np.nan, "spread": np.nan, "seeds": 0}
                lines.append(line | _beside(np.nan, published_figure(row, metric, ""), ["quoted"]))
    names = ("row", "network", "map", "data", "profile", "metric", "ours", "spread", "seeds")
    whole = pd.DataFrame(lines, columns=[*names, "published", "difference", "evidence", "differs in"])
    return whole.round({"ours": 2, "spread": 2, "difference": 2})


def _beside(ours: float, theirs: pd.Series | None, differs: list[str]) -> dict:
    value = np.nan if theirs is None else theirs["value"]
    evidence = "" if theirs is None else theirs["evidence"]
    return {"published": value, "difference": ours - value, "evidence": evidence, "differs in": "; ".join(differs)}


def shared(whole: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """A table for readers: the conditions that differ in every row of ours, to be said once, and the rest.

    returns: those conditions, and the table as `readable`, without them and without map, data and profile where there
             is only one
    """
    sets = [set(text.split("; ")) for text in whole.loc[whole["seeds"] > 0, "differs in"]]
    common = set.intersection(*sets) if sets else set()
    first = whole["differs in"].iloc[0].split("; ") if len(whole) else []
    rest = whole.copy()
    rest["differs in"] = ["; ".join(c for c in text.split("; ") if c not in common) for text in whole["differs in"]]
    constant = [name for name in ("map", "data", "profile") if rest.loc[rest["seeds"] > 0, name].nunique() <= 1]
    return [condition for condition in first if condition in common], readable(rest.drop(columns=constant))


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """A table or claims for the screen: two decimals, and data and profile left out where there is only one."""
    constant = [name for name in ("data", "profile") if name in frame and frame[name].nunique() <= 1]
    return _as_text(frame.drop(columns=constant))


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = frame.select_dtypes("floating").columns
    return frame.assign(**{c: ["-" if np.isnan(v) else f"{v:.2f}" for v in frame[c]] for c in numbers})


def figure(name: str, whole: pd.DataFrame, metric: str):
    """One metric of a table as a figure: ours as discs, published as diamonds, in the table's order."""
    rows = whole[whole["metric"] == metric]
    label = []
    for row in rows.itertuples():
        mine = f"{row.network} {row.map}".removesuffix(" -") if row.seeds else ""
        theirs = re.sub(r" \[(train|weakly)[^]]*\]", "", row.row)
        theirs = textwrap.fill(f"({theirs})" if mine and theirs else theirs, 44)
        label.append(f"{mine}\n{theirs}".strip())
    both = rows.dropna(subset=["difference"])
    takeaway = f"{_table(name).title}. Ours beside published"
    if len(both) > 2:
        agree = both["ours"].corr(both["published"], method="kendall")
        takeaway += f", rank correlation {agree:+.2f} over {len(both)} rows"
    return show.ours_beside_published(rows.set_index(pd.Index(label)), f"{metric}, percent", takeaway)


# ---- what the papers claim ----


class Pair(NamedTuple):
    """Two rows of a table, a and b, each "NETWORK SOURCE": the paper's, and the two that stand for them at quick."""

    a: str
    b: str
    small: tuple[str, str] | None = None


class Claim(NamedTuple):
    """a minus b, in points of a metric of a table, lies in `between`: what a paper says, in numbers."""

    paper: str
    says: str
    where: str
    table: str
    metric: str
    pairs: tuple[Pair, ...]
    between: tuple[float, float] = (0, np.inf)


_CUT = {"vgg16": "mini-fc", "googlenet": None, "alexnet": None}  # an original that is cut -> in its place at quick
_COST = tuple(Pair(f"{o}-gap -", f"{o} -", small and (f"{small}-gap -", f"{small} -")) for o, small in _CUT.items())
_BACKPROP = tuple(
    Pair(f"{o} {kind}", f"{o}-gap cam", small and (f"{small} {kind}", f"{small}-gap cam"))
    for kind in ("saliency", "smooth-saliency")
    for o, small in _CUT.items()
)


def _googlenet(a: str, b: str, small: str) -> Pair:
    """Two rows of GoogLeNet-GAP, for which `small` stands."""
    return Pair(f"googlenet-gap {a}", f"googlenet-gap {b}", (f"{small} {a}", f"{small} {b}"))


def _maximum(source: str) -> tuple[Pair]:
    return (
        Pair(f"googlenet-gmp {source}", f"googlenet-gap {source}", (f"mini-fc-gmp {source}", f"mini-fc-gap {source}")),
    )


def _vgg16(a: str, b: str) -> Pair:
    """Rows of VGG-16 with average pooling or as ACoL, for which mini-gap and mini-acol stand."""
    stands = {"vgg16-gap": "mini-gap", "vgg16-acol": "mini-acol"}
    return Pair(a, b, tuple(f"{stands[who.split(' ')[0]]} {who.split(' ')[1]}" for who in (a, b)))


_CAM_ACOL = (_vgg16("vgg16-gap cam", "vgg16-acol acol"), Pair("googlenet-gap cam", "googlenet-acol acol"))
_ACOL_CAM = (_vgg16("vgg16-acol acol", "vgg16-gap cam"), Pair("googlenet-acol acol", "googlenet-gap cam"))
_GRAD_CAM = Pair("vgg16-gap cam", "vgg16 grad-cam", ("mini-gap cam", "mini-fc grad-cam"))
_FC7 = Pair("googlenet-gap -", "alexnet -", ("mini-fc-gap -", "mini-fc -"))
_AVERAGE = Pair("googlenet-gap -", "googlenet -", ("mini-fc-gap -", "mini-gap -"))

# paper, what it says, where; table and metric; the pairs; between, where it is not "above zero"
CLAIMS = (
    Claim(
        *("cam", "GAP networks lose 1 to 3 points of accuracy", "section 3.1, table 1"),
        *("table1", "top1_error", (*_COST, Pair("alexnet-star-gap -", "alexnet -")), (1, 3)),
    ),
    Claim(
        *("cam", "GAP and GMP classify alike, within a point", "section 3.1, table 1"),
        *("table1", "top1_error", _maximum("-"), (-1, 1)),
    ),
    Claim(
        *("cam", "AlexNet-GAP needs two more convolutions", "section 3.1, table 1"),
        *("table1", "top1_error", (Pair("alexnet-gap -", "alexnet-star-gap -"),)),
    ),
    Claim(
        *("cam", "GAP localizes better than GMP, top-1", "section 3.2, table 2"),
        *("table2", "top1_loc_error", _maximum("cam")),
    ),
    Claim(
        *("cam", "GAP localizes better than GMP, top-5", "section 3.2, table 2"),
        *("table2", "top5_loc_error", _maximum("cam")),
    ),
    Claim(
        *("cam", "CAM beats backprop, top-1", "section 3.2, table 2"),
        *("table2", "top1_loc_error", _BACKPROP),
    ),
    Claim(
        *("cam", "CAM beats backprop, top-5", "section 3.2, table 2"),
        *("table2", "top5_loc_error", _BACKPROP),
    ),
    Claim(
        *("cam", "The cut localizes better than GoogLeNet as it is", "section 3.2, table 2"),
        *("table2", "top1_loc_error", (Pair("googlenet cam", "googlenet-gap cam"),)),
    ),
    Claim(
        *("cam", "A tight and a loose box lower the error", "section 3.2, table 3"),
        *("table3", "top5_loc_error", (_googlenet("cam", "cam-5-boxes", "mini-fc-gap"),)),
    ),
    Claim(
        *("cam", "The CAM box helps to tell classes apart", "section 4.1, table 4"),
        *("table4", "accuracy", (_googlenet("cam-box", "whole-picture", "mini-gap"),)),
    ),
    Claim(
        *("cam", "The true box helps more than the CAM box", "section 4.1, table 4"),
        *("table4", "accuracy", (_googlenet("true-box", "cam-box", "mini-gap"),)),
    ),
    Claim(
        *("cam", "GAP features are as good as GoogLeNet's, within a point", "section 4, table 5"),
        *("table5", "accuracy", (_AVERAGE,), (-1, 1)),
    ),
    Claim(
        *("cam", "GAP features are better than fc7 of AlexNet", "section 4, table 5"),
        *("table5", "accuracy", (_FC7,)),
    ),
    Claim(
        *("grad-cam", "Grad-CAM localizes better than CAM", "section 4.1, table 1"),
        *("wsol", "top1_loc_error", (_GRAD_CAM,)),
    ),
    Claim(
        *("acol", "ACoL covers more of the object than CAM", "sections 1 and 3"),
        *("wsol", "coverage", _ACOL_CAM),
    ),
    Claim(
        *("acol", "ACoL localizes better than CAM", "section 4.2"),
        *("wsol", "top1_loc_error", _CAM_ACOL),
    ),
    Claim(
        *("wsol", "CAM is better than ACoL where both are evaluated alike", "main table (V2)"),
        *("wsol", "max_box_acc_v2", _CAM_ACOL),
    ),
    Claim(
        *("wsol", "CAM is better than a spot in the centre", "main table (V2)"),
        *("wsol", "max_box_acc_v2", (_vgg16("vgg16-gap cam", "vgg16-gap centre"),)),
    ),
)
PAPERS = tuple(dict.fromkeys(claim.paper for claim in CLAIMS))


def verdict(low: float, high: float, between: tuple[float, float]) -> str:
    """What an interval says of a claim: "holds" where it lies inside, "does not hold" where it lies outside.

    low, high: of the measured difference; NaN where there is no interval; between: the claim, without its ends
    """
    least, most = between
    if least < low and high < most:
        return "holds"
    if high <= least or low >= most:
        return "does not hold"
    return "not decided"


def claims(paper: str, results: pd.DataFrame, pictures: Mapping[str, np.ndarray] | None = None) -> pd.DataFrame:
    """What a paper claims and what our runs say to it: one row for each pair of networks that was measured.

    paper:    "cam", "grad-cam", "acol" or "wsol"; results: as for `table`
    pictures: Found.pictures of the run that `results` added: where it is the only seed, the interval is taken over its
              pictures (paired bootstrap), which says nothing about another training
    returns:  claim, where, difference (a minus b), metric, data, profile; published, ours (points, mean over seeds);
              low, high, its 95% interval (Student's t over seeds that both have; paired), over (what it is taken over);
              claimed, verdict: holds, does not hold, not decided
    raises:   ValueError for an unknown paper
    """
    if paper not in PAPERS:
        raise ValueError(f"paper={paper!r} makes no claims here: choose one of {', '.join(PAPERS)}.")
    results, lines = _latest(results), []
    for claim in (claim for claim in CLAIMS if claim.paper == paper):
        mine = results[(results["notebook"] == claim.table) & (results["metric"] == claim.metric)]
        for pair, (a, b) in ((each, two) for each in claim.pairs for two in (each[:2], each.small) if two):
            for (profile, dataset), group in mine.groupby(["profile", "dataset"]):
                who = group["network"] + " " + group["source"]
                values = group.assign(who=who).pivot(index="seed", columns="who", values="value")
                values = values.reindex(columns=[a, b]).dropna()
                if len(values):
                    difference = (values[a] - values[b]).to_numpy()
                    own = pictures or {} if (group["run"] == THIS_RUN).any() else {}
                    line = {
                        "claim": claim.says,
                        "where": claim.where,
                        "difference": f"{a.removesuffix(' -')} minus {b.removesuffix(' -')}",
                        "metric": claim.metric,
                    }
                    line |= {
                        "data": dataset,
                        "profile": profile,
                        "published": _published_difference(claim, pair, dataset),
                    }
                    lines.append(line | _judged(claim, a, b, difference, own))
    names = ("claim", "where", "difference", "metric", "data", "profile", "published", "ours", "low", "high", "over")
    return pd.DataFrame(lines, columns=[*names, "claimed", "verdict"]).round({"ours": 2, "low": 2, "high": 2})


def own_figures(paper: str, name: str) -> pd.DataFrame:
    """A paper's claims on one table, held against its own published figures: one row for each pair that has both.

    returns: claim, difference (of published lines), metric, published (points), claimed, in the paper: whether
             the published difference lies in the range
    """
    lines = []
    for claim in (claim for claim in CLAIMS if (claim.paper, claim.table) == (paper, name)):
        for pair in claim.pairs:
            value = _published_difference(claim, pair, "ilsvrc")
            if not np.isnan(value):
                a, b = (_row_of(claim, who).lines[0].method for who in pair[:2])
                line = {"claim": claim.says, "difference": f"{a} minus {b}", "metric": claim.metric, "published": value}
                inside = claim.between[0] < value < claim.between[1]
                lines.append(line | {"claimed": _range(claim), "in the paper": "holds" if inside else "does not hold"})
    columns = ["claim", "difference", "metric", "published", "claimed", "in the paper"]
    return pd.DataFrame(lines, columns=columns).drop_duplicates(ignore_index=True)


def _row_of(claim: Claim, who: str) -> Row:
    return next(row for row in _table(claim.table).rows if f"{row.network} {row.source}" == who)


def _range(claim: Claim) -> str:
    least, most = claim.between
    return f"above {least:g}" if np.isinf(most) else f"{least:+g} to {most:+g}"


def _judged(claim: Claim, a: str, b: str, difference: np.ndarray, pictures: Mapping[str, np.ndarray]) -> dict:
    of_a, of_b = (pictures.get(f"{who} {claim.metric}") for who in (a, b))
    low, high, over = np.nan, np.nan, "1 seed"
    if len(difference) > 1:
        (low, high), over = metrics.seed_interval(difference), f"{len(difference)} seeds"
    elif of_a is not None and of_b is not None:
        (low, high), over = metrics.bootstrap_interval(of_a - of_b, 0), f"{len(of_a)} pictures, 1 seed"
    ours = {"ours": difference.mean(), "low": low, "high": high, "over": over}
    return ours | {"claimed": _range(claim), "verdict": verdict(low, high, claim.between)}


def _published_difference(claim: Claim, pair: Pair, dataset: str) -> float:
    """The papers' own difference, NaN where they have not both figures on one data set."""
    figures = []
    for who in pair[:2]:
        figures.append(published_figure(_row_of(claim, who), claim.metric, dataset))
    data_sets = [
        None if one is None else "ImageNet" if one["dataset"] in IMAGENET else one["dataset"] for one in figures
    ]
    if None in data_sets or data_sets[0] != data_sets[1]:
        return np.nan
    return round(figures[0]["value"] - figures[1]["value"], 2)


def write(name: str, results: pd.DataFrame, folder, pictures: Mapping[str, np.ndarray] | None = None) -> list:
    """Writes a table and what its papers claim to a folder: NAME.csv, NAME-claims.csv, and both in NAME.md.

    Arguments and errors: as `table` and `claims`. returns: the three paths; each file is whole or absent
    """
    whole = table(name, results)
    mine = results[results["notebook"] == name]
    judged = pd.concat([claims(paper, mine, pictures).assign(paper=paper) for paper in PAPERS], ignore_index=True)
    common, rest = shared(whole)
    text = [f"# {_table(name).title}", "", "Percent; ours is the mean over seeds, spread their standard deviation."]
    text += ["", "All our rows: " + "; ".join(common) + "."] if common else []
    text += ["", _markdown(rest), "", "## What the papers claim", "", _markdown(judged), ""]
    contents = {f"{name}.csv": whole.to_csv(index=False), f"{name}-claims.csv": judged.to_csv(index=False)}
    written = []
    for file, content in (contents | {f"{name}.md": "\n".join(text)}).items():
        written.append(paths.Path(folder) / file)
        with paths.atomic_write(written[-1]) as part:
            part.write_text(content, encoding="utf-8")
    return written


def _markdown(frame: pd.DataFrame) -> str:
    return _as_text(frame).to_markdown(index=False, disable_numparse=True) if len(frame) else "none measured"


def _table(name: str) -> Table:
    if name not in TABLES:
        raise KeyError(f"no table {name!r}; known: {', '.join(TABLES)}.")
    return TABLES[name]
