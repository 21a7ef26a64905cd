"""The papers' tables: published figures, our measurements, and claims about both.

TABLES says, row by row, which network stands for which line of a paper's table: the paper's own at the profiles full
and paper, a small one instead at quick. CLAIMS says what the papers conclude from those lines. The notebooks of
notebooks/reproduce measure; `table`, `check_claims` and `write` take the numbers of one run or of hundreds.
"""

from __future__ import annotations

from cambook.course.papers.claims import CLAIMS, PAPERS, Claim, Pair, check_claims, own_figures, verdict
from cambook.course.papers.counterpart import IMAGENET, OTHER_MAPS, PUBLISHED, SAME_DATA, SPLITS, published_figure
from cambook.course.papers.features import (
    BoxesOf,
    LinearSVM,
    all_features,
    crop_to_box,
    fine_grained,
    fine_labels,
    generic_features,
    pooled_features,
)
from cambook.course.papers.measure import (
    BOX_GRID,
    Measurements,
    both_boxes,
    classification,
    five_boxes_correct,
    localization,
    record_speed,
    splits_of,
    train_networks,
)
from cambook.course.papers.recorded import COLUMNS, THIS_RUN, recorded_runs, results
from cambook.course.papers.report import figure, readable, shared, table, write
from cambook.course.papers.tables import (
    TABLES,
    Line,
    Row,
    Table,
    networks_of,
    rows,
)

__all__ = [
    "BOX_GRID",
    "BoxesOf",
    "CLAIMS",
    "COLUMNS",
    "Claim",
    "Measurements",
    "IMAGENET",
    "Line",
    "LinearSVM",
    "OTHER_MAPS",
    "PAPERS",
    "PUBLISHED",
    "Pair",
    "Row",
    "SAME_DATA",
    "SPLITS",
    "TABLES",
    "THIS_RUN",
    "Table",
    "all_features",
    "both_boxes",
    "check_claims",
    "classification",
    "crop_to_box",
    "pooled_features",
    "figure",
    "fine_grained",
    "fine_labels",
    "five_boxes_correct",
    "generic_features",
    "splits_of",
    "localization",
    "networks_of",
    "own_figures",
    "published_figure",
    "readable",
    "record_speed",
    "recorded_runs",
    "results",
    "rows",
    "shared",
    "table",
    "train_networks",
    "verdict",
    "write",
]
