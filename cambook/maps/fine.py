"""cam-fine: class activation maps of the image at three sizes and mirrored, in one finer map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cambook.maps.cam import class_activation_map
from cambook.maps.methods import Method, register, weight_of

SCALES = (1.0, 1.5, 2.0)
LOWEST = 0.3  # this share of a map's pixels, the lowest ones, all count as lowest


def fine_class_activation_map(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """The mean class activation map of an image at three sizes and of its mirror images.

    A convolutional network with average pooling takes images of any size, and on one twice as large its map has twice
    as many cells a side. The weights and the labels stay the same and nothing is trained. `benchmarks/fine.py` chose
    the sizes and what else is done here on training photographs; data/results/fine.csv lists all that was tried.

    Args:
        network: from networks.build, with a class_weight; it takes images of any size.
        images: (B, 3, H, W).
        classes: (B, n) int64.

    Returns:
        (B, n, H, W), raw; each map's lowest 30% of pixels have one value (IVR).

    Raises:
        TypeError: the network has a hidden layer between its feature maps and its scores.

    Source: Zhou et al. 2016, section 2, for each map; Kim et al. 2021 for the lowest values.

    Example:
        >>> from cambook import networks
        >>> network = networks.build("mini-gap", 12, seed=0).eval()
        >>> fine_class_activation_map(network, torch.rand(2, 3, 64, 64), torch.tensor([[3], [5]])).shape
        torch.Size([2, 1, 64, 64])
    """
    size, found = images.shape[-2:], []
    for scale in SCALES:
        larger = [round(scale * side) for side in size]
        seen = images if scale == 1 else F.interpolate(images, larger, mode="bicubic").clamp(0, 1)
        for mirror in (False, True):
            _, feature_maps = network(seen.flip(-1) if mirror else seen)
            maps = class_activation_map(feature_maps, network.class_weight[classes])
            found.append(F.interpolate(maps.flip(-1) if mirror else maps, size, mode="bicubic"))
    mean = torch.stack(found).mean(0)
    return mean.maximum(mean.flatten(-2).quantile(LOWEST, -1)[..., None, None])


def _fine_maps(network: nn.Module, images: Tensor, feature_maps: Tensor | None, classes: Tensor) -> Tensor:
    """`fine_class_activation_map` of `classes` (B, n), from forward passes of its own: (B, n, H, W)."""
    return fine_class_activation_map(network, images, classes)


register(
    Method(
        "cam-fine",
        _fine_maps,
        family="activation",
        asks="mean pooling, then one linear layer",
        passes=(2 * len(SCALES), 0),
        paper="Zhou et al. 2016, at three sizes",
        title="CAM, fine",
        check=weight_of,
    )
)
