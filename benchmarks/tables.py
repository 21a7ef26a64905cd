"""The papers' tables at profile quick: the runs of `cambook sweep NAME`, written to data/results/NAME.csv.

    python benchmarks/tables.py "table1 table2" 0,1,2

A run that was made before is not made again.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import date

import torch
import torchvision

from cambook import files
from cambook.course import papers
from cambook.course.results import collect


def main(names: str, seeds: str) -> None:
    for name in names.split():
        subprocess.run([sys.executable, "-m", "cambook.cli", "sweep", name, "--seeds", seeds], check=True)
        table = collect(files.RUNS / "sweeps" / name)
        table = table[table["profile"].eq("quick") & table["seed"].isin(map(int, seeds.split(",")))]
        about = (
            f"# python benchmarks/tables.py {name} {seeds}\n# {date.today()}, {platform.machine()} CPU, "
            f"{torch.get_num_threads()} threads, python {platform.python_version()}, torch {torch.__version__}, "
            f"torchvision {torchvision.__version__}\n"
        )
        with files.atomic_write(files.DATA / "results" / f"{name}.csv") as file:
            file.write_text(
                about + table.round({"value": 4}).to_csv(columns=papers.COLUMNS, index=False, lineterminator="\n"),
                encoding="utf-8",
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
