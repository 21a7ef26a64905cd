"""Where the seconds of a lesson go: the rule of benchmarks/course.py on small executed notebooks."""

import json
from datetime import timedelta

import course
import nbformat
import pandas as pd
import pytest

from cambook import files
from cambook.course import notebooks

PAUSES = {"import": 0.3, "rest": 0.4, "drawing": 0.5, "trains": 0.6}
CELLS = [
    "import time\nimport os\nfrom cambook.course import notebooks, runs\n"
    "runs.Record(notebook='tiny', parameters={}, metrics={'x': 1}, started='', seconds=0, environment={}).save("
    f"os.environ['CAMBOOK_RUN_DIR'])\ntime.sleep({PAUSES['import']})",
    f"import time\ntime.sleep({PAUSES['rest']})",  # an import that is not the first
    "from IPython.display import Image, display\n"
    f"time.sleep({PAUSES['drawing']})\ndisplay(Image(open('figure.png', 'rb').read()))",
    f"time.sleep({PAUSES['trains']})",
    "",
]


@pytest.fixture(scope="module")
def executed(make_notebook, tmp_path_factory):
    """A lesson with a cell of each kind, run as the course runs it: the notebook and the seconds of the whole run."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("lesson")
    Image.new("RGB", (8, 8)).save(folder / "figure.png")
    notebook = make_notebook(folder / "tiny.ipynb", *CELLS)
    record = notebooks.execute(notebook, {}, folder / "out", progress=False)
    return nbformat.read(folder / "out" / "tiny.ipynb", as_version=4), record.seconds


def trained_in(cell, seconds, after=0.2):
    began = course.datetime.fromisoformat(cell.metadata.papermill.start_time)
    return course.Trained("tiny", began + timedelta(seconds=after), seconds)


def test_each_part_has_the_seconds_of_its_cells_and_together_they_are_the_whole(executed):
    notebook, whole = executed
    parts = course.where_time_goes(notebook, whole, [trained_in(notebook.cells[4], 0.25)])
    assert list(parts) == list(course.PARTS) and sum(parts.values()) == pytest.approx(whole)
    assert parts["training"] == 0.25
    assert PAUSES["drawing"] <= parts["drawing"]
    assert PAUSES["import"] <= parts["import"]
    duration = {n: notebook.cells[n].metadata.papermill.duration for n in (1, 3)}
    assert parts["import"] == pytest.approx(duration[1], abs=0.05)
    assert parts["drawing"] == pytest.approx(duration[3], abs=0.05)
    assert parts["rest"] >= PAUSES["rest"] + PAUSES["trains"] - 0.25


def test_a_training_is_taken_out_of_the_cell_in_which_it_ended(executed):
    notebook, whole = executed
    without = course.where_time_goes(notebook, whole, [])
    inside = course.where_time_goes(notebook, whole, [trained_in(notebook.cells[3], 0.1)])
    assert without["training"] == 0 and inside["training"] == 0.1
    assert inside["drawing"] == pytest.approx(without["drawing"] - 0.1)
    elsewhere = course.where_time_goes(notebook, whole, [trained_in(notebook.cells[3], 0.1, after=3600)])
    assert elsewhere == without


def test_a_notebook_without_times_is_refused(executed):
    notebook = nbformat.from_dict(executed[0])
    fresh = nbformat.reads(json.dumps(notebook), as_version=4)
    del fresh.cells[2].metadata["papermill"]
    with pytest.raises(ValueError, match="cell cell-2 has no start and end"):
        course.where_time_goes(fresh, 9.0, [])


def test_the_course_is_set_beside_its_aims(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "DATA", tmp_path)
    (tmp_path / "results").mkdir()
    lesson = {"kind": "lesson", "name": "00_x", "lesson": "00", "cold_seconds": 900.0, "warm_seconds": 60.0}
    cold = {"cold_import": 60.0, "cold_training": 700.0, "cold_drawing": 90.0, "cold_rest": 50.0}
    warm = {"warm_import": 30.0, "warm_training": 0.0, "warm_drawing": 20.0, "warm_rest": 10.0}
    course.write_bench(pd.DataFrame([lesson | cold | warm]))
    rows = {
        row["what"]: row
        for row in json.loads((tmp_path / "results" / "bench-course.json").read_text(encoding="utf-8"))["rows"]
    }
    assert (rows["whole course, cold"]["value"], rows["whole course, cold"]["met"]) == (15, False)
    assert rows["whole course, cold"]["why"] == "most of it is training: 11.7 minutes"
    assert (rows["whole course, warm"]["value"], rows["whole course, warm"]["met"]) == (1, True)
    assert rows["whole course, cold: drawing"]["value"] == 1.5 and rows["whole course, cold: drawing"]["aim"] is None


LESSONS = pd.DataFrame(
    [
        {"kind": "lesson", "name": "00_x", "lesson": "00", "cold_seconds": 90.0, "warm_seconds": 33.0},
        {"kind": "training", "name": "mini-gap", "lesson": "00", "cold_seconds": 60.0},
    ]
)
ROWS = "| [00 X](notebooks/00_x.ipynb) | 5 min | 1 s | a |\n| [01 Y](notebooks/01_y.ipynb) | 9 min | 2 s | b |\n"


def test_the_readme_has_minutes_and_seconds_of_each_lesson_and_a_dash_until_they_are_measured():
    minutes = {"00_x": 15, "01_y": 40}
    text = course.with_times(ROWS, LESSONS, minutes)
    assert text == ROWS.replace("5 min", "15 min").replace("9 min", "40 min").replace("1 s", "35 s").replace("2 s", "–")
    assert course.with_times(text, LESSONS, minutes) == text
    with pytest.raises(SystemExit, match="README.md has 0 rows for 02_z in its table of lessons: give it one"):
        course.with_times(ROWS, LESSONS, {**minutes, "02_z": 5})


def test_a_title_gets_its_minutes_and_seconds():
    title = (
        "# 03b · X\n\n**About 5 minutes** to read and work through; it runs in 9 seconds (two minutes the first time)."
    )
    assert course.title_with_minutes(title, 35) == title.replace("5 min", "35 min")
    assert course.title_with_seconds(title, 31.4) == title.replace("9 seconds", "30 seconds")
    with pytest.raises(SystemExit, match="# 03b · X: say there 'it runs in 45 seconds'"):
        course.title_with_seconds("# 03b · X", 31.4)


def test_the_ledger_stands_between_its_marks():
    page = course.with_ledger(f"before\n{course.BEGIN}old\n{course.END}\nafter\n", LESSONS)
    assert page.startswith("before\n<!-- ledger -->\n| trained in |") and page.endswith(
        "\n<!-- end of ledger -->\nafter\n"
    )
    assert "| 00 | `mini-gap` | 60 |" in page and "takes 1.0 minutes. The first" in page and "old" not in page
    with pytest.raises(SystemExit, match="results.md needs one line <!-- ledger -->"):
        course.with_ledger("no marks", LESSONS)


def test_a_row_has_median_and_quantiles_and_a_missed_aim_needs_a_reason(monkeypatch):
    from form import row

    many = row("speed", range(101), "times", aim="60", reached=lambda times: times >= 60, why="slow")
    assert (many["value"], many["low"], many["high"], many["met"], many["why"]) == (50, 5, 95, False, "slow")
    one = row("speed", 7, "times", aim="5", reached=lambda times: times >= 5, why="slow")
    assert (one["value"], one["low"], one["high"], one["met"], one["why"]) == (7, None, None, True, None)
    assert row("speed", 7, "times")["met"] is None
    with pytest.raises(ValueError, match="say why"):
        row("speed", 1, "times", aim="5", reached=lambda times: times >= 5)
