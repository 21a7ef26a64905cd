"""The papers' tables at profile quick, seed by seed: writes data/results/NAME.csv.

    python benchmarks/tables.py "table1 table2" 0,1,2

Each seed runs the notebook notebooks/reproduce/NAME.ipynb once; trainings are shared by all tables and kept, and a run
that was made before is not made again. `cambook sweep NAME` makes the same runs.
"""

from __future__ import annotations

import platform
import sys
from datetime import date

import pandas as pd
import torch
import torchvision

from cambook import paths, reproduction, runs


def record_of(name: str, seed: int) -> runs.Record:
    """The record of a finished run, made now where it is not there."""
    folder = paths.RUNS / "tables" / name / f"seed={seed}"
    if (folder / "record.json").is_file() and (record := runs.Record.load(folder)).finished:
        return record
    return runs.execute(paths.NOTEBOOKS / "reproduce" / f"{name}.ipynb", {"seed": seed}, folder)


def main(names: str, seeds: str) -> None:
    for name in names.split():
        rows = []
        for seed in map(int, seeds.split(",")):
            record = record_of(name, seed)
            about = {"run": f"seed={seed}", "notebook": name, "profile": "quick", "dataset": "scenes", "seed": seed}
            about |= {"device": record.environment["device"], "finished": record.finished}
            for metric, value in record.metrics.items():
                network, source, metric = metric.split(" ")
                measured = {"network": network, "source": source, "metric": metric, "value": round(value, 4)}
                rows.append(about | measured)
        about = (
            f"# python benchmarks/tables.py {name} {seeds}\n# {date.today()}, {platform.machine()} CPU, "
            f"{torch.get_num_threads()} threads, python {platform.python_version()}, torch {torch.__version__}, "
            f"torchvision {torchvision.__version__}\n"
        )
        with paths.atomic_write(paths.DATA / "results" / f"{name}.csv") as file:
            file.write_text(about + pd.DataFrame(rows, columns=reproduction.COLUMNS).to_csv(index=False))
        print(reproduction.shared(reproduction.table(name, reproduction.recorded(name)))[1].to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
