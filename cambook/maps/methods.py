"""The registry of maps: what makes the map of a class, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cambook.maps.cam import blur, class_activation_map, fuse
from cambook.maps.gradients import grad_cam, saliency

GRID = 224
BLUR_SIGMA = 9.0


def cam_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Class activation maps of `classes` (B, n), from the forward pass that already happened: (B, n, h, w)."""
    return class_activation_map(feature_maps, network.class_weight[classes])


def grad_cam_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM of `classes` (B, n) at the feature maps, for any head: (B, n, h, w)."""
    return grad_cam(network, images, classes, network.cam_conv).maps


def acol_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Fused maps of ACoL's two branches for `classes` (B, n), erased for the class that branch A predicts."""
    return _of(fuse(*network.both(feature_maps)), classes)


def acol_a_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Maps of ACoL's branch A alone: (B, n, h, w)."""
    return _of(network.both(feature_maps)[0], classes)


def acol_b_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Maps of ACoL's branch B alone, which sees what is left: (B, n, h, w)."""
    return _of(network.both(feature_maps)[1], classes)


def acol_peeking_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """ACoL's fused maps erased for the TRUE class, the first of `classes`: what the released test code does."""
    return _of(fuse(*network.both(feature_maps, classes[:, 0])), classes)


def _of(maps: Tensor, classes: Tensor) -> Tensor:
    """(B, C, h, w) and classes (B, n) -> (B, n, h, w)."""
    return maps.gather(1, classes[..., None, None].expand(-1, -1, *maps.shape[2:]))


def saliency_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Gradient saliency of `classes` (B, n), one backward pass a class, not smoothed: (B, n, H, W)."""
    return torch.cat([saliency(network, images, column) for column in classes.unbind(1)], 1)


def smooth_saliency_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Gradient saliency under a Gaussian of 9 px at 224 px (in proportion at other sizes): (B, n, H, W)."""
    return blur(saliency_maps(network, images, feature_maps, classes), BLUR_SIGMA * images.shape[-1] / GRID)


def centre_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """The control that never looks: one Gaussian in the middle of every picture: (B, n, H, W)."""
    side = images.shape[-1]
    offsets = (torch.arange(side, dtype=torch.float32, device=images.device) + 0.5) / side - 0.5
    bell = torch.exp(-0.5 * (offsets / 0.25) ** 2)
    return (bell[:, None] * bell).expand(*classes.shape, side, side)


MAPS: dict[str, Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]] = {
    "cam": cam_maps,
    "grad-cam": grad_cam_maps,
    "acol": acol_maps,
    "acol branch a": acol_a_maps,
    "acol branch b": acol_b_maps,
    "acol peeking": acol_peeking_maps,
    "saliency": saliency_maps,
    "smooth saliency": smooth_saliency_maps,
    "centre": centre_maps,
}


def check_source(network: nn.Module, source: str) -> None:
    """raises: ValueError where no map is called so, or the network lacks the branches that it is made of; TypeError
    where the network has no class activation map. It may be asked before the network is trained."""
    if source not in MAPS:
        near = difflib.get_close_matches(source, MAPS, 1)
        hint = f", did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"source={source!r} is unknown: choose one of {', '.join(MAPS)}{hint}")
    if source.startswith("acol") and not hasattr(network, "both"):
        raise ValueError(f"source={source!r} asks for ACoL's two branches, which {network.name} lacks: use mini-acol.")
    if source == "cam":
        _ = network.class_weight
