"""How fast images come and how fast a network learns from them."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import closing

import torch
from torch import Tensor

from cambook.datasets.batches import image_getter, prefetch
from cambook.machine import resolve_device
from cambook.networks.base import Network
from cambook.training import distributed
from cambook.training.fitting import (
    _begin,
    _learn,
    _no_gradients_for_frozen_layers,
    _part,
    _weight,
    augment,
    generator,
    is_mixed,
)
from cambook.training.recipes import Recipe


def throughput(
    network: Network, data, recipe: Recipe, *, device: str | torch.device = "cpu", batches: int = 16
) -> dict[str, float]:
    """Images per second that are loaded and that a network learns from, alone and at once.

    The loader does not slow training down if its number is the larger one. Under torchrun both are of all processes
    together, and the step exchanges gradients.

    Args:
        network: it is left alone; a copy learns.
        data: a data set.
        recipe: batch size, windows and mirrors, optimizer, precision.
        device: to train on.
        batches: how many are timed; everything is done twice and the second time counts.

    Returns:
        loader_pictures_per_second: images in random order onto the device, as `fit` takes them: made by background
            threads, or from memory if the data set fits there.
        step_pictures_per_second: `fit`'s step with one batch that lies on the device: windows and mirrors, forward
            pass, loss, backward pass, update.
        both_pictures_per_second: both at once, as in `fit`: the next images are made while a step runs.

    Example:
        >>> from cambook import datasets, networks
        >>> scenes = datasets.load("scenes", "train", 64, length=4)
        >>> found = throughput(networks.build("mini-gap", 12), scenes, Recipe(batch_size=4), batches=1)
        >>> all(rate > 0 for rate in found.values())
        True
    """
    device = resolve_device(device)
    network, labels = copy.deepcopy(network), torch.as_tensor(data.labels)
    optimizer, shown, mixed = _begin(network, recipe, device), image_getter(data, device), is_mixed(recipe, device)
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
        with closing(prefetch(data, shown, map(_part, wanted))) as turns:
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
            with closing(prefetch(data, lambda some: (some, shown(_part(some))), wanted)) as turns:
                for some, pictures_of_it in turns:
                    part = _part(some)
                    step(pictures_of_it, labels[part].to(device), _weight(labels, some, part))
            synchronize()

        each = {"loader": loader, "step": timed(learn), "both": timed(both)}
        return {f"{what}_pictures_per_second": rate for what, rate in each.items()}
