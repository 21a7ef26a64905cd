"""The online editions: the lessons' own cells, links that work anywhere, and some of them run on Colab's packages.

The stack of Colab is an environment with the versions of tests/colab.txt, 8 GB. It is made once, in the folder
CAMBOOK_COLAB_ENV or the user's cache, and again when the list or our requirements change. CI makes it and runs lessons
00 and 02, the quickest; where that variable names a folder, as in the weekly workflow, lesson 06 runs too, which takes
two or three minutes more. Colab itself, with its kernel's extensions and its machines, is not here.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import editions
import nbformat
import pytest
import release
from filelock import FileLock
from packaging.utils import canonicalize_name
from test_colab import COLAB as PINS
from test_colab import LIST
from test_notebooks import EXPECTED, faults

ROOT = Path(__file__).parents[1]
OWNER = "somebody"
ADDRESS = f"https://github.com/{OWNER}/cambook"
LESSONS = editions.lessons()
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)


def source(cell):
    return "".join(cell["source"])


def targets(text):
    """Where the links of a Markdown text lead, code spans and formulas left out."""
    return re.findall(r"\]\(([^)\s]+)|(?:href|src)=\"([^\"]+)\"", re.sub(r"`[^`]*`|\$[^$]*\$", "", text))


# ---- what an edition is ----


@each_lesson
def test_an_edition_is_its_lesson_without_outputs_behind_two_cells(lesson):
    own, found = json.loads(lesson.read_text(encoding="utf-8")), editions.edition(lesson, ADDRESS, "en")
    about, install, *cells = found["cells"]
    assert about["cell_type"] == "markdown" and "Internet" in source(about) and "runs/" in source(about)
    assert source(install).startswith("%pip install -q ") and ADDRESS in source(install)
    assert {key: found[key] for key in found if key != "cells"} == {key: own[key] for key in own if key != "cells"}
    assert len(cells) == len(own["cells"])
    for ours, theirs in zip(cells, own["cells"], strict=True):
        if ours["cell_type"] == "code":
            assert ours["outputs"] == [] and ours["execution_count"] is None
            assert source(ours) == source(theirs)
        else:
            without_links = r"(\]\()[^)\s]+"
            assert re.sub(without_links, r"\1", source(ours)) == re.sub(without_links, r"\1", source(theirs))
        assert {key: ours[key] for key in ("cell_type", "id", "metadata")} == {
            key: theirs[key] for key in ("cell_type", "id", "metadata")
        }
    nbformat.validate(nbformat.from_dict(found))


def test_lessons_themselves_install_nothing():
    assert [lesson.name for lesson in LESSONS if "%pip" in lesson.read_text(encoding="utf-8")] == []


@each_lesson
def test_no_link_of_an_edition_is_relative_and_each_leads_to_a_file(lesson):
    text = "\n\n".join(
        source(cell) for cell in editions.edition(lesson, ADDRESS, "en")["cells"] if cell["cell_type"] == "markdown"
    )
    links = [one or other for one, other in targets(text)]
    assert len(links) >= 3 and [link for link in links if not re.match(r"https?://|#", link)] == []
    for link in links:
        if link.startswith(f"{ADDRESS}/blob/main/"):
            assert (ROOT / link.removeprefix(f"{ADDRESS}/blob/main/").partition("#")[0]).exists()
        elif link.startswith(f"{ADDRESS}/blob/editions/en/"):
            assert (ROOT / "notebooks" / link.rpartition("/")[2].partition("#")[0]).exists()


def test_links_become_absolute_but_not_in_code_and_formulas():
    text = "[a](02_class_score.ipynb#idea) [b](glossary.md) [c](#self-check) [d](https://x.org) `[e](f)` $M[1](x)$"
    assert editions.with_absolute_links(text, ADDRESS, "en") == (
        f"[a]({ADDRESS}/blob/editions/en/02_class_score.ipynb#idea) [b]({ADDRESS}/blob/main/notebooks/glossary.md) "
        "[c](#self-check) [d](https://x.org) `[e](f)` $M[1](x)$"
    )
    image = editions.with_absolute_links("![five](../data/results/cam-and-cam-fine.jpg)", ADDRESS, "en")
    assert image == f"![five]({ADDRESS}/raw/main/data/results/cam-and-cam-fine.jpg)"
    for dead in ("[a](no_such.ipynb)", "[a](../../outside.md)"):
        with pytest.raises(SystemExit, match="mend the link"):
            editions.with_absolute_links(dead, ADDRESS, "en")


def test_the_package_is_installed_by_its_name_once_it_is_released(monkeypatch):
    assert editions.requirement(ADDRESS) == f'"cambook @ git+{ADDRESS}"'
    monkeypatch.setattr(editions, "RELEASED", True)
    assert source(editions.edition(LESSONS[0], ADDRESS, "en")["cells"][1]) == "%pip install -q cambook"


# ---- the links in the pages ----


READ = ("README.md", "docs/cloud.md", "data/album/README.md")  # what the script changes, and what lessons link to


@pytest.fixture
def copy(tmp_path):
    """copy(address): the files that the script reads and writes, in a folder, with that address in pyproject.toml."""

    def make(address):
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "benchmarks").mkdir(exist_ok=True)
        (tmp_path / "data" / "album").mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", dirs_exist_ok=True)
        for name in (*READ, "benchmarks/editions.py", "benchmarks/release.py"):
            shutil.copy(ROOT / name, tmp_path / name)
        known = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert known.count(f'repository = "{editions.repository()}"') == 1
        text = known.replace(f'repository = "{editions.repository()}"', f'repository = "{address}"')
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        return tmp_path

    return make


def script(folder, *arguments):
    command = [sys.executable, str(folder / "benchmarks" / "editions.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=folder)


def test_the_links_in_readme_and_docs_are_those_of_the_repository():
    done = script(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_no_page_links_to_a_placeholder():
    for page in (ROOT / "README.md", ROOT / "docs" / "cloud.md"):
        shown = page.read_text(encoding="utf-8").partition(editions.BEGIN)[2].partition(editions.END)[0]
        assert ("](" in shown) is editions.known(editions.repository())


def test_an_address_brings_links_into_the_pages_and_a_new_one_makes_them_stale(copy):
    folder = copy(ADDRESS)
    assert "stale" in script(folder, "--check").stderr
    assert script(folder, "--badges").returncode == script(folder, "--check").returncode == 0
    readme, page = ((folder / name).read_text(encoding="utf-8") for name in ("README.md", "docs/cloud.md"))
    assert len(readme.splitlines()) <= 120
    first = editions.addresses(LESSONS[0], ADDRESS, "en")
    assert all(f"]({first[site]})" in readme for site in ("colab", "kaggle", "binder"))
    for lesson in LESSONS:
        found = editions.addresses(lesson, ADDRESS, "en")
        assert f"]({found['colab']})" in page and f"]({found['kaggle']})" in page
        assert (f"]({found['binder']})" in page) is (lesson.name[:2] in editions.BINDER)
    (folder / "docs" / "cloud.md").write_text(page.replace("02_class_score", "02_another"), encoding="utf-8")
    assert "cloud.md are stale" in script(folder, "--check").stderr


def test_the_links_have_the_form_that_each_site_asks_for():
    assert editions.addresses(LESSONS[0], ADDRESS, "ko") == {
        "edition": f"{ADDRESS}/blob/editions/ko/00_where_does_it_look.ipynb",
        "colab": f"https://colab.research.google.com/github/{OWNER}/cambook/blob/editions/ko/"
        "00_where_does_it_look.ipynb",
        "kaggle": f"https://kaggle.com/kernels/welcome?src={ADDRESS}/blob/editions/ko/00_where_does_it_look.ipynb",
        "binder": f"https://mybinder.org/v2/gh/{OWNER}/cambook/main?urlpath="
        "lab%2Ftree%2Fnotebooks%2F00_where_does_it_look.ipynb",
        "lesson": f"{ADDRESS}/blob/main/notebooks/00_where_does_it_look.ipynb",
    }


def test_the_script_writes_every_lesson_and_nothing_under_a_placeholder(copy, tmp_path):
    folder = copy(ADDRESS)
    done = script(folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    written = sorted((tmp_path / "out" / "en").iterdir())
    assert [path.name for path in written] == [lesson.name for lesson in LESSONS]
    assert json.loads(written[0].read_text(encoding="utf-8")) == editions.edition(LESSONS[0], ADDRESS, "en")
    refused = script(copy(f"https://github.com/{release.PLACEHOLDER}/cambook"), tmp_path / "none")
    assert refused.returncode == 1 and "[tool.cambook]" in refused.stderr and not (tmp_path / "none").exists()


# ---- on Colab's packages ----

STACK = re.search(r"Python (3\.\d+)", LIST.read_text(encoding="utf-8"))[1]  # in the list's head
BESIDE = ["ipykernel", "ipython", "nbclient", "nbformat", "pip"]  # what Colab's own kernel and server are made of


def colab_python():
    """An interpreter of Colab's version: on the path, one of pyenv's, or what uv finds or fetches."""
    known = [shutil.which(f"python{STACK}"), *map(str, Path.home().glob(f".pyenv/versions/{STACK}.*/bin/python"))]
    for python in filter(None, known):
        said = subprocess.run([python, "--version"], capture_output=True, text=True, encoding="utf-8")
        if said.returncode == 0 and said.stdout.startswith(f"Python {STACK}."):
            return python
    return STACK


def call(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, encoding="utf-8", **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def colab():
    """The interpreter of an environment with Colab's versions of what cambook needs, and without cambook."""
    folder = os.environ.get("CAMBOOK_COLAB_ENV")
    if not folder and os.environ.get("CI") != "true":
        pytest.skip("8 GB: set CAMBOOK_COLAB_ENV to a folder for Colab's packages to run lessons on them")
    from platformdirs import user_cache_path

    uv = [sys.executable, "-m", "uv"]
    folder = Path(folder) if folder else user_cache_path("cambook-tests", appauthor=False)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    key = hashlib.sha256("\n".join([LIST.read_text(encoding="utf-8"), *needed, *BESIDE]).encode()).hexdigest()[:12]
    environment = folder / f"colab-{key}"
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", timeout=1200):  # another test run may make it, or use it
        if not (environment / "ready").exists():
            for old in folder.glob("colab-*"):
                shutil.rmtree(old)
            call(*uv, "venv", "--python", colab_python(), environment)
            call(*uv, "pip", "install", "--python", python, "-c", LIST, *needed, *BESIDE)
            (environment / "ready").touch()
        yield python


