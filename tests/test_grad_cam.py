"""Grad-CAM: its two formulas, its equality with CAM and with two other libraries, and a network left as it was."""

import pytest
import torch
import torchvision
from torch import nn

from cambook import networks
from cambook.maps import class_activation_map, grad_cam, grad_cam_plus_plus, layer_gradients

LAYERS = {
    "resnet18": "layer4",
    "vgg11": "features.18",
    "densenet121": "features.denseblock4",
    "googlenet": "inception4e",
}


def whole(name, dtype=torch.float64, **extra):
    if name == "googlenet":
        extra = {"init_weights": False, "aux_logits": False}
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, num_classes=7, **extra).to(dtype).eval()


@pytest.fixture
def pictures():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def mini():
    return networks.build("mini-gap", 5, seed=3).double()


def test_alpha_is_the_mean_gradient_and_the_map_the_positive_part_of_the_sum(pictures, mini):
    found = layer_gradients(mini, pictures, torch.tensor([4, 0]), "cam_conv")
    maps = grad_cam(mini, pictures, torch.tensor([4, 0]), "cam_conv").maps
    by_hand = torch.zeros_like(maps)
    for b in range(2):
        for n in range(2):
            for k in range(found.activations.shape[1]):
                by_hand[b, n] += found.gradients[b, n, k].mean() * found.activations[b, k]
    assert torch.allclose(maps, by_hand.clamp(min=0), atol=1e-14)
    assert (by_hand < 0).any() and (maps > 0).any()


def test_after_average_pooling_grad_cam_is_the_positive_part_of_cam_over_the_number_of_places(pictures, mini):
    classes = torch.tensor([[0, 3], [2, 1]])
    maps = grad_cam(mini, pictures, classes, "cam_conv").maps
    logits, feature_maps = mini(pictures)
    cam = class_activation_map(feature_maps, mini.class_weight[classes])
    assert (maps - cam.relu() / 64).abs().max() <= 1e-10 * maps.max()


def test_after_the_softmax_the_other_classes_enter(pictures, mini):
    found = layer_gradients(mini, pictures, score=lambda logits: logits.softmax(1), top=5)
    probability = found.logits.softmax(1)
    mean_weight = probability @ mini.class_weight
    p = probability.gather(1, found.classes)
    expected = p[..., None] * (mini.class_weight[found.classes] - mean_weight[:, None]) / 64
    assert (found.gradients.mean((3, 4)) - expected).abs().max() < 1e-14


def gradient_of_one_class(network, layer, images, picture, c):
    """dy^c/dA of one picture by an ordinary backward pass through the whole network."""
    kept = []
    hook = dict(network.named_modules())[layer].register_forward_hook(lambda *call: kept.append(call[2]))
    try:
        logits = network(images)
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(logits[picture, c], kept[-1])
    return gradient[picture]


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet"])
def test_the_batched_backward_pass_equals_one_pass_a_class(name, pictures):
    network = whole(name)
    found = layer_gradients(network, pictures, layer=LAYERS[name], top=3)
    for picture in range(2):
        for place, c in enumerate(found.classes[picture].tolist()):
            expected = gradient_of_one_class(network, LAYERS[name], pictures, picture, c)
            assert (found.gradients[picture, place] - expected).abs().max() <= 1e-10 * expected.abs().max()


# Equal is said in double precision. In single precision the order of a sum moves a map, by how much depends on the
# processor: 1.5e-6 of the maximum was seen, the larger part of it the other library's. GoogLeNet's random weights give
# maps that are small differences of large numbers, too rough for it.
ROUNDING = 32 * torch.finfo(torch.float32).eps  # 3.8e-6


@pytest.mark.parametrize(
    "name, dtype, tolerance",
    [(name, torch.float64, 1e-10) for name in LAYERS]
    + [(name, torch.float32, ROUNDING) for name in LAYERS if name != "googlenet"],
)
def test_maps_equal_those_of_captum(name, dtype, tolerance, pictures):
    captum = pytest.importorskip("captum.attr")
    network, images = whole(name, dtype), pictures.to(dtype)
    module = dict(network.named_modules())[LAYERS[name]]
    clearest = grad_cam(network, images, torch.arange(7), module).maps.amax((0, 2, 3)).topk(2).indices
    ours = grad_cam(network, images, clearest, module).maps
    for place, c in enumerate(clearest.tolist()):
        theirs = captum.LayerGradCam(network, module).attribute(images, c, relu_attributions=True)[:, 0]
        assert (ours[:, place] - theirs).abs().max() <= tolerance * theirs.max()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, ROUNDING), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet"])
