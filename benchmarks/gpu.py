"""`make gpu`: the course's experiments on a GPU, in stages of at most 90 seconds, all of them in nine minutes.

    python benchmarks/gpu.py                 the stages in order; what stands in data/results/gpu.csv is not done again
    python benchmarks/gpu.py --dry           the same code on a CPU with tiny sizes; its rows go to a temporary file
    python benchmarks/gpu.py --stages throughput,compiled
    python benchmarks/gpu.py --write         README, docs/gpu.md and lesson 04, from the file alone

Stages, the most valuable first: photographs (lite0-gap fine-tuned on labels, evaluated with boxes and masks),
throughput, compiled, more throughput, papers (AlexNet, GoogLeNet and VGG-16 on scenes of 224 px, then their cuts),
tiny-imagenet (ten seeds of the small networks). A stage is a row of pieces: the rows of a piece are written when it
ends, a piece that does not fit into its stage's time is left for the next call, one that fails is said and tried again.

It needs torch, torchvision, scikit-learn and numba, the photographs and weights of `make gpu-pack` (in .gpu, or in this
folder where it is a pack), no network and no installation.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from gpu_rows import PACK, RESULTS, Piece, Settings, add, is_done, measure, rows

NEEDED = ("numba", "scipy", "sklearn", "PIL")
if missing := [module for module in NEEDED if find_spec(module) is None]:
    sys.exit(f"{', '.join(missing)} is not installed here, and no box can be evaluated without it.")

import gpu_learning  # noqa: E402
import gpu_speed  # noqa: E402
import gpu_tables  # noqa: E402
import torch  # noqa: E402

from cambook import datasets  # noqa: E402

MINUTES = 9
WORKERS = 10  # processes that share the GPU in stage tiny-imagenet


@dataclass(frozen=True)
class Stage:
    """Pieces that are done one after another, or by several processes at once, for at most so many seconds."""

    name: str
    seconds: float
    pieces: Callable[[Settings], list[Piece]]
    workers: int = 1


def stages() -> list[Stage]:
    """Photographs and throughput in five minutes, all in nine, with half a minute for starting."""
    return [
        Stage("photographs", 80, gpu_learning.photographs),
        Stage("throughput", 75, partial(gpu_speed.throughput, networks=gpu_speed.FIRST)),
        Stage("compiled", 60, gpu_speed.compiled),
        Stage("more throughput", 60, partial(gpu_speed.throughput, networks=gpu_speed.FURTHER)),
        Stage("papers", 80, partial(gpu_learning.papers, cuts=False)),
        Stage("papers' cuts", 80, partial(gpu_learning.papers, cuts=True)),
        Stage("tiny-imagenet", 80, gpu_learning.tiny_imagenet, WORKERS),
    ]


# ---- time ----


class TimeIsUp(BaseException):
    """The stage's seconds are over in the middle of a piece, which is left for the next call. Nobody who catches every
    Exception may keep it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TimeIsUp in the block when these seconds are over, where the system has such a timer (not on Windows)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- a call ----


def measured(todo: list[Piece], stage: Stage, settings: Settings, seconds: float) -> Iterator[tuple]:
    """Each piece with its rows, as it ends, until the seconds are over; no piece is begun that would hardly fit."""
    ends, longest = time.monotonic() + seconds, 0.0
    if stage.workers == 1:
        for piece in todo:
            began = time.monotonic()
            if began + longest > ends:
                return
            try:
                with at_most(ends - began):
                    found = measure(piece, settings)
            except TimeIsUp:
                return
            longest = max(longest, time.monotonic() - began)
            yield found
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(settings.small(1, stage.workers), prepare, (settings.device.type,)) as pool:
        arriving = pool.imap_unordered(partial(measure, settings=settings), todo)
        for _ in todo:
            try:
                yield arriving.next(timeout=max(0.1, ends - time.monotonic()))
            except multiprocessing.TimeoutError:
                return


def prepare(device: str) -> None:
    """What each process of a stage does first."""
    if device == "cuda":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // WORKERS))


