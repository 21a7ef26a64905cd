"""Few labels, guessed labels, wrong labels on scenes, three seeds: writes data/results/weak_supervision.csv.

    python benchmarks/weak_supervision.py

Each training is mini-gap from scratch, as many steps whatever the number of labels. A seed decides the pictures, which
of them keep their label, which labels are flipped, and the network's start. Boxes are used to evaluate only.
"""

from __future__ import annotations

import platform
from datetime import date

import pandas as pd
import torch
import torchvision
from tqdm import tqdm

from cambook import datasets, paths, supervision
from cambook.evaluation import evaluate
from cambook.supervision import CONFIDENCE, STEPS

NETWORK = "mini-gap"
SEEDS, SHARES, FLIPS = range(3), (0.05, 0.1, 0.25, 0.5, 1.0), (0.0, 0.2, 0.4, 0.6)


def main() -> None:
    rows = []
    for seed in tqdm(SEEDS, desc="seeds"):
        train = datasets.load("scenes", "train", 64, seed=seed)
        test = datasets.load("scenes", "test", 64, length=500, seed=seed)
        how = {"network": NETWORK, "steps": STEPS, "seed": seed}

        def add(kind, share, flipped, found, test=test, seed=seed):
            row = evaluate(found.trained.network, test, "cam", seed=seed).row
            rows.append(
                {
                    "kind": kind,
                    "share": round(100 * share),
                    "flipped": round(100 * flipped),
                    "seed": seed,
                    "accuracy": 100 - row["top1_error"],
                    **{metric: row[metric] for metric in ("gt_known", "max_box_acc", "pxap", "pointing")},
                    "labels": found.labels,
                    "pseudo_labels": found.guessed,
                    "pseudo_labels_right": found.guessed_right,
                }
            )

        for share in SHARES:
            few = supervision.with_few(train, share, **how)
            add("labels alone", share, 0, few)
            if share < 1:
                add("with pseudo-labels", share, 0, supervision.with_guesses(train, few, CONFIDENCE, **how))
        for flipped in FLIPS:
            add("flipped labels", 1, flipped, supervision.with_wrong(train, flipped, **how))
    table = pd.DataFrame(rows).round(2).sort_values(["kind", "share", "flipped", "seed"])
    python = f"{torch.get_num_threads()} threads, python {platform.python_version()}"
    with paths.atomic_write(paths.DATA / "results" / "weak_supervision.csv") as file:
        file.write_text(
            f"# python benchmarks/weak_supervision.py ({NETWORK}, {STEPS} steps, confidence {CONFIDENCE}, "
            f"{len(train)} train and {len(test)} test pictures)\n"
            f"# {date.today()}, {platform.machine()} CPU, {python}, torch {torch.__version__}, "
            f"torchvision {torchvision.__version__}\n" + table.to_csv(index=False)
        )
    print(table.to_string())


if __name__ == "__main__":
    main()
