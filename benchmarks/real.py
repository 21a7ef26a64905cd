"""The papers' claims on real photographs: writes data/results/real.csv, real-images.csv and real-pairs.csv.

    python benchmarks/real.py FOLDER          what is not there yet
    python benchmarks/real.py FOLDER --dry    the same code on a few images, into the folder runs/real-dry

FOLDER contains ilsvrc, cub, pets, wildlife and tiny-imagenet in the layouts of docs/data.md; album comes with the
packages. Training sees labels alone; boxes and masks are used to evaluate. Two processes with one thread each share the
work, in about 100 minutes. A row is written when it is measured, and a row that is there is not measured again: delete
the files to measure all anew. Trained networks are kept in the cache. cambook/course/papers/real.py describes what the
three files say.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import form
import numpy as np
import pandas as pd
import torch
import torchvision
from tqdm import tqdm

from cambook import datasets, files, metrics, networks, training
from cambook.course import papers
from cambook.course.papers import real
from cambook.course.papers.real import HEAD, IMAGENET, LONGER, NONE, SCRATCH, TUNED
from cambook.maps.boxes import box_iou
from cambook.metrics import PixelAveragePrecision, evaluate
from cambook.metrics.box_accuracy import IOUS
from cambook.metrics.evaluation import Evaluation, classify
from cambook.metrics.grid import masks_on_grid
from cambook.training import Plan, Trained

SETS = {
    "ilsvrc": "wsol:{}/ilsvrc",
    "cub": "cub:{}/cub",
    "pets": "pets:{}/pets",
    "wildlife": "voc:{}/wildlife",
    "tiny-imagenet": "tiny-imagenet:{}/tiny-imagenet",
    "album": "album",
}
TINY = "tiny-imagenet"
EPOCHS, EPOCHS_OF_A_CUT = 7, 3  # of the small networks on TINY
SEEDS, TINY_SEEDS = range(3), range(5)
OF_IMAGENET = ("cam", "cam-fine", "grad-cam", "saliency", "smooth-saliency", "centre", "whole-image")
MORE_MAPS = {  # on a set: other kinds of map than OF_IMAGENET
    "ilsvrc": (*OF_IMAGENET, "cam-5-boxes"),
    TINY: ("cam", "cam-fine", "centre", "whole-image"),  # 64 pixels, enlarged
}
OF_SMALL = {
    "mini-fc": ("-", "grad-cam", "saliency", "smooth-saliency"),
    "mini-fc-gap": ("-", "cam", "cam-fine", "cam-5-boxes"),
    "mini-fc-gmp": ("-", "cam"),
    "mini-gap": ("-", "cam", "cam-fine", "grad-cam", "centre", "whole-image"),
    "mini-gmp": ("-", "cam"),
    "mini-nin": ("-", "cam"),
    "mini-acol": ("-", "acol"),
}
CROPS = ("whole-picture", "cam-box", "true-box")
SMALL_FOR_FEATURES = ("mini-fc", "mini-gap", "mini-fc-gap")


class Job(NamedTuple):
    """What one network is measured for: a data set, how the network was trained, a seed, and kinds of maps."""

    dataset: str
    network: str
    training: str
    seed: int
    maps: tuple[str, ...]


class Settings(NamedTuple):
    """Of a call. folder: of the photographs; out: where the three files are written; dry: a few images of each set."""

    folder: str
    out: Path
    dry: bool


def jobs() -> list[Job]:
    """All of them; what others start from comes before them."""
    small = [Job(TINY, name, SCRATCH, seed, maps) for name, maps in OF_SMALL.items() for seed in TINY_SEEDS]
    small += [Job(TINY, "mini-fc", LONGER, seed, ("-",)) for seed in TINY_SEEDS]
    trained = [
        Job(dataset, name, how, seed, maps)
        for seed in SEEDS
        for dataset in real.TRAINED_SETS
        for name, how, maps in (
            ("lite0-gap", HEAD, ("cam",)),
            ("lite0-gap", TUNED, ("cam",)),
            ("lite0-acol", TUNED, ("acol",)),
        )
    ]
    as_they_are = [
        Job(dataset, name, IMAGENET, 0, MORE_MAPS.get(dataset, OF_IMAGENET))
        for dataset in SETS
        for name in ("lite0-gap", "squeezenet")
    ]
    as_they_are += [Job(dataset, "lite0-gap", NONE, 0, ("cam",)) for dataset in SETS]
    as_they_are += [Job(TINY, "mini-gap", NONE, seed, ("cam",)) for seed in TINY_SEEDS]
    as_they_are += [Job(dataset, "lite0-gap", IMAGENET, 0, CROPS) for dataset in ("cub", "pets")]
    generic = [
        Job(dataset, name, SCRATCH, seed, ("features",))
        for dataset in real.SETS_FOR_FEATURES
        for name in SMALL_FOR_FEATURES
        for seed in TINY_SEEDS
    ]
    return [*as_they_are, *small, *generic, *trained]


# ---- data and networks ----


@cache
def loaded(dataset: str, split: str, size: int, settings: Settings):
    """One of SETS."""
    length = (8 if split == "test" else 48) if settings.dry else None
    return datasets.load(SETS[dataset].format(settings.folder), split, size, length=length)


class OwnGuess:
    """A data set whose labels are a network's own first guesses: the map of "the true class" is that of the guess."""

    def __init__(self, data, network: networks.Network):
        self.data, self.labels = data, classify(network, data).argmax(1).numpy()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices, device="cpu"):
        """The images at indices, with the guesses for labels."""
        batch = self.data.batch(indices, device)
        return dataclasses.replace(batch, labels=torch.from_numpy(self.labels[np.asarray(indices)]).to(device))