def do(stage: Stage, settings: Settings, seconds: float) -> tuple[int, int]:
    """Measures what has no row yet; returns how many pieces failed and how many are left."""
    done = [row for row in rows(settings.results) if row["stage"] == stage.name]
    todo = [piece for piece in stage.pieces(settings) if not is_done(piece, done)]
    if not todo:
        return 0, 0
    began, failed, ended = time.monotonic(), 0, 0
    print(f"{stage.name}: {len(todo)} pieces, at most {min(seconds, stage.seconds):.0f} s", flush=True)
    for piece, found in measured(todo, stage, settings, min(seconds, stage.seconds)):
        if isinstance(found, str):
            failed += 1
            print(f"  {found}", file=sys.stderr, flush=True)
            continue
        about = {"stage": stage.name, **piece.key}
        add([{**about, **row, **settings.context()} for row in found], settings.results)
        ended += 1
        print(f"  {time.monotonic() - began:5.1f} s  {piece}", flush=True)
    return failed, len(todo) - ended


def run(settings: Settings, chosen: list[Stage], minutes: float = MINUTES) -> int:
    """The stages in order, and, while time is left, again those of which something is left; the exit status."""
    began, left, failed = time.monotonic(), {}, {}
    for once_more in (False, True):
        for stage in chosen:
            seconds = began + 60 * minutes - time.monotonic()
            if seconds > 5 and (not once_more or left.get(stage.name)):
                failed[stage.name], left[stage.name] = do(stage, settings, seconds)
            elif not once_more:
                left[stage.name] = len(stage.pieces(settings))
    for name, count in left.items():
        if count:
            print(f"{name}: {count} pieces are left; the same command does them.")
    print(f"{time.monotonic() - began:.0f} s; rows in {settings.results}", flush=True)
    return int(any(failed.values()))


def settings_of(options: argparse.Namespace) -> Settings:
    """raises: SystemExit with one sentence where something is missing"""
    if not (PACK / "atlas.npz").is_file():
        raise SystemExit("There is no .gpu here: run `make gpu-pack` where the photographs are, and take it along.")
    if not options.dry and not torch.cuda.is_available():
        raise SystemExit("No CUDA device is here: `make gpu` runs where one is, `make gpu ARGS=--dry` anywhere.")
    file = options.results or (Path(tempfile.mkdtemp()) / "dry.csv" if options.dry else RESULTS)
    if options.dry and file.resolve() == RESULTS.resolve():
        raise SystemExit("data/results/gpu.csv is for measurements on a GPU: give --dry another file.")
    command = " ".join(["python benchmarks/gpu.py", *(["--dry"] if options.dry else [])])
    return Settings(torch.device("cpu" if options.dry else "cuda"), options.dry, file, command)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--stages", default="", metavar="NAME,NAME", help="only these, in their own order")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all stages together (default: %(default)g)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="in place of data/results/gpu.csv")
    parser.add_argument("--write", action="store_true", help="only the pages that show the results")
    options = parser.parse_args(arguments)
    if options.write:
        return gpu_tables.write(rows(options.results or RESULTS))
    known = {stage.name: stage for stage in stages()}
    wanted = [name for name in options.stages.split(",") if name] or list(known)
    if strange := [name for name in wanted if name not in known]:
        raise SystemExit(f"There is no stage {strange[0]!r}: choose from {', '.join(known)}.")
    settings = settings_of(options)
    datasets.install_atlas(PACK / "atlas.npz")
    chosen, minutes = [stage for name, stage in known.items() if name in wanted], options.minutes
    if settings.dry:  # a busy computer says nothing about the time on a GPU
        chosen, minutes = [replace(stage, seconds=10 * stage.seconds) for stage in chosen], 10 * minutes
    status = run(settings, chosen, minutes)
    if not settings.dry and settings.results == RESULTS and find_spec("nbformat") and gpu_tables.LESSON.is_file():
        gpu_tables.write(rows(RESULTS))
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
