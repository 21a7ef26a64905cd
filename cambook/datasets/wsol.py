"""`WSOL`: any data set whose metadata have the form of wsolevaluation, with boxes or masks scaled as its code does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from cambook import files
from cambook.datasets.decoding import decode_mask, upright_boxes
from cambook.datasets.photographs import Inspection, Listed, Photographs, Truth
from cambook.datasets.reading import Unusable, as_on_disk, existing_folder, leads_out, short_path, split_options
from cambook.datasets.registry import register
from cambook.datasets.wsol_lists import (
    GRID,
    folders_of,
    grid_boxes,
    joined,
    metadata_in,
    part_of,
    read_ids,
    read_labels,
    split_folder,
    with_truth,
)

_BETWEEN = "\0"  # between the paths of one image's masks; no path contains it
_ASKED = 100  # so many ids are looked for in each folder that may contain the images
_OF_IMAGENET = re.compile(r"ILSVRC2012_val_\d{8}|n\d{8}_\d+")


@register
class WSOL(Photographs):
    """A data set described as wsolevaluation describes CUB, ILSVRC and OpenImages, or your own in that form.

    Batches come from `Photographs.batch`. Every listed image counts: no blacklist excludes any. A true box is the one
    that wsolevaluation counts with: each of its four numbers times 224 / size, the fraction cut off, its last pixel
    included; `size` is that of image_sizes.txt, whatever size the image itself has. Masks are put on the grid as there,
    too: all masks of an image together are its object, what its ignore mask marks beside them counts neither way, and
    its box is the tight one around its masks.

    As there, boxes and masks were drawn on the stored image; if EXIF turns it, they are turned with it, unless the size
    in image_sizes.txt is that of the upright image.

    Args:
        folder: contains train/, val/ and test/ (any of them), or metadata/ with those or with one folder that contains
            them; in each image_ids.txt, class_labels.txt, localization.txt and, for boxes, image_sizes.txt. A training
            split needs no localization.txt. After it may follow ",images=FOLDER" and ",masks=FOLDER": what the ids and
            the paths of masks start from, if they do not start from the folder itself.
        split: "train" (a folder train or train-weaksup), "val" (val or train-fullsup; both names are accepted), "test",
            or "train-proxy", those training images that image_ids_proxy.txt lists.
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: for what is missing.
        ValueError: if a list is damaged, its rows disagree or no image can be used.

    Attributes:
        classes: ImageNet's if the ids and labels are ImageNet's; the names of the images' folders if each class has one
            of its own; otherwise "class 0" and so on.

    Source: Choe et al. 2020, Evaluating weakly supervised object localization methods right;
        https://github.com/clovaai/wsolevaluation.

    Example:
        >>> WSOL.written(), list(WSOL.splits)[:3]
        ('wsol:FOLDER', ['train', 'val', 'test'])
    """

    kind, needs = "wsol", "FOLDER"
    box_rules = ("wsol",)
    chosen = "all listed images"
    drawn_on = "stored"  # wsolevaluation ignores EXIF
    splits = dict.fromkeys(("train", "val", "test", "train-fullsup", "train-weaksup", "train-proxy"))
    source = "a folder with metadata as wsolevaluation writes them (image_ids.txt, class_labels.txt, ...)"
    licence = "your own, or that of the set which it describes"

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        folder_of_lists, options = split_options(str(folder))
        given = {name: existing_folder(path) for name, path in options.items()}
        top = existing_folder(folder_of_lists)
        part = part_of(split)
        super().__init__(folder, "train-proxy" if split == "train-proxy" else part, size, None)
        metadata = metadata_in(top)
        root = split_folder(metadata, part)
        ids = read_ids(root, self.split)
        lists = with_truth(root, ids, self._classes_and_labels(metadata, part, set(ids)), needed=part != "train")
        self.has_masks = lists.has_masks
        pictures = given.get("images") or _starting(ids, top, metadata, root)
        of_masks = given.get("masks")
        if lists.masks and of_masks is None:
            first = [paths[0] for paths, _ in list(lists.masks.values())[:_ASKED]]
            of_masks = next((each for each in _candidates(top, metadata, pictures) if _any(each, first)), pictures)
        listed = []
        for identity in lists.ids:
            box, truth = None, None
            if identity in lists.masks:
                paths, ignore = lists.masks[identity]
                truth = _BETWEEN.join(str(as_on_disk(of_masks / path)) if path else "" for path in (*paths, ignore))
            elif identity in lists.boxes:
                of = lists.sizes[identity]
                box = (*of, *grid_boxes(lists.boxes[identity], of).astype(int).ravel().tolist())
            listed.append(Listed(identity, lists.labels[identity], str(as_on_disk(pictures / identity)), truth, box))
        for identity, problem in lists.left_out.items():
            name = identity if identity.isprintable() else repr(identity)
            listed.append(Listed(name, None, None, None, None, problem))
        if self.has_masks:
            rule = "masks are put on the grid as in wsolevaluation, and a true box is the tight one around them"
        else:
            rule = (
                "a true box on the grid of 224 pixels is wsolevaluation's, each of its four numbers times 224 / size, "
                "the fraction cut off"
            )
        self.report.append(f"no blacklist is applied, every listed image counts; {rule}")
        self.look_through(listed, self.classes, length, seed)

    @property
    def protocol(self) -> str:
        if self.has_masks:
            return f"masks as wsolevaluation puts them on the grid, true boxes around them; {self.counted}"
        return super().protocol

    @property
    def counted(self) -> str:
        return f"{super().counted} count, no blacklist"

    @property
    def summary(self) -> str:
        counts = super().summary.removesuffix(": see report")
        return f"{counts}, no blacklist, boxes and masks as in wsolevaluation: see report"

    def _classes_and_labels(self, metadata: Path, part: str, ids: set[str]) -> dict[str, int]:
        """Sets the names of the classes, which all splits share; returns the labels of these ids."""
        labels: dict[str, int] = {}
        folder_of: dict[int, str | None] = {}  # None: several
        imagenet, highest = False, 0
        for name, root in folders_of(metadata).items():
            if root is None or (name != part and not (root / "class_labels.txt").is_file()):
                continue
            for identity, label in read_labels(root, ids if name == part else ()):
                highest = max(highest, label)
                parent = identity.rpartition("/")[0].rpartition("/")[2]
                if folder_of.setdefault(label, parent) != parent:
                    folder_of[label] = None
                imagenet = imagenet or bool(_OF_IMAGENET.search(identity))
                if name == part and identity in ids:
                    labels[identity] = label
        self.imagenet_classes = imagenet and 900 <= highest < 1000  # a choice of classes would be counted anew from 0
        if self.imagenet_classes:
            self.classes = files.data_file("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
        else:
            self.classes = _named(folder_of, highest + 1)
        return labels

    # ---- one image

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        if one.truth is None:
            return Truth(one.label, np.array(one.box[2:] if one.box else (), float).reshape(-1, 4), None)
        rows, columns = np.nonzero(self._joined(one.truth, GRID) == 1)
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], float)
        return Truth(one.label, box, None)

    def fit(
        self, one: Listed, truth: Truth, seen: Inspection, stored: tuple[int, int], orientation: int
    ) -> tuple[list[str], bool]:
        boxes, notes, told = truth.boxes, [], False
        if orientation > 1 and (len(boxes) or one.truth):
            as_stored = self.drawn_on == "stored"
            told = one.box is not None and orientation >= 5 and one.box[0] != one.box[1] and stored[0] != stored[1]
            if told:
                as_stored = (one.box[0] > one.box[1]) == (stored[0] > stored[1])
            if as_stored:
                boxes = upright_boxes(boxes, (GRID, GRID), orientation)
                seen.turn = orientation
            done = "boxes turned with it" if as_stored else "boxes, drawn on the upright image, kept"
            notes.append(f"EXIF orientation {orientation}: image turned upright, {done}")
        seen.boxes = (boxes / GRID).tolist()
        return notes, told or orientation == 1

    def grey(self, truth: str) -> Image.Image:
        return Image.fromarray(self._joined(truth, self.size))

    def _joined(self, truth: str, size: int) -> np.ndarray:
        """All masks of an image on a grid of size x size: 0 background, 1 object, 2 neither. Raises Unusable."""
        *objects, ignored = [self._mask(path) if path else None for path in truth.split(_BETWEEN)]
        found = joined(objects, ignored, size)
        if not (found == 1).any():  # too small for the grid: the pixel that contains its middle
            whole = next((mask for mask in objects if mask.any()), None)
            if whole is None:
                raise Unusable("its masks mark no object (wsolevaluation counts all its pixels as background)")
            rows, columns = np.nonzero(whole)
            y, x = rows[len(rows) // 2], columns[len(columns) // 2]
            found[y * size // whole.shape[0], x * size // whole.shape[1]] = 1
        return found

    def _mask(self, file: str) -> np.ndarray:
        try:
            return np.asarray(decode_mask(super()._read(file)))
        except Unusable as error:
            name = short_path(Path(file))
            raise error if str(error).startswith(name) else Unusable(f"{name}: {error}") from error

    def masks(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return grey == 1, grey == 2

    def _read(self, file: str) -> bytes:
        read = super()._read
        return b"".join(read(each) for each in file.split(_BETWEEN) if each)


# ---- folders


def _candidates(top: Path, metadata: Path, *first: Path) -> list[Path]:
    """Where images and masks may lie: in the folder, as archives unpack in it, or as a clone of the code has them."""
    clone = [metadata.parent.parent / "dataset" / metadata.name] if metadata.parent.name == "metadata" else []
    inside = [top / name for name in ("images", "masks", "CUB_200_2011/images", "dataset")]
    return [*first, top, *inside, top / "dataset" / metadata.name, *clone, metadata.parent]


def _starting(ids: list[str], top: Path, metadata: Path, root: Path) -> Path:
    """The folder that the ids start from."""
    some = [identity for identity in ids if not leads_out(identity)][:_ASKED]
    found = next((each for each in _candidates(top, metadata) if _any(each, some)), None)
    if some and found is None:
        raise FileNotFoundError(
            f"{root}/image_ids.txt lists {some[0]}, and {top} has no such file: give the folder that the ids start "
            "from, as wsol:FOLDER,images=FOLDER"
        )
    return found or top


def _any(folder: Path, paths: Iterable[str]) -> bool:
    return any(not leads_out(path) and os.path.isfile(as_on_disk(folder / path)) for path in paths)


def _named(folder_of: dict[int, str | None], count: int) -> list[str]:
    """What the classes are called: after their folders, if each class has one of its own."""
    folders = list(folder_of.values())
    if len(folders) < 2 or not all(folders) or len(set(folders)) < len(folders):
        return [f"class {label}" for label in range(count)]
    names = {label: re.sub(r"^\d+\.", "", folder).replace("_", " ") for label, folder in folder_of.items()}
    if len(set(names.values())) < len(names):
        names = folder_of
    return [names.get(label, f"class {label}") for label in range(count)]
