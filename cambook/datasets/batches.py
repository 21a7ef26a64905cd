"""What every data set hands over: pictures with one label each, and the boxes that only evaluation may look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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
