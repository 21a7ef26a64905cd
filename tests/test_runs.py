import functools
import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
import torch

from cambook import files, machine
from cambook.course import kernel, notebooks, runs
from cambook.course.parameters import ParameterError, Parameters, check_parameters

START = "from cambook.course import runs\nrun = runs.start('tiny', profile=profile, seed=seed)"
# The same record without importing torch, for tests of what happens around the notebook.
LIGHT = """import os
from cambook import machine
from cambook.course import notebooks, runs
record = runs.Record(notebook="tiny", parameters={}, metrics={"x": 1}, started="", seconds=0, environment={})
record.save(os.environ["CAMBOOK_RUN_DIR"])"""

WRONG = [
    ({"sead": 1}, "no parameter 'sead', it accepts profile, seed, .*did you mean seed"),
    ({"seed": "1e-1"}, "seed='1e-1' is refused: .*integer"),
    ({"seed": 1.5}, "seed=1.5 is refused"),
    ({"seed": True}, "seed=True is refused"),
    ({"seed": -1}, "seed=-1 is refused: .*greater than or equal to 0"),
    ({"epochs": 0}, "epochs=0 is refused"),
    ({"epochs": "many"}, "epochs='many' is refused"),
    ({"learning_rate": "nan"}, "learning_rate='nan' is refused"),
    ({"profile": "fast"}, "profile='fast' is refused: .*'quick'"),
    ({"dataset": "scnes"}, "dataset='scnes' is refused: .*did you mean \"scenes\""),
    ({"dataset": "cubs"}, "dataset='cubs' is refused: .*did you mean \"cub\""),
    ({"dataset": "ilsvrc"}, '"ilsvrc" names no folder: write ilsvrc:FOLDER'),
    ({"dataset": "pets:/no/such"}, "the folder /no/such does not exist"),
    ({"dataset": "voc:/no/such"}, "the folder /no/such does not exist"),
    ({"dataset": 7}, "dataset=7 is refused"),
    ({"network": "mini-gapp"}, "network='mini-gapp' is refused: .*did you mean mini-gap"),
    ({"image": "no/such.png"}, "image='no/such.png' is refused: there is no such file"),
    ({"seed": -1, "epochs": 0}, "seed=-1 is refused: .*epochs=0 is refused"),
]
EVERYTHING = 'profile = "quick"\nseed = 0\nepochs = None\nlearning_rate = None\ndataset = "scenes"\n'
EVERYTHING += 'network = "mini-gap"\nimage = "chelsea"'


class KernelStarted(Exception):
    pass


@pytest.fixture
def no_kernel(monkeypatch):
    async def refuse(self, **kwargs):
        raise KernelStarted

    monkeypatch.setattr(kernel.ThisPython, "start_kernel", refuse)


@pytest.fixture
def declaring_everything(make_notebook, tmp_path):
    return make_notebook(tmp_path / "tiny.ipynb", START, parameters=EVERYTHING)


@pytest.mark.parametrize("parameters, sentence", WRONG)
def test_a_wrong_parameter_is_refused_in_one_sentence_before_a_kernel_starts(
    declaring_everything, tmp_path, no_kernel, parameters, sentence
):
    with pytest.raises(ParameterError, match=sentence) as refused:
        notebooks.execute(declaring_everything, parameters, tmp_path / "out", progress=False)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_right_parameters_do_start_a_kernel(declaring_everything, tmp_path, no_kernel):
    with pytest.raises(KernelStarted):
        notebooks.execute(declaring_everything, {"seed": "3", "epochs": 1}, tmp_path / "out", progress=False)


def test_a_parameter_that_the_notebook_does_not_declare_is_refused(make_notebook, tmp_path):
    notebook = make_notebook(tmp_path / "tiny.ipynb", START)
    with pytest.raises(ParameterError, match="no parameter 'epochs', it accepts profile, seed"):
        check_parameters(notebook, {"epochs": 1})
    bare = make_notebook(tmp_path / "bare.ipynb", "1 + 1", parameters=None)
    with pytest.raises(ParameterError, match="it accepts none"):
        check_parameters(bare, {"seed": 1})


