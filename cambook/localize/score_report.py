"""What `score` found, as tables for the screen, as CSV files and as a JSON record."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cambook.files import atomic_write
from cambook.localize.counting import CENTRE, MAPS, SIZES, WHOLE
from cambook.localize.records import write_record
from cambook.localize.scoring import (
    ALL,
    CLASS,
    LEAD,
    LOC,
    PAPER_BOX,
    PXAP,
    SIZE,
    TUNED,
    V2,
    Row,
    Scores,
    max_box_acc,
    threshold_of,
)
from cambook.metrics.box_accuracy import IOUS

SHOWN = 5  # so many of the worst and of the best classes are on the screen
METRICS = (*map(max_box_acc, IOUS), *(f"{V2}, IoU {iou}" for iou in IOUS), V2, PXAP, PAPER_BOX)

Line = Sequence[str]


# ---- on the screen


def as_text(scores: Scores) -> str:
    """The tables of a result, of at most 120 columns.

    Args:
        scores: from `score`.

    Returns:
        Lines of text: what was counted and how, then metrics, Loc, the tuned threshold, sizes and classes, then notes.

    Example:
        >>> found = Scores([Row(ALL, MAPS, PXAP, 50.0, 45.0, 55.0, 9), Row(ALL, CENTRE, PXAP, 40.0)], "", "pixels")
        >>> print(as_text(found).partition("\\n\\n")[2])
        percent               maps  centre
        PxAP     50.0 [45.0, 55.0]    40.0
    """
    images = max((row.images for row in scores.rows if row.part == ALL), default=0)
    of = f", {scores.truths.of}" if scores.truths else ""
    head = [f"{images} images{of}", scores.rule, scores.protocol]
    parts = ["\n".join(filter(None, head)), *filter(None, map(_aligned, _tables(scores)))]
    if scores.notes:
        parts.append("\n".join(f"note: {note}" for note in scores.notes))
    if any(row.low is not None for row in scores.rows) and images > 1 and scores.counts:
        parts.append(
            "[95% intervals]: by bootstrap over images for MaxBoxAcc, V2 and PxAP, Wilson's for shares at one threshold"
        )
    return "\n\n".join(parts)


def _tables(scores: Scores) -> Iterable[list[Line]]:
    rows = {row[:3]: row for row in scores.rows}
    yield _metrics(rows)
    yield _metrics(rows, LOC, "percent right")
    yield _tuned(rows)
    yield _groups(scores, SIZE, "the object's share of the grid")
    yield _groups(scores, CLASS, "class")


def _metrics(rows: Mapping[tuple, Row], part: str = ALL, title: str = "percent") -> list[Line]:
    """A line for each metric, with the maps and the controls as columns; thresholds in a column of their own."""
    known = METRICS if part == ALL else tuple(dict.fromkeys(key[2] for key in rows if key[0] == part))
    found = [metric for metric in known if (part, MAPS, metric) in rows]
    columns = [name for name in (CENTRE, WHOLE, LEAD) if any((part, name, metric) in rows for metric in found)]
    thresholds = {metric: rows.get((part, MAPS, threshold_of(metric))) for metric in found}
    at = ["at"] if any(thresholds.values()) else []
    lines: list[Line] = [(title, MAPS, *at, *columns)]
    for metric in found:
        own = [f"{thresholds[metric].value:.3f}" if thresholds[metric] else ""] if at else []
        cells = [_cell(rows.get((part, name, metric)), signed=name == LEAD, bare=name != LEAD) for name in columns]
        lines.append((metric, _cell(rows[part, MAPS, metric]), *own, *cells))
    return lines


def _tuned(rows: Mapping[tuple, Row]) -> list[Line]:
    splits = [key[1] for key in rows if key[0] == TUNED and key[1] != "best here"]
    if not splits:
        return []
    split = splits[0]
    lines: list[Line] = [(f"threshold chosen on {split}", "here", "at", "best here", "at", "optimism")]
    for metric in METRICS:
        if (tuned := rows.get((TUNED, split, metric))) is None:
            continue
        best = rows[TUNED, "best here", metric]
        at = [rows.get((TUNED, name, threshold_of(metric))) for name in (split, "best here")]
        own, its = (f"{row.value:.3f}" if row else "" for row in at)
        lines.append((metric, _cell(tuned), own, _cell(best), its, f"{best.value - tuned.value:.1f}"))
    return lines


def _groups(scores: Scores, part: str, title: str) -> list[Line]:
    """Sizes, or the worst and the best classes, by boxes if there are any and otherwise by pixels."""
    mine = [row for row in scores.rows if row.part == part]
    boxes = [row for row in mine if row.metric != PXAP and not row.name.endswith(f", {CENTRE}")]
    pixels = {row.name: row for row in mine if row.metric == PXAP}
    centre = {row.name.removesuffix(f", {CENTRE}"): row for row in mine if row.name.endswith(f", {CENTRE}")}
    chosen = boxes or list(pixels.values())
    if not chosen:
        return []
    if part == CLASS:
        chosen = sorted(chosen, key=lambda row: row.value)
        if len(chosen) > 2 * SHOWN:
            title = f"{title}: {SHOWN} worst, {SHOWN} best of {len(chosen)}"
            chosen = [*chosen[:SHOWN], *chosen[-SHOWN:]]
    else:
        chosen.sort(key=lambda row: SIZES.index(row.name))
    heads = [chosen[0].metric, *([CENTRE] if boxes else []), *([PXAP] if boxes and pixels else [])]
    lines: list[Line] = [(title, "images", *heads)]
    for row in chosen:
        more = [_cell(centre.get(row.name), bare=True)] if boxes else []
        more += [_cell(pixels.get(row.name), bare=True)] if boxes and pixels else []
        lines.append((row.name[:60], str(row.images), _cell(row), *more))
    return lines


def _cell(row: Row | None, signed: bool = False, bare: bool = False) -> str:
    if row is None:
        return ""
    sign = "+" if signed else ""
    interval = "" if row.low is None or bare else f" [{row.low:{sign}.1f}, {row.high:{sign}.1f}]"
    return f"{row.value:{sign}.1f}{interval}"


def _aligned(lines: list[Line]) -> str:
    if len(lines) < 2:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = []
    for first, *rest in lines:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        shown.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return "\n".join(shown)


# ---- on disk


def write(scores: Scores, folder: str | Path, parameters: Mapping[str, Any]) -> list[Path]:
    """Writes score.csv, per_image.csv and record.json, each whole or not at all.

    Args:
        scores: from `score`.
        folder: where they go; they replace those of an earlier call.
        parameters: what the command was asked for.

    Returns:
        The three paths.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from cambook.localize.counting import Counts
        >>> counts = Counts(["cat.jpg"], np.array([0]), np.array([20.0]))
        >>> found = Scores([Row(ALL, MAPS, PXAP, 50.0, images=1)], "", "pixels", truths=None, counts=counts)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in write(found, folder, {})]
        ...     Path(folder, "score.csv").read_text(encoding="utf-8").split()
        ['score.csv', 'per_image.csv', 'record.json']
        ['part,name,metric,value,low,high,images', 'all,maps,PxAP,50,,,1']
    """
    folder = Path(folder)
    paths = [folder / name for name in ("score.csv", "per_image.csv", "record.json")]
    _write_csv(paths[0], Row._fields, ([*row[:3], *map(_number, row[3:6]), row.images] for row in scores.rows))
    _write_csv(paths[1], *_per_image(scores))
    numbers: dict[str, Any] = {}
    for row in scores.rows:
        if row.part in (ALL, LOC, TUNED):
            interval = None if row.low is None else [row.low, row.high]
            numbers.setdefault(row.part, {}).setdefault(row.name, {})[row.metric] = {"value": row.value} | (
                {"interval": interval} if interval else {}
            )
    images = len(scores.counts.ids) if scores.counts else 0
    results = {"images": images, "rule": scores.rule, "protocol": scores.protocol, "notes": scores.notes, **numbers}
    write_record(paths[2], "score", parameters, results)
    return paths


def _per_image(scores: Scores) -> tuple[list[str], Iterable[list]]:
    counts = scores.counts
    pixels = bool(counts.pixels)
    columns = ["image_id", "class", "object_share", "size", *scores.right, *(["pxap"] if pixels else [])]
    bins = counts.size_bins()

    def rows() -> Iterable[list]:
        for number, identity in enumerate(counts.ids):
            right = [int(values[number]) for values in scores.right.values()]
            own = [_number(float(counts.image_pixels[number]))] if pixels else []
            share = _number(float(counts.shares[number]))
            yield [identity, int(counts.labels[number]), share, SIZES[bins[number]], *right, *own]

    return columns, rows()


def _write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable]) -> None:
    with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.12g}"
