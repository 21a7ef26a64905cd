"""How long the course takes: writes data/results/course.csv, and from it the seconds in README and lesson titles.

    python benchmarks/course.py           two runs of the whole course, the first with an empty cache: idle machine
    python benchmarks/course.py --write   only README and titles, from the file

Cold seconds are those of the first run, in which each lesson also trains what no lesson before it has trained; warm
seconds are those of the second. The rows of kind "training" are what the first run put into the cache.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import nbformat
import pandas as pd
import torch
import torchvision

from cambook import cli, paths, runs, training

RESULT = paths.DATA / "results" / "course.csv"
README = paths.ROOT / "README.md"


def timed_course(cache: Path, folder: Path) -> dict[str, runs.Record]:
    """Runs the course in a process of its own; returns each lesson's record."""
    environment = {**os.environ, "CAMBOOK_CACHE": str(cache), "CAMBOOK_RUNS": str(folder)}
    subprocess.run([sys.executable, "-m", "cambook.cli", "course"], env=environment, check=True)
    return {lesson.stem: runs.Record.load(folder / lesson.stem) for lesson in cli.lessons()}


def trainings(cache: Path, lessons: dict[str, runs.Record]) -> list[dict]:
    """What the course put into the cache, in order: the network, its seconds, and the lesson it was trained in."""
    rows = []
    for entry in sorted(cache.glob("networks/*.pt"), key=lambda path: path.stat().st_mtime):
        made = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
        lesson = max(name for name, record in lessons.items() if datetime.fromisoformat(record.started) <= made)
        found = training.load_whole(entry)
        name = ", ".join(filter(None, (found["determined_by"]["name"], found["describe"])))
        rows.append({"kind": "training", "name": name, "lesson": lesson[:2], "cold_seconds": found["seconds"]})
    return rows


def measure() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        cold = timed_course(cache, Path(scratch) / "cold")
        trained = trainings(cache, cold)
        warm = timed_course(cache, Path(scratch) / "warm")
    rows = [
        {
            "kind": "lesson",
            "name": name,
            "lesson": name[:2],
            "cold_seconds": cold[name].seconds,
            "warm_seconds": warm[name].seconds,
        }
        for name in cold
    ]
    table = pd.DataFrame(rows + trained).round(1)
    with paths.atomic_write(RESULT) as file:
        file.write_text(
            f"# python benchmarks/course.py\n"
            f"# {date.today()}, {platform.machine()} CPU, {torch.get_num_threads()} threads, "
            f"python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}\n"
            + table.to_csv(index=False)
        )


def seconds(value: float) -> str:
    """Seconds as the README shows them: whole, to five above twenty, since machines differ by more than that."""
    return f"{5 * round(value / 5) if value > 20 else round(value)} s"


def ledger(table: pd.DataFrame) -> str:
    """The README's text about time, from data/results/course.csv."""
    lessons, trained = (table[table.kind == kind] for kind in ("lesson", "training"))
    lines = ["| trained in | network | seconds |", "|---|---|---|"]
    lines += [f"| {row.lesson:02} | `{row['name']}` | {row.cold_seconds:.0f} |" for _, row in trained.iterrows()]
    lines += ["", f"All trainings together: {trained.cold_seconds.sum() / 60:.1f} minutes. The first `make course`"]
    lines += [
        f"takes {lessons.cold_seconds.sum() / 60:.1f} minutes after set-up, later ones "
        f"{lessons.warm_seconds.sum() / 60:.1f} (two cores; `python benchmarks/course.py`)."
    ]
    return "\n".join(lines)


def title_with_seconds(title: str, warm_seconds: float) -> str:
    """The first cell of a lesson, with its seconds in "In 16 minutes of reading and 45 seconds of running"."""
    whole = seconds(warm_seconds).removesuffix(" s")
    title, found = re.subn(r"(minutes of reading and )\d+( seconds of running)", rf"\g<1>{whole}\2", title)
    if found != 1:
        raise SystemExit(f"{title.splitlines()[0]}: begin with 'In 16 minutes of reading and 45 seconds of running'.")
    return title


def write_titles(table: pd.DataFrame) -> None:
    for _, row in table[table.kind == "lesson"].iterrows():
        path = paths.NOTEBOOKS / f"{row['name']}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source = title_with_seconds(notebook.cells[0].source, row.warm_seconds)
        with paths.atomic_write(path) as part:
            nbformat.write(notebook, part)


def with_times(readme: str, table: pd.DataFrame) -> str:
    """The README with the seconds of the file: in the lessons' table, and between the marks of the ledger."""
    for _, row in table[table.kind == "lesson"].iterrows():
        line = re.compile(rf"^(\| \[[^|]*\(notebooks/{row['name']}\.ipynb\) \|[^|]*\|)[^|]*\|", re.MULTILINE)
        readme, found = line.subn(rf"\1 {seconds(row.warm_seconds)} |", readme)
        if found != 1:
            raise SystemExit(f"README.md has {found} rows for {row['name']} in its table of lessons: give it one.")
    before, _, rest = readme.partition("<!-- ledger -->\n")
    _, _, after = rest.partition("<!-- end of ledger -->")
    return f"{before}<!-- ledger -->\n{ledger(table)}\n<!-- end of ledger -->{after}"


if __name__ == "__main__":
    if "--write" not in sys.argv[1:]:
        measure()
    measured = runs.recorded("course")
    write_titles(measured)
    text = with_times(README.read_text(encoding="utf-8"), measured)
    with paths.atomic_write(README) as part:
        part.write_text(text, encoding="utf-8")
