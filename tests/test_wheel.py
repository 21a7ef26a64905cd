"""The package as readers install it: what is in the wheel, what its metadata say, and that it works in any folder."""

import email
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numba
import pytest
import release
import yaml

from cambook import files
from cambook.course import notebooks
from cambook.machine import compiled

ROOT = Path(__file__).parents[1]
PROJECT = release.project()
REPOSITORY = PROJECT["tool"]["cambook"]["repository"]
TAG = "v" + PROJECT["project"]["version"]
RESOURCES = "cambook/resources/"
LARGEST = 8_000_000  # bytes of the wheel


@pytest.fixture(scope="session")
def inside(wheel):
    """{name: content} of the wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def described(inside):
    """The wheel's metadata."""
    name = next(name for name in inside if name.endswith(".dist-info/METADATA"))
    return email.message_from_string(inside[name].decode())


# ---- what is in it ----


def test_the_wheel_contains_the_tracked_files_of_package_data_and_notebooks_and_nothing_else(inside):
    tracked = [path.as_posix() for path in release.tracked()]
    code = {name for name in tracked if name.startswith("cambook/")}
    brought = {RESOURCES + name for name in tracked if name.startswith(("data/", "notebooks/"))}
    assert len(code) > 100 and len(brought) > 50
    assert {name for name in inside if ".dist-info/" not in name} == code | brought


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < LARGEST


def test_files_in_the_wheel_are_as_committed(inside):
    for name, content in inside.items():
        if not name.endswith(".ipynb") and ".dist-info/" not in name:
            assert content == (ROOT / name.removeprefix(RESOURCES)).read_bytes(), name


def test_notebooks_in_the_wheel_lack_their_outputs_and_nothing_else(inside):
    names = [name for name in inside if name.endswith(".ipynb")]
    assert len(names) >= 17
    for name in names:
        committed = json.loads((ROOT / name.removeprefix(RESOURCES)).read_text(encoding="utf-8"))
        code = [cell for cell in committed["cells"] if cell["cell_type"] == "code"]
        assert any(cell["outputs"] for cell in code), name
        for cell in code:
            cell["outputs"], cell["execution_count"] = [], None
        assert json.loads(inside[name]) == committed, name


def test_the_wheel_is_the_same_from_the_clone_and_from_the_source_distribution(build, inside, stray_files, tmp_path):
    again = build(stray_files, tmp_path, "wheel")
    with zipfile.ZipFile(again) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == inside


def test_the_source_distribution_contains_no_file_that_git_does_not_know(sdist):
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    own = {name for name in found if name.startswith("cambook.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert found - own <= {path.as_posix() for path in release.tracked()}
    assert {"setup.py", "LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff", "cambook/py.typed"} <= found


# ---- what its metadata say ----


def test_readme_leads_from_anywhere_to_the_files_of_this_version(described):
    text = described.get_payload()
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(targets) > 20 and [each for each in targets if not each.startswith(("https://", "#"))] == []
    raw = REPOSITORY.replace("//github.com", "//raw.githubusercontent.com")
    assert f"]({raw}/{TAG}/data/results/cam-and-cam-fine.jpg)" in text
    ours = [each.removeprefix(f"{REPOSITORY}/blob/{TAG}/") for each in targets if f"{REPOSITORY}/blob/" in each]
    assert len(ours) > 15 and [each for each in ours if not (ROOT / each.partition("#")[0]).exists()] == []


def test_links_of_the_project_lead_into_the_one_repository(described):
    links = dict(line.split(", ") for line in described.get_all("Project-URL"))
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} == set(links)
    assert all(link == REPOSITORY or link.startswith(REPOSITORY + "/") for link in links.values())


def test_classifiers_name_the_versions_of_python_that_are_allowed(described):
    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(described["Requires-Python"])
    minor = [f"3.{number}" for number in range(8, 20) if f"3.{number}.0" in allowed]
    named = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in described.get_all("Classifier")
    ]
    assert [match[1] for match in named if match] == minor


