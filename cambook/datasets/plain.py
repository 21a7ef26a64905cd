"""`Images`: the photographs of a folder, or some files, without a word about what they show."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import as_on_disk, existing_folder, files_below, nearest_path, nfc, suffixes
from cambook.datasets.registry import register

NOT_LABELLED = "not labelled"


@register
class Images(Photographs):
    """The images in a folder and in all folders inside it, without labels and without boxes.

    Networks look at them (`cambook look`, `maps`, `boxes`); nothing can be trained or measured on them. Batches come
    from `Photographs.batch`, with label 0 and boxes (0, 4); `names` are the paths below the folder, with forward
    slashes and endings. Hidden files and folders and what operating systems leave are passed over.

    Args:
        folder: where the images are.
        split: "train" or "test": both are all of them.
        size, length, seed: as for `load`.
        chosen: these files alone, which may lie anywhere; their names are the paths below `folder` if that contains
            them, else below the nearest folder that contains all. None: all images of the folder.

    Raises:
        FileNotFoundError: if the folder or a chosen file is missing.
        ValueError: if no image can be used.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat.png", "garden/bird.png"):
        ...         Path(folder, name).parent.mkdir(exist_ok=True)
        ...         Image.new("RGB", (8, 8)).save(Path(folder, name))
        ...     found = Images(folder, "test", 8)
        ...     found.names, found.labels.tolist(), found.classes, found.labelled
        (['cat.png', 'garden/bird.png'], [0, 0], ['not labelled'], False)
    """

    kind, needs = "images", "FOLDER"
    source = "a folder of images, without labels or boxes: to look at, not to train or measure on"
    licence = "your own"
    has_boxes = False
    labelled = False

    def __init__(
        self,
        folder: str | Path,
        split: str,
        size: int,
        *,
        length: int | None = None,
        seed: int = 0,
        chosen: Sequence[str | Path] | None = None,
    ) -> None:
        root = existing_folder(folder)
        super().__init__(folder, split, size, root if chosen is None else None)
        if chosen is None:
            found = files_below(root, self.report)
            known = suffixes()
            images = [file for file in found if os.path.splitext(file)[1].lower() in known]
            self.report_unread([file for file in found if os.path.splitext(file)[1].lower() not in known])
            if not images:
                reason = self.report[0] if self.report else "give a folder of JPEG or PNG files"
                raise ValueError(f"{root} contains no image that can be read: {reason}")
        else:
            images = list(dict.fromkeys(str(_existing_file(file)) for file in chosen))
            root = _common(images, root)
        self.look_through([_listed(Path(file), root) for file in images], [NOT_LABELLED], length, seed)

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        return Truth(one.label, np.zeros((0, 4)), None)


def check_labelled(data, what: str) -> None:
    """Refuses a data set whose images are not labelled.

    Args:
        data: a data set, or a part of one.
        what: what needs the labels, such as "training".

    Raises:
        ValueError: with what to give instead.

    Example:
        >>> from cambook.datasets import load
        >>> check_labelled(load("scenes", "test", 64, length=1), "training")
    """
    whole = getattr(data, "_data", data)  # of a Subset
    if not getattr(whole, "labelled", True):
        raise ValueError(f"{data.name} has no labels, and {what} needs them: give folder:FOLDER, voc:FOLDER or another")


def _listed(file: Path, root: Path) -> Listed:
    name = nfc(file.relative_to(root).as_posix())
    readable = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    problem = None if readable == name else "its name is not UTF-8: rename it"
    return Listed(readable, 0, str(file), problem=problem)


def _existing_file(file: str | Path) -> Path:
    path = as_on_disk(Path(file).expanduser()).absolute()
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {path}{nearest_path(path)}")
    return path


def _common(files: Sequence[str], root: Path) -> Path:
    """The folder below which the names of some files begin."""
    root = root.absolute()
    if all(Path(file).is_relative_to(root) for file in files):
        return root
    try:
        return Path(os.path.commonpath([os.path.dirname(file) for file in files]))
    except ValueError:  # Windows: two drives
        raise ValueError("the images lie on different drives: give those of one drive at a time") from None
