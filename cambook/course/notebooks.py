"""Notebooks run from outside: in a kernel of their own, refreshed for a commit, exported as slides."""

from __future__ import annotations

import base64
import codecs
import io
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from cambook import files
from cambook.course import findings
from cambook.course.extras import require
from cambook.course.parameters import check_parameters
from cambook.course.reading import HIDDEN
from cambook.course.runs import Record, now
from cambook.files import RUN_DIR
from cambook.machine import SPIN_COUNT, environ

SHARPNESS = "CAMBOOK_SHARPNESS"  # tells a kernel by how much finer to draw its figures
SLIDE = (1920, 1080)
LOG_SECONDS = 60  # between two lines of progress if there is no terminal

# How many kernels are started until one answers: of two that start at the same moment one may find that its port, free
# when it was chosen, is the other's, and dies (https://github.com/jupyter/jupyter_client/issues/154).
KERNELS = 3

RUNNER = ("papermill", "ipykernel", "jupyter_client", "nbformat")  # what a run needs of the extra `course`


class RunError(RuntimeError):
    """A notebook that was started and did not reach its end."""


@contextmanager
def _progress(notebook: Path, show: bool, folder: Path) -> Iterator[Any]:
    """A bar over the notebook's code cells, and beside it how far the cell's own training is, as its kernel says in the
    folder; in a log one line per minute. Gives what nbclient calls after each cell."""
    from tqdm import tqdm

    from cambook.machine import inside  # not before: its bars bring ipywidgets

    cells = json.loads(notebook.read_text(encoding="utf-8-sig"))["cells"]
    total = sum(cell["cell_type"] == "code" and bool("".join(cell["source"]).strip()) for cell in cells)
    in_a_log, ended, began = not sys.stderr.isatty(), threading.Event(), time.monotonic()
    done = 0

    def say(what: str) -> None:
        if show and in_a_log:
            seconds = time.monotonic() - began
            print(f"{notebook.stem}: {done} of {total} cells, {seconds:.0f} s{what}", file=sys.stderr, flush=True)

    def watch() -> None:
        said = began
        while not ended.wait(1):
            bar.set_postfix_str(training := inside(folder))
            if time.monotonic() - said > LOG_SECONDS:
                said = time.monotonic()
                say(training and f", {training}")

    def after_cell(cell, cell_index, execute_reply) -> None:
        nonlocal done
        if "injected-parameters" not in cell["metadata"]["tags"]:
            done += 1
            bar.update()

    with tqdm(total=total, desc=notebook.stem, unit="cell", disable=not show or in_a_log, leave=True) as bar:
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield after_cell
        finally:
            ended.set()
            watcher.join()
            bar.set_postfix_str("")
            say("")


