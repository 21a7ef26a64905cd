"""Lessons and training on real photographs, with labels alone."""

from statistics import fmean

from cambook import files
from cambook.course import notebooks


def lesson_named(start):
    return next(files.NOTEBOOKS.glob(f"{start}_*.ipynb"))


def test_the_localization_lesson_runs_on_real_photographs(wildlife, tmp_path):
    parameters = {"dataset": f"voc:{wildlife}", "network": "lite0-gap"}
    metrics = notebooks.execute(lesson_named("04"), parameters, tmp_path).metrics
    assert metrics["top1_error"] <= 6 and metrics["max_box_acc"] > metrics["centre_max_box_acc"], metrics


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
