"""Files and lists of a data set's folder, read without leaving it.

What cannot be used raises `Unusable`, so that a loader can report it and go on with the other files.
"""

from __future__ import annotations

import math
import os
from difflib import get_close_matches
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")  # of images; the first wins


class Unusable(Exception):
    """A file that no safe repair can save; the message completes the sentence "left out: ..."."""


# ---- paths


def nearest_path(path: Path) -> str:
    """The end of a sentence about a missing path: the nearest existing name, or what is missing.

    Example:
        >>> nearest_path(Path("/nowhere/birds"))
        ': the folder /nowhere does not exist'
    """
    if not os.path.isdir(path.parent):
        return f": the folder {path.parent} does not exist"
    found = get_close_matches(path.name, [p.name for p in path.parent.iterdir()], 1)
    return f': did you mean "{path.parent / found[0]}"?' if found else ": check the spelling"


def short_path(path: Path) -> str:
    """A path for a report: the file and its folder; of a list the folder above as well.

    Example:
        >>> short_path(Path("/data/voc/JPEGImages/cat.jpg")), short_path(Path("/data/voc/ImageSets/Main/train.txt"))
        ('JPEGImages/cat.jpg', 'ImageSets/Main/train.txt')
    """
    depth = 3 if path.suffix == ".txt" else 2
    return "/".join(path.parts[-depth:])


def read_inside(path: Path, root: Path | None) -> bytes:
    """The contents of a file.

    Args:
        path: the file.
        root: the folder that the path, and what it links to, must lie in; None if it may lie anywhere.

    Raises:
        Unusable: if the file cannot be read, or lies outside.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.txt").write_bytes(b"cat-1")
        ...     read_inside(Path(folder, "train.txt"), Path(folder))
        b'cat-1'
    """
    if root is not None and not path.resolve().is_relative_to(root.resolve()):
        raise Unusable(f"{short_path(path)} is a link that leaves the folder")
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"{short_path(path)} cannot be read ({error.strerror})") from error


def existing_folder(folder: str | Path) -> Path:
    """The path of a folder that must exist.

    Raises:
        FileNotFoundError: if there is no such folder, with the nearest existing name.

    Example:
        >>> existing_folder("/nowhere/birds")
        Traceback (most recent call last):
        FileNotFoundError: there is no folder /nowhere/birds: the folder /nowhere does not exist
    """
    path = Path(folder).expanduser()
    if not os.path.isdir(path):  # False for a name too long for any folder, for which Path.is_dir raises
        raise FileNotFoundError(f"there is no folder {path}{nearest_path(path)}")
    return path


# ---- what a folder contains


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """The files of a folder that have one of these endings, by their names without it.

    Args:
        folder: the folder; folders inside it are not entered.
        suffixes: the endings, in lower case. Of several files with one stem, that with the earliest ending is taken.

    Returns:
        Stem -> path, sorted by stem.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.png", "a.png", "a.jpg", "a.txt"):
        ...         _ = Path(folder, name).write_bytes(b"")
        ...     [Path(file).name for file in files_by_stem(Path(folder), SUFFIXES).values()]
        ['a.jpg', 'b.png']
    """
    found: dict[str, tuple[int, str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, ending = os.path.splitext(entry.name)
            if ending.lower() in suffixes and entry.is_file():
                rank = suffixes.index(ending.lower())
                if stem not in found or rank < found[stem][0]:
                    found[stem] = rank, entry.path
    return {stem: path for stem, (_, path) in sorted(found.items())}


# ---- lists


def read_lines(file: Path) -> list[str]:
    """The lines of a text file; bytes that are not UTF-8 become question marks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.txt").write_bytes(b"cat-1\\r\\ncat-2")
        ...     read_lines(Path(folder, "train.txt"))
        ['cat-1', 'cat-2']
    """
    return file.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def read_numbers(text: str) -> tuple[float, ...]:
    """The numbers of a line; empty if one of its words is not a finite number.

    Example:
        >>> read_numbers("1 2.5"), read_numbers("1 x"), read_numbers("1 nan")
        ((1.0, 2.5), (), ())
    """
    try:
        found = tuple(map(float, text.split()))
    except ValueError:
        return ()
    return found if all(map(math.isfinite, found)) else ()
