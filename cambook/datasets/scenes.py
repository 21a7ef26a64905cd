"""`Scenes`: cut-outs on photographed backgrounds, each object with an exact box and mask.

One labelled object per image, drawn last and so never covered, over unlabelled clutter of categories that are not
classes. All draws of image i come from a counter-based generator on the CPU and depend on (seed, split, i) alone; the
pixels are made by `rendering` on the device that asks for them. data/scenes/README.md says what the set measures and
whose drawings and photographs it uses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cambook.datasets.annotations import from_grid
from cambook.datasets.atlas import INNER, TILE, VERSION, load_atlas
from cambook.datasets.base import DataSet, asked_box_rule
from cambook.datasets.batches import Batch
from cambook.datasets.registry import register
from cambook.datasets.rendering import render, tight_boxes
from cambook.datasets.scene_tables import LENGTHS, classes_and_cutouts, ground_rows, tables_digest
from cambook.datasets.wsol_lists import GRID, grid_boxes

SMALLEST_SIZE = 32


@dataclass(frozen=True)
class Layout:
    """How a scene is put together; sides are fractions of the image's side, drawn uniformly.

    Attributes:
        object_side: longer side of the labelled cut-out before it is turned.
        clutter: how many unlabelled cut-outs lie under it.
        clutter_side: longer side of each of them.
        turn: largest rotation to either side, in degrees.
        texture: share of images on procedural texture rather than on a photograph.
        own_ground: share of images that lie on the photographed background of their class, a bias (each class has one
            region, at the same site in train and test); the others lie anywhere.

    Example:
        >>> Scenes("test", 64, layout=Layout(clutter=0, turn=0.0)).layout.clutter
        0
    """

    object_side: tuple[float, float] = (0.48, 0.88)
    clutter: int = 4
    clutter_side: tuple[float, float] = (0.22, 0.42)
    turn: float = 25.0
    texture: float = 0.3
    own_ground: float = 0.0


LAYOUT = Layout()

# the eight ways to turn and mirror a square, as 2 x 2 matrices
_QUARTER_TURN = np.array([[0, -1], [1, 0]])
_TURNS = [np.linalg.matrix_power(_QUARTER_TURN, k) for k in range(4)]
_SQUARE_TURNS = np.stack(_TURNS + [turn * [[-1], [1]] for turn in _TURNS])


@register
class Scenes(DataSet):
    """Images of 12 everyday categories, one labelled object each, drawn when asked for.

    Args:
        split: "train" or "test": other images on other backgrounds, of the same objects.
        size: side of the images in pixels, at least 32; the scene is the same at every size.
        length: number of images, by default 4000 (train) and 1000 (test); it changes none of them.
        seed: another seed, other images.
        new_objects: train leaves out the objects that data/scenes/classes.csv marks as held out, some of each category
            that has at least 14; test shows only those. Both keep the list of all 12 classes.
        layout: another way to put the scenes together.

    Raises:
        ValueError: for an unknown split, too small a size or a length below 1.

    Attributes:
        classes: the 12 names, in the order of the labels.
        objects: the cut-outs that this split shows, a `Cutout` each.

    Example:
        >>> batch = Scenes("test", 64).batch([0, 1])
        >>> batch.images.shape, batch.masks.shape, [box.shape for box in batch.boxes]
        (torch.Size([2, 3, 64, 64]), torch.Size([2, 64, 64]), [(1, 4), (1, 4)])
    """

    kind = "scenes"
    splits = LENGTHS
    source = "embedded, nothing to fetch"
    licence = "drawings CC BY-SA 4.0, see NOTICE"
    has_masks = True
    drawn = True
    has_object_labels = True
    box_rules = ("edges", "wsol")

    labelled = 1  # objects per image, drawn last

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
            raise ValueError(f"length={length} is not a number of images: give a whole number from 1 or None.")
        self.name = "scenes-new-objects" if new_objects else "scenes"
        self.split, self.size, self.seed, self.layout = split, int(size), seed, layout
        self.length = LENGTHS[split] if length is None else int(length)
        self.report, self.box_rule = [], asked_box_rule(type(self))
        self.classes, cutouts = classes_and_cutouts()
        self._atlas = load_atlas()

        shown = [not c.held_out if split == "train" else c.held_out for c in cutouts] if new_objects else None
        usable = [i for i, c in enumerate(cutouts) if c.label is not None and (shown is None or shown[i])]
        self.objects = [cutouts[i] for i in usable]
        self._by_class = [[i for i in usable if cutouts[i].label == c] for c in range(len(self.classes))]
        self._shown_classes = np.array([label for label, members in enumerate(self._by_class) if members])
        self._clutter = np.array([i for i, c in enumerate(cutouts) if c.label is None])
        self._object_of = {row: number for number, row in enumerate(usable)}
        self._photos, self._textures = ground_rows(split)

    def __len__(self) -> int:
        return self.length

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64; every run of as many images as there are classes contains each class once."""
        return self._labels(np.arange(self.length))

    @cached_property
    def object_indices(self) -> np.ndarray:
        """(N,) int64: which of `objects` each image shows."""
        rows = self.draw(np.arange(self.length))["cutouts"][:, -1]
        return np.array([self._object_of[row] for row in rows.tolist()])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that determines the images and labels."""
        parts = {
            "version": VERSION,
            "atlas": self._atlas.digest,
            "name": self.name,
            "split": self.split,
            "size": self.size,
            "length": self.length,
            "seed": self.seed,
            "layout": asdict(self.layout),
            "tables": tables_digest(),
        }
        if self.box_rule != "edges":
            parts["box_rule"] = self.box_rule
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor, device: str | torch.device = "cpu") -> Batch:
        """The images at `indices`, rendered on `device`, the same in whatever batch.

        Args:
            indices: (B,) positions in the data set.
            device: where images, labels, masks and indices of the batch shall be.

        Returns:
            A `Batch`. Images are multiples of 1/255, masks are True where the object's alpha is above 0.5, and a box is
            the tight box of its mask.

        Raises:
            IndexError: for an index outside 0 .. length - 1.
        """
        indices, device = self._checked(indices), torch.device(device)
        images, masks = self._rendered(indices, self.size, device)
        boxes = tight_boxes(masks.flatten(0, 1))
        if self.box_rule == "wsol":
            on_grid = grid_boxes(boxes - [0, 0, 1, 1], (self.size, self.size))
            boxes = from_grid(on_grid / GRID, self.size, self.size).astype(np.float32)
        boxes = boxes.reshape(-1, self.labelled, 4)
        return Batch(
            images=images,
            labels=torch.from_numpy(self._labels(indices)).to(device),
            boxes=list(boxes),
            masks=masks[:, 0] if self.labelled == 1 else masks,
            indices=torch.from_numpy(indices).to(device),
        )

    def sharp(self, indices: Sequence[int] | np.ndarray | Tensor, side: int = 256) -> Tensor:
        """The images at `indices` for a figure: the same scenes, drawn anew with `side` pixels (see `DataSet`)."""
        return self._rendered(self._checked(indices), side, torch.device("cpu"))[0]

    def _checked(self, indices: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
        if isinstance(indices, Tensor):
            indices = indices.cpu()
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(indices) and not (0 <= indices.min() and indices.max() < self.length):
            asked = indices.min() if indices.min() < 0 else indices.max()
            raise IndexError(f"{self.name} {self.split} has images 0 to {self.length - 1}, not {asked}.")
        return indices

    def _rendered(self, indices: np.ndarray, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) and masks (B, labelled, S, S) of the scenes at `indices`, some at a time."""
        draws = self.draw(indices)
        step = max(1, (1 << (17 if device.type == "cpu" else 24)) // size**2)
        parts = [
            render({k: v[start : start + step] for k, v in draws.items()}, size, self.labelled, device)
            for start in range(0, max(1, len(indices)), step)
        ]
        images, masks = (torch.cat(part) for part in zip(*parts, strict=True))
        return images, masks

    def _stream(self, purpose: str, counters: np.ndarray, number: int) -> np.ndarray:
        return _uniforms(f"{self.seed}/{self.split}/{purpose}", counters, number)

    def _labels(self, indices: np.ndarray) -> np.ndarray:
        classes = len(self._shown_classes)
        order = self._stream("labels", indices // classes, classes).argsort(1)
        return self._shown_classes[order[np.arange(len(indices)), indices % classes]]

    def draw(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """All that chance decides for B images, each of clutter and then `labelled` layers."""
        layout, batch = self.layout, len(indices)
        layers = layout.clutter + self.labelled
        u = self._stream("layers", indices, layers * 7).reshape(batch, layers, 7)
        pick = u[..., 0]
        cutouts = self._clutter[(pick * len(self._clutter)).astype(np.int64)]
        shown = self._shown(indices)
        for row, layer in np.ndindex(batch, self.labelled):
            members = self._by_class[shown[row, layer]]
            last = layer - self.labelled
            cutouts[row, last] = members[int(pick[row, last] * len(members))]
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
        affine = np.concatenate([inverse, -(inverse * centre[..., None, :]).sum(-1, keepdims=True)], -1)
        return {
            "cutouts": cutouts,
            "side": side[..., 0],
            "first": centre + first * side,
            "last": centre + last * side,
            "affine": affine,
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
        """Corner (x, y) and size of the window of the image, in [0, 1], that each layer keeps to: (B, layers, 2)."""
        shape = (len(indices), self.layout.clutter + self.labelled, 2)
        return np.zeros(shape), np.ones(shape)


@register
class ScenesOfNewObjects(Scenes):
    """Scenes whose test split shows only objects that are held out of its training split.

    Example:
        >>> train, test = (ScenesOfNewObjects(split, 64) for split in ("train", "test"))
        >>> set(train.objects) & set(test.objects)
        set()
    """

    kind = "scenes-new-objects"
    source = "embedded, as scenes"
    has_object_labels = False

    def __init__(
        self, split: str, size: int, length: int | None = None, seed: int = 0, layout: Layout = LAYOUT
    ) -> None:
        super().__init__(split, size, length, seed, new_objects=True, layout=layout)


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
