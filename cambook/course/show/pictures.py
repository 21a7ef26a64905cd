"""Images with maps and boxes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cambook import maps
from cambook.course.show.images import array, as_boxes, left_over, overlay, pixels
from cambook.course.show.style import LINES, WIDTH, box_line, finish, styled, subplots
from cambook.maps import boxes


@styled
def picture(
    ax: Axes,
    image: Any,
    map: Any = None,
    truth: Any = None,
    predicted: Any = None,
    title: str | None = None,
    iou: bool = True,
) -> None:
    """One image on `ax`, with its map over it, its boxes, and below it the IoU of the two kinds of boxes.

    map: as in `overlay`; truth, predicted: one box (x0, y0, x1, y1) or several (n, 4), half-open, in pixels
    of the image.
    iou: whether it is written; it is the best over all pairs of a true and a predicted box.
    """
    shown = pixels(image) if map is None else overlay(image, map)
    height, width = shown.shape[:2]
    ax.imshow(shown, extent=(0, width, height, 0), interpolation="antialiased")
    for kind, found in zip(LINES, (as_boxes(truth), as_boxes(predicted)), strict=True):
        colour, style = LINES[kind]
        for x0, y0, x1, y1 in found:
            outline = dict(fill=False, clip_on=False)
            ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, edgecolor="#111111", linewidth=4.6, **outline))
            ax.add_patch(
                Rectangle((x0, y0), x1 - x0, y1 - y0, edgecolor=colour, linewidth=2.6, linestyle=style, **outline)
            )
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title)
    if iou and len(as_boxes(truth)) and len(as_boxes(predicted)):
        ax.set_xlabel(f"IoU {boxes.box_iou(as_boxes(truth), as_boxes(predicted)).max():.2f}")


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
) -> Figure:
    """A grid of images, each as in `picture`, with one legend and the takeaway as title.

    images: B images, or one (3, H, W) tensor for every map; maps, truth, predicted, titles: one entry per
    image, None for nothing.
    An entry of `predicted` that is None beside a true box reads "no box". columns: default all in one row,
    up to five. dashed: what the legend calls the boxes of `predicted`; iou: whether it stands below images with both.
    raises: ValueError if the lists differ in length
    """
    given = {"maps": maps, "truth": truth, "predicted": predicted, "titles": titles}
    given = {name: list(values) for name, values in given.items() if values is not None}
    if getattr(images, "ndim", 4) == 3:
        images = [images] * max((len(values) for values in given.values()), default=1)
    images = list(images)
    for name, values in given.items():
        if len(values) != len(images):
            raise ValueError(f"{len(images)} images but {len(values)} {name}: give one per image, None for nothing.")
    columns = columns or min(len(images), 5)
    rows = -(-len(images) // columns)
    side = min(WIDTH / columns, 4.2)
    height, width = pixels(images[0]).shape[:2]
    fig, axes = subplots(
        rows,
        columns,
        squeeze=False,
        figsize=(max(side * columns, 5.5), round(rows * (side * height / width + 0.55) + 0.9, 1)),
    )
    entries = [{name: values[i] for name, values in given.items()} for i in range(len(images))]
    for ax, image, entry in zip(axes.flat, images, entries, strict=False):
        picture(ax, image, entry.get("maps"), entry.get("truth"), entry.get("predicted"), entry.get("titles"), iou)
        if "predicted" in given and len(as_boxes(entry.get("truth"))) and not len(as_boxes(entry["predicted"])):
            ax.set_xlabel("no box")
    for ax in list(axes.flat)[len(images) :]:
        ax.set_axis_off()
    drawn = zip(LINES, ("truth", "predicted"), strict=True)
    kinds = [kind for kind, name in drawn if any(len(as_boxes(box)) for box in given.get(name, []))]
    if kinds:
        fig.legend(
            handles=[box_line(kind) for kind in kinds],
            labels=[dashed if kind == "predicted box" else kind for kind in kinds],
            loc="outside lower center",
            ncols=2,
            handlelength=3,
        )
    return finish(fig, takeaway)


@styled
def grid(rows: Mapping[str, Sequence[Any]], columns: Sequence[str] = (), takeaway: str = "") -> Figure:
    """Images and maps in rows with a name each, under named columns.

    rows: {name: cells}; a cell is an image as in `pixels` (for instance from `overlay`), a map (h, w) in [0, 1],
    drawn in magma, or None for nothing
    """
    count = max(len(cells) for cells in rows.values())
    side = min((WIDTH - 1.9) / count, 1.15)
    fig, axes = subplots(len(rows), count, squeeze=False, figsize=(side * count + 1.9, len(rows) * (side + 0.08) + 1.1))
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
    return finish(fig, takeaway)


def cells(images: Iterable[Any], maps_: torch.Tensor, alone: bool = False) -> list[np.ndarray]:
    """Cells for `grid`: what speaks for the class in maps (B, 1, h, w), each scaled to its own maximum.

    alone: without the image under it, and with the highest 1% of the pixels cut to one value: for maps of single
           pixels, which cannot be seen over an image
    """
    values = maps.widened(maps_).cpu().clamp(min=0)
    if not alone:
        return [overlay(image, one[0]) for image, one in zip(images, maps.normalize(values), strict=True)]
    highest = values.flatten(1).quantile(0.99, dim=1).clamp(min=1e-12)[:, None, None]
    return list((values[:, 0] / highest).clamp(max=1).numpy())


@styled
def top_classes(
    image: Any, names: Sequence[str], probabilities: Any, maps: Any, takeaway: str = "", predicted: Any = None
) -> Figure:
    """The image, then the map of each of its most likely classes with its probability, as in figure 4 of
    Zhou et al. 2016.

    image: (3, H, W); names: C names; probabilities: (C,), most likely first; maps: (C, h, w), each in [0, 1];
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


@styled
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
    """ACoL's two branches, a row per image: A's map, what its erasing leaves for B, B's map, the fused map with boxes.

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


@styled
def proposals(
    image: Any,
    candidates: Any,
    map2d: Any,
    predicted: Any,
    titles: tuple[str, str],
    takeaway: str = "",
    drawn: int = 150,
) -> Figure:
    """Candidate boxes on an image beside the same image with its map and the box read off it.

    image: (3, H, W); candidates: (N, 4), of which `drawn`, evenly chosen, are shown as thin lines
    map2d: (h, w) in [0, 1]; predicted: one box; titles: of the two panels
    """
    chosen = as_boxes(candidates)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(drawn, len(chosen))).round().astype(int)]
    height, width = pixels(image).shape[:2]
    fig, axes = subplots(1, 2, figsize=(WIDTH, round(WIDTH / 2 * height / width + 1.3, 1)))
    picture(axes[0], image, title=titles[0])
    for x0, y0, x1, y1 in chosen:
        axes[0].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="#111111", linewidth=0.7))
    picture(axes[1], image, map2d, predicted=predicted, title=titles[1])
    fig.legend(handles=[box_line("predicted box")], loc="outside lower center", handlelength=3)
    return finish(fig, takeaway)
