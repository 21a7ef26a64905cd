"""Colours, sizes and settings that all figures share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.patheffects as patheffects
import matplotlib.pyplot as plt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cambook.course.show.described import Described
from cambook.files import atomic_write

STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("cambook.mplstyle"), use_default_template=False)
STYLE["figure.dpi"] *= float(os.environ.get("CAMBOOK_SHARPNESS", 1))  # set by notebooks.execute
WIDTH = 10.0  # of a figure that takes the whole column, in inches: few enough for a telephone
DIVERGING = "RdBu_r"  # colours of signed numbers, white at 0
MINUS = "\N{MINUS SIGN}"

# Lines of a chart are distinguished by their dashes too.
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1.2, 2)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1)))

# Colours that colour-blind readers can distinguish.
TRUTH = "#009E73"
PREDICTED = "#56B4E9"
CONTROL = "#AAAAAA"
LINES = {"true box": (TRUTH, "solid"), "predicted box": (PREDICTED, (0, (4, 2)))}
FATES = {  # of a layer in a diagram -> colours of its face and its edge
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
        plt.draw_if_interactive()  # a notebook's backend, which the first call chooses, may change settings for good
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


@styled
def save(fig: Figure, path: str | os.PathLike) -> Path:
    """Write the figure at twice the size it has in a notebook; the ending of `path` names the format."""
    with atomic_write(path) as temporary:
        fig.savefig(temporary)
    return Path(path)


def box_line(kind: str) -> Line2D:
    """The legend's entry for one kind of boxes, a key of LINES."""
    colour, style = LINES[kind]
    return edged_line(colour, style, kind)


def edged_line(colour: str, style: Any = "solid", name: str = "", width: float = 2.6) -> Line2D:
    """The legend's entry for a line with a dark edge on both sides, as they are drawn on images."""
    edge = [patheffects.Stroke(linewidth=width + 2, foreground="#111111"), patheffects.Normal()]
    return Line2D([], [], color=colour, linestyle=style, linewidth=width, label=name, path_effects=edge)


def colour_bar(
    fig: Figure,
    axes: Any,
    label: str,
    limits: tuple[float, float],
    colours: Colormap,
    part: tuple[float, float] | None = None,
) -> None:
    """One bar for the colours of all `axes`, at their right; part: of the limits that is shown."""
    scale = ScalarMappable(Normalize(*limits), colours)
    bar = fig.colorbar(scale, ax=axes, label=label, fraction=0.05, pad=0.02, aspect=18)
    bar.outline.set_visible(False)
    bar.ax.set_ylim(*(part or limits))
    bar.ax.tick_params(labelsize=plt.rcParams["ytick.labelsize"])


def subplots(*shape: int, **options: Any) -> tuple[Figure, Any]:
    """plt.subplots, closed for pyplot at once: a notebook shows the figure where it is a value, and nowhere
    else."""
    fig, axes = plt.subplots(*shape, FigureClass=Described, **options)
    for ax in fig.axes:  # labels of ticks are made when the figure is shown, with the settings of that moment
        for axis in ("x", "y"):
            ax.tick_params(axis, which="both", labelsize=plt.rcParams[f"{axis}tick.labelsize"])
    plt.close(fig)
    return fig, axes
