"""Runs of notebooks: parameters checked before a kernel starts, numbers recorded, one folder for each."""

from __future__ import annotations

import ast
import base64
import difflib
import glob
import hashlib
import importlib.metadata
import io
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from cambook import paths
from cambook.paths import RUN_DIR

if TYPE_CHECKING:
    import pandas as pd
    import torch

PROFILES = ("quick", "full", "paper")
SHARPNESS = "CAMBOOK_SHARPNESS"  # tells a kernel by how much finer to draw its figures
SLIDE = (1920, 1080)
LOG_SECONDS = 60  # between two lines of progress where there is no terminal
# How long a kernel's threads spin while they wait for each other. With OpenMP's own choice two trainings at once took
# three to four times as long as with this on two cores; without spinning one alone took a third longer.
SPIN_COUNT = "10000"

# How many kernels are started until one answers: of two that start at the same moment one may find that its port, free
# when it was chosen, is the other's, and dies (https://github.com/jupyter/jupyter_client/issues/154).
KERNELS = 3
RECORDED_VERSIONS = ("cambook", "torch", "torchvision", "numpy")


class ParameterError(ValueError):
    """A parameter that no run accepts: an unknown name, a wrong type, a value out of range."""


class RunError(RuntimeError):
    """A notebook that was started and did not reach its end."""


def _read_as(kind: type) -> BeforeValidator:
    """Text to a number: a command line and YAML (`1e-4` without a dot) give text where a number is meant."""

    def read(value: Any) -> Any:
        try:
            return kind(value) if isinstance(value, str) else value
        except ValueError:
            return value

    return BeforeValidator(read)


Whole = Annotated[int, _read_as(int)]
Number = Annotated[float, _read_as(float)]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]}?" if near else ""


class Parameters(BaseModel):
    """Every parameter that a notebook of the course may declare in its cell tagged `parameters`.

    A new parameter is one line here. None stands for "as the profile says".
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    profile: Literal["quick", "full", "paper"] = "quick"
    seed: Whole = Field(0, ge=0, lt=2**32)
    dataset: str | None = None
    network: str | None = None
    image: str | None = None
    epochs: Whole | None = Field(None, ge=1, le=1000)
    learning_rate: Number | None = Field(None, gt=0, le=10)

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str | None) -> str | None:
        if name is None:
            return None
        from cambook.datasets import kind_and_folder

        kind, folder = kind_and_folder(name)
        if folder is None:
            return name
        place = Path(folder).expanduser().absolute()
        if not os.path.isdir(place):
            raise ValueError(f"the folder {place} does not exist, give the one that holds the data set")
        return f"{kind}:{place}"

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str | None) -> str | None:
        if name is None:
            return None
        from cambook.networks import names

        if name not in names():
            raise ValueError(f"choose one of {', '.join(names())}{_nearest(name, names())}")
        return name

    @field_validator("image")
    @classmethod
    def _image_there(cls, image: str | None) -> str | None:
        if image is None:
            return None
        path = Path(image).expanduser()
        if os.path.isfile(path):  # False, where Path.is_file raises, for a name too long for any file
            return str(path.absolute())
        from cambook.datasets import EXAMPLE_PICTURES

        if image not in EXAMPLE_PICTURES:
            known = ", ".join(EXAMPLE_PICTURES)
            hint = _nearest(image, EXAMPLE_PICTURES)
            raise ValueError(f"there is no such file, give the path of a picture or one of {known}{hint}")
        return image

    def portable(self) -> dict[str, Any]:
        """Those with a value, without this machine's folders: `voc:/home/me/birds` becomes `voc:birds`."""
        values = self.model_dump(exclude_none=True)
        if "image" in values:
            values["image"] = Path(values["image"]).name
        if ":" in values.get("dataset", ""):
            kind, _, folder = values["dataset"].partition(":")
            values["dataset"] = f"{kind}:{Path(folder).name}"
        return values

    def folders(self) -> dict[str, str]:
        """For each value that portable() shortens a digest of it in full, which tells equal names apart."""
        portable = self.portable()
        whole = {name: getattr(self, name) for name in portable if getattr(self, name) != portable[name]}
        return {name: hashlib.sha256(value.encode()).hexdigest()[:6] for name, value in whole.items()}


