"""glibc keeps the memory of freed tensors: in every process of the package, unless the user says otherwise."""

import ctypes
import json
import os
import subprocess
import sys

import pytest

from cambook import files, machine

# 40 MB five times in turn: mapped and given back each time, or the same pages again.
FAULTS = """
import json, resource, cambook
size = 40 * 2**20
b"x" * size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    b"x" * size
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / size))
"""
TRAINS = """
import hashlib, json, sys
import torch
from cambook import datasets, machine, networks, training
from cambook.metrics import evaluate

torch.set_num_threads(1)
data = datasets.Scenes("train", 64, 48)
network = networks.build("mini-gap", len(data.classes))
training.fit(network, data, training.Recipe(epochs=2, batch_size=16, lr=3e-3))
numbers = list(evaluate(network, datasets.Scenes("test", 64, 12)).row.values())
bits = hashlib.sha256(b"".join(value.numpy().tobytes() for value in network.state_dict().values()))
print(json.dumps([machine.keep_memory(), bits.hexdigest(), numbers]))
"""
LEFT = {"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}  # its default, which changes nothing but that the user has spoken
on_glibc = pytest.mark.skipif(not machine._has_glibc(), reason="the C library here is not glibc: it is left alone")


@pytest.fixture
def calls(monkeypatch):
    """What mallopt is called with, in place of this process's own; no variable of the allocator is set."""
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    made = []

    class Library:
        def __init__(self, name):
            assert name is None, "the C library of this very process"

        def mallopt(self, parameter, value):
            made.append((parameter, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    return made


def printed(code, **environment):
    kept = {k: v for k, v in os.environ.items() if not (k.startswith("MALLOC_") or k == "GLIBC_TUNABLES")}
    environment = {**kept, "CAMBOOK_CACHE": str(files.CACHE), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=240, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@on_glibc
def test_freed_pages_are_taken_again():
    assert printed(FAULTS) < 0.1
    assert printed(FAULTS, **LEFT) > 4


@on_glibc
def test_training_and_evaluation_give_the_same_bits_with_memory_kept_and_given_back():
    (kept, *with_it), (left, *without) = printed(TRAINS), printed(TRAINS, **LEFT)
    assert (kept, left) == (True, False)
    assert with_it == without


def test_glibc_is_told_both_thresholds(calls, monkeypatch):
    monkeypatch.setattr(machine, "_has_glibc", lambda: True)
    assert machine.keep_memory()
    assert dict(calls) == {-3: machine.KEPT[machine.MMAP_THRESHOLD], -1: machine.KEPT[machine.TRIM_THRESHOLD]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "65536"),
        ("MALLOC_MMAP_MAX_", "0"),
        ("MALLOC_TOP_PAD_", ""),
        ("GLIBC_TUNABLES", "glibc.rtld.nns=5:glibc.malloc.mmap_threshold=131072"),
    ],
)
def test_the_users_own_settings_win(calls, monkeypatch, name, value):
    monkeypatch.setattr(machine, "_has_glibc", lambda: True)
    monkeypatch.setenv(name, value)
    assert not machine.keep_memory() and calls == []


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_ARENA_MAX", "2"), ("GLIBC_TUNABLES", "glibc.rtld.nns=5"), ("MALLOCATE_", "1")]
)
def test_other_variables_are_no_such_setting(calls, monkeypatch, name, value):
    monkeypatch.setattr(machine, "_has_glibc", lambda: True)
    monkeypatch.setenv(name, value)
    assert machine.keep_memory() and len(calls) == 2


@pytest.mark.parametrize("answer", [ValueError("unrecognized configuration name"), OSError("invalid"), "", None])
def test_other_c_libraries_are_left_alone(calls, monkeypatch, answer):
    def confstr(name):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(os, "confstr", confstr, raising=False)
    assert not machine.keep_memory() and calls == []


def test_a_system_without_confstr_is_left_alone(calls, monkeypatch):
    monkeypatch.delattr(os, "confstr", raising=False)
    assert not machine.keep_memory() and calls == []


def test_a_refusal_of_glibc_is_said(calls, monkeypatch):
    monkeypatch.setattr(machine, "_has_glibc", lambda: True)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: type("Library", (), {"mallopt": staticmethod(lambda p, v: 0)}))
    assert machine.keep_memory() is False
