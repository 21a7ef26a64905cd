"""Class activation maps from feature maps and weights, and what is done to a map: enlarge, normalize, blur, erase."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

DELTA = 0.6


def erase(feature_maps: Tensor, maps: Tensor, delta: float) -> Tensor:
    """The features with zeros wherever the map, from 0 to 1 over each picture, is at least delta.

    feature_maps: (B, K, h, w); maps: (B, 1, h, w), not normalized; returns (B, K, h, w)
    The gradient does not pass through the mask. Zhang et al. 2018, section 3.2 and algorithm 1.
    """
    return feature_maps * (normalize(maps.detach()) < delta)


def fuse(maps_a: Tensor, maps_b: Tensor) -> Tensor:
    """The larger of the two normalized maps at each place: (B, C, h, w) twice -> (B, C, h, w) in [0, 1].

    Zhang et al. 2018, section 3.2: the object is where either classifier sees it.
    """
    return torch.maximum(normalize(maps_a), normalize(maps_b))


def class_activation_map(feature_maps: Tensor, weight: Tensor) -> Tensor:
    """M_c(x, y) = sum_k w_k^c f_k(x, y): how much each place speaks for each class.

    feature_maps: (B, K, h, w), output of the last convolution
    weight:       (C, K), rows of the linear classifier, one per class asked for; or (B, C, K), other classes for
                  each picture
    returns:      (B, C, h, w); with average pooling its spatial mean plus the bias is the logit
    raises:       RuntimeError where K of the two differs

    Zhou et al. 2016, section 2. Unlike Grad-CAM there is no ReLU: a negative place lowers this logit. Adding one
    vector to every row of weight changes every map and no probability, so only differences between classes' maps
    mean something.
    """
    rows = "ck" if weight.dim() == 2 else "bck"
    return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight)


def upsample(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Maps at the size of the picture, bilinear between the centres of their cells (align_corners=False).

    maps: (B, C, h, w); size: one side S or (H, W), in pixels; returns (B, C, H, W)
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def normalize(maps: Tensor) -> Tensor:
    """Each map on its own from its minimum (0) to its maximum (1); a constant or non-finite map becomes zeros.

    maps: (..., h, w); returns the same shape. Choe et al. 2020, section 3 (a map's units mean nothing between
          pictures).
    warns: where a map is not finite
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    finite = torch.isfinite(span)
    if not finite.all():
        bad = int((~finite).sum())
        warnings.warn(
            f"{bad} of {finite.numel()} maps hold NaN or infinity and become zeros: look at the network.", stacklevel=2
        )
    usable = finite & (span > 0)
    span = torch.where(usable, span, 1.0)
    return (maps - low).to(span.dtype).div_(span).masked_fill_(~usable, 0.0)  # one new array of the maps' size


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Maps under a Gaussian of standard deviation `sigma` pixels, cut at three sigma, edges repeated.

    maps: (B, C, H, W); returns the same shape. The named smoothing of gradient saliency: boxes of raw gradients
    follow single pixels, so a saliency figure without its smoothing says nothing.
    raises: ValueError where sigma is not positive
    """
    if not sigma > 0:
        raise ValueError(f"sigma={sigma} is no width of a Gaussian: give a number above 0, or leave the map unblurred.")
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(maps.shape[1], 1, 1, -1)
    padded = F.pad(maps, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=maps.shape[1])
    return F.conv2d(rows, kernel.transpose(-1, -2), groups=maps.shape[1])
