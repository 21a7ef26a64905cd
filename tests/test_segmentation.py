"""Seeds and masks: what a map is sure of and what the network may learn from."""

import dataclasses

import numpy as np
import pytest
import torch

from cambook import datasets, maps, metrics, networks, training
from cambook.course.lessons import check, segmentation

MAP = torch.tensor([[-3.0, 0.0, 2.0], [4.0, 5.0, 6.0], [8.0, 9.0, 10.0]])


def test_seeds_are_object_above_background_below_and_unknown_between():
    found = segmentation.seeds(MAP, 0.6, 0.4)
    assert found.tolist() == [[0, 0, 0], [0, -100, 1], [1, 1, 1]]


def test_seeds_do_not_change_where_a_map_is_multiplied_and_each_map_counts_for_itself():
    both = torch.stack([MAP, 100 * MAP])
    found = segmentation.seeds(both, 0.7, 0.2)
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("foreground, background", [(0.2, 0.4), (0.3, 0.3), (1.2, 0.1), (0.5, -0.1)])
def test_thresholds_that_leave_no_room_are_refused(foreground, background):
    with pytest.raises(ValueError, match="background < foreground"):
        segmentation.seeds(MAP, foreground, background)


def test_a_map_that_is_nowhere_positive_has_no_object_seed():
    assert (segmentation.seeds(-MAP.abs() - 1, 0.6, 0.2) == 0).all()


@pytest.fixture
def network():
    return segmentation.SegmentationNetwork(networks.build("mini-gap", 12, seed=0).backbone, seed=0)


def test_the_network_answers_on_half_the_grid_and_starts_from_the_backbone_it_was_given(network):
    backbone = networks.build("mini-gap", 12, seed=0).backbone
    logits, feature_maps = network.eval()(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 2, 32, 32) and feature_maps.shape[-2:] == (32, 32)
    assert all(torch.equal(a, b) for a, b in zip(network.backbone.parameters(), backbone.parameters(), strict=True))


def test_all_three_depths_reach_the_answer(network):
    images = torch.rand(1, 3, 64, 64)
    whole = network.eval()(images)[0]
    for lateral in network.laterals:
        before = lateral.weight.data.clone()
        lateral.weight.data.zero_()
        assert not torch.allclose(network(images)[0], whole)
        lateral.weight.data = before


def test_ignored_pixels_teach_nothing(network):
    images = torch.rand(2, 3, 64, 64)
    labels = torch.full((2, 32, 32), -100)
    labels[:, 0, 0] = 1
    logits = network(images)[0]
    value, _ = network.loss(images, labels)
    by_hand = torch.nn.functional.cross_entropy(logits[:, :, 0, 0], torch.ones(2, dtype=torch.int64))
    assert value.item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_a_network_learns_the_exact_masks_of_a_few_scenes(network):
    data = datasets.load("scenes", "train", 64, length=24)
    masks = segmentation.true_masks(data)
    recipe = training.Recipe(epochs=20, batch_size=8, lr=3e-3, flip=False)
    network.backbone.requires_grad_(True)  # its first layers have learned nothing yet that is worth keeping
    training.fit(network, data, recipe, labels=segmentation.halved(masks).numpy())
    found = segmentation.segment(network, data) > 0.5
    score = metrics.mean_iou(metrics.iou_counts(found, masks))
    nothing = metrics.mean_iou(metrics.iou_counts(torch.zeros_like(masks), masks))
    assert score > 75 > nothing


def test_halved_masks_are_object_from_half_of_the_pixels_on():
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 0, :3] = True  # two of four pixels, then one of four
    assert segmentation.halved(masks).tolist() == [[[1, 0], [0, 0]]]


def test_the_best_threshold_of_a_map_made_from_the_mask_is_perfect():
    data = datasets.load("scenes", "test", 64, length=8)
    masks = segmentation.true_masks(data)
    threshold, score = segmentation.best_threshold(0.5 + masks.float(), masks)
    assert score == 100 and 0.33 < threshold < 1


def test_the_best_threshold_is_the_best_of_all_tried_one_by_one():
    draw = torch.Generator().manual_seed(0)
    maps, masks = torch.randn(5, 16, 16, generator=draw), torch.rand(5, 16, 16, generator=draw) < 0.3
    maps = maps + masks
    value = segmentation.share_of_maximum(maps)
    tried = [metrics.mean_iou(metrics.iou_counts(value > i / 20, masks)) for i in range(20)]
    threshold, score = segmentation.best_threshold(maps, masks, levels=20)
    assert score == pytest.approx(max(tried), abs=1e-4) and threshold == np.argmax(tried) / 20


def test_maps_have_the_size_of_the_pictures_and_belong_to_the_classes_asked_for():
    data = datasets.load("scenes", "test", 64, length=6)
    network = networks.build("mini-gap", 12, seed=0)
    labels = torch.from_numpy(data.labels)
    own = segmentation.object_maps(network, data, labels, maps.cam_maps)
    other = segmentation.object_maps(network, data, (labels + 1) % 12, maps.cam_maps)
    assert own.shape == (6, 64, 64) and not torch.allclose(own, other)


def test_a_data_set_without_masks_says_so():
    data = datasets.Subset(datasets.load("scenes", "test", 64, length=4), [0, 1])
    batch = data.batch
    data.batch = lambda indices: dataclasses.replace(batch(indices), masks=None)
    with pytest.raises(ValueError, match="has no masks"):
        segmentation.true_masks(data)


def noise(image, region):
    drawn = torch.rand(image.shape, generator=torch.Generator().manual_seed(0), dtype=image.dtype)
    return torch.where(region, drawn, image)


def black(image, region):
    return image.numpy() * ~region.numpy()


def the_mean_of_the_whole_image(image, region):
    return torch.where(region, image.mean((1, 2), keepdim=True), image)


@pytest.mark.parametrize("filling", [noise, black, the_mean_of_the_whole_image])
def test_several_ways_to_erase_are_right(filling):
    assert check.erased_image.answer(filling) == "✓ erased_image: correct."
