"""Two evaluations of the same images against each other, image by image."""

from __future__ import annotations

import numpy as np

from cambook.metrics import paired_interval
from cambook.metrics.evaluation import Evaluation


def versus(a: Evaluation, b: Evaluation, metric: str, seed: int = 0) -> tuple[float, float, float]:
    """How much an evaluation is ahead of another of the same images, with its paired 95% interval.

    Args:
        a, b: from `evaluation.evaluate`, of the same images in the same order.
        metric: "max_box_acc", a name in `Evaluation.correct` such as "gt_known" or "pointing", an error such as
            "top1_error", or "inside", the share of the map on the object.
        seed: of the bootstrap.

    Returns:
        (difference, low, high) of a minus b, in points: what `show.forest` draws.

    Raises:
        ValueError: the evaluations are of different numbers of images.

    Source: Efron 1979.

    Example:
        >>> a, b = (Evaluation("cam", {}, {}, 0.2, None, {}, inside=np.array(x)) for x in ([40.0, 60.0], [30.0, 50.0]))
        >>> versus(a, b, "inside")
        (10.0, 10.0, 10.0)
    """
    first, second = (_per_image(each, metric) for each in (a, b))
    low, high = paired_interval(first, second, seed)
    if metric == "max_box_acc":
        return a.row[metric] - b.row[metric], low, high
    scale = 100 if first.dtype == bool else 1
    return scale * float(first.mean() - second.mean()), low, high


def _per_image(found: Evaluation, metric: str) -> np.ndarray:
    if metric == "inside":
        return found.inside
    if metric == "max_box_acc":
        return found.boxes.hits()
    right = found.correct[metric.removesuffix("_error")]
    return ~right if metric.endswith("_error") else right
