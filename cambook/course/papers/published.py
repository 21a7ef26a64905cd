"""The papers' figures, from data/published/*.csv, to stand beside ours; each row names its evidence.

evidence: paper (the paper's own table), authors-code (the authors' repository), quoted-by-paper and quoted
(another work
quotes it), derived (arithmetic on printed figures), recomputed (from released metadata).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pandas as pd

from cambook import files
from cambook.course.papers.in_full import InFull
from cambook.files import read_table

COLUMNS = (
    "paper",
    "table",
    "method",
    "backbone",
    "dataset",
    "split",
    "metric",
    "value",
    "unit",
    "evidence",
    "note",
)
KEYS = ("paper", "table", "method", "backbone", "dataset", "split", "metric")


def names() -> list[str]:
    """The names that `table` knows: one for each file of data/published."""
    return sorted(path.stem for path in (files.DATA / "published").glob("*.csv"))


def table(name: str) -> pd.DataFrame:
    """A table of published figures, for instance "cam_table2", with the columns of COLUMNS; value is a float.

    raises: KeyError for an unknown name, ValueError if the file lacks a column or a value
    """
    return InFull(_read(name).copy())  # before pandas 3 a frame made of another shares its values


@cache
def _read(name: str) -> pd.DataFrame:
    if name not in names():
        known = ", ".join(names()) or f"none, since {files.DATA / 'published'} contains no csv file"
        raise KeyError(f"no published table {name!r}; known: {known}.")
    path = files.data_file("published", f"{name}.csv")
    return read_table(path, COLUMNS, ["value"], keep_default_na=False)


def figure(name: str, **where: str) -> pd.Series:
    """The one published figure of table `name` whose every named column contains the given text exactly.

    where: columns of KEYS, for instance method="CAM on GoogLeNet-GAP", metric="top-1 loc error"
    raises: KeyError for an unknown table, column or a choice that fits no row or several: it lists what is
    near
    """
    rows = table(name)
    unknown = [column for column in where if column not in KEYS]
    if unknown:
        raise KeyError(f"no column {', '.join(unknown)} to choose by; choose by {', '.join(KEYS)}.")
    fits = pd.DataFrame({column: rows[column] == text for column, text in where.items()}, index=rows.index)
    chosen = rows[fits.all(axis=1)]
    if len(chosen) == 1:
        return chosen.iloc[0]
    near = chosen if len(chosen) else rows[fits.sum(axis=1) == fits.sum(axis=1).max()]
    said = "several rows fit" if len(chosen) else "no row fits"
    varying = [column for column in KEYS if near[column].nunique() > 1 or column in where]
    listed = "; ".join(
        ", ".join(f"{column}={row[column]!r}" for column in varying) for _, row in near.head(6).iterrows()
    )
    raise KeyError(f"{name}: {said} {where}; near: {listed}{'; ...' if len(near) > 6 else ''}.")


def beside(ours: Mapping[str, float], published: Mapping[str, pd.Series], **conditions: str) -> pd.DataFrame:
    """Our figures beside published ones: ours, published, evidence, and which conditions differ.

    A difference of two figures says something only if they were measured alike, so there is one in rows whose
    conditions all agree, and without such a row there is no column for it.
    ours: {name: value}; published: {name: row of `figure`}, the same names; both in the row's unit
    conditions: what ours were measured under, by column: dataset="scenes", backbone="mini", split="test"
    raises: ValueError if the names differ or a condition is not a column
    """
    if set(ours) != set(published):
        lonely = sorted(set(ours) ^ set(published))
        raise ValueError(f"only one side has {', '.join(lonely)}: give ours and published the same names.")
    unknown = [column for column in conditions if column not in KEYS]
    if unknown:
        raise ValueError(f"no condition {', '.join(unknown)}; conditions are {', '.join(KEYS)}.")
    lines = {name: _line(ours[name], row, conditions) for name, row in published.items()}
    return InFull.from_dict(lines, orient="index").dropna(axis="columns", how="all")


def _line(value: float, row: pd.Series, conditions: Mapping[str, str]) -> dict[str, Any]:
    theirs = {column: "theirs not stated" if row[column] == "n/s" else f"not {row[column]}" for column in conditions}
    differs = [f"{column}: {ours}, {theirs[column]}" for column, ours in conditions.items() if ours != row[column]]
    return {
        "ours": round(float(value), 2),
        "published": row["value"],
        "difference": float("nan") if differs else round(float(value) - row["value"], 2),
        "evidence": row["evidence"],
        "differs in": "; ".join(differs),
    }
