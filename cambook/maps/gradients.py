"""Maps from gradients, for any network and layer: saliency, Grad-CAM and its kin."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cambook.maps.cam import class_activation_map
from cambook.maps.inside import evaluating, find_layer, name_of, recording, unwrapped, why_not_reached
from cambook.maps.layouts import check_layout, check_shape, known_layout, maps_from

# ---- which classes ----


def choose_classes(
    logits: Tensor, classes: Tensor | int | None = None, top: int | None = None, one_each: bool = False
) -> Tensor:
    """The classes whose maps are wanted, n for each image, from any way of asking for them.

    Args:
        logits: (B, C), the network's scores.
        classes: a number, the same class for every image; (n,) the same n classes for every image, or with `one_each`
            (B,) one class per image; (B, n) each image's own. Lists and NumPy arrays are read as tensors.
        top: in place of classes: the k most likely classes of each image.
        one_each: how a tensor of one dimension is read.

    Returns:
        (B, n) int64.

    Raises:
        ValueError: both or neither of classes and top, another shape or type, a class outside 0 to C - 1.

    Example:
        >>> logits = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]])
        >>> choose_classes(logits, 2).tolist()
        [[2], [2]]
        >>> choose_classes(logits, top=2).tolist()
        [[1, 2], [0, 2]]
    """
    if top is None:
        asked = _per_image(classes, logits, one_each)
        _check_range(asked, logits.shape[1])
        return asked
    count = logits.shape[1]
    whole = isinstance(top, Integral) and not isinstance(top, bool)
    if classes is not None or not whole or not 1 <= top <= count:
        shown = f"a tensor {tuple(classes.shape)}" if isinstance(classes, Tensor) else reprlib.repr(classes)
        raise ValueError(f"classes={shown}, top={top} of {count} classes: give one of them, top from 1 to {count}.")
    return logits.topk(top).indices


def _per_image(classes: Tensor | int | None, images: Tensor, one_each: bool) -> Tensor:
    """The classes asked for as (B, n) int64, on the device of the images (or logits) of which there are B."""
    if classes is None:
        raise ValueError("no class is asked for: give classes, a number or a tensor, or top=k, the k most likely.")
    asked, number = _as_tensor(classes), len(images)
    if asked.is_floating_point() or asked.is_complex() or asked.dtype == torch.bool:
        raise ValueError(f"classes has type {asked.dtype}: give whole numbers from 0.")
    shape = tuple(asked.shape)
    if asked.dim() == 0:
        asked = asked.expand(number, 1)
    elif asked.dim() == 1:
        asked = asked[:, None] if one_each else asked.expand(number, -1)
    if asked.dim() != 2 or len(asked) != number or not asked.numel():
        one = f"({number},)" if one_each else "(n,)"
        raise ValueError(f"classes has shape {shape}: give a number, {one} or ({number}, n), n classes per image.")
    return asked.to(images.device, torch.int64)


def _as_tensor(classes: Any) -> Tensor:
    """Classes as they come, in a tensor of any shape and type."""
    if isinstance(classes, Tensor):
        return classes.clone() if classes.is_inference() else classes
    try:
        return torch.tensor(np.array(classes) if hasattr(classes, "__array__") else classes)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # text, rows of different lengths, None in a list
        shown = reprlib.repr(classes)
        raise ValueError(f"classes={shown} cannot be read: give a whole number from 0, or a tensor of them.") from None


def _check_range(classes: Tensor, count: int) -> None:
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= count:
        raise ValueError(f"classes run from {low} to {high}: the network has classes 0 to {count - 1}.")


def _logits_of(output: Any, *, any_shape: bool = False) -> Tensor:
    """The logits (B, C) of what a network returns: them alone, first in a tuple, or named logits or out."""
    found = output
    while not isinstance(found, Tensor):
        if isinstance(found, Mapping):
            named = [name for name in ("logits", "out") if name in found] or (list(found) if len(found) == 1 else [])
            found = found[named[0]] if named else None
        elif isinstance(found, tuple | list) and found:
            found = found[0]
        else:
            found = getattr(found, "logits", None)
        if found is None:
            break
    if isinstance(found, Tensor) and (found.dim() == 2 or any_shape):
        return found
    raise ValueError(
        f"the network returns {_in_words(output, found)}: give one that returns logits (B, C), one row per image."
    )


def _in_words(output: Any, found: Any) -> str:
    """What came in place of logits."""
    if isinstance(found, Tensor):
        shape = f"a tensor of shape {tuple(found.shape)}"
        return f"scores for each position, {shape}" if found.dim() > 2 else shape
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with the entries {reprlib.repr(list(output))}"
    return "None" if output is None else f"an object of type {type(output).__name__} without logits"


class Logits(nn.Module):
    """A network as one that returns its logits alone, as captum requires.

    Args:
        network: returns logits (B, C), a tuple that begins with them, or a dictionary with an entry logits or out.
        classes: those that will be asked for, checked in each forward pass: ValueError for one outside 0 to C - 1.

    Example:
        >>> class Two(nn.Module):
        ...     def forward(self, images):
        ...         return images.mean((2, 3)), images
        >>> Logits(Two())(torch.ones(1, 3, 2, 2)).tolist()
        [[1.0, 1.0, 1.0]]
    """

    def __init__(self, network: nn.Module, classes: Tensor | None = None):
        super().__init__()
        self.network = network
        self.asked = classes

    def forward(self, images: Tensor) -> Tensor:
        logits = _logits_of(self.network(images))
        if self.asked is not None:
            _check_range(self.asked, logits.shape[1])
        return logits


# ---- maps at the pixels ----


def saliency(
    network: nn.Module, images: Tensor, classes: Tensor | int | None = None, *, top: int | None = None
) -> Tensor:
    """Gradient saliency: which pixels would change the class score the most?

    max over colour channels of |dS_c / dx|, the score S_c taken BEFORE the softmax.

    Args:
        network: returns logits (B, C), a tuple that begins with them, or a dictionary with an entry logits or out; left
            in the mode and with the gradients it had.
        images: (B, 3, H, W).
        classes: a number, the same class for every image; (B,) one class per image; (B, n) n per image.
        top: in place of classes: the k most likely classes of each image.

    Returns:
        (B, n, H, W), not negative; n = 1 for a number or (B,).

    Raises:
        ValueError: as choose_classes; an output without logits (B, C).

    Source: Simonyan et al. 2014, section 3.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
        >>> _ = nn.init.constant_(network[1].weight, -3.0)
        >>> saliency(network, torch.rand(1, 3, 2, 2), 1).tolist()
        [[[[3.0, 3.0], [3.0, 3.0]]]]
    """
    network, maps = unwrapped(network), []
    with recording(network, images) as images, torch.enable_grad():
        images = images.detach().requires_grad_(True)
        logits = _logits_of(network(images))
        _check_recorded(logits)
        columns = choose_classes(logits, classes, top, one_each=True).unbind(1)
        for left, column in zip(range(len(columns) - 1, -1, -1), columns, strict=True):
            (gradient,) = torch.autograd.grad(
                logits.gather(1, column[:, None]).sum(), images, retain_graph=left > 0
            )  # one forward pass, a backward pass for each class
            maps.append(gradient.abs().amax(1, keepdim=True))
    return torch.cat(maps, 1)


def _check_recorded(logits: Tensor) -> None:
    if not logits.requires_grad:
        raise ValueError(
            "no score depends on the images, or the network switches gradients off: take torch.no_grad() out of its "
            "forward pass."
        )


# ---- maps of any layer of any network ----


class LayerGradients(NamedTuple):
    """How n scores of each image depend on the output of one layer.

    activations: (B, K, h, w), A; gradients: (B, n, K, h, w), dy^c / dA for each class asked for
    classes:     (B, n) int64; logits: (B, C)
    """

    activations: Tensor
    gradients: Tensor
    classes: Tensor
    logits: Tensor


def layer_gradients(
    network: nn.Module,
    images: Tensor,
    classes: Tensor | int | None = None,
    layer: str | nn.Module = "cam_conv",
    score: Callable[[Tensor], Tensor] | None = None,
    *,
    top: int | None = None,
    layout: str | None = None,
) -> LayerGradients:
    """Gradients of several class scores with respect to a layer's output: dy^c / dA.

    One forward pass, and one backward pass down to A only: nothing below the layer is recorded, and the n classes go
    backward together (vmap).

    Args:
        network: any module that returns logits (B, C), a tuple that begins with them, or a dictionary with an entry
            logits or out; it runs in evaluation mode, and its modes, gradients and hooks are afterwards as they were,
            also after an error.
        images: whatever the network takes, usually (B, 3, H, W).
        classes: a number, the same class for every image; (n,) the same n classes for every image; (B, n) each image's
            own.
        layer: the module itself, or its name in network.named_modules(); its output has positions, see layout. One that
            is called several times is taken at its last call. "cam_conv" is the last convolution of every network built
            here.
        score: logits (B, C) -> the scores y (B, C) to differentiate; None: the logits themselves, as in Grad-CAM.
        top: in place of classes: the k most likely classes of each image.
        layout: what the layer's output is: "BCHW", feature maps (B, K, h, w); "BHWC", the same with its channels last,
            as Swin Transformers have it; "tokens", (B, N, K), as Vision Transformers have it: positions row by row,
            behind class and register tokens, which are dropped. None: feature maps, whose channels are where the
            operations that follow read them.

    Returns:
        activations (B, K, h, w), gradients (B, n, K, h, w), classes (B, n), logits (B, C).

    Raises:
        ValueError: a layer that is unknown, not reached or without positions, or whose layout is not known; a score
            that does not depend on the layer; a traced network; an output without logits (B, C); classes as
            choose_classes.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> found = layer_gradients(network, torch.rand(2, 3, 5, 5), classes=3, layer="0")
        >>> found.gradients.shape, found.classes.tolist()
        (torch.Size([2, 1, 4, 5, 5]), [[3], [3]])
        >>> layer_gradients(network, torch.rand(2, 3, 5, 5), layer="0", top=2).classes.shape
        torch.Size([2, 2])
    """
    check_layout(layout)
    network = unwrapped(network)
    module = find_layer(network, layer)
    name = name_of(network, module)
    found: list[Tensor] = []
    clones: list[Tensor] = []

    def cut_here(_module, _inputs, output):
        check_shape(name, output, layout)
        found[:] = [output.detach().requires_grad_(True)]
        torch.set_grad_enabled(True)
        clones[:] = [found[0].clone()]  # what comes next may work in place
        return clones[0]

    with recording(network, images) as images, evaluating(network), torch.no_grad():
        hook = module.register_forward_hook(cut_here)
        try:
            output = network(images)
        finally:
            hook.remove()
        if not found:
            raise ValueError(f"layer {name} is not reached by the forward pass: {why_not_reached(network)}.")
        logits = _logits_of(output, any_shape=score is not None)
        scores = score(logits) if score else logits
        if not isinstance(scores, Tensor) or scores.dim() != 2:
            raise ValueError(f"score gives {_in_words(scores, scores)}: let it give one score per class, (B, C).")
        classes = choose_classes(logits if logits.dim() == 2 else scores, classes, top)
        scores = scores.gather(1, classes)
        if not scores.requires_grad:
            raise ValueError(
                f"no score depends on layer {name}, or the network switches gradients off after it: choose one before "
                "the logits."
            )
        wanted = torch.eye(classes.shape[1], dtype=scores.dtype, device=scores.device)
        wanted = wanted[:, None].expand(-1, len(scores), -1)  # (n, B, n): the n-th score of each image
        as_maps = maps_from(name, found[0], layout or known_layout(network, module, scores, clones[0]), images)
        (gradients,) = torch.autograd.grad(scores, found[0], wanted, is_grads_batched=True)
    gradients = as_maps(gradients).movedim(0, 1)
    if layout == "tokens" and not gradients.any():
        raise ValueError(f"no score depends on the positions of layer {name}: choose one before the last attention.")
    return LayerGradients(as_maps(found[0].detach()), gradients, classes, logits.detach())


class GradCAM(NamedTuple):
    """maps (B, n, h, w), not negative; classes (B, n) int64, whose they are; logits (B, C)."""

    maps: Tensor
    classes: Tensor
    logits: Tensor


def grad_cam(
    network: nn.Module,
    images: Tensor,
    classes: Tensor | int | None = None,
    layer: str | nn.Module = "cam_conv",
    score: Callable[[Tensor], Tensor] | None = None,
    *,
    top: int | None = None,
    layout: str | None = None,
) -> GradCAM:
    """Grad-CAM of any network and layer: channels weighted by their mean gradient, then ReLU.

    L^c = ReLU(sum_k alpha_k^c A^k), alpha_k^c = (1/Z) sum_ij dy^c / dA_ij^k. On a network that ends with convolution,
    average pooling and a linear layer, alpha_k^c = w_k^c / Z, so L^c is ReLU(M_c) / Z, the class activation map.

    Args:
        network, images, layer, layout: as in layer_gradients.
        classes: a number, the same class for every image; (n,) the same n classes for every image; (B, n) each image's
            own.
        score: as in layer_gradients; the scores y come before the softmax.
        top: in place of classes: the k most likely classes of each image.

    Returns:
        maps (B, n, h, w), not negative, at the layer's resolution; classes (B, n); logits (B, C).

    Raises:
        ValueError: as layer_gradients.

    Source: Selvaraju et al. 2017, section 3, equations 1 and 2.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> images = torch.rand(2, 3, 5, 5)
        >>> grad_cam(network, images, classes=1, layer="0").maps.shape  # class 1 in both images
        torch.Size([2, 1, 5, 5])
        >>> grad_cam(network, images, layer="0", top=3).maps.shape  # the three most likely of each
        torch.Size([2, 3, 5, 5])
    """
    found = layer_gradients(network, images, classes, layer, score, top=top, layout=layout)
    alpha = found.gradients.mean((3, 4))
    return GradCAM(class_activation_map(found.activations, alpha).relu(), found.classes, found.logits)


def grad_cam_plus_plus(
    network: nn.Module,
    images: Tensor,
    classes: Tensor | int | None = None,
    layer: str | nn.Module = "cam_conv",
    *,
    top: int | None = None,
    layout: str | None = None,
) -> GradCAM:
    """Grad-CAM++: channels weighted by a weighted sum of their positive gradients, then ReLU.

    alpha_k^c = sum_ij a_ij^kc ReLU(g_ij^kc), g = dy^c / dA, a = g^2 / (2 g^2 + g^3 sum_ij A_ij^k): the paper's ratio of
    derivatives of exp(y^c), whose second and third are g^2 and g^3 times exp(y^c) where y is piecewise linear in A. The
    factor exp(y^c) is left out: it scales the map. With g > 0 and A >= 0 each position adds g / (2 + g sum A), so after
    average pooling alpha_k^c = w_k^c / (2 + w_k^c F_k) for w_k^c > 0, F_k the mean of A^k, and 0 for the others.

    Args:
        network, images, layer, layout: as in layer_gradients.
        classes, top: as in grad_cam.

    Returns:
        maps (B, n, h, w), not negative; classes (B, n); logits (B, C).

    Raises:
        ValueError: as layer_gradients, and for a layer whose output is negative somewhere: it must end with a ReLU.

    Source: Chattopadhay et al. 2018.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> grad_cam_plus_plus(network, torch.rand(2, 3, 5, 5), classes=1, layer="1").maps.shape
        torch.Size([2, 1, 5, 5])
    """
    found = layer_gradients(network, images, classes, layer, top=top, layout=layout)
    if found.activations.min() < 0:
        name = name_of(unwrapped(network), find_layer(unwrapped(network), layer))
        raise ValueError(f"layer {name} gives negative values: choose one that ends with a ReLU.")
    positive = found.gradients.relu()
    total = found.activations.sum((2, 3))[:, None, :, None, None]
    alpha = (positive / (2 + positive * total)).sum((3, 4))
    return GradCAM(class_activation_map(found.activations, alpha).relu(), found.classes, found.logits)
