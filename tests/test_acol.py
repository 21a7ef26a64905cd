"""ACoL: what is erased, what is fused, which class decides, and that the 1x1 convolution's output is the map."""

import numpy as np
import pytest
import torch

from cambook import maps, networks
from cambook.course import runs
from cambook.course.lessons import acol_branches, check
from cambook.datasets import Batch
from cambook.maps import class_activation_map, erase, fuse, normalize
from cambook.networks import branch


@pytest.fixture
def network():
    return networks.build("mini-acol", 4, seed=1).double()


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_features_are_erased_where_the_normalized_map_reaches_delta():
    feature_maps = torch.ones(1, 2, 2, 2)
    maps = torch.tensor([[[[10.0, 20.0], [16.0, 15.9]]]])  # normalized 0, 1, 0.6, 0.59
    kept = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert torch.equal(erase(feature_maps, maps, 0.6), kept.expand(1, 2, 2, 2))


def test_each_picture_is_erased_by_its_own_range():
    maps = torch.tensor([[[[0.0, 1.0]]], [[[0.0, 100.0]]]])
    assert torch.equal(erase(torch.ones(2, 1, 1, 2), maps, 0.5)[:, 0, 0], torch.tensor([[1.0, 0.0], [1.0, 0.0]]))


def test_no_gradient_passes_through_the_mask():
    maps = torch.rand(1, 1, 3, 3, requires_grad=True)
    feature_maps = torch.rand(1, 2, 3, 3, requires_grad=True)
    erase(feature_maps, maps, 0.6).sum().backward()
    assert maps.grad is None and feature_maps.grad.unique().tolist() == [0.0, 1.0]


def test_the_fused_map_is_the_larger_normalized_one():
    a, b = torch.tensor([[[[0.0, 4.0, 1.0]]]]), torch.tensor([[[[-2.0, -2.0, 0.0]]]])
    assert torch.equal(fuse(a, b), torch.tensor([[[[0.0, 1.0, 1.0]]]]))


def test_the_output_of_the_last_1x1_convolution_is_the_class_activation_map():
    head = branch(6, 8, 4).double()
    feature_maps = torch.rand(2, 6, 5, 5, dtype=torch.float64)
    last = head[:-1](feature_maps)
    by_einsum = class_activation_map(last, head[-1].weight[:, :, 0, 0]) + head[-1].bias[:, None, None]
    assert torch.allclose(head(feature_maps), by_einsum, atol=1e-12)


def test_the_class_that_a_predicts_is_erased_unless_labels_say_another(network, images):
    feature_maps = network.features(images)
    maps_a, maps_b = network.both(feature_maps)
    predicted = network.scores(feature_maps).argmax(1)
    assert torch.equal(maps_b, network.both(feature_maps, predicted)[1])
    other = (predicted + 1) % 4
    assert not torch.equal(maps_b, network.both(feature_maps, other)[1])
    assert torch.equal(maps_a, network.both(feature_maps, other)[0])


def test_each_picture_is_erased_for_the_class_that_a_predicts_in_it(network, images):
    feature_maps = network.features(images)
    with torch.no_grad():
        network.branch_a[-1].bias -= network.scores(feature_maps).mean(0)  # else one class for all of them
    maps_a, maps_b = network.both(feature_maps)
    predicted = network.scores(feature_maps).argmax(1).tolist()
    assert len(set(predicted)) > 1
    for i, c in enumerate(predicted):
        one = slice(i, i + 1)
        left = erase(feature_maps[one], maps_a[one, c : c + 1], network.delta)
        assert torch.allclose(maps_b[one], network.branch_b(left), atol=1e-12)


def test_the_scores_are_the_means_of_the_maps_of_a(network, images):
    logits, feature_maps = network(images)
    assert torch.allclose(logits, network.branch_a(feature_maps).mean((2, 3)), atol=1e-12)


def test_the_loss_is_the_sum_of_both_cross_entropies_and_teaches_both_branches(network, images):
    labels = torch.tensor([0, 3, 1])
    loss, wrong = network.loss(images, labels)
    maps_a, maps_b = network.both(network.features(images), labels)
    cross_entropy = torch.nn.functional.cross_entropy
    each = [cross_entropy(maps.mean((2, 3)).float(), labels) for maps in (maps_a, maps_b)]
    assert torch.allclose(loss, sum(each))
    assert torch.isclose(wrong.double(), (network(images)[0].argmax(1) != labels).double().mean())
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_with_delta_above_one_nothing_is_erased(network, images):
    network.delta = 1.1
    feature_maps = network.features(images)
    assert torch.equal(network.both(feature_maps)[1], network.branch_b(feature_maps))


