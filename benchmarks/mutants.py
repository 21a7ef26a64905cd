"""Planted faults: each is put into a copy of the package, one at a time, and a test has to fail.

    python benchmarks/mutants.py                      all of them (`make mutants`)
    python benchmarks/mutants.py maps/cam.py          those of some files

The copy lies in a temporary folder, so that a fault never stands in the repository, whatever stops the run. The copy as
it is has to pass first. A fault is caught where a test fails at what it checks; one that keeps the tests from starting,
or fails for a name that does not exist, is a mistake of the list, which is in faults.py. Each is judged by a process of
its own, forked from one that has imported torch and the others; its result goes to data/results/mutants.csv at once.
Exit status 1 where a fault survives.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
import sys
import tempfile
import textwrap
from collections import Counter
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from faults import MUTANTS, TESTS, Mutant
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
RESULT, PAGE = ROOT / "data" / "results" / "mutants.csv", ROOT / "docs" / "trust.md"
COLUMNS = ("file", "fault", "caught_by", "date")
BEGIN, END = "<!-- mutants -->\n", "<!-- end of mutants -->"
SECONDS = 240  # in which the tests of one file end, compiling included
PROCESSES = multiprocessing.get_context("forkserver")
IMPORTED = "pytest torch torchvision numba pandas scipy.ndimage scipy.stats sklearn.metrics cv2".split()
NO_CHECK = ("NameError", "AttributeError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")


class Mistake(Exception):
    """A mutant that no test got to judge."""


def copied(folder: Path) -> Path:
    """The package, its tests and its notebooks in a folder of their own, with whose modules Python there begins."""
    for part in ("cambook", "tests", "notebooks"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run_tests(copy: Path, tests: list[str]) -> None:
    """What a process of its own does: pytest in the copy, what it says to a file there, its status as the exit's."""
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    for name in [name for name in sys.modules if name.partition(".")[0] == "cambook"]:
        del sys.modules[name]  # the server may be that of a process that has imported it
    own = {"PYTHONPATH": str(copy), "CAMBOOK_HOME": str(ROOT), "CAMBOOK_CACHE": str(copy / "cache")}
    os.environ.update(own, PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    sys.dont_write_bytecode = True  # a fault of the same size in the same second has to be read again
    with open("said.txt", "w", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
    import pytest

    status = pytest.main(
        ["-x", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml", *(f"tests/{t}" for t in tests)]
    )
    package = sys.modules.get("cambook")
    sys.exit(int(status) if package and Path(package.__file__).is_relative_to(copy) else "another cambook was tested")


def first_failure(copy: Path, tests: list[str]) -> str | None:
    """The test of the copy that fails, as FILE::NAME; None where all pass.

    raises: Mistake where the tests do not start, do not end, or fail for a name that does not exist
    """
    (copy / "report.xml").unlink(missing_ok=True)
    process = PROCESSES.Process(target=run_tests, args=(copy, tests))
    process.start()
    try:
        process.join(SECONDS)
    finally:
        if process.is_alive():
            process.kill()
            process.join()
    if process.exitcode == 0:
        return None
    report = copy / "report.xml"
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        failure = case.find("failure")
        if failure is not None and not failure.get("message", "").startswith(NO_CHECK):
            return f"{case.get('classname').split('.')[-1]}.py::{case.get('name')}"
    said = (copy / "said.txt").read_text(encoding="utf-8")
    raise Mistake(f"no test got to judge it (status {process.exitcode}):\n{said[-1500:]}")


def judged(copy: Path, mutant: Mutant) -> str | None:
    """The test that catches a mutant, or None; the copy is afterwards as it was. raises: Mistake"""
    path = copy / "cambook" / mutant.file
    original = path.read_text(encoding="utf-8")
    if original.count(mutant.original) != 1:
        raise Mistake(f"its text is {original.count(mutant.original)} times in {mutant.file}")
    path.write_text(original.replace(mutant.original, mutant.replacement), encoding="utf-8")
    try:
        return first_failure(copy, TESTS[mutant.file])
    finally:
        path.write_text(original, encoding="utf-8")


def read() -> dict[tuple[str, str], dict[str, str]]:
    """data/results/mutants.csv: (file, fault) -> its row."""
    if not RESULT.exists():
        return {}
    with RESULT.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {(row["file"], row["fault"]): row for row in rows}


def write(found: dict[tuple[str, str], dict[str, str]]) -> None:
    """The rows of the mutants on the list, in its order, and the sentence about them in docs/trust.md."""
    from cambook.files import atomic_write  # here, since the processes that test a copy must not have this cambook

    rows = [found[key] for mutant in MUTANTS if (key := (mutant.file, mutant.fault)) in found]
    with atomic_write(RESULT) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write("# python benchmarks/mutants.py\n")
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    text = with_sentence(PAGE.read_text(encoding="utf-8"), rows)
    with atomic_write(PAGE) as part:
        part.write_text(text, encoding="utf-8")


def with_sentence(page: str, rows: list[dict[str, str]]) -> str:
    """The page with the counts of these rows between its two marks; SystemExit where it has not one pair of them."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(
            f"{PAGE.name} needs one line {BEGIN.strip()} and one line {END}: the counts stand between them."
        )
    rooms = Counter(row["file"].partition("/")[0] for row in rows)
    each = ", ".join(f"`{name}/` {number}" for name, number in rooms.items())
    caught = sum(bool(row["caught_by"]) for row in rows)
    days = sorted({row["date"] for row in rows})
    when = days[0] if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    sentence = f"Of {len(rows)} planted faults ({each}) the tests catch {caught}, tried {when}."
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{textwrap.fill(sentence, 120, break_on_hyphens=False)}\n{END}{after}"


def main(files: list[str]) -> int:
    unknown = set(files) - set(TESTS)
    if unknown:
        raise SystemExit(f"{', '.join(sorted(unknown))}: no fault is planted there, choose from {', '.join(TESTS)}.")
    chosen = [mutant for mutant in MUTANTS if not files or mutant.file in files]
    survivors = 0
    PROCESSES.set_forkserver_preload(IMPORTED)
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        for file in tqdm(dict.fromkeys(mutant.file for mutant in chosen), desc="without a fault", unit="file"):
            if failed := first_failure(copy, TESTS[file]):
                raise SystemExit(f"Without any fault {failed} fails: mend that first.")
        for mutant in tqdm(chosen, desc="faults", unit="fault"):
            caught, said = None, "SURVIVES"
            try:
                caught = judged(copy, mutant)
            except Mistake as mistake:
                said = f"a mistake of the list: {mistake}"
            survivors += caught is None
            tqdm.write(f"{mutant.file}: {mutant.fault}: {caught or said}")
            row = (mutant.file, mutant.fault, caught or "", str(date.today()))
            write(read() | {(mutant.file, mutant.fault): dict(zip(COLUMNS, row, strict=True))})
    print(f"{len(chosen) - survivors} of {len(chosen)} faults are caught.")
    return int(survivors > 0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Mistake as mistake:  # of the copy as it is
        sys.exit(f"Without any fault {mistake}")
    except KeyboardInterrupt:
        sys.exit("Stopped; what was tried before is in data/results/mutants.csv.")
