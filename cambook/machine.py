"""What this machine is and how its work is shown: memory, devices, cores, compiled code, progress, timing.

Nothing here imports torch, tqdm or pandas before it is needed: `import cambook` comes past this file, and `cambook
doctor` has to start if they are missing or broken. A rented GPU often has torch, torchvision and NumPy and no way to
get more; a missing bar does not keep it from training, so without tqdm the bars are silent.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cambook import files
from cambook.files import RUN_DIR

if TYPE_CHECKING:
    import torch


# ---- memory ----

# Parameters of glibc's mallopt (their numbers in malloc.h) and what they are set to, in bytes. On its own glibc maps
# what is larger than 32 MB afresh and gives it back when it is freed, so every batch pays for the same pages again. The
# first one keeps the peak low: a larger one saves more page faults, but the holes of the largest tensors do not fit the
# next ones, and the peak of an evaluation on photographs grows by a sixth (with 128 MB) or a third (without a limit).
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
KEPT = {MMAP_THRESHOLD: 80 * 2**20, TRIM_THRESHOLD: 256 * 2**20}


def keep_memory() -> bool:
    """Let glibc keep the memory of freed tensors for the next ones; elsewhere do nothing.

    The numbers that are computed stay the same: only where they lie in memory changes. It is called once, by the import
    of the package, so that kernels, commands, tests and benchmarks all have it before their first large tensor.

    Returns:
        Whether it was set. It is left alone on other C libraries (musl, macOS, Windows), and if the user sets glibc's
        allocator: by a variable MALLOC_..._ such as MALLOC_TRIM_THRESHOLD_, or by glibc.malloc in GLIBC_TUNABLES.

    Example:
        >>> with environ("MALLOC_TRIM_THRESHOLD_", "131072"):
        ...     keep_memory()
        False
    """
    chosen = any(name.startswith("MALLOC_") and name.endswith("_") for name in os.environ)
    if chosen or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "") or not _has_glibc():
        return False
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(parameter, value) == 1 for parameter, value in KEPT.items()])


def _has_glibc() -> bool:
    """Whether this process runs on glibc, whose mallopt has these parameters."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # Windows; macOS, musl
        return False


# ---- devices and cores ----


def resolve_device(device: str | torch.device) -> torch.device:
    """The device with its number, which a GPU needs to be the same one everywhere.

    "cuda" alone is another GPU in each process, and in each thread of a process.

    Args:
        device: A device or its name: "cpu", "cuda", "cuda:1".

    Returns:
        The same device; of a GPU without a number, the current one.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def cores() -> int:
    """How many cores this process may use: on a shared machine those that it was given.

    Returns:
        At least 1.

    Example:
        >>> cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """What the system calls its processor, for the records of measurements: AMD EPYC, x86_64.

    Returns:
        The model name that Linux gives, or what Python knows of the processor.

    Example:
        >>> isinstance(processor(), str)
        True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# ---- compiled code ----


def compiled(function: Callable) -> Callable:
    """Compile a function with Numba, free of the GIL; the next process finds its machine code.

    In a clone Numba keeps it beside the source; an installed package, to which nothing is written, in `files.CACHE`.
    NUMBA_CACHE_DIR names another folder for both. If none can be written, each process compiles the function anew.

    Args:
        function: A function that `numba.njit` can compile.

    Returns:
        Numba's function, which is called as `function` is, and compiles at its first call.

    Example:
        >>> @compiled
        ... def twice(number):
        ...     return 2 * number
        >>> twice(21)
        42
    """
    import numba

    chosen = numba.config.CACHE_DIR  # NUMBA_CACHE_DIR; for other functions it stays what it is
    try:
        if files.INSTALLED:
            folder = Path(chosen or files.CACHE / "numba")
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # Numba would turn to the source's folder without a word
            numba.config.CACHE_DIR = str(folder)
        return numba.njit(cache=True, nogil=True)(function)
    except (OSError, RuntimeError):  # nowhere to write: as found here, and as Numba finds it
        return numba.njit(nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = chosen


# ---- kernels ----

# How long a kernel's threads spin while they wait for each other, in GOMP_SPINCOUNT. With OpenMP's own choice two
# training runs at once took three to four times as long as with this on two cores; without spinning one alone took a
# third longer.
SPIN_COUNT = "10000"


@contextmanager
def environ(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a block, and for the kernels that it starts.

    Args:
        name: The variable.
        value: Its value inside the block; after it the variable is as before.

    Returns:
        A context manager.

    Example:
        >>> with environ("CAMBOOK_EXAMPLE", "1"):
        ...     os.environ["CAMBOOK_EXAMPLE"]
        '1'
        >>> "CAMBOOK_EXAMPLE" in os.environ
        False
    """
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


