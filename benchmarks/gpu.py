"""The papers' networks on a GPU: throughput, training from scratch on scenes at 224 px, and their maps examined.

    python benchmarks/gpu.py atlas FILE           the cut-outs and grounds of scenes in one file of 5.5 MB
    python benchmarks/gpu.py atlas FILE --place   on the machine with the GPU: puts them into its cache
    python benchmarks/gpu.py run                  the stages in order, for 8 minutes; again: goes on where it was
    python benchmarks/gpu.py finish               boxes and metrics of the maps, where Numba and SciPy are installed
    python benchmarks/gpu.py write                README, from the files

`make gpu` does run until all is done, then finish and write. run needs torch, torchvision (with NumPy and Pillow) and
the atlas, nothing else, and no installation: PYTHONPATH=. is enough.

Stages: 1 throughput; 2 AlexNet and GoogLeNet, originals, GAP and GMP; 3 VGG-16 and its GAP; 4 ACoL and NIN; each a row
of pieces, the most telling first. All of them come with the first seed, then the compiled steps of stage 1, then the
second seed. A piece whose row stands in data/results/gpu-*.csv is skipped; a training that was stopped or killed
continues from its checkpoint in the cache. Maps of the test pictures lie in CACHE/gpu, 4 to 15 MB for each network,
seed and kind of map, until finish has examined them.

A small run without a GPU, to see that the stages work:

    python benchmarks/gpu.py run --device cpu --mini --train 96 --test 24 --size 64 --batch 16 --results FOLDER
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cambook import gpu_results, maps, metrics, networks, paths, scenes, training, transfer
from cambook.evaluation import MAPS
from cambook.networks import Network
from cambook.training import Recipe

STAGES = {
    2: ("alexnet", "alexnet-gap", "googlenet", "googlenet-gap", "googlenet-gmp", "alexnet-star-gap"),
    3: ("vgg16", "vgg16-gap"),
    4: ("vgg16-acol", "nin", "googlenet-acol"),
}
MINI_STAGES = {2: ("mini-fc", "mini-fc-gap"), 4: ("mini-acol",)}
UNTRAINED = {"alexnet-gap": "alexnet-gap, random weights", "mini-fc-gap": "mini-fc-gap, random weights"}
SEEDS = (0, 1)
CLASSES = 12
# Ours: the papers' recipes for ILSVRC start from weeks of training, or last for them. VGG-16 is deep without batch norm
# and has the lowest rate, GoogLeNet has batch norm in torchvision. When a network is fine-tuned, the layers that it had
# learn at a third of this rate and its new ones ten times as fast.
RATES = {"googlenet": 1e-3, "vgg16": 1e-4}
RATE, EPOCHS, FINE_TUNING_EPOCHS = 3e-4, 5, 2
STORED_SIDE = 28  # maps that are larger are averaged down to it, so that those of a test set fit into one file
PIPELINE_PICTURES = 7680  # at 224 px more than training.pictures holds: drawn as they are asked for
UNCUT_SECONDS = 90  # pieces other than trainings are not begun with less time left
TIME_IS_UP = 75  # EX_TEMPFAIL: start again


class Piece(NamedTuple):
    """One thing to do: its stage, the file and the columns that show that it was done, and what makes its rows."""

    stage: int
    file: str
    key: dict[str, str]
    make: Callable[[], list[dict]]
    can_be_cut: bool = False

    def is_done(self, folder: Path) -> bool:
        return any(self.key.items() <= row.items() for row in gpu_results.rows(self.file, folder))


# ---- stage 1: throughput ----


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates(work: Callable[[], object], amount: float, device: torch.device, seconds: float) -> dict[str, float]:
    """amount a second that the work does: median, least and most of five blocks of at least so many seconds each."""

    def clock(times: int) -> float:
        wait(device)
        began = time.perf_counter()
        for _ in range(times):
            work()
        wait(device)
        return time.perf_counter() - began

    clock(3)  # compiles, tunes and fills caches
    times = max(1, math.ceil(seconds / clock(1)))
    blocks = [amount * times / clock(times) for _ in range(5)]
    return {"median": statistics.median(blocks), "least": min(blocks), "most": max(blocks)}


def matrix_peak(run: Run) -> list[dict]:
    """What a large square matrix product reaches, the most of five blocks, in TFLOP/s."""
    side = 8192 if run.device.type == "cuda" else 256
    found = []
    for kind in ("bf16", "fp32"):
        a, b = (torch.randn(side, side, device=run.device) for _ in range(2))
        if kind == "bf16":
            a, b = a.bfloat16(), b.bfloat16()
        most = rates(lambda a=a, b=b: a @ b, 2 * side**3 / 1e12, run.device, run.block)["most"]
        found.append({"network": "", "work": "matrix peak", "precision": kind, "tflops": f"{most:.4g}"})
    return found


def training_steps(run: Run, name: str) -> list[dict]:
    """A network's training step in each precision and layout with a batch that lies on the device, then with `fit`'s
    own pipeline; and the forward pass alone and with maps."""
    resident = [step_row(run, name, kind, layout) for kind in ("bf16", "fp32") for layout in LAYOUTS]
    return [*resident, pipeline_row(run, name), *map_rows(run, name)]


def compiled_step(run: Run, name: str) -> list[dict]:
    """The training step as `fit` does it, through torch.compile."""
    return [step_row(run, name, "bf16", "channels last", compiled=True)]


LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


def step_row(run: Run, name: str, kind: str, layout: str, compiled: bool = False) -> dict:
    device, batch = run.device, run.data("train").batch(range(run.batch), device=run.device)
    network = networks.build(name, CLASSES).to(device=device, memory_format=LAYOUTS[layout]).train()
    images = batch.images.contiguous(memory_format=LAYOUTS[layout])
    optimizer = training.make_optimizer(network, run.recipe(name))
    loss_of = torch.compile(network.loss) if compiled else network.loss

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=kind == "bf16"):
            loss, _ = loss_of(images, batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    row = {"precision": kind, "layout": layout, "compiled": "yes" if compiled else "no", "data": "resident"}
    row = {"network": name, "work": "training step", **row, "batch": run.batch}
    without_tf32 = torch.backends.cudnn.flags(enabled=None, benchmark=None, deterministic=None, allow_tf32=False)
    with without_tf32 if kind == "fp32" else nullcontext():
        found = rates(step, run.batch, device, run.block)
    if not compiled:  # the counter sees the calls of eager PyTorch, and a compiled step does the same work
        with FlopCounterMode(display=False) as counter:
            step()
        tflops = counter.get_total_flops() / run.batch * found["median"] / 1e12
        peaks = [r for r in gpu_results.rows("gpu-throughput", run.results) if r["work"] == "matrix peak"]
        peak = [float(r["tflops"]) for r in peaks if r["precision"] == kind and r["device"] == run.context()["device"]]
        row |= {"tflops": f"{tflops:.4g}", "share_of_peak": f"{100 * tflops / peak[-1]:.1f}" if peak else ""}
    return row | speed(found)


def speed(found: dict[str, float]) -> dict[str, str]:
    return {"pictures_per_second": f"{found['median']:.1f}", **{k: f"{found[k]:.1f}" for k in ("least", "most")}}


def pipeline_row(run: Run, name: str) -> dict:
    """The second of two epochs of `fit` itself: pictures drawn, moved, mirrored and learned from."""
    data = run.data("train", min(PIPELINE_PICTURES, run.train))
    recipe = dataclasses.replace(run.recipe(name), epochs=2)
    history = training.fit(networks.build(name, CLASSES), data, recipe, device=run.device)
    held = len(data) * 3 * data.size**2 <= training.IN_MEMORY
    found = len(data) / history[1]["seconds"]
    row = {"network": name, "work": "training step", "precision": "bf16" if run.device.type == "cuda" else "fp32"}
    row |= {"layout": "channels last", "compiled": "no", "data": "held" if held else "drawn", "batch": run.batch}
    return row | {"pictures_per_second": f"{found:.1f}"}


def map_rows(run: Run, name: str) -> list[dict]:
    """The forward pass as evaluation runs it (float32, TF32 in convolutions), and with maps on top of it."""
    device = run.device
    network = networks.build(name, CLASSES).to(device=device, memory_format=torch.channels_last)
    images = run.data("test").batch(range(min(run.batch, run.test)), device=device).images

    def forward() -> None:
        network(images)

    def cam() -> None:
        maps.class_activation_map(network(images)[1], network.class_weight)

    def grad_cam() -> None:
        maps.grad_cam(network, images, 5, network.cam_conv)

    works = {"forward": forward, "forward and Grad-CAM, five classes": grad_cam}
    if has_cam(network):
        works["forward and CAM, all classes"] = cam
    with torch.no_grad():
        found = {work: rates(do, len(images), device, run.block) for work, do in works.items()}
    row = {"network": name, "precision": "tf32", "layout": "channels last", "compiled": "no", "batch": len(images)}
    return [{**row, "work": work, "data": "resident", **speed(each)} for work, each in found.items()]


def has_cam(network: Network) -> bool:
    try:
        return network.class_weight is not None
    except TypeError:
        return False


# ---- stages 2 to 4: training, and the maps of the test pictures ----


def original_of(name: str) -> str | None:
    """The network that this one is fine-tuned from: a cut's original, ACoL's backbone; None: it starts from scratch."""
    if name in networks.CUTS:
        return networks.CUTS[name][0]
    backbone = name.removesuffix("-acol")
    return backbone if backbone != name and backbone in networks.names() else None


def trained(run: Run, name: str, seed: int) -> training.Trained:
    """The network, trained as the papers go about it, from the cache where it was trained before."""
    data, recipe, how = run.data("train"), run.recipe(name), {"seed": seed, "device": run.device}
    original = original_of(name)
    start = trained(run, original, seed) if original else None
    if name in networks.CUTS:
        return training.trained(name, data, recipe, start=start, **how)
    network = transfer.on_backbone(name, start.network, seed=seed) if start else name
    return training.trained(network, data, recipe, **how)


def trained_row(run: Run, name: str, seed: int) -> list[dict]:
    """Trains, classifies the test pictures, and keeps the maps of their true classes for `finish`."""
    made, recipe = trained(run, name, seed), run.recipe(name)
    if not made.reused and run.too_late():
        raise training.Paused("it is trained, and its maps come next.")
    logits = keep_maps(run, made.network, name, seed)
    return [
        {
            **run.row(name, seed),
            "from": original_of(name) or "scratch",
            "epochs": recipe.epochs,
            "batch": recipe.batch_size,
            "optimizer": recipe.optimizer,
            "lr": recipe.lr,
            "training_seconds": f"{made.seconds:.1f}",
            "training_error": f"{made.history[-1]['top1_error']:.2f}",
            **errors(logits, run.data("test").labels),
        }
    ]


def untrained_row(run: Run, name: str) -> list[dict]:
    """The controls: maps of random weights, and a spot in the middle of every picture."""
    network = networks.build(name, CLASSES, seed=SEEDS[0])
    logits = keep_maps(run, network, UNTRAINED[name], SEEDS[0], ("cam",))
    keep_maps(run, network, "no network", SEEDS[0], ("centre",))
    found = errors(logits, run.data("test").labels)
    return [{**run.row(UNTRAINED[name], SEEDS[0]), "from": "random weights", "epochs": 0, **found}]


def errors(logits: np.ndarray, labels: np.ndarray) -> dict[str, str]:
    return {f"top{k}_error": f"{metrics.topk_error(logits, labels, k):.2f}" for k in (1, 5)}


def sources(network: Network) -> tuple[str, ...]:
    """The kinds of maps, keys of evaluation.MAPS, that are kept: the network's own; of originals the gradient's too."""
    if hasattr(network, "both"):
        return "acol", "acol branch a"
    own = "cam" if has_cam(network) else "grad-cam"
    is_original = network.name in {made[0] for made in networks.CUTS.values()}
    return (own, "smooth saliency") if is_original else (own,)


@torch.no_grad()
def keep_maps(run: Run, network: Network, name: str, seed: int, wanted: tuple[str, ...] | None = None) -> np.ndarray:
    """Writes what `finish` needs to examine the maps of the test pictures, a file for each source; returns the logits.

    Of each picture: its logits, its true box, and the map of its true class, in half precision and scaled by a positive
    number, which no box rule sees. The other classes' maps are not needed: a guess counts where its class is the true
    one, so its box is always the one from this map.
    """
    network.to(run.device).eval()
    data, wanted = run.data("test"), wanted or sources(network)
    found: dict[str, list] = {source: [] for source in (*wanted, "logits", "boxes")}
    for some in torch.arange(len(data)).split(run.batch):
        batch = data.batch(some, device=run.device)
        logits, feature_maps = network(batch.images)
        found["logits"].append(logits.float().cpu().numpy())
        found["boxes"].append(np.concatenate(batch.boxes).astype(np.int16))
        for source in wanted:
            raw = MAPS[source](network, batch.images, feature_maps, batch.labels[:, None]).float()
            if raw.shape[-1] > STORED_SIDE:
                raw = F.adaptive_avg_pool2d(raw, STORED_SIDE)
            largest = raw.abs().amax((2, 3), keepdim=True)
            found[source].append((raw / largest.where(largest > 0, 1.0)).half().cpu().numpy())
    together = {what: np.concatenate(parts) for what, parts in found.items()}
    for source in wanted:
        about = {**run.row(name, seed), **run.context(), "source": source, "fingerprint": data.fingerprint}
        with paths.atomic_write(maps_file(name, seed, source)) as part:
            kept = {"logits": together["logits"], "boxes": together["boxes"], "about": json.dumps(about)}
            np.savez_compressed(part, maps=together[source], **kept)
    return together["logits"]


def maps_file(name: str, seed: int, source: str) -> Path:
    return paths.CACHE / "gpu" / f"{name}-{source}-{seed}.npz".replace(" ", "-").replace(",", "")


# ---- a run ----


class Run:
    """The settings of one call, the pieces they ask for, and the columns that all their rows share."""

    def __init__(self, options: argparse.Namespace):
        self.began, self.seconds = time.perf_counter(), 60 * options.minutes
        self.device = device_of(options)
        self.results, self.block = options.results, options.block
        self.train, self.test, self.size = options.train, options.test, options.size
        self.batch, self.epochs = options.batch, options.epochs
        self.stages = MINI_STAGES if options.mini else STAGES
        self.compile = not options.no_compile
        self.seeds = SEEDS[: options.seeds]
        self.command = " ".join(["python benchmarks/gpu.py", *sys.argv[1:]])
        self._data: dict[tuple, scenes.Scenes] = {}
        for name in self.networks:
            networks.check_name(name)
        self.data("train"), self.data("test")  # the atlas is there, or this says how to get it

    @property
    def networks(self) -> list[str]:
        return [name for names in self.stages.values() for name in names]

    def seconds_left(self) -> float:
        return self.began + self.seconds - time.perf_counter()

    def too_late(self) -> bool:
        """Whether too little time is left for something that cannot be cut."""
        return self.seconds_left() < min(UNCUT_SECONDS, self.seconds / 2)

    def data(self, split: str, length: int | None = None) -> scenes.Scenes:
        length = length or getattr(self, split)
        key = split, length
        if key not in self._data:
            self._data[key] = scenes.Scenes(split, self.size, length)
        return self._data[key]

    def recipe(self, name: str) -> Recipe:
        """AdamW, cosine schedule, mirrored pictures; see RATES."""
        original = original_of(name)
        rate = RATES.get((original or name).split("-")[0], RATE)
        if original:
            return Recipe(self.epochs or FINE_TUNING_EPOCHS, self.batch, lr=rate / 3, new_layer_factor=10)
        return Recipe(self.epochs or EPOCHS, self.batch, lr=rate)

    def row(self, name: str, seed: int) -> dict[str, str]:
        return {
            "network": name,
            "seed": str(seed),
            "train_pictures": str(self.train),
            "test_pictures": str(self.test),
            "size": str(self.size),
        }

    def context(self) -> dict[str, str]:
        """On what, with what, when and by which command."""
        gpu = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self.device) if gpu else f"CPU {platform.machine()}",
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
            "python": platform.python_version(),
            "date": str(date.today()),
            "command": self.command,
        }

    def pieces(self) -> list[Piece]:
        """All pieces: the stages with the first seed, compiled steps, which take a minute each, and the second seed."""
        speed, trainings = "gpu-throughput", "gpu-trainings"
        device = {"device": self.context()["device"]}
        found = [Piece(1, speed, {"work": "matrix peak", **device}, partial(matrix_peak, self))]
        for name in self.networks:
            key = {"network": name, "work": "training step", "compiled": "no"}
            found.append(Piece(1, speed, key, partial(training_steps, self, name)))
        for seed in self.seeds:
            for stage, names in self.stages.items():
                for name in names:
                    make = partial(trained_row, self, name, seed)
                    found.append(Piece(stage, trainings, self.row(name, seed), make, can_be_cut=True))
                    if name in UNTRAINED and seed == SEEDS[0]:
                        key = self.row(UNTRAINED[name], seed)
                        found.append(Piece(stage, trainings, key, partial(untrained_row, self, name)))
            for name in self.networks if self.compile and seed == SEEDS[0] else ():
                key = {"network": name, "work": "training step", "compiled": "yes"}
                found.append(Piece(1, speed, key, partial(compiled_step, self, name)))
        return found


def device_of(options: argparse.Namespace) -> torch.device:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("No CUDA device is here: run the stages where one is, or small ones with --device cpu --mini.")
    if options.device == "cpu" and options.results == gpu_results.FOLDER:
        raise SystemExit("--device cpu needs --results FOLDER: data/results/gpu-*.csv are for measurements on a GPU.")
    return torch.device(options.device)


def run(options: argparse.Namespace) -> int:
    """Does pieces that are not done until the minutes are over; returns the exit status."""
    now = Run(options)
    torch.backends.cudnn.benchmark = True  # the fastest algorithm for each shape; shapes stay the same here
    training.CHECKPOINT_SECONDS = 120  # VGG-16 with its optimizer is 1.6 GB: as often as every 20 s would cost a fifth
    failed = 0
    for piece in now.pieces():
        if options.stage not in (None, piece.stage) or piece.is_done(now.results):
            continue
        name = f"stage {piece.stage}: {', '.join(piece.key[k] for k in ('network', 'work', 'seed') if k in piece.key)}"
        if now.seconds_left() <= 0 or (not piece.can_be_cut and now.too_late()):
            return pause(name)
        print(name, flush=True)
        try:
            with training.at_most(now.seconds_left()):
                found = piece.make()
        except training.Paused as paused:
            return pause(f"{name}: {paused}")
        except (RuntimeError, ValueError, OSError) as error:  # out of memory, say; the others go on
            failed += 1
            print(f"{name} failed and is tried again next time: {error}", file=sys.stderr, flush=True)
            continue
        gpu_results.add(piece.file, [{**row, "stage": piece.stage, **now.context()} for row in found], now.results)
    print(f"{failed} pieces failed." if failed else "All pieces are done: python benchmarks/gpu.py finish", flush=True)
    return min(failed, 1)


def pause(where: str) -> int:
    again = " ".join(["python benchmarks/gpu.py", *sys.argv[1:]])
    print(f"The time is up at {where.rstrip('.')}. Go on with: {again}", flush=True)
    return TIME_IS_UP


# ---- boxes and metrics, where Numba and SciPy are ----


class Replayed(nn.Module):
    """Stands for the network of a maps file in `evaluation.evaluate`: pictures are rows of the file, given by number.

    Its one feature map is the map of the picture's true class, and every class weighs it by 1, so that whichever class
    is asked for, the map of the true class is what comes.
    """

    def __init__(self, logits: np.ndarray, maps: np.ndarray):
        super().__init__()
        self.logits, self.maps = torch.from_numpy(logits), torch.from_numpy(maps).float()
        self.classes = logits.shape[1]
        self.class_weight = torch.ones(self.classes, 1)

    def forward(self, places: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits[places], self.maps[places]


class Redrawn:
    """Boxes and masks of scenes, drawn once; in place of its pictures, their numbers, which `Replayed` takes."""

    def __init__(self, data: scenes.Scenes):
        self.name, self.split, self.size, self.labels = data.name, data.split, data.size, data.labels
        parts = [data.batch(some) for some in torch.arange(len(data)).split(64)]
        self.boxes = [box for part in parts for box in part.boxes]
        self.masks = torch.cat([part.masks for part in parts])

    def __len__(self) -> int:
        return len(self.boxes)

    def batch(self, indices: Tensor, device: str | torch.device = "cpu"):
        boxes, labels = [self.boxes[i] for i in indices.tolist()], torch.from_numpy(self.labels)[indices]
        return scenes.Batch(indices, labels, boxes, self.masks[indices], indices)


def finish(options: argparse.Namespace) -> int:
    """Examines each maps file that has no row yet, and adds its row to gpu-localization.csv."""
    missing = [module for module in ("numba", "scipy") if find_spec(module) is None]
    if missing:
        raise SystemExit(
            f"{' and '.join(missing)} not installed here: copy {paths.CACHE / 'gpu'} and {options.results}/gpu-*.csv "
            "to a machine with cambook's packages, and run finish there."
        )
    from cambook.evaluation import evaluate

    drawn: dict[str, Redrawn] = {}
    for file in sorted((paths.CACHE / "gpu").glob("[!.]*.npz")):
        with np.load(file) as kept:
            logits, own, boxes, about = kept["logits"], kept["maps"], kept["boxes"], json.loads(str(kept["about"]))
        key = {column: about[column] for column in ("network", "seed", "source", "train_pictures", "device")}
        if any(key.items() <= row.items() for row in gpu_results.rows("gpu-localization", options.results)):
            continue
        print(f"{file.name}: {len(own)} maps", flush=True)
        fingerprint = about.pop("fingerprint")
        if fingerprint not in drawn:
            data = scenes.Scenes("test", int(about["size"]), int(about["test_pictures"]))
            if data.fingerprint != fingerprint:
                raise SystemExit(f"{file.name} is of other test pictures: use the atlas and the version that made it.")
            drawn = {fingerprint: Redrawn(data)}
        data = drawn[fingerprint]
        found = evaluate(Replayed(logits, own), data, "cam")
        low, high = found.intervals["max_box_acc"]
        moved = int((np.concatenate(data.boxes).astype(np.int16) != boxes).any(1).sum())
        row = {column: about.pop(column) for column in ("network", "seed", "source")}
        row |= {metric: f"{value:.2f}" for metric, value in found.row.items()}
        row |= {"max_box_acc_low": f"{low:.2f}", "max_box_acc_high": f"{high:.2f}", "map_side": own.shape[-1]}
        gpu_results.add("gpu-localization", [{**row, "boxes_redrawn_otherwise": moved, **about}], options.results)
    trained, located = (gpu_results.rows(name, options.results) for name in ("gpu-trainings", "gpu-localization"))
    examined = {(row["network"], row["seed"]) for row in located}
    for row in trained:
        if (row["network"], row["seed"]) not in examined:
            said = f"No maps of {row['network']}, seed {row['seed']}: copy them to {paths.CACHE / 'gpu'}"
            print(f"{said}, or remove its row from gpu-trainings.csv and run again.")
    return 0


def write(options: argparse.Namespace) -> int:
    """The tables in README.md, from the files."""
    readme = paths.ROOT / "README.md"
    text = gpu_results.into_readme(readme.read_text(encoding="utf-8"), options.results)
    with paths.atomic_write(readme) as part:
        part.write_text(text, encoding="utf-8")
    return 0


def atlas(options: argparse.Namespace) -> int:
    (scenes.place_atlas if options.place else scenes.save_atlas)(options.file)
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run", help="the stages, for some minutes")
    command.set_defaults(do=run)
    command.add_argument("--minutes", type=float, default=8, help="stop after so many, at a checkpoint")
    command.add_argument("--stage", type=int, choices=(1, 2, 3, 4), help="only this one")
    command.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    command.add_argument("--seeds", type=int, choices=(1, 2), default=2)
    command.add_argument("--train", type=int, default=100_000, help="training pictures an epoch")
    command.add_argument("--test", type=int, default=10_000, help="test pictures")
    command.add_argument("--size", type=int, default=224, help="side of the pictures in pixels")
    command.add_argument("--batch", type=int, default=128, help="pictures a step")
    command.add_argument("--epochs", type=int, help="in place of 5, and 2 of fine-tuning")
    command.add_argument("--block", type=float, default=0.4, help="seconds that one block of a timing lasts")
    command.add_argument("--mini", action="store_true", help="the small networks in place of the papers'")
    command.add_argument("--no-compile", action="store_true", help="leave compiled steps out")
    for name, do in (("finish", finish), ("write", write)):
        commands.add_parser(name, help=do.__doc__.splitlines()[0]).set_defaults(do=do)
    for name in ("run", "finish", "write"):
        commands.choices[name].add_argument("--results", type=Path, default=gpu_results.FOLDER, metavar="FOLDER")
    command = commands.add_parser("atlas", help="the pictures that scenes are made of, to FILE or from FILE")
    command.set_defaults(do=atlas)
    command.add_argument("file", type=Path)
    command.add_argument("--place", action="store_true", help="from FILE into this machine's cache")
    options = parser.parse_args(arguments)
    return options.do(options)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
