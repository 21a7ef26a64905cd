"""The small networks, trained from scratch on images of 64 pixels."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from cambook.networks.base import HiddenLayerNetwork, Network, NetworkInNetwork, PooledNetwork

MINI_HIDDEN = 256
MINI_SIZE = 64


# ---- the small networks, from scratch ----


def mini_backbone() -> nn.Sequential:
    """Six 3x3 convolutions, each with batch norm and ReLU, and three max poolings: (B, 3, 64, 64) -> (B, 128, 8, 8)."""
    layers, channels = [], 3
    for width in (16, "pool", 32, "pool", 64, 64, "pool", 128, 128):
        if width == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


def mini_fc(classes: int, pretrained: bool) -> Network:
    """The small backbone, flattened, with a hidden layer of 256 units; pictures of 64 pixels only."""
    places = (MINI_SIZE // 8) ** 2
    classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(128 * places, MINI_HIDDEN), nn.ReLU(), nn.Linear(MINI_HIDDEN, classes)
    )
    network = HiddenLayerNetwork(mini_backbone(), classifier)
    network.kept = len(network.backbone)
    return network


def mini_pooled(pooling: str) -> Callable[[int, bool], Network]:
    """The small backbone, pooled by "gap" or "gmp", then one linear layer."""
    return lambda classes, pretrained: PooledNetwork(mini_backbone(), 128, classes, pooling)


def mini_nin(classes: int, pretrained: bool) -> Network:
    """The small backbone with one channel per class by a 1x1 convolution, then the mean."""
    return NetworkInNetwork(mini_backbone(), 128, classes)


def mini_acol(classes: int, pretrained: bool) -> Network:
    """ACoL on the small backbone, with 128 units a branch."""
    from cambook.networks.acol import ACoL

    return ACoL(mini_backbone(), 128, 128, classes)
