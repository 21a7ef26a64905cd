"""Findings: claims that hold and can fail, numbers that are in the record; reading times; what every lesson has."""

import json
import re

import pytest

from cambook import files
from cambook.course import findings, reading
from cambook.course.findings import Finding, faults, holds, misquoted, names_in

LESSONS = sorted(files.NOTEBOOKS.glob(files.LESSONS))
NUMBERS = {"cam": 75.0, "centre": 55.6, "share": 0.53, "mini-gap cam error": 30.0, "parameters": 431516}
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def finding(*claims, text="", points=()):
    return Finding("cell", text, claims, points)


def loaded(path):
    return json.loads(path.read_text(encoding="utf-8"))


def figures(notebook):
    """Each figure in a notebook's outputs: the cell's id and the alt text."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            for kind in output.get("data", {}):
                if kind.startswith("image/"):
                    yield cell["id"], output["metadata"].get(kind, {}).get("alt", "")


# ---- claims ----


@pytest.mark.parametrize(
    "claim, true",
    [
        ("cam > centre + 10", True),
        ("cam > centre + 20", False),
        ("50 < centre < 60 <= cam", True),
        ("50 < centre < 55", False),
        ("'mini-gap cam error' == 30", True),
        ("abs(centre - cam) >= 2 * 9.7", True),
        ("max(cam, centre) - min(cam, centre) < -share / 2 + 20", True),
        ("-cam < 0", True),
    ],
)
def test_a_claim_is_arithmetic_over_recorded_names(claim, true):
    assert holds(claim, NUMBERS) is true


@pytest.mark.parametrize(
    "claim",
    [
        "cam",
        "cam +",
        "cam is 3",
        "open('x') > 1",
        "cam.real > 1",
        "[cam] > 1",
        "cam ** 9 > 1",
        "a = 1",
        "f > (lambda: 1)()",
    ],
)
def test_anything_else_is_no_claim(claim):
    with pytest.raises(ValueError, match="claim"):
        names_in(claim)


def test_names_that_are_not_pythons_stand_in_quotes():
    assert names_in("'mini-gap cam error' < abs(cam - 3)") == {"mini-gap cam error", "cam"}


ALL = (
    "60 < cam < 90",
    "40 < centre < 70",
    "0.4 < share < 0.7",
    "20 < 'mini-gap cam error' < 40",
    "parameters == 431516",
)


def test_findings_that_name_everything_and_can_fail_have_no_fault():
    assert faults([finding(*ALL)], NUMBERS) == []
    assert faults([finding(*ALL[:2]), finding(*ALL[2:])], NUMBERS) == []


@pytest.mark.parametrize(
    "claims, said",
    [
        ((*ALL[:2], *ALL[3:]), "share is recorded and no finding names it"),
        ((*ALL, "cam < centre"), "finding cell: cam < centre is false (cam = 75, centre = 55.6)"),
        ((*ALL, "gmp > 3"), "claims name gmp, which the notebook did not record"),
        (("cam > -5", *ALL[1:]), "no claim would notice if cam moved by 20"),
        ((*ALL[:2], "0 <= share", *ALL[3:]), "no claim would notice if share moved by 0.2"),
        ((), "finding cell claims nothing"),
    ],
)
def test_a_fault_of_the_claims_is_said(claims, said):
    assert said in faults([finding(*claims)], NUMBERS)


def test_a_small_number_is_a_share_unless_it_counts_points():
    numbers = {"gain": 0.7}
    assert faults([finding("abs(gain) < 10")], numbers) == ["no claim would notice if gain moved by 0.2"]
    assert faults([finding("abs(gain) < 10", points=("gain",))], numbers) == []


@pytest.mark.parametrize("way", [-1, 1])
@pytest.mark.parametrize("name", NUMBERS)
def test_each_claimed_number_is_noticed_when_it_moves(name, way):
    step = 0.2 if name == "share" else 20
    assert faults([finding(*ALL)], {**NUMBERS, name: NUMBERS[name] + way * step})


# ---- numbers in the text ----


@pytest.mark.parametrize(
    "text",
    [
        "CAM puts 75% of the boxes right, the centre 55.6% (56 percent, rounded).",
        "It leads by 19 points, and 53% or 0.53 of the map is positive.",
        "See `x = 3.14` in [lesson 02](02.ipynb#3.7), $0.2 \\max$, three seeds and 12 classes, figure 3b.",
    ],
)
def test_recorded_numbers_and_their_differences_may_be_said(text):
    assert misquoted([finding(*ALL, text=text)], NUMBERS) == []


@pytest.mark.parametrize(
    "text, number", [("75.4", "75.4"), ("76% of", "76"), ("20 points", "20"), ("19.4 points", "19.4"), ("0.54", "0.54")]
)
def test_a_number_that_is_in_no_record_is_found(text, number):
    assert misquoted([finding("cam > 1", "centre > 1", text=text)], NUMBERS) == [
        f"finding cell says {number}, which is not a recorded number, rounded"
    ]


# ---- minutes ----


def notebook(*cells):
    made = []
    for kind, source, *tags in cells:
        outputs = [{"data": {"image/png": ""}}] if source.startswith("show") else []
        made.append({"cell_type": kind, "source": source, "metadata": {"tags": tags}, "outputs": outputs})
    return {"cells": made}


@pytest.mark.parametrize(
    "cells, minutes",
    [
        ([("markdown", "word " * 360)], 2),
        ([("markdown", "word " * 180 + "$$a = b + c\nd$$")], 1.25),
        ([("markdown", "**Exercise 2 (5 minutes, medium).**")], 5 + 5 / 180),
        ([("markdown", "**Predict first (1 minute).**")], 1 + 4 / 180),
        ([("code", "a\n\nb\nc")], 0.2),
        ([("code", "a\n\nb\nc", "hide-input")], 0),
        ([("code", "show\n", "hide-input")], 1 / 3),
        ([("code", "explore.play(f)")], 1 + 1 / 15),
        ([("markdown", "## Appendix: x"), ("code", "a\n" * 90), ("markdown", "### y"), ("markdown", "# z")], 2 / 180),
    ],
)
def test_minutes_are_counted_of_what_is_read(cells, minutes):
    assert reading.minutes(notebook(*cells)) == pytest.approx(minutes)


def test_minutes_are_said_to_five_and_up():
    assert [reading.rounded(m) for m in (4.2, 5.4, 5.6, 40.0, 41.0)] == [5, 5, 10, 40, 45]


# ---- every lesson ----


@each_lesson
def test_a_lesson_says_its_minutes_and_has_at_most_45(lesson):
    found = loaded(lesson)
    minutes = reading.rounded(reading.minutes(found))
    assert reading.stated(found) == minutes <= reading.LIMIT


@each_lesson
def test_a_visible_cell_has_at_most_eight_lines(lesson):
    cells = [cell for cell in loaded(lesson)["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in cells if len(reading.visible_lines(cell)) > 8] == []
    hidden = [cell["id"] for cell in cells if reading.HIDDEN in cell["metadata"].get("tags", [])]
    folded = [cell["id"] for cell in cells if cell["metadata"].get("jupyter", {}).get("source_hidden")]
    assert hidden == folded, "run `make notebooks`"


@each_lesson
def test_the_findings_claim_what_the_committed_run_recorded_and_quote_it(lesson):
    found = loaded(lesson)
    recorded = found["metadata"][findings.RECORD]
    said = findings.findings_of(found)
    assert said and faults(said, recorded) + misquoted(said, recorded) == []
    assert all(one.text.startswith("**What happened.**") for one in said)


def test_quoted_numbers_follow_a_new_run():
    text = "CAM puts 75.0% right, 19 points more than 55.6%; `75.0` and [x](75.0) stay, 12.5 is unknown, 53% half."
    cell = {"id": "one", "source": text, "metadata": {"tags": ["finding"], "claims": ["cam > centre", "share > 0.5"]}}
    other = {"id": "two", "source": "75.0% outside", "metadata": {}}
    notebook = {"cells": [cell, other], "metadata": {"record": {**NUMBERS, "more": 75.02}}}
    said = findings.requote(notebook, {"cam": 71.04, "centre": 55.6, "share": 0.58, "parameters": 1, "more": 80})
    assert cell["source"] == (
        "CAM puts 71.0% right, 15 points more than 55.6%; `75.0` and [x](75.0) stay, 12.5 is unknown, 58% half."
    )
    assert other["source"] == "75.0% outside" and notebook["metadata"]["record"]["cam"] == 71.04
    assert said == [
        "finding one: 53 is 58 now",
        "finding one says 12.5, which was not a recorded number: it was left",
        "finding one: 19 is 15 now",
        "finding one: 75.0 is 71.0 now",
    ]


def test_a_quoted_number_that_may_be_two_is_left():
    cell = {"id": "one", "source": "75.0%", "metadata": {"tags": ["finding"], "claims": ["a > b"]}}
    notebook = {"cells": [cell], "metadata": {"record": {"a": 75.0, "b": 74.98}}}
    assert findings.requote(notebook, {"a": 71.0, "b": 74.0}) == [
        "finding one says 75.0, which may be 71.0 or 74.0 now: it was left"
    ]
    assert cell["source"] == "75.0%"


@each_lesson
def test_every_figure_has_an_alt_text_of_its_own(lesson):
    alts = list(figures(loaded(lesson)))
    assert alts and [cell for cell, alt in alts if not 40 <= len(alt) <= 700] == []
    assert len({alt for _, alt in alts}) == len(alts)


@each_lesson
def test_a_lesson_has_a_prediction_an_open_task_and_exercises_with_minutes(lesson):
    texts = ["".join(cell["source"]) for cell in loaded(lesson)["cells"]]
    whole = "\n".join(texts)
    assert len(re.findall(r"\*\*Predict first \(\d minutes?\)\.\*\*", whole)) == 1 == whole.count("check.prediction(")
    assert len(re.findall(r"\*\*Open task \(\d+ minutes, (?:easy|medium|hard)\)\.\*\*", whole)) == 1
    assert re.findall(r"\*\*Exercise \d \(\d+ minutes?, (?:easy|medium|hard)\)\.\*\*", whole)
    assert "**Next:**" in texts[-1]


def test_the_notebooks_are_small():
    sizes = {path.stem: path.stat().st_size for path in files.NOTEBOOKS.rglob("*.ipynb")}
    assert max(sizes.values()) < 1e6 and sum(sizes.values()) < 12e6, sizes
