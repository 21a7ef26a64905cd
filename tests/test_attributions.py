"""The other families: what each map means, where a method refuses, and what it costs."""

import pytest
import torch

from cambook import maps, networks
from cambook.course.lessons import attributions


@pytest.fixture(scope="module")
def mini():
    return networks.build("mini-gap", 5, seed=3)


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


CLASSES = torch.tensor([1, 4, 0])


def made(method, network, images, classes):
    return attributions.METHODS[method](network, images, None, classes[:, None])


def gradient(network, images, classes):
    images = images.clone().requires_grad_(True)
    return torch.autograd.grad(network(images)[0].gather(1, classes[:, None]).sum(), images)[0]


class Pointwise(torch.nn.Module):
    """Two 1x1 convolutions by hand: f1 = ReLU(x - 1), f2 = ReLU(3 - x)."""

    def __new__(cls):
        conv = torch.nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            conv.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])[..., None, None])
            conv.bias.copy_(torch.tensor([-1.0, 3.0]))
        network = networks.PooledNetwork(
            torch.nn.Sequential(conv, torch.nn.ReLU()), 2, 2, "gap", mean=(0.0,) * 3, std=(1.0,) * 3
        )
        with torch.no_grad():
            network.classifier.weight.copy_(torch.tensor([[2.0, -1.0], [0, 0]]))
            network.classifier.bias.zero_()
        return network.eval()


@pytest.fixture
def by_hand():
    picture = torch.zeros(1, 3, 2, 2)
    picture[0, 0] = torch.tensor([[0.0, 2.0], [4.0, 2.0]])
    return Pointwise(), picture, torch.tensor([0])


def test_the_three_families_by_hand(by_hand):
    # per place, times Z = 4. Slopes 2 (f1 active) + 1 (f2 active); the map 2 f1 - f2; covering with 0 leaves M(0) = -3
    for method, expected in {
        "saliency": [[1.0, 3], [2, 3]],
        "guided backprop": [[0.0, 2], [2, 2]],
        "LRP": [[0.0, 6], [8, 6]],
    }.items():
        assert torch.equal(4 * made(method, *by_hand)[0, 0], torch.tensor(expected)), method
    assert made("CAM", *by_hand)[0, 0].tolist() == [[-3, 1], [6, 1]]
    assert (4 * attributions.occlusion(*by_hand, window=1)[0, 0]).tolist() == [[0, 4], [9, 4]]


def test_guided_backprop_differs_from_the_gradient_and_lets_only_positive_gradients_through(mini, images):
    plain = gradient(mini, images, CLASSES)
    guided = made("guided backprop", mini, images, CLASSES)
    assert (guided[:, 0] - plain.abs().amax(1)).abs().max() > 0.1 * plain.abs().max()
    clamped = images.clone().requires_grad_(True)
    hooks = [
        m.register_full_backward_hook(lambda _m, inputs, _o: (inputs[0].relu(),))
        for m in mini.modules()
        if isinstance(m, torch.nn.ReLU)
    ]
    (by_hooks,) = torch.autograd.grad(mini(clamped)[0].gather(1, CLASSES[:, None]).sum(), clamped)
    for hook in hooks:
        hook.remove()
    assert torch.allclose(guided[:, 0], by_hooks.abs().amax(1), atol=1e-7)
    assert torch.equal(gradient(mini, images, CLASSES), plain), "a hook was left behind"


def test_lrp_with_gamma_0_is_the_gradient_times_the_scaled_picture(mini, images):
    scaled = (images - mini.mean) / mini.std
    expected = (gradient(mini, images, CLASSES) * mini.std * scaled).sum(1, keepdim=True)
    found = attributions.lrp(mini, images, CLASSES, gamma=0)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_without_biases_the_relevance_adds_up_to_the_score(mini, images):
    plain = networks.build("mini-gap", 5, seed=3)
    for module in plain.modules():
        if getattr(module, "bias", None) is not None:
            torch.nn.init.zeros_(module.bias)
    scores = plain(images)[0].gather(1, CLASSES[:, None])[:, 0].detach()
    for gamma in (0, 0.25):
        total = attributions.lrp(plain, images, CLASSES, gamma).sum((1, 2, 3))
        assert torch.allclose(total, scores, rtol=1e-3), gamma
    assert scores.abs().min() > 1e-5


