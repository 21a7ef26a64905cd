"""How commands print paths and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from cambook.course.progress import Progress


def replace_unprintable() -> None:
    """From here on prints a question mark for what the screen's or the pipe's encoding lacks, instead of an error.

    cp949, in which a Korean Windows writes to a pipe, lacks the ü of a folder's name; stderr never fails.
    """
    with suppress(AttributeError):  # there is no stdout, or it is not the one that Python made
        sys.stdout.reconfigure(errors="replace")


def from_here(path: Path) -> str:
    """A path as the reader sees it from the current folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


class RunRow(NamedTuple):
    """The row of the table at the end for one notebook."""

    notebook: str
    seconds: str
    metrics: list[str]
    folder: str


def print_runs(rows: list[RunRow]) -> None:
    """Notebook, seconds, metrics recorded (one per line), where to look."""
    lines = [("notebook", "seconds", "metrics recorded", "where to look")]
    for row in rows:
        metrics = row.metrics or ["none"]
        lines += [(row.notebook, row.seconds, metrics[0], row.folder)]
        lines += [("", "", metric, "") for metric in metrics[1:]]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    lines.insert(1, tuple("-" * width for width in widths))
    for name, seconds, metric, folder in lines:
        row = f"{name:<{widths[0]}}  {seconds:>{widths[1]}}  {metric:<{widths[2]}}  {folder}"
        typer.echo(row.rstrip())


def print_progress(rows: Iterable[Progress]) -> None:
    """One line for each student: how many exercises are solved, in all and of each lesson that was begun."""
    for student, mine in groupby(rows, key=lambda row: row.student):
        mine = list(mine)
        begun = []
        for lesson, each in groupby(mine, key=lambda row: row.lesson):
            states = [row.state for row in each]
            if set(states) != {"not attempted"}:
                begun.append(f"{lesson} {states.count('solved')}/{len(states)}")
        solved, tried = (sum(row.state == state for row in mine) for state in ("solved", "tried"))
        detail = f"; by lesson {', '.join(begun)}" if begun else ""
        typer.echo(f"{student}: {solved} of {len(mine)} solved, {tried} tried{detail}")
