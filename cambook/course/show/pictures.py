"""Figures of the course in one style: pictures with maps and boxes, small matrices, curves, bars.

Importing this module applies the style. A figure returned is already closed for pyplot, so that a notebook
shows it once, as the value of its cell. Arguments may be torch tensors or numpy arrays.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.patheffects as patheffects
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from cambook import boxes, maps
from cambook.paths import atomic_write

plt.style.use(Path(__file__).with_name("cambook.mplstyle"))
plt.rcParams["figure.dpi"] *= float(os.environ.get("CAMBOOK_SHARPNESS", 1))  # set by runs.execute

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
        raise ValueError(
            f"overlay draws one map (h, w), not {value.shape}: choose one, for instance maps[0, c]."
        )
    if not (value.min() >= -1e-4 and value.max() <= 1 + 1e-4):
        raise ValueError(
            f"the map runs from {value.min():.3g} to {value.max():.3g}: "
            "bring it to [0, 1] with cambook.maps.normalize."
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


def picture(
    ax: Axes,
    image: Any,
    map: Any = None,
    truth: Any = None,
    predicted: Any = None,
    title: str | None = None,
    iou: bool = True,
) -> None:
    """One picture on `ax`, with its map over it, its boxes, and below it the IoU of the two kinds of boxes.

    map: as in `overlay`; truth, predicted: one box (x0, y0, x1, y1) or several (n, 4), half-open, in pixels
    of the picture.
    iou: whether it is written; it is the best over all pairs of a true and a predicted box.
    """
    shown = pixels(image) if map is None else overlay(image, map)
    height, width = shown.shape[:2]
    ax.imshow(shown, extent=(0, width, height, 0), interpolation="antialiased")
    for kind, found in zip(LINES, (_boxes(truth), _boxes(predicted)), strict=True):
        colour, style = LINES[kind]
        for x0, y0, x1, y1 in found:
            outline = dict(fill=False, clip_on=False)
            ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, edgecolor="#111111", linewidth=4.6, **outline))
            ax.add_patch(
                Rectangle(
                    (x0, y0), x1 - x0, y1 - y0, edgecolor=colour, linewidth=2.6, linestyle=style, **outline
                )
            )
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title)
    if iou and len(_boxes(truth)) and len(_boxes(predicted)):
        ax.set_xlabel(f"IoU {boxes.box_iou(_boxes(truth), _boxes(predicted)).max():.2f}")


def pictures(
    images: Iterable[Any],
    maps: Iterable[Any] | None = None,
    truth: Iterable[Any] | None = None,
    predicted: Iterable[Any] | None = None,
    titles: Iterable[str] | None = None,
    takeaway: str = "",
    columns: int | None = None,
    dashed: str = "predicted box",
    iou: bool = True,
) -> Figure:
    """A grid of pictures, each as in `picture`, with one legend and the takeaway as title.

    images: B pictures, or one (3, H, W) tensor for every map; maps, truth, predicted, titles: one entry a
    picture, None for nothing.
    An entry of `predicted` that is None beside a true box reads "no box". columns: default all in one row,
    up to five. dashed: what the legend calls the boxes of `predicted`; iou: whether it stands below pictures with both.
    raises: ValueError where the lists differ in length
    """
    given = {"maps": maps, "truth": truth, "predicted": predicted, "titles": titles}
    given = {name: list(values) for name, values in given.items() if values is not None}
    if getattr(images, "ndim", 4) == 3:
        images = [images] * max((len(values) for values in given.values()), default=1)
    images = list(images)
    for name, values in given.items():
        if len(values) != len(images):
            raise ValueError(
                f"{len(images)} pictures but {len(values)} {name}: give one a picture, None for nothing."
            )
    columns = columns or min(len(images), 5)
    rows = -(-len(images) // columns)
    side = min(WIDTH / columns, 4.2)
    height, width = pixels(images[0]).shape[:2]
    fig, axes = _subplots(
        rows,
        columns,
        squeeze=False,
        figsize=(max(side * columns, 5.5), round(rows * (side * height / width + 0.55) + 0.9, 1)),
    )
    entries = [{name: values[i] for name, values in given.items()} for i in range(len(images))]
    for ax, image, entry in zip(axes.flat, images, entries, strict=False):
        picture(ax, image, entry.get("maps"), entry.get("truth"), entry.get("predicted"), entry.get("titles"), iou)
        if "predicted" in given and len(_boxes(entry.get("truth"))) and not len(_boxes(entry["predicted"])):
            ax.set_xlabel("no box")
    for ax in list(axes.flat)[len(images) :]:
        ax.set_axis_off()
    drawn = zip(LINES, ("truth", "predicted"), strict=True)
    kinds = [kind for kind, name in drawn if any(len(_boxes(box)) for box in given.get(name, []))]
    if kinds:
        fig.legend(
            handles=[_line(kind) for kind in kinds],
            labels=[dashed if kind == "predicted box" else kind for kind in kinds],
            loc="outside lower center",
            ncols=2,
            handlelength=3,
        )
    return _finish(fig, takeaway)


def grid(rows: Mapping[str, Sequence[Any]], columns: Sequence[str] = (), takeaway: str = "") -> Figure:
    """Pictures and maps in rows with a name each, under named columns.

    rows: {name: cells}; a cell is a picture as in `pixels` (for instance from `overlay`), a map (h, w) in [0, 1],
    drawn in magma, or None for nothing
    """
    count = max(len(cells) for cells in rows.values())
    side = min((WIDTH - 1.9) / count, 1.15)
    fig, axes = _subplots(
        len(rows), count, squeeze=False, figsize=(side * count + 1.9, len(rows) * (side + 0.08) + 1.1)
    )
    for line, (name, cells) in zip(axes, rows.items(), strict=True):
        for ax, cell in zip(line, [*cells, *[None] * (count - len(cells))], strict=True):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if cell is not None and array(cell).ndim == 2:
                ax.imshow(array(cell), vmin=0, vmax=1, cmap="magma", interpolation="nearest")
            elif cell is not None:
                ax.imshow(pixels(cell), interpolation="antialiased")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], columns, strict=False):
        ax.set_title(title)
    return _finish(fig, takeaway)


def cells(images: Iterable[Any], maps_: torch.Tensor, alone: bool = False) -> list[np.ndarray]:
    """Cells for `grid`: what speaks for the class in maps (B, 1, h, w), each scaled to its own maximum.

    alone: without the picture under it, and with the highest 1% of the pixels cut to one value: for maps of single
           pixels, which cannot be seen over a picture
    """
    values = maps_.detach().cpu().clamp(min=0)
    if not alone:
        return [overlay(image, one[0]) for image, one in zip(images, maps.normalize(values), strict=True)]
    highest = values.flatten(1).quantile(0.99, dim=1).clamp(min=1e-12)[:, None, None]
    return list((values[:, 0] / highest).clamp(max=1).numpy())


def top_classes(
    image: Any, names: Sequence[str], probabilities: Any, maps: Any, takeaway: str = "", predicted: Any = None
) -> Figure:
    """The picture, then the map of each of its likeliest classes with its probability, as in figure 4 of
    Zhou et al. 2016.

    image: (3, H, W); names: C names; probabilities: (C,), likeliest first; maps: (C, h, w), each in [0, 1];
    predicted: C boxes
    """
    titles = ["the picture"] + [
        f"{textwrap.fill(name, 24)}\n{probability:.0%}"
        if probability >= 0.01
        else f"{textwrap.fill(name, 24)}\nunder 1%"
        for name, probability in zip(names, array(probabilities), strict=True)
    ]
    boxes_found = None if predicted is None else [None, *predicted]
    columns = len(titles) if len(titles) <= 4 else -(-len(titles) // 2)
    shown = [None, *array(maps)]
    return pictures([image] * len(titles), shown, None, boxes_found, titles, takeaway, columns)


def branches(
    images: Any,
    maps_a: Any,
    maps_b: Any,
    fused: Any,
    delta: float,
    truth: Sequence[Any],
    predicted: Sequence[Any],
    names: Sequence[str],
    takeaway: str = "",
) -> Figure:
    """ACoL's two branches, a row a picture: A's map, what its erasing leaves for B, B's map, the fused map with boxes.

    images: (B, 3, H, W); maps_a, maps_b, fused: (B, h, w) in [0, 1]; delta: what is at least as high in A's is grey
    truth, predicted: B boxes or None, on the fused map; names: of the class whose maps they are
    """
    panels, shown, drawn, found, titles = [], [], [], [], []
    for image, a, b, both, true, ours, name in zip(
        images, array(maps_a), array(maps_b), array(fused), truth, predicted, names, strict=True
    ):
        panels += [image, left_over(image, a < delta), image, image]
        shown += [a, None, b, both]
        drawn += [None, None, None, true]
        found += [None, None, None, ours]
        titles += [f"A: {name}", "left for B", "B", "fused"]
    return pictures(panels, shown, drawn, found, titles, takeaway, columns=4)


def proposals(
    image: Any,
    candidates: Any,
    map2d: Any,
    predicted: Any,
    titles: tuple[str, str],
    takeaway: str = "",
    drawn: int = 150,
) -> Figure:
    """Candidate boxes on a picture beside the same picture with its map and the box read off it.

    image: (3, H, W); candidates: (N, 4), of which `drawn`, evenly chosen, are shown as thin lines
    map2d: (h, w) in [0, 1]; predicted: one box; titles: of the two panels
    """
    chosen = _boxes(candidates)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(drawn, len(chosen))).round().astype(int)]
    height, width = pixels(image).shape[:2]
    fig, axes = _subplots(1, 2, figsize=(WIDTH, round(WIDTH / 2 * height / width + 1.3, 1)))
    picture(axes[0], image, title=titles[0])
    for x0, y0, x1, y1 in chosen:
        axes[0].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="#111111", linewidth=0.7))
    picture(axes[1], image, map2d, predicted=predicted, title=titles[1])
    fig.legend(handles=[_line("predicted box")], loc="outside lower center", handlelength=3)
    return _finish(fig, takeaway)


def matrix(
    ax: Axes, values: Any, title: str = "", fmt: str = "g", limits: tuple[float, float] | None = None
) -> None:
    """A small matrix (h, w) or vector (n,), drawn as a row, with every number written in its cell.

    fmt: format of a number ("g", ".2f"); limits: the values drawn darkest and lightest,
    default 0 or the minimum, whichever is lower, to the maximum
    """
    values = np.atleast_2d(array(values)) + 0  # no number is written as -0
    low, high = limits or (min(float(values.min()), 0.0), max(float(values.max()), 0.0))
    high = high if high > low else low + 1.0
    ax.imshow(values, vmin=low, vmax=high, cmap="magma")
    for (row, column), value in np.ndenumerate(values):
        dark = (value - low) / (high - low) < 0.6
        text = format(value, fmt).replace("-", "\N{MINUS SIGN}")
        ax.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    for edge in range(1, max(values.shape)):
        for line, size in ((ax.axvline, values.shape[1]), (ax.axhline, values.shape[0])):
            if edge < size:
                line(edge - 0.5, color="white", linewidth=1)


def matrices(
    values: Mapping[str, Any], takeaway: str = "", fmt: str = "g", signs: Sequence[str] = ()
) -> Figure:
    """A row of small matrices {title: values} as in `matrix`, one common scale; signs ("+", "=") are written
    between them."""
    arrays = {title: np.atleast_2d(array(value)) for title, value in values.items()}
    lowest, highest = min(a.min() for a in arrays.values()), max(a.max() for a in arrays.values())
    widths = [a.shape[1] for a in arrays.values()]
    tallest = max(a.shape[0] for a in arrays.values())
    cell = min(0.7, (WIDTH - 0.6 * len(arrays)) / sum(widths))
    size = (max(cell * sum(widths) + 0.9 * len(arrays), 6.0), cell * tallest + 1.5)
    fig, axes = _subplots(1, len(arrays), squeeze=False, figsize=size, width_ratios=widths)
    for ax, (title, value) in zip(axes[0], arrays.items(), strict=True):
        matrix(ax, value, title, fmt, (min(float(lowest), 0.0), max(float(highest), 0.0)))
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
    return _finish(fig, takeaway)


def ledger(
    table: Any, rows: Sequence[str], right: str, below: str, takeaway: str = "", fmt: str = "g"
) -> Figure:
    """A table (K, Z) with its row sums at the right, its column sums below and their common total in the corner.

    rows: K names of the rows; right, below: what the row sums and the column sums are
    """
    table = array(table)
    (count, places), cell = table.shape, min(0.72, (WIDTH - 2.2) / (table.shape[1] + 1))
    fig, axes = _subplots(
        2,
        2,
        figsize=(cell * (places + 1) + 2.2, cell * (count + 1) + 1.7),
        width_ratios=[places, 1],
        height_ratios=[count, 1],
    )
    sums = {(0, 0): table, (0, 1): table.sum(1)[:, None], (1, 0): table.sum(0), (1, 1): table.sum()}
    limits = (float(table.min()), float(max(table.max(), table.sum(0).max())))
    for where, values in sums.items():
        matrix(axes[where], values, fmt=fmt, limits=limits)
    axes[0, 0].set_yticks(range(count), rows)
    axes[1, 0].set_yticks([0], [below])
    axes[0, 1].set_title(right)
    axes[1, 1].set_xlabel("total")
    for ax in axes.flat:
        ax.tick_params(length=0)
    return _finish(fig, takeaway)


def layers(
    rows: Mapping[str, Sequence[tuple[str, str]]],
    takeaway: str = "",
    arrows: Sequence[tuple[tuple[int, int], tuple[int, int]]] = (),
) -> Figure:
    """Networks as rows of blocks {network: [(block, fate), ...]}, fate "kept", "new", "removed", "erased" (what goes in
    comes out with gaps) or "learns on" (trained before, and again).

    A block's text may hold line breaks, for instance "conv\\n3x3, 1024".
    arrows: more of them, from below a block to above another one in a lower row, each block as (row, place)
    raises: ValueError for another fate
    """
    widest = max(len(blocks) for blocks in rows.values())
    fig, ax = _subplots(figsize=(WIDTH, 1.25 * len(rows) + 1.2))
    for row, (network, blocks) in enumerate(rows.items()):
        ax.text(-0.15, row, network, ha="right", va="center", fontweight="bold")
        for column, (block, fate) in enumerate(blocks):
            if fate not in FATES:
                raise ValueError(f"block {block!r} of {network} is {fate!r}: use one of {', '.join(FATES)}.")
            ax.add_patch(_block((column, row - 0.36), 0.84, 0.72, fate))
            ax.text(
                column + 0.42,
                row,
                block,
                ha="center",
                va="center",
                color="#666666" if fate in ("removed", "erased") else "black",
            )
            if column:
                ax.annotate(
                    "",
                    (column, row),
                    (column - 0.16, row),
                    arrowprops={"arrowstyle": "->", "color": "#444444"},
                )
    for (row, place), (lower, target) in arrows:
        ends = (target + 0.42, lower - 0.37), (place + 0.42, row + 0.37)
        ax.annotate("", *ends, arrowprops={"arrowstyle": "->", "color": "#444444"})
    used = [fate for fate in FATES if any(fate == each for blocks in rows.values() for _, each in blocks)]
    fig.legend(
        handles=[_block((0, 0), 1, 1, fate) for fate in used],
        labels=used,
        loc="outside lower center",
        ncols=3,
    )
    ax.set(xlim=(-1.3, widest), ylim=(len(rows) - 0.5, -0.5))
    ax.set_axis_off()
    return _finish(fig, takeaway)


def _block(corner: tuple[float, float], width: float, height: float, fate: str) -> Rectangle:
    face, edge = FATES[fate]
    style = "dotted" if fate in ("removed", "erased") else "solid"
    return Rectangle(corner, width, height, facecolor=face, edgecolor=edge, linewidth=2, linestyle=style)


def curves(
    x: Any,
    lines: Mapping[str, Any],
    xlabel: str,
    ylabel: str,
    takeaway: str = "",
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Lines {name: y} over a common x, each told apart by colour and dash; marks {name: x} are vertical
    lines."""
    fig, ax = _subplots(figsize=(9, 5))
    styles = ["solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1.2, 2)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1))]
    for i, (name, y) in enumerate(lines.items()):
        ax.plot(array(x), array(y), label=name, linestyle=styles[i % len(styles)])
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
        ax.legend(handlelength=2.6)
    return _finish(fig, takeaway)


def threshold_curves(
    thresholds: Any, lines: Mapping[str, Any], xlabel: str, ylabel: str, takeaway: str = "", marks: Sequence[float] = ()
) -> Figure:
    """Lines {name: y} over thresholds, a dot at the best of each, which the legend beside the figure also gives.

    marks: thresholds with a thin vertical line and their percent above it
    """
    fig, ax = _subplots(figsize=(WIDTH, 5.4))
    x = array(thresholds)
    styles = ["solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1.2, 2)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1))]
    for i, (name, y) in enumerate(lines.items()):
        y = array(y)
        best = int(y.argmax())
        (line,) = ax.plot(x, y, label=f"{name}\n{y[best]:.1f} at {x[best]:.2f}", linestyle=styles[i % len(styles)])
        ax.plot(x[best], y[best], "o", color=line.get_color(), markeredgecolor="white", markersize=12, zorder=3)
    for i, place in enumerate(marks):  # neighbours are written away from each other
        ax.axvline(place, color="#444444", linewidth=1.2, zorder=0)
        where = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        ax.annotate(f"{place:.0%}", (place, 1), (4 if i % 2 else -4, 4), ha="left" if i % 2 else "right", **where)
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1))
    ax.set_ylim(bottom=0)
    fig.legend(loc="outside right center", handlelength=2.6, labelspacing=0.9)
    return _finish(fig, takeaway)


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
    fig, ax = _subplots(figsize=(WIDTH, 5.4))
    styles = ["solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1.2, 2)), (0, (9, 3))]
    for i, (name, values) in enumerate(lines.items()):
        values = np.atleast_2d(array(values))
        (line,) = ax.plot(x, values.mean(0), "o", label=name, linestyle=styles[i % len(styles)])
        low, high = np.quantile(values, [0.05, 0.95], axis=0)
        ax.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    for i, (name, y) in enumerate((levels or {}).items()):
        ax.axhline(y, color="#666666", linewidth=2, label=name, linestyle=[(0, (6, 3)), (0, (1, 2))][i % 2], zorder=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale="log")
    ax.set_xticks(x, [f"{number:g}" for number in x])
    ax.minorticks_off()
    fig.legend(loc="outside right center", handlelength=2.6, labelspacing=0.9)
    return _finish(fig, takeaway)


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

    recorded: {name: (n, seeds)} values at the n places of x: the mean as a line, least to most as a band
    live:     {name: {x: y}} points of this run, as discs in the colour of the recorded line of that name; a name that
              is in `levels` is drawn in its colour
    levels:   {name: (seeds,)} what does not depend on x: the mean as a dashed line across, least to most as a band
    """
    fig, ax = _subplots(figsize=(10, 5.6))
    colours, handles = {}, []
    styles = ["solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1.2, 2))]
    for i, (name, values) in enumerate(recorded.items()):
        values = array(values)
        (line,) = ax.plot(x, values.mean(1), linestyle=styles[i % 4], label=f"{name}, recorded")
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
    fig.legend(handles=handles, loc="outside right center", handlelength=2.6)
    return _finish(fig, takeaway)


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
    fig, ax = _subplots(figsize=(9, 0.55 * len(values) + 1.6))
    intervals = intervals or {}
    for row, (name, value) in enumerate(values.items()):
        ax.barh(row, value, height=0.62, color=CONTROL if name in controls else "#0072B2")
        low, high = intervals.get(name, (value, value))
        if name in intervals:
            ax.plot([low, high], [row, row], color="#111111", linewidth=2, solid_capstyle="butt")
        ax.annotate(
            format(value, fmt), (max(value, high, 0), row), (7, 0), textcoords="offset points", va="center"
        )
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.12)
    return _finish(fig, takeaway)


def labelled(image: Any, labels: Any, strength: float = 0.6) -> np.ndarray:
    """The picture with its pixels tinted by what they are said to be: object orange, unknown grey, background as it is.

    image: (3, H, W) or (H, W, 3) in [0, 1]; labels: (H, W), 1 object, 0 background, -100 unknown, or bool
    returns: (H, W, 3) uint8; raises: ValueError where the labels have not the picture's size
    """
    picture, labels = pixels(image).astype(np.float64), array(labels)
    if labels.shape != picture.shape[:2]:
        raise ValueError(f"labels {labels.shape} on a picture {picture.shape[:2]}: give one label a pixel.")
    for value, colour in ((1, FOUND), (-100, CONTROL)):
        tint = 255 * np.array(to_rgb(colour))
        where = labels == value
        picture[where] = (1 - strength) * picture[where] + strength * tint
    return picture.round().astype(np.uint8)


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
    fig, axes = _subplots(1, len(panels), squeeze=False, figsize=(WIDTH, 5.2))
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
    return _finish(fig, takeaway)


def ours_beside_published(table: Any, xlabel: str, takeaway: str = "") -> Figure:
    """A row for each line of `published.beside`: our figure as a disc, the published one as a diamond,
    joined by a line; a column `spread`, where there is one, as a bar around ours."""
    fig, ax = _subplots(figsize=(9, 0.6 * len(table) + 1.9))
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
    return _finish(fig, takeaway)


def save(fig: Figure, path: str | os.PathLike) -> Path:
    """Write the figure at twice the size it has in a notebook; the ending of `path` names the format."""
    with atomic_write(path) as temporary:
        fig.savefig(temporary)
    return Path(path)


def _boxes(found: Any) -> np.ndarray:
    """(n, 4) boxes from one box, several, an empty list or None."""
    return np.zeros((0, 4)) if found is None else array(found).reshape(-1, 4).astype(np.float64)


def _line(kind: str) -> Line2D:
    colour, style = LINES[kind]
    outline = [patheffects.Stroke(linewidth=4.6, foreground="#111111"), patheffects.Normal()]
    return Line2D([], [], color=colour, linestyle=style, label=kind, path_effects=outline)


def _subplots(*shape: int, **options: Any) -> tuple[Figure, Any]:
    """plt.subplots, closed for pyplot at once: a notebook shows the figure where it is a value, and nowhere
    else."""
    fig, axes = plt.subplots(*shape, **options)
    plt.close(fig)
    return fig, axes


def _finish(fig: Figure, takeaway: str) -> Figure:
    """Give the figure its takeaway as title, broken only where the figure is too narrow for it."""
    if takeaway:
        fig.suptitle(textwrap.fill(takeaway, int(fig.get_figwidth() * 7.4)))
    return fig
