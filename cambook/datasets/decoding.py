"""Files of real folders: one picture, one annotation, repaired where that is safe or refused with a reason.

Nothing here knows a data set. What cannot be used raises Unusable; what was repaired is said in notes, one sentence
each, so that a loader can report every one of them.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")  # the first wins
MAX_ANNOTATION_BYTES = 4 * 2**20

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
_MAX_MISSING_ROWS = 0.1  # share of a cut-off JPEG that may be missing
_MAX_CLIPPED = 0.1  # share of a box that clipping may take where the size tag is wrong as well
_FEW_PIXELS, _RIBBON = 8, 20  # a shorter side in pixels, or a longer side as a multiple of it, that is worth a note
_ORIENTATION_TAG = 0x0112

# EXIF orientation -> how Pillow turns the picture upright, where its point (x, y) of w x h pixels goes.
_UPRIGHT = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, lambda x, y, w, h: (w - x, y)),
    3: (Image.Transpose.ROTATE_180, lambda x, y, w, h: (w - x, h - y)),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, lambda x, y, w, h: (x, h - y)),
    5: (Image.Transpose.TRANSPOSE, lambda x, y, w, h: (y, x)),
    6: (Image.Transpose.ROTATE_270, lambda x, y, w, h: (h - y, x)),
    7: (Image.Transpose.TRANSVERSE, lambda x, y, w, h: (h - y, w - x)),
    8: (Image.Transpose.ROTATE_90, lambda x, y, w, h: (y, w - x)),
}
_MODE_NAMES = {"L": "grey", "1": "black and white", "P": "palette"}


class Unusable(Exception):
    """A file that no safe repair can save; the message completes the sentence "left out: ..."."""


# ---- paths


def near(path: Path) -> str:
    """How a sentence about a path that does not exist goes on: the nearest name there is, or what is missing."""
    if not os.path.isdir(path.parent):
        return f": the folder {path.parent} does not exist"
    found = get_close_matches(path.name, [p.name for p in path.parent.iterdir()], 1)
    return f': did you mean "{path.parent / found[0]}"?' if found else ": check the spelling"


def short(path: Path) -> str:
    """A path for a report: the file and its folder, of a list the folder above as well."""
    depth = 3 if path.suffix == ".txt" else 2
    return "/".join(path.parts[-depth:])


def read_inside(path: Path, root: Path | None) -> bytes:
    """The file's bytes. raises: Unusable where it cannot be read or a path or link leaves the root (None: may leave)"""
    if root is not None and not path.resolve().is_relative_to(root.resolve()):
        raise Unusable(f"{short(path)} is a link that leaves the folder")
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"{short(path)} cannot be read ({error.strerror})") from error


# ---- annotations


@dataclass
class Annotation:
    """The usable objects of one XML file in Pascal VOC layout.

    boxes:     class name -> (n, 4) half-open boxes as annotated
    tag:       width and height that the size tag gives, None where it gives no size
    difficult: how many objects marked difficult were ignored, as in the VOC challenge
    """

    boxes: dict[str, np.ndarray]
    tag: tuple[float, float] | None
    difficult: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The class with the largest total box area."""
        return max(sorted(self.boxes), key=lambda name: _area(self.boxes[name]).sum())


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
        raise Unusable(f"the annotation is no valid XML ({error})") from error


def _number(element: Element | None, path: str) -> float:
    try:
        return float(element.findtext(path))
    except (AttributeError, TypeError, ValueError):
        return math.nan


def read_annotation(data: bytes, first: int = 1) -> Annotation:
    """The objects of an XML file in Pascal VOC layout.

    first: how its picture's first pixel is counted, 1 in VOC, 0 in ILSVRC; both count the last pixel of a box as inside
    raises: Unusable where there is none
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


