"""The cases of wsolevaluation's own unit tests, put to our metrics.

Inputs and expected numbers are those of evaluation_test.py in github.com/clovaai/wsolevaluation (Choe et al. 2020), at
its revisions 8abc943d and 6692538b, which agree in them; the tests are written anew. Boxes there include their last
pixel, as in box_iou(..., inclusive=True). Two things are told apart:
- its files (metadata/, test_data/) are not here: of its masks the published numbers of pixels are enough, since with a
  constant map the order of pixels does not matter;
- it scales the first and the last pixel of a box, we the box's edges, so that from a picture that is larger than the
  grid ours may end one pixel earlier, and from a smaller one later by less than one pixel of the picture: tests hold it
  to that.
"""

import numpy as np
import pytest

from cambook.maps import box_iou
from cambook.metrics import BoxAccuracy, PixelAveragePrecision
from cambook.metrics.box_sweep import largest_boxes, levels, to_uint8

# ---- intersection over union


def test_boxes_of_the_first_pixel_alone_are_equal():
    iou = box_iou(np.zeros((3, 4), int), np.zeros((5, 4), int), inclusive=True)
    assert iou.shape == (3, 5) and iou.dtype == np.float64 and (iou == 1).all()


def test_a_box_whose_corners_are_swapped_is_refused():
    with pytest.raises(ValueError, match=r"a\[0\] is \[1.0, 1.0, 0.0, 0.0\]"):
        box_iou([[1, 1, 0, 0]], [[1, 1, 2, 2]], inclusive=True)


def test_boxes_that_share_nothing_have_no_iou():
    two = [[1, 1, 3, 3], [4, 4, 5, 5]]
    assert np.array_equal(box_iou(two, two, inclusive=True), np.eye(2))


def test_realistic_boxes():
    assert box_iou([[1, 2, 5, 6]], [[3, 1, 4, 5]], inclusive=True)[0, 0] == pytest.approx(8 / 27, abs=1e-6)


# ---- ground truth on the grid of 224 pixels

BOXES = [  # of the first pictures of CUB and ILSVRC, val and test: inclusive box, (width, height) of the picture
    ((176, 136, 459, 291), (560, 419)),
    ((44, 183, 426, 254), (576, 432)),
    ((437, 42, 834, 422), (999, 587)),
    ((60, 27, 385, 331), (500, 335)),
    ((14, 112, 402, 298), (500, 347)),
    ((33, 53, 284, 448), (500, 470)),
    ((156, 163, 318, 230), (500, 375)),
    ((143, 142, 394, 248), (500, 375)),
    ((28, 94, 485, 303), (500, 375)),
    ((111, 108, 441, 193), (500, 375)),
    ((45, 49, 499, 162), (500, 375)),
    ((2, 69, 437, 207), (500, 375)),
    ((38, 19, 385, 373), (500, 375)),
]


def theirs(box, size, grid):
    """An inclusive box on the grid: each of the four numbers times grid / size, the fraction cut off."""
    return [int(edge * to / of) for edge, of, to in zip(box, 2 * size, 2 * grid, strict=True)]


def ours(box, size, grid=(224, 224)):
    """The same box, half-open and scaled as a data set gives it, then cut to whole pixels by the metric."""
    half_open = np.array([box]) + [0, 0, 1, 1]
    scaled = half_open * (np.array(2 * grid) / np.array(2 * size))
    return BoxAccuracy(max(grid))._ground_truth(scaled)[0].tolist()


def test_the_published_rule_of_scaling_by_hand():
    assert theirs((1, 2, 4, 3), (10, 20), (35, 10)) == [3, 1, 14, 1]
    assert theirs((1, 2, 1, 2), (3, 3), (3, 3)) == [1, 2, 1, 2]


def test_from_a_smaller_picture_ours_ends_later_within_the_same_pixel_of_the_picture():
    assert ours((1, 2, 4, 3), (10, 20), (35, 10)) == [3, 1, 16, 1]
    for last in range(20):
        for side in range(last + 1, 225):
            box, size = (0, 0, last, 0), (side, side)
            assert 0 <= ours(box, size)[2] - theirs(box, size, (224, 224))[2] < 224 / side


