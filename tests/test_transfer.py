"""A backbone handed on: copied exactly, the heads new, nothing shared."""

import pytest
import torch

from cambook import networks, training
from cambook.transfer import on_backbone


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


def test_another_kind_of_backbone_is_refused():
    with pytest.raises(ValueError, match="another backbone than lite0-gap"):
        on_backbone("mini-acol", networks.build("lite0-gap", 3))
