"""Image files of real folders, decoded to RGB: repaired if that is safe, or refused.

What cannot be used raises `Unusable`. What was repaired is said in notes, one sentence each, so that a loader can
report every one of them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from cambook.datasets.reading import Unusable

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "DIB")
_LARGEST = 4  # a JPEG of up to so many times the pixels that Pillow decodes is read at a part of its size
_STORED_SIZE = "size in the file"  # key of an image's info if it was read at a part of its size for that reason
_MAX_MISSING_ROWS = 0.1  # share of a cut-off JPEG that may be missing
_FEW_PIXELS, _RIBBON = 8, 20  # a shorter side in pixels, or a longer side as a multiple of it, that is worth a note
_MODE_NAMES = {"L": "grey", "1": "black and white", "P": "palette"}
_ORIENTATION_TAG = 0x0112

# EXIF orientation -> how Pillow turns the image upright, and where its point (x, y) of w x h pixels goes.
_UPRIGHT = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, lambda x, y, w, h: (w - x, y)),
    3: (Image.Transpose.ROTATE_180, lambda x, y, w, h: (w - x, h - y)),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, lambda x, y, w, h: (x, h - y)),
    5: (Image.Transpose.TRANSPOSE, lambda x, y, w, h: (y, x)),
    6: (Image.Transpose.ROTATE_270, lambda x, y, w, h: (h - y, x)),
    7: (Image.Transpose.TRANSVERSE, lambda x, y, w, h: (h - y, w - x)),
    8: (Image.Transpose.ROTATE_90, lambda x, y, w, h: (y, w - x)),
}


class TooLarge(Unusable):
    """An image with more pixels than are decoded."""


def decode_image(data: bytes, at_least: int | None = None) -> tuple[Image.Image, int, list[str]]:
    """The RGB image in a file as it is stored, its EXIF orientation, and what was repaired.

    Args:
        data: the contents of the file.
        at_least: a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as no side gets shorter
            than this many pixels (Pillow's draft mode, much faster). With twice the side wanted, what is scaled down
            from it differs by a few grey levels from what is decoded in full.

    Returns:
        The image, not yet turned; its orientation, 1 to 8; one sentence for each repair.

    Raises:
        Unusable: if the file is not an image or is damaged.
        TooLarge: if it has more pixels than Pillow decodes. A JPEG that has is read at a half, a quarter or an eighth
            of its size instead, up to four times as many pixels; `stored_size` says what it was.

    Example:
        >>> file = BytesIO()
        >>> Image.new("L", (4, 2)).save(file, "PNG")
        >>> image, orientation, notes = decode_image(file.getvalue())
        >>> image.mode, image.size, orientation, notes[-1]
        ('RGB', (4, 2), 1, 'grey image converted to RGB')
    """
    if not data:
        raise Unusable("the file is empty")
    if data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise Unusable("the file contains a web page or other text, not an image")
    notes: list[str] = []
    try:
        image = _opened(data)
        stored = image.size
        notes += _odd(image)
        if part := _part(stored):
            notes.append(f"{stored[0]} x {stored[1]} pixels are more than Pillow decodes: read at 1/{part} of its size")
            image.draft(None, (stored[0] // part, stored[1] // part))
        elif at_least is not None:
            image.draft(None, (at_least, at_least))
        try:
            image.load()
        except OSError:
            image = _mend_cut_off(data, image, notes)
        orientation = _orientation(image, notes)
        image = _to_rgb(image, notes)
        if part:
            image.info[_STORED_SIZE] = stored
        return image, orientation, notes
    except Unusable:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the image has more than {Image.MAX_IMAGE_PIXELS} pixels: make it smaller") from error
    except Image.UnidentifiedImageError as error:
        raise Unusable("the file contains no image of a known format") from error
    except Exception as error:  # decoders fail in every way there is
        raise Unusable(f"the image is damaged ({error})") from error


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height that an image of `decode_image` has in its file, at whatever size it was read.

    Example:
        >>> stored_size(Image.new("RGB", (4, 2)))
        (4, 2)
    """
    return image.info.get(_STORED_SIZE, image.size)


def _opened(data: bytes) -> Image.Image:
    """The image of a file, not yet decoded. Raises Image.DecompressionBombError if it has too many pixels."""
    size = _jpeg_size(data)
    if size and _part(size):
        return JpegImageFile(BytesIO(data))  # Image.open refuses what `draft` makes small enough
    image = Image.open(BytesIO(data), formats=(*_FORMATS, "HEIF") if "HEIF" in Image.OPEN else _FORMATS)
    if math.prod(image.size) > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise Image.DecompressionBombError
    return image


def _part(size: tuple[int, int]) -> int:
    """2, 4 or 8 if a JPEG must be read at a half, a quarter or an eighth of its size, otherwise 0."""
    most, pixels = Image.MAX_IMAGE_PIXELS or math.inf, math.prod(size)
    if not most < pixels <= _LARGEST * most:
        return 0
    return next(part for part in (2, 4, 8) if -(-size[0] // part) * -(-size[1] // part) <= most)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the header of a JPEG's frame; None if the file is not a JPEG."""
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # a marker may be filled up to any length
            at += 1
            continue
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + length
    return None


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silences Pillow's warnings about what `decode_image` repairs or refuses.

    Warnings are global, so several threads must not enter it at once.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _odd(image: Image.Image) -> Iterator[str]:
    """What is used as it is and worth knowing: few pixels, a ribbon, more than one frame."""
    width, height = image.size
    if min(width, height) < _FEW_PIXELS or max(width, height) > _RIBBON * min(width, height):
        yield f"has {width} x {height} pixels, of which a square shows little"
    if image.format != "MPO" and getattr(image, "is_animated", False):  # an MPO's further frames are a camera's extras
        yield "contains several frames, of which the first is used"


def _mend_cut_off(data: bytes, image: Image.Image, notes: list[str]) -> Image.Image:
    """A cut-off baseline JPEG, closed with an end mark: the decoder paints what is missing in one grey."""
    if image.format not in ("JPEG", "MPO") or image.info.get("progressive"):
        raise Unusable("the image is cut off or damaged")
    if _part(_jpeg_size(data) or (0, 0)):
        raise Unusable("the image is cut off or damaged")
    mended = Image.open(BytesIO(data + b"\xff\xd9"), formats=_FORMATS)
    mended.load()
    pixels = np.asarray(mended).reshape(mended.height, mended.width, -1)
    painted = (pixels[:, -8:] == pixels[-1, -1]).all((1, 2))
    missing = len(painted) if painted.all() else int(np.argmin(painted[::-1]))
    if missing > _MAX_MISSING_ROWS * mended.height:
        raise Unusable(f"the image is cut off: {missing} of {mended.height} rows are missing")
    notes.append(f"cut off: what is missing of the last {missing} of {mended.height} rows filled with grey")
    return mended


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing
        notes.append("the EXIF block cannot be read and is ignored")
        return 1
    if orientation == 0:  # written by many programs for "not set"
        return 1
    if orientation not in range(1, 9):
        notes.append(f"EXIF orientation {orientation} does not exist and is ignored")
        return 1
    return orientation


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned as its EXIF orientation (1 to 8) says.

    Example:
        >>> upright(Image.new("RGB", (4, 2)), 6).size
        (2, 4)
    """
    return image.transpose(_UPRIGHT[orientation][0]) if orientation > 1 else image


def upright_boxes(boxes: np.ndarray, stored: tuple[int, int], orientation: int) -> np.ndarray:
    """Boxes drawn on the stored image, in pixels of the upright one.

    Args:
        boxes: (n, 4) half-open (x0, y0, x1, y1).
        stored: width and height of the image as it is stored.
        orientation: EXIF orientation, 1 to 8.

    Returns:
        (n, 4) half-open.

    Example:
        >>> upright_boxes(np.array([[10, 5, 30, 15]]), (80, 40), 6).tolist()
        [[25, 10, 35, 30]]
    """
    if orientation == 1:
        return boxes
    x0, y0, x1, y1 = boxes.T
    move = _UPRIGHT[orientation][1]
    corners = np.array([move(x0, y0, *stored), move(x1, y1, *stored)])
    return np.concatenate([corners.min(0), corners.max(0)]).T


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "F":
        raise Unusable("the image contains floating-point numbers, whose white is unknown")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise Unusable("the image has more than 16 bits per pixel")
        notes.append("16-bit image converted to 8-bit RGB")
        return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        notes.append(f"{_MODE_NAMES.get(image.mode, image.mode)} image with transparency laid on white")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode != "RGB":
        notes.append(f"{_MODE_NAMES.get(image.mode, image.mode)} image converted to RGB")
    return image.convert("RGB")


def decode_mask(data: bytes) -> Image.Image:
    """The grey values of a PNG file of masks.

    Raises:
        Unusable: if it is damaged, has too many pixels or is not a PNG file.

    Example:
        >>> file = BytesIO()
        >>> Image.fromarray(np.array([[0, 255]], np.uint8)).save(file, "PNG")
        >>> np.asarray(decode_mask(file.getvalue())).tolist()
        [[0, 255]]
    """
    try:
        image = Image.open(BytesIO(data), formats=("PNG",))
        if math.prod(image.size) > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise TooLarge("the mask has too many pixels: make it smaller, together with its image")
        return image.convert("L")
    except Unusable:
        raise
    except Exception as error:  # decoders fail in every way there is
        raise Unusable(f"the mask is not a readable PNG ({error})") from error
