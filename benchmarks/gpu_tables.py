"""The pages that show data/results/gpu.csv: docs/gpu.md with every table, lesson 04 with the first, README its gist.

Where the file is missing there is no docs/gpu.md, README says that nothing was measured, and the lesson says nothing.
"""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_rows import ROOT

from cambook import files

if TYPE_CHECKING:
    import nbformat

Rows = list[dict[str, str]]

BEGIN, END = "<!-- gpu -->\n", "\n<!-- end of gpu -->"
NOT_MEASURED = "No results on a GPU are recorded yet."
PAGE = ROOT / "docs" / "gpu.md"
LESSON, CELL, AFTER = ROOT / "notebooks" / "04_learn_to_localize.ipynb", "gpu", "photographs-discuss"
METRICS = {
    "top1_error": "top-1 error",
    "top1_loc_error": "top-1 loc. error",
    "gt_known": "GT-known",
    "max_box_acc": "MaxBoxAcc",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
}


# ---- pieces of tables ----


def select(table: Rows, **wanted: str) -> Rows:
    """The rows with these values; an empty value asks for rows without that column."""
    return [row for row in table if all(row.get(key, "") == value for key, value in wanted.items())]


def values(table: Rows, column: str) -> list[str]:
    """The different values of a column, in the order in which they come."""
    return list(dict.fromkeys(row[column] for row in table if column in row))


def markdown_table(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, body)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def over_seeds(table: Rows, metric: str) -> str:
    """The mean over the rows, in brackets the least and the most; one number alone, nothing where none is."""
    found = [float(row[metric]) for row in table if metric in row]
    if not found:
        return ""
    mean = f"{statistics.mean(found):.1f}"
    return mean if len(found) == 1 else f"{mean} ({min(found):.1f} to {max(found):.1f})"


def versions(table: Rows) -> str:
    pairs = dict.fromkeys((row["torch"], row["torchvision"]) for row in table)
    return "; ".join(f"torch {torch}, torchvision {torchvision}" for torch, torchvision in pairs)


# ---- the tables ----


def photographs(table: Rows) -> str:
    """Labels alone on real photographs, beside the controls."""
    body = []
    for dataset in values(table, "dataset"):
        for training, source, name in (
            ("fine-tuned", "cam", "fine-tuned on labels"),
            ("frozen backbone", "cam", "new linear layer on the frozen backbone"),
            ("", "centre", "control: a spot in the middle"),
            ("random weights", "cam", "control: random weights"),
        ):
            found = select(table, dataset=dataset, training=training, source=source)
            if found:
                cells = [over_seeds(found, metric) for metric in METRICS]
                if source == "centre":
                    cells[:2] = ["", ""]
                body.append([f"`{dataset}`", name, str(len(found)), *cells])
    sizes = {row["dataset"]: f"`{row['dataset']}` {row['train']} and {row['test']}" for row in table}
    return (
        f"`lite0-gap`, fine-tuned on image labels alone and evaluated with boxes and masks, on {_devices(table)}. "
        f"Photographs to train and test on: {', '.join(sizes.values())}; parts of the published sets, so not to be "
        "compared with published values. Percent, mean of the seeds, in brackets the least and the most.\n\n"
        + markdown_table(["photographs", "network", "seeds", *METRICS.values()], body)
    )


