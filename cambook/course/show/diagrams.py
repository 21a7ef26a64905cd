"""Diagrams of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cambook.course.show.described import finish
from cambook.course.show.style import FATES, WIDTH, styled, subplots


@styled
def layers(
    rows: Mapping[str, Sequence[tuple[str, str]]],
    takeaway: str = "",
    arrows: Sequence[tuple[tuple[int, int], tuple[int, int]]] = (),
) -> Figure:
    """Networks as rows of blocks {network: [(block, fate), ...]}, fate "kept", "new", "removed", "erased" (what goes in
    comes out with gaps) or "learns on" (trained before, and again).

    A block's text may contain line breaks, for instance "conv\\n3x3, 1024".
    arrows: more of them, from below a block to above another one in a lower row, each block as (row, position)
    raises: ValueError for another fate
    """
    widest = max(len(blocks) for blocks in rows.values())
    fig, ax = subplots(figsize=(WIDTH, 1.25 * len(rows) + 1.2))
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
    said = [
        f"{network}: {', '.join(f'{block} ({fate})' for block, fate in blocks)}" for network, blocks in rows.items()
    ]
    return finish(fig, takeaway, f"Networks as rows of blocks. {'; '.join(said)}.")


def _block(corner: tuple[float, float], width: float, height: float, fate: str) -> Rectangle:
    face, edge = FATES[fate]
    style = "dotted" if fate in ("removed", "erased") else "solid"
    return Rectangle(corner, width, height, facecolor=face, edgecolor=edge, linewidth=2, linestyle=style)
