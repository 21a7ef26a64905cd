"""What every data set hands over, and how its images reach a device while a step runs."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from cambook.machine import resolve_device, tqdm


@dataclass
class Batch:
    """B pictures of one data set.

    images:  (B, 3, S, S) float32 in [0, 1]
    labels:  (B,) int64, one class a picture
    boxes:   B arrays (n, 4) float32, half-open (x0, y0, x1, y1) in pixels of the picture, n >= 1 labelled objects
             (none in class folders, and where a training picture of ILSVRC has no annotated box)
    masks:   (B, S, S) bool, True on the object, or None where the data set has none
    indices: (B,) int64, the pictures' places in the data set
    ignore:  (B, S, S) bool, True where a pixel counts neither as object nor as background, or None where each counts
    """

    images: Tensor
    labels: Tensor
    boxes: list[np.ndarray]
    masks: Tensor | None
    indices: Tensor
    ignore: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


def onto(pixels: Tensor, device: str | torch.device) -> Tensor:
    """A CPU tensor on the device. A GPU fetches it itself, out of pinned memory, so that the thread which made the
    pictures makes the next ones meanwhile and does not wait until the GPU has come to this copy."""
    if torch.device(device).type != "cuda":
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)


class Subset:
    """Some pictures of a data set, in the order of `indices`; the rest as in the data set.

    raises: ValueError where an index is outside the data set or none is given
    """

    def __init__(self, data, indices):
        self.indices = np.asarray(indices, np.int64).reshape(-1)
        if not len(self.indices) or self.indices.min() < 0 or self.indices.max() >= len(data):
            raise ValueError(f"indices must lie from 0 to {len(data) - 1}, at least one of them.")
        self.name, self.split, self.size, self.classes = data.name, data.split, data.size, data.classes
        self.drawn = getattr(data, "drawn", False)
        self.report, self.labels, self._data = [], data.labels[self.indices], data
        self.fingerprint = hashlib.sha256(data.fingerprint.encode() + self.indices.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices, device: str | torch.device = "cpu") -> Batch:
        """The pictures at `indices` of this subset, as the data set gives them."""
        batch = self._data.batch(self.indices[np.asarray(indices).reshape(-1)], device=device)
        batch.indices = torch.as_tensor(indices, device=batch.indices.device).reshape(-1)
        return batch


T = TypeVar("T")
IN_MEMORY = 2**30
AHEAD = 4  # batches in the making while a step runs


_held: dict[tuple[str, torch.device], Tensor] = {}


def is_large(data) -> bool:
    """Whether a data set's pictures, 8 bits a colour, take more than 1 GiB: it is made batch by batch, again each
    epoch, and never held."""
    return len(data) * 3 * data.size**2 > IN_MEMORY


def image_getter(data, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from places in the data set (B,) to pictures (B, 3, S, S) on the device.

    A data set of at most 1 GiB is made once and held there as 8-bit pictures, until another one is asked for; a larger
    one is made batch by batch.
    """
    device = resolve_device(device)
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


def prefetch(data, make: Callable[[T], object], places: Iterable[T]) -> Iterator:
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
