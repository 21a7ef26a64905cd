"""The planted faults of benchmarks/mutants.py: a list that fits today's code, a table in which all are caught."""

import ast
import functools
from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).parents[1]
KEYS = [(mutant.file, mutant.fault) for mutant in mutants.MUTANTS]


@functools.cache
def code(file):
    """Text of a file of cambook/, and what it says."""
    whole = (ROOT / "cambook" / file).read_text(encoding="utf-8")
    return whole, ast.dump(ast.parse(whole))


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=[f"{file}: {fault}" for file, fault in KEYS])
def test_a_faults_text_is_in_its_file_exactly_once_and_what_replaces_it_is_other_code(mutant):
    whole, means = code(mutant.file)
    assert whole.count(mutant.original) == 1
    assert ast.dump(ast.parse(whole.replace(mutant.original, mutant.replacement))) != means


def test_there_are_many_faults_each_with_a_name_of_its_own_in_every_room_that_computes():
    assert len(KEYS) >= 20 and len(set(KEYS)) == len(KEYS)
    rooms = {"maps", "metrics", "networks", "datasets", "training", "course"}
    assert {file.partition("/")[0] for file, _ in KEYS} == rooms
    named = {ROOT / "tests" / name for names in mutants.TESTS.values() for name in names}
    assert all(path.is_file() for path in named)


def test_every_fault_of_the_list_was_tried_and_caught():
    found = mutants.read()
    assert list(found) == KEYS, "run `make mutants`"
    for row in found.values():
        file, _, test = row["caught_by"].partition("::")
        assert file in mutants.TESTS[row["file"]], row
        assert f"def {test.partition('[')[0]}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), row


def test_the_sentence_about_them_counts_the_table():
    page, rows = mutants.PAGE.read_text(encoding="utf-8"), list(mutants.read().values())
    assert mutants.with_sentence(page, rows) == page
    caught = sum(bool(row["caught_by"]) for row in rows)
    said = " ".join(page.split())
    assert f"Of {len(rows)} planted faults (" in said and f") the tests catch {caught}, tried " in said
    with pytest.raises(SystemExit, match="trust.md needs one line <!-- mutants -->"):
        mutants.with_sentence("no marks", rows)


# ---- how they are tried, on a package of one line ----


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """cambook/one.py doubles a number; its first test looks at 0, its second at 3."""
    for name, text in {
        "cambook/__init__.py": "",
        "cambook/one.py": "def double(x):\n    return 2 * x\n",
        "tests/test_one.py": "from cambook.one import double\n\n\ndef test_zero():\n    assert double(0) == 0\n\n\n"
        "def test_three():\n    assert double(3) == 6\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setitem(mutants.TESTS, "one.py", ("test_one.py",))
    return tmp_path


def test_a_fault_is_caught_by_a_failing_test_and_never_by_tests_that_do_not_start(copy):
    def judged(replacement, original="2 * x"):
        return mutants.judged(copy, mutants.Mutant("one.py", "", original, replacement))

    assert mutants.first_failure(copy, ["test_one.py"]) is None
    assert judged("3 * x") == "test_one.py::test_three"
    assert judged("x * 2") is None
    for replacement, original in (("y", "2 * x"), ("triple", "double"), ("y", "x")):  # no name, no start, twice there
        with pytest.raises(mutants.Mistake):
            judged(replacement, original)
    assert (copy / "cambook" / "one.py").read_text(encoding="utf-8") == "def double(x):\n    return 2 * x\n"
