"""One policy of training: whoever asks for a network on a data set gets the same start, recipe and cache entry."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cambook import datasets, files, networks, training
from cambook.cli import commands
from cambook.course.papers import measure
from cambook.datasets import Batch
from cambook.metrics import evaluate, evaluation
from cambook.networks import Spec, registry
from cambook.training import Recipe, cache, trained

KINDS = {
    "scenes": SimpleNamespace(drawn=True, imagenet_classes=False),
    "cub": SimpleNamespace(drawn=False, imagenet_classes=False),
    "ilsvrc": SimpleNamespace(drawn=False, imagenet_classes=True),
}


def steps(plan):
    """What is trained, one after another: name, weights, start."""
    before = steps(plan.start) if plan.start else []
    return [*before, (plan.network, plan.weights, plan.start and plan.start.network)]


@pytest.mark.parametrize(
    "name, kind, expected",
    [
        ("alexnet", "scenes", [("alexnet", None, None)]),
        ("alexnet-gap", "scenes", [("alexnet", None, None), ("alexnet-gap", None, "alexnet")]),
        ("vgg16-acol", "scenes", [("vgg16-acol", None, None)]),
        ("alexnet-gap", "cub", [("alexnet", "pretrained", None), ("alexnet-gap", None, "alexnet")]),
        ("alexnet-gap", "ilsvrc", [("alexnet-gap", "pretrained", None)]),
        ("alexnet", "ilsvrc", [("alexnet", "pretrained", None)]),
        ("lite0-gap", "scenes", [("lite0-gap", "pretrained", None)]),
        ("mini-gap", "cub", [("mini-gap", None, None)]),
        ("mini-fc-gap", "ilsvrc", [("mini-fc", None, None), ("mini-fc-gap", None, "mini-fc")]),
        ("nin", "cub", [("nin", None, None)]),
    ],
)
def test_a_network_starts_from_imagenet_if_the_data_are_photographs_and_a_cut_from_its_original(name, kind, expected):
    assert steps(training.policy(name, KINDS[kind])) == expected


def test_the_papers_networks_have_a_recipe_of_their_own_on_drawn_images_only():
    def recipe(name, kind, **settings):
        return training.policy(name, KINDS[kind], **settings).recipe

    for name in ("mini-fc-gap", "mini-gap", "mini-acol", "lite0-gap"):
        assert recipe(name, "scenes") == training.recipe_for(name), "as the lessons train it"
    assert recipe("vgg16", "ilsvrc") == training.recipe_for("vgg16")
    assert recipe("vgg16", "scenes") == Recipe(epochs=10, lr=1e-4)
    assert recipe("vgg16-gap", "scenes") == Recipe(epochs=4, lr=1e-4 / 3, new_layer_factor=10)
    short = training.policy("vgg16-gap", KINDS["cub"], epochs=4, lr=1e-3, precision="bf16")
    assert short.recipe == training.recipe_for("vgg16-gap", 4, 1e-3, "bf16") and short.start.recipe.epochs == 4


# ---- one key, whoever asks ----


class Few:
    """Six images of 64 px with two classes."""

    split, size, classes, fingerprint, report = "train", 64, ["red", "blue"], "few", []

    def __init__(self, kind):
        self.name, self.drawn, self.imagenet_classes = kind, kind == "scenes", kind == "ilsvrc"
        self.labels = np.arange(6) % 2

    def __len__(self):
        return 6

    def batch(self, indices, device="cpu"):
        indices = torch.as_tensor(indices)
        images = torch.rand(len(indices), 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(device)
        boxes = [np.array([[0, 0, 32, 32]])] * len(indices)
        return Batch(images, torch.from_numpy(self.labels)[indices], boxes, None, indices)


@pytest.fixture
def entries(monkeypatch, tmp_path):
    """Nothing learns and nothing is written: entries[name] holds the keys under which a network would be kept."""
    kept = {}

    def save(state, path):
        name, _, key = path.stem.rpartition("-")
        kept.setdefault(name, set()).add(key)

    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(cache, "fit", lambda network, *_, **__: [{"loss": 1.0, "top1_error": 9.0, "seconds": 0.0}])
    monkeypatch.setattr(cache, "save_whole", save)
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: SimpleNamespace(row={}, protocol="all images"))
    monkeypatch.setattr(evaluation, "top1_error", lambda *_, **__: 0.0)
    monkeypatch.setattr(training, "throughput", lambda *_, **__: {})
    build = networks.building.build  # ImageNet's weights without a download: other random ones, the same new layers

    def built(name, classes, weights=None, seed=0):
        network = build(name, classes, None, seed + (weights == "pretrained"))
        if weights:
            network.new_layers = ("classifier",)
        return network

    monkeypatch.setattr(networks, "build", built)
    return kept


@pytest.mark.parametrize("kind", ["scenes", "cub", "ilsvrc"])
@pytest.mark.parametrize("name", ["googlenet-gap", "resnet50-gap", "mini-fc-gap", "mini-gap"])
def test_command_line_tables_and_lessons_train_the_same_network_once(kind, name, entries, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "load", lambda *_, **__: Few(kind))
    monkeypatch.setattr(evaluation, "check_source", lambda *_: None)
    measure.train_networks([name], Few(kind), seed=3)
    of_the_table = {each: set(keys) for each, keys in entries.items()}
    assert len(of_the_table[name]) == 1
    entries.clear()
    done = CliRunner().invoke(commands.app, ["train", name, "scenes", "--seed", "3"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert entries[name] == of_the_table[name]
    assert all(entries[each] == keys for each, keys in of_the_table.items()), "another original"
    entries.clear()
    if networks.spec(name).original:
        training.before_and_after(name, Few(kind), seed=3)
        assert all(entries[each] == keys for each, keys in of_the_table.items())
    else:
        assert {trained(name, Few(kind), seed=3).key} == of_the_table[name]


def test_on_imagenets_classes_a_pretrained_network_without_new_layers_stays_as_it_is(monkeypatch):
    data = Few("ilsvrc")
    asked = []

    def built(name, classes, weights, seed):
        asked.append(weights)
        network = networks.building.build("mini-gap", classes, None, seed)
        network.name = name
        return network

    monkeypatch.setattr(networks, "build", built)
    monkeypatch.setattr(cache, "fit", lambda *_, **__: pytest.fail("it was trained"))
    made = trained("alexnet", data)
    assert made.history == [] and made.reused and asked == ["pretrained"]


def test_a_network_that_is_given_needs_a_recipe():
    with pytest.raises(ValueError, match="mini-gap is given as a network: give a recipe"):
        trained(networks.build("mini-gap", 2), Few("scenes"))


# ---- a network of your own, by one call ----


def tiny(classes, pretrained):
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4, 1), torch.nn.ReLU())
    return networks.PooledNetwork(layers, 8, classes, "gap")


@pytest.fixture
def mine(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    before = dict(registry.KNOWN)
    yield networks.register(Spec("tiny-gap", tiny, side=32, recipe=Recipe(epochs=1, batch_size=4, lr=1e-2), keeps="1"))
    registry.KNOWN.clear()
    registry.KNOWN.update(before)


def test_one_call_registers_a_network_that_is_trained_measured_and_listed(mine):
    data = datasets.load("scenes", "train", mine.side, length=12)
    made = training.trained("tiny-gap", data, training.recipe_for("tiny-gap"))
    assert not made.reused and trained("tiny-gap", data).reused, "its policy is its recipe"
    assert evaluate(made.network, data, "cam").row["max_box_acc"] >= 0
    assert "tiny-gap" in networks.names() and training.policy("tiny-gap", data).weights is None
    with pytest.raises(ValueError, match="did you mean 'tiny-gap'.*Known: .*tiny-gap"):
        networks.build("tinygap")
    done = CliRunner().invoke(commands.app, ["train", "tiny-gp"])
    assert "did you mean 'tiny-gap'" in str(done.exception)


def test_a_cut_of_ones_own_network_is_one_more_call(mine):
    networks.register(Spec("tiny-gap-gmp", original="tiny-gap", pooling="gmp", units=(4,), recipe="mini-cut"))
    data = datasets.load("scenes", "train", 32, length=8)
    before, after = training.before_and_after("tiny-gap-gmp", data, epochs=1)
    assert (before.network.name, after.network.name) == ("tiny-gap", "tiny-gap-gmp")
    assert after.network.pooling == "gmp" and networks.spec("tiny-gap-gmp").side == 32


def test_a_builder_outside_the_package_is_known_by_the_weights_that_it_makes(mine):
    data = datasets.load("scenes", "train", 32, length=8)
    first = trained("tiny-gap", data)

    def wider(classes, pretrained):
        network = tiny(classes, pretrained)
        network.backbone[0].weight.data.mul_(2)
        return network

    registry.KNOWN.pop("tiny-gap")
    networks.register(Spec("tiny-gap", wider, side=32, recipe=mine.recipe))
    assert trained("tiny-gap", data).key != first.key


@pytest.mark.parametrize(
    "spec, message",
    [
        (Spec("mini-gap", tiny), "There is a network mini-gap already"),
        (Spec("a/b", tiny), "cannot be called 'a/b'"),
        (Spec("nothing"), "nothing needs either a builder or the original"),
        (Spec("mini-gap-cut", original="mini-gap", pooling="gap"), "Nothing can be cut off mini-gap"),
        (Spec("cut", original="minigap", pooling="gap"), "did you mean 'mini-gap'"),
    ],
)
def test_what_cannot_be_registered_says_why(spec, message):
    with pytest.raises(ValueError, match=message):
        networks.register(spec)
    assert registry.KNOWN["mini-gap"].recipe == "mini"


def test_a_network_without_a_recipe_says_what_to_give(mine):
    networks.register(Spec("plain", tiny, side=32))
    with pytest.raises(ValueError, match="plain has recipe=None: give its Spec a training.Recipe or one of mini"):
        training.recipe_for("plain")


def test_every_registered_network_has_a_known_recipe_and_a_side():
    for name in networks.names():
        assert training.recipe_for(name) and networks.spec(name).side in (64, 224)


def test_no_code_decides_by_how_a_networks_name_begins():
    """Nor by CUTS and prefixes: what there is to know of a network stands in its Spec."""
    wrong = []
    for folder in ("cambook", "benchmarks"):
        for file in sorted((files.ROOT / folder).rglob("*.py")):
            for line in file.read_text(encoding="utf-8").splitlines():
                if any(f'startswith("{name}' in line for name in ("mini", "lite0", "vgg", "alexnet", "googlenet")):
                    wrong.append(f"{file.name}: {line.strip()}")
    assert not wrong
