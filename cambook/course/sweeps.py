"""Sweeps: a notebook at every combination of its parameters, each run made once."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import re
import reprlib
import shutil
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cambook import files
from cambook.course import notebooks, runs
from cambook.course.extras import require
from cambook.course.parameters import (
    PROFILES,
    ParameterError,
    Whole,
    check_parameters,
    declared_parameters,
    did_you_mean,
)
from cambook.machine import environ

DEATHS = 3  # a run during which so many worker processes died is given up
ANSWER_SECONDS = 10  # for which a cluster's scheduler and its first worker are waited for

_BRIEF = reprlib.Repr()  # of a few aliases YAML makes lists with billions of values
_BRIEF.maxlevel = 1

# papermill changes folder and environment of its whole process
_one_run_in_a_process = threading.Lock()


# ---- what is to be run ----

Value = str | int | float | None


class Sweep(BaseModel):
    """A sweep as its YAML file says it; a file is read with read().

        notebook: table2
        profile: quick
        seeds: [0, 1, 2]
        grid:
          network: {quick: [null], full: [alexnet-gap, vgg16-gap]}
          learning_rate: [0.01, 0.1]

    grid: for a parameter of the notebook its values, or its values by profile; a profile that is not named takes the
          next smaller one's. null is the notebook's own default.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    notebook: str
    profile: Literal["quick", "full", "paper"] = "quick"
    seeds: list[Whole] = Field([0], min_length=1)
    grid: dict[str, Any] = {}

    @field_validator("grid")
    @classmethod
    def _lists(cls, grid: dict[str, Any]) -> dict[str, Any]:
        for name, values in grid.items():
            if name in ("seed", "profile"):
                raise ValueError(
                    f"{name} is not an axis of the grid, write `{name}{'s' * (name == 'seed')}:` beside it"
                )
            lists = values if isinstance(values, dict) else {"quick": values}
            for profile, values in lists.items():
                if profile not in PROFILES:
                    raise ValueError(f"{name} has lists by profile, but {profile!r} is not quick, full or paper")
                if not isinstance(values, list) or not values or not all(isinstance(v, Value) for v in values):
                    raise ValueError(f"{name} needs a list of values, such as [null], not {_BRIEF.repr(values)}")
        return grid

    def values(self, name: str) -> list[Value]:
        """The values of one parameter of the grid at this sweep's profile.

        raises: ParameterError if only larger profiles have some
        """
        lists = self.grid[name]
        if isinstance(lists, list):
            return lists
        for profile in PROFILES[PROFILES.index(self.profile) :: -1]:
            if profile in lists:
                return lists[profile]
        raise ParameterError(
            f"The grid's {name} has no values at profile {self.profile}: add `{self.profile}: [null]` for the "
            "notebook's default, or choose another profile."
        )


def read(file: str | os.PathLike, **instead: Any) -> Sweep:
    """The sweep in a YAML file.

    instead: values used instead of the file's, such as profile="full" or seeds=[0, 1]; None takes none
    raises: ParameterError with one sentence that names the file, the key and the fix; FileNotFoundError
    """
    file = Path(file)
    try:
        written = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        line = getattr(error, "problem_mark", None)
        where = f", line {line.line + 1}" if line else ""
        why = str(getattr(error, "problem", None) or error)
        why += ", write a path with backslashes without quotes or in single ones" * ("escape" in why)
        raise ParameterError(f"{file.name}{where} is not YAML: {why}.") from None
    if not isinstance(written, dict):
        raise ParameterError(f"{file.name} is not a sweep: begin with a line like `notebook: table2`.")
    try:
        return Sweep.model_validate(written | {key: value for key, value in instead.items() if value is not None})
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        why = fault["msg"].removeprefix("Value error, ").removesuffix(".")
        if fault["type"] == "extra_forbidden":
            known = list(Sweep.model_fields)
            why = f"is unknown, a sweep has {', '.join(known)}{did_you_mean(key, known)}"
        elif fault["type"] == "missing":
            why = "is missing, write for example `notebook: table2`"
        else:
            why = f"is refused: {why[0].lower()}{why[1:]}"
        raise ParameterError(f"{file.name}: {key} {why}" + "." * (not why.endswith("?"))) from None


def find(name: str) -> Path:
    """The YAML file of a sweep, by its name in notebooks/**/sweeps/ or by its path.

    raises: FileNotFoundError that lists the known ones
    """
    if Path(name).suffix in (".yaml", ".yml") and Path(name).is_file():
        return Path(name)
    known = {file.stem: file for file in sorted(files.NOTEBOOKS.rglob("sweeps/*.yaml"))}
    stem = Path(name).stem
    if stem not in known:
        near = did_you_mean(stem, known) or "."
        raise FileNotFoundError(f"No sweep is called {name!r}; the course has {', '.join(known) or 'none'}{near}")
    return known[stem]


