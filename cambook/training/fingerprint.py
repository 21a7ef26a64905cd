"""What stands for the code of a training in its cache key: the syntax trees of the modules that take part.

Comments, docstrings and line breaks are no part of a syntax tree, so editing them retrains nothing; a changed constant
does. tests/test_fingerprint.py trains every kind of network and looks at each function that is entered.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from torch import nn

# Modules that are entered in every training and stay out of its key, with the reason.
EXEMPT = {
    "cambook.files": "writes and reads what was computed, and changes nothing of it",
    "cambook.machine": "names the device and shows progress",
    "cambook.training.cache": "decides whether to train, not how",
    "cambook.training.distributed": "one process passes through it unchanged; trainings by several add it to their key",
    "cambook.training.recipes": "a recipe's values are in the key themselves",
    "cambook.training.fingerprint": "makes the key",
    "cambook.networks.registry": "finds and seeds a builder: its name, its seed and its module are in the key",
}
ROOMS = ("cambook.networks.", "cambook.maps.", "cambook.datasets.batches", "cambook.training.fitting")


def source_key(network: nn.Module, *more: str) -> str:
    """The SHA-256 of every module of the package that takes part in training the network.

    network: its own class and those of its layers say where to begin; more: further modules, such as its builder's
    """
    sha = hashlib.sha256()
    for module in modules_of(network, *more):
        sha.update(module.encode() + tree_of(_file(module)).encode())
    return sha.hexdigest()


def modules_of(network: nn.Module, *more: str) -> list[str]:
    """The names of these modules, sorted: where its classes stand, `fit`, and what they import from rooms below."""
    classes = {base.__module__ for layer in network.modules() for base in type(layer).__mro__}
    waiting = [m for m in (*classes, *more, "cambook.training.fitting") if m.startswith("cambook.") and m not in EXEMPT]
    found: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [m for m in _imported(_file(module)) if m.startswith(ROOMS) and m not in EXEMPT]
    return sorted(found)


@cache
def tree_of(file: Path) -> str:
    """A module's syntax tree as text, without docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


@cache
def _imported(file: Path) -> tuple[str, ...]:
    """The modules of the package that a module imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cambook"):
            found += [node.module, *_submodules(node.module, (alias.name for alias in node.names))]
    return tuple(found)


def _submodules(package: str, names: Iterable[str]) -> list[str]:
    folder = _file(package).parent
    is_package = _file(package).name == "__init__.py"
    return [f"{package}.{name}" for name in names if is_package and (folder / f"{name}.py").is_file()]


@cache
def _file(module: str) -> Path:
    """Where a module's source is."""
    loaded = sys.modules.get(module)
    return Path(loaded.__file__ if loaded else find_spec(module).origin)
