"""What a recipe sets for a training run, and the recipes by name, the published ones among them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from cambook import networks


@dataclass(frozen=True)
class StepDecay:
    """A learning rate that is multiplied by `factor` whenever `every` epochs are over."""

    every: float
    factor: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: a recipe is a value, and two that are equal train the same.

    Attributes:
        epochs: whole passes over the data.
        batch_size: images per step.
        optimizer: "adamw", or "sgd" (nesterov, momentum 0.9).
        lr, weight_decay: of the optimizer.
        new_layer_factor: new layers learn at lr times this (10 in the papers' fine-tuning).
        schedule: "cosine" to zero after a linear warm-up over the first 5% of the steps; "constant"; or a StepDecay.
        frozen: the layers a network had stay as they are, batch norm's statistics too; only its new ones learn.
        flip: whether images are mirrored at random.
        crop: smallest side of the random square window an image is cut to, as a share of its side; 1.0 cuts nothing.
        precision: of the forward pass: "fp32"; "bf16", mixed precision (autocast), the weights stay in float32; "auto",
            mixed precision on a GPU alone.

    Raises:
        ValueError: for values that no training can have.

    Example:
        >>> Recipe(epochs=3, lr=-1)
        Traceback (most recent call last):
        ValueError: No recipe can have lr=-1 (above 0).
    """

    epochs: int = 8
    batch_size: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    new_layer_factor: float = 1.0
    schedule: Literal["cosine", "constant"] | StepDecay = "cosine"
    frozen: bool = False
    flip: bool = True
    crop: float = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self):
        decays = isinstance(self.schedule, StepDecay)
        wrong = [
            f"{name}={getattr(self, name)} ({rule})"
            for name, right, rule in (
                ("epochs", isinstance(self.epochs, int) and self.epochs >= 1, "whole, at least 1"),
                ("batch_size", isinstance(self.batch_size, int) and self.batch_size >= 1, "whole, at least 1"),
                ("lr", 0 < self.lr < math.inf, "above 0"),
                ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or above"),
                ("new_layer_factor", 0 < self.new_layer_factor < math.inf, "above 0"),
                ("crop", 0 < self.crop <= 1, "above 0, at most 1"),
                ("precision", self.precision in ("auto", "fp32", "bf16"), "auto, fp32 or bf16"),
                ("optimizer", self.optimizer in ("adamw", "sgd"), "adamw or sgd"),
                ("schedule", decays or self.schedule in ("cosine", "constant"), "cosine, constant or a StepDecay"),
                ("schedule", not decays or self.schedule.every > 0, "every above 0"),
                ("schedule", not decays or 0 < self.schedule.factor <= 1, "factor above 0, at most 1"),
            )
            if not right
        ]
        if wrong:
            raise ValueError(f"No recipe can have {', '.join(wrong)}.")


