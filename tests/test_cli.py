import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cambook import files
from cambook.cli import commands, doctor
from cambook.course import notebooks, runs
from cambook.course.parameters import ParameterError

LESSONS = ["00_where", "01_gap", "03_map"]


@pytest.fixture
def course(make_notebook, tmp_path, monkeypatch):
    """Three lessons and one reproduction, whose runs are played instead of executed; returns what was run."""
    for name in [*LESSONS, "reproduce/table_2"]:
        make_notebook(tmp_path / "notebooks" / f"{name}.ipynb", "1 + 1")
    monkeypatch.setattr(files, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    played = []

    def play(notebook, parameters, folder, progress=True, sharpness=1):
        played.append((notebook.stem, dict(parameters), folder.relative_to(tmp_path).as_posix()))
        if notebook.stem == "01_gap" and parameters.get("seed") != "5":
            raise notebooks.RunError("01_gap.ipynb stopped in cell [2] with ZeroDivisionError: division by zero")
        return runs.Record(
            notebook=notebook.stem,
            parameters={},
            metrics={"top1_error": 12.3456, "parameters": 61100840} if notebook.stem == "00_where" else {},
            started="",
            seconds=12.4,
            environment={},
        )

    monkeypatch.setattr(notebooks, "execute", play)
    return played


def call(*arguments):
    result = CliRunner().invoke(commands.app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_failing_lesson_does_not_stop_the_others_and_the_exit_code_says_so(course):
    result = call("course")
    assert [name for name, _, _ in course] == LESSONS
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr


def test_the_course_succeeds_where_every_lesson_does(course):
    (files.NOTEBOOKS / "01_gap.ipynb").unlink()
    assert call("course").exit_code == 0


def test_the_course_ends_with_a_table(course):
    lines = [line.split("  ") for line in call("course").stdout.strip().splitlines()]
    table = [[entry.strip() for entry in line if entry.strip()] for line in lines]
    assert table == [
        ["notebook", "seconds", "metrics recorded", "where to look"],
        table[1],
        ["00_where", "12", "top1_error = 12.35", "runs/00_where"],
        ["parameters = 61100840"],
        ["01_gap", "-", "FAILED", "runs/01_gap"],
        ["03_map", "12", "none", "runs/03_map"],
    ]


def test_the_course_runs_at_another_profile_into_another_folder(course):
    call("course", "--profile", "full")
    assert course[0] == ("00_where", {"profile": "full"}, "runs/00_where/profile=full")


def test_a_wrong_profile_is_refused_before_any_lesson_runs(course):
    with pytest.raises(ParameterError, match="profile='fast' is refused"):
        call("course", "--profile", "fast")
    assert course == []


@pytest.mark.parametrize("name", ["1", "01", "01_gap", "01_gap.ipynb", "notebooks/01_gap.ipynb"])
def test_a_notebook_is_found_by_number_name_or_path(course, name):
    assert call("run", name, "-p", "seed=5").exit_code == 0
    assert course == [("01_gap", {"seed": "5"}, "runs/01_gap/seed=5")]


def test_a_reproduction_is_found_by_name(course):
    assert commands.find_notebook("table_2") == files.NOTEBOOKS / "reproduce" / "table_2.ipynb"


def test_an_unknown_notebook_lists_the_known_ones(course):
    with pytest.raises(FileNotFoundError, match="00_where, 01_gap, 03_map, table_2, did you mean 03_map"):
        call("run", "03_mab")


def test_parameters_and_profile_are_handed_on(course):
    call("run", "03", "-p", "seed=1", "--profile", "quick")
    assert course == [("03_map", {"seed": "1", "profile": "quick"}, "runs/03_map/profile=quick,seed=1")]


def test_folders_of_runs_hold_no_odd_characters(tmp_path):
    folder = commands.run_folder(tmp_path / "04.ipynb", {"dataset": "voc:/home/me/my birds"})
    assert folder.parent == files.RUNS / "04" and folder.name == "dataset=voc-home-me-my-birds"


def test_a_parameter_without_a_value_is_refused(course):
    result = call("run", "03", "-p", "seed")
    assert result.exit_code == 2 and "-p seed=1" in result.stderr
    assert course == []


def test_no_lessons_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "NOTEBOOKS", tmp_path)
    with pytest.raises(FileNotFoundError, match="contains no lesson.*CAMBOOK_HOME"):
        call("course")


def test_the_command_runs_real_notebooks_and_ends_mistakes_in_one_sentence(make_notebook, tmp_path):
    start = "from cambook.course import notebooks, runs\nrun = runs.start('00_tiny', profile=profile, seed=seed)\n"
    make_notebook(tmp_path / "notebooks" / "00_tiny.ipynb", start + "runs.record('x', seed + 0.5)")
    environment = {**os.environ, "CAMBOOK_HOME": str(tmp_path), "CAMBOOK_RUNS": str(tmp_path / "runs")}

    def cambook(*arguments):
        command = [sys.executable, "-m", "cambook.cli", *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")

    ran = cambook("course")
    assert ran.returncode == 0, ran.stderr
    assert "x = 0.5" in ran.stdout and (tmp_path / "runs" / "00_tiny" / "00_tiny.ipynb").is_file()
    assert "00_tiny: 2 of 2 cells" in ran.stderr and "\r" not in ran.stderr, "a log is no place for a bar"
    wrong = cambook("run", "0", "-p", "sead=1")
    assert wrong.returncode == 1
    assert (
        wrong.stderr == "cambook: 00_tiny.ipynb has no parameter 'sead', it accepts profile, seed, did you mean seed?\n"
    )


def test_the_lab_listens_to_this_machine_alone_and_keeps_its_token(course, monkeypatch):
    asked = []

    class Done:
        returncode = 0

    monkeypatch.setattr(commands.subprocess, "run", lambda command, cwd: asked.append((command, cwd)) or Done)
    assert call("lab", "--no-browser").exit_code == 0
    command, folder = asked[0]
    assert "--ServerApp.ip=127.0.0.1" in command and command[-1] == "--no-browser"
    assert "token" not in " ".join(command)
    assert folder == files.NOTEBOOKS


def test_the_doctor_finds_this_installation_fit():
    result = call("doctor")
    missing = [line for line in result.stdout.splitlines() if line.startswith("NO")]
    assert result.exit_code == 0, missing
    for word in (
        "torch: ",
        "device: ",
        "Lite0 weights: in their package",
        "resvg: draws",
        "googlenet weights",
        "cache: ",
    ):
        assert word in result.stdout


def test_the_doctor_names_what_is_missing_and_how_to_mend_it(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "DATA", tmp_path)
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))
    requires = ["no-such-package>=2", "numpy>=1e3", "numpy>=1", 'also-missing; extra == "test"']
    requires += ['no-lab>=4; extra == "course"', 'of-another-system; sys_platform == "none"']
    monkeypatch.setattr(
        doctor.importlib.metadata, "requires", lambda name: [*requires[:1], "numpy>=999", *requires[2:]]
    )
    result = call("doctor")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "NO  no-such-package: missing, needs >=2; run `pip install cambook` (in a clone: make setup)" in lines
    assert any(line.startswith("NO  numpy: ") and "(>=999); run `pip" in line for line in lines)
    assert any(line.startswith("ok  numpy: ") for line in lines)
    assert any(line.startswith("--  also-missing: ") and '"cambook[test]"' in line for line in lines)
    lab = '--  no-lab: missing, needs >=4; `pip install "cambook[course]"` (in a clone: make setup) brings what runs'
    assert any(line.startswith(lab) for line in lines)
    assert not any("of-another-system" in line for line in lines)
    assert any(line.startswith("NO  data/scenes/classes.csv: missing") and "CAMBOOK_HOME" in line for line in lines)


def test_the_doctor_tells_a_torch_that_torchvision_does_not_fit(monkeypatch):
    import torchvision

    def nms(*arguments):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    (finding,) = doctor._torch()
    assert finding.fit is False and "nms does not exist" in finding.found and "find-links" in finding.mend


def test_run_without_a_notebook_runs_all_lessons(course):
    assert call("run", "--profile", "full", "-p", "seed=5").exit_code == 0
    assert [name for name, _, _ in course] == LESSONS
    assert all(parameters == {"profile": "full", "seed": "5"} for _, parameters, _ in course)


def test_figures_are_exported_for_the_lessons_asked_for(course, monkeypatch):
    exported = []
    monkeypatch.setattr(notebooks, "export_figures", lambda executed, folder: exported.append(executed.name) or [])
    assert call("figures", "03").exit_code == 0
    assert exported == ["03_map.ipynb"] and course[-1][2] == "runs/figures/03_map"
    assert call("figures").exit_code == 1  # one lesson fails, the others are exported
    assert exported[1:] == ["00_where.ipynb", "03_map.ipynb"]
