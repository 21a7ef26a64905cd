"""`Album`: photographs that come inside installed packages, with classes, boxes and masks that were drawn twice."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cambook import files
from cambook.datasets.base import check_split
from cambook.datasets.decoding import decode_image
from cambook.datasets.examples import installed_file
from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import Unusable
from cambook.datasets.registry import register

OBJECT, EITHER = 1, 2  # in both drawings of a mask; in one of them
_OF_ENTRY = "\0"  # before the id, in the name under which Photographs reads what album.json says about an image
_FIELDS = {
    **dict.fromkeys(("id", "package", "file", "sha256", "pixels", "licence", "credit", "name", "object"), str),
    "size": list,
    "class": int,
    **dict.fromkeys(("boxes", "first", "second"), list),
}


@dataclass(frozen=True)
class Entry:
    """What data/album/album.json says about one photograph.

    Attributes:
        id: its name in the data set.
        package, file: the package that brings it along, and its file there.
        sha256, pixels: SHA-256 of that file, and of its pixels in RGB.
        size: width and height.
        licence, credit: of the photograph.
        label: index of its class among ImageNet's.
        name: that class.
        object: what the masks mark, in words.
        boxes: (n, 4) half-open, in pixels of the photograph.
        first, second: the two drawings of its mask, each a list of polygons; a corner is a pixel of the object.
    """

    id: str
    package: str
    file: str
    sha256: str
    pixels: str
    size: tuple[int, int]
    licence: str
    credit: str
    label: int
    name: str
    object: str
    boxes: np.ndarray
    first: list[list[tuple[int, int]]]
    second: list[list[tuple[int, int]]]


@register
class Album(Photographs):
    """Eight photographs inside scikit-image, scikit-learn and matplotlib, each with a box and a mask of its object.

    Each shows an object of one of ImageNet's classes, so networks with ImageNet's weights are measured on it without
    any training; it has no images to train on. Batches come from `Photographs.batch`.

    Each mask was drawn twice, as polygons on the photograph at its own size. The object is what both drawings contain,
    the box is the tight one around it, and pixels in one drawing alone are ignored in pixel metrics. `agreement` is
    the IoU of the two drawings.

    Args:
        split: "test", the only one.
        size, length, seed: as for `load`.

    Raises:
        ValueError: for another split, if data/album/album.json is damaged, or if an installed photograph is not the
            one that masks were drawn on.
        FileNotFoundError: if a package or its photograph is missing.

    Attributes:
        entries: what data/album/album.json says, in the order of the images.

    Example:
        >>> album = Album("test", 224)
        >>> len(album), album.names[:3], album.classes[album.labels[2]]
        (8, ['astronaut', 'camera', 'chelsea'], 'tabby')
    """

    kind = "album"
    splits = {"test": 8}
    source = "comes with scikit-image, scikit-learn and matplotlib, nothing to fetch"
    licence = "CC0, CC BY 2.0 or public domain: see NOTICE"
    has_masks = True
    imagenet_classes = True

    def __init__(self, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        check_split(type(self), self.kind, split)
        super().__init__("", split, size, None)
        self.name = self.kind
        file = files.data_file("album", "album.json")
        classes = files.data_file("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
        by_id = {entry.id: entry for entry in read_entries(file, classes)}
        self._by_id = by_id
        listed = [
            Listed(entry.id, entry.label, str(checked_photograph(entry)), f"{file}{_OF_ENTRY}{entry.id}")
            for entry in by_id.values()
        ]
        self.look_through(listed, classes, length, seed)
        self.report = [line for line in self.report if not line.startswith("no usable image of ")]  # of most classes
        self.entries = [by_id[name] for name in self.names]

    @property
    def agreement(self) -> np.ndarray:
        """(N,) float64 in [0, 1]: the IoU of the two drawings of each mask, at the photograph's own size.

        Example:
            >>> bool(Album("test", 224).agreement.min() > 0.8)
            True
        """
        return np.array([iou(mask(each.first, each.size), mask(each.second, each.size)) for each in self.entries])

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        entry = self._by_id[one.name]
        if not (_marked(entry) == OBJECT).any():
            raise Unusable("its two drawings share no pixel")
        return Truth(entry.label, entry.boxes.astype(float), entry.size, entry.size)

    def grey(self, truth: str) -> Image.Image:
        return Image.fromarray(_marked(self._by_id[truth.partition(_OF_ENTRY)[2]]))

    def masks(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return grey == OBJECT, grey == EITHER

    def _read(self, file: str) -> bytes:
        _, of_entry, name = file.partition(_OF_ENTRY)
        if not of_entry:
            return super()._read(file)
        entry = self._by_id[name]
        return repr((entry.boxes.tolist(), entry.first, entry.second)).encode()


# ---- masks ----


def mask(polygons: list[list[tuple[int, int]]], size: tuple[int, int]) -> np.ndarray:
    """The pixels of some polygons, their outlines included.

    Args:
        polygons: corners (x, y) of each; a corner is a pixel that belongs to it.
        size: width and height.

    Returns:
        (height, width) bool, the union of the polygons.

    Example:
        >>> mask([[(1, 0), (2, 0), (2, 1), (1, 1)]], (4, 2)).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0]])
    """
    image = Image.new("L", size)
    for corners in polygons:
        ImageDraw.Draw(image).polygon(corners, fill=1, outline=1)
    return np.asarray(image) > 0


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks; 0 if both are empty.

    Args:
        first, second: (H, W) bool.

    Example:
        >>> iou(np.array([[True, True, False]]), np.array([[False, True, True]]))
        0.3333333333333333
    """
    return float((first & second).sum() / max(1, (first | second).sum()))


