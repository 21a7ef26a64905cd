"""Boxes of one annotated image: an XML file in Pascal VOC's layout, and boxes fitted to their image.

What was repaired is said in notes, one sentence each, so that a loader can report every one of them; what no safe
repair can save raises `Unusable`.
"""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from cambook.datasets.decoding import upright_boxes
from cambook.datasets.reading import Unusable, nfc
from cambook.datasets.wsol_lists import GRID, grid_boxes

MAX_ANNOTATION_BYTES = 4 * 2**20
_MAX_CLIPPED = 0.1  # share of a box that clipping may take if the size tag is wrong as well

# ---- what an XML file says


@dataclass
class Annotation:
    """The usable objects of one XML file in Pascal VOC layout.

    Attributes:
        boxes: class name -> (n, 4) half-open boxes as annotated.
        tag: width and height in the size tag; None if it gives no size.
        difficult: how many objects marked difficult were ignored, as in the VOC challenge.
        notes: one sentence for each repair.
    """

    boxes: dict[str, np.ndarray]
    tag: tuple[float, float] | None
    difficult: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The class with the largest total box area."""
        return max(sorted(self.boxes), key=lambda name: _area(self.boxes[name]).sum())


def read_annotation(data: bytes, first: int = 1) -> Annotation:
    """The objects of an XML file in Pascal VOC layout.

    Args:
        data: the contents of the file.
        first: how the first pixel is counted: 1 in VOC, 0 in ILSVRC. Both count the last pixel of a box as inside.

    Raises:
        Unusable: if no object can be used.

    Source: Everingham et al. 2010, The Pascal Visual Object Classes Challenge.

    Example:
        >>> box = b"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>2</ymax></bndbox>"
        >>> read_annotation(b"<a><object><name>cat</name>" + box + b"</object></a>").boxes["cat"].tolist()
        [[0.0, 0.0, 4.0, 2.0]]
    """
    if not data.strip():
        raise Unusable("the annotation is empty")
    if len(data) > MAX_ANNOTATION_BYTES:
        raise Unusable(f"the annotation has {len(data)} bytes, more than any box file needs")
    notes: list[str] = []
    tree = _parse_xml(data, notes)
    boxes: dict[str, list[tuple]] = {}
    difficult = 0
    for number, item in enumerate(tree.findall("object"), 1):
        name = nfc((item.findtext("name") or "").strip())
        if not name:
            notes.append(f"object {number} has no name and is left out")
        elif (item.findtext("difficult") or "").strip() == "1":
            difficult += 1
        else:
            box = _read_box(item, first, f"box {number} ({name})", notes)
            if box is not None:
                boxes.setdefault(name, []).append(box)
    if not boxes:
        raise Unusable("; ".join(["the annotation has no usable object", *notes]))
    tag = (_number(tree, "size/width"), _number(tree, "size/height"))
    usable = all(math.isfinite(side) and side >= 1 for side in tag)
    return Annotation({k: np.array(v, float) for k, v in boxes.items()}, tag if usable else None, difficult, notes)


# What the expat parser does not decode, by the names under which it is declared, without case and punctuation. The
# codecs are Python's for the superset that programs write under that name.
_EAST_ASIAN = {
    "cp949": "euckr ksc56011987 ksc5601 ksx1001 cseuckr korean cp949 ms949 windows949 xwindows949 uhc extwansung",
    "johab": "johab cp1361 ms1361",
    "iso2022_kr": "iso2022kr csiso2022kr",
    "cp932": "shiftjis sjis xsjis csshiftjis mskanji windows31j cswindows31j cp932 ms932 windows932",
    "euc_jp": "eucjp xeucjp cseucjp cseucpkdfmtjapanese ujis",
    "iso2022_jp_ext": "iso2022jp csiso2022jp iso2022jp1 iso2022jp2 iso2022jpext",
    "gb18030": "gb18030 gbk xgbk gb2312 csgb2312 gb231280 euccn xeuccn cp936 ms936 windows936 chinese",
    "hz": "hz hzgb2312",
    "cp950": "big5 xbig5 xxbig5 csbig5 big5tw cp950 ms950 windows950",
    "big5hkscs": "big5hkscs big5hk",
}
_CODECS = {name: codec for codec, names in _EAST_ASIAN.items() for name in names.split()}
_BOMS = (  # UTF-32's first: it begins as UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0?\0", "utf-16-le"),
    (b"\0<\0?", "utf-16-be"),
)


def _parse_xml(data: bytes, notes: list[str]) -> Element:
    """The root element of a file in the encoding that it declares, or in Unicode if that is what it is in."""
    name = _declared(data)
    codec = _CODECS.get(_plain(name))
    if codec:
        reason = ""
        for found in ("utf-8-sig", codec) if _is_utf8(data) else (codec, "utf-8-sig"):
            try:
                tree = _tree(data.decode(found).encode(), "utf-8")
            except (UnicodeError, expat.ExpatError) as error:
                reason = reason or str(error)
                continue
            if found != codec and not data.isascii():
                notes.append(f"the annotation declares {name} and is in UTF-8, as which it is read")
            return tree
        raise Unusable(f"the annotation is not valid XML ({reason})")
    try:
        return _tree(data, None)
    except (expat.ExpatError, ValueError, LookupError) as error:
        mark = next((codec for mark, codec in _BOMS if data.startswith(mark)), None)
        if mark or (name and _is_charset(name)):
            try:
                text = data.decode(mark or "utf-8")
                tree = _tree(text.encode(), "utf-8")
            except (UnicodeError, expat.ExpatError):
                pass
            else:
                found = (mark or "utf-8").removesuffix("-sig")
                name = _declared(text[:1000].encode())
                if name and not _plain(found).startswith(_plain(name)):
                    notes.append(f"the annotation declares {name} and is in {found.upper()}, as which it is read")
                return tree
        raise Unusable(f"the annotation is not valid XML ({error}){_not_utf8(data, name)}") from error


def _not_utf8(data: bytes, name: str) -> str:
    try:
        data.decode("utf-8")
    except UnicodeError:
        if _plain(name) in ("", "utf8"):
            return ": save it in UTF-8, or name its encoding in its first line"
    return ""


def _declared(data: bytes) -> str:
    """The encoding that an XML declaration names; empty without one."""
    declaration = rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]{1,40})["']"""
    found = re.match(declaration, data[:1000].removeprefix(codecs.BOM_UTF8))
    return found.group(1).decode("ascii", "replace") if found else ""


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _is_utf8(data: bytes) -> bool:
    """Whether text that declares an East Asian encoding is in UTF-8: each letter beyond ASCII takes three bytes there.

    Short texts of the other encodings may be valid UTF-8 by chance, but then as letters of two bytes.
    """
    try:
        return not data.isascii() and all(letter < "\x80" or letter >= "\u0800" for letter in data.decode("utf-8-sig"))
    except UnicodeError:
        return False


