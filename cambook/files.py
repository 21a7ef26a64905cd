"""Folders, tables, and files that are written whole or not at all.

Where things are: `ROOT`, `DATA`, `NOTEBOOKS`, `CACHE` and `RUNS`, of which CAMBOOK_HOME, CAMBOOK_CACHE and CAMBOOK_RUNS
name others. In a clone they lie in it. An installed package brings `DATA` and `NOTEBOOKS` along, to be read alone, and
writes to the user's cache and to runs/ in the folder where it is called. CAMBOOK_CACHE_SHARED names a second cache,
which a class shares and nobody writes to; `cached` finds what is in either. What is read: `data_file` and `read_table`.
What is written: `atomic_write`, and for networks `save_whole` and `load_whole`.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# ---- folders ----


def _folder(variable: str, default: Path) -> Path:
    """The folder that an environment variable names, or the default if it is unset or empty."""
    return Path(os.environ.get(variable) or default).expanduser().absolute()


def _user_cache() -> Path:
    """Where the operating system keeps what this user's programs can make again."""
    import platformdirs  # here, since a clone does without

    return platformdirs.user_cache_path("cambook", appauthor=False)


RESOURCES = Path(__file__).resolve().parent / "resources"  # only a wheel has it: data/ and notebooks/ as they were
INSTALLED = RESOURCES.is_dir() and not os.environ.get("CAMBOOK_HOME")  # not in a clone: nothing is written to ROOT
ROOT = RESOURCES if INSTALLED else _folder("CAMBOOK_HOME", Path(__file__).resolve().parents[1])
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
LESSONS = "[0-9][0-9]*_*.ipynb"  # 03_class_activation_map, 03b_several_objects, in reading order
CACHE = _folder("CAMBOOK_CACHE", _user_cache() if INSTALLED else DATA / "cache")
SHARED = _folder("CAMBOOK_CACHE_SHARED", CACHE) if os.environ.get("CAMBOOK_CACHE_SHARED") else None  # never written
RUNS = _folder("CAMBOOK_RUNS", Path("runs") if INSTALLED else ROOT / "runs")
RUN_DIR = "CAMBOOK_RUN_DIR"  # in the environment of a run's kernel: the folder of its record
A_DAY = 24 * 3600  # seconds; nobody writes to a file that was not touched for so long


def data_file(*parts: str) -> Path:
    """The path of a file that comes with the repository, below its data/ folder.

    Args:
        parts: Folders and name below data/, one argument each.

    Returns:
        The absolute path of an existing file or folder.

    Raises:
        FileNotFoundError: It is missing, as in a package that was built or copied without it.

    Example:
        >>> data_file("scenes", "classes.csv").relative_to(DATA).as_posix()
        'scenes/classes.csv'
    """
    path = DATA.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: install cambook again (`pip install --force-reinstall --no-deps cambook`; in a clone "
            "`pip install -e .`), or set CAMBOOK_HOME to a clone's folder."
        )
    return path


def cached(*parts: str) -> list[Path]:
    """Where something in the cache can be read: in the user's own, in the one a class shares.

    This is the only way in which anything looks for `SHARED`; what is made goes to `CACHE`.

    Args:
        parts: Folders and name below the cache, one argument each; none for the caches themselves.

    Returns:
        The existing paths, at most two. One in the shared cache that may not be read is left out, with a warning.

    Raises:
        FileNotFoundError: CAMBOOK_CACHE_SHARED names a folder that is not there or may not be read.

    Example:
        >>> import tempfile
        >>> from unittest.mock import patch
        >>> with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as shared:
        ...     Path(shared, "networks").mkdir()
        ...     with patch("cambook.files.CACHE", Path(own)), patch("cambook.files.SHARED", Path(shared)):
        ...         cached("networks") == [Path(shared, "networks")]
        True
    """
    found = [own] if (own := CACHE.joinpath(*parts)).exists() else []
    if SHARED in (None, CACHE):
        return found
    if not os.access(SHARED, os.R_OK | os.X_OK) or not SHARED.is_dir():
        raise FileNotFoundError(
            f"CAMBOOK_CACHE_SHARED names {SHARED}, which is not a folder that can be read here: mount it, correct the "
            "variable or unset it."
        )
    shared = SHARED.joinpath(*parts)
    try:
        shared.stat()
        readable = os.access(shared, os.R_OK)
    except (FileNotFoundError, NotADirectoryError):
        return found
    except PermissionError:
        readable = False
    if readable:
        return [*found, shared]
    if not found:
        warnings.warn(f"{shared} may not be read by this user: it is made again in {CACHE}.", stacklevel=2)
    return found


# ---- tables ----


def read_table(path: Path, columns: Sequence[str] = (), numbers: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """The table in a CSV file, without its remarks: the lines that begin with #.

    Args:
        path: A CSV file in UTF-8 whose first line names the columns.
        columns: Names of the columns that the file must have.
        numbers: Those of them that must contain a finite number in every row; they become float columns.
        options: Passed on to pandas.read_csv.

    Returns:
        The rows in the file's order.

    Raises:
        ValueError: A column is missing, a cell of `numbers` is not a finite number, or the file is not a table.

    Example:
        >>> read_table(data_file("scenes", "classes.csv"), ["class", "name"]).name.head(2).tolist()
        ['mouse', 'cow']
    """
    import numpy as np
    import pandas as pd  # here, since it takes half a second

    mend = "restore the file from the repository, or make it again"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        table = pd.read_csv(io.StringIO("".join(line for line in lines if not line.startswith("#"))), **options)
    except (ValueError, pd.errors.ParserError) as error:  # not UTF-8, an empty file, a row that is too long
        raise ValueError(f"{path} is not a table ({str(error).strip().splitlines()[0]}): {mend}.") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path} has rows with more cells than its first line has names: {mend}.")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}: {mend}.")
    for column in numbers:
        found = pd.to_numeric(table[column], errors="coerce").astype(float)
        if not (finite := np.isfinite(found)).all():
            row = int(finite.argmin())
            raise ValueError(
                f"{path}, row {row + 1}: {column} is {table[column].iloc[row]!r}, which is not a number: {mend}."
            )
        table[column] = found
    return table


