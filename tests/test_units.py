"""Units: every layer's output, top pictures, regions, and detectors that are known by construction."""

import pytest
import torch
from torch import nn

from cambook import networks
from cambook.course.lessons import units


def test_every_relu_is_there_in_order_and_no_hook_is_left():
    network, images = networks.build("mini-gap", 5, seed=0), torch.rand(2, 3, 64, 64)
    found = units.layer_outputs(network, images)
    shapes = [tuple(output.shape[1:]) for output in found.values()]
    assert shapes == [(16, 64, 64), (32, 32, 32), (64, 16, 16), (64, 16, 16), (128, 8, 8), (128, 8, 8)]
    assert torch.equal(list(found.values())[-1], network(images)[1])
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(ValueError, match="no Tanh"):
        units.layer_outputs(network, images, nn.Tanh)


def test_the_units_of_a_class_are_those_of_its_largest_weights():
    weight = torch.tensor([[0.0, 3, -9, 2], [5, 0, 0, 1]])
    assert units.class_units(weight, 0, 2).tolist() == [1, 3]
    assert units.class_units(weight, 1, 2).tolist() == [0, 3]


def test_top_pictures_are_those_of_the_highest_place():
    maps = torch.zeros(4, 2, 2, 2)
    maps[2, 1, 0, 0], maps[0, 1] = 5.0, 2.0  # one high place beats a high mean
    assert units.top_pictures(maps, 1, 2).tolist() == [2, 0]


def test_a_detector_by_construction_and_a_unit_of_the_ground():
    maps, masks = torch.zeros(6, 3, 4, 4), torch.zeros(6, 8, 8, dtype=torch.bool)
    labels = torch.tensor([0, 1, 0, 1, 0, 1]).numpy()
    masks[:, :4, :4] = True
    maps[::2, 0, 0, 0] = 1.0  # unit 0: the object's corner of class 0
    maps[:2, 1, 3, 3] = 1.0  # unit 1: the other corner, in a picture of each class; unit 2 is silent
    table = units.detectors(maps, labels, masks, number=2)
    assert table.index.tolist() == [0, 1]
    assert table.loc[0].tolist() == [100, 100, 0]
    assert table.loc[1, "on_object"] == 0 and table.loc[1, "precision"] == 50


def test_a_region_is_what_lies_above_half_of_the_pictures_maximum():
    unit = torch.tensor([[[0.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    found = units.regions(unit, 4)
    assert found[0].nonzero().min() >= 2 and found[0, 3, 3]
    assert found[1].all() and not found[2].any()
