"""Data sets by name, pictures of a Pascal VOC folder, and single photographs.

One image-level label a picture goes into training; the boxes are for evaluation only. Real folders are dirty:
whatever is wrong with a file is repaired where that is safe or the picture is left out, and `report` says
which file and what was done.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cambook import downloads
from cambook.batch import Batch
from cambook.decoding import (
    SUFFIXES,
    Annotation,
    Unusable,
    near,
    open_picture,
    quiet_decoders,
    read_annotation,
    read_inside,
    short,
    upright,
)
from cambook.photographs import CUB, ILSVRC, ClassFolders, Listed, Pets, Photographs, TinyImageNet, Truth, check_counts

KNOWN = (
    *("scenes", "scenes-new-objects", "voc:FOLDER", "folder:FOLDER", "ilsvrc:FOLDER", "cub", "pets", "voc2007"),
    "tiny-imagenet:FOLDER",
)
SPLITS = ("train", "test")

# Name -> (package whose files hold the photograph, credit and licence).
EXAMPLE_PICTURES = {
    "chelsea": ("scikit-image", "Chelsea the cat, photograph by Stefan van der Walt, CC0"),
    "coffee": ("scikit-image", "Coffee cup, photograph by Rachel Michetti, Pikolo Espresso Bar, CC0"),
    "camera": ("scikit-image", "Photographer with camera, photograph by Lav Varshney, CC0"),
    "rocket": ("scikit-image", "Launch of DSCOVR on Falcon 9, photograph by SpaceX, public domain"),
    "astronaut": ("scikit-image", "Eileen Collins, photograph by NASA, public domain"),
    "motorcycle": (
        "scikit-image",
        "Motorcycle, from the Middlebury 2014 stereo benchmark by N. Nesic, P. Westling, X. Wang, "
        "Y. Kitajima, G. Krathwohl and D. Scharstein",
    ),
    "china": ("scikit-learn", "Palace in China, photograph by danielbuechele (Flickr), CC BY 2.0"),
    "flower": ("scikit-learn", "Flower, photograph by vultilion (Flickr), CC BY 2.0"),
    "grace_hopper": ("matplotlib", "Grace Hopper, official photograph of the U.S. Navy, public domain"),
}


def kind_and_folder(name: str) -> tuple[str, str | None]:
    """The parts of a data set's name: voc:data/birds -> ("voc", "data/birds"), cub -> ("cub", None).

    raises: ValueError with the nearest known name where no data set is called so, a folder is lacking or out of place
    """
    kind, colon, folder = name.partition(":")
    if f"{kind}:FOLDER" in KNOWN and not folder.strip():
        raise ValueError(f'"{name}" names no folder: write {kind}:FOLDER, for example {kind}:data/wildlife')
    if kind in ("scenes", "scenes-new-objects") and colon:
        raise ValueError(f'"{name}": {kind} are made, not read from a folder: write {kind}')
    if kind not in [known.removesuffix(":FOLDER") for known in KNOWN]:
        nearest = f"voc:{name}" if os.path.isdir(name) else "".join(get_close_matches(name, KNOWN, 1, 0.4))
        hint = f'did you mean "{nearest}"? ' if nearest else ""
        raise ValueError(f'unknown data set "{name}": {hint}Known: {", ".join(KNOWN)}')
    return kind, folder or None


def load(name: str, split: str, size: int, *, length: int | None = None, seed: int = 0, boxes: bool = True):
    """The data set of that name, one of KNOWN; cub, pets and voc2007 also as cub:FOLDER and so on.

    A set that is named without its folder lies in the cache and is downloaded there on first use (see downloads.fetch).
    split:   "train" or "test"; of ilsvrc "test" is the validation set, of voc2007 "train" is trainval
    size:    side of the square pictures in pixels
    length:  number of scenes; of a folder, at most so many of its pictures, drawn by `seed` (None: all)
    boxes:   whether somebody will ask for them: folder:FOLDER has labels alone
    returns: a data set with name, split, classes, size, len, labels, batch(indices), fingerprint and report
    raises:  ValueError for an unknown name or split, a size or length below 1, or boxes asked of a set without; what
             VOCFolder raises, or the class of that set in photographs; downloads.DownloadError
    """
    if split not in SPLITS:
        raise ValueError(f'unknown split "{split}": use "train" or "test"')
    check_counts(size, length)
    kind, folder = kind_and_folder(name)
    if boxes and kind == "folder":
        raise ValueError(
            f'"{name}" has labels and no boxes, so no localization can be measured: give voc:FOLDER with annotations, '
            "or run reproduce/table1 or reproduce/table5, which ask for labels alone"
        )
    if kind in ("scenes", "scenes-new-objects"):
        from cambook.scenes import Scenes

        chosen = {} if length is None else {"length": length}
        return Scenes(split, size, seed=seed, new_objects=kind == "scenes-new-objects", **chosen)
    data = _FOLDERS[kind](folder or downloads.fetch(kind), split, size, length=length, seed=seed)
    data.name = name
    return data


class Subset:
    """Some pictures of a data set, in the order of `indices`; the rest as in the data set.

    raises: ValueError where an index is outside the data set or none is given
    """

    def __init__(self, data, indices):
        self.indices = np.asarray(indices, np.int64).reshape(-1)
        if not len(self.indices) or self.indices.min() < 0 or self.indices.max() >= len(data):
            raise ValueError(f"indices must lie from 0 to {len(data) - 1}, at least one of them.")
        self.name, self.split, self.size, self.classes = data.name, data.split, data.size, data.classes
        self.report, self.labels, self._data = [], data.labels[self.indices], data
        self.fingerprint = hashlib.sha256(data.fingerprint.encode() + self.indices.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices, device: str | torch.device = "cpu") -> Batch:
        """The pictures at `indices` of this subset, as the data set gives them."""
        batch = self._data.batch(self.indices[np.asarray(indices).reshape(-1)], device=device)
        batch.indices = torch.as_tensor(indices, device=batch.indices.device).reshape(-1)
        return batch


class VOCFolder(Photographs):
    """The pictures of one split of a folder in Pascal VOC layout (JPEGImages, Annotations, ImageSets/Main).

    folder: the folder that holds those three
    split:  "train" reads train.txt; "test" reads test.txt or else val.txt; any other list in ImageSets/Main
            goes by its own name ("trainval", "cat_val": lines "id 1" belong to it, "id -1" and "id 0" do not)
    size, length, seed: as `load`

    classes: sorted names of the labels in train and test list together, so that both splits agree
    labels:  the class of the picture's objects, of several the one with the largest total box area; objects marked
             difficult are ignored, as in the VOC challenge

    Annotations count pixels from 1 and include the last one; boxes here are half-open (x0, y0, x1, y1), x0 = xmin - 1
    and x1 = xmax, then scaled into the grid. Raises, before decoding, FileNotFoundError for a missing folder or list
    and ValueError where the lists name fewer than two classes; ValueError, after it, where no picture of the split can
    be used.
    Everingham et al. 2010, The Pascal Visual Object Classes Challenge.
    """

    smaller = False  # data/results/photographs.csv was measured on pictures that were decoded in full

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        root = Path(folder).expanduser()
        super().__init__(f"voc:{folder}", split, size, root)
        check_counts(size, length)
        lists = _split_lists(root)
        pictures = _listing(root, "JPEGImages", SUFFIXES)
        annotations = _listing(root, "Annotations", (".xml",))
        chosen_list = _list_of(split, lists, root)
        ids = self._read_list(chosen_list, pictures)
        listed = set(ids)
        for file in _files(root, "JPEGImages", SUFFIXES):
            if file.stem in listed and file != pictures[file.stem]:
                self.report.append(f"{short(file)}: not used, {pictures[file.stem].name} is the picture of that name")

        known: dict[str, Annotation] = {}
        problems: dict[str, str] = {}
        split_ids = {s: set(_listed(lists[n], pictures)) for s, n in _standard_lists(lists).items()}
        for identity in sorted(set(ids).union(*split_ids.values())):
            try:
                if identity not in annotations:
                    raise Unusable(f"Annotations/{identity}.xml is missing")
                known[identity] = read_annotation(read_inside(annotations[identity], root))
            except Unusable as error:
                problems[identity] = str(error)
        classes = sorted({annotation.label for identity, annotation in known.items() if identity in pictures})
        if len(classes) < 2:
            reason = next((f" ({problem})" for problem in problems.values()), "")
            found = f"no listed picture with a usable annotation{reason}"
            if classes:
                found = f'only the class "{classes[0]}"'
            raise ValueError(
                f"{root} has {found} and at least two classes are needed: add pictures of another class "
                "to JPEGImages, Annotations and ImageSets/Main"
            )
        for identity in sorted(set(ids).intersection(*split_ids.values()) if len(split_ids) == 2 else ()):
            self.report.append(f"{identity}: kept, though it is in the train list and in the test list")
        problems |= {identity: _why_missing(identity) for identity in ids if identity not in pictures}
        self.look_through(
            [Listed(i, None, _text(pictures.get(i)), _text(annotations.get(i)), None, problems.get(i)) for i in ids],
            classes,
            length,
            seed,
        )
        several = sum(len(known[name].boxes) > 1 for name in self.names)
        if several:
            self.report.append(
                f"{several} of {len(self.names)} pictures show several classes: "
                "labelled by the one with the largest total box area"
            )
        difficult = sum(known[name].difficult for name in self.names)
        if difficult:
            self.report.append(f"{difficult} objects marked difficult are ignored, as in the VOC challenge")

    def _read_list(self, list_file: Path, pictures: dict[str, Path]) -> list[str]:
        listed = _listed(list_file, pictures)
        for identity, times in Counter(listed).items():
            if times > 1:
                self.report.append(f"{short(list_file)}: {identity} is listed {times} times, used once")
        if not listed:
            raise ValueError(f"{list_file} lists no picture: write one id a line, a file name without ending")
        return sorted(set(listed))

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        found = read_annotation(data)
        return Truth(self.classes.index(found.label), found.boxes[found.label], found.tag, None, found.notes)


class VOC2007(VOCFolder):
    """Pascal VOC 2007: split "train" is its list trainval, "test" its list test, as the challenge compares.

    folder: VOC2007 (JPEGImages, Annotations, ImageSets/Main), or one that holds it or VOCdevkit; else as VOCFolder
    """

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        places = [Path(folder).expanduser() / inner for inner in ("VOCdevkit/VOC2007", "VOC2007", "")]
        root = next((place for place in places if (place / "JPEGImages").is_dir()), places[-1])
        super().__init__(root, {"train": "trainval"}.get(split, split), size, length=length, seed=seed)
        self.split = split


_FOLDERS = {
    "voc": VOCFolder,
    "folder": ClassFolders,
    "ilsvrc": ILSVRC,
    "cub": CUB,
    "pets": Pets,
    "voc2007": VOC2007,
    "tiny-imagenet": TinyImageNet,
}


def load_picture(path: str | Path, size: int | None = None) -> Tensor:
    """One picture of your own, upright (EXIF) and in RGB.

    size:    length of the shorter side in pixels, aspect ratio kept (None: as stored)
    returns: (1, 3, H, W) float32 in [0, 1]
    raises:  FileNotFoundError where there is no such file, ValueError where it holds no readable picture
    """
    path = Path(path).expanduser()
    if size is not None:
        check_counts(size, None)
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder: give the path of one picture in it")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no picture {path}{near(path)}")
    try:
        with quiet_decoders():
            image, orientation, _ = open_picture(path.read_bytes())
    except (Unusable, OSError) as error:
        raise ValueError(f"{path} cannot be shown: {error}; save it again as JPEG or PNG") from error
    image = upright(image, orientation)
    if size is not None:
        shape = [max(1, round(side * size / min(image.size))) for side in image.size]
        if math.prod(shape) > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise ValueError(f"{path} would be {shape[0]} x {shape[1]} pixels at size {size}: crop it first")
        image = image.resize(shape, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div_(255)


def example_picture(name: str, size: int | None = None) -> Tensor:
    """A photograph that ships inside an installed package, by a name of EXAMPLE_PICTURES; as load_picture.

    raises: ValueError for an unknown name, FileNotFoundError where the package or its file is missing
    """
    if name not in EXAMPLE_PICTURES:
        near = get_close_matches(name, EXAMPLE_PICTURES, 1, 0.4)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ValueError(f'unknown example picture "{name}": {hint}Known: {", ".join(EXAMPLE_PICTURES)}')
    package = EXAMPLE_PICTURES[name][0]
    if package == "scikit-image":
        file = {"rocket": "rocket.jpg", "motorcycle": "motorcycle_left.png"}.get(name, f"{name}.png")
        path = _package_folder("skimage", package) / "data" / file
    elif package == "scikit-learn":
        path = _package_folder("sklearn", package) / "datasets" / "images" / f"{name}.jpg"
    else:
        import matplotlib

        path = Path(matplotlib.get_data_path()) / "sample_data" / f"{name}.jpg"
    if not path.is_file():
        raise FileNotFoundError(f'the photograph "{name}" is not at {path}: install {package} again')
    return load_picture(path, size)


def _package_folder(module: str, package: str) -> Path:
    spec = find_spec(module)
    if spec is None:
        raise FileNotFoundError(f"{package} is not installed: pip install {package}")
    return Path(spec.submodule_search_locations[0])


# ---- the folder: which files there are, and none outside of it


def _split_lists(root: Path) -> dict[str, Path]:
    if not os.path.isdir(root):
        raise FileNotFoundError(f"there is no folder {root}{near(root)}")
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        if not (root / part).is_dir():
            nested = next((p.parent for p in root.glob(f"*/{part.split('/')[0]}") if p.is_dir()), None)
            mend = f"give {nested}" if nested else "it must hold JPEGImages, Annotations and ImageSets/Main"
            raise FileNotFoundError(f"{root} has no folder {part}: {mend}")
        if not (root / part).resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{root / part} is a link that leaves the folder: put the files there")
    return _listing(root, "ImageSets/Main", (".txt",))


def _listing(root: Path, part: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Id -> file. Ids are only ever looked up here, so that no id can name a place outside."""
    return {p.stem: p for p in _files(root, part, suffixes)}


