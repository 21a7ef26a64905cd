"""Processes that are killed by SIGKILL at a random moment of real work, and what the next one makes of what they left.

Three times each here, twenty times each by `make stress`. The victims are forked from a server that has imported
everything and started no thread: the moment falls into their work, not into their imports.
"""

import csv
import functools
import hashlib
import io
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import warnings
import zipfile
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import psutil
import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from cambook import datasets, files, networks, training
from cambook.cli import commands
from cambook.course import runs
from cambook.datasets import Batch, downloads
from cambook.training import fitting

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")

PATIENCE = 120  # seconds for what takes two or three
MARK = "CAMBOOK_KILLED_IN"  # in the environment of whatever a victim starts: its folder


# ---- victims ----


@functools.cache
def _server():
    """Forks the victims; it waits for each by its id, whatever their own children hold open."""
    context = multiprocessing.get_context("forkserver")
    ours = [f"cambook.{name}" for name in ("cli.commands", "datasets", "course.sweeps", "course.papers", "training")]
    context.set_forkserver_preload([*ours, "joblib", "pandas", "papermill", "psutil", "pytest", "tabulate"])
    return context


@functools.cache
def _root():
    return tempfile.TemporaryDirectory(prefix="cambook-kill-", ignore_cleanup_errors=True)


def _fresh(prepare):
    folder = Path(tempfile.mkdtemp(dir=_root().name))
    prepare(folder)
    return folder


