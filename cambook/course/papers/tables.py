"""The papers' tables as data: rows, metrics, networks, and what differs from the papers."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from cambook import datasets, networks
from cambook.course.papers.in_full import InFull

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
    source:  what makes the map, a name in maps.MAPS, or "cam-5-boxes" (measure.py); "-" where no map is asked for
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
PAPERS_SIDE = 224  # of the images that the papers' networks take
BOX_GRID = 256  # side of the maps that loose and tight boxes are drawn on: its 5 px at the border are counted there

# ---- which conditions differ ----

OTHER_MAPS = {  # source -> what the paper does otherwise, or leaves open
    "saliency": "box at 20% of the raw map's maximum, as for CAM (the paper does not say)",
    "smooth-saliency": "Gaussian of 9 px at 224 px first, then the box at 20% (the paper does not say)",
    "grad-cam": "maps of the last layer before the head, box at 20% of the maximum in top1_loc_error, not 15%",
    "cam-5-boxes": "one view, not ten crops, and the heatmap not stored as JPEG",
    "acol": "erased for the class that branch A predicts, not for the label",
    "centre": "a Gaussian in the middle, not the best centred square",
    "cam-box": "classes' weights from the SVM, in training the box of the label, in testing that of the guess",
}


def conditions(name: str, network: str, source: str, dataset: str, profile: str, found: pd.Series | None) -> list[str]:
    """What is not as it was when the published figure was measured; without one, what ours was measured under."""
    kind, spec = dataset.partition(":")[0], networks.spec(network)
    small = spec.side < PAPERS_SIDE
    theirs = {"dataset": None, "split": None, "method": ""} if found is None else found
    split = SPLITS.get(kind, "test")
    differs = []
    if theirs["dataset"] not in SAME_DATA.get(kind, ()):
        differs.append(f"data: {dataset}" + (f", not {theirs['dataset']}" if theirs["dataset"] else ""))
    if theirs["split"] not in (None, split):
        differs.append(f"split: {split}, not {theirs['split']}")
    data = datasets.find(dataset)
    if data.drawn or small:
        differs.append("trained from scratch")
    elif spec.weights:
        differs.append("from torchvision's ImageNet weights")
    if name in ("table4", "table5"):
        if data.has_object_labels:
            differs.append("classes: the single objects, while the network was trained for their categories")
        elif spec.original:
            differs.append("cut network fine-tuned on this data, not on ILSVRC")
    differs += ["500 test pictures"] if profile == "quick" else []
    if small:
        said = theirs["method"] if name != "wsol" else theirs.get("backbone", "none")
        differs.append(f"network: {network}" + (f" in place of {said}" if said != "none" else ""))
        differs.append(f"pictures of {spec.side} px, not {PAPERS_SIDE}")
    differs += [spec.differs] if spec.differs else []
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
        for row in find_table(name).rows
    ]
    return InFull(lines)


def networks_of(name: str, profile: str, network: str | None = None) -> list[str]:
    """The networks of a table at a profile, in its order; only `network` where one is given.

    raises: KeyError for an unknown table, ValueError where the table has no such network
    """
    rows = find_table(name).rows
    chosen = [row.small if profile == "quick" else row.network for row in rows]
    if network is None:
        return list(dict.fromkeys(one for one in chosen if one))
    known = list(dict.fromkeys(one for row in rows for one in (row.small, row.network) if one))
    if network not in known:
        raise ValueError(f"network={network!r} has no row in {name}: choose one of {', '.join(known)}.")
    return [network]


def find_table(name: str) -> Table:
    if name not in TABLES:
        raise KeyError(f"no table {name!r}; known: {', '.join(TABLES)}.")
    return TABLES[name]
