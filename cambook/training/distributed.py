"""Several processes that work as one: who is who, who takes which part, and how the parts come together.

They are started by torchrun. With one process every function here does nothing, and says so with the value it returns.

    torchrun --nproc-per-node 4 -m cambook.cli train vgg16-gap ilsvrc:/data/ilsvrc
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")
S = TypeVar("S", Tensor, Sequence)
PATIENCE_HOURS = 2  # for a download by the first process; if one dies, torchrun ends the others at once


@contextmanager
def processes() -> Iterator[torch.device]:
    """Joins the processes that torchrun started with this one, and gives the device of this one: a GPU each (numbered
    by LOCAL_RANK), or the CPU. Without torchrun: the GPU or the CPU, and nothing to join.

    Raises:
        ValueError: if there are more processes than GPUs on this machine.

    Example:
        >>> with processes() as device:
        ...     rank(), world_size(), share([4, 5, 6])
        (0, 1, [4, 5, 6])
    """
    gpus, local = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", 0))
    if gpus and local >= gpus:
        raise ValueError(f"Process {local + 1} on this machine has no GPU of its own: use --nproc-per-node {gpus}.")
    device = torch.device("cuda", local) if gpus else torch.device("cpu")
    if gpus:
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield device
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=timedelta(hours=PATIENCE_HOURS))
    yield device
    dist.destroy_process_group()  # not after an error: the others may be waiting, and torchrun ends them


def rank() -> int:
    """This process's number, from 0; 0 if there is only one.

    Example:
        >>> rank()
        0
    """
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work together; 1 without torchrun.

    Example:
        >>> world_size()
        1
    """
    return dist.get_world_size() if dist.is_initialized() else 1


def share(items: S) -> S:
    """This process's part of a sequence.

    Put behind each other in the order of the ranks, the parts are the sequence: nothing is there twice, and no two
    parts differ by more than one item in length.

    Example:
        >>> share("abcde")
        'abcde'
    """
    begin, end = (-(-len(items) * r // world_size()) for r in (rank(), rank() + 1))
    return items[begin:end]


def gather(value: T) -> list[T]:
    """What each process gives, in the order of the ranks, to every process.

    Example:
        >>> gather("mine")
        ['mine']
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def total(values: Sequence[float]) -> list[float]:
    """The sums over all processes of a few numbers.

    Example:
        >>> total([1.5, 2.0])
        [1.5, 2.0]
    """
    if world_size() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums)
    return sums.tolist()


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, given to all of them; the others wait, and write and read nothing.

    Raises:
        Exception: in every process what `make` raised in the first.

    Example:
        >>> from_first(lambda: 6 * 7)
        42
    """
    if world_size() == 1:
        return make()
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = make()
        except Exception as error:
            found[1] = error
    dist.broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return found[0]


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process of each machine goes through the block before the others begin it.

    So what it downloads is there for them.

    Example:
        >>> with first_before_others():
        ...     rank()
        0
    """
    waits = int(os.environ.get("LOCAL_RANK", 0)) > 0
    if waits and world_size() > 1:
        dist.barrier()
    try:
        yield
    finally:
        if not waits and world_size() > 1:
            dist.barrier()


class _Loss(nn.Module):
    """A network whose forward pass is its loss, since DistributedDataParallel averages the gradients of a forward."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.loss(images, labels)


@contextmanager
def synchronized_batch_norm(network: nn.Module) -> Iterator[None]:
    """In the block, every batch norm of the network takes mean and variance over the images of all processes.

    torch has this for GPUs only. Weights and running statistics are the very tensors of the plain ones, which come
    back at the block's end.

    Example:
        >>> network = nn.Sequential(nn.BatchNorm2d(3))
        >>> with synchronized_batch_norm(network):
        ...     type(network[0]).__name__
        'SyncBatchNorm'
        >>> type(network[0]).__name__
        'BatchNorm2d'
    """
    plain = [(p, n, m) for p in network.modules() for n, m in p.named_children() if isinstance(m, _BatchNorm)]
    nn.SyncBatchNorm.convert_sync_batchnorm(network)
    try:
        yield
    finally:
        for parent, name, module in plain:
            setattr(parent, name, module)


@contextmanager
def loss_of(network: nn.Module) -> Iterator[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """The network's loss, as a function whose gradient is the MEAN over all processes of each one's gradient.

    Batch norm is synchronized on GPUs; on CPUs it sees its own process's images, and the running statistics are those
    of the first. At the block's end the network is the same in every process.

    Example:
        >>> from cambook import networks
        >>> network = networks.build("mini-gap", 2)
        >>> with loss_of(network) as loss:
        ...     loss == network.loss
        True
    """
    if world_size() == 1:
        yield network.loss
        return
    with synchronized_batch_norm(network) if next(network.parameters()).is_cuda else nullcontext():
        # Looking for unused parameters keeps DistributedDataParallel from regrouping the gradients after its first
        # step. Sums of more than two then have one order, and a resumed training ends with the same bits.
        yield DistributedDataParallel(_Loss(network), find_unused_parameters=True)
    for buffer in network.buffers():
        dist.broadcast(buffer, 0)
