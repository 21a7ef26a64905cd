"""Hostile cases of the command line and of runs: folders that cannot be written to, no network, names and marks."""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import nbformat
import numpy as np
from hostile import Found, Refused, Right, annotation, case, thing
from PIL import Image
from test_datasets import encoded, picture

from cambook import datasets, files, training
from cambook.cli import commands
from cambook.course import notebooks, runs, sweeps
from cambook.course.parameters import declared_parameters

BEGIN = "from cambook.course import runs\nrun = runs.start('tiny', profile=profile, seed=seed)\n"


def notebook(folder: Path, *cells: str) -> Path:
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell('profile = "quick"\nseed = 0', metadata={"tags": ["parameters"]})]
    made.cells += [nbformat.v4.new_code_cell(cell) for cell in (BEGIN, *cells)]
    nbformat.write(made, folder / "tiny.ipynb")
    return folder / "tiny.ipynb"


def command(*words) -> list:
    """What `cambook ...` ends with: its exit status and what it says on stderr."""
    said = io.StringIO()
    argv = patch.object(sys, "argv", ["cambook", *map(str, words)])
    with argv, redirect_stderr(said), redirect_stdout(io.StringIO()):
        try:
            commands.main()
        except SystemExit as end:
            return [end.code, said.getvalue().strip()]
    return [0, said.getvalue().strip()]


# ---- nothing is begun whose results could not be written


def blocked(folder: Path) -> Path:
    """A folder that nobody can write to, not even root: there is a file of that name."""
    (folder / "file").write_text("", encoding="utf-8")
    return folder / "file" / "inside"


@case("runs", "a run's folder that is a file", Refused("cannot be written to .Not a directory.: set CAMBOOK_RUNS"))
def _(folder):
    with patch.object(files, "RUNS", blocked(folder)):
        notebooks.execute(notebook(folder, "1 / 0"), {}, files.RUNS / "tiny", progress=False)


@case("runs", "a cache that is a file, before a run", Refused("cannot be written to .*: set CAMBOOK_CACHE"))
def _(folder):
    with patch.object(files, "CACHE", blocked(folder)):
        notebooks.execute(notebook(folder, "1 / 0"), {}, folder / "out", progress=False)


@case("runs", "a cache that is a file, before a training", Refused("cannot be written to .Not a dir.*CAMBOOK_CACHE"))
def _(folder):
    def never(*_, **__):
        raise AssertionError("it was trained before anybody looked whether the result can be kept")

    data = datasets.load("scenes", "train", 64, length=2)
    with patch.object(files, "CACHE", blocked(folder)), patch.object(training.cache, "fit", never):
        training.trained("mini-gap", data, training.Recipe(epochs=1, batch_size=2))


@case("runs", "a run in an open notebook", Refused("cannot be written to .Not a directory.: set CAMBOOK_RUNS"))
def _(folder):
    with patch.object(files, "RUNS", blocked(folder)), patch.dict(os.environ):
        os.environ.pop(files.RUN_DIR, None)
        runs.start("tiny", profile="quick", seed=0)


@case("runs", "a sweep whose folder is a file", Refused("cannot be written to .Not a directory.: set CAMBOOK_RUNS"))
def _(folder):
    with patch.object(files, "RUNS", blocked(folder)):
        planned = sweeps.plan(sweeps.Sweep(notebook="tiny", seeds=[0]), notebook(folder), "tiny", {})
        sweeps.carry_out(planned)


def images(folder: Path) -> str:
    """The name of a data set with two classes and twenty images of each."""
    for number in range(40):
        made = folder / "data" / "ab"[number % 2] / f"{number}.png"
        made.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), number, np.uint8)).save(made)
    return f"folder:{folder / 'data'}"


@case("runs", "a cache that cannot take what was looked through", Right(40))
def _(folder):
    name = images(folder)
    with patch.object(files, "CACHE", blocked(folder)), patch("cambook.datasets.photographs._WORTH_REMEMBERING", 1):
        return sum(len(datasets.load(name, split, 8, boxes=False)) for split in ("train", "test"))


# ---- the operating system's errors, on the command line


def offline():
    """Weights that lie nowhere and cannot be fetched: one sentence, as after any other OSError."""

    def no_network(*_, **__):
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    return patch("torch.hub.download_url_to_file", no_network)


