"""Maps kept as .npy files: which file is whose, whether it can be used, and one map after another."""

from __future__ import annotations

import io
import os
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np

from cambook.datasets.reading import nfc
from cambook.machine import cores, tqdm
from cambook.maps.methods import GRID

RESIZES = ("bilinear", "bicubic", "nearest")  # as OpenCV's INTER_LINEAR, INTER_CUBIC, INTER_NEAREST
NORMALIZATIONS = ("min-max", "max")
LARGEST_SIDE = 4096  # pixels of a map
SLACK = 1e-6  # how far rounding may carry a map beyond 0 and 1

_ENDINGS = {f".{kind}" for kind in ("jpg", "jpeg", "jpe", "png", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm")}
_LONGEST_HEADER = 10_000  # bytes, NumPy's own limit
_PARSER = Lock()
_SHOWN = 3  # so many names stand in a message
_PART = 8  # images that a thread takes at a time
_AHEAD = 4  # so many parts for each thread wait for the one that is counted


@dataclass
class MapFiles:
    """Which files of a folder are the maps of which images.

    Attributes:
        folder: contains the maps.
        files: id -> its file, from the folder.
        missing: ids without a map, in their order.
        extra: .npy files that belong to none of the ids.
        linked: folders in it that are links; maps are not looked for in them.

    Example:
        >>> MapFiles(Path("maps"), {"cat.jpg": "cat.jpg.npy"}).path("cat.jpg").as_posix()
        'maps/cat.jpg.npy'
    """

    folder: Path
    files: dict[str, str]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)

    def path(self, identity: str) -> Path:
        """The file of one image's map."""
        return self.folder / self.files[identity]


# ---- which file is whose


def find_maps(folder: str | Path, ids: Sequence[str]) -> MapFiles:
    """The map of each image by its name: its id and `.npy`, or its id without the image's ending and `.npy`.

    The folder is listed once and no file is opened. Links to files count as files; links to folders are not entered.

    Args:
        folder: contains the maps, in folders as the ids have them.
        ids: of the images, with forward slashes.

    Returns:
        `MapFiles`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: two files could be the map of one image, or one file that of two.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat.jpeg.npy", "dog.npy", "owl.npy"):
        ...         Path(folder, name).touch()
        ...     found = find_maps(folder, ["cat.jpeg", "dog.jpg", "fox.jpg"])
        >>> found.files, found.missing, found.extra
        ({'cat.jpeg': 'cat.jpeg.npy', 'dog.jpg': 'dog.npy'}, ['fox.jpg'], ['owl.npy'])
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give the one that contains the maps as .npy files.")
    found = MapFiles(folder, {})
    there: dict[str, str] = {}  # by its name without .npy
    for file in _listed(folder, found.linked):
        key = nfc(file.removesuffix(".npy"))
        if key in there:
            raise _two_for_one(folder, key, there[key], file)
        there[key] = file
    exact = {identity: there.pop(identity) for identity in ids if identity in there}
    bare: dict[str, list[str]] = {}  # ids by their name without an ending
    for identity in ids:
        bare.setdefault(_without_ending(identity), []).append(identity)
    other: dict[str, str] = {}
    for key, file in sorted(there.items()):
        whose = bare.get(_without_ending(key), [])
        if not whose:
            found.extra.append(file)
        elif len(whose) > 1:
            raise ValueError(
                f"{folder / file} could be the map of {whose[0]} or of {whose[1]}: name it after one of them, such as "
                f"{whose[0]}.npy."
            )
        elif (first := exact.get(whose[0]) or other.get(whose[0])) is not None:
            raise _two_for_one(folder, whose[0], first, file)
        else:
            other[whose[0]] = file
    for identity in ids:
        file = exact.get(identity) or other.get(identity)
        if file is None:
            found.missing.append(identity)
        else:
            found.files[identity] = file
    return found


def check_complete(maps: MapFiles, of: str, partial: bool = False) -> str:
    """Refuses a folder that lacks maps, unless a part of them is asked for.

    Args:
        maps: from `find_maps`.
        of: what lists the images, for the message.
        partial: whether the images with a map are enough.

    Returns:
        How many of how many images have a map, in words, if some have none; otherwise "".

    Raises:
        FileNotFoundError: some map is missing and the rest is not enough, or there is none at all.

    Example:
        >>> check_complete(MapFiles(Path("maps"), {"a": "a.npy"}, ["b"]), "the test split", partial=True)
        '1 of the 2 images of the test split have a map'
    """
    if not maps.missing:
        return ""
    total, lacking = len(maps.files) + len(maps.missing), len(maps.missing)
    if maps.files and partial:
        return f"{len(maps.files)} of the {total} images of {of} have a map"
    listed = "no file" if lacking == 1 else "no files"
    expected = ", ".join(f"{identity}.npy" for identity in maps.missing[:_SHOWN])
    more = f" and {lacking - _SHOWN} more" if lacking > _SHOWN else ""
    hint = _hint(maps)
    mend = "add them, or score the others with --partial" if maps.files else "give the folder from which the ids start"
    raise FileNotFoundError(
        f"{maps.folder} has {listed} {expected}{more}: maps of {lacking} of the {total} images of {of} are missing"
        f"{hint}; {mend}."
    )


def _listed(folder: Path, linked: list[str]) -> Iterator[str]:
    """Every .npy file below the folder, from it and with forward slashes; links to folders come into `linked`."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = below + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif entry.is_dir():
                    linked.append(name)
                elif name.endswith(".npy") and entry.is_file():
                    yield name


def _without_ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if f"{dot}{ending}".lower() in _ENDINGS else name


def _two_for_one(folder: Path, identity: str, first: str, second: str) -> ValueError:
    return ValueError(f"{folder} has two maps of {identity}, {first} and {second}: remove one of them.")


def _hint(maps: MapFiles) -> str:
    """Where the maps may be instead, as the middle of a sentence."""
    if maps.linked:
        return f", and {maps.linked[0]} is a link to a folder, in which maps are not looked for"
    wanted = _without_ending(maps.missing[0])
    for file in maps.extra:
        name = _without_ending(file.removesuffix(".npy"))
        if name.endswith(f"/{wanted}"):
            return f", but {maps.folder / name.removesuffix(wanted)} has such names"
        if wanted.endswith(f"/{name}"):
            return f", and {file} is there without the folder {wanted.removesuffix(name)}"
    return f"; {len(maps.extra)} others belong to none, such as {maps.extra[0]}" if maps.extra else ""


# ---- whether it can be used


def check_headers(maps: MapFiles, resize: str | None = None) -> None:
    """Refuses a file whose first bytes say that it is not a map, before anything is counted.

    Args:
        maps: from `find_maps`.
        resize: a name in `RESIZES` if maps may have another size than 224 x 224.

    Raises:
        ValueError: a file is not one array of real numbers of the right shape, or is cut off; the message names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "cat.npy"), np.zeros((7, 7)))
        ...     try:
        ...         check_headers(find_maps(folder, ["cat"]))
        ...     except ValueError as error:
        ...         print(str(error).partition("cat.npy ")[2])
        has shape (7, 7), and maps are compared at 224 x 224: name with --resize how it is enlarged (bilinear, ...
    """

    def check(identity: str) -> None:
        with maps.path(identity).open("rb") as opened:
            _header(opened, maps.path(identity), resize)

    for _ in in_threads(check, list(maps.files), "looking at the maps"):
        pass


def _header(opened: BinaryIO, path: Path, resize: str | None) -> tuple[tuple[int, int], bool, np.dtype]:
    """Shape, whether columns come first, and type of an .npy file, which is left at its first value.

    raises: ValueError if it cannot be a map
    """
    start = opened.read(8)
    lengths = {(1, 0): "<H", (2, 0): "<I"}
    if start[:6] != b"\x93NUMPY" or len(start) < 8:
        raise _no_npy(path)
    if tuple(start[6:]) not in lengths:
        raise ValueError(f"{path} is an .npy file of version {tuple(start[6:])}: write the map with numpy.save.")
    kind = lengths[tuple(start[6:])]
    length = opened.read(struct.calcsize(kind))
    if len(length) < struct.calcsize(kind) or struct.unpack(kind, length)[0] > _LONGEST_HEADER:
        raise _no_npy(path)
    found = _parsed(tuple(start[6:]), length + opened.read(*struct.unpack(kind, length)))
    if found is None:
        raise _no_npy(path)
    shape, columns_first, dtype = found
    if dtype.kind not in "biuf":
        raise ValueError(f"{path} contains values of type {dtype}: a map has real numbers, such as float32.")
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"{path} has shape {shape}: a map has rows and columns alone, such as ({GRID}, {GRID}).")
    if max(shape) > LARGEST_SIDE:
        raise ValueError(f"{path} has shape {shape}: a map has at most {LARGEST_SIDE} pixels a side.")
    if shape != (GRID, GRID) and resize is None:
        raise ValueError(
            f"{path} has shape {shape}, and maps are compared at {GRID} x {GRID}: name with --resize how it is "
            f"enlarged ({', '.join(RESIZES)})."
        )
    wanted = opened.tell() + int(np.prod(shape)) * dtype.itemsize
    there = os.fstat(opened.fileno()).st_size
    if there != wanted:
        state = "is cut off" if there < wanted else "contains more than one map"
        raise ValueError(f"{path} {state}: it has {there} bytes, its header says {wanted}; write it again.")
    return shape, columns_first, dtype


