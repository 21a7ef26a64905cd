"""A class of thirty: one cache that all read and nobody writes to, and the records of who solved what."""

import csv
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import classroom
import numpy as np
import papermill
import pytest
import syllabus as syllabus_script
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from cambook import datasets, files, training
from cambook.cli import commands, doctor
from cambook.course import notebooks, progress
from cambook.course.lessons import check
from cambook.datasets import atlas, downloads, photographs, registry

RECIPE = training.Recipe(epochs=1, batch_size=4)
SECONDS = 240  # in which six processes at once end


def snapshot(folder):
    """What is in a folder: each file's content, and of files and folders the mode and the time of change."""
    return {
        path.relative_to(folder).as_posix(): (
            stat.S_IMODE(path.stat().st_mode),
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else sorted(each.name for each in path.iterdir()),
        )
        for path in (folder, *folder.rglob("*"))
    }


def locked(folder):
    """Takes everybody's right to write below a folder."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


def scenes():
    return datasets.load("scenes", "train", 64, length=8)


def learn():
    return training.trained("mini-gap", scenes(), RECIPE)


@pytest.fixture(scope="module")
def lecturers(tmp_path_factory):
    """A cache that a lecturer made: the scenes' drawings and one small network."""
    folder = tmp_path_factory.mktemp("srv") / "cambook"
    atlas.load_atlas()
    drawn = files.cached(atlas._atlas_path().name)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CACHE", folder)
        folder.mkdir()
        shutil.copyfile(drawn, atlas._atlas_path())
        assert not learn().reused
    return folder


@pytest.fixture
def shared(lecturers, tmp_path, monkeypatch):
    """A copy of it that this test reads as a student whose own cache is empty; it has to stay as it is."""
    folder = tmp_path / "srv" / "cambook"
    shutil.copytree(lecturers, folder)
    monkeypatch.setattr(files, "SHARED", folder)
    monkeypatch.setattr(files, "CACHE", tmp_path / "own")
    return folder


