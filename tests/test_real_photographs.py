"""Lessons, tables and training on real photographs, with labels alone: what they claim is evaluated there, too."""

from statistics import fmean

import pytest

from cambook import files
from cambook.course import findings, notebooks

# On pets the animals fill their images: the spot in the middle is right, too, and boxes decide little.
ON_PETS = (
    "max_box_acc > random_weights_max_box_acc + 5",
    "abs(max_box_acc - centre_max_box_acc) < 12",
    "pxap > centre_pxap - 1",
    "pxap > 65",
    "top1_error < 30",
)
ON_WILDLIFE = ("top1_error <= 6", "max_box_acc > centre_max_box_acc", "max_box_acc > random_weights_max_box_acc + 8")
ON_TINY_IMAGENET = {
    "table1": ("'mini-gap - top1_error' < 85", "'mini-gap - top5_error' < 'mini-gap - top1_error' - 20"),
    "table2": (
        "'mini-gap cam top1_loc_error' < 92",
        "'mini-gap cam top5_loc_error' < 'mini-gap cam top1_loc_error' - 10",
    ),
}


def lesson_named(start):
    return next(files.NOTEBOOKS.glob(f"{start}_*.ipynb"))


def test_the_localization_lesson_runs_on_real_photographs(wildlife, tmp_path):
    parameters = {"dataset": f"voc:{wildlife}", "network": "lite0-gap"}
    metrics = notebooks.execute(lesson_named("04"), parameters, tmp_path).metrics
    assert all(findings.holds(claim, metrics) for claim in ON_WILDLIFE) and "pxap" not in metrics, metrics


def test_the_localization_lesson_counts_pixels_where_photographs_have_masks(photographs, tmp_path):
    parameters = {"dataset": f"pets:{photographs('pets')}", "network": "lite0-gap"}
    metrics = notebooks.execute(lesson_named("04"), parameters, tmp_path).metrics
    assert all(findings.holds(claim, metrics) for claim in ON_PETS), metrics


@pytest.mark.parametrize("table", ON_TINY_IMAGENET)
def test_a_table_runs_on_real_photographs(table, photographs, tmp_path):
    """Both tables measure one network, which the first of them trains."""
    parameters = {"dataset": f"tiny-imagenet:{photographs('tiny-imagenet')}", "network": "mini-gap"}
    metrics = notebooks.execute(files.NOTEBOOKS / "reproduce" / f"{table}.ipynb", parameters, tmp_path).metrics
    assert all(findings.holds(claim, metrics) for claim in ON_TINY_IMAGENET[table]), metrics


def test_the_acol_lesson_runs_on_real_photographs_which_have_no_masks(wildlife, tmp_path):
    parameters = {"dataset": f"voc:{wildlife}", "network": "lite0-acol", "epochs": 1}
    metrics = notebooks.execute(lesson_named("08"), parameters, tmp_path).metrics
    assert metrics["fused_max_box_acc"] > metrics["random_weights_max_box_acc"], metrics
    assert not [name for name in metrics if "pxap" in name or "coverage" in name]


def test_real_photographs_are_localized_from_their_labels_alone(wildlife):
    """Three seeds; the first comes from the cache where the lesson has run just before."""
    from cambook import datasets, training
    from cambook.metrics import evaluate

    train, test = (datasets.load(f"voc:{wildlife}", split, 224) for split in ("train", "test"))
    assert (len(train), len(test)) == (143, 118)
    rows = []
    for seed in range(3):
        tuned = training.trained("lite0-gap", train, training.recipe_for("lite0-gap"), seed=seed, weights="pretrained")
        rows.append(evaluate(tuned.network, test).row)
    mean = {metric: fmean(row[metric] for row in rows) for metric in rows[0]}
    centre = evaluate(tuned.network, test, "centre").row["max_box_acc"]
    assert mean["top1_error"] <= 5, rows
    assert mean["max_box_acc"] >= 56 and mean["max_box_acc"] > centre, (rows, centre)