def in_short(table: Rows) -> str:
    """What README says of real photographs: MaxBoxAcc of the fine-tuned network beside the spot in the middle."""
    parts = []
    for dataset in values(table, "dataset"):
        tuned = select(table, dataset=dataset, training="fine-tuned", source="cam")
        centre = select(table, dataset=dataset, training="", source="centre")
        beside = f" (a spot in the middle: {over_seeds(centre, 'max_box_acc')})" if centre else ""
        if tuned:
            parts.append(f"{over_seeds(tuned, 'max_box_acc')} on `{dataset}`{beside}")
    text = (
        f"Measured on {_devices(table)}: fine-tuned on image labels alone, `lite0-gap` reaches a MaxBoxAcc of "
        f"{', '.join(parts)}. [All results on a GPU](docs/gpu.md)."
    )
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def speed(table: Rows) -> str:
    """Images per second of each network; a cell is empty if nothing was measured."""

    def rate(**wanted: str) -> float | None:
        found = select(table, **wanted)
        return float(found[-1]["pictures_per_second"]) if found else None

    def cost(with_it: float | None, without: float | None) -> str:
        return f"{100 * (without / with_it - 1):.0f}%" if with_it and without else ""

    body = []
    for network in values(table, "network"):
        step = {"network": network, "work": "training step", "data": "resident", "compiled": "no"}
        layouts = (("fp32", "contiguous"), ("bf16", "contiguous"), ("bf16", "channels last"))
        found = [rate(**step, precision=precision, layout=layout) for precision, layout in layouts]
        found.append(rate(**{**step, "compiled": "yes"}, precision="bf16", layout="channels last"))
        last = select(table, **step, precision="bf16", layout="channels last")
        pipeline = [row for row in select(table, network=network) if "share_of_resident" in row]
        forward = rate(network=network, work="forward")
        maps = [rate(network=network, work=f"forward and {kind}, five classes") for kind in ("CAM", "Grad-CAM")]
        body.append(
            [
                f"`{network}`",
                *("" if each is None else f"{each:,.0f}" for each in found),
                f"{float(last[-1]['share_of_peak']):.0f}%" if last and "share_of_peak" in last[-1] else "",
                f"{float(pipeline[-1]['share_of_resident']):.0f}% ({pipeline[-1]['data']})" if pipeline else "",
                "" if forward is None else f"{forward:,.0f}",
                *(cost(one, forward) for one in maps),
            ]
        )
    head = ["network", "fp32", "bf16", "bf16, channels last", "the same, compiled", "share of peak", "pipeline"]
    head += ["forward pass", "CAM costs", "Grad-CAM costs"]
    peaks = [f"{float(r['tflops']):.0f} TFLOP/s in {r['precision']}" for r in select(table, work="matrix peak")]
    drawn = [
        f"{float(r['pictures_per_second']):,.0f} a second at {r['size']} px" for r in select(table, work="scenes drawn")
    ]
    return (
        f"Images per second on {_devices(table)}: a training step on a batch that is already on the device. fp32 is "
        "without TF32. Share of peak: in percent of the largest matrix product measured there "
        f"({', '.join(peaks) or 'not measured'}). Pipeline: the speed of the same step with photographs decoded as "
        "they are needed (or held on the device, for the small networks), in percent of the step alone; the aim is 90. "
        "Maps: CAM and Grad-CAM of five classes on top of the forward pass. Scenes drawn on the device: "
        f"{', '.join(drawn) or 'not measured'}.\n\n" + markdown_table(head, body)
    )


def papers(table: Rows) -> str:
    """The papers' networks on scenes."""
    body = []
    for network in values(table, "network"):
        for source in values(select(table, network=network), "source"):
            found = select(table, network=network, source=source)
            cells = [over_seeds(found, metric) for metric in METRICS]
            body.append([f"`{network}`" if source != "centre" else "control", source, *cells])
    one = next(row for row in table if "steps" in row)
    return (
        f"The papers' networks on `scenes` at {one['size']} px, from random weights, {int(one['steps']):,} steps each, "
        f"and their cuts, as many steps more ({one['train']} images to train on, {one['test']} to test on, "
        f"{_devices(table)}). The comparisons are the papers', their ILSVRC figures are not.\n\n"
        + markdown_table(["network", "maps", *METRICS.values()], body)
    )


PAIRS = {  # what is compared seed by seed: (network, source) and its rival
    "GAP above GMP (cuts of mini-fc)": (("mini-fc-gap", "cam"), ("mini-fc-gmp", "cam")),
    "GAP above GMP (from scratch)": (("mini-gap", "cam"), ("mini-gmp", "cam")),
    "CAM above smoothed saliency": (("mini-fc-gap", "cam"), ("mini-fc", "smooth-saliency")),
    "ACoL above CAM": (("mini-acol", "acol"), ("mini-gap", "cam")),
}


