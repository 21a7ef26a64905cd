"""The one policy of training: which start and which recipe a network has on a data set, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass

from cambook import networks
from cambook.training.recipes import Recipe, adjusted, recipe_for


@dataclass(frozen=True)
class Plan:
    """How a network is trained on a data set.

    Attributes:
        network: its name.
        recipe: how it is trained.
        weights: "pretrained" if it starts from ImageNet's, None if from random ones or from `start`.
        start: for a cut the plan of its original, which is trained first; the kept layers start from it.
    """

    network: str
    recipe: Recipe
    weights: str | None = None
    start: Plan | None = None


def policy(name: str, data, epochs: int | None = None, lr: float | None = None, precision: str = "auto") -> Plan:
    """How a network is trained on a data set, the same for whoever asks.

    A network starts from ImageNet's weights if there are some, and is trained by its Spec's recipe. A cut starts from
    its original, trained on the same data, as in the paper. There are two exceptions:

    - On drawn images a network whose Spec has a `scratch_lr` starts from random weights and is trained by AdamW, a cut
      at a third of the rate with its new layers ten times as fast: the published recipes last for weeks there.
    - On ImageNet's own classes the pretrained originals are trained already. So a cut starts from ImageNet's weights
      at once, and `trained` leaves a network as it is if none of its layers is new.

    Args:
        name: one of `networks.names()`.
        data: a data set; what counts is `drawn` and `imagenet_classes`.
        epochs, lr, precision: in place of the recipe's own, of the original's too.

    Returns:
        The network's name, recipe and weights; for a cut also the plan of its original, if that is trained first.

    Raises:
        ValueError: for an unknown name or a network without a recipe.

    Example:
        >>> from types import SimpleNamespace
        >>> photographs = SimpleNamespace(drawn=False, imagenet_classes=False)
        >>> plan = policy("vgg16-gap", photographs)
        >>> plan.start.network, plan.start.weights, plan.recipe.optimizer
        ('vgg16', 'pretrained', 'sgd')
    """
    found = networks.spec(name)
    scratch = found.scratch_lr is not None and getattr(data, "drawn", False)
    weights = "pretrained" if found.weights and not scratch else None
    recipe = _from_scratch(found, epochs, lr, precision) if scratch else recipe_for(name, epochs, lr, precision)
    if not found.original or (weights and trained_already(data)):
        return Plan(name, recipe, weights)
    return Plan(name, recipe, None, policy(found.original, data, epochs, lr, precision))


def trained_already(data) -> bool:
    """Whether networks with ImageNet's weights have been trained on this data set's classes."""
    return getattr(data, "imagenet_classes", False)


def _from_scratch(found: networks.Spec, *asked) -> Recipe:
    """Ours, for the papers' networks on drawn images."""
    recipe = Recipe(epochs=10, lr=found.scratch_lr)
    if found.original:
        recipe = Recipe(epochs=4, lr=found.scratch_lr / 3, new_layer_factor=10)
    return adjusted(recipe, *asked)
