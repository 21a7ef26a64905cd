"""The numbers of all runs in one table, its summary over seeds, and both written for readers."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cambook import files
from cambook.course import runs

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("run", "sweep", "notebook", "profile", "dataset", "seed", "network", "source", "metric", "value", "device")
COLUMNS += ("finished", "image", "epochs", "learning_rate")
SETTING = ("notebook", "profile", "dataset", "image", "epochs", "learning_rate", "network", "source", "metric")


def _records(folder: Path) -> Iterator[tuple[str, str, runs.Record]]:
    """(run, sweep, record) of each record that belongs to a run of `cambook sweep` or of `cambook run`."""
    for file in sorted(
        {*folder.glob("*/record.json"), *folder.glob("*/*/record.json"), *folder.glob("sweeps/*/*/record.json")}
    ):
        place = file.parent
        in_sweep = place.parents[1].name == "sweeps"
        if place.name.startswith("."):  # an attempt
            continue
        try:
            record = runs.Record.load(place)
        except (OSError, ValueError):
            warnings.warn(f"{file} is damaged and left out.", stacklevel=3)
            continue
        if in_sweep:
            yield place.name, place.parent.name, record
        elif record.notebook in (place.name, place.parent.name):
            yield place.relative_to(folder).as_posix(), "", record


def collect(folder: str | os.PathLike | None = None) -> pd.DataFrame:
    """Every number of every finished run, one row per metric of a run.

    folder:  RUNS (by default), or one sweep's folder
    returns: columns run, sweep, notebook, profile, dataset, seed, network, source, metric, value, device, finished,
             image, epochs, learning_rate. Of a number recorded without a network, the network is the run's parameter
             and the source `-`. If one seed measured one thing several times, in two sweeps for instance, the latest
             counts.
    Interactive runs, which have no end, unfinished and failed ones are left out. Two folders of images with one name
    are distinguished by a digest behind it.
    """
    import pandas as pd

    rows, digests = [], defaultdict(set)
    for run, sweep, record in _records(Path(folder or files.RUNS).absolute()):
        if record.finished is None:
            continue
        setting = {"profile": "quick", "seed": 0} | record.parameters
        about = {"run": run, "sweep": sweep, "notebook": record.notebook, "finished": record.finished}
        about |= {"device": record.environment.get("device"), "digests": record.environment.get("folders", {})}
        for name, digest in about["digests"].items():
            digests[name, setting[name]].add(digest)
        for name, value in record.metrics.items():
            measured = _measured(record, name) or {"network": setting.get("network"), "source": "-", "metric": name}
            rows.append(setting | about | measured | {"value": float(value)})
    for row in rows:
        for name, digest in row["digests"].items():
            if len(digests[name, row[name]]) > 1:
                row[name] += f" {digest}"
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values("finished", kind="stable")
    table = table.drop_duplicates([*SETTING, "seed"], keep="last")
    return table.sort_values(["sweep", "notebook"], kind="stable").reset_index(drop=True)


def _measured(record: runs.Record, name: str) -> dict[str, str] | None:
    """Network, source and metric of a recorded number; None for one that was recorded without a network.

    Records from before these fields only have the name NETWORK SOURCE METRIC, which begins with a known network.
    """
    if record.measured is not None:
        return record.measured[name].model_dump() if name in record.measured else None
    from cambook.networks import names

    parts = name.split(" ")
    known = len(parts) == 3 and parts[0] in names()
    return dict(zip(("network", "source", "metric"), parts, strict=True)) if known else None


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds: one row for each metric of each setting.

    table:   as collect() gives it
    returns: the setting's columns (those that nowhere have a value left out), mean, spread (the standard deviation over
             seeds, n - 1 in its denominator; none for one seed), seeds (how many), device
    """
    groups = table.groupby(list(SETTING), dropna=False, sort=False)
    names = {"mean": ("value", "mean"), "spread": ("value", "std"), "seeds": ("seed", "nunique")}
    found = groups.agg(
        **names, device=("device", lambda devices: ", ".join(sorted(set(devices.dropna()))))
    ).reset_index()
    return found.drop(columns=[name for name in SETTING if found[name].isna().all()])


def report(table: pd.DataFrame, folder: str | os.PathLike) -> str:
    """Writes results.csv, summary.csv and summary.md to a folder, and ours beside published for the papers' tables.

    table:   as collect() gives it, not empty
    returns: for the screen: the papers' tables if their notebooks ran, and the summary of all others
    """
    folder, found = Path(folder), summary(table)
    contents = {
        "results.csv": table.to_csv(index=False, lineterminator="\n"),
        "summary.csv": found.to_csv(index=False, lineterminator="\n"),
        "summary.md": found.to_markdown(index=False, floatfmt=".4g", missingval="") + "\n",
    }
    for name, content in contents.items():
        with files.atomic_write(folder / name) as file:
            file.write_text(content, encoding="utf-8")
    tables = [name for name in found.notebook.unique() if (files.NOTEBOOKS / "reproduce" / f"{name}.ipynb").is_file()]
    if tables:
        from cambook.course import papers

        tables = [name for name in tables if name in papers.TABLES]
        for name in tables:
            papers.write(name, table, folder)
    texts = [(folder / f"{name}.md").read_text(encoding="utf-8") for name in tables]
    others = found[~found.notebook.isin(tables)]
    if len(others):
        texts.append(others.to_markdown(index=False, tablefmt="simple", floatfmt=".4g", missingval=""))
    return "\n".join(texts)
