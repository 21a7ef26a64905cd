"""What every network is: backbone, heads, loss; and which weights fit it."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MINI_SIZE = 64  # side of the images that the small networks are made for, in pixels
BRIGHTEST = 10  # a value above it belongs to images from 0 to 255, not to noisy ones from 0 to 1
SCALED = (-2.2, 2.7)  # between these lies an image that is scaled by IMAGENET_MEAN and IMAGENET_STD
IGNORED = -100  # a label that no loss counts, as in torch.nn.functional.cross_entropy


class Network(nn.Module):
    """backbone -> cam_conv -> head; the heads are the subclasses below.

    Args:
        backbone: images to feature maps, the part that a cut keeps.
        mean, std: the scaling of the images that the weights expect, three numbers each.
        cam_conv: the 3x3 convolutions that a cut adds; nn.Identity elsewhere.

    Attributes:
        name: what it is called: in errors, on progress bars, in the cache.
        new_layers: the parts that start from random numbers beside pretrained ones; they may learn faster.
        without_weight: why a network of this kind has no `class_weight`, and what to use instead.

    Raises:
        ValueError: in the forward pass, if the images are not floats from 0 to 1 but run up to 255. On a GPU only the
            first batch is looked at.

    Example:
        >>> network = PooledNetwork(nn.Conv2d(3, 8, 3), channels=8, classes=2, pooling="gap")
        >>> logits, feature_maps = network(torch.rand(4, 3, 32, 32))
        >>> logits.shape, feature_maps.shape, network.class_weight.shape
        (torch.Size([4, 2]), torch.Size([4, 8, 30, 30]), torch.Size([2, 8]))
    """

    new_layers: tuple[str, ...] = ()
    _looked: frozenset[str] = frozenset()  # the kinds of devices on which images were looked at
    without_weight = "has a head of its own kind: take Grad-CAM, which works for any head, or define class_weight"

    def __init__(self, backbone: nn.Module, mean=(0.5,) * 3, std=(0.5,) * 3, cam_conv: nn.Module | None = None):
        super().__init__()
        self.name = ""
        self.backbone = backbone
        self.cam_conv = cam_conv or nn.Identity()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def extra_repr(self) -> str:
        """The settings beside the modules, such as pooling='gap': networks that differ in them have different keys."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, int | float | str)}
        return ", ".join(f"{name}={value!r}" for name, value in plain.items() if name != "training")

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1] -> feature_maps (B, K, h, w), what the class activation map is made of."""
        self.check_range(images)
        return self.cam_conv(self.backbone((images - self.mean) / self.std))

    def check_range(self, images: Tensor) -> None:
        """Raises ValueError if images cannot be from 0 to 1; warns if they seem to be scaled by mean and std already.

        On a GPU the first batch alone is looked at, since a look waits for it; a compiled or traced network looks at
        none.
        """
        if not isinstance(images, Tensor) or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        where = images.device.type
        if where in self._looked and where != "cpu" and images.is_floating_point():
            return
        try:
            low, high = (float(end) for end in images.detach().aminmax())
        except RuntimeError:  # no image at all, or no numbers yet, as under vmap
            return
        if high > BRIGHTEST or images.dtype == torch.uint8:
            kind = "" if images.is_floating_point() else f" and are {images.dtype}"
            raise ValueError(
                f"the images run from {low:g} to {high:g}{kind}, but {self.name or 'the network'} takes floats from 0 "
                f"to 1: divide them by {255 if high <= 255 else 65535}."
            )
        if where not in self._looked and SCALED[0] < low < -0.9 and high < SCALED[1]:
            warnings.warn(
                f"The images run from {low:.2g} to {high:.2g}, but {self.name or 'the network'} takes them from 0 to 1 "
                "and scales them itself: leave out the normalization by mean and std.",
                stacklevel=3,
            )
        self._looked |= {where}

    def scores(self, feature_maps: Tensor) -> Tensor:
        """feature_maps (B, K, h, w) -> logits (B, C)."""
        return self.classifier(feature_maps)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [0, 1] -> logits (B, C), feature_maps (B, K, h, w)."""
        feature_maps = self.features(images)
        return self.scores(feature_maps), feature_maps

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What training makes small, and the share of wrong answers: images (B, 3, H, W), labels (B,) -> two scalars.

        The cross-entropy of the logits. If the logits are (B, C, h, w), labels are (B, h, w); a label of -100 is not
        counted. ACoL and the networks of lesson 10 have losses of their own.
        """
        logits, _ = self(images)
        counted = labels != IGNORED
        wrong = (logits.argmax(1) != labels) & counted
        return F.cross_entropy(logits.float(), labels, ignore_index=IGNORED), wrong.sum() / counted.sum()

    @property
    def class_weight(self) -> Tensor:
        """(C, K), detached: how much feature map k counts for class c; TypeError if the head has no such weight."""
        raise TypeError(f"{self.name} {self.without_weight}.")

    @property
    def class_bias(self) -> Tensor:
        """(C,), detached: what a class scores if every feature map is zero; TypeError if there is no such number."""
        raise TypeError(f"{self.name} has no bias of each class alone, since it {self.without_weight}.")

    @property
    def classes(self) -> int:
        """How many classes the network distinguishes."""
        return [m for m in self.classifier.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1].weight.shape[0]


class Layers(nn.Sequential):
    """Layers one after another, which train fast.

    In training, a max pooling comes before the ReLU that it follows. The greatest number stays the greatest where all
    below zero become zero, so outputs and gradients are the very same numbers, and the ReLU meets a quarter of them.
    A layer none of whose parameters learns stays in evaluation mode: its batch norm keeps its statistics.

    Args:
        layers: as nn.Sequential takes them.

    Example:
        >>> layers = Layers(nn.ReLU(), nn.MaxPool2d(2))
        >>> images = torch.randn(2, 3, 8, 8)
        >>> torch.equal(layers.train()(images), layers.eval()(images))
        True
    """

    def train(self, mode: bool = True) -> Layers:
        """All layers that learn in training mode, or all in evaluation mode."""
        super().train(mode)
        for layer in self:
            learns = [parameter.requires_grad for parameter in layer.parameters()]
            layer.train(mode and (any(learns) or not learns))
        return self

    def forward(self, images: Tensor) -> Tensor:
        layers = list(self)
        if self.training:
            for place, (one, other) in enumerate(itertools.pairwise(layers)):
                if isinstance(one, nn.ReLU) and isinstance(other, nn.MaxPool2d):
                    layers[place : place + 2] = other, one
        for layer in layers:
            images = layer(images)
        return images


def fine_tuned_copy(backbone: nn.Sequential, layers: int = 7) -> nn.Sequential:
    """A copy of a trained backbone to learn on from, whose first layers stay as they are.

    They see edges and colours, whatever the task, and the backward pass ends before them.

    Args:
        backbone: layers one after another, nearest to the pixels first.
        layers: so many stay; by default a small backbone's first two convolutions, up to the second ReLU.

    Returns:
        The copy, in the mode that the backbone is in; its first layers have requires_grad=False.

    Source: Yosinski et al. 2014, How transferable are features in deep neural networks?

    Example:
        >>> copied = fine_tuned_copy(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), layers=2)
        >>> [parameter.requires_grad for parameter in copied.parameters()]
        [False, False, True, True]
    """
    copied = copy.deepcopy(backbone)
    copied[:layers].requires_grad_(False)
    return copied


class HiddenLayerNetwork(Network):
    """The usual head before 2014: flatten, fully connected layers with ReLU between them."""

    without_weight = (
        "has a hidden layer after its feature maps, so no weight joins a map to a class and it has no class "
        "activation map: cut it (networks.cut) or use a network with gap, gmp or nin in its name"
    )

    def __init__(self, backbone, classifier: nn.Module, **scaling):
        super().__init__(backbone, **scaling)
        self.classifier = classifier


class PooledNetwork(Network):
    """One number per feature map, then one linear layer: logits = W pool(f) + b.

    Args:
        backbone: images to feature maps.
        channels: K, the number of feature maps.
        classes: C.
        pooling: "gap", the mean over all positions (Lin et al. 2014; Zhou et al. 2016 write a sum, so the map differs
            by the factor 1/Z), or "gmp", the maximum (Oquab et al. 2015).
        dropout: the share of the pooled numbers that is left out in training.
        scaling: mean, std and cam_conv, as in `Network`.

    Raises:
        ValueError: for another pooling.
    """

    def __init__(self, backbone, channels: int, classes: int, pooling: str, dropout: float = 0.0, **scaling):
        super().__init__(backbone, **scaling)
        if pooling not in ("gap", "gmp"):
            raise ValueError(f"pooling={pooling!r} is unknown: use 'gap' (mean) or 'gmp' (maximum).")
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, classes)

    def scores(self, feature_maps):
        pooled = feature_maps.mean((2, 3)) if self.pooling == "gap" else feature_maps.amax((2, 3))
        return self.classifier(self.dropout(pooled))

    @property
    def class_weight(self):
        return self.classifier.weight.detach()

    @property
    def class_bias(self):
        return self.classifier.bias.detach()


class NetworkInNetwork(Network):
    """One channel per class by a 1x1 convolution, then the mean: no linear layer (Lin et al. 2014).

    The 1x1 convolution's output IS the class activation map plus the bias. The paper's network puts a ReLU after
    it; it is left out here, so that a position may lower a score.
    """

    def __init__(self, backbone, channels: int, classes: int, **scaling):
        super().__init__(backbone, **scaling)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def scores(self, feature_maps):
        return self.classifier(feature_maps).mean((2, 3))

    @property
    def class_weight(self):
        return self.classifier.weight[:, :, 0, 0].detach()

    @property
    def class_bias(self):
        return self.classifier.bias.detach()


def misfit(network: nn.Module, state: object) -> str:
    """Why something cannot be loaded as this network's state_dict; empty if it can.

    Args:
        network: whose layers the state has to fit.
        state: anything, such as what a damaged file contained.

    Returns:
        The first reason in words, such as a missing layer, a wrong shape, NaN or infinity; "" if it fits.

    Example:
        >>> misfit(nn.Linear(2, 1), {"weight": torch.zeros(1, 2)})
        'it lacks bias'
    """
    if not isinstance(state, Mapping) or not all(isinstance(each, Tensor) for each in state.values()):
        return "it is not a state_dict"
    own = network.state_dict()
    strange = [f"lacks {name}" for name in own if name not in state]
    strange = strange[:1] + [f"has {name}" for name in state if name not in own][:1]
    if strange:
        return f"it {' and '.join(strange)}"
    for name, values in state.items():
        if values.shape != own[name].shape:
            return f"{name} is {tuple(values.shape)} and should be {tuple(own[name].shape)}"
        if not torch.isfinite(values).all():
            return f"{name} contains NaN or infinity"
    return ""


def count_parameters(network: nn.Module) -> int:
    """The number of parameters: weights and biases, each one number.

    Args:
        network: any module. Buffers, such as the running means of batch norm, are not counted.

    Returns:
        The count, at least 0; parameters that are frozen are part of it.

    Example:
        >>> count_parameters(nn.Linear(128, 12))
        1548
    """
    return sum(p.numel() for p in network.parameters())