@dataclass(frozen=True)
class Planned:
    """One run of a sweep: what is given to the notebook, its name for readers, and the folder named by its hash."""

    notebook: Path
    parameters: dict[str, Any]
    label: str
    folder: Path

    @property
    def run(self) -> str:
        return self.folder.name

    def finished(self) -> bool:
        """Whether this very run was made before, whole."""
        try:
            return runs.Record.load(self.folder).finished is not None
        except (OSError, ValueError):
            return False


def plan(sweep: Sweep, notebook: Path, name: str, given: Mapping[str, str] | None = None) -> list[Planned]:
    """Every run of a sweep, checked, in the grid's order with the seeds innermost; equal ones once.

    A run's folder, RUNS/sweeps/NAME/HASH, is named by the SHA-256 of the notebook's name and of all its parameters,
    given or by default. A data folder counts with its whole path, which the hash hides.
    given:  values used instead of the grid's
    raises: ParameterError before anything is run
    """
    given = dict(given or {})
    for fixed in {"seed", "profile"} & set(given):
        raise ParameterError(f"A sweep's {fixed} is not a -p: write --{fixed}{'s' * (fixed == 'seed')} instead.")
    axes = {key: [given[key]] if key in given else sweep.values(key) for key in [*sweep.grid, *given]}
    declared = declared_parameters(notebook)
    planned = {}
    for *values, seed in itertools.product(*axes.values(), sweep.seeds):
        chosen = {key: value for key, value in zip(axes, values, strict=True) if value is not None}
        chosen |= {"profile": sweep.profile, "seed": seed}
        check_parameters(notebook, chosen)
        whole = check_parameters(notebook, {**declared, **chosen})
        text = json.dumps([notebook.stem, whole.model_dump(exclude_none=True)], sort_keys=True)
        folder = files.RUNS / "sweeps" / name / hashlib.sha256(text.encode()).hexdigest()[:12]
        label = ", ".join(f"{key}={value}" for key, value in whole.portable().items() if key in chosen)
        exact = {key: getattr(whole, key) for key in chosen}
        planned.setdefault(folder, Planned(notebook.absolute(), exact, label, folder))
    return list(planned.values())


# ---- running it ----


@dataclass(frozen=True)
class Outcome:
    """How a planned run ended: `done` before, `ran` now, `failed`, or `busy` in another process."""

    run: str
    state: Literal["done", "ran", "failed", "busy"]
    error: str = ""


def gpus() -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES calls them; if it is set, those it names."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@contextmanager
def _gpu(slots: Sequence[tuple[str, Path]]) -> Iterator[None]:
    """A GPU for one run, by a lock that other sweeps on this machine respect; nothing if there is no GPU."""
    while slots:
        for name, path in slots:
            try:
                with FileLock(path, timeout=0), environ("CUDA_VISIBLE_DEVICES", name):
                    yield
                    return
            except Timeout:
                continue
        time.sleep(0.5)
    yield


def _perform(one: Planned, wait: bool, slots: Sequence[tuple[str, Path]], starter: int | None) -> Outcome:
    """Makes one run in whichever process this is, unless another makes it now or made it meanwhile.

    Each attempt has a folder of its own, which takes the run's name when it has ended: what the dying kernel of a
    killed attempt still writes reaches no other. The lock is the operating system's, and goes with the process, however
    that ends.
    wait:    whether to wait for another process that makes this run now
    starter: the process whose workers stop with it; None on a cluster, where dask sees to that
    """
    if starter not in (None, os.getpid(), os.getppid()):
        return Outcome(one.run, "busy")
    one.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(one.folder.with_name(f".{one.run}.lock"), timeout=-1 if wait else 0), _one_run_in_a_process:
            return Outcome(one.run, "done") if one.finished() else _attempt(one, slots)
    except Timeout:
        return Outcome(one.run, "busy")


def _attempt(one: Planned, slots: Sequence[tuple[str, Path]]) -> Outcome:
    _remove_attempts(one)
    attempt, error = one.folder.with_name(f".{one.run}-{uuid.uuid4().hex[:8]}"), ""
    attempt.mkdir()
    try:
        with _gpu(slots):
            notebooks.execute(one.notebook, one.parameters, attempt, progress=False)
    except notebooks.RunError as fault:
        error = str(fault).replace(str(attempt), str(one.folder))
    except Exception as fault:  # whatever it is, the other runs go on
        error = f"{type(fault).__name__}: {fault}"
    except BaseException:
        shutil.rmtree(attempt, ignore_errors=True)
        raise
    if one.folder.exists():  # of an attempt that failed
        shutil.rmtree(one.folder)
    files.move(attempt, one.folder)
    _remove_attempts(one)  # the kernel of a killed one lives on for a second, and may have written its record again
    return Outcome(one.run, "failed" if error else "ran", error)