def test_a_declared_name_that_the_course_does_not_know_is_refused(make_notebook, tmp_path):
    notebook = make_notebook(tmp_path / "tiny.ipynb", START, parameters="seed = 0\nflavour = 'plain'")
    with pytest.raises(ParameterError, match="declares 'flavour'"):
        check_parameters(notebook, {})


def test_only_plain_values_are_parameters(make_notebook, tmp_path):
    notebook = make_notebook(tmp_path / "tiny.ipynb", START, parameters="seed = 1 + len('a')")
    with pytest.raises(ParameterError, match="keep only lines like"):
        check_parameters(notebook, {})


@pytest.mark.parametrize("where", ["Agg", "svg", "matplotlibrc"])
def test_a_run_shows_its_figures_whatever_backend_the_shell_asks_for(make_notebook, tmp_path, monkeypatch, where):
    (tmp_path / "matplotlibrc").write_text("backend: agg\n", encoding="utf-8")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    if where != "matplotlibrc":
        monkeypatch.setenv("MPLBACKEND", where)
    drawing = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])"
    notebook = make_notebook(tmp_path / "tiny.ipynb", LIGHT, drawing)
    notebooks.execute(notebook, {}, tmp_path / "out", progress=False)
    assert len(notebooks.export_figures(tmp_path / "out" / "tiny.ipynb", tmp_path / "out")) == 1


@pytest.mark.parametrize("name", ["record.json", "tiny.ipynb"])
def test_a_run_removes_what_a_killed_one_left_half_written(make_notebook, tmp_path, name):
    out = tmp_path / "out"
    with files.atomic_write(out / name) as part:
        part.touch()
    part.write_text("half", encoding="utf-8")  # as of a process that was killed before it could rename it
    assert files.halves(out / name) == [part]
    notebooks.execute(make_notebook(tmp_path / "tiny.ipynb", LIGHT), {}, out, progress=False)
    assert sorted(file.name for file in out.iterdir()) == ["record.json", "tiny.ipynb"]


def test_a_file_that_is_missing_or_no_notebook_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.ipynb"):
        check_parameters(tmp_path / "gone.ipynb", {})
    (tmp_path / "page.ipynb").write_text("<html>", encoding="utf-8")
    with pytest.raises(ValueError, match="page.ipynb is not a Jupyter notebook"):
        check_parameters(tmp_path / "page.ipynb", {})


def test_text_is_read_as_the_number_it_means():
    parameters = Parameters(learning_rate="1e-4", seed="3", epochs="2")
    assert (parameters.learning_rate, parameters.seed, parameters.epochs) == (1e-4, 3, 2)
    assert isinstance(parameters.seed, int)