def execute(
    notebook: str | os.PathLike,
    parameters: Mapping[str, Any],
    out_dir: str | os.PathLike,
    progress: bool = True,
    sharpness: float = 1,
) -> Record:
    """Runs a notebook from its first cell to its last in a kernel of its own.

    notebook:   is run in its folder; one that came with an installed package, whose folder stays as it is, in out_dir
    parameters: values for names of its cell tagged `parameters`, checked before the kernel starts
    out_dir:    gets the executed copy NAME.ipynb, whole or absent, and record.json, in place of old ones;
                of a failed run the copy is called NAME.failed.ipynb
    sharpness:  how many times as many pixels a figure's side has
    raises:     ParameterError, FileNotFoundError or ValueError before a kernel starts (see check_parameters), and
                MissingPackage without the extra `course`; RunError if a cell fails, the kernel dies or the notebook
                records no run
    """
    notebook, out_dir = Path(notebook).absolute(), Path(out_dir).absolute()
    checked = check_parameters(notebook, parameters)
    require("course", *RUNNER)
    for folder in (out_dir, files.CACHE):
        files.check_writable(folder)
    executed, failed = out_dir / notebook.name, out_dir / f"{notebook.stem}.failed.ipynb"
    old = executed, failed, out_dir / "record.json", out_dir / "progress"
    for leftover in [*old, *(half for file in old for half in files.halves(file))]:  # halves: of a run that was killed
        leftover.unlink(missing_ok=True)

    from papermill import PapermillExecutionError, execute_notebook

    from cambook.course.kernel import ThisPython

    begun, clock, error = now(), time.monotonic(), None
    answered: list[int] = []  # the cells that a kernel began
    try:
        with (
            files.atomic_write(executed) as copy,
            _progress(notebook, progress, out_dir) as after_cell,
            environ(RUN_DIR, str(out_dir)),
            environ(SHARPNESS, str(sharpness)),
            environ("CAMBOOK_CACHE", str(files.CACHE)),  # a folder given from here means the same there
            environ("CAMBOOK_CACHE_SHARED", str(files.SHARED or "")),
            environ("CAMBOOK_RUNS", str(files.RUNS)),
            environ("GOMP_SPINCOUNT", os.environ.get("GOMP_SPINCOUNT", SPIN_COUNT)),
        ):
            read_from = notebook
            if notebook.read_bytes().startswith(codecs.BOM_UTF8):  # as some editors on Windows write it
                copy.write_text(notebook.read_text(encoding="utf-8-sig"), encoding="utf-8")
                read_from = copy
            for kernel in range(1, KERNELS + 1):
                try:
                    execute_notebook(
                        read_from,
                        copy,
                        {name: getattr(checked, name) for name in parameters},
                        kernel_name="python3",
                        language="python",
                        progress_bar=False,
                        request_save_on_cell_execute=False,
                        cwd=out_dir if _of_the_package(notebook) else notebook.parent,
                        kernel_manager_class=ThisPython,
                        on_cell_start=lambda cell, cell_index: answered.append(cell_index),
                        on_cell_executed=after_cell,
                    )
                    break
                except PapermillExecutionError as fault:
                    files.move(copy, failed)
                    error = f"{fault.ename}: {fault.evalue}".strip().splitlines()[0]
                    raise RunError(
                        f"{notebook.name} stopped in cell [{fault.exec_count}] with {error} (look at {failed})"
                    ) from None
                except RuntimeError as fault:
                    if answered or kernel == KERNELS:
                        error = str(fault).splitlines()[0]
                        raise RunError(f"{notebook.name}: {error} (was memory short?)") from None
    except KeyboardInterrupt:
        error = "interrupted"
        raise
    finally:
        if (out_dir / "record.json").exists():
            record = Record.load(out_dir)
            record.started, record.seconds, record.error = begun, round(time.monotonic() - clock, 1), error
            record.finished = now() if executed.exists() else None
            record.save(out_dir)
    if not (out_dir / "record.json").exists():
        raise RunError(f"{notebook.name} ran without a record: call runs.start(...) in its second code cell.")
    return record


def refresh(notebook: str | os.PathLike, out_dir: str | os.PathLike, progress: bool = True) -> Record:
    """Runs a notebook with its defaults and puts the outputs into the notebook itself, fit to be committed.

    Figures are made smaller. Left out is what differs each time: widgets and their state, progress bars and warnings
    (stderr), times, papermill's notes. Sources, cell ids and tags stay as they are.
    raises: as execute; ValueError if it came with an installed package; RunError if an output names a folder of this
            machine, or if a cell with a part left out lacks the tag nbval-ignore-output; the notebook is then as before
    """
    if _of_the_package(Path(notebook)):
        raise ValueError(
            f"{notebook} belongs to an installed package, whose files stay as they are: refresh outputs in a clone."
        )
    record = execute(notebook, {}, out_dir, progress)
    for line in adopt(notebook, out_dir):
        print(line, file=sys.stderr)
    return record


