"""Lesson 01b: which pixels a cell of the map sees, and whether an answer depends on where the object is."""

from __future__ import annotations

import numpy as np

from cambook.course.lessons.check.exercise import exercise
from cambook.course.lessons.check.task import task

_MINI = [(3, 1, 1), (2, 2, 0), (3, 1, 1), (2, 2, 0), (3, 1, 1), (3, 1, 1), (2, 2, 0), (3, 1, 1), (3, 1, 1)]


@exercise(
    "the pixels that cell i of the last layer sees, first and last + 1, for layers (kernel, stride, padding)",
    inputs=lambda g: [(8, _MINI), (0, _MINI), (3, [(11, 4, 2), (3, 2, 0), (5, 1, 2)]), (5, [(3, 1, 0)])],
    hints=[
        "A padding of p lets the first cell begin p steps of the layer before it further left, which may be outside "
        "the image: keep a third number beside r and j.",
        "Per layer: start = start - p * j, then r = r + (n - 1) * j, then j = j * s.",
        "Cell i begins i * j pixels further right than cell 0, and sees r pixels.",
    ],
)
def cell_sees(i, layers):
    start, r, j = 0, 1, 1
    for kernel, stride, padding in layers:
        start, r, j = start - padding * j, r + (kernel - 1) * j, j * stride
    return start + i * j, start + i * j + r


def _walked(layers, scaled=True):
    start, r, j = 0, 1, 1
    for kernel, stride, padding in layers:
        start, r, j = start - padding * (j if scaled else 1), r + (kernel - 1) * j, j * stride
    return start, r, j


@cell_sees.mistake("the padding is missing: it lets the first cell begin outside the image, left of pixel 0")
def no_padding(i, layers):
    _, r, j = _walked(layers)
    return i * j, i * j + r


@cell_sees.mistake("a padding of p counts cells of the layer before, which are j pixels apart: subtract p * j")
def padding_in_pixels(i, layers):
    start, r, j = _walked(layers, scaled=False)
    return start + i * j, start + i * j + r


@cell_sees.mistake("the second number is the pixel AFTER the last one that is seen; yours is the last one")
def last_included(i, layers):
    start, r, j = _walked(layers)
    return start + i * j, start + i * j + r - 1


@cell_sees.mistake("cell i begins i steps of j pixels further right than cell 0, not i pixels")
def one_pixel_a_cell(i, layers):
    start, r, _ = _walked(layers)
    return start + i, start + i + r


_TOO_EARLY = "the stride of a layer widens the steps of the layers AFTER it; add (n - 1) * j before j changes"


@cell_sees.mistake(_TOO_EARLY)
def stride_too_early(i, layers):
    start, r, j = 0, 1, 1
    for kernel, stride, padding in layers:
        start, j = start - padding * j, j * stride
        r += (kernel - 1) * j
    return start + i * j, start + i * j + r


@cell_sees.mistake(_TOO_EARLY)
def stride_before_all(i, layers):
    start, r, j = 0, 1, 1
    for kernel, stride, padding in layers:
        j *= stride
        start, r = start - padding * j, r + (kernel - 1) * j
    return start + i * j, start + i * j + r


@cell_sees.mistake("you cut the range off at pixel 0; leave it as it is, also where it lies outside the image")
def cut_off(i, layers):
    start, r, j = _walked(layers)
    return max(start + i * j, 0), start + i * j + r


_CENTRED = (
    "you centred the field on its cell, which is right for some paddings only; begin at the first pixel instead, and "
    "let each layer's padding move it to the left"
)


@cell_sees.mistake(_CENTRED)
def centred(i, layers):
    _, r, j = _walked(layers)
    return i * j + (j - r) / 2, i * j + (j + r) / 2


@cell_sees.mistake(_CENTRED)
def centred_and_rounded_down(i, layers):
    _, r, j = _walked(layers)
    return i * j + (j - r) // 2, i * j + (j - r) // 2 + r


@cell_sees.mistake(_CENTRED)
def centred_by_two_halves(i, layers):
    _, r, j = _walked(layers)
    return i * j + j // 2 - r // 2, i * j + j // 2 - r // 2 + r


