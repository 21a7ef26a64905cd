"""Exercises: `check.cam(your_function)` says whether it is right and what is wrong, `check.cam.hint()`,
`check.cam.solution()`.

Every `Exercise` and `Number` of the lesson modules is here under its name.
"""

from __future__ import annotations

from cambook.check import lesson_00, lesson_01, lesson_02, lesson_03, lesson_04
from cambook.check.exercise import Exercise, Number

EXERCISES: dict[str, Exercise | Number] = {}

for _lesson in (lesson_00, lesson_01, lesson_02, lesson_03, lesson_04):
    for _name, _exercise in vars(_lesson).items():
        if isinstance(_exercise, (Exercise, Number)):
            if _name in EXERCISES or _name != _exercise.name:
                raise ValueError(
                    f"{_lesson.__name__}: the exercise name {_name!r} is taken or not its own: rename it."
                )
            EXERCISES[_name] = _exercise
globals().update(EXERCISES)


def __dir__() -> list[str]:
    return sorted(EXERCISES)
