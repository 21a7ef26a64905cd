"""Lesson 06: maps of the other families, backpropagation and perturbation by captum, and what every map costs.

Functions are called alike, (network, images, classes) -> maps; classes are a number, the same class for every image,
(B,) one class per image or (B, n), and top=k in their place asks for the k most likely; scores come before the softmax.
LRP, occlusion and LIME are registered here, as maps that only this lesson needs. Where a method is not defined for a
network it refuses with ValueError or TypeError: what only looks like a map is worse than none.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cambook import maps
from cambook.maps.gradients import Logits, choose_classes
from cambook.networks.base import HiddenLayerNetwork, Network, NetworkInNetwork, PooledNetwork

AT_ONCE = 512  # pictures in one forward pass of a perturbation method
WITH_RULE = (nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear)
NOTHING_TO_DO = (nn.Identity, nn.Flatten, nn.Dropout)  # at evaluation, in a chain that flattens by itself


def _for_all_classes(maps_of_one: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Makes (network, images, classes (B,)) -> (B, 1, H, W) take classes in every way, and top=k: (B, n, H, W)."""

    @wraps(maps_of_one)
    def maps_of_all(
        network: Network, images: Tensor, classes: Tensor | int | None = None, *settings, top=None, **named
    ):
        with torch.no_grad():
            logits = network(images)[0] if top is not None else images.new_empty(len(images), network.classes)
        columns = choose_classes(logits, classes, top, one_each=True).unbind(1)
        return torch.cat([maps_of_one(network, images, column, *settings, **named) for column in columns], 1)

    return maps_of_all


# ---- backpropagation ----


class Chain(nn.Module):
    """A copy of a network as a plain chain of modules for scaled images, batch norms melted into convolutions.

    raises: ValueError where the network is no chain of convolutions, batch norms, ReLUs and max poolings that ends with
            average pooling or fully connected layers
    """

    def __init__(self, network: Network):
        super().__init__()
        network = copy.deepcopy(network).eval()
        mean, last = nn.AdaptiveAvgPool2d(1), network.classifier
        heads = {HiddenLayerNetwork: [last], PooledNetwork: [mean, last], NetworkInNetwork: [last, mean]}
        if type(network) not in heads or getattr(network, "pooling", "gap") != "gap":
            raise ValueError(f"LRP has no rule for the head of {network.name}: use mean pooling or flattening.")
        layers: list[nn.Module] = []
        for module in _leaves([network.backbone, network.cam_conv, *heads[type(network)]]):
            if isinstance(module, nn.BatchNorm2d) and layers and isinstance(layers[-1], nn.Conv2d):
                layers[-1] = fuse_conv_bn_eval(layers[-1], module)
            elif type(module) in WITH_RULE:
                layers.append(module)
            elif not isinstance(module, NOTHING_TO_DO):
                kinds = {type(leaf) for leaf in module.modules() if not list(leaf.children())}
                names = ", ".join(sorted(kind.__name__ for kind in kinds.difference(WITH_RULE, NOTHING_TO_DO)))
                raise ValueError(f"LRP needs a plain chain of layers that have a rule; {network.name} has {names}.")
        self.layers = nn.ModuleList(layers)

    def forward(self, scaled: Tensor) -> Tensor:
        """scaled: (B, 3, H, W), images minus the network's mean, over its std; returns logits (B, C)."""
        for layer in self.layers:
            scaled = layer(scaled.flatten(1) if isinstance(layer, nn.Linear) else scaled)
        return scaled.flatten(1)


