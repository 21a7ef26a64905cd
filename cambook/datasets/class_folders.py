"""`ClassFolders`: labelled photographs without boxes, in one folder for each class."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import SUFFIXES, existing_folder
from cambook.datasets.registry import register


@register
class ClassFolders(Photographs):
    """Labelled images without boxes, one folder for each class, as torchvision's ImageFolder.

    Batches come from `Photographs.batch`. Classes are the sorted names of the folders; images may lie in folders inside
    them. Boxes are (0, 4).

    Args:
        folder: contains train/CLASS/ and test/CLASS/ (or val/CLASS/ in place of test); or CLASS/ alone, if no
            split is published. Then of each class a quarter, at least one image, is "test": those whose names have the
            smallest SHA-256.
        split: "train" or "test".
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: if the folder is missing, or has a train split and no test split.
        ValueError: for fewer than two classes, a class that only one split has, or if no image can be used.

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
        parts = {part: root / part for part in ("train", "test", "val") if (root / part).is_dir()}
        if parts and not ("train" in parts and len(parts) > 1):
            raise FileNotFoundError(
                f"{root} has {' and '.join(parts)} alone: it must contain train and test, or classes"
            )
        roots = {"train": parts.get("train", root), "test": parts.get("test", parts.get("val", root))}
        there = {
            part: sorted(p.name for p in each.iterdir() if p.is_dir() and not p.name.startswith("."))
            for part, each in roots.items()
        }
        if lone := sorted(set(there["train"]) ^ set(there["test"])):
            raise ValueError(f"{root}: class {lone[0]} is in one of train and test alone; put a folder into the other")
        classes = there[split]
        if len(classes) < 2:
            raise ValueError(
                f"{roots[split]} contains {len(classes)} folders, and each of at least two classes needs one"
            )
        listed = []
        for label, name in enumerate(classes):
            files = sorted(f for f in (roots[split] / name).rglob("*") if f.suffix.lower() in SUFFIXES)
            if not parts:
                by_digest = sorted(files, key=lambda f: hashlib.sha256(f.name.encode()).digest())
                cut = max(1, len(files) // 4)
                files = by_digest[:cut] if split == "test" else by_digest[cut:]
            listed += [Listed(f.relative_to(root).as_posix(), label, str(f)) for f in files]
        self.look_through(listed, classes, length, seed)

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        return Truth(one.label, np.zeros((0, 4)), None)
