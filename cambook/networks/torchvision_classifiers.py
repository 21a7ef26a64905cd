"""Any image classifier of torchvision, as `tv:NAME`, with its feature maps and, if it has them, class activation maps.

The network stays as it is. In its forward pass the input of the last average pooling is picked up (in a Vision
Transformer, which has none, that of the last attention): these are its feature maps. Whether the mean of a weighted sum
of them is the score of a class is measured, not assumed.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cambook.networks.base import Network, misfit
from cambook.networks.downloads import downloaded, published_weights
from cambook.networks.registry import Spec, Weights, register_family

FAMILY = "tv"
EXACT = 1e-9  # so near are the mean of a map plus the bias and the logit, in double precision, if they are the same
PROBE = 128  # side of the random image for that, in pixels
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers that only training uses; they are left out
OPTIONS = {  # what torchvision's own weights are built with, beside its defaults
    "googlenet": {"init_weights": False, "transform_input": True},
    "inception_v3": {"init_weights": False, "transform_input": True},
    "vit_h_14": {"image_size": 518},
}
ONE_SIZE = ("VisionTransformer", "MaxVit")  # they have parameters for each position, so images of one size


# ---- where feature maps are in a forward pass ----


class Reading(TorchFunctionMode):
    """While it is active, the feature maps that a pooling or an attention reads are given to `change` first.

    Args:
        change: (kind, feature maps (B, K, h, w)) -> feature maps to go on with; kind is "pooling" for an average over
            positions, or "attention", whose tokens are brought into the shape of maps.
    """

    def __init__(self, change: Callable[[str, Tensor], Tensor]):
        super().__init__()
        self.change = change

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if args and (func is F.adaptive_avg_pool2d or _is_mean(func, args, kwargs)):
            args = _with(args, self.change("pooling", args[0]))
        elif func is F.multi_head_attention_forward:
            args = _with(args, _as_tokens(args[0], partial(self.change, "attention")))
        return func(*args, **kwargs)


def _is_mean(func: Callable, args: tuple, kwargs: Mapping[str, Any]) -> bool:
    """Whether a function is called for the mean over the positions of feature maps (B, K, h, w)."""
    if func not in (torch.mean, torch.Tensor.mean) or args[0].dim() != 4:
        return False
    over = args[1] if len(args) > 1 else kwargs.get("dim")
    return isinstance(over, tuple | list) and sorted(each % 4 for each in over) == [2, 3]


def _with(args: tuple, first: Tensor) -> tuple:
    """The arguments with another first one, also where the same tensor is given again: queries, keys and values."""
    return tuple(first if each is args[0] else each for each in args)


def _as_tokens(tokens: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Tokens (N, B, K) of which those of positions, a square grid behind the others, went through `change` as maps."""
    side = math.isqrt(len(tokens))
    others, positions = tokens[: len(tokens) - side**2], tokens[len(tokens) - side**2 :]
    maps = change(positions.permute(1, 2, 0).unflatten(2, (side, side)))
    return torch.cat([others, maps.flatten(2).permute(2, 0, 1)])


class Ending(NamedTuple):
    """How a classifier ends: found by running it once without numbers.

    kind: of operation that reads the feature maps, "pooling" or "attention"; number: of the last one of that kind
    channels: K, the number of feature maps
    last: the name of the last linear layer or 1x1 convolution; pooled: whether the feature maps come before it
    """

    kind: str
    number: int
    channels: int
    last: str
    pooled: bool


def ending(whole: nn.Module, side: int) -> Ending:
    """How a classifier ends, whatever its parts are called.

    Args:
        whole: images (B, 3, side, side) -> logits (B, C), in evaluation mode; nothing of it is changed or computed.
        side: of its images, in pixels.

    Returns:
        Where its feature maps are read, and its last layer.

    Raises:
        ValueError: if nothing in it averages over positions or attends to them.

    Example:
        >>> ending(nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)), 9)
        Ending(kind='pooling', number=1, channels=8, last='3', pooled=True)
    """
    found: list[tuple[str, Any]] = []

    def note(kind: str, maps: Tensor) -> Tensor:
        found.append((kind, maps.shape[1]))
        return maps

    layers = {name: each for name, each in whole.named_modules() if _is_linear(each)}
    hooks = [
        each.register_forward_hook(lambda *_, name=name: found.append(("layer", name))) for name, each in layers.items()
    ]
    state = {name: values.to("meta") for name, values in (*whole.named_parameters(), *whole.named_buffers())}
    try:
        with torch.no_grad(), Reading(note):
            torch.func.functional_call(whole, state, torch.empty(1, 3, side, side, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    kinds = [kind for kind, _ in found]
    kind = next((kind for kind in ("pooling", "attention") if kind in kinds), None)
    if kind is None or "layer" not in kinds:
        raise ValueError(
            f"a {type(whole).__name__} neither averages over positions nor attends to them before its last layer, so "
            "it has no feature maps to explain: choose another network."
        )
    at = len(kinds) - 1 - kinds[::-1].index(kind)
    last = len(kinds) - 1 - kinds[::-1].index("layer")
    return Ending(kind, kinds.count(kind), found[at][1], found[last][1], at < last)


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))