def adopt(notebook: str | os.PathLike, out_dir: str | os.PathLike) -> list[str]:
    """Puts the outputs of a run with the defaults, whose folder is out_dir, into the notebook itself.

    The second half of `refresh`, for lessons that `cambook course` has just run. Texts are those of the notebook; the
    numbers that its findings quote become those of the run (`findings.requote`).
    returns: a sentence for each quoted number that was changed or has to be looked at
    raises:  RunError as refresh, and if a code cell is not what the run executed
    """
    require("course", *RUNNER)
    import nbformat  # here and below: of the extra, and two seconds that no lesson needs

    notebook, out_dir = Path(notebook), Path(out_dir)
    ran = [cell for cell in nbformat.read(out_dir / notebook.name, as_version=4).cells if cell.cell_type == "code"]
    executed = nbformat.reads(notebook.read_text(encoding="utf-8-sig"), as_version=4)
    here = [cell for cell in executed.cells if cell.cell_type == "code"]
    for one, other in itertools.zip_longest(here, ran):
        if one is None or other is None or (one.id, one.source) != (other.id, other.source):
            cell = (one or other).id
            raise RunError(
                f"{notebook.name}, cell {cell} is not what the run in {out_dir} executed: run the notebook again."
            )
    changed = findings.requote(executed, Record.load(out_dir).metrics)
    for key in ("papermill", "widgets"):
        executed.metadata.pop(key, None)
    executed.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    executed.metadata.language_info = {"name": "python"}
    for cell in executed.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        tags = cell.metadata.pop("tags", [])
        if tags:
            cell.metadata["tags"] = tags
        cell.metadata.pop("jupyter", None)
        if HIDDEN in tags:
            cell.metadata["jupyter"] = {"source_hidden": True}
        if cell.cell_type != "code":
            continue
        where = f"{notebook.name}, cell {cell.id}"
        done = ran.pop(0)
        outputs, cell.execution_count = done.outputs, done.execution_count
        kept = [output for output in outputs if not _passing(output)]
        if len(kept) < len(outputs) and "nbval-ignore-output" not in tags:
            raise RunError(
                f"{where}: a widget, a progress bar or a warning is not the same twice; avoid it or tag the "
                "cell nbval-ignore-output."
            )
        cell.outputs = kept
        for output in kept:
            if "image/png" in output.get("data", {}):
                kind, figure = _smaller(output.data.pop("image/png"))
                output.data[kind] = figure
                if described := output.get("metadata", {}).pop("image/png", None):
                    output.metadata[kind] = described
        said = "".join(_text(output) for output in kept)
        for folder in (str(files.ROOT), sys.prefix, str(Path.home()), tempfile.gettempdir()):
            if len(folder) > 1 and folder in said:
                raise RunError(f"{where}: an output names {folder}, print a name instead of a path.")
    with files.atomic_write(notebook) as file:
        nbformat.write(executed, file)
    return changed


def export_figures(executed: str | os.PathLike, folder: str | os.PathLike) -> list[Path]:
    """Each figure of an executed notebook in the middle of a white slide of 16:9, as FOLDER/03-CELL_ID.png.

    returns: the files in the notebook's order; older exports in the folder are removed first
    raises:  MissingPackage without the extra `course`
    """
    require("course", "nbformat")
    import nbformat

    folder = Path(folder)
    for old in folder.glob("[0-9][0-9]-*.png"):
        old.unlink()
    made = []
    for cell in nbformat.read(executed, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            encoded = data.get("image/png") or data.get("image/jpeg")
            if not encoded:
                continue
            figure = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
            scale = min(0.96 * SLIDE[0] / figure.width, 0.96 * SLIDE[1] / figure.height)
            size = round(figure.width * scale), round(figure.height * scale)
            figure = figure.resize(size, Image.Resampling.LANCZOS)
            slide = Image.new("RGB", SLIDE, "white")
            slide.paste(figure, ((SLIDE[0] - figure.width) // 2, (SLIDE[1] - figure.height) // 2))
            made.append(folder / f"{len(made) + 1:02}-{cell.id}.png")
            with files.atomic_write(made[-1]) as file:
                slide.save(file)
    return made


def _of_the_package(notebook: Path) -> bool:
    """Whether a notebook came with an installed package, to whose folders nothing is written."""
    return files.INSTALLED and notebook.resolve().is_relative_to(files.NOTEBOOKS)


def _passing(output: Mapping[str, Any]) -> bool:
    """Whether an output lives only while the notebook runs."""
    widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return widget or output.get("name") == "stderr"


def _smaller(png: str) -> tuple[str, str]:
    """A figure (PNG, base64) as JPEG or as PNG of 256 colours, whichever is smaller: photographs and drawings."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    made = {kind: io.BytesIO() for kind in ("image/png", "image/jpeg")}
    image.quantize(256, kmeans=2).save(made["image/png"], "PNG", optimize=True)
    image.save(made["image/jpeg"], "JPEG", quality=75, optimize=True)
    kind = min(made, key=lambda name: made[name].tell())
    return kind, base64.b64encode(made[kind].getvalue()).decode()


def _text(output: Mapping[str, Any]) -> str:
    """What an output says in words, images left out."""
    data = output.get("data", {})
    return output.get("text", "") + "".join(str(data[kind]) for kind in data if not kind.startswith("image/"))
