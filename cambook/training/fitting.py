"""Training that can be killed at any moment: fit a network to image labels.

Every random draw is a function of (seed, epoch, image) or (seed, step) and is made on the CPU, so a run that was
killed and started again continues with the very numbers it would have drawn, and ends with the same weights.
Under torchrun every function here is called by all processes, which train one network together (`distributed`).
The loss is the network's own: `Network.loss` in networks/base.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cambook.datasets.batches import image_getter, prefetch
from cambook.files import load_whole, save_whole
from cambook.machine import resolve_device, tqdm
from cambook.networks.base import IGNORED, Network, misfit
from cambook.training import distributed
from cambook.training.fingerprint import digest_of_labels, key_of
from cambook.training.recipes import Recipe, StepDecay

CHECKPOINT_SECONDS = 20


def generator(*key: int) -> torch.Generator:
    """A CPU generator whose stream is a function of the key alone, for example (seed, epoch).

    Args:
        key: whole numbers; their order counts.

    Returns:
        A new generator at the beginning of its stream.

    Example:
        >>> torch.equal(torch.rand(3, generator=generator(0, 7)), torch.rand(3, generator=generator(0, 7)))
        True
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def augment(images: Tensor, draws: Tensor, recipe: Recipe) -> Tensor:
    """Random square windows of the images, scaled back to their size, some mirrored.

    Args:
        images: (B, 3, S, S).
        draws: (B, 4) uniform in [0, 1), one row per image: side, column, row, mirror.
        recipe: its crop is the smallest side of a window, its flip says whether images are mirrored.

    Returns:
        (B, 3, S, S).

    Example:
        >>> image = torch.arange(4.0).view(1, 1, 2, 2).expand(1, 3, 2, 2)
        >>> augment(image, torch.tensor([[0.0, 0.0, 0.0, 0.1]]), Recipe())[0, 0]
        tensor([[1., 0.],
                [3., 2.]])
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
    """The factor on the recipe's learning rate at a step.

    It is a function of the step alone, so a resumed run needs no memory of it.

    Args:
        step: from 0.
        steps: of the whole training.
        recipe: its schedule counts.

    Returns:
        From 0 to 1.

    Example:
        >>> [learning_rate(step, 8, Recipe(epochs=8, schedule=StepDecay(every=4))) for step in (0, 3, 4)]
        [1.0, 1.0, 0.1]
    """
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
    """AdamW or SGD over two groups: the layers a network had, and its new ones.

    Args:
        network: its `new_layers` are the new ones.
        recipe: optimizer, rate, weight decay, and whether the older layers are frozen.

    Returns:
        The optimizer; "factor" in a group is what `fit` multiplies the recipe's lr by: 1 for the layers a network had,
        new_layer_factor for its new ones. A group that is frozen or has no parameters is left out.

    Raises:
        ValueError: if everything is frozen.

    Example:
        >>> from cambook import networks
        >>> cut = networks.cut(networks.build("mini-fc", 2), "gap")
        >>> [group["factor"] for group in make_optimizer(cut, Recipe(new_layer_factor=10)).param_groups]
        [1.0, 10]
    """
    old, new = _old_and_new(network)
    groups = [{"params": old, "factor": 1.0}, {"params": new, "factor": recipe.new_layer_factor}]
    groups = [group for group in groups[recipe.frozen :] if group["params"]]
    if not groups:
        raise ValueError(f"{network.name} has no new layers, so frozen=True leaves nothing to train.")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay, nesterov=True)
    return torch.optim.AdamW(groups, recipe.lr, weight_decay=recipe.weight_decay, fused=True)


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
    """Trains the network in place on image labels; boxes and masks are never looked at.

    Under torchrun each step's batch is shared out over the processes, whose gradients together are the mean over the
    whole batch; batch_size counts all of it. The first process writes the checkpoint, all continue from it.

    Args:
        network: it is trained in place and left in evaluation mode.
        data: a data set of N images.
        recipe: how.
        seed: of the order of the images, of their windows and mirrors, and of dropout.
        device: to train on.
        labels: int64 in place of the data set's own, N of them: (N,) for classes (shuffled labels as a control, noisy
            labels), or of the shape that network.loss takes for an image (masks, questions with their answers).
        checkpoint: a file that is written every 20 seconds and at each epoch's end, and continued from if it exists.
            It is left there: whoever keeps the result removes it, as `trained` does.
        describe: for the progress bar.

    Returns:
        One row per epoch: loss, top1_error (the share of wrong answers on the training images as they were shown, in
        percent), seconds.

    Raises:
        ValueError: if labels do not fit the network, if the checkpoint is of another training run, or if the loss or a
            weight is NaN or infinite.

    Example:
        >>> from cambook import datasets, networks
        >>> scenes = datasets.load("scenes", "train", 64, length=4)
        >>> history = fit(networks.build("mini-gap", 12), scenes, Recipe(epochs=2, batch_size=4))
        >>> len(history), sorted(history[0])
        (2, ['loss', 'seconds', 'top1_error'])
    """
    labels = torch.as_tensor(data.labels if labels is None else labels)
    one_class_each = labels.dim() == 1
    if len(labels) != len(data) or one_class_each and not (0 <= labels.min() and labels.max() < network.classes):
        raise ValueError(
            f"{data.name} needs {len(data)} labels from 0 to {network.classes - 1}; got {len(labels)} from "
            f"{labels.min()} to {labels.max()}: build {network.name} with classes={len(data.classes)}."
        )
    device, first_process = resolve_device(device), distributed.rank() == 0
    optimizer, mixed = _begin(network, recipe, device), is_mixed(recipe, device)
    per_epoch = math.ceil(len(data) / recipe.batch_size)
    steps = recipe.epochs * per_epoch
    of = {"recipe": dataclasses.asdict(recipe), "seed": seed, "data": data.fingerprint}
    of = key_of({**of, "labels": digest_of_labels(labels)})
    state = distributed.from_first(lambda: load_whole(checkpoint)) if checkpoint else None
    first, history, sums, spent = 0, [], [0.0, 0.0], 0.0
    if state:
        reason = misfit(network, state.get("network"))
        reason = reason or (state.get("of") != of and "it was trained with another recipe, seed or data set")
        if reason:
            raise ValueError(f"{checkpoint} is not a checkpoint of this {network.name} ({reason}): delete it.")
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first, history, sums, spent = state["step"], state["history"], state["sums"], state["spent"]
    shown = image_getter(data, device)

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each step: the batch, this process's part of it, and the part's random draws."""
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
        closing(prefetch(data, lambda three: (*three, shown(three[1])), batches())) as turns,
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
                    f"{network.name}: the loss is no longer a number at step {step} of {steps}; lower lr={recipe.lr}."
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
    if reason := misfit(network, network.state_dict()):
        raise ValueError(f"{network.name}: {reason} after the last step; lower lr={recipe.lr}.")
    return distributed.from_first(lambda: history)


