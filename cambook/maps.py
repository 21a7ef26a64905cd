"""Feature maps and weights in, maps out: where does a class get its score from?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    usable = torch.isfinite(span) & (span > 0)
    return torch.where(usable, (maps - low) / torch.where(usable, span, 1.0), 0.0)


def saliency(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """max over colour channels of |dS_c / dx|: which pixels would change the score the most?

    network: gives (logits, feature_maps) for images; left in the mode and with the gradients it had
    images:  (B, 3, H, W); classes: (B,) int64, one class a picture, its score taken BEFORE the softmax
    returns: (B, 1, H, W), not negative
    Simonyan et al. 2014, section 3.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        logits, _ = network(images)
        (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), images)
    return gradient.abs().amax(1, keepdim=True)


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
