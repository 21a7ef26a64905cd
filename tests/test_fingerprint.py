"""The cache key holds what takes part in training: each function that is entered, no comment, every constant."""

import ast
import importlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cambook
from cambook import files, networks, training
from cambook.course.lessons import language, second_look, segmentation
from cambook.datasets import Batch, Scenes, Subset, batches
from cambook.training import Recipe, fingerprint, fit, trained

PACKAGE = Path(cambook.__file__).parent
# one of each kind of module and head; the others are cuts or heads of these
NAMED = ("mini-gap", "mini-fc", "mini-nin", "mini-acol", "mini-fc-gap", "lite0-gap", "googlenet-acol", "alexnet-gap")
LESSONS = ("segmentation", "answers", "captions", "fused", "transferred")
ONE_STEP = Recipe(epochs=1, batch_size=2, crop=0.9, new_layer_factor=2)


class Two:
    """Two images, and a label of any shape for each."""

    name, split, classes, fingerprint = "two", "train", ["red", "blue"], "two"

    def __init__(self, size=64):
        self.size, self.labels = size, np.array([0, 1])
        self.images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return 2

    def batch(self, indices, device="cpu"):
        indices = torch.as_tensor(indices)
        return Batch(self.images[indices].to(device), torch.from_numpy(self.labels)[indices], [], None, indices)


def given(kind):
    """A network that only a lesson makes, and the labels that it learns from."""
    start = networks.build("mini-gap", 2)
    draw = np.random.default_rng(0)
    if kind == "segmentation":
        return segmentation.SegmentationNetwork(start.backbone), draw.integers(0, 2, (2, 32, 32))
    if kind == "answers":
        return language.AnswerNetwork(start.backbone, 128, words=9, choices=4), draw.integers(1, 4, (2, 8, 6))
    if kind == "captions":
        return language.CaptionNetwork(start.backbone, 128, words=9), draw.integers(1, 9, (2, 6))
    if kind == "fused":
        return second_look.fused_network(start, start), None
    return networks.on_backbone("mini-acol", start), None


def one_step(kind):
    """A function that trains it one step; a given network is made before."""
    data = Two(96 if kind == "alexnet-gap" else 64)
    network, labels = given(kind) if kind in LESSONS else (kind, None)
    return lambda: trained(network, data, ONE_STEP, labels=labels).network


def made(kind):
    """The network before training."""
    return given(kind)[0] if kind in LESSONS else networks.build(kind, 2)


def reason(module):
    """Why a module may be entered although it is not in the key; empty if it may not."""
    if module in fingerprint.BUILDERS:
        return "makes the network, which is in the key as made"
    return next((why for other, why in fingerprint.EXEMPT.items() if f"{module}.".startswith(f"{other}.")), "")


def entered(work):
    """What `work` returns; the functions of the package that are called meanwhile, in all threads, as (module,
    function); and the modules among them that are entered once `fit` has begun."""
    names = {
        str(file): ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in PACKAGE.rglob("*.py")
    }
    found, learning, begun = set(), set(), False

    def note(frame, event, _):
        nonlocal begun
        if event == "call" and (module := names.get(frame.f_code.co_filename)):
            begun |= frame.f_code is fit.__code__
            found.add((module.removesuffix(".__init__"), frame.f_code.co_qualname))
            if begun:
                learning.add(module)

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        result = work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return result, found, learning


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")


@pytest.mark.parametrize("kind", [*NAMED, *LESSONS])
def test_each_function_that_training_enters_is_in_the_key_or_exempt_with_a_reason(kind):
    network, found, learning = entered(one_step(kind))
    in_the_key = set(fingerprint.modules_of(network))
    assert not learning & set(fingerprint.BUILDERS) - in_the_key, "builders are over before the first step"
    strange = {f"{module}: {function}" for module, function in found if module not in in_the_key}
    strange = {one for one in strange if not reason(one.partition(":")[0])}
    assert not strange, "training enters code that its key does not know"
    assert {"cambook.training.fitting", "cambook.networks.base"} <= in_the_key
    ran = {module for module, _ in found}
    assert type(network).__module__ in ran & in_the_key
    if kind == "fused":
        assert {"cambook.maps.boxes", "cambook.maps.cam", "cambook.course.lessons.second_look"} <= ran & in_the_key
    if kind.endswith("acol"):
        assert "cambook.maps.cam" in ran & in_the_key  # erases