@pytest.fixture
def untouched(shared):
    """untouched() says whether the shared cache, which may not be written, is as it was at the last call."""
    before = []

    def look():
        if not before:
            locked(shared)
        before.append(snapshot(shared))
        return before[-1] == before[0]

    look()
    yield look
    for path in (shared, *shared.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def own():
    """The files in the student's own cache."""
    return sorted(path.relative_to(files.CACHE).as_posix() for path in files.CACHE.rglob("*") if path.is_file())


def spoil(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)


# ---- the shared cache ----


def test_what_is_in_neither_cache_is_made_in_the_own_one(shared, untouched):
    assert not training.trained("mini-gap", scenes(), RECIPE, seed=1).reused
    assert untouched() and len(own()) == 1 and own()[0].startswith("networks/mini-gap-")
    assert training.trained("mini-gap", scenes(), RECIPE, seed=1).reused


def test_a_damaged_network_is_left_alone_said_once_and_made_again_in_the_own_cache(shared):
    (network,) = (shared / "networks").iterdir()
    spoil(network)
    before = snapshot(shared)
    with pytest.warns(UserWarning, match=rf"{network.name} is damaged \(its checksum differs\)") as warned:
        assert not learn().reused
    assert len(warned) == 1 and snapshot(shared) == before and own() == [f"networks/{network.name}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learn().reused  # the own one comes first
        files.load_whole(files.cached("networks", network.name)[0])


def test_another_number_of_threads_is_named_and_its_network_is_not_taken(shared, untouched, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 3)
    with pytest.warns(UserWarning) as warned:
        assert not learn().reused
    assert [str(each.message) for each in warned] == [
        f"mini-gap is in {shared / 'networks'} as trained with {threads} threads, and this process has {threads + 3}: "
        f"set OMP_NUM_THREADS={threads} before Python starts to take it; it is trained here now."
    ]
    assert untouched()
    reason = f"made with {threads} threads, here {threads + 3}: set OMP_NUM_THREADS={threads}"
    assert training.shared_networks() == (0, {reason: 1})


def test_the_doctor_counts_the_networks_that_fit_and_says_why_others_do_not(shared, monkeypatch):
    def finding():
        (found,) = [each for each in doctor._folders() if each.what == "shared cache"]
        return found

    assert finding() == (True, "shared cache", f"{shared}, 1 of 1 networks fit here", "")
    (network,) = (shared / "networks").iterdir()
    for name, change in {
        "torch": {"torch": ["1.0", "cpu", 1]},
        "device": {"torch": [str(torch.__version__), "tpu", torch.get_num_threads()]},
        "code": {"source": "another"},
        "of-a-lesson": {"name": "mini-caption", "source": "its module's, too"},
    }.items():
        entry = files.load_whole(network)
        entry["determined_by"] |= change
        files.save_whole(entry, network.with_name(f"mini-gap-{name}.pt"))
    network.with_name("foreign.pt").write_bytes(b"not a network")
    found = finding()
    assert found.fit is None and found.found == f"{shared}, 2 of 6 networks fit here"
    assert found.mend == (
        "1 damaged; 1 made by another version of cambook; 1 made on tpu, which is not the device here; "
        f"1 made with torch 1.0, here {torch.__version__}"
    )
    shutil.rmtree(shared / "networks")
    assert finding() == (
        False,
        "shared cache",
        f"{shared}, 0 of 0 networks fit here",
        f"CAMBOOK_CACHE={shared} cambook course makes them",
    )
    monkeypatch.setattr(files, "SHARED", shared / "nowhere")
    found = finding()
    assert found.fit is False and "CAMBOOK_CACHE_SHARED names" in found.mend


@pytest.mark.parametrize("look", [learn, lambda: datasets.folder_of("cub"), lambda: files.cached()])
def test_a_shared_folder_that_is_not_there_is_refused_where_it_is_read_first(shared, look, monkeypatch):
    monkeypatch.setattr(files, "SHARED", shared / "nowhere")
    atlas.load_atlas.cache_clear()
    with pytest.raises(FileNotFoundError, match="^CAMBOOK_CACHE_SHARED names .*nowhere, which is not a folder"):
        look()


def test_what_this_user_may_not_read_is_said_and_made_again(shared, monkeypatch):
    (network,) = (shared / "networks").iterdir()
    allowed = os.access
    monkeypatch.setattr(files.os, "access", lambda path, mode: Path(path) != network and allowed(path, mode))
    with pytest.warns(UserWarning, match=f"{network.name} may not be read by this user: it is made again in"):
        assert not learn().reused
    assert own() == [f"networks/{network.name}"]


def test_the_variable_names_the_shared_cache_and_without_it_there_is_none(tmp_path):
    def said(**variables):
        environment = {name: value for name, value in os.environ.items() if name != "CAMBOOK_CACHE_SHARED"}
        command = [sys.executable, "-c", "from cambook import files; print(files.SHARED)"]
        how = {"capture_output": True, "text": True, "encoding": "utf-8", "check": True}
        return subprocess.run(command, env=environment | variables, **how).stdout.strip()

    assert said() == said(CAMBOOK_CACHE_SHARED="") == "None"
    assert said(CAMBOOK_CACHE_SHARED=str(tmp_path)) == str(tmp_path)


def test_the_kernel_of_a_run_has_the_same_two_caches(shared, make_notebook, tmp_path, monkeypatch):
    seen = {}

    def kernel(notebook, copy, *_, **__):
        seen.update(os.environ)
        Path(copy).write_text("{}", encoding="utf-8")

    monkeypatch.setattr(papermill, "execute_notebook", kernel)
    with pytest.raises(notebooks.RunError, match="without a record"):
        notebooks.execute(make_notebook(tmp_path / "a.ipynb"), {}, tmp_path / "run", progress=False)
    assert (seen["CAMBOOK_CACHE"], seen["CAMBOOK_CACHE_SHARED"]) == (str(files.CACHE), str(shared))


def test_the_scenes_drawings_come_from_the_shared_cache(shared, untouched):
    made = atlas.load_atlas.__wrapped__()
    assert untouched() and own() == []
    datasets.save_atlas(shared.parent / "carried.npz")
    assert atlas._read_atlas(shared.parent / "carried.npz")[0].digest == made.digest


def test_damaged_drawings_are_made_again_in_the_own_cache(shared, monkeypatch):
    (drawn,) = shared.glob("scenes-*.npz")
    spoil(drawn)
    before = snapshot(shared)
    monkeypatch.setattr(atlas, "_cutout", lambda *_: np.zeros((2, 2, 4), np.uint8))  # the true ones take seconds
    monkeypatch.setattr(atlas, "_ground_tiles", lambda row: [np.zeros((2, 2, 3), np.uint8)])
    with pytest.warns(UserWarning, match="is damaged .*: the cut-outs are made again"):
        atlas.load_atlas.__wrapped__()
    assert snapshot(shared) == before and own() == [drawn.name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atlas.load_atlas.__wrapped__()


def test_a_downloaded_data_set_is_read_there_with_no_lock_and_nothing_removed(shared, monkeypatch, capsys):
    (shared / "datasets" / "birds").mkdir(parents=True)
    (shared / "datasets" / "downloads").mkdir()
    (shared / "datasets" / "downloads" / "birds.tgz").write_bytes(b"left by a lecturer who was in a hurry")
    locked(shared)
    before = snapshot(shared)
    archive = downloads.Archive.at(("https://a.invalid/",), "birds.tgz", 10, "md5:0")
    assert downloads.fetch_archives("birds", (archive,)) == shared / "datasets" / "birds"
    assert snapshot(shared) == before and own() == []
    (files.CACHE / "datasets" / "birds").mkdir(parents=True)
    assert downloads.fetch_archives("birds", (archive,)) == files.CACHE / "datasets" / "birds"  # the own one first


def test_the_list_of_data_sets_says_where_the_shared_one_is(shared):
    (shared / "datasets" / "cub").mkdir(parents=True)
    (row,) = [row for row in registry.catalogue() if row[0] == "cub"]
    assert row[-1] == str(shared / "datasets" / "cub")


def test_photographs_that_the_lecturer_looked_through_are_not_looked_through_again(shared, tmp_path, monkeypatch):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    monkeypatch.setattr(photographs, "_WORTH_REMEMBERING", 1)

    def load():
        return datasets.load(f"folder:{tmp_path / 'images'}", "train", 8, boxes=False)

    student = files.CACHE
    with monkeypatch.context() as lecturer:
        lecturer.setattr(files, "CACHE", shared)
        first = load()
    locked(shared)
    before = snapshot(shared)
    with monkeypatch.context() as patch:
        patch.setattr(photographs.Photographs, "_look", lambda self, one: pytest.fail("looked at again"))
        assert load().fingerprint == first.fingerprint
    assert snapshot(shared) == before and own() == []
    (remembered,) = (shared / "datasets" / "looked-through").iterdir()
    remembered.chmod(0o644)
    remembered.write_text("[{", encoding="utf-8")
    before = snapshot(shared)
    with pytest.warns(UserWarning, match=f"{remembered.name} is damaged: its images are looked through again"):
        assert load().fingerprint == first.fingerprint
    assert snapshot(shared) == before and (student / "datasets" / "looked-through" / remembered.name).is_file()


STUDENT = """
from cambook import datasets, training
made = training.trained("mini-gap", datasets.load("scenes", "train", 64, length=8),
                        training.Recipe(epochs=1, batch_size=4))
print("taken from the class's cache" if made.reused else "trained", made.key)
"""


def test_six_at_once_train_nothing_and_write_in_their_own_folders_alone(shared, untouched, tmp_path):
    students = [tmp_path / "home" / name for name in ("kim", "이서연", "o'neil, ann", "d", "e", "f")]
    running = []
    for home in students:
        home.mkdir(parents=True)
        own_folders = {"CAMBOOK_CACHE": str(home / "cache"), "CAMBOOK_RUNS": str(home / "runs")}
        environment = {**os.environ, **own_folders, "CAMBOOK_CACHE_SHARED": str(shared), "HOME": str(home)}
        environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
        command = [sys.executable, "-c", STUDENT]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
        running.append(subprocess.Popen(command, env=environment, cwd=home, **how))
    said = [process.communicate(timeout=SECONDS) for process in running]
    (network,) = (shared / "networks").iterdir()
    expected = f"taken from the class's cache {network.stem.removeprefix('mini-gap-')}\n"
    assert [out for out, _ in said] == [expected] * 6, said
    assert untouched()
    assert not [path for home in students for path in home.rglob("*.pt")]


# What the package does with the cache's folder itself. What is read from it, and may be in the shared one as well, is
# found by `files.cached`; a line that is new here has to do the same.
CACHE_IS_NAMED = {
    "cli/doctor.py": "whether it can be written",
    "course/notebooks.py": "a run's kernel has the same",
    "course/runs.py": "whether it can be written",
    "course/sweeps.py": "whether it can be written",
    "datasets/atlas.py": "where the drawings are written",
    "datasets/downloads.py": "where archives are unpacked",
    "datasets/photographs.py": "where it is written what was looked through",
    "machine.py": "compiled code, which each user has for himself",
    "training/cache.py": "where a network is written",
}


def test_no_other_module_looks_into_the_cache_without_the_shared_one():
    package = Path(files.__file__).parent
    naming = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if path.name != "files.py" and "CACHE" in re.findall(r"\w+", path.read_text(encoding="utf-8"))
    }
    assert naming <= set(CACHE_IS_NAMED)
    for name in ("datasets/atlas.py", "datasets/downloads.py", "datasets/photographs.py", "training/cache.py"):
        assert "files.cached(" in (package / name).read_text(encoding="utf-8"), name


# ---- who solved what ----


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A student's folder, whose runs this process writes."""
    folder = tmp_path / "home" / '김, 하은 "kim"'
    monkeypatch.setattr(files, "RUNS", folder / "cambook-lessons" / "runs")
    (folder / "cambook-lessons").mkdir(parents=True)
    return folder


def row_of(folder, exercise):
    (row,) = [row for row in progress.progress(folder, check.by_lesson()) if row.exercise == exercise]
    return row


def test_a_record_tells_solved_from_tried_and_counts_tries_and_help(home, capsys):
    assert row_of(home, "cam")[2:] == ("cam", "not attempted", 0, "", "no", "no")
    for answer in (lambda *_: 1, 3, check.cam.reference, lambda *_: 2):
        check.cam(answer)
    check.gap(lambda *_: 1)
    check.gap.hint()
    check.iou.solution()
    row = row_of(home, "cam")
    assert row[:5] == (str(home), "03", "cam", "solved", 3) and row[6:] == ("no", "no")
    assert len(row.first_solved) == 25 and row.first_solved.endswith("+00:00")
    assert row_of(home, "gap")[1:] == ("01", "gap", "tried", 1, "", "yes", "no")
    assert row_of(home, "iou")[3:] == ("not attempted", 0, "", "no", "yes")


def test_an_exercise_that_was_not_attempted_leaves_nothing(home, capsys):
    for one in check.EXERCISES.values():
        one(... if isinstance(one, check.Number) else lambda *_: None)
    assert not files.RUNS.exists()


def test_a_number_is_recorded_too(home, capsys):
    check.iou_by_hand(check.iou_by_hand.value)
    assert row_of(home, "iou_by_hand").state == "solved"


def test_a_check_works_where_no_record_can_be_written(home, monkeypatch, capsys):
    files.RUNS.write_text("a file, where the folder should be", encoding="utf-8")
    check.cam(check.cam.reference)
    check.cam.hint()
    assert capsys.readouterr().out.startswith("✓ cam: correct.\nhint ")


def test_what_is_broken_or_foreign_in_a_record_costs_no_other_line(home, capsys):
    check.cam(lambda *_: 1)
    record = files.RUNS / progress.RECORD
    with record.open("ab") as file:
        file.write(b'\n{"time": "2026-')  # a process was killed
    check.cam(check.cam.reference)
    foreign = ["", "null", "[]", "7", '"cam"', "{}", "[" * 10**5, '{"exercise": ["cam"], "event": "solved"}']
    foreign += ['{"exercise": "cam", "event": {"solved": 1}}', '{"exercise": "cam", "event": "won"}', "\x00\xff\r\r"]
    foreign += ['{"exercise": "=cmd()", "event": "solved"}']
    foreign += [
        json.dumps({"exercise": "gap", "event": "solved", "time": time})
        for time in (None, 7, "yesterday", "0001-01-01T00:00:00+14:00", "=1+1")
    ]
    with record.open("ab") as file:
        file.write("".join(f"\n{line}" for line in foreign).encode("latin-1"))
    assert row_of(home, "cam")[3:5] == ("solved", 2)
    assert row_of(home, "gap")[3:6] == ("solved", 1, "")
    assert {row.exercise for row in progress.progress(home, check.by_lesson())} == set(check.by_lesson())


def test_thousands_of_lines_and_a_clock_that_jumps_back(home):
    files.RUNS.mkdir()
    lines = [{"exercise": "cam", "event": "tried", "time": "2026-03-02T09:00:00+00:00"}] * 20_000
    lines += [{"exercise": "cam", "event": "solved", "time": "1970-01-01T00:00:00+00:00"}]
    lines += [{"exercise": "cam", "event": "solved", "time": "2026-03-02T10:00:00+09:00"}]
    text = "".join(f"\n{json.dumps(line)}" for line in lines)
    (files.RUNS / progress.RECORD).write_text(text, encoding="utf-8")
    assert row_of(home, "cam")[3:6] == ("solved", 20_001, "1970-01-01T00:00:00+00:00")  # as the machine's clock said


def test_two_kernels_at_once_lose_no_line(home):
    script = f"from cambook.course import progress\nfor i in range({(times := 300)}): progress.note('cam', 'tried')"
    environment = {**os.environ, "CAMBOOK_RUNS": str(files.RUNS)}
    kernels = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(2)]
    assert [kernel.wait(SECONDS) for kernel in kernels] == [0, 0]
    assert row_of(home, "cam").tries == 2 * times


def test_records_are_found_below_a_home_without_links_pipes_and_hidden_folders(home, tmp_path):
    solved = '\n{"exercise": "cam", "event": "solved"}'
    for folder in (tmp_path / "elsewhere", home / ".hidden", home.joinpath(*"abcde")):
        folder.mkdir(parents=True)
        (folder / progress.RECORD).write_text(solved, encoding="utf-8")
    (home / "a" / progress.RECORD).symlink_to(tmp_path / "elsewhere" / progress.RECORD)
    (home / "linked").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(home / "a" / "b" / progress.RECORD)  # would be waited for, and for ever
    assert row_of(home, "cam").state == "not attempted"
    (home.joinpath(*"abcd") / progress.RECORD).write_text(solved, encoding="utf-8")
    assert row_of(home, "cam").state == "solved"


def call(*arguments):
    result = CliRunner().invoke(commands.app, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_class_becomes_one_csv_with_a_row_for_each_student_and_exercise(home, tmp_path, monkeypatch, capsys):
    check.cam(check.cam.reference)
    check.gap(lambda *_: 1)
    idle = home.with_name("line\nbreak")
    idle.mkdir()
    table = tmp_path / "results" / "class.csv"
    said = call("progress", home, idle, "--csv", table).stdout
    every = check.by_lesson()
    of = Counter(every.values())
    assert f"{home}: 1 of {len(every)} solved, 1 tried; by lesson 01 0/{of['01']}, 03 1/{of['03']}\n" in said
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["student", "lesson", "exercise", "state", "tries", "first_solved", "hint", "solution"]
    assert [row["student"] for row in rows] == [str(home)] * len(every) + [str(idle)] * len(every)
    assert [row["exercise"] for row in rows] == list(every) * 2
    assert {row["state"] for row in rows[len(every) :]} == {"not attempted"}
    assert table.read_bytes().startswith(b"\xef\xbb\xbf")  # Excel takes it for UTF-8
    monkeypatch.chdir(files.RUNS)
    assert "1 solved" not in call("progress").stdout and f"1 of {len(every)} solved" in call("progress").stdout


def test_progress_says_what_is_missing_in_a_sentence(home, tmp_path):
    with pytest.raises(FileNotFoundError, match="^No exercise was checked yet: .*exercises.jsonl is missing"):
        call("progress")
    with pytest.raises(FileNotFoundError, match="nobody is not a folder: name those in which your students work"):
        call("progress", tmp_path / "nobody")
    with pytest.raises(ValueError, match=r"cannot be written \(.*\): name another file"):
        call("progress", home, "--csv", home)


def test_every_exercise_of_a_lesson_belongs_to_it():
    found = check.by_lesson()
    assert found["cam"] == "03" and found["gap"] == "01" and list(found.values()) == sorted(found.values())
    assert set(found) == {name for name, one in check.EXERCISES.items() if one in _of_lessons()}


def _of_lessons():
    return [each for module in check.LESSONS for each in vars(module).values() if hasattr(each, "hint")]


# ---- the pages about it ----

DOCS = files.ROOT / "docs"
TITLE = re.compile(r"\*\*About (\d+) minutes\*\* to read and work through")


def syllabus(sessions):
    """The table under a heading of docs/lecturers.md: its rows, and their sum as the last one."""
    text = (DOCS / "lecturers.md").read_text(encoding="utf-8")
    _, _, table = text.partition(f"### {sessions} sessions\n")
    lines = [line for line in table.partition("\n#")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def minutes(lesson):
    notebook = json.loads((DOCS / lesson).resolve().read_text(encoding="utf-8"))
    return int(TITLE.search("".join(notebook["cells"][0]["source"]))[1])


@pytest.mark.parametrize("name, sessions", [("Six", 6), ("Twelve", 12)])
def test_a_syllabus_has_every_lesson_and_exercise_once_and_its_sums_are_right(name, sessions):
    *rows, total = syllabus(name)
    assert [row[0] for row in rows] == [str(i + 1) for i in range(sessions)]
    lessons, exercises, known = [], {"class": [], "homework": []}, check.by_lesson()
    for _, named, read, in_class, homework in rows:
        links = re.findall(r"\[(\d\d\w?)\]\((\S+?)\)", named)
        for number, link in links:
            assert Path(link).name.startswith(f"{number}_")
        lessons += [Path(link).name for _, link in links]
        assert read == (f"{sum(minutes(link) for _, link in links)} min" if links else "–")
        for kind, cell in (("class", in_class), ("homework", homework)):
            found = re.findall(r"`(\w+)`", cell)
            exercises[kind] += found
            assert {known[each] for each in found} <= {number for number, _ in links}
    assert lessons == [path.name for path in commands.lessons()]
    assert sorted(exercises["class"] + exercises["homework"]) == sorted(known)
    read = sum(int(row[2].removesuffix(" min")) for row in rows if row[2] != "–")
    counts = [f"{len(each)} exercises" for each in exercises.values()]
    assert total == ["in all", "00 to 10b", f"{read} min", *counts]


def test_the_syllabuses_are_those_that_the_script_writes_and_lead_to_the_project():
    page = (DOCS / "lecturers.md").read_text(encoding="utf-8")
    assert syllabus_script.with_tables(page) == page, "run python benchmarks/syllabus.py"
    assert page.count("[final project](../notebooks/project.md)") >= 3


def test_the_page_about_hubs_sets_variables_that_are_read():
    page = (DOCS / "classroom.md").read_text(encoding="utf-8")
    (python,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)

    class C:
        class Spawner:
            pass

    exec(python, {"c": C})
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    hub = yaml.safe_load(block)["singleuser"]
    assert C.Spawner.environment == hub["extraEnv"]
    (mount,) = hub["storage"]["extraVolumeMounts"]
    assert mount["readOnly"] and mount["mountPath"] == hub["extraEnv"]["CAMBOOK_CACHE_SHARED"]
    package = "".join(path.read_text(encoding="utf-8") for path in Path(files.__file__).parent.rglob("*.py"))
    limit = re.search(r"limits\.memory (\d+G)$", page, re.MULTILINE)[1]
    assert hub["memory"]["limit"] == limit
    for variable, value in C.Spawner.environment.items():
        assert f'"{variable}"' in package or variable == "OMP_NUM_THREADS"
        assert variable == "CAMBOOK_SOLUTIONS" or value in page.partition("## 2.")[0]  # as the networks were made


def test_the_page_about_hubs_says_what_was_measured():
    page = " ".join((DOCS / "classroom.md").read_text(encoding="utf-8").split())
    peaks = classroom.read()
    assert set(peaks) <= {path.stem.partition("_")[0] for path in commands.lessons()}
    most = max(peaks, key=peaks.get)
    below = sum(peak < 2000 for peak in peaks.values())
    said = f"Lesson {most} takes most, {peaks[most] / 1000:.1f} GB, and {below} of {len(peaks)} lessons measured"
    assert f"{said} stay below 2 GB" in page
    gigabytes = int(re.search(r"Give each student (\d) GB", page)[1])
    assert peaks[most] + 100 < 1000 * gigabytes and f"limits.memory {gigabytes}G" in page  # 100: JupyterLab
    times = files.read_table(files.data_file("results", "course.csv"))
    lessons, trained = (times[times.kind == kind] for kind in ("lesson", "training"))
    first, training_, second = (
        round(seconds.sum() / 60) for seconds in (lessons.cold_seconds, trained.cold_seconds, lessons.warm_seconds)
    )
    assert (
        f"takes {first} minutes the first time, of which {training_} go into training, and {second} minutes the second"
    ) in page
