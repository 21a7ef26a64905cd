import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from cambook import files
from cambook.cli import commands
from cambook.course import notebooks, papers, results, runs, sweeps
from cambook.course.parameters import PROFILES, ParameterError, Parameters

REPOSITORY = Path(__file__).parents[1]
WRONG = [
    ("grid: {}", "tiny.yaml: notebook is missing"),
    ("notebok: tiny", "tiny.yaml: notebook is missing|notebok is unknown.*did you mean notebook"),
    ("notebook: tiny\nsead: 1", "sead is unknown, a sweep has notebook, profile, seeds, grid, did you mean seeds\\?$"),
    ("notebook: tiny\nprofile: fast", "profile is refused: input should be 'quick', 'full' or 'paper'"),
    ("notebook: tiny\nseeds: 3", "seeds is refused: input should be a valid list"),
    ("notebook: tiny\nseeds: []", "seeds is refused: list should have at least 1 item"),
    ("notebook: tiny\nseeds: [0, true]", "seeds.1 is refused"),
    ("notebook: tiny\ngrid: [1]", "grid is refused: input should be a valid dictionary"),
    ("notebook: tiny\ngrid: {epochs: 1}", "epochs needs a list of values.*not 1"),
    ("notebook: tiny\ngrid: {epochs: []}", "epochs needs a list of values"),
    ("notebook: tiny\ngrid: {epochs: [[1]]}", "epochs needs a list of values"),
    ("notebook: tiny\ngrid: {epochs: {fast: [1]}}", "'fast' is not quick, full or paper"),
    ("notebook: tiny\ngrid: {seed: [1]}", "seed is not an axis of the grid, write `seeds:` beside it"),
    ("notebook: tiny\ngrid: {profile: [quick]}", "profile is not an axis of the grid, write `profile:` beside it"),
    ("- notebook", "tiny.yaml is not a sweep"),
    ("", "tiny.yaml is not a sweep"),
    ("notebook: [", "tiny.yaml, line 1 is not YAML"),
    (
        "notebook: !!python/object/apply:os.getcwd []",
        "tiny.yaml, line 1 is not YAML.*could not determine a constructor",
    ),
]
# A run that takes a moment, makes a line in a journal when it begins and when it ends, and records without torch.
BEGIN = """import json, os, pathlib, time
def write(what):
    with open({journal!r}, "a") as journal:
        journal.write(f"{{what}} {{seed}} {{os.getpid()}}\\n")
write("began")
time.sleep({seconds})"""
END = """record = {"notebook": "tiny", "parameters": {"seed": seed}, "metrics": {"mini-gap cam top1_error": 10.0 + seed,
    "threads": int(os.environ.get("OMP_NUM_THREADS", 0)), "gpu": int(os.environ.get("CUDA_VISIBLE_DEVICES") or -1)},
    "started": "", "seconds": 0, "environment": {"device": "cpu"}}
pathlib.Path(os.environ["CAMBOOK_RUN_DIR"], "record.json").write_text(json.dumps(record))
write("ended")"""


