"""The tables in data/scenes: the objects of each class, the clutter, and the regions of background."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from cambook.files import data_file

LENGTHS = {"train": 4000, "test": 1000}
TEXTURES = 8  # procedural background tiles for each split


@dataclass(frozen=True)
class Cutout:
    """One drawing that is pasted into scenes.

    Attributes:
        code_point: OpenMoji's, such as "1F426".
        name: what it shows.
        label: index of its class; None for clutter.
        held_out: whether `scenes-new-objects` keeps it for its test split.
    """

    code_point: str
    name: str
    label: int | None
    held_out: bool = False


def scene_table(name: str) -> list[dict[str, str]]:
    """The rows of one table: "classes.csv", "clutter.csv" or "grounds.csv".

    Example:
        >>> scene_table("classes.csv")[0]["class"]
        'land mammal'
    """
    with data_file("scenes", name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tables_digest() -> str:
    """SHA-256 of the three tables.

    Example:
        >>> len(tables_digest())
        64
    """
    tables = [data_file("scenes", f"{table}.csv") for table in ("classes", "clutter", "grounds")]
    return hashlib.sha256("".join(file.read_text(encoding="utf-8") for file in tables).encode()).hexdigest()


@cache
def classes_and_cutouts() -> tuple[list[str], list[Cutout]]:
    """The classes in the table's order, and the cut-outs in the atlas's: labelled, then clutter.

    Example:
        >>> classes, cutouts = classes_and_cutouts()
        >>> len(classes), cutouts[0].label, cutouts[-1].label
        (12, 0, None)
    """
    rows = scene_table("classes.csv")
    classes = list(dict.fromkeys(row["class"] for row in rows))
    labels = [classes.index(row["class"]) for row in rows]
    labelled = [
        Cutout(row["code_point"], row["name"], label, row["held_out"] == "yes")
        for row, label in zip(rows, labels, strict=True)
    ]
    return classes, labelled + [Cutout(row["code_point"], row["name"], None) for row in scene_table("clutter.csv")]


def ground_squares(row: dict[str, str]) -> list[tuple[int, int, int, int]]:
    """The squares (x0, y0, x1, y1) side by side that a region of a photograph is cut into.

    Example:
        >>> ground_squares({"x0": "0", "y0": "10", "x1": "50", "y1": "30"})
        [(0, 10, 20, 30), (20, 10, 40, 30)]
    """
    x0, y0, x1, y1 = (int(row[k]) for k in ("x0", "y0", "x1", "y1"))
    side = min(x1 - x0, y1 - y0)
    corners = [(x, y) for y in range(y0, y1 - side + 1, side) for x in range(x0, x1 - side + 1, side)]
    return [(x, y, x + side, y + side) for x, y in corners]


def ground_rows(split: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Which background tiles a split uses, as rows of all tiles.

    Args:
        split: "train" or "test".

    Returns:
        One array of rows for each photographed region, and the rows of the procedural textures.

    Example:
        >>> regions, textures = ground_rows("train")
        >>> len(regions) > 12, len(textures)
        (True, 8)
    """
    photos, start = [], 0
    for row in scene_table("grounds.csv"):
        squares = len(ground_squares(row))
        if row["split"] == split:
            photos.append(np.arange(start, start + squares))
        start += squares
    return photos, start + list(LENGTHS).index(split) * TEXTURES + np.arange(TEXTURES)