def test_evaluation_asks_for_the_fused_maps_of_the_classes_it_wants(network, images):
    classes = torch.tensor([[2, 0], [1, 1], [3, 2]])
    with torch.no_grad():
        feature_maps = network.features(images)
        fused = fuse(*network.both(feature_maps))
        fused_maps = maps.MAPS["acol"](network, images, feature_maps, classes)
        peeking = maps.MAPS["acol-peeking"](network, images, feature_maps, classes)
        a = maps.MAPS["acol-branch-a"](network, images, feature_maps, classes)
    assert torch.equal(fused_maps, torch.stack([fused[i, row] for i, row in enumerate(classes.tolist())]))
    assert torch.equal(
        peeking[:, 0],
        torch.stack(
            [fuse(*network.both(feature_maps, classes[:, 0]))[i, c] for i, c in enumerate(classes[:, 0].tolist())]
        ),
    )
    assert torch.equal(normalize(a) <= fused_maps + 1e-12, torch.ones_like(fused_maps, dtype=torch.bool))


class FourPictures:
    labels = torch.tensor([0, 3, 1, 2])

    def __init__(self):
        self.images = torch.rand(4, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def __len__(self):
        return 4

    def batch(self, indices, device="cpu"):
        boxes = [np.array([[0, 0, 9, 9]])] * len(indices)
        return Batch(self.images[indices], self.labels[indices], boxes, None, indices)


def test_what_the_branches_do_over_a_data_set_equals_counting_picture_by_picture(network):
    data = FourPictures()
    for peeking in (False, True):
        found = acol_branches.acol_branches(network, data, peeking=peeking, batch_size=3)
        wrong_a = wrong_b = erased = inside = 0
        for image, label in zip(data.images[:, None], data.labels.tolist(), strict=True):
            features = network.features(image)
            maps_a = network.branch_a(features)
            guess = maps_a.mean((2, 3)).argmax(1).item()
            which = label if peeking else guess
            gone = normalize(maps_a)[0, which] >= network.delta
            maps_b = network.branch_b(features * ~gone)
            wrong_a += guess != label
            wrong_b += maps_b.mean((2, 3)).argmax(1).item() != label
            erased += gone.double().mean().item()
            inside += gone.flatten()[maps_b[0, which].argmax()].item()
        expected = [25 * v for v in (wrong_a, wrong_b, erased, inside)]
        assert list(found.values()) == pytest.approx(expected, abs=1e-4), peeking
    network.delta = 1.1
    assert acol_branches.acol_branches(network, data)["erased"] == 0


def test_acol_has_no_single_class_weight(network):
    with pytest.raises(TypeError, match="mini-acol"):
        _ = network.class_weight


def test_the_pretrained_backbone_is_kept_and_the_branches_are_new():
    network = networks.build("lite0-acol", 2, weights="pretrained")
    plain = networks.build("lite0-gap", 2, weights="pretrained")
    for ours, theirs in zip(network.backbone.parameters(), plain.backbone.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert network.new_layers == ("branch_a", "branch_b")
    assert network(torch.rand(1, 3, 224, 224))[1].shape == (1, 1280, 7, 7)


def test_every_recorded_measurement_has_three_seeds_and_its_cam_beside_it():
    recorded = runs.recorded("acol")
    seeds = recorded.groupby(["setting", "network", "delta", "maps"], dropna=False).seed.apply(sorted)
    assert all(each == [0, 1, 2] for each in seeds)
    on_scenes = recorded[recorded.setting == "scenes"]
    assert set(on_scenes.delta.dropna()) == {0.5, 0.6, 0.7, 0.8, 0.9}
    for setting, part in recorded.groupby("setting"):
        assert {"CAM", "fused", "branch A"} <= set(part.maps), setting
        assert part[["coverage", "precision", "pxap"]].notna().all(axis=None), setting


def test_a_recorded_lead_is_a_paired_difference_and_one_that_touches_0_contains_it():
    recorded = runs.recorded("acol")
    on_scenes = recorded[(recorded.setting == "scenes") & (recorded.network != "mini-nin")]
    fused = on_scenes[(on_scenes.maps == "fused") & (on_scenes.delta == 0.6)].set_index("seed").max_box_acc
    cam = on_scenes[on_scenes.maps == "CAM"].set_index("seed").max_box_acc
    mean, low, high = acol_branches.recorded_lead(recorded, "scenes", "fused", "max_box_acc", delta=0.6)
    assert mean == pytest.approx((fused - cam).mean(), abs=0.051) and low < mean < high
    assert high == 0.0, "to one decimal, so it is not decided"
    own = acol_branches.recorded_lead(recorded, "scenes", "fused", "max_box_acc", delta=0.6, over="fused")
    assert own == (0.0, 0.0, 0.0)


def test_the_recorded_values_by_seed_have_a_row_for_each_delta():
    values = acol_branches.by_seed(runs.recorded("acol"), "fused", "max_box_acc")
    assert values.shape == (5, 3) and not np.isnan(values).any()


def sum_of_the_positive(map_a, map_b):
    fused = (map_a.clamp(min=0) + map_b.clamp(min=0)).numpy()
    return fused / fused.max()


def weighed_by_height(map_a, map_b):
    highest = max(map_a.max(), map_b.max())
    stretched = [(m - m.min()) / (m.max() - m.min()) * (m.max() / highest) for m in (map_a, map_b)]
    return torch.maximum(*stretched)


@pytest.mark.parametrize("rule", [sum_of_the_positive, weighed_by_height])
def test_several_ways_to_fuse_are_right(rule):
    assert check.fusing_rule.answer(rule) == "✓ fusing_rule: correct."
