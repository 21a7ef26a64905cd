"""An exercise: a reference, inputs to try it on, mistakes that are known by what they give, and hints.

Written with decorators, so that a lesson's exercises read from top to bottom:

    @exercise("the mean of each feature map", inputs=..., hints=[...])
    def gap(feature_maps):
        return feature_maps.mean((2, 3))

    @gap.mistake("you summed over the positions instead of averaging")
    def summed(feature_maps):
        return feature_maps.sum((2, 3))

A reader calls `gap(their_function)`, `gap.hint()` and `gap.solution()`; each prints and returns nothing. Each also adds
to the reader's record what came of it (`progress`), but for an exercise that was not attempted. After an error,
`gap.traceback()` prints Python's own account of it.

Arrays and tensors are both accepted, whichever of the two an exercise gives.
"""

from __future__ import annotations

import ast
import copy
import dis
import functools
import inspect
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cambook.course import handout, progress
from cambook.course.lessons.check.compare import described, difference, same
from cambook.course.lessons.check.explain import failure

SEED = 20160627
NOTHING_DONE = {"RESUME", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "NOP"}  # instructions of a body of `pass`
ANSWERED = {"✓": progress.SOLVED, "✗": progress.TRIED}  # what an answer that begins so adds to the record
EXERCISES: dict[str, Exercise | Number] = {}  # every exercise by its name


def register(one: Exercise | Number) -> None:
    """Makes an exercise known under its name; what is made again, in a notebook's cell that runs twice, is replaced.

    raises: ValueError if another exercise has that name
    """
    known = EXERCISES.get(one.name)
    if known is not None and known.question != one.question:
        raise ValueError(f"The exercise name {one.name!r} is taken by {known!r}: choose another one.")
    EXERCISES[one.name] = one


@dataclass
class Run:
    """One call of a function.

    value: what it returned, or the exception that it raised
    changed: the names of the arguments that it changed
    trained: the names of the arguments that get a gradient from the value
    """

    value: Any
    changed: list[str]
    trained: list[str]


