"""Right or wrong, image by image: classification, localization, pointing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from cambook.maps.arrays import as_array
from cambook.maps.boxes import box_iou, is_finite
from cambook.metrics.intervals import _check_finite, _percent, bootstrap_interval


def topk_correct(logits: ArrayLike, labels: ArrayLike, k: int) -> np.ndarray:
    """Whether the label is among the k highest scores, for every image.

    Args:
        logits: (N, C).
        labels: (N,) class indices.
        k: how many guesses; of equal scores that of the lower class counts as higher.

    Returns:
        (N,) bool.

    Raises:
        ValueError: shapes, labels or k that do not fit, or a score that is not finite.

    Example:
        >>> topk_correct([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]], [1, 1], k=1).tolist()
        [True, False]
    """
    logits, labels = as_array(logits), as_array(labels)
    if logits.ndim != 2 or len(logits) == 0 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape} and labels {labels.shape} do not fit: give (N, C) and (N,).")
    if k < 1:
        raise ValueError(f"k={k} selects no guess: give 1 or more.")
    if not (finite := np.isfinite(logits).all(axis=1)).all():
        raise ValueError(f"logits[{finite.argmin()}] contain a value that is not finite: look at the network.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}: give 0 to {logits.shape[1] - 1}.")
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1) < k


def topk_error(logits: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Top-k classification error: images whose label is not among the k highest scores.

    Args:
        logits: (N, C).
        labels: (N,) class indices.
        k: how many guesses.

    Returns:
        Percent, 0 to 100.

    Raises:
        ValueError: as `topk_correct`.

    Example:
        >>> topk_error([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]], [1, 1], k=1)
        50.0
    """
    return 100 - _percent(topk_correct(logits, labels, k))


def localization_correct(
    guess_labels: ArrayLike,
    guess_boxes: Sequence[ArrayLike | None],
    label: int,
    gt_boxes: ArrayLike,
    iou: float = 0.5,
) -> bool:
    """The ILSVRC rule for one image: is any guess right, in class AND in box?

    A box is right if its IoU with the best of the true boxes is at least `iou`. ILSVRC counts the last row and column
    of a box as inside; a half-open box ends one later, so its plain IoU is the same number.

    Args:
        guess_labels: (k,) class indices.
        guess_boxes: k boxes (4,), half-open, None for a guess without a box.
        label: the image's class.
        gt_boxes: (n, 4), n > 0, ALL boxes of that class in the image.
        iou: how much a box must share with a true one.

    Returns:
        Whether one of the guesses is right.

    Raises:
        ValueError: no true box, or another number of boxes than labels.

    Source: Russakovsky et al. 2015, section 4.2.

    Example:
        >>> localization_correct([3, 7], [[0, 0, 4, 4], [1, 0, 4, 4]], label=7, gt_boxes=[[0, 0, 4, 4]])
        True
    """
    guess_labels = as_array(guess_labels).reshape(-1)
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
    """Whether one of the first k guesses is right in class and in box, for every image.

    Args:
        guess_labels: N times (at least k,), best first.
        guess_boxes: N times as many boxes (4,) or None.
        labels: (N,) class indices.
        gt_boxes: N times (n_i, 4), all boxes of the label.
        k: how many guesses count.
        iou: as in `localization_correct`.

    Returns:
        (N,) bool.

    Raises:
        ValueError: as `localization_correct`, or different N.

    Source: Russakovsky et al. 2015, section 4.2.

    Example:
        >>> guess_boxes = [[[0, 0, 4, 4], [0, 0, 2, 2]]]
        >>> [topk_localization_correct([[3, 7]], guess_boxes, [7], [[[0, 0, 2, 2]]], k).tolist() for k in (1, 2)]
        [[False], [True]]
    """
    numbers = {len(guess_labels), len(guess_boxes), len(labels), len(gt_boxes)}
    if len(numbers) != 1 or numbers == {0}:
        raise ValueError(f"Guesses, labels and truth are of {sorted(numbers)} images: give equally many.")
    if k < 1:
        raise ValueError(f"k={k} selects no guess: give 1 or more.")
    pictures = zip(guess_labels, guess_boxes, as_array(labels), gt_boxes, strict=True)
    return np.array([localization_correct(g[:k], b[:k], label, gt, iou) for g, b, label, gt in pictures])