def _tree(data: bytes, encoding: str | None) -> Element:
    """The root element; a document type, the only door to entities and other files, is refused."""

    def refuse(*_):
        raise Unusable("the annotation declares a document type (DOCTYPE), which may hide entities")

    builder, parser = TreeBuilder(), expat.ParserCreate(encoding)
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()


def _is_charset(name: str) -> bool:
    """Whether Python knows a text encoding of that name, as a declaration may be wrong about it."""
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


def _number(element: Element | None, path: str) -> float:
    try:
        return float(element.findtext(path))
    except (AttributeError, TypeError, ValueError):
        return math.nan


def _read_box(item: Element, first: int, what: str, notes: list[str]) -> tuple[float, float, float, float] | None:
    xmin, ymin, xmax, ymax = (_number(item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
        notes.append(f"{what} has a coordinate that is missing or not a number and is left out")
        return None
    if xmin == xmax or ymin == ymax:
        notes.append(f"{what} has no area and is left out")
        return None
    if xmin > xmax or ymin > ymax:
        notes.append(f"{what} had its corners swapped and was put right")
    past = 1 - first  # from the last pixel to the border behind it
    return min(xmin, xmax) - first, min(ymin, ymax) - first, max(xmin, xmax) + past, max(ymin, ymax) + past


# ---- boxes fitted to their image

_NUDGE = 1 + 2**-20  # keeps a box whose side is not rounded from falling below its whole number on the grid


def fit_boxes(
    boxes: np.ndarray,
    tag: tuple[float, float] | None,
    stored: tuple[int, int],
    orientation: int,
    drawn_on: str = "upright",
    tagged: bool = True,
    beyond: float | None = None,
) -> tuple[np.ndarray, list[str], bool]:
    """Annotated boxes in pixels of the upright image or of the grid, clipped to it, and what was repaired.

    Args:
        boxes: (n, 4) half-open, as annotated.
        tag: width and height of the image that they were drawn on; None if nobody says.
        stored: width and height of the image in its file.
        orientation: its EXIF orientation, 1 to 8.
        drawn_on: the image that they were drawn on if neither tag nor boxes say it: "upright", as today's tools show
            it, or "stored", as tools did that ignore EXIF.
        tagged: whether a tag is worth a sentence if it is missing; lists have none.
        beyond: how far x1 and y1 lie beyond the numbers that wsolevaluation's code would scale, usually 1, since it
            counts the last pixel in. Given, boxes are scaled as there, in the image that they were drawn on, to its
            grid of 224 x 224 pixels.

    Returns:
        (m, 4) half-open, m <= n: boxes outside the image are left out; one sentence for each repair; and whether tag
        or boxes said which image they were drawn on (True also if it was never turned).

    Raises:
        Unusable: if the boxes fit neither the image nor its size tag.

    Example:
        >>> fit_boxes(np.array([[2.0, 2.0, 9.0, 4.0]]), (8, 8), (8, 8), 1)
        (array([[2., 2., 8., 4.]]), ['1 of 1 boxes passed the border and were clipped'], True)
    """
    notes: list[str] = []
    scale, size = np.ones(4), None
    turned = (stored[1], stored[0]) if orientation >= 5 else stored
    as_stored, reason = True, ""
    if orientation > 1:
        as_stored, reason = _drawn_on_stored(boxes, tag, stored, turned, drawn_on)
        done = "boxes turned with it" if as_stored else "boxes, drawn on the upright image, kept"
        notes.append(f"EXIF orientation {orientation}: image turned upright, {done} ({reason})")
    told = reason not in _UNTOLD.values()
    frame = stored if as_stored else turned
    width, height = frame
    if tag is None and tagged:
        notes.append(f"the size tag gives no size: boxes read as pixels of the {width} x {height} image")
    elif tag is not None and tag != frame:
        disagreement = f"the size tag says {tag[0]:g} x {tag[1]:g}, the image has {width} x {height}"
        if _same_shape(tag, frame) and _fits(boxes, tag):
            scale, size = np.array([width / tag[0], height / tag[1]] * 2), tag
            boxes = boxes * scale
            notes.append(f"{disagreement}: same shape, boxes rescaled to the image")
        elif _fits(boxes, frame):
            notes.append(f"{disagreement}: the boxes fit the image, which is trusted")
        elif (_area(_clip(boxes, frame)) < (1 - _MAX_CLIPPED) * _area(boxes)).any():
            raise Unusable(f"{disagreement}, and the boxes fit neither")
        else:
            notes.append(f"{disagreement}: boxes nearly fit the image, which is trusted")
    clipped = _clip(boxes, frame)
    if (clipped != boxes).any():
        count = int((clipped != boxes).any(1).sum())
        notes.append(f"{count} of {len(boxes)} boxes passed the border and were clipped")
    inside = _area(clipped) > 0
    if not inside.all():
        notes.append(f"{int((~inside).sum())} of {len(boxes)} boxes lie outside the image and are left out")
    if not inside.any():
        raise Unusable("every box lies outside the image")
    boxes = clipped[inside]
    if beyond is not None:
        first, last = np.split(np.round(boxes / scale, 6) - [0, 0, beyond, beyond], 2, axis=1)
        boxes, stored = grid_boxes(np.hstack([first, np.maximum(first, last)]), size or frame), (GRID, GRID)
    return upright_boxes(boxes, stored, orientation) if as_stored else boxes, notes, told


_UNTOLD = {
    "upright": "the size tag cannot tell; if they were drawn in a tool that ignores EXIF, set CAMBOOK_BOXES=stored",
    "stored": "the size tag cannot tell, and this set's boxes, or CAMBOOK_BOXES, count pixels as stored",
}


def _drawn_on_stored(boxes, tag, stored, turned, drawn_on) -> tuple[bool, str]:
    """Whether boxes were drawn on the image as it is stored, and how that is known."""
    if stored != turned:
        if tag is not None:
            for frame in (stored, turned):
                if _same_shape(tag, frame):
                    return frame == stored, "as the size tag says"
        if _fits(boxes, stored) != _fits(boxes, turned):
            return _fits(boxes, stored), "the boxes fit no other"
    return drawn_on == "stored", _UNTOLD[drawn_on]


def from_grid(shares: np.ndarray, width: float, height: float) -> np.ndarray:
    """Boxes from the grid of 224 pixels, as shares of it, in pixels of a copy of their image.

    Args:
        shares: (n, 4), whole numbers / 224.
        width: of the copy, in pixels.
        height: of the copy.

    Returns:
        (n, 4) float64, which come back to the same whole numbers when they are scaled to the grid and cut off there.

    Example:
        >>> from_grid(np.array([[56, 56, 166, 163]]) / 224, 224, 224).tolist()
        [[56.0, 56.0, 166.0, 163.0]]
    """
    boxes = shares * np.array([width, height, width, height])
    return np.round(boxes, 6) if width == height == GRID else boxes * _NUDGE


def _clip(boxes: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    return np.clip(boxes, 0, np.array([*size, *size]))


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _fits(boxes: np.ndarray, size: tuple[float, float]) -> bool:
    return bool((boxes[:, :2] >= -1).all() and (boxes[:, 2:] <= np.add(size, 1)).all())


def _same_shape(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Equal aspect ratios, up to rounding one side of either to whole pixels."""
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= 1 / min(*a, *b)