# ---- the network ----


class TorchvisionClassifier(Network):
    """A classifier as torchvision has it, with the feature maps that its last average pooling reads.

    `cam_conv` is nn.Identity where these maps pass, so a hook there sees them and gradients are taken there.

    Args:
        whole: torchvision's network, images scaled by mean and std -> logits; it becomes `backbone`.
        side: of the images that it is made for, in pixels.
        scaling: mean and std, as in `Network`.

    Raises:
        ValueError: in the forward pass, for images of another size, if the network takes one size alone.
    """

    def __init__(self, whole: nn.Module, side: int, **scaling):
        super().__init__(whole, **scaling)
        self.side = side
        self.ending = ending(whole, side)
        self._deviation: tuple[float, ...] = ()  # measured once; a tuple, since numbers are settings of the network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [0, 1] -> logits (B, C), feature_maps (B, K, h, w)."""
        self.check_range(images)
        if type(self.backbone).__name__ in ONE_SIZE and tuple(images.shape[2:]) != (self.side, self.side):
            height, width = images.shape[2:]
            raise ValueError(
                f"{self.name} takes images of {self.side} x {self.side} pixels alone, since it has parameters for each "
                f"position, and these are {height} x {width}: give that size, or choose a convolutional network."
            )
        kept: list[Tensor] = []
        met = [0]

        def pick_up(kind: str, maps: Tensor) -> Tensor:
            met[0] += kind == self.ending.kind
            if kind != self.ending.kind or met[0] != self.ending.number:
                return maps
            kept.append(self.cam_conv(maps))
            return kept[0]

        with Reading(pick_up):
            logits = self.backbone((images - self.mean) / self.std)
        return logits, kept[0]

    def features(self, images: Tensor) -> Tensor:
        return self(images)[1]

    def scores(self, feature_maps: Tensor) -> Tensor:
        self._check_linear()
        weight, bias = self._linear()
        return feature_maps.mean((2, 3)) @ weight.T + bias

    @property
    def classes(self) -> int:
        return self.last.weight.shape[0]

    @property
    def last(self) -> nn.Module:
        """The last layer, linear or a 1x1 convolution: one row of weights per class."""
        return self.backbone.get_submodule(self.ending.last)

    @property
    def class_weight(self) -> Tensor:
        self._check_linear()
        return self._linear()[0].detach()

    @property
    def class_bias(self) -> Tensor:
        self._check_linear()
        return self._linear()[1].detach()

    def own_names(self, state: Any) -> Any:
        """A state_dict that is torchvision's as one of this network; anything else as it is."""
        if isinstance(state, Mapping):
            plain = {name: each for name, each in state.items() if not str(name).startswith(AUXILIARY)}
            if not misfit(self.backbone, plain):
                return {f"backbone.{name}": each for name, each in plain.items()}
        return state

    # ---- whether there are class activation maps ----

    def _linear(self) -> tuple[Tensor, Tensor]:
        """The weights (C, K) and bias (C,) of the last layer; of maps that are classes' already, 1 and 0."""
        weight = self.last.weight.flatten(1)
        if not self.ending.pooled:
            return torch.eye(len(weight), dtype=weight.dtype, device=weight.device), weight.new_zeros(len(weight))
        return weight, weight.new_zeros(len(weight)) if self.last.bias is None else self.last.bias

    def _check_linear(self) -> None:
        """Raises TypeError unless the mean of a class's map plus its bias is its logit."""
        mend = "so it has no class activation map: take Grad-CAM, which works for any head"
        numbers = self.last.weight.flatten(1).shape[1]
        if self.ending.pooled and numbers != self.ending.channels:
            raise TypeError(
                f"{self.name} has a hidden layer: its last layer reads {numbers} numbers and not its "
                f"{self.ending.channels} feature maps, {mend}."
            )
        if not self._deviation:
            self._deviation = (self._measured(),)
        (deviation,) = self._deviation
        if not deviation <= EXACT:
            raise TypeError(
                f"{self.name} has something between its feature maps and its last layer: on a random image the mean of "
                f"a class's map plus the bias differs from the logit by up to {deviation:.2g}, {mend}."
            )

    def _measured(self) -> float:
        """How far mean(map) + bias and the logit lie apart at most, on a random image in double precision.

        The last layer's weights are random for it: some networks start with zeros there, whatever comes before.
        """
        twin = copy.deepcopy(self).to("cpu", torch.float64).eval()
        random = torch.Generator().manual_seed(0)
        side = self.side if type(self.backbone).__name__ in ONE_SIZE else min(PROBE, self.side)
        images = torch.rand(1, 3, side, side, dtype=torch.float64, generator=random)
        with torch.no_grad():
            for parameter in twin.last.parameters():
                parameter.normal_(generator=random)
            logits, maps = twin(images)
            weight, bias = twin._linear()
            return float((maps.mean((2, 3)) @ weight.T + bias - logits).abs().max())


