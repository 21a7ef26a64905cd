"""The boxes of all thresholds from one pass over the pixels, instead of a contour search for each one.

A map of 8 bits has at most 255 different masks {score > T}, T = 0 ... 254, and each is the next brighter one plus some
pixels. So the pixels are added once, brightest first, and a union-find forest keeps for every component its box and the
area of its outline. The results equal, box for box, those of OpenCV's findContours as wsolevaluation calls it (Choe et
al. 2020); `cambook.maps.boxes` is the version to read. Boxes are half-open, (x0, y0, x1, y1) in pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cambook.machine import compiled
from cambook.maps.arrays import as_array

MASKS = 255  # masks {score > T} for T = 0 ... 254
SIDE = 32_000  # largest width or height; rows and columns are counted with 16 bits


def to_uint8(map2d: ArrayLike) -> np.ndarray:
    """Rounds a map from 0 to 1 as wsolevaluation does: (map * 255), fraction cut off.

    Args:
        map2d: (H, W) float.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: another shape, or values that are not from 0 to 1.

    Example:
        >>> to_uint8([[0.0, 0.5, 1.0]]).tolist()
        [[0, 127, 255]]
    """
    map2d = as_array(map2d)
    if map2d.ndim != 2 or map2d.size == 0:
        raise ValueError(f"The map has shape {map2d.shape}: give one map of shape (H, W).")
    if not (map2d.min() >= -1e-6 and map2d.max() <= 1 + 1e-6):
        raise ValueError(
            f"The map goes from {map2d.min()} to {map2d.max()}: bring it to [0, 1] with maps.normalize first."
        )
    return (map2d * 255).astype(np.uint8, order="C")


def levels(thresholds: ArrayLike, peak: int) -> np.ndarray:
    """The T whose mask {score > T} each threshold stands for, as in wsolevaluation.

    Args:
        thresholds: (n,) shares of the maximum, 0 <= t < 1.
        peak: maximum of the 8-bit map.

    Returns:
        (n,) int64, int(threshold * peak).

    Example:
        >>> levels([0.0, 0.2, 0.999], peak=255).tolist()
        [0, 51, 254]
    """
    return (np.asarray(thresholds, dtype=np.float64) * int(peak)).astype(np.int64)


def largest_boxes(score_u8: ArrayLike) -> np.ndarray:
    """The box of the component with the largest outline, for each of the 255 masks {score > T}.

    Largest: area inside the outline through pixel centres, holes filled (`cambook.maps.boxes.contour_area`); of
    several, the one whose first pixel comes last in reading order.

    Args:
        score_u8: (H, W) uint8.

    Returns:
        (255, 4) int32, half-open, row T for {score > T}, zeros for an empty mask.

    Raises:
        ValueError: the map is not (H, W) uint8.

    Example:
        >>> score = np.zeros((8, 8), np.uint8)
        >>> score[1:7, 1:7], score[2:4, 2:4] = 50, 200
        >>> largest_boxes(score)[[0, 100, 200]].tolist()
        [[1, 1, 7, 7], [2, 2, 4, 4], [0, 0, 0, 0]]
    """
    return _largest_boxes(_pad(_fill_holes(_score(score_u8))))


def all_boxes(score_u8: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of all contours of all masks {score > T}, with their lifetimes.

    Contours of components and of holes. A component is 8-connected, a hole 4-connected; the contour of a hole runs
    through the pixels around it, so its box is one pixel larger on each side. Two contours of one mask with the same
    box may appear as two rows.

    Args:
        score_u8: (H, W) uint8.

    Returns:
        boxes (M, 4) int32, half-open; first (M,), last (M,) uint8: {score > T} has box m for first <= T <= last.

    Raises:
        ValueError: the map is not (H, W) uint8.

    Example:
        >>> boxes, first, last = all_boxes(np.array([[0, 9, 9]], np.uint8))
        >>> boxes[-1].tolist(), int(first[-1]), int(last[-1])
        ([1, 0, 3, 1], 0, 8)
    """
    score = _score(score_u8)
    return _all_boxes(score, _fill_holes(score))


