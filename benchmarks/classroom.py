"""The most memory that a student's kernel takes in each lesson, while a class shares the trained networks.

    python benchmarks/classroom.py FOLDER         all lessons; FOLDER is a cache that `cambook course` filled
    python benchmarks/classroom.py FOLDER 02 07   some of them

Each lesson runs as `cambook run` runs it, in a process of its own, with an empty cache beside the shared one. Its row
in data/results/classroom.csv is written when it ends: the peak of its kernel's resident memory, as the system counts
it for a process that has ended. A lesson that trains a network does not fit the cache, and is refused.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import form
import pandas as pd
import torch

from cambook import files
from cambook.cli import commands
from cambook.course import notebooks

RESULT = files.DATA / "results" / "classroom.csv"
COLUMNS = ["lesson", "peak_mb"]


def peak_of(lesson: Path) -> int:
    """Runs a lesson here, whose kernel is the only child of this process; its peak in MB."""
    notebooks.execute(lesson, {}, files.RUNS / lesson.stem, progress=False)
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6)


def measured(lesson: Path, shared: Path) -> int:
    """`peak_of` a lesson in a process of its own. raises: SystemExit if it trained a network"""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "CAMBOOK_CACHE_SHARED": str(shared)}
        environment |= {"CAMBOOK_CACHE": f"{home}/cache", "CAMBOOK_RUNS": f"{home}/runs"}
        command = [sys.executable, __file__, "--one", str(lesson)]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, encoding="utf-8")
        if made := sorted(path.name for path in Path(home).rglob("*.pt")):
            raise SystemExit(f"{lesson.stem} trained {made[0]}: fill the cache with this version and these threads.")
    return int(said.stdout.split()[-1])


def read() -> dict[str, int]:
    if not RESULT.exists():
        return {}
    table = files.read_table(RESULT, COLUMNS, dtype={"lesson": str})
    return dict(zip(table.lesson, table.peak_mb, strict=True))


def write(found: dict[str, int]) -> None:
    table = pd.DataFrame(sorted(found.items()), columns=COLUMNS)
    where = f"# {date.today()}, {form.device()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    with files.atomic_write(RESULT) as part:
        text = "# python benchmarks/classroom.py FOLDER\n" + where + table.to_csv(index=False, lineterminator="\n")
        part.write_text(text, encoding="utf-8", newline="\n")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--one"]:
        print(peak_of(Path(arguments[1])))
        return
    if not arguments or not Path(arguments[0]).is_dir():
        raise SystemExit("Name a folder: the cache that `CAMBOOK_CACHE=FOLDER cambook course` filled.")
    shared, *chosen = arguments
    for lesson in commands.lessons():
        number = lesson.stem[:2]
        if not chosen or number in chosen:
            peak = measured(lesson, Path(shared).absolute())
            print(f"{lesson.stem}: {peak} MB", flush=True)
            write(read() | {number: peak})


if __name__ == "__main__":
    main(sys.argv[1:])
