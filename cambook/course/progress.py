"""Which exercises are solved: each check leaves a line in the reader's own record, and a lecturer reads a class's.

A record is `RECORD` in the folder of the runs: one JSON object per line, written at the end, each with the newline
before it, so that half a line of a killed process spoils no other. What is read comes from somebody else's folder and
may be anything.
"""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cambook import files

RECORD = "exercises.jsonl"
SOLVED, TRIED, HINT, SOLUTION = EVENTS = ("solved", "tried", "hint", "solution")
NOT_ATTEMPTED = "not attempted"
DEPTH = 4  # a record lies at most so many folders below the one that is named
MOST_BYTES = 16 * 2**20  # more of a record is not read; a class writes a thousandth of it


class Progress(NamedTuple):
    """What one reader did with one exercise: a row of the CSV.

    state:        solved, tried or not attempted
    tries:        how many answers were checked, up to the first that was right
    first_solved: when that was, in UTC by the clock of its machine; empty if it was not
    hint, solution: whether they were asked for, yes or no
    """

    student: str
    lesson: str
    exercise: str
    state: str
    tries: int
    first_solved: str
    hint: str
    solution: str


def note(exercise: str, event: str) -> None:
    """Adds a line to the reader's record. Where it cannot be written, nothing is: a check works in any folder."""
    said = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "exercise": exercise, "event": event}
    with suppress(OSError):
        files.RUNS.mkdir(parents=True, exist_ok=True)
        with open(files.RUNS / RECORD, "ab", buffering=0) as record:  # at the end, also if two kernels write at once
            record.write(f"\n{json.dumps(said)}".encode())


def progress(folder: str | os.PathLike, exercises: Mapping[str, str]) -> list[Progress]:
    """What the records in a reader's folder say, with a row for each exercise, also for those that nobody tried.

    folder:    is searched `DEPTH` folders down, without hidden ones and without following links
    exercises: the lesson of each exercise, by its name; others are left out
    raises:    FileNotFoundError if there is no such folder
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: name those in which your students work.")
    events: dict[str, list[tuple[str, str]]] = {name: [] for name in exercises}
    for record in _records(folder):
        for exercise, event, time in _events(record):
            if exercise in events:
                events[exercise].append((event, time))
    student = str(folder).encode(errors="backslashreplace").decode()
    return [_row(student, lesson, name, events[name]) for name, lesson in exercises.items()]


def write(rows: Iterable[Progress], file: str | os.PathLike) -> None:
    """Writes rows as a CSV file, whole or not at all.

    raises: ValueError if it cannot be written
    """
    try:
        with files.atomic_write(file) as part, part.open("w", encoding="utf-8-sig", newline="") as table:  # for Excel
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(Progress._fields)
            writer.writerows(rows)
    except OSError as error:
        raise ValueError(f"{file} cannot be written ({error.strerror or error}): name another file.") from error


def _row(student: str, lesson: str, exercise: str, events: list[tuple[str, str]]) -> Progress:
    kinds = [event for event, _ in events]
    answers = [(event, time) for event, time in events if event in (SOLVED, TRIED)]
    first = next((i for i, (event, _) in enumerate(answers) if event == SOLVED), None)
    state = NOT_ATTEMPTED if not answers else TRIED if first is None else SOLVED
    tries = len(answers) if first is None else first + 1
    when = "" if first is None else answers[first][1]
    asked = ["yes" if kind in kinds else "no" for kind in (HINT, SOLUTION)]
    return Progress(student, lesson, exercise, state, tries, when, *asked)


def _records(folder: Path) -> list[Path]:
    """The records below a folder, sorted: regular files alone, since a link or a pipe may lead anywhere."""
    found, top = [], len(folder.parts)
    for here, below, names in os.walk(folder):
        deep = len(Path(here).parts) - top
        below[:] = [] if deep == DEPTH else [name for name in below if not name.startswith(".")]
        if RECORD in names and stat.S_ISREG(os.lstat(os.path.join(here, RECORD)).st_mode):
            found.append(Path(here, RECORD))
    return sorted(found)


def _events(record: Path) -> Iterator[tuple[str, str, str]]:
    """(exercise, event, time) of each line that is one; others are left out, and a time that is none is empty."""
    try:
        with record.open("rb") as file:
            lines = file.read(MOST_BYTES).splitlines()
    except OSError:  # it may not be read
        return
    for line in lines:
        try:
            said = json.loads(line)
            exercise, event = said["exercise"], said["event"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(exercise, str) and event in EVENTS:
            yield exercise, event, _time(said.get("time"))


def _time(said: object) -> str:
    try:
        return datetime.fromisoformat(said).astimezone(UTC).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError):
        return ""