@cell_sees.mistake(_CENTRED)
def centred_on_the_first_pixel(i, layers):
    _, r, j = _walked(layers)
    return i * j - r // 2, i * j - r // 2 + r


@exercise(
    "the percentage of objects that get one and the same answer at all positions, right or wrong",
    inputs=lambda g: [(np.sort(g.integers(0, 3, (40, 3)) // 2, 1),), (g.integers(0, 2, (50, 4)),)],
    hints=[
        "answers[n] has the classes of object n at all P positions. When are they all the same?",
        "(answers == answers[:, :1]) compares each answer with the object's first one; .all(1) asks for all of them.",
    ],
)
def same_answers(answers):
    return 100 * (answers == answers[:, :1]).all(1).mean()


@same_answers.mistake("this is a fraction; multiply it by 100")
def fraction(answers):
    return same_answers.reference(answers) / 100


@same_answers.mistake("this counts answers; an object counts only if ALL its answers are the same")
def answers_counted(answers):
    return 100 * (answers == answers[:, :1]).mean()


@same_answers.mistake("this is the number of objects; give the percentage of them")
def objects_counted(answers):
    return (answers == answers[:, :1]).all(1).sum()


@same_answers.mistake("you compared only the first and the last position; all of them must agree")
def ends_alone(answers):
    return 100 * (answers[:, 0] == answers[:, -1]).mean()


@same_answers.mistake("you compared objects with each other; compare the answers within each row")
def down_the_columns(answers):
    return 100 * (answers == answers[:1]).all(0).mean()


@same_answers.mistake("you compared every object with the first one; compare each object's answers with each other")
def first_object_for_all(answers):
    return 100 * (answers == answers[:1]).all(1).mean()


@same_answers.mistake("an object is a row of `answers`; all(0) goes down the columns, all(1) along the rows")
def all_down_the_columns(answers):
    return 100 * (answers == answers[:, :1]).all(0).mean()


_MOST_WEIGHTS, _MOST_STEP, _FEWEST_PIXELS = 100, 8, 100


def _a_wide_stack():
    return [(3, 1), (2, 2), (3, 1), (2, 2), (3, 1), (2, 2), (3, 1), (3, 1), (3, 1), (3, 1), (3, 1), (3, 1)]


@task(
    "layers [(kernel, stride), ...] whose cells see 100 pixels or more, lie at most 8 apart and cost at most 100",
    hints=[
        "With r and j as in the lesson: r grows by (n - 1) * j, so a layer reaches further the later it comes.",
        "Reduce early (three poolings of (2, 2) give a step of 8), then spend the rest on convolutions of (3, 1).",
    ],
    example=_a_wide_stack,
)
def layer_stack(function):
    layers = [tuple(int(number) for number in layer) for layer in function()]
    if not layers or any(len(layer) != 2 or min(layer) < 1 for layer in layers):
        yield "give a list of pairs (kernel, stride), whole numbers from 1"
        return
    r, j = 1, 1
    for kernel, stride in layers:
        r, j = r + (kernel - 1) * j, j * stride
    cost = sum(kernel**2 for kernel, _ in layers)
    if any(stride > kernel for kernel, stride in layers):
        yield "a layer with a stride larger than its kernel leaves pixels out that no cell sees"
    faults = []
    if r < _FEWEST_PIXELS:
        faults.append(f"one cell sees {r} pixels, and it should see {_FEWEST_PIXELS} or more")
    if j > _MOST_STEP:
        faults.append(f"neighbouring cells are {j} pixels apart, and at most {_MOST_STEP} are allowed")
    if cost > _MOST_WEIGHTS:
        faults.append(f"the kernels have {cost} numbers together, and at most {_MOST_WEIGHTS} are allowed")
    if faults:
        yield "; ".join(faults)


@layer_stack.wrong
def our_own():
    return [(kernel, stride) for kernel, stride, _ in _MINI]


@layer_stack.wrong
def too_coarse():
    return [(3, 2)] * 4 + [(3, 1)] * 3


@layer_stack.wrong
def one_large_kernel():
    return [(101, 8)]


@layer_stack.wrong
def gaps():
    return [(1, 8), (3, 1), *[(3, 1)] * 6]


@layer_stack.wrong
def sizes_alone():
    return [(3,), (3,)]
