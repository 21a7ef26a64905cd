"""`cambook lessons`: a copy to work in, for students without the solutions, whose changes no later call overwrites."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cambook import files
from cambook.cli import commands
from cambook.course import handout
from cambook.course.lessons import check

ORIGINALS = files.NOTEBOOKS
LESSON = "03_class_activation_map.ipynb"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv(handout.SOLUTIONS, raising=False)
    return tmp_path / "수업 1"


@pytest.fixture
def newer(tmp_path, monkeypatch):
    """newer() gives the lessons a new version: another sentence in one lesson and in the glossary."""
    copy = tmp_path / "package"
    shutil.copytree(ORIGINALS, copy)
    monkeypatch.setattr(files, "NOTEBOOKS", copy)

    def renew():
        change(copy / LESSON, "title", lambda source: source + "\nA new sentence.")
        glossary = copy / "glossary.md"
        glossary.write_text(glossary.read_text(encoding="utf-8") + "A new word.\n", encoding="utf-8")

    return renew


def call(*arguments):
    result = CliRunner().invoke(commands.app, ["lessons", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def cells(path):
    return {cell["id"]: cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}


def source(cell):
    return "".join(cell["source"])


def change(path, cell_id, how):
    """Changes a cell as JupyterLab would: its text is one string, or lines, and outputs may come with it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    (cell,) = [cell for cell in notebook["cells"] if cell["id"] == cell_id]
    cell["source"] = how(source(cell))
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- a copy ----


def test_a_copy_has_every_lesson_table_sweep_and_the_glossary_without_outputs(folder):
    assert "with solutions" in call(folder).stdout
    names = {path.relative_to(ORIGINALS).as_posix() for path in ORIGINALS.rglob("*") if path.is_file()}
    names = {name for name in names if ".ipynb_checkpoints" not in name}
    assert set(contents(folder)) == names | {handout.MARK}
    for name in names:
        if not name.endswith(".ipynb"):
            assert (folder / name).read_text(encoding="utf-8") == (ORIGINALS / name).read_text(encoding="utf-8")
            continue
        ours, theirs = cells(folder / name), cells(ORIGINALS / name)
        assert [(key, source(cell)) for key, cell in ours.items()] == [(k, source(c)) for k, c in theirs.items()]
        assert [cell["metadata"] for cell in ours.values()] == [cell["metadata"] for cell in theirs.values()]
        assert all(cell["outputs"] == [] for cell in ours.values() if cell["cell_type"] == "code")


