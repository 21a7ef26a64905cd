"""How many minutes a lesson takes to read and to work through.

Counted is what a reader meets: words, formulas, visible lines of code, figures, tables, widgets, and the minutes that
stand beside exercises and predictions. What is folded is not counted: of a cell tagged `hide-input` only its outputs
are, and of an appendix, which only some readers need, nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

WORDS_PER_MINUTE = 180
SECONDS = {"formula": 15, "line": 4, "figure": 20, "table": 20, "widget": 60}
LIMIT = 45  # minutes of a lesson
HIDDEN = "hide-input"
STATED = re.compile(r"\*\*About (\d+) minutes\*\* to read and work through")
_OF_TASKS = re.compile(r"\((\d+) minutes?(?:, (?:easy|medium|hard))?\)")
_FORMULA = re.compile(r"\$\$.*?\$\$", re.DOTALL)


def minutes(notebook: Mapping[str, Any]) -> float:
    """Minutes for a notebook, given as its JSON with outputs."""
    seconds = 0.0
    for cell in _read(notebook):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            formulas = _FORMULA.findall(source)
            words = len(_FORMULA.sub(" ", source).split())
            seconds += 60 * words / WORDS_PER_MINUTE + SECONDS["formula"] * len(formulas)
            seconds += 60 * sum(map(int, _OF_TASKS.findall(source)))
        else:
            seconds += SECONDS["line"] * len(visible_lines(cell))
            seconds += sum(SECONDS[kind] for kind in _shown(cell, source))
    return seconds / 60


def rounded(estimate: float) -> int:
    """Minutes as a lesson says them: to five, and up."""
    return 5 * -(-round(estimate) // 5)


def stated(notebook: Mapping[str, Any]) -> int | None:
    """The minutes that the title cell names; None if it names none."""
    found = STATED.search("".join(notebook["cells"][0]["source"]))
    return int(found[1]) if found else None


def visible_lines(cell: Mapping[str, Any]) -> list[str]:
    """The lines of a code cell that a reader sees, blank ones and those of a hidden input left out."""
    if HIDDEN in cell["metadata"].get("tags", []):
        return []
    return [line for line in "".join(cell["source"]).splitlines() if line.strip()]


def _read(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The cells that everybody reads: an appendix lasts from its heading to the next of the same or a higher level."""
    folded = 0
    for cell in notebook["cells"]:
        heading = re.match(r"(#+) (.*)", "".join(cell["source"])) if cell["cell_type"] == "markdown" else None
        if heading and (not folded or len(heading[1]) <= folded):
            folded = len(heading[1]) if heading[2].startswith("Appendix") else 0
        if not folded:
            yield cell


def _shown(cell: Mapping[str, Any], source: str) -> Iterator[str]:
    if "explore." in source:
        yield "widget"
    for output in cell["outputs"]:
        kinds = output.get("data", {})
        if any(kind.startswith("image/") for kind in kinds):
            yield "figure"
        elif "text/html" in kinds:
            yield "table"
