"""How sure a number is: bootstrap, paired differences, seeds; areas under curves and rank correlation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np
from numpy.typing import ArrayLike

from cambook.maps.arrays import as_array

_REMEMBERED = 2000  # images whose drawing is remembered: 4 MB for 1000 resamples


def area_under(curves: ArrayLike) -> np.ndarray:
    """Area under each curve by trapezoids, its points evenly spaced from 0 to 1.

    Args:
        curves: (N, steps + 1), at least two points each.

    Returns:
        (N,).

    Raises:
        ValueError: fewer than two points, or a value that is not finite.

    Source: the deletion and insertion scores of Petsiuk et al. 2018 are this area under the class's probability.

    Example:
        >>> area_under([[1.0, 0.5, 0.0], [0.0, 1.0, 1.0]]).tolist()
        [0.5, 0.75]
    """
    curves = as_array(curves, np.float64)
    if curves.ndim != 2 or curves.shape[1] < 2:
        raise ValueError(f"curves has shape {curves.shape}: give (N, points) with at least two points.")
    _check_finite(curves, "curves")
    return (curves[:, 1:] + curves[:, :-1]).mean(1) / 2


def rank_correlation(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Spearman's rank correlation of each map of a with its map of b.

    Args:
        a: (N, h, w) or (N, 1, h, w).
        b: the same shape; equal values share the mean of their ranks.

    Returns:
        (N,), from -1 to 1, which is the same order of positions; 0 if a map is constant and so has no order.

    Raises:
        ValueError: different shapes, or a value that is not finite.

    Example:
        >>> rank_correlation([[[0, 1], [5, 100]]], [[[9, 8], [7, 3]]]).round(6).tolist()
        [-1.0]
    """
    a, b = as_array(a, np.float64), as_array(b, np.float64)
    if a.shape != b.shape or a.ndim < 2 or a.size == 0:
        raise ValueError(f"maps have shapes {a.shape} and {b.shape}: give (N, h, w) twice.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a map contains a value that is not finite: it has no rank.")
    from scipy import stats

    ranks = [stats.rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (a, b)]
    x, y = (r - r.mean(1, keepdims=True) for r in ranks)
    spread = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return np.where(spread > 0, (x * y).sum(1) / np.where(spread > 0, spread, 1), 0.0)


