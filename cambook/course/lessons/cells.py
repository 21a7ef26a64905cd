"""What one cell of a feature map sees, and what becomes of it when the object moves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cambook import networks
from cambook.datasets.batches import Batch
from cambook.networks.base import Network


def moved(batch: Batch, i: int, x: int, y: int, side: int) -> Tensor:
    """The labelled object of image i, cut out by its mask, on a grey canvas.

    Args:
        batch: images with boxes and masks.
        x, y: where the left and upper edge of the object's box come to lie, in pixels of the canvas.
        side: of the canvas in pixels; the object keeps its size.

    Returns:
        (3, side, side) in [0, 1].

    Raises:
        ValueError: if the object does not fit there.
    """
    x0, y0, x1, y1 = (int(edge) for edge in batch.boxes[i][0])
    width, height = x1 - x0, y1 - y0
    if min(x, y) < 0 or x + width > side or y + height > side:
        raise ValueError(f"an object of {width}x{height} pixels at ({x}, {y}) is not inside a canvas of {side} pixels.")
    canvas = torch.full((3, side, side), 0.5)
    inside = batch.masks[i, y0:y1, x0:x1].cpu()
    canvas[:, y : y + height, x : x + width][:, inside] = batch.images[i, :, y0:y1, x0:x1].cpu()[:, inside]
    return canvas


def kept_layers(original: Network) -> list[nn.Module]:
    """The parts of a network's backbone that the CAM paper's cut keeps, in order.

    Example:
        >>> [type(layer).__name__ for layer in kept_layers(networks.build("mini-fc"))][-3:]
        ['Conv2d', 'BatchNorm2d', 'ReLU']
    """
    layers = dict(original.backbone.named_children())
    last = list(layers).index(networks.spec(original.name).keeps)
    return list(layers.values())[: last + 1]
