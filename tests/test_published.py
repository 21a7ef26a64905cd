"""The papers' figures are whole, found by exact choice, and stand beside ours with the conditions that
differ."""

import subprocess
import sys

import pandas as pd
import pytest

from cambook import files
from cambook.course.papers import published

EVIDENCE = {"paper", "authors-code", "quoted-by-paper", "quoted", "derived", "recomputed"}


@pytest.mark.parametrize("name", published.names())
def test_every_row_has_a_number_its_evidence_and_an_unambiguous_key(name):
    rows = published.table(name)
    assert len(rows) and rows["value"].notna().all()
    assert set(rows["evidence"]) <= EVIDENCE
    assert (rows[["paper", "table", "method", "metric"]] != "").all(axis=None)
    assert not rows.duplicated([*published.KEYS]).any()


def test_the_five_tables_of_the_paper_are_there():
    assert {f"cam_table{number}" for number in range(1, 6)} <= set(published.names())


def test_the_headline_figures_are_the_papers():
    best = published.figure("cam_table3", table="Table 3", method="GoogLeNet-GAP (heuristics) [weakly supervised]")
    assert (best["value"], best["evidence"]) == (37.1, "paper")
    alexnet = {
        name: published.figure("cam_table1", method=name, metric="top-1 cls error")["value"]
        for name in ("AlexNet", "AlexNet-GAP", "AlexNet*-GAP")
    }
    assert round(alexnet["AlexNet-GAP"] - alexnet["AlexNet"], 1) == 8.5
    assert round(alexnet["AlexNet*-GAP"] - alexnet["AlexNet"], 1) == 2.3


def test_changing_a_table_in_hand_changes_no_later_one():
    rows = published.table("cam_table1")
    rows.loc[:, "value"] = 0.0
    assert published.table("cam_table1")["value"].min() > 10


def test_a_choice_of_several_rows_lists_them():
    with pytest.raises(KeyError, match="several rows fit.*top-1 cls error.*top-5 cls error"):
        published.figure("cam_table1", method="VGGnet-GAP")


def test_a_choice_of_no_row_lists_the_near_ones():
    with pytest.raises(KeyError, match="no row fits.*near: .*method='VGGnet-GAP'"):
        published.figure("cam_table1", method="VGG-GAP", metric="top-1 cls error")


def test_unknown_tables_and_columns_name_the_known_ones():
    with pytest.raises(KeyError, match="known: .*cam_table2"):
        published.table("cam_table9")
    with pytest.raises(KeyError, match="choose by .*backbone"):
        published.figure("cam_table1", net="VGG")


def test_a_file_without_a_column_is_named(tmp_path, monkeypatch):
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "broken.csv").write_text("paper,value\nx,1\n", encoding="utf-8")
    monkeypatch.setattr(files, "DATA", tmp_path)
    with pytest.raises(ValueError, match="broken.csv has no column table, method"):
        published.table("broken")


def test_beside_names_the_conditions_that_differ_and_gives_a_difference_only_if_none_does():
    row = published.figure("cam_table2", method="CAM on GoogLeNet-GAP", metric="top-1 loc error")
    line = published.beside({"top-1": 50.0}, {"top-1": row}, dataset="scenes", split="val").loc["top-1"]
    assert "difference" not in line and line["published"] == 56.4 and line["evidence"] == "paper"
    assert line["differs in"] == "dataset: scenes, not ILSVRC"
    both = {"a": row, "b": published.figure("cam_table2", method="CAM on NIN", metric="top-1 loc error")}
    alike = published.beside({"a": 50.0, "b": 50.0}, both, dataset="ILSVRC", method="CAM on GoogLeNet-GAP")
    assert alike["difference"].isna().tolist() == [False, True] and alike["differs in"].tolist()[0] == ""
    assert alike.loc["a", "difference"] == -6.4
    row = published.figure("grad_cam", table="Sec 8.1.1", method="Grad-CAM")
    line = published.beside({"words": 50.0}, {"words": row}, split="test").loc["words"]
    assert line["differs in"] == "split: test, theirs not stated"


def test_beside_refuses_names_that_stand_alone_and_unknown_conditions():
    row = published.figure("cam_table2", method="CAM on NIN", metric="top-1 loc error")
    with pytest.raises(ValueError, match="only one side has b"):
        published.beside({"a": 1.0, "b": 2.0}, {"a": row})
    with pytest.raises(ValueError, match="no condition network"):
        published.beside({"a": 1.0}, {"a": row}, network="nin")


def test_a_table_is_shown_to_the_end_of_its_cells_and_pandas_keeps_its_own_settings():
    code = "import pandas as pd; from cambook.course import papers; assert pd.get_option('display.max_colwidth') == 50"
    subprocess.run([sys.executable, "-c", code], check=True)
    row = published.figure("cam_table2", method="CAM on GoogLeNet-GAP", metric="top-1 loc error")
    long = "a data set with a name of many letters, " * 3
    lines = [published.beside({name: 50.0}, {name: row}, dataset=long) for name in ("one", "two")]
    table = pd.concat(lines).sort_values("ours").assign(more=1)
    assert long in table._repr_html_() and long in repr(table[["differs in"]])
    assert long not in pd.DataFrame(table)._repr_html_()
