"""Maps from gradients, for any network and layer: saliency, Grad-CAM and its kin."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cambook.maps.cam import class_activation_map

# ---- which classes ----


def choose_classes(
    logits: Tensor, classes: Tensor | int | None = None, top: int | None = None, one_each: bool = False
) -> Tensor:
    """The classes whose maps are wanted, n for each image, from any way of asking for them.

    Args:
        logits: (B, C), the network's scores.
        classes: a number, the same class for every image; (n,) the same n classes for every image, or with `one_each`
            (B,) one class per image; (B, n) each image's own.
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
    if classes is not None or not 1 <= top <= count:
        raise ValueError(f"classes={classes}, top={top} of {count} classes: give one of them, top from 1 to {count}.")
    return logits.topk(top).indices


def _per_image(classes: Tensor | int | None, images: Tensor, one_each: bool) -> Tensor:
    """The classes asked for as (B, n) int64, on the device of the images (or logits) of which there are B."""
    if classes is None:
        raise ValueError("no class is asked for: give classes, a number or a tensor, or top=k, the k most likely.")
    asked, number = torch.as_tensor(classes, device=images.device), len(images)
    if asked.is_floating_point() or asked.dtype == torch.bool:
        raise ValueError(f"classes has type {asked.dtype}: give whole numbers from 0.")
    shape = tuple(asked.shape)
    if asked.dim() == 0:
        asked = asked.expand(number, 1)
    elif asked.dim() == 1:
        asked = asked[:, None] if one_each else asked.expand(number, -1)
    if asked.dim() != 2 or len(asked) != number or not asked.numel():
        one = f"({number},)" if one_each else "(n,)"
        raise ValueError(f"classes has shape {shape}: give a number, {one} or ({number}, n), n classes per image.")
    return asked.long()


def _check_range(classes: Tensor, count: int) -> None:
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= count:
        raise ValueError(f"classes run from {low} to {high}: the network has classes 0 to {count - 1}.")


def _logits_of(output: Tensor | tuple) -> Tensor:
    """The logits (B, C) of what a network returns: them alone, or a tuple that begins with them."""
    return output if isinstance(output, Tensor) else output[0]


class Logits(nn.Module):
    """A network as one that returns its logits alone, as captum requires.

    Args:
        network: returns logits (B, C), or a tuple that begins with them.
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
        network: returns logits (B, C), or a tuple that begins with them; left in the mode and with the gradients it
            had.
        images: (B, 3, H, W).
        classes: a number, the same class for every image; (B,) one class per image; (B, n) n per image.
        top: in place of classes: the k most likely classes of each image.

    Returns:
        (B, n, H, W), not negative; n = 1 for a number or (B,).

    Raises:
        ValueError: as choose_classes.

    Source: Simonyan et al. 2014, section 3.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
        >>> _ = nn.init.constant_(network[1].weight, -3.0)
        >>> saliency(network, torch.rand(1, 3, 2, 2), 1).tolist()
        [[[[3.0, 3.0], [3.0, 3.0]]]]
    """
    maps = []
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        logits = _logits_of(network(images))
        columns = choose_classes(logits, classes, top, one_each=True).unbind(1)
        for left, column in zip(range(len(columns) - 1, -1, -1), columns, strict=True):
            (gradient,) = torch.autograd.grad(
                logits.gather(1, column[:, None]).sum(), images, retain_graph=left > 0
            )  # one forward pass, a backward pass for each class
            maps.append(gradient.abs().amax(1, keepdim=True))
    return torch.cat(maps, 1)


