"""The stages of `make gpu` that train: on real photographs, on scenes of 224 px, and small networks with ten seeds."""

from __future__ import annotations

import dataclasses
import math
from functools import cache, partial
from pathlib import Path

from gpu_rows import Piece, Settings, rows

from cambook import datasets, networks, training
from cambook.datasets import scenes
from cambook.metrics import Evaluation, evaluate
from cambook.networks import Network
from cambook.training import Trained

SEEDS = (0, 1, 2)
PHOTOGRAPHS = {"pets": 4, "cub": 12, "wildlife": 4}  # epochs; cub has two photographs a class to learn from


def metrics_of(found: Evaluation) -> dict[str, str]:
    """An evaluation's row, with the interval of MaxBoxAcc."""
    low, high = found.intervals["max_box_acc"]
    row = {**found.row, "max_box_acc_low": low, "max_box_acc_high": high}
    return {metric: f"{value:.2f}" for metric, value in row.items()}


def training_of(made: Trained, recipe: training.Recipe, start: str) -> dict[str, str]:
    """How a network came to be."""
    return {
        "training": start,
        "epochs": str(recipe.epochs),
        "batch": str(recipe.batch_size),
        "lr": f"{recipe.lr:g}",
        "precision": recipe.precision,
        "seconds": f"{made.seconds:.1f}",
    }


def kinds_of(settings: Settings, *wanted: str) -> list[str]:
    return [name for name in wanted if settings.photographs(name)]


# ---- photographs: the course's own experiment ----


def photographs(settings: Settings) -> list[Piece]:
    """For each set and seed: a new linear layer on the frozen backbone, and the whole network fine-tuned."""
    sets = kinds_of(settings, *PHOTOGRAPHS)
    device = {"device": settings.context()["device"]}
    return [
        Piece({"dataset": name, "seed": str(seed), **device}, partial(fine_tuned, name=name, seed=seed))
        for each in (sets[:2], sets[2:])  # the two that matter most with all seeds, then the third
        for seed in settings.small(SEEDS[:1], SEEDS)
        for name in each
    ]


@cache
def photographs_of(name: str, folder: Path, size: int, length: int | None):
    """Train and test split of a set, read once."""
    kind = {"wildlife": "voc"}.get(name, name)
    return [datasets.load(f"{kind}:{folder}", split, size, length=length) for split in datasets.SPLITS]


def fine_tuned(settings: Settings, name: str, seed: int) -> list[dict]:
    """Labels train, boxes and masks examine: both networks, and with the first seed the controls."""
    size, length = settings.small((64, 6), (224, None))
    train, test = photographs_of(name, settings.photographs(name), size, length)
    how = {"epochs": settings.small(1, PHOTOGRAPHS[name]), "precision": settings.precision}
    both = training.before_and_after("lite0-gap", train, seed=seed, device=settings.device, **how)
    recipe = training.policy("lite0-gap", train, **how).recipe
    about = {"network": "lite0-gap", "size": str(size), "train": str(len(train)), "test": str(len(test))}
    look = {"device": settings.device, "seed": seed}
    found = []
    for made, start in zip(both, ("frozen backbone", "fine-tuned"), strict=True):
        row = {**about, **training_of(made, recipe, start), "source": "cam"}
        found.append(row | metrics_of(evaluate(made.network, test, "cam", **look)))
    if seed == SEEDS[0]:
        found.append({**about, "source": "centre"} | metrics_of(evaluate(both[1].network, test, "centre", **look)))
        untrained = networks.build("lite0-gap", len(test.classes), seed=seed)
        row = {**about, "training": "random weights", "source": "cam"}
        found.append(row | metrics_of(evaluate(untrained, test, "cam", **look)))
    return found


# ---- the papers' networks, on scenes of 224 px ----

ORIGINALS, DRY_ORIGINALS = ("alexnet", "googlenet", "vgg16"), ("mini-fc",)
HELD = 7000  # scenes of 224 px: what datasets.image_getter holds on the device, drawn once for all networks
TEST = 1000
SECONDS = 110  # of training, nine networks together


def papers(settings: Settings, cuts: bool) -> list[Piece]:
    """The originals from random weights, with saliency and Grad-CAM; or their GAP and GMP cuts, with CAM."""
    names = settings.small(DRY_ORIGINALS, ORIGINALS)
    device = {"device": settings.context()["device"]}
    chosen = [(name, pooling) for name in names for pooling in ("gap", "gmp")] if cuts else [(n, "") for n in names]
    found = [] if cuts else [Piece({"work": "plan", **device}, plan)]
    for name, pooling in chosen:
        key = {"network": f"{name}-{pooling}" if cuts else name, "seed": "0", **device}
        found.append(Piece(key, partial(one_of_the_papers, name=name, pooling=pooling)))
    return found


@cache
def scenes_of(split: str, size: int, length: int) -> scenes.Scenes:
    return scenes.Scenes(split, size, length)


def paper_scenes(settings: Settings) -> tuple[scenes.Scenes, scenes.Scenes]:
    train, test, size = settings.small((8, 8, 64), (HELD, TEST, 224))
    return scenes_of("train", size, train), scenes_of("test", size, test)


