"""Scores, boxes and masks in, percent out: the metrics of the papers, each as its authors count.

All boxes that come in are half-open, (x0, y0, x1, y1) in pixels. The metrics called `ilsvrc` and `wsol` count
pixels inclusively (+1 on widths and heights); what that means for a half-open box is said where it happens.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike

from cambook.boxes import box_iou, is_finite

IOUS = (0.3, 0.5, 0.7)  # the deltas of MaxBoxAccV2
CONTOURS = ("largest", "all")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def topk_correct(logits: ArrayLike, labels: ArrayLike, k: int) -> np.ndarray:
    """Whether the label is among the k highest scores; of equal scores that of the lower class is higher.

    logits: (N, C); labels: (N,) class indices; returns (N,) bool
    raises: ValueError where shapes, labels or k do not fit, or a score is not finite
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or len(logits) == 0 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape} and labels {labels.shape} do not fit: give (N, C) and (N,).")
    if k < 1:
        raise ValueError(f"k={k} asks for no guess: give 1 or more.")
    if not (finite := np.isfinite(logits).all(axis=1)).all():
        raise ValueError(f"logits[{finite.argmin()}] hold a value that is not finite: look at the network.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}: give 0 to {logits.shape[1] - 1}.")
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1) < k


def topk_error(logits: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Top-k classification error: share of pictures whose label is not among the k highest scores, in
    percent.

    logits: (N, C); labels: (N,); raises ValueError as `topk_correct`
    """
    return 100 - _percent(topk_correct(logits, labels, k))


def localization_correct(
    guess_labels: ArrayLike,
    guess_boxes: Sequence[ArrayLike | None],
    label: int,
    gt_boxes: ArrayLike,
    iou: float = 0.5,
) -> bool:
    """The ILSVRC rule for one picture: is any of the guesses (class, box) right, in class AND in box?

    guess_labels: (k,) class indices; guess_boxes: k boxes (4,), None for a guess without a box
    label:        the picture's class; gt_boxes: (n, 4), n > 0, ALL boxes of that class in the picture

    A box is right when its IoU with the best of the ground-truth boxes is at least `iou`. ILSVRC counts the last
    row and column of a box as inside; a half-open box ends one later, so its plain IoU is the same number.
    raises: ValueError without ground truth, or where there are not as many boxes as labels
    Russakovsky et al. 2015, section 4.2.
    """
    guess_labels = np.asarray(guess_labels).reshape(-1)
    if len(guess_labels) != len(guess_boxes):
        raise ValueError(f"{len(guess_labels)} labels and {len(guess_boxes)} boxes: give one for each.")
    truth = _ground_truth(gt_boxes)
    right_class = [box for guess, box in zip(guess_labels, guess_boxes, strict=True) if guess == label]
    return any(_best_iou(box, truth) >= iou for box in right_class)


def topk_localization_correct(
    guess_labels: Sequence[ArrayLike],
    guess_boxes: Sequence[Sequence[ArrayLike | None]],
    labels: ArrayLike,
    gt_boxes: Sequence[ArrayLike],
    k: int,
    iou: float = 0.5,
) -> np.ndarray:
    """`localization_correct` of the first k guesses, for every picture.

    guess_labels: N times (at least k,), best first; guess_boxes: N times as many boxes (4,) or None
    labels:       (N,); gt_boxes: N times (n_i, 4), all boxes of the label; returns (N,) bool
    raises:       ValueError as `localization_correct`, and where the N differ
    """
    numbers = {len(guess_labels), len(guess_boxes), len(labels), len(gt_boxes)}
    if len(numbers) != 1 or numbers == {0}:
        raise ValueError(f"Guesses, labels and truth are of {sorted(numbers)} pictures: give equally many.")
    if k < 1:
        raise ValueError(f"k={k} asks for no guess: give 1 or more.")
    pictures = zip(guess_labels, guess_boxes, np.asarray(labels), gt_boxes, strict=True)
    return np.array([localization_correct(g[:k], b[:k], label, gt, iou) for g, b, label, gt in pictures])


def topk_localization_error(
    guess_labels: Sequence[ArrayLike],
    guess_boxes: Sequence[Sequence[ArrayLike | None]],
    labels: ArrayLike,
    gt_boxes: Sequence[ArrayLike],
    k: int,
    iou: float = 0.5,
) -> float:
    """Top-k localization error, ILSVRC rule: share of pictures where none of k guesses is right, in percent.

    Arguments and errors as `topk_localization_correct`. Leave blacklisted pictures out before: they do not
    count.
    """
    return 100 - _percent(topk_localization_correct(guess_labels, guess_boxes, labels, gt_boxes, k, iou))


def gt_known_correct(
    boxes: Sequence[ArrayLike | None], gt_boxes: Sequence[ArrayLike], iou: float = 0.5
) -> np.ndarray:
    """Whether the box from the map of the TRUE class is right, whatever class the network guessed.

    boxes: N times (4,) or None; gt_boxes: N times (n_i, 4); IoU as in `localization_correct`; returns (N,)
    bool
    raises: ValueError where the N differ or a picture has no ground truth
    """
    if len(boxes) != len(gt_boxes) or len(boxes) == 0:
        raise ValueError(f"{len(boxes)} boxes, {len(gt_boxes)} pictures: give a box or None for each.")
    return np.array([_best_iou(box, truth) >= iou for box, truth in zip(boxes, gt_boxes, strict=True)])


def gt_known_accuracy(
    boxes: Sequence[ArrayLike | None], gt_boxes: Sequence[ArrayLike], iou: float = 0.5
) -> float:
    """GT-known localization accuracy: share of pictures that `gt_known_correct` calls right, in percent."""
    return _percent(gt_known_correct(boxes, gt_boxes, iou))


class BoxAccuracy:
    """MaxBoxAcc and MaxBoxAccV2 of a set of pictures, one `update` a picture.

    size:       side of the grid of maps and ground truth; 224 for numbers beside published ones
    thresholds: how many thresholds tau = 0, 1 / thresholds, ...
    keep_hits:  whether to remember which picture is right at which threshold, for `hits` and intervals: 193 bytes a
                picture; without, memory is the same however many pictures come

    Counted as the released code does (`wsol`): the map is cut to 8 bits; mask = map > int(tau * max); the box
    of a contour is [x, y, x + w, y + h] with the last two at most size - 1, so one pixel wider than inclusive
    counting means, and IoU is inclusive (+1) all the same; without contours it is [0, 0, 0, 0]. Ground truth is
    inclusive there, so a half-open box becomes (x0, y0, x1 - 1, y1 - 1), then its fractions are cut off.
    Choe et al. 2020, section 3 (V1); the journal version (arXiv 2007.04178) for V2.
    """

    def __init__(self, size: int = 224, thresholds: int = 1000, keep_hits: bool = True) -> None:
        if size < 1 or thresholds < 1:
            raise ValueError(f"size={size}, thresholds={thresholds}: give whole numbers above 0.")
        self.size, self.keep_hits = size, keep_hits
        self.thresholds = np.arange(thresholds) * (1 / thresholds)
        self._count = np.zeros((len(CONTOURS), len(IOUS), thresholds), np.int64)
        self._seen = 0
        self._peaks, self._packed = bytearray(), bytearray()  # of each picture: the 8-bit map's maximum, hits by level

    def __len__(self) -> int:
        return self._seen

    def update(self, map2d: ArrayLike, gt_boxes: ArrayLike) -> None:
        """One more picture.

        map2d:    (size, size) float from 0 to 1: map of the true class, upsampled, then normalized
        gt_boxes: (n, 4), n > 0, half-open, on the same grid: all boxes of the picture's class
        raises:   ValueError where a shape or value is not like that; of one that is not finite it says which map it is
        """
        self._add(*self._examined(map2d, gt_boxes, len(self)))

    def update_all(self, maps: Sequence[ArrayLike], gt_boxes: Sequence[ArrayLike]) -> None:
        """`update` for several pictures, on all cores of the processor: the same numbers in the same order.

        maps: (B, size, size); gt_boxes: B times (n_i, 4); raises ValueError as `update`, and then counts none of them
        """
        if len(maps) != len(gt_boxes):
            raise ValueError(f"{len(maps)} maps, ground truth of {len(gt_boxes)} pictures: give equally many.")
        with ThreadPoolExecutor(CORES) as pool:
            for peak, hits in list(pool.map(self._examined, maps, gt_boxes, itertools.count(len(self)))):
                self._add(peak, hits)

    def _examined(self, map2d: ArrayLike, gt_boxes: ArrayLike, place: int) -> tuple[int, np.ndarray]:
        """Of the map at that place: the 8-bit map's maximum, and right or wrong for (contours, IoU, level)."""
        from cambook import sweep  # here, so that errors can be counted where Numba is not installed

        _check_finite(map2d, f"map {place}")
        score = sweep.to_uint8(map2d)
        if score.shape != (self.size, self.size):
            raise ValueError(f"The map has shape {score.shape}: upsample it to {(self.size,) * 2} first.")
        return int(score.max()), sweep.hits(score, self._ground_truth(gt_boxes), np.array(IOUS))

    def _add(self, peak: int, hits: np.ndarray) -> None:
        from cambook import sweep

        self._count += hits[..., sweep.levels(self.thresholds, peak)]
        self._seen += 1
        if self.keep_hits:
            self._peaks.append(peak)
            self._packed += np.packbits(hits, axis=-1).tobytes()

    def extend(self, later: BoxAccuracy) -> None:
        """Those pictures too, behind the own ones, as if each had come by `update`: exactly the same numbers.

        raises: ValueError where the other has another size or other thresholds, or hits are kept by one alone
        """
        if self.size != later.size or not np.array_equal(self.thresholds, later.thresholds):
            raise ValueError("The two were not counted on one grid and at the same thresholds: they cannot be joined.")
        if self.keep_hits != later.keep_hits:
            raise ValueError("One was counted with keep_hits and one without: they cannot be joined.")
        self._count += later._count
        self._seen += later._seen
        self._peaks += later._peaks
        self._packed += later._packed

    def curve(self, iou: float = 0.5, contours: str = "largest") -> np.ndarray:
        """BoxAcc(tau): percent of pictures whose box (contours="largest") or one of whose boxes ("all") is
        right.

        iou: 0.3, 0.5 or 0.7; returns (thresholds,); raises ValueError for another iou or contours, or no
        picture yet
        """
        which = self._which(iou, contours)
        return 100 * self._count[which] / len(self)

    def hits(self, iou: float = 0.5, contours: str = "largest") -> np.ndarray:
        """Which picture is right at which threshold: (N, thresholds) bool. Arguments, errors as `curve`; ValueError
        without keep_hits."""
        from cambook import sweep

        kind, delta = self._which(iou, contours)
        if not self.keep_hits:
            raise ValueError("Which picture is right was not kept: count with keep_hits=True.")
        peaks = np.frombuffer(self._peaks, np.uint8)
        packed = np.frombuffer(self._packed, np.uint8).reshape(len(self), len(CONTOURS), len(IOUS), -1)[:, kind, delta]
        by_level = np.unpackbits(packed, axis=1, count=sweep.LEVELS).astype(bool)
        hits = np.empty((len(self), len(self.thresholds)), bool)
        for peak in np.unique(peaks):
            hits[peaks == peak] = by_level[peaks == peak][:, sweep.levels(self.thresholds, peak)]
        return hits

    def max_box_acc(self, iou: float = 0.5) -> tuple[float, float]:
        """MaxBoxAcc: BoxAcc at the best threshold, ONE for the whole set, and the lowest such threshold."""
        curve = self.curve(iou)
        return float(curve.max()), float(self.thresholds[curve.argmax()])

    def max_box_acc_v2(self) -> float:
        """MaxBoxAccV2: mean over IoU 0.3, 0.5, 0.7 of the best BoxAcc, boxes of all contours."""
        return float(np.mean([self.curve(iou, "all").max() for iou in IOUS]))

    def _which(self, iou: float, contours: str) -> tuple[int, int]:
        if iou not in IOUS or contours not in CONTOURS:
            raise ValueError(
                f"iou={iou}, contours={contours!r} were not counted: choose from {IOUS} and from {CONTOURS}."
            )
        if len(self) == 0:
            raise ValueError("No picture was given yet: call update(map2d, gt_boxes) for each one first.")
        return CONTOURS.index(contours), IOUS.index(iou)

    def _ground_truth(self, gt_boxes: ArrayLike) -> np.ndarray:
        """Inclusive whole pixels. wsolevaluation scales the last pixel of a box, the data sets here its edge: from a
        larger picture than the grid a box may end one pixel earlier than there, from a smaller one up to a pixel of the
        picture later."""
        boxes = _ground_truth(gt_boxes)
        if boxes.min() < -1 or boxes.max() > self.size + 1:
            raise ValueError(f"A ground-truth box leaves the grid of {self.size} pixels: scale both alike.")
        return np.trunc(boxes - [0, 0, 1, 1]).astype(np.int64)


class PixelAveragePrecision:
    """PxAP: average precision of all pixels of the set together, from histograms of their scores.

    thresholds: how many thresholds tau = 0, 1 / thresholds, ...; scores between two of them count as one

    PxAP = sum over tau, from high to low, of Prec(tau) * (Rec(tau) - Rec(previous tau)), a pixel being found where
    its score is at least tau. Choe et al. 2020, section 3. Memory: 2 * 100 numbers for each threshold, however many
    pictures come; every hundredth picture shares a histogram, and `interval` draws these groups.
    """

    GROUPS = 100

    def __init__(self, thresholds: int = 1000) -> None:
        if thresholds < 1:
            raise ValueError(f"thresholds={thresholds}: give a whole number above 0.")
        self.edges = np.append(np.arange(thresholds) * (1 / thresholds), [1.0, np.inf])
        self._groups = np.zeros((self.GROUPS, 2, thresholds + 1), np.int64)
        self._seen = 0

    def __len__(self) -> int:
        return self._seen

    @property
    def _count(self) -> np.ndarray:
        return self._groups.sum(axis=0)

    def update(self, map2d: ArrayLike, mask: ArrayLike, ignore: ArrayLike | None = None) -> None:
        """One more picture.

        map2d:  (H, W) float from 0 to 1, normalized per map
        mask:   (H, W) bool, the pixels of any instance of the class
        ignore: (H, W) bool, pixels that count neither way, unless the mask holds them
        raises: ValueError where a shape or value is not like that; of one that is not finite it says which map it is
        """
        from cambook import sweep

        _check_finite(map2d, f"map {len(self)}")
        map2d, mask = np.asarray(map2d), np.asarray(mask).astype(bool)
        ignore = np.zeros_like(mask) if ignore is None else np.asarray(ignore).astype(bool)
        if map2d.ndim != 2 or map2d.size == 0 or not map2d.shape == mask.shape == ignore.shape:
            shapes = f"{map2d.shape}, {mask.shape}, {ignore.shape}"
            raise ValueError(f"Map, mask and ignore have shapes {shapes}: give the same (H, W) for each.")
        if not (map2d.min() >= 0 and map2d.max() <= 1 + 1e-6):
            raise ValueError(
                f"The map goes from {map2d.min()} to {map2d.max()}: bring it to [0, 1] with maps.normalize."
            )
        group = self._groups[self._seen % self.GROUPS]
        scores, counted = map2d.ravel().astype(np.float64), (mask | ~ignore).ravel()
        sweep.add_to_histograms(group, self.edges, scores, mask.ravel(), counted)
        self._seen += 1

    def extend(self, later: PixelAveragePrecision) -> None:
        """Those pictures too, behind the own ones, as if each had come by `update`: exactly the same numbers.

        raises: ValueError where the other has other thresholds
        """
        if not np.array_equal(self.edges, later.edges):
            raise ValueError("The two were not counted at the same thresholds: they cannot be joined.")
        self._groups += np.roll(later._groups, self._seen, axis=0)
        self._seen += later._seen

    def value(self) -> float:
        """PxAP of the pictures so far, in percent. raises: ValueError where no pixel belonged to a mask."""
        if self._groups[:, 1].sum() == 0:
            raise ValueError("No pixel of any mask was seen: update() with at least one object first.")
        return float(_average_precision(self._count[None])[0])

    def interval(self, seed: int, repeats: int = 1000, level: float = 0.95) -> tuple[float, float]:
        """Percentile bootstrap interval, in percent, as `bootstrap_interval`: up to 100 pictures are drawn singly, more
        in 100 groups, each of every hundredth picture. raises: ValueError where no pixel belonged to a mask."""
        self.value()
        groups = self._groups[: self._seen]
        draw = np.random.default_rng(seed)
        times = draw.multinomial(len(groups), [1 / len(groups)] * len(groups), size=repeats)
        found = [_average_precision(np.tensordot(some, groups, 1)) for some in np.array_split(times, -(-repeats // 50))]
        low, high = np.quantile(np.concatenate(found), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def coverage(self, threshold: float) -> tuple[float, float]:
        """Recall and precision of pixels at one threshold, in percent, all pixels of the set counted together.

        threshold: from 0 to 1; one between two of the grid's counts as the next higher
        returns:   of the pixels of masks, how many score at least the threshold (the coverage of the objects); of the
                   pixels that do, how many belong to a mask (0 where none does)
        raises:    ValueError for a threshold outside [0, 1], or where no pixel belonged to a mask
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold}: maps run from 0 to 1, give a number between.")
        outside, inside = self._count[:, np.searchsorted(self.edges, threshold) :].sum(axis=1)
        if self._count[1].sum() == 0:
            raise ValueError("No pixel of any mask was seen: update() with at least one object first.")
        return 100 * float(inside / self._count[1].sum()), 100 * float(inside / max(inside + outside, 1))


def _average_precision(count: np.ndarray) -> np.ndarray:
    """Average precision in percent of histograms (R, 2, scores), pixels outside and inside masks: (R,)."""
    outside, inside = count[:, :, ::-1].cumsum(axis=2).transpose(1, 0, 2)
    precision = inside / np.maximum(inside + outside, 1)
    recall = inside / np.maximum(inside[:, -1:], 1)
    return 100 * (precision * np.diff(recall, prepend=0)).sum(axis=1)


def pointing_hit(map2d: ArrayLike, mask_or_boxes: ArrayLike, tolerance: float = 15) -> bool:
    """The pointing game: does the map's maximum lie in the object, or at most `tolerance` away from it?

    map2d:         (H, W); of several maxima the first in reading order points; a non-finite map misses, with a warning
    mask_or_boxes: (H, W) bool, or (n, 4) half-open boxes on the map's grid, of which any may be hit
    tolerance:     in pixels at a longer side of 224, in proportion at others; between pixel centres
    raises:        ValueError where the shapes do not fit or there is no object
    Zhang et al. 2016 (Excitation Backprop).
    """
    map2d, target = np.asarray(map2d), np.asarray(mask_or_boxes)
    if map2d.ndim != 2 or map2d.size == 0:
        raise ValueError(f"The map has shape {map2d.shape}: give one map of shape (H, W).")
    if target.dtype == bool:
        if target.shape != map2d.shape or not target.any():
            raise ValueError(f"The mask {target.shape} has no pixel or not the map's shape {map2d.shape}.")
    else:
        target = _ground_truth(target)
    if not is_finite(map2d):
        return False
    y, x = np.unravel_index(map2d.argmax(), map2d.shape)
    if target.dtype == bool:
        ys, xs = np.nonzero(target)
    else:
        xs = np.clip(x, target[:, 0], target[:, 2] - 1)
        ys = np.clip(y, target[:, 1], target[:, 3] - 1)
    return bool(np.hypot(xs - x, ys - y).min() <= tolerance * max(map2d.shape) / 224)


def share_inside(map2d: ArrayLike, mask: ArrayLike, ignore: ArrayLike | None = None) -> float:
    """Which share of a map's positive values lies on the object, in percent; a map without any gives 0.

    map2d:  (H, W), raw, before any normalization, which would lift what is 0; values below 0 count as 0
    mask:   (H, W) bool, the pixels of the object
    ignore: (H, W) bool, pixels whose values count neither way, unless the mask holds them
    raises: ValueError where the shapes differ, the mask is empty or a value of the map is not finite
    A map that is the same everywhere gives the share of the picture that the object covers. The energy-based pointing
    game of Wang et al. 2020 (Score-CAM), with a mask in place of a box.
    """
    map2d, mask = np.asarray(map2d, np.float64), np.asarray(mask).astype(bool)
    if map2d.ndim != 2 or map2d.shape != mask.shape or not mask.any():
        raise ValueError(f"Map {map2d.shape} and mask {mask.shape} must be one (H, W), the mask with some object.")
    _check_finite(map2d, "the map")
    positive = np.maximum(map2d, 0)
    if ignore is not None:
        positive[np.asarray(ignore).astype(bool) & ~mask] = 0
    total = positive.sum()
    return 100 * float(positive[mask].sum() / total) if total > 0 else 0.0


def area_under(curves: ArrayLike) -> np.ndarray:
    """Area under each curve whose points are evenly spaced from 0 to 1, by trapezoids: the mean height.

    curves: (N, steps + 1); returns (N,)
    raises: ValueError where there are fewer than two points or a value is not finite
    The deletion and insertion scores of Petsiuk et al. 2018 are this area under the class's probability.
    """
    curves = np.asarray(curves, np.float64)
    if curves.ndim != 2 or curves.shape[1] < 2:
        raise ValueError(f"curves has shape {curves.shape}: give (N, points) with at least two points.")
    _check_finite(curves, "curves")
    return (curves[:, 1:] + curves[:, :-1]).mean(1) / 2


def rank_correlation(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Spearman's rank correlation of each map of a with its map of b: 1 for the same order of places.

    a, b:    (N, h, w) or (N, 1, h, w), the same shape; equal values share the mean of their ranks
    returns: (N,), from -1 to 1; 0 where a map is constant and so has no order
    raises:  ValueError where the shapes differ or a value is not finite
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim < 2 or a.size == 0:
        raise ValueError(f"maps have shapes {a.shape} and {b.shape}: give (N, h, w) twice.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a map holds a value that is not finite: it has no rank.")
    from scipy import stats

    ranks = [stats.rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (a, b)]
    x, y = (r - r.mean(1, keepdims=True) for r in ranks)
    spread = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return np.where(spread > 0, (x * y).sum(1) / np.where(spread > 0, spread, 1), 0.0)


def iou_counts(predicted: ArrayLike, truth: ArrayLike, classes: int = 2) -> np.ndarray:
    """Shared and joint pixels of each picture and class, what mean IoU is made of: (N, classes, 2) int64.

    predicted, truth: (N, H, W), the class of each pixel from 0 (background) to classes - 1; bool for object or not
    raises: ValueError where the shapes differ or a pixel has another class
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape or predicted.ndim != 3:
        raise ValueError(f"predicted {predicted.shape} and truth {truth.shape} do not fit: give both as (N, H, W).")
    for name, of_pixels in (("predicted", predicted), ("truth", truth)):
        if not np.isin(of_pixels, np.arange(classes)).all():
            raise ValueError(f"{name} holds a class that is not 0 to {classes - 1}: give one of these for each pixel.")
    counts = np.empty((len(truth), classes, 2), np.int64)
    for c in range(classes):
        a, b = predicted == c, truth == c
        counts[:, c, 0], counts[:, c, 1] = (a & b).sum((1, 2)), (a | b).sum((1, 2))
    return counts


def mean_iou(counts: ArrayLike) -> float:
    """Mean IoU in percent: for each class the shared pixels of ALL pictures over the joint ones, then their mean.

    counts: (N, classes, 2) from `iou_counts`; a class that is nowhere, predicted or true, is left out
    raises: ValueError where no class is anywhere
    The background is a class. Everingham et al. 2015, The Pascal VOC challenge: a retrospective, section 4.2.
    """
    shared, joint = np.asarray(counts).sum(0).T
    if not joint.any():
        raise ValueError("counts hold no pixel of any class: count at least one picture with iou_counts.")
    return 100 * float((shared[joint > 0] / joint[joint > 0]).mean())


def mean_iou_interval(counts: ArrayLike, seed: int, repeats: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """As `bootstrap_interval`, for mean IoU: pictures are drawn with replacement, their pixels counted together."""
    counts, draw = np.asarray(counts), np.random.default_rng(seed)
    found = [mean_iou(counts[draw.integers(len(counts), size=len(counts))]) for _ in range(repeats)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def lands_on(maps: ArrayLike, masks: ArrayLike, seed: int) -> dict[str, float]:
    """Whether maps point at an object, beside what a map gets that does not look: (N, H, W) and (N, H, W) bool.

    returns, in percent: pointing, the share of maps whose maximum lies on the mask itself (no tolerance), with low and
             high, its 95% bootstrap interval; mass, the mean of `share_inside`; area, the masks' share of the picture
    """
    maps, masks = np.asarray(maps), np.asarray(masks, bool)
    hits = np.array([pointing_hit(one, mask, tolerance=0) for one, mask in zip(maps, masks, strict=True)])
    low, high = bootstrap_interval(hits, seed)
    row = {"pointing": _percent(hits), "low": low, "high": high}
    mass = float(np.mean([share_inside(one, mask) for one, mask in zip(maps, masks, strict=True)]))
    return row | {"mass": mass, "area": _percent(masks)}


def bootstrap_interval(
    per_picture: ArrayLike, seed: int, repeats: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a metric: pictures are drawn with replacement, `repeats` times.

    per_picture, one of:
      (N,)            a value for each picture; the metric is their mean
      (N, levels)     right or wrong at each threshold (`BoxAccuracy.hits`); the mean at the best threshold,
                      chosen anew in each resample, as MaxBoxAcc chooses it
      (D, N, levels)  the same for D IoUs; the mean of the D, as MaxBoxAccV2
    Booleans count as 0 and 100, so that the interval is in percent; numbers stay in their own unit.
    returns: (low, high), quantiles (1 - level) / 2 and (1 + level) / 2
    raises:  ValueError where nothing can be drawn, or a value is not finite

    Efron 1979. Uncertainty from the choice of test pictures only: that of training needs several seeds.
    """
    low, high = np.quantile(_resampled(per_picture, seed, repeats, level), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_interval(
    a: ArrayLike, b: ArrayLike, seed: int, repeats: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """As `bootstrap_interval`, for metric a minus metric b on the same pictures: both see each drawing of them.

    a, b:    per_picture as in `bootstrap_interval`, with the same number of pictures
    returns: (low, high); narrower than two intervals suggest, since what makes a picture easy for both drops out
    raises:  ValueError as bootstrap_interval, and where the numbers of pictures differ
    """
    numbers = [np.shape(values)[-2 if np.ndim(values) > 1 else 0] for values in (a, b)]
    if numbers[0] != numbers[1]:
        raise ValueError(f"{numbers[0]} and {numbers[1]} pictures are no pairs: give both on the same pictures.")
    difference = _resampled(a, seed, repeats, level) - _resampled(b, seed, repeats, level)
    low, high = np.quantile(difference, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(per_picture: ArrayLike, seed: int, repeats: int, level: float) -> np.ndarray:
    """The metric of `bootstrap_interval` in each resample (repeats,); which pictures are drawn hangs on seed and N."""
    values = np.asarray(per_picture)
    if values.ndim not in (1, 2, 3) or values.size == 0:
        raise ValueError(f"per_picture has shape {values.shape}: give (N,), (N, levels) or (D, N, levels).")
    if repeats < 1 or not 0 < level < 1:
        raise ValueError(f"repeats={repeats}, level={level}: give at least 1 and a share between 0 and 1.")
    _check_finite(values, "per_picture")
    scale = 100 if values.dtype == bool else 1
    tables = values[None, :, None] if values.ndim == 1 else values[None] if values.ndim == 2 else values
    number = tables.shape[1]
    # Neighbouring thresholds mostly give the same column: one is enough. Float32 counts exactly below 2^24.
    exact = np.float32 if values.dtype == bool and number < 2**24 else np.float64
    new = [np.append(True, (table[:, 1:] != table[:, :-1]).any(axis=0)) for table in tables]
    tables = [table[:, columns].astype(exact) for table, columns in zip(tables, new, strict=True)]
    draw = np.random.default_rng(seed)
    metric = np.empty(repeats)
    for start in range(0, repeats, 50):
        stop = min(start + 50, repeats)
        drawn = [draw.integers(number, size=number) for _ in range(start, stop)]
        times = np.stack([np.bincount(pictures, minlength=number) for pictures in drawn])
        metric[start:stop] = np.mean([(times.astype(exact) @ table).max(axis=1) for table in tables], axis=0)
    return scale * metric / number


def seed_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean over repeated trainings: mean -+ t s / sqrt(n), with Student's t for n - 1.

    values: (n,), n > 1, one number a seed: a metric, or the difference of two methods with the same seed
    returns: (low, high); raises ValueError for fewer than two values, one that is not finite, or another level
    Student 1908. It says how much training varies; the test pictures are the same in each. With three seeds t is 4.3.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2 or not 0 < level < 1:
        raise ValueError(f"{values.size} values at level={level}: give two or more and a share between 0 and 1.")
    _check_finite(values, "values")
    from scipy import stats

    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _check_finite(values: ArrayLike, name: str) -> None:
    """raises: ValueError that names the first place where a value is NaN or infinite"""
    values = np.asarray(values)
    finite = np.isfinite(values)
    if not finite.all():
        place = np.unravel_index(np.argmin(finite), finite.shape)
        raise ValueError(f"{name} holds {values[place]} at {[*map(int, place)]}: look at what made it.")


def _percent(right: np.ndarray) -> float:
    return 100 * float(right.mean())


def _ground_truth(boxes: ArrayLike) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
        raise ValueError(f"Ground truth has shape {boxes.shape}: give (n, 4), or leave the picture out.")
    if not (np.isfinite(boxes).all() and (boxes[:, :2] < boxes[:, 2:]).all()):
        raise ValueError("A ground-truth box has no area or is not finite: give half-open (x0, y0, x1, y1).")
    return boxes


def _best_iou(box: ArrayLike | None, gt_boxes: ArrayLike) -> float:
    truth = _ground_truth(gt_boxes)
    return 0.0 if box is None else float(box_iou(np.reshape(np.asarray(box), (1, 4)), truth).max())