def _remove_attempts(one: Planned) -> None:
    for dead in _attempts(one):
        shutil.rmtree(dead, ignore_errors=True)


def _attempts(one: Planned) -> list[Path]:
    """Folders of attempts at a run that have no end: it is being made, or its process was killed."""
    return list(one.folder.parent.glob(f".{one.run}-*"))


@contextmanager
def _engine(jobs: int, cluster: str | None) -> Iterator[tuple[dict[str, Any], tuple[type[Exception], ...]]]:
    """What joblib is told, and the errors by which it says that a worker process died."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    if cluster is None:
        yield {"backend": "loky", "n_jobs": jobs}, (TerminatedWorkerError,)
        return
    require("cluster", "dask", "distributed")
    from dask.distributed import CancelledError, Client, KilledWorker
    from joblib._dask import DaskDistributedBackend

    class Cluster(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))  # at 1 joblib would make the runs in this very process

    address = urlsplit(cluster)
    try:
        # first a plain connection, since a Client that reaches nobody lingers
        socket.create_connection((address.hostname, address.port), ANSWER_SECONDS).close()
        client = Client(cluster, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"--cluster {cluster}: no dask scheduler answers there ({str(error).splitlines()[0]}); start one with "
            "`dask scheduler` and give its address as tcp://HOST:8786."
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=ANSWER_SECONDS)
        except TimeoutError:
            raise ParameterError(
                f"--cluster {cluster} has no worker: start some with `dask worker {cluster} --nthreads 1`."
            ) from None
        for worker, threads in client.nthreads().items():
            if threads > 1:
                raise ParameterError(
                    f"Worker {worker} has {threads} threads, and a run needs a process of its own: start it with "
                    "`dask worker --nthreads 1 --nworkers N`."
                )
        try:
            yield {"backend": Cluster(client=client), "n_jobs": -1}, (KilledWorker,)
        except CancelledError:
            raise notebooks.RunError(f"The connection to {cluster} was lost; the same command continues.") from None


def carry_out(
    planned: Sequence[Planned], jobs: int = 1, cluster: str | None = None, title: str = "sweep"
) -> list[Outcome]:
    """Makes the runs that were not made before; a failed one does not stop the others.

    jobs:    how many at a time on this machine, each in a process with its share of the cores and one GPU
    cluster: address of a dask scheduler, such as tcp://10.0.0.1:8786, whose workers see the same folders and have one
             thread each
    returns: an outcome for each planned run, in their order
    raises:  MissingPackage without the extra `course`, or `cluster`; ParameterError if there is no such cluster,
             RunError if it is lost, KeyboardInterrupt; after each of them the same call continues
    """
    from joblib import Parallel, delayed, parallel_config
    from tqdm import tqdm

    outcomes = {one.run: Outcome(one.run, "done") for one in planned if one.finished()}
    if len(outcomes) == len(planned):
        return list(outcomes.values())
    require("course", *notebooks.RUNNER)
    for folder in (planned[0].folder.parent, files.CACHE):
        files.check_writable(folder)
    starter, slots = (os.getpid(), _slots(planned[0].folder.parents[1], jobs)) if cluster is None else (None, [])
    deaths, wait = Counter(), False
    bar = tqdm(total=len(planned), initial=len(outcomes), desc=title, unit="run")
    with bar, _engine(jobs, cluster) as (engine, deadly):
        while left := [one for one in planned if one.run not in outcomes]:
            calls = [delayed(_perform)(one, wait, slots, starter) for one in left]
            before = {attempt for one in left for attempt in _attempts(one)}
            try:
                with parallel_config(**engine):
                    ended = Parallel(return_as="generator_unordered", pre_dispatch="all", batch_size=1)(calls)
                    for outcome in ended:
                        if outcome.state != "busy":
                            outcomes[outcome.run] = outcome
                            bar.update()
                wait = True  # what is left is being made by another sweep
            except deadly:
                left = [one for one in left if one.run not in outcomes]
                deaths.update(one.run for one in [one for one in left if set(_attempts(one)) - before] or left)
                for run in [run for run, count in deaths.items() if count >= DEATHS and run not in outcomes]:
                    why = f"its worker process died {DEATHS} times (was memory short?)"
                    outcomes[run] = Outcome(run, "failed", why)
                    bar.update()
    return [outcomes[one.run] for one in planned]


def _slots(folder: Path, jobs: int) -> list[tuple[str, Path]]:
    """A lock file for each slot on a GPU: one slot per GPU, more if there are more jobs than GPUs."""
    found = gpus()
    slots = []
    for place in range(max(jobs, len(found)) if found else 0):
        again, number = divmod(place, len(found))
        name = re.sub(r"\W+", "-", f"{platform.node()}-gpu-{found[number]}-{again}")
        slots.append((found[number], folder / f".{name}.lock"))
    return slots
