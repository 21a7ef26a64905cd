"""Guided backpropagation, whatever way a network calls its ReLUs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from cambook.maps.gradients import _as_tensor, _check_recorded, _logits_of, choose_classes
from cambook.maps.graph import nodes_behind, operation
from cambook.maps.inside import check_visible, evaluating, recording, unwrapped


def guided_backprop(
    network: nn.Module, images: Tensor, classes: Tensor | int | None = None, *, top: int | None = None
) -> Tensor:
    """Guided backpropagation: the gradient if every ReLU also drops negative gradients.

    Times the Grad-CAM map at the image's size it is Guided Grad-CAM (Selvaraju et al. 2017, section 3.2). The rule is
    applied to what autograd recorded, that is to nn.ReLU, torch.relu, F.relu, clamp(min=0) and F.threshold(x, 0,
    0) alike; with modules alone the result is captum's.

    Args:
        network: returns logits, a tuple that begins with them, or a dictionary with an entry logits or out; its
            activations are ReLUs; left in the mode it had.
        images: (B, 3, H, W).
        classes: a number, the same class for every image; (B,) one class per image; (B, n) n per image.
        top: in place of classes: the k most likely classes of each image.

    Returns:
        (B, 3, H, W), of both signs; (B, n, 3, H, W) for classes (B, n) or top=k.

    Raises:
        ValueError: no ReLU ran, or another activation did: there the rule is not defined, and the result would silently
            be the plain gradient; part of the network is hidden from autograd; classes as choose_classes.

    Source: Springenberg et al. 2015, section 3.4.

    Example:
        >>> network = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(3, 1, bias=False))
        >>> _ = network[2].weight.data.copy_(torch.tensor([[2.0, -2.0, 2.0]]))
        >>> guided_backprop(network, torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1), 0).flatten().tolist()
        [2.0, 0.0, 0.0]
    """
    network, found = unwrapped(network), []
    for module in network.modules():
        check_visible(module)
    with recording(network, images) as images, evaluating(network), torch.enable_grad():
        images = images.detach().clone().requires_grad_(True)
        logits = _logits_of(network(images))
        _check_recorded(logits)
        columns = choose_classes(logits, classes, top, one_each=True).unbind(1)
        _guide(logits)
        for left, column in zip(range(len(columns) - 1, -1, -1), columns, strict=True):
            scores = logits.gather(1, column[:, None]).sum()
            found += torch.autograd.grad(scores, images, retain_graph=left > 0)
    several = top is not None or _as_tensor(classes).dim() == 2
    return torch.stack(found, 1) if several else found[0]


# What the graph calls an activation, and what its module is called.
ACTIVATIONS = {
    **{"Silu": "SiLU", "Gelu": "GELU", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "LeakyRelu": "LeakyReLU", "Elu": "ELU"},
    **{"Hardswish": "Hardswish", "Hardsigmoid": "Hardsigmoid", "Softplus": "Softplus", "PreluKernel": "PReLU"},
    **{"Mish": "Mish", "LogSigmoid": "LogSigmoid", "Softshrink": "Softshrink", "Hardshrink": "Hardshrink"},
    **{"RreluWithNoise": "RReLU", "Glu": "GLU", "Celu": "CELU", "Where": "torch.where"},
}


def _guide(logits: Tensor) -> None:
    """Lets every ReLU behind the logits drop negative gradients; ValueError if the rule is not defined."""
    relus, others = [], set()
    for node in nodes_behind(logits):
        kind = _activation(node)
        if kind == "ReLU":
            relus.append(node)
        elif kind:
            others.add(kind)
    if others or not relus:
        found = ", ".join(sorted(others)) or "no activation that ran"
        raise ValueError(f"guided backpropagation is defined for nn.ReLU and the network has {found}: use mini-gap.")
    for node in relus:
        node.register_hook(_positive)  # goes with the graph


def _activation(node: Node) -> str:
    """The activation that a node of the graph stands for; empty for none."""
    name = operation(node)
    if isinstance(node, torch.autograd.function.BackwardCFunction):  # what is inside is hidden
        return f"{name}, a function of its own whose activations cannot be seen"
    if name in ("Clamp", "ClampMin", "Hardtanh"):
        low, high = (_bound(node, side) for side in ("min", "max"))
        if name == "Hardtanh" or (low == 0 and high < math.inf):
            return "ReLU6" if (low, high) == (0, 6) else "Hardtanh"
        return "ReLU" if low == 0 else ""
    if name == "Maximum":  # torch.maximum(x, 0)
        return "" if node._saved_self.any() and node._saved_other.any() else "ReLU"
    if name == "Threshold":
        return "ReLU" if node._saved_threshold == 0 else "Threshold"
    return "ReLU" if name == "Relu" else ACTIVATIONS.get(name, "")


def _bound(node: Node, side: str) -> float:
    """The lower or upper end of a clamp, infinite where it has none."""
    saved = getattr(node, f"_saved_{side}", getattr(node, f"_saved_{side}_val", None))
    if isinstance(saved, Tensor):
        saved = float(saved) if saved.numel() == 1 else None
    return float(saved) if saved is not None else math.inf * (1 if side == "max" else -1)


def _positive(gradients: tuple[Tensor | None, ...], _later: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if gradient is None else gradient.clamp(min=0) for gradient in gradients)


def check_relu(network: nn.Module) -> None:
    """Raises if a module rules guided backpropagation out: an activation other than nn.ReLU.

    Args:
        network: any module. Activations that are functions show when they run, in `guided_backprop`.

    Raises:
        ValueError: another activation.

    Example:
        >>> check_relu(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        >>> check_relu(nn.Sequential(nn.Linear(2, 2), nn.SiLU()))
        Traceback (most recent call last):
        ValueError: guided backpropagation is defined for nn.ReLU and the network has SiLU: use mini-gap.
    """
    inside = [m for m in network.modules() if type(m).__module__ == nn.ReLU.__module__]
    others = {type(m).__name__ for m in inside if not isinstance(m, nn.ReLU)}
    if others:
        found = ", ".join(sorted(others))
        raise ValueError(f"guided backpropagation is defined for nn.ReLU and the network has {found}: use mini-gap.")