# ---- by name ----


@cache
def classifiers() -> tuple[str, ...]:
    """torchvision's image classifiers by its own names.

    Returns:
        The names in alphabetical order; without detectors, segmentation, video and quantized networks.

    Example:
        >>> "swin_t" in classifiers(), "raft_small" in classifiers()
        (True, False)
    """
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


@cache
def torchvision_spec(name: str) -> Spec:
    """The Spec of a network of this family.

    Args:
        name: "tv:" and one of `classifiers()`.

    Returns:
        Its side is that of torchvision's weights; the recipe is that of resnet50-gap.

    Raises:
        ValueError: if torchvision has no classifier of that name; it names the nearest ones.

    Example:
        >>> torchvision_spec("tv:inception_v3").side
        299
    """
    model = name.removeprefix(f"{FAMILY}:")
    if model not in classifiers():
        raise ValueError(f"network={name!r} is unknown: {_why_unknown(model)}")
    side = published_weights(model).transforms().crop_size[0]
    builder = partial(torchvision_classifier, model)
    return Spec(name, builder, side=side, weights=Weights(model), recipe="resnet50", scratch_lr=1e-3)


def _why_unknown(model: str) -> str:
    import torchvision

    if model in torchvision.models.list_models():
        return f"{model} is in torchvision, but it is not an image classifier; tv:resnet50 is one."
    near = difflib.get_close_matches(model.lower(), classifiers(), 3, cutoff=0.5) or ["resnet18", "swin_t", "vit_b_16"]
    return f"torchvision has no classifier {model!r}; the nearest are {', '.join(f'{FAMILY}:{each}' for each in near)}."


def torchvision_classifier(model: str, classes: int, pretrained: bool) -> Network:
    """One of torchvision's classifiers, nothing changed; with other classes than its weights' its last layer is new."""
    import torchvision

    transforms, options = published_weights(model).transforms(), dict(OPTIONS.get(model, {}))
    state = downloaded(model) if pretrained else None
    whole = torchvision.models.get_model(model, num_classes=1000 if state else classes, **options)
    for head in AUXILIARY:
        if hasattr(whole, head.removesuffix(".")):
            setattr(whole, head.removesuffix("."), None)
            whole.aux_logits = False
    if state:
        whole.load_state_dict({key: each for key, each in state.items() if not key.startswith(AUXILIARY)})
    scaling = {"mean": tuple(transforms.mean), "std": tuple(transforms.std)}
    network = TorchvisionClassifier(whole.eval(), transforms.crop_size[0], **scaling)
    if network.classes != classes:
        network.new_layers = (f"backbone.{network.ending.last}",)
        replace_last(whole, network.ending.last, classes)
    return network


def replace_last(whole: nn.Module, name: str, classes: int) -> None:
    """Gives a classifier a new last layer of the same kind, with random weights, for another number of classes."""
    parent, _, child = name.rpartition(".")
    old = whole.get_submodule(name)
    bias = old.bias is not None
    new = (
        nn.Linear(old.in_features, classes, bias)
        if isinstance(old, nn.Linear)
        else nn.Conv2d(old.in_channels, classes, 1, bias=bias)
    )
    setattr(whole.get_submodule(parent), child, new)


register_family(FAMILY, torchvision_spec, "any image classifier of torchvision")
