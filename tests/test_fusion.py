"""Windows that hold their box and stay in the picture, crops that show them, branches that learn apart."""

import numpy as np
import pytest
import torch
from torch import nn

from cambook import networks
from cambook.course.lessons import second_look
from cambook.maps import box_from_map, class_activation_map, upsample


@pytest.fixture
def whole():
    return networks.build("mini-gap", 4, seed=1)


@pytest.fixture
def network(whole):
    torch.manual_seed(2)
    return second_look.FusedNetwork(whole, networks.mini_backbone(), 128)


@pytest.fixture
def images():
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_a_window_is_the_smallest_square_that_holds_its_box_and_stays_in_the_picture():
    g = np.random.default_rng(0)
    corner = g.integers(0, 60, (200, 2))
    boxes = torch.from_numpy(np.concatenate([corner, g.integers(corner + 1, 65)], 1)).float()
    windows = second_look.square_windows(boxes, 64)
    sides = windows[:, 2:] - windows[:, :2]
    assert torch.equal(sides, (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True).expand(-1, 2))
    assert windows.min() >= 0 and windows.max() <= 64
    assert (windows[:, :2] <= boxes[:, :2]).all() and (windows[:, 2:] >= boxes[:, 2:]).all()


def test_a_window_far_from_the_border_has_its_box_in_the_middle():
    assert second_look.square_windows(torch.tensor([[20.0, 24.0, 40.0, 34.0]]), 64).tolist() == [[20, 19, 40, 39]]


def test_a_crop_of_the_whole_picture_is_the_picture_and_of_a_half_its_enlargement(images):
    assert torch.allclose(second_look.crop(images, torch.tensor([[0.0, 0, 64, 64]] * 4), 64), images, atol=1e-5)
    windows = torch.tensor([[8.0, 16, 40, 48]] * 4)
    inside = upsample(images[:, :, 16:48, 8:40], 64)
    assert torch.allclose(second_look.crop(images, windows, 64)[..., 2:-2, 2:-2], inside[..., 2:-2, 2:-2], atol=1e-5)


def test_each_box_is_that_of_the_likeliest_class_by_rule_paper(whole, images):
    for i in range(4):
        images[i, :, : 16 * i] = 0
    nn.init.normal_(whole.classifier.weight, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, feature_maps = whole(images)
        maps = upsample(class_activation_map(feature_maps, whole.class_weight), 64)
    found = second_look.cam_boxes(logits, feature_maps, whole.class_weight, 64)
    for i, c in enumerate(logits.argmax(1).tolist()):
        expected = box_from_map(maps[i, c].numpy(), "paper", 0.2)
        assert found[i].tolist() == ([0, 0, 64, 64] if expected is None else expected.tolist())
    assert len({tuple(box) for box in found.tolist()}) > 1


def test_a_map_that_is_nowhere_above_zero_gives_the_whole_picture(whole, images):
    nn.init.constant_(whole.classifier.weight, -1.0)
    assert second_look.cam_boxes(*whole(images), whole.class_weight, 64).tolist() == [[0, 0, 64, 64]] * 4


def test_unknown_windows_are_refused(whole):
    with pytest.raises(ValueError, match="windows='mine' is unknown"):
        second_look.FusedNetwork(whole, networks.mini_backbone(), 128, "mine")


def test_the_control_sees_the_whole_image_again_with_all_its_pixels(whole, images):
    control = second_look.fused_network(whole, whole, "whole")
    logits, feature_maps, windows = control.look(images)
    assert windows.tolist() == [[0, 0, 64, 64]] * 4 and control.second(images, windows) is images
    pooled = feature_maps.mean((2, 3))  # both branches begin with the same weights
    joined = torch.cat([pooled, pooled], 1)
    assert torch.allclose(control(images)[0], joined @ control.classifier.weight.T + control.classifier.bias, atol=1e-5)
    assert torch.equal(control.three(images)["whole"], logits)


def test_the_region_branch_sees_nothing_outside_its_window(network, images):
    network.eval()
    windows = torch.tensor([[16.0, 16, 48, 48]] * 4)
    changed = images.clone()
    changed[:, :, :14] = changed[:, :, 50:] = 0.5
    one, other = network.three(images, windows), network.three(changed, windows)
    assert torch.allclose(one["region"], other["region"]) and not torch.allclose(one["whole"], other["whole"])


def test_the_whole_branch_stays_as_it_is_and_the_fusion_does_not_teach_the_region(whole, network, images):
    before = {name: values.clone() for name, values in network.whole.state_dict().items()}
    network.train()
    network.loss(images, torch.tensor([0, 1, 2, 3]))[0].backward()
    assert not network.whole.training and all(p.grad is None for p in network.whole.parameters())
    assert all(torch.equal(before[name], values) for name, values in network.whole.state_dict().items())
    assert network.backbone[0].weight.grad.abs().sum() > 0
    network.zero_grad()
    network.three(images)["fused"].sum().backward()
    assert network.backbone[0].weight.grad is None or network.backbone[0].weight.grad.abs().sum() == 0
    assert network.classifier.weight.grad.abs().sum() > 0


def test_the_fused_logits_are_linear_in_both_features(network, images):
    network.eval()
    logits, feature_maps = network(images)
    _, whole_maps, windows = network.look(images)
    region = network.features(second_look.crop(images, windows, 64)).mean((2, 3))
    joined = torch.cat([whole_maps.mean((2, 3)), region], 1)
    assert torch.allclose(logits, joined @ network.classifier.weight.T + network.classifier.bias, atol=1e-5)
    assert torch.equal(network.three(images)["fused"], logits) and feature_maps.shape == (4, 128, 8, 8)
