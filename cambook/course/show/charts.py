"""Bars, curves and rows of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cambook.course.show.described import finish, listed, valued
from cambook.course.show.images import array
from cambook.course.show.style import CONTROL, DASHES, MINUS, WIDTH, styled, subplots


@styled
def curves(
    x: Any,
    lines: Mapping[str, Any],
    xlabel: str,
    ylabel: str,
    takeaway: str = "",
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Lines {name: y} over a common x, each with its own colour and dash; marks {name: x} are vertical
    lines."""
    fig, ax = subplots(figsize=(9, 5))
    for i, (name, y) in enumerate(lines.items()):
        ax.plot(array(x), array(y), label=name, linestyle=DASHES[i % len(DASHES)])
    for name, place in (marks or {}).items():
        ax.axvline(place, color="#444444", linewidth=1.2)
        ax.annotate(
            name,
            (place, 1),
            (0, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
        )
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(lines) > 1:
        _legend_below(fig, lines)
    return finish(fig, takeaway, _said("Curves", x, lines, xlabel, ylabel, marks))


@styled
def threshold_curves(
    thresholds: Any, lines: Mapping[str, Any], xlabel: str, ylabel: str, takeaway: str = "", marks: Sequence[float] = ()
) -> Figure:
    """Lines {name: y} over thresholds, a dot at the best of each, which the legend beside the figure also gives.

    marks: thresholds with a thin vertical line and their percent above it
    """
    fig, ax = subplots(figsize=(WIDTH, 5.4))
    x = array(thresholds)
    for i, (name, y) in enumerate(lines.items()):
        y = array(y)
        best = int(y.argmax())
        (line,) = ax.plot(x, y, label=f"{name}\n{y[best]:.1f} at {x[best]:.2f}", linestyle=DASHES[i % len(DASHES)])
        ax.plot(x[best], y[best], "o", color=line.get_color(), markeredgecolor="white", markersize=12, zorder=3)
    for i, place in enumerate(marks):  # neighbours are written away from each other
        ax.axvline(place, color="#444444", linewidth=1.2, zorder=0)
        where = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        ax.annotate(f"{place:.0%}", (place, 1), (4 if i % 2 else -4, 4), ha="left" if i % 2 else "right", **where)
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1))
    ax.set_ylim(bottom=0)
    fig.legend(loc="outside right center", handlelength=2.6, labelspacing=0.9)
    best = {name: f"best {array(y).max():.1f} at {x[int(array(y).argmax())]:.2f}" for name, y in lines.items()}
    said = f"Curves of {ylabel} over {xlabel}, a dot at the best of each: {valued(best)}."
    return finish(fig, takeaway, said + (f" Marked: {listed(f'{place:.0%}' for place in marks)}." if marks else ""))


