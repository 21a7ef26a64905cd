"""From one map to one box, in the order in which it is explained: mask, largest component, tight box, IoU.

A box is half-open, (x0, y0, x1, y1) in pixels: column x1 and row y1 are the first ones outside. All functions
take NumPy arrays or torch tensors of any kind. The boxes of all thresholds at once come from
`cambook.metrics.box_sweep`.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from cambook.maps.arrays import as_array

RULES = ("paper", "wsol")
MEASURES = ("pixels", "contour area")


def mask_above(map2d: ArrayLike, threshold: float, rule: str) -> np.ndarray:
    """Keeps the positions of a map that are high enough: map > threshold * maximum, strictly.

    Rule "paper" reads the map as it is, and keeps nothing if its maximum is not above 0. Rule "wsol" first shifts the
    map so that its minimum is 0; a constant map keeps nothing. On the same map the two differ, so name the rule with
    every result. A map that is not finite keeps nothing under either, with a warning.

    Args:
        map2d: (H, W).
        threshold: share of the maximum, 0 to 1.
        rule: "paper" or "wsol".

    Returns:
        (H, W) bool.

    Raises:
        ValueError: another rule, a threshold outside [0, 1], or a map that is not (H, W) real numbers.

    Source: "paper": Zhou et al. 2016, section 3.2, with threshold 0.2. "wsol": Choe et al. 2020, section 3.

    Example:
        >>> map2d = np.array([[-5, 1, 3, 10]])
        >>> mask_above(map2d, 0.2, "paper").tolist()  # above 2
        [[False, False, True, True]]
        >>> mask_above(map2d, 0.2, "wsol").tolist()  # above -2
        [[False, True, True, True]]
    """
    map2d = _two_dimensional(map2d, "map")
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} is unknown: choose one of {', '.join(map(repr, RULES))}.")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold} is no share of the maximum: give a number from 0 to 1.")
    if not is_finite(map2d):
        return np.zeros(map2d.shape, bool)
    if map2d.dtype.kind in "bi":  # in whose own arithmetic a difference may not fit
        map2d = map2d.astype(np.float64)
    if rule == "wsol":
        map2d = map2d - map2d.min()
    peak = map2d.max()
    return (map2d > threshold * peak) & (peak > 0)


def largest_component(mask: ArrayLike, connectivity: int = 8, measure: str = "pixels") -> np.ndarray:
    """The largest connected component of a mask; an empty mask stays empty.

    Args:
        mask: (H, W) bool.
        connectivity: 8 if pixels that share only a corner are connected, 4 if they are not.
        measure: "pixels", the component with the most pixels, of several the first in reading order; or "contour area",
            the one with the largest `contour_area`, of several the last (OpenCV's first).

    Returns:
        (H, W) bool.

    Raises:
        ValueError: another connectivity or measure, or a mask that is not (H, W).

    Example:
        >>> largest_component(np.array([[1, 0, 1, 1]], bool)).tolist()
        [[False, False, True, True]]
    """
    mask = _two_dimensional(mask, "mask").astype(bool)
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity={connectivity} is unknown: choose 4 or 8.")
    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r} is unknown: choose one of {', '.join(map(repr, MEASURES))}.")
    from scipy import ndimage  # here, so that maps can be made and kept where SciPy is not installed

    neighbours = np.ones((3, 3)) if connectivity == 8 else None
    labels, count = ndimage.label(mask, neighbours)  # background 0, pieces 1 ... count in reading order
    if count == 0:
        return mask
    if measure == "pixels":
        sizes = np.bincount(labels.ravel())[1:]
        return labels == 1 + sizes.argmax()
    places = ndimage.find_objects(labels)
    areas = [contour_area(labels[place] == label) for label, place in enumerate(places, start=1)]
    return labels == max(range(1, count + 1), key=lambda label: (areas[label - 1], label))


def contour_area(component: ArrayLike) -> float:
    """Area inside the outline through a component's outermost pixels, holes filled.

    OpenCV's contourArea measures this on a contour: a line has no area.

    Args:
        component: (H, W) bool, one connected component.

    Returns:
        Square pixels: 1 for each full 2 x 2 square, 1/2 for one with three of its pixels.

    Example:
        >>> contour_area(np.ones((3, 4), bool)), contour_area(np.ones((1, 4), bool))
        (6.0, 0.0)
    """
    from scipy import ndimage

    filled = ndimage.binary_fill_holes(_two_dimensional(component, "component").astype(bool)).astype(int)
    pixels_in_square = filled[:-1, :-1] + filled[:-1, 1:] + filled[1:, :-1] + filled[1:, 1:]
    return float((pixels_in_square == 4).sum() + (pixels_in_square == 3).sum() / 2)


def tight_box(mask: ArrayLike) -> tuple[int, int, int, int] | None:
    """The smallest box that contains every pixel of a mask, or None for an empty mask.

    Args:
        mask: (H, W) bool.

    Returns:
        (x0, y0, x1, y1) in pixels, half-open: x1 and y1 are the first column and row outside.

    Example:
        >>> tight_box(np.array([[0, 0, 0, 0], [0, 1, 1, 0]], bool))
        (1, 1, 3, 2)
    """
    mask = _two_dimensional(mask, "mask").astype(bool)
    if not mask.any():
        return None
    xs = np.flatnonzero(mask.any(axis=0))
    ys = np.flatnonzero(mask.any(axis=1))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def box_from_map(map2d: ArrayLike, rule: str, threshold: float) -> np.ndarray | None:
    """The box of a map: tight around the largest component above a threshold.

    The rule also says what largest means: pixels for "paper", contour area for "wsol", both 8-connected.

    Args:
        map2d: (H, W), at the size of the image.
        rule: "paper" or "wsol", see `mask_above`.
        threshold: share of the maximum, 0 to 1.

    Returns:
        (4,) int64, (x0, y0, x1, y1), half-open, or None if nothing is above the threshold.

    Raises:
        ValueError: as `mask_above`.

    Source: Zhou et al. 2016, section 3.2 ("paper"); Choe et al. 2020, section 3 ("wsol", without rounding to 8 bits).

    Example:
        >>> map2d = np.array([[0, 0, 0, 0, 9], [0, 5, 6, 0, 0], [0, 5, 6, 0, 0]])
        >>> box_from_map(map2d, "paper", 0.2)
        array([1, 1, 3, 3])
        >>> box_from_map(map2d, "paper", 0.7)
        array([4, 0, 5, 1])
    """
    mask = mask_above(map2d, threshold, rule)
    box = tight_box(largest_component(mask, measure="pixels" if rule == "paper" else "contour area"))
    return None if box is None else np.array(box)


def box_iou(a: ArrayLike, b: ArrayLike, inclusive: bool = False) -> np.ndarray:
    """Intersection over union of every box of a with every box of b.

    Args:
        a: (N, 4), each (x0, y0, x1, y1), half-open.
        b: (M, 4).
        inclusive: whether x1 and y1 belong to the box (+1 on widths and heights), as the ilsvrc and wsol metrics count.

    Returns:
        (N, M) float64, 0 to 1; 0 if both boxes have no area.

    Raises:
        ValueError: an array that is not (N, 4), a number that is not finite, or swapped corners (x1 < x0, y1 < y0).

    Example:
        >>> box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [5, 5, 6, 6]]).round(2).tolist()
        [[0.33, 0.0]]
    """
    a, b = _boxes(a, "a")[:, None], _boxes(b, "b")[None]
    extra = 1 if inclusive else 0
    shared_sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + extra
    shared = shared_sides.clip(min=0).prod(axis=-1)
    area_a, area_b = ((box[..., 2:] - box[..., :2] + extra).prod(axis=-1) for box in (a, b))
    joint = area_a + area_b - shared
    return np.divide(shared, joint, out=np.zeros_like(shared), where=joint > 0)


def is_finite(map2d: np.ndarray) -> bool:
    """Whether every value of a map is finite; warns if not.

    Args:
        map2d: (H, W).

    Returns:
        True or False.

    Example:
        >>> is_finite(np.zeros((2, 2)))
        True
    """
    finite = bool(np.isfinite(map2d).all())
    if not finite:
        warnings.warn("The map contains NaN or infinity and shows no position: look at the network.", stacklevel=3)
    return finite


def _two_dimensional(values: ArrayLike, name: str) -> np.ndarray:
    values = as_array(values)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"The {name} has shape {values.shape}: give one {name} of shape (H, W).")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"The {name} contains values of type {values.dtype}: give real numbers.")
    return values


def _boxes(values: ArrayLike, name: str) -> np.ndarray:
    values = as_array(values, np.float64)
    if values.size == 0:
        return values.reshape(0, 4)
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(f"{name} has shape {values.shape}: give boxes as an array of shape (N, 4).")
    wrong = ~(np.isfinite(values).all(1) & (values[:, :2] <= values[:, 2:]).all(1))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"{name}[{row}] is {values[row].tolist()}: give (x0, y0, x1, y1), x0 <= x1, y0 <= y1, finite.")
    return values