def test_the_environment_has_colabs_versions(colab):
    said = json.loads(call(colab, "-m", "pip", "list", "--format=json", "--no-index"))
    found = {canonicalize_name(row["name"]): row["version"].partition("+")[0] for row in said}
    assert {"torch", "torchvision", "numpy", "ipython", "ipykernel", "matplotlib"} <= set(found) & set(PINS)
    assert {name: version for name, version in found.items() if version != PINS.get(name, version)} == {}
    assert call(colab, "--version").startswith(f"Python {STACK}.")


RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


def test_lessons_run_on_colabs_packages_in_an_empty_folder(colab, wheel, tmp_path):
    """The installing cell installs the wheel, without an index: everything that it needs must be there."""
    subprocess.run([str(colab), "-m", "pip", "uninstall", "-q", "-y", "cambook"], check=True, capture_output=True)
    variables = {
        name: value
        for name, value in os.environ.items()
        if not re.match(r"CAMBOOK|PIP|UV|PYTHON|JUPYTER|IPYTHON|MPL|XDG|VIRTUAL_ENV|HOME$", name)
    }
    home = tmp_path / "home"
    home.mkdir()
    variables |= {"HOME": str(home), "PIP_NO_INDEX": "1"}

    def run(number):
        (lesson,) = (lesson for lesson in LESSONS if lesson.name.startswith(number))
        folder = tmp_path / number
        folder.mkdir()
        edition = editions.edition(lesson, ADDRESS, "en")
        install = edition["cells"][1]
        install["source"] = [source(install).replace(editions.requirement(ADDRESS), f'"{wheel}"')]
        assert source(install) == f'%pip install -q "{wheel}"'
        notebook = folder / lesson.name
        notebook.write_text(json.dumps(edition), encoding="utf-8")
        call(colab, "-c", RUN, notebook, cwd=folder, env=variables)
        ran = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in ran if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
        errors = [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
        assert errors == []
        record = folder / "runs" / "interactive" / lesson.stem / "record.json"
        expected = (EXPECTED / f"{lesson.stem}.json").read_text(encoding="utf-8")
        assert faults(json.loads(record.read_text(encoding="utf-8"))["metrics"], json.loads(expected)) == []
        assert sum("image/png" in out.get("data", {}) for cell in code for out in cell["outputs"]) >= 3

    run("02")  # it installs cambook for the others
    with ThreadPoolExecutor(2) as two:
        list(two.map(run, ["00", "06"] if os.environ.get("CAMBOOK_COLAB_ENV") else ["00"]))
    where = call(colab, "-c", "import cambook; print(cambook.__file__)", cwd=tmp_path, env=variables)
    assert Path(where.strip()).is_relative_to(colab.parents[1])
