"""What a lesson reports of its experiments, and whether the recorded numbers bear it out.

A finding is a markdown cell tagged `finding`. Its metadata has `claims`, each a comparison of recorded names:

    "claims": ["max_box_acc > centre_max_box_acc + 10", "abs(gap_error - gmp_error) < 12"]

CI evaluates the claims on the numbers of its own run. A claim that no number could turn false claims nothing, so each
name is moved by STEP points, up and down, and one of the two must turn a claim of the notebook red.
"""

from __future__ import annotations

import ast
import itertools
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FINDING = "finding"  # the tag
STEP = 20.0  # percentage points; a number from -1 to 1 is a share and moves by a hundredth of it
RECORD = "record"  # of a notebook's metadata: the numbers of the run whose outputs are committed

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
}
_FUNCTIONS = {"abs": abs, "min": min, "max": max}


@dataclass(frozen=True)
class Finding:
    """One cell: its id, what it says, what it claims, and the names whose small values are points and not shares."""

    cell: str
    text: str
    claims: tuple[str, ...]
    points: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """The recorded names in its claims."""
        return set(itertools.chain.from_iterable(map(names_in, self.claims)))


def findings_of(notebook: Mapping[str, Any]) -> list[Finding]:
    """The findings of a notebook, given as its JSON, in reading order."""
    return [
        Finding(
            cell["id"],
            "".join(cell["source"]),
            tuple(cell["metadata"].get("claims", ())),
            tuple(cell["metadata"].get("points", ())),
        )
        for cell in notebook["cells"]
        if FINDING in cell["metadata"].get("tags", [])
    ]


def names_in(claim: str) -> set[str]:
    """The recorded names that a claim compares; one that is not a Python name stands in it in quotes.

    raises: ValueError if the claim is not a comparison of such names, numbers, + - * / and abs, min, max
    """
    return {_name(node) for node in ast.walk(_parsed(claim)) if _name(node) is not None}


def holds(claim: str, numbers: Mapping[str, float]) -> bool:
    """Whether a claim is true of recorded numbers.

    raises: ValueError as `names_in`, KeyError for a name that was not recorded
    """
    return bool(_value(_parsed(claim), numbers))


def faults(findings: list[Finding], numbers: Mapping[str, float]) -> list[str]:
    """What is wrong with the findings of a notebook that recorded `numbers`, one sentence each."""
    found = [f"finding {one.cell} claims nothing" for one in findings if not one.claims]
    claimed = set().union(*(one.names for one in findings))
    found += [f"{name} is recorded and no finding names it" for name in numbers if name not in claimed]
    if unknown := sorted(claimed - set(numbers)):
        return [*found, f"claims name {', '.join(unknown)}, which the notebook did not record"]
    for one in findings:
        found += [
            f"finding {one.cell}: {claim} is false ({_with_values(claim, numbers)})"
            for claim in one.claims
            if not holds(claim, numbers)
        ]
    idle = {name: _step(name, numbers, findings) for name in _idle(findings, numbers)}
    return found + [f"no claim would notice if {name} moved by {step:g}" for name, step in idle.items()]


def misquoted(findings: list[Finding], numbers: Mapping[str, float]) -> list[str]:
    """Numbers in the findings' texts that are in no record, one sentence each.

    A decimal must be a recorded number, rounded (a share also as percent). A whole percentage or a number of points may
    also be the difference of two numbers that the finding's claims name.
    """
    found = []
    for one in findings:
        for text, digits, _ in _quoted(one.text):
            exact = list(_readings(numbers.values()))
            if not digits:
                named = [numbers[name] for name in one.names if name in numbers]
                exact += [abs(a - b) for a, b in itertools.combinations([*_readings(named)], 2)]
            if not any(_rounds_to(value, text, digits) for value in exact):
                found.append(f"finding {one.cell} says {text}, which is not a recorded number, rounded")
    return found


def requote(notebook: Mapping[str, Any], numbers: Mapping[str, float]) -> list[str]:
    """Brings the numbers that the findings of a notebook quote, and its record, to those of a new run.

    A quoted number is looked for in the notebook's old record: first among the names that the finding's claims compare,
    then among their differences (for whole percentages and points), then among all names.
    notebook: its JSON, changed in place; numbers: what the new run recorded
    returns:  a sentence for each number that was changed, and for each that fits no name or several and was left
    """
    old, said = dict(notebook["metadata"].get(RECORD, {})), []
    both = {name: (old[name], numbers[name]) for name in old if name in numbers}
    named = {one.cell: [both[name] for name in sorted(one.names) if name in both] for one in findings_of(notebook)}
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        for quoted, digits, where in reversed([*_quoted(text)] if cell["id"] in named else []):
            new = _in_new_run(quoted, digits, named[cell["id"]], both.values())
            if len(new) == 1:
                text = text[: where.start] + new[0] + text[where.stop :]
                said += [f"finding {cell['id']}: {quoted} is {new[0]} now"] if new[0] != quoted else []
            else:
                why = f"may be {' or '.join(new)} now" if new else "was not a recorded number"
                said.append(f"finding {cell['id']} says {quoted}, which {why}: it was left")
        if text != "".join(cell["source"]):
            cell["source"] = text
    notebook["metadata"][RECORD] = dict(numbers)
    return said