@pytest.fixture(scope="module")
def whole(make_notebook, tmp_path_factory):
    """A run with another seed, on a machine whose kernel named python3 is a foreign one."""
    folder = tmp_path_factory.mktemp("whole")
    spec = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps({"argv": ["/no/such/python"], "display_name": "x", "language": "python"}), encoding="utf-8"
    )
    notebook = make_notebook(
        folder / "tiny.ipynb",
        START,
        f"import os, sys, torch\nassert sys.executable == {sys.executable!r}",
        f"assert os.getcwd() == {str(folder)!r}",
        "runs.record('seed_given', seed)\nruns.record('draw', torch.rand(()))\nprint('seed', seed)",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        record = notebooks.execute(notebook, {"seed": "3"}, folder / "out", progress=False)
    return folder / "out", record


def test_a_run_leaves_an_executed_copy_and_a_record_and_nothing_else(whole):
    folder, record = whole
    assert sorted(path.name for path in folder.iterdir()) == ["record.json", "tiny.ipynb"]
    assert runs.Record.load(folder) == record
    executed = nbformat.read(folder / "tiny.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "seed 3\n"


def test_a_record_tells_what_ran_where_and_what_came_out(whole):
    _, record = whole
    assert record.parameters == {"profile": "quick", "seed": 3}
    assert record.metrics["seed_given"] == 3
    assert record.error is None and record.finished >= record.started and record.seconds > 0
    known = {"python", "processor", "torch", "torchvision", "numpy", "cambook", "device", "threads", "commit"}
    assert known <= set(record.environment)
    assert record.environment["torch"] == torch.__version__.split("+")[0]


def test_a_run_is_seeded_by_its_parameter(whole):
    torch.manual_seed(3)
    assert whole[1].metrics["draw"] == pytest.approx(torch.rand(()).item())


def test_a_record_names_no_folder_of_this_machine(whole):
    text = (whole[0] / "record.json").read_text(encoding="utf-8")
    assert str(files.ROOT) not in text and str(whole[0].parent) not in text and sys.prefix not in text


def test_a_networks_number_has_its_three_fields_in_the_record(tmp_path):
    run = runs.start("tiny", tmp_path)
    run.record("top1_loc_error", 43.21, "mini-gap", "cam")
    run.record("x", 1)
    record = runs.Record.load(tmp_path)
    assert record.metrics == {"mini-gap cam top1_loc_error": 43.21, "x": 1}
    (measured,) = record.measured.values()
    assert (measured.network, measured.source, measured.metric) == ("mini-gap", "cam", "top1_loc_error")


def test_folders_are_left_out_of_recorded_parameters(tmp_path):
    (tmp_path / "birds").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"")
    parameters = Parameters(dataset=f"voc:{tmp_path}/birds", image=str(tmp_path / "a.jpg"))
    assert parameters.portable() == {"profile": "quick", "seed": 0, "dataset": "voc:birds", "image": "a.jpg"}


def test_a_folder_is_found_from_where_the_command_was_given(tmp_path, monkeypatch):
    (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Parameters(dataset="voc:birds").dataset == f"voc:{tmp_path / 'birds'}"
    assert Parameters(dataset="cub:birds").dataset == f"cub:{tmp_path / 'birds'}"
    fetched = ["cub", "pets", "tiny-imagenet", "voc2007"]
    assert [Parameters(dataset=name).dataset for name in fetched] == fetched


def test_a_failed_run_is_called_failed_and_replaces_the_old_one(make_notebook, tmp_path):
    notebook = make_notebook(tmp_path / "tiny.ipynb", LIGHT, "1 / 0")
    out = tmp_path / "out"
    out.mkdir()
    (out / "tiny.ipynb").write_text("of an earlier run", encoding="utf-8")
    with pytest.raises(notebooks.RunError, match=r"tiny.ipynb stopped in cell \[3\] with ZeroDivisionError") as fault:
        notebooks.execute(notebook, {}, out, progress=False)
    assert sorted(path.name for path in out.iterdir()) == ["record.json", "tiny.failed.ipynb"]
    assert str(out / "tiny.failed.ipynb") in str(fault.value)
    record = runs.Record.load(out)
    assert record.finished is None and record.error == "ZeroDivisionError: division by zero"
    assert record.metrics == {"x": 1}


def test_a_kernel_that_dies_is_told_from_one_that_ends(make_notebook, tmp_path):
    dies = "import os\nwith open('begun', 'a') as begun:\n    begun.write('x')\nos._exit(3)"
    notebook = make_notebook(tmp_path / "tiny.ipynb", dies)
    with pytest.raises(notebooks.RunError, match="Kernel died"):
        notebooks.execute(notebook, {}, tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []
    assert (tmp_path / "begun").read_text(encoding="utf-8") == "x", "what has begun is not begun again"


@pytest.fixture
def first_die(monkeypatch):
    """first_die(n): the first n kernels die before they answer, as where a port was taken; gives the list of all."""
    real, started = kernel.ThisPython.kernel_spec.fget, []

    def make(count):
        def spec(self):
            started.append(self)
            found = real(self)
            if len({id(each) for each in started}) <= count:
                found.argv = [sys.executable, "-c", "raise SystemExit(1)"]
            return found

        monkeypatch.setattr(kernel.ThisPython, "kernel_spec", property(spec))
        return started

    return make


def test_a_kernel_that_does_not_answer_is_started_again(make_notebook, tmp_path, first_die):
    started = first_die(notebooks.KERNELS - 1)
    record = notebooks.execute(make_notebook(tmp_path / "tiny.ipynb", LIGHT), {}, tmp_path / "out", progress=False)
    assert record.finished and len({id(each) for each in started}) == notebooks.KERNELS


def test_kernels_that_never_answer_are_given_up(make_notebook, tmp_path, first_die):
    started = first_die(notebooks.KERNELS)
    with pytest.raises(notebooks.RunError, match="tiny.ipynb: Kernel died before replying"):
        notebooks.execute(make_notebook(tmp_path / "tiny.ipynb", LIGHT), {}, tmp_path / "out", progress=False)
    assert len({id(each) for each in started}) == notebooks.KERNELS and list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("cells", "parameters"), [(["1 + 1"], "seed = 0"), ([], None)], ids=["a cell", "no cell"])
def test_a_notebook_without_a_record_is_no_run(make_notebook, tmp_path, cells, parameters):
    notebook = make_notebook(tmp_path / "tiny.ipynb", *cells, parameters=parameters)
    with pytest.raises(notebooks.RunError, match="call runs.start"):
        notebooks.execute(notebook, {}, tmp_path / "out", progress=False)


TRAINS = """import pathlib, time
from cambook.machine import tqdm
with tqdm(total=4, desc="training a network") as bar:
    bar.update(3)
    bar.refresh()
    time.sleep(3)"""


def test_a_log_tells_how_far_the_kernels_own_training_is_and_floods_nothing(
    make_notebook, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(notebooks, "LOG_SECONDS", 0)
    notebooks.execute(make_notebook(tmp_path / "tiny.ipynb", LIGHT, TRAINS), {}, tmp_path / "out")
    said = capsys.readouterr().err
    assert "\r" not in said
    assert re.search(r"^tiny: 2 of 3 cells, \d+ s, training a network 3/4$", said, re.MULTILINE)
    assert re.search(r"^tiny: 3 of 3 cells, \d+ s$", said.splitlines()[-1])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["record.json", "tiny.ipynb"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupted_run_leaves_no_copy_and_no_kernel(make_notebook, tmp_path):
    pid = tmp_path / "pid"
    sleep = f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(120)"
    notebook = make_notebook(tmp_path / "tiny.ipynb", sleep)
    code = (
        f"from cambook.course import notebooks; notebooks.execute({str(notebook)!r}, {{}}, {str(tmp_path / 'out')!r})"
    )
    hears = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # though pytest's own parent may not
    runner = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, preexec_fn=hears)
    _wait_for(lambda: pid.exists() and pid.read_text(encoding="utf-8"), 60)
    runner.send_signal(signal.SIGINT)
    assert runner.wait(30) != 0
    assert list((tmp_path / "out").iterdir()) == []
    _wait_for(lambda: not _alive(int(pid.read_text(encoding="utf-8"))), 20)


def _wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def started(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_current", None)
    monkeypatch.setenv("CAMBOOK_RUN_DIR", str(tmp_path / "run"))
    return runs.start("tiny", seed=1)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array([0.5]), torch.tensor(0.5), torch.tensor([0.5])])
def test_any_single_number_is_recorded_without_a_word(started, capsys, value):
    runs.record("half", value)
    assert runs.Record.load(started.folder).metrics == {"half": 0.5}
    assert capsys.readouterr() == ("", "")


def test_several_numbers_are_recorded_at_once(started):
    runs.record_all({"a": 1, "b": np.float32(0.5)}, prefix="cam_")
    assert runs.Record.load(started.folder).metrics == {"cam_a": 1, "cam_b": 0.5}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), torch.tensor(float("nan"))])
