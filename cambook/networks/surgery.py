"""A network that starts from another one's backbone, as the papers start from ImageNet's."""

from __future__ import annotations

from cambook import networks
from cambook.networks import Network

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
    network = networks.build(name, classes or start.classes, seed=seed)
    theirs, ours = start.backbone.state_dict(), network.backbone.state_dict()
    try:
        network.backbone.load_state_dict({layer: theirs[layer] for layer in ours if layer in theirs})
    except RuntimeError:
        raise ValueError(
            f"{name} has another backbone than {start.name}: start from a network of its own kind."
        ) from None
    network.new_layers = tuple(head for head in HEADS if hasattr(network, head))
    return network
