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


def test_the_share_of_a_class_is_counted_over_its_units():
    maps = torch.zeros(4, 2, 1, 1)
    maps[:2, 0], maps[2:, 1] = 1.0, 1.0
    labels = torch.tensor([0, 0, 1, 0])
    assert units.share_of_class(maps, labels, lambda c: [c], number=2) == 75  # both of class 0, one of class 1


def test_a_class_is_not_recognized_without_its_only_unit():
    network = networks.build("mini-gap", 2, seed=0)
    with torch.no_grad():
        network.classifier.weight.zero_(), network.classifier.bias.copy_(torch.tensor([0.0, 0.1]))
        network.classifier.weight[0, 3] = 1.0
    maps, labels = torch.zeros(4, 128, 2, 2), torch.tensor([0, 0, 1, 1])
    maps[:2, 3] = 5.0
    assert units.recall_without(network, maps, labels, lambda c: []) == 100
    assert units.recall_without(network, maps, labels, lambda c: [3]) == 50
    assert units.recall_without(network, maps, labels, lambda c: [4, 5]) == 100
    assert maps[:2, 3].min() == 5, "the maps are the caller's"


def test_gratings_have_their_period_and_shuffling_keeps_their_values_alone():
    found = units.gratings(32, wavelengths=(8,), angles=(0, 90))
    assert found.shape == (2, 3, 32, 32) and 0 <= found.min() and found.max() <= 1
    assert torch.allclose(found[0, :, :, :-8], found[0, :, :, 8:], atol=1e-5) and found[0, 0].std(0).max() < 1e-6
    assert torch.allclose(found[1], found[0].mT, atol=1e-5)
    dots = units.gratings(32, wavelengths=(8,), angles=(0,), crossed=True)[0, 0]
    assert torch.allclose(dots, dots.mT, atol=1e-5) and dots.std(0).max() > 0.2 < dots.std(1).max()
    mixed = units.shuffled(found, seed=1)
    assert torch.equal(mixed.flatten(2).sort(2).values, found.flatten(2).sort(2).values)
    assert mixed[0, 0].std(0).max() > 0.2 and torch.equal(mixed[0, 0], mixed[0, 1])


def test_a_probe_is_measured_against_the_highest_answer_to_real_images():
    network = networks.build("mini-gap", 2, seed=0)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = units.feature_maps(network, images)
    assert torch.allclose(units.probed(network, images, maps)[maps.amax((0, 2, 3)) > 0], torch.tensor(1.0))
    assert torch.equal(units.probed(network, images, 0 * maps), torch.zeros(128))


def test_a_summary_counts_the_precise_units():
    maps = torch.rand(20, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    labels, masks = torch.tensor([0, 1] * 10).numpy(), torch.ones(20, 4, 4, dtype=torch.bool)
    table = units.detectors(maps, labels, masks, number=5)
    row = units.summary({"all": table}).loc["all"]
    assert row["units that respond"] == 3 and row["on the object, median"] == 100
    assert row["precision of 80 or more"] == (table["precision"] >= 80).sum()


def test_the_precision_of_the_last_layer_is_that_of_its_detectors():
    network = networks.build("mini-gap", 2, seed=0)
    images, labels = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    found = units.precision_by_layer(network, images, labels, number=4)
    maps, masks = units.feature_maps(network, images), torch.ones(12, 8, 8, dtype=torch.bool)
    wanted = units.detectors(maps, labels.numpy(), masks, number=4)["precision"].sort_values()
    assert len(found) == 6 and list(found.values())[-1] == wanted.iloc[(len(wanted) - 1) // 2]