def test_a_number_that_is_none_is_refused(started, value):
    with pytest.raises(ValueError, match=r"record\('mean', (nan|inf)\)"):
        runs.record("mean", value)
    assert runs.Record.load(started.folder).metrics == {}


@pytest.mark.parametrize("value", ["0.5", True, None, torch.zeros(2), np.zeros((0,))])
def test_what_is_no_single_number_is_refused(started, value):
    with pytest.raises(TypeError, match="give a single number"):
        runs.record("mean", value)


def test_recording_needs_a_run(monkeypatch):
    monkeypatch.setattr(runs, "_current", None)
    with pytest.raises(RuntimeError, match="runs.start"):
        runs.record("x", 1)


def test_starting_again_begins_a_new_record(started):
    runs.record("x", 1)
    again = runs.start("tiny", seed=1)
    assert again.folder == started.folder and runs.Record.load(again.folder).metrics == {}


def test_without_a_runner_the_record_is_kept_apart(tmp_path, monkeypatch):
    monkeypatch.delenv("CAMBOOK_RUN_DIR", raising=False)
    monkeypatch.setattr(files, "RUNS", tmp_path)
    assert runs.start("tiny").folder == tmp_path / "interactive" / "tiny"
    assert (tmp_path / "interactive" / "tiny" / "record.json").is_file()