def _score(score_u8: ArrayLike) -> np.ndarray:
    score = as_array(score_u8)
    if score.ndim != 2 or score.size == 0 or score.dtype != np.uint8:
        raise ValueError(f"The map has shape {score.shape} and type {score.dtype}: give (H, W) uint8, by to_uint8.")
    if max(score.shape) > SIDE:
        raise ValueError(f"The map has shape {score.shape}: make its sides {SIDE} pixels or less.")
    return np.ascontiguousarray(score)


def _around(connectivity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the 8 neighbours of a pixel say about adding it, for each of their 256 patterns.

    Bit i of a pattern is neighbour i, clockwise from the upper left one. Returns how many separate groups the present
    neighbours form, one neighbour of each group, and by how many halves the outline's area grows: one for each 2x2
    square in which the pixel is the third or the fourth.
    """
    places = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    squares = [(7, 0, 1), (1, 2, 3), (3, 4, 5), (5, 6, 7)]
    groups, member, halves = np.zeros(256, np.uint8), np.zeros((256, 4), np.uint8), np.zeros(256, np.uint8)
    for pattern in range(256):
        present = [i for i in range(8) if pattern >> i & 1]
        halves[pattern] = sum(len(set(present) & set(square)) >= 2 for square in squares)
        present = [i for i in present if connectivity == 8 or i % 2]
        while present:
            group = [present.pop(0)]
            member[pattern, groups[pattern]] = group[0]
            groups[pattern] += 1
            for i in group:
                (y, x) = places[i]
                near = [j for j in present if max(abs(places[j][0] - y), abs(places[j][1] - x)) == 1]
                group += near if connectivity == 8 else []
                present = [j for j in present if j not in group]
    return groups, member, halves


GROUPS, MEMBER, HALVES = _around(8)
GROUPS4, MEMBER4, _ = _around(4)


def _pad(score: np.ndarray) -> np.ndarray:
    """The map in a frame of zeros: {score > T} never reaches it, so that every pixel has 8 neighbours."""
    padded = np.zeros((score.shape[0] + 2, score.shape[1] + 2), np.uint8)
    padded[1:-1, 1:-1] = score
    return padded


@compiled
def _fill_holes(score):
    """filled such that {filled > T} is {score > T} with its holes filled, for every T at once.

    filled(p) is the lowest possible maximum along a 4-connected path from p out of the map. One scan each way settles
    most pixels (Vincent 1993), a flood from those that still can lower a neighbour, darkest first, the rest.
    """
    height, width = score.shape
    score = score.ravel()
    filled = score.copy()
    for y in range(1, height - 1):
        value = filled[y * width]
        for p in range(y * width + 1, y * width + width - 1):
            value = max(score[p], min(value, filled[p - width]))
            filled[p] = value
    # waiting[value] is the last entry of that value, before[entry] the one before it; at most two entries per pixel
    waiting = np.full(256, -1, np.int32)
    before, pixel = np.empty(2 * score.size, np.int32), np.empty(2 * score.size, np.int32)
    entries = 0
    for y in range(height - 2, 0, -1):
        right = filled[y * width + width - 1]
        for p in range(y * width + width - 2, y * width, -1):
            below = filled[p + width]
            value = max(score[p], min(filled[p], min(right, below)))
            filled[p] = value
            if right > max(value, score[p + 1]) or below > max(value, score[p + width]):
                before[entries], pixel[entries], waiting[value] = waiting[value], p, entries
                entries += 1
            right = value
    if entries == 0:
        return filled.reshape(height, width)
    for value in range(255):
        while waiting[value] >= 0:
            p = pixel[waiting[value]]
            waiting[value] = before[waiting[value]]
            if filled[p] < value:
                continue
            for q in (p - width, p - 1, p + 1, p + width):
                lower = max(np.uint8(value), score[q])
                if filled[q] > lower:
                    filled[q] = lower
                    before[entries], pixel[entries], waiting[lower] = waiting[lower], q, entries
                    entries += 1
    return filled.reshape(height, width)


@compiled
def _sort(padded):
    """The pixels above 0, as 65536 * row + column: v has found[start[v] : start[v + 1]], in reading order."""
    height, width = padded.shape
    start = np.zeros(257, np.int64)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if padded[y, x] > 0:
                start[padded[y, x] + 1] += 1
    for value in range(1, 256):
        start[value + 1] += start[value]
    place = start.copy()
    found = np.empty(start[256], np.int32)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            value = padded[y, x]
            if value > 0:
                k = place[value]
                found[k] = (y << 16) | x
                place[value] = k + 1
    return found, start


@compiled
def _patterns(padded):
    """Which neighbours are added before a pixel: the brighter, and of its value the earlier (see _around)."""
    height, width = padded.shape
    pattern = np.zeros((height, width), np.uint8)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            value = padded[y, x]
            bits = np.uint8(padded[y - 1, x - 1] >= value)
            bits |= np.uint8(padded[y - 1, x] >= value) << 1
            bits |= np.uint8(padded[y - 1, x + 1] >= value) << 2
            bits |= np.uint8(padded[y, x + 1] > value) << 3
            bits |= np.uint8(padded[y + 1, x + 1] > value) << 4
            bits |= np.uint8(padded[y + 1, x] > value) << 5
            bits |= np.uint8(padded[y + 1, x - 1] > value) << 6
            bits |= np.uint8(padded[y, x - 1] >= value) << 7
            pattern[y, x] = bits
    return pattern.ravel()


@compiled
def _neighbours(width, member):
    """(256, 4): for each pattern, how far in memory one neighbour of each group lies from the pixel."""
    step = np.array([-width - 1, -width, -width + 1, 1, width + 1, width, width - 1, -1])
    far = np.empty((256, 4), np.int32)
    for pattern in range(256):
        for g in range(4):
            far[pattern, g] = step[member[pattern, g]]
    return far


@compiled
def _find(parent, c):
    while parent[c] != c:
        parent[c] = parent[parent[c]]
        c = parent[c]
    return c


# In the two sweeps a component is a number, given where its first pixel appears: component[p] is that of a pixel,
# parent[c] the one that c was joined to. There are few of them, so what is kept of each stays close at hand.


@compiled
def _largest_boxes(padded):
    width = padded.shape[1]
    pixels_by_value, start = _sort(padded)
    pattern, far = _patterns(padded), _neighbours(width, MEMBER)
    component, parent = np.empty(padded.size, np.uint32), np.empty(padded.size, np.uint32)
    # of each component: halves of area, first pixel, last pixel, first column, last column
    node = np.empty((padded.size, 5), np.int32)
    count, best, leaders, ties = 0, 0, np.empty(padded.size, np.int32), 0  # components of area best / 2
    boxes = np.zeros((MASKS, 4), np.int32)
    for value in range(255, 0, -1):
        if start[value] == start[value + 1]:
            if value < 255:
                for side in range(4):
                    boxes[value - 1, side] = boxes[value, side]
            continue
        for k in range(start[value], start[value + 1]):
            y, x = np.int64(pixels_by_value[k]) >> 16, np.int64(pixels_by_value[k]) & 65535
            p = y * width + x
            around = pattern[p]
            groups = GROUPS[around]
            if groups == 0:
                component[p] = parent[count] = count
                node[count, 0], node[count, 1], node[count, 2], node[count, 3], node[count, 4] = 0, p, p, x, x
                if best == 0:
                    leaders[ties] = count
                    ties += 1
                count += 1
                continue
            root = _find(parent, component[p + far[around, 0]])
            area = node[root, 0]
            for g in range(1, groups):
                other = _find(parent, component[p + far[around, g]])
                if other == root:
                    continue
                area += node[other, 0]
                if node[other, 0] > node[root, 0]:
                    root, other = other, root
                parent[other] = root
                node[root, 1] = min(node[root, 1], node[other, 1])
                node[root, 2] = max(node[root, 2], node[other, 2])
                node[root, 3] = min(node[root, 3], node[other, 3])
                node[root, 4] = max(node[root, 4], node[other, 4])
            component[p] = root
            area += HALVES[around]
            if p < node[root, 1]:
                node[root, 1] = p
            if p > node[root, 2]:
                node[root, 2] = p
            if x < node[root, 3]:
                node[root, 3] = x
            if x > node[root, 4]:
                node[root, 4] = x
            if area > node[root, 0]:
                node[root, 0] = area
                if area >= best:
                    ties = ties if area == best else 0
                    best = area
                    leaders[ties] = root
                    ties += 1
        kept, winner = 0, -1
        for i in range(ties):
            root = leaders[i]
            if parent[root] == root:
                leaders[kept] = root
                kept += 1
                if winner < 0 or node[root, 1] > node[winner, 1]:
                    winner = root
        ties = kept
        boxes[value - 1, 0] = node[winner, 3] - 1
        boxes[value - 1, 1] = node[winner, 1] // width - 1
        boxes[value - 1, 2] = node[winner, 4]
        boxes[value - 1, 3] = node[winner, 2] // width
    return boxes


@compiled
def _lifetimes(padded, end, groups_of, member_of):
    """Boxes of the components of {padded > T}, last row and column included, and the first and last T of each.

    A box that a component has since value s was added, and no more once value v is added, was there for
    T = v ... s - 1. The last T of all, downwards, is end at the component's pixels.
    """
    width = padded.shape[1]
    pixels_by_value, start = _sort(padded)
    pattern, far = _patterns(padded), _neighbours(width, member_of)
    component, parent = np.empty(padded.size, np.uint32), np.empty(padded.size, np.uint32)
    # of each component: its box (four numbers), the value since which it has it, pixels that were its own, one pixel
    node = np.empty((padded.size, 7), np.int32)
    boxes = np.empty((pixels_by_value.size, 4), np.int32)
    first, last = np.empty(len(boxes), np.uint8), np.empty(len(boxes), np.uint8)
    number, count = 0, 0
    roots = np.empty(4, np.int32)
    for value in range(255, 0, -1):
        for k in range(start[value], start[value + 1]):
            y, x = np.int64(pixels_by_value[k]) >> 16, np.int64(pixels_by_value[k]) & 65535
            p = y * width + x
            around = pattern[p]
            if groups_of[around] == 0:
                component[p] = parent[number] = number
                node[number, 0], node[number, 1], node[number, 2], node[number, 3] = x, y, x, y
                node[number, 4], node[number, 5], node[number, 6] = value, 1, p
                number += 1
                continue
            if groups_of[around] == 1:
                root = _find(parent, component[p + far[around, 0]])
                if node[root, 0] <= x <= node[root, 2] and node[root, 1] <= y <= node[root, 3]:
                    component[p] = root
                    node[root, 5] += 1
                    continue
            x0, y0, x1, y1, pixels = x, y, x, y, 1
            several, main = 0, -1
            for g in range(groups_of[around]):
                root = _find(parent, component[p + far[around, g]])
                known = False
                for i in range(several):
                    known |= roots[i] == root
                if known:
                    continue
                roots[several] = root
                several += 1
                x0, y0 = min(x0, node[root, 0]), min(y0, node[root, 1])
                x1, y1 = max(x1, node[root, 2]), max(y1, node[root, 3])
                pixels += node[root, 5]
                if main < 0 or node[root, 5] > node[main, 5]:
                    main = root
            since = value
            for i in range(several):
                root = roots[i]
                parent[root] = main
                same = node[root, 0] == x0 and node[root, 1] == y0
                if same and node[root, 2] == x1 and node[root, 3] == y1:
                    since = node[root, 4]
                elif node[root, 4] > value:
                    boxes[count, 0], boxes[count, 1] = node[root, 0], node[root, 1]
                    boxes[count, 2], boxes[count, 3] = node[root, 2], node[root, 3]
                    first[count], last[count] = value, node[root, 4] - 1
                    count += 1
            component[p] = main
            node[main, 0], node[main, 1], node[main, 2], node[main, 3] = x0, y0, x1, y1
            node[main, 4], node[main, 5] = since, pixels
    for c in range(number):
        if parent[c] == c:
            boxes[count, 0], boxes[count, 1] = node[c, 0], node[c, 1]
            boxes[count, 2], boxes[count, 3] = node[c, 2], node[c, 3]
            first[count], last[count] = end[node[c, 6] // width, node[c, 6] % width], node[c, 4] - 1
            count += 1
    return boxes[:count], first[:count], last[:count]


@compiled
def _hollows(score, filled):
    """255 - score and 255 - filled where the map is below its filled version, else 0; whether it is anywhere."""
    height, width = score.shape
    inverted, opened = np.zeros((height + 2, width + 2), np.uint8), np.zeros((height + 2, width + 2), np.uint8)
    found = False
    for y in range(height):
        for x in range(width):
            if filled[y, x] > score[y, x]:
                inverted[y + 1, x + 1], opened[y + 1, x + 1], found = 255 - score[y, x], 255 - filled[y, x], True
    return inverted, opened, found


def _all_boxes(score: np.ndarray, filled: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    padded = _pad(score)
    boxes, first, last = _lifetimes(padded, np.zeros_like(padded), GROUPS, MEMBER)
    boxes += np.array([-1, -1, 0, 0], np.int32)  # from pixels of the padded map to half-open boxes
    inverted, opened, found = _hollows(score, filled)
    if not found:
        return boxes, first, last
    # A hole of {score > T} is a component of {255 - score > 254 - T} until T reaches the value at which it opens.
    holes, dark, light = _lifetimes(inverted, opened, GROUPS4, MEMBER4)
    holes += np.array([-2, -2, 1, 1], np.int32)
    return np.concatenate([boxes, holes]), np.concatenate([first, 254 - light]), np.concatenate([last, 254 - dark])


@compiled
def _reached(boxes, first, last, truth, size, ious):
    """(len(ious), 255) bool: does a box that is there at level T reach each IoU with any ground-truth box?

    boxes (M, 4), there from level first (M,) to last (M,), and truth (n, 4), inclusive, as in `hits`
    """
    change = np.zeros((len(ious), 256), np.int64)
    for m in range(len(boxes)):
        x0, y0, x1, y1 = boxes[m, 0], boxes[m, 1], min(boxes[m, 2], size - 1), min(boxes[m, 3], size - 1)
        area = (x1 - x0 + 1) * (y1 - y0 + 1)
        best = 0.0
        for n in range(len(truth)):
            width = min(x1, truth[n, 2]) - max(x0, truth[n, 0]) + 1
            height = min(y1, truth[n, 3]) - max(y0, truth[n, 1]) + 1
            if width > 0 and height > 0:
                own = (truth[n, 2] - truth[n, 0] + 1) * (truth[n, 3] - truth[n, 1] + 1)
                best = max(best, width * height / (area + own - width * height))
        for d in range(len(ious)):
            if best >= ious[d]:
                change[d, first[m]] += 1
                change[d, last[m] + 1] -= 1
    right = np.zeros((len(ious), MASKS), np.bool_)
    for d in range(len(ious)):
        there = 0
        for level in range(MASKS):
            there += change[d, level]
            right[d, level] = there > 0
    return right


def hits(score: np.ndarray, truth: np.ndarray, ious: np.ndarray) -> np.ndarray:
    """Which of the 255 masks {score > T} give a right box: the largest one, or any of them.

    Args:
        score: (size, size) uint8, contiguous.
        truth: (n, 4) int64, inclusive, as `metrics.BoxAccuracy` counts.
        ious: (d,), how much a box must share with a true one.

    Returns:
        (2, d, 255) bool: by the largest box, by any box.

    Example:
        >>> score = np.zeros((8, 8), np.uint8)
        >>> score[2:4, 2:4] = 200
        >>> hits(score, np.array([[2, 2, 4, 4]]), np.array([0.5]))[:, 0].sum(axis=1).tolist()
        [200, 200]
    """
    filled = _fill_holes(score)
    boxes, first, last = _all_boxes(score, filled)
    each = np.arange(MASKS, dtype=np.uint8)
    if len(boxes) == 0:  # an empty map: the box [0, 0, 0, 0] at T = 0
        boxes, first, last = np.zeros((1, 4), np.int32), each[:1], each[:1]
    largest = _reached(_largest_boxes(_pad(filled)), each, each, truth, len(score), ious)
    return np.stack([largest, _reached(boxes, first, last, truth, len(score), ious)])