# The recipes by name; a network's Spec names one. The published ones are those for ILSVRC. Three things are ours
# throughout: their codes cut a window of exactly 224 out of 256 pixels, ours is 7/8 to 1 of the side; theirs let biases
# learn twice as fast (CAM, ACoL) and without weight decay (CAM); CAM's solver has plain momentum.
RECIPES = {
    # the small networks on scenes, from scratch
    "mini": Recipe(epochs=5, batch_size=32, lr=3e-3),
    "mini-fc": Recipe(epochs=5, batch_size=32, lr=5e-4),
    # a cut of mini-fc, fine-tuned from it
    "mini-cut": Recipe(epochs=3, batch_size=32, lr=3e-4, new_layer_factor=10),
    # two branches, each with two new convolutions, on the small backbone: as mini, at a lower rate
    "mini-acol": Recipe(epochs=5, batch_size=32, lr=1e-3),
    # EfficientNet-Lite0 from ImageNet's weights: every layer learns, the new head ten times as fast (as ACoL's code)
    "lite0": Recipe(epochs=4, batch_size=16, lr=3e-4, new_layer_factor=10),
    # Zhang et al. 2018, the released code's scripts for VGG-16: learning rate never lowered; 60 epochs on CUB
    "acol": Recipe(
        epochs=6,
        batch_size=20,
        optimizer="sgd",
        lr=1e-4,
        weight_decay=5e-4,
        new_layer_factor=10,
        schedule="constant",
        crop=7 / 8,
    ),
    # Choe et al. 2020, wsolevaluation, CAM on ResNet-50: rate searched for each data set (CUB: 2.322e-4, 50 epochs, a
    # drop every 15; vgg16-gap there: 1.655e-5, on CUB 1.268e-5, weight decay 5e-4). Its epochs are counted from 1, so
    # the first drop comes an epoch earlier than here; its layer4 learns ten times as fast, here the new classifier
    "resnet50": Recipe(
        epochs=10,
        batch_size=32,
        optimizer="sgd",
        lr=3.108e-5,
        weight_decay=1e-4,
        new_layer_factor=10,
        schedule=StepDecay(every=3),
        crop=7 / 8,
    ),
    # from scratch: the rate falls by ten twice (Lin et al. 2014, section 4.1); batch from their ImageNet definition for
    # Caffe; rate and weight decay from Caffe's AlexNet; 90 epochs as torchvision trains its AlexNet and VGG
    "nin": Recipe(
        epochs=90,
        batch_size=64,
        optimizer="sgd",
        lr=1e-2,
        weight_decay=5e-4,
        schedule=StepDecay(every=30),
        crop=7 / 8,
    ),
    # Zhou et al. 2016, the released solver of GoogLeNet-GAP, for torchvision's networks and their cuts: 160,000 batches
    # of 64 are 8 epochs of ILSVRC, the 40,000 between drops are 2. Factor 10 for new layers from the codes of ACoL and
    # Choe; the released definition of GoogLeNet-GAP has 1
    "cam": Recipe(
        epochs=8,
        batch_size=64,
        optimizer="sgd",
        lr=1e-3,
        weight_decay=5e-4,
        new_layer_factor=10,
        schedule=StepDecay(every=2),
        crop=7 / 8,
    ),
}


def recipe_for(name: str, epochs: int | None = None, lr: float | None = None, precision: str = "auto") -> Recipe:
    """The recipe in a network's Spec, with other epochs, learning rate or precision.

    Args:
        name: one of `networks.names()`.
        epochs, lr, precision: in place of the recipe's own; None leaves its epochs or rate. A step decay keeps its
            share of the training: with 50 epochs for 10, a drop every 15 for every 3, which is what Choe et al. 2020 do
            on CUB and on ILSVRC.

    Returns:
        The recipe with what was asked for.

    Raises:
        ValueError: for an unknown name, or if the network has no recipe.

    Example:
        >>> recipe_for("mini-gap").epochs, recipe_for("resnet50-gap", epochs=50).schedule
        (5, StepDecay(every=15.0, factor=0.1))
    """
    known = networks.spec(name).recipe
    if not isinstance(known, Recipe) and known not in RECIPES:
        raise ValueError(
            f"{name} has recipe={known!r}: give its Spec a training.Recipe or one of {', '.join(RECIPES)}."
        )
    return adjusted(known if isinstance(known, Recipe) else RECIPES[known], epochs, lr, precision)


def adjusted(recipe: Recipe, epochs: int | None, lr: float | None, precision: str) -> Recipe:
    """A recipe with other epochs or learning rate if they are given, and that precision."""
    asked = {key: value for key, value in (("epochs", epochs), ("lr", lr)) if value is not None}
    asked = dataclasses.replace(recipe, precision=precision, **asked)
    if isinstance(recipe.schedule, StepDecay):
        every = recipe.schedule.every * asked.epochs / recipe.epochs
        asked = dataclasses.replace(asked, schedule=dataclasses.replace(recipe.schedule, every=every))
    return asked
