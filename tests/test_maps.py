import pytest
import torch

from cambook import maps, networks


@pytest.fixture(scope="module")
def network():
    return networks.build("mini-gap", 5, seed=3).double()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_map_is_the_weighted_sum_of_feature_maps_by_hand():
    feature_maps = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [1.0, 0.0]]]])
    weight = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    by_hand = torch.tensor([[[[1.0, -3.0], [-1.0, 2.0]], [[0.0, 6.0], [2.0, 0.0]]]])
    assert torch.equal(maps.class_activation_map(feature_maps, weight), by_hand)


def test_class_score_is_the_mean_of_its_map_plus_the_bias(network, images):
    logits, feature_maps = network(images)
    cams = maps.class_activation_map(feature_maps, network.class_weight)
    assert torch.allclose(cams.mean((2, 3)) + network.class_bias, logits, atol=1e-12)


def test_each_picture_may_ask_for_other_classes(network, images):
    _, feature_maps = network(images)
    every = maps.class_activation_map(feature_maps, network.class_weight)
    classes = torch.tensor([[4, 0], [1, 3]])
    some = maps.class_activation_map(feature_maps, network.class_weight[classes])
    assert torch.allclose(some, torch.stack([every[0, [4, 0]], every[1, [1, 3]]]), atol=1e-12)


def test_one_vector_added_to_every_row_changes_every_map_and_no_probability(network, images):
    logits, feature_maps = network(images)
    added = torch.randn(128, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before = maps.class_activation_map(feature_maps, network.class_weight)
    after = maps.class_activation_map(feature_maps, network.class_weight + added)
    assert (after - before).abs().amax((2, 3)).min() > 1e-3
    new_logits = after.mean((2, 3)) + network.class_bias
    assert torch.allclose(new_logits.softmax(1), logits.softmax(1), atol=1e-12)
    assert torch.allclose(after - after.mean(1, keepdim=True), before - before.mean(1, keepdim=True), atol=1e-12)


def test_feature_maps_and_weights_of_another_number_of_channels_are_refused():
    with pytest.raises(RuntimeError):
        maps.class_activation_map(torch.zeros(1, 3, 2, 2), torch.zeros(5, 4))


def test_upsampling_keeps_the_centres_of_the_cells():
    cells = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    large = maps.upsample(cells, 6)  # each cell becomes 3 x 3 pixels, its centre the middle one
    assert torch.allclose(large[0, 0, 1::3, 1::3], cells[0, 0], atol=1e-6)
    assert maps.upsample(cells, (4, 8)).shape == (1, 1, 4, 8)


def test_normalized_maps_reach_from_zero_to_one_and_hopeless_maps_are_zeros():
    good = torch.tensor([[-3.0, 1.0], [5.0, 1.0]])
    bad = [torch.full((2, 2), v) for v in (7.0, float("nan"), float("inf"))]
    one_nan = torch.tensor([[0.0, float("nan")], [1.0, 2.0]])
    with pytest.warns(UserWarning, match="3 of 5 maps contain NaN or infinity"):
        result = maps.normalize(torch.stack([good, *bad, one_nan]))
    assert torch.equal(result[0], torch.tensor([[0.0, 0.5], [1.0, 0.5]]))
    assert torch.equal(result[1:], torch.zeros(4, 2, 2))


def test_normalizing_leaves_the_maps_alone_takes_whole_numbers_and_passes_gradients():
    whole = torch.tensor([[0, 1], [2, 4]])
    assert torch.equal(maps.normalize(whole), torch.tensor([[0.0, 0.25], [0.5, 1.0]]))
    assert torch.equal(whole, torch.tensor([[0, 1], [2, 4]]))
    values = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(maps.normalize, values)


def test_saliency_is_the_largest_change_of_the_score_over_the_colours(network, images):
    classes = torch.tensor([2, 4])
    found = maps.saliency(network, images, classes)
    assert found.shape == (2, 1, 64, 64)
    step = 1e-6
    for picture, y, x in ((0, 20, 31), (1, 40, 12)):
        slopes = []
        for colour in range(3):
            up, down = images.clone(), images.clone()
            up[picture, colour, y, x] += step
            down[picture, colour, y, x] -= step
            change = network(up)[0] - network(down)[0]
            slopes.append((change[picture, classes[picture]] / (2 * step)).abs())
        assert torch.allclose(found[picture, 0, y, x], torch.stack(slopes).max(), rtol=1e-4)


def test_saliency_leaves_mode_and_gradients_as_they_were(network, images):
    with torch.no_grad():
        maps.saliency(network, images, torch.tensor([0, 0]))
    assert all(p.grad is None for p in network.parameters())
    assert not network.training and not images.requires_grad


def test_saliency_of_a_network_that_returns_logits_alone_is_the_same(network, images):
    class Alone(torch.nn.Module):
        def forward(self, images):
            return network(images)[0]

    classes = torch.tensor([2, 4])
    assert torch.equal(maps.saliency(Alone(), images, classes), maps.saliency(network, images, classes))


def test_saliency_of_several_classes_is_that_of_each(network, images):
    assert torch.equal(maps.saliency(network, images, 3), maps.saliency(network, images, torch.tensor([3, 3])))
    classes = torch.tensor([[4, 0], [1, 3]])
    each = [maps.saliency(network, images, column) for column in classes.T]
    assert torch.equal(maps.saliency(network, images, classes), torch.cat(each, 1))
    best = network(images)[0].topk(2).indices
    assert torch.equal(maps.saliency(network, images, top=2), maps.saliency(network, images, best))
    with pytest.raises(ValueError, match=r"classes has shape \(5,\): give a number, \(2,\) or \(2, n\)"):
        maps.saliency(network, images, torch.arange(5))
    with pytest.raises(ValueError, match="classes run from 1 to 5: the network has classes 0 to 4"):
        maps.saliency(network, images, torch.tensor([1, 5]))


def test_blur_keeps_the_sum_of_a_spot_and_a_constant_map():
    spot = torch.zeros(1, 2, 41, 41)
    spot[0, 0, 20, 20] = 1.0
    spot[0, 1] = 4.0
    blurred = maps.blur(spot, 3.0)
    assert blurred[0, 0].sum() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(blurred[0, 1], spot[0, 1])
    profile = blurred[0, 0, 20]
    assert profile[23] / profile[20] == pytest.approx(torch.tensor(-0.5).exp().item(), rel=1e-4)
    with pytest.raises(ValueError, match="sigma=0"):
        maps.blur(spot, 0)
