"""Files and lists of a data set's folder, read without leaving it.

What cannot be used raises `Unusable`, so that a loader can report it and go on with the other files.
"""

from __future__ import annotations

import codecs
import math
import os
import re
import unicodedata
from difflib import get_close_matches
from pathlib import Path, PureWindowsPath

from PIL import Image

# Endings of images that Pillow reads; of two files with one name, that with the earlier ending is used.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jfif", ".jpe", ".jif", ".jfi", ".mpo")
SUFFIXES += (".ppm", ".pgm", ".pbm", ".pnm", ".dib", ".apng", ".jp2", ".j2k", ".jpx", ".j2c", ".avif")

# Endings that nobody takes for an image's, so that they need no sentence beside the images.
_BESIDE = (".txt", ".xml", ".json", ".csv", ".tsv", ".md", ".rst", ".yaml", ".yml", ".html", ".htm", ".log", ".py")
_BESIDE += (".ipynb", ".xmp", ".aae", ".lnk", ".url", ".ini", ".cfg", ".db", ".pickle", ".pkl", ".mat", ".lock")
_LITTER = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "@recycle", "#recycle", "#snapshot")
_LITTER += ("lost+found", "$recycle.bin", "recycler", "system volume information", "__pycache__", "icon\r")
_LITTER += ("network trash folder", "temporary items", "@__thumb")


class Unusable(Exception):
    """A file that no safe repair can save; the message completes the sentence "left out: ..."."""


# ---- names


def nfc(text: str) -> str:
    """A name with its letters composed (Unicode's NFC), in which names are compared.

    A Mac may write the name of a file decomposed, while a keyboard types it composed.

    Example:
        >>> nfc("Zu\\u0308rich") == "Z\\u00fcrich"
        True
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or one that operating systems and editors leave among the user's.

    Example:
        >>> [name for name in ("cat.jpg", "._cat.jpg", "Thumbs.db", "__MACOSX", "cat.jpg~") if is_litter(name)]
        ['._cat.jpg', 'Thumbs.db', '__MACOSX', 'cat.jpg~']
    """
    return name.startswith((".", "~$")) or name.endswith("~") or name.casefold() in _LITTER


def suffixes() -> tuple[str, ...]:
    """The endings of images that can be read, in lower case; of several files with one name, the earliest wins.

    Returns:
        SUFFIXES, and those of HEIC photographs once pillow-heif has registered itself with Pillow.

    Example:
        >>> suffixes()[:3]
        ('.jpg', '.jpeg', '.png')
    """
    return (*SUFFIXES, ".heic", ".heif", ".hif") if "HEIF" in Image.OPEN else SUFFIXES


def unread_endings(files: list[str]) -> list[tuple[int, str]]:
    """How many files have which ending, among those that are neither images that can be read nor lists and notes.

    Args:
        files: names or paths of files that have none of the endings in `suffixes`.

    Returns:
        (number of files, sentence) for each ending, sorted by it; files of text and the like are passed over.

    Example:
        >>> unread_endings(["a.raw", "b.RAW", "notes.txt"])
        [(2, '2 files with .raw left out: Pillow does not read them; save them as JPEG or PNG')]
    """
    counts: dict[str, int] = {}
    for file in files:
        ending = os.path.splitext(file)[1].lower()
        if ending not in _BESIDE:
            counts[ending] = counts.get(ending, 0) + 1
    sentences = []
    for ending, count in sorted(counts.items()):
        one = count == 1
        files_with = (
            f"{count} {'file' if one else 'files'} {f'with {ending}' if ending else 'without an ending'} left out"
        )
        mend = f"Pillow does not read {'it' if one else 'them'}; save {'it' if one else 'them'} as JPEG or PNG"
        if ending in (".heic", ".heif", ".hif"):
            mend += ", or install pillow-heif and call its register_heif_opener()"
        if not ending:
            mend = "rename images so that they end in .jpg or what they are"
        sentences.append((count, f"{files_with}: {mend}"))
    return sentences


# ---- paths


def as_on_disk(path: Path) -> Path:
    """A path, or the existing one that differs from it in nothing but the composition of its letters.

    Args:
        path: of a file or folder, as somebody wrote it.

    Returns:
        `path` itself if it exists, or if nothing like it does.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "Zu\\u0308rich").mkdir()
        ...     as_on_disk(Path(folder, "Z\\u00fcrich")).exists()
        True
    """
    if str(path).isascii() or os.path.lexists(path) or path.parent == path:
        return path
    parent = as_on_disk(path.parent)
    try:
        with os.scandir(parent) as entries:
            twins = sorted(entry.name for entry in entries if nfc(entry.name) == nfc(path.name))
    except OSError:
        return path
    return parent / twins[0] if twins else path


def nearest_path(path: Path) -> str:
    """The end of a sentence about a missing path: the nearest existing name, or what is missing.

    Example:
        >>> nearest_path(Path("/nowhere/birds"))
        ': the folder /nowhere does not exist'
    """
    if not os.path.isdir(path.parent):
        return f": the folder {path.parent} does not exist"
    there = {nfc(p.name): p.name for p in path.parent.iterdir()}
    found = get_close_matches(nfc(path.name), there, 1)
    return f': did you mean "{path.parent / there[found[0]]}"?' if found else ": check the spelling"


def leads_out(path: str) -> bool:
    """Whether a path of a list is not one inside its folder, on any system.

    Example:
        >>> leads_out("birds/1.jpg"), leads_out("../1.jpg"), leads_out("C:/1.jpg")
        (False, True, True)
    """
    there = PureWindowsPath(path)
    return bool(there.anchor) or ".." in there.parts or "\\" in path or not path.isprintable() or len(path) > 1000


