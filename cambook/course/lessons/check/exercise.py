"""An exercise: a reference, inputs to try it on, mistakes that are known by what they give, and hints.

Written with decorators, so that a lesson's exercises read from top to bottom:

    @exercise("the mean of each feature map", inputs=..., hints=[...])
    def gap(feature_maps):
        return feature_maps.mean((2, 3))

    @gap.mistake("you summed over the places instead of averaging")
    def summed(feature_maps):
        return feature_maps.sum((2, 3))

A reader calls `gap(their_function)`, `gap.hint()` and `gap.solution()`; each prints and returns nothing. Each also adds
to the reader's record what came of it (`progress`), but for an exercise that was not attempted.
"""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
import textwrap
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from cambook.course import handout, progress

SEED = 20160627
TOLERANCE = 1e-5
ANSWERED = {"✓": progress.SOLVED, "✗": progress.TRIED}  # what an answer that begins so adds to the record
EXERCISES: dict[str, Exercise | Number] = {}  # every exercise by its name


def register(one: Exercise | Number) -> None:
    """Makes an exercise known under its name; what is made again, in a notebook's cell that runs twice, is replaced.

    raises: ValueError where another exercise has that name
    """
    known = EXERCISES.get(one.name)
    if known is not None and known.question != one.question:
        raise ValueError(f"The exercise name {one.name!r} is taken by {known!r}: choose another one.")
    EXERCISES[one.name] = one


class Exercise:
    """A function to complete. Called with the reader's function, it prints one line: right, wrong and why,
    or not yet.

    name, question: shown to the reader; reference: the solution, whose source `solution()` prints;
    inputs: (generator) -> the argument tuples to try, float64 where they are floats; hints: from gentle to
    plain.
    Inputs are drawn from one fixed seed, and each call gets its own copy of them.
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
        self._inputs, self._hints_shown = inputs, 0
        register(self)

    def mistake(self, message: str) -> Callable[[Callable], Callable]:
        """Decorate a known wrong solution: a reader's function that gives the same is answered with
        `message`."""

        def remember(wrong: Callable) -> Callable:
            self.mistakes.append((wrong, message))
            return wrong

        return remember

    def inputs(self) -> list[tuple]:
        """The argument tuples, freshly made, the same every time."""
        return list(self._inputs(np.random.default_rng(SEED)))

    def __call__(self, function: Callable) -> None:
        _say(self.name, self.answer(function))
        if self.shows_solution:
            self.solution()

    def answer(self, function: Any) -> str:
        """The line that `__call__` prints.

        A known mistake is named where it gives the same for every input, or else for every input that the
        function survives.
        """
        if not callable(function):
            return f"✗ {self.name}: pass the function itself, check.{self.name}(your_function), not its result."
        got = self.outcomes(function)
        if all(one is None or one is Ellipsis or isinstance(one, NotImplementedError) for one in got):
            return f"… {self.name}: not attempted yet. check.{self.name}.hint() helps."
        expected = self.outcomes(self.reference)
        if all(map(same, got, expected)):
            return f"✓ {self.name}: correct."
        known = [(self.outcomes(wrong), message) for wrong, message in self.mistakes]
        for outcomes, message in known:
            if all(map(same, got, outcomes)):
                return f"✗ {self.name}: {message}."
        ran = [i for i, one in enumerate(got) if not isinstance(one, Exception)]
        if any(not same(got[i], expected[i]) for i in ran):
            for outcomes, message in known:
                if all(same(got[i], outcomes[i]) for i in ran):
                    return f"✗ {self.name}: {message}."
        first = next(i for i, pair in enumerate(zip(got, expected, strict=True)) if not same(*pair))
        where = f"✗ {self.name}: with {_describe(self.inputs()[first])}"
        if isinstance(got[first], Exception):
            return f"{where} your function stopped: {_failure(got[first], function)}"
        return f"{where}, {difference(got[first], expected[first])}."

    def outcomes(self, function: Callable) -> list[Any]:
        """What the function gives for each input: its value, or the exception that it raised."""
        results = []
        for arguments in self.inputs():
            try:
                results.append(function(*copy.deepcopy(arguments)))
            except Exception as error:
                results.append(error)
        return results

    def hint(self) -> None:
        """Print the next hint; the last one stays."""
        self._hints_shown = min(self._hints_shown + 1, len(self.hints))
        number = self._hints_shown
        progress.note(self.name, progress.HINT)
        print(f"hint {number} of {len(self.hints)}: {self.hints[number - 1]}" if number else "there is no hint.")

    def solution(self) -> None:
        """Print the reference's source, unless the solutions are not released yet."""
        if _may_be_seen(self.name):
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
        return f"✗ {self.name}: {value:g} is too {'large' if value > self.value else 'small'}."

    hint = Exercise.hint

    def solution(self) -> None:
        """Print how the number is found, unless the solutions are not released yet."""
        if _may_be_seen(self.name):
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


