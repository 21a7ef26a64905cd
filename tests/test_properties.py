"""Properties that hold for every input, tried on drawn ones: the same draws in every run (derandomize), no deadline."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from sklearn.metrics import average_precision_score
from torchvision.ops import box_iou as torchvision_box_iou

from cambook import networks
from cambook.maps import (
    MEASURES,
    RULES,
    box_from_map,
    box_iou,
    class_activation_map,
    largest_component,
    mask_above,
    normalize,
    tight_box,
)
from cambook.metrics import CONTOURS, IOUS, BoxAccuracy, PixelAveragePrecision
from cambook.metrics.box_sweep import all_boxes, largest_boxes
from cambook.networks import PooledNetwork

drawn = settings(derandomize=True, deadline=None, database=None, max_examples=40)

EDGE = st.floats(0, 100) | st.integers(0, 20).map(float)
SHARE = st.floats(0, 1)
SMALL = array_shapes(min_dims=2, max_dims=2, max_side=10)
VALUE = st.integers(-9, 9).map(float) | st.floats(-10, 10)
MAPS = SMALL.flatmap(lambda shape: arrays(np.float64, shape, elements=VALUE))
SCORES = SMALL.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 60, 61, 200, 255])))


@st.composite
def box_lists(draw):
    """Half-open boxes (n, 4), some without area."""
    corners = draw(arrays(np.float64, (draw(st.integers(1, 5)), 2, 2), elements=EDGE))
    return np.sort(corners, axis=1).reshape(-1, 4)


@st.composite
def hills(draw):
    """Maps (H, W) with one hill: what lies above any threshold is a rectangle, so there is one component."""

    def profile():
        up, down = (sorted(draw(st.lists(st.integers(0, 50), min_size=1, max_size=8))) for _ in range(2))
        return np.array([*up, 51, *down[::-1]], float)

    return np.minimum.outer(profile(), profile())


def inside(box, other):
    """Whether a half-open box lies in another one."""
    return bool((np.array(box[:2]) >= other[:2]).all() and (np.array(box[2:]) <= other[2:]).all())


# ---- intersection over union


@drawn
@given(box_lists(), box_lists(), st.booleans())
def test_iou_is_symmetric_and_from_0_to_1(a, b, inclusive):
    iou = box_iou(a, b, inclusive)
    assert iou.shape == (len(a), len(b))
    assert (iou >= 0).all() and (iou <= 1).all()
    assert np.array_equal(iou, box_iou(b, a, inclusive).T)


@drawn
@given(box_lists())
def test_iou_is_1_with_itself_and_0_where_nothing_is_shared(a):
    area = (a[:, 2:] - a[:, :2]).prod(1)
    assert np.array_equal(box_iou(a, a).diagonal(), (area > 0).astype(float))
    assert not box_iou(a, a + 101).any()  # edges go up to 100
    assert (box_iou(a, a, inclusive=True).diagonal() == 1).all()


@drawn
@given(box_lists(), box_lists())
def test_iou_is_that_of_torchvision(a, b):
    expected = torchvision_box_iou(torch.from_numpy(a), torch.from_numpy(b)).nan_to_num(0).numpy()
    assert box_iou(a, b) == pytest.approx(expected, abs=1e-12)
    wider = [torch.from_numpy(boxes + [0, 0, 1, 1]) for boxes in (a, b)]
    assert box_iou(a, b, inclusive=True) == pytest.approx(torchvision_box_iou(*wider).numpy(), abs=1e-12)


# ---- from a map to a box


@drawn
@given(MAPS, st.sampled_from(RULES), SHARE)
def test_the_box_contains_the_component_and_touches_it_on_all_sides(map2d, rule, threshold):
    mask = mask_above(map2d, threshold, rule)
    box = box_from_map(map2d, rule, threshold)
    component = largest_component(mask, measure=MEASURES[RULES.index(rule)])
    assert (box is None) == (not mask.any())
    if box is not None:
        x0, y0, x1, y1 = box
        within = component[y0:y1, x0:x1]
        assert within.sum() == component.sum() > 0
        assert within[0].any() and within[-1].any() and within[:, 0].any() and within[:, -1].any()
        assert ndimage.label(component, np.ones((3, 3)))[1] == 1 and not (component & ~mask).any()


@drawn
@given(MAPS, st.sampled_from(RULES), SHARE, SHARE)
def test_within_a_component_boxes_shrink_as_the_threshold_rises(map2d, rule, one, other):
    low, high = (mask_above(map2d, threshold, rule) for threshold in sorted((one, other)))
    assume(high.any())
    wide, _ = ndimage.label(low, np.ones((3, 3)))
    narrow, count = ndimage.label(high, np.ones((3, 3)))
    for label in range(1, count + 1):
        (parent,) = set(wide[narrow == label])  # one component, and no place that the lower threshold drops
        assert parent > 0
        assert inside(tight_box(narrow == label), tight_box(wide == parent))


@drawn
@given(hills(), st.sampled_from(RULES), SHARE, SHARE)
def test_the_box_of_a_map_with_one_hill_shrinks_as_the_threshold_rises(map2d, rule, one, other):
    wide, narrow = (box_from_map(map2d, rule, threshold) for threshold in sorted((one, other)))
    if narrow is not None:
        assert inside(narrow, wide)


@drawn
@given(SCORES)
def test_boxes_of_all_thresholds_lie_in_boxes_of_lower_ones(score):
    boxes, first, last = all_boxes(score)
    largest, below = largest_boxes(score), [(0, 0, score.shape[1], score.shape[0])]
    for level in (0, 1, 59, 60, 61, 199, 200, 254):
        own = ndimage.find_objects(ndimage.label(score > level, np.ones((3, 3)))[0])
        pieces = [(x.start, y.start, x.stop, y.stop) for y, x in own]
        contours = set(map(tuple, boxes[(first <= level) & (level <= last)].tolist()))  # of pieces and of holes
        assert set(pieces) <= contours and all(any(inside(hole, piece) for piece in pieces) for hole in contours)
        assert tuple(largest[level]) in pieces or not pieces and not largest[level].any()
        assert all(any(inside(piece, wider) for wider in below) for piece in pieces)
        below = pieces


# ---- metrics


@st.composite
def localized(draw):
    """Maps (n, 16, 16) of whole numbers, a bright rectangle on noise, and a box of each picture near its rectangle."""
    maps, truths = [], []
    for _ in range(draw(st.integers(1, 3))):
        x, y = draw(st.integers(0, 7)), draw(st.integers(0, 7))
        width, height = draw(st.integers(2, 8)), draw(st.integers(2, 8))
        one = draw(arrays(np.float32, (16, 16), elements=st.integers(0, 12).map(float)))
        one[y : y + height, x : x + width] += draw(st.integers(0, 60))
        maps.append(one)
        truths.append([[x, y, min(x + width + draw(st.integers(-1, 3)), 16), y + height]])
    return np.stack(maps), truths


def test_max_box_acc_is_unchanged_when_each_map_is_scaled_and_shifted():
    """Sixteenths and whole numbers, which floating point adds and multiplies exactly: not one bit may differ."""
    right = []

    def counted(maps, truths):
        accuracy = BoxAccuracy(16, 100)
        for one, truth in zip(normalize(torch.from_numpy(maps)).numpy(), truths, strict=True):
            accuracy.update(one, truth)
        return accuracy

    @drawn
    @given(localized(), st.data())
    def holds(pictures, data):
        maps, truths = pictures
        each = st.lists(st.integers(1, 800), min_size=len(maps), max_size=len(maps))
        scale, shift = (np.array(data.draw(each), np.float32)[:, None, None] for _ in range(2))
        plain, moved = counted(maps, truths), counted(maps * (scale / 16) + (shift - 400), truths)
        for iou in IOUS:
            for contours in CONTOURS:
                assert np.array_equal(plain.hits(iou, contours), moved.hits(iou, contours))
            assert plain.max_box_acc(iou) == moved.max_box_acc(iou)
        assert plain.max_box_acc_v2() == moved.max_box_acc_v2()
        right.append(plain.max_box_acc_v2())

    holds()
    assert 0 < np.mean(right) < 100, "hits and misses, or nothing was compared"


@drawn
@given(st.integers(1, 12).flatmap(lambda n: arrays(np.int64, (2, n, 7), elements=st.integers(0, 99))))
def test_pxap_is_the_average_precision_of_scikit_learn(levels):
    score, mask = (levels[0] + 0.5) / 100, levels[1] < levels[0]
    assume(mask.any())
    pixels = PixelAveragePrecision(100)
    for row, its_mask in zip(score, mask, strict=True):
        pixels.update(row[None], its_mask[None])
    expected = 100 * average_precision_score(mask.ravel(), score.ravel())
    assert pixels.value() == pytest.approx(expected, abs=1e-9)


# ---- class activation maps

WHOLE = st.integers(-99, 99).map(float)  # sums and products of them are exact


@drawn
@given(st.tuples(*[st.integers(1, 4)] * 5), WHOLE, WHOLE, st.data())
def test_the_map_is_linear_in_the_features_and_in_the_weights(sizes, a, b, data):
    pictures, channels, classes, height, width = sizes

    def numbers(*shape):
        return torch.from_numpy(data.draw(arrays(np.float64, shape, elements=WHOLE)))

    f, g = (numbers(pictures, channels, height, width) for _ in range(2))
    w, v = (numbers(classes, channels) for _ in range(2))
    cam = class_activation_map
    assert torch.equal(cam(a * f + b * g, w), a * cam(f, w) + b * cam(g, w))
    assert torch.equal(cam(f, a * w + b * v), a * cam(f, w) + b * cam(f, v))


@drawn
@given(st.tuples(*[st.integers(1, 6)] * 4), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_mean_over_the_map_is_the_logit_without_its_bias(shape, classes, seed):
    draw = torch.Generator().manual_seed(seed)
    network = PooledNetwork(torch.nn.Identity(), shape[1], classes, "gap").double()
    network.load_state_dict({k: torch.randn(v.shape, generator=draw) for k, v in network.state_dict().items()})
    features = torch.randn(shape, generator=draw, dtype=torch.float64)
    maps = class_activation_map(features, network.class_weight)
    rest = network.scores(features) - network.class_bias
    assert torch.allclose(maps.mean((2, 3)), rest, rtol=0, atol=1e-12)
    assert not torch.allclose(maps.mean((2, 3)), rest + network.class_bias, rtol=0, atol=1e-9)


@settings(drawn, max_examples=12)
@given(
    st.sampled_from(["mini-gap", "mini-nin", "mini-fc-gap"]), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99)
)
def test_for_whole_networks_and_pictures_of_any_size_too(name, rows, columns, seed):
    network = networks.build(name, 4, seed=seed).double()
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 8 * rows, 8 * columns, generator=draw, dtype=torch.float64)
    with torch.no_grad():
        logits, features = network(images)
    maps = class_activation_map(features, network.class_weight)
    assert maps.shape == (2, 4, rows, columns)
    assert torch.allclose(maps.mean((2, 3)), logits - network.class_bias, rtol=0, atol=1e-9)


STRIDE, SIDE = 8, 192  # of the mini networks' maps; of a picture in which 64 pixels to the border are left
# A place of the map sees 62 pixels: 3 of the first convolution; each pooling adds one step and doubles the step; each
# of the further convolutions adds two steps (3 + 1 + 4 + 2 + 8 + 8 + 4 + 16 + 16).


@settings(drawn, max_examples=20)
@given(
    st.sampled_from(["mini-gap", "mini-gmp", "mini-nin"]),
    st.tuples(st.integers(0, 7), st.integers(0, 7)),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    st.integers(0, 99),
)
def test_an_object_shifted_by_the_total_stride_shifts_the_map(name, offset, steps, seed):
    network = networks.build(name, 3, seed=seed).double()
    draw = torch.Generator().manual_seed(seed)
    thing = torch.rand(3, 16, 16, generator=draw, dtype=torch.float64)
    images = torch.full((3, 3, SIDE, SIDE), 0.3, dtype=torch.float64)  # one is left without the object
    for image, (down, right) in zip(images[1:], ((0, 0), steps), strict=True):
        y, x = 64 + offset[0] + STRIDE * down, 64 + offset[1] + STRIDE * right
        image[:, y : y + 16, x : x + 16] = thing
    with torch.no_grad():
        maps = class_activation_map(network.features(images), network.class_weight)
    first, second = maps[1:] - maps[0]
    assert first.abs().max() > 1e-3
    assert torch.allclose(first.roll(steps, (1, 2)), second, rtol=0, atol=1e-12)
    assert torch.allclose(first, second, rtol=0, atol=1e-6) == (steps == (0, 0))