def bootstrap_interval(
    per_picture: ArrayLike, seed: int, repeats: int = 1000, level: float = 0.95, sizes: ArrayLike | None = None
) -> tuple[float, float]:
    """Percentile bootstrap interval of a metric: images are drawn with replacement.

    It covers the choice of test images only: the uncertainty of training needs several seeds, see `seed_interval`.

    Args:
        per_picture: one of
            (N,), a value for each image; the metric is their mean;
            (N, levels), right or wrong at each threshold (`BoxAccuracy.hits`); the mean at the best threshold, chosen
            anew in each resample, as MaxBoxAcc chooses it;
            (D, N, levels), the same for D IoUs; the mean of the D, as MaxBoxAccV2.
            Booleans count as 0 and 100, so the interval is in percent; numbers stay in their own unit.
        seed: of the drawing.
        repeats: how many resamples.
        level: share of the resamples inside the interval.
        sizes: (N,), if each row is a group of images: how many images it sums up. Groups are drawn then, and the metric
            is the sum over those drawn divided by their images.

    Returns:
        (low, high), the quantiles (1 - level) / 2 and (1 + level) / 2.

    Raises:
        ValueError: nothing to draw, or a value that is not finite.

    Source: Efron 1979.

    Example:
        >>> low, high = bootstrap_interval(np.array([True] * 80 + [False] * 20), seed=0)
        >>> low < 80 < high, 70 < low, high < 90
        (True, True, True)
    """
    low, high = np.quantile(_resampled(per_picture, seed, repeats, level, sizes), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resamples(
    per_picture: ArrayLike, seed: int, repeats: int = 1000, level: float = 0.95, sizes: ArrayLike | None = None
) -> np.ndarray:
    """The metric of `bootstrap_interval` in each resample, for several intervals from one drawing.

    Args:
        per_picture, seed, repeats, level, sizes: as in `bootstrap_interval`.

    Returns:
        (repeats,); which images a resample draws depends on seed and number of images alone, so those of two metrics on
        the same images are pairs.

    Raises:
        ValueError: as `bootstrap_interval`.

    Source: Efron 1979.

    Example:
        >>> some = resamples(np.arange(50.0), seed=0)
        >>> [float(bound) for bound in np.quantile(some, [0.025, 0.975])] == [*bootstrap_interval(np.arange(50.0), 0)]
        True
    """
    return _resampled(per_picture, seed, repeats, level, sizes)


def paired_interval(
    a: ArrayLike,
    b: ArrayLike,
    seed: int,
    repeats: int = 1000,
    level: float = 0.95,
    sizes: ArrayLike | None = None,
) -> tuple[float, float]:
    """Bootstrap interval of metric a minus metric b on the same images.

    Both see each drawing of the images. Narrower than two intervals suggest, since what makes an image easy for both
    drops out.

    Args:
        a: per image, as in `bootstrap_interval`.
        b: per image, with the same number of images.
        seed: of the drawing.
        repeats: how many resamples.
        level: share of the resamples inside the interval.
        sizes: as in `bootstrap_interval`, of both.

    Returns:
        (low, high).

    Raises:
        ValueError: as `bootstrap_interval`, or different numbers of images.

    Source: Efron 1979.

    Example:
        >>> a = np.arange(50.0)
        >>> [round(bound, 6) for bound in paired_interval(a + 2, a, seed=0)]
        [2.0, 2.0]
    """
    numbers = [np.shape(values)[-2 if np.ndim(values) > 1 else 0] for values in (a, b)]
    if numbers[0] != numbers[1]:
        raise ValueError(f"{numbers[0]} and {numbers[1]} images are not pairs: give both on the same images.")
    sized_resampled = partial(_resampled, sizes=sizes)
    difference = sized_resampled(a, seed, repeats, level) - sized_resampled(b, seed, repeats, level)
    low, high = np.quantile(difference, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(
    per_picture: ArrayLike, seed: int, repeats: int, level: float, sizes: ArrayLike | None = None
) -> np.ndarray:
    """The metric of `bootstrap_interval` in each resample (repeats,); which images are drawn hangs on seed and N."""
    values = as_array(per_picture)
    if values.ndim not in (1, 2, 3) or values.size == 0:
        raise ValueError(f"per_picture has shape {values.shape}: give (N,), (N, levels) or (D, N, levels).")
    if repeats < 1 or not 0 < level < 1:
        raise ValueError(f"repeats={repeats}, level={level}: give at least 1 and a share between 0 and 1.")
    _check_finite(values, "per_picture")
    rows = values.shape[0] if values.ndim == 1 else values.shape[-2]
    if sizes is not None and (np.shape(sizes) != (rows,) or np.min(sizes) < 1):
        raise ValueError(f"sizes has shape {np.shape(sizes)}, per_picture {rows} rows: give an image or more for each.")
    scale = 100 if values.dtype == bool else 1
    tables = values[None, :, None] if values.ndim == 1 else values[None] if values.ndim == 2 else values
    number = tables.shape[1]
    # Neighbouring thresholds mostly give the same column: one is enough. Float32 counts exactly below 2^24.
    exact = np.float32 if values.dtype == bool and number < 2**24 else np.float64
    new = [np.append(True, (table[:, 1:] != table[:, :-1]).any(axis=0)) for table in tables]
    tables = [table[:, columns].astype(exact) for table, columns in zip(tables, new, strict=True)]
    metric, drawn_images = np.empty(repeats), np.full(repeats, number)
    start = 0
    for times in _drawn(number, seed, repeats) if number <= _REMEMBERED else _drawing(number, seed, repeats):
        stop = start + len(times)
        metric[start:stop] = np.mean([(times.astype(exact) @ table).max(axis=1) for table in tables], axis=0)
        if sizes is not None:
            drawn_images[start:stop] = times @ as_array(sizes, np.int64)
        start = stop
    return scale * metric / drawn_images


def _drawing(number: int, seed: int, repeats: int) -> Iterator[np.ndarray]:
    """How often each of `number` images is drawn in each resample: (50, number) at a time, the last one smaller."""
    draw = np.random.default_rng(seed)
    for start in range(0, repeats, 50):
        drawn = [draw.integers(number, size=number) for _ in range(start, min(start + 50, repeats))]
        yield np.stack([np.bincount(pictures, minlength=number) for pictures in drawn])


@lru_cache(maxsize=1)
def _drawn(number: int, seed: int, repeats: int) -> list[np.ndarray]:
    """`_drawing` of few images, remembered, since several metrics of the same images are asked for in turn."""
    return [times.astype(np.int16) for times in _drawing(number, seed, repeats)]


def share_interval(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, in percent.

    For few images it is honest where the bootstrap is not: of 3 images that are all right, each resample is, too.

    Args:
        right: how many of the images are right.
        total: how many images there are, at least 1.
        level: confidence, 0 to 1.

    Returns:
        (low, high), from 0 to 100.

    Raises:
        ValueError: right is not from 0 to total, there is no image, or level lies outside 0 to 1.

    Source: Wilson 1927.

    Example:
        >>> [round(bound, 1) for bound in share_interval(3, 3)], [round(bound, 1) for bound in share_interval(50, 100)]
        ([43.9, 100.0], [40.4, 59.6])
    """
    if not 0 <= right <= total or total < 1 or not 0 < level < 1:
        raise ValueError(f"{right} of {total} at level={level}: give a part of 1 or more, a level between 0 and 1.")
    from statistics import NormalDist

    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    middle, half = right + z2 / 2, (z2 * (right * (total - right) / total + z2 / 4)) ** 0.5
    return max(100 * (middle - half) / (total + z2), 0.0), min(100 * (middle + half) / (total + z2), 100.0)


def seed_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean over repeated training runs, by Student's t.

    mean -+ t s / sqrt(n), t for n - 1 degrees of freedom. It says how much training varies; the test images are the
    same in each run. With three seeds t is 4.3.

    Args:
        values: (n,), n > 1, one number per seed: a metric, or the difference of two methods with the same seed.
        level: confidence, 0 to 1.

    Returns:
        (low, high).

    Raises:
        ValueError: fewer than two values, one that is not finite, or a level outside 0 to 1.

    Source: Student 1908.

    Example:
        >>> [round(bound, 2) for bound in seed_interval([70.0, 72.0, 74.0])]
        [67.03, 76.97]
    """
    values = as_array(values, np.float64)
    if values.ndim != 1 or len(values) < 2 or not 0 < level < 1:
        raise ValueError(f"{values.size} values at level={level}: give two or more and a share between 0 and 1.")
    _check_finite(values, "values")
    from scipy import stats

    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _check_finite(values: ArrayLike, name: str) -> None:
    """raises: ValueError that names the first position where a value is NaN or infinite"""
    values = as_array(values)
    finite = np.isfinite(values)
    if not finite.all():
        place = np.unravel_index(np.argmin(finite), finite.shape)
        raise ValueError(f"{name} contains {values[place]} at {[*map(int, place)]}: look at what made it.")


def _percent(right: np.ndarray) -> float:
    return 100 * float(right.mean())
