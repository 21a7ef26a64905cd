"""A run of a notebook as the notebook sees it: parameters that are checked, numbers that are recorded."""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import random
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from cambook import files
from cambook.files import RUN_DIR
from cambook.machine import processor

if TYPE_CHECKING:
    import pandas as pd
    import torch


PROFILES = ("quick", "full", "paper")
RECORDED_VERSIONS = ("cambook", "torch", "torchvision", "numpy")


class ParameterError(ValueError):
    """A parameter that no run accepts: an unknown name, a wrong type, a value out of range."""


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
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
        from cambook.datasets.registry import find, kind_and_folder

        kind, folder = kind_and_folder(name)
        if folder is None:
            return name
        place = Path(folder).expanduser().absolute()
        what, there = ("file", os.path.isfile) if find(name).needs == "FILE" else ("folder", os.path.isdir)
        if not there(place):
            raise ValueError(f"the {what} {place} does not exist, give the one that holds the data set")
        return f"{kind}:{place}"

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str | None) -> str | None:
        if name is None:
            return None
        from cambook.networks.registry import names

        if name not in names():
            raise ValueError(f"choose one of {', '.join(names())}{did_you_mean(name, names())}")
        return name

    @field_validator("image")
    @classmethod
    def _image_there(cls, image: str | None) -> str | None:
        if image is None:
            return None
        path = Path(image).expanduser()
        if os.path.isfile(path):  # False, where Path.is_file raises, for a name too long for any file
            return str(path.absolute())
        from cambook.datasets.examples import EXAMPLE_PICTURES

        if image not in EXAMPLE_PICTURES:
            known = ", ".join(EXAMPLE_PICTURES)
            hint = did_you_mean(image, EXAMPLE_PICTURES)
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
            hint = did_you_mean(name, accepted) or "."
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


def check_parameters(notebook: str | os.PathLike, parameters: Mapping[str, Any]) -> Parameters:
    """The parameters for a run of the notebook, checked without starting a kernel: names, types, ranges.

    raises: ParameterError with one sentence that names the parameter and the mend
    """
    name = Path(notebook).name
    declared = declared_parameters(notebook)
    for unknown in sorted(set(declared) - set(Parameters.model_fields)):
        raise ParameterError(f"{name} declares {unknown!r}: add that field to cambook.course.runs.Parameters.")
    return _checked(parameters, list(declared), name)


class Measured(BaseModel):
    """What a recorded number says: which metric, of which network, on maps from which source ("-" where from none)."""

    network: str
    source: str = "-"
    metric: str

    def __str__(self) -> str:
        return f"{self.network} {self.source} {self.metric}"


class Record(BaseModel):
    """What a run leaves behind, as record.json in its folder.

    metrics:  every number by its name
    measured: of the names that stand for a network's metric its three fields; None in records made before they existed
    """

    notebook: str
    parameters: dict[str, Any]
    metrics: dict[str, int | float]
    measured: dict[str, Measured] | None = None
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
        with files.atomic_write(Path(folder) / "record.json") as file:
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

    def record(self, name: str, value: Any, network: str | None = None, source: str = "-") -> None:
        """Writes one number to the run's record and shows it.

        name:    of the number; with `network`, of the metric
        value:   a Python, numpy or torch scalar
        network: whose metric it is; the number is then called "NETWORK SOURCE METRIC"
        source:  what made the maps that were measured
        raises:  TypeError where it is no single number, ValueError where it is not finite
        """
        measured = Measured(network=network, source=source, metric=name) if network else None
        name = str(measured or name)
        try:
            number = value.item() if hasattr(value, "item") else value
        except (ValueError, RuntimeError):  # more than one element
            number = None
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise TypeError(f"record({name!r}, ...) got {type(value).__name__}: give a single number.")
        if not math.isfinite(number):
            raise ValueError(f"record({name!r}, {number}): look for an empty mean or a diverged training.")
        self._record.metrics[name] = number
        if measured:
            self._record.measured[name] = measured
        self._record.seconds = round(time.monotonic() - self._clock, 2)
        self._record.save(self.folder)
        print(f"{name} = {shown(number)}")


def shown(number: int | float) -> str:
    """A number for readers: whole numbers in full, others with four significant digits."""
    return str(number) if isinstance(number, int) else f"{float(f'{number:.4g}'):g}"


def _commit() -> str | None:
    """The repository's commit, with a + where files differ from it; None outside a repository."""
    describe = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(
            describe, cwd=files.ROOT, capture_output=True, text=True, check=True, timeout=10
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
    folder = folder or Path(os.environ.get(RUN_DIR) or files.RUNS / "interactive" / notebook)
    record = Record(
        notebook=notebook,
        parameters=checked.portable(),
        metrics={},
        measured={},
        started=now(),
        seconds=0.0,
        environment=_environment(device) | {"folders": checked.folders()},
    )
    record.save(folder)
    _current = Run(notebook, checked, device, folder, record, time.monotonic())
    return _current


def record(name: str, value: Any, network: str | None = None, source: str = "-") -> None:
    """Writes one number to the record of the notebook that is running, and shows it. See Run.record."""
    if _current is None:
        raise RuntimeError("No run has begun: first run the notebook's cell with runs.start(...).")
    _current.record(name, value, network, source)


def recorded(name: str) -> pd.DataFrame:
    """Our own earlier measurements, data/results/NAME.csv; its first lines say by which command, when and on what.

    raises: FileNotFoundError; ValueError where the file is no table
    """
    from cambook.files import read_table  # here, since pandas takes half a second

    return read_table(files.data_file("results", f"{name}.csv"))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
