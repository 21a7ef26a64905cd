"""Paired differences of two evaluations: signs, units and agreement with their rows."""

import pytest

from cambook import datasets, networks
from cambook.course.lessons.versus import versus
from cambook.metrics import evaluation


@pytest.fixture(scope="module")
def two():
    data = datasets.load("scenes", "test", 64, length=60)
    network = networks.build("mini-gap", 12, seed=0)
    return evaluation.evaluate(network, data, "cam"), evaluation.evaluate(network, data, "centre")


@pytest.mark.parametrize("metric", ["max_box_acc", "gt_known", "pointing", "top1_error", "top1_loc_error"])
def test_a_difference_is_that_of_the_rows_and_lies_in_its_interval(two, metric):
    a, b = two
    difference, low, high = versus(a, b, metric)
    assert difference == pytest.approx(a.row[metric] - b.row[metric])
    assert low <= difference <= high
    backwards = versus(b, a, metric)
    assert backwards == pytest.approx((-difference, -high, -low))


def test_shares_of_maps_are_compared_in_points(two):
    a, b = two
    difference, low, high = versus(a, b, "inside")
    assert difference == pytest.approx(a.inside.mean() - b.inside.mean()) and low < difference < high
    assert versus(a, a, "inside") == (0, 0, 0)
