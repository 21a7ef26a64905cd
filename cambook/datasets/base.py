"""`DataSet`: what every data set says about itself, and what it hands over."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cambook.datasets.batches import Batch
from cambook.datasets.downloads import Archive

SPLITS = ("train", "test")
BOXES = "CAMBOOK_BOXES"  # the environment variable that says which image boxes were drawn on: upright or stored
BOX_RULE = "CAMBOOK_BOX_RULE"  # the one that says how true boxes are scaled: one of RULES
RULES = {
    "edges": "true boxes by their edges",
    "wsol": "true boxes as wsolevaluation scales them, int(v * 224 / size)",
}


class DataSet:
    """One class for each data set; `@register` above it makes it known by name everywhere.

    A subclass takes `(folder, split, size, *, length=None, seed=0)`, without `folder` if it is not read from one, where
    size is the side of its square images in pixels and length limits their number.

    What the class declares (nothing but `kind` is required):

    Attributes:
        kind: its name up to the colon, such as "voc".
        needs: what a user must write after the colon: "FOLDER", "FILE", or "" for nothing.
        splits: the splits it has, each with the number of images that it is published with; None if that depends on
            the user's folder.
        source: where it comes from and how to get it.
        licence: the licence of its images.
        archives: what it is downloaded from; empty if it cannot be downloaded here.
        download_bytes: its size in bytes if it has no archives and is still something to fetch.
        has_boxes: whether its images come with boxes.
        has_masks: whether they come with masks of the object.
        box_rules: the rules by which it can scale its true boxes, its own first: "edges", "wsol" (see `load`).
        labelled: whether it is known what they show; if not, each label is 0.
        drawn: whether its images are drawn when they are asked for, rather than photographs that were taken.
        has_object_labels: whether `object_indices` says which object each image shows, finer than its class, with the
            same objects in every split.
        imagenet_classes: whether its classes are ImageNet's thousand, in the order of torchvision's weights.

    What an instance has:

    Attributes:
        name: as it was asked for, such as "voc:data/birds".
        split: "train", "test", or another of its `splits`.
        size: side of the images in pixels.
        classes: C names, in the order of the labels.
        labels: (N,) int64.
        fingerprint: SHA-256 of all that determines its images and labels.
        report: one sentence for each file that was repaired or left out.
        repaired, left_out: how many images were repaired and used, and how many were left out.
        box_rule: the rule by which its true boxes are scaled.
        chosen: which of the split's images were asked for, in words.

    Example:
        >>> from cambook.datasets import find
        >>> find("cub").splits["test"], find("folder:data/birds").has_boxes
        (5794, False)
    """

    kind: str
    needs: str = ""
    splits: Mapping[str, int | None] = {"train": None, "test": None}
    source: str = ""
    licence: str = ""
    archives: tuple[Archive, ...] = ()
    download_bytes: int | None = None
    has_boxes: bool = True
    has_masks: bool = False
    box_rules: tuple[str, ...] = ("edges",)
    labelled: bool = True
    drawn: bool = False
    has_object_labels: bool = False
    imagenet_classes: bool = False

    name: str
    split: str
    size: int
    classes: list[str]
    labels: np.ndarray
    fingerprint: str
    report: list[str]
    repaired: int = 0
    left_out: int = 0
    box_rule: str = "edges"
    chosen: str = "all images"

    @property
    def summary(self) -> str:
        """What came of loading it, in one line.

        Example:
            >>> from cambook.datasets import load
            >>> load("scenes", "test", 64, length=24).summary
            'test: 24 images used, 0 repaired, 0 left out'
        """
        counts = f"{self.split}: {len(self)} images used, {self.repaired} repaired, {self.left_out} left out"
        return f"{counts}: see report" if self.report else counts

    @property
    def protocol(self) -> str:
        """What a number measured on it depends on: how true boxes are scaled, and which images count.

        Example:
            >>> from cambook.datasets import load
            >>> load("scenes", "test", 64, length=24).protocol
            'true boxes by their edges; all images'
        """
        return f"{RULES[self.box_rule] if self.has_boxes else 'no true boxes'}; {self.counted}"

    @property
    def counted(self) -> str:
        """Which images count, the end of its `protocol`."""
        return f"{self.chosen} but {self.left_out} that cannot be used" if self.left_out else self.chosen

    @classmethod
    def written(cls) -> str:
        """Its name as it is written: "cub", or "voc:FOLDER" if something must follow the colon."""
        return f"{cls.kind}:{cls.needs}" if cls.needs else cls.kind

    def __len__(self) -> int:
        raise NotImplementedError

    def batch(self, indices, device: str | torch.device = "cpu") -> Batch:
        """The images at `indices` (B,), with labels, boxes and masks; where they are, `Batch` says."""
        raise NotImplementedError

    def sharp(self, indices, side: int = 256) -> Tensor:
        """The images at `indices` for a figure: what `batch` gives, with more pixels.

        Boxes, masks and maps stay those of the images of `size` pixels; a figure scales them.

        Args:
            indices: (B,) positions in the data set.
            side: of the images in pixels.

        Returns:
            (B, 3, side, side) float32 in [0, 1] on the CPU. Here they are enlarged smoothly; a data set that can draw
            or read its images anew at another size does so.

        Example:
            >>> from cambook.datasets import load
            >>> load("scenes", "test", 64).sharp([0, 1]).shape
            torch.Size([2, 3, 256, 256])
        """
        images = self.batch(indices).images
        return F.interpolate(images, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def asked_box_rule(cls: type[DataSet]) -> str:
    """The rule by which a data set shall scale its true boxes: what CAMBOOK_BOX_RULE says, or else its own.

    Args:
        cls: the class of the data set.

    Raises:
        ValueError: if there is no such rule, or if boxes of this data set are never scaled by it.

    Example:
        >>> asked_box_rule(DataSet)
        'edges'
    """
    own, asked = cls.box_rules[0], os.environ.get(BOX_RULE, "")
    if asked and asked not in RULES:
        raise ValueError(f'{BOX_RULE} is "{asked[:60]}": write {" or ".join(RULES)}, or leave it out')
    if asked and cls.has_boxes and asked not in cls.box_rules:
        raise ValueError(f'{BOX_RULE} is "{asked}", and boxes of {cls.kind} are always scaled by "{own}": leave it out')
    return asked if asked in cls.box_rules and cls.has_boxes else own


def check_split(cls: type[DataSet], name: str, split: str) -> None:
    """Refuses a split that a data set does not have.

    Args:
        cls: the class of the data set.
        name: the data set, as it was asked for.
        split: such as "train".

    Raises:
        ValueError: with the splits that it has; if it has nothing to train on, with what to do instead.

    Example:
        >>> check_split(DataSet, "cub", "val")
        Traceback (most recent call last):
        ValueError: unknown split "val": use "train" or "test"
    """
    if split == "train" and "train" not in cls.splits:
        raise ValueError(
            f'"{name}" has no images to train on: train on another data set, or look at this one with a network that '
            "is trained already, with `cambook look`, `cambook maps` or `cambook boxes`"
        )
    if split not in cls.splits:
        known = " or ".join(f'"{each}"' for each in cls.splits)
        raise ValueError(f'unknown split "{split}": use {known}')


def check_counts(size: int | None, length: int | None) -> None:
    """Refuses a size or length that is given and is not a whole number of at least 1.

    Args:
        size: side of the images in pixels; None if it is not given.
        length: number of images; None if it is not given.

    Raises:
        ValueError: with the value.

    Example:
        >>> check_counts(64, None)
        >>> check_counts(0, None)
        Traceback (most recent call last):
        ValueError: size is 0: give a whole number of at least 1
    """
    for name, value in (("size", size), ("length", length)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 1):
            raise ValueError(f"{name} is {value!r}: give a whole number of at least 1")
