"""What a network sees in single photographs: their most likely classes, each with a map and a box.

Photographs keep their aspect ratio here: the shorter side gets as many pixels as the network is made for, and the
network sees all of it. Data sets, which are measured, squash their images into squares instead.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cambook.datasets.decoding import decode_image, quiet_decoders, stored_size, upright
from cambook.datasets.reading import (
    Unusable,
    as_on_disk,
    files_below,
    nearest_path,
    nfc,
    read_inside,
    suffixes,
    unread_endings,
)
from cambook.maps import arrays, normalize, upsample
from cambook.maps.boxes import box_from_map
from cambook.maps.methods import find_method
from cambook.networks import Network

LONGEST, SHORTEST = 1600, 800  # pixels of the longer side at which a photograph is drawn
FEWEST = 8  # pixels of a photograph's shorter side
RIBBON = 20  # a longer side is at most so many times the shorter one
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # characters that turn the direction of what follows

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Finding:
    """One of the most likely classes of a photograph.

    Attributes:
        name: of the class.
        probability: 0 to 1.
        box: (x0, y0, x1, y1), half-open, in pixels of the upright photograph; None if its map is nowhere high enough.
    """

    name: str
    probability: float
    box: Box | None


@dataclass(frozen=True)
class Seen:
    """What a network sees in a photograph.

    Attributes:
        name: of the photograph, with the folders that distinguish it from the others.
        size: width and height of the upright photograph in pixels.
        findings: the classes, most likely first.
        notes: one sentence for each repair of the file.

    Example:
        >>> seen = Seen("cat.jpg", (640, 480), (Finding("Egyptian cat", 0.54, (10, 20, 300, 400)),))
        >>> seen.findings[0].name
        'Egyptian cat'
    """

    name: str
    size: tuple[int, int]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


# ---- which photographs


def photographs(given: Iterable[str | Path]) -> tuple[dict[str, Path], list[str]]:
    """The photographs among files and folders, by the shortest names that distinguish their folders.

    Args:
        given: paths of files, whatever their endings, and of folders, in which and in whose folders the images are.

    Returns:
        {name: path} in the order given, of a folder sorted; and a sentence for what is missing or not an image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a/cat.jpg", "b/cat.jpg", "b/notes.txt"):
        ...         Path(folder, name).parent.mkdir(exist_ok=True)
        ...         Path(folder, name).touch()
        ...     found, reasons = photographs([folder, "/nowhere.jpg"])
        >>> list(found), reasons
        (['a/cat.jpg', 'b/cat.jpg'], ['/nowhere.jpg: there is no such file: check the spelling'])
    """
    found: dict[Path, None] = {}
    reasons: list[str] = []
    for each in given:
        path = as_on_disk(Path(each).expanduser())
        if os.path.isdir(path):
            inside = sorted(files_below(path, reasons))
            images = [file for file in inside if os.path.splitext(file)[1].lower() in suffixes()]
            others = [file for file in inside if os.path.splitext(file)[1].lower() not in suffixes()]
            reasons += [f"{printable(path)}: {sentence}" for _, sentence in unread_endings(others)]
            if not images:
                reasons.append(f"{printable(path)}: the folder contains no image: give one with JPEG or PNG files")
            found |= dict.fromkeys(Path(os.path.abspath(file)) for file in images)
        elif os.path.lexists(path):
            found[Path(os.path.abspath(path))] = None
        else:
            reasons.append(f"{printable(path)}: there is no such file{nearest_path(path)}")
    return dict(zip(_names(list(found)), found, strict=True)), reasons


def _names(paths: Sequence[Path]) -> list[str]:
    """The paths below the folder in which all of them are, with forward slashes."""
    try:
        common = os.path.commonpath([path.parent for path in paths])
    except ValueError:  # none at all, or Windows' drives
        return [path.as_posix() for path in paths]
    return [path.relative_to(common).as_posix() for path in paths]


def printable(name: str | Path) -> str:
    """A name in one line that can be printed: a question mark for each character that cannot.

    Example:
        >>> printable("cat\\n\\u202egpj.exe")
        'cat??gpj.exe'
    """
    text = nfc(str(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    odd = ("Cc", "Cs", "Zl", "Zp")
    return "".join("?" if each in _TURNS or unicodedata.category(each) in odd else each for each in text)


# ---- one photograph


def sees_squares(network: Network, side: int) -> bool:
    """Whether a network takes square images alone, as one with a flattened layer or a transformer's positions does.

    Args:
        network: in evaluation mode.
        side: the shorter side of its images in pixels.

    Example:
        >>> from cambook import networks
        >>> [sees_squares(networks.build(name, 2), 64) for name in ("mini-gap", "mini-fc")]
        [False, True]
    """
    try:
        with torch.no_grad():
            network(torch.full((1, 3, side, side + max(32, side // 2)), 0.5))
    except (RuntimeError, ValueError, AssertionError):
        return True
    return False


@torch.no_grad()
def look_at(
    network: Network,
    classes: Sequence[str],
    name: str,
    file: Path,
    side: int,
    *,
    square: bool = False,
    top: int = 5,
    source: str = "cam",
    rule: str = "paper",
    threshold: float = 0.2,
) -> tuple[Seen, Image.Image, np.ndarray]:
    """The most likely classes of one photograph, with their maps and boxes.

    Maps are read at the size in which the network sees the photograph; boxes are then scaled to the photograph.

    Args:
        network: from `ready_network`.
        classes: the names of its outputs.
        name: of the photograph, for the result.
        file: the photograph.
        side: pixels of its shorter side as the network sees it.
        square: whether it is squashed into a square (`sees_squares`).
        top: how many classes, at most.
        source: what makes the maps, a name in `maps.MAPS`.
        rule, threshold: how a box is read from a map, as in `box_from_map`.

    Returns:
        What is seen; the photograph, upright, at the size at which it is drawn; and the maps (n, H, W), float32 from 0
        to 1: what exceeds 0, as a share of the maximum, for rule "paper"; from minimum to maximum for rule "wsol".

    Raises:
        Unusable: if the file is not a photograph that can be looked at, with the reason.
        ValueError: if a score or a map is NaN or infinite.
    """
    with quiet_decoders():
        image, orientation, notes = decode_image(read_inside(file, None))
    image, stored = upright(image, orientation), stored_size(image)
    width, height = size = stored[::-1] if orientation >= 5 else stored
    if min(size) < FEWEST:
        raise Unusable(f"it has {width} x {height} pixels, and fewer than {FEWEST} a side show nothing")
    if max(size) > RIBBON * min(size):
        raise Unusable(f"it has {width} x {height} pixels: crop it to at most {RIBBON} times as long as wide")
    shape = (side, side) if square else tuple(round(each * side / min(size)) for each in image.size)
    seen = np.array(image.resize(shape, Image.Resampling.BILINEAR))
    images = torch.from_numpy(seen).permute(2, 0, 1)[None].float().div_(255)
    logits, feature_maps = network(images)
    probabilities, found = logits.double().softmax(1)[0].topk(min(top, len(classes)))
    raw = upsample(arrays.widened(find_method(source)(network, images, feature_maps, found[None])), shape[::-1])
    if not (torch.isfinite(logits).all() and torch.isfinite(raw).all()):
        raise ValueError(f"{name}: a score or a map of {network.name} is NaN or infinite; look at the weights.")
    boxes = [box_from_map(each, rule, threshold) for each in raw[0].numpy()]
    findings = tuple(
        Finding(classes[label], probability, None if box is None else scaled_box(box, shape, size))
        for label, probability, box in zip(found.tolist(), probabilities.tolist(), boxes, strict=True)
    )
    notes = tuple(note for note in notes if "converted to" not in note)
    return Seen(name, size, findings, notes), drawn(image), shares(raw, rule)[0].numpy()


def scaled_box(box: Sequence[int], of: tuple[int, int], to: tuple[int, int]) -> Box:
    """A box of one size of an image in whole pixels of another.

    Args:
        box: (x0, y0, x1, y1), half-open.
        of: width and height of the image that it was read on.
        to: those of the other one.

    Returns:
        Half-open, inside the image and at least a pixel wide and high.

    Example:
        >>> scaled_box((10, 0, 20, 224), (224, 224), (640, 480)), scaled_box((223, 0, 224, 1), (224, 224), (9, 9))
        ((29, 0, 57, 480), (8, 0, 9, 1))
    """
    ends = []
    for axis in (0, 1):
        first, last = (round(int(box[axis + end]) * to[axis] / of[axis]) for end in (0, 2))
        first = min(first, to[axis] - 1)
        ends.append((first, max(last, first + 1)))
    (x0, x1), (y0, y1) = ends
    return x0, y0, x1, y1


def shares(raw: torch.Tensor, rule: str) -> torch.Tensor:
    """Maps from 0 to 1 as a rule reads them, so that a threshold is a share of what is drawn.

    Args:
        raw: (..., H, W).
        rule: "paper": values below 0 become 0 and the maximum becomes 1; "wsol": from minimum to maximum.

    Example:
        >>> raw = torch.tensor([[[-1.0, 0.0, 1.0]]])
        >>> shares(raw, "paper").tolist(), shares(raw, "wsol").tolist()
        ([[[0.0, 0.0, 1.0]]], [[[0.0, 0.5, 1.0]]])
    """
    if rule == "wsol":
        return normalize(raw)
    positive = raw.clamp(min=0)
    return positive / positive.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(raw.dtype).tiny)


def drawn(image: Image.Image) -> Image.Image:
    """A photograph at the size at which it is drawn: the longer side has between 800 and 1600 pixels.

    Example:
        >>> [drawn(Image.new("RGB", size)).size for size in ((4000, 3000), (1000, 500), (40, 20))]
        [(1600, 1200), (1000, 500), (800, 400)]
    """
    longer = max(image.size)
    wanted = min(max(longer, SHORTEST), LONGEST)
    if longer == wanted:
        return image
    shape = tuple(max(1, round(side * wanted / longer)) for side in image.size)
    return image.resize(shape, Image.Resampling.LANCZOS if wanted < longer else Image.Resampling.BICUBIC)