@styled
def draws(
    x: Sequence[float],
    lines: Mapping[str, Any],
    xlabel: str,
    ylabel: str,
    takeaway: str = "",
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Repeated measurements {name: (repeats, n)} over x on a logarithmic axis: their mean, and a band from the 5th to
    the 95th percentile of the repeats; levels {name: y} are grey horizontal lines, dashed and dotted in turn."""
    fig, ax = subplots(figsize=(WIDTH, 5.4))
    for i, (name, values) in enumerate(lines.items()):
        values = np.atleast_2d(array(values))
        (line,) = ax.plot(x, values.mean(0), "o", label=name, linestyle=DASHES[i % len(DASHES)])
        low, high = np.quantile(values, [0.05, 0.95], axis=0)
        ax.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    for i, (name, y) in enumerate((levels or {}).items()):
        ax.axhline(y, color="#666666", linewidth=2, label=name, linestyle=[(0, (6, 3)), (0, (1, 2))][i % 2], zorder=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale="log")
    ax.set_xticks(x, [f"{number:g}" for number in x])
    ax.minorticks_off()
    _legend_below(fig, [*lines, *(levels or {})])
    means = {name: np.atleast_2d(array(values)).mean(0) for name, values in lines.items()}
    said = _said("Means of repeated measurements, with bands,", x, means, xlabel, ylabel)
    return finish(fig, takeaway, said + _levels(levels))


@styled
def swept(
    x: Any,
    recorded: Mapping[str, Any],
    live: Mapping[str, Mapping[float, float]],
    levels: Mapping[str, Any],
    xlabel: str,
    ylabel: str,
    takeaway: str = "",
) -> Figure:
    """Recorded curves over x, and points measured just now over them; the legend says which is which.

    recorded: {name: (n, seeds)} values at the n positions of x: the mean as a line, least to most as a band
    live:     {name: {x: y}} points of this run, as discs in the colour of the recorded line of that name; a name that
              is in `levels` is drawn in its colour
    levels:   {name: (seeds,)} what does not depend on x: the mean as a dashed line across, least to most as a band
    """
    fig, ax = subplots(figsize=(10, 5.6))
    colours, handles = {}, []
    for i, (name, values) in enumerate(recorded.items()):
        values = array(values)
        (line,) = ax.plot(x, values.mean(1), linestyle=DASHES[i % 4], label=f"{name}, recorded")
        ax.fill_between(x, values.min(1), values.max(1), color=line.get_color(), alpha=0.12, linewidth=0)
        colours[name] = line.get_color()
        handles.append(line)
    for name, values in levels.items():
        values, colours[name] = array(values), "#666666"
        handles.append(ax.axhline(values.mean(), color="#666666", linestyle=(0, (9, 3)), label=f"{name}, recorded"))
        ax.axhspan(values.min(), values.max(), color="#666666", alpha=0.12, linewidth=0)
    for name, points in live.items():
        style = {"color": colours[name], "markeredgecolor": "black", "markersize": 11, "linestyle": "none"}
        handles += ax.plot(list(points), list(points.values()), "o", label=f"{name}, live", clip_on=False, **style)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    fig.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=2.6)
    means = {name: array(values).mean(1) for name, values in recorded.items()}
    said = _said("Recorded curves", x, means, xlabel, ylabel) + _levels({n: array(v).mean() for n, v in levels.items()})
    return finish(fig, takeaway, f"{said} {_measured(live)}")


@styled
def bars(
    values: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]] | None = None,
    xlabel: str = "",
    takeaway: str = "",
    controls: Sequence[str] = (),
    fmt: str = ".1f",
) -> Figure:
    """Horizontal bars {name: value} from zero with their numbers; intervals {name: (low, high)}; names in
    `controls` are grey."""
    fig, ax = subplots(figsize=(9, 0.55 * len(values) + 1.6))
    intervals = intervals or {}
    for row, (name, value) in enumerate(values.items()):
        ax.barh(row, value, height=0.62, color=CONTROL if name in controls else "#0072B2")
        low, high = intervals.get(name, (value, value))
        if name in intervals:
            ax.plot([low, high], [row, row], color="#111111", linewidth=2, solid_capstyle="butt")
        ax.annotate(format(value, fmt), (max(value, high, 0), row), (7, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.12)
    said = {name: format(value, fmt) for name, value in values.items()}
    for name, (low, high) in intervals.items():
        if name in said:
            said[name] += f" (from {format(low, fmt)} to {format(high, fmt)})"
    return finish(fig, takeaway, f"Bars{f', {xlabel}' if xlabel else ''}: {valued(said, 12)}.")


@styled
def forest(
    rows: Mapping[str, tuple[float, float, float]],
    xlabel: str,
    takeaway: str = "",
    fmt: str = "+.1f",
    better: tuple[str, str] = ("", ""),
) -> Figure:
    """Paired differences, a row each: a point with its interval, and the numbers at the right.

    A point is filled if its interval leaves out 0, hollow if not: such a difference is not decided.

    rows: {name: (difference, low, high)}; fmt: of the numbers; better: what a difference below 0 and one above 0
    mean, such as ("CAM better", "Grad-CAM better")
    """
    fig, ax = subplots(figsize=(9, 0.55 * len(rows) + 2.0))
    ax.axvline(0, color="#444444", linewidth=1.5)
    said = {}
    for row, (name, (difference, low, high)) in enumerate(rows.items()):
        decided = low > 0 or high < 0
        colour = "#0072B2" if decided else "#666666"
        ax.plot([low, high], [row, row], color=colour, linewidth=2.5, solid_capstyle="butt")
        ax.plot(difference, row, "o", color=colour, markerfacecolor=colour if decided else "white", markersize=10)
        numbers = f"{format(difference, fmt)} [{format(low, fmt)}, {format(high, fmt)}]"
        said[name] = numbers if decided else f"{numbers}, not decided"
        ax.annotate(numbers.replace("-", MINUS), (1.02, row), xycoords=("axes fraction", "data"), va="center")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.margins(x=0.08)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(xlabel)
    for words, arrow, place, side in zip(better, ("\u2190 {}", "{} \u2192"), (0, 1), ("left", "right"), strict=True):
        if words:
            ax.annotate(arrow.format(words), (place, 1.02), xycoords="axes fraction", ha=side, va="bottom")
    dots = {"decided: the interval leaves out 0": "#0072B2", "not decided": "white"}
    style = {"marker": "o", "linestyle": "none", "markersize": 10}
    edges = ["#0072B2", "#666666"]
    handles = [Line2D([], [], mfc=c, mec=e, label=n, **style) for (n, c), e in zip(dots.items(), edges, strict=True)]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
    return finish(fig, takeaway, f"Differences with intervals and a line at 0, {xlabel}: {valued(said)}.")


@styled
def seeds(
    panels: Mapping[str, Mapping[str, Any]],
    takeaway: str = "",
    levels: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """The same training runs with several seeds: a hollow dot for each seed, a bar and a number for their mean.

    The dots of a row stand one below the other in the order of their seeds, so that none hides another.

    panels: {xlabel: {name: (seeds,)}}, side by side, with the same names as rows
    levels: {xlabel: {name: x}}, dashed grey lines across all rows, such as controls
    """
    names, said = list(next(iter(panels.values()))), []
    dot = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "color": "#111111", "linestyle": "none"}
    fig, axes = subplots(1, len(panels), squeeze=False, sharey=True, figsize=(WIDTH, 0.7 * len(names) + 2.2))
    for ax, (xlabel, rows) in zip(axes[0], panels.items(), strict=True):
        for row, name in enumerate(names):
            values = array(rows[name])
            ax.vlines(values.mean(), row - 0.26, row + 0.26, color="#0072B2", linewidth=4)
            heights = np.linspace(row - 0.32, row + 0.32, len(values) + 2)[1:-1]  # seed 0 on top
            ax.plot(values, heights, **dot)
            number = ax.annotate(f"{values.mean():.1f}", (values.mean(), row - 0.3), ha="center", va="bottom")
            number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
        for name, x in (levels or {}).get(xlabel, {}).items():
            ax.axvline(x, color="#666666", linewidth=2, linestyle=(0, (6, 3)), label=name, zorder=0)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.7)
        ax.margins(x=0.12)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(xlabel)
        found = {name: array(values) for name, values in rows.items()}
        spans = {name: f"{v.mean():.1f} ({v.min():.1f} to {v.max():.1f})" for name, v in found.items()}
        said.append(f"{xlabel}: {valued(spans)}.{_levels((levels or {}).get(xlabel))}")
    handles = [Line2D([], [], label="one seed", **dot), Line2D([], [], color="#0072B2", linewidth=4, label="mean")]
    handles += [line for ax in axes[0] for line in ax.get_legend_handles_labels()[0]]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return finish(fig, takeaway, f"Means over seeds, with the lowest and the highest. {' '.join(said)}")


@styled
def live_over_recorded(
    panels: Mapping[str, Mapping[str, Any]],
    live: Mapping[str, Mapping[str, Mapping[Any, float]]],
    xlabel: str,
    takeaway: str = "",
    levels: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Curves recorded earlier, and over them the points that were measured just now.

    panels: {ylabel: {name: table}}, one panel each; a table has a row for each run and a column for each value at which
            was measured, drawn evenly spaced, the same for all. The line is the mean of the runs, the band goes from
            the least to the most; NaN is nothing
    live:   {ylabel: {name: {value of x: y}}}, drawn as diamonds in the colour of the line of that name
    levels: {ylabel: {name: y}}, grey horizontal lines, such as controls
    """
    x = list(next(iter(next(iter(panels.values())).values())).columns)
    fig, axes = subplots(1, len(panels), squeeze=False, figsize=(WIDTH, 5.2))
    for ax, (ylabel, lines) in zip(axes[0], panels.items(), strict=True):
        for name, y in (levels or {}).get(ylabel, {}).items():
            ax.axhline(y, color=CONTROL, linewidth=2)
            ax.annotate(name, (len(x) - 1, y), (0, 5), textcoords="offset points", color="#666666", ha="right")
        for style, (name, measured) in zip(("solid", (0, (5, 2)), (0, (1, 1.2))), lines.items(), strict=False):
            measured = array(measured).astype(np.float64)
            there = ~np.isnan(measured).any(0)
            places = np.arange(len(x))[there]
            measured = measured[:, there]
            (line,) = ax.plot(places, measured.mean(0), linestyle=style, label=f"{name}, recorded")
            ax.fill_between(places, measured.min(0), measured.max(0), color=line.get_color(), alpha=0.18, linewidth=0)
            now = live.get(ylabel, {}).get(name, {})
            if now:
                marker = dict(linestyle="none", marker="D", markersize=11, markeredgecolor="#111111")
                ax.plot(
                    [list(x).index(v) for v in now],
                    list(now.values()),
                    color=line.get_color(),
                    **marker,
                    label=f"{name}, live",
                )
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.set_xticks(range(len(x)), [str(value) for value in x])
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=2, handlelength=2.6)
    said = [
        _said("Recorded curves", x, {name: array(each).mean(0) for name, each in lines.items()}, xlabel, ylabel)
        + f" {_measured(live.get(ylabel, {}))}"
        for ylabel, lines in panels.items()
    ]
    return finish(fig, takeaway, " ".join(said))


