"""The registry of maps: each way to make the map of a class, by name, with what it requires of the network.

One call adds a method, and evaluation, the command line, the tables and the lessons know it by its name:

    register(Method("layer-cam", layer_cam_maps, "activation", "a gradient down to one layer", (1, 1), "Jiang 2021"))
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from cambook.maps.cam import blur, class_activation_map, fuse
from cambook.maps.gradients import grad_cam, grad_cam_plus_plus, saliency
from cambook.maps.guided import check_relu, guided_backprop

GRID = 224
BLUR_SIGMA = 9.0

Maps = Callable[[nn.Module, Tensor, Tensor | None, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """One way to make maps, and what is known about it. Called, it makes them.

    Args:
        name: lower case with hyphens, as on the command line: "smooth-saliency".
        maps: (network, images (B, 3, H, W), feature_maps (B, K, h, w), classes (B, n)) -> maps (B, n, h', w'), raw.
        family: "activation", "backpropagation", "perturbation" or "control".
        asks: what it requires of the network, in words; `check` finds out.
        passes: forward and backward passes for an image and a class, beyond the prediction's own forward pass; None if
            they depend on its settings.
        paper: where it is defined.
        title: how figures and tables write the name; by default the name.
        check: takes a network and raises ValueError or TypeError, with the reason, if the method is not defined for it.
        from_features: whether it needs feature_maps, those of the prediction's forward pass.
        pixels: whether its maps follow single pixels, so that boxes are read from them after a blur.

    Example:
        >>> MAPS["grad-cam"].title, MAPS["grad-cam"].passes
        ('Grad-CAM', (1, 1))
        >>> MAPS["centre"](None, torch.rand(2, 3, 8, 8), None, torch.zeros(2, 1)).shape
        torch.Size([2, 1, 8, 8])
    """

    name: str
    maps: Maps
    family: str
    asks: str
    passes: tuple[int, int] | None
    paper: str
    title: str = ""
    check: Callable[[nn.Module], object] = lambda network: None
    from_features: bool = False
    pixels: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name)

    def __call__(self, network: nn.Module, images: Tensor, feature_maps: Tensor | None, classes: Tensor) -> Tensor:
        """Raw maps (B, n, h, w) of classes (B, n); feature_maps None: a forward pass makes them if they are needed."""
        if feature_maps is None and self.from_features:
            with torch.no_grad():
                _, feature_maps = network(images)
        return self.maps(network, images, feature_maps, classes)

    def refusal(self, network: nn.Module) -> str:
        """Why the method is not defined for a network, in one sentence; empty if it is."""
        try:
            self.check(network)
        except (ValueError, TypeError) as reason:
            return str(reason)
        return ""


MAPS: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Adds a method to the registry: every part of the package then knows it by its name.

    Args:
        method: its name is written in lower case, words joined by hyphens.

    Returns:
        The method itself.

    Raises:
        ValueError: a name written otherwise, or one that belongs to another module's method.

    Example:
        >>> def ones_maps(network, images, feature_maps, classes):
        ...     return torch.ones(*classes.shape, 1, 1)
        >>> method = register(Method("ones", ones_maps, "control", "nothing", passes=(0, 0), paper="a control"))
        >>> find_method("ones") is method, MAPS.pop("ones").title
        (True, 'ones')
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\+*", method.name):
        raise ValueError(f"a map cannot be called {method.name!r}: write lower case, words joined by hyphens.")
    known = MAPS.get(method.name)
    if known and known.maps.__module__ != method.maps.__module__:
        raise ValueError(f"a map called {method.name!r} exists already, from {known.maps.__module__}: choose another.")
    MAPS[method.name] = method
    return method


def find_method(name: str) -> Method:
    """The method of a name.

    Args:
        name: lower case with hyphens, a key of MAPS.

    Returns:
        The registered Method.

    Raises:
        ValueError: an unknown name; it lists the known ones and the nearest.

    Example:
        >>> find_method("smooth-saliency").asks
        'a gradient'
    """
    if name not in MAPS:
        near = difflib.get_close_matches(name, MAPS, 1)
        hint = f", did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"source={name!r} is unknown: choose one of {', '.join(MAPS)}{hint}")
    return MAPS[name]


def check_source(network: nn.Module, source: str) -> None:
    """Raises unless a map of that name exists and is defined for the network, trained or not.

    Args:
        network: from networks.build.
        source: a name in MAPS.

    Raises:
        ValueError, TypeError: an unknown name, or what the method asks for is missing, with the reason.

    Example:
        >>> check_source(nn.Sequential(nn.ReLU()), "guided-backprop")
        >>> MAPS["guided-backprop"].refusal(nn.Sequential(nn.GELU()))
        'guided backpropagation is defined for nn.ReLU and the network has GELU: use mini-gap.'
    """
    find_method(source).check(network)


# ---- what methods require of a network ----


def weight_of(network: nn.Module) -> Tensor:
    """The weight (C, K) of the linear layer behind a network's pooling; TypeError, with the reason, without one."""
    return network.class_weight