def test_maps_equal_those_of_torch_cam(name, dtype, tolerance, pictures):
    methods = pytest.importorskip("torchcam.methods")
    network, images = whole(name, dtype), pictures.to(dtype)
    c = grad_cam(network, images, torch.arange(7), LAYERS[name]).maps.amax((0, 2, 3)).argmax().item()
    ours = grad_cam(network, images, torch.tensor([c]), LAYERS[name]).maps[:, 0]
    with methods.GradCAM(network, target_layer=LAYERS[name]) as extractor:
        (theirs,) = extractor(c, network(images), normalized=False)
    assert (ours - theirs).abs().max() <= tolerance * theirs.max()


def swin_maps(values):
    """reshape_transform as pytorch-grad-cam's examples write it for Swin Transformers."""
    return values.transpose(2, 3).transpose(1, 2)


def vit_maps(values):
    """reshape_transform of its examples for Vision Transformers, the class token left out."""
    side = int((values.size(1) - 1) ** 0.5)
    return values[:, 1:, :].reshape(values.size(0), side, side, values.size(2)).transpose(2, 3).transpose(1, 2)


TRANSFORMERS = {
    "swin_t": ("features.7", None, swin_maps, (1, 2, 2)),
    "swin_v2_t": ("features.5", None, swin_maps, (1, 4, 4)),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", "tokens", vit_maps, (1, 4, 4)),
    "convnext_tiny": ("features.7.2", None, None, (1, 2, 2)),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_maps_equal_those_of_pytorch_grad_cam_wherever_channels_and_positions_are(name):
    library = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    layer, layout, transform, shape = TRANSFORMERS[name]
    network = whole(name, **({"image_size": 64} if layout else {}))
    if layout:  # its last layer starts from zeros
        nn.init.normal_(network.heads.head.weight)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = grad_cam(network, images, torch.arange(7), layer, layout=layout)
    c = found.maps.amax((0, 2, 3)).argmax().item()
    ours = found.maps[:, c]
    assert ours.shape == shape and ours.max() > 0
    theirs = {}

    class Seen(library.GradCAM):
        def get_cam_image(self, *given):
            theirs["raw"] = super().get_cam_image(*given)
            return theirs["raw"]

    with Seen(network, [network.get_submodule(layer)], reshape_transform=transform) as extractor:
        extractor(images, [targets.ClassifierOutputTarget(c)])
    raw = torch.from_numpy(theirs["raw"]).clamp(min=0)
    assert (ours - raw).abs().max() <= 1e-10 * raw.max()


@pytest.mark.parametrize("k", [1, 5])
def test_each_picture_gets_its_own_likeliest_classes(k, pictures):
    network = whole("resnet18")
    found = grad_cam(network, pictures, layer="layer4", top=k)
    assert torch.equal(found.classes, network(pictures).topk(k).indices)
    assert torch.equal(found.maps, grad_cam(network, pictures, found.classes, network.layer4).maps)


def test_any_layer_by_name_or_module_also_one_used_in_place_afterwards(pictures):
    network = whole("vgg11")
    convolution = "features.8"  # a ReLU works in place on its output
    by_name = grad_cam(network, pictures, layer=convolution, top=2)
    assert torch.equal(by_name.maps, grad_cam(network, pictures, layer=network.features[8], top=2).maps)
    assert by_name.maps.shape == (2, 2, 16, 16)
    assert (layer_gradients(network, pictures, 1, convolution).activations < 0).any()


def state(network):
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in network.modules()]
    statistics = [b.clone() for b in network.buffers()]
    return hooks, [m.training for m in network.modules()], [p.grad for p in network.parameters()], statistics


def same_state(a, b):
    return (
        a[0] == b[0]
        and a[1] == b[1]
        and all(x is y for x, y in zip(a[2], b[2], strict=True))
        and all(torch.equal(x, y) for x, y in zip(a[3], b[3], strict=True))
    )


@pytest.mark.parametrize("fails", [False, True])
def test_a_network_is_left_as_it_was_found_also_after_an_error(fails, pictures):
    network = whole("resnet18").train()
    network.layer1.eval()
    network(pictures).sum().backward()
    for parameter in network.layer2.parameters():
        parameter.requires_grad_(False)
    before = state(network)
    if fails:
        with pytest.raises(ValueError, match="classes run from 7 to 7"):
            grad_cam(network, pictures, torch.tensor([7]), "layer4")
    else:
        grad_cam(network, pictures, layer="layer4", top=2)
    assert same_state(state(network), before)
    assert torch.is_grad_enabled()