def _in_new_run(
    quoted: str, digits: int, named: Iterable[tuple[float, float]], all_of_them: Iterable[tuple[float, float]]
) -> list[str]:
    """What a quoted number is in a new run, by each pair (old, new) that it may stand for; most likely one."""
    named = [*_both_readings(named)]
    differences = [(a - c, b - d) for (a, b), (c, d) in itertools.combinations(named, 2)]
    for pairs in (named, [] if digits else differences, [*_both_readings(all_of_them)]):
        fitting = [new for was, new in pairs if _rounds_to(was, quoted, digits)]
        if fitting:
            return sorted({f"{abs(new):.{digits}f}" for new in fitting})
    return []


def _rounds_to(value: float, text: str, digits: int) -> bool:
    """Whether a number without its sign, rounded to so many decimals, is the text."""
    return abs(abs(value) - float(text)) <= 0.5 * 10**-digits + 1e-9


def _both_readings(pairs: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Each pair, and if its old number may be a share also as percent."""
    for was, new in pairs:
        yield was, new
        if abs(was) <= 1:
            yield 100 * was, 100 * new


def _idle(findings: list[Finding], numbers: Mapping[str, float]) -> Iterator[str]:
    """The claimed names whose number may move by a step, up and down, without any claim turning false."""
    claims = [claim for one in findings for claim in one.claims]
    for name in sorted(set().union(*(one.names for one in findings))):
        about = [claim for claim in claims if name in names_in(claim)]
        step = _step(name, numbers, findings)
        moved = ({**numbers, name: numbers[name] + way * step} for way in (-1, 1))
        if all(all(holds(claim, each) for claim in about) for each in moved):
            yield name


def _step(name: str, numbers: Mapping[str, float], findings: list[Finding]) -> float:
    share = abs(numbers[name]) <= 1 and not any(name in one.points for one in findings)
    return STEP / 100 if share else STEP


def _quoted(text: str) -> Iterator[tuple[str, int, slice]]:
    """The decimals, percentages and points of a text, how many decimals each has and where it stands; code and links
    are left out."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|\$[^$]*\$", lambda left_out: " " * len(left_out[0]), text)
    for match in re.finditer(r"(?<![\w.])(\d+(?:\.(\d+))?)(?=(\s?%|\spercent|\s(?:percentage )?points?)?)", text):
        if match[2] or match[3]:
            yield match[1], len(match[2] or ""), slice(*match.span(1))


def _readings(values: Iterable[float]) -> Iterator[float]:
    """Each number, and if it may be a share also its percent."""
    for value in values:
        yield value
        if abs(value) <= 1:
            yield 100 * value


def _parsed(claim: str) -> ast.expr:
    try:
        tree = ast.parse(claim, mode="eval").body
    except SyntaxError:
        raise ValueError(f"claim {claim!r} is not an expression.") from None
    if not isinstance(tree, ast.Compare):
        raise ValueError(f"claim {claim!r} compares nothing: write for example 'error < 30'.")
    for node in ast.walk(tree):
        allowed = (ast.Compare, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant, ast.Load, *_OPERATORS)
        called = isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS)
        if not isinstance(node, allowed) or called:
            raise ValueError(f"claim {claim!r} may have names, numbers, + - * /, abs, min, max, < <= > >= == alone.")
    return tree


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name) and node.id not in _FUNCTIONS:
        return node.id
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _value(node: ast.expr, numbers: Mapping[str, float]) -> Any:
    if (name := _name(node)) is not None:
        return numbers[name]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_value(node.operand, numbers))
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, numbers), _value(node.right, numbers))
    if isinstance(node, ast.Call):
        return _FUNCTIONS[node.func.id](*(_value(each, numbers) for each in node.args))
    values = [_value(each, numbers) for each in (node.left, *node.comparators)]
    return all(_OPERATORS[type(how)](a, b) for how, (a, b) in zip(node.ops, itertools.pairwise(values), strict=True))


def _with_values(claim: str, numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {numbers[name]:g}" for name in sorted(names_in(claim)))
