"""What runs elsewhere is well-formed here: GitHub's workflows, Binder's environment, the devcontainer.

GitHub, Binder and Codespaces cannot be called from a test. The workflows' schema is check-jsonschema's copy, their
security zizmor's audit; a planted fault shows that each would speak up.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import editions
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path):
    """A workflow; YAML 1.1 reads the key `on` as true."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in found.items()}


def jobs():
    return {f"{path.stem}/{name}": job for path in WORKFLOWS for name, job in read(path)["jobs"].items()}


def commands(path):
    """The shell lines of a workflow's steps."""
    steps = (step for job in read(path)["jobs"].values() for step in job["steps"])
    return [line.strip() for step in steps for line in step.get("run", "").splitlines()]


# ---- two tools, and that they would find a fault ----


def schema(*paths):
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        *map(str, paths),
    ]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def audit(folder):
    zizmor = shutil.which("zizmor", path=Path(sys.executable).parent)
    assert zizmor, "zizmor is not beside this Python: pip install -e '.[test]'"
    options = ["--offline", "--no-progress", "--color=never", "--config", FOLDER / "zizmor.yml"]
    command = [zizmor, *map(str, options), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


@pytest.fixture
def planted(tmp_path):
    """planted("ci", old, new): a copy of all workflows, one of them with a fault."""

    def plant(name, old, new):
        shutil.copytree(FOLDER / "workflows", tmp_path / ".github" / "workflows")
        path = tmp_path / ".github" / "workflows" / f"{name}.yml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return plant


def test_the_workflows_are_those_that_the_docs_speak_of():
    assert [path.stem for path in WORKFLOWS] == ["ci", "editions", "release", "weekly"]


def test_workflows_follow_githubs_schema():
    done = schema(*WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_finds_every_fault(tmp_path):
    faults = {
        "no machine": ("    runs-on: ubuntu-latest\n", ""),
        "misspelled key": ("    timeout-minutes: 90\n", "    timeout-minuts: 90\n"),
        "unknown right": ("      contents: read\n", "      contents: some\n"),
        "unknown event": ("  pull_request:\n", "  pull_requests:\n"),
    }
    text = (FOLDER / "workflows" / "ci.yml").read_text(encoding="utf-8")
    for name, (old, new) in faults.items():
        assert old in text
        (tmp_path / f"{name}.yml").write_text(text.replace(old, new, 1), encoding="utf-8")
    done = schema(*tmp_path.iterdir())
    assert done.returncode == 1 and [name for name in faults if f"{name}.yml::" not in done.stdout] == []


def test_zizmor_finds_nothing():
    done = audit(FOLDER)
    assert done.returncode == 0 and "No findings" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name, old, new, finding",
    [
        ("ci", "make test PYTHON=python", "echo ${{ github.event.pull_request.title }}", "template-injection"),
        ("ci", "          persist-credentials: false\n", "          fetch-depth: 1\n", "artipacked"),
        ("ci", "  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        ("weekly", "permissions:\n      contents: read\n", "permissions: write-all\n", "excessive-permissions"),
        ("release", "pypa/gh-action-pypi-publish@release/v1", "somebody/publish@v1", "unpinned-uses"),
    ],
    ids=["title in a shell", "token left behind", "foreign code", "all rights", "unknown action"],
)
def test_zizmor_finds_a_fault(planted, name, old, new, finding):
    done = audit(planted(name, old, new).parents[1])
    assert done.returncode != 0 and finding in done.stdout, done.stdout + done.stderr


def test_only_the_pinning_of_actions_is_relaxed_and_nothing_is_ignored():
    text = (FOLDER / "zizmor.yml").read_text(encoding="utf-8")
    assert list(yaml.safe_load(text)["rules"]) == ["unpinned-uses"] and text.startswith("# ")
    assert [path.name for path in WORKFLOWS if "zizmor:" in path.read_text(encoding="utf-8")] == []


# ---- what the tools do not ask for ----


@each_workflow
def test_rights_are_given_to_jobs_and_no_more_than_they_need(path):
    assert read(path)["permissions"] == {}
    given = {
        "editions/push": {"contents": "write"},
        "release/publish": {"id-token": "write"},
    }
    for name, job in read(path)["jobs"].items():
        assert job["permissions"] == given.get(f"{path.stem}/{name}", {"contents": "read"})


def test_every_job_ends_in_time_and_every_action_has_a_major_version():
    for name, job in jobs().items():
        assert job["timeout-minutes"] <= 90, name
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+|pypa/[\w-]+@release/v\d+", each) for each in used), name
    assert all("concurrency" in read(path) for path in WORKFLOWS)


def test_the_commands_of_the_workflows_exist():
    targets = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE))
    called = [line.split()[1] for path in WORKFLOWS for line in commands(path) if line.startswith("make ")]
    assert {"test", "setup"} <= set(called) <= targets
    scripts = [
        word for path in WORKFLOWS for line in commands(path) for word in re.findall(r"python (\w+/\w+\.py)", line)
    ]
    assert sorted(scripts) == ["benchmarks/editions.py", "benchmarks/release.py"]
    assert all((ROOT / script).is_file() for script in scripts)


