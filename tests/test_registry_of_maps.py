"""The registry of maps: one call adds a method everywhere, one spelling, one way to be refused."""

import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cambook import datasets, maps, metrics, networks
from cambook.cli import commands
from cambook.course.lessons import attributions, tuning
from cambook.course.papers.tables import TABLES
from cambook.metrics import evaluate


def squared_maps(network, images, feature_maps, classes):
    """CAM, squared: a map that nobody needs."""
    return maps.cam_maps(network, images, feature_maps, classes) ** 2


def has_weight(network):
    return network.class_weight


@pytest.fixture
def squared():
    yield maps.register(
        maps.Method("squared-cam", squared_maps, "activation", "one linear layer", (0, 0), "nobody", check=has_weight)
    )
    del maps.MAPS["squared-cam"]


@pytest.fixture(scope="module")
def data():
    return datasets.load("scenes", "test", 64, length=12)


def test_one_call_adds_a_map_that_evaluation_lessons_and_errors_know(squared, data):
    network = networks.build("mini-gap", 12, seed=0)
    found, plain = evaluate(network, data, "squared-cam"), evaluate(network, data, "cam")
    assert found.source == "squared-cam" and found.row["top1_error"] == plain.row["top1_error"]
    assert not np.array_equal(found.curve, plain.curve)
    batch = data.batch(range(12))
    of_a_lesson = tuning.true_class_maps(network, batch, "squared-cam")
    assert torch.equal(of_a_lesson, tuning.true_class_maps(network, batch, "cam") ** 2)
    with pytest.raises(
        ValueError, match=r"source='squaredcam' is unknown: .*squared-cam, did you mean 'squared-cam'\?"
    ):
        evaluate(network, data, "squaredcam")
    with pytest.raises(TypeError, match="mini-fc has a hidden layer"):
        evaluate(networks.build("mini-fc", 12), data, "squared-cam")
    assert "mini-fc has a hidden layer" in squared.refusal(networks.build("mini-fc", 12))
    assert squared.title == "squared-cam" and squared.refusal(network) == ""


def test_the_command_line_knows_it_too(squared):
    result = CliRunner().invoke(commands.app, ["train", "mini-gap", "scenes", "--source", "squaredcam"])
    said = re.sub(r"[\s│]+", " ", result.output)
    assert result.exit_code == 2 and "squared-cam, did you mean 'squared-cam'?" in said
    result = CliRunner().invoke(commands.app, ["train", "mini-fc", "scenes", "--source", "squared-cam"])
    said = re.sub(r"[\s│]+", " ", result.output)
    assert result.exit_code == 2 and "--source squared-cam: mini-fc has a hidden layer" in said


def test_a_name_is_lower_case_with_hyphens_and_belongs_to_one_module(squared):
    for name in ("Squared", "squared cam", "squared_cam", "-squared", ""):
        with pytest.raises(ValueError, match="cannot be called .* lower case, words joined by hyphens"):
            maps.register(maps.Method(name, squared_maps, "activation", "nothing", (0, 0), "nobody"))
    with pytest.raises(ValueError, match="a map called 'cam' exists already, from cambook.maps.methods"):
        maps.register(maps.Method("cam", squared_maps, "activation", "nothing", (0, 0), "nobody"))
    again = maps.Method("squared-cam", squared_maps, "activation", "nothing", (0, 0), "nobody")
    assert maps.register(again) is maps.MAPS["squared-cam"] is again  # a cell that registers may run twice


def test_every_entry_says_what_it_is():
    for name, method in maps.MAPS.items():
        assert name == method.name and re.fullmatch(r"[a-z0-9+-]+", name)
        assert method.family in ("activation", "backpropagation", "perturbation", "control"), name
        assert method.title and method.asks and method.paper and callable(method.maps), name


def test_tables_and_lesson_06_name_entries_of_the_registry():
    sources = {row.source for table in TABLES.values() for row in table.rows if table.title.count("ocalization")}
    assert sources - {"-", "cam-5-boxes"} <= set(maps.MAPS)
    assert set(attributions.COMPARED) <= set(maps.MAPS)
    assert list(attributions.METHODS) == [maps.MAPS[name].title for name in attributions.COMPARED]


def test_feature_maps_are_made_where_they_are_needed_and_not_given(data):
    network, images = networks.build("mini-gap", 12, seed=0), data.batch(range(3)).images
    classes = torch.tensor([[1, 2], [0, 3], [11, 4]])
    with torch.no_grad():
        _, feature_maps = network(images)
    given = maps.MAPS["cam"](network, images, feature_maps, classes)
    assert torch.equal(maps.MAPS["cam"](network, images, None, classes), given) and given.shape[:2] == (3, 2)


@pytest.mark.parametrize("source", ["guided-backprop", "grad-cam++", "lrp", "occlusion"])
def test_maps_of_lesson_06_are_evaluated_too(source, data):
    found = evaluate(networks.build("mini-gap", 12, seed=0), data, source)
    assert 0 <= found.row["max_box_acc"] <= 100 and found.source == source


def test_a_method_is_refused_before_anything_is_evaluated(data):
    with pytest.raises(ValueError, match="source='acol-peeking' needs ACoL's two branches, which mini-gap lacks"):
        evaluate(networks.build("mini-gap", 12), data, "acol-peeking")
    with pytest.raises(ValueError, match="ReLU6: use mini-gap"):
        evaluate(networks.build("lite0-gap", 12), data, "guided-backprop")
    with pytest.raises(ValueError, match="LRP has no rule for the head of mini-gmp"):
        maps.check_source(networks.build("mini-gmp", 12), "lrp")


def test_from_maps_to_max_box_acc_by_hand():
    raw = torch.full((2, 1, 4, 4), -1.0)
    raw[0, 0, :2, :2] = 3.0  # covers its box; the second one lies in the other corner
    raw[1, 0, 2:, 2:] = 3.0
    boxes = metrics.boxes_on_grid([np.array([[0, 0, 2, 2]])] * 2, size=4)
    accuracy = metrics.count_boxes(metrics.maps_on_grid(raw), boxes)
    assert boxes[0].tolist() == [[0, 0, 112, 112]]
    assert accuracy.max_box_acc()[0] == 50 and accuracy.hits().any(1).tolist() == [True, False]
    assert metrics.count_boxes(metrics.maps_on_grid(raw[:1]), boxes[:1], accuracy) is accuracy and len(accuracy) == 3