def guided_backprop(
    network: nn.Module, images: Tensor, classes: Tensor | int | None = None, *, top: int | None = None
) -> Tensor:
    """Guided backpropagation: the gradient if every ReLU also drops negative gradients.

    Times the Grad-CAM map at the image's size it is Guided Grad-CAM (Selvaraju et al. 2017, section 3.2). Computed by
    captum.

    Args:
        network: returns logits, or a tuple that begins with them; its activations are nn.ReLU modules; left in the mode
            it had.
        images: (B, 3, H, W).
        classes: a number, the same class for every image; (B,) one class per image; (B, n) n per image.
        top: in place of classes: the k most likely classes of each image, from one more forward pass.

    Returns:
        (B, 3, H, W), of both signs; (B, n, 3, H, W) for classes (B, n) or top=k.

    Raises:
        ValueError: no nn.ReLU, or another activation: there the rule says nothing, and the result would silently be the
            plain gradient; classes as choose_classes.

    Source: Springenberg et al. 2015, section 3.4.

    Example:
        >>> network = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(3, 1, bias=False))
        >>> _ = network[2].weight.data.copy_(torch.tensor([[2.0, -2.0, 2.0]]))
        >>> guided_backprop(network, torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1), 0).flatten().tolist()
        [2.0, 0.0, 0.0]
    """
    from captum.attr import GuidedBackprop

    check_relu(network)
    with _evaluating(network), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum says that it sets hooks and asks for the images' gradient
        if top is not None:
            with torch.no_grad():
                classes = choose_classes(_logits_of(network(images)), classes, top)
        found = []
        for column in _per_image(classes, images, one_each=True).unbind(1):
            explainer = GuidedBackprop(Logits(network, column))
            found.append(explainer.attribute(images.detach().clone(), column).detach())
    several = isinstance(classes, Tensor) and classes.dim() == 2
    return torch.stack(found, 1) if several else found[0]