@styled
def ours_beside_published(table: Any, xlabel: str, takeaway: str = "") -> Figure:
    """A row for each line of `published.beside`: our figure as a disc, the published one as a diamond,
    joined by a line; a column `spread`, if there is one, as a bar around ours."""
    fig, ax = subplots(figsize=(9, 0.6 * len(table) + 1.9))
    rows = range(len(table))
    ax.hlines(rows, table["ours"], table["published"], color=CONTROL, linewidth=2)
    ax.plot(table["published"], rows, "D", color="#D55E00", label="published")
    spread = "spread" in table and table["spread"].notna().any()
    ours = "ours, with the standard deviation over seeds" if spread else "ours"
    ax.plot(table["ours"], rows, "o", color="#0072B2", label=ours)
    if spread:
        ax.errorbar(table["ours"], rows, xerr=table["spread"].fillna(0), fmt="none", ecolor="#0072B2", elinewidth=2)
    ax.set_yticks(rows, [str(name) for name in table.index])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel(xlabel)
    ax.tick_params(axis="y", length=0)
    fig.legend(loc="outside lower center", ncols=2)
    said = {
        str(name): " and ".join(f"{kind} {row[kind]:.1f}" for kind in ("ours", "published") if row[kind] == row[kind])
        for name, row in table.iterrows()
    }
    return finish(fig, takeaway, f"Rows of {xlabel}, ours beside published: {valued(said)}.")


