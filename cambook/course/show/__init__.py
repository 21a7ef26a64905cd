"""Figures of the course, in one style."""

from __future__ import annotations

from cambook.course.show.charts import (
    bars,
    curves,
    draws,
    ledger,
    live_over_recorded,
    matrices,
    matrix,
    ours_beside_published,
    swept,
    threshold_curves,
)
from cambook.course.show.diagrams import layers
from cambook.course.show.images import array, labelled, left_over, overlay, pixels
from cambook.course.show.pictures import branches, cells, grid, picture, pictures, proposals, top_classes
from cambook.course.show.style import CONTROL, FATES, FOUND, LINES, PREDICTED, TRUTH, WIDTH, save

__all__ = [
    "CONTROL",
    "FATES",
    "FOUND",
    "LINES",
    "PREDICTED",
    "TRUTH",
    "WIDTH",
    "array",
    "bars",
    "branches",
    "cells",
    "curves",
    "draws",
    "grid",
    "labelled",
    "layers",
    "ledger",
    "left_over",
    "live_over_recorded",
    "matrices",
    "matrix",
    "ours_beside_published",
    "overlay",
    "picture",
    "pictures",
    "pixels",
    "proposals",
    "save",
    "swept",
    "threshold_curves",
    "top_classes",
]
