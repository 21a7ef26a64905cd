"""`WSOL`: any data set whose metadata have the form of wsolevaluation, with boxes or masks scaled as its code does."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image

from cambook import files
from cambook.datasets.decoding import decode_mask, upright_boxes
from cambook.datasets.photographs import Inspection, Listed, Photographs, Truth
from cambook.datasets.reading import Unusable, as_on_disk, existing_folder, folders_in, nfc, short_path, split_options
from cambook.datasets.registry import register

FOLDERS = {"train": ("train", "train-weaksup"), "val": ("val", "train-fullsup"), "test": ("test",)}
GRID = 224  # the side of the grid on which wsolevaluation counts

_BETWEEN = "\0"  # between the paths of one image's masks; no path contains it
_LONGEST = 10_000  # characters of a line
_MOST_CLASSES = 100_000
_ASKED = 100  # so many ids are looked for in each folder that may contain the images
_NUDGE = 1 + 2**-20  # keeps a box whose side is not rounded from falling below its whole number on the grid
_WHOLE = re.compile(r"-?\d{1,9}", re.ASCII)
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
    drawn_on = "stored"  # wsolevaluation ignores EXIF
    splits = dict.fromkeys(("train", "val", "test", "train-fullsup", "train-weaksup", "train-proxy"))
    source = "a folder with metadata as wsolevaluation writes them (image_ids.txt, class_labels.txt, ...)"
    licence = "your own, or that of the set which it describes"

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        folder_of_lists, options = split_options(str(folder))
        given = {name: existing_folder(path) for name, path in options.items()}
        top = existing_folder(folder_of_lists)
        part = next((name for name, called in FOLDERS.items() if split in called), "train")
        super().__init__(folder, "train-proxy" if split == "train-proxy" else part, size, None)
        metadata = _metadata(top)
        there = {name: _first(metadata, called) for name, called in FOLDERS.items()}
        root = there[part]
        if root is None:
            known = ", ".join(name for name, found in there.items() if found)
            raise FileNotFoundError(f"{metadata} has no folder {part} with image_ids.txt: the splits there are {known}")
        ids = _ids(root, self.split)
        labels = self._classes_and_labels(there, part, set(ids))
        truths, masks = _truths(root, set(ids), needed=part != "train")
        self.has_masks = masks
        pictures = given.get("images") or _starting(ids, top, metadata, root)
        sizes = _sizes(root, set(truths)) if truths and not masks else {}
        of_masks = given.get("masks")
        if masks and of_masks is None:
            first = [paths[0] for paths in list(truths.values())[:_ASKED]]
            of_masks = next((each for each in _candidates(top, metadata, pictures) if _any(each, first)), pictures)
        listed = []
        for identity in ids:
            problem = _leaves(identity) and "its id in image_ids.txt is not a path inside the folder of images"
            found, box, truth = truths.get(identity), None, None
            if not problem and identity not in labels:
                problem = "class_labels.txt has no row for it"
            elif not problem and not found and (masks or part != "train"):
                problem = "localization.txt has no row for it"
            elif not problem and found and masks:
                truth = _BETWEEN.join(str(as_on_disk(of_masks / path)) if path else "" for path in found)
                if any(map(_leaves, filter(None, found))):
                    problem, truth = "localization.txt names a mask outside the folder of masks", None
            elif not problem and found:
                box, problem = _on_grid(found, sizes.get(identity))
            if problem:
                listed.append(
                    Listed(identity if identity.isprintable() else repr(identity), None, None, None, None, problem)
                )
            else:
                picture = str(as_on_disk(pictures / identity))
                listed.append(Listed(identity, labels[identity], picture, truth, box))
        if masks:
            rule = "masks are put on the grid as in wsolevaluation, and a true box is the tight one around them"
        else:
            rule = (
                "a true box on the grid of 224 pixels is wsolevaluation's, each of its four numbers times 224 / size, "
                "the fraction cut off"
            )
        self.report.append(f"no blacklist is applied, every listed image counts; {rule}")
        self.look_through(listed, self.classes, length, seed)

    @property
    def summary(self) -> str:
        counts = super().summary.removesuffix(": see report")
        return f"{counts}, no blacklist, boxes and masks as in wsolevaluation: see report"

    def _classes_and_labels(self, there: dict[str, Path | None], part: str, ids: set[str]) -> dict[str, int]:
        """Sets the names of the classes, which all splits share; returns the labels of these ids."""
        labels: dict[str, int] = {}
        folder_of: dict[int, str | None] = {}  # None: several
        imagenet, highest = False, 0
        for name, root in there.items():
            if root is None or not (root / "class_labels.txt").is_file():
                if name == part:
                    raise FileNotFoundError(
                        f"{root} has no class_labels.txt: it must give a row id,label for each image"
                    )
                continue
            file = root / "class_labels.txt"
            for number, line in _lines(file):
                identity, label = _split(file, number, line, 1, "an id and a label that counts from 0")
                if not 0 <= label < _MOST_CLASSES:
                    raise ValueError(
                        f"{file}, line {number}: the label is {label}, and labels count from 0 to at most "
                        f"{_MOST_CLASSES - 1}; correct it"
                    )
                highest = max(highest, label)
                parent = identity.rpartition("/")[0].rpartition("/")[2]
                if folder_of.setdefault(label, parent) != parent:
                    folder_of[label] = None
                imagenet = imagenet or bool(_OF_IMAGENET.search(identity))
                if name == part and identity in ids and labels.setdefault(identity, label) != label:
                    raise ValueError(
                        f"{file}, line {number}: {identity} has label {label} there and {labels[identity]} above; "
                        "remove one of the two rows"
                    )
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

    def boxes(self, i: int, width: float, height: float) -> np.ndarray:
        """(n, 4) float64, the boxes of image i on its copy of width x height pixels, from the grid of 224."""
        scaled = super().boxes(i, width, height)
        return np.round(scaled, 6) if width == height == GRID else scaled * _NUDGE

    def grey(self, truth: str) -> Image.Image:
        return Image.fromarray(self._joined(truth, self.size))

    def _joined(self, truth: str, size: int) -> np.ndarray:
        """All masks of an image on a grid of size x size: 0 background, 1 object, 2 neither. Raises Unusable."""
        *objects, ignored = [path and self._mask(path) for path in truth.split(_BETWEEN)]
        found = np.zeros((size, size), np.uint8)
        if len(ignored):
            found[_nearest(ignored, size) > 0] = 2
        for mask in objects:
            found[_nearest(mask, size) > 0] = 1
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


def _metadata(top: Path) -> Path:
    """The folder that contains the splits."""
    inside = folders_in(top / "metadata") if (top / "metadata").is_dir() else []
    found = [each for each in (top, top / "metadata", *inside) if any(_first(each, c) for c in FOLDERS.values())]
    if not found:
        raise FileNotFoundError(
            f"{top} has no train/image_ids.txt, val/image_ids.txt or test/image_ids.txt, in it or in its folder "
            "metadata: give the folder that contains the metadata in the form of wsolevaluation"
        )
    if len(found) > 1 and found[0] in inside:
        names = ", ".join(each.name for each in found)
        raise ValueError(f"{top}/metadata describes several sets ({names}): give one of them, such as {found[0]}")
    return found[0]


def _first(metadata: Path, called: Iterable[str]) -> Path | None:
    return next((metadata / name for name in called if (metadata / name / "image_ids.txt").is_file()), None)


def _candidates(top: Path, metadata: Path, *first: Path) -> list[Path]:
    """Where images and masks may lie: in the folder, as archives unpack in it, or as a clone of the code has them."""
    clone = [metadata.parent.parent / "dataset" / metadata.name] if metadata.parent.name == "metadata" else []
    inside = [top / name for name in ("images", "masks", "CUB_200_2011/images", "dataset")]
    return [*first, top, *inside, top / "dataset" / metadata.name, *clone, metadata.parent]


def _starting(ids: list[str], top: Path, metadata: Path, root: Path) -> Path:
    """The folder that the ids start from."""
    some = [identity for identity in ids if not _leaves(identity)][:_ASKED]
    found = next((each for each in _candidates(top, metadata) if _any(each, some)), None)
    if some and found is None:
        raise FileNotFoundError(
            f"{root}/image_ids.txt lists {some[0]}, and {top} has no such file: give the folder that the ids start "
            "from, as wsol:FOLDER,images=FOLDER"
        )
    return found or top


def _any(folder: Path, paths: Iterable[str]) -> bool:
    return any(not _leaves(path) and os.path.isfile(as_on_disk(folder / path)) for path in paths)


def _leaves(path: str) -> bool:
    """Whether a path of a list is not one inside its folder, on any system."""
    there = PureWindowsPath(path)
    return bool(there.anchor) or ".." in there.parts or "\\" in path or not path.isprintable() or len(path) > 1000


# ---- lists


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not empty, one after the other, so that no file is in memory as a whole."""
    with file.open("rb") as opened:
        wide = opened.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    with file.open(encoding="utf-16" if wide else "utf-8-sig", errors="replace") as opened:
        number = 0
        while line := opened.readline(_LONGEST + 1):
            number += 1
            if len(line) > _LONGEST:
                raise ValueError(f"{file}, line {number} has more than {_LONGEST} characters: write one row per line")
            if line := nfc(line.strip()):
                yield number, line