def topk_localization_error(
    guess_labels: Sequence[ArrayLike],
    guess_boxes: Sequence[Sequence[ArrayLike | None]],
    labels: ArrayLike,
    gt_boxes: Sequence[ArrayLike],
    k: int,
    iou: float = 0.5,
) -> float:
    """Top-k localization error, ILSVRC rule: images where none of k guesses is right.

    Leave blacklisted images out before: they do not count.

    Args:
        guess_labels: N times (at least k,), best first.
        guess_boxes: N times as many boxes (4,) or None.
        labels: (N,) class indices.
        gt_boxes: N times (n_i, 4), all boxes of the label.
        k: how many guesses count.
        iou: as in `localization_correct`.

    Returns:
        Percent, 0 to 100.

    Raises:
        ValueError: as `topk_localization_correct`.

    Source: Russakovsky et al. 2015, section 4.2.

    Example:
        >>> topk_localization_error([[7], [7]], [[[0, 0, 4, 4]], [None]], [7, 7], [[[0, 0, 4, 4]]] * 2, k=1)
        50.0
    """
    return 100 - _percent(topk_localization_correct(guess_labels, guess_boxes, labels, gt_boxes, k, iou))


def gt_known_correct(boxes: Sequence[ArrayLike | None], gt_boxes: Sequence[ArrayLike], iou: float = 0.5) -> np.ndarray:
    """Whether the box from the map of the TRUE class is right, whatever was guessed.

    Args:
        boxes: N times (4,), half-open, or None.
        gt_boxes: N times (n_i, 4), all boxes of the label.
        iou: as in `localization_correct`.

    Returns:
        (N,) bool.

    Raises:
        ValueError: different N, or an image without a true box.

    Example:
        >>> gt_known_correct([[0, 0, 4, 3], None], [[[0, 0, 4, 4]], [[0, 0, 4, 4]]]).tolist()
        [True, False]
    """
    if len(boxes) != len(gt_boxes) or len(boxes) == 0:
        raise ValueError(f"{len(boxes)} boxes, {len(gt_boxes)} images: give a box or None for each.")
    return np.array([_best_iou(box, truth) >= iou for box, truth in zip(boxes, gt_boxes, strict=True)])


def gt_known_accuracy(boxes: Sequence[ArrayLike | None], gt_boxes: Sequence[ArrayLike], iou: float = 0.5) -> float:
    """GT-known localization accuracy: images whose box from the true class's map is right.

    Args:
        boxes: N times (4,), half-open, or None.
        gt_boxes: N times (n_i, 4), all boxes of the label.
        iou: as in `localization_correct`.

    Returns:
        Percent, 0 to 100.

    Raises:
        ValueError: as `gt_known_correct`.

    Example:
        >>> gt_known_accuracy([[0, 0, 4, 3], None], [[[0, 0, 4, 4]], [[0, 0, 4, 4]]])
        50.0
    """
    return _percent(gt_known_correct(boxes, gt_boxes, iou))


