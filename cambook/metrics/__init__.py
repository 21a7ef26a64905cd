"""Boxes and masks in, numbers out: the metrics, their intervals, and `evaluate`, which does it all."""

from __future__ import annotations

from cambook.metrics.box_accuracy import CONTOURS, IOUS, BoxAccuracy
from cambook.metrics.evaluation import (
    METRICS,
    PAPER_THRESHOLD,
    Evaluation,
    check_finite,
    classify,
    coverage_table,
    evaluate,
    table,
    top1_error,
)
from cambook.metrics.grid import boxes_on_grid, count_boxes, maps_on_grid, masks_on_grid
from cambook.metrics.intervals import area_under, bootstrap_interval, paired_interval, rank_correlation, seed_interval
from cambook.metrics.localization import (
    gt_known_accuracy,
    gt_known_correct,
    lands_on,
    localization_correct,
    pointing_hit,
    share_inside,
    topk_correct,
    topk_error,
    topk_localization_correct,
    topk_localization_error,
)
from cambook.metrics.pixels import PixelAveragePrecision, iou_counts, mean_iou, mean_iou_interval

__all__ = [
    "BoxAccuracy",
    "CONTOURS",
    "Evaluation",
    "IOUS",
    "METRICS",
    "PAPER_THRESHOLD",
    "PixelAveragePrecision",
    "area_under",
    "bootstrap_interval",
    "boxes_on_grid",
    "check_finite",
    "classify",
    "count_boxes",
    "coverage_table",
    "evaluate",
    "gt_known_accuracy",
    "gt_known_correct",
    "iou_counts",
    "lands_on",
    "localization_correct",
    "maps_on_grid",
    "masks_on_grid",
    "mean_iou",
    "mean_iou_interval",
    "paired_interval",
    "pointing_hit",
    "rank_correlation",
    "seed_interval",
    "share_inside",
    "table",
    "top1_error",
    "topk_correct",
    "topk_error",
    "topk_localization_correct",
    "topk_localization_error",
]
