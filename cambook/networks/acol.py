"""Adversarial complementary learning: two classifiers on one backbone, the second sees what the first did not need."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cambook.maps.cam import DELTA, erase
from cambook.networks.base import Network


def branch(channels: int, units: int, classes: int) -> nn.Sequential:
    """A convolutional classifier whose output channel c IS the map of class c.

    Two 3x3 convolutions with ReLU and one 1x1; the 3x3 ones start as He et al. 2015 draw them.

    Args:
        channels: K of the feature maps that it reads, (B, K, h, w).
        units: of its two 3x3 convolutions; 1024 in the paper.
        classes: C of the maps that it returns, (B, C, h, w).

    Returns:
        A module from feature maps (B, K, h, w) to class activation maps (B, C, h, w), with the bias in them.

    Source: Zhang et al. 2018, section 3.2.

    Example:
        >>> branch(channels=8, units=16, classes=3)(torch.rand(2, 8, 7, 7)).shape
        torch.Size([2, 3, 7, 7])
    """
    layers = nn.Sequential(
        nn.Conv2d(channels, units, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(units, units, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(units, classes, 1),
    )
    for layer in layers[:-1:2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return layers


class ACoL(Network):
    """backbone -> branch A -> maps of A; features, erased where A's map of one class is high -> branch B -> maps of B.

    The logits are those of branch A, the only classifier that sees the whole image. In training the erased class is the
    label, at evaluation the one that A predicts (`both` with labels=None). The released test code erases with the true
    label, which tells the map what it is evaluated on.

    Args:
        backbone: images to feature maps.
        channels: K, the number of feature maps.
        units: of the 3x3 convolutions of each branch.
        classes: C.
        delta: features are erased from this height of A's normalized map on; 0.6 in the paper.
        scaling: mean and std, as in `Network`.

    Source: Zhang et al. 2018, Adversarial complementary learning.

    Example:
        >>> network = ACoL(nn.Conv2d(3, 8, 3, padding=1), channels=8, units=4, classes=2)
        >>> maps_a, maps_b = network.both(network.features(torch.rand(1, 3, 16, 16)))
        >>> maps_a.shape == maps_b.shape == (1, 2, 16, 16)
        True
    """

    without_weight = (
        "has two branches of convolutions after its feature maps, whose outputs are its class activation maps: take "
        "the maps 'acol', or network.both(feature_maps)"
    )

    def __init__(self, backbone, channels: int, units: int, classes: int, delta: float = DELTA, **scaling):
        super().__init__(backbone, **scaling)
        self.delta = delta
        self.branch_a, self.branch_b = branch(channels, units, classes), branch(channels, units, classes)

    @property
    def classes(self) -> int:
        return self.branch_a[-1].weight.shape[0]

    def scores(self, feature_maps: Tensor) -> Tensor:
        return self.branch_a(feature_maps).mean((2, 3))

    def both(self, feature_maps: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """feature_maps (B, K, h, w) -> maps of A and of B, each (B, C, h, w), with the bias in them.

        labels: (B,) the classes whose map of A is erased; None: those that A predicts.
        """
        maps_a = self.branch_a(feature_maps)
        if labels is None:
            labels = maps_a.mean((2, 3)).argmax(1)
        seen = maps_a[torch.arange(len(maps_a), device=maps_a.device), labels][:, None]
        return maps_a, self.branch_b(erase(feature_maps, seen, self.delta))

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of A plus that of B; the share of wrong answers is A's (section 3.2, equation 3)."""
        logits_a, logits_b = (maps.mean((2, 3)).float() for maps in self.both(self.features(images), labels))
        wrong = (logits_a.argmax(1) != labels).float().mean()
        return F.cross_entropy(logits_a, labels) + F.cross_entropy(logits_b, labels), wrong


def with_branches(original: Network, backbone: nn.Module, channels: int, units: int, pretrained: bool) -> Network:
    """ACoL's two branches on a backbone taken from a network, whose own head goes.

    Args:
        original: gives the scaling of the images and the number of classes.
        backbone: images to feature maps (B, K, h, w): the original's, whole or in part. It is shared, not copied.
        channels: K of those feature maps.
        units: of the two 3x3 convolutions of each branch.
        pretrained: whether the backbone is trained; then the branches are in `new_layers`, so that they may learn
            faster than it.

    Returns:
        An `ACoL` with random branches.

    Source: Zhang et al. 2018, section 3.2.

    Example:
        >>> from cambook.networks import PooledNetwork
        >>> original = PooledNetwork(nn.Conv2d(3, 8, 3), channels=8, classes=2, pooling="gap")
        >>> acol = with_branches(original, original.backbone, channels=8, units=4, pretrained=True)
        >>> acol.classes, acol.new_layers
        (2, ('branch_a', 'branch_b'))
    """
    scaling = {"mean": original.mean.flatten().tolist(), "std": original.std.flatten().tolist()}
    network = ACoL(backbone, channels, units, original.classes, **scaling)
    if pretrained:
        network.new_layers = ("branch_a", "branch_b")
    return network
