"""What is true of each image, for maps to be scored against: class, boxes and masks on the grid of 224 x 224."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from cambook.datasets.base import DataSet
from cambook.datasets.reading import as_on_disk
from cambook.datasets.wsol_lists import Lists, grid_boxes, grid_mask, read_lists
from cambook.maps.methods import GRID
from cambook.metrics.grid import boxes_on_grid, masks_on_grid

BY_LISTS = "true boxes as wsolevaluation scales them, int(v * 224 / size)"
MASKS_BY_LISTS = "masks on the grid as wsolevaluation puts them there"
ALL_COUNT = "all listed images count, no blacklist"


@dataclass
class Truth:
    """Where the object of one image is.

    Attributes:
        boxes: (n, 4) half-open, on the grid of 224 x 224; None if there are only masks.
        mask: (224, 224) bool, pixels of the object; None if there are only boxes.
        ignore: (224, 224) bool, pixels that count neither way; None if each counts.

    Example:
        >>> Truth(np.array([[0, 0, 112, 112]])).share
        25.0
    """

    boxes: np.ndarray | None = None
    mask: np.ndarray | None = None
    ignore: np.ndarray | None = None

    @property
    def share(self) -> float:
        """The object's share of the grid in percent: of its mask, else of its largest true box."""
        if self.mask is not None:
            return 100 * float(self.mask.mean())
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return 100 * float(sides.prod(axis=1).max()) / GRID**2


class Where(Protocol):
    """A function from an id to its truth, which several threads may call."""

    def __call__(self, identity: str) -> Truth: ...


@dataclass
class Truths:
    """The images of one split, with their classes and where their objects are.

    Attributes:
        name: what lists them, such as "metadata/CUB".
        split: "test", "val", ...
        labels: id -> index of its class, in the order of the list.
        where: id -> `Truth`.
        has_boxes, has_masks: which of the two `where` gives.
        protocol: how true boxes or masks came onto the grid, and which images count.
        classes: names of the classes, if they are known.
        left_out: id -> why it cannot be counted.

    Example:
        >>> Truths("mine", "test", {"cat": 0}, lambda identity: Truth(np.array([[0, 0, 9, 9]]))).class_name(0)
        'class 0'
    """

    name: str
    split: str
    labels: dict[str, int]
    where: Where
    has_boxes: bool = True
    has_masks: bool = False
    protocol: str = ""
    classes: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def of(self) -> str:
        """What the images are called in a sentence."""
        return f"the {self.split} split of {self.name}"

    def class_name(self, label: int) -> str:
        """What a class is called: its index, and its name if that is known."""
        name = self.classes[label] if label < len(self.classes) else ""
        return f"{label} {name}" if name else f"class {label}"


# ---- from lists


def from_metadata(metadata: str | Path, split: str = "test", masks: str | Path | None = None) -> Truths:
    """Truth from lists in wsolevaluation's form, without any image.

    Args:
        metadata: as for `datasets.wsol_lists.read_lists`.
        split: "test", "val" or "train".
        masks: the folder that the paths of masks start from; None: it is looked for beside the lists.

    Returns:
        `Truths`. An image without a box or mask is left out.

    Raises:
        FileNotFoundError: a list or a mask is missing.
        ValueError: a list is damaged, masks are given and there are none in the lists, or no image can be counted.

    Source: Choe et al. 2020; https://github.com/clovaai/wsolevaluation.

    Example:
        >>> import tempfile
        >>> rows = {"image_ids": "cat.jpg", "class_labels": "cat.jpg,0", "image_sizes": "cat.jpg,80,40"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "test").mkdir()
        ...     for name, row in {**rows, "localization": "cat.jpg,20,10,59,29"}.items():
        ...         _ = Path(folder, f"test/{name}.txt").write_text(row, encoding="utf-8")
        ...     from_metadata(folder).where("cat.jpg").boxes.tolist()
        [[56.0, 56.0, 166.0, 163.0]]
    """
    lists = read_lists(metadata, split)
    left_out = dict(lists.left_out)
    truth = lists.masks if lists.has_masks else lists.boxes
    for identity in lists.ids:
        if identity not in truth:
            left_out[identity] = "localization.txt has no row for it"
    labels = {identity: lists.labels[identity] for identity in lists.ids if identity in truth}
    if not labels:
        first = next(iter(left_out.items()), ("", "the list is empty"))
        raise ValueError(f"{lists.root} has no image that can be counted: {first[0]}: {first[1]}; correct the lists.")
    where, rule = partial(_boxes_of, lists), BY_LISTS
    if lists.has_masks:
        folder = _folder_of_masks(lists, Path(metadata), masks)
        _check_masks(lists, labels, folder)
        where, rule = partial(_masks_of, lists, folder), MASKS_BY_LISTS
    elif masks is not None:
        raise ValueError(f"{lists.root}/localization.txt gives boxes, so no masks are read: leave out --masks {masks}.")
    known = {"has_boxes": not lists.has_masks, "has_masks": lists.has_masks, "left_out": left_out}
    known["classes"] = _named(labels)
    return Truths(str(metadata), split, labels, where, protocol=f"{rule}; {ALL_COUNT}", **known)


