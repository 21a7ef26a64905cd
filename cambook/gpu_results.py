"""What `benchmarks/gpu.py` measured, data/results/gpu-*.csv, and the Markdown that README and lessons show of it.

A row says by itself on which device, with which versions, when and by which command it was made, since the pieces of
one table may come from several days and machines. Only the standard library is needed.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable
from pathlib import Path

from cambook import paths

FOLDER = paths.DATA / "results"
ABOUT = {
    "gpu-throughput": "Pictures per second: median, least and most of several blocks; flops of matrix work only.",
    "gpu-trainings": "Trained from scratch on scenes, not on ILSVRC: the papers' comparisons, not their figures.",
    "gpu-localization": "Trained from scratch on scenes, not on ILSVRC: the papers' comparisons, not their figures.",
}
NEEDED = {  # columns without which a table would have empty cells and nobody would know why
    "gpu-throughput": ("device", "torch", "torchvision", "network", "work", "pictures_per_second"),
    "gpu-trainings": ("device", "torch", "torchvision", "network", "seed", "train_pictures", "test_pictures", "size"),
    "gpu-localization": ("device", "network", "seed", "source"),
}
NOT_MEASURED = "Results on a GPU: not measured yet."
BEGIN, END = "<!-- gpu -->\n", "\n<!-- end of gpu -->"
SHOWN = {
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "top1_loc_error": "top-1 loc. error",
    "top5_loc_error": "top-5 loc. error",
    "gt_known": "GT-known",
    "max_box_acc": "MaxBoxAcc",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
}


def rows(name: str, folder: Path = FOLDER) -> list[dict[str, str]]:
    """The rows of FOLDER/NAME.csv, none where there is no such file; name: a key of ABOUT."""
    file = folder / f"{name}.csv"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def add(name: str, new: Iterable[dict], folder: Path = FOLDER) -> None:
    """Writes further rows behind those that are there; the file is at every moment the old one or the new one."""
    table = [*rows(name, folder), *new]
    columns = list(dict.fromkeys(column for row in table for column in row))
    with paths.atomic_write(folder / f"{name}.csv") as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# python benchmarks/gpu.py\n# {ABOUT[name]}\n")
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def markdown(folder: Path = FOLDER) -> str:
    """The tables of what is in the folder, or the sentence that nothing was measured yet.

    raises: ValueError where a file lacks a column of NEEDED
    """
    speed, trained, located = (rows(name, folder) for name in ABOUT)
    for (name, needed), table in zip(NEEDED.items(), (speed, trained, located), strict=True):
        if missing := [column for column in needed if table and column not in table[0]]:
            raise ValueError(f"{folder / name}.csv has no column {', '.join(missing)}: make it again with `make gpu`.")
    parts = [_throughput(device, _of(speed, device=device)) for device in _values(speed, "device")]
    parts += [_results(trained, located)] if trained else []
    return "\n\n".join(parts) or NOT_MEASURED


def into_readme(readme: str, folder: Path = FOLDER) -> str:
    """The README with the tables between its marks, or, before the first results, the sentence in their place.

    raises: ValueError where the README has neither the marks nor the sentence
    """
    found = markdown(folder)
    if BEGIN in readme and END in readme:
        before, _, rest = readme.partition(BEGIN)
        return before + BEGIN + found + END + rest.partition(END)[2]
    if NOT_MEASURED not in readme:
        raise ValueError(f"README.md has no place for results on a GPU: write {NOT_MEASURED!r} where they belong.")
    return readme.replace(NOT_MEASURED, NOT_MEASURED if found == NOT_MEASURED else f"\n{BEGIN}{found}{END}\n", 1)


def _of(table: list[dict[str, str]], **wanted: str) -> list[dict[str, str]]:
    return [row for row in table if all(row.get(key) == value for key, value in wanted.items())]


def _values(table: list[dict[str, str]], column: str) -> list[str]:
    """The different values of a column, in the order in which they come."""
    return list(dict.fromkeys(row[column] for row in table))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: list[str], body: Iterable[list[str]]) -> str:
    return "\n".join(map(_line, [head, ["---"] * len(head), *body]))


def _versions(table: list[dict[str, str]]) -> str:
    pairs = dict.fromkeys((row["torch"], row["torchvision"]) for row in table)
    return "; ".join(f"torch {torch}, torchvision {torchvision}" for torch, torchvision in pairs)


def _throughput(device: str, table: list[dict[str, str]]) -> str:
    """Pictures per second of each network on one device; a cell is empty where nothing was measured."""

    def rate(network: str, **wanted: str) -> float | None:
        found = _of(table, network=network, **wanted)
        return float(found[-1]["pictures_per_second"]) if found else None

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f}"

    def cost(with_it: float | None, without: float | None) -> str:
        """How much longer a picture takes with it, in percent."""
        return f"{100 * (without / with_it - 1):.0f}%" if with_it and without else ""

    body = []
    for network in _values([row for row in table if row["network"]], "network"):
        step = {"network": network, "work": "training step", "data": "resident", "compiled": "no"}
        plain = rate(**step, precision="fp32", layout="contiguous")
        bf16 = rate(**step, precision="bf16", layout="contiguous")
        ours = rate(**step, precision="bf16", layout="channels last")
        compiled = rate(**{**step, "compiled": "yes"}, precision="bf16", layout="channels last")
        share = _of(table, **step, precision="bf16", layout="channels last")
        pipeline = _of(table, network=network, work="training step", precision="bf16", layout="channels last")
        pipeline = [float(row["pictures_per_second"]) for row in pipeline if row["data"] != "resident"]
        forward = rate(network, work="forward")
        maps = [rate(network, work=f"forward and {kind}") for kind in ("CAM, all classes", "Grad-CAM, five classes")]
        body.append(
            [
                f"`{network}`",
                *map(number, (plain, bf16, ours, compiled)),
                f"{float(share[-1]['share_of_peak']):.0f}%" if share and share[-1]["share_of_peak"] else "",
                cost(pipeline[-1], ours) if pipeline else "",
                number(forward),
                *(cost(one, forward) for one in maps),
            ]
        )
    head = ["network", "fp32", "bf16", "bf16, channels last", "the same, compiled", "share of peak", "pipeline costs"]
    head += ["forward pass, no training", "CAM costs", "Grad-CAM costs"]
    peaks = [f"{float(row['tflops']):.0f} TFLOP/s in {row['precision']}" for row in _of(table, work="matrix peak")]
    return (
        f"Pictures per second on {device} ({_versions(table)}), a training step with a batch that lies on the device. "
        "Pipeline: the same step with pictures drawn as they are asked for; target: at most 10%. Share of peak: of "
        f"the largest matrix product measured there ({', '.join(peaks) or 'not measured'}). fp32 is without TF32. "
        f"Maps: CAM of all classes, Grad-CAM of five, on top of the forward pass.\n\n{_table(head, body)}"
    )


def _results(trained: list[dict[str, str]], located: list[dict[str, str]]) -> str:
    """Errors and boxes of each network, over seeds."""

    def over_seeds(table: list[dict[str, str]], metric: str) -> str:
        values = [float(row[metric]) for row in table if row.get(metric)]
        if not values:
            return ""
        mean = f"{statistics.mean(values):.1f}"
        return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"

    body = []
    for network in _values([*trained, *located], "network"):
        classified, examined = _of(trained, network=network), _of(located, network=network)
        for source in _values(examined, "source") or ["not examined yet"]:
            boxes = _of(examined, source=source)
            seeds = len(_values(classified or boxes, "seed"))
            errors = [over_seeds(classified, metric) for metric in list(SHOWN)[:2]]
            body.append([f"`{network}`", source, str(seeds), *errors, *(over_seeds(boxes, m) for m in list(SHOWN)[2:])])
    devices = ", ".join(_values([*trained, *located], "device"))
    sizes = {(row["train_pictures"], row["test_pictures"], row["size"]) for row in trained}
    made = "; ".join(f"{int(n):,} training and {int(m):,} test pictures of {size} px" for n, m, size in sorted(sizes))
    return (
        f"Trained from scratch on `scenes` ({made}), so these rows repeat the papers' comparisons and not their ILSVRC "
        f"figures. {devices} ({_versions(trained)}); mean of the seeds, in brackets the least and the most, in "
        f"percent.\n\n{_table(['network', 'maps', 'seeds', *SHOWN.values()], body)}"
    )
