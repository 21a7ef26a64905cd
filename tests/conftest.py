"""What all tests share: where runs go, the order of the stages, tiny notebooks, the real photographs, the wheel."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
# before cambook.files is read, and for every kernel; each worker of pytest-xdist has a folder of its own
os.environ["CAMBOOK_RUNS"] = str(REPOSITORY / "runs" / os.environ.get("PYTEST_XDIST_WORKER", "test"))
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # machine.SPIN_COUNT, for the kernels that nbval starts
# A shell lets what it starts in the background ignore Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
BEGAN = datetime.now(UTC).replace(microsecond=0)

STAGES = ("unit tests", ".ipynb", "test_notebooks.py", "test_browser.py")
# `make test` has two workers. One runs these, which wait for processes of their own or train; the other all others,
# and then the notebooks. So both take about as long.
_NAMES = "classroom colab distributed editions encoding experiments gpu hostile kill real_photographs wheel"
_NAMES += " memory networks policy protocol segmentation training transfer"
WAITING = {f"test_{name}.py" for name in _NAMES.split()}


def pytest_collection_modifyitems(items):
    """Unit tests, committed outputs against new ones, the numbers those runs recorded, the browser."""

    def stage(item):
        return next((n for n, ending in enumerate(STAGES) if item.path.name.endswith(ending)), 0)

    items.sort(key=stage)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """What is handed to a worker of pytest-xdist: all that waits, or all the rest, each in its order."""
    from xdist.scheduler import LoadScopeScheduling

    class InTwo(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "waits" if Path(nodeid.partition("::")[0]).name in WAITING else "computes"

    return InTwo(config, log)


def pytest_terminal_summary(terminalreporter):
    """Under the results, how many hostile cases held."""
    passed = terminalreporter.stats.get("passed", [])
    kinds = Counter(kind for report in passed for name, kind in report.user_properties if name == "hostile")
    if kinds:
        each = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        terminalreporter.write_line(f"{kinds.total()} hostile cases held: {each}")


@pytest.fixture(scope="session")
def photographs():
    """photographs("pets") is the folder of one of the sets of real photographs; without CAMBOOK_TEST_DATA it skips."""

    def folder_of(name):
        folder = os.environ.get("CAMBOOK_TEST_DATA")
        if not folder:
            pytest.skip("CAMBOOK_TEST_DATA is not set: the real photographs are not here")
        path = Path(folder) / name
        assert path.is_dir(), f"CAMBOOK_TEST_DATA is set, but {path} does not exist"
        return path

    return folder_of


@pytest.fixture(scope="session")
def wildlife(photographs):
    """The folder with the kangaroos and raccoons, in Pascal VOC layout."""
    return photographs("wildlife")


@pytest.fixture(scope="session")
def began():
    """When this session of tests began."""
    return BEGAN


@pytest.fixture(scope="session")
def make_notebook():
    """make_notebook(path, "code", ..., parameters="seed = 0") writes a tiny notebook and returns its path."""
    import nbformat

    def make(path, *cells, parameters='profile = "quick"\nseed = 0'):
        notebook = nbformat.v4.new_notebook()
        if parameters is not None:
            notebook.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return make


# Files that may lie in a clone and belong to no package.
STRAY = (
    "build/lib/cambook/gone.py",
    "cambook/__pycache__/files.cpython-311.pyc",
    "cambook/maps/notes.csv",
    "cambook/scratch/half.py",
    "data/cache/scenes.json",
    "data/real/mine.jpg",
    "data/results/.table.0a1b2c3d.csv",
    "notebooks/.ipynb_checkpoints/00-checkpoint.ipynb",
    "notebooks/runs/02/02_class_score.ipynb",
    "notebooks/scratch.py",
    "runs/02/record.json",
)


@pytest.fixture(scope="session")
def build():
    """build(tree, folder, "wheel" or "sdist") makes one of the two from a source tree and returns its path."""

    def make(tree, folder, kind):
        folder.mkdir(parents=True, exist_ok=True)
        code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
        command = [sys.executable, "-c", code, str(folder)]
        made = subprocess.run(command, cwd=tree, capture_output=True, text=True, encoding="utf-8")
        assert made.returncode == 0, made.stderr
        return folder / made.stdout.splitlines()[-1]

    return make


@pytest.fixture(scope="session")
def stray_files(tmp_path_factory):
    """A copy of the tracked files, and among them strays."""
    import release

    folder = tmp_path_factory.mktemp("tree")
    for path in release.tracked():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / path, folder / path)
    for name in STRAY:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def sdist(build, stray_files, tmp_path_factory):
    """The source distribution."""
    return build(stray_files, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="session")
def wheel(build, sdist, tmp_path_factory):
    """The wheel, made from the source distribution once for all tests."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    return build(next((folder / "source").iterdir()), folder, "wheel")
