"""How long the course takes: writes data/results/course.csv, and from it what README, docs and lesson titles say.

    python benchmarks/course.py           two runs of the whole course, the first with an empty cache: idle machine
    python benchmarks/course.py --write   only the pages and titles, from the file

README.md and the titles have the seconds of each lesson, docs/results.md those of each training run, and
docs/classroom.md the minutes of the course. The minutes of reading beside them are counted by
cambook/course/reading.py.

Cold seconds are those of the first run, in which each lesson also trains what no lesson before it has trained; warm
seconds are those of the second. The rows of kind "training" are what the first run put into the cache. Where a lesson's
seconds go is read from the times that papermill leaves in the executed notebook, by the rule of `where_time_goes`; the
sums go into data/results/bench-course.json.
"""

from __future__ import annotations

import ast
import operator
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import form
import nbformat
import pandas as pd
import torch
import torchvision
from nbformat import NotebookNode

from cambook import files
from cambook.cli import commands
from cambook.course import reading, runs

RESULT = files.DATA / "results" / "course.csv"
README, PAGE, HUBS = (files.ROOT / name for name in ("README.md", "docs/results.md", "docs/classroom.md"))
BEGIN, END = "<!-- ledger -->\n", "<!-- end of ledger -->"
NOT_MEASURED = "–"  # in README, beside a lesson that the file does not have yet
PARTS = ("import", "training", "drawing", "rest")
AIMS = {"cold": 14, "warm": 7}  # minutes of the whole course at quick


class Trained(NamedTuple):
    """What a run put into the cache: the network, when it was written, and the seconds of its training."""

    name: str
    made: datetime
    seconds: float


def timed_course(cache: Path, folder: Path) -> dict[str, runs.Record]:
    """Runs the course in a process of its own; returns each lesson's record."""
    environment = {**os.environ, "CAMBOOK_CACHE": str(cache), "CAMBOOK_RUNS": str(folder)}
    subprocess.run([sys.executable, "-m", "cambook.cli", "course"], env=environment, check=True)
    return {lesson.stem: runs.Record.load(folder / lesson.stem) for lesson in commands.lessons()}


def trainings(cache: Path) -> list[Trained]:
    """What the course put into the cache, in order."""
    entries = []
    for entry in cache.glob("networks/*.pt"):
        found = files.load_whole(entry)
        name = ", ".join(filter(None, (found["determined_by"]["name"], found["describe"])))
        entries.append(Trained(name, datetime.fromtimestamp(entry.stat().st_mtime, UTC), found["seconds"]))
    return sorted(entries, key=lambda entry: entry.made)


def lesson_of(made: datetime, lessons: dict[str, runs.Record]) -> str:
    """The lesson that had begun last."""
    return max(name for name, record in lessons.items() if datetime.fromisoformat(record.started) <= made)


def number(lesson: str) -> str:
    """03b of 03b_several_objects."""
    return lesson.partition("_")[0]


def where_time_goes(executed: NotebookNode, whole: float, trained: list[Trained]) -> dict[str, float]:
    """Seconds of an executed lesson by PARTS, from the times papermill left in its cells; together they are the whole.

    whole:   seconds of the run, with the start and the end of the kernel
    training: those of the networks that were trained while a cell ran, taken out of that cell
    import:  the first cell that imports anything, which is the one that loads the libraries
    drawing: cells with a figure among their outputs, with what else they compute for it
    rest:    everything else: data, maps, evaluation, widgets, the kernel's start
    raises:  ValueError where a cell has no times: the notebook was not run by papermill to its end
    """
    parts = dict.fromkeys(PARTS, 0.0)
    imported = False
    for cell in executed.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        times = [cell.metadata.get("papermill", {}).get(name) for name in ("start_time", "end_time")]
        if not all(times):
            raise ValueError(f"cell {cell.id} has no start and end: give a notebook that `cambook course` ran.")
        began, ended = map(datetime.fromisoformat, times)
        took = (ended - began).total_seconds()
        spent = min(took, sum(one.seconds for one in trained if began <= one.made <= ended))
        parts["training"] += spent
        imports = any(isinstance(each, ast.Import | ast.ImportFrom) for each in ast.parse(cell.source).body)
        figure = any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {}))
        parts["import" if imports and not imported else "drawing" if figure else "rest"] += took - spent
        imported |= imports
    return parts | {"rest": whole - sum(parts[part] for part in PARTS[:-1])}


