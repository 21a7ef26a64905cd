"""Data sets by name: which there are, and how one is loaded.

One image-level label a picture goes into training; the boxes are for evaluation only. Real folders are dirty:
whatever is wrong with a file is repaired where that is safe or the picture is left out, and `report` says
which file and what was done.
"""

from __future__ import annotations

import os
from difflib import get_close_matches

from cambook.datasets import downloads
from cambook.datasets.birds_and_pets import CUB, Pets
from cambook.datasets.class_folders import ClassFolders
from cambook.datasets.imagenet import ILSVRC, TinyImageNet
from cambook.datasets.photographs import check_counts
from cambook.datasets.voc import VOC2007, VOCFolder

KNOWN = (
    *("scenes", "scenes-new-objects", "voc:FOLDER", "folder:FOLDER", "ilsvrc:FOLDER", "cub", "pets", "voc2007"),
    "tiny-imagenet:FOLDER",
)
SPLITS = ("train", "test")


def kind_and_folder(name: str) -> tuple[str, str | None]:
    """The parts of a data set's name: voc:data/birds -> ("voc", "data/birds"), cub -> ("cub", None).

    raises: ValueError with the nearest known name where no data set is called so, a folder is lacking or out of place
    """
    kind, colon, folder = name.partition(":")
    if f"{kind}:FOLDER" in KNOWN and not folder.strip():
        raise ValueError(f'"{name}" names no folder: write {kind}:FOLDER, for example {kind}:data/wildlife')
    if kind in ("scenes", "scenes-new-objects") and colon:
        raise ValueError(f'"{name}": {kind} are made, not read from a folder: write {kind}')
    if kind not in [known.removesuffix(":FOLDER") for known in KNOWN]:
        nearest = f"voc:{name}" if os.path.isdir(name) else "".join(get_close_matches(name, KNOWN, 1, 0.4))
        hint = f'did you mean "{nearest}"? ' if nearest else ""
        raise ValueError(f'unknown data set "{name}": {hint}Known: {", ".join(KNOWN)}')
    return kind, folder or None


def load(name: str, split: str, size: int, *, length: int | None = None, seed: int = 0, boxes: bool = True):
    """The data set of that name, one of KNOWN; cub, pets and voc2007 also as cub:FOLDER and so on.

    A set that is named without its folder lies in the cache and is downloaded there on first use (see downloads.fetch).
    split:   "train" or "test"; of ilsvrc "test" is the validation set, of voc2007 "train" is trainval
    size:    side of the square pictures in pixels
    length:  number of scenes; of a folder, at most so many of its pictures, drawn by `seed` (None: all)
    boxes:   whether somebody will ask for them: folder:FOLDER has labels alone
    returns: a data set with name, split, classes, size, len, labels, batch(indices), fingerprint and report
    raises:  ValueError for an unknown name or split, a size or length below 1, or boxes asked of a set without; what
             VOCFolder raises, or the class of that set in photographs; downloads.DownloadError
    """
    if split not in SPLITS:
        raise ValueError(f'unknown split "{split}": use "train" or "test"')
    check_counts(size, length)
    kind, folder = kind_and_folder(name)
    if boxes and kind == "folder":
        raise ValueError(
            f'"{name}" has labels and no boxes, so no localization can be measured: give voc:FOLDER with annotations, '
            "or run reproduce/table1 or reproduce/table5, which ask for labels alone"
        )
    if kind in ("scenes", "scenes-new-objects"):
        from cambook.datasets.scenes import Scenes

        chosen = {} if length is None else {"length": length}
        return Scenes(split, size, seed=seed, new_objects=kind == "scenes-new-objects", **chosen)
    data = _FOLDERS[kind](folder or downloads.fetch(kind), split, size, length=length, seed=seed)
    data.name = name
    return data


_FOLDERS = {
    "voc": VOCFolder,
    "folder": ClassFolders,
    "ilsvrc": ILSVRC,
    "cub": CUB,
    "pets": Pets,
    "voc2007": VOC2007,
    "tiny-imagenet": TinyImageNet,
}
