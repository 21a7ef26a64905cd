"""Every lesson and every table records the numbers of tests/expected; some run again with other parameters."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from cambook import files
from cambook.course import findings, notebooks, runs
from cambook.course.parameters import ParameterError

LESSONS = sorted(files.NOTEBOOKS.glob(files.LESSONS))
TABLES = sorted((files.NOTEBOOKS / "reproduce").glob("*.ipynb"))
EXPECTED = Path(__file__).parent / "expected"
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def lesson_named(start):
    return next(path for path in LESSONS if path.stem.startswith(f"{start}_"))


def faults(metrics, expected):
    """What is wrong with recorded metrics, one sentence each; see tests/expected/README.md."""
    found = [f"{name} was recorded but is not expected" for name in metrics if name not in expected]
    for name, wanted in expected.items():
        value, tolerance, direction = wanted["value"], wanted["tolerance"], wanted["direction"]
        if name not in metrics:
            found.append(f"{name} was not recorded")
            continue
        difference = metrics[name] - value
        worst = {"higher": -difference, "lower": difference, "both": abs(difference)}[direction]
        if worst > tolerance:
            found.append(f"{name} = {metrics[name]}, expected {value} +- {tolerance}, direction {direction}")
    return found


RIGHT = {"loc": {"value": 60.0, "tolerance": 2.0, "direction": "higher"}}


@pytest.mark.parametrize("metrics", [{"loc": 60.0}, {"loc": 58.0}, {"loc": 99.0}])
def test_a_number_may_be_better_than_expected_or_within_tolerance(metrics):
    assert faults(metrics, RIGHT) == []


@pytest.mark.parametrize("metrics", [{"loc": 57.9}, {}, {"loc": 60.0, "new": 1.0}])
def test_a_fall_a_missing_number_and_a_new_one_are_faults(metrics):
    assert len(faults(metrics, RIGHT)) == 1


def test_directions_mean_what_is_better():
    def wanted(direction):
        return {"x": {"value": 10.0, "tolerance": 1.0, "direction": direction}}

    assert [bool(faults({"x": 12.0}, wanted(d))) for d in ("higher", "lower", "both")] == [False, True, True]
    assert [bool(faults({"x": 8.0}, wanted(d))) for d in ("higher", "lower", "both")] == [True, False, True]


def test_every_expectation_belongs_to_a_lesson_or_a_table():
    assert {path.stem for path in EXPECTED.glob("*.json")} == {path.stem for path in LESSONS + TABLES}


def record_of(lesson, began):
    """What the lesson recorded when nbval ran it, minutes ago in this session; without nbval it runs now."""
    folder = files.RUNS / "interactive" / lesson.stem
    if (folder / "record.json").is_file():
        record = runs.Record.load(folder)
        if datetime.fromisoformat(record.started) >= began:
            return record
    return notebooks.execute(lesson, {}, files.RUNS / lesson.stem)


@pytest.mark.parametrize("lesson", LESSONS + TABLES, ids=lambda path: path.stem)
def test_a_lesson_runs_and_records_what_is_expected(lesson, began):
    record = record_of(lesson, began)
    file = EXPECTED / f"{lesson.stem}.json"
    recorded = {name: {"value": value, "tolerance": 0, "direction": "both"} for name, value in record.metrics.items()}
    assert file.is_file(), f"write {file.name} from {json.dumps(recorded, indent=1)}"
    assert faults(record.metrics, json.loads(file.read_text(encoding="utf-8"))) == []
    said = findings.findings_of(json.loads(lesson.read_text(encoding="utf-8")))
    claims = [claim for one in said for claim in one.claims]
    assert said and [claim for claim in claims if not findings.holds(claim, record.metrics)] == [], record.metrics


@each_lesson
def test_a_lesson_refuses_a_parameter_it_does_not_have(lesson, tmp_path):
    with pytest.raises(ParameterError, match="no parameter 'sead'.*did you mean seed"):
        notebooks.execute(lesson, {"sead": 1}, tmp_path / "out")


def test_a_lesson_runs_with_another_seed(tmp_path):
    record = notebooks.execute(lesson_named("02"), {"seed": 1}, tmp_path)
    expected = json.loads((EXPECTED / f"{record.notebook}.json").read_text(encoding="utf-8"))
    assert set(record.metrics) == set(expected)
    assert record.parameters["seed"] == 1


def test_the_first_lesson_looks_at_a_picture_of_your_own(tmp_path):
    from PIL import Image
    from skimage import data

    picture = tmp_path / "my own picture.jpg"
    Image.fromarray(data.coffee()).convert("CMYK").save(picture)
    record = notebooks.execute(lesson_named("00"), {"image": str(picture)}, tmp_path / "run")
    assert record.parameters["image"] == "my own picture.jpg" and record.metrics
