"""Metrics over pixels: PxAP, and IoU of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cambook.maps.arrays import as_array
from cambook.metrics.intervals import _check_finite


class PixelAveragePrecision:
    """PxAP: average precision of all pixels of the set together, from histograms.

    PxAP = sum over tau, from high to low, of Prec(tau) * (Rec(tau) - Rec(previous tau)); a pixel is found if its score
    is at least tau. Memory: 2 * 100 numbers for each threshold, however many images come; every hundredth image shares
    a histogram, and `interval` draws these groups.

    Args:
        thresholds: how many thresholds tau = 0, 1 / thresholds, ...; scores between two of them count as one.

    Raises:
        ValueError: thresholds below 1.

    Source: Choe et al. 2020, section 3.

    Example:
        >>> pixels = PixelAveragePrecision(thresholds=10)
        >>> pixels.update([[0.9, 0.2], [0.1, 0.8]], [[True, False], [False, True]])
        >>> pixels.value(), pixels.coverage(threshold=0.9)  # coverage: recall and precision
        (100.0, (50.0, 100.0))
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
        """One more image.

        map2d:  (H, W) float from 0 to 1, normalized per map
        mask:   (H, W) bool, the pixels of any instance of the class
        ignore: (H, W) bool, pixels that count neither way, unless the mask contains them
        raises: ValueError if a shape or value is not like that; of one that is not finite it says which map it is
        """
        self.add(self.histograms(map2d, mask, ignore, f"map {len(self)}"))

    def histograms(
        self, map2d: ArrayLike, mask: ArrayLike, ignore: ArrayLike | None = None, called: str = "The map"
    ) -> np.ndarray:
        """What `update` would count for one image, without counting it; several threads may do so at once.

        map2d, mask, ignore: as for `update`
        called:  the map's name in the message if a value is not finite
        returns: (2, thresholds + 1) int64, pixels outside and inside the mask, by score
        raises:  ValueError as `update`
        """
        from cambook.metrics.histograms import add_to_histograms

        map2d = as_array(map2d)
        _check_finite(map2d, called)
        mask = as_array(mask).astype(bool)
        ignore = np.zeros_like(mask) if ignore is None else as_array(ignore).astype(bool)
        if map2d.ndim != 2 or map2d.size == 0 or not map2d.shape == mask.shape == ignore.shape:
            shapes = f"{map2d.shape}, {mask.shape}, {ignore.shape}"
            raise ValueError(f"Map, mask and ignore have shapes {shapes}: give the same (H, W) for each.")
        if not (map2d.min() >= 0 and map2d.max() <= 1 + 1e-6):
            raise ValueError(
                f"The map goes from {map2d.min()} to {map2d.max()}: bring it to [0, 1] with maps.normalize."
            )
        count = np.zeros(self._groups.shape[1:], np.int64)
        scores, counted = map2d.ravel().astype(np.float64), (mask | ~ignore).ravel()
        add_to_histograms(count, self.edges, scores, mask.ravel(), counted)
        return count

    def add(self, histograms: np.ndarray) -> None:
        """Count one more image: what `histograms` returned."""
        self._groups[self._seen % self.GROUPS] += histograms
        self._seen += 1

    def extend(self, later: PixelAveragePrecision) -> None:
        """Those images too, behind the own ones, as if each had come by `update`: exactly the same numbers.

        raises: ValueError if the other has other thresholds
        """
        if not np.array_equal(self.edges, later.edges):
            raise ValueError("The two were not counted at the same thresholds: they cannot be joined.")
        self._groups += np.roll(later._groups, self._seen, axis=0)
        self._seen += later._seen

    def value(self) -> float:
        """PxAP of the images so far, in percent. raises: ValueError if no pixel belonged to a mask."""
        if self._groups[:, 1].sum() == 0:
            raise ValueError("No pixel of any mask was seen: update() with at least one object first.")
        return float(_average_precision(self._count[None])[0])

    @staticmethod
    def value_of(histograms: np.ndarray) -> float:
        """PxAP of one image, or of the sum of several images' `histograms`, in percent; NaN without object pixels."""
        return float(_average_precision(histograms[None])[0]) if histograms[1].any() else float("nan")

    def interval(self, seed: int, repeats: int = 1000, level: float = 0.95) -> tuple[float, float]:
        """Percentile bootstrap interval, in percent, as `bootstrap_interval`: up to 100 images are drawn singly, more
        in 100 groups, each of every hundredth image. raises: ValueError if no pixel belonged to a mask."""
        low, high = np.quantile(self._resampled(seed, repeats), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    @staticmethod
    def paired_interval(
        a: PixelAveragePrecision, b: PixelAveragePrecision, seed: int, repeats: int = 1000, level: float = 0.95
    ) -> tuple[float, float]:
        """`interval` of PxAP of a minus PxAP of b, which counted the same images: both see each drawing of them.

        raises: ValueError if they counted different numbers of images, or no pixel of a mask
        """
        if len(a) != len(b):
            raise ValueError(f"{len(a)} and {len(b)} images are not pairs: give both on the same images.")
        difference = a._resampled(seed, repeats) - b._resampled(seed, repeats)
        low, high = np.quantile(difference, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def _resampled(self, seed: int, repeats: int) -> np.ndarray:
        """PxAP in each resample (repeats,); which images are drawn depends on the seed and their number alone."""
        self.value()
        groups = self._groups[: self._seen]
        draw = np.random.default_rng(seed)
        times = draw.multinomial(len(groups), [1 / len(groups)] * len(groups), size=repeats)
        found = [_average_precision(np.tensordot(some, groups, 1)) for some in np.array_split(times, -(-repeats // 50))]
        return np.concatenate(found)

    def coverage(self, threshold: float) -> tuple[float, float]:
        """Recall and precision of pixels at one threshold, in percent, all pixels of the set counted together.

        threshold: from 0 to 1; one between two of the grid's counts as the next higher
        returns:   of the pixels of masks, how many score at least the threshold (the coverage of the objects); of the
                   pixels that do, how many belong to a mask (0 if none does)
        raises:    ValueError for a threshold outside [0, 1], or if no pixel belonged to a mask
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


def iou_counts(predicted: ArrayLike, truth: ArrayLike, classes: int = 2) -> np.ndarray:
    """Shared and joint pixels of each image and class, what mean IoU is made of.

    Args:
        predicted: (N, H, W), the class of each pixel, 0 (background) to classes - 1; bool for object or not.
        truth: (N, H, W), likewise.
        classes: how many classes, background included.

    Returns:
        (N, classes, 2) int64: pixels in both, pixels in either.

    Raises:
        ValueError: different shapes, or a pixel of another class.

    Example:
        >>> iou_counts([[[1, 1, 0]]], [[[1, 0, 0]]]).tolist()  # background 1 of 2, object 1 of 2
        [[[1, 2], [1, 2]]]
    """
    predicted, truth = as_array(predicted), as_array(truth)
    if predicted.shape != truth.shape or predicted.ndim != 3:
        raise ValueError(f"predicted {predicted.shape} and truth {truth.shape} do not fit: give both as (N, H, W).")
    for name, of_pixels in (("predicted", predicted), ("truth", truth)):
        if not np.isin(of_pixels, np.arange(classes)).all():
            raise ValueError(
                f"{name} contains a class that is not 0 to {classes - 1}: give one of these for each pixel."
            )
    counts = np.empty((len(truth), classes, 2), np.int64)
    for c in range(classes):
        a, b = predicted == c, truth == c
        counts[:, c, 0], counts[:, c, 1] = (a & b).sum((1, 2)), (a | b).sum((1, 2))
    return counts


def mean_iou(counts: ArrayLike) -> float:
    """Mean IoU in percent, the pixels of ALL images counted together.

    For each class the shared pixels over the joint ones, then the mean over classes. The background is a class; one
    that is nowhere, predicted or true, is left out.

    Args:
        counts: (N, classes, 2) from `iou_counts`.

    Returns:
        0 to 100.

    Raises:
        ValueError: no class is anywhere.

    Source: Everingham et al. 2015, The Pascal VOC challenge: a retrospective, section 4.2.

    Example:
        >>> mean_iou(iou_counts([[[1, 1, 0]]], [[[1, 0, 0]]]))
        50.0
    """
    shared, joint = np.asarray(counts).sum(0).T
    if not joint.any():
        raise ValueError("counts contain no pixel of any class: count at least one image with iou_counts.")
    return 100 * float((shared[joint > 0] / joint[joint > 0]).mean())


def mean_iou_interval(counts: ArrayLike, seed: int, repeats: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap interval of mean IoU: images are drawn with replacement.

    Args:
        counts: (N, classes, 2) from `iou_counts`.
        seed: of the drawing.
        repeats: how many resamples.
        level: share of the resamples inside the interval.

    Returns:
        (low, high), in percent.

    Source: Efron 1979.

    Example:
        >>> mean_iou_interval(iou_counts([[[1, 1, 0]]] * 5, [[[1, 0, 0]]] * 5), seed=0)
        (50.0, 50.0)
    """
    counts, draw = np.asarray(counts), np.random.default_rng(seed)
    found = [mean_iou(counts[draw.integers(len(counts), size=len(counts))]) for _ in range(repeats)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
