"""`Photographs`, what all data sets of image files share: the first look at every file, and batches.

A file that cannot be used must not turn up in the middle of training, and no number may silently come from another
image. So the first time a data set is loaded, every listed image is decoded once, in threads: what is wrong with it is
repaired if that is safe, or the image is left out, and `report` says so. What was found is remembered in the cache
until a file's size or time of change differs. A file that changes after that stops the run with a sentence: the data
would no longer be what the fingerprint names.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from cambook import files
from cambook.datasets.annotations import fit_boxes, from_grid
from cambook.datasets.base import BOXES, DataSet, asked_box_rule, check_counts
from cambook.datasets.batches import Batch, onto
from cambook.datasets.decoding import decode_image, decode_mask, quiet_decoders, stored_size, upright
from cambook.datasets.reading import Unusable, read_inside, short_path, unread_endings
from cambook.datasets.wsol_lists import GRID
from cambook.machine import cores

_VERSION = 2  # raised whenever the same files would give other images, boxes, masks or labels
_SENTENCES = 3  # raised whenever the report would say something else about them
_PART = 10_000  # so many images are looked through and remembered at a time; a killed first load goes on there
_WORTH_REMEMBERING = 500  # fewer images are looked through each time
_REPORTED_SINGLY = 20  # more files with the same repair get one sentence together
_COMPARED = 100_000  # larger splits are not compared with one another
DRAWN_ON = ("upright", "stored")


class Listed(NamedTuple):
    """An image as its data set lists it; paths are text, since a set may list a million.

    Attributes:
        name: its id, by which the images of a data set are sorted.
        label: index of its class; None if only its annotation says.
        image: its file; None if it has none.
        truth: the file that says where the object is: annotation, segmentation or trimap; None if it has none.
        box: what a list says in place of such a file: x, y, width and height, or as `truth` of the set reads it.
        problem: why the image cannot be used, if the lists themselves say so.

    Example:
        >>> Listed("cat-1", 0, "images/cat-1.jpg", box=(10, 5, 20, 10)).truth is None
        True
    """

    name: str
    label: int | None
    picture: str | None
    truth: str | None = None
    box: tuple[float, ...] | None = None
    problem: str | None = None


class Truth(NamedTuple):
    """What an image's files say about its object.

    Attributes:
        label: index of its class.
        boxes: (n, 4) half-open, in pixels of the image that they were drawn on.
        tag: width and height of that image; None if they are unknown.
        mask: width and height of its file of masks; None if it has none.
        notes: one sentence for each repair.

    Example:
        >>> Truth(0, np.array([[10, 5, 30, 15]]), (80, 40)).notes
        ()
    """

    label: int
    boxes: np.ndarray
    tag: tuple[float, float] | None
    mask: tuple[int, int] | None = None
    notes: Sequence[str] = ()


@dataclass
class Inspection:
    """What came of looking at one listed image; this is what the cache remembers.

    Attributes:
        label: index of its class.
        boxes: (n, 4) as shares of the upright image's width and height.
        turn: the EXIF orientation by which its mask is turned upright.
        notes: (file, sentence) for each repair.
        refused: why the image is left out; empty if it is used.
        digest: SHA-256 of what was listed and of the files' contents.
    """

    label: int = -1
    boxes: list[list[float]] = field(default_factory=list)
    turn: int = 1
    notes: list[list[str]] = field(default_factory=list)
    refused: str = ""
    digest: str = ""


class Photographs(DataSet):
    """A data set of labelled image files.

    A subclass says in its own __init__ which images its split lists, and hands them to `look_through`. Its `truth`
    reads what the files of one image say about its object, its `masks` which pixels are object.

    Images are squashed to size x size pixels (antialiased, bilinear), boxes with them, and masks too (each pixel takes
    the value of the nearest one). JPEGs are decoded at a half, a quarter or an eighth if both sides keep at least twice
    `size`.

    Attributes:
        names: N ids, sorted; image i is names[i].
        report: one sentence for each file that was repaired or left out; one for many with the same repair.
        fingerprint: SHA-256 of the lists, the contents of the listed files, split, size, classes and the version of
            this loader.
    """

    box_rules = ("edges", "wsol")
    beyond = 1  # how far x1 and y1 of its boxes lie beyond the numbers that wsolevaluation's code scales
    smaller = True  # whether JPEGs may be decoded at a part of their size
    drawn_on = "upright"  # the image that boxes were drawn on, if nothing else says it: "upright" or as it is "stored"

    def __init__(self, folder: str | Path, split: str, size: int, root: Path | None) -> None:
        """root: the folder that no link may leave; None if the images may lie elsewhere, linked to."""
        check_counts(size, None)
        self.name, self.split, self.size = f"{self.kind}:{folder}", split, size
        self.root = root and root.resolve()
        self.report: list[str] = []
        self.drawn_on = os.environ.get(BOXES, "") or self.drawn_on
        if self.drawn_on not in DRAWN_ON:
            raise ValueError(f'{BOXES} is "{self.drawn_on}": write {" or ".join(DRAWN_ON)}, or leave it out')
        self.box_rule = asked_box_rule(type(self))

    @property
    def summary(self) -> str:
        other = "" if self._by_own_rule else ", boxes scaled as in wsolevaluation"
        counts = super().summary
        return counts.removesuffix(": see report") + other + (": see report" if self.report else "")

    @property
    def _by_own_rule(self) -> bool:
        return self.box_rule == self.box_rules[0]

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        """What the contents of one.truth, or the lists, say about an image's object. Raises Unusable."""
        raise NotImplementedError

    def masks(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Grey values (h, w) of a mask file -> object pixels (h, w) bool, and those that count neither way or None."""
        raise NotImplementedError

    # ---- the first look

    def look_through(self, listed: list[Listed], classes: list[str], length: int | None, seed: int) -> None:
        """Decodes what was listed, once, and sets everything that a data set has.

        Args:
            listed: the images of the split.
            classes: the names of the classes, in the order of the labels.
            length: at most so many of the listed images, chosen by `seed` (None: all).
            seed: of that choice.

        Raises:
            ValueError: if none of them can be used.
        """
        check_counts(self.size, length)
        self.classes = classes
        listed = sorted(listed, key=lambda one: one.name)
        if length is not None:
            chosen = np.random.default_rng(seed).permutation([one.name for one in listed])[:length]
            chosen = set(chosen.tolist())
            if len(chosen) < len(listed):
                self.chosen = f"the {len(chosen):,} of {len(listed):,} images that seed {seed} chose"
            listed = [one for one in listed if one.name in chosen]
        digest = hashlib.sha256(repr((_VERSION, type(self).__name__, self.split, self.size, classes)).encode())
        repairs: dict[str, list[str]] = {}
        used, boxes = [], []
        for one, seen in zip(listed, self._looked_at(listed), strict=True):
            digest.update(seen.digest.encode())
            for file, sentence in seen.notes:
                repairs.setdefault(sentence, []).append(file)
            self.left_out += bool(seen.refused)
            self.repaired += bool(seen.notes) and not seen.refused
            if seen.refused:
                where = short_path(Path(one.picture)) if one.picture else one.name
                repairs.setdefault(f"left out: {seen.refused}", []).append(where)
            else:
                used.append((one.name, one.picture, one.truth, seen.turn, seen.label))
                boxes.append(np.array(seen.boxes, np.float64).reshape(-1, 4))
        for sentence, mended in repairs.items():
            if len(mended) > _REPORTED_SINGLY:
                self.report.append(f"{len(mended)} files, the first of them {mended[0]}: {sentence}")
            else:
                self.report += [f"{file}: {sentence}" for file in mended]
        if not used:
            reason = next((line for line in self.report if "left out: " in line), "the list is empty")
            raise ValueError(
                f"{self.name}: no image of the {self.split} list can be used, the first for this reason: {reason}; "
                "correct the files or the list"
            )
        self.names, self._pictures, self._truths, self._turns, labels = map(list, zip(*used, strict=True))
        self.labels = np.array(labels, np.int64)
        self._boxes, self._starts = np.concatenate(boxes), np.cumsum([0, *map(len, boxes)])
        self.fingerprint = digest.hexdigest()
        bare = [f'"{classes[label]}"' for label in sorted(set(range(len(classes))) - set(labels))]
        if len(bare) > _REPORTED_SINGLY:
            self.report.append(f"no usable image of {len(bare)} classes in the {self.split} list, such as {bare[0]}")
        else:
            self.report += [f"no usable image of class {name} in the {self.split} list" for name in bare]

    def report_unread(self, files: list[str]) -> None:
        """Reports and counts the files whose endings nobody reads (`unread_endings`)."""
        for count, sentence in unread_endings(files):
            self.left_out += count
            self.report.append(sentence)

    def compare_with_other_split(self, files: Iterable[str]) -> None:
        """Reports images of this split whose bytes are also those of an image of the other split.

        Args:
            files: the images of the other split. Only files of equal size are read, and of more than 100,000 images
                in either split none.
        """
        others = list(islice(files, _COMPARED + 1)) if len(self) <= _COMPARED else []
        if len(others) > _COMPARED:
            return
        other = "test" if self.split == "train" else "train"
        copies = _copies(self._pictures, others)
        sentence = f"also in the {other} split, byte by byte, so that what is learned here is already known there"
        if len(copies) > _REPORTED_SINGLY:
            first, twin = copies[0]
            self.report.append(f"{len(copies)} images, the first of them {first} ({twin}): {sentence}")
        else:
            self.report += [f"{one}: {sentence} ({twin})" for one, twin in copies]

    def _looked_at(self, listed: list[Listed]) -> Iterator[Inspection]:
        describe = f"looking through {self.name} {self.split}"
        with tqdm(total=len(listed), desc=describe, unit="image", leave=False) as bar:
            for start in range(0, len(listed), _PART):
                part = listed[start : start + _PART]
                file = self._remembered_in(part) if len(part) >= _WORTH_REMEMBERING else None
                found = _remembered(file, len(part)) if file else []
                bar.update(len(found))
                if not found:
                    with quiet_decoders(), ThreadPoolExecutor(cores()) as pool:
                        for seen in pool.map(self._look, part):
                            found.append(seen)
                            bar.update()
                    if file:
                        with suppress(OSError), files.atomic_write(file) as temporary:  # a cache that is read-only
                            temporary.write_text(json.dumps([asdict(seen) for seen in found]), encoding="utf-8")
                yield from found

    def _remembered_in(self, part: list[Listed]) -> Path:
        key = hashlib.sha256(repr((_VERSION, _SENTENCES, type(self).__name__, str(self.root), self.classes)).encode())
        key.update(self.drawn_on.encode())
        if not self._by_own_rule:
            key.update(self.box_rule.encode())
        for one in part:
            states = map(
                _state, (one.picture, *(one.truth or "").split("\0"))
            )  # a NUL parts the files of several masks
            key.update(repr((one, *states)).encode())
        return files.CACHE / "datasets" / "looked-through" / f"{key.hexdigest()[:24]}.json"

    def _look(self, one: Listed) -> Inspection:
        sha, seen = hashlib.sha256(repr((one.name, one.label, one.box)).encode()), Inspection()
        try:
            picture = None if one.picture is None else self._read(one.picture)
            data = None if one.truth is None else self._read(one.truth)
            for content in (picture, data):
                sha.update(hashlib.sha256(content or b"").digest())
            if one.problem:
                raise Unusable(one.problem)
            truth = self.truth(one, data)
            image, orientation, notes = decode_image(picture)
            box_notes, told = self.fit(one, truth, seen, stored_size(image), orientation)
            if not told and self.drawn_on == "upright":
                sha.update(b"boxes drawn on the upright image")
            if len(truth.boxes) and not self._by_own_rule:
                sha.update(b"boxes scaled as wsolevaluation scales them")
            seen.label = truth.label
            seen.notes = [[short_path(Path(one.picture)), note] for note in notes]
            where = short_path(Path((one.truth or one.picture).split("\0")[0]))
            seen.notes += [[where, note] for note in (*truth.notes, *box_notes)]
        except Unusable as error:
            seen.refused = str(error)
        seen.digest = sha.hexdigest()
        return seen

    def fit(
        self, one: Listed, truth: Truth, seen: Inspection, stored: tuple[int, int], orientation: int
    ) -> tuple[list[str], bool]:
        """Sets seen.boxes by the data set's rule, and seen.turn of masks, for the upright image.

        Args:
            one: the listed image.
            truth: what its files say.
            seen: where it is written.
            stored: width and height of the image in its file.
            orientation: its EXIF orientation, 1 to 8.

        Returns:
            One sentence for each repair, and whether it is known which image the boxes were drawn on.

        Raises:
            Unusable: if boxes or mask fit no orientation of the image.
        """
        whole = stored[::-1] if orientation >= 5 else stored
        boxes, notes, told = truth.boxes, [], True
        if len(boxes):
            how = {"tagged": one.box is None, "beyond": self.beyond if self.box_rule == "wsol" else None}
            boxes, notes, told = fit_boxes(boxes, truth.tag, stored, orientation, self.drawn_on, **how)
        if truth.mask:
            seen.turn = _turn(truth.mask, stored, orientation, self.drawn_on)
        on_grid = self.box_rule == "wsol"
        seen.boxes = (boxes / GRID if on_grid else boxes / np.array([*whole] * 2)).tolist()
        return notes, told

    def grey(self, truth: str) -> Image.Image:
        """The grey values of an image's file of masks, not yet turned. Raises Unusable."""
        return decode_mask(self._read(truth))

    def _read(self, file: str) -> bytes:
        return read_inside(Path(file), self.root)

    # ---- batches

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices, device: str | torch.device = "cpu") -> Batch:
        """The images at `indices`, decoded in threads.

        Args:
            indices: (B,) positions in the data set, at least one.
            device: where images and labels of the batch shall be; the rest of it is on the CPU.

        Raises:
            IndexError: for no index, or one outside 0 .. len - 1.
            RuntimeError: if a file is no longer what it was when the data set was loaded.
        """
        asked = self._checked(indices)
        indices = torch.tensor(asked, dtype=torch.int64)
        with ThreadPoolExecutor(cores()) as pool:
            pixels, masks, ignored = zip(*pool.map(self._decode, asked), strict=True)
        images = onto(torch.from_numpy(np.stack(pixels)), device).permute(0, 3, 1, 2).contiguous().float().div_(255)
        labels = torch.from_numpy(self.labels)[indices].to(device)
        boxes = [self.boxes(i, self.size, self.size).astype(np.float32) for i in asked]
        return Batch(images, labels, boxes, _stacked(masks), indices, _stacked(ignored))

    def sharp(self, indices, side: int = 256) -> Tensor:
        """The images at `indices` for a figure: read anew, squashed to side x side pixels (see `DataSet`)."""
        pictures = [self.picture(i).resize((side, side), Image.Resampling.LANCZOS) for i in self._checked(indices)]
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().float().div_(255)

    def _checked(self, indices) -> list[int]:
        indices = torch.as_tensor(indices, dtype=torch.int64).cpu().reshape(-1)
        if not len(indices) or indices.min() < 0 or indices.max() >= len(self):
            raise IndexError(f"{self.name} {self.split} has images 0 to {len(self) - 1}, not {indices.tolist()[:3]}.")
        return indices.tolist()

    def picture(self, i: int) -> Image.Image:
        """Image i as a whole, upright, in RGB, at the size in which it is stored. Raises Unusable."""
        image, orientation, _ = decode_image(self._read(self._pictures[i]))
        return upright(image, orientation)

    def boxes(self, i: int, width: float, height: float) -> np.ndarray:
        """(n, 4) float64, the boxes of image i in pixels of a copy of it that is width x height."""
        shares = self._boxes[self._starts[i] : self._starts[i + 1]]
        if self.box_rule == "wsol":
            return from_grid(shares, width, height)
        return shares * np.array([width, height, width, height])

    def _decode(self, i: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Pixels (size, size, 3) uint8; object and ignored pixels (size, size) bool, or None."""
        try:
            at_least = 2 * self.size if self.smaller else None
            image, orientation, _ = decode_image(self._read(self._pictures[i]), at_least)
            image = upright(image, orientation).resize((self.size, self.size), Image.Resampling.BILINEAR)
            if not self.has_masks:
                return np.asarray(image), None, None
            grey = upright(self.grey(self._truths[i]), self._turns[i])
        except Unusable as error:
            raise RuntimeError(
                f"{self._pictures[i]} could be used when {self.name} was loaded and now cannot ({error}): start again, "
                "so that the set is looked through anew"
            ) from error
        mask, ignored = self.masks(np.asarray(grey.resize((self.size, self.size), Image.Resampling.NEAREST)))
        if not mask.any():  # too small for the grid: the pixel that contains its middle
            rows, columns = np.nonzero(self.masks(np.asarray(grey))[0])
            y, x = rows[len(rows) // 2], columns[len(columns) // 2]
            mask[y * self.size // grey.height, x * self.size // grey.width] = True
        return np.asarray(image), mask, ignored


# ---- masks


def _turn(mask: tuple[int, int], stored: tuple[int, int], orientation: int, drawn_on: str) -> int:
    """The orientation by which a mask is turned upright: the image's, unless it was drawn on the upright image."""
    whole = stored[::-1] if orientation >= 5 else stored
    if mask == whole and (mask != stored or drawn_on == "upright"):
        return 1
    if mask == stored:
        return orientation
    raise Unusable(f"the mask has {mask[0]} x {mask[1]} pixels, the image {stored[0]} x {stored[1]}")


def _stacked(masks: Sequence[np.ndarray | None]) -> Tensor | None:
    return None if masks[0] is None else torch.from_numpy(np.stack(masks))


# ---- what is remembered of the first look


def _remembered(file: Path, length: int) -> list[Inspection]:
    """What was found in a part of so many images, in the user's cache or a class's; nothing if no file is whole."""
    for kept in files.cached(*file.relative_to(files.CACHE).parts):
        try:
            found = [Inspection(**fields) for fields in json.loads(kept.read_text(encoding="utf-8"))]
        except (ValueError, TypeError):
            found = []
        if len(found) == length:
            return found
        warnings.warn(f"{kept} is damaged: its images are looked through again.", stacklevel=2)
    return []


def _state(file: str | None) -> tuple[int, int] | None:
    """What changes when a file does: its size and time of change."""
    try:
        found = os.stat(file)
    except (OSError, TypeError):
        return None
    return found.st_size, found.st_mtime_ns


# ---- copies


def _copies(files: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """(file, other file) with the same bytes, by their short names.

    Only files of equal size are opened, and only those with equal bytes in their middle are read in full.
    """
    by_size: dict[int, list[str]] = {}
    for file in others:
        if state := _state(file):
            by_size.setdefault(state[0], []).append(file)
    samples: dict[str, bytes] = {}
    digests: dict[str, bytes] = {}

    def sample(file: str) -> bytes:
        if file not in samples:
            with open(file, "rb") as opened:
                opened.seek(os.fstat(opened.fileno()).st_size // 2)
                samples[file] = opened.read(4096)
        return samples[file]

    def digest(file: str) -> bytes:
        if file not in digests:
            digests[file] = hashlib.sha256(Path(file).read_bytes()).digest()
        return digests[file]

    def same(file: str, other: str) -> bool:
        try:
            return file != other and sample(file) == sample(other) and digest(file) == digest(other)
        except OSError:
            return False

    found = []
    for file in files:
        twins = by_size.get(state[0], ()) if (state := _state(file)) else ()
        if twin := next((each for each in twins if same(file, each)), None):
            found.append((short_path(Path(file)), short_path(Path(twin))))
    return found