def test_images_that_are_made_batch_by_batch_in_threads_come_from_code_in_the_key_or_from_the_data_set(monkeypatch):
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    data = Subset(Scenes("train", 64, 8), [0, 1, 5])
    data.batch([0])  # reads and scales the cut-outs, which takes long under the profiler
    network, found, _ = entered(lambda: trained("mini-gap", data, ONE_STEP).network)
    modules = {module for module, _ in found}
    in_the_key = set(fingerprint.modules_of(network))
    assert "cambook.datasets.scenes" in modules and "cambook.datasets.batches" in modules & in_the_key
    assert all(module in in_the_key or reason(module) for module in modules), sorted(modules - in_the_key)


def test_every_exemption_has_its_reason_and_is_a_module_that_there_is():
    for module in (*fingerprint.EXEMPT, *fingerprint.BUILDERS):
        assert len(reason(module)) > 10 and fingerprint._file(module).is_file()
    for kind in (*NAMED, *LESSONS):
        assert not set(fingerprint.EXEMPT) & set(fingerprint.modules_of(made(kind)))


# ---- what an edit of the sources changes ----


@pytest.fixture
def edited(monkeypatch, tmp_path):
    """edited(module, change): from now on the key reads a copy of the module's source, changed by that function."""
    whole = fingerprint._file
    fingerprint._imported.cache_clear()

    def edit(module, change):
        copy = tmp_path / f"{module}.{len(list(tmp_path.iterdir()))}.py"
        source = whole(module).read_text(encoding="utf-8")
        copy.write_text(change(source), encoding="utf-8")
        assert copy.read_text(encoding="utf-8") != source, "nothing was edited"
        before = fingerprint._file
        monkeypatch.setattr(fingerprint, "_file", lambda name: copy if name == module else before(name))

    return edit


def test_a_comment_or_a_docstring_added_anywhere_changes_no_key(edited):
    all_of_them = {kind: made(kind) for kind in (*NAMED, *LESSONS)}
    before = {kind: training.source_key(network) for kind, network in all_of_them.items()}
    for module in {module for network in all_of_them.values() for module in fingerprint.modules_of(network)}:
        edited(module, with_other_words)
    assert before == {kind: training.source_key(network) for kind, network in all_of_them.items()}


def with_other_words(source):
    """Every docstring of a class or function rewritten, and comments added."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            indent = " " * first.col_offset
            lines[first.lineno - 1 : first.end_lineno] = [f'{indent}"""Other words."""'] + [f"{indent}# more"] * (
                first.end_lineno - first.lineno
            )
    return "# a comment\n" + "\n".join(lines) + "\n\n# the end\n"


@pytest.mark.parametrize(
    "kind, module, old, new",
    [
        ("mini-gap", "cambook.training.fitting", "momentum=0.9", "momentum=0.8"),
        ("mini-gap", "cambook.networks.base", "feature_maps.mean((2, 3))", "feature_maps.sum((2, 3))"),
        ("mini-acol", "cambook.networks.acol", "feature_maps, seen, self.delta", "feature_maps, seen, 0.5"),
        ("mini-acol", "cambook.maps.cam", "DELTA = 0.6", "DELTA = 0.7"),
        ("lite0-gap", "cambook.networks.lite0", "extract_features(images)", "extract_features(images) * 2"),
        ("fused", "cambook.maps.boxes", "def ", "CHANGED = 1\n\n\ndef "),
        ("fused", "cambook.networks.base", "MINI_SIZE = 64", "MINI_SIZE = 32"),
        ("answers", "cambook.course.lessons.language", "AdaptiveAvgPool2d(2)", "AdaptiveAvgPool2d(3)"),
    ],
)
def test_a_changed_constant_in_what_takes_part_changes_the_key(kind, module, old, new, edited):
    network = made(kind)
    before = training.source_key(network)
    edited(module, lambda source: source.replace(old, new, 1))
    assert training.source_key(network) != before


def test_what_takes_no_part_changes_no_key(edited):
    """A network that is added to the others' modules trains none of them again."""
    network = networks.build("mini-gap", 2)
    before = training.source_key(network)
    for module in ("networks.small", "networks.papers", "maps.boxes", "metrics.box_sweep", "datasets.scenes"):
        edited(f"cambook.{module}", lambda source: source + "\nCHANGED = 1\n")
    assert training.source_key(network) == before


