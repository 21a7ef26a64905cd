"""Folders, tables, and files that are written whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().absolute()


ROOT = _folder("CAMBOOK_HOME", Path(__file__).resolve().parents[1])
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
CACHE = _folder("CAMBOOK_CACHE", DATA / "cache")
RUNS = _folder("CAMBOOK_RUNS", ROOT / "runs")
RUN_DIR = "CAMBOOK_RUN_DIR"  # in the environment of a run's kernel: the folder of its record
A_DAY = 24 * 3600  # seconds; nobody writes to a file that was not touched for so long


def data_file(*parts: str) -> Path:
    """The file data/PARTS of the repository, for instance data_file("scenes", "classes.csv").

    raises: FileNotFoundError where it is missing, as after an installation without the repository
    """
    path = DATA.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: cambook reads the data/ folder of its repository, so install it from there "
            "with `pip install -e .`, or set CAMBOOK_HOME to the repository's folder."
        )
    return path


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary sibling of `path` to write to: it becomes `path` at the end, and is removed on an error.

    Readers of `path` see the old file or the new one, never a part; missing folders are made. What a killed process
    left is removed by the first write to `path` a day later.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.stem)}.{'[0-9a-f]' * 8}{glob.escape(path.suffix)}"):
        with suppress(OSError):  # another process was quicker, or may not
            if time.time() - left.stat().st_mtime > A_DAY:
                left.unlink()
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_table(path: Path, columns: Sequence[str] = (), numbers: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """The table in a CSV file, without its remarks, the lines that begin with #.

    columns: those that it must have; numbers: those of them that must hold a finite number in every row
    options: of pandas.read_csv
    raises:  ValueError where a column is missing, a cell of `numbers` is none, or the file is no table
    """
    import numpy as np
    import pandas as pd  # here, since it takes half a second

    mend = "restore the file from the repository, or make it again"
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        table = pd.read_csv(io.StringIO("".join(line for line in lines if not line.startswith("#"))), **options)
    except (ValueError, pd.errors.ParserError) as error:  # no UTF-8, an empty file, a row that is too long
        raise ValueError(f"{path} is no table ({str(error).strip().splitlines()[0]}): {mend}.") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path} has rows with more cells than its first line has names: {mend}.")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}: {mend}.")
    for column in numbers:
        found = pd.to_numeric(table[column], errors="coerce").astype(float)
        if not (finite := np.isfinite(found)).all():
            row = int(finite.argmin())
            raise ValueError(f"{path}, row {row + 1}: {column} is {table[column].iloc[row]!r}, no number: {mend}.")
        table[column] = found
    return table


# ---- files that are whole or not there ----


def save_whole(state: dict, path: Path) -> str:
    """torch.save with the bytes' SHA-256 in front, under a name that appears at once; returns the SHA-256."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    with atomic_write(path) as part:
        part.write_bytes(digest.encode() + buffer.getbuffer())
    return digest


def load_whole(path: Path) -> dict | None:
    """What save_whole wrote; None where there is no such file, or where it is damaged, which is said in a warning."""
    import torch

    if not path.is_file():
        return None
    content = path.read_bytes()
    if content[:64] != hashlib.sha256(content[64:]).hexdigest().encode():
        warnings.warn(f"{path} is damaged (its checksum differs): it is left aside and made again.", stacklevel=2)
        return None
    try:
        found = torch.load(io.BytesIO(content[64:]), map_location="cpu", weights_only=True)
    except Exception:  # a right checksum, and not from save_whole all the same
        found = None
    if not isinstance(found, dict):
        warnings.warn(f"{path} holds more than weights, or none: it is left aside and made again.", stacklevel=2)
        return None
    return found