def check_relu(network: nn.Module) -> None:
    """Raises unless guided backpropagation is defined: all activations are nn.ReLU.

    Args:
        network: any module.

    Raises:
        ValueError: no nn.ReLU module, or another activation.

    Example:
        >>> check_relu(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        >>> check_relu(nn.Sequential(nn.Linear(2, 2), nn.SiLU()))
        Traceback (most recent call last):
        ValueError: guided backpropagation is defined for nn.ReLU and the network has SiLU: use mini-gap.
    """
    inside = [m for m in network.modules() if type(m).__module__ == nn.ReLU.__module__]
    others = {type(m).__name__ for m in inside if not isinstance(m, nn.ReLU)}
    if others or not inside:
        found = ", ".join(sorted(others)) or "no activation module"
        raise ValueError(f"guided backpropagation is defined for nn.ReLU and the network has {found}: use mini-gap.")


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
) -> LayerGradients:
    """Gradients of several class scores with respect to a layer's output: dy^c / dA.

    One forward pass, and one backward pass down to A only: nothing below the layer is recorded, and the n classes go
    backward together (vmap).

    Args:
        network: any module that returns logits (B, C), or a tuple that begins with them; it runs in evaluation mode,
            and its modes, gradients and hooks are afterwards as they were, also after an error.
        images: whatever the network takes, usually (B, 3, H, W).
        classes: a number, the same class for every image; (n,) the same n classes for every image; (B, n) each image's
            own.
        layer: the module itself, or its name in network.named_modules(); its output is (B, K, h, w). One that is called
            several times is taken at its last call. "cam_conv" is the last convolution of every network built here.
        score: logits (B, C) -> the scores y (B, C) to differentiate; None: the logits themselves, as in Grad-CAM.
        top: in place of classes: the k most likely classes of each image.

    Returns:
        activations (B, K, h, w), gradients (B, n, K, h, w), classes (B, n), logits (B, C).

    Raises:
        ValueError: a layer that is unknown, not reached or without positions; a score that does not depend on the
            layer; classes as choose_classes.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> found = layer_gradients(network, torch.rand(2, 3, 5, 5), classes=3, layer="0")
        >>> found.gradients.shape, found.classes.tolist()
        (torch.Size([2, 1, 4, 5, 5]), [[3], [3]])
        >>> layer_gradients(network, torch.rand(2, 3, 5, 5), layer="0", top=2).classes.shape
        torch.Size([2, 2])
    """
    module = _layer(network, layer)
    found: list[Tensor] = []

    def cut_here(_module, _inputs, output):
        if not isinstance(output, Tensor) or output.dim() != 4:
            raise ValueError(f"layer {_name(network, module)} gives no (B, K, h, w): choose a convolutional layer.")
        found[:] = [output.detach().requires_grad_(True)]
        torch.set_grad_enabled(True)
        return found[0].clone()  # what comes next may work in place

    with _evaluating(network), torch.no_grad():
        hook = module.register_forward_hook(cut_here)
        try:
            output = network(images)
        finally:
            hook.remove()
        logits = _logits_of(output)
        if not found:
            raise ValueError(f"layer {_name(network, module)} is not reached by the forward pass: choose another one.")
        classes = choose_classes(logits, classes, top)
        scores = (score(logits) if score else logits).gather(1, classes)
        if not scores.requires_grad:
            raise ValueError(f"no score depends on layer {_name(network, module)}: choose one before the logits.")
        wanted = torch.eye(classes.shape[1], dtype=scores.dtype, device=scores.device)
        wanted = wanted[:, None].expand(-1, len(scores), -1)  # (n, B, n): the n-th score of each image
        (gradients,) = torch.autograd.grad(scores, found[0], wanted, is_grads_batched=True)
    return LayerGradients(found[0].detach(), gradients.movedim(0, 1), classes, logits.detach())


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
) -> GradCAM:
    """Grad-CAM of any network and layer: channels weighted by their mean gradient, then ReLU.

    L^c = ReLU(sum_k alpha_k^c A^k), alpha_k^c = (1/Z) sum_ij dy^c / dA_ij^k. On a network that ends with convolution,
    average pooling and a linear layer, alpha_k^c = w_k^c / Z, so L^c is ReLU(M_c) / Z, the class activation map.

    Args:
        network, images, layer: as in layer_gradients.
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
    found = layer_gradients(network, images, classes, layer, score, top=top)
    alpha = found.gradients.mean((3, 4))
    return GradCAM(class_activation_map(found.activations, alpha).relu(), found.classes, found.logits)


def grad_cam_plus_plus(
    network: nn.Module,
    images: Tensor,
    classes: Tensor | int | None = None,
    layer: str | nn.Module = "cam_conv",
    *,
    top: int | None = None,
) -> GradCAM:
    """Grad-CAM++: channels weighted by a weighted sum of their positive gradients, then ReLU.

    alpha_k^c = sum_ij a_ij^kc ReLU(g_ij^kc), g = dy^c / dA, a = g^2 / (2 g^2 + g^3 sum_ij A_ij^k): the paper's ratio of
    derivatives of exp(y^c), whose second and third are g^2 and g^3 times exp(y^c) where y is piecewise linear in A. The
    factor exp(y^c) is left out: it scales the map. With g > 0 and A >= 0 each position adds g / (2 + g sum A), so after
    average pooling alpha_k^c = w_k^c / (2 + w_k^c F_k) for w_k^c > 0, F_k the mean of A^k, and 0 for the others.

    Args:
        network, images, layer: as in layer_gradients.
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
    found = layer_gradients(network, images, classes, layer, top=top)
    if found.activations.min() < 0:
        name = _name(network, _layer(network, layer))
        raise ValueError(f"layer {name} gives negative values: choose one that ends with a ReLU.")
    positive = found.gradients.relu()
    total = found.activations.sum((2, 3))[:, None, :, None, None]
    alpha = (positive / (2 + positive * total)).sum((3, 4))
    return GradCAM(class_activation_map(found.activations, alpha).relu(), found.classes, found.logits)


def _layer(network: nn.Module, layer: str | nn.Module) -> nn.Module:
    modules = dict(network.named_modules())
    if isinstance(layer, nn.Module):
        if not any(layer is module for module in modules.values()):
            kind = type(layer).__name__
            raise ValueError(f"the layer given, a {kind}, is not part of the network: pass one of its own.")
        return layer
    if layer not in modules or not layer:
        near = difflib.get_close_matches(layer, modules, 1)
        top = ", ".join(name for name, _ in network.named_children())
        raise ValueError(
            f"layer={layer!r} is unknown{f', did you mean {near[0]!r}?' if near else ''} The network's parts are {top}."
        )
    return modules[layer]


def _name(network: nn.Module, module: nn.Module) -> str:
    return repr(next(name for name, each in network.named_modules() if each is module))


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, each of its modules afterwards in the mode it had."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