def _named(labels: dict[str, int]) -> list[str]:
    """The classes' names: their folders, if each class has one of its own; else none."""
    folders: dict[int, set[str]] = {}
    for identity, label in labels.items():
        folders.setdefault(label, set()).add(identity.rpartition("/")[0].rpartition("/")[2])
    names = {label: next(iter(found)) for label, found in folders.items() if len(found) == 1}
    if len(set(names.values())) < len(folders) or not all(names.values()):
        return []
    shown = {label: re.sub(r"^\d+\.", "", name).replace("_", " ") for label, name in names.items()}
    return [shown.get(label, "") for label in range(max(shown) + 1)]


def _boxes_of(lists: Lists, identity: str) -> Truth:
    return Truth(grid_boxes(lists.boxes[identity], lists.sizes[identity]))


def _masks_of(lists: Lists, folder: Path, identity: str) -> Truth:
    mask, ignore = grid_mask(*lists.masks[identity], folder)
    return Truth(mask=mask, ignore=ignore)


def _folder_of_masks(lists: Lists, metadata: Path, given: str | Path | None) -> Path:
    first = next(iter(lists.masks.values()))[0][0]
    if given is not None:
        folders: Iterable[Path] = [Path(given)]
    else:
        tops = dict.fromkeys([metadata, *lists.root.parents[:3]])
        folders = [top / name for top in tops for name in ("", "masks", "dataset")]
    found = next((folder for folder in folders if as_on_disk(folder / first).is_file()), None)
    if found is None:
        searched = given if given is not None else "no folder beside the lists"
        has = "does not have it" if given is not None else "has it"
        raise FileNotFoundError(
            f"{lists.root}/localization.txt names the mask {first}, and {searched} {has}: give the folder from which "
            "the paths of masks start, with --masks."
        )
    return found


def _check_masks(lists: Lists, ids: Iterable[str], folder: Path) -> None:
    for identity in ids:
        paths, ignore = lists.masks[identity]
        for path in (*paths, ignore):
            if path and not as_on_disk(folder / path).is_file():
                raise FileNotFoundError(f"{folder} has no mask {path}, which localization.txt names for {identity}.")


# ---- from a data set


def from_dataset(data: DataSet, ids: list[str]) -> Truths:
    """Truth from a data set that was loaded at size 224.

    Args:
        data: from `datasets.load`, with boxes.
        ids: of its images, in its order: `localize.inputs.image_ids`.

    Returns:
        `Truths`; each image is decoded when it is asked for.

    Raises:
        ValueError: the data set has another size, or neither labels nor boxes.

    Example:
        >>> from cambook import datasets
        >>> truths = from_dataset(datasets.load("scenes", "test", 224, length=2), ["000000", "000001"])
        >>> truths.where("000001").mask.shape, truths.has_boxes
        ((224, 224), True)
    """
    if data.size != GRID:
        raise ValueError(f"{data.name} was loaded at {data.size} pixels: load it at {GRID}, the side of the grid.")
    if not (data.has_boxes and getattr(data, "labelled", True)):
        raise ValueError(f"{data.name} has no labels and boxes to score maps against: give a data set that has them.")
    index = {identity: number for number, identity in enumerate(ids)}
    labels = dict(zip(ids, map(int, data.labels), strict=True))
    protocol = getattr(data, "protocol", "") or "true boxes by their edges; all images"
    first = data.batch([0])  # what a data set reads for its first batch is read once, not by each thread

    def where(identity: str) -> Truth:
        batch = data.batch([index[identity]])
        boxes, masks = boxes_on_grid(batch.boxes, GRID)[0], batch.masks
        if len(boxes) == 0:
            raise ValueError(f"{data.name}, {identity} has no true box: leave the image out.")
        if masks is None:
            return Truth(boxes)
        ignore = None if batch.ignore is None else masks_on_grid(batch.ignore)[0]
        return Truth(boxes, masks_on_grid(masks)[0], ignore)

    known = {"has_masks": first.masks is not None, "protocol": protocol, "classes": list(data.classes)}
    return Truths(data.name, data.split, labels, where, **known)
