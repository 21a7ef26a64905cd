"""Images with maps, masks and boxes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cambook.course.show.described import finish, listed
from cambook.course.show.images import (
    LEVEL,
    array,
    as_boxes,
    enlarged,
    frame_of,
    overlaid_colours,
    overlay,
    sized,
    smooth_mask,
)
from cambook.course.show.style import LINES, PREDICTED, WIDTH, box_line, colour_bar, edged_line, styled, subplots
from cambook.maps import boxes

OUTLINES = ("solid", (0, (3, 1.5)), (0, (1, 1)))  # of several masks on one image


@styled
def picture(
    ax: Axes,
    image: Any,
    map: Any = None,
    truth: Any = None,
    predicted: Any = None,
    title: str | None = None,
    iou: bool = True,
    frame: int | tuple[int, int] | None = None,
    outline: Any = None,
    level: float | None = LEVEL,
) -> None:
    """One image on `ax`, with its map over it, its boxes, and below it the IoU of the two kinds of boxes.

    map: as in `overlay`; truth, predicted: one box (x0, y0, x1, y1) or several (n, 4), half-open, in pixels of the
    image that they were found on.
    iou: whether it is written; it is the best over all pairs of a true and a predicted box.
    frame: side or (H, W) of that image; None: the one that is drawn. outline: a mask (h, w) of any size, or several
    (n, h, w), drawn as lines. level: value of the map along which a line is drawn, such as a threshold; None for none
    """
    shown = enlarged(image)
    height, width = frame_of(image, frame)
    if map is not None:
        shown = overlay(shown, map, level=None)  # the line is drawn finer below
    ax.imshow(shown, extent=(0, width, height, 0), interpolation="antialiased")
    if map is not None and level is not None:
        _contour(ax, sized(map, shown.shape[:2]), level, (height, width), PREDICTED, "solid", 1.6)
    if outline is not None:
        for mask, style in zip(_masks(outline), OUTLINES, strict=False):
            smooth = smooth_mask(mask, shown.shape[:2])
            _contour(ax, smooth.astype(float), 0.5, (height, width), "white", style, 2.0)
    for kind, found in zip(LINES, (as_boxes(truth), as_boxes(predicted)), strict=True):
        colour, style = LINES[kind]
        for x0, y0, x1, y1 in found:
            edges = dict(fill=False, clip_on=False)
            ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, edgecolor="#111111", linewidth=4.6, **edges))
            ax.add_patch(
                Rectangle((x0, y0), x1 - x0, y1 - y0, edgecolor=colour, linewidth=2.6, linestyle=style, **edges)
            )
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title, pad=8)
    if iou and len(as_boxes(truth)) and len(as_boxes(predicted)):
        ax.set_xlabel(f"IoU {_iou(truth, predicted):.2f}", labelpad=8)


@styled
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
    frame: int | tuple[int, int] | None = None,
    outlines: Iterable[Any] | None = None,
    outlined: str | Sequence[str] = "mask",
    level: float | Sequence[float | None] | None = LEVEL,
    bar: str = "",
    solid: str = "true box",
) -> Figure:
    """A grid of images, each as in `picture`, with one legend and the takeaway as title.

    images: B images, or one (3, H, W) tensor for every map; maps, truth, predicted, titles, outlines: one entry per
    image, None for nothing.
    An entry of `predicted` that is None beside a true box reads "no box". columns: default up to four.
    solid, dashed, outlined: what the legend calls the boxes of `truth`, those of `predicted`, and the outlines (a name
    for each if an image has several); iou: whether it stands below images with both kinds of boxes.
    frame, level: as in `picture`, level also one per image; bar: label of a colour bar for the maps
    raises: ValueError if the lists differ in length
    """
    given = {"maps": maps, "truth": truth, "predicted": predicted, "titles": titles, "outlines": outlines}
    given = {name: list(values) for name, values in given.items() if values is not None}
    if getattr(images, "ndim", 4) == 3:
        images = [images] * max((len(values) for values in given.values()), default=1)
    images = list(images)
    given["levels"] = list(level) if isinstance(level, Sequence) else [level] * len(images)
    for name, values in given.items():
        if len(values) != len(images):
            raise ValueError(f"{len(images)} images but {len(values)} {name}: give one per image, None for nothing.")
    columns = columns or -(-len(images) // -(-len(images) // 4))
    rows = -(-len(images) // columns)
    side = min(WIDTH / columns, 4.2)
    if "titles" in given:
        given["titles"] = [wrapped(title, side) for title in given["titles"]]
    entries = [{name: values[i] for name, values in given.items()} for i in range(len(images))]
    below = [_below(entry, iou) for entry in entries]
    tall = [height / width for height, width in (frame_of(image, frame) for image in images)]
    tall = [max(tall[row * columns : (row + 1) * columns]) for row in range(rows)]  # of each row
    lines = max((1 + title.count("\n") for title in given.get("titles", []) if title), default=0)
    drawn = (0.84 if bar else 0.93) * side
    apart = 0.08 if any(below) and lines and rows > 1 else 0.0  # inches between what stands below one and above another
    height = drawn * sum(tall) + rows * (0.25 * lines + 0.36 * any(below) + 0.12 + 2 * apart)
    fig, axes = subplots(
        rows,
        columns,
        squeeze=False,
        figsize=(max(side * columns, 5.5), round(height + 0.95, 1)),
        layout="compressed",
        height_ratios=tall,
    )
    fig.get_layout_engine().set(h_pad=0.08 + apart)
    for ax, image, entry, said in zip(axes.flat, images, entries, below, strict=False):
        parts = (entry.get(name) for name in ("maps", "truth", "predicted", "titles"))
        picture(ax, image, *parts, iou, frame, entry.get("outlines"), entry["levels"])
        ax.set_xlabel(said, labelpad=8)
    for ax in list(axes.flat)[len(images) :]:
        ax.set_axis_off()
    handles = _legend(given, solid, dashed, outlined)
    if handles:
        fig.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), handlelength=3)
    if bar and "maps" in given:
        colour_bar(fig, axes, bar, (0, 1), overlaid_colours())
    return finish(fig, takeaway, _said(entries, below, [handle.get_label() for handle in handles]))


def overlap(truth: Any, predicted: Any) -> float:
    """The best IoU over all pairs of a true and a predicted box; 0 without a predicted box."""
    return _iou(truth, predicted) if len(as_boxes(truth)) and len(as_boxes(predicted)) else 0.0


def _iou(truth: Any, predicted: Any) -> float:
    return float(boxes.box_iou(as_boxes(truth), as_boxes(predicted)).max())


def _below(entry: dict[str, Any], iou: bool) -> str:
    """What stands below an image."""
    truth, predicted = as_boxes(entry.get("truth")), as_boxes(entry.get("predicted"))
    if "predicted" in entry and len(truth) and not len(predicted):
        return "no box"
    return f"IoU {_iou(truth, predicted):.2f}" if iou and len(truth) and len(predicted) else ""


def _masks(outline: Any) -> np.ndarray:
    masks = array(outline)
    return masks[None] if masks.ndim == 2 else masks


def _contour(
    ax: Axes, values: np.ndarray, level: float, shape: tuple[int, int], colour: str, style: Any, width: float
) -> None:
    """A line with a dark edge along one value of a field (h, w), closed at the image's border."""
    around = np.pad(values, 1, constant_values=min(values.min(), level) - 1e-6 - abs(level))
    rows, columns = (
        (np.arange(n + 2) - 0.5) * size / n for n, size in zip(values.shape, shape, strict=True)
    )  # centres of cells
    if values.max() <= level:
        return
    for edge, thickness, dashes in (("#111111", width + 2, "solid"), (colour, width, style)):
        ax.contour(columns, rows, around, [level], colors=[edge], linewidths=thickness, linestyles=[dashes])


