"""The papers' claims on real photographs: data/results/real.csv, and what its rows say.

`benchmarks/real.py` measures; here it is said who is compared with whom (CLAIMS), and how a row, an image and a
difference are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from cambook import files
from cambook.course.papers.claims import verdict
from cambook.course.papers.in_full import InFull
from cambook.files import read_table

RESULTS = files.DATA / "results"
IMAGENET, HEAD, TUNED, SCRATCH, LONGER, NONE = TRAININGS = (
    "ImageNet's weights",  # as they are; on a set with other classes the map is that of the network's own first guess
    "new head",  # ImageNet's weights frozen, a new last layer trained on the set's labels
    "fine-tuned",  # ImageNet's weights, all layers trained on the set's labels
    "from scratch",  # trained on the labels of tiny-imagenet
    "trained longer",  # from scratch, and as many epochs more as its cuts have
    "random weights",  # a control
)
METRICS = (
    *("top1_error", "top5_error", "top1_loc_error", "top5_loc_error", "top1_loc_error_best"),
    *("gt_known", "max_box_acc", "max_box_acc_v2", "pxap", "pointing", "coverage", "precision", "accuracy"),
)
KEY = ("dataset", "network", "training", "seed", "map")
BITS = ("top1", "top5", "gt_known", "best", "pointing")  # what is said of one image, from the lowest bit
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


class Who(NamedTuple):
    """A network, how it was trained, and its kind of map."""

    network: str
    training: str
    map: str = "-"


class Test(NamedTuple):
    """a minus b in a metric, on one data set."""

    dataset: str
    a: Who
    b: Who
    metric: str


class OnPhotographs(NamedTuple):
    """A claim: each of its differences lies in `between`. table: where it is shown; paper: whose it is."""

    table: str
    paper: str
    says: str
    tests: tuple[Test, ...]
    between: tuple[float, float] = (0, np.inf)


def _small(name: str, source: str = "-", training: str = SCRATCH) -> Who:
    return Who(name, training, source)


def _localizes_better(dataset: str, good: Who, bad: Who) -> Iterator[Test]:
    """Class and box together, then the box alone; each with the box at 20% and at the best threshold."""
    yield Test(dataset, bad, good, "top1_loc_error")
    yield Test(dataset, bad, good, "top1_loc_error_best")
    yield Test(dataset, good, bad, "gt_known")
    yield Test(dataset, good, bad, "max_box_acc")


def _all(*groups: Iterable[Test]) -> tuple[Test, ...]:
    return tuple(test for group in groups for test in group)


TRAINED_SETS = ("wildlife", "pets")  # cub has 332 training photographs of 190 species here: too few to learn from
SETS_FOR_FEATURES = ("wildlife", "pets", "cub")
_TINY = "tiny-imagenet"
_PRETRAINED = ("lite0-gap", "squeezenet")
_GAP, _GMP, _FC = _small("mini-fc-gap", "cam"), _small("mini-fc-gmp", "cam"), _small("mini-fc")
_LITE, _ACOL = Who("lite0-gap", TUNED, "cam"), Who("lite0-acol", TUNED, "acol")
_PAIRS_OF_ACOL = [(_TINY, _small("mini-gap", "cam"), _small("mini-acol", "acol"))]
_PAIRS_OF_ACOL += [(dataset, _LITE, _ACOL) for dataset in TRAINED_SETS]


def _of_imagenet(dataset: str, metric: str, first: str, second: str) -> Iterator[Test]:
    for name in _PRETRAINED:
        yield Test(dataset, Who(name, IMAGENET, first), Who(name, IMAGENET, second), metric)


CLAIMS = (
    OnPhotographs(
        *("table1", "cam", "GAP networks lose 1 to 3 points of accuracy"),
        (
            Test(_TINY, _small("mini-fc-gap"), _FC, "top1_error"),
            Test(_TINY, _small("mini-fc-gap"), _FC._replace(training=LONGER), "top1_error"),
        ),
        (1, 3),
    ),
    OnPhotographs(
        *("table1", "cam", "GAP and GMP classify alike, within a point"),
        (Test(_TINY, _small("mini-fc-gmp"), _small("mini-fc-gap"), "top1_error"),),
        (-1, 1),
    ),
    OnPhotographs(
        *("table2", "cam", "GAP localizes better than GMP"),
        _all(
            _localizes_better(_TINY, _GAP, _GMP),
            _localizes_better(_TINY, _small("mini-gap", "cam"), _small("mini-gmp", "cam")),
        ),
    ),
    OnPhotographs(
        *("table2", "cam", "CAM beats backprop"),
        _all(
            *(
                _localizes_better("ilsvrc", Who(name, IMAGENET, "cam"), Who(name, IMAGENET, kind))
                for name in _PRETRAINED
                for kind in ("saliency", "smooth-saliency")
            ),
            *(_localizes_better(_TINY, _GAP, _small("mini-fc", kind)) for kind in ("saliency", "smooth-saliency")),
        ),
    ),
    OnPhotographs(
        *("table3", "cam", "A tight and a loose box lower the error"),
        (
            *_of_imagenet("ilsvrc", "top5_loc_error", "cam", "cam-5-boxes"),
            Test(_TINY, _GAP, _GAP._replace(map="cam-5-boxes"), "top5_loc_error"),
        ),
    ),
    *(
        OnPhotographs(
            *("table4", "cam", says),
            tuple(
                Test(dataset, Who("lite0-gap", IMAGENET, a), Who("lite0-gap", IMAGENET, b), "accuracy")
                for dataset in ("cub", "pets")
            ),
        )
        for says, a, b in (
            ("The CAM box helps to tell classes apart", "cam-box", "whole-picture"),
            ("The true box helps more than the CAM box", "true-box", "cam-box"),
        )
    ),
    *(
        OnPhotographs(
            *("table5", "cam", says),
            tuple(
                Test(dataset, _small("mini-fc-gap", "features"), _small(other, "features"), "accuracy")
                for dataset in SETS_FOR_FEATURES
            ),
            between,
        )
        for says, other, between in (
            ("GAP features are as good as GoogLeNet's, within a point", "mini-gap", (-1, 1)),
            ("GAP features are better than fc7 of AlexNet", "mini-fc", (0, np.inf)),
        )
    ),
    OnPhotographs(
        *("wsol", "grad-cam", "Grad-CAM localizes better than CAM"),
        tuple(_localizes_better(_TINY, _small("mini-fc", "grad-cam"), _small("mini-gap", "cam"))),
    ),
    OnPhotographs(
        *("wsol", "acol", "ACoL covers more of the object than CAM"),
        (Test("pets", _ACOL, _LITE, "coverage"),),
    ),
    OnPhotographs(
        *("wsol", "acol", "ACoL localizes better than CAM"),
        tuple(Test(dataset, cam, acol, "top1_loc_error") for dataset, cam, acol in _PAIRS_OF_ACOL),
    ),
    OnPhotographs(
        *("wsol", "wsol", "CAM is better than ACoL where both are evaluated alike"),
        tuple(Test(dataset, cam, acol, "max_box_acc_v2") for dataset, cam, acol in _PAIRS_OF_ACOL),
    ),
    OnPhotographs(
        *("wsol", "wsol", "CAM is better than a spot in the centre"),
        (
            *(
                test
                for dataset in ("ilsvrc", "cub", "pets", "wildlife", _TINY)
                for test in _of_imagenet(dataset, "max_box_acc_v2", "cam", "centre")
            ),
            Test(_TINY, _small("mini-gap", "cam"), _small("mini-gap", "centre"), "max_box_acc_v2"),
            *_of_imagenet("pets", "pxap", "cam", "centre"),
        ),
    ),
    OnPhotographs(
        *("fine", "cambook", "cam-fine localizes better than CAM, same network, same labels"),
        (
            *(
                test
                for dataset in ("ilsvrc", "cub", "pets", "wildlife", _TINY)
                for metric in ("max_box_acc_v2", "max_box_acc")
                for test in _of_imagenet(dataset, metric, "cam-fine", "cam")
            ),
            *(test for dataset in ("pets", "album") for test in _of_imagenet(dataset, "pxap", "cam-fine", "cam")),
        ),
    ),
)


def rows() -> pd.DataFrame:
    """data/results/real.csv: KEY, what the map is of, images, METRICS and their intervals, and how it was measured."""
    return read_table(RESULTS / "real.csv", [*KEY, "images", *METRICS])


def pairs() -> pd.DataFrame:
    """data/results/real-pairs.csv: a row for each Test, with ours (points), low, high and over what they are taken."""
    return read_table(RESULTS / "real-pairs.csv", ["dataset", "a", "b", "metric", "ours", "low", "high", "over"])


def per_image(dataset: str, who: Who, seed: int = 0) -> dict[str, np.ndarray]:
    """What was right in each image of a row: the names of BITS -> (N,) bool. KeyError if there is no such row."""
    table = read_table(RESULTS / "real-images.csv", [*KEY, "right"], dtype={"right": str}).set_index(list(KEY))
    return unpacked(table.loc[(dataset, who.network, who.training, seed, who.map), "right"])


def packed(right: Mapping[str, np.ndarray]) -> str:
    """One letter for each image: the names of BITS -> (N,) bool; a name that is missing was not measured, and is 0.

    Example:
        >>> packed({"top1": np.array([True, False]), "pointing": np.array([True, True])})
        'HG'
    """
    values = sum(np.asarray(right[name]).astype(int) << place for place, name in enumerate(BITS) if name in right)
    return "".join(LETTERS[value] for value in values)


def unpacked(letters: str) -> dict[str, np.ndarray]:
    """The opposite of `packed`.

    Example:
        >>> unpacked("HG")["top1"].tolist(), unpacked("HG")["gt_known"].tolist()
        ([True, False], [False, False])
    """
    values = np.array([LETTERS.index(letter) for letter in letters])
    return {name: (values >> place & 1).astype(bool) for place, name in enumerate(BITS)}


def written(who: Who) -> str:
    """How a Who is written in tables and in real-pairs.csv: "lite0-gap, fine-tuned: cam"."""
    return f"{who.network}, {who.training}" + ("" if who.map == "-" else f": {who.map}")


def table(name: str) -> pd.DataFrame:
    """What the photographs measured of a table: a row for each network and map that its claims compare.

    returns: data, network, training, map, images, seeds; then the metrics that the claims compare and, if there is any,
             top1_error: mean over the seeds in percent, with its spread (standard deviation) behind ± if there are
             several; "-" if not measured
    """
    tests = [test for claim in CLAIMS if claim.table == name for test in claim.tests]
    shown = [metric for metric in METRICS if metric in {"top1_error", *(test.metric for test in tests)}]
    found, lines = rows(), []
    for dataset, who in dict.fromkeys((test.dataset, one) for test in tests for one in (test.b, test.a)):
        mine = found[(found[["dataset", "network", "training", "map"]] == [dataset, *who]).all(axis=1)]
        line = {"data": dataset, **who._asdict(), "images": int(mine["images"].iloc[0]), "seeds": len(mine)}
        lines.append(line | {metric: _mean_and_spread(mine[metric]) for metric in shown})
    table = pd.DataFrame(lines)
    return InFull(table.drop(columns=[metric for metric in shown if (table[metric] == "-").all()]))


def _mean_and_spread(values: pd.Series) -> str:
    if values.isna().all():
        return "-"
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def verdicts(table: str) -> pd.DataFrame:
    """What the photographs say to the claims of a table: one row for each difference.

    returns: claim, claimed; data; of: what both sides share, difference: who is compared; metric; ours (points, above 0
             if the first of the two is better), low, high, its 95% interval, over (seeds, or images of one network);
             decidable: half of the interval, the smallest distance from the claim's bound that these runs could have
             decided; verdict: holds, does not hold, not decided
    """
    found, lines = pairs().set_index(["dataset", "a", "b", "metric"]), []
    for claim in (claim for claim in CLAIMS if claim.table == table):
        least, most = claim.between
        for test in claim.tests:
            row = found.loc[(test.dataset, written(test.a), written(test.b), test.metric)]
            claimed = f"above {least:g}" if np.isinf(most) else f"{least:+g} to {most:+g}"
            line = {"claim": claim.says, "claimed": claimed, "data": test.dataset, "metric": test.metric}
            line |= _compared(test, np.isinf(most))
            line |= row[["ours", "low", "high"]].round(1).to_dict()
            line |= {"over": row["over"], "decidable": round((row["high"] - row["low"]) / 2, 1)}
            lines.append(line | {"verdict": verdict(row["low"], row["high"], claim.between)})
    return pd.DataFrame(lines)


def numbers(table: str) -> dict[str, float]:
    """What a notebook may record of `verdicts`: "DATA: DIFFERENCE (OF), METRIC" -> points, "CLAIM: VERDICT" -> rows."""
    found = verdicts(table)
    names = found["data"] + ": " + found["difference"] + " (" + found["of"] + "), " + found["metric"]
    counts = (found["claim"] + ": " + found["verdict"]).value_counts()
    return dict(zip(names, found["ours"], strict=True)) | counts.to_dict()


def _compared(test: Test, one_sided: bool) -> dict[str, str]:
    """Of a Test what both sides share, and the two without it. Fewer errors are better, so there b comes first."""
    turned = one_sided and "_error" in test.metric
    first, second = (test.b, test.a) if turned else (test.a, test.b)
    same = [x for x, y in zip(first, second, strict=True) if x == y and x != "-"]
    sides = (", ".join(x for x in side if x not in (*same, "-")) for side in (first, second))
    return {"of": ", ".join(same), "difference": (" ahead of " if one_sided else " minus ").join(sides)}


# metric -> what is counted, and at which threshold the box is cut
COUNTED = {
    "top1_loc_error": ("class and box", "at 20%"),
    "top1_loc_error_best": ("class and box", "at the best threshold"),
    "gt_known": ("box", "at 20%"),
    "max_box_acc": ("box", "at the best threshold"),
    "max_box_acc_v2": ("box, three IoUs (V2)", "at the best threshold"),
    "pxap": ("pixels (PxAP)", "at all thresholds"),
    "top1_error": ("class (top-1 error)", "points"),
    "top5_loc_error": ("class and box, five guesses", "points"),
    "coverage": ("covered pixels", "at the best threshold"),
    "accuracy": ("class (accuracy)", "points"),
}


def shown(table: str) -> pd.DataFrame:
    """`verdicts` for readers: a row for each comparison, and the ways to choose a threshold side by side.

    returns: claim; data, of, difference, counted; then for each way difference, interval and verdict in one cell;
             decidable: the larger one of the row
    """
    found, lines = verdicts(table), {}
    for row in found.itertuples():
        counted, way = COUNTED[row.metric]
        key = (row.claim, row.data, row.of, row.difference, counted)
        said = f"{row.ours:+.1f} [{row.low:+.1f}, {row.high:+.1f}] {row.verdict}"
        line = lines.setdefault(key, {"decidable": 0.0})
        lines[key] = line | {way: said, "decidable": max(line["decidable"], row.decidable)}
    names = ["claim", "data", "of", "difference", "counted"]
    table = pd.DataFrame([dict(zip(names, key, strict=True)) | line for key, line in lines.items()]).fillna("-")
    ways = [way for way in dict.fromkeys(way for _, way in COUNTED.values()) if way in table]
    return InFull(table[[*names, *ways, "decidable"]])
