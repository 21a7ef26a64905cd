"""`ILSVRC` and `TinyImageNet`: classes of ImageNet, with boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cambook.datasets.annotations import read_annotation
from cambook.datasets.downloads import Archive
from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import (
    Unusable,
    existing_folder,
    files_by_stem,
    read_lines,
    read_numbers,
    short_path,
    suffixes,
)
from cambook.datasets.registry import register


@register
class ILSVRC(Photographs):
    """ImageNet's thousand classes with boxes: ILSVRC 2012 to 2017, localization.

    Batches come from `Photographs.batch`. Classes are the sorted synsets, in torchvision's order, called by their first
    name in LOC_synset_mapping.txt or the devkit's meta file if one of them is there. A validation image that does not
    lie in a synset's folder has the class that its XML file names.

    Boxes are those of the image's class. The files count pixels from 0 and include the last one (of an image 500 wide
    the largest xmax is 499), so x0 = xmin and x1 = xmax + 1. A training image needs no box: if none is annotated, its
    boxes are (0, 4).

    Validation images on the devkit's blacklist (1762 of 50,000, with boxes of bad quality) are left out of every
    metric, as its evaluation leaves them out; `report` says how many, or that no blacklist was found.

    Args:
        folder: as the archives unpack: train/SYNSET/*.JPEG, val/*.JPEG or val/SYNSET/*.JPEG, and
            Annotations/CLS-LOC/train and val (or Annotations/train and val); or the kit with ILSVRC/Data/CLS-LOC and
            ILSVRC/Annotations/CLS-LOC.
        split: "train", or "test", which is the validation set, the only one with published boxes.
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: for what is missing.
        ValueError: if no image can be used.

    Source: Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge.

    Example:
        >>> ILSVRC.written(), ILSVRC.splits["train"], ILSVRC.imagenet_classes
        ('ilsvrc:FOLDER', 1281167, True)
    """

    kind, needs = "ilsvrc", "FOLDER"
    drawn_on = "stored"  # as all tools of its time did
    splits = {"train": 1_281_167, "test": 50_000}
    source = (
        "register at https://image-net.org/download-images, unpack the images and boxes of ILSVRC 2012 (task "
        "CLS-LOC) to train/, val/ and Annotations/CLS-LOC/, the devkit beside them"
    )
    licence = "non-commercial research and education, by agreement"
    download_bytes = 154_642_401_280
    imagenet_classes = True

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        super().__init__(folder, split, size, None)
        self._blacklist = ""
        top = existing_folder(folder)
        part = "train" if split == "train" else "val"
        data = next((d for d in (top, top / "Data/CLS-LOC", top / "ILSVRC/Data/CLS-LOC") if (d / part).is_dir()), None)
        if data is None:
            raise FileNotFoundError(
                f"{top} has no folder {part}: it must contain train/ with one folder per synset and val/ with the "
                "validation images, or ILSVRC/Data/CLS-LOC with those two"
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
                "(ILSVRC2012_bbox_val_v3.tgz), one XML file per image"
            )
        listed = self._list(data / part, annotations)
        if split != "train":
            listed = self._without_blacklisted(listed, top)
        elif bare := sum(one.truth is None for one in listed):
            self.report.append(f"{bare} of {len(listed)} training images have no annotated box, which none needs")
        self.look_through(listed, _unique(self.synsets, names), length, seed)

    def _list(self, pictures: Path, annotations: Path | None) -> list[Listed]:
        boxes = {stem: file for _, stem, file in self._in_synsets(annotations, (".xml",), [])} if annotations else {}
        listed: dict[str, Listed] = {}
        unread: list[str] = []
        for synset, stem, file in self._in_synsets(pictures, suffixes(), unread):
            if synset is None and self.split == "train":
                continue
            if stem in listed:
                self.report.append(
                    f"{short_path(Path(listed[stem].picture))}: not used, {short_path(Path(file))} has that name"
                )
            missing = self.split != "train" and stem not in boxes
            problem = f"Annotations/{stem}.xml is missing" if missing else None
            listed[stem] = Listed(stem, self._index.get(synset), file, boxes.get(stem), None, problem)
        self.report_unread(unread)
        return list(listed.values())

    def _in_synsets(
        self, folder: Path, endings: tuple[str, ...], unread: list[str]
    ) -> Iterator[tuple[str | None, str, str]]:
        """(synset, stem, path) of the files that lie in a folder itself (None) and in its synsets' folders.

        What has another ending goes into `unread`.
        """
        for synset in (None, *self.synsets):
            inner = folder / (synset or "")
            if inner.is_dir():
                for stem, file in files_by_stem(inner, endings, unread).items():
                    yield synset, stem, file

    @property
    def counted(self) -> str:
        if self.split == "train" or not self._blacklist:
            return super().counted
        return f"{super().counted}, {self._blacklist}"

    def _without_blacklisted(self, listed: list[Listed], top: Path) -> list[Listed]:
        found = [f for folder in _devkits(top) for f in sorted(folder.glob("ILSVRC*validation_blacklist.txt"))]
        file = next((f for f in found if "_det_" not in f.name), None)
        if file is None:
            self.report.append(
                "no blacklist found (ILSVRC*_clsloc_validation_blacklist.txt of the devkit): every validation image "
                "counts, with boxes of bad quality too"
            )
            self._blacklist = "no blacklist is there, so that no image is left out by it"
            return listed
        words = file.read_text(encoding="utf-8", errors="replace").split()
        if not all(word.isdecimal() for word in words):
            raise ValueError(
                f"{file} is not a blacklist: put the devkit's there, one number of a validation image per line"
            )
        numbers = {f"ILSVRC2012_val_{int(word):08d}" for word in words}
        kept = [one for one in listed if one.name not in numbers]
        out = len(listed) - len(kept)
        self._blacklist = f"the {out:,} blacklisted images are left out"
        self.report.append(f"{out} images on the blacklist are left out of every metric")
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
            self.report.append(f"{short_path(file)} cannot be read ({error}): classes are called by their synsets")
            return {}

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        nowhere = np.zeros((0, 4))
        if data is None:
            return Truth(one.label, nowhere, None)
        try:
            found = read_annotation(data, first=0)
            synset = found.label if one.label is None else self.synsets[one.label]
            if synset not in self._index:
                raise Unusable(f"its synset {synset} is not one of the classes")
            if synset not in found.boxes:
                raise Unusable(f"the annotation has boxes of {', '.join(found.boxes)}, none of {synset}")
        except Unusable as error:
            if self.split != "train":
                raise
            return Truth(one.label, nowhere, None, None, [f"used without boxes: {error}"])
        return Truth(self._index[synset], found.boxes[synset], found.tag, None, found.notes)


@register
class TinyImageNet(Photographs):
    """Tiny ImageNet: 200 of ImageNet's classes, 64 x 64 pixels, a box for each photograph.

    Batches come from `Photographs.batch`. Classes are called by the first word in words.txt, in the order of the sorted
    synsets of wnids.txt. Boxes count pixels from 0 and include the last one (the whole photograph is 0 0 63 63), so
    x1 = xmax + 1.

    Args:
        folder: tiny-imagenet-200 as the archive unpacks it (wnids.txt, words.txt, train/, val/), or its
            parent.
        split: "train" reads train/SYNSET/SYNSET_boxes.txt, "test" reads val/val_annotations.txt.
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: for what is missing.
        ValueError: if a list is damaged or no image can be used.

    Source: Stanford CS231n, Tiny ImageNet visual recognition challenge.

    Example:
        >>> TinyImageNet.written(), TinyImageNet.splits["test"]
        ('tiny-imagenet', 10000)
    """

    kind = "tiny-imagenet"
    drawn_on = "stored"  # as all tools of its time did
    splits = {"train": 100_000, "test": 10_000}
    source = "Stanford CS231n, http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    licence = "ImageNet's terms: non-commercial research and education"
    archives = (
        Archive.at(
            ("http://cs231n.stanford.edu/",),
            "tiny-imagenet-200.zip",
            248_100_043,
            "md5:90528d7ca1a48142e341f4ef8d21d0de",
        ),
    )

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        top = existing_folder(folder)
        root = top / "tiny-imagenet-200" if (top / "tiny-imagenet-200").is_dir() else top
        for part in ("wnids.txt", "words.txt", "train", "val/val_annotations.txt"):
            if not (root / part).exists():
                raise FileNotFoundError(f"{root} has no {part}: give tiny-imagenet-200 as the archive unpacks it")
        super().__init__(folder, split, size, root)
        synsets = sorted({line.strip() for line in read_lines(root / "wnids.txt") if line.strip()})
        words = dict(line.strip().split("\t", 1) for line in read_lines(root / "words.txt") if "\t" in line)
        tables = [root / "train" / synset / f"{synset}_boxes.txt" for synset in synsets]
        listed = []
        for table in tables if split == "train" else [root / "val" / "val_annotations.txt"]:
            for number, line in enumerate(read_lines(table), 1):
                name, *words_of_it = line.split("\t")
                synset = table.parent.name if split == "train" else "".join(words_of_it[:1])
                box = read_numbers(" ".join(words_of_it[split != "train" :]))
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
    return dict(line.strip().split(" ", 1) for line in read_lines(file) if " " in line.strip()) if file else {}


def _devkits(top: Path) -> list[Path]:
    kits = [top, top / "devkit", top / "ILSVRC" / "devkit", *sorted(top.glob("ILSVRC*_devkit*"))]
    return [folder for kit in kits for folder in (kit, kit / "data")]


def _unique(synsets: list[str], names: dict[str, str]) -> list[str]:
    """What synsets are called: their first name, with the synset if two share it; the synset if no name is known."""
    first = [names.get(synset, synset).split(",")[0].strip() for synset in synsets]
    return [f"{n} ({s})" if first.count(n) > 1 else n for n, s in zip(first, synsets, strict=True)]
