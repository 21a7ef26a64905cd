"""Writes the two tables of docs/lecturers.md: sessions, lessons, minutes as the lessons' titles state them, exercises.

python benchmarks/syllabus.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from cambook.cli.commands import lessons
from cambook.course.lessons import check
from cambook.course.lessons.check.task import Task
from cambook.course.reading import stated

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "lecturers.md"
HEAD = "| session | lessons | minutes | in class | homework |\n|---|---|---|---|---|\n"
PROJECT = "[own data](data.md) and the [final project](../notebooks/project.md)"
PLANS = {
    "Six": ("00 01 01b", "02 03 03b", "04 05 05b", "06 06b 07", "07b 08 09", "10 10b"),
    "Twelve": ("00", "01 01b", "02", "03 03b", "04", "05 05b", "06 06b", "07 07b", "08", "09", "10 10b", ""),
}
IN_CLASS = {"Six": 1, "Twelve": 2}  # exercises of a lesson; the others, and the open tasks, are homework


def numbered() -> dict[str, Path]:
    """The lessons' files by their number, 00 or 03b."""
    return {path.stem.partition("_")[0]: path for path in lessons()}


def table(plan: str) -> str:
    """A plan's table, whose last row counts."""
    paths, rows = numbered(), []
    sums = {"minutes": 0, "in class": 0, "homework": 0}
    for session, named in enumerate(PLANS[plan], 1):
        numbers = named.split()
        if not numbers:
            rows.append(f"| {session} | a data set of one's own | – | questions about the project | {PROJECT} |")
            continue
        links = ", ".join(f"[{number}](../notebooks/{paths[number].name})" for number in numbers)
        minutes = sum(stated(json.loads(paths[number].read_text(encoding="utf-8"))) for number in numbers)
        here, later = exercises(numbers, IN_CLASS[plan])
        after = f", {PROJECT}" if plan == "Six" and session == len(PLANS[plan]) else ""
        rows.append(f"| {session} | {links} | {minutes} min | {coded(here)} | {coded(later)}{after} |")
        for name, count in zip(sums, (minutes, len(here), len(later)), strict=True):
            sums[name] += count
    numbers = sorted(paths)
    counts = f"{sums['minutes']} min | {sums['in class']} exercises | {sums['homework']} exercises"
    return HEAD + "\n".join([*rows, f"| in all | {numbers[0]} to {numbers[-1]} | {counts} |"]) + "\n"


def exercises(numbers: Sequence[str], first: int) -> tuple[list[str], list[str]]:
    """The exercises of some lessons: the first ones of each, for the class, and the others, for homework."""
    here, later = [], []
    for number in numbers:
        own = [name for name, lesson in check.by_lesson().items() if lesson == number]
        tasks = [name for name in own if isinstance(check.EXERCISES[name], Task)]
        others = [name for name in own if name not in tasks]
        here += others[:first]
        later += others[first:] + tasks
    return here, later


def coded(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def with_tables(page: str) -> str:
    """The page with its tables made anew."""
    for plan in PLANS:
        page = re.sub(rf"(### {plan} sessions\n\n)(\|.*\n)+", lambda found, plan=plan: found[1] + table(plan), page)
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
