"""Class activation maps from feature maps and weights, and what is done to a map: enlarge, normalize, blur, erase."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps

import torch
import torch.nn.functional as F
from torch import Tensor

DELTA = 0.6


def erase(feature_maps: Tensor, maps: Tensor, delta: float) -> Tensor:
    """Erases a class from feature maps: zeros wherever its normalized map is at least delta.

    ACoL's second branch sees what is left. The gradient does not pass through the mask.

    Args:
        feature_maps: (B, K, h, w).
        maps: (B, 1, h, w), the map of the class to erase, not normalized; read from 0 to 1 over each image.
        delta: share of the map's range from which positions are erased, 0.6 in the paper.

    Returns:
        (B, K, h, w).

    Source: Zhang et al. 2018, section 3.2 and algorithm 1.

    Example:
        >>> erase(torch.ones(1, 1, 1, 3), torch.tensor([[[[0.0, 5.0, 10.0]]]]), delta=0.6).tolist()
        [[[[1.0, 1.0, 0.0]]]]
    """
    return feature_maps * (normalize(maps.detach()) < delta)


def fuse(maps_a: Tensor, maps_b: Tensor) -> Tensor:
    """Fuses the maps of ACoL's two branches: the larger normalized value at each position.

    Args:
        maps_a: (B, C, h, w), of branch A, not normalized.
        maps_b: (B, C, h, w), of branch B.

    Returns:
        (B, C, h, w), from 0 to 1: the object is where either branch sees it.

    Source: Zhang et al. 2018, section 3.2.

    Example:
        >>> fuse(torch.tensor([[[[0.0, 2.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0, 4.0]]]])).tolist()
        [[[[0.0, 1.0, 1.0]]]]
    """
    return torch.maximum(normalize(maps_a), normalize(maps_b))


def class_activation_map(feature_maps: Tensor, weight: Tensor) -> Tensor:
    """Class activation maps: how much each position contributes to each class score.

    M_c(x, y) = sum_k w_k^c f_k(x, y). With average pooling, mean(M_c) + bias is the logit. Unlike Grad-CAM there is no
    ReLU: negative positions lower the score. Adding one vector to every row of `weight` changes every map and no
    probability, so only differences between the maps of classes mean something.

    Args:
        feature_maps: (B, K, h, w), output of the last convolution.
        weight: (C, K), rows of the linear classifier, one per requested class; or (B, C, K), other classes for each
            image.

    Returns:
        (B, C, h, w), raw.

    Raises:
        RuntimeError: K of the two differs.

    Source: Zhou et al. 2016, section 2.

    Example:
        >>> feature_maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]])  # two feature maps of 1 x 2 positions
        >>> class_activation_map(feature_maps, torch.tensor([[2.0, -1.0]])).tolist()
        [[[[2.0, -3.0]]]]
    """
    rows = "ck" if weight.dim() == 2 else "bck"
    return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight)


def _in_one_precision(maths: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of two tensors for those of different precision, too, as autocast leaves feature maps and weights."""

    @wraps(maths)
    def of_any(feature_maps: Tensor, weight: Tensor) -> Tensor:
        if feature_maps.dtype != weight.dtype:
            wider = torch.promote_types(feature_maps.dtype, weight.dtype)
            feature_maps, weight = feature_maps.to(wider), weight.to(wider)
        return maths(feature_maps, weight)

    return of_any


class_activation_map = _in_one_precision(class_activation_map)  # so that its own text is the paper's sum alone


def upsample(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Enlarges maps to the size of the image, bilinear between the centres of their cells.

    Args:
        maps: (B, C, h, w).
        size: one side S or (H, W), in pixels.

    Returns:
        (B, C, H, W); align_corners=False, so values outside the outermost centres are repeated.

    Example:
        >>> upsample(torch.tensor([[[[0.0, 4.0]]]]), (1, 4)).tolist()
        [[[[0.0, 1.0, 3.0, 4.0]]]]
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def normalize(maps: Tensor) -> Tensor:
    """Normalizes each map on its own from its minimum (0) to its maximum (1).

    A map's units mean nothing between images, so each has its own range. A constant map becomes zeros, and so does one
    that is not finite, with a warning.

    Args:
        maps: (..., h, w).

    Returns:
        The same shape, from 0 to 1.

    Source: Choe et al. 2020, section 3.

    Example:
        >>> normalize(torch.tensor([[-2.0, 0.0], [2.0, 6.0]])).tolist()
        [[0.0, 0.25], [0.5, 1.0]]
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    finite = torch.isfinite(span)
    if not finite.all():
        bad = int((~finite).sum())
        warnings.warn(
            f"{bad} of {finite.numel()} maps contain NaN or infinity and become zeros: look at the network.",
            stacklevel=2,
        )
    usable = finite & (span > 0)
    span = torch.where(usable, span, 1.0)
    return (maps - low).to(span.dtype).div_(span).masked_fill_(~usable, 0.0)  # one new array of the maps' size


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Smooths maps with a Gaussian, cut at three standard deviations, edges repeated.

    The named smoothing of gradient saliency: boxes of raw gradients follow single pixels, so a saliency figure without
    its smoothing says nothing.

    Args:
        maps: (B, C, H, W).
        sigma: standard deviation in pixels, above 0.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: sigma is not positive.

    Example:
        >>> spot = torch.zeros(1, 1, 9, 9)
        >>> spot[0, 0, 4, 4] = 1
        >>> round(float(blur(spot, 1.0)[0, 0, 4, 4]), 2), round(float(blur(spot, 1.0).sum()), 2)
        (0.16, 1.0)
    """
    if not sigma > 0:
        raise ValueError(
            f"sigma={sigma} cannot be the width of a Gaussian: give a number above 0, or leave the map unblurred."
        )
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(maps.shape[1], 1, 1, -1)
    padded = F.pad(maps, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=maps.shape[1])
    return F.conv2d(rows, kernel.transpose(-1, -2), groups=maps.shape[1])
