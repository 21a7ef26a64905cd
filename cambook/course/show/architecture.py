"""A diagram of the small network and its heads."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from cambook.course.show.board import Board
from cambook.course.show.described import finish, title_height
from cambook.course.show.style import FATES, WIDTH, styled

CONVOLUTIONS = (16, 32, 64, 64, 128, 128)  # channels that each gives
POOLED = (1, 2, 4)  # the convolutions after which the maps are halved
HEADS = {  # what each does with the feature maps, and the shape that comes out
    "fc": [("flatten", "{cells}"), ("linear, ReLU", "256"), ("linear", "{classes} scores")],
    "gap": [("mean", "128"), ("linear", "{classes} scores")],
    "gmp": [("maximum", "128"), ("linear", "{classes} scores")],
    "nin": [("1x1 convolution", "{classes}x{side}x{side}"), ("mean", "{classes} scores")],
}
_IMAGE = ("#F2F2F2", "#888888")


@styled
def architecture(
    takeaway: str = "", classes: int = 12, size: int = 64, heads: Sequence[str] = ("fc", "gap", "gmp", "nin")
) -> Figure:
    """The small network: six convolutions, drawn as high as their maps are wide, and below them the heads it may have.

    classes: how many it distinguishes; size: side of its images in pixels; heads: those that are drawn, keys of HEADS
    raises: ValueError for another head
    """
    if unknown := [head for head in heads if head not in HEADS]:
        raise ValueError(f"head {unknown[0]!r} is unknown: use some of {', '.join(HEADS)}.")
    top, row = title_height(takeaway, WIDTH), 0.78
    first = top + 2.95  # of the heads
    board = Board(WIDTH, first + row * len(heads) + 0.05)
    middle, step = top + 0.85, (WIDTH - 0.2) / (1 + len(CONVOLUTIONS))
    sides = [size, size]
    for number in range(1, len(CONVOLUTIONS)):
        sides.append(sides[-1] // 2 if number in POOLED else sides[-1])
    for number, (channels, side) in enumerate(zip((3, *CONVOLUTIONS), sides, strict=True)):
        left, tall = 0.1 + number * step, 0.62 + 0.95 * side / size
        board.block(left + 0.14, middle - tall / 2, step - 0.4, tall, FATES["kept"] if number else _IMAGE)
        centre = left + 0.14 + (step - 0.4) / 2
        board.text(centre, middle, f"conv\n{number}" if number else "image")
        board.text(centre, middle + 1.0, f"{channels}x{side}x{side}", fontsize=12)
        if number:
            board.arrow((left - 0.26, middle), (left + 0.14, middle))
    words = "Convolutions are 3x3, with batch norm and ReLU. A max pooling halves the maps three times."
    board.text(0.24, middle + 1.4, words, ha="left", fontsize=12)
    trunk, below = 1.35, middle + 1.72
    last = first + row * (len(heads) - 0.5)
    board.line([(centre, middle + tall / 2), (centre, middle + 0.86)])
    board.line([(centre, middle + 1.13), (centre, below), (trunk, below), (trunk, last)])
    for number, head in enumerate(heads):
        y = first + row * (number + 0.5)
        board.text(0.24, y, head, ha="left", fontweight="bold")
        left = trunk
        for does, shape in HEADS[head]:
            wide = 0.55 + 0.105 * len(does)
            board.arrow((left, y), (left + 0.42, y))
            board.block(left + 0.42, y - 0.26, wide, 0.52, FATES["new"])
            board.text(left + 0.42 + wide / 2, y, does)
            comes = shape.format(cells=CONVOLUTIONS[-1] * sides[-1] ** 2, classes=classes, side=sides[-1])
            board.text(left + 0.52 + wide, y, comes, ha="left", fontsize=12)
            left += 0.66 + wide + 0.105 * len(comes)
    said = (
        f"A diagram. An image of 3x{size}x{size} passes through six convolutions to {CONVOLUTIONS[-1]} feature maps of "
    )
    said += f"{sides[-1]}x{sides[-1]}. From there, one of these heads: "
    rows = [f"{head}: {', '.join(does for does, _ in HEADS[head])}" for head in heads]
    return finish(board.figure, takeaway, f"{said}{'; '.join(rows)}. Each ends in {classes} scores.")
