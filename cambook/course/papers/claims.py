"""The papers' claims, and whether our numbers bear them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from cambook import metrics
from cambook.course.papers.counterpart import IMAGENET, published_figure
from cambook.course.papers.in_full import InFull
from cambook.course.papers.recorded import THIS_RUN, latest
from cambook.course.papers.tables import Row, find_table


class Pair(NamedTuple):
    """Two rows of a table, a and b, each "NETWORK SOURCE": the paper's, and the two that stand for them at quick."""

    a: str
    b: str
    small: tuple[str, str] | None = None


class Claim(NamedTuple):
    """a minus b, in points of a metric of a table, lies in `between`: what a paper says, in numbers."""

    paper: str
    says: str
    where: str
    table: str
    metric: str
    pairs: tuple[Pair, ...]
    between: tuple[float, float] = (0, np.inf)


_CUT = {"vgg16": "mini-fc", "googlenet": None, "alexnet": None}  # an original that is cut -> instead of it at quick
_COST = tuple(Pair(f"{o}-gap -", f"{o} -", small and (f"{small}-gap -", f"{small} -")) for o, small in _CUT.items())
_BACKPROP = tuple(
    Pair(f"{o} {kind}", f"{o}-gap cam", small and (f"{small} {kind}", f"{small}-gap cam"))
    for kind in ("saliency", "smooth-saliency")
    for o, small in _CUT.items()
)


def _googlenet(a: str, b: str, small: str) -> Pair:
    """Two rows of GoogLeNet-GAP, for which `small` stands."""
    return Pair(f"googlenet-gap {a}", f"googlenet-gap {b}", (f"{small} {a}", f"{small} {b}"))


def _maximum(source: str) -> tuple[Pair]:
    return (
        Pair(f"googlenet-gmp {source}", f"googlenet-gap {source}", (f"mini-fc-gmp {source}", f"mini-fc-gap {source}")),
    )


def _vgg16(a: str, b: str) -> Pair:
    """Rows of VGG-16 with average pooling or as ACoL, for which mini-gap and mini-acol stand."""
    stands = {"vgg16-gap": "mini-gap", "vgg16-acol": "mini-acol"}
    return Pair(a, b, tuple(f"{stands[who.split(' ')[0]]} {who.split(' ')[1]}" for who in (a, b)))


_CAM_ACOL = (_vgg16("vgg16-gap cam", "vgg16-acol acol"), Pair("googlenet-gap cam", "googlenet-acol acol"))
_ACOL_CAM = (_vgg16("vgg16-acol acol", "vgg16-gap cam"), Pair("googlenet-acol acol", "googlenet-gap cam"))
_GRAD_CAM = Pair("vgg16-gap cam", "vgg16 grad-cam", ("mini-gap cam", "mini-fc grad-cam"))
_FC7 = Pair("googlenet-gap -", "alexnet -", ("mini-fc-gap -", "mini-fc -"))
_AVERAGE = Pair("googlenet-gap -", "googlenet -", ("mini-fc-gap -", "mini-gap -"))

