"""Labels that are few, guessed or wrong: a share of them, pseudo-labels, flipped ones.

Zhou 2018 calls supervision weak where it is incomplete (few labels), inexact (labels, no boxes) or inaccurate (wrong
labels). Everything here takes labels and gives labels or indices; the training itself is that of cambook.training.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cambook.datasets.batches import Subset
from cambook.metrics.evaluation import classify
from cambook.metrics.intervals import seed_interval
from cambook.training.cache import Trained, trained
from cambook.training.recipes import Recipe, recipe_for

CONFIDENCE = 0.9  # a pseudo-label needs at least this probability; set before any guess was checked


def share_of(labels: ArrayLike, share: float, seed: int) -> np.ndarray:
    """Indices of the images that keep their label: the same share of every class, at least one image each.

    labels: (N,) int64; share: above 0, at most 1; returns sorted int64 indices
    A larger share with the same seed holds all indices of a smaller one.
    raises: ValueError where the share is none
    """
    labels = np.asarray(labels)
    if not 0 < share <= 1:
        raise ValueError(f"share={share} is no share of the labels: give a number above 0, at most 1.")
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = []
    for label in np.unique(labels):
        own = order[labels[order] == label]
        chosen.append(own[: max(1, round(share * len(own)))])
    return np.sort(np.concatenate(chosen))


def pseudo_labels(logits: Tensor, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """The images of which a network is sure, and what it calls them.

    logits: (N, C); confidence: the most likely class must have at least this probability
    returns: indices (n,) among the N, sorted, and classes (n,), both int64
    raises: ValueError where the confidence is no probability
    Lee 2013, Pseudo-Label; the threshold as in Sohn et al. 2020, FixMatch.
    """
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence={confidence} is no probability: give a number from 0 to 1.")
    probability, guess = logits.softmax(1).max(1)
    sure = torch.nonzero(probability >= confidence)[:, 0]
    return sure.numpy(), guess[sure].numpy()


def flip(labels: ArrayLike, share: float, classes: int, seed: int) -> np.ndarray:
    """The labels with a share of them replaced by ANOTHER class, each other class as likely.

    labels: (N,) int64 from 0 to classes - 1; returns (N,) int64
    Exactly round(share * N) labels are wrong; a larger share with the same seed holds all wrong ones of a smaller one.
    raises: ValueError where share or classes make no sense
    Symmetric label noise, as in Zhang et al. 2017 (Understanding deep learning requires rethinking generalization).
    """
    labels = np.asarray(labels, np.int64)
    if not 0 <= share <= 1 or classes < 2:
        raise ValueError(f"share={share}, classes={classes}: give a share from 0 to 1 and at least 2 classes.")
    draw = np.random.default_rng(seed)
    wrong = draw.permutation(len(labels))[: round(share * len(labels))]
    moved = (labels + draw.integers(1, classes, len(labels))) % classes
    flipped = labels.copy()
    flipped[wrong] = moved[wrong]
    return flipped


def full_steps(network: str, pictures: int) -> int:
    """The optimizer steps that the network's own recipe takes on so many images.

    Example:
        >>> full_steps("mini-gap", 4000)
        625
    """
    recipe = recipe_for(network)
    return recipe.epochs * math.ceil(pictures / recipe.batch_size)


def same_steps(recipe: Recipe, pictures: int, steps: int) -> Recipe:
    """The recipe with as many epochs as make up `steps` steps on so few images, rounded to whole epochs.

    With the same number of epochs, fewer images would also mean fewer steps, and a comparison would mix the two.
    """
    return dataclasses.replace(recipe, epochs=max(1, round(steps / math.ceil(pictures / recipe.batch_size))))


@dataclass
class WeakTraining:
    """Training with weak labels: the network; the indices whose label was known and how many; the images that got a
    pseudo-label, and the share of these that is right, in percent (which only the evaluation can know)."""

    trained: Trained
    places: np.ndarray
    guessed: int = 0
    guessed_right: float = math.nan

    @property
    def labels(self) -> int:
        return len(self.places)


def with_few(data, share: float, *, network: str, steps: int, seed: int, **how) -> WeakTraining:
    """A network that learns from a share of the labels; the other images are not used.

    how: weights and device, as for training.trained
    """
    places = share_of(data.labels, share, seed)
    some = data if share == 1 else Subset(data, places)
    return WeakTraining(_trained(some, some.labels, network, steps, seed, f"{share:.0%} of the labels", how), places)


def with_guesses(
    data, few: WeakTraining, confidence: float, *, network: str, steps: int, seed: int, **how
) -> WeakTraining:
    """One round of pseudo-labels: the network of `few` labels the rest, a new one learns from both, from the start.

    Lee 2013. The new network takes as many steps as the first one.
    """
    rest = np.setdiff1d(np.arange(len(data)), few.places)
    logits = classify(few.trained.network, Subset(data, rest), device=how.get("device", "cpu"))
    sure, guesses = pseudo_labels(logits, confidence)
    right = 100 * float((guesses == data.labels[rest[sure]]).mean()) if len(sure) else math.nan
    both = Subset(data, np.concatenate([few.places, rest[sure]]))
    labels = np.concatenate([data.labels[few.places], guesses])
    describe = f"{len(few.places) / len(data):.0%} of the labels and pseudo-labels"
    return WeakTraining(_trained(both, labels, network, steps, seed, describe, how), few.places, len(sure), right)


def with_wrong(data, share: float, *, network: str, steps: int, seed: int, **how) -> WeakTraining:
    """A network that learns from all labels, of which a share is flipped to another class."""
    labels = flip(data.labels, share, len(data.classes), seed)
    trained = _trained(data, labels, network, steps, seed, f"{share:.0%} of the labels flipped", how)
    return WeakTraining(trained, np.arange(len(data)))


def recorded_difference(
    table: pd.DataFrame, metric: str, setting: str, over: str, over_metric: str | None = None
) -> tuple[float, float, float]:
    """By how much a setting is ahead of another over the recorded seeds, each seed against itself.

    Args:
        table: data/results/weak_labels.csv.
        metric: one of its columns, such as "accuracy".
        setting: of its column "setting".
        over: the setting that is subtracted.
        over_metric: the column that is subtracted, if it is another one, such as "centre_max_box_acc".

    Returns:
        (mean, low, high) in points, with Student's 95% interval, rounded to one decimal, so that an interval that is
        printed as touching 0 contains it.

    Example:
        >>> from cambook.course import runs
        >>> recorded_difference(runs.recorded("weak_labels"), "accuracy", "a tenth of the labels", "all labels")
        (-20.1, -31.2, -8.9)
    """
    ours, theirs = (table[table.setting == name].set_index("seed") for name in (setting, over))
    difference = (ours[metric] - theirs[over_metric or metric]).to_numpy()
    return tuple(round(float(value), 1) + 0.0 for value in (difference.mean(), *seed_interval(difference)))


def _trained(data, labels, network, steps, seed, describe, how) -> Trained:
    recipe = same_steps(recipe_for(network), len(data), steps)
    return trained(network, data, recipe, seed=seed, labels=labels, describe=describe, **how)