@pytest.mark.parametrize("asks", ["twine check --strict", "pyroma --min 10"])
def test_the_metadata_satisfy_a_package_index(asks, wheel, sdist):
    built = [sdist] if asks.startswith("pyroma") else [wheel, sdist]
    said = subprocess.run(
        [sys.executable, "-m", *asks.split(), *built], capture_output=True, text=True, encoding="utf-8"
    )
    assert said.returncode == 0, said.stdout + said.stderr


# ---- one place names the repository ----


def test_no_file_names_another_repository_than_pyproject_does():
    assert release.other_addresses() == {}


def test_the_citation_has_the_fields_that_its_format_requires_and_the_project_s_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["type"] == "software" and citation["authors"][0]["name"] == "the cambook authors"
    assert citation["license"] == PROJECT["project"]["license"] and str(citation["version"]) == TAG[1:]


@pytest.fixture
def small(tmp_path):
    """A repository of the few files that a release looks at, ready for version 1.2.3 of somebody's."""
    version = TAG[1:]
    changed = {
        REPOSITORY: "https://github.com/{}/cambook".format("somebody"),
        f'version = "{version}"': 'version = "1.2.3"',
        f'__version__ = "{version}"': '__version__ = "1.2.3"',
        f"version: {version}": "version: 1.2.3",
    }
    for name in ("pyproject.toml", "CITATION.cff", "cambook/__init__.py"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for old, new in changed.items():
            text = text.replace(old, new)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n", encoding="utf-8")
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_release_of_a_named_owner_with_its_changes_and_its_tag_passes(small):
    assert list(release.faults("v1.2.3", small)) == []


@pytest.mark.parametrize(
    "name, old, new, says",
    [
        ("pyproject.toml", "/somebody/", "/OWNER/", "write the account that owns the repository for OWNER"),
        ("pyproject.toml", "https://github.com/somebody", "https://example.org/", "does not name a repository"),
        ("pyproject.toml", 'version = "1.2.3"', 'version = "1.3.0"', "CHANGELOG.md lacks the heading `## [1.3.0]"),
        ("CITATION.cff", "version: 1.2.3", "version: 1.2.2", "CITATION.cff lacks the line `version: 1.2.3`"),
        ("CITATION.cff", "/somebody/", "/else/", "CITATION.cff names else/cambook"),
        ("CHANGELOG.md", "## [1.2.3] - 2026-12-01", "", "CHANGELOG.md lacks the heading"),
        ("cambook/__init__.py", '"1.2.3"', '"1.2.4"', "cambook/__init__.py lacks the line"),
    ],
)
def test_a_release_is_refused_with_the_reason(small, name, old, new, says):
    text = (small / name).read_text(encoding="utf-8")
    assert old in text
    (small / name).write_text(text.replace(old, new), encoding="utf-8")
    assert any(says in fault for fault in release.faults("v1.2.3", small))


def test_a_release_is_refused_under_another_tag(small):
    assert list(release.faults("v9.9.9", small)) == [
        "The tag v9.9.9 is not v1.2.3: tag the version that pyproject.toml names, or change it there."
    ]


def test_the_workflow_of_a_release_stops_while_the_owner_is_unknown():
    command = 'python benchmarks/release.py "$GITHUB_REF_NAME"'
    assert command in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "release.py", TAG], capture_output=True, text=True, encoding="utf-8"
    )
    faults = list(release.faults(TAG))
    assert checked.stdout.splitlines() == (faults or ["Ready to be released."])
    assert checked.returncode == bool(faults)
    assert any("write the account that owns" in fault for fault in faults) == (f"/{release.PLACEHOLDER}/" in REPOSITORY)


@pytest.mark.parametrize(
    "form",
    [
        "https://github.com/{}/issues",
        "https://raw.githubusercontent.com/{}/main/a.jpg",
        "https://colab.research.google.com/github/{}/blob/main/a.ipynb",
        "https://mybinder.org/v2/gh/{}/HEAD",
        "https://codespaces.new/{}",
        "pip install git+https://github.com/{}",
    ],
)
def test_every_form_of_an_address_is_found(small, form):
    (small / "notes.md").write_text(form.format("me/cambook"), encoding="utf-8")
    subprocess.run(["git", "add", "notes.md"], cwd=small, check=True)
    assert release.other_addresses(small) == {"notes.md": {"me/cambook"}}