def _read_box(item: Element, first: int, what: str, notes: list[str]) -> tuple[float, float, float, float] | None:
    xmin, ymin, xmax, ymax = (_number(item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
        notes.append(f"{what} has a coordinate that is missing or no number and is left out")
        return None
    if xmin == xmax or ymin == ymax:
        notes.append(f"{what} has no area and is left out")
        return None
    if xmin > xmax or ymin > ymax:
        notes.append(f"{what} had its corners swapped and was put right")
    past = 1 - first  # from the last pixel to the border behind it
    return min(xmin, xmax) - first, min(ymin, ymax) - first, max(xmin, xmax) + past, max(ymin, ymax) + past


def _fits(boxes: np.ndarray, size: tuple[float, float]) -> bool:
    return bool((boxes[:, :2] >= -1).all() and (boxes[:, 2:] <= np.add(size, 1)).all())


def _same_shape(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Equal aspect ratios, up to rounding one side of either to whole pixels."""
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= 1 / min(*a, *b)


def place(
    boxes: np.ndarray, tag: tuple[float, float] | None, stored: tuple[int, int], orientation: int
) -> tuple[np.ndarray, list[str]]:
    """Annotated boxes in pixels of the upright picture, clipped to it, and what was repaired.

    boxes: (n, 4) half-open; tag: width and height of the picture they were drawn on, None where nobody says
    stored, orientation: the picture's size in its file and its EXIF orientation
    raises: Unusable where the boxes fit no reading of the picture
    """
    notes: list[str] = []
    turned = (stored[1], stored[0]) if orientation >= 5 else stored
    frame = stored
    if orientation > 1:
        frame, reason = _frame_drawn_on(boxes, tag, stored, turned)
        done = "boxes turned with it" if frame is stored else "boxes, drawn on the upright picture, kept"
        notes.append(f"EXIF orientation {orientation}: picture turned upright, {done} ({reason})")
    width, height = frame
    if tag is None:
        notes.append(f"the size tag gives no size: boxes read as pixels of the {width} x {height} picture")
    elif tag != frame:
        disagreement = f"the size tag says {tag[0]:g} x {tag[1]:g}, the picture has {width} x {height}"
        if _same_shape(tag, frame) and _fits(boxes, tag):
            boxes = boxes * np.array([width / tag[0], height / tag[1]] * 2)
            notes.append(f"{disagreement}: same shape, boxes rescaled to the picture")
        elif _fits(boxes, frame):
            notes.append(f"{disagreement}: the boxes fit the picture, which is trusted")
        elif (_area(_clip(boxes, frame)) < (1 - _MAX_CLIPPED) * _area(boxes)).any():
            raise Unusable(f"{disagreement}, and the boxes fit neither")
        else:
            notes.append(f"{disagreement}: boxes nearly fit the picture, which is trusted")
    clipped = _clip(boxes, frame)
    if (clipped != boxes).any():
        count = int((clipped != boxes).any(1).sum())
        notes.append(f"{count} of {len(boxes)} boxes passed the border and were clipped")
    inside = _area(clipped) > 0
    if not inside.all():
        notes.append(f"{int((~inside).sum())} of {len(boxes)} boxes lie outside the picture and are left out")
    if not inside.any():
        raise Unusable("every box lies outside the picture")
    boxes = clipped[inside]
    if orientation > 1 and frame is stored:
        x0, y0, x1, y1 = boxes.T
        move = _UPRIGHT[orientation][1]
        corners = np.array([move(x0, y0, *stored), move(x1, y1, *stored)])
        boxes = np.concatenate([corners.min(0), corners.max(0)]).T
    return boxes, notes


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


# ---- pictures


def open_picture(data: bytes, at_least: int | None = None) -> tuple[Image.Image, int, list[str]]:
    """The RGB picture as stored, its EXIF orientation (1 to 8), and what was repaired.

    at_least: a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as no side gets shorter than
              this many pixels (Pillow's draft mode, much faster); with twice the size wanted, what is scaled down from
              it differs from the full road by a few grey levels
    raises:   Unusable
    """
    if not data:
        raise Unusable("the file is empty")
    if data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise Unusable("the file holds a web page or other text, no picture")
    notes: list[str] = []
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
        if math.prod(image.size) > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise Image.DecompressionBombError
        notes += _odd(image)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        try:
            image.load()
        except OSError:
            image = _mend_cut_off(data, image, notes)
        orientation = _orientation(image, notes)
        return _to_rgb(image, notes), orientation, notes
    except Unusable:
        raise
    except Image.DecompressionBombError as error:
        raise Unusable(f"the picture has more than {Image.MAX_IMAGE_PIXELS} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise Unusable("the file holds no picture of a known format") from error
    except Exception as error:  # decoders fail in every way there is
        raise Unusable(f"the picture is damaged ({error})") from error


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silences Pillow's warnings about what open_picture repairs or refuses. Not for use in several threads at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _odd(image: Image.Image) -> Iterator[str]:
    """What is used as it is and worth knowing: few pixels, a ribbon, more than one frame."""
    width, height = image.size
    if min(width, height) < _FEW_PIXELS or max(width, height) > _RIBBON * min(width, height):
        yield f"has {width} x {height} pixels, of which a square shows little"
    if image.format != "MPO" and getattr(image, "is_animated", False):  # an MPO's further frames are a camera's extras
        yield "holds several frames, of which the first is used"


def _mend_cut_off(data: bytes, image: Image.Image, notes: list[str]) -> Image.Image:
    """A cut-off baseline JPEG, closed with an end mark: the decoder paints what is missing in one grey."""
    if image.format not in ("JPEG", "MPO") or image.info.get("progressive"):
        raise Unusable("the picture is cut off or damaged")
    mended = Image.open(BytesIO(data + b"\xff\xd9"), formats=_FORMATS)
    mended.load()
    pixels = np.asarray(mended).reshape(mended.height, mended.width, -1)
    painted = (pixels[:, -8:] == pixels[-1, -1]).all((1, 2))
    missing = len(painted) if painted.all() else int(np.argmin(painted[::-1]))
    if missing > _MAX_MISSING_ROWS * mended.height:
        raise Unusable(f"the picture is cut off: {missing} of {mended.height} rows are missing")
    notes.append(f"cut off: what is missing of the last {missing} of {mended.height} rows filled with grey")
    return mended


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing
        notes.append("the EXIF block cannot be read and is ignored")
        return 1
    if orientation not in range(1, 9):
        notes.append(f"EXIF orientation {orientation} does not exist and is ignored")
        return 1
    return orientation


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its EXIF orientation (1 to 8) says."""
    return image.transpose(_UPRIGHT[orientation][0]) if orientation > 1 else image


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "F":
        raise Unusable("the picture holds floating-point numbers, whose white is unknown")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise Unusable("the picture has more than 16 bits a pixel")
        notes.append("16-bit picture converted to 8-bit RGB")
        return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        notes.append(f"{_MODE_NAMES.get(image.mode, image.mode)} picture with transparency laid on white")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode != "RGB":
        notes.append(f"{_MODE_NAMES.get(image.mode, image.mode)} picture converted to RGB")
    return image.convert("RGB")