def _split(file: Path, number: int, line: str, count: int, wanted: str) -> tuple:
    """The id of a row and its `count` whole numbers."""
    identity, *words = [word.strip() for word in line.rsplit(",", count)]
    if len(words) != count or not identity or not all(map(_WHOLE.fullmatch, words)):
        raise ValueError(f"{file}, line {number} is {line[:60]!r}: it must be {wanted}, separated by commas")
    return identity, *map(int, words)


def _ids(root: Path, split: str) -> list[str]:
    file = root / ("image_ids_proxy.txt" if split == "train-proxy" else "image_ids.txt")
    if not file.is_file():
        raise FileNotFoundError(f'{root} has no {file.name}: add it, or use the split "train"')
    found: dict[str, int] = {}
    for number, line in _lines(file):
        if found.setdefault(line, number) != number:
            raise ValueError(
                f"{file}, line {number} lists {line[:60]!r} again, after line {found[line]}: remove one of the two, or "
                "the image would count twice"
            )
    if not found:
        raise ValueError(f"{file} lists no image: write one id per line, the path of an image with its ending")
    return list(found)


def _sizes(root: Path, ids: set[str]) -> dict[str, tuple[int, int]]:
    file = root / "image_sizes.txt"
    if not file.is_file():
        raise FileNotFoundError(f"{root} has no image_sizes.txt: it must give a row id,width,height for each image")
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in _lines(file):
        identity, width, height = _split(file, number, line, 2, "an id, a width and a height")
        if min(width, height) < 1:
            raise ValueError(
                f"{file}, line {number}: the size is {width} x {height}, at least 1 x 1 is needed; correct it"
            )
        if identity in ids and sizes.setdefault(identity, (width, height)) != (width, height):
            raise ValueError(
                f"{file}, line {number}: {identity} has {width} x {height} pixels there and "
                f"{' x '.join(map(str, sizes[identity]))} above; remove one of the two rows"
            )
    return sizes