def test_a_box_at_its_own_size_stays_as_it_is():
    assert ours((1, 2, 1, 2), (3, 3), (3, 3)) == [1, 2, 1, 2]


@pytest.mark.parametrize(("box", "size"), BOXES)
def test_published_boxes_lie_in_their_pictures_and_ours_end_before_theirs_by_at_most_one_pixel(box, size):
    x0, y0, x1, y1 = box
    assert 0 <= x0 <= x1 <= size[0] - 1 and 0 <= y0 <= y1 <= size[1] - 1
    scaled, published = ours(box, size), theirs(box, size, (224, 224))
    assert scaled[:2] == published[:2]
    assert all(0 <= theirs_last - last <= 1 for last, theirs_last in zip(scaled[2:], published[2:], strict=True))


# ---- boxes of the largest contour at thresholds 0, 0.2, 0.4, 0.6, 0.8


def found(score):
    score = to_uint8(np.array(score))
    boxes = largest_boxes(score)[levels(BoxAccuracy(1, 5).thresholds, score.max())]
    height, width = score.shape
    return np.minimum(boxes, [width, height, width - 1, height - 1]).tolist()


def test_thresholds_are_those_of_the_published_tests():
    assert np.array_equal(BoxAccuracy(1, 5).thresholds, np.arange(0, 1, 0.2))


def test_boxes_of_a_map_of_zeros():
    assert found(np.zeros((3, 3))) == [[0, 0, 0, 0]] * 5


def test_boxes_of_a_map_with_one_peak():
    one_peak = [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.4, 0.4, 0.4, 0.6],
        [0.0, 0.4, 1.0, 0.8, 0.6],
        [0.0, 0.4, 0.4, 0.4, 0.6],
    ]
    assert found(one_peak) == [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]]


def test_boxes_of_a_map_with_several_peaks():
    several_peaks = [
        [0.4, 0.0, 0.2, 0.2, 0.2],
        [0.4, 0.4, 0.0, 0.4, 0.0],
        [0.0, 0.0, 0.0, 0.4, 0.0],
        [1.0, 0.6, 0.8, 0.2, 0.2],
    ]
    assert found(several_peaks) == [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]]


def test_a_map_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError):
        found(np.full((3, 3), np.nan))
    with pytest.raises(ValueError):
        BoxAccuracy(3).update(np.full((3, 3), np.nan), [[0, 0, 1, 1]])


# ---- PxAP with thresholds 0, 0.01, ...

MASKS = [(43031, 7145), (833, 49342), (347, 13909)]  # pixels inside and outside of masks of 224 x 224, the rest ignored


def picture(inside, outside):
    """A mask and ignored pixels with those numbers of pixels."""
    kind = np.arange(224 * 224).reshape(224, 224)
    return kind < inside, kind >= inside + outside


def pxap(score, mask, ignore):
    pixels = PixelAveragePrecision(100)
    pixels.update(score, mask, ignore)
    return pixels.value()


@pytest.mark.parametrize("counts", MASKS)
@pytest.mark.parametrize("ignored_score", [0.0, 1.0])
def test_a_perfect_map_has_full_pxap_whatever_it_says_of_ignored_pixels(counts, ignored_score):
    mask, ignore = picture(*counts)
    assert pxap(np.where(ignore, ignored_score, mask), mask, ignore) == 100


@pytest.mark.parametrize(("inside", "outside"), MASKS)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_map_has_the_share_of_the_mask(inside, outside, value):
    found = pxap(np.full((224, 224), value), *picture(inside, outside))
    assert found == pytest.approx(100 * inside / (inside + outside), abs=1e-9)  # the published tests allow 0.1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_a_pixel_of_a_mask_there_is_no_pxap(value):
    with pytest.raises(ValueError, match="No pixel of any mask"):
        pxap(np.full((224, 224), value), *picture(0, 224 * 224))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_all_pixels_are_of_the_mask_pxap_is_full(value):
    assert pxap(np.full((224, 224), value), *picture(224 * 224, 0)) == 100


def test_pxap_of_a_map_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError):
        pxap(np.full((224, 224), np.nan), *picture(224 * 224, 0))
