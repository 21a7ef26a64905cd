"""The table in docs is what the committed files give, and a benchmark says truly whether its aim is met."""

import json
import re
from pathlib import Path

import bench
import pytest

from cambook.course import runs

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "data" / "results").glob("bench-*.json"))
ROW = {"what": "a", "value": 1.0, "low": 0.9, "high": 1.1, "unit": "s", "aim": None, "met": None, "why": None}


def report(*rows):
    return {"command": "python x.py", "date": "2026-01-01", "device": "cpu", "versions": {}, "rows": list(rows)}


def test_the_page_has_the_table_of_the_committed_files():
    page = bench.PAGE.read_text(encoding="utf-8")
    assert bench.with_table(page, bench.reports()) == page, "run python benchmarks/bench.py --write"


def test_the_docs_say_how_the_random_orders_ended():
    found = runs.recorded("flakes").result
    said = " ".join((ROOT / "docs" / "trust.md").read_text(encoding="utf-8").split())
    assert len(found) >= 20 and set(found) == {"passed"}
    assert f"(../data/results/flakes.csv): {len(found)} of {len(found)} passed)" in said


def test_every_benchmark_has_its_result():
    assert {file.stem.removeprefix("bench_") for file in bench.benchmarks([])} == {
        file.stem.removeprefix("bench-") for file in FILES if file.stem != "bench-course"
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_result_has_the_form_and_says_where_it_comes_from(file):
    found = bench.read(file)
    script = "course" if file.stem == "bench-course" else file.stem.replace("-", "_")
    assert len(found.rows) > 0 and found.command == f"python benchmarks/{script}.py"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.date) and "CPU" in found.device and "python" in found.versions
    assert len({row.what for row in found.rows}) == len(found.rows)


def reaches(row, rows):
    """Whether the aim is met, from the numbers alone."""
    number = re.search(r"[\d.]+", row.aim)
    if row.aim == "within the noise of the forward pass":
        (noise,) = (r for r in rows if r.what == f"{row.what.partition(': ')[0]}: one more forward pass")
        return row.value <= noise.high
    if row.aim.startswith(("at most", "constant (within")):
        return row.value <= float(number.group())
    if row.aim.startswith("under"):
        return row.value < float(number.group())
    if re.fullmatch(r"[\d.]+ times", row.aim):
        return row.value >= float(number.group())
    assert row.aim in ("at least level", "all cores used by default"), f"{row.what}: no rule for {row.aim!r}"
    return row.value >= 1 if row.aim == "at least level" else row.value > 1.5


def test_aims_are_met_where_the_files_say_so():
    judged = 0
    for found in bench.reports():
        for row in found.rows:
            if row.aim:
                assert reaches(row, found.rows) == row.met, row
                judged += 1
    assert judged >= 8


def test_the_course_is_judged_from_its_own_file():
    (found,) = (each for each in bench.reports() if each.command == "python benchmarks/course.py")
    cold, warm = (r for r in found.rows if r.what in ("whole course, cold", "whole course, warm"))
    import pandas as pd

    table = pd.read_csv(ROOT / "data" / "results" / "course.csv", comment="#")
    sums = table[table.kind == "lesson"][["cold_seconds", "warm_seconds"]].sum() / 60
    assert [cold.value, warm.value] == pytest.approx(sums.tolist(), abs=0.06)
    assert [cold.met, warm.met] == [sums.iloc[0] < 14, sums.iloc[1] < 7]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"low": 1.05}, "are no low, value and high"),
        ({"high": None}, "are no low, value and high"),
        ({"aim": "at most 1"}, "an aim is met or not"),
        ({"aim": "at most 1", "met": False}, "where it is not the row says why"),
        ({"met": True}, "an aim is met or not"),
        ({"value": "1"}, "valid number"),
        ({"speed": 1}, "rows 0 speed: Extra inputs are not permitted"),
    ],
)
def test_a_result_of_another_form_is_named(change, message, tmp_path):
    file = tmp_path / "bench-x.json"
    file.write_text(json.dumps(report(ROW)), encoding="utf-8")
    assert bench.read(file).rows[0].value == 1
    file.write_text(json.dumps(report(ROW | change)), encoding="utf-8")
    with pytest.raises(SystemExit, match=f"bench-x.json has not the form .*{message}"):
        bench.read(file)


def test_another_library_stands_beside_ours_and_an_aim_that_is_not_met_says_why(tmp_path):
    file = tmp_path / "bench-x.json"
    ours = ROW | {"what": "maps: cambook", "aim": "at most 1", "met": False, "why": "a reason"}
    theirs = ROW | {"what": "maps: other", "value": 16.25, "low": 15.0, "high": 120.0, "note": "ours takes less"}
    file.write_text(
        json.dumps(report(ours, theirs, ROW | {"low": None, "high": None, "value": 1234.5})), encoding="utf-8"
    )
    lines = bench.table([bench.read(file)]).splitlines()
    assert lines[3] == (
        "| maps | 1.00 (0.900 to 1.10) s | other 16.2 (15.0 to 120), ours takes less "
        "| at most 1: **not met**, a reason |"
    )
    assert lines[4] == "| a | 1,234 s |  |  |" and len(lines) == 5


def test_a_ratio_is_called_equal_where_its_interval_holds_1(tmp_path):
    file = tmp_path / "bench-x.json"
    level, faster = (
        ROW | {"unit": "times as fast"},
        ROW | {"unit": "times as fast", "value": 1.3, "low": 1.2, "high": 1.4},
    )
    file.write_text(json.dumps(report(level, faster)), encoding="utf-8")
    lines = bench.table([bench.read(file)]).splitlines()
    assert lines[3:] == [
        "| a | 1.00 (0.900 to 1.10) times as fast: equal |  |  |",
        "| a | 1.30 (1.20 to 1.40) times as fast |  |  |",
    ]


def test_a_page_without_marks_and_an_unknown_benchmark_are_named():
    with pytest.raises(SystemExit, match="results.md needs one line <!-- bench -->"):
        bench.with_table("no marks", [])
    with pytest.raises(SystemExit, match="There is no benchmark speed: there are .*maps"):
        bench.benchmarks(["speed"])


def test_equal_means_that_each_median_lies_in_the_other_interval():
    pytest.importorskip("pytorch_grad_cam")
    from bench_maps import note

    ours = {"value": 1.0, "low": 0.9, "high": 1.1}
    assert note(ours, {"value": 1.05, "low": 0.95, "high": 1.2}) == "equal to ours"
    assert note(ours, {"value": 1.05, "low": 1.02, "high": 1.2}) == "ours takes less"
    assert note(ours, {"value": 0.8, "low": 0.7, "high": 0.95}) == "ours takes more"
    rows = {
        row["what"]: row
        for row in json.loads((ROOT / "data" / "results" / "bench-maps.json").read_text(encoding="utf-8"))["rows"]
    }
    noted = {what: row for what, row in rows.items() if "note" in row}
    assert len(noted) >= 16
    for what, row in noted.items():
        assert row["note"] == note(rows[f"{what.rpartition(': ')[0]}: cambook"], row), what
