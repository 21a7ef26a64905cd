"""The embedded data set: cut-outs pasted on photographic background, each with an exact box and mask.

One labelled object a picture, drawn last and so never covered, over unlabelled clutter of categories that
are no classes. All draws of picture i come from a counter-based generator on the CPU and depend on (seed,
split, i) alone; the pixels are made with torch on the device that asks for them. data/scenes/README.md tells
what the set measures and whose pictures it uses.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cambook.datasets.atlas import (
    INNER,
    LENGTHS,
    TILE,
    VERSION,
    _atlas,
    _catalogue,
    _ground_rows,
    _levels,
    _tables_digest,
)
from cambook.datasets.base import DataSet
from cambook.datasets.batches import Batch
from cambook.datasets.registry import register

SMALLEST_SIZE = 32
RIM = 4  # pixels around a turned cut-out that its smoothed edge may reach


@dataclass(frozen=True)
class Layout:
    """How a picture is put together; sides are fractions of the picture's side, drawn uniformly.

    object_side:  longer side of the labelled cut-out before it is turned
    clutter:      how many unlabelled cut-outs lie under it
    clutter_side: longer side of each of them
    turn:         largest rotation to either side, in degrees
    texture:      share of pictures on procedural texture rather than on a photograph
    own_ground:   share of pictures that lie on the photographed ground of their class, a bias (each class has one
                  region, the same place in train and test); the others lie anywhere
    """

    object_side: tuple[float, float] = (0.48, 0.88)
    clutter: int = 4
    clutter_side: tuple[float, float] = (0.22, 0.42)
    turn: float = 25.0
    texture: float = 0.3
    own_ground: float = 0.0


LAYOUT = Layout()


_QUARTER_TURN = np.array([[0, -1], [1, 0]])
_TURNS = [np.linalg.matrix_power(_QUARTER_TURN, k) for k in range(4)]
_SQUARE_TURNS = np.stack(_TURNS + [turn * [[-1], [1]] for turn in _TURNS])


@register
class Scenes(DataSet):
    """Pictures of 12 everyday categories, one labelled object each, made when they are asked for.

    split:       "train" or "test": other pictures on other ground, the same objects
    size:        side of the pictures in pixels, at least 32; the scene is the same at every size
    length:      number of pictures, 4000 (train) and 1000 (test) where it is None; it changes no picture
    seed:        another seed, other pictures
    new_objects: train leaves out the objects that data/scenes/classes.csv marks as held out, some of each
                 category that has at least 14; test shows only those. Both keep the list of all 12 classes.
    layout:      another way to put the pictures together
    raises:      ValueError for an unknown split, too small a size or a length below 1

    classes: the 12 names, in the order of the labels; objects: the cut-outs this split shows, a Cutout each
    """

    kind = "scenes"
    splits = LENGTHS
    source = "embedded, nothing to fetch"
    licence = "drawings CC BY-SA 4.0, see NOTICE"
    has_masks = True
    drawn = True

    labelled = 1  # objects a picture, drawn last

    def __init__(
        self,
        split: str,
        size: int,
        length: int | None = None,
        seed: int = 0,
        new_objects: bool = False,
        layout: Layout = LAYOUT,
    ):
        if split not in LENGTHS:
            raise ValueError(f"split={split!r} is unknown: scenes has the splits train and test.")
        if int(size) != size or size < SMALLEST_SIZE:
            raise ValueError(f"size={size} is too small for scenes: give whole pixels from {SMALLEST_SIZE}.")
        if length is not None and (int(length) != length or length < 1):
            raise ValueError(f"length={length} is no number of pictures: give a whole number from 1 or None.")
        self.name = "scenes-new-objects" if new_objects else "scenes"
        self.split, self.size, self.seed, self.layout = split, int(size), seed, layout
        self.length = LENGTHS[split] if length is None else int(length)
        self.report = []
        self.classes, cutouts = _catalogue()
        self._atlas = _atlas()

        shown = [not c.held_out if split == "train" else c.held_out for c in cutouts] if new_objects else None
        usable = [i for i, c in enumerate(cutouts) if c.label is not None and (shown is None or shown[i])]
        self.objects = [cutouts[i] for i in usable]
        self._by_class = [[i for i in usable if cutouts[i].label == c] for c in range(len(self.classes))]
        self._shown_classes = np.array([label for label, members in enumerate(self._by_class) if members])
        self._clutter = np.array([i for i, c in enumerate(cutouts) if c.label is None])
        self._place = {row: place for place, row in enumerate(usable)}
        self._photos, self._textures = _ground_rows(split)

    def __len__(self) -> int:
        return self.length

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64; every run of as many pictures as there are classes holds each class once."""
        return self._labels(np.arange(self.length))

    @cached_property
    def object_indices(self) -> np.ndarray:
        """(N,) int64: which of `objects` each picture shows."""
        rows = self._draw(np.arange(self.length))["cutouts"][:, -1]
        return np.array([self._place[row] for row in rows.tolist()])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything that determines the pictures and labels."""
        parts = {
            "version": VERSION,
            "atlas": self._atlas.digest,
            "name": self.name,
            "split": self.split,
            "size": self.size,
            "length": self.length,
            "seed": self.seed,
            "layout": asdict(self.layout),
            "tables": _tables_digest(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor, device: str | torch.device = "cpu") -> Batch:
        """The pictures at `indices`, rendered on `device`, the same in whatever batch.

        returns: a Batch; images are multiples of 1/255, masks True where the object's alpha is above 0.5, and
                 a box is the tight box of its mask
        raises:  IndexError for an index outside 0 .. length-1
        """
        if isinstance(indices, Tensor):
            indices = indices.cpu()
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(indices) and not (0 <= indices.min() and indices.max() < self.length):
            asked = indices.min() if indices.min() < 0 else indices.max()
            raise IndexError(f"{self.name} {self.split} has pictures 0 to {self.length - 1}, not {asked}.")
        draws = self._draw(indices)
        device = torch.device(device)
        step = max(1, (1 << (17 if device.type == "cpu" else 24)) // self.size**2)
        parts = [
            self._render({k: v[start : start + step] for k, v in draws.items()}, device)
            for start in range(0, max(1, len(indices)), step)
        ]
        images, masks = (torch.cat(part) for part in zip(*parts, strict=True))
        boxes = _tight_boxes(masks.flatten(0, 1)).reshape(-1, self.labelled, 4)
        return Batch(
            images=images,
            labels=torch.from_numpy(self._labels(indices)).to(device),
            boxes=list(boxes),
            masks=masks[:, 0] if self.labelled == 1 else masks,
            indices=torch.from_numpy(indices).to(device),
        )

    def _stream(self, purpose: str, counters: np.ndarray, number: int) -> np.ndarray:
        return _uniforms(f"{self.seed}/{self.split}/{purpose}", counters, number)

    def _labels(self, indices: np.ndarray) -> np.ndarray:
        classes = len(self._shown_classes)
        order = self._stream("labels", indices // classes, classes).argsort(1)
        return self._shown_classes[order[np.arange(len(indices)), indices % classes]]

    def _draw(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """All that chance decides for B pictures of clutter and then `labelled` layers."""
        layout, batch = self.layout, len(indices)
        layers = layout.clutter + self.labelled
        u = self._stream("layers", indices, layers * 7).reshape(batch, layers, 7)
        pick = u[..., 0]
        cutouts = self._clutter[(pick * len(self._clutter)).astype(np.int64)]
        shown = self._shown(indices)
        for row, layer in np.ndindex(batch, self.labelled):
            members = self._by_class[shown[row, layer]]
            place = layer - self.labelled
            cutouts[row, place] = members[int(pick[row, place] * len(members))]
        low, high = np.array([layout.clutter_side] * layout.clutter + [layout.object_side] * self.labelled).T
        side = low + (high - low) * u[..., 1]
        angle = np.deg2rad(layout.turn) * (2 * u[..., 2] - 1)
        flip = np.where(u[..., 3] < 0.5, -1.0, 1.0)
        cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
        x, y = np.moveaxis(self._atlas.outlines[cutouts], -1, 0)
        x = x * flip[..., None]
        turned = np.stack([cos * x - sin * y, sin * x + cos * y], -1)  # (B, L, 64, 2)
        first, last = turned.min(2), turned.max(2)
        corner, room = self._windows(indices)
        side = np.minimum(side, (0.98 * room / (last - first)).min(-1))[..., None]
        centre = corner - first * side + u[..., 4:6] * (room - (last - first) * side)
        colour = self._stream("colour", indices, layers * 3).reshape(batch, layers, 3)
        light = (0.7 + 0.4 * u[..., 6:7]) * (0.9 + 0.2 * colour)

        g = self._stream("ground", indices, 23)
        own = self._stream("bias", indices, 1)[:, 0] < layout.own_ground
        textured = (g[:, 0] < layout.texture) & ~own
        region = np.where(own, shown[:, -1], (g[:, 1] * len(self._photos)).astype(np.int64))
        photo = [self._photos[r][int(t * len(self._photos[r]))] for r, t in zip(region, g[:, 2], strict=True)]
        texture = self._textures[(g[:, 2] * len(self._textures)).astype(np.int64)]
        crop = 0.5 + 0.5 * g[:, 3]
        gain = (0.6 + 0.55 * g[:, 7:8]) * (0.8 + 0.4 * g[:, 8:11])
        mixed = 1.6 * g[:, 11:20].reshape(-1, 3, 3) - 0.8
        blend = np.where(textured[:, None, None], mixed, gain[:, :, None] * np.eye(3))
        shift = np.where(textured[:, None], 0.15 + 0.7 * g[:, 20:23] - 0.5 * blend.sum(2), 0.0)
        corner = g[:, 4:6] * (1 - crop[:, None])
        turn = _SQUARE_TURNS[(g[:, 6] * 8).astype(np.int64)]
        middle = 2 * corner + crop[:, None] * (1 - turn.sum(2)) - 1
        crops = np.concatenate([2 * crop[:, None, None] * turn, middle[..., None]], 2)

        zoom = 2 * INNER / (TILE * side)
        rows = [np.stack([cos, sin], -1) * flip[..., None, None], np.stack([-sin, cos], -1)]
        inverse = np.concatenate(rows, -2) * zoom[..., None]
        places = np.concatenate([inverse, -(inverse * centre[..., None, :]).sum(-1, keepdims=True)], -1)
        return {
            "cutouts": cutouts,
            "side": side[..., 0],
            "first": centre + first * side,
            "last": centre + last * side,
            "places": places,
            "light": light,
            "ground": np.where(textured, texture, photo),
            "crop": crop,
            "crops": crops,
            "blend": blend,
            "shift": shift,
        }

    def _shown(self, indices: np.ndarray) -> np.ndarray:
        """(B, labelled): the categories of the labelled objects, in the order in which they are drawn."""
        return self._labels(indices)[:, None]

    def _windows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corner (x, y) and size of the window of the picture, in [0, 1], that each layer keeps to: (B, layers, 2)."""
        shape = (len(indices), self.layout.clutter + self.labelled, 2)
        return np.zeros(shape), np.ones(shape)

    def _render(self, draws: dict[str, np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
        size, layers = self.size, draws["cutouts"].shape[1]
        ground_levels, cutout_levels = _levels(device)
        first, last = draws["first"] * size, draws["last"] * size
        # clutter is small: only the pixels around it are made
        sides = [min(size, math.ceil(side) + 2 * RIM) for side in (last - first).max((0, 2), initial=0)]
        sides[layers - self.labelled :] = [size] * self.labelled
        corners = np.clip(np.floor(first) - RIM, 0, size - np.array(sides)[:, None])
        grounds = _by_level(ground_levels, size / draws["crop"])
        cutouts = [_by_level(cutout_levels, side * (size * TILE / INNER)) for side in draws["side"].T]
        orders = {"order": np.stack([grounds.order, *(layer.order for layer in cutouts)])}
        kept = ("cutouts", "places", "light", "ground", "crops", "blend", "shift")
        sent = _send({**{name: draws[name] for name in kept}, "corner": corners, **orders}, device)

        whole = torch.arange(size, device=device).expand(len(draws["ground"]), 2, size)
        order = sent["order"].long()
        places = grounds._replace(order=order[0])
        ground = _sample(ground_levels, sent["ground"], places, sent["crops"], (whole + 0.5) / size, "border")
        blend = sent["blend"][..., None, None]
        canvas = blend[:, :, 0] * ground[:, 0:1]
        canvas.add_(blend[:, :, 1] * ground[:, 1:2]).add_(blend[:, :, 2] * ground[:, 2:3])
        canvas.add_(sent["shift"][..., None, None] * 255).clamp_(0, 255)

        masks = []
        for layer, side in enumerate(sides):
            pixels = whole
            if layer < layers - self.labelled:
                pixels = sent["corner"][:, layer, :, None].long() + torch.arange(side, device=device)
            places = cutouts[layer]._replace(order=order[layer + 1])
            rows, turned = sent["cutouts"][:, layer], sent["places"][:, layer]
            cutout = _sample(cutout_levels, rows, places, turned, (pixels + 0.5) / size, "zeros")
            alpha = cutout[:, 3:] / 255
            colour = cutout[:, :3].mul_(sent["light"][:, layer, :, None, None])
            spots = (pixels[:, 1, :, None] * size + pixels[:, 0, None]).flatten(1)[:, None].expand(-1, 3, -1)
            under = canvas.flatten(2).gather(2, spots).view_as(colour)
            canvas.flatten(2).scatter_(2, spots, under.mul_(1 - alpha).add_(colour).flatten(2))
            if layer >= layers - self.labelled:
                masks.append(alpha[:, 0] > 0.5)
        return canvas.round_().clamp_(0, 255).div_(255), torch.stack(masks, 1)


@register
class ScenesOfNewObjects(Scenes):
    """Scenes whose test split shows objects that its training split never showed: Scenes with new_objects."""

    kind = "scenes-new-objects"
    source = "embedded, as scenes"

    def __init__(
        self, split: str, size: int, length: int | None = None, seed: int = 0, layout: Layout = LAYOUT
    ) -> None:
        super().__init__(split, size, length, seed, new_objects=True, layout=layout)


class _ByLevel(NamedTuple):
    """The pictures of a batch in the order of the level of the pyramid that each is sampled from."""

    order: np.ndarray | Tensor  # (B,), those of level 0 first
    counts: list[int]  # how many of each level


def _by_level(levels: list[Tensor], shown_side: np.ndarray) -> _ByLevel:
    """For each picture (B,) the level whose side is nearest to the pixels that a whole tile would cover."""
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
    levels: list[Tensor], rows: Tensor, by_level: _ByLevel, places: Tensor, pixels: Tensor, padding: str
) -> Tensor:
    """Tiles `rows` (B,) seen in windows of pictures, each from its level.

    levels: uint8 (n, K, s, s) of falling s
    places: (B, 2, 3), from a place (x, y, 1) of the picture in [0, 1] to the place in the tile in [-1, 1]
    pixels: (B, 2, w), the places x and y of the window's columns and rows of pixels
    returns: (B, K, w, w) float32 in [0, 255]
    """
    device, window = pixels.device, pixels.shape[-1]
    sampled = torch.empty(len(rows), levels[0].shape[1], window, window, device=device)
    for level, chosen in zip(levels, by_level.order.split(by_level.counts), strict=True):
        if not len(chosen):
            continue
        a = places[chosen][..., None, None]
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


def _tight_boxes(masks: Tensor) -> np.ndarray:
    """(B, H, W) bool -> (B, 4) float32 half-open boxes around the True pixels."""
    size = masks.shape[-1]
    columns, rows = masks.any(1).cpu().numpy(), masks.any(2).cpu().numpy()
    last = [size - columns[:, ::-1].argmax(1), size - rows[:, ::-1].argmax(1)]
    return np.stack([columns.argmax(1), rows.argmax(1), *last], 1).astype(np.float32)


def _uniforms(key: str, counters: np.ndarray, number: int) -> np.ndarray:
    """(N, number) float64 in [0, 1), row i from key and counters[i] alone (SplitMix64, Steele et al.)."""
    start = np.uint64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))
    golden = np.uint64(0x9E3779B97F4A7C15)

    def mix(z: np.ndarray) -> np.ndarray:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    states = mix(counters.astype(np.uint64) * golden + start)
    draws = mix(states[:, None] + np.arange(1, number + 1, dtype=np.uint64) * golden)
    return (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53
