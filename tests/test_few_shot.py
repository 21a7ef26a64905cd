"""The few-shot localizer learns from boxes what of a place they cover, and its boxes fit."""

import numpy as np
import pytest
import torch

from cambook import metrics
from cambook.course.lessons import few_shot


def squares(count, seed=0):
    """Feature maps of which channel 1 is high exactly where the box is, channel 0 is noise; places of 8 pixels."""
    draw = np.random.default_rng(seed)
    feature_maps = torch.from_numpy(draw.standard_normal((count, 2, 8, 8))).float()
    boxes = []
    for maps in feature_maps:
        (x, y), (w, h) = draw.integers(0, 4, 2), draw.integers(2, 5, 2)
        maps[1] = 0
        maps[1, y : y + h, x : x + w] = 5
        boxes.append(np.array([[8 * x, 8 * y, 8 * (x + w), 8 * (y + h)]], np.float32))
    return feature_maps, boxes


def test_the_share_of_a_place_is_the_covered_part():
    share = few_shot.box_share([np.array([[0, 0, 12, 8]]), np.array([[0, 0, 8, 8], [8, 8, 16, 16]])], 16, (2, 2))
    assert share.tolist() == [[[1, 0.5], [0, 0]], [[1, 0], [0, 1]]]


def test_five_boxed_pictures_teach_which_channel_is_the_object():
    localizer = few_shot.fit(*squares(5), 64, ridge=1e-3)
    assert localizer.weight.shape == (1, 2)
    assert localizer.weight[0, 1] == pytest.approx(0.2, abs=0.01) and abs(localizer.weight[0, 0]) < 0.01
    feature_maps, boxes = squares(20, seed=1)
    found = localizer.boxes(feature_maps, 64)
    assert all(np.abs(box - truth[0]).max() <= 1 for box, truth in zip(found, boxes, strict=True))


def test_it_solves_the_normal_equations_of_ridge_regression():
    feature_maps, boxes = squares(4)
    ours = few_shot.fit(feature_maps, boxes, 64, ridge=7.0)
    places = feature_maps.movedim(1, 3).reshape(-1, 2).double().numpy()
    share = few_shot.box_share(boxes, 64, (8, 8)).flatten().numpy()
    centred = places - places.mean(0)
    square = centred.T @ centred + 7.0 * places.var(0).mean() * np.eye(2)
    weight = np.linalg.solve(square, centred.T @ (share - share.mean()))
    assert np.allclose(ours.weight[0], weight, atol=1e-6)
    assert ours.bias == pytest.approx(share.mean() - places.mean(0) @ weight, abs=1e-6)


def test_a_strong_ridge_says_the_mean_share_everywhere_and_finds_no_box():
    feature_maps, boxes = squares(4)
    localizer = few_shot.fit(feature_maps, boxes, 64, ridge=1e12)
    assert torch.allclose(localizer.maps(feature_maps), few_shot.box_share(boxes, 64, (8, 8)).mean(), atol=1e-4)
    assert localizer.boxes(feature_maps, 64) == [None] * 4


def test_a_shifted_object_gets_a_shifted_box():
    localizer = few_shot.fit(*squares(5), 64)
    feature_maps = torch.zeros(2, 2, 8, 8)
    feature_maps[0, 1, 1:4, 1:4] = feature_maps[1, 1, 3:6, 2:5] = 5
    first, second = localizer.boxes(feature_maps, 64)
    assert (second - first).tolist() == [8, 16, 8, 16]


def test_it_draws_the_pictures_that_tuning_draws_and_more_of_them_do_better():
    feature_maps, boxes = squares(30)
    test_maps, test_boxes = squares(20, seed=1)
    found = few_shot.accuracies(feature_maps, boxes, test_maps, test_boxes, 64, [1, 30], 3, seed=4)
    assert found.shape == (3, 2) and (found[:, 1] == found[0, 1]).all() and found[0, 1] >= 95
    first = np.random.default_rng(4).permutation(30)[:1]
    alone = few_shot.fit(feature_maps[first], [boxes[first[0]]], 64).boxes(test_maps, 64)
    assert found[0, 0] == metrics.gt_known_accuracy(alone, test_boxes)


def test_bad_input_is_refused():
    feature_maps, boxes = squares(3)
    with pytest.raises(ValueError, match="3 images, boxes of 2"):
        few_shot.fit(feature_maps, boxes[:2], 64)
    with pytest.raises(ValueError, match="at least one"):
        few_shot.fit(feature_maps[:0], [], 64)
    with pytest.raises(ValueError, match="ridge=0"):
        few_shot.fit(feature_maps, boxes, 64, ridge=0)