def _two_branches(network: nn.Module, name: str) -> None:
    if not hasattr(network, "both"):
        raise ValueError(f"source={name!r} needs ACoL's two branches, which {network.name} lacks: use mini-acol.")


# ---- the methods ----


def cam_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Class activation maps from the forward pass that already happened.

    Args:
        network: from networks.build, with a class_weight.
        images: (B, 3, H, W), not looked at.
        feature_maps: (B, K, h, w), the network's second output for these images.
        classes: (B, n) int64.

    Returns:
        (B, n, h, w), raw.

    Raises:
        TypeError: the network has a hidden layer between its feature maps and its scores.

    Source: Zhou et al. 2016, section 2.

    Example:
        >>> from types import SimpleNamespace
        >>> network = SimpleNamespace(class_weight=torch.eye(3))
        >>> cam_maps(network, None, torch.rand(2, 3, 4, 4), torch.tensor([[0, 2], [1, 0]])).shape
        torch.Size([2, 2, 4, 4])
    """
    return class_activation_map(feature_maps, network.class_weight[classes])


def _grad_cam_maps(network: nn.Module, images: Tensor, feature_maps: Tensor | None, classes: Tensor) -> Tensor:
    """Grad-CAM of `classes` (B, n) at the feature maps, for any head: (B, n, h, w)."""
    return grad_cam(network, images, classes, network.cam_conv).maps


def _grad_cam_plus_plus_maps(
    network: nn.Module, images: Tensor, feature_maps: Tensor | None, classes: Tensor
) -> Tensor:
    """Grad-CAM++ of `classes` (B, n) at the feature maps: (B, n, h, w)."""
    return grad_cam_plus_plus(network, images, classes, network.cam_conv).maps


def _acol_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Fused maps of ACoL's two branches, erased for the class that branch A predicts: (B, n, h, w)."""
    return of_classes(fuse(*network.both(feature_maps)), classes)


def _acol_a_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Maps of ACoL's branch A alone: (B, n, h, w)."""
    return of_classes(network.both(feature_maps)[0], classes)


def _acol_b_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """Maps of ACoL's branch B alone, which sees what is left: (B, n, h, w)."""
    return of_classes(network.both(feature_maps)[1], classes)


def _acol_peeking_maps(network: nn.Module, images: Tensor, feature_maps: Tensor, classes: Tensor) -> Tensor:
    """ACoL's fused maps erased for the TRUE class, the first of `classes`: what the released test code does."""
    return of_classes(fuse(*network.both(feature_maps, classes[:, 0])), classes)


def of_classes(maps: Tensor, classes: Tensor) -> Tensor:
    """The maps of some classes out of those of all.

    Args:
        maps: (B, C, h, w).
        classes: (B, n) int64.

    Returns:
        (B, n, h, w).

    Example:
        >>> of_classes(torch.arange(3.0).view(1, 3, 1, 1), torch.tensor([[2, 0]])).flatten().tolist()
        [2.0, 0.0]
    """
    return maps.gather(1, classes[..., None, None].expand(-1, -1, *maps.shape[2:]))


def _saliency_maps(network: nn.Module, images: Tensor, feature_maps: Tensor | None, classes: Tensor) -> Tensor:
    """Gradient saliency of `classes` (B, n), one backward pass a class, not smoothed: (B, n, H, W)."""
    return saliency(network, images, classes)