def test_an_error_inside_the_network_leaves_no_hook(pictures):
    network = whole("resnet18")
    network.fc.register_forward_pre_hook(lambda *_: 1 / 0)
    before = state(network)
    with pytest.raises(ZeroDivisionError):
        grad_cam(network, pictures, 1, "layer4")
    assert same_state(state(network), before) and torch.is_grad_enabled()


def test_a_frozen_network_and_a_caller_without_gradients_get_the_same_maps(pictures):
    network = whole("resnet18")
    maps = grad_cam(network, pictures, layer="layer3", top=2).maps
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        again = grad_cam(network, pictures, layer="layer3", top=2).maps
        assert not torch.is_grad_enabled()
    assert torch.equal(maps, again) and not again.requires_grad


def test_nothing_below_the_layer_is_recorded(pictures):
    network, recorded = whole("resnet18"), []
    network.layer2.register_forward_hook(lambda _m, _i, output: recorded.append(output.requires_grad))
    network.layer4.register_forward_hook(lambda _m, _i, output: recorded.append(output.requires_grad))
    grad_cam(network, pictures, 1, "layer3")
    assert recorded == [False, True]


class Twice(nn.Module):
    """One convolution used two times, then average pooling."""

    def __init__(self):
        super().__init__()
        self.shared, self.unused = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, images):
        return self.shared(self.shared(images)).mean((2, 3))


def test_a_layer_called_twice_is_taken_at_its_last_call(pictures):
    network = Twice().double()
    found = layer_gradients(network, pictures, torch.tensor([1]), "shared")
    assert torch.allclose(found.activations, network.shared(network.shared(pictures)))


@pytest.mark.parametrize(
    "layer, classes, message",
    [
        ("shard", 1, "layer='shard' is unknown, did you mean 'shared'"),
        ("unused", 1, "layer 'unused' is not reached"),
        (nn.Conv2d(3, 3, 1), 1, "is not part of the network"),
        ("shared", 4, "classes run from 4 to 4: the network has classes 0 to 2"),
        ("shared", torch.tensor([-1]), "classes run from -1 to -1: the network has classes 0 to 2"),
        (
            "shared",
            torch.zeros(3, 1, dtype=torch.int64),
            r"classes has shape \(3, 1\): give a number, \(n,\) or \(2, n\)",
        ),
        ("shared", torch.tensor([0.5]), "classes has type torch.float32: give whole numbers"),
        ("shared", None, "no class is asked for: give classes, a number or a tensor, or top=k"),
    ],
)
def test_a_wrong_layer_or_class_is_named(layer, classes, message, pictures):
    with pytest.raises(ValueError, match=message):
        grad_cam(Twice().double(), pictures, classes, layer)


@pytest.mark.parametrize("top, classes", [(0, None), (4, None), (2, 1)])
def test_a_number_of_most_likely_classes_that_cannot_be_is_refused(top, classes, pictures):
    with pytest.raises(
        ValueError, match=f"classes={classes}, top={top} of 3 classes: give one of them, top from 1 to 3"
    ):
        grad_cam(Twice().double(), pictures, classes, "shared", top=top)


def test_a_number_is_that_class_in_every_picture(pictures):
    network = whole("resnet18")
    found = grad_cam(network, pictures, 5, "layer4")
    assert found.classes.tolist() == [[5], [5]]
    assert torch.equal(found.maps, grad_cam(network, pictures, torch.tensor([5]), "layer4").maps)
    assert torch.equal(layer_gradients(network, pictures, 5, "layer4").classes, found.classes)
    assert torch.equal(grad_cam_plus_plus(network, pictures, 5, "layer4").classes, found.classes)


def test_the_layer_of_the_packages_networks_need_not_be_named(pictures, mini):
    assert torch.equal(grad_cam(mini, pictures, 2).maps, grad_cam(mini, pictures, 2, mini.cam_conv).maps)


def test_a_layer_without_places_is_refused(pictures):
    with pytest.raises(ValueError, match=r"layer 'fc' gives shape \(2, 7\), no"):
        grad_cam(whole("resnet18"), pictures, 1, "fc")