def _victim(work, folder):
    """In the victim: its group, its output, its thread, its work."""
    os.setpgid(0, 0)
    os.environ[MARK] = str(folder)
    with open(folder / "log", "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    torch.set_num_threads(1)
    work(folder)


def _start(work, folder):
    process = _server().Process(target=_victim, args=(work, folder))
    process.start()
    return process


def _clear(process, folder):
    """Ends what a victim left behind: its group, and kernels, which have groups of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for other in psutil.process_iter():
        with suppress(psutil.Error):
            if other.environ().get(MARK) == str(folder):
                other.kill()


def finish(work, folder):
    """Lets the work come to its end, and returns its seconds."""
    began, process = time.monotonic(), _start(work, folder)
    process.join(PATIENCE)
    seconds = time.monotonic() - began
    _clear(process, folder)
    process.join()
    assert process.exitcode == 0, f"exit {process.exitcode}\n{(folder / 'log').read_text(encoding='utf-8')[-3000:]}"
    return seconds


_seconds = {}  # of each work from its beginning to its end, the least that was seen


@functools.cache
def uninterrupted(work, prepare):
    """The folder of the work without a kill."""
    folder = _fresh(prepare)
    _seconds[work] = finish(work, folder)
    return folder


@contextmanager
def killed(work, prepare, draw, seconds=None):
    """A folder in which the work was killed at a random moment of the `seconds` it takes (by default: as measured);
    another is made where it was done before that. What the victim's own children still do goes on until the block
    ends."""
    if seconds is None:
        uninterrupted(work, prepare)
    while True:
        folder, began = _fresh(prepare), time.monotonic()
        process = _start(work, folder)
        process.join(draw.uniform(0, seconds or _seconds[work]))
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            break
        _clear(process, folder)
        assert process.exitcode == 0, f"exit {process.exitcode}\n{(folder / 'log').read_text(encoding='utf-8')[-3000:]}"
        if seconds is None:
            _seconds[work] = min(_seconds[work], time.monotonic() - began)
    try:
        yield folder
    finally:
        _clear(process, folder)


# ---- training ----


class TinyScenes:
    """Pictures of `scenes` that were made once and kept in a file."""

    name, split, size = "scenes", "train", 64

    def __init__(self, folder):
        self._kept = torch.load(folder / "scenes.pt", weights_only=True)
        self.classes, self.fingerprint = self._kept["classes"], self._kept["fingerprint"]
        self.labels = self._kept["labels"].numpy()

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, device="cpu"):
        indices = torch.as_tensor(indices)
        labels = self._kept["labels"][indices]
        return Batch(self._kept["images"][indices].to(device), labels, [None] * len(indices), None, indices)


RECIPE = training.Recipe(epochs=3, batch_size=6, lr=3e-3, crop=0.8)
STEPS = 12


@functools.cache
def _tiny_scenes():
    data = datasets.load("scenes", "train", 64, length=24)
    images = data.batch(range(24)).images
    about = {"classes": data.classes, "fingerprint": data.fingerprint}
    return about | {"images": images, "labels": torch.from_numpy(data.labels)}


def with_scenes(folder):
    torch.save(_tiny_scenes(), folder / "scenes.pt")


def train(folder):
    """`training.trained`, a checkpoint after every step; the steps that were made stand in `steps`."""
    files.CACHE, fitting.CHECKPOINT_SECONDS = folder, -1
    schedule = fitting.learning_rate

    def watched(step, *more):
        with open(folder / "steps", "a", encoding="utf-8") as steps:
            steps.write(f"{step}\n")
        return schedule(step, *more)

    fitting.learning_rate = watched
    data = TinyScenes(folder)
    network = networks.build("mini-gap", len(data.classes))
    network.dropout.p = 0.5  # so that resuming has random numbers to get wrong
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = training.trained(network, data, RECIPE)
    found = {"network": made.network.state_dict(), "reused": made.reused, "said": [str(each.message) for each in said]}
    history = [(row["loss"], row["top1_error"]) for row in made.history]
    torch.save(found | {"history": history}, folder / "made.pt")


def _steps(folder):
    return (
        [int(step) for step in (folder / "steps").read_text(encoding="utf-8").split()]
        if (folder / "steps").exists()
        else []
    )


def _kept(folder, suffix):
    """The one entry of the cache with that ending, whole; None where none is."""
    kept = list((folder / "networks").glob(f"mini-gap-*{suffix}"))
    assert len(kept) <= 1
    return files.load_whole(kept[0]) if kept else None


def _same_as_uninterrupted(folder):
    one, other = (torch.load(f / "made.pt", weights_only=True) for f in (uninterrupted(train, with_scenes), folder))
    kept = _kept(folder, ".pt")["network"]
    assert one["network"].keys() == other["network"].keys() == kept.keys() and len(kept) > 20
    for name, values in one["network"].items():
        assert torch.equal(values, other["network"][name]) and torch.equal(values, kept[name]), name
    assert one["history"] == other["history"] and len(one["history"]) == RECIPE.epochs
    return other


def a_training(draw):
    """It goes on at its last checkpoint, not from the beginning, and ends with the same bits."""
    assert _steps(uninterrupted(train, with_scenes)) == list(range(STEPS))
    with killed(train, with_scenes, draw) as folder, warnings.catch_warnings():
        warnings.simplefilter("error")  # "is damaged"
        entry, part = _kept(folder, ".pt"), _kept(folder, ".part")
        first = STEPS if entry else part["step"] if part else 0
        (folder / "steps").unlink(missing_ok=True)
        finish(train, folder)
        assert _steps(folder) == list(range(first, STEPS))
        made = _same_as_uninterrupted(folder)
        assert made["said"] == [] and made["reused"] == bool(entry)


# ---- the cache ----


def with_entry(folder):
    with_scenes(folder)
    source = uninterrupted(train, with_scenes) / "networks"
    (folder / "networks").mkdir()
    (entry,) = source.glob("*.pt")
    (folder / "networks" / entry.name).write_bytes(entry.read_bytes())


def write_again_and_again(folder):
    (entry,) = (folder / "networks").glob("*.pt")
    state = files.load_whole(entry)
    while True:
        files.save_whole(state, entry)


def a_cache(draw):
    """Killed while it writes an entry, whose next reader finds a whole one; then the entry is damaged: said and made
    again."""
    with killed(write_again_and_again, with_entry, draw, seconds=0.5) as folder:
        finish(train, folder)
        made = _same_as_uninterrupted(folder)
        assert made["reused"] and made["said"] == [] and _steps(folder) == []
        (entry,) = (folder / "networks").glob("[!.]*.pt")
        content = bytearray(entry.read_bytes())
        if draw.random() < 0.5:
            content = content[: draw.randrange(len(content))]
        else:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        entry.write_bytes(content)
        finish(train, folder)
        made = _same_as_uninterrupted(folder)
        (sentence,) = made["said"]
        assert not made["reused"] and _steps(folder) == list(range(STEPS))
        assert re.search(r"mini-gap-\w+\.pt is damaged .* made again", sentence)


# ---- downloads ----

FILES = {f"birds/{i:03}.jpg": hashlib.sha256(bytes([i % 256, i // 256])).digest() * 80 for i in range(400)}
CHUNK = 2**15


@functools.cache
def _archive(file):
    buffer = io.BytesIO()
    if file.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, content in FILES.items():
                archive.writestr(zipfile.ZipInfo(member), content)  # of 1980, so always the same
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class SlowServer(BaseHTTPRequestHandler):
    asked = []

    def do_GET(self):
        content, start = _archive(self.path), int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        self.asked.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        with suppress(ConnectionError):
            for place in range(start, len(content), CHUNK):
                self.wfile.write(content[place : place + CHUNK])
                time.sleep(0.01)

    def log_message(self, *_):
        pass


@functools.cache
def _address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def with_address(folder, name="birds.tar"):
    (folder / "address").write_text(_address() + name, encoding="utf-8")


def with_archive(folder, name="birds.tar"):
    with_address(folder, name)
    (folder / "datasets" / "downloads").mkdir(parents=True)
    (folder / "datasets" / "downloads" / name).write_bytes(_archive(name))


def with_zip(folder):
    with_archive(folder, "birds.zip")


def _name(folder):
    return (folder / "address").read_text(encoding="utf-8").rpartition("/")[2]


def fetch(folder):
    files.CACHE, content = folder, _archive(_name(folder))
    url, checksum = (folder / "address").read_text(encoding="utf-8"), f"sha256:{hashlib.sha256(content).hexdigest()}"
    archive = downloads.Archive(_name(folder), (url,), len(content), checksum)
    downloads.fetch_archives("birds", (archive,))


def unpack(folder):
    fetch(folder)


def unpack_zip(folder):
    fetch(folder)


def _whole_set(folder):
    birds = folder / "datasets" / "birds"
    found = {str(f.relative_to(birds)): f.read_bytes() for f in birds.rglob("*") if f.is_file()}
    return found == FILES


def _a_download(work, prepare, draw):
    with killed(work, prepare, draw) as folder:
        place, kept = folder / "datasets" / "birds", folder / "datasets" / "downloads"
        name, content = _name(folder), _archive(_name(folder))
        file, part = kept / name, kept / f"{name}.part"
        assert not place.exists() or _whole_set(folder), "a half-unpacked set has the name of a whole one"
        assert not file.exists() or file.read_bytes() == content
        held = part.read_bytes() if part.exists() else b""
        assert content.startswith(held)
        nothing_missing = place.exists() or file.exists() or len(held) == len(content)
        SlowServer.asked.clear()
        finish(work, folder)
        assert SlowServer.asked == ([] if nothing_missing else [len(held)])
        assert _whole_set(folder)
        finish(work, folder)  # once more, as every later use
        assert sorted(file.name for file in (folder / "datasets").iterdir()) == ["birds", "downloads"]
        assert [file.name for file in kept.iterdir()] == ["birds.lock"], "what was unpacked takes its room twice"


def a_download(draw):
    """It goes on at the byte where it was, and nothing is used before all of it is there."""
    _a_download(fetch, with_address, draw)


def an_unpacking(draw):
    """Nothing half-unpacked is used, and nothing of it stays: of a tar file, of a zip file."""
    _a_download(unpack, with_archive, draw)
    _a_download(unpack_zip, with_zip, draw)


# ---- notebooks and sweeps ----

# A notebook that notes its beginning and end in a journal and records without importing torch.
DECLARED = 'profile = "quick"\nseed = 0'
BEGIN = """import json, os, pathlib, time
def write(what):
    with open("../journal", "a") as journal:
        journal.write(f"{what} {seed}\\n")
write("began")
print("x" * 300_000)"""
MIDDLE = "time.sleep(0.1)\nprint('y' * 300_000)"
END = """record = {"notebook": "tiny", "parameters": {"seed": seed}, "metrics": {"value": 10.0 + seed}, "started": "",
    "seconds": 0, "environment": {"device": "cpu"}}
pathlib.Path(os.environ["CAMBOOK_RUN_DIR"], "record.json").write_text(json.dumps(record))
write("ended")"""


def with_notebook(folder):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in (DECLARED, BEGIN, MIDDLE, END)]
    notebook.cells[0].metadata.tags = ["parameters"]
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "tiny.ipynb")
    (folder / "notebooks" / "sweep.yaml").write_text("notebook: tiny\nseeds: [0, 1, 2]\n", encoding="utf-8")


LESSON = "02_class_score"


def with_lesson(folder):
    (folder / "notebooks").mkdir()
    shutil.copy(files.NOTEBOOKS / f"{LESSON}.ipynb", folder / "notebooks")
    (folder / "notebooks" / "sweep.yaml").write_text(f"notebook: {LESSON}\nseeds: [0, 1]\n", encoding="utf-8")


def _command(folder, *arguments):
    """A `cambook` command in a folder of its own."""
    files.NOTEBOOKS, files.RUNS = folder / "notebooks", folder / "runs"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    commands.app([str(argument) for argument in arguments])


def run(folder):
    _command(folder, "run", next((folder / "notebooks").glob("*.ipynb")))


def run_lesson(folder):
    run(folder)  # a work of its own, with seconds of its own


def sweep_one_by_one(folder):
    _command(folder, "sweep", folder / "notebooks" / "sweep.yaml", "--jobs", 1)


def sweep_two_at_a_time(folder):
    try:
        _command(folder, "sweep", folder / "notebooks" / "sweep.yaml", "--jobs", 2)
    finally:  # a forked process does not do at its exit what joblib has a command do
        get_reusable_executor().shutdown()


def _journal(folder, what):
    lines = (folder / "journal").read_text(encoding="utf-8").splitlines() if (folder / "journal").exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(what)]


def _outputs(copy):
    """Of each cell that shows something: what it printed, in one piece, and its figures' and values' bytes and text."""
    notebook = nbformat.read(copy, as_version=4)
    nbformat.validate(notebook)
    shown = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        printed = "".join(output.text for output in outputs if output.output_type == "stream")
        data = [output.data for output in outputs if output.output_type != "stream"]
        shown.append((printed, [each.get("image/png") or each["text/plain"] for each in data]))
    return [each for each in shown if each != ("", [])]


def _a_notebook(work, prepare, name, draw):
    """The executed copy is there whole or not at all, and only a whole one counts as a run that ended."""
    expected = _outputs(uninterrupted(work, prepare) / "runs" / name / f"{name}.ipynb")
    with killed(work, prepare, draw) as folder:
        out = folder / "runs" / name
        copies = [file for file in out.glob("*.ipynb") if not file.name.startswith(".")]
        assert [_outputs(copy) for copy in copies] in ([], [expected])
        if (out / "record.json").exists() and not copies:
            with suppress(ValueError):  # the kernel of the tiny notebook writes its record at once, not atomically
                assert runs.Record.load(out).finished is None
        finish(work, folder)
        assert sorted(file.name for file in out.iterdir()) == sorted(["record.json", f"{name}.ipynb"])
        assert _outputs(out / f"{name}.ipynb") == expected and runs.Record.load(out).finished
    return expected


def a_notebook(draw):
    expected = _a_notebook(run, with_notebook, "tiny", draw)
    assert [(len(printed), data) for printed, data in expected] == [(300_001, []), (300_001, [])]


def a_lesson(draw):
    assert len(_a_notebook(run_lesson, with_lesson, LESSON, draw)) > 20


def _runs_made(folder, name):
    """{seed: when its record was last changed} of the sweep's finished runs, by their folders."""
    found = {}
    for file in (folder / "runs" / "sweeps" / "sweep").glob("[!.]*/record.json"):
        record = runs.Record.load(file.parent)
        if record.finished:
            assert record.parameters["seed"] not in found, "a run is there twice"
            assert _outputs(file.parent / f"{name}.ipynb")
            found[record.parameters["seed"]] = file.stat().st_mtime_ns
    return found


def _a_sweep(work, again, prepare, name, seeds, draw, seconds=None):
    """The command completes it, with as many jobs or others; a finished run is not made again; each counts once.

    Returns the rows of summary.csv, a dict each.
    """
    with killed(work, prepare, draw, seconds) as folder:
        before = _runs_made(folder, name)
        finish(again, folder)
        after, place = _runs_made(folder, name), folder / "runs" / "sweeps" / "sweep"
        assert sorted(after) == seeds and before.items() <= after.items()
        folders = {each.name: sorted(f.name for f in each.iterdir()) for each in place.iterdir() if each.is_dir()}
        assert list(folders.values()) == [sorted(["record.json", f"{name}.ipynb"])] * len(seeds), folders
        assert not any(name.startswith(".") for name in folders), folders
        with (place / "results.csv").open(newline="", encoding="utf-8") as file:
            rows = [(int(row["seed"]), row["network"], row["source"], row["metric"]) for row in csv.DictReader(file)]
        assert len(set(rows)) == len(rows) and sorted({seed for seed, *_ in rows}) == seeds
        if name == "tiny":  # it notes what it begins
            assert all(_journal(folder, "began").count(seed) == 1 for seed in before), "a finished run was begun again"
        with (place / "summary.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


def _a_tiny_sweep(work, draw):
    again = draw.choice((sweep_one_by_one, sweep_two_at_a_time))
    (found,) = _a_sweep(work, again, with_notebook, "tiny", [0, 1, 2], draw)
    assert (float(found["mean"]), float(found["spread"]), int(found["seeds"])) == (11, 1, 3)


def a_sweep_one_by_one(draw):
    _a_tiny_sweep(sweep_one_by_one, draw)


def a_sweep_two_at_a_time(draw):
    _a_tiny_sweep(sweep_two_at_a_time, draw)


def a_sweep_of_a_lesson(draw):
    uninterrupted(run_lesson, with_lesson)
    seconds = 2 * _seconds[run_lesson]
    rows = _a_sweep(sweep_one_by_one, sweep_one_by_one, with_lesson, LESSON, [0, 1], draw, seconds)
    assert {row["seeds"] for row in rows} == {"2"}


SUBJECTS = {
    "training": a_training,
    "cache": a_cache,
    "downloading": a_download,
    "unpacking": an_unpacking,
    "notebook": a_notebook,
    "sweep, 1 job": a_sweep_one_by_one,
    "sweep, 2 jobs": a_sweep_two_at_a_time,
    "lesson": a_lesson,
    "sweep of a lesson": a_sweep_of_a_lesson,
}


def survives(subject, seed):
    """Kills the subject's process once, at a moment drawn by the seed, and looks at what was left and what the next
    process makes of it.

    raises: AssertionError where something was lost, damaged or done twice; its note says how to do it again
    """
    try:
        SUBJECTS[subject](random.Random(f"{subject} {seed}"))
    except BaseException as fault:
        fault.add_note(f"survives({subject!r}, {seed})")
        raise


# A lesson takes more than a minute, so it is killed once here; `make stress` kills everything twenty times.
KILLS = [(subject, seed) for subject in SUBJECTS for seed in range(1 if "lesson" in subject else 3)]


@pytest.mark.parametrize(("subject", "seed"), KILLS)
def test_what_is_killed_at_any_moment_loses_and_damages_nothing(subject, seed):
    survives(subject, seed)


def test_the_docs_say_what_survived():
    rows = runs.recorded("stress")
    assert list(rows.what) == list(SUBJECTS) and (rows.times >= 20).all()
    said = " ".join((files.ROOT / "docs" / "trust.md").read_text(encoding="utf-8").split())
    assert f"at random moments, {rows.times.sum()} times; {rows.survived.sum()} times no finished work was lost" in said


# ---- what the kills seldom hit ----


def test_archives_that_a_killed_process_had_unpacked_do_not_stay(tmp_path, monkeypatch):
    (tmp_path / "datasets" / "birds").mkdir(parents=True)
    with_archive(tmp_path)
    monkeypatch.setattr(files, "CACHE", tmp_path)
    fetch(tmp_path)
    assert list((tmp_path / "datasets" / "downloads").iterdir()) == []


def test_half_written_files_are_removed_by_the_first_write_a_day_later(tmp_path):
    old, new, others = (tmp_path / f".a.{n}.txt" for n in ("01234567", "89abcdef", "01234567.b"))
    for file in (old, new, others):
        file.write_text("half", encoding="utf-8")
    for file in (old, others):
        os.utime(file, (0, 0))
    with files.atomic_write(tmp_path / "a.txt") as part:
        part.write_text("whole", encoding="utf-8")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.txt", new, others])


# ---- lesson 04 on photographs, as on a GPU ----

# What a GPU and many photographs change in that run, on a CPU: the forward pass of training is in mixed precision, and
# threads load the next photographs while a step runs. Both are noted down.
AS_ON_A_GPU = """
import os, threading
from cambook.datasets import batches
from cambook.training import fitting

def note(file, what):
    with open(f"{os.environ['CAMBOOK_CACHE']}/{file}", "a") as noted:
        noted.write(f"{what} {os.getpid()}\\n")

def mixed(recipe, device):
    note("mixed", recipe.precision)
    return True

def prefetch(data, make, wanted):
    def made(one):
        note("loaded", threading.current_thread().name)
        return make(one)
    return batches.prefetch(data, made, wanted)

batches.IN_MEMORY, fitting.is_mixed, fitting.prefetch = 0, mixed, prefetch
"""


def _few_pets(folder, source):
    """Eight photographs of each split of Oxford-IIIT Pet, two breeds."""
    for part in ("images", "annotations/trimaps"):
        (folder / part).mkdir(parents=True)
    for name in ("trainval", "test"):
        lines = [
            line
            for line in (source / "annotations" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
            if line[0] != "#"
        ]
        breeds = sorted({line.rsplit("_", 1)[0] for line in lines})[:2]
        chosen = [line for breed in breeds for line in [one for one in lines if one.startswith(breed)][:4]]
        (folder / "annotations" / f"{name}.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
        for picture in (line.split()[0] for line in chosen):
            shutil.copy(source / "images" / f"{picture}.jpg", folder / "images")
            shutil.copy(source / "annotations" / "trimaps" / f"{picture}.png", folder / "annotations" / "trimaps")


def test_lesson_04_on_photographs_in_full_is_killed_in_training_and_goes_on(wildlife, tmp_path):
    """In mixed precision; threads load the photographs; its bar tells how far the training is; the killed training goes
    on in its second epoch."""
    _few_pets(tmp_path / "pets", wildlife.parent / "pets")
    (tmp_path / "cache").mkdir()
    (tmp_path / "sitecustomize.py").write_text(AS_ON_A_GPU, encoding="utf-8")
    parameters = [f"dataset=pets:{tmp_path / 'pets'}", "network=lite0-gap", "epochs=2"]
    command = [sys.executable, "-m", "cambook.cli", "run", "04", "--profile", "full"]
    command += [word for parameter in parameters for word in ("-p", parameter)]
    environment = {**os.environ, MARK: str(tmp_path), "CAMBOOK_CACHE": str(tmp_path / "cache")}
    environment |= {"CAMBOOK_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(tmp_path)}
    networks_of = tmp_path / "cache" / "networks"
    said = []

    def watch():
        for file in (tmp_path / "runs").rglob("progress"):
            with suppress(OSError):
                said.append(file.read_text(encoding="utf-8"))
        return list(networks_of.glob("lite0-gap-*.part"))

    first = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while not watch():
        assert time.monotonic() < end and first.poll() is None, "it ended or never trained"
        time.sleep(0.02)
    _clear(first, tmp_path)
    first.wait()
    (part,) = networks_of.glob("lite0-gap-*.part")
    begun = files.load_whole(part)
    assert begun["step"] == 1 and len(begun["history"]) == 1
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, encoding="utf-8")
    assert again.returncode == 0, again.stderr[-2000:]
    ended = files.load_whole(part.with_suffix(".pt"))
    assert ended["history"][0] == begun["history"][0], "the first epoch, to its seconds, is the killed run's"
    assert len(ended["history"]) == 2 and not list(networks_of.glob("*.part"))
    assert any(re.fullmatch(r"training lite0-gap, frozen backbone [01]/2", line) for line in said), said
    noted = (tmp_path / "cache" / "mixed").read_text(encoding="utf-8").split()
    assert set(noted[::2]) == {"auto"} and len(set(noted[1::2])) == 2, "both kernels trained in mixed precision"
    loaded = (tmp_path / "cache" / "loaded").read_text(encoding="utf-8").split()
    assert all(name.startswith("pictures") for name in loaded[::2]) and set(loaded[1::2]) == set(noted[1::2])
    (record,) = (tmp_path / "runs").rglob("record.json")
    found = runs.Record.load(record.parent)
    assert found.finished and found.parameters["profile"] == "full" and "max_box_acc" in found.metrics
    assert re.search(r"04_learn_to_localize: (\d+) of \1 cells", again.stderr)
