"""MaxBoxAcc and MaxBoxAccV2: boxes at every threshold."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike

from cambook.machine import cores
from cambook.maps.arrays import as_array
from cambook.metrics.intervals import _check_finite
from cambook.metrics.localization import _ground_truth

IOUS = (0.3, 0.5, 0.7)  # the deltas of MaxBoxAccV2
CONTOURS = ("largest", "all")
SINGLY, GROUPS = 2000, 1000  # up to so many images are drawn singly for an interval, more in so many groups


class SameMap:
    """One map that every image of a set shares, such as a control: its boxes are found once.

    Args:
        map2d: (size, size) float from 0 to 1, its maximum above 0.

    Raises:
        ValueError: as `BoxAccuracy.update`, or a map of zeros.

    Example:
        >>> accuracy = BoxAccuracy(size=8)
        >>> accuracy.add(*accuracy.judge(SameMap(np.ones((8, 8))), [[0, 0, 8, 6]]))
        >>> accuracy.max_box_acc(), accuracy.max_box_acc(0.7)[0]
        ((100.0, 0.0), 100.0)
    """

    def __init__(self, map2d: ArrayLike) -> None:
        from cambook.metrics import box_sweep

        map2d = as_array(map2d)
        _check_finite(map2d, "The map")
        score = box_sweep.to_uint8(map2d)
        self.peak, self._side = int(score.max()), len(score)
        if self.peak == 0:
            raise ValueError("The map that all images share is 0 everywhere: give one that shows a position.")
        levels = np.arange(box_sweep.MASKS, dtype=np.uint8)
        self._boxes = (box_sweep.largest_boxes(score), levels, levels), box_sweep.all_boxes(score)

    def hits(self, truth: np.ndarray) -> np.ndarray:
        """Right or wrong for contours, IoU and level, (2, 3, 255) bool; truth (n, 4) int64, inclusive."""
        from cambook.metrics import box_sweep

        return np.stack([box_sweep._reached(*boxes, truth, self._side, np.array(IOUS)) for boxes in self._boxes])


class BoxAccuracy:
    """MaxBoxAcc and MaxBoxAccV2 of a set of images: boxes at every threshold.

    One `update` per image. Counted as the released code does (`wsol`): the map is cut to 8 bits; mask = map > int(tau *
    max); the box of a contour is [x, y, x + w, y + h] with the last two at most size - 1, so one pixel wider than
    inclusive counting means, and IoU is inclusive (+1) all the same; without contours it is [0, 0, 0, 0]. Ground truth
    is inclusive there, so a half-open box becomes (x0, y0, x1 - 1, y1 - 1), then its fractions are cut off.

    Args:
        size: side of the grid of maps and ground truth; 224 for numbers beside published ones.
        thresholds: how many thresholds tau = 0, 1 / thresholds, ...
        keep_hits: whether to remember which image is right at which threshold, for `hits` and intervals: 193 bytes per
            image; without, memory is the same however many images come.

    Raises:
        ValueError: size or thresholds below 1.

    Source: Choe et al. 2020, section 3 (V1); the journal version (arXiv 2007.04178) for V2.

    Example:
        >>> accuracy, map2d = BoxAccuracy(size=8, thresholds=10), np.zeros((8, 8))
        >>> map2d[2:6, 2:6] = 1
        >>> accuracy.update(map2d, [[2, 2, 6, 6]])
        >>> accuracy.max_box_acc(), accuracy.curve().tolist()[:2]
        ((100.0, 0.0), [100.0, 100.0])
    """

    def __init__(self, size: int = 224, thresholds: int = 1000, keep_hits: bool = True) -> None:
        if size < 1 or thresholds < 1:
            raise ValueError(f"size={size}, thresholds={thresholds}: give whole numbers above 0.")
        self.size, self.keep_hits = size, keep_hits
        self.thresholds = np.arange(thresholds) * (1 / thresholds)
        self._count = np.zeros((256, len(CONTOURS), len(IOUS), 255), np.int64)  # by the 8-bit map's maximum and level
        self._seen = 0
        self._peaks, self._packed = bytearray(), bytearray()  # of each image: the 8-bit map's maximum, hits by level

    def __len__(self) -> int:
        return self._seen

    def update(self, map2d: ArrayLike, gt_boxes: ArrayLike) -> None:
        """One more image.

        map2d:    (size, size) float from 0 to 1: map of the true class, upsampled, then normalized
        gt_boxes: (n, 4), n > 0, half-open, on the same grid: all boxes of the image's class
        raises:   ValueError if a shape or value is not like that; of one that is not finite it says which map it is
        """
        self.add(*self.judge(map2d, gt_boxes, f"map {len(self)}"))

    def update_all(self, maps: Sequence[ArrayLike], gt_boxes: Sequence[ArrayLike]) -> None:
        """`update` for several images, on all cores of the processor: the same numbers in the same order.

        maps: (B, size, size); gt_boxes: B times (n_i, 4); raises ValueError as `update`, and then counts none of them
        """
        if len(maps) != len(gt_boxes):
            raise ValueError(f"{len(maps)} maps, ground truth of {len(gt_boxes)} images: give equally many.")
        with ThreadPoolExecutor(cores()) as pool:
            called = (f"map {number}" for number in itertools.count(len(self)))
            for peak, hits in list(pool.map(self.judge, maps, gt_boxes, called)):
                self.add(peak, hits)

    def judge(self, map2d: ArrayLike | SameMap, gt_boxes: ArrayLike, called: str = "The map") -> tuple[int, np.ndarray]:
        """What `update` would count for one image, without counting it; several threads may judge at once.

        map2d, gt_boxes: as for `update`; or a `SameMap`
        called:          the map's name in the message if a value is not finite
        returns:         maximum of the 8-bit map, and (2, 3, 255) bool: right or wrong for contours, IoU and level
        raises:          ValueError as `update`
        """
        from cambook.metrics import box_sweep  # here, so that errors can be counted if Numba is not installed

        if isinstance(map2d, SameMap):
            return map2d.peak, map2d.hits(self._ground_truth(gt_boxes))
        map2d = as_array(map2d)
        _check_finite(map2d, called)
        score = box_sweep.to_uint8(map2d)
        if score.shape != (self.size, self.size):
            raise ValueError(f"The map has shape {score.shape}: upsample it to {(self.size,) * 2} first.")
        return int(score.max()), box_sweep.hits(score, self._ground_truth(gt_boxes), np.array(IOUS))

    def add(self, peak: int, hits: np.ndarray) -> None:
        """Count one more image: what `judge` returned."""
        self._count[peak] += hits
        self._seen += 1
        if self.keep_hits:
            self._peaks.append(peak)
            self._packed += np.packbits(hits, axis=-1).tobytes()

    def extend(self, later: BoxAccuracy) -> None:
        """Those images too, behind the own ones, as if each had come by `update`: exactly the same numbers.

        raises: ValueError if the other has another size or other thresholds, or hits are kept by one alone
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
        """BoxAcc(tau): percent of images whose box (contours="largest") or one of whose boxes ("all") is
        right.

        iou: 0.3, 0.5 or 0.7; returns (thresholds,); raises ValueError for another iou or contours, or no
        image yet
        """
        from cambook.metrics import box_sweep

        which = self._which(iou, contours)
        count = self._count[:, *which]
        peaks = [0, *np.flatnonzero(count.any(axis=1)).tolist()]
        right = np.sum([count[peak, box_sweep.levels(self.thresholds, peak)] for peak in dict.fromkeys(peaks)], axis=0)
        return 100 * right / len(self)

    def hits(self, iou: float = 0.5, contours: str = "largest") -> np.ndarray:
        """Which image is right at which threshold: (N, thresholds) bool. Arguments, errors as `curve`; ValueError
        without keep_hits."""
        return self._hits_from(self._kept(iou, contours), 0, len(self))

    def grouped_hits(self, iou: float = 0.5, contours: str = "largest") -> tuple[np.ndarray, np.ndarray | None]:
        """`hits` for `bootstrap_interval` in memory that does not grow with the number of images.

        returns: `hits` and None for up to 2000 images; otherwise, for each of 1000 groups, of every thousandth image
                 each: 100 times how many are right at each threshold (1000, thresholds), and how many there are (1000,)
        raises:  as `hits`
        """
        kept = self._kept(iou, contours)
        if len(self) <= SINGLY:
            return self._hits_from(kept, 0, len(self)), None
        right, sizes = np.zeros((GROUPS, len(self.thresholds))), np.zeros(GROUPS, np.int64)
        for start in range(0, len(self), GROUPS):
            some = self._hits_from(kept, start, start + GROUPS)
            right[: len(some)] += 100 * some
            sizes[: len(some)] += 1
        return right, sizes

    def right_at(self, threshold: float, iou: float = 0.5, contours: str = "largest") -> np.ndarray:
        """Which image is right at one of the `thresholds`: (N,) bool. raises: as `hits`; ValueError for another one"""
        from cambook.metrics import box_sweep

        if threshold not in self.thresholds:
            raise ValueError(f"threshold={threshold} was not counted: give one of the {len(self.thresholds)}.")
        peaks = np.frombuffer(self._peaks, np.uint8)
        level = np.array([box_sweep.levels([threshold], peak)[0] for peak in range(256)])[peaks]
        whole = self._kept(iou, contours)[np.arange(len(self)), level // 8]
        return (whole >> (7 - level % 8).astype(np.uint8) & 1).astype(bool)

    def _kept(self, iou: float, contours: str) -> np.ndarray:
        """(N, 32) uint8, a bit for each level"""
        kind, delta = self._which(iou, contours)
        if not self.keep_hits:
            raise ValueError("Which image is right was not kept: count with keep_hits=True.")
        return np.frombuffer(self._packed, np.uint8).reshape(len(self), len(CONTOURS), len(IOUS), -1)[:, kind, delta]

    def _hits_from(self, kept: np.ndarray, start: int, stop: int) -> np.ndarray:
        """`hits` of the images from start to stop: (stop - start, thresholds)"""
        from cambook.metrics import box_sweep

        peaks = np.frombuffer(self._peaks, np.uint8)[start:stop]
        by_level = np.unpackbits(kept[start:stop], axis=1, count=box_sweep.MASKS).astype(bool)
        hits = np.empty((len(peaks), len(self.thresholds)), bool)
        for peak in np.unique(peaks):
            hits[peaks == peak] = by_level[peaks == peak][:, box_sweep.levels(self.thresholds, peak)]
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
            raise ValueError("No image was given yet: call update(map2d, gt_boxes) for each one first.")
        return CONTOURS.index(contours), IOUS.index(iou)

    def _ground_truth(self, gt_boxes: ArrayLike) -> np.ndarray:
        """Inclusive whole pixels. wsolevaluation scales the last pixel of a box, the data sets here its edge: from a
        larger image than the grid a box may end one pixel earlier than there, from a smaller one up to a pixel of the
        image later."""
        boxes = _ground_truth(gt_boxes)
        if boxes.min() < -1.001 or boxes.max() > self.size + 1.001:  # a pixel, and what rounding adds to it
            raise ValueError(f"A ground-truth box leaves the grid of {self.size} pixels: scale both alike.")
        return np.trunc(boxes - [0, 0, 1, 1]).astype(np.int64)
