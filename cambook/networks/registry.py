"""Networks by name: which there are, and how one is built.

Every network is called with pictures in [0, 1] and gives `(logits, feature_maps)`, so that a class activation map needs
no hook: `class_activation_map(feature_maps, network.class_weight)`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from numbers import Integral
from pathlib import Path

import torch

from cambook import files
from cambook.networks.base import Network, load_weights
from cambook.networks.papers import (
    googlenet,
    googlenet_acol,
    lite0_acol,
    lite0_gap,
    nin,
    resnet50_gap,
    vgg16_acol,
    with_hidden_layers,
)
from cambook.networks.small import mini_acol, mini_fc, mini_nin, mini_pooled
from cambook.networks.surgery import CUTS, cut

# ---- one way in ----

ORIGINALS: dict[str, Callable[[int, bool], Network]] = {
    "mini-fc": mini_fc,
    "mini-gap": mini_pooled("gap"),
    "mini-gmp": mini_pooled("gmp"),
    "mini-nin": mini_nin,
    "mini-acol": mini_acol,
    "lite0-gap": lite0_gap,
    "lite0-acol": lite0_acol,
    "nin": nin,
    "alexnet": with_hidden_layers("alexnet"),
    "vgg16": with_hidden_layers("vgg16"),
    "vgg16-acol": vgg16_acol,
    "googlenet": googlenet,
    "googlenet-acol": googlenet_acol,
    "resnet50-gap": resnet50_gap,
}
TORCHVISION = ("alexnet", "vgg16", "googlenet", "resnet50")
PRETRAINED = ("lite0", *TORCHVISION)


def names() -> list[str]:
    """The names that `build` knows."""
    return [*ORIGINALS, *CUTS]


def modules_behind(name: str) -> tuple[str, ...]:
    """The modules whose code makes the network of that name: its builder's, and of a cut the surgery's too."""
    if name in CUTS:
        return ORIGINALS[CUTS[name].original].__module__, cut.__module__
    return (ORIGINALS[name].__module__,)


def check_name(name: str) -> str:
    """The name itself, or ValueError that lists the known ones and the nearest."""
    if name not in names():
        near = difflib.get_close_matches(str(name), names(), 1)
        raise ValueError(
            f"network={name!r} is unknown{f'; did you mean {near[0]!r}?' if near else '.'} Known: {', '.join(names())}."
        )
    return name


def build(name: str, classes: int | None = None, weights: str | Path | None = None, seed: int = 0) -> Network:
    """A network by its name.

    classes: how many; by default 1000, ImageNet's. With pretrained weights another number gives the network a new
             last layer
    weights: None (random, from `seed`), "pretrained" (ImageNet; for a cut: its original's, the new layers random),
             or a file with a state_dict of this very network
    returns: a Network in evaluation mode
    raises:  ValueError for an unknown name, fewer than two classes or weights that do not fit, FileNotFoundError,
             OSError where a download fails
    """
    check_name(name)
    if classes is not None and not (isinstance(classes, Integral) and classes >= 2):
        raise ValueError(f"classes={classes!r} are no classes to tell apart: give a whole number of at least 2.")
    pretrained = weights == "pretrained"
    if pretrained and not name.startswith(PRETRAINED):
        raise ValueError(f"{name} has no pretrained weights: use weights=None and train it (training.trained).")
    if weights is not None and not pretrained and not os.path.isfile(weights):
        raise FileNotFoundError(f"weights={str(weights)!r} is no file: give a state_dict file, 'pretrained' or None.")
    classes = classes or len(imagenet_classes())
    made = CUTS.get(name)
    original = made.original if made else name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ORIGINALS[original](classes, pretrained)
    network.name = original
    if made:
        network = cut(network, made.pooling, classes, seed, made.units)
    if weights is not None and not pretrained:
        load_weights(network, Path(weights))
    return network.eval()


def imagenet_classes() -> list[str]:
    """The 1000 names of ImageNet's classes, in the order of the pretrained networks' logits, as torchvision has them.

    From data/imagenet_classes.txt, since importing torchvision takes four seconds; raises FileNotFoundError without it.
    """
    return files.data_file("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()


HEADS = ("classifier", "branch_a", "branch_b")


def on_backbone(name: str, start: Network, classes: int | None = None, seed: int = 0) -> Network:
    """A network of that name with the backbone of `start`, copied, and new layers from `seed` behind it.

    start:   a network whose backbone has every layer of the named one's, and perhaps more; it is left as it is
    classes: of the new layers, by default those of `start`
    returns: in evaluation mode; its heads are in `new_layers`, so that they learn at the recipe's new_layer_factor
    raises:  ValueError for an unknown name, or where the two backbones differ
    So a trained vgg16 hands its convolutions to vgg16-acol, and a trained googlenet those up to inception4e to
    googlenet-acol: poolings, which these two change, have no weights.
    """
    network = build(name, classes or start.classes, seed=seed)
    theirs, ours = start.backbone.state_dict(), network.backbone.state_dict()
    try:
        network.backbone.load_state_dict({layer: theirs[layer] for layer in ours if layer in theirs})
    except RuntimeError:
        raise ValueError(
            f"{name} has another backbone than {start.name}: start from a network of its own kind."
        ) from None
    network.new_layers = tuple(head for head in HEADS if hasattr(network, head))
    return network