def with_boxes(folder: Path) -> str:
    """The name of a Pascal VOC folder with two cats and two dogs."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / "voc" / part).mkdir(parents=True)
    for number in range(4):
        (folder / "voc" / "JPEGImages" / f"{number}.png").write_bytes(encoded(picture()))
        text = annotation(thing(name=("cat", "dog")[number % 2]))
        (folder / "voc" / "Annotations" / f"{number}.xml").write_text(text, encoding="utf-8")
    for split, names in (("train", "0\n1\n"), ("test", "2\n3\n")):
        (folder / "voc" / "ImageSets" / "Main" / f"{split}.txt").write_text(names, encoding="utf-8")
    return f"voc:{folder / 'voc'}"


@case("runs", "training without a network connection", Right([1, "resnet50"]))
def _(folder):
    empty = patch("torch.hub.get_dir", lambda: str(folder))
    with offline(), empty, patch.object(files, "RUNS", folder / "runs"):
        status, said = command("train", "resnet50-gap", with_boxes(folder), "--size", 32)
    assert "Traceback" not in said and said.splitlines()[-1].startswith("cambook: "), said
    return Found([status, "resnet50" if "resnet50" in said.splitlines()[-1] else said])


def ends_with(error: OSError, sentence: str):
    def raising(*_, **__):
        raise error

    @case("runs", f"an OSError on the command line: {sentence[:30]}", Right([1, f"cambook: {sentence}"]))
    def _(folder):
        with patch.object(datasets, "catalogue", raising):
            return command("data")


ends_with(PermissionError(13, "Permission denied", "/data/cub"), "/data/cub: Permission denied.")
ends_with(OSError(28, "No space left on device", "cache/a.pt"), "cache/a.pt: No space left on device.")
ends_with(IsADirectoryError(21, "Is a directory", "record.json"), "record.json: Is a directory.")
ends_with(OSError("the disk is gone: mount it"), "the disk is gone: mount it")


# ---- the name of a run's folder


def named(what: str, *values: str):
    """However long the values are: a name that every file system takes, another for each value, the same twice."""

    @case("runs", f"a run's folder: {what}", Right([True, True, len(values)]))
    def _(folder):
        def make(value):
            made = commands.run_folder(folder / "04.ipynb", {"dataset": value, "seed": "1"})
            with patch.object(files, "RUNS", folder):
                (folder / made.name).mkdir(exist_ok=True)
            return made.name

        names = [make(value) for value in values]
        return [max(len(name.encode()) for name in names) <= 255, names == [make(v) for v in values], len(set(names))]


named("73 letters of Hangul", f"folder:/data/{'가' * 73}", f"folder:/data/{'가' * 72}나")
named("an emoji that a cut would halve", *(f"voc:/data/{'a' * n}{'🐕' * 60}" for n in range(4)))
named("one letter apart at the end", f"voc:/{'long/' * 80}a", f"voc:/{'long/' * 80}b")


# ---- byte-order marks, as some editors write them


def marked(file: Path) -> Path:
    file.write_bytes("\ufeff".encode() + file.read_bytes())
    return file


@case("runs", "a notebook with a byte-order mark", Right({"profile": "quick", "seed": 0}))
def _(folder):
    return declared_parameters(marked(notebook(folder)))


@case("runs", "a notebook with a byte-order mark, run", Right([True, {"value": 3}]))
def _(folder):
    made = marked(notebook(folder, "runs.record('value', 3)"))
    record = notebooks.execute(made, {}, folder / "out", progress=False)
    return [record.finished is not None, record.metrics]


@case("runs", "a record with a byte-order mark", Right({"value": 3}))
def _(folder):
    record = runs.Record(notebook="tiny", parameters={}, metrics={"value": 3}, started="", seconds=0, environment={})
    record.save(folder)
    marked(folder / "record.json")
    return runs.Record.load(folder).metrics


@case("runs", "a table with a byte-order mark", Right(["class", "name"]))
def _(folder):
    (folder / "classes.csv").write_text("class,name\n0,cat\n", encoding="utf-8")
    return list(files.read_table(marked(folder / "classes.csv"), ["class"]).columns)


@case("runs", "a sweep with a byte-order mark", Right([0, 1]))
def _(folder):
    (folder / "tiny.yaml").write_text("notebook: tiny\nseeds: [0, 1]\n", encoding="utf-8")
    return sweeps.read(marked(folder / "tiny.yaml")).seeds
