"""The claims on real photographs: what is packed is unpacked, and each claim compares rows that the script measures.

The committed numbers are means of the committed results image by image, the differences are those of the rows, and
three rows, drawn by the commit, are measured again on 64 of their images.
"""

import hashlib
import subprocess

import numpy as np
import pytest
import real as benchmark

from cambook import datasets, files
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


# ---- the committed files ----

IMAGES, MAY_DIFFER = 64, 3  # of a row that is measured again; another processor rounds maps differently
MEAN_OF = {"gt_known": "gt_known", "max_box_acc": "best", "pointing": "pointing"}
ERROR_OF = {"top1_error": "top1", "top5_error": "top5"}


def rows_with_images():
    """(row, what was right in each of its images), for each row of real.csv that has them."""
    for row in real.rows().itertuples():
        try:
            yield row, real.per_image(row.dataset, real.Who(row.network, row.training, row.map), row.seed)
        except KeyError:
            assert row.map in {"cam-5-boxes", "features", *benchmark.CROPS}, row


def test_each_job_has_its_rows():
    found = real.rows()
    there = {*found[list(real.KEY)].itertuples(index=False, name=None)}
    assert there == {(*job[:4], source) for job in benchmark.jobs() for source in job.maps}
    assert (found["device"] != "").all() and (found["seconds"] >= 0).all()


def test_each_row_is_the_mean_of_its_images():
    seen = 0
    for row, right in rows_with_images():
        assert {len(values) for values in right.values()} == {row.images}
        means = {metric: 100 * right[bit].mean() for metric, bit in MEAN_OF.items()}
        means |= {metric: 100 - 100 * right[bit].mean() for metric, bit in ERROR_OF.items()}
        means["top1_loc_error"] = 100 - 100 * (right["top1"] & right["gt_known"]).mean()
        means["top1_loc_error_best"] = 100 - 100 * (right["top1"] & right["best"]).mean()
        for metric, mean in means.items():
            value = getattr(row, metric)
            assert np.isnan(value) or value == pytest.approx(mean, abs=0.006), (row, metric)
            seen += not np.isnan(value)
    assert seen > 300


def test_each_difference_is_that_of_its_rows():
    found, pairs = real.rows().set_index(list(real.KEY)), real.pairs().set_index(list(benchmark.PAIR))
    assert len(pairs) == len(benchmark.TESTS)
    for test in benchmark.TESTS:
        pair = pairs.loc[benchmark.named(test)]
        a, b = (found.loc[(test.dataset, who.network, who.training, slice(None), who.map)] for who in (test.a, test.b))
        difference = a[test.metric] - b[test.metric]
        assert pair["ours"] == pytest.approx(difference.mean(), abs=0.02), test
        if len(difference) > 1:
            low, high = benchmark.metrics.seed_interval(difference.to_numpy())
            assert pair["over"] == f"{len(difference)} seeds"
            assert (pair["low"], pair["high"]) == pytest.approx((low, high), abs=0.05), test
        assert pair["low"] <= pair["ours"] <= pair["high"], test


def differing(told, found):
    """In how many images two results differ in each of BITS."""
    return {name: int((told[name] != found[name]).sum()) for name in found}


def test_a_wrong_row_would_be_noticed():
    told = {"gt_known": np.arange(IMAGES) % 2 == 0}
    wrong = {"gt_known": told["gt_known"] ^ (np.arange(IMAGES) < MAY_DIFFER + 1)}
    assert differing(told, told)["gt_known"] == 0 and differing(told, wrong)["gt_known"] > MAY_DIFFER


def drawn_rows():
    """Three rows of networks that nobody here trained, and 64 of their images: drawn by the hash of the commit."""
    known = [row for row in real.rows().itertuples() if row.training == real.IMAGENET]
    known = [row for row in known if row.map in {*MAPS} - {"smooth-saliency"} and row.images > IMAGES]
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=files.ROOT, capture_output=True).stdout
    seed = int(hashlib.sha256(asked.strip() or b"no commit").hexdigest()[:12], 16)
    draw = np.random.default_rng(seed)
    return [
        (known[i], np.sort(draw.choice(known[i].images, IMAGES, replace=False)))
        for i in draw.choice(len(known), 3, replace=False)
    ]


@pytest.fixture
def settings(photographs, tmp_path):
    (folder,) = {photographs(name).parent for name in benchmark.SETS if name != "album"}
    return benchmark.Settings(str(folder), tmp_path, dry=False)


def test_three_rows_drawn_by_the_commit_are_measured_again(settings):
    for row, images in drawn_rows():
        who = real.Who(row.network, row.training, row.map)
        network = benchmark.network_of(benchmark.Job(row.dataset, *who[:2], row.seed, (row.map,)), settings)
        data = datasets.Subset(benchmark.loaded(row.dataset, "test", spec(row.network).side, settings), images)
        _, right, evaluation = benchmark.of_map(network, benchmark.seen_by(network, data), row.map)
        told = {name: values[images] for name, values in real.per_image(row.dataset, who, row.seed).items()}
        near = [one for one in evaluation.boxes.thresholds if abs(one - row.best_threshold) <= 0.0051]  # rounded there
        at_best = [differing(told, {"best": evaluation.boxes.right_at(one)})["best"] for one in near]
        found = differing(told, {name: values for name, values in right.items() if name != "best"})
        assert max(*found.values(), min(at_best)) <= MAY_DIFFER, (row, found, at_best)
