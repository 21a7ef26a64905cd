"""Every example in the core's docstrings runs and prints what it says, and every public function has one."""

import doctest
import importlib
import inspect
import io
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cambook"
ROOMS = ("maps", "networks", "datasets", "training", "metrics")
CORE = ["cambook", "cambook.files", "cambook.machine"] + [
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for room in ROOMS
    for file in sorted((PACKAGE / room).glob("*.py"))
]
LONGEST = 90  # characters of a docstring's first line

# Public functions whose docstring still lacks something. This list only gets shorter.
MISSING: set[str] = set()


def public():
    """Public functions of the core by their full name: those that a room's `__all__` lists, and of the two files."""
    found = {}
    for room in ROOMS:
        face = importlib.import_module(f"cambook.{room}")
        for name in face.__all__:
            function = inspect.unwrap(getattr(face, name)) if callable(getattr(face, name)) else None
            if inspect.isfunction(function):
                found[f"{function.__module__}.{function.__name__}"] = function
    for name in ("cambook.files", "cambook.machine"):
        for key, value in vars(importlib.import_module(name)).items():
            function = inspect.unwrap(value) if callable(value) else None
            if inspect.isfunction(function) and function.__module__ == name and not key.startswith("_"):
                found[f"{name}.{key}"] = function
    return found


PUBLIC = public()


def sections(docstring):
    """The sections of a Google-style docstring: {"Args": its lines, ...}."""
    found, current = {}, None
    for line in inspect.cleandoc(docstring).splitlines():
        if head := re.fullmatch(r"(Args|Returns|Yields|Raises|Source|Example): ?(.*)", line):
            current = found.setdefault(head[1], [])
        elif current is not None and line and not line.startswith(" "):
            current = None
        elif current is not None:
            current.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def lacks(function):
    """What a docstring lacks, in words; empty when it has everything."""
    said = function.__doc__ or ""
    first, parts, signature = said.partition("\n")[0].strip(), sections(said), inspect.signature(function)
    wants = []
    if not 0 < len(first) < LONGEST:
        wants.append(f"a first line under {LONGEST} characters")
    names = [line.partition(":")[0] for line in parts.get("Args", "").splitlines() if ":" in line]
    unsaid = [n for n in signature.parameters if not re.search(rf"\b{n}\b", " ".join(names))]
    if unsaid:
        wants.append(f"{', '.join(unsaid)} under Args")
    if signature.return_annotation not in (None, "None") and not {"Returns", "Yields"} & set(parts):
        wants.append("Returns")
    if ">>>" not in parts.get("Example", ""):
        wants.append("an Example")
    return wants


@pytest.mark.parametrize("name", CORE)
def test_the_examples_of_a_module_print_what_they_say(name):
    said = io.StringIO()
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for case in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__):
        runner.run(case, out=said.write)
    assert runner.failures == 0, said.getvalue()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_function_has_a_whole_docstring(name):
    wants = lacks(PUBLIC[name])
    if name in MISSING:
        assert wants, f"{name} has everything now: take it off the list"
    else:
        assert not wants, f"{name} lacks {'; '.join(wants)}"


def test_the_list_of_what_is_missing_names_public_functions():
    assert MISSING <= set(PUBLIC)


def test_what_is_lacking_is_noticed():
    def bare(size, *names, **options) -> int:
        """Short."""

    def whole(size, *names, **options) -> int:
        """Short.

        Args:
            size: One.
            names: More.
            options: Others.

        Returns:
            A number.

        Example:
            >>> 1 + 1
            2
        """

    def none() -> None:
        """A first line that is far too long, since it says everything that could be said, and then some more again.

        Example:
            >>> 1 + 1
            2
        """

    assert lacks(bare) == ["size, names, options under Args", "Returns", "an Example"]
    assert lacks(whole) == []
    assert lacks(none) == ["a first line under 90 characters"]
