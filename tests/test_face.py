"""`import cambook`: ten names and the rooms, imported when they are first used."""

import importlib
import json
import subprocess
import sys

import pytest

import cambook

ROOM_OF = {
    "class_activation_map": "maps",
    "grad_cam": "maps",
    "upsample": "maps",
    "normalize": "maps",
    "box_from_map": "maps",
    "box_iou": "maps",
    "build": "networks",
    "load": "datasets",
    "trained": "training",
    "evaluate": "metrics",
}
ROOMS = ("cli", "course", "datasets", "files", "machine", "maps", "metrics", "networks", "training")


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_the_package_brings_nothing_heavy():
    code = "import json, sys, cambook; dir(cambook); print(json.dumps(sorted(sys.modules)))"
    brought = set(in_a_new_process(code))
    assert not brought & {"torch", "torchvision", "numpy", "pandas", "matplotlib", "scipy", "numba", "tqdm", "IPython"}
    assert not brought & {f"cambook.{room}" for room in ROOMS} - {"cambook.files", "cambook.machine"}


def test_the_ten_names_are_those_of_the_rooms():
    assert sorted(ROOM_OF) == sorted(cambook.__all__)
    for name, room in ROOM_OF.items():
        assert getattr(cambook, name) is getattr(importlib.import_module(f"cambook.{room}"), name)
    assert {*ROOM_OF, *ROOMS, "__version__"} <= set(dir(cambook))


def test_names_and_rooms_come_in_any_order_in_a_new_process():
    code = """import json
from cambook import evaluate, machine, grad_cam
import cambook
import cambook.metrics.evaluation
from cambook import maps, metrics
named = [cambook.course.__name__, cambook.cli.__name__, cambook.networks.__name__, metrics.__name__]
print(json.dumps([evaluate is metrics.evaluate, maps.grad_cam is grad_cam, *named]))"""
    names = [f"cambook.{room}" for room in ("course", "cli", "networks", "metrics")]
    assert in_a_new_process(code) == [True, True, *names]


def test_a_star_brings_the_ten_names():
    brought = {}
    exec("from cambook import *", brought)
    assert set(brought) - {"__builtins__"} == set(ROOM_OF)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gradcam", "cambook has no 'gradcam', did you mean grad_cam?"),
        ("dataset", "cambook has no 'dataset', did you mean datasets?"),
        ("xyzzy", "cambook has no 'xyzzy'; it has box_from_map, .*, maps, metrics, networks, training."),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name, message):
    with pytest.raises(AttributeError, match=message):
        getattr(cambook, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from cambook import {name}")