def short_path(path: Path) -> str:
    """A path for a report: the file and its folder; of a list the folder above as well.

    Bytes of a name that are not UTF-8 become question marks, so that every path can be printed.

    Example:
        >>> short_path(Path("/data/voc/JPEGImages/cat.jpg")), short_path(Path("/data/voc/ImageSets/Main/train.txt"))
        ('JPEGImages/cat.jpg', 'ImageSets/Main/train.txt')
    """
    depth = 3 if path.suffix == ".txt" else 2
    return "/".join(path.parts[-depth:]).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


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
    if root is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
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
    path = as_on_disk(Path(folder).expanduser())
    if not os.path.isdir(path):  # False for a name too long for any folder, for which Path.is_dir raises
        raise FileNotFoundError(f"there is no folder {path}{nearest_path(path)}")
    return path


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """A data set's folder, and the folders of its images and masks if they are written behind it.

    Args:
        text: what follows the colon, such as "my/lists,images=/data/birds"; a folder that exists is taken as it is.

    Returns:
        The folder, and {"images": folder, "masks": folder} or a part of it.

    Raises:
        ValueError: if one of the two is written twice, or without a folder.

    Example:
        >>> split_options("my/lists,images=/data/a, b"), split_options("my/birds")
        (('my/lists', {'images': '/data/a, b'}), ('my/birds', {}))
    """
    folder, *options = [text] if os.path.isdir(text) else re.split(r",(?=(?:images|masks)=)", text)
    found: dict[str, str] = {}
    for option in options:
        name, _, path = option.partition("=")
        if name in found or not path.strip():
            raise ValueError(f'"{text}" must give {name}=FOLDER once: write FOLDER,images=FOLDER,masks=FOLDER')
        found[name] = path
    return folder, found


# ---- what a folder contains


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without those that are litter.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("dog", "cat", "__MACOSX"):
        ...         Path(folder, name).mkdir()
        ...     [each.name for each in folders_in(Path(folder))]
        ['cat', 'dog']
    """
    with os.scandir(folder) as entries:
        return sorted(folder / e.name for e in entries if not is_litter(e.name) and e.is_dir())


def files_in(folder: Path) -> list[Path]:
    """The files directly in a folder, sorted, without litter.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat.jpg", "._cat.jpg"):
        ...         _ = Path(folder, name).write_bytes(b"")
        ...     [each.name for each in files_in(Path(folder))]
        ['cat.jpg']
    """
    with os.scandir(folder) as entries:
        return sorted(folder / e.name for e in entries if not is_litter(e.name) and e.is_file())


def files_below(folder: Path, report: list[str]) -> list[str]:
    """The files in a folder and in all folders inside it, without litter; links to folders are not followed.

    Args:
        folder: where to look.
        report: gets one sentence for each folder that cannot be read.

    Returns:
        Paths, in no order.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in (".ipynb_checkpoints/1-checkpoint.jpg", "near/1.jpg"):
        ...         Path(folder, name).parent.mkdir()
        ...         _ = Path(folder, name).write_bytes(b"")
        ...     [Path(file).name for file in files_below(Path(folder), [])]
        ['1.jpg']
    """
    found, folders = [], [str(folder)]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if is_litter(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif (entry.is_symlink() and not os.path.exists(entry.path)) or entry.is_file():
                        found.append(entry.path)
        except OSError as error:
            report.append(f"{short_path(Path(here))}: left out: the folder cannot be read ({error.strerror})")
    return found


def contains_images(folder: Path) -> bool:
    """Whether images lie directly in a folder, and not only in folders inside it.

    Example:
        >>> contains_images(Path(__file__).parent)
        False
    """
    known = suffixes()
    with os.scandir(folder) as entries:
        return any(
            os.path.splitext(e.name)[1].lower() in known and not is_litter(e.name) and e.is_file() for e in entries
        )


def files_by_stem(folder: Path, suffixes: tuple[str, ...], others: list[str] | None = None) -> dict[str, str]:
    """The files of a folder that have one of these endings, by their names without it.

    Args:
        folder: the folder; folders inside it are not entered, and litter is passed over.
        suffixes: the endings, in lower case. Of several files with one stem, that with the earliest ending is taken.
        others: gets the names of the files with another ending.

    Returns:
        Stem (NFC) -> path, sorted by stem.

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
            if is_litter(entry.name) or not entry.is_file():
                continue
            stem = nfc(stem)
            if ending.lower() in suffixes:
                rank = suffixes.index(ending.lower())
                if stem not in found or (rank, entry.path) < found[stem]:
                    found[stem] = rank, entry.path
            elif others is not None:
                others.append(entry.name)
    return {stem: path for stem, (_, path) in sorted(found.items())}


# ---- lists


def decoded(data: bytes) -> str:
    """The text of a list, with its letters composed (`nfc`); bytes that are not UTF-8 become question marks.

    A byte-order mark says if it is UTF-16, which Windows' PowerShell writes.

    Example:
        >>> decoded("cat-1".encode("utf-16")), decoded(b"\\xef\\xbb\\xbfcat-1")
        ('cat-1', 'cat-1')
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return nfc(data.decode("utf-16" if wide else "utf-8-sig", "replace"))


def read_lines(file: Path) -> list[str]:
    """The lines of a text file, as `decoded` reads it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.txt").write_bytes(b"cat-1\\r\\ncat-2")
        ...     read_lines(Path(folder, "train.txt"))
        ['cat-1', 'cat-2']
    """
    return decoded(file.read_bytes()).splitlines()


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
