import cv2
import numpy as np
import pytest

from cambook.maps import box_from_map
from cambook.metrics.box_sweep import all_boxes, largest_boxes, levels, to_uint8

cv2.setNumThreads(1)


def opencv(score):
    """The largest contour's box and the set of all contours' boxes, for {score > T}, T = 0 ... 254."""
    largest, every = np.zeros((255, 4), int), []
    for level in range(255):
        _, mask = cv2.threshold(score, level, 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        boxes = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, contours)]
        if contours:
            areas = [cv2.contourArea(contour) for contour in contours]
            largest[level] = boxes[areas.index(max(areas))]
        every.append(set(boxes))
    return largest, every


def stretched(values):
    values = values - values.min()
    return (values / max(values.max(), 1e-12) * 255).astype(np.uint8)


def cam_like(rng, height, width):
    """A coarse map drawn large: smooth hills and hollows, as class activation maps are."""
    coarse = rng.random((rng.integers(3, 15), rng.integers(3, 15)))
    return stretched(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))


def blurred(rng, height, width):
    return stretched(cv2.GaussianBlur(rng.random((height, width)), (0, 0), rng.uniform(0.6, 4)))


def noise(rng, height, width):
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


def plateaus(rng, height, width):
    """Few values, so that many components have the same area and many pixels the same value."""
    return rng.choice(np.array([0, 60, 61, 255], np.uint8), (height, width))


def one_value(rng, height, width):
    there = rng.random((height, width)) < rng.uniform(0.1, 0.9)
    return np.where(there, rng.integers(1, 256), 0).astype(np.uint8)


def dots(rng, height, width):
    return (rng.random((height, width)) < 0.08) * noise(rng, height, width)


def equal_blocks(rng, height, width):
    """Copies of one shape at several places and values: ties of the area that only the place can settle."""
    score = np.zeros((height, width), np.uint8)
    shape = rng.random((rng.integers(1, 5), rng.integers(1, 5))) < 0.8
    for _ in range(8):
        y, x = rng.integers(0, max(height - 4, 1)), rng.integers(0, max(width - 4, 1))
        part = score[y : y + shape.shape[0], x : x + shape.shape[1]]
        part[shape[: part.shape[0], : part.shape[1]]] = rng.choice([90, 91, 200])
    return score


def rings(rng, height, width):
    """Frames within frames, each of its own value, some broken open: holes, and components within holes."""
    score = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width]
    for _ in range(3):
        distance = np.maximum(abs(y - rng.integers(0, height)), abs(x - rng.integers(0, width)))
        score = np.where(distance % rng.integers(3, 6) == 0, rng.integers(0, 256), score)
    return np.where(rng.random((height, width)) < 0.03, 0, score).astype(np.uint8)


KINDS = [cam_like, blurred, noise, plateaus, one_value, dots, equal_blocks, rings]


def differing(score):
    """At how many thresholds OpenCV differs: in the largest contour's box, in the set of all boxes."""
    largest, every = opencv(score)
    boxes, first, last = all_boxes(score)
    ours = [set(map(tuple, boxes[(first <= level) & (level <= last)].tolist())) for level in range(255)]
    one = (largest != largest_boxes(score)).any(axis=1).sum()
    return one, sum(a != b for a, b in zip(ours, every, strict=True))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_boxes_equal_opencv_at_every_threshold(kind):
    rng = np.random.default_rng(KINDS.index(kind))
    for number in range(60):
        score = kind(rng, *rng.integers(1, 41, 2))
        assert differing(score) == (0, 0), f"map {number} of shape {score.shape}"


@pytest.mark.parametrize("kind", [cam_like, cam_like, cam_like, blurred], ids=["cam", "cam", "cam", "blur"])
@pytest.mark.parametrize("size", [(224, 224), (120, 200)])
def test_boxes_equal_opencv_at_every_threshold_of_maps_in_use(kind, size, request):
    rng = np.random.default_rng(list(request.node.name.encode()))
    assert differing(kind(rng, *size)) == (0, 0)


def frame(height, width, at):
    score = np.zeros((height, width), np.uint8)
    score[at] = 200
    return score


