"""Figures with alternative text: what a figure shows, for those who cannot see it."""

from __future__ import annotations

import base64
import io
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.figure import Figure

LONGEST = 500  # characters of an alternative text


class Described(Figure):
    """A figure that hands its alternative text `alt` to the notebook, beside its image."""

    alt = ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        data = {"text/plain": self.alt or repr(self)}
        if not _is_drawn_by_ipython(self):
            image = io.BytesIO()
            colours = {"facecolor": self.get_facecolor(), "edgecolor": self.get_edgecolor()}
            self.canvas.print_figure(image, format="png", dpi=self.dpi, bbox_inches="tight", **colours)
            data["image/png"] = base64.b64encode(image.getvalue()).decode()
        return data, {"image/png": {"alt": self.alt}} if self.alt else {}


def _is_drawn_by_ipython(figure: Figure) -> bool:
    """Whether the inline backend of a notebook draws figures, in the format that its reader chose."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return False
    try:
        shell.display_formatter.formatters["image/png"].lookup(figure)
    except KeyError:
        return False
    return True


def finish(fig: Figure, takeaway: str, shows: str = "") -> Figure:
    """Give the figure its takeaway as title, broken only if the figure is too narrow for it, and its alternative text:
    the takeaway, then what it shows."""
    if takeaway:
        fig.suptitle(_in_lines(takeaway, fig.get_figwidth()))
    takeaway = " ".join(takeaway.split())
    if takeaway and takeaway[-1] not in ".!?":
        takeaway += "."
    fig.alt = textwrap.shorten(f"{takeaway} {shows}", LONGEST, placeholder=" ...")
    return fig


def _in_lines(takeaway: str, width: float) -> str:
    return textwrap.fill(takeaway, int(width * 7.4), break_on_hyphens=False)


def title_height(takeaway: str, width: float) -> float:
    """Inches that a takeaway takes above a figure of some width."""
    return 0.32 * (1 + _in_lines(takeaway, width).count("\n")) + 0.12 if takeaway else 0.0


def listed(names: Iterable[Any], most: int = 8) -> str:
    """Names in a sentence: "a, b and c", or "a, b and 7 more"."""
    names = [" ".join(str(name).split()) for name in names]
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def valued(values: Mapping[str, Any], most: int = 8) -> str:
    """Names with what is said of each: "a 1.0, b 2.0"."""
    return listed([f"{name} {value}" for name, value in values.items()], most)