# ---- files that are whole or not there ----


def check_writable(folder: str | os.PathLike) -> None:
    """Lets pass what can be written to; to be called before long work whose results go there.

    Args:
        folder: Made if it is missing.

    Raises:
        PermissionError: No file can be written there.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     try:
        ...         check_writable(Path(file.name, "runs"))
        ...     except PermissionError as error:
        ...         print(str(error).removeprefix(file.name))
        /runs cannot be written to (Not a directory): give a folder that can.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        places = {"CAMBOOK_CACHE": CACHE, "CAMBOOK_RUNS": RUNS}
        named = [name for name, place in places.items() if folder.absolute().is_relative_to(place)]
        mend = f"set {named[0]} to a folder" if named else "give a folder"
        raise PermissionError(f"{folder} cannot be written to ({error.strerror}): {mend} that can.") from None


def halves(path: str | os.PathLike) -> list[Path]:
    """The unfinished writes of a file by `atomic_write`: going on, or left by killed processes.

    Args:
        path: The file that was to appear.

    Returns:
        Its temporary siblings, in no order.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, atomic_write(Path(folder, "note.txt")) as part:
        ...     _ = part.write_text("half of", encoding="utf-8")
        ...     halves(Path(folder, "note.txt")) == [part]
        True
    """
    path = Path(path)
    return list(path.parent.glob(f".{glob.escape(path.stem)}.{'[0-9a-f]' * 8}{glob.escape(path.suffix)}"))


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary sibling of a file to write to, which takes its name at the end of the block.

    Readers of `path` see the old file or the new one, never a part. On an error the sibling is removed and `path` is as
    it was. Missing folders are made. What a killed process left is removed by the first write to `path` a day later.

    Args:
        path: The file that is to appear, or to be replaced.

    Returns:
        A context manager; its value is the path to write to, with the ending of `path`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder, "a", "note.txt")) as part:
        ...         _ = part.write_text("whole", encoding="utf-8")
        ...     Path(folder, "a", "note.txt").read_text(encoding="utf-8")
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in halves(path):
        with suppress(OSError):  # another process was quicker, or may not
            if time.time() - left.stat().st_mtime > A_DAY:
                left.unlink()
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        move(temporary, path)
    finally:
        with suppress(PermissionError):  # Windows, if what failed has not closed it; a later write removes it
            temporary.unlink(missing_ok=True)


def move(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Give a file or folder another name on the same disk; a file that has it is replaced.

    Windows refuses that as long as a program has one of the two open, which a virus scanner does with a new file for a
    moment. So there it is tried again for a second and a half.

    Args:
        source: What is there.
        target: The name it gets; a folder must not have it yet.

    Raises:
        OSError: It cannot be done, as without the right to write there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "part").touch()
        ...     move(Path(folder, "part"), Path(folder, "whole"))
        ...     os.listdir(folder)
        ['whole']
    """
    for seconds in (0.05, 0.1, 0.2, 0.4, 0.8, None):
        try:
            return os.replace(source, target)
        except PermissionError as error:
            if seconds is None or getattr(error, "winerror", None) not in (5, 32):  # access denied, sharing violation
                raise
        time.sleep(seconds)


def save_whole(state: dict, path: Path) -> str:
    """Write tensors and plain values by torch.save, with a checksum in front and never in part.

    Args:
        state: What `torch.load(weights_only=True)` can read again: tensors, numbers, strings, lists, dictionaries.
        path: The file, which appears or is replaced at once.

    Returns:
        The SHA-256 of the saved bytes, 64 hexadecimal digits, with which the file begins.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     digest = save_whole({"epochs": 3}, Path(folder, "a.pt"))
        ...     len(digest), load_whole(Path(folder, "a.pt"))
        (64, {'epochs': 3})
    """
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    with atomic_write(path) as part:
        part.write_bytes(digest.encode() + buffer.getbuffer())
    return digest


def load_whole(path: Path) -> dict | None:
    """Read what `save_whole` wrote, its tensors on the CPU; nothing in the file is executed.

    Args:
        path: The file.

    Returns:
        The dictionary that was saved; None if there is no such file. None, too, if the file is damaged or does not come
        from `save_whole`, which a warning then says.

    Example:
        >>> load_whole(Path("no such file.pt")) is None
        True
    """
    import torch

    if not path.is_file():
        return None
    content = path.read_bytes()
    if content[:64] != hashlib.sha256(content[64:]).hexdigest().encode():
        warnings.warn(f"{path} is damaged (its checksum differs): it is left aside and made again.", stacklevel=2)
        return None
    try:
        found = torch.load(io.BytesIO(content[64:]), map_location="cpu", weights_only=True)
    except Exception:  # the checksum is right, and yet the file does not come from save_whole
        found = None
    if not isinstance(found, dict):
        warnings.warn(f"{path} contains more than weights, or none: it is left aside and made again.", stacklevel=2)
        return None
    return found