def paper_recipe(settings: Settings, name: str, pooling: str, epochs: int) -> training.Recipe:
    """The course's recipe on scenes, but equally many steps for all: AdamW, a cosine schedule, and for a cut's kept
    layers a third of the rate. A GMP cut is trained as the GAP cut."""
    train, _ = paper_scenes(settings)
    plan = training.policy(f"{name}-gap" if pooling else name, train, epochs, precision=settings.precision)
    return dataclasses.replace(plan.recipe, batch_size=settings.small(4, 64))


def plan(settings: Settings) -> list[dict]:
    """How many epochs fit, for all nine networks the same: a cut's step is counted as its original's."""
    train, _ = paper_scenes(settings)
    names, seconds = settings.small(DRY_ORIGINALS, ORIGINALS), 0.0
    for name in names:
        network = networks.build(name, len(train.classes))
        recipe = paper_recipe(settings, name, "", 1)
        found = training.throughput(network, train, recipe, device=settings.device, batches=settings.small(1, 12))
        seconds += 3 * len(train) / found["both_pictures_per_second"]
    epochs = settings.small(1, max(1, math.floor(SECONDS / seconds)))
    return [{"epochs": str(epochs), "seconds": f"{seconds:.1f}", "train": str(len(train))}]


def planned_epochs(settings: Settings) -> int:
    """raises: ValueError where no plan was made on this device"""
    about = {"work": "plan", "device": settings.context()["device"]}
    found = [row for row in rows(settings.results) if about.items() <= row.items()]
    if not found:
        raise ValueError("the papers' networks have no plan yet: run the stage papers first")
    return int(found[-1]["epochs"])


def one_of_the_papers(settings: Settings, name: str, pooling: str) -> list[dict]:
    """Trains a network, an original from random weights or a cut from its original, and examines its maps."""
    train, test = paper_scenes(settings)
    epochs = planned_epochs(settings)
    how = {"seed": 0, "device": settings.device, "checkpoints": False}
    recipe = paper_recipe(settings, name, "", epochs)
    made = training.trained(name, train, recipe, **how)
    if pooling:
        recipe = paper_recipe(settings, name, pooling, epochs)
        made = training.trained(networks.cut(made.network, pooling), train, recipe, **how)
    about = {"dataset": "scenes", "size": str(train.size), "train": str(len(train)), "test": str(len(test))}
    about |= training_of(made, recipe, f"from {name}" if pooling else "from random weights")
    about["steps"] = str(epochs * math.ceil(len(train) / recipe.batch_size))
    wanted = ["cam"] if pooling else ["smooth-saliency", "grad-cam"]
    if not pooling and name == next(iter(settings.small(DRY_ORIGINALS, ORIGINALS))):
        wanted.append("centre")
    return [{**about, "source": source} | examined(settings, made.network, test, source) for source in wanted]


def examined(settings: Settings, network: Network, test, source: str, seed: int = 0) -> dict[str, str]:
    return metrics_of(evaluate(network, test, source, device=settings.device, seed=seed))


# ---- Tiny ImageNet: ten seeds ----

TINY_SEEDS = range(10)
TINY_EPOCHS, TINY_BATCH = 15, 128
# what each network's maps are made from; a cut starts from mini-fc
TINY = {
    "mini-fc": ("smooth-saliency",),
    "mini-fc-gap": ("cam",),
    "mini-fc-gmp": ("cam",),
    "mini-gap": ("cam",),
    "mini-gmp": ("cam",),
    "mini-nin": ("cam",),
    "mini-acol": ("acol",),
}


def tiny_imagenet(settings: Settings) -> list[Piece]:
    """A piece a seed: every network, so that all of them are compared over the same seeds."""
    if settings.photographs("tiny-imagenet") is None:
        return []
    device = {"device": settings.context()["device"]}
    return [
        Piece({"dataset": "tiny-imagenet", "seed": str(seed), **device}, partial(one_seed, seed=seed))
        for seed in settings.small(TINY_SEEDS[:1], TINY_SEEDS)
    ]


def one_seed(settings: Settings, seed: int) -> list[dict]:
    """GAP beside GMP, saliency beside CAM, two branches beside one; with the first seed the controls."""
    size, length = networks.MINI_SIZE, settings.small(24, None)
    train, test = photographs_of("tiny-imagenet", settings.photographs("tiny-imagenet"), size, length)
    about = {"size": str(size), "train": str(len(train)), "test": str(len(test))}
    found, made, seeded = [], {}, {"seed": seed, "device": settings.device}
    for name, sources in TINY.items():
        # the course's learning rates, with more epochs and larger batches: 3000 photographs are harder than drawings
        plan = training.policy(name, train, settings.small(1, TINY_EPOCHS), precision=settings.precision)
        recipe = dataclasses.replace(plan.recipe, batch_size=settings.small(8, TINY_BATCH))
        start = made[plan.start.network] if plan.start else None
        made[name] = training.trained(name, train, recipe, start=start, checkpoints=False, **seeded)
        row = {**about, "network": name, **training_of(made[name], recipe, "from mini-fc" if start else "from scratch")}
        for source in sources:
            found.append({**row, "source": source} | examined(settings, made[name].network, test, source, seed))
    if seed == TINY_SEEDS[0]:
        untrained = networks.build("mini-gap", len(test.classes), seed=seed)
        for source, network in (("centre", made["mini-gap"].network), ("cam", untrained)):
            row = {**about, "network": "mini-gap", "training": "random weights"} if source == "cam" else dict(about)
            found.append({**row, "source": source} | examined(settings, network, test, source, seed))
    return found
