"""Few, guessed and wrong labels, three seeds: writes data/results/weak_labels.csv, from which lesson 07 is made.

    python benchmarks/weak_labels.py

Each seed trains mini-gap four times on the same scenes, for the same number of steps: with all labels, with a tenth of
them, with that tenth and pseudo-labels for the rest, and with two in five labels flipped. A seed draws the labels that
are kept or flipped, the initial weights and the order of the images; the images, the test set among them, stay the
same. Boxes are used to evaluate only. Rows that are in the file are not measured again.
"""

from __future__ import annotations

import math
import platform
from datetime import date

import numpy as np
import pandas as pd
import torch
import torchvision
from tqdm import tqdm

from cambook import datasets, files, networks, training
from cambook.course.lessons.weak_labels import CONFIDENCE, WeakTraining, full_steps, with_few, with_guesses, with_wrong
from cambook.metrics import evaluate

NETWORK, SIZE, IMAGES, TEST_IMAGES, SEEDS = "mini-gap", 64, 4000, 500, range(3)
FEW, WRONG = 0.1, 0.4
SETTINGS = ("all labels", "a tenth of the labels", "with pseudo-labels", "two in five wrong")
RESULT = files.DATA / "results" / "weak_labels.csv"


def fitted(setting: str, train, seed: int) -> WeakTraining:
    """The training run of a setting; what another setting has trained before comes from the cache."""
    how = {"network": NETWORK, "steps": full_steps(NETWORK, len(train)), "seed": seed}
    if setting == "all labels":
        everything = training.trained(NETWORK, train, training.recipe_for(NETWORK), seed=seed)
        return WeakTraining(everything, np.arange(len(train)))
    if setting == "two in five wrong":
        return with_wrong(train, WRONG, **how)
    few = with_few(train, FEW, **how)
    return few if setting == "a tenth of the labels" else with_guesses(train, few, CONFIDENCE, **how)


def row(setting: str, train, test, seed: int) -> dict:
    """What a setting's network has learned, and how well it classifies and localizes, in percent."""
    made = fitted(setting, train, seed)
    found = evaluate(made.trained.network, test, "cam", seed=seed)
    low, high = found.intervals["max_box_acc"]
    untrained = networks.build(NETWORK, len(train.classes), seed=seed)
    guesses = setting == "with pseudo-labels"
    return {
        "setting": setting,
        "seed": seed,
        "labels": made.labels,
        "accuracy": 100 - found.row["top1_error"],
        "max_box_acc": found.row["max_box_acc"],
        "max_box_acc_low": low,
        "max_box_acc_high": high,
        "centre_max_box_acc": evaluate(untrained, test, "centre", seed=seed).row["max_box_acc"],
        "random_max_box_acc": evaluate(untrained, test, "cam", seed=seed).row["max_box_acc"],
        "learned": 100 - made.trained.history[-1]["top1_error"],
        "share": 100 * made.guessed / (len(train) - made.labels) if guesses else math.nan,
        "right": made.guessed_right,
        "seconds": made.trained.seconds,
    }


def measured() -> list[dict]:
    """The rows that are in the file."""
    return files.read_table(RESULT).to_dict("records") if RESULT.is_file() else []


def write(table: list[dict]) -> None:
    python = f"{torch.get_num_threads()} threads, python {platform.python_version()}"
    order = pd.DataFrame(table).sort_values(
        ["setting", "seed"], key=lambda column: column.map(SETTINGS.index) if column.name == "setting" else column
    )
    with files.atomic_write(RESULT) as file:
        file.write_text(
            f"# python benchmarks/weak_labels.py\n# {date.today()}, {platform.machine()} CPU, {python}, "
            f"torch {torch.__version__}, torchvision {torchvision.__version__}\n"
            + order.round(2).to_csv(index=False, lineterminator="\n"),
            encoding="utf-8",
        )


def main() -> None:
    sizes = {"train": IMAGES, "test": TEST_IMAGES}
    train, test = (datasets.load("scenes", split, SIZE, length=length) for split, length in sizes.items())
    table = measured()
    there = {(one["setting"], one["seed"]) for one in table}
    missing = [(setting, seed) for seed in SEEDS for setting in SETTINGS if (setting, seed) not in there]
    for setting, seed in tqdm(missing, desc="training runs"):
        table.append(row(setting, train, test, seed))
        write(table)
    print(files.read_table(RESULT).to_string())


if __name__ == "__main__":
    main()
