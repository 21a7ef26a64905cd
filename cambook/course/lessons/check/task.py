"""Open tasks, which many answers solve, and guesses made before an experiment."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cambook.course.lessons.check.exercise import Exercise, does_nothing, may_be_seen, source_of


class Task(Exercise):
    """An open task: many answers are right, and properties decide. It is called, and speaks, as an exercise does.

    complaints: given the reader's function, yields one sentence for each property that it lacks, and is run until the
    first; hints: from gentle to plain; example: one right answer among many, which `solution()` prints

    Written with a decorator, and with wrong answers that the tests try:

        @task("a window that ...", hints=[...], example=my_window)
        def window(function):
            if function(8).shape != (8, 8):
                yield "give a window of the side that is asked for"

        @window.wrong
        def constant(side): ...
    """

    def __init__(
        self,
        question: str,
        complaints: Callable[[Callable], Iterable[str]],
        hints: Sequence[str] = (),
        example: Callable | None = None,
    ):
        super().__init__(question, complaints, lambda generator: [()], hints)
        self.complaints, self.example, self.wrongs = complaints, example, []

    def wrong(self, function: Callable) -> Callable:
        """Decorate an answer that lacks a property."""
        self.wrongs.append(function)
        return function

    def answer(self, function: Any) -> str:
        """The line that `__call__` prints."""
        self._traceback = ""
        if not callable(function):
            return f"✗ {self.name}: pass the function itself, check.{self.name}(your_function), not its result."
        if does_nothing(function):
            return f"… {self.name}: not attempted yet. check.{self.name}.hint() helps."
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                complaint = next(iter(self.complaints(_watched(function))), None)
        except _LeftOpen:
            return f"… {self.name}: not attempted yet. check.{self.name}.hint() helps."
        except Exception as error:
            complaint = self._stopped(function, error)
        return f"✗ {self.name}: {complaint}." if complaint else f"✓ {self.name}: correct."

    def given(self) -> str:
        """What is given is in the question."""
        return ""

    def solution(self) -> None:
        """Print one right answer, unless the solutions are not released yet."""
        if may_be_seen(self.name):
            print(source_of(self.example))


class _LeftOpen(Exception):
    """The reader's function gives ... or nothing: the task is not attempted."""


def _watched(function: Callable) -> Callable:
    """The function, which says _LeftOpen instead of giving ... or None."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        value = function(*arguments)
        if value is None or value is Ellipsis:
            raise _LeftOpen
        return value

    return call


def task(question: str, hints: Sequence[str], example: Callable) -> Callable[[Callable], Task]:
    """Decorate what finds fault with an answer: the name becomes a `Task`, and `check` knows it under that name."""
    return lambda complaints: Task(question, complaints, hints, example)


def prediction(guess: float | None, measured: Any, unit: str = "percent") -> None:
    """How far a guess, made before the experiment, was from what the experiment gave; None or ... is no guess.

    measured: a Python, numpy or torch scalar; unit: what both are counted in, as it is said behind a number
    """
    if guess is None or guess is Ellipsis:
        print("… no guess yet: write your number where it says None, run that cell, then this one.")
        return
    try:
        guess, measured = float(guess), float(measured)
    except (TypeError, ValueError):
        print(f"✗ a guess is one number, not {guess!r}.")
        return
    off = guess - measured
    how = f"{float(f'{abs(off):.3g}'):g} too {'high' if off > 0 else 'low'}"
    if abs(off) < 1e-3 * max(1, abs(measured)):
        how = "exactly right"
    print(f"You guessed {guess:g} {unit}; it is {float(f'{measured:.3g}'):g}: {how}.")