# ---- progress ----

# The name of the progress file, in a run's folder. Nobody sees the bars of a kernel that `notebooks.execute` started,
# so each bar also writes here how far it is, and the bar of the run takes it from there.
PROGRESS_FILE = "progress"


def tqdm(iterable: Iterable | None = None, **options: Any) -> Any:
    """tqdm's progress bar, which in a run's kernel also writes the progress file.

    Args:
        iterable: What to step through; None for a bar that is moved by `update`.
        options: tqdm's own: total, desc, unit, leave, disable and others.

    Returns:
        A bar to iterate over, or to use in a `with` block.

    Example:
        >>> list(tqdm(range(3), disable=True))
        [0, 1, 2]
    """
    return _bar()(iterable, **options)


def inside(folder: str | os.PathLike) -> str:
    """What the kernel of a run is at.

    Args:
        folder: The run's folder.

    Returns:
        Description and steps of its innermost bar, such as `training mini-gap 12/625`; empty if it shows none.

    Example:
        >>> inside("no such folder")
        ''
    """
    try:
        return Path(folder, PROGRESS_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # not begun, just ended, or half written
        return ""


@cache
def _bar() -> type:
    """The class of the bars; tqdm.auto is imported by the first one, since it takes a tenth of a second."""
    try:
        from tqdm.auto import tqdm as bar
    except ModuleNotFoundError:
        return _SilentBar

    class ReportingBar(bar):
        """tqdm's bar, which in a run's kernel also writes `training mini-gap 12/625` to the progress file."""

        def display(self, *args, **options):
            if (folder := os.environ.get(RUN_DIR)) and not self.disable:
                with suppress(OSError):  # a full disk must not stop a training run
                    Path(folder, PROGRESS_FILE).write_text(f"{self.desc} {self.n}/{self.total}", encoding="utf-8")
            return super().display(*args, **options)

        def close(self):
            if (folder := os.environ.get(RUN_DIR)) and not self.disable:
                with suppress(OSError):
                    Path(folder, PROGRESS_FILE).unlink()
            super().close()

    return ReportingBar


class _SilentBar:
    """As much of tqdm as training and evaluation call, without a word."""

    def __init__(self, iterable: Iterable | None = None, **options):
        self._iterable = () if iterable is None else iterable

    def __iter__(self) -> Iterator:
        return iter(self._iterable)

    def __enter__(self) -> _SilentBar:
        return self

    def __exit__(self, *error) -> None:
        pass

    def update(self, n: int = 1) -> None:
        pass

    def set_postfix(self, **values) -> None:
        pass


# ---- timing ----


def side_by_side(works: Mapping[str, Callable[[], Any]], repeats: int = 15) -> dict[str, float]:
    """How long each piece of work takes, as a multiple of the first.

    Every repeat does all of them in turn, so that a slow moment of the machine is shared; medians are compared. The
    ratio carries over to another machine better than seconds do, and even so only roughly.

    Args:
        works: Functions of no arguments by name; each is called once before the clock runs.
        repeats: How often each is timed, at least 1.

    Returns:
        The ratio of each median to the first one's, by name; the first one's is 1.

    Raises:
        ValueError: There is nothing to compare, or `repeats` is below 1.

    Example:
        >>> side_by_side({"short": lambda: sum(range(10))}, repeats=3)
        {'short': 1.0}
    """
    import statistics

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
