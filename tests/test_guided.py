"""Guided backpropagation: its rule, where it is refused, and a network left as it was found."""

import warnings

import pytest
import torch
import torchvision
from torch import nn

from cambook import networks
from cambook.maps import check_relu, guided_backprop


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mini():
    return networks.build("mini-gap", 5, seed=3)


def gradient(network, images, classes):
    images = images.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(network(images)[0].gather(1, classes[:, None]).sum(), images)
    return found


def by_rule(network, images, classes):
    """The backward pass in which each ReLU lets through what is positive on both ways, written out with hooks."""
    hooks = [
        module.register_full_backward_hook(lambda _module, grad_in, _out: (grad_in[0].clamp(min=0),))
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    found = gradient(network, images, classes)
    for hook in hooks:
        hook.remove()
    return found


def test_every_relu_drops_negative_gradients(mini, pictures):
    classes = torch.tensor([4, 0, 2])
    expected = by_rule(mini, pictures, classes)
    assert torch.allclose(guided_backprop(mini, pictures, classes), expected, atol=1e-6 * expected.abs().max())


def test_it_is_not_the_plain_gradient(mini, pictures):
    classes = torch.tensor([4, 0, 2])
    plain = gradient(mini, pictures, classes)
    assert (guided_backprop(mini, pictures, classes) - plain).abs().max() > 0.1 * plain.abs().max()


def test_a_network_that_returns_logits_alone_gets_the_same(mini, pictures):
    class Alone(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mini

        def forward(self, images):
            return self.inner(images)[0]

    classes = torch.tensor([1, 1, 3])
    assert torch.equal(guided_backprop(Alone(), pictures, classes), guided_backprop(mini, pictures, classes))


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_and_the_pictures_are_left_as_found(mini, pictures, fails):
    mini.train()
    mini.backbone[0].eval()
    modes, copied = [m.training for m in mini.modules()], pictures.clone()
    statistics = [b.clone() for b in mini.buffers()]
    if fails:
        with pytest.raises(ValueError, match="classes run from 9 to 9: the network has classes 0 to 4"):
            guided_backprop(mini, pictures, torch.tensor([9, 9, 9]))
    else:
        guided_backprop(mini, pictures, torch.tensor([0, 1, 2]))
    assert [m.training for m in mini.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in mini.modules())
    assert all(p.grad is None for p in mini.parameters())
    assert all(torch.equal(a, b) for a, b in zip(statistics, mini.buffers(), strict=True))
    assert torch.equal(pictures, copied) and not pictures.requires_grad and pictures.grad is None


@pytest.mark.parametrize(
    "activation, named", [(nn.ReLU6(), "ReLU6"), (nn.SiLU(), "SiLU"), (nn.Identity(), "no activation that ran")]
)
def test_a_network_without_plain_relu_is_refused(activation, named, pictures):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match=named):
        guided_backprop(network, pictures, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("activation, named", [(nn.functional.gelu, "GELU"), (torch.sigmoid, "Sigmoid")])
def test_another_activation_that_runs_beside_a_relu_is_refused(activation, named, pictures):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, images):
            return activation(self.second(self.first(images).relu())).mean((2, 3))

    with pytest.raises(ValueError, match=f"the network has {named}: use mini-gap"):
        guided_backprop(Mixed(), pictures, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("activation, named", [(nn.ReLU6(), "ReLU6"), (nn.SiLU(), "SiLU"), (nn.PReLU(), "PReLU")])
def test_a_module_that_is_another_activation_is_refused_before_it_runs(activation, named):
    check_relu(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with pytest.raises(ValueError, match=f"the network has {named}: use mini-gap"):
        check_relu(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), activation))


@pytest.mark.parametrize("name, size", [("resnet18", 64), ("vgg11", 64)])
def test_where_all_relus_are_modules_it_is_captums(name, size):
    captum = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, num_classes=7).double().eval()
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = guided_backprop(network, images, torch.tensor([2, 5]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = captum.GuidedBackprop(network).attribute(images.clone(), torch.tensor([2, 5]))
    assert (ours - theirs).abs().max() <= 1e-12 * theirs.abs().max()


def test_lite0_is_refused(pictures):
    with pytest.raises(ValueError, match="ReLU6.*use mini-gap"):
        guided_backprop(networks.build("lite0-gap", 5), pictures, torch.tensor([0, 1, 2]))


def test_a_number_is_that_class_in_every_picture_and_top_the_most_likely(mini, pictures):
    each = guided_backprop(mini, pictures, torch.tensor([2, 2, 2]))
    assert torch.equal(guided_backprop(mini, pictures, 2), each) and each.shape == (3, 3, 64, 64)
    best = mini.eval()(pictures)[0].topk(2).indices
    two = guided_backprop(mini, pictures, top=2)
    assert two.shape == (3, 2, 3, 64, 64) and torch.equal(two, guided_backprop(mini, pictures, best))
    assert torch.equal(two[:, 1], guided_backprop(mini, pictures, best[:, 1]))
