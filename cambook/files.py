"""Where the course keeps its data, cache and runs; and how a file is written whole or not at all."""

from __future__ import annotations

import glob
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