def measure() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        records, trained, parts = {}, [], {}
        for when in AIMS:
            records[when] = timed_course(cache, Path(scratch) / when)
            trained = trained or trainings(cache)
            for name, record in records[when].items():
                executed = nbformat.read(Path(scratch) / when / name / f"{name}.ipynb", as_version=4)
                parts[when, name] = where_time_goes(executed, record.seconds, trained)
    rows = [
        {"kind": "lesson", "name": name, "lesson": number(name)}
        | {f"{when}_seconds": records[when][name].seconds for when in AIMS}
        | {f"{when}_{part}": parts[when, name][part] for when in AIMS for part in PARTS}
        for name in records["cold"]
    ]
    for one in trained:
        lesson = number(lesson_of(one.made, records["cold"]))
        rows.append({"kind": "training", "name": one.name, "lesson": lesson, "cold_seconds": one.seconds})
    table = pd.DataFrame(rows).round(1)
    with files.atomic_write(RESULT) as file:
        file.write_text(
            f"# python benchmarks/course.py\n"
            f"# {date.today()}, {form.device()}, "
            f"python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}\n"
            + table.to_csv(index=False, lineterminator="\n"),
            encoding="utf-8",
        )
    write_bench(table)


def write_bench(table: pd.DataFrame) -> None:
    """The whole course beside its aims, and where its time goes, as data/results/bench-course.json."""
    lessons, rows = table[table.kind == "lesson"], []
    for when, aim in AIMS.items():
        minutes = {part: lessons[f"{when}_{part}"].sum() / 60 for part in PARTS}
        total = lessons[f"{when}_seconds"].sum() / 60
        longest = max(minutes, key=minutes.get)
        why = f"most of it is {longest}: {minutes[longest]:.1f} minutes"
        below = partial(operator.gt, aim)
        rows.append(form.row(f"whole course, {when}", total, "minutes", f"under {aim} minutes", below, why))
        rows += [form.row(f"whole course, {when}: {part}", value, "minutes") for part, value in minutes.items()]
    form.write("course", "python benchmarks/course.py", ["torch", "torchvision"], rows)


def seconds(value: float) -> str:
    """Seconds as README shows them: whole, to five above twenty, since machines differ by more than that."""
    return f"{5 * round(value / 5) if value > 20 else round(value)} s"


def ledger(table: pd.DataFrame) -> str:
    """The text of docs/results.md about time, from data/results/course.csv."""
    lessons, trained = (table[table.kind == kind] for kind in ("lesson", "training"))
    lines = ["| trained in | network | seconds |", "|---|---|---|"]
    lines += [f"| {row.lesson:0>2} | `{row['name']}` | {row.cold_seconds:.0f} |" for _, row in trained.iterrows()]
    lines += ["", f"All this training takes {trained.cold_seconds.sum() / 60:.1f} minutes. The first `make course`"]
    lines += [
        f"takes {lessons.cold_seconds.sum() / 60:.1f} minutes after set-up, later ones "
        f"{lessons.warm_seconds.sum() / 60:.1f} (two cores; `python benchmarks/course.py`)."
    ]
    return "\n".join(lines)


def title_with_seconds(title: str, warm_seconds: float) -> str:
    """The first cell of a lesson, with its seconds in "it runs in 45 seconds"."""
    whole = seconds(warm_seconds).removesuffix(" s")
    title, found = re.subn(r"(it runs in )\d+( seconds)", rf"\g<1>{whole}\2", title)
    if found != 1:
        raise SystemExit(f"{title.splitlines()[0]}: say there 'it runs in 45 seconds'.")
    return title


