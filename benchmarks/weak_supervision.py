"""Few labels, guessed labels, wrong labels, three seeds: writes data/results/weak_supervision.csv, or of photographs
data/results/weak_supervision_photographs.csv.

    python benchmarks/weak_supervision.py
    python benchmarks/weak_supervision.py FOLDER

Without a folder: scenes, mini-gap from scratch. FOLDER is in Pascal VOC's layout: lite0-gap from ImageNet's weights.
Each training takes as many steps whatever the number of labels. A seed decides the pictures (of scenes), which of them
keep their label, which labels are flipped, and the network's start. Boxes are used to evaluate only.
"""

from __future__ import annotations

import platform
import sys
from datetime import date

import pandas as pd
import torch
import torchvision
from tqdm import tqdm

from cambook import datasets, files, networks
from cambook.course.lessons import weak_labels
from cambook.metrics import evaluate

SEEDS = range(3)


def main(folder: str | None) -> None:
    name, network, size, weights = "scenes", "mini-gap", 64, None
    shares, flips, steps, length = (0.05, 0.1, 0.25, 0.5, 1.0), (0.0, 0.2, 0.4, 0.6), weak_labels.STEPS, 500
    if folder:
        name, network, size, weights = f"voc:{folder}", "lite0-gap", 224, "pretrained"
        shares, flips, steps, length = (0.1, 1.0), (0.4,), weak_labels.PHOTOGRAPH_STEPS, None
    rows = []
    for seed in tqdm(SEEDS, desc="seeds"):
        train = datasets.load(name, "train", size, seed=seed)
        test = datasets.load(name, "test", size, length=length, seed=seed)
        how = {"network": network, "steps": steps, "seed": seed, "weights": weights}
        random = evaluate(networks.build(network, len(test.classes), seed=seed), test, "cam", seed=seed)
        controls = {"random_max_box_acc": random.row["max_box_acc"]}

        def add(kind, share, flipped, found, test=test, seed=seed, controls=controls):
            row = evaluate(found.trained.network, test, "cam", seed=seed).row
            if "centre_max_box_acc" not in controls:
                centre = evaluate(found.trained.network, test, "centre", seed=seed)
                controls["centre_max_box_acc"] = centre.row["max_box_acc"]
            rows.append(
                {
                    "kind": kind,
                    "share": round(100 * share),
                    "flipped": round(100 * flipped),
                    "seed": seed,
                    "accuracy": 100 - row["top1_error"],
                    **{metric: row[metric] for metric in ("gt_known", "max_box_acc", "pointing")},
                    **controls,
                    "labels": found.labels,
                    "pseudo_labels": found.guessed,
                    "pseudo_labels_right": found.guessed_right,
                }
            )

        for share in shares:
            few = weak_labels.with_few(train, share, **how)
            add("labels alone", share, 0, few)
            if share < 1:
                guessed = weak_labels.with_guesses(train, few, weak_labels.CONFIDENCE, **how)
                add("with pseudo-labels", share, 0, guessed)
        for flipped in flips:
            add("flipped labels", 1, flipped, weak_labels.with_wrong(train, flipped, **how))
    table = pd.DataFrame(rows).round(2).sort_values(["kind", "share", "flipped", "seed"])
    python = f"{torch.get_num_threads()} threads, python {platform.python_version()}"
    shown = f"photographs of {' and '.join(train.classes)}" if folder else "scenes"
    with files.atomic_write(files.DATA / "results" / f"weak_supervision{'_photographs' if folder else ''}.csv") as file:
        file.write_text(
            f"# python benchmarks/weak_supervision.py{' FOLDER' if folder else ''} ({shown}: {len(train)} to train on, "
            f"{len(test)} to test on; {network}, {steps} steps, confidence {weak_labels.CONFIDENCE})\n"
            f"# {date.today()}, {platform.machine()} CPU, {python}, torch {torch.__version__}, "
            f"torchvision {torchvision.__version__}\n" + table.to_csv(index=False, lineterminator="\n"),
            encoding="utf-8",
        )
    print(table.to_string())


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("Give one folder in Pascal VOC's layout, or nothing: python benchmarks/weak_supervision.py FOLDER")
    main(sys.argv[1] if len(sys.argv) == 2 else None)