class Exercise:
    """A function to complete. Called with the reader's function, it prints one line: right, wrong and why,
    or not yet.

    name, question: shown to the reader; reference: the solution, whose source `solution()` prints;
    inputs: (generator) -> the argument tuples to try, float64 where they are floats; hints: from gentle to
    plain.
    Inputs are drawn from one fixed seed, and each call gets its own copy of them. If the solution's value has a
    gradient with respect to an argument, the reader's must have one, too.
    shows_solution: whether a call prints the solution too (check.show_solutions)
    """

    shows_solution = False

    def __init__(
        self,
        question: str,
        reference: Callable,
        inputs: Callable[[np.random.Generator], Iterable[tuple]],
        hints: Sequence[str] = (),
    ):
        self.name, self.question = reference.__name__, question
        self.reference, self.hints = reference, list(hints)
        self.mistakes: list[tuple[Callable, str]] = []
        self._inputs, self._hints_shown, self._traceback = inputs, 0, ""
        register(self)

    def mistake(self, message: str) -> Callable[[Callable], Callable]:
        """Decorate a known wrong solution: a reader's function that does the same is answered with
        `message`."""

        def remember(wrong: Callable) -> Callable:
            self.mistakes.append((wrong, message))
            return wrong

        return remember

    @functools.cached_property
    def parameters(self) -> list[str]:
        """The names of the arguments that the inputs give; a parameter with a default may be left out."""
        names, count = list(inspect.signature(self.reference).parameters), len(self.inputs()[0])
        return [*names, *(f"argument {i + 1}" for i in range(len(names), count))][:count]

    def inputs(self) -> list[tuple]:
        """The argument tuples, freshly made, the same every time."""
        return list(self._inputs(np.random.default_rng(SEED)))

    def __call__(self, function: Callable) -> None:
        _say(self.name, self.answer(function))
        if self.shows_solution:
            self.solution()

    def answer(self, function: Any) -> str:
        """The line that `__call__` prints."""
        self._traceback = ""
        if not callable(function):
            return f"✗ {self.name}: pass the function itself, check.{self.name}(your_function), not its result."
        got = self.runs(function)
        if all(run.value is None for run in got) and not does_nothing(function):
            return (
                f"✗ {self.name}: your function returns nothing. Does its last line begin with return? "
                "(print shows a value, return gives it back.)"
            )
        if all(run.value is None or run.value is Ellipsis or _left_open(function, run.value) for run in got):
            return f"… {self.name}: not attempted yet. check.{self.name}.hint() helps."
        expected = self.runs(self.reference)
        if any(map(_failed, got)):
            other = self.runs(function, exchanged=True)
            got = got if any(map(_failed, other)) else other
        wrong = self._wrong_value(function, got, expected)
        wrong = wrong or self._side_effect(got, expected)
        return f"✗ {self.name}: {wrong}." if wrong else f"✓ {self.name}: correct."

    def runs(self, function: Callable, exchanged: bool = False) -> list[Run]:
        """What the function does with each input; exchanged: with arrays in place of tensors and the reverse."""
        results = []
        for arguments in self.inputs():
            arguments = tuple(map(_exchanged, arguments)) if exchanged else arguments
            given = copy.deepcopy(arguments)
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    value = function(*given)
            except Exception as error:
                value = error
            named = dict(zip(self.parameters, given, strict=True))
            changed = [name for name, before in zip(named, arguments, strict=True) if not same(named[name], before)]
            results.append(Run(value, changed, _trained(value, named)))
        return results

    def outcomes(self, function: Callable) -> list[Any]:
        """What the function gives for each input: its value, or the exception that it raised."""
        return [run.value for run in self.runs(function)]

    def _wrong_value(self, function: Callable, got: list[Run], expected: list[Run]) -> str:
        """What is wrong with the values, "" if nothing is.

        A known mistake is named if it gives the same for every input, or else for every input that the
        function survives.
        """
        right = [same(a.value, b.value) for a, b in zip(got, expected, strict=True)]
        if all(right):
            return ""
        known = [(self.outcomes(wrong), message) for wrong, message in self.mistakes]
        ran = [i for i, run in enumerate(got) if not _failed(run)]
        for some in (range(len(got)), ran):
            if any(not right[i] for i in some):
                for outcomes, message in known:
                    if all(same(got[i].value, outcomes[i]) for i in some):
                        return message
        first = right.index(False)
        if _failed(got[first]):
            only = f"with {described(self.parameters, self.inputs()[first])} " if ran else ""
            return only + self._stopped(function, got[first].value)
        if changed := _changed(got):
            return self._copy_first(changed)
        return f"with {described(self.parameters, self.inputs()[first])}, " + difference(
            got[first].value, expected[first].value
        )

    def _stopped(self, function: Callable, error: Exception) -> str:
        """That the function raised an exception, and why; keeps Python's own account."""
        self._traceback = "".join(
            traceback.format_exception(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
        )
        return (
            f"your function stopped{failure(error, function, self.parameters)}. "
            f"check.{self.name}.traceback() prints Python's own message ({type(error).__name__})"
        )

    def _side_effect(self, got: list[Run], expected: list[Run]) -> str:
        """What a function with the right values does wrong, "" if nothing: it changes an argument, or cannot train."""
        for wrong, message in self.mistakes:
            if _alike(got, self.runs(wrong)) and not _alike(got, expected):
                return message
        if changed := _changed(got):
            return self._copy_first(changed)
        missing = [name for name in expected[0].trained if name not in got[0].trained]
        if missing:
            return (
                f"the number is right, but no gradient reaches {_listed(missing)}, so nothing can be trained with it; "
                "stay with tensors of torch, without .item(), float(), .detach(), .numpy() and torch.no_grad()"
            )
        return ""

    def _copy_first(self, changed: list[str]) -> str:
        """That a function changes arguments, and what to do about it."""
        name = changed[0]
        value = self.inputs()[0][self.parameters.index(name)]
        how = f"{name} = {name}.clone()" if isinstance(value, torch.Tensor) else f"{name} = {name}.copy()"
        return (
            f"your function changes its argument {_listed(changed)}, so whoever called it loses the old values; "
            f"work on a copy ({how}), or compute a new value (a - b, not a -= b)"
        )

    def hint(self) -> None:
        """Print the next hint; the last one stays."""
        self._hints_shown = min(self._hints_shown + 1, len(self.hints))
        number = self._hints_shown
        progress.note(self.name, progress.HINT)
        given = self.given() if number == 1 else ""
        print(f"hint {number} of {len(self.hints)}: {self.hints[number - 1]}{given}" if number else "there is no hint.")

    def given(self) -> str:
        """Which arguments are arrays and which tensors, as a sentence in brackets; "" if none is."""
        kinds = {"NumPy array": [], "torch tensor": []}
        for name, value in zip(self.parameters, self.inputs()[0], strict=True):
            if isinstance(value, (np.ndarray, torch.Tensor)):
                kinds["NumPy array" if isinstance(value, np.ndarray) else "torch tensor"].append(name)
        said = [
            f"{_listed(names)} {f'are {kind}s' if names[1:] else f'is a {kind}'}"
            for kind, names in kinds.items()
            if names
        ]
        return f" ({', '.join(said)}.)" if said else ""

    def traceback(self) -> None:
        """Print Python's own account of the error that stopped the function at the last check."""
        print(self._traceback.rstrip() or f"check.{self.name}: the last check was not stopped by an error.")

    def solution(self) -> None:
        """Print the reference's source, unless the solutions are not released yet."""
        if may_be_seen(self.name):
            print(source_of(self.reference))

    def __repr__(self) -> str:
        return f"check.{self.name}: {self.question}"


class Number:
    """A number to work out by hand. Called with the reader's number it prints one line; None or ... is not
    attempted.

    working: how the answer is found, which `solution()` prints; mistakes: (wrong number, message) pairs
    """

    shows_solution = False

    def __init__(
        self,
        name: str,
        question: str,
        value: float,
        working: str,
        mistakes: Sequence[tuple[float, str]] = (),
        hints: Sequence[str] = (),
        tolerance: float = 0.005,
    ):
        self.name, self.question, self.value, self.working = name, question, value, working
        self.mistakes, self.hints, self.tolerance = list(mistakes), list(hints), tolerance
        self._hints_shown = 0
        register(self)

    def __call__(self, value: Any) -> None:
        _say(self.name, self.answer(value))
        if self.shows_solution:
            self.solution()

    def answer(self, value: Any) -> str:
        """The line that `__call__` prints."""
        if value is None or value is Ellipsis:
            return f"… {self.name}: not attempted yet. check.{self.name}.hint() helps."
        try:
            value = float(value)
        except (TypeError, ValueError):
            return f"✗ {self.name}: give one number, not {value!r}."
        if abs(value - self.value) <= self.tolerance:
            return f"✓ {self.name}: correct."
        for wrong, message in self.mistakes:
            if abs(value - wrong) <= self.tolerance:
                return f"✗ {self.name}: {message}."
        if 0 <= self.value <= 1 < value <= 100:
            return f"✗ {self.name}: {value:g} is more than 1; give a fraction from 0 to 1, not percent."
        return f"✗ {self.name}: {value:g} is too {'large' if value > self.value else 'small'}."

    hint = Exercise.hint

    def given(self) -> str:
        """Nothing is given but the question."""
        return ""

    def solution(self) -> None:
        """Print how the number is found, unless the solutions are not released yet."""
        if may_be_seen(self.name):
            print(self.working)

    __repr__ = Exercise.__repr__


def exercise(
    question: str, inputs: Callable[[np.random.Generator], Iterable[tuple]], hints: Sequence[str] = ()
) -> Callable[[Callable], Exercise]:
    """Decorate the reference solution: the name becomes an `Exercise`, and `check` knows it under that name."""
    return lambda reference: Exercise(question, reference, inputs, hints)


def _say(name: str, answer: str) -> None:
    """Prints what a check answers and adds it to the reader's record."""
    print(answer)
    if answer[0] in ANSWERED:
        progress.note(name, ANSWERED[answer[0]])


def may_be_seen(name: str) -> bool:
    """Whether a solution may be printed, which then goes into the record; if not, says so instead."""
    if handout.released():
        progress.note(name, progress.SOLUTION)
        return True
    print(f"The solution of {name} comes when your lecturer releases it; until then check.{name}.hint() helps.")
    return False


def normal(generator: np.random.Generator, *shape: int) -> torch.Tensor:
    """A float64 tensor of normal draws, for the inputs of an exercise."""
    return torch.from_numpy(generator.standard_normal(shape))


def source_of(function: Callable) -> str:
    """The source of a function without its decorators, moved to the margin."""
    source = textwrap.dedent(inspect.getsource(function))
    first_line = ast.parse(source).body[0].lineno
    return "\n".join(source.splitlines()[first_line - 1 :])


def _failed(run: Run) -> bool:
    return isinstance(run.value, Exception)


def _alike(a: list[Run], b: list[Run]) -> bool:
    """Do two functions do the same: return the same, change the same arguments, give the same arguments gradients?"""
    return all(
        same(x.value, y.value) and x.changed == y.changed and x.trained == y.trained for x, y in zip(a, b, strict=True)
    )


def _changed(runs: list[Run]) -> list[str]:
    """The arguments that any of the calls changed."""
    return list(dict.fromkeys(name for run in runs for name in run.changed))


def _trained(value: Any, named: dict[str, Any]) -> list[str]:
    """The names of the arguments that get a gradient from a value."""
    leaves = {name: each for name, each in named.items() if isinstance(each, torch.Tensor) and each.requires_grad}
    if not leaves or not isinstance(value, torch.Tensor) or not value.requires_grad:
        return []
    try:
        gradients = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True)
    except RuntimeError:  # a value on the way was changed in place
        return []
    return [name for name, gradient in zip(leaves, gradients, strict=True) if gradient is not None]


def _exchanged(value: Any) -> Any:
    """An array for a tensor, a tensor for an array; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().numpy().copy()
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def does_nothing(function: Callable) -> bool:
    """Whether a function's body is only `pass`, `return` or a docstring."""
    code = getattr(function, "__code__", None)
    return code is not None and {each.opname for each in dis.get_instructions(code)} <= NOTHING_DONE


def _left_open(function: Callable, error: Any) -> bool:
    """Whether the function itself said `raise NotImplementedError`; libraries raise it for a dtype, for example."""
    if not isinstance(error, NotImplementedError):
        return False
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    code = getattr(function, "__code__", None)
    raised = last is not None and last.tb_frame.f_code is code
    return raised and code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _listed(names: list[str]) -> str:
    """Names as in a sentence: a; a and b; a, b and c."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
