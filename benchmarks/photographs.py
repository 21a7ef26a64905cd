"""Localization learned from labels on real photographs, three seeds: writes data/results/photographs.csv.

    python benchmarks/photographs.py FOLDER

FOLDER is in Pascal VOC's layout. Each seed trains lite0-gap twice from ImageNet's weights, a new linear layer on the
frozen backbone and the whole network, on the training labels; boxes are used to evaluate only.
"""

from __future__ import annotations

import platform
import sys
from datetime import date

import pandas as pd
import torch
import torchvision
from tqdm import tqdm

from cambook import datasets, files, networks, training
from cambook.metrics import evaluate

NETWORK, SIZE, SEEDS = "lite0-gap", 224, range(3)


def main(folder: str) -> None:
    train, test = (datasets.load(f"voc:{folder}", split, SIZE) for split in ("train", "test"))
    rows = []
    for seed in tqdm(SEEDS, desc="seeds"):
        frozen, tuned = training.before_and_after(NETWORK, train, seed=seed)
        random = networks.build(NETWORK, len(train.classes), seed=seed)
        centre = evaluate(tuned.network, test, "centre", seed=seed)
        control = evaluate(random, test, "cam", seed=seed)
        for name, trained in ((f"{NETWORK}, frozen backbone", frozen), (f"{NETWORK}, fine-tuned", tuned)):
            found = evaluate(trained.network, test, "cam", seed=seed)
            low, high = found.intervals["max_box_acc"]
            rows.append(
                {
                    "network": name,
                    "seed": seed,
                    **found.row,
                    "max_box_acc_low": low,
                    "max_box_acc_high": high,
                    "centre_max_box_acc": centre.row["max_box_acc"],
                    "random_max_box_acc": control.row["max_box_acc"],
                    "training_seconds": trained.seconds,
                    "train_pictures": len(train),
                    "test_pictures": len(test),
                }
            )
    table = pd.DataFrame(rows).round(2).sort_values(["network", "seed"], ascending=[False, True])
    python = f"{torch.get_num_threads()} threads, python {platform.python_version()}"
    with files.atomic_write(files.DATA / "results" / "photographs.csv") as file:
        file.write_text(
            f"# python benchmarks/photographs.py FOLDER ({' and '.join(train.classes)})\n"
            f"# {date.today()}, {platform.machine()} CPU, {python}, torch {torch.__version__}, "
            f"torchvision {torchvision.__version__}\n" + table.to_csv(index=False, lineterminator="\n"),
            encoding="utf-8",
        )
    print(table.to_string())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give one folder in Pascal VOC's layout: python benchmarks/photographs.py FOLDER")
    main(sys.argv[1])
