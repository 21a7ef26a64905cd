"""Sets of photographs, decoded batch by batch: what all of them share, and the published ones.

A file that cannot be used must not be met in the middle of a training, and no number may silently come from another
picture. So the first time a set is loaded every listed picture is decoded once, in threads: what is wrong with it is
repaired where that is safe, or the picture is left out, and `report` says so. What was found is remembered in the
cache until a file's size or time of change differs. A file that changes after that stops the run with a sentence:
the data would no longer be those that the fingerprint names.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from cambook import paths
from cambook.batch import Batch, onto
from cambook.decoding import (
    SUFFIXES,
    Unusable,
    near,
    open_picture,
    place,
    quiet_decoders,
    read_annotation,
    read_inside,
    short,
    upright,
)

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_VERSION = 2  # raised whenever the same files would give other pictures, boxes, masks or labels
_PART = 10_000  # so many pictures are looked through and remembered at a time; a killed first load goes on there
_WORTH_REMEMBERING = 500
_REPORTED_SINGLY = 20


class Listed(NamedTuple):
    """A picture as its data set lists it; paths as text, since a set may list a million.

    label:   index of its class; None where only its annotation says
    picture: its file, None where there is none
    truth:   the file that says where the object is: annotation, segmentation or trimap; None where there is none
    box:     x, y, width and height where a list gives them
    problem: why the picture cannot be used, where the lists themselves say so
    """

    name: str
    label: int | None
    picture: str | None
    truth: str | None = None
    box: tuple[float, ...] | None = None
    problem: str | None = None


class Truth(NamedTuple):
    """What a picture's files say of its object.

    boxes: (n, 4) half-open, in pixels of the picture they were drawn on, whose width and height is tag (None: unknown)
    mask:  width and height of its file of masks, None where it has none
    """

    label: int
    boxes: np.ndarray
    tag: tuple[float, float] | None
    mask: tuple[int, int] | None = None
    notes: Sequence[str] = ()


@dataclass
class Seen:
    """What came of looking at one listed picture; this is what the cache remembers.

    boxes:   (n, 4) as shares of the upright picture's width and height
    turn:    the EXIF orientation by which its mask is turned upright
    notes:   (file, sentence) for each repair
    refused: why the picture is left out, empty where it is used
    digest:  sha256 of what was listed and of the files' contents
    """

    label: int = -1
    boxes: list[list[float]] = field(default_factory=list)
    turn: int = 1
    notes: list[list[str]] = field(default_factory=list)
    refused: str = ""
    digest: str = ""


class Photographs:
    """A set of labelled photographs on disk.

    A data set says in its own __init__ which pictures its split lists, and hands them to `look_through`; `truth` reads
    what one picture's files say of its object, `masks` which of its pixels are object.

    name, split, size, classes: as asked for; pictures are squashed to size x size pixels (antialiased bilinear), boxes
                                with them, masks too (each pixel that of the nearest one)
    labels:      (N,) int64
    names:       N ids, sorted; picture i is names[i]
    report:      one sentence for each file that was repaired or left out, one for many with the same repair
    fingerprint: sha256 over the lists, the contents of the listed files, split, size, classes and the loader's version

    JPEGs are decoded at a half, a quarter or an eighth where both sides keep at least twice `size`, unless a data set
    sets `smaller` to False.
    """

    smaller = True

    def __init__(self, name: str, split: str, size: int, root: Path | None, has_masks: bool = False) -> None:
        """root: the folder that no link may leave; None where the pictures may lie elsewhere, linked to"""
        check_counts(size, None)
        self.name, self.split, self.size, self.has_masks = name, split, size, has_masks
        self.root = root and root.resolve()
        self.report: list[str] = []

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        """What the contents of one.truth, or the lists, say of a picture's object. raises: Unusable"""
        raise NotImplementedError

    def masks(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Grey values (h, w) of a file of masks -> object pixels, bool, and those that count neither way (or None)."""
        raise NotImplementedError

    # ---- the first look

    def look_through(self, listed: list[Listed], classes: list[str], length: int | None, seed: int) -> None:
        """Decodes what was listed, once, and sets everything that a data set has.

        length: at most so many of the listed pictures, drawn by `seed` (None: all)
        raises: ValueError where none can be used
        """
        check_counts(self.size, length)
        self.classes = classes
        listed = sorted(listed, key=lambda one: one.name)
        if length is not None:
            chosen = np.random.default_rng(seed).permutation([one.name for one in listed])[:length]
            chosen = set(chosen.tolist())
            listed = [one for one in listed if one.name in chosen]
        digest = hashlib.sha256(repr((_VERSION, type(self).__name__, self.split, self.size, classes)).encode())
        repairs: dict[str, list[str]] = {}
        used, boxes = [], []
        for one, seen in zip(listed, self._looked_at(listed), strict=True):
            digest.update(seen.digest.encode())
            for file, sentence in seen.notes:
                repairs.setdefault(sentence, []).append(file)
            if seen.refused:
                where = short(Path(one.picture)) if one.picture else one.name
                repairs.setdefault(f"left out: {seen.refused}", []).append(where)
            else:
                used.append((one.name, one.picture, one.truth, seen.turn, seen.label))
                boxes.append(np.array(seen.boxes, np.float64).reshape(-1, 4))
        for sentence, files in repairs.items():
            if len(files) > _REPORTED_SINGLY:
                self.report.append(f"{len(files)} files, the first of them {files[0]}: {sentence}")
            else:
                self.report += [f"{file}: {sentence}" for file in files]
        if not used:
            reason = next((line for line in self.report if "left out: " in line), "the list is empty")
            raise ValueError(
                f"{self.name}: no picture of the {self.split} list can be used, the first for this reason: {reason}; "
                "mend the files or the list"
            )
        self.names, self._pictures, self._truths, self._turns, labels = map(list, zip(*used, strict=True))
        self.labels = np.array(labels, np.int64)
        self._boxes, self._starts = np.concatenate(boxes), np.cumsum([0, *map(len, boxes)])
        self.fingerprint = digest.hexdigest()
        for label in sorted(set(range(len(classes))) - set(labels)):
            self.report.append(f'no usable picture of class "{classes[label]}" in the {self.split} list')

    def _looked_at(self, listed: list[Listed]) -> Iterator[Seen]:
        describe = f"looking through {self.name} {self.split}"
        with tqdm(total=len(listed), desc=describe, unit="picture", leave=False) as bar:
            for start in range(0, len(listed), _PART):
                part, found = listed[start : start + _PART], []
                file = self._remembered_in(part) if len(part) >= _WORTH_REMEMBERING else None
                if file and file.is_file():
                    found = _remembered(file)
                    bar.update(len(found))
                if len(found) != len(part):
                    found = []
                    with quiet_decoders(), ThreadPoolExecutor(THREADS) as pool:
                        for seen in pool.map(self._look, part):
                            found.append(seen)
                            bar.update()
                    if file:
                        with paths.atomic_write(file) as temporary:
                            temporary.write_text(json.dumps([asdict(seen) for seen in found]))
                yield from found

    def _remembered_in(self, part: list[Listed]) -> Path:
        key = hashlib.sha256(repr((_VERSION, type(self).__name__, str(self.root), self.classes)).encode())
        for one in part:
            key.update(repr((one, _state(one.picture), _state(one.truth))).encode())
        return paths.CACHE / "datasets" / "looked-through" / f"{key.hexdigest()[:24]}.json"

    def _look(self, one: Listed) -> Seen:
        sha, seen = hashlib.sha256(repr((one.name, one.label, one.box)).encode()), Seen()
        try:
            picture = None if one.picture is None else self._read(one.picture)
            data = None if one.truth is None else self._read(one.truth)
            for content in (picture, data):
                sha.update(hashlib.sha256(content or b"").digest())
            if one.problem:
                raise Unusable(one.problem)
            truth = self.truth(one, data)
            image, orientation, notes = open_picture(picture)
            boxes, box_notes = truth.boxes, []
            if len(boxes):
                tag = image.size if one.box and truth.tag is None else truth.tag  # a list counts pixels as stored
                boxes, box_notes = place(boxes, tag, image.size, orientation)
            if truth.mask:
                seen.turn = _turn(truth.mask, image.size, orientation)
            seen.label = truth.label
            seen.boxes = (boxes / np.array([*upright(image, orientation).size] * 2)).tolist()
            seen.notes = [[short(Path(one.picture)), note] for note in notes]
            seen.notes += [[short(Path(one.truth or one.picture)), note] for note in (*truth.notes, *box_notes)]
        except Unusable as error:
            seen.refused = str(error)
        seen.digest = sha.hexdigest()
        return seen

    def _read(self, file: str) -> bytes:
        return read_inside(Path(file), self.root)

    # ---- batches

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices, device: str | torch.device = "cpu") -> Batch:
        """The pictures at those places, decoded in threads; images and labels lie on `device`, the rest on the CPU.

        raises: IndexError for no place or one outside 0 .. len-1; RuntimeError where a file is no longer what it was
                when the set was loaded
        """
        indices = torch.as_tensor(indices, dtype=torch.int64).cpu().reshape(-1)
        if not len(indices) or indices.min() < 0 or indices.max() >= len(self):
            raise IndexError(f"{self.name} {self.split} has pictures 0 to {len(self) - 1}, not {indices.tolist()[:3]}.")
        places = indices.tolist()
        with ThreadPoolExecutor(THREADS) as pool:
            pixels, masks, ignored = zip(*pool.map(self._decode, places), strict=True)
        images = onto(torch.from_numpy(np.stack(pixels)), device).permute(0, 3, 1, 2).contiguous().float().div_(255)
        labels = torch.from_numpy(self.labels)[indices].to(device)
        boxes = [self.boxes(i, self.size, self.size).astype(np.float32) for i in places]
        return Batch(images, labels, boxes, _stacked(masks), indices, _stacked(ignored))

    def picture(self, i: int) -> Image.Image:
        """Picture i as a whole, upright, in RGB, at the size in which it is stored. raises: Unusable"""
        image, orientation, _ = open_picture(self._read(self._pictures[i]))
        return upright(image, orientation)

    def boxes(self, i: int, width: float, height: float) -> np.ndarray:
        """(n, 4) float64, the boxes of picture i in pixels of a copy of it that is width x height."""
        return self._boxes[self._starts[i] : self._starts[i + 1]] * np.array([width, height, width, height])

    def _decode(self, i: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Pixels (size, size, 3) uint8; object and ignored pixels (size, size) bool, or None."""
        try:
            at_least = 2 * self.size if self.smaller else None
            image, orientation, _ = open_picture(self._read(self._pictures[i]), at_least)
            image = upright(image, orientation).resize((self.size, self.size), Image.Resampling.BILINEAR)
            if not self.has_masks:
                return np.asarray(image), None, None
            grey = upright(grey_picture(self._read(self._truths[i])), self._turns[i])
        except Unusable as error:
            raise RuntimeError(
                f"{self._pictures[i]} could be used when {self.name} was loaded and now cannot ({error}): start again, "
                "so that the set is looked through anew"
            ) from error
        mask, ignored = self.masks(np.asarray(grey.resize((self.size, self.size), Image.Resampling.NEAREST)))
        if not mask.any():  # too small for the grid: the pixel that holds its middle
            rows, columns = np.nonzero(self.masks(np.asarray(grey))[0])
            y, x = rows[len(rows) // 2], columns[len(columns) // 2]
            mask[y * self.size // grey.height, x * self.size // grey.width] = True
        return np.asarray(image), mask, ignored


class ClassFolders(Photographs):
    """Labelled pictures without boxes, one folder a class, as torchvision's ImageFolder reads them.

    folder: train/CLASS/ and test/CLASS/ (or val/CLASS/ in its place); or CLASS/ alone, where no split is published.
            Then of each class a quarter, at least one picture, is "test": those whose names have the smallest sha256
    split:  "train" or "test"

    classes are the sorted names of the folders; pictures may lie in folders inside them. Boxes are (0, 4).
    raises: FileNotFoundError where there is no folder or no test split beside train; ValueError for fewer than two
            classes, a class that one split alone has, or as `look_through`
    """

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        root = _existing(folder)
        super().__init__(f"folder:{folder}", split, size, root)
        parts = {part: root / part for part in ("train", "test", "val") if (root / part).is_dir()}
        if parts and not ("train" in parts and len(parts) > 1):
            raise FileNotFoundError(f"{root} has {' and '.join(parts)} alone: it must hold train and test, or classes")
        places = {"train": parts.get("train", root), "test": parts.get("test", parts.get("val", root))}
        there = {
            part: sorted(p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
            for part, place in places.items()
        }
        if lone := sorted(set(there["train"]) ^ set(there["test"])):
            raise ValueError(f"{root}: class {lone[0]} is in one of train and test alone; put a folder into the other")
        classes = there[split]
        if len(classes) < 2:
            raise ValueError(
                f"{places[split]} holds {len(classes)} folders, and each of at least two classes needs one"
            )
        listed = []
        for label, name in enumerate(classes):
            files = sorted(f for f in (places[split] / name).rglob("*") if f.suffix.lower() in SUFFIXES)
            if not parts:
                by_digest = sorted(files, key=lambda f: hashlib.sha256(f.name.encode()).digest())
                cut = max(1, len(files) // 4)
                files = by_digest[:cut] if split == "test" else by_digest[cut:]
            listed += [Listed(str(f.relative_to(root)), label, str(f)) for f in files]
        self.look_through(listed, classes, length, seed)

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        return Truth(one.label, np.zeros((0, 4)), None)


class ILSVRC(Photographs):
    """ImageNet's thousand classes with boxes: the classification and localization data of ILSVRC 2012 to 2017.

    folder: as the archives unpack: train/SYNSET/*.JPEG, val/*.JPEG or val/SYNSET/*.JPEG, and Annotations/CLS-LOC/train
            and val (or Annotations/train and val); or the kit with ILSVRC/Data/CLS-LOC and ILSVRC/Annotations/CLS-LOC
    split:  "train", or "test", which is the validation set, the only one with published boxes

    classes are the sorted synsets, as torchvision counts them, called by their first name in LOC_synset_mapping.txt or
    the devkit's meta file where one is there. A validation picture that lies in no synset's folder has the class that
    its XML file names. Boxes are those of the picture's class; the files count pixels from 0 and include the last one
    (of a picture 500 wide the largest xmax is 499), so x0 = xmin and x1 = xmax + 1. A training picture needs no box:
    where none is annotated its boxes are (0, 4). Validation pictures on the devkit's blacklist (1762 of 50,000, boxes
    of bad quality) are left out of every metric, as its evaluation leaves them out; `report` says how many, or that no
    blacklist was found.
    raises: FileNotFoundError for what is missing; ValueError as `look_through`
    Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge.
    """

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        super().__init__(f"ilsvrc:{folder}", split, size, None)
        top = _existing(folder)
        part = "train" if split == "train" else "val"
        data = next((d for d in (top, top / "Data/CLS-LOC", top / "ILSVRC/Data/CLS-LOC") if (d / part).is_dir()), None)
        if data is None:
            raise FileNotFoundError(
                f"{top} has no folder {part}: it must hold train/ with one folder a synset and val/ with the "
                "validation pictures, or ILSVRC/Data/CLS-LOC with those two"
            )
        names = _mapping(top) or self._named_by_the_devkit(top)
        self.synsets = _synsets(data / "train") or sorted(_mapping(top)) or _synsets(data / "val")
        if len(self.synsets) < 2:
            raise FileNotFoundError(
                f"{data}/train has no two folders named by synsets, such as n01440764, and {top} no "
                "LOC_synset_mapping.txt: one of them must say what the classes are"
            )
        self._index = {synset: label for label, synset in enumerate(self.synsets)}
        kinds = ("Annotations/CLS-LOC", "Annotations", "ILSVRC/Annotations/CLS-LOC")
        annotations = next((top / kind / part for kind in kinds if (top / kind / part).is_dir()), None)
        if annotations is None and split != "train":
            raise FileNotFoundError(
                f"{top} has no folder Annotations/CLS-LOC/val: unpack the validation boxes there "
                "(ILSVRC2012_bbox_val_v3.tgz), one XML file a picture"
            )
        listed = self._list(data / part, annotations)
        if split != "train":
            listed = self._without_blacklisted(listed, top)
        elif bare := sum(one.truth is None for one in listed):
            self.report.append(f"{bare} of {len(listed)} training pictures have no annotated box, which none needs")
        self.look_through(listed, _unique(self.synsets, names), length, seed)

    def _list(self, pictures: Path, annotations: Path | None) -> list[Listed]:
        boxes = {stem: file for _, stem, file in self._in_synsets(annotations, (".xml",))} if annotations else {}
        listed: dict[str, Listed] = {}
        for synset, stem, file in self._in_synsets(pictures, SUFFIXES):
            if synset is None and self.split == "train":
                continue
            if stem in listed:
                self.report.append(
                    f"{short(Path(listed[stem].picture))}: not used, {short(Path(file))} is of that name"
                )
            missing = self.split != "train" and stem not in boxes
            problem = f"Annotations/{stem}.xml is missing" if missing else None
            listed[stem] = Listed(stem, self._index.get(synset), file, boxes.get(stem), None, problem)
        return list(listed.values())

    def _in_synsets(self, folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str | None, str, str]]:
        """(synset, stem, path) of the files that lie in a folder itself (None) and in its synsets' folders."""
        for synset in (None, *self.synsets):
            inner = folder / (synset or "")
            if inner.is_dir():
                for stem, file in files_by_stem(inner, suffixes).items():
                    yield synset, stem, file

    def _without_blacklisted(self, listed: list[Listed], top: Path) -> list[Listed]:
        found = [f for folder in _devkits(top) for f in sorted(folder.glob("ILSVRC*validation_blacklist.txt"))]
        file = next((f for f in found if "_det_" not in f.name), None)
        if file is None:
            self.report.append(
                "no blacklist found (ILSVRC*_clsloc_validation_blacklist.txt of the devkit): every validation picture "
                "counts, with boxes of bad quality too"
            )
            return listed
        words = file.read_text(encoding="utf-8", errors="replace").split()
        if not all(word.isdecimal() for word in words):
            raise ValueError(
                f"{file} is no blacklist: put the devkit's there, one number of a validation picture a line"
            )
        numbers = {f"ILSVRC2012_val_{int(word):08d}" for word in words}
        kept = [one for one in listed if one.name not in numbers]
        self.report.append(f"{len(listed) - len(kept)} pictures on the blacklist are left out of every metric")
        return kept

    def _named_by_the_devkit(self, top: Path) -> dict[str, str]:
        files = [folder / name for folder in _devkits(top) for name in ("meta_clsloc.mat", "meta.mat")]
        file = next((f for f in files if f.is_file()), None)
        if file is None:
            return {}
        from scipy.io import loadmat  # slow to import, and no other set needs it

        try:
            table = loadmat(file, squeeze_me=True)["synsets"]
            words = table["words" if "words" in table.dtype.names else "name"]
            return {str(synset): str(word) for synset, word in zip(table["WNID"], words, strict=True)}
        except Exception as error:  # a damaged MATLAB file fails in many ways
            self.report.append(f"{short(file)} cannot be read ({error}): classes are called by their synsets")
            return {}

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        nowhere = np.zeros((0, 4))
        if data is None:
            return Truth(one.label, nowhere, None)
        try:
            found = read_annotation(data, first=0)
            synset = found.label if one.label is None else self.synsets[one.label]
            if synset not in self._index:
                raise Unusable(f"its synset {synset} is none of the classes")
            if synset not in found.boxes:
                raise Unusable(f"the annotation has boxes of {', '.join(found.boxes)}, none of {synset}")
        except Unusable as error:
            if self.split != "train":
                raise
            return Truth(one.label, nowhere, None, None, [f"used without boxes: {error}"])
        return Truth(self._index[synset], found.boxes[synset], found.tag, None, found.notes)


class CUB(Photographs):
    """Caltech-UCSD Birds-200-2011: 200 species, a box a picture, masks where the folder of segmentations is there.

    folder: CUB_200_2011 (images.txt, image_class_labels.txt, train_test_split.txt, bounding_boxes.txt, classes.txt,
            images/), or the folder that holds it; segmentations/ in either of them
    split:  "train" or "test" of train_test_split.txt

    Boxes are x, y, width, height in pixels counted from 0 (the box of a whole picture of 500 x 375 is 0 0 500 375), so
    x1 = x + width. Object is where a segmentation's grey value, taken as the share of annotators, is above half of 255.
    Caltech warns that pictures of this set are also in ImageNet, so a pretrained network may have seen test pictures.
    raises: FileNotFoundError for what is missing; ValueError where a list is damaged, or as `look_through`
    Wah et al. 2011, The Caltech-UCSD Birds-200-2011 dataset.
    """

    LISTS = ("images", "image_class_labels", "train_test_split", "bounding_boxes", "classes")

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        top = _existing(folder)
        root = top / "CUB_200_2011" if (top / "CUB_200_2011").is_dir() else top
        for part in ("images", *(f"{name}.txt" for name in self.LISTS)):
            if not (root / part).exists():
                raise FileNotFoundError(f"{root} has no {part}: give the folder CUB_200_2011 as the archive unpacks it")
        places = (root / "segmentations", top / "segmentations", top.parent / "segmentations")
        segmentations = next((folder for folder in places if folder.is_dir()), None)
        outermost = root if segmentations is None else Path(os.path.commonpath([root, segmentations]))
        super().__init__(f"cub:{folder}", split, size, outermost, has_masks=segmentations is not None)
        files, label_of, part_of, box_of, species = (_by_id(root / f"{name}.txt") for name in self.LISTS)
        order = {identity: label for label, identity in enumerate(sorted(species, key=int))}
        listed = []
        for identity, file in files.items():
            if (part_of.get(identity, "1") == "1") != (split == "train"):
                continue
            stem = str(Path(file).with_suffix(""))
            box = _numbers(box_of.get(identity, ""))
            if Path(file).is_absolute() or ".." in Path(file).parts:
                problem = "images.txt names a place outside images/"
            elif identity not in label_of or identity not in part_of or identity not in box_of:
                tables = zip(self.LISTS[1:4], (label_of, part_of, box_of), strict=True)
                lacking = next(name for name, table in tables if identity not in table)
                problem = f"{lacking}.txt has no line for picture {identity}"
            elif label_of[identity] not in order:
                problem = f"its class {label_of[identity]} is not in classes.txt"
            elif len(box) != 4 or min(box[2:]) <= 0:
                problem = f"bounding_boxes.txt gives no box: {box_of[identity]}"
            else:
                picture, mask = root / "images" / file, segmentations and str(segmentations / f"{stem}.png")
                listed.append(Listed(stem, order[label_of[identity]], str(picture), mask, box))
                continue
            listed.append(Listed(stem, None, None, problem=problem))
        self.look_through(listed, [species[i].split(".", 1)[-1].replace("_", " ") for i in order], length, seed)

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        x, y, width, height = one.box
        grey = None if data is None else grey_picture(data)
        if grey is not None and not self.masks(np.asarray(grey))[0].any():
            raise Unusable("the segmentation marks no object")
        return Truth(one.label, np.array([[x, y, x + width, y + height]]), grey and grey.size, grey and grey.size)

    def masks(self, grey: np.ndarray) -> tuple[np.ndarray, None]:
        return grey > 127, None


class Pets(Photographs):
    """Oxford-IIIT Pet: 37 breeds, masks from trimaps.

    folder: the one that holds images/ and annotations/ (trainval.txt, test.txt, trimaps/)
    split:  "train" reads annotations/trainval.txt, "test" annotations/test.txt; their class ids give the classes' order

    A trimap says 1 object, 2 background, 3 border that its annotators left unclassified. The box is the tight one
    around all that is not background; the mask is the object alone, and border pixels are ignored in pixel metrics.
    raises: FileNotFoundError for what is missing; ValueError where a list is damaged, or as `look_through`
    Parkhi et al. 2012, Cats and dogs.
    """

    OBJECT, BACKGROUND, BORDER = 1, 2, 3

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        top = _existing(folder)
        root = top / "oxford-iiit-pet" if (top / "oxford-iiit-pet").is_dir() else top
        for part in ("images", "annotations/trainval.txt", "annotations/test.txt", "annotations/trimaps"):
            if not (root / part).exists():
                raise FileNotFoundError(f"{root} has no {part}: unpack images.tar.gz and annotations.tar.gz there")
        super().__init__(f"pets:{folder}", split, size, root, has_masks=True)
        lists = {part: self._read_list(root / "annotations" / f"{part}.txt") for part in ("trainval", "test")}
        breeds: dict[int, str] = {}
        for name, number in {**lists["trainval"], **lists["test"]}.items():
            breed = " ".join(word.title() for word in name.rsplit("_", 1)[0].split("_"))
            if breeds.setdefault(number, breed) != breed:
                raise ValueError(f"{root}/annotations: class {number} is {breeds[number]} and {breed}; mend the lists")
        order = sorted(breeds)
        listed = []
        for name, number in lists["trainval" if split == "train" else "test"].items():
            picture, trimap = root / "images" / f"{name}.jpg", root / "annotations" / "trimaps" / f"{name}.png"
            listed.append(Listed(name, order.index(number), str(picture), str(trimap)))
        self.look_through(listed, [breeds[number] for number in order], length, seed)

    @staticmethod
    def _read_list(file: Path) -> dict[str, int]:
        found = {}
        for number, line in enumerate(_lines(file), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) < 2 or not words[1].isdecimal() or "/" in words[0] or "\\" in words[0]:
                raise ValueError(
                    f'{file}, line {number} is "{line[:60]}": it must be a picture\'s name and its class id'
                )
            found[words[0]] = int(words[1])
        return found

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        trimap = np.asarray(grey_picture(data))
        if strange := set(np.unique(trimap).tolist()) - {self.OBJECT, self.BACKGROUND, self.BORDER}:
            raise Unusable(f"the trimap holds {sorted(strange)[0]}, which is none of 1, 2 and 3")
        if not (trimap == self.OBJECT).any():
            raise Unusable("the trimap marks no object")
        rows, columns = np.nonzero(trimap != self.BACKGROUND)
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], float)
        return Truth(one.label, box, trimap.shape[::-1], trimap.shape[::-1])

    def masks(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return grey == self.OBJECT, grey == self.BORDER


class TinyImageNet(Photographs):
    """Tiny ImageNet: 200 of ImageNet's classes, 64 x 64 pixels, a box for each photograph.

    folder: tiny-imagenet-200 as the archive unpacks it (wnids.txt, words.txt, train/, val/), or the one that holds it
    split:  "train" reads train/SYNSET/SYNSET_boxes.txt, "test" val/val_annotations.txt

    classes are called by the first word of words.txt, in the order of the sorted synsets of wnids.txt. Boxes count
    pixels from 0 and include the last one (the whole photograph is 0 0 63 63), so x1 = xmax + 1.
    raises: FileNotFoundError for what is missing; ValueError where a list is damaged, or as `look_through`
    Stanford CS231n, Tiny ImageNet visual recognition challenge.
    """

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        top = _existing(folder)
        root = top / "tiny-imagenet-200" if (top / "tiny-imagenet-200").is_dir() else top
        for part in ("wnids.txt", "words.txt", "train", "val/val_annotations.txt"):
            if not (root / part).exists():
                raise FileNotFoundError(f"{root} has no {part}: give tiny-imagenet-200 as the archive unpacks it")
        super().__init__(f"tiny-imagenet:{folder}", split, size, root)
        synsets = sorted({line.strip() for line in _lines(root / "wnids.txt") if line.strip()})
        words = dict(line.strip().split("\t", 1) for line in _lines(root / "words.txt") if "\t" in line)
        tables = [root / "train" / synset / f"{synset}_boxes.txt" for synset in synsets]
        listed = []
        for table in tables if split == "train" else [root / "val" / "val_annotations.txt"]:
            for number, line in enumerate(_lines(table), 1):
                name, *words_of_it = line.split("\t")
                synset = table.parent.name if split == "train" else "".join(words_of_it[:1])
                box = _numbers(" ".join(words_of_it[split != "train" :]))
                if len(box) != 4 or synset not in synsets or "/" in name or "\\" in name:
                    raise ValueError(
                        f'{table}, line {number} is "{line[:60]}": it must be a file name, '
                        f"{'' if split == 'train' else 'a synset of wnids.txt, '}and xmin, ymin, xmax, ymax"
                    )
                x0, y0, x1, y1 = box
                picture = table.parent / "images" / name
                stem = f"{synset}/{Path(name).stem}"
                box = (x0, y0, x1 + 1 - x0, y1 + 1 - y0)
                listed.append(Listed(stem, synsets.index(synset), str(picture), None, box))
        self.look_through(listed, _unique(synsets, words), length, seed)

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        x, y, width, height = one.box
        if min(width, height) <= 0:
            raise Unusable(f"its box ends before it begins: {x:g} {y:g} {x + width - 1:g} {y + height - 1:g}")
        return Truth(one.label, np.array([[x, y, x + width, y + height]]), None)


def check_counts(size: int, length: int | None) -> None:
    """raises: ValueError where size or length is no whole number of at least 1"""
    for name, value in (("size", size), ("length", length)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 1):
            raise ValueError(f"{name} is {value!r}: give a whole number of at least 1")


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Stem -> path of a folder's files with one of those endings; of several with one stem that with the first."""
    found: dict[str, tuple[int, str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, ending = os.path.splitext(entry.name)
            if ending.lower() in suffixes and entry.is_file():
                rank = suffixes.index(ending.lower())
                if stem not in found or rank < found[stem][0]:
                    found[stem] = rank, entry.path
    return {stem: path for stem, (_, path) in sorted(found.items())}


def grey_picture(data: bytes) -> Image.Image:
    """A file of masks as grey values. raises: Unusable"""
    try:
        image = Image.open(BytesIO(data), formats=("PNG",))
        if math.prod(image.size) > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise Unusable("the mask has too many pixels")
        return image.convert("L")
    except Unusable:
        raise
    except Exception as error:  # decoders fail in every way there is
        raise Unusable(f"the mask is no readable PNG ({error})") from error


def _turn(mask: tuple[int, int], stored: tuple[int, int], orientation: int) -> int:
    """The orientation by which a mask is turned upright: the picture's, unless it was drawn on the upright picture."""
    if mask == stored:
        return orientation
    if orientation >= 5 and mask == stored[::-1]:
        return 1
    raise Unusable(f"the mask has {mask[0]} x {mask[1]} pixels, the picture {stored[0]} x {stored[1]}")


def _stacked(masks: Sequence[np.ndarray | None]) -> Tensor | None:
    return None if masks[0] is None else torch.from_numpy(np.stack(masks))


def _remembered(file: Path) -> list[Seen]:
    """What was seen of a part; nothing where the file was damaged."""
    try:
        return [Seen(**fields) for fields in json.loads(file.read_text())]
    except (ValueError, TypeError):
        return []


def _state(file: str | None) -> tuple[int, int] | None:
    """What changes when a file does: its size and time of change."""
    try:
        found = os.stat(file)
    except (OSError, TypeError):
        return None
    return found.st_size, found.st_mtime_ns


def _existing(folder: str | Path) -> Path:
    path = Path(folder).expanduser()
    if not os.path.isdir(path):  # False, where Path.is_dir raises, for a name too long for any folder
        raise FileNotFoundError(f"there is no folder {path}{near(path)}")
    return path


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def _by_id(file: Path) -> dict[str, str]:
    """A list of CUB: id -> the rest of its line."""
    found = {}
    for number, line in enumerate(_lines(file), 1):
        identity, _, rest = line.strip().partition(" ")
        if identity and not (identity.isdecimal() and rest.strip()):
            raise ValueError(f'{file}, line {number} is "{line[:60]}": it must be a number and what it stands for')
        if identity:
            found[identity] = rest.strip()
    return found


def _numbers(text: str) -> tuple[float, ...]:
    try:
        found = tuple(map(float, text.split()))
    except ValueError:
        return ()
    return found if all(map(math.isfinite, found)) else ()


def _synsets(folder: Path) -> list[str]:
    return (
        sorted(p.name for p in folder.iterdir() if re.fullmatch(r"n\d{8}", p.name) and p.is_dir())
        if folder.is_dir()
        else []
    )


def _mapping(top: Path) -> dict[str, str]:
    """Synset -> its names, from LOC_synset_mapping.txt in the folder or the one above; empty without the file."""
    file = next(
        (f for f in (top / "LOC_synset_mapping.txt", top.parent / "LOC_synset_mapping.txt") if f.is_file()), None
    )
    return dict(line.strip().split(" ", 1) for line in _lines(file) if " " in line.strip()) if file else {}


def _devkits(top: Path) -> list[Path]:
    kits = [top, top / "devkit", top / "ILSVRC" / "devkit", *sorted(top.glob("ILSVRC*_devkit*"))]
    return [folder for kit in kits for folder in (kit, kit / "data")]


def _unique(synsets: list[str], names: dict[str, str]) -> list[str]:
    """What synsets are called: their first name; with the synset where two share it; the synset where none is known."""
    first = [names.get(synset, synset).split(",")[0].strip() for synset in synsets]
    return [f"{n} ({s})" if first.count(n) > 1 else n for n, s in zip(first, synsets, strict=True)]
