"""The cache key holds what takes part in training: each function that is entered, no comment, every constant."""

import ast
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
    """A function that trains it one step, and the modules behind its name; a given network is made before."""
    data = Two(96 if kind == "alexnet-gap" else 64)
    network, labels = given(kind) if kind in LESSONS else (kind, None)
    behind = networks.modules_behind(kind) if kind in NAMED else ()
    return lambda: trained(network, data, ONE_STEP, labels=labels).network, behind


def entered(work):
    """The functions of the package that are called while `work` runs, in all threads: {(module, function)}."""
    found, names = (
        set(),
        {str(file): ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in PACKAGE.rglob("*.py")},
    )

    def note(frame, event, _):
        if event == "call" and (module := names.get(frame.f_code.co_filename)):
            found.add((module.removesuffix(".__init__"), frame.f_code.co_qualname))

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        result = work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return result, found


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")


@pytest.mark.parametrize("kind", [*NAMED, *LESSONS])
def test_each_function_that_training_enters_is_in_the_key_or_exempt_with_a_reason(kind):
    work, behind = one_step(kind)
    network, found = entered(work)
    in_the_key = set(fingerprint.modules_of(network, *behind))
    strange = {f"{module}: {function}" for module, function in found if module not in in_the_key}
    strange = {one for one in strange if not fingerprint.exempt(one.partition(":")[0])}
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
    network, found = entered(lambda: trained("mini-gap", data, ONE_STEP).network)
    modules = {module for module, _ in found}
    in_the_key = set(fingerprint.modules_of(network, *networks.modules_behind("mini-gap")))
    assert "cambook.datasets.scenes" in modules and "cambook.datasets.batches" in modules & in_the_key
    assert all(module in in_the_key or fingerprint.exempt(module) for module in modules), sorted(modules - in_the_key)


def test_every_exemption_has_its_reason_and_is_a_module_that_there_is():
    for module, reason in fingerprint.EXEMPT.items():
        assert len(reason) > 10 and fingerprint._file(module).is_file()
    assert fingerprint.exempt("cambook.datasets.scenes") and not fingerprint.exempt("cambook.datasets.batches")
    assert not fingerprint.exempt("cambook.training.fitting") and not fingerprint.exempt("cambook.networks.small")


# ---- what an edit of the sources changes ----


@pytest.fixture
def edited(monkeypatch, tmp_path):
    """edited(module, change): from now on the key reads a copy of the module's source, changed by that function."""
    whole = fingerprint._file
    fingerprint.tree_of.cache_clear()
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
    made = {kind: given(kind)[0] for kind in LESSONS} | {name: networks.build(name, 2) for name in NAMED}
    behind = {kind: networks.modules_behind(kind) if kind in NAMED else () for kind in made}
    before = {kind: training.source_key(network, *behind[kind]) for kind, network in made.items()}
    for module in {
        module for kind, network in made.items() for module in fingerprint.modules_of(network, *behind[kind])
    }:
        edited(module, with_other_words)
    assert before == {kind: training.source_key(network, *behind[kind]) for kind, network in made.items()}


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
        ("mini-gap", "cambook.networks.small", "64, 64, ", "64, 65, "),
        ("mini-gap", "cambook.training.fitting", "momentum=0.9", "momentum=0.8"),
        ("mini-gap", "cambook.networks.building", "manual_seed(seed)", "manual_seed(seed + 1)"),
        ("mini-acol", "cambook.networks.acol", "feature_maps, seen, self.delta", "feature_maps, seen, 0.5"),
        ("mini-acol", "cambook.maps.cam", "DELTA = 0.6", "DELTA = 0.7"),
        ("mini-fc-gap", "cambook.networks.surgery", "padding=1", "padding=2"),
        ("lite0-gap", "cambook.networks.papers", "dropout=0.2", "dropout=0.3"),
        ("fused", "cambook.maps.boxes", "def ", "CHANGED = 1\n\n\ndef "),
        ("answers", "cambook.course.lessons.language", "AdaptiveAvgPool2d(2)", "AdaptiveAvgPool2d(3)"),
    ],
)
def test_a_changed_constant_in_what_takes_part_changes_the_key(kind, module, old, new, edited):
    network, behind = (
        (given(kind)[0], ()) if kind in LESSONS else (networks.build(kind, 2), networks.modules_behind(kind))
    )
    before = training.source_key(network, *behind)
    edited(module, lambda source: source.replace(old, new, 1))
    assert training.source_key(network, *behind) != before


def test_what_takes_no_part_changes_no_key(edited):
    network, behind = networks.build("mini-gap", 2), networks.modules_behind("mini-gap")
    before = training.source_key(network, *behind)
    for module in (
        "cambook.networks.papers",
        "cambook.maps.boxes",
        "cambook.metrics.box_sweep",
        "cambook.datasets.scenes",
    ):
        edited(module, lambda source: source + "\nCHANGED = 1\n")
    assert training.source_key(network, *behind) == before


def test_the_layers_that_a_cut_gets_are_in_its_key(monkeypatch):
    keys = []
    for units in ((128,), (128, 128)):
        monkeypatch.setitem(networks.KNOWN, "mini-fc-gap", replace(networks.spec("mini-fc-gap"), units=units))
        keys.append(trained("mini-fc-gap", Two(), ONE_STEP).key)
    assert keys[0] != keys[1]


def test_fit_leaves_its_checkpoint_and_trained_removes_it(tmp_path):
    """As both say."""
    recipe = Recipe(epochs=2, batch_size=2)
    fit(networks.build("mini-gap", 2), Two(), recipe, checkpoint=tmp_path / "mine.part")
    assert files.load_whole(tmp_path / "mine.part")["step"] == 1
    trained("mini-gap", Two(), recipe)
    kept = [file.suffix for file in (files.CACHE / "networks").iterdir()]
    assert kept == [".pt"]
