"""Kills real work at random moments, twenty times each, and counts what survived: writes data/results/stress.csv.

    python benchmarks/stress.py [SUBJECT ...] [--times 20]        make stress

The subjects and what survival means are those of tests/test_kill.py, which does three of each. One subject takes half a
minute to six minutes on two cores. A row is replaced when its subject is done, so that a part can be done alone.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from datetime import date
from pathlib import Path

import pandas as pd
from form import device
from tqdm import tqdm

from cambook import files

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_kill import SUBJECTS, survives  # noqa: E402

RESULT = files.DATA / "results" / "stress.csv"


def survived(subject: str, times: int) -> int:
    """How many of so many kills the subject survived; of the others the seed and the reason are printed."""
    count = 0
    for seed in tqdm(range(times), desc=subject, unit="kill"):
        try:
            survives(subject, seed)
        except Exception:
            traceback.print_exc()
        else:
            count += 1
    return count


def record(row: dict) -> None:
    """Puts a subject's row into the file, in the place of an older one, in the order of SUBJECTS."""
    rows = pd.read_csv(RESULT, comment="#").to_dict("records") if RESULT.exists() else []
    rows = {each["what"]: each for each in [*rows, row]}
    table = pd.DataFrame([rows[subject] for subject in SUBJECTS if subject in rows])
    with files.atomic_write(RESULT) as file:
        file.write_text("# make stress: kills at random moments, and how many lost and damaged nothing\n", "utf-8")
        table.to_csv(file, mode="a", index=False, lineterminator="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", nargs="*", help=f"by default all: {'; '.join(SUBJECTS)}")
    parser.add_argument("--times", type=int, default=20, help="kills of each subject (default 20)")
    given = parser.parse_args()
    if unknown := set(given.subject) - set(SUBJECTS):
        parser.error(f"{unknown.pop()!r} is unknown: choose from {'; '.join(SUBJECTS)}")
    if given.times < 1:
        parser.error(f"--times {given.times}: give at least 1")
    lost = 0
    for subject in given.subject or SUBJECTS:
        count = survived(subject, given.times)
        lost += given.times - count
        row = {"what": subject, "times": given.times, "survived": count, "date": date.today(), "device": device()}
        record(row)
        print(f"{subject}: {count} of {given.times} kills survived")
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
