import pickle

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torchvision.ops import box_iou as torchvision_box_iou

from cambook.metrics import (
    BoxAccuracy,
    PixelAveragePrecision,
    area_under,
    bootstrap_interval,
    gt_known_accuracy,
    gt_known_correct,
    iou_counts,
    lands_on,
    localization_correct,
    mean_iou,
    mean_iou_interval,
    paired_interval,
    pointing_hit,
    rank_correlation,
    seed_interval,
    share_inside,
    topk_correct,
    topk_error,
    topk_localization_correct,
    topk_localization_error,
)

# --- classification


def test_topk_error_by_hand():
    logits = [[3.0, 1, 2], [0, 5, 4], [1, 2, 3], [9, 8, 7]]
    labels = [0, 2, 0, 2]  # ranks of the labels: first, second, third, third
    assert [topk_error(logits, labels, k) for k in (1, 2, 3, 5)] == [75, 50, 0, 0]


def test_of_equal_scores_the_lower_class_counts_as_higher():
    assert topk_correct(np.zeros((3, 4)), [0, 1, 3], 2).tolist() == [True, True, False]


def test_topk_error_equals_torch_topk():
    logits = torch.randn(200, 30, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 30
    for k in (1, 5):
        found = (logits.topk(k).indices == labels[:, None]).any(1)
        assert topk_correct(logits, labels, k).tolist() == found.tolist()


# --- localization, ILSVRC rule

TWO = [[0, 0, 10, 10], [20, 20, 40, 40]]  # ground truth with two boxes


def test_a_guess_is_right_only_with_class_and_box():
    assert localization_correct([7], [[0, 0, 10, 10]], 7, TWO)
    assert not localization_correct([6], [[0, 0, 10, 10]], 7, TWO)
    assert not localization_correct([7], [[0, 0, 10, 4]], 7, TWO)  # IoU 0.4


def test_the_best_of_several_ground_truth_boxes_counts():
    assert localization_correct([7], [[20, 20, 40, 30]], 7, TWO)  # 200 / 400 with the second one
    assert not localization_correct([7], [[20, 20, 40, 30]], 7, TWO[:1])
    assert not localization_correct([7], [[0, 0, 40, 40]], 7, TWO)  # 400 / 1600: together they do not count


def test_iou_is_that_of_inclusive_pixels():
    # Inclusive pixels 0..9 x 0..9 and 0..9 x 0..4: (9 - 0 + 1) (4 - 0 + 1) / 100 = 0.5, right.
    # Half-open they are (0, 0, 10, 10) and (0, 0, 10, 5). Without the +1: 9 * 4 / 81 = 0.44, wrong.
    assert localization_correct([1], [[0, 0, 10, 5]], 1, [[0, 0, 10, 10]])


def test_iou_of_one_half_is_enough():
    assert gt_known_correct([[0, 0, 10, 5]], [[[0, 0, 10, 10]]]).tolist() == [True]
    assert gt_known_correct([[0, 0, 10, 4.99]], [[[0, 0, 10, 10]]]).tolist() == [False]


def test_topk_localization_error_by_hand():
    guess_labels = [[3, 1, 2], [1, 3, 2], [1, 2, 4]]
    good, bad = [0, 0, 10, 10], [5, 5, 30, 30]
    guess_boxes = [[good, bad, bad], [bad, good, None], [good, good, good]]
    labels, truth = [3, 3, 3], [[good], [good], [good]]
    # first: right at once; second: class and box right in the second guess; third: the class is never guessed
    pictures = (guess_labels, guess_boxes, labels, truth)
    assert topk_localization_correct(*pictures, k=1).tolist() == [True, False, False]
    assert topk_localization_correct(*pictures, k=2).tolist() == [True, True, False]
    assert topk_localization_error(*pictures, k=1) == pytest.approx(200 / 3)
    assert topk_localization_error(*pictures, k=3) == pytest.approx(100 / 3)


def test_one_class_may_be_guessed_with_several_boxes():
    guesses = ([[4, 4]], [[[0, 0, 3, 3], [0, 0, 10, 10]]], [4], [[[0, 0, 10, 10]]])
    assert topk_localization_error(*guesses, k=1) == 100
    assert topk_localization_error(*guesses, k=2) == 0


def test_gt_known_ignores_the_guessed_class_and_counts_no_box_as_wrong():
    boxes = [np.array([0, 0, 10, 9]), None, np.array([20, 20, 40, 40]), np.array([0, 0, 2, 2])]
    assert gt_known_accuracy(boxes, [TWO] * 4) == 50


def test_gt_known_equals_torchvision_iou():
    rng = np.random.default_rng(0)
    boxes, truth = np.sort(rng.uniform(0, 50, (2, 300, 2, 2)), axis=2).reshape(2, 300, 4)
    iou = torchvision_box_iou(torch.from_numpy(boxes), torch.from_numpy(truth)).diagonal()
    for delta in (0.3, 0.5, 0.7):
        assert gt_known_correct(boxes, truth[:, None], delta).tolist() == (iou >= delta).tolist()


# --- MaxBoxAcc and MaxBoxAccV2


def nested(inner, outer, size=40):
    """1 in the inner box, 0.45 in the rest of the outer one: outer box for tau <= 0.4, inner box above."""
    map2d = np.zeros((size, size))
    for (x0, y0, x1, y1), value in ((outer, 0.45), (inner, 1.0)):
        map2d[y0:y1, x0:x1] = value
    return map2d


def square(start, end):
    return (start, start, end, end)


def accuracy_of(*pictures, size=40, thresholds=10):
    accuracy = BoxAccuracy(size, thresholds)
    for map2d, truth in pictures:
        accuracy.update(map2d, truth)
    return accuracy


def test_a_wsol_box_is_one_pixel_wider_than_its_contour():
    # Ground truth half-open 2..12 is inclusive [2, 2, 11, 11], 100 pixels. Bright pixels 2..9 (8 x 8) give
    # the box [2, 2, 10, 10], inclusive 9 x 9: 81 / 100, right at 0.7. (Without the extra pixel: 64 / 100.)
    # Bright pixels 2..8 give 8 x 8: 64 / 100, wrong at 0.7.
    truth = [square(2, 12)]
    accuracy = accuracy_of(*[(nested(square(2, end), square(2, end)), truth) for end in (10, 9)])
    assert accuracy.hits(0.7).all(axis=1).tolist() == [True, False]


def test_a_wsol_box_is_clipped_to_the_last_pixel():
    # Ground truth [30, 30, 39, 39], 100 pixels, in a map of 40. Bright pixels 31..39 give [31, 31, 40, 40],
    # clipped [31, 31, 39, 39]: 81 / 100, right at 0.7. (Not clipped: 81 / (100 + 100 - 81) = 0.68.)
    assert accuracy_of((nested(square(31, 40), square(31, 40)), [square(30, 40)])).max_box_acc(0.7) == (100, 0)


def test_ground_truth_is_cut_to_whole_pixels():
    # (2.9, 2.9, 12.9, 12.9) is inclusive 2.9 .. 11.9, cut to [2, 2, 11, 11] as above. Rounded it were [3, 3,
    # 12, 12]: 64 / (81 + 100 - 64) = 0.55, wrong at 0.7.
    accuracy = accuracy_of((nested(square(2, 10), square(2, 10)), [(2.9, 2.9, 12.9, 12.9)]))
    assert accuracy.max_box_acc(0.7)[0] == 100


def test_a_map_without_contours_gives_the_box_of_the_first_pixel():
    # [0, 0, 0, 0] is one pixel: right only if the object is that pixel
    zeros = np.zeros((40, 40))
    accuracy = accuracy_of((zeros, [square(0, 1)]), (zeros, [square(0, 30)]))
    for contours in ("largest", "all"):
        assert accuracy.hits(0.5, contours).tolist() == [[True] * 10, [False] * 10]


def test_any_of_several_ground_truth_boxes_will_do():
    map2d = nested(square(20, 30), square(20, 30))
    assert accuracy_of((map2d, [square(0, 10), square(20, 30)])).max_box_acc() == (100, 0)
    assert accuracy_of((map2d, [square(0, 10)])).max_box_acc()[0] == 0


def test_one_threshold_serves_the_whole_set():
    # tau 0 .. 0.4 is right for the first picture, 0.5 .. 0.9 for the other two: alone each reaches 100,
    # together 2 / 3
    map2d = nested(square(0, 10), square(0, 30))
    outer, inner = (map2d, [square(0, 30)]), (map2d, [square(0, 10)])
    assert accuracy_of(outer).max_box_acc() == (100, 0)
    assert accuracy_of(inner).max_box_acc() == (100, 0.5)
    both = accuracy_of(outer, inner, inner)
    assert np.allclose(both.curve(), [100 / 3] * 5 + [200 / 3] * 5)
    assert both.max_box_acc() == (pytest.approx(200 / 3), 0.5)


def test_v2_is_the_mean_over_three_ious_each_at_its_best_threshold():
    # The outer box is [0, 0, 30, 30], 961 pixels. Right at (low tau; high tau) for IoU 0.3, 0.5, 0.7:
    #   object 30: outer 900 / 961 = 0.94, inner 10 -> 121 / 900 = 0.13   (yes yes yes; no no no)
    #   object 20: outer 400 / 961 = 0.42, inner 20 -> 400 / 441 = 0.91   (yes no no; yes yes yes)
    #   object 24: outer 576 / 961 = 0.60, inner 24 -> 576 / 625 = 0.92   (yes yes no; yes yes yes)
    # BoxAcc low: 3/3, 2/3, 1/3; high: 2/3, 2/3, 2/3. The best of each: 1, 2/3, 2/3, mean 7/9.
    sides = ((10, 30), (20, 20), (24, 24))
    accuracy = accuracy_of(*[(nested(square(0, a), square(0, 30)), [square(0, b)]) for a, b in sides])
    assert accuracy.max_box_acc_v2() == pytest.approx(700 / 9)
    assert accuracy.max_box_acc(0.5) == (pytest.approx(200 / 3), 0)


def test_v2_looks_at_all_contours_and_v1_at_the_largest():
    map2d = nested(square(0, 20), square(0, 20)) + nested(square(28, 36), square(28, 36))
    accuracy = accuracy_of((map2d, [square(28, 36)]))
    assert accuracy.max_box_acc()[0] == 0
    assert accuracy.max_box_acc_v2() == 100


def test_v2_looks_at_holes_too():
    # A frame 0..29 around a hole 8..19: the contour of the hole is [7, 7, 21, 21], 225 pixels, object 12..19
    # inside [7, 7, 20, 20], 196: 0.87. The outline, 961 pixels, is 0.20.
    map2d = nested(square(0, 30), square(0, 30))
    map2d[8:20, 8:20] = 0
    accuracy = accuracy_of((map2d, [square(7, 21)]))
    assert accuracy.max_box_acc(0.3)[0] == 0
    assert accuracy.max_box_acc_v2() == 100


def test_the_8_bit_map_is_compared_with_a_whole_level_strictly():
    # 0.45 * 255 = 114.75, cut to 114. tau = 0.447: int(113.985) = 113 < 114 keeps it; 0.448: int(114.24) =
    # 114 does not (as real numbers 0.449 < 0.45 would have kept it).
    hits = accuracy_of((nested(square(0, 10), square(0, 30)), [square(0, 30)]), thresholds=1000).hits()[0]
    assert np.flatnonzero(~hits)[0] == 448


def test_thresholds_are_those_of_the_released_code():
    assert np.array_equal(BoxAccuracy().thresholds, np.arange(0, 1, 0.001))


def opencv_hits(map2d, truth, thresholds):
    """Right or wrong at IoU 0.3, 0.5, 0.7, for the largest contour and for all: one contour search a threshold."""
    score = (map2d * 255).astype(np.uint8)
    truth = torch.from_numpy(np.trunc(truth - [0, 0, 1, 1]) + [0, 0, 1, 1])
    right = np.zeros((2, 3, len(thresholds)), bool)
    for t, threshold in enumerate(thresholds):
        _, mask = cv2.threshold(score, int(threshold * score.max()), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        for kind, some in enumerate(([max(contours, key=cv2.contourArea)], contours)):
            boxes = [cv2.boundingRect(contour) for contour in some]
            ends = [(x, y, min(x + w, 39) + 1, min(y + h, 39) + 1) for x, y, w, h in boxes]
            iou = torchvision_box_iou(torch.tensor(ends, dtype=torch.float64), truth).max()
            right[kind, :, t] = [iou >= delta for delta in (0.3, 0.5, 0.7)]
    return right


def test_hits_equal_those_of_a_contour_search_at_every_threshold():
    rng = np.random.default_rng(0)
    accuracy, expected = BoxAccuracy(40, 500), []
    for number in range(12):
        map2d = cv2.GaussianBlur(rng.random((40, 40)), (0, 0), rng.uniform(1, 6)).astype(np.float32)
        map2d = (map2d - map2d.min()) / (map2d.max() - map2d.min()) * (1 if number % 3 else 0.8)
        starts = rng.uniform(0, 25, (2, 2))
        truth = np.hstack([starts, starts + rng.uniform(3, 15, (2, 2))])
        accuracy.update(map2d, truth)
        expected.append(opencv_hits(map2d, truth, accuracy.thresholds))
    expected = np.stack(expected)
    for kind, contours in enumerate(("largest", "all")):
        for d, iou in enumerate((0.3, 0.5, 0.7)):
            assert np.array_equal(accuracy.hits(iou, contours), expected[:, kind, d])
            assert np.allclose(accuracy.curve(iou, contours), 100 * expected[:, kind, d].mean(0))
    assert expected[:, 0, 1].any() and not expected[:, 1, 1].all()


def test_a_torch_map_gives_the_same_hits():
    map2d = nested(square(0, 10), square(0, 30))
    arrays = accuracy_of((map2d, [square(0, 30)]))
    tensors = accuracy_of((torch.from_numpy(map2d), torch.tensor([square(0, 30)])))
    assert np.array_equal(arrays.hits(), tensors.hits())


def random_pictures(number, size=24, seed=3):
    """Maps whose maxima differ, so that one threshold is another level in each, and one or two boxes for each."""
    rng = np.random.default_rng(seed)
    maps = rng.random((number, size, size)) * rng.uniform(0.5, 1, (number, 1, 1))
    corners = [rng.integers(0, size // 2, (rng.integers(1, 3), 2)) for _ in range(number)]
    return maps, [np.hstack([corner, corner + size // 2]) for corner in corners]


def test_pictures_counted_together_on_all_cores_are_those_counted_one_by_one():
    maps, truth = random_pictures(40)
    together = BoxAccuracy(24, 100)
    together.update_all(maps[:25], truth[:25])
    together.update_all(maps[25:], truth[25:])
    single = accuracy_of(*zip(maps, truth, strict=True), size=24, thresholds=100)
    assert len(together) == 40 and 0 < single.max_box_acc(0.3)[0] < 100
    for contours in ("largest", "all"):
        for iou in (0.3, 0.5, 0.7):
            assert np.array_equal(together.hits(iou, contours), single.hits(iou, contours))
            assert np.array_equal(together.curve(iou, contours), single.curve(iou, contours))


def test_of_pictures_counted_together_all_are_counted_or_none():
    maps, truth = random_pictures(5)
    accuracy = BoxAccuracy(24, 100)
    maps[3] += 1
    with pytest.raises(ValueError, match="maps.normalize"):
        accuracy.update_all(maps, truth)
    with pytest.raises(ValueError, match="5 maps, ground truth of 4 images"):
        accuracy.update_all(maps, truth[:4])
    assert len(accuracy) == 0


def test_without_hits_the_numbers_are_the_same_and_memory_does_not_grow():
    maps, truth = random_pictures(12)
    kept, counted = BoxAccuracy(24), BoxAccuracy(24, keep_hits=False)
    sizes = []
    for part in range(0, 12, 4):
        for accuracy in (kept, counted):
            accuracy.update_all(maps[part : part + 4], truth[part : part + 4])
        sizes.append([len(pickle.dumps(accuracy)) for accuracy in (kept, counted)])
    growth = np.diff(sizes, axis=0)
    assert growth[:, 0].tolist() == pytest.approx([4 * 193] * 2, abs=4)  # as the docstring says
    assert growth[:, 1].tolist() == pytest.approx([0] * 2, abs=4)
    assert counted.max_box_acc() == kept.max_box_acc() and counted.max_box_acc_v2() == kept.max_box_acc_v2()
    with pytest.raises(ValueError, match="keep_hits=True"):
        counted.hits()
    with pytest.raises(ValueError, match="cannot be joined"):
        kept.extend(counted)


# --- PxAP


def test_pxap_by_hand():
    # tau 0.9: 1 found, 1 inside: precision 1, recall 1/2. tau 0.8: 3 found, 2 inside: 2/3, recall 1. The rest
    # adds none. 1 * 1/2 + 2/3 * 1/2 = 5/6. The ignored pixel (0.95) would have come first.
    precision = PixelAveragePrecision()
    score = np.array([[0.9, 0.8, 0.8], [0.1, 0.1, 0.95]])
    mask = np.array([[1, 0, 1], [0, 0, 0]], bool)
    precision.update(score, mask, ignore=np.array([[0, 0, 0], [0, 0, 1]], bool))
    assert precision.value() == pytest.approx(500 / 6)


def test_a_pixel_of_the_mask_counts_even_where_it_is_ignored():
    precision = PixelAveragePrecision()
    precision.update(np.array([[0.9, 0.5]]), np.array([[True, False]]), ignore=np.array([[True, True]]))
    assert precision.value() == 100


def test_pxap_pools_the_pixels_of_all_pictures():
    # One by one each picture is perfect. Together 0.9 in, 0.6 out, 0.5 in, 0.1 out: 1 * 1/2 + 2/3 * 1/2 =
    # 5/6.
    precision = PixelAveragePrecision()
    mask = np.array([[True, False]])
    precision.update(np.array([[0.9, 0.6]]), mask)
    assert precision.value() == 100
    precision.update(np.array([[0.5, 0.1]]), mask)
    assert precision.value() == pytest.approx(500 / 6)


def test_scores_between_two_thresholds_count_as_one():
    # 0.5501 out and 0.5509 in share a bin: 1 of 2 found at once
    precision = PixelAveragePrecision(1000)
    precision.update(np.array([[0.5501, 0.5509]]), np.array([[False, True]]))
    assert precision.value() == 50


def test_coverage_by_hand():
    # two pictures, five pixels of masks; at 0.5 three of them and one outside are found, at 0.8 two and none
    pixels = PixelAveragePrecision()
    pixels.update(np.array([[0.9, 0.5], [0.6, 0.1]]), np.array([[True, True], [False, True]]))
    pixels.update(np.array([[0.8, 0.2]]), np.array([[True, True]]))
    assert pixels.coverage(0.5) == pytest.approx((60, 75))
    assert pixels.coverage(0.8) == pytest.approx((40, 100))
    assert pixels.coverage(0) == pytest.approx((100, 500 / 6))


def test_coverage_where_nothing_is_found_is_zero():
    pixels = PixelAveragePrecision()
    pixels.update(np.array([[0.9, 0.5]]), np.array([[True, False]]))
    assert pixels.coverage(1.0) == (0, 0)


def test_coverage_counts_a_score_equal_to_any_of_the_thresholds():
    for tau in BoxAccuracy().thresholds:
        pixels = PixelAveragePrecision()
        pixels.update(np.array([[tau, 0.0]]), np.array([[True, False]]))
        assert pixels.coverage(tau)[0] == 100, tau


def test_pxap_equals_sklearn_where_scores_are_distinct_levels():
    rng = np.random.default_rng(0)
    score = (rng.integers(0, 100, (60, 70)) + 0.5) / 100
    score[0, 0] = 1.0
    mask = rng.random(score.shape) < score
    precision = PixelAveragePrecision()
    for rows in np.split(np.arange(60), 4):
        precision.update(score[rows], mask[rows])
    expected = 100 * average_precision_score(mask.ravel(), score.ravel())
    assert precision.value() == pytest.approx(expected, abs=1e-9)


def test_pxap_bins_are_those_of_numpy_histogram():
    rng = np.random.default_rng(1)
    score = np.append(rng.random(5000), np.arange(0, 1, 0.001)).astype(np.float32)[None]
    precision = PixelAveragePrecision()
    precision.update(score, np.ones(score.shape, bool))
    expected, _ = np.histogram(score, np.append(np.arange(0, 1, 0.001), [1, 2]))
    assert precision._count[1].tolist() == expected.tolist()


# --- pointing game


def peak(x, y, size=224):
    map2d = np.zeros((size, size))
    map2d[y, x] = 1
    return map2d


def test_the_pointing_game_by_hand():
    mask = np.zeros((224, 224), bool)
    mask[100:150, 100:150] = True
    assert pointing_hit(peak(149, 100), mask, tolerance=0)
    assert not pointing_hit(peak(150, 100), mask, tolerance=0)
    assert pointing_hit(peak(149 + 9, 149 + 12), mask)  # sqrt(81 + 144) = 15
    assert not pointing_hit(peak(149 + 10, 149 + 12), mask)  # 15.6


def test_boxes_are_hit_as_their_masks_are():
    mask = np.zeros((224, 224), bool)
    mask[20:60, 30:80] = mask[150:160, 150:200] = True
    boxes = [[30, 20, 80, 60], [150, 150, 200, 160]]
    rng = np.random.default_rng(0)
    hits = [pointing_hit(peak(x, y), mask) for x, y in rng.integers(0, 224, (200, 2))]
    rng = np.random.default_rng(0)
    assert hits == [pointing_hit(peak(x, y), boxes) for x, y in rng.integers(0, 224, (200, 2))]
    assert 0 < sum(hits) < 200


def test_the_tolerance_shrinks_with_the_map():
    # 15 of 224 are 7.5 of 112
    box = [[50, 50, 60, 60]]
    assert pointing_hit(peak(66, 55, 112), box)
    assert not pointing_hit(peak(67, 55, 112), box)


def test_of_several_maxima_the_first_in_reading_order_points():
    flat = np.ones((224, 224))
    assert pointing_hit(flat, [[0, 0, 5, 5]], tolerance=0)
    assert not pointing_hit(flat, [[200, 200, 224, 224]])


def test_a_map_that_is_not_finite_misses():
    with pytest.warns(UserWarning, match="NaN or infinity"):
        assert not pointing_hit(np.full((10, 10), np.nan), np.ones((10, 10), bool))


# --- bootstrap


def test_what_never_varies_has_an_interval_of_no_width():
    assert bootstrap_interval(np.ones(20, bool), seed=0) == (100, 100)
    assert bootstrap_interval(np.full(20, 3.5), seed=0) == pytest.approx((3.5, 3.5))


def test_the_interval_of_a_share_is_about_that_of_the_normal_distribution():
    # 30% of 1000: 1.96 * sqrt(0.3 * 0.7 / 1000) = 2.84 points each way
    low, high = bootstrap_interval(np.arange(1000) < 300, seed=0, repeats=4000)
    assert (low, high) == (pytest.approx(27.16, abs=0.5), pytest.approx(32.84, abs=0.5))


def test_the_threshold_is_chosen_anew_in_each_resample():
    # Two thresholds that are right on opposite halves: the better one is never below 50, a fixed one often
    # is.
    half = np.arange(100) < 50
    low, _ = bootstrap_interval(np.stack([half, ~half], axis=1), seed=0)
    assert low >= 50
    assert bootstrap_interval(half, seed=0)[0] < 45


def test_the_interval_equals_resampling_one_by_one():
    hits = np.random.default_rng(3).random((3, 40, 25)) < np.linspace(0.2, 0.8, 25)
    draw, best = np.random.default_rng(7), []
    for _ in range(200):
        pictures = draw.integers(40, size=40)
        best.append([100 * table[pictures].mean(axis=0).max() for table in hits])
    expected = np.quantile(np.mean(best, axis=1), [0.05, 0.95])
    assert np.allclose(bootstrap_interval(hits, seed=7, repeats=200, level=0.9), expected)
    expected = np.quantile(np.array(best)[:, 0], [0.05, 0.95])
    assert np.allclose(bootstrap_interval(hits[0], seed=7, repeats=200, level=0.9), expected)


def test_a_paired_interval_equals_resampling_both_one_by_one():
    g = np.random.default_rng(5)
    a, b = g.random((40, 25)) < np.linspace(0.2, 0.8, 25), g.random((40, 9)) < 0.5
    draw, difference = np.random.default_rng(7), []
    for _ in range(200):
        pictures = draw.integers(40, size=40)
        difference.append(100 * (a[pictures].mean(axis=0).max() - b[pictures].mean(axis=0).max()))
    expected = np.quantile(difference, [0.05, 0.95])
    assert np.allclose(paired_interval(a, b, seed=7, repeats=200, level=0.9), expected)


def test_what_makes_a_picture_easy_for_both_drops_out_of_a_paired_interval():
    right = np.arange(100) < 50
    better = right | (np.arange(100) == 99)
    assert paired_interval(better, better, seed=0) == (0, 0)
    low, high = paired_interval(better, right, seed=0)
    assert (low >= 0, high < 5) == (True, True)


def test_the_interval_over_seeds_by_hand():
    # mean 2, standard deviation 1, t of 2 degrees of freedom at 0.975 is 4.3027: 2 -+ 4.3027 / sqrt(3)
    assert seed_interval([1, 2, 3]) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)
    low, high = seed_interval([1, 2, 3], level=0.5)
    assert -0.5 < low < 2 < high < 3


def test_the_interval_over_seeds_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(7, 3, (2000, 3))
    covered = [low <= 7 <= high for low, high in map(seed_interval, draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_the_same_seed_gives_the_same_interval():
    hits = np.random.default_rng(0).random((50, 10)) < 0.5
    assert bootstrap_interval(hits, seed=1) == bootstrap_interval(hits, seed=1)


# --- bad input

GOOD_MAP, GOOD_BOX = nested(square(0, 10), square(0, 30)), [square(0, 30)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: topk_error(np.zeros((2, 3)), [0, 3], 1), "give 0 to 2"),
        (lambda: topk_error(np.zeros((2, 3)), [0], 1), r"\(N, C\) and \(N,\)"),
        (lambda: topk_error(np.full((1, 3), np.nan), [0], 1), "not finite"),
        (lambda: topk_error(np.zeros((2, 3)), [0, 1], 0), "k=0"),
        (lambda: localization_correct([1, 2], [None], 1, GOOD_BOX), "2 labels and 1 boxes"),
        (lambda: localization_correct([1], [None], 1, np.zeros((0, 4))), "leave the image out"),
        (lambda: topk_localization_error([[1]], [[None]], [1, 2], [GOOD_BOX], 1), r"\[1, 2\] images"),
        (lambda: gt_known_accuracy([None], []), "1 boxes, 0 images"),
        (lambda: gt_known_accuracy([None], [[[5, 5, 5, 9]]]), "no area"),
        (lambda: accuracy_of((GOOD_MAP * 2, GOOD_BOX)), "maps.normalize"),
        (lambda: accuracy_of((GOOD_MAP, GOOD_BOX), size=224), r"upsample it to \(224, 224\)"),
        (lambda: accuracy_of((GOOD_MAP, [square(0, 90)])), "leaves the grid of 40"),
        (lambda: accuracy_of((GOOD_MAP, GOOD_BOX)).curve(0.6), r"\(0.3, 0.5, 0.7\)"),
        (lambda: accuracy_of((GOOD_MAP, GOOD_BOX)).hits(0.5, "some"), r"'largest', 'all'"),
        (lambda: BoxAccuracy().max_box_acc(), "update"),
        (lambda: PixelAveragePrecision().update(GOOD_MAP - 1, GOOD_MAP > 0), "maps.normalize"),
        (lambda: PixelAveragePrecision().update(GOOD_MAP, GOOD_MAP[:5] > 0), r"\(5, 40\)"),
        (lambda: PixelAveragePrecision().value(), "No pixel"),
        (lambda: PixelAveragePrecision().coverage(0.5), "No pixel"),
        (lambda: PixelAveragePrecision().coverage(1.5), "threshold=1.5"),
        (lambda: seed_interval([1.0]), "two or more"),
        (lambda: pointing_hit(GOOD_MAP, np.zeros((40, 40), bool)), r"shape \(40, 40\) and 0 pixels: give"),
        (lambda: bootstrap_interval([], seed=0), r"\(N, levels\)"),
        (lambda: bootstrap_interval([True], seed=0, level=95), "level=95"),
        (lambda: paired_interval([True] * 3, [True] * 4, seed=0), "3 and 4 images"),
    ],
)
def test_bad_input_is_told_in_one_sentence_with_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_share_inside_counts_positive_values_only_and_is_scale_free():
    mask = np.array([[True, False], [False, False]])
    map2d = np.array([[3.0, 1.0], [-8.0, 0.0]])
    assert share_inside(map2d, mask) == 75
    assert share_inside(10 * map2d, mask) == 75
    assert share_inside(map2d, ~mask) == 25


def test_a_map_that_is_the_same_everywhere_has_the_objects_share_inside():
    mask = np.zeros((8, 8), bool)
    mask[2:5, 1:7] = True
    assert share_inside(np.full((8, 8), 0.3), mask) == pytest.approx(100 * 18 / 64)


def test_a_map_with_nothing_positive_has_nothing_inside():
    assert share_inside(-np.ones((2, 2)), np.eye(2, dtype=bool)) == 0


@pytest.mark.parametrize("mask", [np.ones((2, 3), bool), np.zeros((2, 2), bool)])
def test_a_mask_of_another_shape_or_without_object_is_refused(mask):
    with pytest.raises(ValueError, match="must be one"):
        share_inside(np.ones((2, 2)), mask)


# --- deletion and insertion, ranks


def test_the_area_under_a_curve_by_hand():
    # 1 -> 0.5 -> 0 : (0.75 + 0.25) / 2 = 0.5; 0.8 at first, then 0: half a step of two, 0.4 / 2 = 0.2
    assert area_under([[1, 0.5, 0], [0.8, 0, 0]]).tolist() == pytest.approx([0.5, 0.2])
    with pytest.raises(ValueError, match="at least two points"):
        area_under([[1]])


def test_rank_correlation_by_hand():
    # ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6
    a, b = np.array([[[0, 1], [5, 100]]]), np.array([[[7, 3], [9, 8]]])
    assert rank_correlation(a, b).tolist() == pytest.approx([0.6])
    assert rank_correlation(a, -(a**3)).tolist() == pytest.approx([-1])
    assert rank_correlation(a, np.ones_like(a)).tolist() == [0]


def test_rank_correlation_equals_scipy_with_equal_values():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (4, 6, 6)), rng.random((4, 6, 6))
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    assert rank_correlation(a, b) == pytest.approx(expected)
    with pytest.raises(ValueError, match="not finite"):
        rank_correlation(a, np.full(b.shape, np.nan))


# --- the interval of PxAP


def _pixels(maps, masks):
    seen = PixelAveragePrecision()
    for map2d, mask in zip(maps, masks, strict=True):
        seen.update(map2d, mask)
    return seen


def test_up_to_100_pictures_the_interval_of_pxap_is_that_of_drawn_pictures():
    rng = np.random.default_rng(0)
    masks = rng.random((30, 6, 6)) < 0.3
    masks[:, 0, 0] = True
    maps = np.clip(rng.random(masks.shape) + 0.3 * masks, 0, 1)
    low, high = _pixels(maps, masks).interval(0)
    drawn = [rng.integers(30, size=30) for _ in range(400)]
    by_hand = np.quantile([_pixels(maps[d], masks[d]).value() for d in drawn], [0.025, 0.975])
    assert (low, high) == pytest.approx(by_hand, abs=1.5) and low < _pixels(maps, masks).value() < high


def test_groups_of_many_pictures_give_an_interval_as_wide_as_single_pictures_would():
    rng = np.random.default_rng(1)
    masks = rng.random((800, 4, 4)) < 0.3
    masks[:, 0, 0] = True
    maps = np.clip(rng.random(masks.shape) + 0.3 * masks, 0, 1)
    low, high = _pixels(maps, masks).interval(0)
    drawn = [rng.integers(800, size=800) for _ in range(200)]
    by_hand = np.quantile([_pixels(maps[d], masks[d]).value() for d in drawn], [0.025, 0.975])
    assert high - low == pytest.approx(by_hand[1] - by_hand[0], rel=0.25)


def test_pictures_that_are_all_alike_have_an_interval_of_no_width():
    masks = np.zeros((150, 4, 4), bool)
    masks[:, 1:3, 1:3] = True
    maps = np.broadcast_to(np.random.default_rng(2).random((4, 4)), masks.shape)
    seen = _pixels(maps, masks)
    assert seen.interval(0) == pytest.approx((seen.value(), seen.value()))


def test_no_interval_of_pxap_without_any_object():
    with pytest.raises(ValueError, match="No pixel of any mask"):
        _pixels(np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool)).interval(0)


def test_parts_of_a_set_that_are_joined_are_the_set_counted_at_once():
    """Of 150 pictures, more than the groups of PxAP; the parts are uneven and one is empty."""
    rng = np.random.default_rng(6)
    maps, masks = rng.random((150, 8, 8)), rng.random((150, 8, 8)) < 0.4
    corners = rng.integers(0, 4, (150, 1, 2))
    truth = np.concatenate([corners, corners + 4], 2)

    def counted(first, last):
        boxes, pixels = BoxAccuracy(8, 50), PixelAveragePrecision(50)
        for i in range(first, last):
            boxes.update(maps[i], truth[i])
            pixels.update(maps[i], masks[i])
        return boxes, pixels

    whole_boxes, whole_pixels = counted(0, 150)
    boxes, pixels = counted(0, 37)
    for part in ((37, 37), (37, 120), (120, 150)):
        later_boxes, later_pixels = counted(*part)
        boxes.extend(later_boxes)
        pixels.extend(later_pixels)
    assert len(boxes) == len(pixels) == 150
    assert boxes.max_box_acc() == whole_boxes.max_box_acc() and np.array_equal(boxes.hits(), whole_boxes.hits())
    assert pixels.value() == whole_pixels.value() and pixels.interval(0) == whole_pixels.interval(0)
    with pytest.raises(ValueError, match="cannot be joined"):
        boxes.extend(BoxAccuracy(8, 40))
    with pytest.raises(ValueError, match="cannot be joined"):
        pixels.extend(PixelAveragePrecision(40))


# --- mean IoU


def test_mean_iou_by_hand():
    truth = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]]])
    found = np.array([[[1, 0, 0, 0]], [[1, 1, 0, 0]]])
    counts = iou_counts(found, truth)
    assert counts.tolist() == [[[2, 3], [1, 2]], [[2, 3], [1, 2]]]  # shared, joint of background and object
    assert mean_iou(counts) == pytest.approx(100 * (4 / 6 + 2 / 4) / 2)


