"""The papers' tables as data: which network stands for which line, and on maps from which source."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from cambook.course.papers.in_full import InFull


class Line(NamedTuple):
    """A line of a published table: data/published/FILE.csv, its method and, if several have one, its backbone."""

    file: str
    method: str
    backbone: str | None = None


class Row(NamedTuple):
    """A row of our table.

    lines:   the published lines it stands beside, none or several (one file has its accuracy, another its boxes)
    network: at the profiles full and paper; None if the line is only quoted
    small:   instead of it at quick; None if no small network plays that part
    source:  what makes the map, a name in maps.MAPS, or "cam-5-boxes" (measure.py); "-" if no map is needed
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
        "Fine-grained classification: the whole image, or what a box contains",
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


def find_table(name: str) -> Table:
    if name not in TABLES:
        raise KeyError(f"no table {name!r}; known: {', '.join(TABLES)}.")
    return TABLES[name]


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
    """The networks of a table at a profile, in its order; only `network` if one is given.

    raises: KeyError for an unknown table, ValueError if the table has no such network
    """
    rows = find_table(name).rows
    chosen = [row.small if profile == "quick" else row.network for row in rows]
    if network is None:
        return list(dict.fromkeys(one for one in chosen if one))
    known = list(dict.fromkeys(one for row in rows for one in (row.small, row.network) if one))
    if network not in known:
        raise ValueError(f"network={network!r} has no row in {name}: choose one of {', '.join(known)}.")
    return [network]