def _marked(entry: Entry) -> np.ndarray:
    """(height, width) uint8: OBJECT, EITHER or 0."""
    first, second = mask(entry.first, entry.size), mask(entry.second, entry.size)
    return np.where(first & second, OBJECT, np.where(first | second, EITHER, 0)).astype(np.uint8)


# ---- what is read ----


def read_entries(file: Path, classes: list[str]) -> list[Entry]:
    """What data/album/album.json says about each photograph.

    Args:
        file: that file.
        classes: ImageNet's thousand.

    Raises:
        ValueError: if anything in it is damaged or contradicts itself.

    Example:
        >>> classes = files.data_file("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
        >>> [entry.name for entry in read_entries(files.data_file("album", "album.json"), classes)][:2]
        ['space shuttle', 'tripod']
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or not rows:
            raise ValueError("it is not a list of photographs")
        entries = [_entry(row, classes) for row in rows]
        ids = [entry.id for entry in entries]
        if twice := next((each for each in ids if ids.count(each) > 1), None):
            raise ValueError(f"{twice} is listed twice")
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"{file} is damaged ({reason}): install cambook again, or restore the file") from error
    return entries


def _entry(row: object, classes: list[str]) -> Entry:
    if not isinstance(row, dict):
        raise ValueError("an entry is not an object of JSON")
    name = str(row.get("id"))[:60]
    for field, kind in _FIELDS.items():
        if type(row.get(field)) is not kind:
            raise ValueError(f'"{field}" of {name} is missing or of another type')
    if not all(re.fullmatch(r"\w[\w.-]*", row[field]) for field in ("id", "file")):
        raise ValueError(f'"id" and "file" of {name} must be plain names')
    if not 0 <= row["class"] < len(classes) or classes[row["class"]] != row["name"]:
        raise ValueError(f"class {row['class']} of {name} is not {row['name'][:60]}")
    width, height = size = _whole(row["size"], 2, f"the size of {name}")
    if not (0 < width <= 10_000 and 0 < height <= 10_000):
        raise ValueError(f"the size of {name} is {width} x {height}")
    boxes = [_whole(box, 4, f"a box of {name}") for box in row["boxes"]]
    for x0, y0, x1, y1 in boxes:
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(f"the box {x0}, {y0}, {x1}, {y1} of {name} is not inside its {width} x {height} pixels")
    if not boxes:
        raise ValueError(f"{name} has no box")
    drawings = {each: _polygons(row[each], size, f"the {each} drawing of {name}") for each in ("first", "second")}
    same = {field: row[field] for field, kind in _FIELDS.items() if kind is str}
    return Entry(**same, size=size, label=row["class"], boxes=np.array(boxes), **drawings)


def _polygons(texts: list, size: tuple[int, int], what: str) -> list[list[tuple[int, int]]]:
    """Polygons out of texts such as "1,0 2,0 2,1"."""
    found = []
    for text in texts:
        if not isinstance(text, str) or not re.fullmatch(r"\d{1,5},\d{1,5}( \d{1,5},\d{1,5}){2,}", text, re.ASCII):
            raise ValueError(f'{what} has a polygon that is not three or more corners as "x,y x,y x,y"')
        corners = [tuple(map(int, corner.split(","))) for corner in text.split(" ")]
        if outside := next((each for each in corners if each[0] >= size[0] or each[1] >= size[1]), None):
            where = f"{size[0]} x {size[1]} pixels"
            raise ValueError(f"{what} has the corner {outside[0]},{outside[1]} outside its {where}")
        found.append(corners)
    if not found:
        raise ValueError(f"{what} has no polygon")
    return found


def _whole(numbers: object, count: int, what: str) -> tuple[int, ...]:
    if not isinstance(numbers, list) or len(numbers) != count or not all(type(each) is int for each in numbers):
        raise ValueError(f"{what} is not {count} whole numbers")
    return tuple(numbers)


def checked_photograph(entry: Entry) -> Path:
    """The file of a photograph inside its package, if it is the one that masks were drawn on.

    Another version of a package may store the same pixels in other bytes, which is accepted.

    Args:
        entry: what album.json says about it.

    Raises:
        FileNotFoundError: if the package or the file is missing.
        ValueError: if its pixels are others.

    Example:
        >>> classes = files.data_file("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
        >>> checked_photograph(read_entries(files.data_file("album", "album.json"), classes)[0]).name
        'astronaut.png'
    """
    path = installed_file(entry.package, entry.file)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() == entry.sha256:
        return path
    try:
        image, _, _ = decode_image(data)
        same = image.size == entry.size and hashlib.sha256(image.tobytes()).hexdigest() == entry.pixels
        reason = "" if same else "it shows other pixels than those that its mask was drawn on"
    except Unusable as error:
        reason = str(error)
    if reason:
        raise ValueError(
            f"{path} is not the photograph of album ({reason}): install another version of {entry.package}, "
            "for example the newest"
        )
    return path
