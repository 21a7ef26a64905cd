import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import course
import pytest
from packaging.requirements import Requirement

from cambook import files
from cambook.course import extras, runs
from cambook.course.parameters import check_parameters, declared_parameters

ROOT = Path(__file__).parents[1]
LISTED = subprocess.run(
    ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8"
).stdout
TRACKED = [ROOT / name for name in LISTED.splitlines() if (ROOT / name).is_file()]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[!.]*.ipynb"))
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = CONFIGURATION["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = PROJECT["dependencies"] + EXTRAS["course"] + EXTRAS["test"]  # what `make setup` installs
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind="code"):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


# ---- the package ----


def test_conda_and_pip_name_the_same_packages_and_bounds():
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()]
    entries = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    pip = entries.index("pip:")
    assert entries[:pip] == ["conda-forge", f"python{PROJECT['requires-python']}", "pip"]
    assert entries[pip + 1 :] == REQUIREMENTS


def test_python_is_bounded_as_tested_and_the_reason_stands_beside_it():
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    before, _ = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("requires-python")
    assert re.search(r"# .*3\.14.*\n$", before)


@pytest.mark.parametrize("line", [*REQUIREMENTS, *EXTRAS["cluster"]])
def test_a_requirement_has_a_lower_bound_and_no_cap(line):
    assert [bound.operator for bound in Requirement(line).specifier] == [">="]


def test_torch_and_torchvision_are_a_pair():
    assert "torch>=2.6" in REQUIREMENTS and "torchvision>=0.21" in REQUIREMENTS


def test_make_installs_what_conda_installs_and_each_extra_says_what_it_brings():
    assert "$(INSTALL) -e '.[course,test]'\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(EXTRAS) == set(extras.BRINGS)


@pytest.mark.parametrize("line", [*REQUIREMENTS, *EXTRAS["cluster"]])
def test_every_requirement_says_in_a_comment_why_it_is_there(line):
    assert re.search(
        rf'^    "{re.escape(line)}",  # \w.+$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )


def called(lines):
    return {canonical(Requirement(line).name) for line in lines}


def test_what_is_imported_is_required():
    of_the_package = called(PROJECT["dependencies"] + EXTRAS["course"] + EXTRAS["cluster"])
    of_the_build = called(CONFIGURATION["build-system"]["requires"])
    of_the_rest = called(REQUIREMENTS)
    beside = {path.stem for path in TRACKED if path.parent.name in ("benchmarks", "tests")}
    providers = importlib.metadata.packages_distributions()
    for path in TRACKED:
        if path.suffix != ".py":
            continue
        here = of_the_package if path.is_relative_to(ROOT / "cambook") else of_the_rest
        allowed = {"cambook"} | (of_the_build if path.name == "setup.py" else here)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - beside:
                sources = {canonical(source) for source in providers.get(name, [name])}
                assert sources & allowed, f"{path.name} imports {name}, which pyproject.toml does not require"


def test_the_style_of_the_figures_is_part_of_the_package():
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "cambook").rglob("*.mplstyle")}
    assert len(folders) == 1
    assert "*.mplstyle" in CONFIGURATION["tool"]["setuptools"]["package-data"][".".join(folders.pop().parts)]


# ---- what is committed ----


def texts():
    for path in TRACKED:
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_file_names_a_folder_of_this_machine():
    general = {Path("/"), Path(tempfile.gettempdir())}  # a clone may lie there
    folders = {f"{folder}/" for folder in (ROOT, ROOT.parent, Path.home(), Path(sys.prefix)) if folder not in general}
    for path, text in texts():
        for folder in folders:
            assert folder not in text, f"{path.relative_to(ROOT)} names {folder}"


def test_no_file_names_a_package_registry():
    registry = re.compile(
        r"--(extra-)?index-" + r"url|https?://[^ \"]*(/simple/|/packages/[0-9a-f]{2}/)|files\.python" + "hosted"
    )
    for path, text in texts():
        assert not registry.search(text), f"{path.relative_to(ROOT)}: {registry.search(text).group()}"


def test_no_large_file_is_committed():
    assert [path.name for path in TRACKED if path.stat().st_size > 2**20] == []


# ---- the notebooks ----


def test_the_lessons_are_there_in_reading_order():
    numbers = [path.stem.partition("_")[0] for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    wholes = [number for number in numbers if not number.endswith("b")]
    assert len(wholes) >= 11 and wholes == [f"{number:02}" for number in range(len(wholes))]
    assert {number.removesuffix("b") for number in numbers} == set(wholes) and len(set(numbers)) == len(numbers)


@each_notebook
def test_a_notebook_is_committed_as_run_from_top_to_bottom(path):
    counts = [cell["execution_count"] for cell in cells(path) if "".join(cell["source"]).strip()]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"


@each_notebook
def test_a_notebook_holds_no_state_and_no_error(path):
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert not {"widgets", "papermill"} & set(metadata), "run `make notebooks`"
    outputs = [output for cell in cells(path) for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert [output for output in outputs if output.get("name") == "stderr"] == []


@each_notebook
def test_every_cell_has_an_identity_of_its_own(path):
    identities = [cell.get("id") for kind in ("code", "markdown") for cell in cells(path, kind)]
    assert None not in identities and len(set(identities)) == len(identities)


@each_notebook
def test_a_notebook_declares_parameters_whose_defaults_are_accepted(path):
    tagged = [cell for cell in cells(path) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    declared = declared_parameters(path)
    assert {"profile", "seed"} <= set(declared)
    assert check_parameters(path, declared).profile == "quick"


@each_notebook
def test_a_notebook_starts_its_run_in_the_second_code_cell(path):
    assert "runs.start(" in "".join(cells(path)[1]["source"])


def test_readme_docs_and_titles_say_the_seconds_that_were_measured():
    measured = runs.recorded("course")
    minutes = {path.stem: course.minutes_of(path) for path in sorted((ROOT / "notebooks").glob(files.LESSONS))}
    readme, page = course.README.read_text(encoding="utf-8"), course.PAGE.read_text(encoding="utf-8")
    assert course.with_times(readme, measured, minutes) == readme, "run python benchmarks/course.py --write"
    assert course.with_ledger(page, measured) == page, "run python benchmarks/course.py --write"
    lessons = measured[measured.kind == "lesson"].set_index("name").warm_seconds
    assert len(lessons) >= 11 and set(lessons.index) <= set(minutes), "a lesson that was added is measured later"
    for name, warm in lessons.items():
        title = "".join(
            json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"][0]["source"]
        )
        assert course.title_with_seconds(title, warm) == title
