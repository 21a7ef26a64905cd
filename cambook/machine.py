"""What this machine is and how its work is shown: devices, cores, progress, timing.

A rented GPU often has torch, torchvision and NumPy and no way to get more; a bar is no reason not to train there.
In a notebook that `runs.execute` started, nobody sees the kernel's bars, so each also says how far it is in a file of
the run's folder, from which the bar of the run takes it.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cambook.files import RUN_DIR

if TYPE_CHECKING:
    import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """The device with its number: "cuda" is another GPU in each process, and in each thread of a process."""
    import torch  # `cambook doctor` starts without it

    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


FILE = "progress"

try:
    from tqdm.auto import tqdm as _tqdm

    class tqdm(_tqdm):
        """tqdm's bar, which in a run's kernel also writes `training mini-gap 12/625` to the run's folder."""

        def display(self, *args, **options):
            if (folder := os.environ.get(RUN_DIR)) and not self.disable:
                with suppress(OSError):  # a full disk is no reason to stop a training
                    Path(folder, FILE).write_text(f"{self.desc} {self.n}/{self.total}", encoding="utf-8")
            return super().display(*args, **options)

        def close(self):
            if (folder := os.environ.get(RUN_DIR)) and not self.disable:
                with suppress(OSError):
                    Path(folder, FILE).unlink()
            super().close()

except ModuleNotFoundError:

    class tqdm:
        """As much of tqdm as training and evaluation call, without a word."""

        def __init__(self, iterable: Iterable = (), **options):
            self._iterable = iterable

        def __iter__(self) -> Iterator:
            return iter(self._iterable)

        def __enter__(self) -> tqdm:
            return self

        def __exit__(self, *error) -> None:
            pass

        def update(self, n: int = 1) -> None:
            pass

        def set_postfix(self, **values) -> None:
            pass


def inside(folder: str | os.PathLike) -> str:
    """What the kernel of a run is at, such as `training mini-gap 12/625`; empty where it says nothing."""
    try:
        return Path(folder, FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # not begun, just ended, or half written
        return ""


# How long a kernel's threads spin while they wait for each other. With OpenMP's own choice two trainings at once took
# three to four times as long as with this on two cores; without spinning one alone took a third longer.
SPIN_COUNT = "10000"


def processor() -> str:
    """What Linux calls the processor, or what Python knows of it: AMD EPYC, x86_64."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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