def small_network(name: str, how: str, seed: int, settings: Settings) -> Trained:
    """A small network trained on TINY; a cut from its original, LONGER as many epochs more as a cut has."""
    train, epochs = loaded(TINY, "train", 64, settings), 1 if settings.dry else EPOCHS
    more = 1 if settings.dry else EPOCHS_OF_A_CUT
    cut_from = networks.spec(name).original
    if not cut_from and how == SCRATCH:
        return training.trained(name, train, training.recipe_for(name, epochs=epochs), seed=seed)
    start = small_network(cut_from or name, SCRATCH, seed, settings)
    recipe = training.recipe_for(name if cut_from else "mini-fc-gap", epochs=more)
    if cut_from:
        return training.trained(name, train, Plan(name, recipe), start=start, seed=seed)
    return training.trained(copy.deepcopy(start.network), train, recipe, seed=seed, describe=LONGER)


def network_of(job: Job, settings: Settings) -> networks.Network:
    """The job's network, from the cache if it was trained before."""
    if job.training == IMAGENET:
        return networks.build(job.network, 1000, weights="pretrained").eval()
    if job.training in (SCRATCH, LONGER):
        return small_network(job.network, job.training, job.seed, settings).network
    side = networks.spec(job.network).side
    if job.training == NONE:
        test = loaded(job.dataset, "test", side, settings)
        classes = 1000 if networks.spec(job.network).weights else len(test.classes)
        return networks.build(job.network, classes, seed=job.seed).eval()
    train = loaded(job.dataset, "train", side, settings)
    plan = training.policy(job.network, train, epochs=1 if settings.dry else None)
    frozen = job.training == HEAD
    plan = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, frozen=frozen))
    return training.trained(job.network, train, plan, seed=job.seed, describe=HEAD if frozen else "").network


# ---- rows ----


def measured(
    job: Job, sources: Sequence[str], settings: Settings
) -> Iterator[tuple[str, dict[str, float], dict[str, np.ndarray], Any]]:
    """Of these of a job's kinds of map: name, numbers, what was right in each image, what the pairs are made of."""
    network = network_of(job, settings).to(memory_format=torch.channels_last)  # up to twice as fast on a CPU
    side = networks.spec(job.network).side
    if job.maps == CROPS or job.maps == ("features",):
        size = side * (2 if job.maps == CROPS else 1)
        train, test = (loaded(job.dataset, split, size, settings) for split in ("train", "test"))
        fit = papers.fine_grained if job.maps == CROPS else papers.generic_features
        found = fit({job.network: network}, train, test)
        for source, values in zip(job.maps, found.pictures.values(), strict=True):
            yield source, {"accuracy": values.mean()}, {}, values
        return
    data = seen_by(network, loaded(job.dataset, "test", side, settings))
    for source in sources:
        yield source, *of_map(network, data, source)


def seen_by(network: networks.Network, data):
    """The data set itself, or with a network of other classes with the network's own guesses as labels."""
    return data if network.classes == len(data.classes) else OwnGuess(data, network)


def of_map(network: networks.Network, data, source: str) -> tuple[dict[str, float], dict[str, np.ndarray], Any]:
    """One kind of map: its numbers, what was right in each image, and what the pairs are made of."""
    if source == "-":
        logits = classify(network, data)
        right = {f"top{k}": metrics.topk_correct(logits, data.labels, k) for k in (1, 5)}
        return {f"{k}_error": 100 - 100 * v.mean() for k, v in right.items()}, right, None
    if source == "whole-image":
        return *whole_image(data), None
    if source == "cam-5-boxes":
        right = papers.five_boxes_correct(network, data)
        return {"top5_loc_error": 100 - 100 * right.mean()}, {}, right
    found = evaluate(network, data, source, batch_size=32)
    right = {name: found.correct[name] for name in real.BITS if name in found.correct}
    right["best"] = found.boxes.right_at(found.best_threshold)
    row = found.row | dict(zip(("coverage", "precision"), found.coverage() or (), strict=False))
    row["top1_loc_error_best"] = 100 - 100 * (right["top1"] & right["best"]).mean()
    for metric, ends in found.intervals.items():
        row |= {f"{metric}_low": ends[0], f"{metric}_high": ends[1]}
    row["best_threshold"] = found.best_threshold
    if isinstance(data, OwnGuess):  # whose classes are the network's own: nothing is said about classification
        row = {name: value for name, value in row.items() if not name.startswith("top")}
        right = {name: value for name, value in right.items() if not name.startswith("top")}
    return row, right, found


