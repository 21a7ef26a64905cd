"""The same seed twice, in one process and in two: the same bits. On the CPU."""

import json
import os
import subprocess
import sys

import pytest

from cambook import files
from cambook.datasets import Scenes

MADE = """
import hashlib, json, sys
import numpy as np
import torch
from cambook import metrics, networks, training
from cambook.metrics import evaluation
from cambook.datasets import Scenes

torch.set_num_threads(2)


def digest(*values):
    arrays = [np.asarray(value) for value in values]
    return hashlib.sha256(b"".join(repr((a.dtype, a.shape)).encode() + a.tobytes() for a in arrays)).hexdigest()


for seed in map(int, sys.argv[1:]):
    torch.rand(seed), np.random.rand(seed)  # what else draws numbers does not matter
    train, test = Scenes("train", 64, 32, seed=seed), Scenes("test", 64, 12, seed=seed)
    network = networks.build("mini-gap", len(train.classes), seed=seed)
    batch = test.batch(range(12))
    rows = training.fit(network, train, training.Recipe(epochs=2, batch_size=16, lr=3e-3), seed=seed)
    found = evaluation.evaluate(network, test, seed=seed, batch_size=5)
    intervals = np.array([found.intervals[name] for name in sorted(found.intervals)])
    numbers = [found.row[name] for name in sorted(found.row)]
    right = np.random.default_rng(0).random((40, 9)) < 0.5
    print(json.dumps({
        "scenes": digest(batch.images, batch.masks, batch.labels, *batch.boxes),
        "training": digest(*network.state_dict().values(), *[row[k] for row in rows for k in ("loss", "top1_error")]),
        "evaluation": digest(numbers, found.curve, found.inside, found.boxes.hits()),
        "intervals of the evaluation": digest(intervals),
        "bootstrap": digest(metrics.bootstrap_interval(right, seed), metrics.paired_interval(right, ~right, seed)),
    }), flush=True)
"""
WHAT = ("scenes", "training", "evaluation", "intervals of the evaluation", "bootstrap")


@pytest.fixture(scope="module")
def made():
    """What seeds 3, 4, 3 gave in one process, and seed 3 in another, whose hashes of strings differ."""
    Scenes("test", 64, 1).batch([0])  # draws what all scenes are made of, where no test did before

    def start(hash_seed, *seeds):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "CAMBOOK_CACHE": str(files.CACHE)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, "-c", MADE, *seeds], env=environment, text=True, **pipes, encoding="utf-8"
        )

    lines = []
    for process in [start("1", "3", "4", "3"), start("2", "3")]:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        lines += map(json.loads, out.splitlines())
    return lines


@pytest.mark.parametrize("what", WHAT)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(made, what):
    first, other, again, elsewhere = (each[what] for each in made)
    assert first == again, "within one process"
    assert first == elsewhere, "in two processes"
    assert first != other, "seeds 3 and 4"
