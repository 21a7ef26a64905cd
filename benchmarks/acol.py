"""ACoL beside CAM at several delta, three seeds: writes data/results/acol.csv.

    python benchmarks/acol.py [FOLDER]

Three settings, each with its own CAM beside it, the same pictures, epochs and seeds: scenes, scenes with larger
objects, and FOLDER (Pascal VOC's layout) with a pretrained backbone; without FOLDER the last is left out. Labels only;
boxes and masks are used to evaluate.
"""

from __future__ import annotations

import dataclasses
import platform
import sys
from datetime import date

import pandas as pd
import torch
import torchvision
from tqdm import tqdm

from cambook import datasets, networks, paths, training
from cambook.evaluation import evaluate
from cambook.scenes import Layout, Scenes

EPOCHS, SEEDS, DELTAS = 3, range(3), (0.5, 0.6, 0.7, 0.8, 0.9)
LARGER = Layout(object_side=(0.7, 0.95))
SOURCES = {"acol": "fused", "acol branch a": "branch A", "acol branch b": "branch B", "acol peeking": "peeking"}
METRICS = ("top1_error", "gt_known", "max_box_acc", "max_box_acc_v2", "pxap", "pointing")


def fitted(name: str, train, seed: int, delta: float | None = None) -> training.Trained:
    """The network trained on the labels; a pretrained backbone with the recipe's own epochs, a mini with EPOCHS."""
    recipe = training.recipe_for(name)
    if name in networks.ORIGINALS and name.startswith("mini"):
        recipe = dataclasses.replace(recipe, epochs=EPOCHS)
    weights = "pretrained" if name.startswith(networks.PRETRAINED) else None
    if delta is None:
        return training.trained(name, train, recipe, seed=seed, weights=weights)
    network = networks.build(name, len(train.classes), weights, seed)
    network.delta = delta
    return training.trained(network, train, recipe, seed=seed, describe=f"delta {delta}")


@torch.no_grad()
def branch_b_error(network, test) -> float:
    """Top-1 error of branch B, which sees what A's predicted class leaves, in percent."""
    wrong = 0
    for some in torch.arange(len(test)).split(64):
        batch = test.batch(some)
        guesses = network.both(network.features(batch.images))[1].mean((2, 3)).argmax(1)
        wrong += int((guesses != batch.labels).sum())
    return 100 * wrong / len(test)


def rows(setting: str, name: str, train, test, seed: int, delta: float | None = None) -> list[dict]:
    """One row for each kind of map of one training."""
    made = fitted(name, train, seed, delta)
    found = {}
    for source, maps in ({"cam": "CAM"} if delta is None else SOURCES).items():
        e = evaluate(made.network, test, source)
        recall, precision = e.coverage() or (None, None)
        found[maps] = {metric: e.row.get(metric) for metric in METRICS}
        found[maps] |= {"coverage": recall, "precision": precision, "threshold": e.best_threshold}
    if delta is not None:
        found["branch B"]["top1_error"] = branch_b_error(made.network, test)
    common = {"setting": setting, "network": name, "delta": delta, "seed": seed}
    rest = {"epochs": len(made.history), "training_seconds": made.seconds}
    return [{**common, "maps": maps, **row, **rest} for maps, row in found.items()]


def write(table: list[dict], command: str) -> None:
    python = f"{torch.get_num_threads()} threads, python {platform.python_version()}"
    with paths.atomic_write(paths.DATA / "results" / "acol.csv") as file:
        file.write_text(
            f"# {command}\n# {date.today()}, {platform.machine()} CPU, {python}, torch {torch.__version__}, "
            f"torchvision {torchvision.__version__}\n" + pd.DataFrame(table).round(2).to_csv(index=False)
        )


def main(folder: str | None) -> None:
    plain = [("mini-gap", None), ("mini-nin", None), *(("mini-acol", delta) for delta in DELTAS)]
    pair = [("mini-gap", None), ("mini-acol", 0.8)]
    settings = {
        "scenes": (plain, [datasets.load("scenes", s, 64, length=n) for s, n in (("train", None), ("test", 500))]),
        "scenes, larger objects": (
            pair,
            [Scenes(s, 64, n, layout=LARGER) for s, n in (("train", None), ("test", 500))],
        ),
    }
    command = "python benchmarks/acol.py"
    if folder:
        photographs = [datasets.load(f"voc:{folder}", split, 224) for split in ("train", "test")]
        named = f"photographs of {' and '.join(photographs[0].classes)}"
        settings[named] = ([("lite0-gap", None), ("lite0-acol", 0.8)], photographs)
        command += f" FOLDER ({' and '.join(photographs[0].classes)})"
    jobs = [
        (s, name, *data, seed, delta) for s, (each, data) in settings.items() for seed in SEEDS for name, delta in each
    ]
    table: list[dict] = []
    for job in tqdm(jobs, desc="trainings"):
        table += rows(*job)
        write(table, command)
    print(pd.DataFrame(table).round(1).to_string())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
