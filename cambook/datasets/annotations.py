"""Boxes of one annotated image: an XML file in Pascal VOC's layout, and boxes fitted to their image.

What was repaired is said in notes, one sentence each, so that a loader can report every one of them; what no safe
repair can save raises `Unusable`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from cambook.datasets.decoding import upright_boxes
from cambook.datasets.reading import Unusable

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
    tree = _parse_xml(data)
    notes: list[str] = []
    boxes: dict[str, list[tuple]] = {}
    difficult = 0
    for number, item in enumerate(tree.findall("object"), 1):
        name = (item.findtext("name") or "").strip()
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


def _parse_xml(data: bytes) -> Element:
    """The root element; a document type, the only door to entities and other files, is refused."""

    def refuse(*_):
        raise Unusable("the annotation declares a document type (DOCTYPE), which may hide entities")

    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Unusable(f"the annotation is not valid XML ({error})") from error


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


def fit_boxes(
    boxes: np.ndarray, tag: tuple[float, float] | None, stored: tuple[int, int], orientation: int
) -> tuple[np.ndarray, list[str]]:
    """Annotated boxes in pixels of the upright image, clipped to it, and what was repaired.

    Args:
        boxes: (n, 4) half-open, as annotated.
        tag: width and height of the image that they were drawn on; None if nobody says.
        stored: width and height of the image in its file.
        orientation: its EXIF orientation, 1 to 8.

    Returns:
        (m, 4) half-open, m <= n: boxes outside the image are left out; and one sentence for each repair.

    Raises:
        Unusable: if the boxes fit neither the image nor its size tag.

    Example:
        >>> fit_boxes(np.array([[2.0, 2.0, 9.0, 4.0]]), (8, 8), (8, 8), 1)
        (array([[2., 2., 8., 4.]]), ['1 of 1 boxes passed the border and were clipped'])
    """
    notes: list[str] = []
    turned = (stored[1], stored[0]) if orientation >= 5 else stored
    frame = stored
    if orientation > 1:
        frame, reason = _frame_drawn_on(boxes, tag, stored, turned)
        done = "boxes turned with it" if frame is stored else "boxes, drawn on the upright image, kept"
        notes.append(f"EXIF orientation {orientation}: image turned upright, {done} ({reason})")
    width, height = frame
    if tag is None:
        notes.append(f"the size tag gives no size: boxes read as pixels of the {width} x {height} image")
    elif tag != frame:
        disagreement = f"the size tag says {tag[0]:g} x {tag[1]:g}, the image has {width} x {height}"
        if _same_shape(tag, frame) and _fits(boxes, tag):
            boxes = boxes * np.array([width / tag[0], height / tag[1]] * 2)
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
    return upright_boxes(boxes, stored, orientation) if frame is stored else boxes, notes


def _frame_drawn_on(boxes, tag, stored, turned) -> tuple[tuple[int, int], str]:
    if stored == turned or stored[0] == stored[1]:
        return stored, "the size tag cannot tell"
    if tag is not None:
        for frame in (stored, turned):
            if _same_shape(tag, frame):
                return frame, "as the size tag says"
    if _fits(boxes, turned) and not _fits(boxes, stored):
        return turned, "the boxes fit no other"
    return stored, "the size tag cannot tell"


def _clip(boxes: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    return np.clip(boxes, 0, np.array([*size, *size]))


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _fits(boxes: np.ndarray, size: tuple[float, float]) -> bool:
    return bool((boxes[:, :2] >= -1).all() and (boxes[:, 2:] <= np.add(size, 1)).all())


def _same_shape(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Equal aspect ratios, up to rounding one side of either to whole pixels."""
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= 1 / min(*a, *b)