def _may_be_seen(name: str) -> bool:
    """Whether a solution may be printed, which then goes into the record; if not, says so in its place."""
    if handout.released():
        progress.note(name, progress.SOLUTION)
        return True
    print(f"The solution of {name} comes when your lecturer releases it; until then check.{name}.hint() helps.")
    return False


def normal(generator: np.random.Generator, *shape: int) -> torch.Tensor:
    """A float64 tensor of normal draws, for the inputs of an exercise."""
    return torch.from_numpy(generator.standard_normal(shape))


def same(a: Any, b: Any) -> bool:
    """Do two outcomes say the same: equal shapes and numbers (NaN equals NaN), or exceptions of one type?

    Tensors, arrays, numbers, and tuples or lists of them are alike, whatever their dtype.
    """
    if isinstance(a, Exception) or isinstance(b, Exception):
        return type(a) is type(b)
    a, b = _plain(a), _plain(b)
    if isinstance(a, list) or isinstance(b, list):
        return isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return a is b
    return a.shape == b.shape and np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def difference(got: Any, expected: Any) -> str:
    """Where two outcomes first differ, in words."""
    got, expected = _plain(got), _plain(expected)
    if expected is None:
        return "the answer is None"
    if got is None or got is Ellipsis:
        return "your function gave nothing back (is a return missing?)"
    if isinstance(expected, list):
        if not isinstance(got, list):
            return f"give {len(expected)} things back, not {_short(got)}"
        if len(got) != len(expected):
            return f"give {len(expected)} things back, not {len(got)}"
        i = next(i for i, pair in enumerate(zip(got, expected, strict=True)) if not same(*pair))
        return f"in part {i} of what you give back, {difference(got[i], expected[i])}"
    if not isinstance(got, np.ndarray):
        return f"give {_short(expected)} back, not {_short(got)}"
    if got.shape != expected.shape:
        return f"give {_short(expected)} back, not {_short(got)}"
    wrong = ~np.isclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    at = f"at [{', '.join(map(str, place))}] " if place else ""
    return f"{at}expected {expected[place]:.4g} but got {got[place]:.4g}"


def source_of(function: Callable) -> str:
    """The source of a function without its decorators, moved to the margin."""
    source = textwrap.dedent(inspect.getsource(function))
    first_line = ast.parse(source).body[0].lineno
    return "\n".join(source.splitlines()[first_line - 1 :])


def _plain(value: Any) -> Any:
    """A float64 array where the value is made of numbers of one shape; a list where of several; otherwise
    itself."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, (tuple, list)):
        parts = [_plain(part) for part in value]
        arrays = all(isinstance(part, np.ndarray) for part in parts)
        return np.stack(parts) if arrays and len({part.shape for part in parts}) == 1 else parts
    if isinstance(value, (bool, int, float, np.ndarray, np.generic)):
        try:
            return np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return value
    return value


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}" if value.ndim else "one number"
    return f"{len(value)} things of different shapes" if isinstance(value, list) else f"{value!r}"


def _describe(arguments: tuple) -> str:
    """The inputs in words: shapes of arrays, everything small as it is."""
    words = [
        f"shape {tuple(each.shape)}" if hasattr(each, "shape") and each.ndim else f"{each!r}" for each in arguments
    ]
    return "input of " + " and ".join(words)


def _failure(error: Exception, function: Callable) -> str:
    """The exception in one sentence, with the line of the reader's function that it came from."""
    message = " ".join(str(error).split())
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if not frames:
        return said
    code = linecache.getline(file, frames[-1].lineno).strip()
    line = frames[-1].lineno - function.__code__.co_firstlineno + 1
    return f"{said} (line {line} of your function: {code})" if code else said
