"""Recorded numbers of the papers' tables: ours and the published ones."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from cambook import files
from cambook.course.papers import published
from cambook.course.papers.measure import Measurements
from cambook.course.papers.tables import IMAGENET, PUBLISHED, SAME_DATA, Line, Row
from cambook.course.runs import Run
from cambook.files import read_table

# ---- ours beside published ----

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
    """Our recorded runs of a table, data/results/NAME.csv, one row a number; empty where nothing was recorded."""
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
    """Each number once: of one seed's runs of one setting the latest counts. ValueError where a column is missing."""
    missing = [column for column in COLUMNS if column not in results]
    if missing:
        raise ValueError(f"The results have no column {', '.join(missing)}: take them from experiments.results().")
    key = ["notebook", "profile", "dataset", "seed", "network", "source", "metric"]
    return results.sort_values("finished", kind="stable").drop_duplicates(key, keep="last")


def published_figure(row: Row, metric: str, dataset: str) -> pd.Series | None:
    """The published figure that stands beside a metric of a row, or None where the papers have none.

    Of figures on several data sets that on the same as ours, else that on ImageNet, else their mean, which says so.
    raises: KeyError where a line is in no file
    """
    found = [_lines_of(line, metric) for line in row.lines]
    lines = pd.concat(found) if found else pd.DataFrame(columns=published.COLUMNS)
    for same in (SAME_DATA.get(dataset.partition(":")[0], ()), IMAGENET):
        if lines["dataset"].isin(same).any():
            return lines[lines["dataset"].isin(same)].iloc[0]
    if len(lines) > 1:
        mean = {"value": round(lines["value"].mean(), 2), "dataset": f"the mean of {len(lines)} data sets"}
        return pd.Series(lines.iloc[0].to_dict() | mean | {"evidence": "derived"})
    return lines.iloc[0] if len(lines) else None


def _lines_of(line: Line, metric: str) -> pd.DataFrame:
    """The published figures of one line and metric, one for each data set; the first where a file has several."""
    rows = published.table(line.file)
    rows = rows[
        (rows["method"] == line.method) & rows["backbone"].isin([line.backbone] if line.backbone else rows["backbone"])
    ]
    if rows.empty:
        raise KeyError(f"data/published/{line.file}.csv has no method {line.method!r}, backbone {line.backbone}.")
    return rows[rows["metric"] == PUBLISHED.get(metric)].drop_duplicates("dataset")
