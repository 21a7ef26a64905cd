"""Data sets by name: which there are, how one is loaded, and where one comes from.

`register` is all that it takes to add one: `load`, `names`, "did you mean" and `cambook data` read the same table.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from cambook.datasets import downloads
from cambook.datasets.base import BOX_RULE, BOXES, RULES, DataSet, check_counts, check_split
from cambook.machine import environ

KNOWN: dict[str, type[DataSet]] = {}  # each data set's name as it is written, such as voc:FOLDER -> its class

_EXAMPLES = {"FOLDER": "data/wildlife", "FILE": "data/wildlife.json"}

D = TypeVar("D", bound=type[DataSet])


# ---- which there are


def register(cls: D) -> D:
    """Makes a data set known by its name; a decorator for its class.

    Args:
        cls: a `DataSet` with a `kind`; the class attributes that it may have are listed there.

    Returns:
        The class itself.

    Raises:
        ValueError: if the class has no `kind` or a strange one, or if another class has the same. A class that is
            defined again, as in a notebook's cell, replaces its former self.

    Example:
        >>> register(KNOWN["cub"]).written()
        'cub'
    """
    kind = getattr(cls, "kind", "")
    if not re.fullmatch(r"[\w.-]+", kind):
        raise ValueError(f'{cls.__qualname__}.kind is "{kind}": name it with letters, digits, "-", "_" and "." alone')
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.", kind, re.IGNORECASE):
        raise ValueError(f'{cls.__qualname__}.kind is "{kind}": Windows has no folder of that name, choose another')
    if cls.needs not in ("", *_EXAMPLES):
        raise ValueError(f'{cls.__qualname__}.needs is "{cls.needs}": write {" or ".join(_EXAMPLES)}, or leave it out')
    for other in KNOWN.values():
        if other.kind == kind and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f'{cls.__qualname__} and {other.__qualname__} are both called "{kind}": rename one')
    KNOWN[cls.written()] = cls
    return cls


def names() -> list[str]:
    """The names of all data sets as written: drawn ones, your own files, published ones.

    Returns:
        Such as "scenes" or "folder:FOLDER"; each of the three kinds is sorted by name.

    Example:
        >>> names()[:4]
        ['scenes', 'scenes-new-objects', 'coco:FILE', 'folder:FOLDER']
    """
    return sorted(KNOWN, key=lambda name: (not KNOWN[name].drawn, None not in KNOWN[name].splits.values(), name))


def find(name: str) -> type[DataSet]:
    """The class of the data set of that name, whatever follows the colon.

    Args:
        name: such as "scenes", "voc" or "voc:data/birds".

    Returns:
        The subclass of `DataSet` that was registered.

    Raises:
        ValueError: for an unknown name, with the nearest known one.

    Example:
        >>> find("scenes").drawn, find("voc:data/birds").drawn
        (True, False)
    """
    kind = name.partition(":")[0]
    for cls in KNOWN.values():
        if cls.kind == kind:
            return cls
    nearest = f"voc:{name}" if os.path.isdir(name) else "".join(get_close_matches(name, names(), 1, 0.4))
    hint = f'did you mean "{nearest}"? ' if nearest else ""
    raise ValueError(f'unknown data set "{name}": {hint}Known: {", ".join(names())}')


def kind_and_folder(name: str) -> tuple[str, str | None]:
    """The parts of a data set's name: its kind, and the folder or file after the colon.

    Args:
        name: such as "scenes", "cub" or "voc:data/birds".

    Returns:
        The kind, and the folder or file, None if there is none.

    Raises:
        ValueError: for an unknown name, with the nearest known one, or if a folder is missing or not expected.

    Example:
        >>> kind_and_folder("voc:data/birds"), kind_and_folder("cub")
        (('voc', 'data/birds'), ('cub', None))
    """
    kind, colon, folder = name.partition(":")
    cls = find(name)
    if cls.needs and not folder.strip():
        written, example = cls.written(), _EXAMPLES[cls.needs]
        raise ValueError(f'"{name}" names no {cls.needs.lower()}: write {written}, for example {kind}:{example}')
    if colon and not (cls.needs or cls.archives):
        raise ValueError(f'"{name}" names a folder, and {kind} is not read from a folder: write {kind}')
    return kind, folder or None


# ---- loading one


def load(
    name: str,
    split: str,
    size: int,
    *,
    length: int | None = None,
    seed: int = 0,
    boxes: bool | str = True,
    box_rule: str | None = None,
) -> DataSet:
    """The data set of that name.

    One that can be downloaded and is named without a folder lies in the cache; the first use downloads it there.

    Args:
        name: one of `names()`, with your folder in place of FOLDER; a set that can be downloaded with or without one.
        split: "train" or "test". For ilsvrc, "test" is the validation set; for voc2007, "train" is trainval. wsol has
            "val" as well, also called "train-fullsup", and "train-proxy".
        size: side of the square images, in pixels.
        length: how many scenes to draw; for photographs, at most so many of them, chosen by `seed` (None: all).
        seed: for scenes, other images; for photographs, another choice.
        boxes: whether boxes will be needed. False admits `folder:FOLDER`, which has labels alone, and `images:FOLDER`,
            which has none. "upright" or "stored" says which image boxes of your photographs were drawn on if EXIF turns
            it and nothing else says it; True means what the environment variable CAMBOOK_BOXES says, else "upright", or
            "stored" for published sets.
        box_rule: how true boxes come onto the grid of 224 pixels on which they are counted. "edges" scales their edges.
            "wsol" does what wsolevaluation's code does: each of its four numbers, the last pixel included, times 224 /
            size of the whole image, the fraction cut off. None means what the environment variable CAMBOOK_BOX_RULE
            says, else "edges"; of wsol it is always "wsol".

    Returns:
        A `DataSet`: name, split, classes, size, labels, `len`, `batch(indices)`, fingerprint, report.

    Raises:
        ValueError: for an unknown name, split or rule, a size or length below 1, boxes of a data set that has none, or
            a folder without a usable image.
        FileNotFoundError: if the folder or one of its lists is missing.
        DownloadError: if the data set cannot be downloaded.

    Example:
        >>> scenes = load("scenes", "test", 64, length=24)
        >>> len(scenes), len(scenes.classes), scenes.batch([0, 1]).images.shape
        (24, 12, torch.Size([2, 3, 64, 64]))
    """
    kind, folder = kind_and_folder(name)
    cls = find(name)
    check_split(cls, name, split)
    check_counts(size, length)
    if box_rule is not None and (box_rule not in RULES or (cls.has_boxes and box_rule not in cls.box_rules)):
        known = cls.box_rules if box_rule in RULES and cls.has_boxes else RULES
        raise ValueError(f"box_rule={str(box_rule)[:60]!r} is not possible with {name}: write {' or '.join(known)}")
    if boxes and not cls.labelled:
        raise ValueError(
            f'"{name}" has neither labels nor boxes, so nothing can be trained or measured on it: give folder:FOLDER, '
            "voc:FOLDER or coco:FILE, or look at it with `cambook look`, `cambook maps` or `cambook boxes`"
        )
    if boxes and not cls.has_boxes:
        raise ValueError(
            f'"{name}" has labels and no boxes, so no localization can be measured: give voc:FOLDER or coco:FILE '
            "with boxes, or run reproduce/table1 or reproduce/table5, which ask for labels alone"
        )
    where = (folder or fetch(kind),) if cls.needs or cls.archives else ()
    with ExitStack() as asked:
        for variable, value in ((BOXES, boxes if isinstance(boxes, str) else None), (BOX_RULE, box_rule)):
            if value is not None:
                asked.enter_context(environ(variable, value))
        data = cls(*where, split, size, length=length, seed=seed)
    data.name = name
    return data


# ---- where they come from


def fetch(name: str) -> Path:
    """The folder of a data set that can be downloaded; the first call downloads it.

    Args:
        name: such as "cub".

    Returns:
        The folder that its archives are unpacked in.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
        DownloadError: if the data set must be obtained in another way, or as `downloads.fetch_archives`.

    Example:
        >>> fetch("scenes")
        Traceback (most recent call last):
        cambook.datasets.unpacking.DownloadError: scenes is not downloaded: embedded, nothing to fetch.
    """
    cls = find(name)
    if not cls.archives:
        raise downloads.DownloadError(f"{name} is not downloaded: {cls.source}.")
    return downloads.fetch_archives(cls.kind, cls.archives)


def catalogue() -> list[tuple[str, str, str, str, str]]:
    """What `cambook data` lists of every data set.

    Returns:
        Rows of name, number of images, size, licence, and where it is or how to get it.

    Example:
        >>> [row[:3] for row in catalogue() if row[0] == "cub"]
        [('cub', '5,994 and 5,794', '1.2 GB')]
    """
    rows = []
    for name in names():
        cls = KNOWN[name]
        size = cls.download_bytes or sum(archive.size for archive in cls.archives)
        folder = downloads.folder_of(cls.kind)
        there = str(folder) if folder.is_dir() else f"fetch it with: cambook data {name}"
        where = there if cls.archives else cls.source
        rows.append((name, _images(cls), f"{size / 1e9:.1f} GB" if size else "-", cls.licence, where))
    return rows


def _images(cls: type[DataSet]) -> str:
    if cls.drawn:
        return "drawn as asked for"
    return "your own" if None in cls.splits.values() else " and ".join(f"{n:,}" for n in cls.splits.values())
