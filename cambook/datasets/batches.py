"""Batches of any data set, and how its images reach a device while a step runs."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from cambook.machine import cores, resolve_device, tqdm

# ---- what a data set hands over


@dataclass
class Batch:
    """B images of one data set, with what is known about them.

    `batch(indices, device)` puts images and labels on the device. Scenes have masks and indices there too, since they
    draw them there; photographs leave masks, ignore and indices on the CPU, where metrics read them. Boxes are NumPy
    arrays, so they are on the CPU.

    Attributes:
        images: (B, 3, S, S) float32 in [0, 1].
        labels: (B,) int64, one class per image.
        boxes: B arrays (n, 4) float32, half-open (x0, y0, x1, y1) in pixels of the image, one for each labelled object;
            (0, 4) in class folders, and if a training image of ILSVRC has no annotated box.
        masks: (B, S, S) bool, True on the object; None if the data set has none.
        indices: (B,) int64, the images' positions in the data set.
        ignore: (B, S, S) bool, True where a pixel counts neither as object nor as background; None if each counts.

    Example:
        >>> len(Batch(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]), [np.zeros((1, 4))] * 2, None, torch.arange(2)))
        2
    """

    images: Tensor
    labels: Tensor
    boxes: list[np.ndarray]
    masks: Tensor | None
    indices: Tensor
    ignore: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


class Subset:
    """Some images of a data set, in the order of `indices`; all else is as in the data set.

    Args:
        data: the data set.
        indices: (n,) positions in it, at least one.

    Raises:
        ValueError: if an index is outside the data set or none is given.

    Example:
        >>> from cambook.datasets import load
        >>> some = Subset(load("scenes", "test", 64), [30, 3])
        >>> len(some), some.batch([0, 1]).indices.tolist()
        (2, [0, 1])
    """

    def __init__(self, data, indices):
        self.indices = np.asarray(indices, np.int64).reshape(-1)
        if not len(self.indices) or self.indices.min() < 0 or self.indices.max() >= len(data):
            raise ValueError(f"indices must lie from 0 to {len(data) - 1}, at least one of them.")
        self.name, self.split, self.size, self.classes = data.name, data.split, data.size, data.classes
        for fact in ("has_boxes", "has_masks", "drawn", "imagenet_classes", "box_rule", "protocol"):
            if hasattr(data, fact):
                setattr(self, fact, getattr(data, fact))
        self.report, self.labels, self._data = [], data.labels[self.indices], data
        self.fingerprint = hashlib.sha256(data.fingerprint.encode() + self.indices.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices, device: str | torch.device = "cpu") -> Batch:
        """The images at `indices` of this subset, as the data set gives them."""
        batch = self._data.batch(self.indices[np.asarray(indices).reshape(-1)], device=device)
        batch.indices = torch.as_tensor(indices, device=batch.indices.device).reshape(-1)
        return batch

    def sharp(self, indices, side: int = 256) -> Tensor:
        """The images at `indices` of this subset for a figure, as the data set gives them."""
        return self._data.sharp(self.indices[np.asarray(indices).reshape(-1)], side)


# ---- images on a device

IN_MEMORY = 2**30  # bytes of a data set that are held on a device
_held: dict[tuple[str, torch.device], Tensor] = {}


def onto(pixels: Tensor, device: str | torch.device) -> Tensor:
    """A CPU tensor on the device.

    A GPU fetches it itself, out of pinned memory. So the thread that made the images makes the next ones meanwhile and
    does not wait until the GPU has come to this copy.

    Args:
        pixels: of any shape and type, on the CPU.
        device: where they shall be.

    Returns:
        The same values on the device; `pixels` itself if that is the CPU.

    Example:
        >>> onto(torch.ones(2), "cpu")
        tensor([1., 1.])
    """
    if torch.device(device).type != "cuda":
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)


def is_large(data) -> bool:
    """Whether a data set is made batch by batch in each epoch, rather than held on the device.

    It is large if its images, with 8 bits per colour, take more than 1 GiB.

    Args:
        data: a data set; its length and the side of its images count.

    Returns:
        True if it is made batch by batch.

    Example:
        >>> from cambook.datasets import load
        >>> is_large(load("scenes", "train", 64)), is_large(load("scenes", "train", 224, length=20_000))
        (False, True)
    """
    return len(data) * 3 * data.size**2 > IN_MEMORY


def image_getter(data, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from positions in the data set to images on the device.

    A data set of at most 1 GiB is made once and held there as 8-bit images, until another one is asked for. A larger
    one is made batch by batch.

    Args:
        data: the data set.
        device: where the images shall be.

    Returns:
        A function from indices (B,) int64 to images (B, 3, S, S) float32 in [0, 1].

    Example:
        >>> from cambook.datasets import load
        >>> images_at = image_getter(load("scenes", "test", 32, length=8), torch.device("cpu"))
        >>> images_at(torch.tensor([5, 2])).shape
        torch.Size([2, 3, 32, 32])
    """
    device = resolve_device(device)
    if is_large(data):
        return lambda indices: data.batch(indices, device=device).images
    key = (data.fingerprint, device)
    if key not in _held:
        made = torch.empty(len(data), 3, data.size, data.size, dtype=torch.uint8, device=device)
        positions = torch.arange(len(data)).split(256)
        for some in tqdm(positions, desc=f"{data.name} {data.split}", unit="batch", leave=False):
            made[some.to(device)] = (data.batch(some, device=device).images * 255).round().to(torch.uint8)
        _held.clear()
        _held[key] = made
    held = _held[key]
    return lambda indices: held[indices.to(device)].float() / 255


# ---- the next batches while a step runs

AHEAD = 4  # batches in the making while a step runs
T = TypeVar("T")


def prefetch(data, make: Callable[[T], object], wanted: Iterable[T]) -> Iterator:
    """make(w) for each w wanted; the next ones are made meanwhile, in background threads.

    Order and values are as without threads, so `make` must not draw from torch's global generator. On an error, or when
    the iterator is closed or dropped, what has begun is waited for and what has not begun never does.

    Args:
        data: the data set that `make` reads; threads are used only if it `is_large`.
        make: from one wanted item, such as the indices of a batch, to what shall be made of it.
        wanted: the items, in order.

    Returns:
        An iterator over what was made.

    Example:
        >>> from cambook.datasets import load
        >>> data = load("scenes", "test", 32, length=8)
        >>> [len(batch) for batch in prefetch(data, data.batch, [[0, 1, 2], [3]])]
        [3, 1]
    """
    if not is_large(data):
        yield from map(make, wanted)
        return
    pool = ThreadPoolExecutor(min(AHEAD, cores()), "pictures")
    waiting = deque()
    try:
        for number, item in enumerate(wanted):
            waiting.append(pool.submit(make, item))
            if number == 0:
                wait(waiting)  # what a data set reads for its first batch is read once, not by each thread
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
