"""How commands print paths and tables."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import typer


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