def wrapped(title: str | None, inches: float) -> str | None:
    """A title in lines that fit above an image so wide."""
    if not title:
        return title
    whole = textwrap.TextWrapper(max(8, int(inches * 8.6)), break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(whole.fill, title.splitlines()))


def _legend(given: dict[str, list], solid: str, dashed: str, outlined: str | Sequence[str]) -> list[Any]:
    handles = []
    for kind, name, called in zip(LINES, ("truth", "predicted"), (solid, dashed), strict=True):
        if any(len(as_boxes(found)) for found in given.get(name, [])):
            handles.append(box_line(kind))
            handles[-1].set_label(called)
    several = max((len(_masks(each)) for each in given.get("outlines", []) if each is not None), default=0)
    names = [outlined] if isinstance(outlined, str) else outlined
    handles += [edged_line("white", OUTLINES[i], name, 2.0) for i, name in enumerate(names[:several])]
    levels = {level for level, map in zip(given["levels"], given.get("maps", []), strict=False) if map is not None}
    if drawn := levels - {None}:
        at = f"map at {drawn.pop():.2g}" if len(drawn) == 1 else "map at the threshold"
        handles.append(edged_line(PREDICTED, "solid", at, 1.6))
    return handles


def _said(entries: list[dict[str, Any]], below: list[str], lines: list[str]) -> str:
    """What a grid of images shows, in words."""
    count = len(entries)
    said = "One image" if count == 1 else f"{count} images"
    names = [
        " ".join(filter(None, [entry.get("titles"), words and f"({words})"]))
        for entry, words in zip(entries, below, strict=True)
    ]
    if any(names):
        said += f": {listed([name or 'untitled' for name in names], 10)}"
    over = sum(entry.get("maps") is not None for entry in entries)
    if over:
        said += f". {'Each' if over == count else over} with a map over it, bright where it is high"
    if lines:
        said += f". Drawn as lines: {listed(lines)}"
    return said + "."