def test_start_checks_what_a_reader_typed(monkeypatch):
    with pytest.raises(ParameterError, match="did you mean seed"):
        runs.start("tiny", sed=1)
    with pytest.raises(ParameterError, match="seed=-1"):
        runs.start("tiny", seed=-1)


def test_start_seeds_every_generator(started):
    first = (torch.rand(1).item(), np.random.rand())
    runs.start("tiny", seed=1)
    assert (torch.rand(1).item(), np.random.rand()) == first


@pytest.mark.parametrize("profile, chosen", [("quick", 1), ("full", 2), ("paper", 2)])
def test_a_setting_is_picked_by_profile(started, profile, chosen):
    assert runs.start("tiny", profile=profile).pick(quick=1, full=2) == chosen


@pytest.mark.parametrize(
    "number, text",
    [
        (61100840, "61100840"),
        (0.123456, "0.1235"),
        (98.76543, "98.77"),
        (12345.6, "12350"),
        (2.0, "2"),
        (1.2344e-7, "1.234e-07"),
    ],
)
def test_numbers_are_shown_with_four_significant_digits(number, text):
    assert runs.shown(number) == text


WIDGET = "import ipywidgets\nipywidgets.IntSlider()"


def test_refreshing_twice_changes_nothing(make_notebook, tmp_path):
    noise = "import sys\nfrom tqdm import tqdm\nfor _ in tqdm(range(3)): pass\nprint('said')\n'shown'"
    notebook = make_notebook(tmp_path / "tiny.ipynb", LIGHT, noise, WIDGET)
    sources = nbformat.read(notebook, as_version=4)
    for cell in sources.cells[2:]:
        cell.metadata.tags = ["nbval-ignore-output"]
    sources.cells[2].metadata.tags.append("hide-input")
    nbformat.write(sources, notebook)
    notebooks.refresh(notebook, tmp_path / "out", progress=False)
    once = notebook.read_bytes()
    committed = nbformat.read(notebook, as_version=4)
    assert set(committed.metadata) == {"kernelspec", "language_info", "record"}
    assert committed.metadata.record == runs.Record.load(tmp_path / "out").metrics
    assert [cell.id for cell in committed.cells] == ["cell-0", "cell-1", "cell-2", "cell-3"]
    assert [cell.source for cell in committed.cells] == [cell.source for cell in sources.cells]
    assert [cell.execution_count for cell in committed.cells] == [1, 2, 3, 4]
    assert [dict(cell.metadata) for cell in committed.cells[:2]] == [{"tags": ["parameters"]}, {}]
    assert [cell.metadata.get("jupyter") for cell in committed.cells[2:]] == [{"source_hidden": True}, None]
    assert [output.get("text") or output.data["text/plain"] for output in committed.cells[2].outputs] == [
        "said\n",
        "'shown'",
    ]
    assert committed.cells[3].outputs == []
    notebooks.refresh(notebook, tmp_path / "out", progress=False)
    assert notebook.read_bytes() == once