SPECIAL = {
    "all zero": np.zeros((9, 12), np.uint8),
    "constant": np.full((9, 12), 77, np.uint8),
    "all 255": np.full((9, 12), 255, np.uint8),
    "one pixel": frame(9, 12, (4, 5)),
    "one pixel in a corner": frame(9, 12, (8, 11)),
    "a map of one pixel": np.full((1, 1), 3, np.uint8),
    "one row": np.array([[0, 9, 9, 0, 3, 255, 0, 0, 9]], np.uint8),
    "one column": np.array([[0], [9], [9], [0], [3], [255]], np.uint8),
    "along all borders": frame(9, 12, ([0, 8], slice(None))) | frame(9, 12, (slice(None), [0, 11])),
    "open at the border": frame(9, 12, (slice(3, 6), slice(4, None))) - frame(9, 12, (4, slice(6, None))),
    "diamond": np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8) * 9,
    "chessboard": (np.indices((9, 12)).sum(0) % 2).astype(np.uint8) * 50,
    "cone": (255 - 9 * np.hypot(*np.mgrid[-9:10, -12:13])).clip(0).astype(np.uint8),
    "crater": (9 * np.hypot(*np.mgrid[-9:10, -12:13])).clip(0, 255).astype(np.uint8),
    "spiral": np.array(
        [
            [7, 7, 7, 7, 7, 7, 7],
            [0, 0, 0, 0, 0, 0, 7],
            [7, 7, 7, 7, 7, 0, 7],
            [7, 0, 0, 0, 7, 0, 7],
            [7, 0, 7, 7, 7, 0, 7],
            [7, 0, 0, 0, 0, 0, 7],
            [7, 7, 7, 7, 7, 7, 7],
        ],
        np.uint8,
    ),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_boxes_equal_opencv_on_special_maps(name):
    assert differing(SPECIAL[name]) == (0, 0)


def test_a_ring_by_hand():
    score = np.zeros((5, 6), np.uint8)
    score[0:5, 1:6] = 100
    score[1:4, 2:5] = 40  # a hole for T >= 40
    score[2, 3] = 200  # an island in it for 100 <= T < 200, and the only pixel left from 100 on
    largest = largest_boxes(score)
    assert (largest[:100] == [1, 0, 6, 5]).all()
    assert (largest[100:200] == [3, 2, 4, 3]).all()
    assert (largest[200:] == 0).all()
    lifetimes = {(*box, first, last) for *box, first, last in np.column_stack(all_boxes(score)).tolist()}
    # the outline, twice: of the component (T < 100) and of its hole, grown by one pixel (40 <= T < 100)
    assert lifetimes == {(1, 0, 6, 5, 0, 99), (1, 0, 6, 5, 40, 99), (3, 2, 4, 3, 40, 199)}


def test_the_sweep_equals_the_version_to_read():
    rng = np.random.default_rng(5)
    for kind in (cam_like, blurred, plateaus, rings, equal_blocks):
        score = kind(rng, 19, 26)
        score[0, :2] = 0, 255  # then the wsol rule leaves the values as they are
        largest = largest_boxes(score)
        for level in range(0, 255, 6):
            assert box_from_map(score / 255, "wsol", (level + 0.5) / 255).tolist() == largest[level].tolist()


@pytest.mark.parametrize("shape", [(32_000, 2), (2, 32_000)])
def test_the_longest_sides_are_counted_right(shape):
    score = np.zeros(shape, np.uint8)
    score[-2:, -2:], score[:1, :1] = 9, 200
    assert largest_boxes(score)[0].tolist() == [shape[1] - 2, shape[0] - 2, shape[1], shape[0]]
    assert len(all_boxes(score)[0]) == 2


def test_a_view_that_is_not_contiguous_gives_the_same_boxes():
    score = cam_like(np.random.default_rng(0), 40, 30)
    assert np.array_equal(largest_boxes(score.T), largest_boxes(np.ascontiguousarray(score.T)))


def test_rounding_cuts_the_fraction_off():
    # 0.5 * 255 = 127.5, 0.999 * 255 = 254.7
    assert to_uint8(np.array([[0.0, 0.5], [0.999, 1.0]])).tolist() == [[0, 127], [254, 255]]


def test_a_threshold_is_a_share_of_the_maximum_cut_to_a_whole_level():
    # 0.2 * 255 = 51, 0.999 * 255 = 254.7; 0.5 * 101 = 50.5
    assert levels([0, 0.2, 0.999], 255).tolist() == [0, 51, 254]
    assert levels([0.5], 101).tolist() == [50]


def test_a_thousand_thresholds_are_at_most_255_levels():
    assert np.unique(levels(np.arange(0, 1, 0.001), 255)).tolist() == list(range(255))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: largest_boxes(np.zeros((3, 3))), "uint8"),
        (lambda: all_boxes(np.zeros((1, 3, 3), np.uint8)), r"\(1, 3, 3\)"),
        (lambda: largest_boxes(np.zeros((1, 32_001), np.uint8)), "32000 pixels or less"),
        (lambda: to_uint8(np.array([[0.0, 2.0]])), "maps.normalize"),
        (lambda: to_uint8(np.array([[0.0, np.nan]])), "maps.normalize"),
        (lambda: to_uint8(np.zeros(4)), r"\(4,\)"),
    ],
)
def test_bad_input_is_told_in_one_sentence_with_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
