"""The open tasks of lessons 00, 01 and 01b have several right answers, and say what a wrong one lacks."""

import numpy as np
import pytest
import torch

from cambook.course.lessons import check


def spotlight(image, cam):
    return image * (0.25 + 0.75 * cam)


def in_numpy(image, cam):
    return np.clip(image.numpy() + 0.6 * cam.numpy() * (1 - image.numpy()), 0, 1)


def less_colour(image, cam):
    grey = 0.3 * image.mean(0, keepdim=True) + 0.7
    return cam * image + (1 - cam) * (0.5 * grey + 0.5 * image)


def mean_and_maximum(feature_maps):
    return (feature_maps.mean((2, 3)) + feature_maps.amax((2, 3))) / 2


def softmax_weighted(feature_maps):
    flat = feature_maps.flatten(2)
    return (flat * flat.softmax(2)).sum(2)


def soft_maximum(feature_maps):
    flat = feature_maps.flatten(2)
    return flat.logsumexp(2) - np.log(flat.shape[2])


def upper_half_in_numpy(feature_maps):
    flat = np.sort(feature_maps.numpy().reshape(*feature_maps.shape[:2], -1), 2)
    return flat[..., flat.shape[2] // 2 :].mean(2)


def large_kernels():
    return [(4, 4), (2, 2), (5, 1), (5, 1), (5, 1)]


def strided():
    return [[3, 2], [3, 2], [3, 2], *[[3, 1]] * 6]


def every_layer_the_same():
    return torch.tensor([(3, 2), (3, 2), (3, 2), *[(3, 1)] * 6])


RIGHT = [
    *[("own_overlay", answer) for answer in (spotlight, in_numpy, less_colour)],
    *[("pooling", answer) for answer in (mean_and_maximum, softmax_weighted, soft_maximum, upper_half_in_numpy)],
    *[("layer_stack", answer) for answer in (large_kernels, strided, every_layer_the_same)],
]
WRONG = [
    ("own_overlay", lambda image, cam: image * cam, "cannot be recognized where the map is 0"),
    ("own_overlay", lambda image, cam: torch.where(cam > 0.5, 0.4 * image, image), "cannot be read in between"),
    ("own_overlay", lambda image, cam: 0.99 * image + 0.01 * cam, "can hardly be seen"),
    ("pooling", lambda maps: maps.mean((2, 3)), "that is GAP itself"),
    ("pooling", lambda maps: maps.amax(3).mean(2), "depends on where the object is"),
    ("pooling", lambda maps: maps.flatten(2).topk(3).values, "must give one number per image and channel"),
    ("layer_stack", lambda: [(3, 1)] * 4, "one cell sees 9 pixels"),
    ("layer_stack", lambda: [(4, 4), (4, 4), (7, 1)], "16 pixels apart"),
    ("layer_stack", lambda: [(1, 8), (9, 1), (9, 1)], "leaves pixels out"),
    ("layer_stack", lambda: [(8, 8), (13, 1)], "have 233 numbers together"),
]


@pytest.mark.parametrize("name, answer", RIGHT, ids=lambda one: getattr(one, "__name__", one))
def test_several_answers_are_right(name, answer):
    assert getattr(check, name).answer(answer) == f"✓ {name}: correct."


@pytest.mark.parametrize("name, answer, said", WRONG, ids=[f"{i}-{name}" for i, (name, *_) in enumerate(WRONG)])
def test_a_wrong_answer_is_told_what_it_lacks(name, answer, said):
    line = getattr(check, name).answer(answer)
    assert line.startswith("✗") and said in line


def test_the_cells_of_the_small_network_see_what_the_lesson_measures():
    from cambook.course.lessons.check.lesson_01b import _MINI

    assert check.cell_sees.reference(8, _MINI) == (37, 99)
    assert check.cell_sees.answer(lambda i, layers: list(check.cell_sees.reference(i, layers))).startswith("✓")


def test_answers_everywhere_the_same_may_be_counted_in_a_loop():
    assert check.same_answers.answer(
        lambda answers: 100 * sum(len(set(row.tolist())) == 1 for row in answers) / len(answers)
    ).startswith("✓")