def test_outputs_of_a_run_are_taken_over_only_by_the_notebook_that_it_executed(make_notebook, tmp_path):
    notebook = make_notebook(tmp_path / "tiny.ipynb", LIGHT, "print('said')", "'shown'")
    notebooks.execute(notebook, {}, tmp_path / "out", progress=False)
    assert notebooks.adopt(notebook, tmp_path / "out") == []
    content = nbformat.read(notebook, as_version=4)
    assert content.cells[3].outputs[0].data["text/plain"] == "'shown'"
    for change, sentence in ((lambda cells: cells.pop(), "cell-3"), (lambda cells: cells.reverse(), "cell-2")):
        change(content.cells)
        nbformat.write(content, notebook)
        before = notebook.read_bytes()
        with pytest.raises(notebooks.RunError, match=f"{sentence} is not what the run .*run the notebook again"):
            notebooks.adopt(notebook, tmp_path / "out")
        assert notebook.read_bytes() == before


@pytest.mark.parametrize(
    "cell, sentence",
    [
        ("import sys\nprint(sys.prefix)", "names .*print a name"),
        (WIDGET, "not the same twice.* tag the cell nbval-ignore"),
        ("import warnings\nwarnings.warn('old')", "not the same twice.* tag the cell nbval-ignore"),
    ],
)
def test_outputs_that_cannot_be_committed_leave_the_notebook_alone(make_notebook, tmp_path, cell, sentence):
    notebook = make_notebook(tmp_path / "tiny.ipynb", LIGHT, cell)
    before = notebook.read_bytes()
    with pytest.raises(notebooks.RunError, match=sentence):
        notebooks.refresh(notebook, tmp_path / "out", progress=False)
    assert notebook.read_bytes() == before


def test_recorded_results_come_with_their_columns_and_a_missing_one_is_named():
    table = runs.recorded("photographs")
    assert set(table["seed"]) == {0, 1, 2} and table["max_box_acc"].between(0, 100).all()
    with pytest.raises(FileNotFoundError, match="nothing.csv is missing"):
        runs.recorded("nothing")


def test_figures_are_exported_in_order_on_slides_of_16_to_9(make_notebook, tmp_path):
    from PIL import Image

    draw = "import matplotlib.pyplot as plt\nfrom cambook.course import runs, show\nrun = runs.start('figures')"
    black = "fig, ax = plt.subplots(figsize=(4, 4)); plt.close(fig); fig.set_facecolor('black'); ax.set_axis_off(); fig"
    wide = black.replace("(4, 4)", "(8, 1)")
    notebook = make_notebook(tmp_path / "figures.ipynb", draw, black, "'no figure'", wide)
    out = tmp_path / "out"
    notebooks.execute(notebook, {}, out, progress=False, sharpness=2)
    made = notebooks.export_figures(out / "figures.ipynb", out)
    assert [path.name for path in made] == ["01-cell-2.png", "02-cell-4.png"]
    for path in made:
        slide = Image.open(path)
        assert slide.size == (1920, 1080) and slide.getpixel((0, 0)) == (255, 255, 255)
        assert slide.getpixel((960, 540)) == (0, 0, 0)
    assert Image.open(made[0]).getpixel((200, 540)) == (255, 255, 255)
    assert Image.open(made[1]).getpixel((200, 540)) == (0, 0, 0)
    (out / "07-old.png").write_bytes(b"")
    assert notebooks.export_figures(out / "figures.ipynb", out) == made and not (out / "07-old.png").exists()


def test_side_by_side_gives_ratios_to_the_first():
    turns = []

    def work(name, seconds):
        return lambda: (turns.append(name), time.sleep(seconds))

    found = machine.side_by_side({"quick": work("quick", 0.01), "slow": work("slow", 0.03)}, repeats=3)
    assert found["quick"] == 1 and 1.5 < found["slow"] < 6
    assert turns == ["quick", "slow"] * 4
    with pytest.raises(ValueError, match="0 works"):
        machine.side_by_side({})
