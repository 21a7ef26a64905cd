"""`build` makes a network by its name, and `on_backbone` makes one on a trained network's backbone.

Every network is called with images in [0, 1] and gives `(logits, feature_maps)`, so that a class activation map needs
no hook: `class_activation_map(feature_maps, network.class_weight)`.
"""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path

import torch

from cambook import files
from cambook.networks.base import Network
from cambook.networks.registry import spec
from cambook.networks.states import load_weights
from cambook.networks.surgery import cut

HEADS = ("classifier", "branch_a", "branch_b")


def build(name: str, classes: int | None = None, weights: str | Path | None = None, seed: int = 0) -> Network:
    """A network by its name, in evaluation mode.

    Args:
        name: one of `names()`, or "tv:" and an image classifier of torchvision, such as "tv:resnet18".
        classes: how many; by default 1000, ImageNet's. With pretrained weights another number gives the network a new
            last layer.
        weights: None (random, from `seed`), "pretrained" (ImageNet's; for a cut its original's, the new layers random),
            or a file with the weights of this very network (`load_weights`).
        seed: of the random weights. The global random numbers are left alone.

    Returns:
        The network on the CPU: images (B, 3, H, W) in [0, 1] -> logits (B, C), feature_maps (B, K, h, w).

    Raises:
        ValueError: for an unknown name, fewer than two classes, or weights that do not exist or do not fit.
        FileNotFoundError: if `weights` names a file that is not there.
        OSError: if ImageNet's weights cannot be downloaded.

    Example:
        >>> network = build("mini-gap", classes=12)
        >>> logits, feature_maps = network(torch.rand(2, 3, 64, 64))
        >>> logits.shape, feature_maps.shape
        (torch.Size([2, 12]), torch.Size([2, 128, 8, 8]))
    """
    found = spec(name)
    if classes is not None and not (isinstance(classes, Integral) and classes >= 2):
        raise ValueError(f"classes={classes!r} is not a number of classes: give a whole number of at least 2.")
    pretrained = weights == "pretrained"
    if pretrained and found.weights is None:
        raise ValueError(f"{name} has no pretrained weights: use weights=None and train it (training.trained).")
    if weights is not None and not pretrained and not os.path.isfile(weights):
        raise FileNotFoundError(
            f"weights={str(weights)!r} is not a file: give a state_dict file, 'pretrained' or None."
        )
    classes = classes or len(imagenet_classes())
    original = spec(found.original) if found.original else found
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = original.builder(classes, pretrained)
    network.name = original.name
    if found.original:
        network = cut(network, found.pooling, classes, seed, found.units)
        network.name = name
    if weights is not None and not pretrained:
        load_weights(network, Path(weights))
    return network.eval()


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1000 classes, in the order of the pretrained networks' logits.

    They are torchvision's, read from data/imagenet_classes.txt, since importing torchvision takes four seconds.

    Returns:
        1000 names; name c belongs to logit c.

    Raises:
        FileNotFoundError: if that file is missing.

    Example:
        >>> imagenet_classes()[285]
        'Egyptian cat'
    """
    return files.data_file("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()


def on_backbone(name: str, start: Network, classes: int | None = None, seed: int = 0) -> Network:
    """A network of that name on a copy of a trained network's backbone, with a new head.

    So a trained vgg16 hands its convolutions to vgg16-acol, and a trained googlenet those up to inception4e to
    googlenet-acol: poolings, which these two change, have no weights.

    Args:
        name: one of `names()`.
        start: a network whose backbone has every layer of the named one's, and perhaps more; it is left as it is.
        classes: of the new layers, by default those of `start`.
        seed: of the new layers.

    Returns:
        The network in evaluation mode; its heads are in `new_layers`, so that they learn at the recipe's
        new_layer_factor.

    Raises:
        ValueError: for an unknown name, or if the two backbones differ.

    Example:
        >>> acol = on_backbone("mini-acol", build("mini-gap", 12))
        >>> acol.classes, acol.new_layers
        (12, ('branch_a', 'branch_b'))
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