def test_a_network_that_is_made_otherwise_has_another_key(monkeypatch):
    """Its layers, the units of a cut, how its weights are drawn, what is subtracted from the images, what is new."""

    def built(change):
        def build(classes, pretrained):
            network = networks.PooledNetwork(torch.nn.Conv2d(3, 8, 3), 8, classes, "gap")
            change(network)
            return network

        monkeypatch.setitem(networks.KNOWN, "mine", networks.Spec("mine", build, recipe=ONE_STEP))
        return trained("mine", Two()).key

    def other_mean(network):
        network.mean += 0.1

    changes = (
        lambda network: None,
        lambda network: torch.nn.init.zeros_(network.classifier.bias),
        lambda network: setattr(network, "new_layers", ("classifier",)),
        lambda network: setattr(network, "pooling", "gmp"),
        lambda network: setattr(network.dropout, "p", 0.5),
        lambda network: network.backbone.requires_grad_(False),
        other_mean,
    )
    keys = [built(change) for change in changes]
    assert len(set(keys)) == len(changes) and built(changes[0]) == keys[0]
    keys = []
    for units in ((128,), (128, 128)):
        monkeypatch.setitem(networks.KNOWN, "mini-fc-gap", replace(networks.spec("mini-fc-gap"), units=units))
        keys.append(trained("mini-fc-gap", Two(), ONE_STEP).key)
    assert keys[0] != keys[1]


MINE = """
from cambook.networks import PooledNetwork

class Mine(PooledNetwork):
    def loss(self, images, labels):
        loss, wrong = super().loss(images, labels)
        return 2 * loss, wrong
"""


def test_a_class_in_a_file_of_ones_own_is_in_the_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    keys = []
    for number, text in enumerate((MINE, MINE + "# a comment\n", MINE.replace("2 * loss", "3 * loss"))):
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        os.utime(tmp_path / "mine.py", (number, number))
        mine = importlib.reload(importlib.import_module("mine"))
        keys.append(training.source_key(mine.Mine(torch.nn.Identity(), 3, 2, "gap")))
    assert keys[0] == keys[1] != keys[2]
    del sys.modules["mine"]


def test_the_same_network_has_the_same_key_in_another_process():
    code = "from cambook import networks; from cambook.training import fingerprint as f; n = networks.build('{}', 2)"
    code += "; print(f.digest_of_network(n), f.source_key(n))"
    done = subprocess.run(
        [sys.executable, "-c", code.format("lite0-gap")], capture_output=True, text=True, encoding="utf-8"
    )
    network = networks.build("lite0-gap", 2)
    assert done.stdout.split() == [fingerprint.digest_of_network(network), training.source_key(network)], done.stderr


def test_fit_leaves_its_checkpoint_and_trained_removes_it(tmp_path):
    """As both say."""
    recipe = Recipe(epochs=2, batch_size=2)
    fit(networks.build("mini-gap", 2), Two(), recipe, checkpoint=tmp_path / "mine.part")
    assert files.load_whole(tmp_path / "mine.part")["step"] == 1
    trained("mini-gap", Two(), recipe)
    kept = [file.suffix for file in (files.CACHE / "networks").iterdir()]
    assert kept == [".pt"]
