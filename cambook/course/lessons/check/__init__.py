"""Exercises: `check.cam(your_function)` says whether it is right and what is wrong, `check.cam.hint()`,
`check.cam.solution()`.

Every `Exercise` and `Number` of the lesson modules is here under its name.
"""

from __future__ import annotations

import importlib
import pkgutil

from cambook.course.lessons.check.exercise import Exercise, Number

LESSONS = [
    importlib.import_module(f"{__name__}.{module.name}")
    for module in pkgutil.iter_modules(__path__)
    if module.name.startswith("lesson_")
]
EXERCISES: dict[str, Exercise | Number] = {}

for _lesson in LESSONS:
    for _name, _exercise in vars(_lesson).items():
        if isinstance(_exercise, (Exercise, Number)):
            if _name in EXERCISES or _name != _exercise.name:
                raise ValueError(f"{_lesson.__name__}: the exercise name {_name!r} is taken or not its own: rename it.")
            EXERCISES[_name] = _exercise
globals().update(EXERCISES)


def show_solutions(on: bool = True) -> None:
    """For a teacher: from here on every check also prints its solution; with False it does not any more."""
    for each in EXERCISES.values():
        each.shows_solution = on


def __dir__() -> list[str]:
    return sorted([*EXERCISES, "show_solutions"])
