"""Maps of a set are counted as evaluation counts them, and a tuned threshold is optimistic where it should be."""

import numpy as np
import pytest
import torch

from cambook import datasets, networks
from cambook.course.lessons import tuning
from cambook.metrics import evaluation


@pytest.fixture(scope="module")
def small():
    data = datasets.load("scenes", "test", 64, length=24)
    return networks.build("mini-gap", 12, seed=0), data, data.batch(range(24))


@pytest.mark.parametrize("source", ["cam", "grad-cam", "saliency", "centre"])
def test_maps_of_a_set_are_counted_as_evaluate_does(small, source):
    network, data, batch = small
    found = tuning.evaluate_maps(tuning.true_class_maps(network, batch, source, some=10), batch)
    wanted = evaluation.evaluate(network, data, source)
    assert np.abs(found.accuracy.curve() - wanted.curve).max() <= 100 / 24 + 1e-9  # a rounding may tip one picture
    assert found.accuracy.max_box_acc()[0] == pytest.approx(wanted.row["max_box_acc"], abs=1e-9)
    assert found.accuracy.max_box_acc_v2() == pytest.approx(wanted.row["max_box_acc_v2"], abs=2)
    assert found.pxap() == pytest.approx(wanted.row["pxap"], abs=1e-4)
    assert found.hits.shape == (24, 1000) and np.allclose(100 * found.hits.mean(0), wanted.curve)


def test_the_paper_rule_at_twenty_percent_is_gt_known(small):
    network, data, batch = small
    hits = tuning.rule_hits(tuning.true_class_maps(network, batch, "cam"), batch, "paper", [0.2, 0.5])
    assert np.array_equal(hits[:, 0], evaluation.evaluate(network, data).correct["gt_known"])
    assert hits.shape == (24, 2)


def test_without_masks_pxap_does_not_apply(small):
    network, _, batch = small
    bare = type(batch)(batch.images, batch.labels, batch.boxes, None, batch.indices)
    found = tuning.evaluate_maps(tuning.true_class_maps(network, bare, "centre"), bare)
    assert found.pxap() == "not applicable" and len(found.accuracy) == 24
    row = tuning.table({"centre": found}).loc["centre"]
    assert row["MaxBoxAcc"] == found.accuracy.max_box_acc()[0] > 20 and row["PxAP"] == "not applicable"


def test_features_are_the_networks(small):
    network, _, batch = small
    with torch.no_grad():
        wanted = network(batch.images)[1]
    assert torch.allclose(tuning.feature_maps(network, batch, some=7), wanted, atol=1e-5)


def test_of_equally_good_thresholds_the_middle_one():
    assert tuning.middle_of_best([[0, 1, 1, 1, 0]]) == 2
    assert tuning.middle_of_best([[0, 1, 1, 0], [1, 0, 1, 0]]) == 2
    assert tuning.middle_of_best(np.zeros((1, 5))) == 2


def test_one_picture_flatters_and_all_pictures_of_the_test_set_do_not():
    draw = np.random.default_rng(0)
    hits = draw.random((200, 40)) < np.linspace(0.3, 0.6, 40)
    one, every = (tuning.tune(hits, hits, n, 50, seed=0) for n in (1, 200))
    assert one.apparent.mean() == 100 and one.actual.mean() < 60
    assert set(every.choice) == {tuning.middle_of_best(hits)} and np.array_equal(every.apparent, every.actual)


def test_the_test_pictures_have_no_say_in_the_choice():
    boxed, test = np.tile([True, False], (6, 1)), np.tile([False, True], (9, 1))
    tuned = tuning.tune(boxed, test, 3, 4, seed=0)
    assert (
        tuned.choice.tolist() == [0] * 4 and tuned.apparent.tolist() == [100] * 4 and tuned.actual.tolist() == [0] * 4
    )


def test_bad_input_is_refused(small):
    network, _, batch = small
    with pytest.raises(ValueError, match="source='cams' is unknown"):
        tuning.true_class_maps(network, batch, "cams")
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 5\)"):
        tuning.tune(np.ones((3, 4)), np.ones((3, 5)), 1, 1, 0)