def _leaves(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for module in modules:
        if isinstance(module, nn.Sequential):
            yield from _leaves(module)
        else:
            yield module


@_for_all_classes
@torch.inference_mode(False)  # the chain and its gradients, also if the caller is inside inference mode
def lrp(network: Network, images: Tensor, classes: Tensor, gamma: float = 0.25) -> Tensor:
    """Layer-wise relevance propagation: the score handed back, layer by layer, in proportion to what each input gave.

    gamma:   in convolutions a positive weight counts (1 + gamma) times, which favours what excites a unit, except in
             the first, whose inputs may be negative; with 0 the map is the gradient times the scaled image
    returns: (B, 1, H, W), signed, summed over colours; with what the biases keep, it adds up to the score
    raises:  ValueError where the network is no plain chain of layers that have a rule
    Bach et al. 2015; the rules: Montavon et al. 2019, section 10.2.
    """
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule

    chain = Chain(network)
    convolutions = [layer for layer in chain.layers if isinstance(layer, nn.Conv2d)]
    for layer in convolutions[1:]:
        layer.rule = GammaRule(gamma) if gamma else EpsilonRule()
    scaled = ((images.detach() - network.mean) / network.std).requires_grad_(True)
    with torch.enable_grad():
        relevance = LRP(chain).attribute(scaled, target=classes.clone())
    return relevance.detach().sum(1, keepdim=True)


def score_parts(network: Network, images: Tensor, classes: Tensor | int) -> Tensor:
    """What a score is made of: (B, 3), the score, the part of the pixels and the part of the biases.

    For each image of class `classes` ((B,) or a number). The pixels' part is the sum of the LRP map with gamma 0, the
    slope times the scaled image. A bias keeps its slope times its value. Both together are the score, since the network
    is linear as long as no ReLU and no maximum switches.
    raises: ValueError as `lrp`
    """
    chain = Chain(network)
    asked = choose_classes(images.new_empty(len(images), network.classes), classes, one_each=True)[:, 0]
    biases = [value.requires_grad_(True) for name, value in chain.named_parameters() if name.endswith("bias")]
    parts = []
    for image, label in zip(images.detach(), asked, strict=True):
        scaled = ((image[None] - network.mean) / network.std).requires_grad_(True)
        score = chain(scaled)[0, label]
        slope, *slopes = torch.autograd.grad(score, [scaled, *biases])
        kept = sum(float((one * bias.detach()).sum()) for one, bias in zip(slopes, biases, strict=True))
        parts.append([float(score.detach()), float((slope * scaled.detach()).sum()), kept])
    return torch.tensor(parts)


# ---- perturbation ----


@torch.no_grad()
def score_cam(network: Network, images: Tensor, classes: Tensor, channels: int = 32) -> Tensor:
    """Score-CAM: each feature map is laid over the image as a mask, and its weight is the probability that is left.

    classes:  (B,), one per image; channels: so many feature maps are tried, those that vary most over the image; the
              paper tries all of them
    returns:  (B, 1, h, w), not negative; one forward pass per channel, none backward
    Wang et al. 2020, section 3; the choice of channels: the authors of Faster Score-CAM.
    """
    _, features = network(images)
    found = []
    for image, maps_of, label in zip(images, features, classes, strict=True):
        chosen = maps_of.flatten(1).std(1).topk(min(channels, len(maps_of))).indices
        masks = maps.normalize(maps.upsample(maps_of[chosen][:, None], tuple(image.shape[1:])))
        grey = network.mean.expand_as(image[None])
        shown = torch.cat([network(grey + some * (image - grey))[0] for some in masks.split(AT_ONCE // 16)])
        weights = shown.softmax(1)[:, label]
        found.append((weights[:, None, None] * maps_of[chosen]).sum(0).relu()[None])
    return torch.stack(found)


@_for_all_classes
def occlusion(network: Network, images: Tensor, classes: Tensor, window: int | None = None) -> Tensor:
    """How much the score falls when a grey square covers a position: the mean over the squares that cover it.

    window:  side of the square in pixels, by default a quarter of the image's; it moves by half its side
    returns: (B, 1, H, W), signed; grey is the network's own zero, the mean that its scaling takes away
    Zeiler and Fergus 2014, section 4.2.
    """
    from captum.attr import Occlusion

    window = window or images.shape[-1] // 4
    with torch.no_grad():
        drop = Occlusion(Logits(network)).attribute(
            images,
            (3, window, window),
            (3, max(1, window // 2), max(1, window // 2)),
            baselines=network.mean.expand_as(images[:1]),
            target=classes,
            perturbations_per_eval=max(1, AT_ONCE // len(images)),
        )
    return drop[:, :1].float()


def superpixels(image: Tensor, segments: int = 25) -> Tensor:
    """(3, H, W) -> (H, W) int64: pieces of about equal size and colour, numbered from 0 (SLIC, scikit-image)."""
    from skimage.segmentation import slic

    picture = image.permute(1, 2, 0).cpu().numpy().astype(np.float64)
    return torch.from_numpy(slic(picture, segments, compactness=10, start_label=0)).long().to(image.device)


def piece_means(image: Tensor, pieces: Tensor) -> Tensor:
    """The image (3, H, W) with each piece of pieces (H, W) in its mean colour."""
    flat, index = image.flatten(1), pieces.flatten().expand(len(image), -1)
    sums = flat.new_zeros(len(image), int(pieces.max()) + 1).scatter_add_(1, index, flat)
    return (sums / pieces.flatten().bincount()).gather(1, index).view_as(image)


@_for_all_classes
def lime(
    network: Network, images: Tensor, classes: Tensor, segments: int = 25, samples: int = 64, seed: int = 0
) -> Tensor:
    """LIME: a linear model of the score in "which superpixels are there", fitted to images with some of them greyed.

    segments: superpixels per image, about; samples: images to fit to, each superpixel there with probability 1/2
    returns:  (B, 1, H, W), signed: each superpixel's weight; the fit is a ridge regression, images that kept more
              count more
    The draws depend on seed alone and are the same for every image. Ribeiro et al. 2016.
    """
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import Lime

    found = []
    for image, label in zip(images, classes, strict=True):
        pieces = superpixels(image, segments)
        explainer = Lime(Logits(network), interpretable_model=SkLearnRidge(alpha=1.0))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            weights = explainer.attribute(
                image[None],
                target=int(label),
                baselines=network.mean.expand_as(image[None]),
                feature_mask=pieces[None, None],
                n_samples=samples,
                perturbations_per_eval=samples,
            )
        found.append(weights[:, :1].float())
    return torch.cat(found)


# ---- the registry ----

maps.register(
    maps.Method(
        "lrp",
        lambda network, images, feature_maps, classes: lrp(network, images, classes),
        family="backpropagation",
        asks="a rule for every layer",
        passes=(2, 1),
        paper="Bach et al. 2015",
        title="LRP",
        check=Chain,
        pixels=True,
    )
)
maps.register(
    maps.Method(
        "occlusion",
        lambda network, images, feature_maps, classes: occlusion(network, images, classes),
        family="perturbation",
        asks="scores only",
        passes=None,
        paper="Zeiler and Fergus 2014",
    )
)
maps.register(
    maps.Method(
        "lime",
        lambda network, images, feature_maps, classes: lime(network, images, classes),
        family="perturbation",
        asks="scores only",
        passes=None,
        paper="Ribeiro et al. 2016",
        title="LIME",
    )
)

COMPARED = ("saliency", "guided-backprop", "lrp", "cam", "grad-cam", "grad-cam++", "occlusion", "lime")
METHODS = {maps.MAPS[name].title: maps.MAPS[name] for name in COMPARED}  # by the names that figures and tables show


# ---- what a method costs ----


@dataclass
class Passes:
    """Images that went forward through a network, and images whose scores were differentiated."""

    forward: int = 0
    backward: int = 0


@contextmanager
def counted() -> Iterator[Passes]:
    """Counts, by hooks, the passes of every network (or Chain) that is called inside the with block."""
    passes = Passes()

    def one_backward(gradient: Tensor) -> None:
        passes.backward += len(gradient)

    def one_forward(module: nn.Module, _inputs, output) -> None:
        if isinstance(module, Network | Chain):
            logits = output[0] if isinstance(output, tuple) else output
            passes.forward += len(logits)
            if logits.requires_grad:
                logits.register_hook(one_backward)

    hook = register_module_forward_hook(one_forward)
    try:
        yield passes
    finally:
        hook.remove()


class Measured(NamedTuple):
    """maps (B, 1, h, w); forward and backward passes and seconds, each for one image and class."""

    maps: Tensor
    forward: float
    backward: float
    seconds: float


def measure(method: str, network: Network, images: Tensor, classes: Tensor | int) -> Measured:
    """The maps of a method of METHODS and what they cost; the seconds depend on the machine and its load.

    classes: (B,), one class per image, or a number, the same class for every image
    """
    asked = choose_classes(images.new_empty(len(images), network.classes), classes, one_each=True)
    with counted() as passes:
        began = time.perf_counter()
        found = METHODS[method](network, images, None, asked)
        seconds = time.perf_counter() - began
    return Measured(found, *(number / len(images) for number in (passes.forward, passes.backward, seconds)))
