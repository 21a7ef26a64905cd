"""A figure on which things are placed by hand, in inches from its upper left corner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cambook.course.show.described import Described


class Board:
    """An empty figure of so many inches; `figure` is what is shown in the end."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = plt.figure(figsize=(width, height), layout="none", FigureClass=Described)
        plt.close(self.figure)
        self.width, self.height = width, height
        self.ground = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self.ground.set_axis_off()

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes for an image."""
        low = self.height - top - height
        place = (left / self.width, low / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place)

    def text(self, x: float, y: float, words: str, **options: Any) -> None:
        self.ground.text(x, y, words, **{"ha": "center", "va": "center", **options})

    def arrow(self, start: tuple[float, float], end: tuple[float, float], colour: str = "#444444") -> None:
        self.ground.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.5})

    def line(self, corners: Sequence[tuple[float, float]], colour: str = "#444444") -> None:
        """A line with corners."""
        x, y = zip(*corners, strict=True)
        self.ground.plot(x, y, color=colour, linewidth=1.5)

    def block(self, left: float, top: float, width: float, height: float, colours: tuple[str, str]) -> None:
        """A rectangle; colours: of its face and of its edge."""
        face, edge = colours
        corner = (left, top)
        self.ground.add_patch(Rectangle(corner, width, height, facecolor=face, edgecolor=edge, linewidth=2))