def test_mean_iou_pools_the_pixels_of_the_set_and_is_no_mean_over_pictures():
    truth, found = np.zeros((2, 4, 4), int), np.zeros((2, 4, 4), int)
    truth[0, :2], found[0, :2] = 1, 1  # eight pixels, all found
    truth[1, 0, 0] = 1  # one pixel, not found
    assert mean_iou(iou_counts(found, truth)[:, 1:]) == pytest.approx(100 * 8 / 9)


def test_a_class_that_is_nowhere_does_not_count_and_bool_masks_are_two_classes():
    masks = np.random.default_rng(0).random((3, 5, 5)) < 0.5
    assert mean_iou(iou_counts(masks, masks, classes=7)) == 100
    assert mean_iou(iou_counts(masks, ~masks)) == 0


def test_mean_iou_equals_the_confusion_matrix_of_scikit_learn():
    from sklearn.metrics import jaccard_score

    draw = np.random.default_rng(1)
    found, truth = draw.integers(0, 4, (2, 6, 9, 9))
    expected = 100 * jaccard_score(truth.ravel(), found.ravel(), average="macro")
    assert mean_iou(iou_counts(found, truth, 4)) == pytest.approx(expected)


def test_the_interval_of_mean_iou_surrounds_it_and_narrows_with_more_pictures():
    draw = np.random.default_rng(2)
    truth = draw.random((400, 8, 8)) < 0.4
    found = truth ^ (draw.random(truth.shape) < draw.random((400, 1, 1)) * 0.4)
    counts = iou_counts(found, truth)
    low, high = mean_iou_interval(counts, 0)
    few_low, few_high = mean_iou_interval(counts[:20], 0)
    assert low < mean_iou(counts) < high and high - low < (few_high - few_low) / 2


