"""`score`: maps of any method, kept on disk, to MaxBoxAcc, MaxBoxAccV2, PxAP and Loc, beside two controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cambook.localize.counting import CENTRE, MAPS, SIZES, Counts, count
from cambook.localize.map_files import (
    NORMALIZATIONS,
    RESIZES,
    MapFiles,
    check_complete,
    check_headers,
    find_maps,
    read_map,
)
from cambook.localize.predictions import NAME, read_predictions
from cambook.localize.truths import Truths
from cambook.metrics.box_accuracy import IOUS, BoxAccuracy
from cambook.metrics.intervals import bootstrap_interval, resamples, share_interval
from cambook.metrics.pixels import PixelAveragePrecision

LEAD = "maps minus centre"
ALL, LOC, TUNED, CLASS, SIZE = "all", "loc", "tuned", "class", "size"
V2, PXAP = "MaxBoxAccV2", "PxAP"
PAPER_BOX = "GT-known, rule paper, 20%"
MOST_THRESHOLDS = 10_000


class Row(NamedTuple):
    """One number of a result.

    Attributes:
        part: "all", "loc", "tuned", "class" or "size".
        name: whose it is: of the maps, of a control, or of a class or size, then with "centre" behind it for that
            control.
        metric: what it is.
        value: in percent; a threshold from 0 to 1.
        low, high: its 95% interval; None if it has none.
        images: how many it counts.

    Example:
        >>> Row("all", "maps", "PxAP", 50.0).low is None
        True
    """

    part: str
    name: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    images: int = 0


@dataclass
class Scores:
    """What the maps of one folder are worth on one split.

    Attributes:
        rows: every number.
        protocol: how true boxes or masks came onto the grid, and which images count.
        rule: how boxes come out of maps, at how many thresholds.
        notes: what a reader has to know beside the numbers, one sentence each.
        truths: what the maps were scored against.
        counts: what was counted, image by image.
        right: column -> (N,) bool, of each image: right at the best threshold at each IoU, by rule "paper", its class.

    Example:
        >>> Scores([Row("all", "maps", "PxAP", 50.0)], "", "").value("PxAP")
        50.0
    """

    rows: list[Row]
    protocol: str
    rule: str
    notes: list[str] = field(default_factory=list)
    truths: Truths | None = field(default=None, repr=False)
    counts: Counts | None = field(default=None, repr=False)
    right: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def row(self, metric: str, name: str = MAPS, part: str = ALL) -> Row:
        """The row of a metric; raises KeyError if there is none."""
        for each in self.rows:
            if each[:3] == (part, name, metric):
                return each
        raise KeyError(f"no {metric} of {name} in the part {part}")

    def value(self, metric: str, name: str = MAPS, part: str = ALL) -> float:
        """The value of a metric; raises KeyError if there is none."""
        return self.row(metric, name, part).value


def max_box_acc(iou: float) -> str:
    """The name of MaxBoxAcc at an IoU: the largest contour, the best threshold of the whole set.

    Example:
        >>> max_box_acc(0.5)
        'MaxBoxAcc, IoU 0.5'
    """
    return f"MaxBoxAcc, IoU {iou}"


def threshold_of(metric: str) -> str:
    """The name of the threshold at which a metric is reached.

    Example:
        >>> threshold_of(max_box_acc(0.5))
        'threshold of MaxBoxAcc, IoU 0.5'
    """
    return f"threshold of {metric}"


def score(
    folder: str | Path,
    truths: Truths,
    *,
    tune_on: Truths | None = None,
    predictions: str | Path | None = None,
    interval: float = 0.001,
    resize: str | None = None,
    normalize: str | None = None,
    partial_set: bool = False,
    seed: int = 0,
) -> Scores:
    """Scores the maps in a folder.

    Everything that can be wrong with names, headers and lists is looked for before the first map is counted. Then the
    maps stream from disk, on all cores. 50,000 of them take a few minutes on two, so nothing is kept for a second try.

    Args:
        folder: contains a map for each image, as `find_maps` looks for it.
        truths: from `truths.from_metadata` or `truths.from_dataset`.
        tune_on: another split, whose maps are in the folder, too: the threshold is chosen on it, and its accuracy on
            `truths` reported beside the best one there.
        predictions: a CSV file of guessed classes; None: predictions.csv in the folder, if it has all images.
        interval: distance of the thresholds, of which 1 is a whole multiple; 0.001 and 0.01 are wsolevaluation's.
        resize, normalize: as for `read_map`.
        partial_set: whether images without a map may be left out, which the notes then say.
        seed: of the bootstrap.

    Returns:
        `Scores`. Intervals are at 95%: of MaxBoxAcc, MaxBoxAccV2 and PxAP by bootstrap over the images, the threshold
        chosen anew in each resample; of shares at one threshold Wilson's.

    Raises:
        FileNotFoundError: a map is missing.
        ValueError: a map, a list or an option cannot be used; the message names file and remedy.

    Source: Choe et al. 2020, section 3, and its journal version (arXiv 2007.04178) for MaxBoxAccV2; Russakovsky et al.
        2015, section 4.2, for Loc; Zhou et al. 2016, section 3.2, for boxes at 20%.

    Example:
        >>> import tempfile
        >>> from cambook.localize.truths import Truth
        >>> truths = Truths("mine", "test", {"cat.jpg": 0}, lambda identity: Truth(np.array([[0, 0, 112, 112]])))
        >>> map2d = np.zeros((224, 224), np.float32)
        >>> map2d[:112, :112] = 1
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "cat.jpg.npy"), map2d)
        ...     found = score(folder, truths)
        >>> found.value("MaxBoxAcc, IoU 0.7"), found.value("MaxBoxAccV2", "whole image")
        (100.0, 0.0)
    """
    thresholds = _thresholds(interval)
    check_options(resize, normalize)
    maps, notes = _ready(Path(folder), truths, tune_on, resize, partial_set)
    ids = [identity for identity in truths.labels if identity in maps.files]
    guesses = _guesses(Path(folder), predictions, ids, notes)
    read = partial(read_map, resize=resize, normalize=normalize)
    counts = count(maps, truths, read, thresholds)
    if counts.pixels and not counts.shares.any():
        raise ValueError(f"no mask of {truths.of} marks a pixel of the grid: look at the masks.")
    if counts.unmarked:
        notes.append(f"images whose masks mark nothing count, all their pixels background: {counts.unmarked} of them")
    found = Scores([], truths.protocol, _rule(truths, thresholds, resize, normalize), notes, truths, counts)
    if counts.boxes:
        found.rows += _box_rows(counts, seed)
        for iou in IOUS:
            best = counts.boxes[MAPS].max_box_acc(iou)[1]
            found.right[f"right_{round(100 * iou)}"] = counts.boxes[MAPS].right_at(best, iou)
        found.right["paper_20"] = counts.paper[MAPS]
    if counts.pixels:
        found.rows += _pixel_rows(counts, seed)
    if guesses is not None:
        found.rows += _loc_rows(counts, guesses, found)
    if tune_on is not None:
        tuned = count(maps, tune_on, read, thresholds, beside=False)
        found.rows += _tuned_rows(counts.boxes[MAPS], tuned.boxes[MAPS], tune_on.split, seed)
    found.rows += _group_rows(counts, truths, seed)
    return found


def check_options(resize: str | None, normalize: str | None) -> None:
    """Refuses unknown names of interpolations and normalizations.

    Args:
        resize: None or a name in `RESIZES`.
        normalize: None or a name in `NORMALIZATIONS`.

    Raises:
        ValueError: with those that are known.

    Example:
        >>> check_options("bicubic", None)
    """
    for option, value, known in (("--resize", resize, RESIZES), ("--normalize", normalize, NORMALIZATIONS)):
        if value is not None and value not in known:
            raise ValueError(f"{option} {value!r} is unknown: choose one of {', '.join(known)}.")


# ---- before the first map is counted


def _thresholds(interval: float) -> int:
    number = round(1 / interval) if 0 < interval <= 1 else 0
    if not 1 <= number <= MOST_THRESHOLDS or abs(number * interval - 1) > 1e-9:
        raise ValueError(
            f"--interval {interval} cannot be the distance of thresholds from 0 to 1: give 1 divided by a whole number "
            f"of at most {MOST_THRESHOLDS}, such as 0.001 or 0.01."
        )
    return number


def _ready(
    folder: Path, truths: Truths, tune_on: Truths | None, resize: str | None, partial_set: bool
) -> tuple[MapFiles, list[str]]:
    """The maps, none missing that is needed, all with a sound header; and notes on what is left out."""
    notes: list[str] = []
    splits = [truths] if tune_on is None else [truths, tune_on]
    if tune_on is not None:
        shared = [identity for identity in tune_on.labels if identity in truths.labels]
        if shared:
            raise ValueError(
                f"{truths.of} and {tune_on.of} share {len(shared)} images, such as {shared[0]}: choose the "
                "threshold on other images than those it is reported on."
            )
        if not (truths.has_boxes and tune_on.has_boxes):
            raise ValueError(f"{truths.of} or {tune_on.of} has no boxes, for which a threshold could be chosen.")
    for each in splits:
        if each.left_out:
            first, why = next(iter(each.left_out.items()))
            sentence = (
                f"{len(each.left_out)} of the images that {each.of} lists cannot be counted, such as {first!r}: {why}"
            )
            if not partial_set:
                raise ValueError(f"{sentence}; correct the lists, or score the others with --partial.")
            notes.append(sentence)
    maps = find_maps(folder, [identity for each in splits for identity in each.labels])
    for each in splits:
        mine = {identity: maps.files[identity] for identity in each.labels if identity in maps.files}
        missing = [identity for identity in each.labels if identity not in maps.files]
        sentence = check_complete(MapFiles(folder, mine, missing, maps.extra, maps.linked), each.of, partial_set)
        if sentence:
            notes.append(f"{sentence}; only these count")
    if maps.extra:
        notes.append(f".npy files that belong to no image here: {len(maps.extra)}, such as {maps.extra[0]}")
    check_headers(maps, resize)
    return maps, notes


def _guesses(folder: Path, predictions: str | Path | None, ids: list[str], notes: list[str]) -> np.ndarray | None:
    if predictions is not None:
        return read_predictions(predictions, ids)
    if not (folder / NAME).is_file():
        return None
    try:
        found = read_predictions(folder / NAME, ids)
    except ValueError as error:
        notes.append(f"Loc is not counted, since {str(error).rstrip('.')}")
        return None
    notes.append(f"guessed classes are those in {folder / NAME}")
    return found


def _rule(truths: Truths, thresholds: int, resize: str | None, normalize: str | None) -> str:
    box = "boxes by rule wsol" if truths.has_boxes else "pixels"
    sizes = f"resized by {resize}" if resize else "224 x 224 as they are"
    values = f"normalized by {normalize}" if normalize else "values as they are"
    return f"{box} at {thresholds} thresholds; maps {sizes}, {values}"


# ---- numbers


def _share(part: str, name: str, metric: str, right: np.ndarray) -> Row:
    total = len(right)
    return Row(part, name, metric, 100 * float(right.mean()), *share_interval(int(right.sum()), total), total)


def _box_rows(counts: Counts, seed: int) -> Iterator[Row]:
    """MaxBoxAcc and MaxBoxAccV2 of the maps and the controls, their thresholds, and how far the maps lead."""
    drawn = {name: _drawn(counts.boxes[name], seed, name == MAPS) for name in (MAPS, CENTRE)}
    for name, accuracy in counts.boxes.items():
        images, mine = len(accuracy), drawn[MAPS] if name == MAPS else {}
        for iou in IOUS:
            value, threshold = accuracy.max_box_acc(iou)
            yield Row(ALL, name, max_box_acc(iou), value, *_between(mine.get((iou, "largest"))), images)
            yield Row(ALL, name, threshold_of(max_box_acc(iou)), threshold, images=images)
        for iou in IOUS:
            value = float(accuracy.curve(iou, "all").max())
            yield Row(ALL, name, f"{V2}, IoU {iou}", value, *_between(mine.get((iou, "all"))), images)
        yield Row(ALL, name, V2, accuracy.max_box_acc_v2(), *_between(mine.get(V2)), images)
        yield _share(ALL, name, PAPER_BOX, counts.paper[name])
    maps, centre = counts.boxes[MAPS], counts.boxes[CENTRE]
    difference = maps.max_box_acc()[0] - centre.max_box_acc()[0]
    lead = drawn[MAPS][0.5, "largest"] - drawn[CENTRE][0.5, "largest"]
    yield Row(ALL, LEAD, max_box_acc(0.5), difference, *_between(lead), len(maps))
    difference = maps.max_box_acc_v2() - centre.max_box_acc_v2()
    yield Row(ALL, LEAD, V2, difference, *_between(drawn[MAPS][V2] - drawn[CENTRE][V2]), len(maps))


def _drawn(accuracy: BoxAccuracy, seed: int, each: bool) -> dict:
    """Metrics in each resample: (iou, contours) -> (repeats,), and MaxBoxAccV2; if not each, those for `LEAD` alone."""
    wanted = [(iou, "largest") for iou in IOUS if each or iou == 0.5] + [(iou, "all") for iou in IOUS]
    found: dict = {}
    for iou, contours in wanted:
        table, sizes = accuracy.grouped_hits(iou, contours)
        found[iou, contours] = resamples(table, seed, sizes=sizes)
    return found | {V2: np.mean([found[iou, "all"] for iou in IOUS], axis=0)}


def _between(drawn: np.ndarray | None) -> tuple[float | None, float | None]:
    """The interval of 95% of the resamples."""
    return (None, None) if drawn is None else tuple(map(float, np.quantile(drawn, [0.025, 0.975])))


def _pixel_rows(counts: Counts, seed: int) -> Iterator[Row]:
    for name, pixels in counts.pixels.items():
        low, high = pixels.interval(seed) if name == MAPS else (None, None)
        yield Row(ALL, name, PXAP, pixels.value(), low, high, len(pixels))


def _loc_rows(counts: Counts, guesses: np.ndarray, found: Scores) -> Iterator[Row]:
    """Top-1 and top-5: class right, and class and box right, by both rules; of the maps and with the controls' box.

    A guess of the true class has the box of the true class's map, so a map of that class is all that is needed.
    """
    own = guesses == counts.labels[:, None]
    for k in (1, 5):
        if k > guesses.shape[1]:
            continue
        right = own[:, :k].any(axis=1)
        found.right[f"top{k}"] = right
        yield _share(LOC, MAPS, f"top-{k} class", right)
        for name, paper in counts.paper.items():
            yield _share(LOC, name, f"top-{k} Loc, rule paper, 20%", right & paper)
        for name, accuracy in counts.boxes.items():
            if accuracy.keep_hits:
                best = accuracy.max_box_acc()[1]
                yield _share(LOC, name, f"top-{k} Loc, MaxBoxAcc's threshold", right & accuracy.right_at(best))
    if guesses.shape[1] >= 5 and len(own) >= 100 and not own.any():
        found.notes.append("no guess is right: do the predictions count classes as the labels do?")


def _tuned_rows(mine: BoxAccuracy, other: BoxAccuracy, split: str, seed: int) -> Iterator[Row]:
    """The accuracy here at the threshold that is best on the other split, beside the best one here."""
    for contours in ("largest", "all"):
        right, bests = [], []
        for iou in IOUS:
            metric = max_box_acc(iou) if contours == "largest" else f"{V2}, IoU {iou}"
            curve, best = mine.curve(iou, contours), other.curve(iou, contours).argmax()
            threshold = float(other.thresholds[best])
            right.append(mine.right_at(threshold, iou, contours))
            yield _share(TUNED, split, metric, right[-1])
            yield Row(TUNED, split, threshold_of(metric), threshold, images=len(other))
            yield Row(TUNED, "best here", metric, float(curve.max()), images=len(mine))
            yield Row(
                TUNED, "best here", threshold_of(metric), float(mine.thresholds[curve.argmax()]), images=len(mine)
            )
            bests.append(float(curve.max()))
        if contours == "all":
            low, high = bootstrap_interval(100 * np.mean(right, axis=0), seed)
            yield Row(TUNED, split, V2, 100 * float(np.mean(right)), low, high, len(mine))
            yield Row(TUNED, "best here", V2, float(np.mean(bests)), images=len(mine))


def _group_rows(counts: Counts, truths: Truths, seed: int) -> Iterator[Row]:
    """By class and by size of the object: boxes at the whole set's threshold, and pixels."""
    bins = counts.size_bins()
    if counts.boxes:
        metric = f"BoxAcc, IoU 0.5, at {counts.boxes[MAPS].max_box_acc()[1]:g}"
        right = {
            name: accuracy.right_at(accuracy.max_box_acc()[1])
            for name, accuracy in counts.boxes.items()
            if accuracy.keep_hits
        }
        for part, groups, called in (
            (CLASS, counts.labels, truths.class_name),
            (SIZE, bins, SIZES.__getitem__),
        ):
            for group in np.unique(groups).tolist():
                inside = groups == group
                yield _share(part, called(group), metric, right[MAPS][inside])
                yield _share(part, f"{called(group)}, {CENTRE}", "BoxAcc, IoU 0.5", right[CENTRE][inside])
    for label, histograms in sorted(counts.class_pixels.items()):
        number = int((counts.labels == label).sum())
        value = PixelAveragePrecision.value_of(histograms)
        if np.isfinite(value):
            yield Row(CLASS, truths.class_name(label), PXAP, value, images=number)
    for number, pixels in enumerate(counts.size_pixels):
        if counts.shares[bins == number].any():
            yield Row(SIZE, SIZES[number], PXAP, pixels.value(), *pixels.interval(seed), len(pixels))
