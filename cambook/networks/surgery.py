"""The paper's surgery: cut a network after its last convolutions, pool, classify."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import nn

from cambook.networks.base import Network, PooledNetwork
from cambook.networks.small import MINI_SIZE


class Cut(NamedTuple):
    """What a cut keeps and adds: the original's name, "gap" or "gmp", the units of its new 3x3 convolutions."""

    original: str
    pooling: str
    units: tuple[int, ...] = (1024,)


CUTS = {
    "mini-fc-gap": Cut("mini-fc", "gap", (128,)),
    "mini-fc-gmp": Cut("mini-fc", "gmp", (128,)),
    "alexnet-gap": Cut("alexnet", "gap"),
    # AlexNet*-GAP: "two convolutional layers just before GAP" in the paper, each of 512 units in its released network
    "alexnet-star-gap": Cut("alexnet", "gap", (512, 512)),
    "vgg16-gap": Cut("vgg16", "gap"),
    "googlenet-gap": Cut("googlenet", "gap"),
    "googlenet-gmp": Cut("googlenet", "gmp"),
}


def cut(
    original: Network, pooling: str, classes: int | None = None, seed: int = 0, units: tuple[int, ...] | None = None
) -> Network:
    """The paper's surgery: cut after the last convolution before the last max pooling, add a 3x3 convolution,
    pool, classify.

    original: a network with something to cut (alexnet, vgg16, googlenet, mini-fc); it is left as it is
    pooling:  "gap" or "gmp"; classes: of the new linear layer, by default the original's; seed: of the new layers
    units:    of the new convolutions, one after another (stride 1, padding 1, ReLU); by default one of 1024 units, for
              mini-fc of 128
    returns:  a network whose kept layers are copies of the original's; `new_layers` are the convolutions and the
              classifier
    raises:   ValueError where the network has no layers to cut off
    Zhou et al. 2016, section 3: for AlexNet after conv5, for VGG-16 after conv5-3, for GoogLeNet after inception4e.
    Their released AlexNet*-GAP has pooling between conv5 and the two new convolutions (11x11 maps), and the released
    convolutions are in two groups; here both are as the paper says.
    """
    if original.kept is None:
        raise ValueError(f"{original.name} has nothing to cut off: use one of alexnet, vgg16, googlenet, mini-fc.")
    units = units or ((128,) if original.name == "mini-fc" else (1024,))
    kept = list(original.backbone.named_children())[: original.kept]
    backbone = copy.deepcopy(nn.Sequential(OrderedDict(kept)))
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
    made = Cut(original.name, pooling, units)
    network.name = next((name for name, known in CUTS.items() if known == made), f"{original.name}-{pooling}")
    network.new_layers = ("cam_conv", "classifier")
    return network.to(original.mean.device)
