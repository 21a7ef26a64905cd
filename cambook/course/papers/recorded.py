"""Our numbers for the papers' tables: those recorded before, and those of this run."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from cambook import files
from cambook.course.papers.measure import Measurements
from cambook.course.runs import Run
from cambook.files import read_table

THIS_RUN = "this run"
COLUMNS = (
    "run",
    "notebook",
    "profile",
    "dataset",
    "seed",
    "network",
    "source",
    "metric",
    "value",
    "device",
    "finished",
)


def recorded_runs(name: str) -> pd.DataFrame:
    """Our recorded runs of a table, data/results/NAME.csv, one row per number; empty if nothing was recorded."""
    path = files.DATA / "results" / f"{name}.csv"
    return read_table(path, COLUMNS, ["value"]) if path.is_file() else pd.DataFrame(columns=COLUMNS)


def results(name: str, run: Run, found: Measurements) -> pd.DataFrame:
    """The recorded runs of a table together with this run, in place of a recorded one of the same setting and seed."""
    about = {"run": THIS_RUN, "notebook": name, "profile": run.profile, "seed": run.seed, "device": run.device.type}
    about |= {"dataset": run.parameters.portable()["dataset"], "finished": datetime.now(UTC).isoformat()}
    rows = []
    for key, value in found.values.items():
        rows.append(about | found.measured[key].model_dump() | {"value": value})
    now = pd.DataFrame(rows, columns=COLUMNS)
    before = recorded_runs(name)
    return latest(pd.concat([before, now]) if len(before) else now)


def latest(results: pd.DataFrame) -> pd.DataFrame:
    """Each number once: of one seed's runs of one setting the latest counts. ValueError if a column is missing."""
    missing = [column for column in COLUMNS if column not in results]
    if missing:
        raise ValueError(
            f"The results have no column {', '.join(missing)}: take them from cambook.course.results.collect()."
        )
    key = ["notebook", "profile", "dataset", "seed", "network", "source", "metric"]
    return results.sort_values("finished", kind="stable").drop_duplicates(key, keep="last")
