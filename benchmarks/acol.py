"""ACoL beside CAM, three seeds: writes data/results/acol.csv.

    python benchmarks/acol.py

Settings, each with its own CAM beside ACoL, the same pictures, recipe and seeds:
  scenes                  from the backbone of a trained mini-gap, EPOCHS more epochs, at every delta
  scenes, larger objects  the same on larger objects, at one delta
  scenes, from scratch    both from random numbers, by their own recipes
Labels only; boxes and masks are used to evaluate.
"""

from __future__ import annotations

import dataclasses
import platform
from datetime import date

import pandas as pd
import torch
import torchvision
from tqdm import tqdm

from cambook import datasets, files, networks, training
from cambook.course.lessons.acol_branches import acol_branches
from cambook.datasets import Layout, Scenes
from cambook.metrics import evaluate
from cambook.networks import on_backbone

EPOCHS, SEEDS, DELTAS, ONE_DELTA = 2, range(3), (0.5, 0.6, 0.7, 0.8, 0.9), 0.8
LARGER = Layout(object_side=(0.7, 0.95))
SOURCES = {"acol": "fused", "acol-branch-a": "branch A", "acol-branch-b": "branch B", "acol-peeking": "peeking"}
METRICS = ("top1_error", "gt_known", "max_box_acc", "max_box_acc_v2", "pxap", "pointing")


def fitted(setting: str, name: str, train, first, seed: int, delta: float | None) -> training.Trained:
    """One training of a setting; first: the pictures that the backbone of the fine-tuned settings was trained on."""
    recipe = training.recipe_for(name)
    if setting.endswith("from scratch"):
        if delta is None:
            return training.trained(name, train, recipe, seed=seed)
        network = networks.build(name, len(train.classes), seed=seed)
    else:
        start = training.trained("mini-gap", first, training.recipe_for("mini-gap"), seed=seed)
        network = on_backbone(name, start.network, seed=seed)
        recipe = dataclasses.replace(training.recipe_for("mini-fc-gap"), epochs=EPOCHS)
    if delta:
        network.delta = delta
    return training.trained(network, train, recipe, seed=seed, describe=f"delta {delta}" if delta else "")


def rows(setting: str, name: str, delta: float | None, train, test, first, seed: int) -> list[dict]:
    """One row for each kind of map of one training."""
    made = fitted(setting, name, train, first, seed, delta)
    sources = SOURCES if setting == "scenes" else dict(list(SOURCES.items())[:2])
    found = {}
    for source, maps in (sources if delta else {"cam": "CAM"}).items():
        e = evaluate(made.network, test, source)
        recall, precision = e.coverage()
        found[maps] = {metric: e.row.get(metric) for metric in METRICS}
        found[maps] |= {"coverage": recall, "precision": precision, "threshold": e.best_threshold}
    if "branch B" in found:
        branches = acol_branches(made.network, test)
        found["branch B"] |= {"top1_error": branches["b_error"], "peak_erased": branches["peak_erased"]}
    common = {"setting": setting, "network": name, "delta": delta, "seed": seed}
    rest = {"epochs": len(made.history), "training_seconds": made.seconds}
    return [{**common, "maps": maps, **row, **rest} for maps, row in found.items()]


def write(table: list[dict]) -> None:
    python = f"{torch.get_num_threads()} threads, python {platform.python_version()}"
    with files.atomic_write(files.DATA / "results" / "acol.csv") as file:
        file.write_text(
            f"# python benchmarks/acol.py\n# {date.today()}, {platform.machine()} CPU, {python}, "
            f"torch {torch.__version__}, torchvision {torchvision.__version__}\n"
            + pd.DataFrame(table).round(2).to_csv(index=False, lineterminator="\n"),
            encoding="utf-8",
        )


def main() -> None:
    pair = [("mini-gap", None), ("mini-acol", ONE_DELTA)]
    every = [("mini-gap", None), ("mini-nin", None), *(("mini-acol", delta) for delta in DELTAS)]
    plain = [datasets.load("scenes", split, 64, length=n) for split, n in (("train", None), ("test", 500))]
    larger = [Scenes(split, 64, n, layout=LARGER) for split, n in (("train", None), ("test", 500))]
    settings = {
        "scenes": (every, plain),
        "scenes, from scratch": (pair, plain),
        "scenes, larger objects": (pair, larger),
    }
    jobs = [
        (setting, name, delta, *data, plain[0], seed)
        for setting, (pairs, data) in settings.items()
        for seed in SEEDS
        for name, delta in pairs
    ]
    table: list[dict] = []
    for job in tqdm(jobs, desc="trainings"):
        table += rows(*job)
        write(table)
    print(pd.DataFrame(table).round(1).to_string())


if __name__ == "__main__":
    main()