@pytest.mark.parametrize("name", ["mini-gap", "mini-fc", "mini-nin", "mini-fc-gap"])
def test_the_chain_gives_the_networks_scores_and_leaves_it_as_it_was(name, images):
    network = networks.build(name, 5, seed=1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    logits = attributions.Chain(network)((images - network.mean) / network.std)
    assert torch.allclose(logits, network(images)[0], atol=1e-5)
    attributions.lrp(network, images, CLASSES)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(hasattr(module, "rule") or module._forward_hooks for module in network.modules())


def test_occlusion_is_the_mean_fall_over_the_squares_that_cover_a_pixel(mini, images):
    one, label = images[:1], CLASSES[:1]
    found = attributions.occlusion(mini, one, label, window=32)[0, 0]
    with torch.no_grad():
        score = mini(one)[0][0, label]
        total, count = torch.zeros(64, 64), torch.zeros(64, 64)
        for y in range(0, 33, 16):
            for x in range(0, 33, 16):
                covered = one.clone()
                covered[:, :, y : y + 32, x : x + 32] = mini.mean
                total[y : y + 32, x : x + 32] += (score - mini(covered)[0][0, label]).item()
                count[y : y + 32, x : x + 32] += 1
    assert torch.allclose(found, total / count, atol=1e-5)


def test_lime_finds_the_superpixels_that_a_linear_network_counts():
    picture = torch.zeros(1, 3, 32, 32)
    picture[0, 0, 8:24, 8:24] = 4.0  # M(4) = 6 against M(0) = -3: the square raises the score
    found = attributions.lime(Pointwise(), picture, torch.tensor([0]), segments=16, samples=60)[0, 0]
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[8:24, 8:24] = True
    assert found[inside].mean() > 5 * found[~inside].abs().mean() > 0
    again = attributions.lime(Pointwise(), picture, torch.tensor([0]), segments=16, samples=60)[0, 0]
    assert torch.equal(found, again)


def test_superpixels_number_every_pixel_from_zero():
    blocks = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    pieces = attributions.superpixels(maps.upsample(blocks, 64)[0], 25)
    assert pieces.shape == (64, 64) and pieces.unique().tolist() == list(range(int(pieces.max()) + 1))
    assert 10 <= pieces.max() + 1 <= 40


def test_a_piece_gets_its_mean_colour():
    image = torch.arange(12.0).view(3, 2, 2)
    found = attributions.piece_means(image, torch.tensor([[0, 0], [1, 0]]))
    assert found[0].tolist() == [[pytest.approx(4 / 3), pytest.approx(4 / 3)], [2, pytest.approx(4 / 3)]]


def test_where_a_method_is_not_defined_it_says_so(images):
    lite0, fc = networks.build("lite0-gap", 5), networks.build("mini-fc", 5)
    said = {name: method.refusal(lite0) for name, method in attributions.METHODS.items()}
    assert {name for name, reason in said.items() if reason} == {"guided backprop", "LRP"}
    assert "ReLU6" in said["guided backprop"] and "ReLU6" in said["LRP"]
    assert "mini-fc" in attributions.METHODS["CAM"].refusal(fc)
    assert not attributions.METHODS["guided backprop"].refusal(fc)
    with pytest.raises(ValueError, match="defined for nn.ReLU and the network has ReLU6"):
        made("guided backprop", lite0, images, CLASSES)
    with pytest.raises(ValueError, match="mini-gmp"):
        attributions.lrp(networks.build("mini-gmp", 5), images, CLASSES)


def test_captums_guided_backprop_of_lite0_would_silently_be_the_gradient(images):
    from captum.attr import GuidedBackprop

    lite0 = networks.build("lite0-gap", 5)
    with pytest.warns(UserWarning, match="ReLU"):
        found = GuidedBackprop(attributions.Logits(lite0)).attribute(images.clone().requires_grad_(), target=CLASSES)
    assert torch.allclose(found, gradient(lite0, images, CLASSES), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    "method, forward, backward",
    [("saliency", 1, 1), ("guided backprop", 1, 1), ("LRP", 2, 1), ("CAM", 1, 0), ("Grad-CAM", 1, 1)]
    + [("Grad-CAM++", 1, 1), ("occlusion", 50, 0), ("LIME", 64, 0)],
)
def test_passes_are_counted(method, forward, backward, mini, images):
    with attributions.counted() as passes:
        found = made(method, mini, images[:2], CLASSES[:2])
    assert (passes.forward, passes.backward) == (2 * forward, 2 * backward)
    assert found.shape[:2] == (2, 1) and found.dtype == torch.float32 and not found.requires_grad
    mini(images[:1])
    assert passes.forward == 2 * forward, "a hook was left behind"


def test_every_method_gives_the_maps_of_the_classes_asked_for(mini, images):
    for name in attributions.METHODS:
        if name == "LIME":
            continue
        together = made(name, mini, images, CLASSES)
        alone = made(name, mini, images[1:2], CLASSES[1:2])
        other = made(name, mini, images[1:2], CLASSES[:1])
        assert torch.allclose(together[1], alone[0], rtol=1e-3, atol=1e-6 * float(together.abs().max())), name
        assert not torch.allclose(alone, other, rtol=1e-2), name


def test_grad_cam_plus_plus_by_its_formula(images):
    network, pictures = networks.build("mini-fc", 5, seed=3).double(), images[:1].double()
    found = maps.grad_cam_plus_plus(network, pictures, torch.tensor([2]), "cam_conv").maps[0, 0]
    layer = maps.layer_gradients(network, pictures, torch.tensor([2]), "cam_conv")
    A, gradients = layer.activations[0], layer.gradients[0, 0]
    expected = torch.zeros(8, 8, dtype=torch.float64)
    for k in range(len(A)):
        alpha = 0.0
        for g in gradients[k].flatten().tolist():
            if g > 0:
                alpha += g**2 / (2 * g**2 + A[k].sum().item() * g**3) * g
        expected += alpha * A[k]
    assert torch.allclose(found, expected.relu(), rtol=1e-9) and expected.max() > 0


def test_after_average_pooling_grad_cam_plus_plus_has_a_closed_form(images):
    network, pictures = networks.build("mini-gap", 5, seed=3).double(), images.double()
    found = maps.grad_cam_plus_plus(network, pictures, top=2)
    feature_maps = network(pictures)[1].detach()
    w = network.class_weight[found.classes].relu()
    expected = maps.class_activation_map(feature_maps, w / (2 + w * feature_maps.mean((2, 3))[:, None])).relu()
    assert torch.allclose(found.maps, expected, rtol=1e-9)


def test_grad_cam_plus_plus_refuses_a_layer_with_negative_values(mini, images):
    with pytest.raises(ValueError, match="negative"):
        maps.grad_cam_plus_plus(mini, images, 1, "backbone.0")


def test_classes_may_be_a_number_one_for_each_picture_several_or_the_most_likely(mini, images):
    logits = mini(images)[0].detach()
    for function in (attributions.lrp, attributions.occlusion, maps.saliency):
        every = function(mini, images, torch.arange(5).expand(3, 5))
        assert every.shape == (3, 5, 64, 64)
        assert torch.equal(function(mini, images, 4), every[:, 4:])
        assert torch.equal(function(mini, images, CLASSES)[:, 0], every[range(3), CLASSES])
        best = logits.topk(2).indices
        assert torch.equal(function(mini, images, top=2), torch.stack([every[i, best[i]] for i in range(3)]))
        with pytest.raises(ValueError, match="classes run from 5 to 5: the network has classes 0 to 4"):
            function(mini, images, 5)


def test_declared_passes_are_those_that_are_counted(mini, images):
    for name, method in maps.MAPS.items():
        if method.passes is None or method.refusal(mini):
            continue
        with attributions.counted() as passes:
            method(mini, images[:2], None, CLASSES[:2, None])
        forward, backward = method.passes
        assert (passes.forward, passes.backward) == (2 * (forward + method.from_features), 2 * backward), name


def test_pixels_and_biases_add_up_to_the_score(by_hand, mini, images):
    score, pixels, biases = (4 * attributions.score_parts(*by_hand)[0]).tolist()
    assert (score, pixels, biases) == (5, 20, -15)  # M: -3 + 1 + 6 + 1; LRP: 0 + 6 + 8 + 6
    parts = attributions.score_parts(mini, images, CLASSES)
    scores = mini(images)[0].gather(1, CLASSES[:, None])[:, 0].detach()
    assert torch.allclose(parts[:, 0], scores, atol=1e-4) and torch.allclose(parts[:, 1:].sum(1), scores, atol=1e-4)
    assert torch.allclose(parts[:, 1], attributions.lrp(mini, images, CLASSES, gamma=0).sum((1, 2, 3)), atol=1e-4)


def test_score_cam_weighs_each_feature_map_by_the_probability_that_is_left_under_it(mini, images):
    found = attributions.score_cam(mini, images, CLASSES, channels=4)
    assert found.shape == (3, 1, 8, 8) and found.min() >= 0
    with torch.no_grad():
        features = mini(images[:1])[1][0]
        chosen = features.flatten(1).std(1).topk(4).indices
        expected = torch.zeros(8, 8)
        for k in chosen.tolist():
            mask = maps.normalize(maps.upsample(features[None, k : k + 1], 64))
            left = mini(mini.mean + mask * (images[:1] - mini.mean))[0].softmax(1)[0, CLASSES[0]]
            expected += left * features[k]
    assert torch.allclose(found[0, 0], expected, atol=1e-6)
