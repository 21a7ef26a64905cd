"""Figures of the course, in one style."""

from __future__ import annotations

from cambook.course.show.architecture import architecture
from cambook.course.show.charts import (
    bars,
    curves,
    draws,
    forest,
    live_over_recorded,
    ours_beside_published,
    seeds,
    swept,
    threshold_curves,
)
from cambook.course.show.diagrams import layers
from cambook.course.show.images import LEVEL, array, enlarged, frame_of, left_over, outlined, overlay, pixels
from cambook.course.show.panels import (
    as_rule_reads,
    branches,
    cells,
    failures,
    grid,
    thresholds,
    top_classes,
)
from cambook.course.show.pictures import picture, pictures
from cambook.course.show.pipeline import pipeline
from cambook.course.show.style import CONTROL, FATES, LINES, PREDICTED, TRUTH, WIDTH, save
from cambook.course.show.tables import ledger, matrices, matrix

__all__ = [
    "CONTROL",
    "FATES",
    "LEVEL",
    "LINES",
    "PREDICTED",
    "TRUTH",
    "WIDTH",
    "architecture",
    "array",
    "as_rule_reads",
    "bars",
    "branches",
    "cells",
    "curves",
    "draws",
    "enlarged",
    "failures",
    "forest",
    "frame_of",
    "grid",
    "layers",
    "ledger",
    "left_over",
    "live_over_recorded",
    "matrices",
    "matrix",
    "ours_beside_published",
    "outlined",
    "overlay",
    "picture",
    "pictures",
    "pipeline",
    "pixels",
    "save",
    "seeds",
    "swept",
    "threshold_curves",
    "thresholds",
    "top_classes",
]
