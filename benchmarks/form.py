"""The one form in which benchmarks write what they measured: rows in data/results/bench-NAME.json."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from datetime import date
from importlib.metadata import version

import numpy as np
from numpy.typing import ArrayLike

from cambook import files
from cambook.machine import cores, processor

CORES = cores()


def device() -> str:
    """The processor and how many of its cores are used."""
    return f"CPU {processor()}, {CORES} cores"


def row(
    what: str,
    values: ArrayLike,
    unit: str,
    aim: str | None = None,
    reached: Callable[[float], bool] | None = None,
    why: str = "",
) -> dict:
    """One row of the table.

    values: (n,) repeated measurements: their median, and as low and high their quantiles 0.05 and 0.95; one has neither
    aim:    what was hoped for; reached: whether the median, as the table has it, is that; why: read where it is not
    """
    values = np.atleast_1d(np.asarray(values, np.float64))
    low, high = np.quantile(values, [0.05, 0.95]) if len(values) > 1 else (None, None)
    value, low, high = (None if v is None else float(f"{v:.4g}") for v in (np.median(values), low, high))
    met = None if aim is None else bool(reached(value))
    found = {"what": what, "value": value, "low": low, "high": high, "unit": unit, "aim": aim, "met": met}
    found["why"] = why if met is False else None
    if met is False and not why:
        raise ValueError(f"{what}: the aim is not met, say why.")
    print(f"{what}: {value} {unit}" + ("" if low is None else f" ({low} to {high})"), flush=True)
    return found


def write(name: str, command: str, packages: list[str], rows: list[dict]) -> None:
    """Writes data/results/bench-NAME.json, whole or not at all."""
    table = {
        "command": command,
        "date": str(date.today()),
        "device": device(),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "rows": rows,
    }
    with files.atomic_write(files.DATA / "results" / f"bench-{name}.json") as file:
        file.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