@lru_cache(maxsize=64)
def _parsed(version: tuple[int, int], text: bytes) -> tuple[tuple[int, ...], bool, np.dtype] | None:
    """What the rest of a header says, or None if it cannot be read.

    One thread at a time: CPython 3.11's parser, which NumPy asks, fails now and then in several at once.
    """
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    with _PARSER:
        try:
            return read(io.BytesIO(text))
        except Exception:  # whatever a damaged header makes of NumPy's reader
            return None


def _no_npy(path: Path) -> ValueError:
    return ValueError(f"{path} does not begin as an .npy file does: write the map with numpy.save.")


# ---- one map


def read_map(path: Path, resize: str | None = None, normalize: str | None = None) -> np.ndarray:
    """One map from 0 to 1 on the grid of 224 x 224 pixels.

    Args:
        path: an .npy file; nothing in it is executed.
        resize: how a map of another size is enlarged or reduced: "bilinear", "bicubic" or "nearest", each as OpenCV
            does it; None: it must be 224 x 224.
        normalize: "min-max": minus its minimum, then divided by its maximum, a constant map becomes zeros; "max": what
            is below 0 becomes 0, then it is divided by its maximum; None: its values must be from 0 to 1.

    Returns:
        (224, 224) float32 or float64, as the file has them; other types as float32 or float64.

    Raises:
        ValueError: the file is not a map, or a value is not finite or not from 0 to 1; the message names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "cat.npy"), np.array([[0, 128], [255, 0]], np.uint8))
        ...     cat = read_map(Path(folder, "cat.npy"), "nearest", "max")
        >>> cat.shape, float(cat[0, 223]), float(cat[223, 0])
        ((224, 224), 0.501960813999176, 1.0)
    """
    with path.open("rb") as opened:
        shape, columns_first, dtype = _header(opened, path, resize)
        values = np.fromfile(opened, dtype, int(np.prod(shape)))
    if len(values) != np.prod(shape):
        raise ValueError(f"{path} is cut off, since it was looked at first: write it again.")
    found = values.reshape(shape, order="F" if columns_first else "C")
    exact = np.float64 if found.dtype.itemsize > 4 else np.float32
    map2d = found.astype(exact, order="C", copy=False)
    if not np.isfinite(map2d).all():
        y, x = np.argwhere(~np.isfinite(map2d))[0]
        raise ValueError(f"{path} contains {map2d[y, x]} in row {y}, column {x}: look at what made it.")
    if map2d.shape != (GRID, GRID):
        map2d = _resized(map2d, resize)
    if normalize is not None:
        map2d = _normalized(map2d, normalize)
    low, high = float(map2d.min()), float(map2d.max())
    if low < -SLACK or high > 1 + SLACK:
        after = f" after {resize} resizing" if found.shape != (GRID, GRID) else ""
        raise ValueError(
            f"{path} goes from {low:.6g} to {high:.6g}{after}, and maps run from 0 to 1: name with --normalize how it "
            f"gets there ({', '.join(NORMALIZATIONS)})."
        )
    return map2d.clip(0, 1) if low < 0 or high > 1 else map2d


