"""From raw maps to MaxBoxAcc: maps, boxes and masks on the 224 x 224 grid on which Choe et al. 2020 count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.functional import interpolate

from cambook.maps.arrays import as_array, widened
from cambook.maps.cam import normalize, upsample
from cambook.maps.methods import GRID
from cambook.metrics.box_accuracy import BoxAccuracy


def maps_on_grid(maps: torch.Tensor) -> np.ndarray:
    """Raw maps as the wsol metrics read them: enlarged to 224 x 224, then normalized.

    Args:
        maps: (N, 1, h, w), raw, of the true classes.

    Returns:
        (N, 224, 224), each from 0 to 1, on the CPU.

    Source: Choe et al. 2020, section 3.

    Example:
        >>> grid_maps = maps_on_grid(torch.tensor([[[[-1.0, 1.0], [1.0, 3.0]]]]))
        >>> grid_maps.shape, float(grid_maps.min()), float(grid_maps.max())
        ((1, 224, 224), 0.0, 1.0)
    """
    return as_array(normalize(upsample(widened(maps), GRID))[:, 0])


def boxes_on_grid(boxes: Sequence[ArrayLike], size: int) -> list[np.ndarray]:
    """True boxes in pixels of the 224 x 224 grid.

    Args:
        boxes: N times (n, 4), half-open, in pixels of an image of side `size`.
        size: side of the images, in pixels.

    Returns:
        N times (n, 4).

    Example:
        >>> boxes_on_grid([np.array([[0, 16, 32, 64]])], size=64)[0].tolist()
        [[0.0, 56.0, 112.0, 224.0]]
    """
    return [box * (GRID / size) for box in boxes]


def masks_on_grid(masks: torch.Tensor) -> np.ndarray:
    """Masks on the 224 x 224 grid, each pixel that of the nearest one.

    Args:
        masks: (B, S, S) bool.

    Returns:
        (B, 224, 224) bool, on the CPU.

    Example:
        >>> masks_on_grid(torch.eye(2, dtype=torch.bool)[None]).mean()
        np.float64(0.5)
    """
    return interpolate(masks[:, None].float(), GRID, mode="nearest-exact")[:, 0].cpu().numpy() > 0


def count_boxes(
    grid_maps: np.ndarray, grid_boxes: Sequence[ArrayLike], accuracy: BoxAccuracy | None = None
) -> BoxAccuracy:
    """From maps to MaxBoxAcc: each map's boxes at every threshold, counted right or wrong.

    Args:
        grid_maps: (N, 224, 224), from 0 to 1: `maps_on_grid`.
        grid_boxes: N times (n, 4), all true boxes of an image's class: `boxes_on_grid`.
        accuracy: where to count them; a new one if None.

    Returns:
        The BoxAccuracy: its max_box_acc(), max_box_acc_v2(), curve() and hits().

    Raises:
        ValueError: as BoxAccuracy.update_all.

    Source: Choe et al. 2020, section 3.

    Example:
        >>> maps = torch.zeros(1, 1, 4, 4)
        >>> maps[0, 0, :2, :2] = 1
        >>> count_boxes(maps_on_grid(maps), boxes_on_grid([np.array([[0, 0, 2, 2]])], size=4)).max_box_acc()[0]
        100.0
    """
    accuracy = BoxAccuracy(GRID) if accuracy is None else accuracy
    accuracy.update_all(grid_maps, grid_boxes)
    return accuracy
