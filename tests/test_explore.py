"""Widgets: drawn once with their defaults, and every control changes the picture."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from cambook import maps, networks
from cambook.course import explore
from cambook.maps import boxes


@pytest.fixture
def image():
    return torch.full((3, 32, 48), 0.5)


@pytest.fixture
def raw():
    y, x = np.mgrid[:8, :12]
    bump = np.exp(-((x - 4) ** 2 + (y - 3) ** 2) / 6)
    return torch.tensor(np.stack([bump - 0.3, 5 * bump[::-1, ::-1]]))


def picture(widget):
    (screen,) = [child for child in widget.children if hasattr(child, "format")]
    return np.asarray(Image.open(io.BytesIO(screen.value)))


def test_the_explorer_is_drawn_before_anything_is_moved(image, raw):
    widget = explore.cam_explorer(image, raw, ["cat", "dog"])
    assert picture(widget).shape == (32 * 9, 48 * 9, 3)
    assert widget.children[-1].value.startswith("cat: rule paper at 0.20 keeps")


@pytest.mark.parametrize("control, value", [(0, 1), (1, "wsol"), (2, 0.6)])
def test_every_control_changes_picture_and_text(image, raw, control, value):
    widget = explore.cam_explorer(image, raw, ["cat", "dog"])
    before, text = picture(widget), widget.children[-1].value
    widget.children[control].value = value
    assert (picture(widget) != before).any() and widget.children[-1].value != text


def test_the_line_names_the_box_of_the_upsampled_raw_map(image, raw):
    widget = explore.cam_explorer(image, raw, ["cat", "dog"], "wsol", 0.5, truth=(0, 0, 24, 24))
    large = maps.upsample(raw[None].float(), (32, 48))[0, 0].numpy()
    box = boxes.box_from_map(large, "wsol", 0.5)
    overlap = boxes.box_iou(box[None], [[0, 0, 24, 24]]).item()
    assert f"box ({', '.join(map(str, box))}), IoU {overlap:.2f}." in widget.children[-1].value


def test_a_map_without_a_positive_place_has_no_box_under_rule_paper(image):
    widget = explore.cam_explorer(image, -torch.ones(1, 4, 4), ["cat"])
    assert widget.children[-1].value.endswith("so there is no box.")
    assert len(np.unique(picture(widget))) == 1


@pytest.mark.parametrize("rule", ["paper", "wsol"])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_the_shown_map_is_above_the_threshold_where_the_rule_keeps_it(raw, rule, threshold):
    map2d = raw[0].numpy()
    shown = explore.as_rule_reads(map2d, rule)
    assert shown.min() >= 0 and shown.max() == 1
    assert ((shown > threshold) == boxes.mask_above(map2d, threshold, rule)).all()


def test_the_predicted_box_is_dashed_and_the_true_one_is_not():
    canvas = np.full((200, 200, 3), 128, np.uint8)
    for truth, predicted, gaps in (((20, 20, 150, 150), None, False), (None, (20, 20, 150, 150), True)):
        edge = explore.draw_boxes(canvas, truth, predicted)[20, 30:140]
        assert (len(np.unique(edge, axis=0)) > 1) == gaps
    assert (canvas == 128).all()


def test_a_box_past_the_border_is_drawn_inside():
    drawn = explore.draw_boxes(np.full((40, 40, 3), 128, np.uint8), (-10, -10, 60, 60), None)
    assert (drawn[3, 5:35] != 128).all() and (drawn[10:30, 10:30] == 128).all()


def test_play_follows_its_sliders():
    widget = explore.play(
        lambda half_width, brightness, side: np.full((8, 8, 3), brightness + half_width + len(side), np.uint8),
        half_width=(0, 10, 1, 2),
        brightness=(0.0, 100.0, 1.0, 50.0),
        side=["a", "bb"],
    )
    assert [child.description for child in widget.children[:3]] == ["half width", "brightness", "side"]
    assert picture(widget)[0, 0, 0] == 53
    widget.children[0].value = 9
    widget.children[2].value = "bb"
    assert picture(widget)[0, 0, 0] == 61


def test_play_writes_the_line_that_comes_with_the_picture():
    widget = explore.play(lambda n: (np.full((8, 8, 3), n, np.uint8), f"{n} of 9"), n=(0, 9, 1, 3))
    assert widget.children[-1].value == "3 of 9"
    widget.children[0].value = 4
    assert widget.children[-1].value == "4 of 9" and (picture(widget) == 4).all()


def test_wrong_arguments_are_answered_with_their_mend(image, raw):
    with pytest.raises(ValueError, match="1 names but maps of shape"):
        explore.cam_explorer(image, raw, ["cat"])
    with pytest.raises(ValueError, match="unknown box rule 'papers': use one of paper, wsol"):
        explore.cam_explorer(image, raw, ["cat", "dog"], rule="papers")
    with pytest.raises(ValueError, match="low, high, step, start"):
        explore.play(lambda x: x, x=(0, 1))


def test_a_strip_shows_pictures_side_by_side_with_their_boxes():
    images, flat = torch.full((2, 3, 32, 32), 0.5), np.zeros((2, 32, 32))
    plain = explore.strip(images, flat, [None, None], [None, None], side=64)
    boxed = explore.strip(images, flat, [None, [(8, 8, 24, 24)]], [None, None], side=64)
    assert plain.shape == (64, 128, 3) and (plain == 128).all()
    assert (boxed[:, :64] == 128).all() and (boxed[:, 64:] != 128).any()


def test_the_erasing_explorer_erases_more_at_a_lower_delta_and_leaves_the_network_as_it_was():
    network = networks.build("mini-acol", 3, seed=0)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = {name: values.clone() for name, values in network.state_dict().items()}
    widget = explore.erasing_explorer(network, images, ["cat", "dog", "bird"], 0.9)
    which, delta = widget.children[:2]
    high, text = picture(widget), widget.children[-1].value
    delta.value = 0.3
    low = picture(widget)
    side = high.shape[0]
    assert high.shape[1] == 4 * side
    changed = [(high[:, i * side : (i + 1) * side] != low[:, i * side : (i + 1) * side]).any() for i in range(4)]
    assert changed[:3] == [True, True, True], "the line on A's map, the hole, B's map"
    grey = [(shown[:, side : 2 * side] == 128).all(-1).mean() for shown in (high, low)]
    assert 0 < grey[0] < grey[1] and text != widget.children[-1].value
    which.value = 1
    assert (picture(widget) != low).any()
    assert network.delta == 0.6 and all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_sharp_image_is_drawn_with_the_boxes_of_its_frame(image, raw):
    sharp = torch.full((3, 128, 192), 0.5)
    small = explore.cam_explorer(image, raw, ["cat", "dog"], truth=(0, 0, 24, 24))
    large = explore.cam_explorer(sharp, raw, ["cat", "dog"], truth=(0, 0, 24, 24), frame=(32, 48))
    assert large.children[-1].value == small.children[-1].value, "box and IoU are those of the frame"
    assert picture(large).shape == (256, 384, 3)
    green = (picture(large) == np.array([0, 158, 115])).all(-1)
    rows, columns = np.nonzero(green)
    assert abs(columns.max() - 24 * 8) <= 4 and abs(rows.max() - 24 * 8) <= 4


def test_small_images_of_a_widget_are_enlarged_smoothly():
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    shown = picture(explore.play(lambda n: noise, n=(0, 1, 1, 0)))
    assert shown.shape == (448, 448, 3) and (shown != noise.repeat(14, 0).repeat(14, 1)).mean() > 0.5


def test_a_strip_of_sharp_images_has_the_boxes_of_its_frame():
    sharp, flat = torch.full((2, 3, 128, 128), 0.5), np.zeros((2, 32, 32))
    boxed = explore.strip(sharp, flat, [[(8, 8, 24, 24)], None], [None, None], side=64, frame=32)
    assert boxed.shape == (64, 128, 3) and (boxed[:, 64:] == 128).all()
    green = (boxed == np.array([0, 158, 115])).all(-1)
    assert np.nonzero(green.any(0))[0][[0, -1]].tolist() == [15, 49]


def test_a_still_shows_what_play_shows_at_some_settings():
    def render(brightness, side):
        return np.full((256, 256, 3), brightness, np.uint8), f"{side}"

    fig = explore.still(
        render, {"dark": {"brightness": 9, "side": "a"}, "light": {"brightness": 200, "side": "b"}}, "T"
    )
    assert [ax.get_title() for ax in fig.axes] == ["dark", "light"] and fig.get_suptitle() == "T"
    assert [int(ax.images[0].get_array()[0, 0, 0]) for ax in fig.axes] == [9, 200]
    assert fig.alt.startswith("T. 2 images: dark and light")


def test_the_erasing_explorer_draws_sharp_images():
    network = networks.build("mini-acol", 3, seed=0)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    widget = explore.erasing_explorer(network, images, ["a", "b", "c"], sharp=torch.zeros(1, 3, 300, 300))
    shown = picture(widget)
    assert shown.shape == (300, 1200, 3)
    left_for_b = shown[:, 300:600]
    assert set(np.unique(left_for_b)) <= {0, 128}
