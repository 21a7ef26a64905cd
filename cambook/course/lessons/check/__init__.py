"""Exercises by name: `check.cam(your_function)` says whether it is right, and what is wrong if it is not.

`check.cam.hint()` and `check.cam.solution()` help those who are stuck.

Every exercise that is made is here under its name: those of the lesson modules of this folder, and any made later.
"""

from __future__ import annotations

import importlib
import pkgutil

from cambook.course.lessons.check.exercise import EXERCISES, Exercise, Number
from cambook.course.lessons.check.task import prediction as prediction

LESSONS = [
    importlib.import_module(f"{__name__}.{module.name}")
    for module in pkgutil.iter_modules(__path__)
    if module.name.startswith("lesson_")
]


def by_lesson() -> dict[str, str]:
    """The lesson of each of the course's exercises, 00 or 03b, by the exercise's name; in the lessons' order."""
    return {
        each.name: module.__name__.rpartition("lesson_")[2]
        for module in LESSONS
        for each in vars(module).values()
        if isinstance(each, (Exercise, Number))
    }


def show_solutions(on: bool = True) -> None:
    """For a teacher: from here on every check also prints its solution; with False it does not any more."""
    for each in EXERCISES.values():
        each.shows_solution = on


def __getattr__(name: str) -> Exercise | Number:
    if name not in EXERCISES:
        raise AttributeError(f"No exercise is called {name!r}: choose one of {', '.join(sorted(EXERCISES))}.")
    return EXERCISES[name]


def __dir__() -> list[str]:
    return sorted([*EXERCISES, "by_lesson", "prediction", "show_solutions"])
