"""Nested boxes around a map, as the CAM paper's released box generator makes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from cambook.maps.boxes import _two_dimensional, is_finite

LEVELS = (20, 100, 110)  # grey levels of the released box generator of Zhou et al. 2016, of 255


def loose_and_tight(map2d: ArrayLike) -> tuple[np.ndarray | None, np.ndarray | None]:
    """A loose and a tight box of one map, the first two of `nested_boxes`.

    Args:
        map2d: (H, W), raw, at the size of the image; what is below 0 counts as 0.

    Returns:
        Two boxes (4,) int64, half-open. If there is only one, it is both; (None, None) for a map whose maximum is not
        above 0 or, with a warning, that is not finite.

    Source: Zhou et al. 2016, section 3.2: both boxes for the first and the second class, the loose one for the third.

    Example:
        >>> map2d = np.zeros((64, 64))
        >>> map2d[10:40, 10:40], map2d[20:30, 20:30] = 0.2, 1.0
        >>> [box.tolist() for box in loose_and_tight(map2d)]
        [[10, 10, 40, 40], [20, 20, 30, 30]]
    """
    map2d = _two_dimensional(map2d, "map")
    if not is_finite(map2d) or map2d.max() <= 0:
        return None, None
    found = nested_boxes(np.round(255 * map2d.clip(min=0) / map2d.max()).astype(np.uint8))
    return (found[0], found[min(1, len(found) - 1)]) if len(found) else (None, None)


def nested_boxes(grey: ArrayLike, levels: Sequence[int] = LEVELS) -> np.ndarray:
    """Boxes of a grey heatmap at several levels, as the CAM paper's released code makes them.

    At each level: the distance of every kept pixel to the nearest one that is not kept, as a share of the largest;
    where that is above 10/255, the outlines of the components (8-connected) and of their holes (4-connected); the box
    of each outline. From all boxes, the largest first, those are dropped that share more than half of the larger one's
    area with one before. The released loop passes over the box after a dropped one, and so does this one. It also keeps
    boxes 5 pixels away from the right and lower border; what has no area then is left out here.

    Args:
        grey: (H, W) uint8.
        levels: grey levels; pixels are kept if they are above one of them.

    Returns:
        (n, 4) int64, half-open, largest first; [0] is the loose box, [1] the tight one.

    Raises:
        ValueError: grey is not (H, W) uint8.

    Source: bboxgenerator/dt_box.cpp and dt.c of Zhou et al. 2016, with the levels of generate_bbox.m.

    Example:
        >>> grey = np.zeros((64, 64), np.uint8)
        >>> grey[10:40, 10:40] = 255
        >>> nested_boxes(grey)[0].tolist()
        [10, 10, 40, 40]
    """
    grey = _two_dimensional(grey, "heatmap")
    if grey.dtype != np.uint8:
        raise ValueError(f"The heatmap is {grey.dtype}: give grey levels as uint8, 255 at the map's maximum.")
    height, width = grey.shape
    found = [box for level in levels for box in _outline_boxes(_core(grey > level))]
    x0, y0, x1, y1 = np.array(found, np.int64).reshape(-1, 4).T
    right, lower = np.minimum(x1, width - 5), np.minimum(y1, height - 5)
    boxes = np.stack([np.minimum(x0, width - 5), np.minimum(y0, height - 5), right, lower], axis=1)
    boxes = boxes[(boxes[:, :2] < boxes[:, 2:]).all(axis=1) & (boxes >= 0).all(axis=1)]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    left = list(boxes[np.lexsort((*boxes.T, -area))])  # equal areas in a fixed order, which std::sort leaves open
    i = 0
    while i < len(left):
        j = i + 1
        while j < len(left):
            if _shared(left[i], left[j]) > _area(left[i]) // 2:  # left[i] is the larger one
                del left[j]
            j += 1
        i += 1
    return np.array(left, np.int64).reshape(-1, 4)


def _core(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that lie deeper in it than about 1/25 of its deepest one; a full mask stays full."""
    if mask.all() or not mask.any():
        return mask
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(mask)
    return np.floor(depth * (255 / depth.max()) + 0.5) > 10


def _outline_boxes(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Half-open boxes of the outlines of a mask's pieces, and of its holes: a hole's outline lies on the mask."""
    from scipy import ndimage

    pieces, _ = ndimage.label(mask, np.ones((3, 3)))
    holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    boxes = []
    for grown, labels in ((0, pieces), (1, holes)):
        for rows, columns in ndimage.find_objects(labels):
            boxes.append((columns.start - grown, rows.start - grown, columns.stop + grown, rows.stop + grown))
    return boxes


def _area(box: np.ndarray) -> int:
    return int((box[2] - box[0]) * (box[3] - box[1]))


def _shared(a: np.ndarray, b: np.ndarray) -> int:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return int(sides.clip(min=0).prod())
