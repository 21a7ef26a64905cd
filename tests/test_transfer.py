"""A backbone handed on: copied exactly, the heads new, nothing shared."""

import pytest
import torch

from cambook import networks, training
from cambook.networks import on_backbone


@pytest.mark.parametrize("name, heads", [("mini-acol", ("branch_a", "branch_b")), ("mini-nin", ("classifier",))])
def test_the_backbone_is_a_copy_and_the_heads_are_new_layers(name, heads):
    start = networks.build("mini-gap", 5, seed=3)
    network, other = (on_backbone(name, start, seed=seed) for seed in (0, 1))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.features(images), start.features(images))
    assert network.classes == 5 and network.new_layers == heads and not network.training
    last = f"{heads[0]}.4.weight" if name == "mini-acol" else "classifier.weight"
    assert not torch.equal(network.state_dict()[last], other.state_dict()[last])
    next(network.backbone.parameters()).data.zero_()
    assert next(start.backbone.parameters()).abs().sum() > 0


def test_the_new_heads_learn_faster_by_the_factor():
    network = on_backbone("mini-acol", networks.build("mini-gap", 3))
    old, new = training.make_optimizer(network, training.Recipe(new_layer_factor=10)).param_groups
    assert (old["factor"], new["factor"]) == (1, 10)
    assert len(old["params"]) == len(list(network.backbone.parameters()))


@pytest.mark.parametrize(
    ("name", "original", "convolutions"), [("vgg16-acol", "vgg16", 13), ("googlenet-acol", "googlenet", 45)]
)
def test_acol_starts_from_a_trained_original_at_twice_the_resolution_of_its_cut(name, original, convolutions):
    start = networks.build(original, 3, seed=3)
    network = on_backbone(name, start, classes=4, seed=0)
    theirs, ours = start.backbone.state_dict(), network.backbone.state_dict()
    assert ours and all(torch.equal(value, theirs[layer]) for layer, value in ours.items())
    assert sum(isinstance(m, torch.nn.Conv2d) for m in network.backbone.modules()) == convolutions
    assert torch.equal(network.mean, start.mean) and torch.equal(network.std, start.std)
    assert network.classes == 4 and network.new_layers == ("branch_a", "branch_b")
    assert network.features(torch.rand(1, 3, 64, 64)).shape[2:] == (8, 8)
    first = next(m for m in start.backbone.modules() if isinstance(m, torch.nn.MaxPool2d))
    assert first.padding == 0  # the original's own poolings stay


@pytest.mark.parametrize(
    ("name", "start"), [("mini-acol", "lite0-gap"), ("googlenet-acol", "resnet50-gap"), ("nin", "alexnet")]
)
def test_another_kind_of_backbone_is_refused(name, start):
    with pytest.raises(ValueError, match=f"{name} has another backbone than {start}"):
        on_backbone(name, networks.build(start, 3))