def _smooth_saliency_maps(network: nn.Module, images: Tensor, feature_maps: Tensor | None, classes: Tensor) -> Tensor:
    """Gradient saliency under a Gaussian of 9 px at 224 px (in proportion at other sizes): (B, n, H, W)."""
    return blur(_saliency_maps(network, images, feature_maps, classes), BLUR_SIGMA * images.shape[-1] / GRID)


def _guided_backprop_maps(network: nn.Module, images: Tensor, feature_maps: Tensor | None, classes: Tensor) -> Tensor:
    """Size of the guided gradient of `classes` (B, n), the largest over the colours: (B, n, H, W), not negative."""
    return guided_backprop(network, images, classes).abs().amax(2)


def centre_maps(network: nn.Module, images: Tensor, feature_maps: Tensor | None, classes: Tensor) -> Tensor:
    """The control that never looks: one Gaussian in the middle of every image.

    Args:
        network: not asked.
        images: (B, 3, S, S), for their side alone.
        feature_maps: not looked at.
        classes: (B, n), for their number alone.

    Returns:
        (B, n, S, S), at most 1; the standard deviation is a quarter of the side.

    Example:
        >>> maps = centre_maps(None, torch.rand(2, 3, 9, 9), None, torch.zeros(2, 4))
        >>> maps.shape, float(maps[0, 0, 4, 4])
        (torch.Size([2, 4, 9, 9]), 1.0)
    """
    side = images.shape[-1]
    offsets = (torch.arange(side, dtype=torch.float32, device=images.device) + 0.5) / side - 0.5
    bell = torch.exp(-0.5 * (offsets / 0.25) ** 2)
    return (bell[:, None] * bell).expand(*classes.shape, side, side)


register(
    Method(
        "cam",
        cam_maps,
        family="activation",
        asks="mean pooling, then one linear layer",
        passes=(0, 0),
        paper="Zhou et al. 2016",
        title="CAM",
        check=weight_of,
        from_features=True,
    )
)
register(
    Method(
        "grad-cam",
        _grad_cam_maps,
        family="activation",
        asks="a gradient down to one layer",
        passes=(1, 1),
        paper="Selvaraju et al. 2017",
        title="Grad-CAM",
    )
)
register(
    Method(
        "grad-cam++",
        _grad_cam_plus_plus_maps,
        family="activation",
        asks="a gradient down to one layer",
        passes=(1, 1),
        paper="Chattopadhay et al. 2018",
        title="Grad-CAM++",
    )
)
for _name, _maps, _title in (
    ("acol", _acol_maps, "ACoL"),
    ("acol-branch-a", _acol_a_maps, "ACoL, branch A"),
    ("acol-branch-b", _acol_b_maps, "ACoL, branch B"),
    ("acol-peeking", _acol_peeking_maps, "ACoL, peeking"),
):
    register(
        Method(
            _name,
            _maps,
            family="activation",
            asks="ACoL's two branches",
            passes=(0, 0),
            paper="Zhang et al. 2018",
            title=_title,
            check=partial(_two_branches, name=_name),
            from_features=True,
        )
    )
register(
    Method(
        "saliency",
        _saliency_maps,
        family="backpropagation",
        asks="a gradient",
        passes=(1, 1),
        paper="Simonyan et al. 2014",
        pixels=True,
    )
)
register(
    Method(
        "smooth-saliency",
        _smooth_saliency_maps,
        family="backpropagation",
        asks="a gradient",
        passes=(1, 1),
        paper="Simonyan et al. 2014, under a Gaussian",
        title="saliency, smoothed",
    )
)
register(
    Method(
        "guided-backprop",
        _guided_backprop_maps,
        family="backpropagation",
        asks="ReLU modules only",
        passes=(1, 1),
        paper="Springenberg et al. 2015",
        title="guided backprop",
        check=check_relu,
        pixels=True,
    )
)
register(
    Method(
        "centre",
        centre_maps,
        family="control",
        asks="nothing",
        passes=(0, 0),
        paper="a control",
    )
)
