"""Colours, sizes and settings that all figures share."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.patheffects as patheffects
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cambook import maps
from cambook.files import atomic_write

STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("cambook.mplstyle"), use_default_template=False)
STYLE["figure.dpi"] *= float(os.environ.get("CAMBOOK_SHARPNESS", 1))  # set by notebooks.execute
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1.2, 2)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1)))

TRUTH = "#009E73"
PREDICTED = "#56B4E9"
CONTROL = "#AAAAAA"
FOUND = "#E69F00"
LINES = {"true box": (TRUTH, "solid"), "predicted box": (PREDICTED, (0, (4, 2)))}
WIDTH = 12.0
FATES = {
    "kept": ("#D6E6F2", "#0072B2"),
    "new": ("#FBE3D0", "#D55E00"),
    "removed": ("#FFFFFF", "#888888"),
    "erased": ("#FFFFFF", "#888888"),
    "learns on": ("#D9EFE6", "#009E73"),
}


def styled(draw: Callable) -> Callable:
    """Makes a function draw in the course's style; the settings of matplotlib are afterwards as they were."""

    @wraps(draw)
    def in_style(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


def array(values: Any) -> np.ndarray:
    """Numbers as a numpy array, whether they came as a tensor (on any device), an array or a list."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def pixels(image: Any) -> np.ndarray:
    """A picture as (H, W, 3) uint8, from (3, H, W) or (H, W, 3), either uint8 or float in [0, 1].

    raises: ValueError for another shape or for floats outside [0, 1]
    """
    image = array(image)
    if image.ndim == 3 and image.shape[0] == 3:
        image = image.transpose(1, 2, 0)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"a picture has shape (3, H, W) or (H, W, 3), not {image.shape}: pass one picture, not a batch."
        )
    if image.dtype == np.uint8:
        return image
    if not (image.min() >= -1e-4 and image.max() <= 1 + 1e-4):
        raise ValueError(
            f"the picture runs from {image.min():.3g} to {image.max():.3g}: pass values in [0, 1], "
            "as they are before any normalization."
        )
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def overlay(image: Any, map2d: Any, opacity: float = 0.8) -> np.ndarray:
    """The picture under its map in magma; where the map is low the picture stays visible, since opacity
    grows with the value.

    image:   (3, H, W) or (H, W, 3) in [0, 1]
    map2d:   (h, w) in [0, 1], of any size: brought to the picture's size by `maps.upsample`
    opacity: of the map where it is 1
    returns: (H, W, 3) uint8
    raises:  ValueError where the map is not one map in [0, 1]
    """
    picture, value = pixels(image), array(map2d).astype(np.float32)
    if value.ndim != 2:
        raise ValueError(f"overlay draws one map (h, w), not {value.shape}: choose one, for instance maps[0, c].")
    if not (value.min() >= -1e-4 and value.max() <= 1 + 1e-4):
        raise ValueError(
            f"the map runs from {value.min():.3g} to {value.max():.3g}: bring it to [0, 1] with cambook.maps.normalize."
        )
    if value.shape != picture.shape[:2]:
        value = maps.upsample(torch.from_numpy(value)[None, None], picture.shape[:2])[0, 0].numpy()
    value = value.clip(0, 1)
    alpha = opacity * value[..., None]
    colour = plt.get_cmap("magma")(value)[..., :3] * 255
    return ((1 - alpha) * picture + alpha * colour).round().astype(np.uint8)


def left_over(image: Any, kept: Any) -> np.ndarray:
    """The picture in flat grey wherever a coarse mask does not keep it, each place of the mask a rectangle.

    image: (3, H, W) or (H, W, 3) in [0, 1]; kept: (h, w) bool, for instance what ACoL's second branch is left with
    returns: (H, W, 3) uint8; raises ValueError where the mask is not one of (h, w)
    """
    picture, kept = pixels(image), array(kept).astype(bool)
    if kept.ndim != 2:
        raise ValueError(f"left_over draws one mask (h, w), not {kept.shape}: choose one, for instance kept[0].")
    (height, width), (rows, columns) = picture.shape[:2], kept.shape
    large = kept[np.arange(height) * rows // height][:, np.arange(width) * columns // width]
    return np.where(large[..., None], picture, 128).astype(np.uint8)


@styled
def save(fig: Figure, path: str | os.PathLike) -> Path:
    """Write the figure at twice the size it has in a notebook; the ending of `path` names the format."""
    with atomic_write(path) as temporary:
        fig.savefig(temporary)
    return Path(path)


def as_boxes(found: Any) -> np.ndarray:
    """(n, 4) boxes from one box, several, an empty list or None."""
    return np.zeros((0, 4)) if found is None else array(found).reshape(-1, 4).astype(np.float64)


def box_line(kind: str) -> Line2D:
    colour, style = LINES[kind]
    outline = [patheffects.Stroke(linewidth=4.6, foreground="#111111"), patheffects.Normal()]
    return Line2D([], [], color=colour, linestyle=style, label=kind, path_effects=outline)


def subplots(*shape: int, **options: Any) -> tuple[Figure, Any]:
    """plt.subplots, closed for pyplot at once: a notebook shows the figure where it is a value, and nowhere
    else."""
    fig, axes = plt.subplots(*shape, **options)
    for ax in fig.axes:  # labels of ticks are made when the figure is shown, with the settings of that moment
        for axis in ("x", "y"):
            ax.tick_params(axis, which="both", labelsize=plt.rcParams[f"{axis}tick.labelsize"])
    plt.close(fig)
    return fig, axes


def finish(fig: Figure, takeaway: str) -> Figure:
    """Give the figure its takeaway as title, broken only where the figure is too narrow for it."""
    if takeaway:
        fig.suptitle(textwrap.fill(takeaway, int(fig.get_figwidth() * 7.4)))
    return fig
