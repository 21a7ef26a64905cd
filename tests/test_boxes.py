import numpy as np
import pytest
import torch
from torchvision.ops import box_iou as torchvision_box_iou

from cambook.boxes import box_from_map, box_iou, contour_area, largest_component, mask_above, tight_box


def mask(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def test_paper_rule_keeps_what_is_strictly_above_a_share_of_the_raw_maximum():
    map2d = np.array([[10.0, 2.0, 2.1], [-5.0, 1.9, 0.0]])  # 0.2 * 10 = 2: 2.0 is not above it
    assert mask_above(map2d, 0.2, "paper").tolist() == [[True, False, True], [False, False, False]]


def test_wsol_rule_stretches_the_map_from_its_minimum_first():
    map2d = np.array([[10.0, 2.0, 2.1], [-5.0, 1.9, 0.0]])  # + 5: 0.2 * 15 = 3 is above -5 + 5 only
    assert mask_above(map2d, 0.2, "wsol").tolist() == [[True, True, True], [False, True, True]]
    assert mask_above(map2d, 0.5, "wsol").tolist() == [[True, False, False], [False, False, False]]


def test_a_map_without_positive_values_gives_no_paper_box_but_a_wsol_box():
    map2d = np.array([[-3.0, -1.0], [-3.0, -1.0]])
    assert box_from_map(map2d, "paper", 0.2) is None
    assert box_from_map(map2d, "wsol", 0.2).tolist() == [1, 0, 2, 2]


@pytest.mark.parametrize("map2d", [np.full((3, 4), 7.0), np.zeros((3, 4)), np.array([[np.nan, 1], [0, 2]])])
def test_a_constant_or_non_finite_map_gives_no_wsol_box(map2d):
    assert not mask_above(map2d, 0.0, "wsol").any()
    assert box_from_map(map2d, "wsol", 0.2) is None


def test_a_non_finite_map_gives_no_paper_box():
    assert box_from_map(np.array([[np.inf, 1.0], [0.0, 2.0]]), "paper", 0.2) is None


def test_corners_connect_under_8_and_not_under_4():
    diagonal = mask("##...",
                    "..#..",
                    "...##",
                    "...#.")
    assert largest_component(diagonal).sum() == 6
    assert np.argwhere(largest_component(diagonal, connectivity=4)).tolist() == [[2, 3], [2, 4], [3, 3]]


def test_most_pixels_and_largest_contour_area_can_name_different_components():
    two = mask("#######..",  # a line of 7 pixels and a square of 4
               ".........",
               ".......##",
               ".......##")
    assert tight_box(largest_component(two)) == (0, 0, 7, 1)
    assert tight_box(largest_component(two, measure="contour area")) == (7, 2, 9, 4)


def test_contour_area_by_hand():
    assert contour_area(mask("##", "##")) == 1
    assert contour_area(mask("##", "#.")) == 0.5
    assert contour_area(mask("####")) == 0
    assert contour_area(mask("####", "#..#", "####")) == 6  # 3 x 2, the hole filled
    assert contour_area(mask(".#.", "#.#", ".#.")) == 2  # a diamond with diagonals of length 2


def test_among_equals_pixels_take_the_first_and_contours_the_last():
    two = mask("##..##", "##..##")
    assert tight_box(largest_component(two)) == (0, 0, 2, 2)
    assert tight_box(largest_component(two, measure="contour area")) == (4, 0, 6, 2)


def test_an_empty_mask_has_no_component_and_no_box():
    empty = np.zeros((3, 4), bool)
    assert not largest_component(empty).any()
    assert tight_box(empty) is None


def test_a_tight_box_is_half_open_and_reaches_the_border():
    assert tight_box(mask("....", ".##.", "....")) == (1, 1, 3, 2)
    assert tight_box(np.ones((5, 7), bool)) == (0, 0, 7, 5)


def test_a_box_is_taken_around_the_largest_component_only():
    map2d = np.zeros((6, 8))
    map2d[1:3, 1:3] = 1.0
    map2d[5, 7] = 2.0  # brighter, but a single pixel
    assert box_from_map(map2d, "paper", 0.2).tolist() == [1, 1, 3, 3]
    assert box_from_map(torch.from_numpy(map2d), "wsol", 0.2).tolist() == [1, 1, 3, 3]


def test_iou_by_hand():
    # 4x4 and 4x4 share 2x2: 4 / (16 + 16 - 4) = 1/7; inclusive, two 5x5 share 3x3: 9 / (25 + 25 - 9) = 9/41
    a, b = [[0, 0, 4, 4]], [[2, 2, 6, 6], [4, 0, 8, 4], [0, 0, 4, 4]]
    assert np.allclose(box_iou(a, b), [[1 / 7, 0, 1]])
    # boxes that only share the column x = 4 share 1x5 inclusive pixels: 5 / 45
    assert np.allclose(box_iou(a, b, inclusive=True), [[9 / 41, 5 / 45, 1]])


def test_iou_equals_torchvision():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (2, 40, 2, 2))
    a, b = np.concatenate([corners.min(2), corners.max(2)], axis=-1)
    expected = torchvision_box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert np.allclose(box_iou(a, b), expected, atol=1e-12)


def test_inclusive_iou_is_the_iou_of_boxes_one_wider_and_higher():
    rng = np.random.default_rng(1)
    corners = rng.integers(0, 30, (2, 25, 2, 2))
    a, b = np.concatenate([corners.min(2), corners.max(2)], axis=-1)
    assert np.array_equal(box_iou(a, b, inclusive=True), box_iou(a + [0, 0, 1, 1], b + [0, 0, 1, 1]))


def test_boxes_without_area_and_empty_lists_are_allowed():
    assert box_iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [[0.0]]
    assert box_iou(np.zeros((0, 4)), [[0, 0, 1, 1]]).shape == (0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mask_above(np.ones((2, 2)), 0.2, "max"), "'paper', 'wsol'"),
        (lambda: mask_above(np.ones((2, 2)), 20, "paper"), "from 0 to 1"),
        (lambda: mask_above(np.ones((1, 2, 2)), 0.2, "paper"), r"\(1, 2, 2\)"),
        (lambda: largest_component(np.ones((2, 2)), connectivity=6), "4 or 8"),
        (lambda: largest_component(np.ones((2, 2)), measure="big"), "'pixels', 'contour area'"),
        (lambda: box_iou([0, 0, 1, 1], [[0, 0, 1, 1]]), r"\(N, 4\)"),
    ],
)
def test_bad_input_is_told_in_one_sentence_with_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
