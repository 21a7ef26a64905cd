"""Our numbers beside the papers': tables, figures, a written report."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cambook import files
from cambook.course import show
from cambook.course.papers.claims import PAPERS, check_claims
from cambook.course.papers.counterpart import conditions, published_figure
from cambook.course.papers.in_full import InFull
from cambook.course.papers.recorded import latest
from cambook.course.papers.tables import find_table

RANKED = 5  # so many rows at least have a rank correlation worth telling


def table(name: str, results: pd.DataFrame) -> pd.DataFrame:
    """A paper's table with our figures beside the published ones: one row for each setting and metric.

    results: one row per number, with the columns of COLUMNS; if one seed measured the same twice, the latest counts
    returns: row (what the paper calls it), network, map, data, profile, metric; ours (mean over seeds), spread (their
             standard deviation, none for one), seeds; published, evidence; differs in: what must be the same before the
             two could be subtracted. Lines that are only quoted have no `ours`
    raises:  KeyError for an unknown table, ValueError if results lack a column
    """
    chosen = find_table(name)
    ours = latest(results)
    ours = ours[ours["notebook"] == name]
    lines = []
    for row in chosen.rows:
        label = ", ".join(filter(None, row.lines[0][1:])) if row.lines else ""
        mine = ours[ours["network"].isin([row.network, row.small]) & (ours["source"] == row.source)]
        for metric in chosen.metrics:
            here = mine[mine["metric"] == metric]
            for (profile, dataset, network), group in here.groupby(["profile", "dataset", "network"]):
                line = {"row": label, "network": network, "map": row.source, "data": dataset, "profile": profile}
                line |= {"metric": metric, "ours": group["value"].mean(), "spread": group["value"].std(ddof=1)}
                theirs = published_figure(row, metric, dataset)
                differs = conditions(name, network, row.source, dataset, profile, theirs)
                lines.append(line | {"seeds": len(group)} | _beside(theirs, differs))
            if row.network is None:
                line = {"row": label, "network": "-", "map": "-", "data": "-", "profile": "-", "metric": metric}
                line |= {"ours": np.nan, "spread": np.nan, "seeds": 0}
                lines.append(line | _beside(published_figure(row, metric, ""), ["quoted"]))
    names = ("row", "network", "map", "data", "profile", "metric", "ours", "spread", "seeds")
    whole = pd.DataFrame(lines, columns=[*names, "published", "evidence", "differs in"])
    return whole.round({"ours": 2, "spread": 2})


def _beside(theirs: pd.Series | None, differs: list[str]) -> dict:
    value = np.nan if theirs is None else theirs["value"]
    evidence = "" if theirs is None else theirs["evidence"]
    return {"published": value, "evidence": evidence, "differs in": "; ".join(differs)}


def shared(whole: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """A table for readers: the conditions that differ in every row of ours, to be said once, and the rest.

    returns: those conditions, and the table as `readable`, without them and without map, data and profile where there
             is only one
    """
    sets = [set(text.split("; ")) for text in whole.loc[whole["seeds"] > 0, "differs in"]]
    common = set.intersection(*sets) if sets else set()
    first = whole["differs in"].iloc[0].split("; ") if len(whole) else []
    rest = whole.copy()
    rest["differs in"] = ["; ".join(c for c in text.split("; ") if c not in common) for text in whole["differs in"]]
    constant = [name for name in ("map", "data", "profile") if rest.loc[rest["seeds"] > 0, name].nunique() <= 1]
    return [condition for condition in first if condition in common], readable(rest.drop(columns=constant))


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """A table or claims for the screen: two decimals, and data and profile left out if there is only one."""
    constant = [name for name in ("data", "profile") if name in frame and frame[name].nunique() <= 1]
    return InFull(_as_text(frame.drop(columns=constant)))


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = frame.select_dtypes("floating").columns
    return frame.assign(**{c: ["-" if np.isnan(v) else f"{v:.2f}" for v in frame[c]] for c in numbers})


def figure(name: str, whole: pd.DataFrame, metric: str):
    """One metric of a table as a figure: ours as discs, published as diamonds, in the table's order."""
    rows = whole[whole["metric"] == metric]
    label = []
    for row in rows.itertuples():
        mine = f"{row.network} {row.map}".removesuffix(" -") if row.seeds else ""
        theirs = re.sub(r" \[(train|weakly)[^]]*\]", "", row.row)
        theirs = textwrap.fill(f"({theirs})" if mine and theirs else theirs, 44)
        label.append(f"{mine}\n{theirs}".strip())
    both = rows.dropna(subset=["ours", "published"])
    takeaway = f"{find_table(name).title}. Ours beside published"
    if len(both) >= RANKED:
        agree = both["ours"].corr(both["published"], method="kendall")
        takeaway += f", rank correlation {agree:+.2f} over {len(both)} rows"
    return show.ours_beside_published(rows.set_index(pd.Index(label)), f"{metric}, percent", takeaway)


def write(name: str, results: pd.DataFrame, folder, pictures: Mapping[str, np.ndarray] | None = None) -> list:
    """Writes a table and what its papers claim to a folder: NAME.csv, NAME-claims.csv, and both in NAME.md.

    Arguments and errors: as `table` and `claims`. returns: the three paths; each file is whole or absent
    """
    whole = table(name, results)
    mine = results[results["notebook"] == name]
    judged = pd.concat([check_claims(paper, mine, pictures).assign(paper=paper) for paper in PAPERS], ignore_index=True)
    common, rest = shared(whole)
    text = [f"# {find_table(name).title}", "", "Percent; ours is the mean over seeds, spread their standard deviation."]
    text += ["", "All our rows: " + "; ".join(common) + "."] if common else []
    text += ["", _markdown(rest), "", "## What the papers claim", "", _markdown(judged), ""]
    tables = {name: whole, f"{name}-claims": judged}
    contents = {f"{each}.csv": rows.to_csv(index=False, lineterminator="\n") for each, rows in tables.items()}
    written = []
    for file, content in (contents | {f"{name}.md": "\n".join(text)}).items():
        written.append(Path(folder) / file)
        with files.atomic_write(written[-1]) as part:
            part.write_text(content, encoding="utf-8")
    return written


def _markdown(frame: pd.DataFrame) -> str:
    return _as_text(frame).to_markdown(index=False, disable_numparse=True) if len(frame) else "none measured"
