"""The figure that returns through the course: feature maps, weights, map, mask, box."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cambook.course.show.board import Board
from cambook.course.show.described import finish, title_height
from cambook.course.show.images import array, as_boxes, pixels
from cambook.course.show.panels import CELLS
from cambook.course.show.pictures import overlap, picture
from cambook.course.show.style import DIVERGING, MINUS, styled


@styled
def pipeline(
    image: Any,
    feature_maps: Any,
    weights: Any,
    map2d: Any,
    mask: Any,
    box: Any,
    name: str,
    takeaway: str = "",
    small: bool = False,
    frame: int | tuple[int, int] | None = None,
    truth: Any = None,
    count: int = 4,
) -> Figure:
    """From an image to a box: some feature maps with their weights, the class map, its mask, the box.

    image: (3, H, W) in [0, 1]; feature_maps: (K, h, w); weights: (K,) of the class; map2d: (h, w), their weighted sum
    mask: (h, w) bool of any size, what is above the threshold; box: around its largest region; truth: as in `picture`
    name: of the class; frame: as in `picture`; count: how many feature maps are drawn, those that contribute most,
    for or against the class
    small: a narrow strip without words, to remind of it
    """
    features, weights, map2d = array(feature_maps), array(weights), array(map2d)
    adds = np.abs(weights * features.mean((1, 2)))
    count = min(3 if small else count, len(weights))
    chosen = sorted(adds.argsort()[::-1][:count].tolist(), key=lambda k: -weights[k])
    side, gap, cell, words = (1.2, 0.36, 0.36, 0.85) if small else (1.5, 0.36, 0.6, 0.85)
    high, wide = pixels(image).shape[:2]
    tall = min(1.0, high / wide)  # of a panel as wide as 1
    column = count * cell * tall + (count - 1) * 0.07
    tallest, words_above = max(side * tall, column), 0.1 if small else 0.7
    bar = 0.0 if small else 0.68
    widths = [side, cell + words, side + bar, side, side]
    width = sum(widths) + 4 * gap + 0.2
    head = title_height(takeaway, width)
    middle = head + words_above + tallest / 2
    board = Board(width, middle + tallest / 2 + 0.1)
    lefts = [0.1 + sum(widths[:i]) + i * gap for i in range(5)]
    place = {"top": middle - side * tall / 2, "width": side, "height": side * tall}

    picture(board.axes(lefts[0], **place), image, frame=frame)
    strongest = float(features[chosen].max()) or 1.0
    for row, k in enumerate(chosen):
        top = middle - column / 2 + row * (cell * tall + 0.07)
        _field(board.axes(lefts[1], top, cell, cell * tall), features[k], (0.0, strongest), "magma")
        colour = plt.get_cmap(DIVERGING)(0.95 if weights[k] > 0 else 0.05)
        times = f"\N{MULTIPLICATION SIGN} {weights[k]:+.2f}".replace("-", MINUS)
        board.text(lefts[1] + cell + 0.06, top + cell * tall / 2, times, color=colour, ha="left")
    most = float(np.abs(map2d).max()) or 1.0
    ax = board.axes(lefts[2], **place)
    shown = _field(ax, map2d, (-most, most), DIVERGING)
    if bar:
        scale = board.axes(lefts[2] + side + 0.07, place["top"], 0.12, side * tall)
        board.figure.colorbar(shown, cax=scale, ticks=[-most, 0, most])
        scale.set_yticklabels([f"{value:.2g}".replace("-", MINUS) for value in (-most, 0, most)], fontsize=12)
        scale.tick_params(length=0, pad=2)
        scale.spines[:].set_visible(False)
    picture(board.axes(lefts[3], **place), image, frame=frame, outline=mask)
    picture(board.axes(lefts[4], **place), image, None, truth, box, iou=False, frame=frame)
    for left, width in zip(lefts[:-1], widths[:-1], strict=True):
        board.arrow((left + width + 0.06, middle), (left + width + gap - 0.06, middle))
    board.text(lefts[2] - gap / 2, middle - 0.2, "\u2211", va="bottom")
    if not small:
        titles = ["image", "feature maps\nand weights", "class map", "mask", "box" if len(as_boxes(box)) else "no box"]
        for left, width, title in zip(lefts, (side, cell + words, side, side, side), titles, strict=True):
            low = place["top"] if title.count("\n") == 0 else min(place["top"], middle - column / 2)
            board.text(left + width / 2, low - 0.1, title, va="bottom")
    said = {f"map {k}": f"times {weights[k]:+.2f}" for k in chosen}
    shows = f"From left to right: an image of {name}; {count} of its {len(weights)} feature maps with their weights ("
    shows += (
        "; ".join(f"{each} {times}" for each, times in said.items()) + f"); their weighted sum over all {len(weights)}"
    )
    shows += f" maps, the class map, from {map2d.min():.2g} to {map2d.max():.2g}; the outline of its mask; "
    shows += "the box around it" if len(as_boxes(box)) else "no box"
    if truth is not None and len(as_boxes(box)):
        shows += f", IoU {overlap(truth, box):.2f} with the true box"
    return finish(board.figure, takeaway, shows + ".")


def _field(ax: Axes, values: np.ndarray, limits: tuple[float, float], colours: str) -> Any:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    smooth = "nearest" if max(values.shape) <= CELLS else "bicubic"
    return ax.imshow(values, vmin=limits[0], vmax=limits[1], cmap=colours, interpolation=smooth)
