"""Training on image labels: `policy` and recipes, `fit`, and `trained`, which trains nothing twice."""

from __future__ import annotations

from cambook.training.cache import Trained, before_and_after, shared_networks, trained
from cambook.training.fingerprint import EXEMPT, modules_of, source_key, tree_of
from cambook.training.fitting import (
    CHECKPOINT_SECONDS,
    augment,
    fit,
    generator,
    is_mixed,
    learning_rate,
    make_optimizer,
)
from cambook.training.plans import Plan, policy
from cambook.training.recipes import RECIPES, Recipe, StepDecay, recipe_for
from cambook.training.speed import throughput

__all__ = [
    "CHECKPOINT_SECONDS",
    "EXEMPT",
    "RECIPES",
    "Plan",
    "Recipe",
    "StepDecay",
    "Trained",
    "augment",
    "before_and_after",
    "fit",
    "generator",
    "is_mixed",
    "learning_rate",
    "make_optimizer",
    "modules_of",
    "policy",
    "recipe_for",
    "shared_networks",
    "source_key",
    "throughput",
    "trained",
    "tree_of",
]