def title_with_minutes(title: str, minutes: int) -> str:
    """The first cell of a lesson, with the minutes in "**About 35 minutes** to read and work through"."""
    return reading.STATED.sub(lambda found: found[0].replace(found[1], str(minutes), 1), title)


def write_titles(table: pd.DataFrame) -> None:
    """The seconds of every lesson that was measured, and the minutes of every lesson, which `reading` counts."""
    seconds_of = table[table.kind == "lesson"].set_index("name").warm_seconds
    for path in commands.lessons():
        notebook = nbformat.read(path, as_version=4)
        title = title_with_minutes(notebook.cells[0].source, minutes_of(path))
        if path.stem in seconds_of:
            title = title_with_seconds(title, seconds_of[path.stem])
        if title != notebook.cells[0].source:
            notebook.cells[0].source = title
            with files.atomic_write(path) as part:
                nbformat.write(notebook, part)


def minutes_of(lesson: Path) -> int:
    """How many minutes a lesson takes to read and to work through, as its title says them."""
    return reading.rounded(reading.minutes(nbformat.read(lesson, as_version=4)))


def with_times(readme: str, table: pd.DataFrame, lessons: Mapping[str, int]) -> str:
    """The README with each lesson's minutes and seconds in its table of lessons; a dash for one not measured yet.

    lessons: the minutes of each
    """
    measured = table[table.kind == "lesson"].set_index("name").warm_seconds
    for name, minutes in lessons.items():
        line = re.compile(rf"^(\| \[[^|]*\(notebooks/{name}\.ipynb\) \|)[^|]*\|[^|]*\|", re.MULTILINE)
        shown = seconds(measured[name]) if name in measured else NOT_MEASURED
        readme, found = line.subn(rf"\1 {minutes} min | {shown} |", readme)
        if found != 1:
            raise SystemExit(f"README.md has {found} rows for {name} in its table of lessons: give it one.")
    return readme


def with_ledger(page: str, table: pd.DataFrame) -> str:
    """docs/results.md with the seconds of each training run between its two marks; SystemExit without the marks."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(
            f"{PAGE.name} needs one line {BEGIN.strip()} and one line {END}: the seconds stand between them."
        )
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{ledger(table)}\n{END}{rest.partition(END)[2]}"


def with_minutes(page: str, table: pd.DataFrame) -> str:
    """docs/classroom.md with the minutes of the course, cold and warm, in the sentence that says them."""
    lessons, trained = (table[table.kind == kind] for kind in ("lesson", "training"))
    said = r"(takes )\d+( minutes the first time, of which )\d+( go into training, and )\d+( minutes the second)"
    first, training, second = (
        round(seconds.sum() / 60) for seconds in (lessons.cold_seconds, trained.cold_seconds, lessons.warm_seconds)
    )
    page, found = re.subn(said, rf"\g<1>{first}\g<2>{training}\g<3>{second}\g<4>", page)
    if found != 1:
        raise SystemExit(f"{HUBS.name}: say 'takes 1 minutes the first time, of which 1 go into training, and 1 ...'.")
    return page


def write_pages(table: pd.DataFrame) -> None:
    """README.md, two pages of docs and the lessons' titles; SystemExit where a page lacks its row or marks."""
    minutes = {lesson.stem: minutes_of(lesson) for lesson in commands.lessons()}
    pages = {
        README: with_times(README.read_text(encoding="utf-8"), table, minutes),
        PAGE: with_ledger(PAGE.read_text(encoding="utf-8"), table),
        HUBS: with_minutes(HUBS.read_text(encoding="utf-8"), table),
    }
    for page, text in pages.items():
        with files.atomic_write(page) as part:
            part.write_text(text, encoding="utf-8")
    write_titles(table)


if __name__ == "__main__":
    if "--write" not in sys.argv[1:]:
        measure()
    write_pages(runs.recorded("course"))