def test_ci_runs_readmes_tests_and_the_installed_package_on_windows_and_macos():
    ci = read(FOLDER / "workflows" / "ci.yml")
    tests, others = ci["jobs"]["tests"], ci["jobs"]["other-systems"]
    assert tests["steps"][-1]["run"].startswith("make test") and "CAMBOOK_TEST_DATA" not in json.dumps(ci)
    assert others["strategy"]["matrix"]["os"] == ["windows-latest", "macos-latest"]
    assert any(step.get("run") == 'python -m pip install ".[course]"' for step in others["steps"])
    assert "course" in PROJECT["optional-dependencies"]
    assert others["steps"][-1]["run"].splitlines()[-1] == "cambook run 02"


def test_python_is_set_up_in_the_versions_that_are_supported():
    for name in ("ci/other-systems", "weekly/newest"):
        first, last = jobs()[name]["strategy"]["matrix"]["python"]
        assert PROJECT["requires-python"] == f">={first},<3.{int(last.split('.')[1]) + 1}"


def test_editions_come_from_main_until_the_first_release_and_then_from_tags():
    wanted = {"tags": ["v*"]} if editions.RELEASED else {"branches": ["main"]}
    workflow = read(FOLDER / "workflows" / "editions.yml")
    assert workflow["on"]["push"] == wanted
    pushed = workflow["jobs"]["push"]["steps"][-1]["run"].splitlines()[-1]
    assert pushed.startswith("git push --force ") and pushed.endswith(f" {editions.BRANCH}")


def test_a_release_is_checked_before_pypi_is_called():
    workflow = read(FOLDER / "workflows" / "release.yml")
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    said = [step["run"] for step in build["steps"] if "run" in step]
    assert said[1:] == [
        'python benchmarks/release.py "$GITHUB_REF_NAME"',
        "python -m build",
        "python -m twine check --strict dist/*",
    ]
    assert (
        publish["needs"] == "build"
        and publish["environment"] == "pypi"
        and workflow["on"] == {"push": {"tags": ["v*"]}}
    )
    assert not [step for step in publish["steps"] if "run" in step]


# ---- Binder and the devcontainer ----


def test_binder_gets_torch_for_the_cpu_and_the_rest_of_what_lessons_need():
    found = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = found["dependencies"]
    bounds = {Requirement(line).name: str(Requirement(line).specifier) for line in PROJECT["dependencies"]}
    assert found["channels"] == ["conda-forge"]
    python, *torch = conda
    assert re.fullmatch(r"python=3\.\d+", python)  # Binder reads a version, not a bound
    assert Requirement(python.replace("=", "==") + ".0").specifier and python.split("=")[1] in ("3.11", "3.12", "3.13")
    assert torch == [f"pytorch-cpu{bounds['torch']}", f"torchvision{bounds['torchvision']}", "pip"]
    needed = [line for line in PROJECT["dependencies"] if Requirement(line).name not in ("torch", "torchvision")]
    assert pip["pip"] == needed


def test_binder_installs_the_repository_after_its_environment():
    script = ROOT / ".binder" / "postBuild"
    listed = ["git", "ls-files", "--stage", ".binder/postBuild"]
    mode = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8").stdout[:6]
    text = script.read_text(encoding="utf-8")
    assert mode == "100755" and text.startswith("#!/bin/bash\n") and "--no-deps --editable ." in text


def test_the_devcontainer_sets_up_as_readme_does_and_asks_for_no_gpu():
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["postCreateCommand"] == "make setup" and re.search(r"^setup:", MAKEFILE, re.MULTILINE)
    assert found["forwardPorts"] == [8888] and "gpu" not in text.lower()
    python = re.search(r":1-(3\.\d+)-", found["image"])[1]
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    assert found["customizations"]["vscode"]["settings"] == {"python.defaultInterpreterPath": ".venv/bin/python"}
