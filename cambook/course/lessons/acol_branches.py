"""Lesson 08: what ACoL's second branch is left with, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from cambook.maps.cam import normalize
from cambook.maps.methods import of_classes
from cambook.metrics.intervals import seed_interval
from cambook.networks.base import Network


@torch.no_grad()
def acol_branches(
    network: Network, data, *, peeking: bool = False, device: str | torch.device = "cpu", batch_size: int = 64
) -> dict[str, float]:
    """What ACoL's second branch is left with, and what it makes of it, over a data set, in percent.

    peeking: whether the map of the label is erased, as the released test code does, and not that of A's guess
    returns: a_error, b_error     top-1 classification errors of the two branches
             erased               share of positions erased
             peak_erased          share of images whose map of B, for the erased class, is highest at an erased position
    """
    network.to(device).eval()
    counts = dict.fromkeys(("a_error", "b_error", "erased", "peak_erased"), 0.0)
    for indices in torch.arange(len(data)).split(batch_size):
        batch = data.batch(indices, device=device)
        features = network.features(batch.images)
        maps_a = network.branch_a(features)
        guess_a = maps_a.mean((2, 3)).argmax(1)
        which = batch.labels if peeking else guess_a
        _, maps_b = network.both(features, which)
        gone = (of_classes(normalize(maps_a), which[:, None]) >= network.delta).flatten(1)
        peak = of_classes(maps_b, which[:, None]).flatten(1).argmax(1, keepdim=True)
        counts["a_error"] += (guess_a != batch.labels).sum().item()
        counts["b_error"] += (maps_b.mean((2, 3)).argmax(1) != batch.labels).sum().item()
        counts["erased"] += gone.float().mean(1).sum().item()
        counts["peak_erased"] += gone.gather(1, peak).sum().item()
    return {name: 100 * count / len(data) for name, count in counts.items()}


def by_seed(table: pd.DataFrame, maps: str, metric: str) -> np.ndarray:
    """A metric of ACoL on scenes in data/results/acol.csv: (deltas, seeds), both in rising order."""
    rows = table[(table.setting == "scenes") & (table.maps == maps)]
    return rows.pivot(index="delta", columns="seed", values=metric).sort_index().to_numpy()


def recorded_lead(
    table: pd.DataFrame, setting: str, maps: str, metric: str, delta: float = 0.8, over: str = "CAM"
) -> tuple[float, float, float]:
    """How far one kind of ACoL's maps is ahead of another kind, or of CAM, over the recorded seeds.

    Args:
        table: data/results/acol.csv.
        setting: of its column "setting".
        maps: of its column "maps": "fused", "branch A", "peeking".
        metric: one of its columns.
        delta: the training runs of ACoL that erase from this height on.
        over: what is subtracted: "CAM", or other maps of the same training runs.

    Returns:
        (mean, low, high) over the seeds, in points, with Student's 95% interval, rounded to one decimal, so that an
        interval that is printed as touching 0 contains it.

    Example:
        >>> from cambook.course import runs
        >>> recorded_lead(runs.recorded("acol"), "scenes", "fused", "max_box_acc", delta=0.9)
        (1.1, 0.6, 1.7)
    """
    rows = table[(table.setting == setting) & (table.network != "mini-nin")].set_index("seed")
    ours = rows.loc[(rows.maps == maps) & (rows.delta == delta), metric]
    theirs = rows.loc[(rows.maps == over) & (rows.delta.fillna(delta) == delta), metric]
    difference = (ours - theirs).to_numpy()
    return tuple(round(float(value), 1) + 0.0 for value in (difference.mean(), *seed_interval(difference)))
