"""What it gives, and costs, that glibc keeps freed memory: seconds, page faults and peak, side by side.

    python benchmarks/bench_memory.py

Two works: training mini-gap on scenes of 64 pixels, and evaluating lite0-gap's CAM on photographs of 224 pixels, those
of CAMBOOK_TEST_DATA/wildlife where that is set, else photographs of scikit-image and others. Each turn does a work in
two fresh processes, one after the other: as the package comes, and with glibc as it is. That one is told by a variable
of the allocator that has its default, which `cambook.machine.keep_memory` takes as the user's word. Seconds and page
faults are of the work alone, the peak is of its whole process. Both give the same numbers, or this stops. Linux with
glibc; writes data/results/bench-memory.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from form import CORES, row, write

from cambook.machine import SPIN_COUNT, keep_memory

TURNS = 5
GIVEN_BACK = {"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}
SCENES, EPOCHS = 512, 3


def work(name: str, folder: str) -> None:
    """Does a work in this process and prints what it took."""
    import resource

    import torch

    from cambook import datasets, networks, training
    from cambook.metrics import evaluate

    torch.set_num_threads(CORES)
    if name == "training":
        data = datasets.Scenes("train", 64, SCENES)
        network = networks.build("mini-gap", len(data.classes))
        recipe = training.Recipe(epochs=EPOCHS, batch_size=32, lr=3e-3)
    else:
        data = datasets.VOCFolder(folder, "test", 224)
        network = networks.build("lite0-gap", len(data.classes), "pretrained")
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    if name == "training":
        numbers = [epoch["loss"] for epoch in training.fit(network, data, recipe)]
    else:
        numbers = list(evaluate(network, data).row.values())
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    found = {"seconds": seconds, "faults": after.ru_minflt - before, "peak": after.ru_maxrss, "of": len(data)}
    print(json.dumps({**found, "kept": keep_memory(), "numbers": numbers}))


def apart(name: str, folder: str, kept: bool) -> dict:
    """What a work took in a process of its own."""
    ours = {k: v for k, v in os.environ.items() if not (k.startswith("MALLOC_") or k == "GLIBC_TUNABLES")}
    command = [sys.executable, __file__, name, folder]
    environment = {"GOMP_SPINCOUNT": SPIN_COUNT, **ours, **({} if kept else GIVEN_BACK)}  # as a run's kernel has it
    found = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment, encoding="utf-8").stdout
    )
    assert found["kept"] is kept, "is the C library here glibc?"
    return found


def rows(name: str, folder: str) -> list[dict]:
    """The ratios of one work, memory kept over memory given back, each of one turn."""
    turns = []
    for turn in range(TURNS):
        order = (True, False) if turn % 2 else (False, True)
        found = {kept: apart(name, folder, kept) for kept in order}
        assert found[True]["numbers"] == found[False]["numbers"], "the same bits"
        turns.append((found[True], found[False]))
    of = turns[0][0]["of"]
    whole = f"training mini-gap, {EPOCHS} epochs of {of:,} scenes of 64 px"
    what = whole if name == "training" else f"evaluating lite0-gap's CAM, {of} photographs at 224 px"

    def ratios(key: str) -> list[float]:
        return [kept[key] / given_back[key] for kept, given_back in turns]

    speed = [1 / ratio for ratio in ratios("seconds")]
    slow = "a step computes more than it moves: half the page faults, and seconds that scatter by more than that saves"
    holes = "holes between large tensors stayed empty"
    return [
        row(f"{what}: memory kept", speed, "times as fast", "at least level", lambda times: times >= 1, slow),
        row(f"{what}, memory kept: page faults", ratios("faults"), "times as many"),
        row(f"{what}, memory kept: peak", ratios("peak"), "times as much", "at most 1.1", lambda r: r <= 1.1, holes),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(os.environ.get("CAMBOOK_TEST_DATA", "."), "wildlife")
        if "CAMBOOK_TEST_DATA" not in os.environ:
            from bench_data import example_folder

            folder = example_folder(Path(scratch) / "voc")
        found = rows("training", str(folder)) + rows("evaluation", str(folder))
    write("memory", "python benchmarks/bench_memory.py", ["torch", "numpy"], found)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(*sys.argv[1:])
    else:
        main()