# ---- nothing is written to an installed package ----


@pytest.fixture
def as_installed(monkeypatch, tmp_path):
    """The folders of an installed package whose notebooks are those of the clone."""
    monkeypatch.setattr(files, "INSTALLED", True)
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    return tmp_path


def test_compiled_code_of_an_installed_package_lies_in_the_cache_and_other_code_where_it_did(as_installed):
    before = numba.config.CACHE_DIR
    kept = compiled(files.halves)
    assert Path(kept._cache.cache_path).is_relative_to(as_installed / "cache" / "numba")
    assert numba.config.CACHE_DIR == before


def test_compiled_code_lies_where_the_user_says(as_installed, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(as_installed / "mine"))
    assert Path(compiled(files.halves)._cache.cache_path).is_relative_to(as_installed / "mine")


def test_compiled_code_of_a_clone_lies_beside_its_source():
    assert Path(compiled(files.halves)._cache.cache_path) == Path(files.__file__).parent / "__pycache__"


def test_code_is_compiled_without_a_folder_to_keep_it_in(as_installed):
    (as_installed / "cache").write_text("a file where the folder should be", encoding="utf-8")

    def twice(number):
        return 2 * number

    function = compiled(twice)
    assert function(21) == 42 and type(function._cache).__name__ == "NullCache"


def test_a_notebook_of_an_installed_package_is_not_refreshed(as_installed):
    lesson = files.NOTEBOOKS / "02_class_score.ipynb"
    before = lesson.read_bytes()
    with pytest.raises(ValueError, match="installed package, whose files stay as they are"):
        notebooks.refresh(lesson, as_installed / "out")
    assert lesson.read_bytes() == before and not (as_installed / "out").exists()


@pytest.mark.parametrize("owner", ["package", "reader"])
def test_a_run_writes_beside_a_reader_s_notebook_and_not_beside_the_package_s(
    owner, as_installed, monkeypatch, make_notebook
):
    monkeypatch.setattr(files, "NOTEBOOKS", as_installed / "package")
    monkeypatch.setattr(files, "RUNS", as_installed / "runs")
    lesson = make_notebook(
        as_installed / owner / "tiny.ipynb",
        "from cambook.course import runs\nrun = runs.start('tiny', profile=profile, seed=seed)",
        "import os\nfrom cambook import files\nprint(os.getcwd(), files.CACHE, files.RUNS, sep='\\n')",
    )
    out = as_installed / "out"
    notebooks.execute(lesson, {}, out, progress=False)
    executed = json.loads((out / "tiny.ipynb").read_text(encoding="utf-8"))
    said = "".join(executed["cells"][-1]["outputs"][0]["text"]).splitlines()
    where = out if owner == "package" else lesson.parent
    assert [Path(folder) for folder in said] == [where, files.CACHE, files.RUNS]
    assert [path.name for path in lesson.parent.iterdir()] == ["tiny.ipynb"]


# ---- in any folder, without a clone and without a network ----

# Python looks for this module by itself, in kernels too, and its hook sees every connection and every question for an
# address, whoever makes it.
OFFLINE = """
import sys

def refuse(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    if host not in (None, "", "localhost", "127.0.0.1", "::1", b"localhost", b"127.0.0.1"):
        raise OSError(f"no network in this test: {host}")

sys.addaudithook(refuse)
"""

# What a reader does first with the library; it also proves that there is no network.
LOOK = """
import socket

import numpy as np

import cambook
from cambook import files
from cambook.course import runs
from cambook.course.papers import published
from cambook.datasets import example_picture
from cambook.metrics.histograms import add_to_histograms

assert files.INSTALLED
for host in ("192.0.2.1", "example.org"):
    try:
        socket.create_connection((host, 443), timeout=5)
    except OSError as error:
        print(f"{host}: {error}")
image = example_picture("coffee", size=224)
network = cambook.build("lite0-gap", weights="pretrained").requires_grad_(False)
logits, feature_maps = network(image)
best = logits.argmax(1)
cam = cambook.class_activation_map(feature_maps, network.class_weight[best])
print("box:", *cambook.box_from_map(cambook.upsample(cam, image.shape[2:])[0, 0], rule="paper", threshold=0.2))
print("scenes:", len(cambook.load("scenes", "test", 64, length=12)))
print("published:", len(published.table("cam_table1")) > 5)
count = np.zeros((2, 2), np.int64)
add_to_histograms(count, np.array([0, 0.5, np.inf]), np.array([0.7]), np.array([True]), np.array([True]))
print("compiled:", count[1, 1] == 1)
print("recorded:", len(runs.recorded("course")) > 10)
print("cache:", files.CACHE)
"""


