"""The papers' tables: every row has its published line, ours stand beside it, claims are judged by intervals."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from cambook import datasets, files, networks, training
from cambook.course import papers
from cambook.course.papers import TABLES, LinearSVM, claims, counterpart, features, measure, published, report, verdict
from cambook.course.parameters import Parameters, declared_parameters
from cambook.datasets import Batch, batches
from cambook.networks import PooledNetwork
from cambook.training import plans

REPRODUCE = Path(__file__).parents[1] / "notebooks" / "reproduce"
each_table = pytest.mark.parametrize("name", TABLES)


# ---- which network stands for which line ----


@each_table
def test_every_row_has_its_published_line_and_known_networks(name):
    for row in TABLES[name].rows:
        for line in row.lines:
            lines = published.table(line.file)
            assert (
                (lines["method"] == line.method) & lines["backbone"].isin([line.backbone or "", *lines["backbone"]])
            ).any()
        assert {row.network, row.small} - {None} <= set(networks.names())
        assert row.small is None or row.small.startswith("mini")


@pytest.mark.parametrize("name", [name for name in TABLES if name != "wsol"])
def test_every_metric_of_the_cam_paper_has_its_figure(name):
    for row in TABLES[name].rows:
        for metric in TABLES[name].metrics:
            assert papers.published_figure(row, metric, "scenes")["value"] > 10, row


def test_every_published_line_of_tables_one_and_two_has_a_row():
    for number in (1, 2, 3):
        lines = published.table(f"cam_table{number}").query("table != 'abstract'")
        assert set(lines["method"]) == {row.lines[0].method for row in TABLES[f"table{number}"].rows}


def test_the_published_figures_stand_beside_the_right_networks():
    def figures(name, metric, dataset="ilsvrc:x"):
        found = {(r.network, r.source): papers.published_figure(r, metric, dataset) for r in TABLES[name].rows}
        return {key: None if row is None else row["value"] for key, row in found.items()}

    assert figures("table1", "top1_error")["alexnet-star-gap", "-"] == 44.9
    assert figures("table2", "top1_loc_error")["googlenet-gap", "cam"] == 56.4
    assert figures("table2", "top5_loc_error")["vgg16", "smooth-saliency"] == 51.46
    assert figures("table3", "top5_loc_error")["googlenet-gap", "cam-5-boxes"] == 37.1
    assert figures("table4", "accuracy", "cub")["googlenet-gap", "cam-box"] == 67.8
    wsol = figures("wsol", "max_box_acc_v2")
    assert (wsol["vgg16-gap", "cam"], wsol["vgg16-acol", "acol"], wsol["resnet50-gap", "cam"]) == (60.0, 57.4, 63.7)
    assert figures("wsol", "max_box_acc_v2", "cub")["resnet50-gap", "cam"] == 63.0
    assert figures("wsol", "pxap")["vgg16-gap", "cam"] == 58.3
    loc = figures("wsol", "top1_loc_error")
    assert (loc["vgg16-acol", "acol"], loc["vgg16", "grad-cam"], loc["vgg16-gap", "grad-cam"]) == (54.17, 56.51, None)
    assert figures("wsol", "coverage")["vgg16-gap", "cam"] is None


def test_a_table_on_eight_data_sets_stands_beside_their_mean_and_says_so():
    row = TABLES["table5"].rows[0]
    mean = papers.published_figure(row, "accuracy", "scenes")
    assert mean["value"] == 71.46 and mean["evidence"] == "derived" and "8 data sets" in mean["dataset"]


def test_a_line_that_no_file_has_is_named():
    row = papers.Row((papers.Line("cam_table1", "LeNet"),), "alexnet")
    with pytest.raises(KeyError, match="cam_table1.csv has no method 'LeNet'"):
        papers.published_figure(row, "top1_error", "scenes")


def test_networks_are_those_of_the_profile_or_the_one_asked_for():
    assert papers.networks_of("table3", "quick") == ["mini-fc-gap", "mini-fc"]
    assert papers.networks_of("table4", "paper") == ["googlenet-gap"]
    assert papers.networks_of("table1", "full", "alexnet") == ["alexnet"]
    with pytest.raises(ValueError, match="'mini-acol' has no row in table1: choose one of mini-fc, vgg16"):
        papers.networks_of("table1", "quick", "mini-acol")
    with pytest.raises(KeyError, match="no table 'table9'; known: table1"):
        papers.networks_of("table9", "quick")


# ---- ours beside published ----


def results_of(*lines, notebook="table1", profile="quick", dataset="scenes"):
    """lines: "NETWORK SOURCE METRIC" and the values of seeds 0, 1, ..."""
    rows = []
    for name, *values in lines:
        network, source, metric = name.split(" ")
        for seed, value in enumerate(values):
            row = {"run": f"run {seed}", "notebook": notebook, "profile": profile, "dataset": dataset, "seed": seed}
            row |= {"network": network, "source": source, "metric": metric, "value": value}
            rows.append(row | {"device": "cpu", "finished": f"2026-01-0{seed + 1}"})
    return pd.DataFrame(rows)


def test_a_row_has_mean_spread_and_number_of_seeds_and_the_published_figure_beside_which_it_stands():
    whole = papers.table("table1", results_of(("mini-fc - top1_error", 30.0, 32.0, 40.0)))
    (line,) = whole.to_dict("records")
    assert (line["ours"], line["spread"], line["seeds"]) == (34.0, round(np.std([30, 32, 40], ddof=1), 2), 3)
    assert (line["published"], line["evidence"]) == (31.2, "paper") and line["differs in"] and "difference" not in line
    assert (line["row"], line["network"]) == ("VGGnet", "mini-fc")


def test_one_seed_has_no_spread_and_a_repeated_run_counts_once():
    once = results_of(("mini-fc - top1_error", 30.0))
    again = once.assign(value=31.0, finished="2026-02-01", run="again")
    (line,) = papers.table("table1", pd.concat([again, once])).to_dict("records")
    assert line["ours"] == 31.0 and line["seeds"] == 1 and np.isnan(line["spread"])


def test_settings_are_never_averaged_together():
    quick, birds = results_of(("mini-fc - top1_error", 30.0)), results_of(("mini-fc - top1_error", 50.0), dataset="cub")
    other = results_of(("mini-fc - top1_error", 90.0), notebook="table2")
    whole = papers.table("table1", pd.concat([quick, birds, other]))
    assert dict(zip(whole["data"], whole["ours"], strict=True)) == {"scenes": 30.0, "cub": 50.0}


def test_the_conditions_that_differ_are_named_and_those_that_agree_are_not():
    small = papers.table("table2", results_of(("mini-fc saliency top1_loc_error", 60.0), notebook="table2"))
    said = small["differs in"].item()
    for condition in ("scenes, not ILSVRC", "test, not val", "mini-fc in place of Backprop", "from scratch", "64 px"):
        assert condition in said
    assert "box at 20% of the raw map's maximum" in said
    server = {"notebook": "table1", "profile": "paper", "dataset": "ilsvrc:imagenet"}
    names = ("googlenet", "alexnet-gap", "vgg16-gap", "nin")
    large = papers.table("table1", results_of(*((f"{n} - top1_error", 40.0) for n in names), **server))
    said = dict(zip(large["network"], large["differs in"], strict=True))
    assert "batch norm" in said["googlenet"] and "one tower" in said["alexnet-gap"] and said["nin"] == ""
    assert said["vgg16-gap"] == "from torchvision's ImageNet weights"


@each_table
def test_no_condition_is_cut_in_two(name):
    for row in TABLES[name].rows:
        for network in {row.network, row.small} - {None}:
            for dataset in ("scenes", "cub", "ilsvrc:x"):
                theirs = papers.published_figure(row, TABLES[name].metrics[0], dataset)
                said = counterpart.conditions(name, network, row.source, dataset, "quick", theirs)
                assert said and not [one for one in said if "; " in one]


def test_lines_that_are_only_quoted_stand_in_the_table_without_a_figure_of_ours():
    whole = papers.table("table3", results_of(("mini-fc-gap cam top5_loc_error", 30.0), notebook="table3"))
    quoted = whole[whole["seeds"] == 0]
    assert quoted["published"].tolist() == [26.7, 29.9, 34.2] and quoted["ours"].isna().all()
    assert "split: test, not" not in whole["differs in"].iloc[0]
    real = results_of(("googlenet-gap cam top5_loc_error", 30.0), notebook="table3", dataset="ilsvrc:x")
    assert "split: val, not test" in papers.table("table3", real)["differs in"].iloc[0]


def test_what_differs_everywhere_is_said_once():
    both = results_of(("mini-fc - top1_error", 30.0), ("mini-fc-gap - top1_error", 25.0))
    conditions, rest = papers.shared(papers.table("table1", both))
    assert "data: scenes, not ILSVRC" in conditions and "network: mini-fc in place of VGGnet" not in conditions
    assert rest["differs in"].tolist() == [
        "network: mini-fc in place of VGGnet",
        "network: mini-fc-gap in place of VGGnet-GAP",
    ]
    assert not {"map", "data", "profile"} & set(rest.columns)
    assert rest["ours"].tolist() == ["30.00", "25.00"] and rest["spread"].tolist() == ["-", "-"]


def test_results_without_a_column_are_refused():
    with pytest.raises(ValueError, match="no column seed: take them from cambook.course.results.collect"):
        papers.table("table1", results_of(("mini-fc - top1_error", 30.0)).drop(columns="seed"))


def test_a_table_without_results_is_empty_and_no_error():
    nothing = pd.DataFrame(columns=papers.COLUMNS)
    assert papers.table("table1", nothing).empty
    assert papers.shared(papers.table("table1", nothing))[0] == []
    assert papers.check_claims("cam", nothing).empty


def test_a_run_takes_the_place_of_a_recorded_one_of_its_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "DATA", tmp_path)
    (tmp_path / "results").mkdir()
    before = results_of(("mini-fc - top1_error", 30.0, 40.0))
    (tmp_path / "results" / "table1.csv").write_text("# command\n" + before.to_csv(index=False), encoding="utf-8")
    run = SimpleNamespace(profile="quick", seed=1, device=torch.device("cpu"), parameters=Parameters(dataset="scenes"))
    found = papers.Measurements()
    found.add("mini-fc", "-", "top1_error", 44.0)
    both = papers.results("table1", run, found)
    assert sorted(both["value"]) == [30.0, 44.0]
    assert papers.results("table2", run, found)["value"].tolist() == [44.0]  # nothing recorded


# ---- claims ----


@pytest.mark.parametrize(
    "low, high, between, said",
    [
        (0.1, 3, (0, np.inf), "holds"),
        (-0.1, 3, (0, np.inf), "not decided"),
        (-3, -0.1, (0, np.inf), "does not hold"),
        (0, 0, (0, np.inf), "does not hold"),
        (1.5, 2.5, (1, 3), "holds"),
        (0.5, 2.5, (1, 3), "not decided"),
        (3.5, 9, (1, 3), "does not hold"),
        (-9, 0.5, (1, 3), "does not hold"),
        (np.nan, np.nan, (0, np.inf), "not decided"),
    ],
)
def test_a_verdict_follows_from_the_interval(low, high, between, said):
    assert verdict(low, high, between) == said


def judged(results, says, pair, paper="cam", pictures=None):
    lines = papers.check_claims(paper, results, pictures)
    (line,) = lines[(lines["claim"] == says) & (lines["difference"] == pair)].to_dict("records")
    return line


GMP = "mini-fc-gmp cam minus mini-fc-gap cam"


def test_a_claim_is_paired_over_the_seeds_that_both_have():
    gap, gmp = ("mini-fc-gap cam top1_loc_error", 40, 50, 60), ("mini-fc-gmp cam top1_loc_error", 43, 54, 63, 99)
    line = judged(results_of(gap, gmp, notebook="table2"), "GAP localizes better than GMP, top-1", GMP)
    assert line["ours"] == 3.33 and line["over"] == "3 seeds" and line["verdict"] == "holds"
    assert line["low"] == pytest.approx(1.9, abs=0.01) and line["published"] == 1.38
    turned = results_of((gap[0], *gmp[1:4]), (gmp[0], *gap[1:]), notebook="table2")
    assert judged(turned, "GAP localizes better than GMP, top-1", GMP)["verdict"] == "does not hold"


def test_one_seed_decides_nothing_unless_its_pictures_are_at_hand():
    one = results_of(
        ("mini-fc-gap cam top1_loc_error", 40.0), ("mini-fc-gmp cam top1_loc_error", 60.0), notebook="table2"
    )
    assert judged(one, "GAP localizes better than GMP, top-1", GMP)["verdict"] == "not decided"
    wrong = np.arange(100) < 60
    pictures = {
        "mini-fc-gmp cam top1_loc_error": 100.0 * wrong,
        "mini-fc-gap cam top1_loc_error": 100.0 * (np.arange(100) < 40),
    }
    says = "GAP localizes better than GMP, top-1"
    assert judged(one, says, GMP, pictures=pictures)["over"] == "1 seed"  # another run's pictures
    own = judged(one.assign(run=papers.THIS_RUN), says, GMP, pictures=pictures)
    assert own["verdict"] == "holds" and own["over"] == "100 images, 1 seed" and own["low"] > 10


def test_a_range_is_judged_and_the_papers_own_difference_stands_beside():
    lines = ("alexnet-gap - top1_error", 51.0, 51.2, 50.9), ("alexnet - top1_error", 42.5, 42.6, 42.6)
    results = results_of(*lines, profile="paper", dataset="ilsvrc:x")
    line = judged(results, "GAP networks lose 1 to 3 points of accuracy", "alexnet-gap minus alexnet")
    assert (line["published"], line["claimed"], line["verdict"]) == (8.5, "+1 to +3", "does not hold")


def test_acol_is_judged_by_its_own_paper_and_by_choe_et_al():
    lines = [("mini-acol acol coverage", 80, 82), ("mini-gap cam coverage", 70, 72)]
    lines += [("mini-acol acol max_box_acc_v2", 50, 52), ("mini-gap cam max_box_acc_v2", 60, 62)]
    results = results_of(*lines, notebook="wsol")
    assert (
        judged(results, "ACoL covers more of the object than CAM", "mini-acol acol minus mini-gap cam", "acol")["ours"]
        == 10
    )
    line = judged(
        results, "CAM is better than ACoL where both are evaluated alike", "mini-gap cam minus mini-acol acol", "wsol"
    )
    assert line["verdict"] == "holds" and line["published"] == 2.6


def test_a_paper_without_claims_lists_the_known_ones():
    with pytest.raises(ValueError, match="choose one of cam, grad-cam, acol, wsol"):
        papers.check_claims("yolo", results_of(("mini-fc - top1_error", 30.0)))


def test_every_claim_compares_rows_of_its_table():
    for claim in papers.CLAIMS:
        rows = TABLES[claim.table].rows
        for pair in claim.pairs:
            assert set(pair[:2]) <= {f"{row.network} {row.source}" for row in rows}, claim.says
            assert set(pair.small or ()) <= {f"{row.small} {row.source}" for row in rows}, claim.says
        assert claim.metric in TABLES[claim.table].metrics


def test_the_papers_own_differences_are_those_of_their_networks():
    published = {}
    for paper in papers.PAPERS:
        for claim in (claim for claim in papers.CLAIMS if claim.paper == paper):
            for pair in claim.pairs:
                published[claim.says, pair.a] = claims._published_difference(claim, pair, "scenes")
    assert published["GAP networks lose 1 to 3 points of accuracy", "vgg16-gap -"] == 2.2
    assert published["GAP networks lose 1 to 3 points of accuracy", "alexnet-star-gap -"] == 2.3
    assert published["CAM beats backprop, top-1", "alexnet saliency"] == -2.02
    assert published["A tight and a loose box lower the error", "googlenet-gap cam"] == 5.8
    assert published["The CAM box helps to tell classes apart", "googlenet-gap cam-box"] == 4.8
    assert published["Grad-CAM localizes better than CAM", "vgg16-gap cam"] == 0.69
    assert published["ACoL localizes better than CAM", "vgg16-gap cam"] == 3.03
    assert published["CAM is better than a spot in the centre", "vgg16-gap cam"] == 6.61
    assert np.isnan(published["ACoL covers more of the object than CAM", "vgg16-acol acol"])


def test_the_papers_claims_are_held_against_its_own_figures():
    own = papers.own_figures("cam", "table1").set_index("difference")["in the paper"]
    assert own["VGGnet-GAP minus VGGnet"] == "holds" and own["AlexNet-GAP minus AlexNet"] == "does not hold"
    own = papers.own_figures("cam", "table2")
    backprop = own[(own["claim"] == "CAM beats backprop, top-1") & own["difference"].str.contains("AlexNet")]
    assert backprop["in the paper"].tolist() == ["does not hold"] and backprop["published"].tolist() == [-2.02]
    assert papers.own_figures("acol", "table1").empty


def test_a_table_and_its_claims_are_written_as_csv_and_markdown(tmp_path):
    gap, gmp = ("mini-fc-gap cam top1_loc_error", 40, 50), ("mini-fc-gmp cam top1_loc_error", 43, 54)
    results = results_of(gap, gmp, notebook="table2")
    written = papers.write("table2", results, tmp_path / "out")
    assert [file.name for file in written] == ["table2.csv", "table2-claims.csv", "table2.md"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(file.name for file in written)
    pd.testing.assert_frame_equal(
        pd.read_csv(written[0]), papers.table("table2", results), check_dtype=False, check_exact=True
    )
    text = written[2].read_text(encoding="utf-8")
    assert "| CAM on VGGnet-GAP" in text and "GAP localizes better than GMP, top-1" in text and "not decided" in text


def test_a_figure_has_a_line_for_each_row_and_says_from_five_rows_how_far_the_order_agrees(monkeypatch):
    lines = [(f"{n} - top1_error", v) for n, v in (("mini-fc", 30.0), ("mini-fc-gap", 35.0), ("mini-nin", 45.0))]
    whole = papers.table("table1", results_of(*lines))
    fig = papers.figure("table1", whole, "top1_error")
    assert len(fig.axes[0].get_yticklabels()) == 3 and "rank" not in fig.get_suptitle()
    assert "mini-fc-gap (" in fig.alt and "ours 35.0 and published" in fig.alt
    monkeypatch.setattr(report, "RANKED", 3)
    said = papers.figure("table1", whole, "top1_error").get_suptitle().replace("\n", " ")
    assert "rank correlation +1.00 over 3 rows" in said


# ---- what is measured ----


class Corners:
    """Black pictures, one square of 24 px in the colour of its class, at one of two places."""

    name, size, classes = "corners", 64, ["red", "green", "blue"]

    def __init__(self, split="test", length=24):
        self.split, self.report, self.labels = split, [], np.arange(length) % 3
        self.fingerprint = f"corners {split} {length}"

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, device="cpu"):
        indices = torch.as_tensor(indices).reshape(-1)
        labels, places = torch.from_numpy(self.labels)[indices], torch.where(indices % 2 == 0, 4, 30)
        images, masks = torch.zeros(len(indices), 3, 64, 64), torch.zeros(len(indices), 64, 64, dtype=torch.bool)
        boxes = []
        for image, mask, label, place in zip(images, masks, labels, places.tolist(), strict=True):
            square = slice(place, place + 24)
            image[label, square, square], mask[square, square] = 1, True
            boxes.append(np.array([[place, place, place + 24, place + 24]], np.float32))
        return Batch(images, labels, boxes, masks, indices)


@pytest.fixture
def seer():
    """Its feature maps are the colours at 16x16 places, and three more that are empty; each colour is its class."""
    network = PooledNetwork(torch.nn.AvgPool2d(4), 3, 3, "gap", mean=(0.0,) * 3, std=(1.0,) * 3)
    with torch.no_grad():
        network.classifier.weight.copy_(torch.eye(3))
        network.classifier.bias.zero_()
    network.name = "mini-gap"
    return network


def test_a_network_that_sees_everything_makes_no_errors(seer):
    found = papers.classification({"mini-gap": seer}, Corners())
    assert found.values == {"mini-gap - top1_error": 0.0}  # of three classes, five guesses would say nothing
    assert found.pictures["mini-gap - top1_error"].shape == (24,)
    scenes = datasets.load("scenes", "test", 64, length=12)
    both = papers.classification({"mini-gap": networks.build("mini-gap", 12)}, scenes)
    assert list(both.values) == ["mini-gap - top1_error", "mini-gap - top5_error"]


def test_localization_measures_each_source_of_the_table_and_no_other(seer):
    found = papers.localization("wsol", {"mini-gap": seer}, Corners(), seed=0)
    assert {key.split(" ")[1] for key in found.values} == {"cam", "grad-cam", "centre"}
    for source in ("cam", "grad-cam"):
        assert found.values[f"mini-gap {source} top1_loc_error"] == 0
        assert found.values[f"mini-gap {source} max_box_acc_v2"] == 100
    assert found.values["mini-gap centre max_box_acc_v2"] < 60
    assert {key.split(" ")[2] for key in found.values} == set(TABLES["wsol"].metrics)
    assert set(found.pictures) == {f"mini-gap {source} top1_loc_error" for source in ("cam", "grad-cam", "centre")}


def test_five_boxes_are_two_two_and_one_for_the_three_likeliest_classes(seer, monkeypatch):
    assert papers.five_boxes_correct(seer, Corners()).all()
    loose, tight = np.array([0, 0, 256, 256]), np.array([16, 16, 112, 112])  # the square at the first place
    monkeypatch.setattr(measure, "loose_and_tight", lambda map2d: (loose, tight))
    asked = []
    real = measure.metrics.topk_localization_correct
    monkeypatch.setattr(
        measure.metrics, "topk_localization_correct", lambda *given: asked.append(given) or real(*given)
    )
    right = papers.five_boxes_correct(seer, Corners())
    assert right.tolist() == [index % 2 == 0 for index in range(24)]
    classes, boxes, *_ = asked[0]
    assert all(row[0] == row[1] != row[2] == row[3] != row[4] for row in classes)
    assert [box is loose for box in boxes[0]] == [True, False, True, False, True]


def test_both_boxes_come_from_the_map_of_the_true_class(seer):
    batch = Corners().batch(range(4))
    full, pairs = papers.both_boxes(seer, batch)
    assert full.shape == (4, 64, 64)
    for (loose, tight), true in zip(pairs, batch.boxes, strict=True):
        assert np.abs(loose - true[0]).max() <= 4 and np.abs(tight - true[0]).max() <= 4
    hidden, _ = papers.both_boxes(networks.build("mini-fc", 3), batch)
    assert hidden.min() >= 0 and hidden.max() > 0  # saliency is never negative


def test_a_linear_svm_has_a_weight_for_each_class_also_for_two():
    draw = torch.Generator().manual_seed(0)
    for classes in (2, 4):
        labels = np.arange(80) % classes * 10  # labels need not be 0, 1, ...
        x = torch.eye(4)[labels // 10] * 50 + torch.rand(80, 4, generator=draw)
        svm = LinearSVM.fit(x, labels)
        assert svm.weight.shape == (classes, 4) and svm.correct(x, labels).all()
    assert not svm.correct(x.roll(1, 0), labels).any()


def test_features_are_pooled_maps_or_the_last_hidden_layer():
    for name, units in (("mini-fc", networks.MINI_HIDDEN), ("mini-gap", 128), ("mini-fc-gap", 128)):
        network = networks.build(name, 5)
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            logits, feature_maps = network(images)
            x = papers.pooled_features(network, feature_maps)
            last = network.classifier[-1] if name == "mini-fc" else network.classifier
            assert x.shape == (2, units) and torch.allclose(last(x), logits, atol=1e-5)


@pytest.mark.parametrize("box, wanted", [(None, 0.25), ([32, 32, 64, 64], 1.0), ([31.2, 40.0, 70.0, 90.0], None)])
def test_a_crop_shows_what_its_box_holds(box, wanted):
    image = torch.zeros(3, 64, 64)
    image[:, 32:, 32:] = 1
    shown = papers.crop_to_box(image, None if box is None else np.array(box), 16)
    assert shown.shape == (3, 16, 16)
    assert wanted is None or shown.mean() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_a_crop_of_an_image_that_is_not_square_ends_at_the_images_own_sides(turned):
    image = torch.zeros(3, 100, 200)
    image[0, 20:60, 120:180] = 1
    box = np.array([120, 20, 180, 60])
    if turned:
        image, box = image.transpose(1, 2), box[[1, 0, 3, 2]]
    assert papers.crop_to_box(image, box, 16)[0].min() == pytest.approx(1)


def test_a_crop_without_area_still_has_a_pixel():
    assert papers.crop_to_box(torch.ones(3, 64, 64), np.array([70, 70, 70, 70]), 8).mean() == 1


def test_the_svms_own_maps_find_the_object_and_the_crop_holds_it(seer):
    data = Corners(length=60)
    seen = []

    def box_of(batch, whole):
        seen.extend(own(batch, whole))
        return seen[-len(batch) :]

    svm = LinearSVM.fit(papers.all_features(seer, data), data.labels)
    own = svm.map_boxes(seer, data.labels)
    (cropped,) = features._crop_features(seer, data, 64, (box_of,), "cpu")
    truth = [boxes[0] for boxes in data.batch(range(60)).boxes]
    assert all(np.abs(box - true).max() <= 4 for box, true in zip(seen, truth, strict=True))
    assert cropped.max(1).values.min() > 0.6  # whole pictures: 24 * 24 / 64 / 64 = 0.14


def test_whole_pictures_crops_and_generic_features_are_classified(seer):
    train, test = Corners("train", 60), Corners("test", 12)
    found = papers.fine_grained({"mini-gap": seer}, train, test)
    assert found.values == {f"mini-gap {s} accuracy": 100.0 for s in ("whole-picture", "cam-box", "true-box")}
    found = papers.generic_features({"mini-gap": seer}, train, test)
    assert found.values == {"mini-gap - accuracy": 100.0}


def test_the_cam_box_is_that_of_the_label_in_training_and_of_the_guess_in_testing(seer, monkeypatch):
    asked, real = [], LinearSVM.map_boxes
    monkeypatch.setattr(LinearSVM, "map_boxes", lambda svm, *given: asked.append(given[1:]) or real(svm, *given))
    train = Corners("train", 24)
    papers.fine_grained({"mini-gap": seer}, train, Corners("test", 12))
    ((labels,), guesses) = asked
    assert (labels == train.labels).all() and guesses == ()


def test_the_fine_classes_of_scenes_are_its_objects():
    scenes = datasets.load("scenes", "test", 64, length=24)
    assert papers.fine_labels(scenes) is scenes.object_indices
    assert papers.fine_labels(Corners()).max() == 2


# ---- networks and data ----


def run_at(profile):
    return SimpleNamespace(
        seed=3,
        pick=lambda quick, full, paper: {"quick": quick, "full": full, "paper": paper}[profile],
        profile=profile,
        notebook="table1",
    )


@pytest.mark.parametrize(
    "dataset, chosen, profile, detail, asked",
    [
        ("scenes", ["mini-fc"], "quick", 1, {"train": (64, None), "test": (64, 500)}),
        ("scenes", ["vgg16", "nin"], "full", 1, {"train": (224, 20000), "test": (224, None)}),
        ("scenes", ["vgg16"], "paper", 2, {"train": (448, 100000), "test": (448, 10000)}),
        ("ilsvrc:x", ["vgg16"], "paper", 1, {"train": (224, None), "test": (224, None)}),
    ],
)
def test_pictures_are_as_large_and_many_as_the_profile_says(dataset, chosen, profile, detail, asked, monkeypatch):
    def load(name, split, size, length, seed, boxes):
        assert (name, seed, boxes) == (dataset, 3, False)  # table1 classifies
        return split, (size, length)

    monkeypatch.setattr(measure.datasets, "load", load)
    assert dict(papers.splits_of(dataset, chosen, run_at(profile), detail)) == asked


def test_five_guesses_need_more_than_five_classes(monkeypatch):
    monkeypatch.setattr(measure.datasets, "load", lambda *_, **__: Corners())
    run = run_at("quick")
    assert len(papers.splits_of("voc:x", ["mini-gap"], run)) == 2
    run.notebook = "table3"
    with pytest.raises(ValueError, match="voc:x has 3 classes: five guesses need a data set with more"):
        papers.splits_of("voc:x", ["mini-gap"], run)


def test_class_folders_serve_classification_and_nothing_else(tmp_path):
    for part, name in itertools.product(("train", "test"), ("a", "b")):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("RGB", (70, 70)).save(tmp_path / part / name / "1.png")
    run = run_at("quick")
    for run.notebook in ("table1", "table5"):
        train, test = papers.splits_of(f"folder:{tmp_path}", ["mini-gap"], run)
        assert len(train) == len(test) == 2
    for run.notebook in ("table2", "table3", "table4", "wsol"):
        with pytest.raises(ValueError, match="has labels and no boxes, so no localization can be measured"):
            papers.splits_of(f"folder:{tmp_path}", ["mini-gap"], run)


def test_networks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"mini-fc, vgg16 take images of \[64, 224\] pixels"):
        papers.splits_of("scenes", ["mini-fc", "vgg16"], run_at("quick"))


def test_a_cut_starts_from_its_trained_original(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CACHE", tmp_path)
    recipe = training.Recipe(epochs=1, batch_size=8, lr=1e-9)
    monkeypatch.setattr(plans, "recipe_for", lambda *_: recipe)
    made = papers.train_networks(["mini-fc-gap", "mini-fc"], Corners(length=8), seed=0)
    assert list(made) == ["mini-fc-gap", "mini-fc"]
    a, b = (network.backbone[0].weight for network in made.values())
    assert torch.allclose(a, b, atol=1e-6) and len(list((tmp_path / "networks").glob("*.pt"))) == 2


@pytest.mark.parametrize("memory, metrics", [(0, 3), (2**30, 0)])
def test_a_set_made_batch_by_batch_leaves_loader_and_step_speed_in_the_record(memory, metrics, monkeypatch):
    monkeypatch.setattr(batches, "IN_MEMORY", memory)
    data, found = datasets.load("scenes", "train", 32, length=8), {}
    network = networks.build("mini-gap", 12)
    before = {name: values.clone() for name, values in network.state_dict().items()}

    def record(metric, value, network):
        found[f"{network} - {metric}"] = value

    run = SimpleNamespace(device=torch.device("cpu"), record=record)
    papers.record_speed({"mini-gap": network}, data, run)
    names = [f"mini-gap - {what}_pictures_per_second" for what in ("loader", "step", "both")]
    assert list(found) == names[:metrics] and all(value > 0 for value in found.values())
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_the_papers_networks_are_measured_at_a_tiny_size():
    data = datasets.load("scenes", "test", 64, length=4)
    cut = networks.build("alexnet-gap", len(data.classes))
    found = papers.localization("table2", {"alexnet-gap": cut}, data, seed=0)
    assert set(found.values) == {"alexnet-gap cam top1_loc_error", "alexnet-gap cam top5_loc_error"}
    found = papers.localization("table3", {"googlenet-gap": networks.build("googlenet-gap", 12)}, data, seed=0)
    assert set(found.values) == {f"googlenet-gap {source} top5_loc_error" for source in ("cam", "cam-5-boxes")}


# ---- the notebooks, their sweeps, what was recorded ----


@each_table
def test_a_sweep_asks_for_networks_of_its_table(name):
    sweep = yaml.safe_load((REPRODUCE / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert sweep["notebook"] == name and sweep["profile"] == "quick" and len(sweep["seeds"]) >= 2
    asked = sweep["grid"]["network"]
    assert asked["quick"] == [None]
    assert sorted(asked["full"]) == sorted(papers.networks_of(name, "full"))
    assert {file.stem for file in (REPRODUCE / "sweeps").glob("*.yaml")} == set(TABLES)


@each_table
def test_a_notebook_takes_the_four_parameters_and_calls_short_cells(name):
    notebook = REPRODUCE / f"{name}.ipynb"
    assert declared_parameters(notebook) == {"profile": "quick", "seed": 0, "dataset": "scenes", "network": None}
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert all(len("".join(cell["source"]).splitlines()) <= 8 for cell in cells if cell["cell_type"] == "code")
    assert f"cambook sweep {name} --profile" in "".join(cells[0]["source"])


@each_table
def test_what_was_recorded_names_its_command_and_fills_the_table(name):
    file = files.data_file("results", f"{name}.csv")
    first, second = file.read_text(encoding="utf-8").splitlines()[:2]
    assert name in first and "python" in second
    results = papers.recorded_runs(name)
    assert set(papers.COLUMNS) <= set(results.columns) and (results["notebook"] == name).all()
    whole = papers.table(name, results)
    assert set(whole.loc[whole["seeds"] > 0, "network"]) >= set(papers.networks_of(name, "quick"))
    assert whole.loc[whole["seeds"] > 0, "seeds"].min() >= 2