def _resized(map2d: np.ndarray, how: str) -> np.ndarray:
    if how == "nearest":  # the pixel at each cell's first corner
        rows, columns = (
            np.minimum((np.arange(GRID) * (1 / (GRID / side))).astype(np.int64), side - 1) for side in map2d.shape
        )
        return map2d[np.ix_(rows, columns)]
    import torch
    from torch.nn.functional import interpolate

    whole = torch.from_numpy(map2d)[None, None]
    return interpolate(whole, (GRID, GRID), mode=how, align_corners=False)[0, 0].numpy()


def _normalized(map2d: np.ndarray, how: str) -> np.ndarray:
    low = map2d.min() if how == "min-max" else 0
    map2d = np.maximum(map2d - low, 0)
    high = map2d.max()
    return map2d / high if high > 0 else map2d


# ---- many maps


def in_threads(work: Callable[[str], object], ids: Sequence[str], describe: str) -> Generator:
    """work(id) for each id in its order, on all cores, with a bar; only a few results wait at a time.

    Args:
        work: a function that several threads may call.
        ids: what it is called with.
        describe: the bar's text.

    Returns:
        An iterator over the results. An error of `work` ends it; then, or if it is closed, no further id is begun.

    Example:
        >>> list(in_threads(str.upper, ["a", "b"], "shouting"))
        ['A', 'B']
    """
    parts = [ids[start : start + _PART] for start in range(0, len(ids), _PART)]
    waiting: deque = deque()
    with ThreadPoolExecutor(cores()) as pool, tqdm(total=len(ids), desc=describe, unit="map", leave=False) as bar:
        try:
            for part in parts:
                waiting.append(pool.submit(lambda part: [work(identity) for identity in part], part))
                if len(waiting) > _AHEAD * cores():
                    found = waiting.popleft().result()
                    yield from found
                    bar.update(len(found))
            while waiting:
                found = waiting.popleft().result()
                yield from found
                bar.update(len(found))
        finally:
            for one in waiting:
                one.cancel()
