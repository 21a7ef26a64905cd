"""Lessons 04, 05 and 05b: the open tasks take several right answers, and the exercises take them in any style."""

import numpy as np
import pytest
import torch

from cambook.course.lessons import check


def rectangle(size):
    side = size - size // 3
    before = size // 6
    return torch.nn.functional.pad(torch.ones(side, side), (before, size - side - before) * 2)


def pyramid(size):
    slope = 1 - np.abs(np.linspace(-1, 1, size))
    return np.outer(slope, slope).tolist()


def hires_cam_and_grad_cam(activations, gradients):
    return (activations * (gradients + gradients.mean((1, 2), keepdim=True))).sum(0).relu()


def by_the_median(activations, gradients):
    weight = np.median(gradients.numpy(), (1, 2))[:, None, None]
    return np.maximum((weight * activations.numpy()).sum(0), 0)


def mean_distance(map2d):
    values = np.clip(np.asarray(map2d), 0, None)
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]]
    distance = np.hypot(rows - (values.shape[0] - 1) / 2, columns - (values.shape[1] - 1) / 2)
    return (distance * values).sum() / max(values.sum(), 1e-9)


def share_in_numpy(map2d, mask):
    positive = np.clip(map2d, 0, None)
    return 100 * positive[mask].sum() / positive.sum() if positive.sum() > 0 else 0


def fall_in_loops(labels, on_their_own, mixed, classes):
    def accuracy(guesses, c):
        return 100 * np.mean([guess == c for guess, label in zip(guesses, labels, strict=True) if label == c])

    return [accuracy(on_their_own, c) - accuracy(mixed, c) for c in range(classes)]


RIGHT = [
    ("blind_map", rectangle),
    ("blind_map", pyramid),
    ("own_weighting", hires_cam_and_grad_cam),
    ("own_weighting", by_the_median),
    ("map_alarm", mean_distance),
    ("share_on_object", share_in_numpy),
    ("share_on_object", lambda m, mask: (100 * (m.relu() * mask).sum() / m.relu().sum()).nan_to_num()),
    ("fall_per_class", fall_in_loops),
]


@pytest.mark.parametrize("name, answer", RIGHT, ids=[f"{i}-{name}" for i, (name, _) in enumerate(RIGHT)])
def test_a_right_answer_is_right_in_any_style(name, answer):
    assert getattr(check, name).answer(answer) == f"✓ {name}: correct."


def test_an_open_task_says_what_is_missing():
    def squared(activations, gradients):
        return (activations**2 * gradients).sum(0).relu()

    assert "only then is CAM a special case" in check.own_weighting.answer(squared)
    assert "45% is the aim" in check.blind_map.answer(lambda size: np.eye(size))
    assert "give one number for a map" in check.map_alarm.answer(lambda map2d: map2d)
    less_if_bright = check.map_alarm.answer(lambda map2d: mean_distance(map2d) / (1 + map2d.max()))
    assert "a map ten times as bright must get the same number" in less_if_bright
