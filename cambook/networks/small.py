"""The small networks, trained from scratch on images of 64 pixels."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from cambook.networks.acol import ACoL
from cambook.networks.base import MINI_SIZE, HiddenLayerNetwork, Layers, Network, NetworkInNetwork, PooledNetwork
from cambook.networks.registry import Spec, register

MINI_HIDDEN = 256


def mini_backbone() -> nn.Sequential:
    """The backbone of the small networks, with maps an eighth of the image wide.

    Six 3x3 convolutions, each with batch norm and ReLU, and three max poolings.

    Returns:
        A module from images (B, 3, H, W) to feature maps (B, 128, H/8, W/8).

    Example:
        >>> import torch
        >>> mini_backbone()(torch.rand(1, 3, 64, 64)).shape
        torch.Size([1, 128, 8, 8])
    """
    layers, channels = [], 3
    for width in (16, "pool", 32, "pool", 64, 64, "pool", 128, 128):
        if width == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
    return Layers(*layers)


def mini_fc(classes: int, pretrained: bool) -> Network:
    """The small backbone, flattened, with a hidden layer of 256 units; images of 64 pixels only."""
    cells = (MINI_SIZE // 8) ** 2
    classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(128 * cells, MINI_HIDDEN), nn.ReLU(), nn.Linear(MINI_HIDDEN, classes)
    )
    return HiddenLayerNetwork(mini_backbone(), classifier)


def mini_pooled(pooling: str) -> Callable[[int, bool], Network]:
    """The builder of a small network that pools its feature maps, then classifies linearly.

    Args:
        pooling: "gap", the mean over all positions, or "gmp", the maximum, as in `PooledNetwork`.

    Returns:
        A function (classes, pretrained) -> Network, as a Spec wants it; pretrained changes nothing, since the small
        networks have no such weights.

    Example:
        >>> network = mini_pooled("gmp")(classes=12, pretrained=False)
        >>> network.pooling, network.class_weight.shape
        ('gmp', torch.Size([12, 128]))
    """
    return lambda classes, pretrained: PooledNetwork(mini_backbone(), 128, classes, pooling)


def mini_nin(classes: int, pretrained: bool) -> Network:
    """The small backbone with one channel per class by a 1x1 convolution, then the mean."""
    return NetworkInNetwork(mini_backbone(), 128, classes)


def mini_acol(classes: int, pretrained: bool) -> Network:
    """ACoL on the small backbone, with 128 units a branch."""
    return ACoL(mini_backbone(), 128, 128, classes)


# ---- their names ----

register(Spec("mini-fc", mini_fc, MINI_SIZE, recipe="mini-fc", keeps="20"))  # the ReLU after the last convolution
register(Spec("mini-gap", mini_pooled("gap"), MINI_SIZE, recipe="mini"))
register(Spec("mini-gmp", mini_pooled("gmp"), MINI_SIZE, recipe="mini"))
register(Spec("mini-nin", mini_nin, MINI_SIZE, recipe="mini"))
register(Spec("mini-acol", mini_acol, MINI_SIZE, recipe="mini-acol"))
register(Spec("mini-fc-gap", original="mini-fc", pooling="gap", units=(128,), recipe="mini-cut"))
register(Spec("mini-fc-gmp", original="mini-fc", pooling="gmp", units=(128,), recipe="mini-cut"))
