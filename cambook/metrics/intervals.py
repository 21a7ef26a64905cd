"""How sure a number is: bootstrap, paired differences, seeds, ranks.

All boxes that come in are half-open, (x0, y0, x1, y1) in pixels. The metrics called `ilsvrc` and `wsol` count
pixels inclusively (+1 on widths and heights); what that means for a half-open box is said where it happens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


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