def whole_image(data) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The control that draws the whole image as its box: right if the object fills most of it."""
    best, pixels = [], PixelAveragePrecision()
    whole = np.array([[0, 0, data.size, data.size]])
    for indices in torch.arange(len(data)).split(64):
        batch = data.batch(indices)
        best += [float(box_iou(whole, boxes).max()) for boxes in batch.boxes]
        if batch.masks is not None:
            ignored = [None] * len(batch) if batch.ignore is None else masks_on_grid(batch.ignore)
            for mask, ignore in zip(masks_on_grid(batch.masks), ignored, strict=True):
                pixels.update(np.ones(mask.shape), mask, ignore)
    iou = np.array(best)
    right = {"gt_known": iou >= 0.5, "best": iou >= 0.5}
    row = {"gt_known": 100 * right["gt_known"].mean(), "max_box_acc": 100 * right["best"].mean()}
    row["max_box_acc_v2"] = 100 * float(np.mean([(iou >= one).mean() for one in IOUS]))
    return row | ({"pxap": pixels.value()} if len(pixels) else {}), right


def do(job: Job, settings: Settings) -> str:
    """Measures what is not there yet of a job and writes each row when it is measured; returns what was done."""
    torch.set_num_threads(1)
    key, began, done, seen = job[:4], time.perf_counter(), 0, {}
    there = {row[:5] for row in _there(settings, "real", real.KEY)}
    compared = _there(settings, "real-pairs", PAIR)
    tests = [
        test for test in TESTS if test.dataset == job.dataset and within(test, job) and named(test) not in compared
    ]
    asked = {who.map for test in tests for who in (test.a, test.b)}
    sources = [source for source in job.maps if (*key, source) not in there or source in asked]
    if not sources:
        return ""
    for source, numbers, right, seen[source] in measured(job, sources, settings):
        if (*key, source) not in there:
            about = dict(zip(real.KEY, (*key, source), strict=True))
            images = len(loaded(job.dataset, "test", networks.spec(job.network).side, settings))
            seconds = round(time.perf_counter() - began)
            row = {
                **about,
                "images": images,
                **numbers,
                "seconds": seconds,
                "device": form.device(),
                "date": date.today(),
            }
            if right:
                add(settings, "real-images", [about | {"right": real.packed(right)}], real.KEY)
            add(settings, "real", [row], real.KEY)
            done += 1
        began = time.perf_counter()
    add(settings, "real-pairs", [over_images(test, seen[test.a.map], seen[test.b.map]) for test in tests], PAIR)
    return f"{job.dataset}, {job.network}, {job.training}, seed {job.seed}: {done} rows"


# ---- differences ----

PAIR = ("dataset", "a", "b", "metric")
TESTS = list(dict.fromkeys(test for claim in real.CLAIMS for test in claim.tests))


def named(test: real.Test) -> tuple[str, str, str, str]:
    """How a Test is written in real-pairs.csv: its PAIR."""
    return test.dataset, real.written(test.a), real.written(test.b), test.metric


def within(test: real.Test, job: Job) -> bool:
    """Whether the job alone decides a test, image by image: nothing was trained, so there is one network."""
    if job.training != IMAGENET or test.dataset != job.dataset:
        return False
    return all(who[:2] == (job.network, job.training) and who.map in job.maps for who in (test.a, test.b))


def values_of(found: Any, metric: str) -> np.ndarray:
    """A metric image by image, as `metrics.paired_interval` takes it."""
    if not isinstance(found, Evaluation):  # (N,) what was right, or 100 for each image that was
        return ~found if metric.endswith("_error") else found
    if metric == "top1_loc_error_best":
        return ~(found.correct["top1"] & found.boxes.right_at(found.best_threshold))
    if metric == "max_box_acc":
        return found.boxes.hits()
    if metric == "max_box_acc_v2":
        return np.stack([found.boxes.hits(iou, "all") for iou in IOUS])
    return found.correct[metric.removesuffix("_error")] ^ metric.endswith("_error")


def over_images(test: real.Test, a: Any, b: Any) -> dict[str, Any]:
    """The row of a Test on one network: the difference, with a paired bootstrap interval over the images."""
    if test.metric == "pxap":
        images, ours = len(a.pixels), a.pixels.value() - b.pixels.value()
        low, high = PixelAveragePrecision.paired_interval(a.pixels, b.pixels, seed=0)
    else:
        one, other = values_of(a, test.metric), values_of(b, test.metric)
        images, ours = one.shape[-2 if one.ndim > 1 else 0], metric_of(one) - metric_of(other)
        low, high = metrics.paired_interval(one, other, seed=0)
    return dict(zip(PAIR, named(test), strict=True)) | {
        "ours": ours,
        "low": low,
        "high": high,
        "over": f"{images} images",
    }


def metric_of(values: np.ndarray) -> float:
    """The metric whose values image by image are (N,), at each threshold (N, T), or for each IoU (D, N, T)."""
    scale = 100 if values.dtype == bool else 1
    return scale * float(values.mean() if values.ndim == 1 else np.mean(values.mean(axis=-2).max(axis=-1)))


def over_seeds(settings: Settings) -> list[dict[str, Any]]:
    """The rows of all Tests on trained networks of which two or more seeds are there."""
    rows, found = pd.read_csv(settings.out / "real.csv", comment="#"), []
    rows = rows.reindex(columns=[*real.KEY, *real.METRICS])  # before all is there a metric may be missing
    for test in TESTS:
        values = [
            rows[(rows[["dataset", "network", "training", "map"]] == [test.dataset, *who]).all(axis=1)].set_index(
                "seed"
            )[test.metric]
            for who in (test.a, test.b)
        ]
        difference = (values[0] - values[1]).dropna()
        if test.a.training != IMAGENET and len(difference) > 1:
            low, high = metrics.seed_interval(difference)
            about = {"ours": difference.mean(), "low": low, "high": high, "over": f"{len(difference)} seeds"}
            found.append(dict(zip(PAIR, named(test), strict=True)) | about)
    return found


# ---- the three files ----

LOCK: Any = None  # of the two processes


def _begin(lock: Any) -> None:
    global LOCK
    LOCK = lock


def _there(settings: Settings, name: str, key: Sequence[str]) -> list[tuple]:
    """The keys of the rows that one of the files has."""
    with LOCK:
        path = settings.out / f"{name}.csv"
        if not path.is_file():
            return []
        return [*pd.read_csv(path, comment="#", usecols=list(key))[list(key)].itertuples(index=False, name=None)]


def add(settings: Settings, name: str, rows: list[dict], key: Sequence[str]) -> None:
    """Adds rows to one of the files, in place of those of the same key; each file is whole at any time."""
    about = (
        f"# python benchmarks/real.py FOLDER\n# python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, one thread in each of two processes\n"
    )
    ends = [f"{metric}_{end}" for metric in real.METRICS for end in ("low", "high")]
    order = [*key, "images", *real.METRICS, "best_threshold", *ends]
    path = settings.out / f"{name}.csv"
    if not rows:
        return
    with LOCK:
        old = [pd.read_csv(path, comment="#", dtype={"right": str})] if path.is_file() else []
        table = pd.concat([*old, pd.DataFrame(rows).round(3)])
        table = table.drop_duplicates(list(key), keep="last").sort_values(list(key), kind="stable")
        columns = [*(name for name in order if name in table), *(name for name in table if name not in order)]
        with files.atomic_write(path) as part:
            part.write_text(about + table[columns].to_csv(index=False, lineterminator="\n"), encoding="utf-8")


def stop(*_: Any) -> None:
    """Ends this process and the two that it started; what they wrote is there."""
    for child in multiprocessing.active_children():
        child.terminate()
    raise SystemExit("stopped; called again, it goes on from the rows that are there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--dry", action="store_true")
    given = parser.parse_args()
    out = files.RUNS / "real-dry" if given.dry else files.DATA / "results"
    settings = Settings(str(Path(given.folder).resolve()), out, given.dry)
    os.environ["OMP_NUM_THREADS"] = "1"  # before the two processes start
    for kept in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):  # or half of the time goes into new memory
        os.environ[kept] = str(2**32)
    signal.signal(signal.SIGTERM, stop)
    context = multiprocessing.get_context("spawn")
    lock = context.Lock()
    _begin(lock)
    with ProcessPoolExecutor(2, context, _begin, (lock,)) as pool:
        running = [pool.submit(do, job, settings) for job in jobs()]
        try:
            for one in (bar := tqdm(as_completed(running), total=len(running), desc="networks")):
                bar.set_postfix_str(one.result())
        except BaseException:  # Ctrl-C too: what is measured is there, the rest is not begun
            pool.shutdown(cancel_futures=True)
            raise
    add(settings, "real-pairs", over_seeds(settings), PAIR)


if __name__ == "__main__":
    main()
