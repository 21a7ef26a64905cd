"""What stands for a training run in its cache key: the code that takes part, weights, labels.

The code is the syntax trees of the modules that take part. Comments, docstrings and line breaks are not part of a
syntax tree, so editing them retrains nothing; a changed constant does. tests/test_fingerprint.py trains every kind of
network and looks at each function that is entered.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from cambook.networks.registry import Weights

# Modules that are entered in every training run and stay out of its key, with the reason.
EXEMPT = {
    "cambook.files": "writes and reads what was computed, and changes nothing of it",
    "cambook.machine": "names the device and shows progress",
    "cambook.datasets": "the data set's own fingerprint is in the key",
    "cambook.training.cache": "decides whether to train, not how",
    "cambook.training.distributed": "one process passes through it unchanged; training by several adds it to the key",
    "cambook.training.plans": "chooses recipe, weights and start, whose values are in the key",
    "cambook.training.recipes": "a recipe's values are in the key themselves",
    "cambook.training.fingerprint": "makes the key",
    "cambook.networks.registry": "finds the function that makes a network",
}
# What makes a network before training. Its layers, settings and weights as made are in the key, so a network may be
# added to these modules without training the others again.
BUILDERS = tuple(
    f"cambook.networks.{name}" for name in ("building", "small", "papers", "lite0", "surgery", "states", "downloads")
)
ROOMS = ("cambook.networks", "cambook.maps", "cambook.datasets.batches", "cambook.training.fitting")


def source_key(network: nn.Module) -> str:
    """The SHA-256 of the code that takes part in training the network, your own included.

    Args:
        network: its own class and those of its layers say where to begin.

    Returns:
        64 hexadecimal digits, from the syntax trees of `modules_of` the network.

    Example:
        >>> from cambook import networks
        >>> gap, gmp, acol = (networks.build(name, 2) for name in ("mini-gap", "mini-gmp", "mini-acol"))
        >>> source_key(gap) == source_key(gmp), source_key(gap) == source_key(acol)
        (True, False)
    """
    sha = hashlib.sha256()
    for module in modules_of(network):
        sha.update(module.encode() + tree_of(_file(module)).encode())
    return sha.hexdigest()


def modules_of(network: nn.Module) -> list[str]:
    """The names of the modules whose code takes part in training the network, sorted.

    They are those in which its classes are written, `fit`, and what these import from below. Of a network class of your
    own its file is one of them; a class that a notebook's cell defines has none.

    Args:
        network: before or after training.

    Returns:
        Full names, as Python imports them.

    Example:
        >>> from cambook import networks
        >>> modules_of(networks.build("mini-gap", 2))
        ['cambook.datasets.batches', 'cambook.networks.base', 'cambook.training.fitting']
    """
    classes = {base.__module__ for layer in network.modules() for base in type(layer).__mro__}
    waiting = [m for m in (*classes, "cambook.training.fitting") if _inside(m, "cambook")]
    found = {module for module in classes if _is_yours(module)}
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            imported = [m for m in _imported(_file(module)) if any(_inside(m, room) for room in ROOMS)]
            waiting += [m for m in imported if m not in EXEMPT]
    return sorted(found)


def _is_yours(module: str) -> bool:
    """Whether a module is a file that is neither the package's nor installed."""
    file = getattr(sys.modules.get(module), "__file__", None)
    installed = [get_path(kind) for kind in ("stdlib", "purelib", "platlib")]
    return bool(file) and not _inside(module, "cambook") and not any(Path(file).is_relative_to(p) for p in installed)


def _inside(module: str, room: str) -> bool:
    """Whether a module is that package or inside it."""
    return f"{module}.".startswith(f"{room}.")


def tree_of(file: Path) -> str:
    """A module's syntax tree as text, without docstrings.

    Comments and line breaks are not part of a tree.

    Args:
        file: the module's source.

    Returns:
        The tree as `ast.dump` writes it, the same for two files with the same code.

    Example:
        >>> import tempfile
        >>> one, other = (Path(tempfile.mkdtemp(), "code.py") for _ in range(2))
        >>> _ = one.write_bytes(b"x = 1  # the first"), other.write_bytes(b"x = (\\n    1)")
        >>> tree_of(one) == tree_of(other)
        True
    """
    return _tree(file, file.stat().st_mtime_ns)


@cache
def _tree(file: Path, changed: int) -> str:
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


# ---- what else a key is made of ----


def key_of(determined_by: dict) -> str:
    """The 20 hexadecimal digits that stand for everything that determines a training run.

    Example:
        >>> key_of({"seed": 0, "name": "mini-gap"}) == key_of({"name": "mini-gap", "seed": 0})
        True
    """
    return hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()[:20]


def digest_of_labels(labels: ArrayLike) -> str:
    """What stands for labels: their values.

    Example:
        >>> digest_of_labels([0, 1]) == digest_of_labels(np.array([0, 1])) != digest_of_labels([1, 0])
        True
    """
    return hashlib.sha256(np.ascontiguousarray(labels, np.int64)).hexdigest()


def digest_of_network(network: nn.Module) -> str:
    """What stands for a network as it is: its layers and settings, which of them learn, and the bytes of its weights.

    Example:
        >>> from cambook import networks
        >>> one, same, other = (networks.build("mini-gap", 2, seed=seed) for seed in (0, 0, 1))
        >>> digest_of_network(one) == digest_of_network(same), digest_of_network(one) == digest_of_network(other)
        (True, False)
    """
    learns = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    sha = hashlib.sha256(repr((network, getattr(network, "new_layers", ()), learns)).encode())
    for name, values in (*network.named_parameters(), *network.named_buffers()):
        sha.update(name.encode() + values.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def digest_of_weights(weights: str | None, shipped: Weights | None) -> str | None:
    """What stands for the weights that a network is built with: the versions of what ships them, or their file's bytes.

    Args:
        weights: None, "pretrained" or a file, as in `networks.build`.
        shipped: where the pretrained ones come from.

    Example:
        >>> digest_of_weights(None, None) is None
        True
    """
    if weights is None:
        return None
    if weights == "pretrained":
        installed = {each.metadata["Name"].replace("_", "-"): each.version for each in distributions()}
        return f"pretrained, {[installed.get(package) for package in shipped.packages]}"
    return hashlib.sha256(Path(weights).read_bytes()).hexdigest()