def _truths(root: Path, ids: set[str], needed: bool) -> tuple[dict[str, list], bool]:
    """Of each id its boxes, or the paths of its masks with that of its ignore mask (or "") last; and whether masks."""
    file = root / "localization.txt"
    if not file.is_file():
        if needed:
            raise FileNotFoundError(
                f"{root} has no localization.txt: it must give a row id,x0,y0,x1,y1 for each box, or id,mask,ignore "
                "for each mask"
            )
        return {}, False
    found: dict[str, list] = {}
    ignored: dict[str, str] = {}
    masks = None
    for number, line in _lines(file):
        fields = [word.strip() for word in line.rsplit(",", 2)]
        of_mask = len(fields) == 3 and all(f.lower().endswith(".png") for f in fields[1:] if f) and bool(fields[1])
        if masks is None:
            masks = of_mask
        if of_mask != masks:
            raise ValueError(f"{file}, line {number} is {line[:60]!r}: boxes and masks are mixed, give either alone")
        if masks:
            identity, path, ignore = fields
            if ignore and ignored.setdefault(identity, ignore) != ignore:
                raise ValueError(f"{file}, line {number}: {identity} has a second ignore mask, one alone is possible")
        else:
            identity, *path = _split(file, number, line, 4, "an id and x0, y0, x1, y1 in whole pixels")
        if identity in ids:
            found.setdefault(identity, []).append(path)
    if masks:
        found = {identity: [*paths, ignored.get(identity, "")] for identity, paths in found.items()}
    return found, bool(masks)


def _on_grid(boxes: list[list[int]], size: tuple[int, int] | None) -> tuple[tuple[int, ...] | None, str | None]:
    """Width, height and all boxes on the grid, half-open; or why the image cannot be used."""
    if size is None:
        return None, "image_sizes.txt has no row for it"
    scaled: list[int] = []
    for box in boxes:
        x0, y0, x1, y1 = box
        if not (0 <= x0 <= x1 <= size[0] and 0 <= y0 <= y1 <= size[1]):
            written = ", ".join(map(str, box))
            return (
                None,
                f"localization.txt gives the box {written}, which its {size[0]} x {size[1]} pixels do not contain",
            )
        first_x, first_y, last_x, last_y = (int(float(v) * GRID / of) for v, of in zip(box, size * 2, strict=True))
        scaled += (first_x, first_y, last_x + 1, last_y + 1)
    return (*size, *scaled), None


def _named(folder_of: dict[int, str | None], count: int) -> list[str]:
    """What the classes are called: after their folders, if each class has one of its own."""
    folders = list(folder_of.values())
    if len(folders) < 2 or not all(folders) or len(set(folders)) < len(folders):
        return [f"class {label}" for label in range(count)]
    names = {label: re.sub(r"^\d+\.", "", folder).replace("_", " ") for label, folder in folder_of.items()}
    if len(set(names.values())) < len(names):
        names = folder_of
    return [names.get(label, f"class {label}") for label in range(count)]


def _nearest(grey: np.ndarray, size: int) -> np.ndarray:
    """Grey values (h, w) on a grid of size x size: each cell that of the pixel at its first corner, as OpenCV does."""
    rows, columns = (
        np.minimum(np.floor(np.arange(size) * (1 / (size / side))).astype(int), side - 1) for side in grey.shape
    )
    return grey[np.ix_(rows, columns)]