def pointing_hit(map2d: ArrayLike, mask_or_boxes: ArrayLike, tolerance: float = 15) -> bool:
    """The pointing game: is the map's maximum on the object, or close to it?

    Args:
        map2d: (H, W); of several maxima the first in reading order counts; a map that is not finite misses, with a
            warning.
        mask_or_boxes: (H, W) bool, or (n, 4) half-open boxes on the map's grid, of which any may be hit.
        tolerance: in pixels at a longer side of 224, in proportion at others; between pixel centres.

    Returns:
        Whether it hits.

    Raises:
        ValueError: shapes that do not fit, or no object.

    Source: Zhang et al. 2016 (Excitation Backprop).

    Example:
        >>> map2d = np.zeros((224, 224))
        >>> map2d[100, 60] = 1
        >>> pointing_hit(map2d, [[70, 90, 120, 150]]), pointing_hit(map2d, [[70, 90, 120, 150]], tolerance=0)
        (True, False)
    """
    map2d, target = as_array(map2d), as_array(mask_or_boxes)
    if map2d.ndim != 2 or map2d.size == 0:
        raise ValueError(f"The map has shape {map2d.shape}: give one map of shape (H, W).")
    if target.dtype == bool:
        if target.shape != map2d.shape or not target.any():
            raise ValueError(
                f"The mask has shape {target.shape} and {target.sum()} pixels: give {map2d.shape} and one or more."
            )
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
    """The share of a map's positive values that lies on the object, in percent.

    A map that is the same everywhere gives the share of the image that the object covers. The energy-based pointing
    game, with a mask in place of a box.

    Args:
        map2d: (H, W), raw, before any normalization, which would lift what is 0; values below 0 count as 0.
        mask: (H, W) bool, the pixels of the object.
        ignore: (H, W) bool, pixels whose values do not count, unless the mask contains them.

    Returns:
        Percent, 0 to 100; 0 for a map without positive values.

    Raises:
        ValueError: different shapes, an empty mask, or a value of the map that is not finite.

    Source: Wang et al. 2020 (Score-CAM).

    Example:
        >>> share_inside([[3.0, 1.0, -5.0]], [[True, False, False]])
        75.0
    """
    map2d, mask = as_array(map2d, np.float64), as_array(mask).astype(bool)
    if map2d.ndim != 2 or map2d.shape != mask.shape or not mask.any():
        raise ValueError(f"Map {map2d.shape} and mask {mask.shape} must be one (H, W), the mask with some object.")
    _check_finite(map2d, "the map")
    positive = np.maximum(map2d, 0)
    if ignore is not None:
        positive[as_array(ignore).astype(bool) & ~mask] = 0
    total = positive.sum()
    return 100 * float(positive[mask].sum() / total) if total > 0 else 0.0


def lands_on(maps: ArrayLike, masks: ArrayLike, seed: int) -> dict[str, float]:
    """Whether maps point at an object, beside what a map reaches that does not look.

    Args:
        maps: (N, H, W).
        masks: (N, H, W) bool, the objects.
        seed: of the bootstrap.

    Returns:
        In percent: pointing, the share of maps whose maximum lies on the mask itself (no tolerance), with low and high,
        its 95% bootstrap interval; mass, the mean of `share_inside`; area, the masks' share of the image.

    Example:
        >>> lands_on([[[3.0, 1.0]]], [[[True, False]]], seed=0)
        {'pointing': 100.0, 'low': 100.0, 'high': 100.0, 'mass': 75.0, 'area': 50.0}
    """
    maps, masks = as_array(maps), as_array(masks, bool)
    hits = np.array([pointing_hit(one, mask, tolerance=0) for one, mask in zip(maps, masks, strict=True)])
    low, high = bootstrap_interval(hits, seed)
    row = {"pointing": _percent(hits), "low": low, "high": high}
    mass = float(np.mean([share_inside(one, mask) for one, mask in zip(maps, masks, strict=True)]))
    return row | {"mass": mass, "area": _percent(masks)}


def _ground_truth(boxes: ArrayLike) -> np.ndarray:
    boxes = as_array(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
        raise ValueError(f"Ground truth has shape {boxes.shape}: give (n, 4), or leave the image out.")
    if not (np.isfinite(boxes).all() and (boxes[:, :2] < boxes[:, 2:]).all()):
        raise ValueError("A ground-truth box has no area or is not finite: give half-open (x0, y0, x1, y1).")
    return boxes


def _best_iou(box: ArrayLike | None, gt_boxes: ArrayLike) -> float:
    truth = _ground_truth(gt_boxes)
    return 0.0 if box is None else float(box_iou(np.reshape(as_array(box), (1, 4)), truth).max())