def test_the_default_is_a_folder_here_and_the_runs_of_a_copy_are_found_by_its_path(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call()
    copied = Path(handout.DEFAULT, LESSON)
    assert copied.is_file() and commands.find_notebook(str(copied)) == copied


def test_calling_again_changes_no_byte(folder):
    call(folder, "--student")
    before = contents(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.ipynb")}
    assert "0 files written, without solutions" in call(folder).stdout
    assert contents(folder) == before and all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_what_a_kernel_wrote_is_no_change_and_stays(folder, newer):
    call(folder)
    lesson = folder / LESSON
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": "1\n"}], "execution_count": 1}
    lesson.write_text(json.dumps(notebook), encoding="utf-8")
    before = lesson.read_bytes()
    call(folder)
    assert lesson.read_bytes() == before
    newer()
    assert call(folder).exit_code == 0 and "A new sentence." in source(cells(lesson)["title"])


@pytest.mark.parametrize("place", [".", "reproduce", "new/folder"])
def test_the_lessons_themselves_are_not_written_to(place):
    with pytest.raises(ValueError, match="contains the lessons themselves: name another folder"):
        call(ORIGINALS / place, "--student")
    assert not (ORIGINALS / handout.MARK).exists() and not (ORIGINALS / "new").exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"file cannot be written \(.*\): name a folder of your own"):
        call(tmp_path / "file")


# ---- what the reader changed ----


def test_a_newer_version_replaces_what_is_as_it_was_and_leaves_what_was_changed(folder, newer):
    call(folder)
    glossary = folder / "glossary.md"
    change(folder / LESSON, "exercise-cam", lambda text: text + "\n# mine")
    assert call(folder).exit_code == 0  # no newer version: nothing to say
    newer()
    mine = (folder / LESSON).read_bytes()
    result = call(folder)
    assert result.exit_code == 1
    assert result.stderr == (
        f"cambook: {LESSON}: you have changed it, and there is a newer version: rename yours and call this again.\n"
    )
    assert (folder / LESSON).read_bytes() == mine
    assert glossary.read_text(encoding="utf-8").endswith("A new word.\n")
    assert call(folder).exit_code == 1  # still
    (folder / LESSON).rename(folder / "my 03.ipynb")
    assert call(folder).exit_code == 0 and "A new sentence." in source(cells(folder / LESSON)["title"])
    assert (folder / "my 03.ipynb").read_bytes() == mine


@pytest.mark.parametrize("content", ["not a notebook", "{}", '{"cells": [1]}', '{"cells": null}', ""])
def test_a_foreign_file_of_that_name_stays(folder, content):
    folder.mkdir()
    (folder / LESSON).write_text(content, encoding="utf-8")
    (folder / "glossary.md").write_bytes("이것".encode("cp949"))
    result = call(folder, "--student")
    assert result.exit_code == 1 and f"{LESSON}, glossary.md: you have changed them" in result.stderr
    assert (folder / LESSON).read_text(encoding="utf-8") == content
    assert (folder / "glossary.md").read_bytes() == "이것".encode("cp949")
    assert cells(folder / "02_class_score.ipynb")


@pytest.mark.parametrize("mark", ["", "[]", "null", '{"solutions": 1}', '{"solutions": false, "files": []}', "\x00"])
def test_without_a_whole_mark_every_changed_file_is_taken_for_the_readers(folder, mark, newer):
    call(folder)
    (folder / handout.MARK).write_text(mark, encoding="utf-8")
    assert call(folder).exit_code == 0
    (folder / handout.MARK).write_text(mark, encoding="utf-8")
    newer()
    result = call(folder)
    assert result.exit_code == 1 and f"{LESSON}, glossary.md: you have changed them" in result.stderr


# ---- without the solutions ----


def shown(folder):
    """The exercises whose solution a lesson of the folder shows how to see."""
    text = "\n".join(source(cell) for path in folder.glob("*.ipynb") for cell in cells(path).values())
    return sorted(re.findall(r"check\.(\w+)\.solution\(\)", text))


def test_a_students_copy_shows_no_solution_and_says_that_it_comes(folder):
    assert "without solutions" in call(folder, "--student").stdout
    assert shown(folder) == [] and shown(ORIGINALS) == sorted(check.by_lesson())
    help_with_cam = source(cells(folder / LESSON)["exercise-cam-help"])
    assert help_with_cam == "# check.cam.hint()\n# cam: the solution comes when your lecturer releases it"


def test_in_a_students_copy_checks_and_hints_work_and_a_solution_is_put_off(folder, monkeypatch, capsys, tmp_path):
    call(folder, "--student")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.chdir(folder / "reproduce")  # in a folder below, too
    check.cam(check.cam.reference)
    check.cam.hint()
    said = capsys.readouterr().out
    assert said.startswith("✓ cam: correct.\nhint ")
    check.show_solutions()
    try:
        check.cam.solution()
        check.iou_by_hand.solution()
        check.cam(check.cam.reference)
    finally:
        check.show_solutions(False)
    later = "The solution of {} comes when your lecturer releases it; until then check.{}.hint() helps.\n"
    cam = later.format("cam", "cam")
    assert capsys.readouterr().out == cam + later.format(*["iou_by_hand"] * 2) + "✓ cam: correct.\n" + cam
    monkeypatch.chdir(tmp_path)
    check.cam.solution()
    assert capsys.readouterr().out.startswith("def cam(")


def test_the_solutions_come_back_and_nothing_that_the_student_wrote_is_lost(folder, tmp_path, monkeypatch, capsys):
    call(folder, "--student")
    lesson = folder / LESSON
    change(lesson, "exercise-cam", lambda text: text.replace("return ...", "return feature_maps  # 제 답"))
    change(lesson, "exercise-cam-help", lambda text: text.replace("# check.cam.hint()", "check.cam.hint()\nmine = 1"))
    mine = json.loads(lesson.read_text(encoding="utf-8"))
    mine["cells"].insert(3, {"cell_type": "markdown", "id": "note", "metadata": {}, "source": ["my note"]})
    mine["cells"] = [cell for cell in mine["cells"] if cell["id"] != "exercise-box-help"]
    lesson.write_text(json.dumps(mine), encoding="utf-8")
    assert "with solutions" in call(folder, "--with-solutions").stdout
    assert shown(folder) == sorted(set(check.by_lesson()) - {"box"})  # its cell was deleted
    after = cells(lesson)
    assert source(after["exercise-cam-help"]) == "check.cam.hint()\nmine = 1\n# check.cam.solution()"
    assert "return feature_maps  # 제 답" in source(after["exercise-cam"]) and source(after["note"]) == "my note"
    for key, cell in cells(lesson).items():
        if "help" not in key:
            assert cell == {each["id"]: each for each in mine["cells"]}[key]
    whole = tmp_path / "whole"
    call(whole)
    for name in contents(whole):
        if name not in (LESSON, handout.MARK):
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    monkeypatch.chdir(folder)
    check.cam.solution()
    assert capsys.readouterr().out.startswith("def cam(")
    call(folder, "--student")
    assert shown(folder) == []


def test_a_copy_keeps_its_kind_until_it_is_told_otherwise(folder):
    call(folder, "--student")
    call(folder)
    assert shown(folder) == []
    call(folder, "--with-solutions")
    call(folder)
    assert shown(folder) == sorted(check.by_lesson())
    result = CliRunner().invoke(commands.app, ["lessons", str(folder), "--student", "--with-solutions"])
    assert result.exit_code == 2 and "give one" in result.stderr


def test_on_a_hub_one_variable_keeps_the_solutions_away_from_all(folder, monkeypatch, capsys):
    monkeypatch.setenv(handout.SOLUTIONS, "no")
    assert "without solutions" in call(folder).stdout
    with pytest.raises(ValueError, match="not released yet: CAMBOOK_SOLUTIONS=no is set"):
        call(folder, "--with-solutions")
    check.cam.solution()  # anywhere
    assert capsys.readouterr().out.startswith("The solution of cam comes when")
    assert shown(folder) == []
    monkeypatch.setenv(handout.SOLUTIONS, "yes")
    call(folder)
    assert shown(folder) == sorted(check.by_lesson())
    monkeypatch.setenv(handout.SOLUTIONS, "perhaps")
    with pytest.raises(ValueError, match="CAMBOOK_SOLUTIONS='perhaps' is neither yes nor no"):
        check.cam.solution()


# ---- cambook lab ----


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """The folders that `cambook lab` opened."""
    found = []

    class Done:
        returncode = 0

    monkeypatch.setattr(commands.subprocess, "run", lambda command, cwd: found.append(Path(cwd)) or Done)
    monkeypatch.chdir(tmp_path)
    return found


def lab():
    result = CliRunner().invoke(commands.app, ["lab"])
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_an_installed_package_opens_a_copy_that_it_makes_once(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "INSTALLED", True)
    assert lab() == f"The lessons are copied to {handout.DEFAULT}.\n"
    change(tmp_path / handout.DEFAULT / LESSON, "exercise-cam", lambda text: text + "# mine")
    before = contents(tmp_path / handout.DEFAULT)
    assert lab() == "" and contents(tmp_path / handout.DEFAULT) == before
    assert opened == [tmp_path / handout.DEFAULT] * 2


def test_in_a_copy_the_lab_opens_that_copy_and_in_a_clone_its_notebooks(opened, folder, monkeypatch):
    lab()
    call(folder, "--student")
    monkeypatch.chdir(folder)
    lab()
    assert opened == [ORIGINALS, folder]
