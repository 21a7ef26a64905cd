"""What a second pytest runs beside the others is reported, counted and timed as if it had run here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import beside

CONFTEST = """
import beside

beside.FILES, beside.MANY = {"test_slow.py"}, 2

def pytest_configure(config):
    config.pluginmanager.register(beside.plugin())
"""
SLOW = """
import os, pathlib, sys
import pytest

@pytest.mark.parametrize("n", range(2))
def test_passes(n):
    pathlib.Path("slow").write_text(str(os.getpid()))

def test_fails():
    print("what it printed")
    assert 1 == 2, "the reason"

def test_is_skipped():
    pytest.skip("a reason to skip")

@pytest.mark.xfail
def test_is_expected_to_fail():
    assert False

@pytest.fixture
def broken():
    yield
    raise ValueError("in its teardown")

def test_ends_badly(broken):
    pass

def test_starts_no_third(n=0):
    assert not [name for name in os.environ if name.startswith("CAMBOOK_TESTS")]
"""
FAST = """
import os, pathlib, time

def test_waits_for_the_other_file():
    end = time.monotonic() + 60
    while not pathlib.Path("slow").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert pathlib.Path("slow").read_text() != str(os.getpid())

def test_also():
    pass
"""


def pytest_there(folder, slow, *options):
    shutil.copy(beside.__file__, folder)
    for name, text in (("conftest", CONFTEST), ("test_fast", FAST), ("test_slow", slow)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8")
    return done.returncode, done.stdout


def test_every_outcome_is_reported_in_its_turn_while_the_others_run(tmp_path):
    code, said = pytest_there(tmp_path, SLOW, "-rs", "-v", "--durations=0")
    assert re.search(r"1 failed, 6 passed, 1 skipped, 1 xfailed, 1 error in", said), said
    assert code == 1 and "the reason" in said and "what it printed" in said and "in its teardown" in said
    assert "SKIPPED [1] test_slow.py" in said and "a reason to skip" in said
    order = re.findall(r"^(test_\w+\.py)::", said, re.MULTILINE)
    assert order[:2] == ["test_fast.py"] * 2 and set(order[2:]) == {"test_slow.py"}


def test_a_second_pytest_that_dies_fails_the_tests_it_owes(tmp_path):
    code, said = pytest_there(tmp_path, SLOW.replace('print("what it printed")', "os._exit(7)"))
    assert code == 1 and "5 failed, 4 passed" in said and "ended with 7" in said, said


def test_a_few_tests_run_here(tmp_path):
    code, said = pytest_there(tmp_path, SLOW, "-k", "passes or also")
    assert code == 0 and "3 passed" in said
    assert beside.FILES <= {file.name for file in Path(__file__).parent.glob("test_*.py")}