def _legend_below(fig: Figure, names: Iterable[str]) -> None:
    """A legend that covers no curve."""
    longest = max(len(name) for name in names)
    columns = 4 if longest < 10 else 3 if longest < 20 else 2 if longest < 34 else 1
    fig.legend(loc="outside lower center", ncols=columns, handlelength=2.6)


def _said(
    kind: str, x: Any, lines: Mapping[str, Any], xlabel: str, ylabel: str, marks: Mapping[str, float] | None = None
) -> str:
    """Curves in words: the axes, and the first and the last value of each line."""
    places, ends = list(x) if isinstance(x, list) else array(x).tolist(), {}
    for name, y in lines.items():
        known = [float(each) for each in array(y) if each == each]
        ends[name] = f"from {known[0]:.3g} to {known[-1]:.3g}" if known else "without a value"
    said = f"{kind} of {ylabel} over {xlabel}, {_place(places[0])} to {_place(places[-1])}: {valued(ends)}."
    return said + (f" Marked: {listed(f'{name} at {place:g}' for name, place in marks.items())}." if marks else "")


def _levels(levels: Mapping[str, float] | None) -> str:
    return f" Levels: {valued({name: f'{y:.3g}' for name, y in levels.items()})}." if levels else ""


def _measured(live: Mapping[str, Mapping[Any, float]]) -> str:
    """Points that were measured just now, in words."""
    said = {name: ", ".join(f"{y:.3g} at {_place(x)}" for x, y in points.items()) for name, points in live.items()}
    return f"Measured in this run: {valued(said)}." if said else ""


def _place(x: Any) -> str:
    return x if isinstance(x, str) else f"{x:g}"
