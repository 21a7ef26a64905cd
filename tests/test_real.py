"""The claims on real photographs: what is packed is unpacked, and each claim compares rows that the script measures."""

import numpy as np
import pytest
import real as benchmark

from cambook.course.papers import real
from cambook.maps import MAPS
from cambook.networks import spec

OTHERS = {"-", "whole-image", "cam-5-boxes", "features", *benchmark.CROPS}  # rows without a map of the registry


def test_what_is_packed_is_unpacked():
    draw = np.random.default_rng(0)
    right = {name: draw.random(50) < 0.5 for name in real.BITS}
    assert all((real.unpacked(real.packed(right))[name] == right[name]).all() for name in real.BITS)
    assert len({real.packed({name: np.array([True])}) for name in real.BITS}) == len(real.BITS)


def test_what_was_not_measured_is_not_right():
    assert not real.unpacked(real.packed({"best": np.array([True])}))["top1"].any()


def test_each_claim_compares_rows_that_are_measured_with_the_same_seeds():
    seeds = {}
    for job in benchmark.jobs():
        for source in job.maps:
            seeds.setdefault((job.dataset, job.network, job.training, source), set()).add(job.seed)
    for claim in real.CLAIMS:
        for test in claim.tests:
            assert test.metric in real.METRICS and test.a != test.b
            assert seeds[test.dataset, *test.a] == seeds[test.dataset, *test.b] != set(), test


def test_each_job_names_a_network_and_maps_that_exist():
    for job in benchmark.jobs():
        assert job.training in real.TRAININGS and spec(job.network).name == job.network
        assert {*job.maps} <= {*MAPS} | OTHERS and len({*job.maps}) == len(job.maps), job


def test_a_difference_over_images_has_its_interval_around_it():
    draw = np.random.default_rng(1)
    a, b = draw.random(200) < 0.8, draw.random(200) < 0.5
    who = real.Who("lite0-gap", real.IMAGENET, "cam")
    test = real.Test("ilsvrc", who, who._replace(map="cam-5-boxes"), "accuracy")
    row = benchmark.over_images(test, a, b)
    assert row["ours"] == pytest.approx(100 * (a.mean() - b.mean())) and row["low"] < row["ours"] < row["high"]
    assert row["over"] == "200 images" and benchmark.named(test) == tuple(row[name] for name in benchmark.PAIR)


def test_the_metric_of_hits_is_that_at_the_best_threshold():
    hits = np.array([[[True, False], [True, True]], [[False, False], [False, True]]])  # two IoUs, images, thresholds
    assert benchmark.metric_of(hits) == 75.0 and benchmark.metric_of(hits[0]) == 100.0