def environment(folder):
    """Home, cache and network as of a new user on a train; nothing of this session's settings."""
    ours = ("CAMBOOK_", "NUMBA_", "PYTHON", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    homes = {"HOME": str(folder / "home"), "USERPROFILE": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "xdg")}
    # Bytecode is pip's to write, at the installation, and Python's if nobody did: it has no part in what is compared.
    python = {"PYTHONPATH": str(folder / "offline"), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    return kept | dead | homes | python


@pytest.fixture(scope="session")
def venv(wheel, tmp_path_factory):
    """A new environment's folder of programs, with the wheel and what its extra `course` needs."""
    folder = tmp_path_factory.mktemp("venv")
    # the versions of this environment, whose files uv's cache has
    versions = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
    versions.pop("cambook", None)
    pins = folder / "versions.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
    uv = [sys.executable, "-m", "uv", "-q"]
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([*uv, "venv", "--python", sys.executable, folder / "env"], check=True)
    what = [f"{wheel}[course]", "--constraint", pins]
    subprocess.run([*uv, "pip", "install", "--python", programs / "python", *what], check=True)
    yield programs
    shutil.rmtree(folder / "env")  # 6 GB, if they are copies


def state(packages):
    """Every file and folder of an environment: the package's own files with a digest, others with size and time."""
    found = {}
    for path in packages.rglob("*"):
        name = path.relative_to(packages)
        if path.is_dir():
            found[name.as_posix()] = "a folder"
        elif name.parts[0] == "cambook":
            found[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name.as_posix()] = path.lstat().st_size, path.lstat().st_mtime_ns
    return found


def test_an_installed_package_works_in_an_empty_folder_and_stays_as_it_is(venv, tmp_path):
    (tmp_path / "offline").mkdir()
    (tmp_path / "offline" / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    empty = tmp_path / "an empty folder"
    for folder in (empty, tmp_path / "home", tmp_path / "xdg"):
        folder.mkdir()
    settings = {"cwd": empty, "env": environment(tmp_path), "capture_output": True, "text": True, "encoding": "utf-8"}
    packages = next(venv.parent.glob("**/site-packages"))
    before = state(packages)
    assert "cambook/files.py" in before and "torch/__init__.py" in before

    looked = subprocess.run([venv / "python", "-c", LOOK], **settings)
    assert looked.returncode == 0, looked.stderr
    said = dict(line.split(": ", 1) for line in looked.stdout.splitlines())
    assert said["192.0.2.1"].startswith("no network") and said["example.org"].startswith("no network")
    assert said["box"] == "59 0 274 170" and said["scenes"] == "12" and said["published"] == said["recorded"] == "True"
    assert said["compiled"] == "True"
    assert Path(said["cache"]).is_relative_to(tmp_path)

    doctor = subprocess.run([venv / "cambook", "doctor"], **settings)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    run = subprocess.run([venv / "cambook", "run", "02"], **settings)
    assert run.returncode == 0, run.stdout + run.stderr
    refused = subprocess.run([venv / "cambook", "notebooks"], **settings)
    assert refused.returncode == 1 and "stay as they are" in refused.stderr and len(refused.stderr.splitlines()) == 1

    assert {path.name for path in empty.iterdir()} == {"runs"}
    record = json.loads((empty / "runs" / "02_class_score" / "record.json").read_text(encoding="utf-8"))
    assert record["finished"] and record["environment"]["commit"] is None
    if sys.platform == "linux":
        assert Path(said["cache"]) == tmp_path / "xdg" / "cambook"
        assert any((tmp_path / "xdg" / "cambook" / "numba").rglob("*.nbi"))
    after = state(packages)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()
