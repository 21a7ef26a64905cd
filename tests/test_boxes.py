import numpy as np
import pytest
import torch
from torchvision.ops import box_iou as torchvision_box_iou

from cambook.maps import (
    box_from_map,
    box_iou,
    contour_area,
    largest_component,
    loose_and_tight,
    mask_above,
    nested_boxes,
    tight_box,
)


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


@pytest.mark.parametrize("map2d", [np.full((3, 4), 7.0), np.zeros((3, 4))])
def test_a_constant_map_gives_no_wsol_box(map2d):
    assert not mask_above(map2d, 0.0, "wsol").any()
    assert box_from_map(map2d, "wsol", 0.2) is None


@pytest.mark.parametrize("rule", ["paper", "wsol"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_gives_no_box_and_a_warning(value, rule):
    map2d = np.array([[value, 1.0], [0.0, 2.0]])
    with pytest.warns(UserWarning, match="NaN or infinity"):
        assert not mask_above(map2d, 0.0, rule).any()
    with pytest.warns(UserWarning, match="NaN or infinity"):
        assert box_from_map(map2d, rule, 0.2) is None
    with pytest.warns(UserWarning, match="NaN or infinity"):
        assert loose_and_tight(map2d) == (None, None)


def test_corners_connect_under_8_and_not_under_4():
    diagonal = mask("##...", "..#..", "...##", "...#.")
    assert largest_component(diagonal).sum() == 6
    assert np.argwhere(largest_component(diagonal, connectivity=4)).tolist() == [[2, 3], [2, 4], [3, 3]]


def test_most_pixels_and_largest_contour_area_can_name_different_components():
    two = mask(
        "#######..",  # a line of 7 pixels and a square of 4
        ".........",
        ".......##",
        ".......##",
    )
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


def test_the_rule_says_what_largest_means():
    line_and_square = 3.0 * mask("#######..", ".........", ".......##", ".......##")
    assert box_from_map(line_and_square, "paper", 0.2).tolist() == [0, 0, 7, 1]
    assert box_from_map(line_and_square, "wsol", 0.2).tolist() == [7, 2, 9, 4]


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


# ---- the released box generator of Zhou et al. 2016 ----


def released_boxes(grey, levels=(20, 100, 110)):
    """dt_box.cpp and dt.c step by step with OpenCV, boxes without area left out."""
    import cv2

    height, width = grey.shape
    boxes = []
    for level in levels:
        _, mask = cv2.threshold(grey, level, 255, cv2.THRESH_BINARY)
        if 0 < mask.mean() < 255:
            depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
            depth = np.sqrt(np.round(depth**2))  # OpenCV's is float32; squares of distances are whole numbers
            scaled = (depth * (255 / (depth.max() - depth.min())) + 0.5).astype(int).clip(0, 255).astype(np.uint8)
            _, mask = cv2.threshold(scaled, 10, 255, cv2.THRESH_BINARY)
        for contour in cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]:
            x, y, w, h = cv2.boundingRect(contour)
            box = [min(x, width - 5), min(y, height - 5), min(w, width - x - 5), min(h, height - y - 5)]
            boxes += [box] if box[2] > 0 and box[3] > 0 else []
    boxes.sort(key=lambda b: (-b[2] * b[3], b[1] + b[3], b[0] + b[2], b[1], b[0]))  # std::sort leaves ties open

    def big_overlap(a, b):
        sides = [max(0, min(a[k] + a[k + 2], b[k] + b[k + 2]) - max(a[k], b[k])) for k in (0, 1)]
        return sides[0] * sides[1] > int(max(a[2] * a[3], b[2] * b[3]) * 0.5)

    for i in range(len(boxes)):
        j = i + 1
        while j < len(boxes):
            if big_overlap(boxes[i], boxes[j]):
                del boxes[j]
            j += 1
        if i + 1 >= len(boxes):
            break
    return [[x, y, x + w, y + h] for x, y, w, h in boxes]


def heatmap(draw, height, width, smoothness):
    from scipy.ndimage import gaussian_filter

    map2d = gaussian_filter(draw.normal(size=(height, width)), smoothness).clip(min=0)
    return np.round(255 * map2d / map2d.max()).astype(np.uint8)


def test_nested_boxes_are_those_of_the_released_generator():
    pytest.importorskip("cv2")
    draw, several = np.random.default_rng(0), 0
    for number in range(60):
        grey = heatmap(draw, int(draw.integers(40, 90)), int(draw.integers(40, 90)), (2, 4, 8, 16)[number % 4])
        found = nested_boxes(grey).tolist()
        assert found == released_boxes(grey)
        several += len(found) > 1
    assert several > 20


def test_a_hole_has_a_box_of_its_own_and_the_loop_passes_over_the_box_after_a_dropped_one():
    ring = np.zeros((60, 60), np.uint8)
    ring[5:50, 5:50] = 255
    ring[15:40, 15:40] = 0
    boxes = nested_boxes(ring, levels=(100,))
    assert boxes.tolist() == [[5, 5, 50, 50], [14, 14, 41, 41]]  # the hole's outline lies on the ring
    full = np.full((40, 50), 255, np.uint8)
    assert nested_boxes(full).tolist() == [[0, 0, 45, 35]] * 2  # of three levels' boxes only the second is dropped


def test_a_broad_and_a_sharp_peak_give_a_loose_box_with_a_tight_one_inside():
    y, x = np.mgrid[:100, :100]
    map2d = np.exp(-((x - 50) ** 2 + (y - 40) ** 2) / 1500) - 0.1
    loose, tight = loose_and_tight(map2d)
    assert (loose[:2] < tight[:2]).all() and (tight[2:] < loose[2:]).all()
    assert loose_and_tight(1000 * map2d)[0].tolist() == loose.tolist()


@pytest.mark.parametrize("map2d", [np.full((30, 30), -1.0), np.zeros((30, 30))])
def test_a_map_without_a_positive_value_has_neither_loose_nor_tight_box(map2d):
    assert loose_and_tight(map2d) == (None, None)


def test_one_box_is_loose_and_tight():
    map2d = np.zeros((40, 40))
    map2d[10:20, 10:20] = 3.0
    loose, tight = loose_and_tight(map2d)
    assert loose.tolist() == tight.tolist() == [10, 10, 20, 20]


def test_a_heatmap_that_is_not_grey_levels_is_refused():
    with pytest.raises(ValueError, match="give grey levels as uint8"):
        nested_boxes(np.zeros((20, 20)))
