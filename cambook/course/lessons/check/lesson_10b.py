"""Lesson 10b: windows that a map chooses, and how medical papers score a network."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise
from cambook.course.lessons.check.task import task
from cambook.maps.boxes import box_from_map


@exercise(
    "The window (x0, y0, x1, y1) of a box: a square as wide as its longer side, with the box in its middle, moved into "
    "the image of `size` pixels",
    inputs=lambda g: [
        ((20.0, 24.0, 40.0, 34.0), 64),
        ((0.0, 10.0, 6.0, 40.0), 64),
        ((50.0, 56.0, 64.0, 62.0), 64),
        ((8.0, 50.0, 38.0, 64.0), 64),
        ((0.0, 20.0, 32.0, 24.0), 32),
        ((20.0, 24.0, 41.0, 34.0), 64),
    ],
    hints=[
        "side = max(x1 - x0, y1 - y0). The middle of the box is at ((x0 + x1) / 2, (y0 + y1) / 2).",
        "The corner is half a side before the middle, but not before 0 and not after size - side.",
        "min(max(corner, 0), size - side) moves it into the image; the square keeps its side.",
    ],
)
def crop_window(box, size):
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    left = min(max((x0 + x1 - side) / 2, 0), size - side)
    top = min(max((y0 + y1 - side) / 2, 0), size - side)
    return left, top, left + side, top + side


@crop_window.mistake("the window leaves the image; move its corner to 0 or to size - side if it does")
def not_moved(box, size):
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    return left, top, left + side, top + side


@crop_window.mistake("you cut off what leaves the image, so it is not a square any more; move the window instead")
def cut_off(box, size):
    return tuple(min(max(edge, 0), size) for edge in not_moved(box, size))


@crop_window.mistake("you took the shorter side; then a part of the box lies outside the window")
def shorter_side(box, size):
    x0, y0, x1, y1 = box
    side = min(x1 - x0, y1 - y0)
    left, top = (min(max((a + b - side) / 2, 0), size - side) for a, b in ((x0, x1), (y0, y1)))
    return left, top, left + side, top + side


BETWEEN_PIXELS = "the middle of a box may lie between two pixels: keep halves as they are, without int(), round() or //"


@crop_window.mistake(BETWEEN_PIXELS)
def whole_pixels(box, size):
    return tuple(int(edge) for edge in crop_window.reference(box, size))


@crop_window.mistake(BETWEEN_PIXELS)
def rounded(box, size):
    return tuple(round(edge) for edge in crop_window.reference(box, size))


@crop_window.mistake(
    "half of an odd side and the middle of a box may lie between two pixels: divide with /, not with //"
)
def whole_halves(box, size):
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    left, top = (min(max((a + b) // 2 - side // 2, 0), size - side) for a, b in ((x0, x1), (y0, y1)))
    return left, top, left + side, top + side


@crop_window.mistake("the window starts at the box's corner; the box should be in its middle")
def from_the_corner(box, size):
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    left, top = min(x0, size - side), min(y0, size - side)
    return left, top, left + side, top + side


def _images_with_findings(g):
    """The first with equal scores, the last with scores that are no probabilities."""
    ties = (np.array([0.2, 0.5, 0.5, 0.9, 0.5]), np.array([0, 1, 0, 1, 0]))
    return [ties, *((g.random(n), g.permutation(np.arange(n) < n // 3).astype(int)) for n in (9, 20)), _few_levels(g)]


def _few_levels(g):
    return np.floor(6 * g.standard_normal(24)), np.tile([1, 0, 0], 8)


@exercise(
    "The area under the ROC curve, from 0 to 1: the share of pairs, one image with the finding (labels 1) and one "
    "without (labels 0), in which the one with it has the higher score; equal scores count one half",
    inputs=_images_with_findings,
    hints=[
        "with_it = scores[labels == 1] and without = scores[labels == 0]; each of the first meets each of the second.",
        "with_it[:, None] > without[None] is a table with one entry for each pair.",
        "The mean of that table, plus half the mean of the table for ==.",
    ],
)
def auc(scores, labels):
    with_it, without = scores[labels == 1], scores[labels == 0]
    higher, equal = with_it[:, None] > without[None], with_it[:, None] == without[None]
    return higher.mean() + equal.mean() / 2


@auc.mistake("a pair with equal scores counts one half; you counted it as a whole one")
def ties_won(scores, labels):
    return (scores[labels == 1][:, None] >= scores[labels == 0][None]).mean()


@auc.mistake("a pair with equal scores counts one half; you did not count it at all")
def ties_lost(scores, labels):
    return (scores[labels == 1][:, None] > scores[labels == 0][None]).mean()


@auc.mistake("the wrong way round: count the pairs in which the image WITH the finding has the higher score")
def wrong_way_round(scores, labels):
    return 1 - auc.reference(scores, labels)


@auc.mistake("this is the accuracy at a threshold of 0.5; the area needs no threshold, it compares pairs of images")
def accuracy_at_a_half(scores, labels):
    return ((scores > 0.5) == labels).mean()


@auc.mistake("give a share from 0 to 1, not percent")
def auc_in_percent(scores, labels):
    return 100 * auc.reference(scores, labels)


@auc.mistake("you counted the pairs; divide by how many there are")
def pairs_counted(scores, labels):
    return auc.reference(scores, labels) * (labels == 1).sum() * (labels == 0).sum()


def _around_the_maximum(map2d, size):
    map2d = np.asarray(map2d, float)
    y, x = np.unravel_index(map2d.argmax(), map2d.shape)
    cell, side = size / map2d.shape[0], size / 2
    left = min(max((x + 0.5) * cell - side / 2, 0), size - side)
    top = min(max((y + 0.5) * cell - side / 2, 0), size - side)
    return left, top, left + side, top + side


def _blob(row, column, side=8):
    """A map (side, side) with one peak, wider than it is high."""
    y, x = np.mgrid[:side, :side]
    return np.exp(-((y - row) ** 2) / 1.2 - (x - column) ** 2 / 3.5)


@task(
    "a window for a second look: a map (h, h), its highest value above 0, and the side of its image in pixels in; a "
    "square (x0, y0, x1, y1) in pixels of the image out",
    hints=[
        "A cell of the map is size / h pixels wide: column x reaches from x * size / h to (x + 1) * size / h.",
        "A fixed side around the maximum will do, or a box at some threshold, made square. Move it into the image at "
        "the end.",
    ],
    example=_around_the_maximum,
)
def window_of_a_map(function):
    corners = {}
    for row, column in ((2, 2), (2, 5), (5, 5), (0, 7), (7, 0)):
        for size in (96, 64):
            x0, y0, x1, y1 = found = [float(edge) for edge in function(torch.from_numpy(_blob(row, column)), size)]
            shown = "(" + ", ".join(f"{edge:g}" for edge in found) + ")"
            if abs((x1 - x0) - (y1 - y0)) > 1e-3:
                yield f"{shown} is not a square: enlarging it would stretch the object"
            if x1 - x0 < 1:
                yield f"{shown} is less than a pixel wide"
            if min(x0, y0) < -1e-3 or max(x1, y1) > size + 1e-3:
                yield f"{shown} leaves the image of {size} pixels: move it inside"
            if x1 - x0 > 0.9 * size:
                yield f"{shown} is almost the whole image of {size} pixels, but the map has one small peak: look closer"
            x, y = (column + 0.5) * size / 8, (row + 0.5) * size / 8
            if not (x0 <= x <= x1 and y0 <= y <= y1):
                yield (
                    f"the map's highest cell is at pixel ({x:g}, {y:g}) of {size}, and {shown} does not contain it; is "
                    "your window in pixels of the image, x first?"
                )
            corners[row, column, size] = x0, y0
    if corners[2, 2, 96] == corners[2, 5, 96]:
        yield "your window stays where it is when the map's peak moves"


@window_of_a_map.wrong
def the_middle(map2d, size):
    return size / 4, size / 4, 3 * size / 4, 3 * size / 4


@window_of_a_map.wrong
def the_whole_image(map2d, size):
    return 0, 0, size, size


@window_of_a_map.wrong
def box_that_is_not_square(map2d, size):
    return box_from_map(np.kron(np.asarray(map2d), np.ones((size // 8, size // 8))), "paper", 0.2)


@window_of_a_map.wrong
def outside(map2d, size):
    y, x = np.unravel_index(np.argmax(map2d), map2d.shape)
    x, y = (x + 0.5) * size / 8, (y + 0.5) * size / 8
    return x - size / 4, y - size / 4, x + size / 4, y + size / 4


@window_of_a_map.wrong
def cells_for_pixels(map2d, size):
    y, x = np.unravel_index(np.argmax(map2d), map2d.shape)
    return x, y, x + 1, y + 1


@window_of_a_map.wrong
def rows_for_x(map2d, size):
    left, top, right, bottom = _around_the_maximum(map2d, size)
    return top, left, bottom, right


@window_of_a_map.wrong
def empty(map2d, size):
    y, x = np.unravel_index(np.argmax(map2d), map2d.shape)
    return x * size / 8, y * size / 8, x * size / 8, y * size / 8