def test_masks_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        iou_counts(np.zeros((2, 4, 4)), np.zeros((2, 4, 5)))


def test_maps_that_are_the_masks_land_on_them_and_flat_maps_land_by_area():
    masks = np.zeros((4, 10, 10), bool)
    masks[:, 3:5, 6:9] = True
    found = lands_on(masks.astype(float), masks, 0)
    assert found == {"pointing": 100, "low": 100, "high": 100, "mass": 100, "area": 6}
    beside = lands_on(np.roll(masks, 1, 1).astype(float), masks, 0)  # one row below: no tolerance
    assert beside["mass"] == 50
    assert lands_on(np.ones(masks.shape), masks, 0)["mass"] == pytest.approx(6)


def test_the_paired_interval_of_pxap_sees_both_on_the_same_images():
    draw, masks = np.random.default_rng(3), np.zeros((30, 16, 16), bool)
    masks[:, 4:12, 4:12] = True
    noise = draw.random((30, 16, 16))
    a, b = counted = [_pixels((noise + weight * masks) / (1 + weight), masks) for weight in (0.5, 0.4)]
    low, high = PixelAveragePrecision.paired_interval(a, b, seed=0)
    assert low < a.value() - b.value() < high and low > 0
    (low_a, high_a), (low_b, high_b) = (one.interval(seed=0) for one in counted)
    assert high - low < max(high_a - low_b, high_b - low_a)
    assert PixelAveragePrecision.paired_interval(a, a, seed=0) == (0, 0)
    with pytest.raises(ValueError, match="30 and 0 images are not pairs"):
        PixelAveragePrecision.paired_interval(a, PixelAveragePrecision(), seed=0)
