"""Scenes as pixels: tiles of the atlas pasted one over another, on the device that asks for them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cambook.datasets.atlas import INNER, TILE, tile_pyramids

RIM = 4  # pixels around a turned cut-out that its smoothed edge may reach


def render(draws: dict[str, np.ndarray], size: int, labelled: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The images and masks of scenes whose draws are given.

    Args:
        draws: what `Scenes` drew for B scenes of L layers, an array for each quantity.
        size: side S of the images in pixels.
        labelled: how many layers, the last ones, are objects with a mask.
        device: where the pixels are made.

    Returns:
        Images (B, 3, S, S) float32, multiples of 1/255 in [0, 1]; masks (B, labelled, S, S) bool.

    Example:
        >>> from cambook.datasets.scenes import Scenes
        >>> images, masks = render(Scenes("test", 64).draw(np.arange(2)), 64, 1, torch.device("cpu"))
        >>> images.shape, masks.shape
        (torch.Size([2, 3, 64, 64]), torch.Size([2, 1, 64, 64]))
    """
    layers = draws["cutouts"].shape[1]
    ground_levels, cutout_levels = tile_pyramids(device)
    first, last = draws["first"] * size, draws["last"] * size
    # clutter is small: only the pixels around it are made
    sides = [min(size, math.ceil(side) + 2 * RIM) for side in (last - first).max((0, 2), initial=0)]
    sides[layers - labelled :] = [size] * labelled
    corners = np.clip(np.floor(first) - RIM, 0, size - np.array(sides)[:, None])
    grounds = _by_level(ground_levels, size / draws["crop"])
    cutouts = [_by_level(cutout_levels, side * (size * TILE / INNER)) for side in draws["side"].T]
    orders = {"order": np.stack([grounds.order, *(layer.order for layer in cutouts)])}
    kept = ("cutouts", "affine", "light", "ground", "crops", "blend", "shift")
    sent = _send({**{name: draws[name] for name in kept}, "corner": corners, **orders}, device)

    whole = torch.arange(size, device=device).expand(len(draws["ground"]), 2, size)
    order = sent["order"].long()
    located = grounds._replace(order=order[0])
    ground = _sample(ground_levels, sent["ground"], located, sent["crops"], (whole + 0.5) / size, "border")
    blend = sent["blend"][..., None, None]
    canvas = blend[:, :, 0] * ground[:, 0:1]
    canvas.add_(blend[:, :, 1] * ground[:, 1:2]).add_(blend[:, :, 2] * ground[:, 2:3])
    canvas.add_(sent["shift"][..., None, None] * 255).clamp_(0, 255)

    masks = []
    for layer, side in enumerate(sides):
        pixels = whole
        if layer < layers - labelled:
            pixels = sent["corner"][:, layer, :, None].long() + torch.arange(side, device=device)
        located = cutouts[layer]._replace(order=order[layer + 1])
        rows, turned = sent["cutouts"][:, layer], sent["affine"][:, layer]
        cutout = _sample(cutout_levels, rows, located, turned, (pixels + 0.5) / size, "zeros")
        alpha = cutout[:, 3:] / 255
        colour = cutout[:, :3].mul_(sent["light"][:, layer, :, None, None])
        spots = (pixels[:, 1, :, None] * size + pixels[:, 0, None]).flatten(1)[:, None].expand(-1, 3, -1)
        under = canvas.flatten(2).gather(2, spots).view_as(colour)
        canvas.flatten(2).scatter_(2, spots, under.mul_(1 - alpha).add_(colour).flatten(2))
        if layer >= layers - labelled:
            masks.append(alpha[:, 0] > 0.5)
    return canvas.round_().clamp_(0, 255).div_(255), torch.stack(masks, 1)


class _ByLevel(NamedTuple):
    """The images of a batch in the order of the level of the pyramid that each is sampled from."""

    order: np.ndarray | Tensor  # (B,), those of level 0 first
    counts: list[int]  # how many of each level


def _by_level(levels: list[Tensor], shown_side: np.ndarray) -> _ByLevel:
    """For each image (B,) the level whose side is nearest to the pixels that a whole tile would cover."""
    sides = np.array([level.shape[-1] for level in levels])
    nearest = np.abs(np.log2(shown_side)[:, None] - np.log2(sides)).argmin(1)
    return _ByLevel(nearest.argsort(kind="stable"), np.bincount(nearest, minlength=len(levels)).tolist())


def _send(values: dict[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """The arrays as float32 on the device, in one copy, which a GPU fetches itself while the next batch is drawn: each
    copy of its own would wait until the GPU has done all that it was asked before. Row numbers are exact in float32."""
    flat = torch.from_numpy(np.concatenate([value.ravel().astype(np.float32) for value in values.values()]))
    if device.type == "cuda":
        flat = flat.pin_memory()
    parts = flat.to(device, non_blocking=True).split([value.size for value in values.values()])
    return {name: part.view(value.shape) for (name, value), part in zip(values.items(), parts, strict=True)}


def _sample(
    levels: list[Tensor], rows: Tensor, by_level: _ByLevel, affine: Tensor, pixels: Tensor, padding: str
) -> Tensor:
    """Tiles `rows` (B,) seen in windows of images, each from its level: (B, K, w, w) float32 in [0, 255].

    levels: uint8 (n, K, s, s) of falling s
    affine: (B, 2, 3), from a position (x, y, 1) of the image in [0, 1] to the position in the tile in [-1, 1]
    pixels: (B, 2, w), the positions x and y of the window's columns and rows of pixels
    """
    device, window = pixels.device, pixels.shape[-1]
    sampled = torch.empty(len(rows), levels[0].shape[1], window, window, device=device)
    for level, chosen in zip(levels, by_level.order.split(by_level.counts), strict=True):
        if not len(chosen):
            continue
        a = affine[chosen][..., None, None]
        x, y = pixels[chosen, 0, None, :], pixels[chosen, 1, :, None]
        grid = torch.empty(len(chosen), window, window, 2, device=device)
        for axis in (0, 1):
            torch.add(a[:, axis, 0] * x, a[:, axis, 1] * y + a[:, axis, 2], out=grid[..., axis])
        tiles = level[rows[chosen].long()].float()
        part = F.grid_sample(tiles, grid, mode="bilinear", padding_mode=padding, align_corners=False)
        if len(chosen) == len(rows):
            return part
        sampled[chosen] = part
    return sampled


def tight_boxes(masks: Tensor) -> np.ndarray:
    """The smallest boxes around the True pixels of masks.

    Args:
        masks: (B, S, S) bool.

    Returns:
        (B, 4) float32, half-open (x0, y0, x1, y1).

    Example:
        >>> mask = torch.zeros(1, 4, 4, dtype=torch.bool)
        >>> mask[0, 1, 2:] = True
        >>> tight_boxes(mask).tolist()
        [[2.0, 1.0, 4.0, 2.0]]
    """
    size = masks.shape[-1]
    columns, rows = masks.any(1).cpu().numpy(), masks.any(2).cpu().numpy()
    last = [size - columns[:, ::-1].argmax(1), size - rows[:, ::-1].argmax(1)]
    return np.stack([columns.argmax(1), rows.argmax(1), *last], 1).astype(np.float32)
