"""Weak labels: shares are of every class, guesses are sure ones, flipped labels are wrong, trainings are as long."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

from cambook import datasets, files, training
from cambook.course import runs
from cambook.course.lessons import check, weak_labels

LABELS = np.repeat(np.arange(4), [100, 40, 10, 3])


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 1.0])
def test_a_share_keeps_that_share_of_every_class_and_no_class_is_lost(share):
    kept = np.bincount(LABELS[weak_labels.share_of(LABELS, share, 0)], minlength=4)
    assert kept.tolist() == [max(1, round(share * n)) for n in (100, 40, 10, 3)]


def test_a_larger_share_holds_the_smaller_one_and_another_seed_draws_others():
    small, large = (set(weak_labels.share_of(LABELS, share, 0)) for share in (0.1, 0.4))
    assert small < large
    assert small != set(weak_labels.share_of(LABELS, 0.1, 1))


def test_pseudo_labels_are_the_likeliest_classes_where_their_probability_reaches_the_confidence():
    probability = torch.tensor([[0.5, 0.3, 0.2], [0.05, 0.9, 0.05], [0.7, 0.2, 0.1]])
    places, guesses = weak_labels.pseudo_labels(probability.log(), 0.65)
    assert places.tolist() == [1, 2] and guesses.tolist() == [1, 0]
    assert len(weak_labels.pseudo_labels(probability.log(), 0.0)[0]) == 3
    assert len(weak_labels.pseudo_labels(probability.log(), 1.0)[0]) == 0


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
def test_exactly_that_share_of_the_labels_is_wrong_after_flipping(share):
    flipped = weak_labels.flip(LABELS, share, 4, 0)
    assert (flipped != LABELS).sum() == round(share * len(LABELS))
    assert flipped.min() >= 0 and flipped.max() < 4


def test_flipped_labels_go_to_every_other_class_and_a_larger_share_holds_the_smaller():
    same = np.zeros(3000, np.int64)
    assert np.bincount(weak_labels.flip(same, 1.0, 4, 0), minlength=4).tolist() == pytest.approx(
        [0, 1000, 1000, 1000], abs=80
    )
    small, large = (weak_labels.flip(LABELS, share, 4, 0) for share in (0.2, 0.6))
    wrong = small != LABELS
    assert (large[wrong] == small[wrong]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: weak_labels.share_of(LABELS, 0, 0),
        lambda: weak_labels.share_of(LABELS, 10, 0),
        lambda: weak_labels.pseudo_labels(torch.zeros(1, 2), 90),
        lambda: weak_labels.flip(LABELS, 40, 4, 0),
        lambda: weak_labels.flip(LABELS, 0.4, 1, 0),
    ],
)
def test_percent_where_a_share_is_meant_is_refused(wrong):
    with pytest.raises(ValueError, match="give a"):
        wrong()


def test_few_pictures_are_trained_on_for_as_many_steps_as_many():
    recipe = training.Recipe(batch_size=32)
    for pictures in (20, 200, 400, 4000):
        epochs = weak_labels.same_steps(recipe, pictures, 250).epochs
        assert epochs * math.ceil(pictures / 32) == pytest.approx(250, abs=math.ceil(pictures / 64))


@pytest.fixture
def short(monkeypatch, tmp_path):
    """Trainings of a few steps, kept in a folder of their own."""
    monkeypatch.setattr(files, "CACHE", tmp_path)
    recipe = dataclasses.replace(training.recipe_for("mini-gap"), batch_size=8)
    monkeypatch.setattr(weak_labels, "recipe_for", lambda name: recipe)
    return {"network": "mini-gap", "steps": 2, "seed": 0}


def test_a_round_of_guesses_learns_from_the_labels_and_the_guesses_and_never_from_hidden_labels(short, monkeypatch):
    data = datasets.load("scenes", "train", 32, length=36)
    few = weak_labels.with_few(data, 1 / 3, **short)
    assert few.labels == 12 and few.guessed == 0
    seen = {}
    monkeypatch.setattr(weak_labels, "trained", lambda n, d, r, labels, **_: seen.update(data=d, labels=labels))
    both = weak_labels.with_guesses(data, few, 0.0, **short)
    assert both.labels == 12 and both.guessed == 24
    known = np.isin(seen["data"].indices, few.places)
    assert known.sum() == 12 and (seen["labels"][known] == data.labels[seen["data"].indices[known]]).all()
    right = (seen["labels"][~known] == data.labels[seen["data"].indices[~known]]).mean()
    assert both.guessed_right == pytest.approx(100 * right) and right < 1


def test_without_a_sure_guess_only_the_labels_are_left(short, monkeypatch):
    data = datasets.load("scenes", "train", 32, length=36)
    few = weak_labels.with_few(data, 1 / 3, **short)
    both = weak_labels.with_guesses(data, few, 1.0, **short)
    assert both.guessed == 0 and math.isnan(both.guessed_right)


def test_the_full_budget_is_that_of_the_networks_own_recipe():
    recipe = training.recipe_for("mini-gap")
    assert weak_labels.full_steps("mini-gap", 4000) == recipe.epochs * 4000 // recipe.batch_size
    assert weak_labels.full_steps("mini-gap", 1) == recipe.epochs


def test_a_recorded_difference_is_taken_seed_by_seed_with_students_interval():
    few = {"setting": "few", "seed": [2, 0, 1], "accuracy": [74.0, 70.0, 72.0], "centre": 60.0}
    everything = {"setting": "all", "seed": [0, 1, 2], "accuracy": [70.0, 71.0, 72.0], "centre": 60.0}
    table = pd.concat([pd.DataFrame(few), pd.DataFrame(everything)])
    assert weak_labels.recorded_difference(table, "accuracy", "few", "all") == (1.0, -1.5, 3.5)
    assert weak_labels.recorded_difference(table, "accuracy", "few", "few", "centre") == (12.0, 7.0, 17.0)


def test_the_recorded_runs_are_those_that_lesson_07_says():
    table = runs.recorded("weak_labels")
    assert len(table) == 12 and set(table.groupby("setting").seed.apply(tuple)) == {(0, 1, 2)}
    assert table.groupby("setting").labels.agg(set).to_dict() == {
        "all labels": {4000},
        "a tenth of the labels": {396},
        "with pseudo-labels": {396},
        "two in five wrong": {4000},
    }
    assert set(table.setting[table.right.notna()]) == set(table.setting[table.share.notna()]) == {"with pseudo-labels"}
    assert table.centre_max_box_acc.nunique() == 1, "the test images are the same every time"


def highest_entropy(logits, n):
    probability = logits.softmax(1)
    return (-(probability * probability.log()).sum(1)).topk(n).indices


def smallest_margin(logits, n):
    exps = np.exp(logits.numpy() - logits.numpy().max(1, keepdims=True))
    ordered = np.sort(exps / exps.sum(1, keepdims=True), 1)
    return np.argsort(ordered[:, -1] - ordered[:, -2])[:n].tolist()


@pytest.mark.parametrize("rule", [highest_entropy, smallest_margin])
def test_several_rules_of_active_learning_are_right(rule):
    assert check.worth_labelling.answer(rule) == "✓ worth_labelling: correct."