def _checked(values: Mapping[str, Any], accepted: list[str], where: str) -> Parameters:
    for name in values:
        if name not in accepted:
            listed = ", ".join(accepted) if accepted else "none"
            hint = _nearest(name, accepted) or "."
            raise ParameterError(f"{where} has no parameter {name!r}, it accepts {listed}{hint}")
    try:
        return Parameters(**values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            name = fault["loc"][0]
            why = fault["msg"].removeprefix("Value error, ").removesuffix(".")
            faults.append(f"{name}={values[name]!r} is refused: {why[0].lower()}{why[1:]}")
        sentence = "; ".join(faults)
        raise ParameterError(sentence if sentence.endswith("?") else sentence + ".") from None


def declared_parameters(notebook: str | os.PathLike) -> dict[str, Any]:
    """Names and defaults in the notebook's cell tagged `parameters`; none where no cell is.

    raises: FileNotFoundError; ValueError where it is no notebook; ParameterError where a default is not plain
    """
    notebook = Path(notebook)
    if not os.path.isfile(notebook):
        raise FileNotFoundError(f"{notebook} does not exist: give the path of a notebook.")
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{notebook} is no Jupyter notebook (version 4): give the path of one.") from None
    declared = {}
    for cell in tagged[:1]:
        try:
            for statement in ast.parse("".join(cell["source"])).body:
                targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
                declared[targets[0].id] = ast.literal_eval(statement.value)
        except (AttributeError, KeyError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise ParameterError(
                f"{notebook.name}: keep only lines like `seed = 0` in the cell tagged `parameters`."
            ) from None
    return declared


def check(notebook: str | os.PathLike, parameters: Mapping[str, Any]) -> Parameters:
    """The parameters for a run of the notebook, checked without starting a kernel: names, types, ranges.

    raises: ParameterError with one sentence that names the parameter and the mend
    """
    name = Path(notebook).name
    declared = declared_parameters(notebook)
    for unknown in sorted(set(declared) - set(Parameters.model_fields)):
        raise ParameterError(f"{name} declares {unknown!r}: add that field to cambook.runs.Parameters.")
    return _checked(parameters, list(declared), name)


class Record(BaseModel):
    """What a run leaves behind, as record.json in its folder."""

    notebook: str
    parameters: dict[str, Any]
    metrics: dict[str, int | float]
    started: str
    finished: str | None = None  # set when the whole notebook ran; an interactive run has no end
    seconds: float
    error: str | None = None
    environment: dict[str, Any]

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Record:
        """The record in a run's folder."""
        return cls.model_validate_json((Path(folder) / "record.json").read_text(encoding="utf-8"))

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the record to the run's folder, whole or not at all."""
        with paths.atomic_write(Path(folder) / "record.json") as file:
            file.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


_ABSENT = object()


@dataclass
class Run:
    """A notebook that is running: its parameters, its device, and where its numbers go."""

    notebook: str
    parameters: Parameters
    device: torch.device
    folder: Path
    _record: Record
    _clock: float

    @property
    def profile(self) -> str:
        return self.parameters.profile

    @property
    def seed(self) -> int:
        return self.parameters.seed

    def pick(self, quick: Any, full: Any = _ABSENT, paper: Any = _ABSENT) -> Any:
        """The setting for this run's profile; one that is not given is the next smaller profile's."""
        full = quick if full is _ABSENT else full
        paper = full if paper is _ABSENT else paper
        return {"quick": quick, "full": full, "paper": paper}[self.profile]

    def record(self, name: str, value: Any) -> None:
        """Writes one number to the run's record and shows it.

        value: a Python, numpy or torch scalar
        raises: TypeError where it is no single number, ValueError where it is not finite
        """
        try:
            number = value.item() if hasattr(value, "item") else value
        except (ValueError, RuntimeError):  # more than one element
            number = None
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise TypeError(f"record({name!r}, ...) got {type(value).__name__}: give a single number.")
        if not math.isfinite(number):
            raise ValueError(f"record({name!r}, {number}): look for an empty mean or a diverged training.")
        self._record.metrics[name] = number
        self._record.seconds = round(time.monotonic() - self._clock, 2)
        self._record.save(self.folder)
        print(f"{name} = {shown(number)}")


def shown(number: int | float) -> str:
    """A number for readers: whole numbers in full, others with four significant digits."""
    return str(number) if isinstance(number, int) else f"{float(f'{number:.4g}'):g}"


def processor() -> str:
    """What Linux calls the processor, or what Python knows of it: AMD EPYC, x86_64."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The repository's commit, with a + where files differ from it; None outside a repository."""
    describe = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(
            describe, cwd=paths.ROOT, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _environment(device: torch.device) -> dict[str, Any]:
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.system(),
        "processor": processor(),
        **{package: _version(package) for package in RECORDED_VERSIONS},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


_current: Run | None = None


def start(notebook: str, folder: Path | None = None, /, **parameters: Any) -> Run:
    """Begins a run in a notebook: checks parameters, seeds the generators, finds the device, opens a record.

    notebook: its name without .ipynb; folder: of the record, by default the one that `execute` names, or one for
    interactive runs; parameters: those of its cell tagged `parameters`
    raises: ParameterError
    """
    import numpy as np
    import torch

    global _current
    checked = _checked(parameters, list(Parameters.model_fields), notebook)
    random.seed(checked.seed)
    np.random.seed(checked.seed)
    torch.manual_seed(checked.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = folder or Path(os.environ.get(RUN_DIR) or paths.RUNS / "interactive" / notebook)
    record = Record(
        notebook=notebook,
        parameters=checked.portable(),
        metrics={},
        started=_now(),
        seconds=0.0,
        environment=_environment(device) | {"folders": checked.folders()},
    )
    record.save(folder)
    _current = Run(notebook, checked, device, folder, record, time.monotonic())
    return _current


def record(name: str, value: Any) -> None:
    """Writes one number to the record of the notebook that is running, and shows it. See Run.record."""
    if _current is None:
        raise RuntimeError("No run has begun: first run the notebook's cell with runs.start(...).")
    _current.record(name, value)


def recorded(name: str) -> pd.DataFrame:
    """Our own earlier measurements, data/results/NAME.csv; its first lines say by which command, when and on what.

    raises: FileNotFoundError; ValueError where the file is no table
    """
    from cambook.tables import read_table  # here, since pandas takes half a second

    return read_table(paths.data_file("results", f"{name}.csv"))


def side_by_side(works: Mapping[str, Callable[[], Any]], repeats: int = 15) -> dict[str, float]:
    """How long each piece of work takes, as a multiple of the first: {name: ratio}, the first one's is 1.

    Every repeat does all of them in turn, so that a slow moment of the machine is shared; medians are compared. The
    ratio carries over to another machine better than seconds do, and even so only roughly.
    raises: ValueError where there is nothing to compare
    """
    if not works or repeats < 1:
        raise ValueError(f"{len(works)} works, {repeats} repeats: give at least one of each.")
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    first = next(iter(medians.values()))
    return {name: median / first for name, median in medians.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _ThisPython(AsyncKernelManager):
    """Starts its kernel in the interpreter that runs this, whatever the machine calls `python3`."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict(extra_arguments=["--log-level=CRITICAL"]))


@contextmanager
def environ(name: str, value: str) -> Iterator[None]:
    """An environment variable for as long as the block runs; kernels started meanwhile have it too."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@contextmanager
def _progress(notebook: Path, show: bool, folder: Path) -> Iterator[Any]:
    """A bar over the notebook's code cells, and beside it how far the cell's own training is, as its kernel says in the
    folder; in a log a line a minute. Gives what nbclient calls after each cell."""
    from tqdm import tqdm

    from cambook.progress import inside  # not before: its bars bring ipywidgets

    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
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
            bar.set_postfix_str(now := inside(folder))
            if time.monotonic() - said > LOG_SECONDS:
                said = time.monotonic()
                say(now and f", {now}")

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
    """Runs a notebook from its first cell to its last in a kernel of its own, in the notebook's folder.

    parameters: values for names of its cell tagged `parameters`, checked before the kernel starts
    out_dir:    gets the executed copy NAME.ipynb, whole or absent, and record.json, in place of old ones;
                of a failed run the copy is called NAME.failed.ipynb
    sharpness:  how many times as many pixels a figure's side has
    raises:     ParameterError, FileNotFoundError or ValueError before a kernel starts (see check); RunError where a
                cell fails, the kernel dies or the notebook records no run
    """
    notebook, out_dir = Path(notebook).absolute(), Path(out_dir).absolute()
    checked = check(notebook, parameters)
    executed, failed = out_dir / notebook.name, out_dir / f"{notebook.stem}.failed.ipynb"
    halves = out_dir.glob(f".{glob.escape(notebook.stem)}.*.ipynb")  # of a run that was killed
    for leftover in (executed, failed, out_dir / "record.json", out_dir / "progress", *halves):
        leftover.unlink(missing_ok=True)

    from papermill import PapermillExecutionError, execute_notebook

    begun, clock, error = _now(), time.monotonic(), None
    answered: list[int] = []  # the cells that a kernel began
    try:
        with (
            paths.atomic_write(executed) as copy,
            _progress(notebook, progress, out_dir) as after_cell,
            environ(RUN_DIR, str(out_dir)),
            environ(SHARPNESS, str(sharpness)),
            environ("GOMP_SPINCOUNT", os.environ.get("GOMP_SPINCOUNT", SPIN_COUNT)),
        ):
            for kernel in range(1, KERNELS + 1):
                try:
                    execute_notebook(
                        notebook,
                        copy,
                        {name: getattr(checked, name) for name in parameters},
                        kernel_name="python3",
                        language="python",
                        progress_bar=False,
                        request_save_on_cell_execute=False,
                        cwd=notebook.parent,
                        kernel_manager_class=_ThisPython,
                        on_cell_start=lambda cell, cell_index: answered.append(cell_index),
                        on_cell_executed=after_cell,
                    )
                    break
                except PapermillExecutionError as fault:
                    os.replace(copy, failed)
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
            record.finished = _now() if executed.exists() else None
            record.save(out_dir)
    if not (out_dir / "record.json").exists():
        raise RunError(f"{notebook.name} ran without a record: call runs.start(...) in its second code cell.")
    return record


def refresh(notebook: str | os.PathLike, out_dir: str | os.PathLike, progress: bool = True) -> Record:
    """Runs a notebook with its defaults and puts the outputs into the notebook itself, fit to be committed.

    Figures are made smaller. Left out is what differs each time: widgets and their state, progress bars and warnings
    (stderr), times, papermill's notes. Sources, cell ids and tags stay as they are.
    raises: as execute; RunError where an output names a folder of this machine, or where a cell with a part
            left out lacks the tag nbval-ignore-output; the notebook is then as before
    """
    import nbformat  # here and below: two seconds that no lesson needs

    notebook, out_dir = Path(notebook), Path(out_dir)
    record = execute(notebook, {}, out_dir, progress)
    executed = nbformat.read(out_dir / notebook.name, as_version=4)
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
        if cell.cell_type != "code":
            continue
        where = f"{notebook.name}, cell {cell.id}"
        kept = [output for output in cell.outputs if not _passing(output)]
        if len(kept) < len(cell.outputs) and "nbval-ignore-output" not in tags:
            raise RunError(
                f"{where}: a widget, a progress bar or a warning is not the same twice; avoid it or tag the "
                "cell nbval-ignore-output."
            )
        cell.outputs = kept
        for output in kept:
            if "image/png" in output.get("data", {}):
                kind, figure = _smaller(output.data.pop("image/png"))
                output.data[kind] = figure
        said = "".join(_text(output) for output in kept)
        for folder in (str(paths.ROOT), sys.prefix, str(Path.home()), tempfile.gettempdir()):
            if len(folder) > 1 and folder in said:
                raise RunError(f"{where}: an output names {folder}, print a name instead of a path.")
    with paths.atomic_write(notebook) as file:
        nbformat.write(executed, file)
    return record


def export_figures(executed: str | os.PathLike, folder: str | os.PathLike) -> list[Path]:
    """Each figure of an executed notebook in the middle of a white slide of 16:9, as FOLDER/03-CELL_ID.png.

    returns: the files in the notebook's order; older exports in the folder are removed first
    """
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
            with paths.atomic_write(made[-1]) as file:
                slide.save(file)
    return made


def _passing(output: Mapping[str, Any]) -> bool:
    """Whether an output lives only while the notebook runs."""
    widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return widget or output.get("name") == "stderr"


def _smaller(png: str) -> tuple[str, str]:
    """A figure (PNG, base64) as JPEG or as PNG of 256 colours, whichever is smaller: photographs and drawings."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    made = {kind: io.BytesIO() for kind in ("image/png", "image/jpeg")}
    image.quantize(256, kmeans=2).save(made["image/png"], "PNG", optimize=True)
    image.save(made["image/jpeg"], "JPEG", quality=88, optimize=True)
    kind = min(made, key=lambda name: made[name].tell())
    return kind, base64.b64encode(made[kind].getvalue()).decode()


def _text(output: Mapping[str, Any]) -> str:
    """What an output says in words, pictures left out."""
    data = output.get("data", {})
    return output.get("text", "") + "".join(str(data[kind]) for kind in data if not kind.startswith("image/"))