def _begin(network: Network, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """The network on its device in training mode, and its optimizer."""
    network.to(device=device, memory_format=torch.channels_last).train()
    if recipe.frozen:
        network.backbone.eval()
    return make_optimizer(network, recipe)


def _part(batch: Tensor) -> Tensor:
    """This process's images of a batch (B,); the whole batch if it is too small to give every process one: the mean
    over equal gradients is that gradient."""
    return batch if len(batch) < distributed.world_size() else distributed.share(batch)


def _weight(labels: Tensor, batch: Tensor, mine: Tensor) -> float:
    """The factor on this process's loss, a mean over `mine`, that makes the mean over processes that over the batch.

    1 with one process. Labels are counted, not images, since a mask's ignored pixels have no loss.
    """
    if len(mine) == len(batch):
        return 1.0
    counted = [int((labels[some] != IGNORED).sum()) for some in (mine, batch)]
    return distributed.world_size() * counted[0] / max(1, counted[1])


def is_mixed(recipe: Recipe, device: torch.device) -> bool:
    """Whether the forward pass of training on that device runs in mixed precision.

    Args:
        recipe: its precision counts.
        device: the one to train on.

    Returns:
        True for bfloat16 where autocast chooses it, False for float32 throughout.

    Example:
        >>> is_mixed(Recipe(), torch.device("cpu")), is_mixed(Recipe(precision="bf16"), torch.device("cpu"))
        (False, True)
    """
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