@pytest.fixture(autouse=True)
def environment_as_before():
    """A cluster inside this process sets OMP_NUM_THREADS=1 and leaves it so: later kernels would have one thread."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


@pytest.fixture
def slow(make_notebook, home):
    """slow(seconds, cell) makes the sweep `tiny` of a notebook that takes so long; gives the journal."""

    def make(seconds, cell="1 + 1", seeds=(0, 1)):
        journal = home / "journal"
        journal.write_text("", encoding="utf-8")
        begin = BEGIN.format(journal=str(journal), seconds=seconds)
        make_notebook(home / "notebooks" / "tiny.ipynb", begin, cell, END)
        write_sweep(home, f"notebook: tiny\nseeds: {list(seeds)}")
        return lambda what: [
            line.split()[1] for line in journal.read_text(encoding="utf-8").splitlines() if line.startswith(what)
        ]

    return make


def write_sweep(home, text):
    file = home / "notebooks" / "reproduce" / "sweeps" / "tiny.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def planned(home, given=None, **instead):
    sweep = sweeps.read(sweeps.find("tiny"), **instead)
    return sweeps.plan(sweep, home / "notebooks" / "tiny.ipynb", "tiny", given)


def call(*arguments):
    result = CliRunner().invoke(commands.app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def command(home, *arguments):
    """A real `cambook sweep tiny` of its own process."""
    environment = {**os.environ, "CAMBOOK_HOME": str(home), "CAMBOOK_RUNS": str(home / "runs")}
    hears = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # though pytest's own parent may not
    hears = hears if sys.platform != "win32" else None
    return subprocess.Popen(
        [sys.executable, "-m", "cambook.cli", "sweep", "tiny", *arguments],
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hears,
        encoding="utf-8",
    )


def made(home):
    """The tiny sweep's finished runs as (seed, times of the record's last change)."""
    files = (home / "runs" / "sweeps" / "tiny").glob("[!.]*/record.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in files if runs.Record.load(file.parent).finished}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


# ---- what is to be run ----


@pytest.mark.parametrize("text, sentence", WRONG)
def test_a_wrong_sweep_is_refused_in_one_sentence(home, text, sentence):
    with pytest.raises(ParameterError, match=sentence) as refused:
        sweeps.read(write_sweep(home, text))
    assert "\n" not in str(refused.value)


EVERYTHING = 'profile = "quick"\nseed = 0\nepochs = None\nlearning_rate = None\ndataset = "scenes"\nnetwork = None'


@pytest.fixture
def tiny(make_notebook, home):
    return make_notebook(home / "notebooks" / "tiny.ipynb", "1 + 1", parameters=EVERYTHING)


def test_a_sweep_is_every_combination_with_every_seed_equal_ones_once(tiny, home):
    write_sweep(home, "notebook: tiny\nseeds: [0, 1, 1]\ngrid: {epochs: [1, 2, 1], network: [null, mini-gap]}")
    found = [one.parameters for one in planned(home)]
    assert len(found) == 8 and len({one.run for one in planned(home)}) == 8
    assert found[0] == {"profile": "quick", "seed": 0, "epochs": 1}
    assert found[-1] == {"profile": "quick", "seed": 1, "epochs": 2, "network": "mini-gap"}


def test_a_grid_by_profile_takes_the_next_smaller_ones_values(tiny, home):
    write_sweep(home, "notebook: tiny\ngrid: {network: {quick: [null], full: [mini-gap, mini-fc]}}")
    assert [one.parameters.get("network") for one in planned(home)] == [None]
    for profile in ("full", "paper"):
        assert [one.parameters["network"] for one in planned(home, profile=profile)] == ["mini-gap", "mini-fc"]
    write_sweep(home, "notebook: tiny\ngrid: {network: {full: [mini-gap]}}")
    with pytest.raises(ParameterError, match="network has no values at profile quick: add `quick: "):
        planned(home)


def test_what_is_given_takes_the_place_of_the_files(tiny, home):
    write_sweep(home, "notebook: tiny\nseeds: [0, 1]\ngrid: {epochs: [1, 2]}")
    found = planned(home, {"epochs": "3", "learning_rate": "1e-4"}, profile="full", seeds=["4", "5"])
    expected = {"profile": "full", "epochs": 3, "learning_rate": 1e-4}
    assert [one.parameters for one in found] == [expected | {"seed": 4}, expected | {"seed": 5}]
    with pytest.raises(ParameterError, match="seeds.0 is refused: input should be a valid integer"):
        planned(home, seeds=["x"])
    with pytest.raises(ParameterError, match="seed is not a -p: write --seeds"):
        planned(home, {"seed": "1"})


def test_every_combination_is_checked_before_any_run_starts(tiny, home, monkeypatch):
    write_sweep(home, "notebook: tiny\ngrid: {epochs: [1, 0]}")
    monkeypatch.setattr(notebooks, "execute", lambda *arguments, **more: pytest.fail("a run was started"))
    with pytest.raises(ParameterError, match="epochs=0 is refused"):
        call("sweep", "tiny")
    with pytest.raises(ParameterError, match="no parameter 'epoch'.*did you mean epochs"):
        call("sweep", "tiny", "-p", "epochs=1", "-p", "epoch=1")


def test_a_default_that_is_written_out_names_the_same_run(tiny, home):
    write_sweep(home, "notebook: tiny")
    (plain,) = planned(home)
    assert [one.run for one in planned(home, {"dataset": "scenes"})] == [plain.run]
    others = [planned(home, {"network": "mini-gap"}), planned(home, profile="full"), planned(home, seeds=[1])]
    assert len({plain.run, *(one.run for (one,) in others)}) == 4


def test_a_data_folders_path_counts_and_is_not_shown(tiny, home):
    write_sweep(home, "notebook: tiny")
    found = []
    for place in ("a", "b"):
        (home / place / "birds").mkdir(parents=True)
        found += planned(home, {"dataset": f"voc:{home / place / 'birds'}"})
    assert found[0].run != found[1].run and found[0].label == found[1].label
    assert found[0].label == "profile=quick, seed=0, dataset=voc:birds"
    assert found[0].parameters["dataset"] == f"voc:{home}/a/birds"


def test_a_sweep_is_found_by_name_or_path_and_an_unknown_one_lists_the_known(home):
    file = write_sweep(home, "notebook: tiny")
    assert sweeps.find("tiny") == sweeps.find(str(file)) == file
    with pytest.raises(FileNotFoundError, match="'tini'; the course has tiny, did you mean tiny"):
        sweeps.find("tini")


SWEEPS = sorted((REPOSITORY / "notebooks").rglob("sweeps/*.yaml"))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_a_committed_sweep_can_be_run(file, profile):
    sweep = sweeps.read(file, profile=profile)
    assert sweeps.plan(sweep, commands.find_notebook(sweep.notebook), file.stem)


# ---- running it ----


def test_a_failed_run_does_not_stop_the_others_and_is_tried_again(slow, home):
    journal = slow(0, "assert seed != 1 or os.path.exists('mended'), 'seed one\\nis ill'", seeds=(0, 1))
    first = call("sweep", "tiny", "--jobs", "1")
    assert first.exit_code == 1
    failed = next((home / "runs" / "sweeps" / "tiny").glob("*/tiny.failed.ipynb"))
    assert "profile=quick, seed=1: tiny.ipynb stopped in cell [4] with AssertionError: seed one" in first.stderr
    assert f"(look at {failed})" in first.stderr
    assert "2 runs, 0 done before, 1 made now, 1 failed" in first.stdout
    before = made(home)
    (home / "notebooks" / "mended").touch()
    again = call("sweep", "tiny", "--jobs", "1")
    assert again.exit_code == 0 and "2 runs, 1 done before, 1 made now, 0 failed" in again.stdout
    assert journal("began") == ["0", "1", "1"]
    assert len(made(home)) == 2 and before.items() <= made(home).items()


def test_each_worker_has_its_cores_and_a_gpu_and_one_that_dies_takes_its_run_alone(slow, home, monkeypatch):
    import joblib

    dies = f"""if seed == 2:
    import psutil
    end = time.monotonic() + 60
    folder = pathlib.Path({str(home / "runs" / "sweeps" / "tiny")!r})
    while len(list(folder.glob("[!.]*/record.json"))) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    psutil.Process().parent().kill()
    time.sleep(60)"""
    slow(1, dies, seeds=(0, 1, 2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sweeps, "DEATHS", 1)
    outcomes = sweeps.carry_out(planned(home), jobs=2)
    # the death of a worker stops the others too: one that had not yet told of its run is asked again
    assert {outcome.state for outcome in outcomes[:2]} <= {"ran", "done"} and outcomes[2].state == "failed"
    assert outcomes[2].error == "its worker process died 1 times (was memory short?)"
    table = results.collect().pivot(index="seed", columns="metric", values="value")
    assert table["threads"].tolist() == [max(1, joblib.cpu_count() // 2)] * 2
    assert set(table["gpu"]) == {5, 7}


def test_two_sweeps_started_together_share_the_runs(slow, home):
    journal = slow(0.5, seeds=(0, 1, 2))
    other = command(home, "--jobs", "1")
    wait_for(lambda: journal("began"))
    mine = sweeps.carry_out(planned(home), jobs=1)
    out, err = other.communicate(timeout=120)
    assert other.returncode == 0 and "3 runs" in out and "0 failed" in out, err
    assert {outcome.state for outcome in mine} == {"done", "ran"}, "each made some"
    assert sorted(journal("began")) == ["0", "1", "2"] and len(made(home)) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupted_sweep_says_how_to_continue_and_leaves_no_half_run(slow, home):
    journal = slow(60, seeds=(0, 1))
    sweep = command(home, "--jobs", "2")
    wait_for(lambda: len(journal("began")) == 2)
    os.killpg(sweep.pid, signal.SIGINT)
    _, err = sweep.communicate(timeout=30)
    assert sweep.returncode == 130
    assert "Stopped: 0 of 2 runs are done. To continue: cambook sweep tiny --jobs 2" in err
    assert "Traceback" not in err
    assert made(home) == {}


def test_a_cluster_completes_the_sweep_although_a_worker_is_killed(slow, home):
    from dask.distributed import LocalCluster

    kills_its_worker_once = """if seed == 1 and not os.path.exists("killed"):
    import psutil
    open("killed", "w").close()
    psutil.Process().parent().kill()
    time.sleep(60)"""
    journal = slow(1, kills_its_worker_once)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        outcomes = sweeps.carry_out(planned(home), cluster=cluster.scheduler_address)
    # where the same worker had made the other run before, and told nobody yet, that one is asked for again
    assert outcomes[0].state in ("ran", "done") and outcomes[1].state == "ran"
    assert sorted(journal("began")) == ["0", "1", "1"], "the killed worker's run, and no other, is begun twice"
    assert sorted(journal("ended")) == ["0", "1"]
    found = results.collect()
    assert sorted(found[found.metric == "top1_error"].seed) == [0, 1]


@pytest.fixture
def small_cluster():
    """small_cluster(workers, threads) gives the address of a dask cluster inside this process."""
    from dask.distributed import LocalCluster

    with contextlib.ExitStack() as stack:
        how = {"processes": False, "protocol": "tcp", "dashboard_address": ":0"}
        start = lambda n, threads: LocalCluster(n_workers=n, threads_per_worker=threads, **how)  # noqa: E731
        yield lambda n, threads: stack.enter_context(start(n, threads)).scheduler_address


def test_a_cluster_of_one_worker_makes_the_runs_itself(slow, home, monkeypatch, small_cluster):
    slow(0)
    where = []
    monkeypatch.setattr(notebooks, "execute", lambda *given, **more: where.append(threading.current_thread()))
    assert len(sweeps.carry_out(planned(home), cluster=small_cluster(1, 1))) == 2
    assert len(where) == 2 and threading.main_thread() not in where


def test_what_the_kernel_of_a_killed_attempt_still_writes_does_not_stay(slow, home, monkeypatch, small_cluster):
    slow(0, seeds=(0,))

    def execute(notebook, parameters, folder, **more):
        old = folder.with_name(f"{folder.name.rpartition('-')[0]}-0123abcd")
        old.mkdir()
        (old / "record.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(notebooks, "execute", execute)
    (outcome,) = sweeps.carry_out(planned(home), cluster=small_cluster(1, 1))
    assert outcome.state == "ran"
    assert [each.name for each in (home / "runs" / "sweeps" / "tiny").iterdir() if each.is_dir()] == [outcome.run]


def test_a_cluster_that_cannot_be_used_is_a_sentence(slow, home, monkeypatch, small_cluster):
    slow(0)
    monkeypatch.setattr(sweeps, "ANSWER_SECONDS", 1)
    for cluster, sentence in {
        "tcp://127.0.0.1:9": "tcp://127.0.0.1:9: no dask scheduler answers there",
        "127.0.0.1:8786": "127.0.0.1:8786: no dask scheduler answers there.*as tcp://HOST:8786",
        "tcp://127.0.0.1:x": "tcp://127.0.0.1:x: no dask scheduler answers there",
        small_cluster(0, 1): "has no worker: start some with `dask worker tcp:.* --nthreads 1`",
        small_cluster(1, 4): "has 4 threads, and a run needs a process of its own",
    }.items():
        with pytest.raises(ParameterError, match=sentence) as refused:
            sweeps.carry_out(planned(home), cluster=cluster)
        assert "\n" not in str(refused.value)


# ---- what came out ----


def leave(folder, metrics, finished="2026-01-01T00:00:00+00:00", notebook="tiny", folders=None, **parameters):
    """A record as a run leaves it."""
    record = runs.Record(
        notebook=notebook,
        parameters={"profile": "quick", "seed": 0, **parameters},
        metrics=metrics,
        started="",
        finished=finished,
        seconds=1,
        environment={"device": "cpu", "folders": folders or {}},
    )
    record.save(folder)


def test_results_are_one_row_a_metric_of_finished_runs(home):
    runs_ = home / "runs"
    leave(runs_ / "sweeps" / "tiny" / "aa", {"vgg16 - top1_error": 30.5, "vgg16-gap cam top1_loc_error": 60}, seed=2)
    leave(runs_ / "tiny" / "epochs=3", {"best_threshold": 0.2}, network="mini-gap", epochs=3)
    leave(runs_ / "sweeps" / "tiny" / "bb", {"x": 1}, finished=None)
    leave(runs_ / "sweeps" / "tiny" / ".cc-1234", {"x": 1})
    leave(runs_ / "interactive" / "tiny", {"x": 1}, finished=None)
    leave(runs_ / "figures" / "other", {"x": 1}, notebook="third")
    table = results.collect()
    assert list(table.columns[:12]) == (
        "run sweep notebook profile dataset seed network source metric value device finished".split()
    )
    found = table[["run", "sweep", "seed", "network", "source", "metric", "value"]].values.tolist()
    assert found == [
        ["tiny/epochs=3", "", 0, "mini-gap", "-", "best_threshold", 0.2],
        ["aa", "tiny", 2, "vgg16", "-", "top1_error", 30.5],
        ["aa", "tiny", 2, "vgg16-gap", "cam", "top1_loc_error", 60.0],
    ]
    assert len(results.collect(runs_ / "sweeps" / "tiny")) == 2
    assert results.collect(home / "nothing").empty


def test_a_name_of_three_words_is_no_network_with_a_source_and_a_metric(home):
    """`cambook train` records "pixels a side": neither a new record nor an old one has a network called "pixels"."""
    run = runs.start("tiny", home / "runs" / "sweeps" / "tiny" / "aa", network="mini-gap")
    run.record("pixels a side", 64)
    run.record("top1_loc_error", 60, "mini-fc", "smooth saliency")
    run.record("top1_error", 30, "mini-fc")
    record = runs.Record.load(run.folder)
    record.model_copy(update={"finished": "2026-01-01"}).save(run.folder)
    assert list(record.metrics) == ["pixels a side", "mini-fc smooth saliency top1_loc_error", "mini-fc - top1_error"]
    found = results.collect()[["network", "source", "metric", "value"]].values.tolist()
    assert found == [
        ["mini-gap", "-", "pixels a side", 64],
        ["mini-fc", "smooth saliency", "top1_loc_error", 60],
        ["mini-fc", "-", "top1_error", 30],
    ]
    leave(run.folder, {"pixels a side": 64, "mini-fc cam pxap": 50}, network="mini-gap")  # from before these fields
    found = results.collect()[["network", "source", "metric", "value"]].values.tolist()
    assert found == [["mini-gap", "-", "pixels a side", 64], ["mini-fc", "cam", "pxap", 50]]


def test_a_run_whose_record_has_no_end_was_not_made(slow, home):
    slow(0)
    first, second = planned(home)
    leave(first.folder, {"x": 1}, finished=None)
    leave(second.folder, {"x": 1})
    assert [one.finished() for one in planned(home)] == [False, True]


def test_one_thing_measured_twice_with_one_seed_counts_once_the_latest(home):
    for sweep, finished, value in (("a", "2026-01-02", 2), ("b", "2026-01-03", 3), ("c", "2026-01-01", 1)):
        leave(home / "runs" / "sweeps" / sweep / "aa", {"x": value}, finished=finished)
    assert results.collect().value.tolist() == [3]


def test_data_folders_of_one_name_are_told_apart(home):
    for run, digest, seed in (("aa", "111111", 0), ("bb", "222222", 0), ("cc", "222222", 1)):
        folders = {"dataset": digest}
        leave(home / "runs" / "sweeps" / "t" / run, {"x": 1}, dataset="voc:birds", folders=folders, seed=seed)
    assert sorted(results.collect().dataset) == ["voc:birds 111111", "voc:birds 222222", "voc:birds 222222"]


def test_a_real_run_leaves_a_digest_of_its_data_folder(tmp_path):
    (tmp_path / "birds").mkdir()
    parameters = Parameters(dataset=f"voc:{tmp_path}/birds")
    assert list(parameters.folders()) == ["dataset"] and Parameters(dataset="scenes").folders() == {}
    (tmp_path / "x" / "birds").mkdir(parents=True)
    assert parameters.folders() != Parameters(dataset=f"voc:{tmp_path}/x/birds").folders()


def test_a_damaged_record_is_named_and_left_out(home):
    leave(home / "runs" / "sweeps" / "t" / "aa", {"x": 1})
    (home / "runs" / "sweeps" / "t" / "bb").mkdir()
    (home / "runs" / "sweeps" / "t" / "bb" / "record.json").write_text('{"notebook": "ti', encoding="utf-8")
    with pytest.warns(UserWarning, match="bb/record.json is damaged and left out"):
        assert len(results.collect()) == 1


def test_the_summary_is_mean_and_spread_over_seeds_of_one_setting(home):
    for seed, value in enumerate([1.0, 2.0, 6.0]):
        leave(home / "runs" / "sweeps" / "t" / f"a{seed}", {"x": value}, seed=seed, learning_rate=0.1)
    leave(home / "runs" / "sweeps" / "t" / "b", {"x": 5.0}, learning_rate=0.2)
    found = results.summary(results.collect())
    assert found.learning_rate.tolist() == [0.1, 0.2] and found.seeds.tolist() == [3, 1]
    assert found["mean"].tolist() == [3.0, 5.0]
    assert found.spread[0] == pytest.approx(7**0.5) and pd.isna(found.spread[1])
    assert "epochs" not in found


def test_results_are_printed_and_written(home, monkeypatch):
    monkeypatch.chdir(home)
    leave(home / "runs" / "sweeps" / "tiny" / "aa", {"mini-gap cam top1_loc_error": 43.21})
    printed = call("results", "tiny").stdout
    assert "mini-gap" in printed and "43.21" in printed and "CSV and Markdown: runs/sweeps/tiny" in printed
    written = pd.read_csv(home / "runs" / "sweeps" / "tiny" / "results.csv")
    assert written.value.tolist() == [43.21]
    assert "| mini-gap" in (home / "runs" / "sweeps" / "tiny" / "summary.md").read_text(encoding="utf-8")
    call("results")
    assert (home / "runs" / "results" / "summary.csv").is_file()
    with pytest.raises(FileNotFoundError, match="No sweep 'tini' was made here; there are tiny, did you mean tiny"):
        call("results", "tini")


def test_a_papers_table_stands_beside_the_published_one(home, monkeypatch, make_notebook):
    written = []

    def write(name, results, folder):
        written.append((name, results.notebook.tolist()))
        (folder / f"{name}.md").write_text("ours beside published", encoding="utf-8")

    monkeypatch.setattr(papers, "TABLES", {"table2": ...})
    monkeypatch.setattr(papers, "write", write)
    for name in ("reproduce/table2", "reproduce/own", "04_lesson"):
        make_notebook(home / "notebooks" / f"{name}.ipynb")
        stem = Path(name).name
        leave(home / "runs" / stem, {f"{stem}_number": 1}, notebook=stem)
    printed = call("results").stdout
    assert [name for name, _ in written] == ["table2"]
    assert "ours beside published" in printed and "table2_number" not in printed
    assert "own_number" in printed and "04_lesson_number" in printed
