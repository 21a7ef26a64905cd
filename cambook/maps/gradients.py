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


# ---- maps of any layer of any network, from gradients ----


class LayerGradients(NamedTuple):
    """How n scores of each picture depend on the output of one layer.

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
    classes: Tensor | int,
    layer: str | nn.Module,
    score: Callable[[Tensor], Tensor] | None = None,
) -> LayerGradients:
    """dy^c / dA for a layer's output A and several classes c: one forward pass, and one backward pass down to A only.

    network: any module that returns logits (B, C), or a tuple that begins with them; it runs in evaluation mode, and
             its modes, gradients and hooks are afterwards as they were, also after an error
    images:  whatever the network takes, usually (B, 3, H, W)
    classes: (n,) the same for every picture, (B, n) each picture's own, or the number k of each picture's likeliest
    layer:   the module itself, or its name in network.named_modules(); its output is (B, K, h, w). One that is called
             several times is taken at its last call
    score:   logits (B, C) -> the scores y (B, C) to differentiate; None: the logits themselves, as Grad-CAM asks
    raises:  ValueError for a layer that is unknown, not reached or without places, for a class out of range, and where
             no score depends on the layer
    Nothing below the layer is recorded for the backward pass, and the n classes go backward together (vmap).
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
        logits = output if isinstance(output, Tensor) else output[0]
        if not found:
            raise ValueError(f"layer {_name(network, module)} is not reached by the forward pass: choose another one.")
        classes = _classes(classes, logits)
        scores = (score(logits) if score else logits).gather(1, classes)
        if not scores.requires_grad:
            raise ValueError(f"no score depends on layer {_name(network, module)}: choose one before the logits.")
        wanted = torch.eye(classes.shape[1], dtype=scores.dtype, device=scores.device)
        wanted = wanted[:, None].expand(-1, len(scores), -1)  # (n, B, n): the n-th score of each picture
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
    classes: Tensor | int,
    layer: str | nn.Module,
    score: Callable[[Tensor], Tensor] | None = None,
) -> GradCAM:
    """L^c = ReLU(sum_k alpha_k^c A^k), alpha_k^c = (1/Z) sum_ij dy^c / dA_ij^k: Grad-CAM of any network and layer.

    Arguments and errors: as layer_gradients. The scores y are taken before the softmax. On a network that ends with
    conv -> average pooling -> linear, alpha_k^c = w_k^c / Z, so L^c is ReLU(M_c) / Z, the class activation map.
    Selvaraju et al. 2017, section 3, equations 1 and 2.
    """
    found = layer_gradients(network, images, classes, layer, score)
    alpha = found.gradients.mean((3, 4))
    return GradCAM(class_activation_map(found.activations, alpha).relu(), found.classes, found.logits)


def guided_backprop(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """The gradient dy^c/dx in which every ReLU also drops the negative gradients that come back to it.

    network: any module that returns logits, or a tuple that begins with them, whose activations are nn.ReLU modules;
             left in the mode it had
    images:  (B, 3, H, W); classes: (B,) int64, one class a picture; returns (B, 3, H, W), of both signs
    raises:  ValueError where no nn.ReLU is found, or another activation: there the rule says nothing, and what comes
             out would silently be the plain gradient
    Springenberg et al. 2015, section 3.4; computed by captum. Times the Grad-CAM map at the picture's size it is Guided
    Grad-CAM (Selvaraju et al. 2017, section 3.2).
    """
    from captum.attr import GuidedBackprop

    inside = [m for m in network.modules() if type(m).__module__ == nn.ReLU.__module__]
    others = {type(m).__name__ for m in inside if not isinstance(m, nn.ReLU)}
    if others or not inside:
        found = ", ".join(sorted(others)) or "no activation module"
        raise ValueError(f"guided backpropagation is defined for nn.ReLU and the network has {found}: use mini-gap.")
    with _evaluating(network), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum says that it sets hooks and asks for the pictures' gradient
        return GuidedBackprop(Logits(network)).attribute(images.detach().clone(), classes).detach()


class Logits(nn.Module):
    """A network that gives (logits, feature_maps), or logits, as one that returns the logits alone, as captum asks."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        output = self.network(images)
        return output if isinstance(output, Tensor) else output[0]


def grad_cam_plus_plus(
    network: nn.Module,
    images: Tensor,
    classes: Tensor | int,
    layer: str | nn.Module,
) -> GradCAM:
    """Grad-CAM++: alpha_k^c = sum_ij a_ij^kc ReLU(g_ij^kc), g = dy^c / dA, places that raise the score weighed by a.

    a = g^2 / (2 g^2 + g^3 sum_ij A_ij^k): the paper's ratio of derivatives of exp(y^c), whose second and third are g^2
    and g^3 times exp(y^c) where y is piecewise linear in A. The factor exp(y^c) is left out: it scales the map. With
    g > 0 and A >= 0 each place adds g / (2 + g sum A), so after average pooling alpha_k^c = w_k^c / (2 + w_k^c F_k)
    for w_k^c > 0, F_k the mean of A^k, and 0 for the others.
    Arguments and errors: as layer_gradients, and the layer's output must not be negative (after a ReLU): ValueError
    Chattopadhay et al. 2018.
    """
    found = layer_gradients(network, images, classes, layer)
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
            raise ValueError(f"the layer given, a {kind}, is no part of the network: pass one of its own.")
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


def _classes(classes: Tensor | int, logits: Tensor) -> Tensor:
    """The classes asked for as (B, n), checked."""
    count = logits.shape[1]
    if isinstance(classes, int):
        if not 1 <= classes <= count:
            raise ValueError(f"classes={classes} likeliest of {count}: ask for 1 to {count}, or give a tensor.")
        return logits.topk(classes).indices
    asked = torch.as_tensor(classes, device=logits.device)
    if asked.dim() == 1:
        asked = asked.expand(len(logits), -1)
    if asked.dim() != 2 or len(asked) != len(logits) or not asked.numel():
        shape = tuple(asked.shape)
        raise ValueError(f"classes has shape {shape}: give (n,) or ({len(logits)}, n), n classes a picture.")
    if asked.min() < 0 or asked.max() >= count:
        raise ValueError(f"classes run from {asked.min()} to {asked.max()}: the network has classes 0 to {count - 1}.")
    return asked


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
