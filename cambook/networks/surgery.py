"""The paper's surgery: cut a network after its last convolutions, pool, classify."""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import nn

from cambook.networks.base import MINI_SIZE, Layers, Network, PooledNetwork
from cambook.networks.registry import KNOWN, cuts


def cut(
    original: Network, pooling: str, classes: int | None = None, seed: int = 0, units: tuple[int, ...] | None = None
) -> Network:
    """A network cut after its last convolutions, so that it has class activation maps.

    The paper's surgery: cut before the last max pooling, add a 3x3 convolution, pool, classify linearly. For AlexNet
    the cut is after conv5, for VGG-16 after conv5-3, for GoogLeNet after inception4e. The released AlexNet*-GAP has
    pooling between conv5 and the two new convolutions (11x11 maps), and the released convolutions are in two groups;
    here both are as the paper says.

    Args:
        original: a network whose Spec says what a cut keeps; it is left as it is.
        pooling: "gap" or "gmp".
        classes: of the new linear layer, by default the original's.
        seed: of the new layers.
        units: of the new convolutions, one after another (stride 1, padding 1, ReLU); by default those of the first
            registered cut of this original.

    Returns:
        A network whose kept layers are copies of the original's; `new_layers` are the convolutions and the classifier.

    Raises:
        ValueError: if the network has no layers to cut off.

    Source: Zhou et al. 2016, section 3.

    Example:
        >>> from cambook.networks import build
        >>> gap = cut(build("mini-fc", classes=12), "gap")
        >>> gap.name, gap.new_layers, gap.class_weight.shape
        ('mini-fc-gap', ('cam_conv', 'classifier'), torch.Size([12, 128]))
    """
    keeps = KNOWN[original.name].keeps if original.name in KNOWN else None
    if keeps is None:
        known = ", ".join(name for name, other in KNOWN.items() if other.keeps)
        raise ValueError(f"{original.name} has nothing to cut off: use one of {known}.")
    alike = [KNOWN[name] for name in cuts() if KNOWN[name].original == original.name]
    units = units or next((other.units for other in alike), (1024,))
    kept = list(original.backbone.named_children())
    kept = kept[: [name for name, _ in kept].index(keeps) + 1]
    backbone = copy.deepcopy(Layers(OrderedDict(kept)))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        channels = copy.deepcopy(backbone).cpu().eval()(torch.zeros(1, 3, MINI_SIZE, MINI_SIZE)).shape[1]
        cam_conv = []
        for width in units:
            conv = nn.Conv2d(channels, width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
            cam_conv += [conv, nn.ReLU()]
            channels = width
        network = PooledNetwork(
            backbone,
            channels,
            classes or original.classes,
            pooling,
            mean=original.mean.flatten().tolist(),
            std=original.std.flatten().tolist(),
            cam_conv=nn.Sequential(*cam_conv),
        )
    same = [other.name for other in alike if (other.pooling, other.units) == (pooling, units)]
    network.name = same[0] if same else f"{original.name}-{pooling}"
    network.new_layers = ("cam_conv", "classifier")
    return network.to(original.mean.device)