# paper, what it says, where; table and metric; the pairs; between, where it is not "above zero"
CLAIMS = (
    Claim(
        *("cam", "GAP networks lose 1 to 3 points of accuracy", "section 3.1, table 1"),
        *("table1", "top1_error", (*_COST, Pair("alexnet-star-gap -", "alexnet -")), (1, 3)),
    ),
    Claim(
        *("cam", "GAP and GMP classify alike, within a point", "section 3.1, table 1"),
        *("table1", "top1_error", _maximum("-"), (-1, 1)),
    ),
    Claim(
        *("cam", "AlexNet-GAP needs two more convolutions", "section 3.1, table 1"),
        *("table1", "top1_error", (Pair("alexnet-gap -", "alexnet-star-gap -"),)),
    ),
    Claim(
        *("cam", "GAP localizes better than GMP, top-1", "section 3.2, table 2"),
        *("table2", "top1_loc_error", _maximum("cam")),
    ),
    Claim(
        *("cam", "GAP localizes better than GMP, top-5", "section 3.2, table 2"),
        *("table2", "top5_loc_error", _maximum("cam")),
    ),
    Claim(
        *("cam", "CAM beats backprop, top-1", "section 3.2, table 2"),
        *("table2", "top1_loc_error", _BACKPROP),
    ),
    Claim(
        *("cam", "CAM beats backprop, top-5", "section 3.2, table 2"),
        *("table2", "top5_loc_error", _BACKPROP),
    ),
    Claim(
        *("cam", "The cut localizes better than GoogLeNet as it is", "section 3.2, table 2"),
        *("table2", "top1_loc_error", (Pair("googlenet cam", "googlenet-gap cam"),)),
    ),
    Claim(
        *("cam", "A tight and a loose box lower the error", "section 3.2, table 3"),
        *("table3", "top5_loc_error", (_googlenet("cam", "cam-5-boxes", "mini-fc-gap"),)),
    ),
    Claim(
        *("cam", "The CAM box helps to tell classes apart", "section 4.1, table 4"),
        *("table4", "accuracy", (_googlenet("cam-box", "whole-picture", "mini-gap"),)),
    ),
    Claim(
        *("cam", "The true box helps more than the CAM box", "section 4.1, table 4"),
        *("table4", "accuracy", (_googlenet("true-box", "cam-box", "mini-gap"),)),
    ),
    Claim(
        *("cam", "GAP features are as good as GoogLeNet's, within a point", "section 4, table 5"),
        *("table5", "accuracy", (_AVERAGE,), (-1, 1)),
    ),
    Claim(
        *("cam", "GAP features are better than fc7 of AlexNet", "section 4, table 5"),
        *("table5", "accuracy", (_FC7,)),
    ),
    Claim(
        *("grad-cam", "Grad-CAM localizes better than CAM", "section 4.1, table 1"),
        *("wsol", "top1_loc_error", (_GRAD_CAM,)),
    ),
    Claim(
        *("acol", "ACoL covers more of the object than CAM", "sections 1 and 3"),
        *("wsol", "coverage", _ACOL_CAM),
    ),
    Claim(
        *("acol", "ACoL localizes better than CAM", "section 4.2"),
        *("wsol", "top1_loc_error", _CAM_ACOL),
    ),
    Claim(
        *("wsol", "CAM is better than ACoL where both are evaluated alike", "main table (V2)"),
        *("wsol", "max_box_acc_v2", _CAM_ACOL),
    ),
    Claim(
        *("wsol", "CAM is better than a spot in the centre", "main table (V2)"),
        *("wsol", "max_box_acc_v2", (_vgg16("vgg16-gap cam", "vgg16-gap centre"),)),
    ),
)
PAPERS = tuple(dict.fromkeys(claim.paper for claim in CLAIMS))


def verdict(low: float, high: float, between: tuple[float, float]) -> str:
    """The verdict on a claim from its interval: "holds" if it lies inside, "does not hold" if it lies outside.

    low, high: of the measured difference; NaN if there is no interval; between: the claim, without its ends
    """
    least, most = between
    if least < low and high < most:
        return "holds"
    if high <= least or low >= most:
        return "does not hold"
    return "not decided"


