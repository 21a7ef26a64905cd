"""The published figure that stands beside one of ours, and which of its conditions differ."""

from __future__ import annotations

import pandas as pd

from cambook import datasets, networks
from cambook.course.papers import published
from cambook.course.papers.tables import Line, Row

PUBLISHED = {  # our name of a metric -> that of data/published
    "top1_error": "top-1 cls error",
    "top5_error": "top-5 cls error",
    "top1_loc_error": "top-1 loc error",
    "top5_loc_error": "top-5 loc error",
    "accuracy": "cls accuracy",
    "max_box_acc": "MaxBoxAcc@0.5",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
}
IMAGENET = ("ILSVRC", "ImageNet", "ILSVRC-15", "ILSVRC 2014")
SAME_DATA = {"ilsvrc": IMAGENET, "cub": ("CUB-200-2011",)}  # our name of a data set -> those in data/published


def published_figure(row: Row, metric: str, dataset: str) -> pd.Series | None:
    """The published figure that stands beside a metric of a row, or None if the papers have none.

    Of figures on several data sets that on the same as ours, else that on ImageNet, else their mean, which says so.
    raises: KeyError if a line is not in any file
    """
    found = [_lines_of(line, metric) for line in row.lines]
    lines = pd.concat(found) if found else pd.DataFrame(columns=published.COLUMNS)
    for same in (SAME_DATA.get(dataset.partition(":")[0], ()), IMAGENET):
        if lines["dataset"].isin(same).any():
            return lines[lines["dataset"].isin(same)].iloc[0]
    if len(lines) > 1:
        mean = {"value": round(lines["value"].mean(), 2), "dataset": f"the mean of {len(lines)} data sets"}
        return pd.Series(lines.iloc[0].to_dict() | mean | {"evidence": "derived"})
    return lines.iloc[0] if len(lines) else None


def _lines_of(line: Line, metric: str) -> pd.DataFrame:
    """The published figures of one line and metric, one for each data set; the first if a file has several."""
    rows = published.table(line.file)
    rows = rows[
        (rows["method"] == line.method) & rows["backbone"].isin([line.backbone] if line.backbone else rows["backbone"])
    ]
    if rows.empty:
        raise KeyError(f"data/published/{line.file}.csv has no method {line.method!r}, backbone {line.backbone}.")
    return rows[rows["metric"] == PUBLISHED.get(metric)].drop_duplicates("dataset")


SPLITS = {"ilsvrc": "val"}  # what our "test" is called there; elsewhere it is a test split
PAPERS_SIDE = 224  # of the images that the papers' networks take
OTHER_MAPS = {  # source -> what the paper does otherwise, or leaves open
    "saliency": "box at 20% of the raw map's maximum, as for CAM (the paper does not say)",
    "smooth-saliency": "Gaussian of 9 px at 224 px first, then the box at 20% (the paper does not say)",
    "grad-cam": "maps of the last layer before the head, box at 20% of the maximum in top1_loc_error, not 15%",
    "cam-5-boxes": "one view, not ten crops, and the heatmap not stored as JPEG",
    "acol": "erased for the class that branch A predicts, while the released code takes the label in testing too "
    "(delta 0.7, 3x3 average)",
    "centre": "a Gaussian in the middle, not the best centred square",
    "cam-box": "classes' weights from the SVM, in training the box of the label, in testing that of the guess",
}


def conditions(name: str, network: str, source: str, dataset: str, profile: str, found: pd.Series | None) -> list[str]:
    """What is not as it was when the published figure was measured; without one, what ours was measured under."""
    kind, spec = dataset.partition(":")[0], networks.spec(network)
    small = spec.side < PAPERS_SIDE
    theirs = {"dataset": None, "split": None, "method": ""} if found is None else found
    split = SPLITS.get(kind, "test")
    differs = []
    if theirs["dataset"] not in SAME_DATA.get(kind, ()):
        differs.append(f"data: {dataset}" + (f", not {theirs['dataset']}" if theirs["dataset"] else ""))
    if theirs["split"] not in (None, split):
        differs.append(f"split: {split}, not {theirs['split']}")
    data = datasets.find(dataset)
    if data.drawn or small:
        differs.append("trained from scratch")
    elif spec.weights:
        differs.append("from torchvision's ImageNet weights")
    if name in ("table4", "table5"):
        if data.has_object_labels:
            differs.append("classes: the single objects, while the network was trained for their categories")
        elif spec.original:
            differs.append("cut network fine-tuned on this data, not on ILSVRC")
    differs += ["500 test pictures"] if profile == "quick" else []
    if small:
        said = theirs["method"] if name != "wsol" else theirs.get("backbone", "none")
        differs.append(f"network: {network}" + (f" in place of {said}" if said != "none" else ""))
        differs.append(f"pictures of {spec.side} px, not {PAPERS_SIDE}")
    differs += [spec.differs] if spec.differs else []
    if source in OTHER_MAPS:
        differs.append(OTHER_MAPS[source])
    return differs
