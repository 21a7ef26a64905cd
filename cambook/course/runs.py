"""A run of a notebook as the notebook sees it: its parameters, its device, and the record of its numbers."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import random
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from cambook import files
from cambook.course.parameters import Parameters, checked
from cambook.files import RUN_DIR
from cambook.machine import processor

if TYPE_CHECKING:
    import pandas as pd
    import torch


RECORDED_VERSIONS = ("cambook", "torch", "torchvision", "numpy")


class Measured(BaseModel):
    """What a recorded number says: which metric, of which network, on maps from which source ("-" if from none)."""

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
        return cls.model_validate_json((Path(folder) / "record.json").read_text(encoding="utf-8-sig"))

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
        """Writes one number to the run's record.

        name:    of the number; with `network`, of the metric
        value:   a Python, numpy or torch scalar
        network: whose metric it is; the number is then called "NETWORK SOURCE METRIC"
        source:  what made the maps that were measured
        raises:  TypeError if it is not a single number, ValueError if it is not finite
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
            raise ValueError(f"record({name!r}, {number}): look for an empty mean or a diverged training run.")
        self._record.metrics[name] = number
        if measured:
            self._record.measured[name] = measured
        self._record.seconds = round(time.monotonic() - self._clock, 2)
        self._record.save(self.folder)


def shown(number: int | float) -> str:
    """A number for readers: whole numbers in full, others with four significant digits."""
    return str(number) if isinstance(number, int) else f"{float(f'{number:.4g}'):g}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit() -> str | None:
    """Our own repository's commit, with a + if files differ from it; None elsewhere, also inside somebody else's."""
    if files.INSTALLED:
        return None
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != files.ROOT.resolve():
            return None
        return _git("describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+")
    except (OSError, ValueError, subprocess.SubprocessError):  # ValueError: a path that is not UTF-8
        return None


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    how = {"stdout": subprocess.PIPE, "encoding": "utf-8", "check": True, "timeout": 10}
    quiet = subprocess.DEVNULL  # its complaints are in the user's language and encoding
    return subprocess.run(command, cwd=files.ROOT, stderr=quiet, **how).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _box_rule(dataset: str) -> str:
    """How the true boxes of a run's data set are scaled, as `datasets.load` decides it."""
    from cambook.datasets.base import BOX_RULE

    return "wsol" if str(dataset).startswith("wsol:") else os.environ.get(BOX_RULE) or "edges"


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
    raises: ParameterError; PermissionError if its folder or the cache cannot be written to
    """
    import numpy as np
    import torch

    global _current
    given = checked(parameters, list(Parameters.model_fields), notebook)
    random.seed(given.seed)
    np.random.seed(given.seed)
    torch.manual_seed(given.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = folder or Path(os.environ.get(RUN_DIR) or files.RUNS / "interactive" / notebook)
    record = Record(
        notebook=notebook,
        parameters=given.portable(),
        metrics={},
        measured={},
        started=now(),
        seconds=0.0,
        environment=_environment(device) | {"folders": given.folders(), "box_rule": _box_rule(given.dataset)},
    )
    for written in (folder, files.CACHE):
        files.check_writable(written)
    record.save(folder)
    _current = Run(notebook, given, device, folder, record, time.monotonic())
    return _current


def record(name: str, value: Any, network: str | None = None, source: str = "-") -> None:
    """Writes one number to the record of the notebook that is running. See Run.record."""
    if _current is None:
        raise RuntimeError("No run has begun: first run the notebook's cell with runs.start(...).")
    _current.record(name, value, network, source)


def record_all(numbers: Mapping[str, Any], prefix: str = "") -> None:
    """Writes several numbers {name: value} to the record, `prefix` before each name. See Run.record."""
    for name, value in numbers.items():
        record(f"{prefix}{name}", value)


def recorded(name: str) -> pd.DataFrame:
    """Our own earlier measurements, data/results/NAME.csv; its first lines say by which command, when and on what.

    raises: FileNotFoundError; ValueError if the file is not a table
    """
    from cambook.files import read_table  # here, since pandas takes half a second

    return read_table(files.data_file("results", f"{name}.csv"))
