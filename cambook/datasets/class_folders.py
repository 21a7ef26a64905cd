"""`ClassFolders`: labelled photographs without boxes, in one folder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import existing_folder, files_below, files_in, folders_in, nfc, suffixes
from cambook.datasets.registry import register
from cambook.datasets.splits import quarter, single_folder, split_folders


@register
class ClassFolders(Photographs):
    """Labelled images without boxes, one folder for each class, as torchvision's ImageFolder.

    Batches come from `Photographs.batch`. Classes are the sorted names of the folders; images may lie in folders inside
    them. Boxes are (0, 4). Hidden files and folders and what operating systems leave are passed over.

    Args:
        folder: contains train/CLASS/ and test/CLASS/ (or val/CLASS/ in place of test), called so or in one of the usual
            other ways, such as training_set or Validation; or CLASS/ alone, if no split is published. Then of each
            class a quarter, at least one image, is "test": those whose names have the smallest SHA-256.
        split: "train" or "test".
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: if the folder is missing, or has a train split and no test split.
        ValueError: for fewer than two classes, a class that only one split has, folders that may be splits or classes,
            or if no image can be used.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        ...         Path(folder, name).parent.mkdir(exist_ok=True)
        ...         Image.new("RGB", (8, 8)).save(Path(folder, name))
        ...     ClassFolders(folder, "train", 8).labels.tolist()
        [0, 1]
    """

    kind, needs = "folder", "FOLDER"
    source = "one folder of images per class, in train/ and test/ or split here; no boxes"
    licence = "your own"
    has_boxes = False

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        root = existing_folder(folder)
        super().__init__(folder, split, size, root)
        parts = split_folders(root, self.report)
        roots = parts or {"train": root, "test": root}
        there: dict[str, dict[str, list[Path]]] = {"train": {}, "test": {}}
        for part, each in roots.items():
            for folder_of_class in folders_in(each):
                there[part].setdefault(nfc(folder_of_class.name), []).append(folder_of_class)
        if lone := sorted(set(there["train"]) ^ set(there["test"])):
            raise ValueError(
                f"{root}: class {lone[0]} is in one of {roots['train'].name} and {roots['test'].name} alone; put a "
                "folder into the other"
            )
        classes = sorted(there[split])
        if len(classes) < 2:
            raise ValueError(
                f"{roots[split]} contains {len(classes)} folders, and each of at least two classes needs one"
                + single_folder(roots[split])
            )
        listed, unread = [], []
        others: list[Path] = []
        for label, name in enumerate(classes):
            if len(there[split][name]) > 1:
                self.report.append(f'{len(there[split][name])} folders are called "{name}" and are read as one class')
            files = _images(there[split][name], self.report, unread)
            if not parts:
                in_two = quarter(files, lambda file: file.name)
                files = in_two.pop(split)
                others += chain.from_iterable(in_two.values())
            listed += [Listed(nfc(f.relative_to(root).as_posix()), label, str(f)) for f in files]
        filled = sorted({one.label for one in listed})
        if len(filled) == 1 and (split == "train" or not parts):
            only = there[split][classes[filled[0]]][0]
            raise ValueError(
                f"{roots[split]} has images in its folder {only.name} alone, and at least two classes are needed"
                + single_folder(only)
            )
        if stray := sum(os.path.splitext(each.name)[1].lower() in suffixes() for each in files_in(roots[split])):
            self.report.append(f"{stray} images directly in {roots[split].name}, in no class's folder, are not used")
        self.report_unread(unread)
        self.look_through(listed, classes, length, seed)
        other = there["test" if split == "train" else "train"]
        self.compare_with_other_split(_below(other) if parts else map(str, others))

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        return Truth(one.label, np.zeros((0, 4)), None)


def _images(folders: list[Path], report: list[str], unread: list[str]) -> list[Path]:
    """The images of one class, sorted; a file of another ending goes into `unread`."""
    known, images = suffixes(), []
    for folder in folders:
        for file in files_below(folder, report):
            ending = os.path.splitext(file)[1].lower()
            (images if ending in known else unread).append(file)
    return sorted(map(Path, images))


def _below(folders: dict[str, list[Path]]) -> Iterator[str]:
    """The images in the folders of all classes, in no order."""
    known = suffixes()
    for folder in chain.from_iterable(folders.values()):
        yield from (file for file in files_below(folder, []) if os.path.splitext(file)[1].lower() in known)