def check_claims(paper: str, results: pd.DataFrame, pictures: Mapping[str, np.ndarray] | None = None) -> pd.DataFrame:
    """What a paper claims and what our runs say to it: one row for each pair of networks that was measured.

    paper:    "cam", "grad-cam", "acol" or "wsol"; results: as for `table`
    pictures: Measurements.pictures of the run that `results` added: if it is the only seed, the interval is taken
              over its images (paired bootstrap), which says nothing about another training run
    returns:  claim, where, difference (a minus b), metric, data, profile; published, ours (points, mean over seeds);
              low, high, its 95% interval (Student's t over seeds that both have; paired), over (what it is taken over);
              claimed, verdict: holds, does not hold, not decided
    raises:   ValueError for an unknown paper
    """
    if paper not in PAPERS:
        raise ValueError(f"paper={paper!r} makes no claims here: choose one of {', '.join(PAPERS)}.")
    results, lines = latest(results), []
    for claim in (claim for claim in CLAIMS if claim.paper == paper):
        mine = results[(results["notebook"] == claim.table) & (results["metric"] == claim.metric)]
        for pair, (a, b) in ((each, two) for each in claim.pairs for two in (each[:2], each.small) if two):
            for (profile, dataset), group in mine.groupby(["profile", "dataset"]):
                who = group["network"] + " " + group["source"]
                values = group.assign(who=who).pivot(index="seed", columns="who", values="value")
                values = values.reindex(columns=[a, b]).dropna()
                if len(values):
                    difference = (values[a] - values[b]).to_numpy()
                    own = pictures or {} if (group["run"] == THIS_RUN).any() else {}
                    line = {
                        "claim": claim.says,
                        "where": claim.where,
                        "difference": f"{a.removesuffix(' -')} minus {b.removesuffix(' -')}",
                        "metric": claim.metric,
                    }
                    line |= {
                        "data": dataset,
                        "profile": profile,
                        "published": _published_difference(claim, pair, dataset),
                    }
                    lines.append(line | _judged(claim, a, b, difference, own))
    names = ("claim", "where", "difference", "metric", "data", "profile", "published", "ours", "low", "high", "over")
    return pd.DataFrame(lines, columns=[*names, "claimed", "verdict"]).round({"ours": 2, "low": 2, "high": 2})


def own_figures(paper: str, name: str) -> pd.DataFrame:
    """A paper's claims on one table, compared with its own published figures: one row for each pair that has both.

    returns: claim, difference (of published lines), metric, published (points), claimed, in the paper: whether
             the published difference lies in the range
    """
    lines = []
    for claim in (claim for claim in CLAIMS if (claim.paper, claim.table) == (paper, name)):
        for pair in claim.pairs:
            value = _published_difference(claim, pair, "ilsvrc")
            if not np.isnan(value):
                a, b = (_row_of(claim, who).lines[0].method for who in pair[:2])
                line = {"claim": claim.says, "difference": f"{a} minus {b}", "metric": claim.metric, "published": value}
                inside = claim.between[0] < value < claim.between[1]
                lines.append(line | {"claimed": _range(claim), "in the paper": "holds" if inside else "does not hold"})
    columns = ["claim", "difference", "metric", "published", "claimed", "in the paper"]
    return InFull(lines, columns=columns).drop_duplicates(ignore_index=True)


def _row_of(claim: Claim, who: str) -> Row:
    return next(row for row in find_table(claim.table).rows if f"{row.network} {row.source}" == who)


def _range(claim: Claim) -> str:
    least, most = claim.between
    return f"above {least:g}" if np.isinf(most) else f"{least:+g} to {most:+g}"


def _judged(claim: Claim, a: str, b: str, difference: np.ndarray, pictures: Mapping[str, np.ndarray]) -> dict:
    of_a, of_b = (pictures.get(f"{who} {claim.metric}") for who in (a, b))
    low, high, over = np.nan, np.nan, "1 seed"
    if len(difference) > 1:
        (low, high), over = metrics.seed_interval(difference), f"{len(difference)} seeds"
    elif of_a is not None and of_b is not None:
        (low, high), over = metrics.bootstrap_interval(of_a - of_b, 0), f"{len(of_a)} images, 1 seed"
    ours = {"ours": difference.mean(), "low": low, "high": high, "over": over}
    return ours | {"claimed": _range(claim), "verdict": verdict(low, high, claim.between)}


def _published_difference(claim: Claim, pair: Pair, dataset: str) -> float:
    """The papers' own difference, NaN if they do not have both figures on one data set."""
    figures = []
    for who in pair[:2]:
        figures.append(published_figure(_row_of(claim, who), claim.metric, dataset))
    data_sets = [
        None if one is None else "ImageNet" if one["dataset"] in IMAGENET else one["dataset"] for one in figures
    ]
    if None in data_sets or data_sets[0] != data_sets[1]:
        return np.nan
    return round(figures[0]["value"] - figures[1]["value"], 2)
