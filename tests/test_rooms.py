"""The rooms of the package: few entries at the top, short files, one job each, and no name for two things."""

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cambook"
FILES = sorted(PACKAGE.rglob("*.py"))
CORE = ("maps", "networks", "datasets", "training", "metrics")
MODULES = [file for room in CORE for file in sorted((PACKAGE / room).glob("*.py")) if file.name != "__init__.py"]
LINES, ENTRIES, FIRST_LINE = 500, 10, 120

# Longer files, each a table of data, with the reason why it is not cut.
TABLES: dict[str, str] = {}
# Functions of one name in two modules of the core, with what they share.
SAME_NAME = {
    "names": "the entries of a registry that fit a network or a command: networks.names, datasets.names",
    "register": "adds one entry to the registry of its room: a map, a network, a data set",
}

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))


def public_functions(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]


def test_at_the_top_are_at_most_ten_entries():
    known = {"__init__.py", "__pycache__", "py.typed"}
    entries = sorted(entry.name for entry in PACKAGE.iterdir() if entry.name not in known)
    assert len(entries) <= ENTRIES, entries


def test_import_linter_knows_every_entry_at_the_top():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    known = {"__init__.py", "__pycache__", "py.typed"}
    entries = {entry.stem for entry in PACKAGE.iterdir() if entry.name not in known}
    assert {room for layer in layers for room in layer.split(" | ")} == entries


@each_file
def test_a_file_is_short_or_a_table(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    name = str(file.relative_to(PACKAGE))
    if name in TABLES:
        assert lines > LINES, f"{name} is short again: take it off the list"
    else:
        assert lines <= LINES, f"{name} has {lines} lines: which are its two jobs?"


@each_file
def test_the_first_line_of_a_file_says_its_job(file):
    first = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    assert first.endswith((".", ":")) and len(first) < FIRST_LINE, first


def test_a_function_of_the_core_has_a_name_of_its_own():
    where = {}
    for file in MODULES:
        for name in public_functions(file):
            where.setdefault(name, []).append(f"{file.parent.name}/{file.name}")
    twice = {name: files for name, files in where.items() if len(files) > 1}
    assert set(twice) == set(SAME_NAME), twice


@pytest.mark.parametrize("room", CORE)
def test_what_a_room_lists_is_there_and_once(room):
    face = importlib.import_module(f"cambook.{room}")
    assert len(face.__all__) == len(set(face.__all__)) and all(hasattr(face, name) for name in face.__all__)
