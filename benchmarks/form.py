"""The one form in which benchmarks write what they measured: rows in data/results/bench-NAME.json."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from importlib.metadata import version

import numpy as np
from numpy.typing import ArrayLike

from cambook import paths

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
DEVICE = f"{platform.machine()} CPU, {CORES} cores"


def rounded(value: float) -> float:
    """As it stands in the table, and as it is compared with what else stands there."""
    return float(f"{value:.4g}")


def row(what: str, values: ArrayLike, unit: str, aim: str | None = None, met: bool = False, why: str = "") -> dict:
    """One row of the table.

    values: (n,) repeated measurements: their median, and as low and high their quantiles 0.05 and 0.95; one has neither
    aim:    what was hoped for; met: whether value or interval reach it; why: read only where it is not met
    """
    values = np.atleast_1d(np.asarray(values, np.float64))
    low, high = np.quantile(values, [0.05, 0.95]) if len(values) > 1 else (None, None)
    value, low, high = (None if v is None else rounded(v) for v in (np.median(values), low, high))
    met = None if aim is None else bool(met)
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
        "device": DEVICE,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "rows": rows,
    }
    with paths.atomic_write(paths.DATA / "results" / f"bench-{name}.json") as file:
        file.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
