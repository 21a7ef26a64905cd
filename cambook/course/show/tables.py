"""Small matrices with their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cambook.course.show.described import finish, listed
from cambook.course.show.images import array
from cambook.course.show.style import DIVERGING, MINUS, WIDTH, colour_bar, styled, subplots


@styled
def matrix(ax: Axes, values: Any, title: str = "", fmt: str = "g", limits: tuple[float, float] | None = None) -> None:
    """A small matrix (h, w) or vector (n,), drawn as a row, with every number written in its cell.

    Colours diverge from white at 0, red above it and blue below. A matrix of True and False has shades of grey.

    fmt: format of a number ("g", ".2f"); limits: the least and the greatest value of the scale, by default those of
    the values; if the least is above 0, no colour stands for 0, and the scale runs from dark to light
    """
    values = np.atleast_2d(array(values))
    (low, high), cmap = ((0, 1.8), "Greys") if values.dtype == bool else _scale(limits or _range(values))
    values = values + 0  # no number is written as -0
    image = ax.imshow(values, vmin=low, vmax=high, cmap=cmap)
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        text = format(value, fmt).replace("-", MINUS)
        ax.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    for edge in range(1, max(values.shape)):
        for line, size in ((ax.axvline, values.shape[1]), (ax.axhline, values.shape[0])):
            if edge < size:
                line(edge - 0.5, color="#BBBBBB", linewidth=1)


@styled
def matrices(
    values: Mapping[str, Any], takeaway: str = "", fmt: str = "g", signs: Sequence[str] = (), bar: str = ""
) -> Figure:
    """A row of small matrices {title: values} as in `matrix`, one common scale; signs ("+", "=") are written
    between them.

    bar: label of a colour bar; without one none is drawn
    """
    arrays = {title: np.atleast_2d(array(value)) for title, value in values.items()}
    limits = _range(*([a for a in arrays.values() if a.dtype != bool] or [np.zeros(1)]))
    widths = [a.shape[1] for a in arrays.values()]
    tallest = max(a.shape[0] for a in arrays.values())
    cell = min(0.7, (WIDTH - 0.6 * len(arrays)) / sum(widths))
    size = (max(cell * sum(widths) + 0.9 * len(arrays), 6.0), cell * tallest + 1.5)
    fig, axes = subplots(1, len(arrays), squeeze=False, figsize=size, width_ratios=widths)
    for ax, (title, value) in zip(axes[0], arrays.items(), strict=True):
        matrix(ax, value, title, fmt, limits)
    for ax, sign in zip(axes[0], signs, strict=False):
        ax.annotate(
            sign,
            (1, 0.5),
            (12, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            fontsize=20,
        )
    if bar:
        scale, cmap = _scale(limits)
        colour_bar(fig, axes, bar, scale, plt.get_cmap(cmap), limits)
    sizes = [f"{title} ({a.shape[0]} x {a.shape[1]}): {_numbers(a, fmt)}" for title, a in arrays.items()]
    return finish(fig, takeaway, f"Matrices with their numbers, by rows. {'; '.join(sizes)}.")


@styled
def ledger(table: Any, rows: Sequence[str], right: str, below: str, takeaway: str = "", fmt: str = "g") -> Figure:
    """A table (K, Z) with its row sums at the right, its column sums below and their common total in the corner.

    rows: K names of the rows; right, below: what the row sums and the column sums are
    """
    table = array(table)
    (count, places), cell = table.shape, min(0.72, (WIDTH - 2.2) / (table.shape[1] + 1))
    fig, axes = subplots(
        2,
        2,
        figsize=(cell * (places + 1) + 2.2, cell * (count + 1) + 1.7),
        width_ratios=[places, 1],
        height_ratios=[count, 1],
    )
    sums = {(0, 0): table, (0, 1): table.sum(1)[:, None], (1, 0): table.sum(0), (1, 1): table.sum()}
    low, high = _range(table, table.sum(0))
    for (row, column), values in sums.items():  # row sums are of another size: on a scale this wide they stay white
        matrix(axes[row, column], values, fmt=fmt, limits=(1e6 * low, 1e6 * high) if column else (low, high))
    axes[0, 0].set_yticks(range(count), rows)
    axes[1, 0].set_yticks([0], [below])
    axes[0, 1].set_title(right)
    axes[1, 1].set_xlabel("total")
    for ax in axes.flat:
        ax.tick_params(length=0)
    said = f"A table of {count} rows ({listed(rows)}) and {places} columns, with its row sums ({right}): "
    said += f"{_numbers(table.sum(1), fmt)}; its column sums ({below}): {_numbers(table.sum(0), fmt)}; "
    return finish(fig, takeaway, f"{said}and their total {format(table.sum(), fmt)}.")


def _range(*arrays: np.ndarray) -> tuple[float, float]:
    """From 0 or the minimum, whichever is lower, to 0 or the maximum."""
    return min(0.0, *(float(a.min()) for a in arrays)), max(0.0, *(float(a.max()) for a in arrays))


def _scale(limits: tuple[float, float]) -> tuple[tuple[float, float], str]:
    """The limits of the colours, and their name: around 0 unless all values are above it."""
    low, high = limits
    if low > 0:
        return (low, high if high > low else low + 1.0), "magma"
    highest = max(-low, high) or 1.0
    return (-highest, highest), DIVERGING


def _numbers(values: np.ndarray, fmt: str, most: int = 12) -> str:
    values = values + 0
    if values.size <= most:
        return ", ".join(format(value, fmt) for value in values.ravel())
    return f"from {format(values.min(), fmt)} to {format(values.max(), fmt)}"
