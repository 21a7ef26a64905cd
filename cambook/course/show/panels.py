"""Arrangements of images that return in the course: rows of maps, likely classes, failures, thresholds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from cambook import maps
from cambook.course.show.described import finish, listed
from cambook.course.show.images import LEVEL, array, as_boxes, enlarged, frame_of, left_over, overlay
from cambook.course.show.pictures import overlap, pictures, wrapped
from cambook.course.show.style import DIVERGING, WIDTH, colour_bar, styled, subplots
from cambook.maps import boxes

CELLS = 16  # a map of at most so many cells a side is shown as cells


@styled
def grid(
    rows: Mapping[str, Sequence[Any]],
    columns: Sequence[str] = (),
    takeaway: str = "",
    bar: str = "",
    signed: bool = False,
    side: float = 1.15,
) -> Figure:
    """Images and maps in rows with a name each, under named columns.

    rows: {name: cells}; a cell is an image as in `pixels` (for instance from `overlay`), a map (h, w) in [0, 1],
    drawn in magma, or None for nothing
    signed: maps are signed numbers, drawn around 0 on one scale; bar: label of a colour bar for the maps;
    side: of a cell in inches, as far as the width allows
    """
    count = max(len(cells) for cells in rows.values())
    side = min((WIDTH - 1.9) / count, side)
    fig, axes = subplots(
        len(rows),
        count,
        squeeze=False,
        figsize=(side * count + 1.9, len(rows) * (side + 0.08) + 1.1),
        layout="compressed",
    )
    flat = [array(cell) for line in rows.values() for cell in line if cell is not None and array(cell).ndim == 2]
    highest = max((float(np.abs(values).max()) for values in flat), default=1.0) or 1.0
    limits, colours = ((-highest, highest), DIVERGING) if signed else ((0, 1), "magma")
    for line, (name, cells) in zip(axes, rows.items(), strict=True):
        for ax, cell in zip(line, [*cells, *[None] * (count - len(cells))], strict=True):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if cell is not None and array(cell).ndim == 2:
                smooth = "nearest" if max(array(cell).shape) <= CELLS else "bicubic"
                ax.imshow(array(cell), vmin=limits[0], vmax=limits[1], cmap=colours, interpolation=smooth)
            elif cell is not None:
                ax.imshow(enlarged(cell), interpolation="antialiased")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], columns, strict=False):
        ax.set_title(wrapped(title, side))
    if bar and flat:
        colour_bar(fig, axes, bar, limits, plt.get_cmap(colours))
    said = f"A grid of images and maps. Rows: {listed(rows)}."
    return finish(fig, takeaway, said + (f" Columns: {listed(columns)}." if columns else ""))


def cells(images: Iterable[Any], maps_: torch.Tensor, alone: bool = False) -> list[np.ndarray]:
    """Cells for `grid`: what speaks for the class in maps (B, 1, h, w), each scaled to its own maximum.

    images: may be sharp, larger than those that the maps belong to
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
    image: Any,
    names: Sequence[str],
    probabilities: Any,
    maps: Any,
    takeaway: str = "",
    predicted: Any = None,
    frame: int | tuple[int, int] | None = None,
) -> Figure:
    """The image, then the map of each of its most likely classes with its probability, as in figure 4 of
    Zhou et al. 2016.

    image: (3, H, W); names: C names; probabilities: (C,), most likely first; maps: (C, h, w), each in [0, 1];
    predicted: C boxes; frame: as in `pictures`
    """
    titles = ["the image"] + [
        f"{textwrap.fill(name, 24)}\n{probability:.0%}"
        if probability >= 0.01
        else f"{textwrap.fill(name, 24)}\nunder 1%"
        for name, probability in zip(names, array(probabilities), strict=True)
    ]
    boxes_found = None if predicted is None else [None, *predicted]
    columns = len(titles) if len(titles) <= 4 else -(-len(titles) // 2)
    shown = [None, *array(maps)]
    return pictures([image] * len(titles), shown, None, boxes_found, titles, takeaway, columns, frame=frame)


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
    frame: int | tuple[int, int] | None = None,
    level: float = LEVEL,
) -> Figure:
    """ACoL's two branches, a row per image: A's map, what its erasing leaves for B, B's map, the fused map with boxes.

    images: (B, 3, H, W); maps_a, maps_b, fused: (B, h, w) in [0, 1]; delta: what is at least as high in A's is grey,
    and outlined on B's map
    truth, predicted: B boxes or None, on the fused map; names: of the class whose maps they are; frame: as in
    `pictures`; level: of the line on the fused map, as its boxes are cut; that on A's map is at delta
    """
    panels, shown, drawn, found, titles, holes = [], [], [], [], [], []
    for image, a, b, both, true, ours, name in zip(
        images, array(maps_a), array(maps_b), array(fused), truth, predicted, names, strict=True
    ):
        panels += [image, left_over(image, a < delta), image, image]
        shown += [a, None, b, both]
        drawn += [None, None, None, true]
        found += [None, None, None, ours]
        titles += [f"A: {name}", "left for B", "B", "fused"]
        holes += [None, None, a >= delta, None]
    return pictures(
        panels,
        shown,
        drawn,
        found,
        titles,
        takeaway,
        columns=4,
        frame=frame,
        outlines=holes,
        outlined="the hole",
        level=[delta, None, None, level] * (len(panels) // 4),
    )


@styled
def failures(
    images: Sequence[Any],
    maps: Sequence[Any] | None,
    truth: Sequence[Any],
    predicted: Sequence[Any],
    titles: Sequence[str] | None = None,
    takeaway: str = "",
    frame: int | tuple[int, int] | None = None,
    count: int = 8,
    columns: int = 4,
) -> Figure:
    """The images whose predicted boxes fail worst: those with the lowest IoU, the lowest first.

    An image without a predicted box has IoU 0; one without a true box is left out. Arguments as in `pictures`.
    """
    overlaps = np.array([overlap(true, found) for true, found in zip(truth, predicted, strict=True)])
    known = [i for i, true in enumerate(truth) if len(as_boxes(true))]
    worst = sorted(known, key=lambda i: overlaps[i])[:count]
    some = [None if each is None else [each[i] for i in worst] for each in (images, maps, truth, predicted, titles)]
    return pictures(*some, takeaway, columns, frame=frame)


@styled
def thresholds(
    image: Any,
    map2d: Any,
    levels: Sequence[float] = (0.1, 0.2, 0.4, 0.6),
    rule: str = "paper",
    truth: Any = None,
    takeaway: str = "",
    frame: int | tuple[int, int] | None = None,
) -> Figure:
    """One map with the region above each of several thresholds, and the box around it: the still of a widget.

    image: (3, H, W) in [0, 1]; map2d: (h, w) raw, before any normalization; rule: a box rule; truth: as in `picture`
    """
    size = frame_of(image, frame)
    small = torch.from_numpy(np.array(array(map2d), np.float32))[None, None]
    raw, fine = (maps.upsample(small, to)[0, 0].numpy() for to in (size, enlarged(image).shape[:2]))
    found = [boxes.box_from_map(raw, rule, level) for level in levels]
    masks = [boxes.mask_above(fine, level, rule) for level in levels]
    titles = [f"threshold {level:g}" for level in levels]
    return pictures(
        [image] * len(levels),
        [as_rule_reads(raw, rule)] * len(levels),
        None if truth is None else [truth] * len(levels),
        found,
        titles,
        takeaway,
        frame=size,
        outlines=masks,
        outlined="above the threshold",
        level=None,
    )


def as_rule_reads(map2d: np.ndarray, rule: str) -> np.ndarray:
    """The map in [0, 1] such that the rule's mask is what lies above the threshold in it."""
    if rule == "wsol":
        return maps.normalize(torch.from_numpy(map2d)).numpy()
    highest = map2d.max()
    return np.clip(map2d / highest, 0, 1) if highest > 0 else np.zeros_like(map2d)