def tiny(table: Rows) -> str:
    """The small networks on photographs of 64 px, and their differences seed by seed."""
    body = []
    trained = [row for row in table if row.get("training") not in (None, "random weights")]
    for network in values(trained, "network"):
        for source in values(select(trained, network=network), "source"):
            found = select(trained, network=network, source=source)
            cells = [over_seeds(found, metric) for metric in list(METRICS)[:5]]
            body.append([f"`{network}`", source, str(len(found)), *cells])
    for name, wanted in (("centre", {"training": "", "source": "centre"}), ("weights", {"training": "random weights"})):
        found = select(table, **wanted)
        cells = [over_seeds(found, metric) for metric in list(METRICS)[:5]]
        body.append([f"control: {name if name == 'centre' else 'random weights'}", "", str(len(found)), *cells])
    lines = []
    for name, (one, other) in PAIRS.items():
        differences = []
        for seed in values(trained, "seed"):
            pair = [select(trained, seed=seed, network=network, source=source) for network, source in (one, other)]
            if all(pair):
                differences.append(float(pair[0][0]["max_box_acc"]) - float(pair[1][0]["max_box_acc"]))
        if differences:
            above = sum(d > 0 for d in differences)
            lines.append([name, f"{statistics.mean(differences):+.1f}", f"{above} of {len(differences)}"])
    classes = f"{trained[0]['train']} photographs to train on, {trained[0]['test']} to test on"
    return (
        f"The small networks on Tiny ImageNet's photographs of 64 px ({classes}), {_devices(table)}. Mean of the "
        "seeds, in brackets the least and the most.\n\n"
        + markdown_table(["network", "maps", "seeds", *list(METRICS.values())[:5]], body)
        + "\n\nThe same seed on both sides, points of MaxBoxAcc:\n\n"
        + markdown_table(["comparison", "mean difference", "seeds that agree"], lines)
    )


def _devices(table: Rows) -> str:
    return f"{', '.join(values(table, 'device'))} ({versions(table)})"


TABLES: dict[str, tuple[tuple[str, ...], Callable[[Rows], str]]] = {
    "Real photographs, labels alone": (("photographs",), photographs),
    "Speed": (("throughput", "compiled", "more throughput"), speed),
    "The papers' networks on scenes": (("papers", "papers' cuts"), papers),
    "Ten seeds on Tiny ImageNet": (("tiny-imagenet",), tiny),
}


def page(table: Rows) -> str:
    """docs/gpu.md."""
    parts = [
        "# Measured on a GPU",
        "Written by `make gpu` from `data/results/gpu.csv`, which names device, versions, seed, date and command in "
        "each row. How it is run: [benchmarks](../benchmarks/README.md).",
    ]
    for title, (stages, write_one) in TABLES.items():
        if found := [row for row in table if row["stage"] in stages and row.get("work") != "plan"]:
            parts += [f"## {title}", write_one(found)]
    return "\n\n".join(parts) + "\n"


# ---- where they are shown ----


def into_readme(readme: str, table: Rows) -> str:
    """The README with what it says of a GPU between its marks. raises: ValueError where the marks are missing"""
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"README.md lacks the marks {BEGIN.strip()} and {END.strip()}, between which results belong.")
    found = [row for row in table if row["stage"] == "photographs"]
    text = in_short(found) if found else NOT_MEASURED
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + text + END + rest.partition(END)[2]


def into_lesson(notebook: nbformat.NotebookNode, table: Rows) -> nbformat.NotebookNode:
    """Lesson 04 with one cell of results behind its table of photographs, without it where there are none."""
    cells = [cell for cell in notebook.cells if cell.id != CELL]
    if found := [row for row in table if row["stage"] == "photographs"]:
        from nbformat.v4 import new_markdown_cell  # a GPU's machine seldom has it

        place = [cell.id for cell in cells].index(AFTER) + 1
        text = f"**The same on a GPU, on more photographs.** {photographs(found)}"
        cells.insert(place, new_markdown_cell(text, id=CELL))
    notebook.cells = cells
    return notebook


def write(table: Rows) -> int:
    """All pages, from the rows; returns 0."""
    import nbformat

    readme = ROOT / "README.md"
    _write(readme, into_readme(readme.read_text(encoding="utf-8"), table))
    lesson = nbformat.read(LESSON, as_version=4)
    _write(LESSON, nbformat.writes(into_lesson(lesson, table)) + "\n")
    if table:
        _write(PAGE, page(table))
    return 0


def _write(file: Path, text: str) -> None:
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        with files.atomic_write(file) as part:
            part.write_text(text, encoding="utf-8")