def _files(root: Path, part: str, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a part, of those with one id the one to be used last: that with the earliest suffix."""
    files = [p for p in sorted((root / part).iterdir()) if p.suffix.lower() in suffixes and p.is_file()]
    return sorted(files, key=lambda p: suffixes.index(p.suffix.lower()), reverse=True)


def _standard_lists(lists: dict[str, Path]) -> dict[str, str]:
    candidates = {"train": ("train",), "test": ("test", "val")}
    found = {split: next((n for n in names if n in lists), None) for split, names in candidates.items()}
    return {split: name for split, name in found.items() if name}


def _list_of(split: str, lists: dict[str, Path], root: Path) -> Path:
    name = _standard_lists(lists).get(split, split)
    if name not in lists:
        there = ", ".join(f"{n}.txt" for n in sorted(lists)[:8]) or "none"
        wanted = "test.txt or val.txt" if split == "test" else f"{split}.txt"
        raise FileNotFoundError(
            f'{root}/ImageSets/Main has no {wanted} for the split "{split}": add it, one id a line (there: {there})'
        )
    return lists[name]


def _listed(list_file: Path, pictures: dict[str, Path]) -> list[str]:
    root = list_file.parents[2]
    try:
        lines = read_inside(list_file, root).decode("utf-8-sig", "replace").splitlines()
    except Unusable as error:
        raise ValueError(f"{list_file}: {error}; put a text file with one id a line there") from error
    listed = []
    for line in filter(None, map(str.strip, lines)):
        *identity, flag = line.split()
        if line in pictures or not identity or flag not in ("1", "0", "-1"):
            listed.append(line)
        elif flag == "1":
            listed.append(" ".join(identity))
    return listed


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _why_missing(identity: str) -> str:
    if "/" in identity or "\\" in identity:
        return "an id is the name of a picture in JPEGImages and may not be a path"
    return "JPEGImages has no picture of this name"
