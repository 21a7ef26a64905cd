"""Data sets by name, pictures of a Pascal VOC folder, and single photographs.

One image-level label a picture goes into training; the boxes are for evaluation only. Real folders are dirty:
whatever is wrong with a file is repaired where that is safe or the picture is left out, and `report` says
which file and what was done.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from cambook.batch import Batch, onto

KNOWN = ("scenes", "scenes-new-objects", "voc:FOLDER")
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

_VERSION = 1  # raised whenever the same files would give other pictures, boxes or labels
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")  # the first wins
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
_MAX_ANNOTATION_BYTES = 4 * 2**20
_MAX_MISSING_ROWS = 0.1  # share of a cut-off JPEG that may be missing
_MAX_CLIPPED = 0.1  # share of a box that clipping may take where the size tag is wrong as well
_ORIENTATION_TAG = 0x0112

# EXIF orientation -> how Pillow turns the picture upright, where its point (x, y) of w x h pixels goes.
_UPRIGHT = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, lambda x, y, w, h: (w - x, y)),
    3: (Image.Transpose.ROTATE_180, lambda x, y, w, h: (w - x, h - y)),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, lambda x, y, w, h: (x, h - y)),
    5: (Image.Transpose.TRANSPOSE, lambda x, y, w, h: (y, x)),
    6: (Image.Transpose.ROTATE_270, lambda x, y, w, h: (h - y, x)),
    7: (Image.Transpose.TRANSVERSE, lambda x, y, w, h: (h - y, w - x)),
    8: (Image.Transpose.ROTATE_90, lambda x, y, w, h: (y, w - x)),
}
_MODE_NAMES = {"L": "grey", "1": "black and white", "P": "palette"}


class _Unusable(Exception):
    """A file that no safe repair can save; the message completes the sentence "left out: ..."."""


def load(name: str, split: str, size: int, *, length: int | None = None, seed: int = 0):
    """The data set of that name: "scenes", "scenes-new-objects" or "voc:FOLDER".

    split:   "train" or "test"
    size:    side of the square pictures in pixels
    length:  number of scenes; of a folder, at most so many of its pictures, drawn by `seed` (None: all)
    returns: a data set with name, split, classes, size, len, labels, batch(indices), fingerprint and report
    raises:  ValueError for an unknown name or split or a size or length below 1; what VOCFolder raises
    """
    if split not in SPLITS:
        raise ValueError(f'unknown split "{split}": use "train" or "test"')
    _check_counts(size, length)
    if name in ("scenes", "scenes-new-objects"):
        from cambook.scenes import Scenes

        chosen = {} if length is None else {"length": length}
        return Scenes(split, size, seed=seed, new_objects=name == "scenes-new-objects", **chosen)
    if name.startswith("voc:"):
        if not name.removeprefix("voc:").strip():
            raise ValueError('"voc:" names no folder: write voc:FOLDER, for example voc:data/wildlife')
        return VOCFolder(name.removeprefix("voc:"), split, size, length=length, seed=seed)
    near = f"voc:{name}" if Path(name).is_dir() else "".join(get_close_matches(name, KNOWN, 1, 0.4))
    hint = f'did you mean "{near}"? ' if near else ""
    raise ValueError(f'unknown data set "{name}": {hint}Known: {", ".join(KNOWN)}')


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


class VOCFolder:
    """The pictures of one split of a folder in Pascal VOC layout (JPEGImages, Annotations, ImageSets/Main).

    folder: the folder that holds those three
    split:  "train" reads train.txt; "test" reads test.txt or else val.txt; any other list in ImageSets/Main
            goes by its own name ("trainval", "cat_val": lines "id 1" belong to it, "id -1" and "id 0" do not)
    size:   pictures are squashed to size x size pixels (antialiased bilinear), boxes with them
    length: at most so many pictures, drawn by `seed` (None: all)

    classes:     sorted names of the labels in train and test list together, so that both splits agree
    labels:      (N,) int64; the class of the picture's objects, of several the one with the largest total
                 box area; objects marked difficult are ignored, as in the VOC challenge
    names:       N ids, sorted; picture i is names[i]
    report:      one sentence for each file that was repaired or left out
    fingerprint: sha256 over names, sizes and contents of the listed files, split, size, classes and the
                 loader's version

    Every picture is decoded here, once, and kept as (N, 3, size, size) uint8. Annotations count pixels from 1
    and include the last one; boxes here are half-open (x0, y0, x1, y1), x0 = xmin - 1 and x1 = xmax, then
    scaled into the grid. Raises, before decoding, FileNotFoundError for a missing folder or list and
    ValueError where the lists name fewer than two classes; ValueError, after it, where no picture of the
    split can be used.
    Everingham et al. 2010, The Pascal Visual Object Classes Challenge.
    """

    def __init__(
        self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0
    ) -> None:
        _check_counts(size, length)
        self.name, self.split, self.size, self.report = f"voc:{folder}", split, size, []
        root = Path(folder).expanduser()
        lists = _split_lists(root)
        pictures = _listing(root, "JPEGImages", _SUFFIXES)
        annotations = _listing(root, "Annotations", (".xml",))
        chosen_list = _list_of(split, lists, root)
        ids = self._read_list(chosen_list, pictures)
        listed = set(ids)
        for file in _files(root, "JPEGImages", _SUFFIXES):
            if file.stem in listed and file != pictures[file.stem]:
                self.report.append(f"{_short(file)}: not used, {pictures[file.stem].name} is the picture of that name")

        known: dict[str, _Annotation | _Unusable] = {}
        class_names: set[str] = set()
        split_ids = {s: set(_listed(lists[n], pictures)) for s, n in _standard_lists(lists).items()}
        for identity in sorted(set(ids).union(*split_ids.values())):
            try:
                known[identity] = _read_annotation(identity, annotations, root)
                if identity in pictures:
                    class_names.add(known[identity].label)
            except _Unusable as error:
                known[identity] = error
        self.classes = sorted(class_names)
        if len(self.classes) < 2:
            reason = next((f" ({e})" for e in known.values() if isinstance(e, _Unusable)), "")
            found = f"no listed picture with a usable annotation{reason}"
            if self.classes:
                found = f'only the class "{self.classes[0]}"'
            raise ValueError(
                f"{root} has {found} and at least two classes are needed: add pictures of another class "
                "to JPEGImages, Annotations and ImageSets/Main"
            )
        for identity in sorted(set(ids).intersection(*split_ids.values()) if len(split_ids) == 2 else ()):
            self.report.append(f"{identity}: kept, though it is in the train list and in the test list")
        if length is not None:
            ids = sorted(np.random.default_rng(seed).permutation(ids)[:length].tolist())
        self._decode(ids, pictures, annotations, known, root)

    def _read_list(self, list_file: Path, pictures: dict[str, Path]) -> list[str]:
        listed = _listed(list_file, pictures)
        for identity, times in Counter(listed).items():
            if times > 1:
                self.report.append(f"{_short(list_file)}: {identity} is listed {times} times, used once")
        if not listed:
            raise ValueError(f"{list_file} lists no picture: write one id a line, a file name without ending")
        return sorted(set(listed))

    def _decode(self, ids, pictures, annotations, known, root) -> None:
        digest = hashlib.sha256(repr((_VERSION, self.split, self.size, self.classes)).encode())
        names, labels, boxes, several, difficult = [], [], [], 0, 0
        pixels = np.empty((len(ids), 3, self.size, self.size), np.uint8)
        for identity in tqdm(ids, desc=f"{root.name} {self.split}", unit="picture", leave=False):
            for file in (pictures.get(identity), annotations.get(identity)):
                digest.update(_file_digest(identity, file, root))
            try:
                if identity not in pictures:
                    raise _Unusable(_why_missing(identity, root))
                annotation = known[identity]
                if isinstance(annotation, _Unusable):
                    raise annotation
                image, orientation, notes = _open_picture(_read_inside(pictures[identity], root))
                placed, box_notes = _place(annotation, image.size, orientation)
                image = _upright(image, orientation)
                scale = np.array([self.size / image.width, self.size / image.height] * 2)
                square = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
            except _Unusable as error:
                where = _short(pictures[identity]) if identity in pictures else identity
                self.report.append(f"{where}: left out: {error}")
                continue
            pixels[len(names)] = np.asarray(square).transpose(2, 0, 1)
            names.append(identity)
            labels.append(self.classes.index(annotation.label))
            boxes.append((placed * scale).astype(np.float32))
            several += annotation.several
            difficult += annotation.difficult
            box_notes = annotation.notes + box_notes
            self.report += [f"{_short(pictures[identity])}: {note}" for note in notes]
            self.report += [f"{_short(annotations[identity])}: {note}" for note in box_notes]
        if not names:
            raise ValueError(
                f"{root}: no picture of the {self.split} list can be used, the first for this reason: "
                f"{self.report[-len(ids)]}; mend the files or the list"
            )
        if several:
            self.report.append(
                f"{several} of {len(names)} pictures show several classes: "
                "labelled by the one with the largest total box area"
            )
        if difficult:
            self.report.append(f"{difficult} objects marked difficult are ignored, as in the VOC challenge")
        for label, name in enumerate(self.classes):
            if label not in labels:
                self.report.append(f'no usable picture of class "{name}" in the {self.split} list')
        self._pixels = torch.from_numpy(pixels[: len(names)])
        self._boxes = boxes
        self.names = names
        self.labels = np.array(labels, np.int64)
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices, device: str | torch.device = "cpu") -> Batch:
        """The pictures at those places; images and labels lie on `device`, boxes are numpy arrays."""
        indices = torch.as_tensor(indices, dtype=torch.int64).cpu().reshape(-1)
        images = onto(self._pixels[indices], device).float().div_(255)
        labels = torch.from_numpy(self.labels)[indices].to(device)
        return Batch(images, labels, [self._boxes[i].copy() for i in indices.tolist()], None, indices)


def load_picture(path: str | Path, size: int | None = None) -> Tensor:
    """One picture of your own, upright (EXIF) and in RGB.

    size:    length of the shorter side in pixels, aspect ratio kept (None: as stored)
    returns: (1, 3, H, W) float32 in [0, 1]
    raises:  FileNotFoundError where there is no such file, ValueError where it holds no readable picture
    """
    path = Path(path).expanduser()
    if size is not None:
        _check_counts(size, None)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the path of one picture in it")
    if not path.is_file():
        raise FileNotFoundError(f"there is no picture {path}{_near(path)}")
    try:
        image, orientation, _ = _open_picture(path.read_bytes())
    except (_Unusable, OSError) as error:
        raise ValueError(f"{path} cannot be shown: {error}; save it again as JPEG or PNG") from error
    image = _upright(image, orientation)
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


def _check_counts(size: int, length: int | None) -> None:
    for name, value in (("size", size), ("length", length)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 1):
            raise ValueError(f"{name} is {value!r}: give a whole number of at least 1")


# ---- the folder: which files there are, and none outside of it


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f": the folder {path.parent} does not exist"
    near = get_close_matches(path.name, [p.name for p in path.parent.iterdir()], 1)
    return f': did you mean "{path.parent / near[0]}"?' if near else ": check the spelling"


def _short(path: Path) -> str:
    depth = 3 if path.suffix == ".txt" else 2
    return "/".join(path.parts[-depth:])


def _split_lists(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}{_near(root)}")
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
            f'{root}/ImageSets/Main has no {wanted} for the split "{split}": add it, one id a line '
            f"(there: {there})"
        )
    return lists[name]


def _listed(list_file: Path, pictures: dict[str, Path]) -> list[str]:
    root = list_file.parents[2]
    try:
        lines = _read_inside(list_file, root).decode("utf-8-sig", "replace").splitlines()
    except _Unusable as error:
        raise ValueError(f"{list_file}: {error}; put a text file with one id a line there") from error
    listed = []
    for line in filter(None, map(str.strip, lines)):
        *identity, flag = line.split()
        if line in pictures or not identity or flag not in ("1", "0", "-1"):
            listed.append(line)
        elif flag == "1":
            listed.append(" ".join(identity))
    return listed


def _read_inside(path: Path, root: Path) -> bytes:
    if not path.resolve().is_relative_to(root.resolve()):
        raise _Unusable(f"{_short(path)} is a link that leaves the folder")
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Unusable(f"{_short(path)} cannot be read ({error.strerror})") from error


def _why_missing(identity: str, root: Path) -> str:
    if "/" in identity or "\\" in identity:
        return "an id is the name of a picture in JPEGImages and may not be a path"
    return "JPEGImages has no picture of this name"


def _file_digest(identity: str, file: Path | None, root: Path) -> bytes:
    try:
        content = b"" if file is None else _read_inside(file, root)
    except _Unusable:
        content = b""
    name = identity if file is None else _short(file)
    return repr((name, len(content), hashlib.sha256(content).hexdigest())).encode()


# ---- annotations


@dataclass
class _Annotation:
    """A picture's label, the label's (n, 4) half-open boxes as annotated, the size tag (None: no size)."""

    label: str
    boxes: np.ndarray
    tag: tuple[float, float] | None
    several: bool
    difficult: int
    notes: list[str] = field(default_factory=list)


def _parse_xml(data: bytes) -> Element:
    """The root element; a document type, the only door to entities and other files, is refused."""

    def refuse(*_):
        raise _Unusable("the annotation declares a document type (DOCTYPE), which may hide entities")

    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise _Unusable(f"the annotation is no valid XML ({error})") from error


def _number(element: Element | None, path: str) -> float:
    try:
        return float(element.findtext(path))
    except (AttributeError, TypeError, ValueError):
        return math.nan


def _read_annotation(identity: str, annotations: dict[str, Path], root: Path) -> _Annotation:
    if identity not in annotations:
        raise _Unusable(f"Annotations/{identity}.xml is missing")
    data = _read_inside(annotations[identity], root)
    if not data.strip():
        raise _Unusable("the annotation is empty")
    if len(data) > _MAX_ANNOTATION_BYTES:
        raise _Unusable(f"the annotation has {len(data)} bytes, more than any box file needs")
    tree = _parse_xml(data)
    notes: list[str] = []
    boxes: dict[str, list[tuple]] = {}
    difficult = 0
    for number, item in enumerate(tree.findall("object"), 1):
        name = (item.findtext("name") or "").strip()
        if not name:
            notes.append(f"object {number} has no name and is left out")
        elif (item.findtext("difficult") or "").strip() == "1":
            difficult += 1
        else:
            box = _read_box(item, f"box {number} ({name})", notes)
            if box is not None:
                boxes.setdefault(name, []).append(box)
    if not boxes:
        raise _Unusable("; ".join(["the annotation has no usable object", *notes]))
    label = max(sorted(boxes), key=lambda name: sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes[name]))
    tag = (_number(tree, "size/width"), _number(tree, "size/height"))
    usable = all(math.isfinite(side) and side >= 1 for side in tag)
    own = np.array(boxes[label], float)
    return _Annotation(label, own, tag if usable else None, len(boxes) > 1, difficult, notes)


def _read_box(item: Element, what: str, notes: list[str]) -> tuple[float, float, float, float] | None:
    xmin, ymin, xmax, ymax = (_number(item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
        notes.append(f"{what} has a coordinate that is missing or no number and is left out")
        return None
    if xmin == xmax or ymin == ymax:
        notes.append(f"{what} has no area and is left out")
        return None
    if xmin > xmax or ymin > ymax:
        notes.append(f"{what} had its corners swapped and was put right")
    return min(xmin, xmax) - 1, min(ymin, ymax) - 1, max(xmin, xmax), max(ymin, ymax)


def _fits(boxes: np.ndarray, size: tuple[float, float]) -> bool:
    return bool((boxes[:, :2] >= -1).all() and (boxes[:, 2:] <= np.add(size, 1)).all())


def _same_shape(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Equal aspect ratios, up to rounding one side of either to whole pixels."""
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= 1 / min(*a, *b)


def _place(
    annotation: _Annotation, stored: tuple[int, int], orientation: int
) -> tuple[np.ndarray, list[str]]:
    """The annotation's boxes in pixels of the upright picture, clipped to it, and what was repaired."""
    boxes, tag, notes = annotation.boxes, annotation.tag, []
    turned = (stored[1], stored[0]) if orientation >= 5 else stored
    frame = stored
    if orientation > 1:
        frame, reason = _frame_drawn_on(boxes, tag, stored, turned)
        done = "boxes turned with it" if frame is stored else "boxes, drawn on the upright picture, kept"
        notes.append(f"EXIF orientation {orientation}: picture turned upright, {done} ({reason})")
    width, height = frame
    if tag is None:
        notes.append(f"the size tag gives no size: boxes read as pixels of the {width} x {height} picture")
    elif tag != frame:
        disagreement = f"the size tag says {tag[0]:g} x {tag[1]:g}, the picture has {width} x {height}"
        if _same_shape(tag, frame) and _fits(boxes, tag):
            boxes = boxes * np.array([width / tag[0], height / tag[1]] * 2)
            notes.append(f"{disagreement}: same shape, boxes rescaled to the picture")
        elif _fits(boxes, frame):
            notes.append(f"{disagreement}: the boxes fit the picture, which is trusted")
        elif (_area(_clip(boxes, frame)) < (1 - _MAX_CLIPPED) * _area(boxes)).any():
            raise _Unusable(f"{disagreement}, and the boxes fit neither")
        else:
            notes.append(f"{disagreement}: boxes nearly fit the picture, which is trusted")
    clipped = _clip(boxes, frame)
    if (clipped != boxes).any():
        count = int((clipped != boxes).any(1).sum())
        notes.append(f"{count} of {len(boxes)} boxes passed the border and were clipped")
    inside = _area(clipped) > 0
    if not inside.all():
        notes.append(f"{int((~inside).sum())} of {len(boxes)} boxes lie outside the picture and are left out")
    if not inside.any():
        raise _Unusable("every box lies outside the picture")
    boxes = clipped[inside]
    if orientation > 1 and frame is stored:
        x0, y0, x1, y1 = boxes.T
        move = _UPRIGHT[orientation][1]
        corners = np.array([move(x0, y0, *stored), move(x1, y1, *stored)])
        boxes = np.concatenate([corners.min(0), corners.max(0)]).T
    return boxes, notes


def _frame_drawn_on(boxes, tag, stored, turned) -> tuple[tuple[int, int], str]:
    if stored == turned or stored[0] == stored[1]:
        return stored, "the size tag cannot tell"
    if tag is not None:
        for frame in (stored, turned):
            if _same_shape(tag, frame):
                return frame, "as the size tag says"
    if _fits(boxes, turned) and not _fits(boxes, stored):
        return turned, "the boxes fit no other"
    return stored, "the size tag cannot tell"


def _clip(boxes: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    return np.clip(boxes, 0, np.array([*size, *size]))


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


# ---- pictures


def _open_picture(data: bytes) -> tuple[Image.Image, int, list[str]]:
    """The RGB picture as stored, its EXIF orientation (1 to 8), and what was repaired."""
    if not data:
        raise _Unusable("the file is empty")
    if data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise _Unusable("the file holds a web page or other text, no picture")
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(BytesIO(data), formats=_FORMATS)
            try:
                image.load()
            except OSError:
                image = _mend_cut_off(data, image, notes)
            orientation = _orientation(image, notes)
            image = _to_rgb(image, notes)
        except _Unusable:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise _Unusable(f"the picture has more than {Image.MAX_IMAGE_PIXELS} pixels") from error
        except Image.UnidentifiedImageError as error:
            raise _Unusable("the file holds no picture of a known format") from error
        except Exception as error:  # decoders fail in every way there is
            raise _Unusable(f"the picture is damaged ({error})") from error
    return image, orientation, notes


def _mend_cut_off(data: bytes, image: Image.Image, notes: list[str]) -> Image.Image:
    """A cut-off baseline JPEG, closed with an end mark: the decoder paints what is missing in one grey."""
    if image.format not in ("JPEG", "MPO") or image.info.get("progressive"):
        raise _Unusable("the picture is cut off or damaged")
    mended = Image.open(BytesIO(data + b"\xff\xd9"), formats=_FORMATS)
    mended.load()
    pixels = np.asarray(mended).reshape(mended.height, mended.width, -1)
    painted = (pixels[:, -8:] == pixels[-1, -1]).all((1, 2))
    missing = len(painted) if painted.all() else int(np.argmin(painted[::-1]))
    if missing > _MAX_MISSING_ROWS * mended.height:
        raise _Unusable(f"the picture is cut off: {missing} of {mended.height} rows are missing")
    notes.append(f"cut off: what is missing of the last {missing} of {mended.height} rows filled with grey")
    return mended


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing
        notes.append("the EXIF block cannot be read and is ignored")
        return 1
    if orientation not in range(1, 9):
        notes.append(f"EXIF orientation {orientation} does not exist and is ignored")
        return 1
    return orientation


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation][0]) if orientation > 1 else image


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "F":
        raise _Unusable("the picture holds floating-point numbers, whose white is unknown")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise _Unusable("the picture has more than 16 bits a pixel")
        notes.append("16-bit picture converted to 8-bit RGB")
        return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        notes.append(f"{_MODE_NAMES.get(image.mode, image.mode)} picture with transparency laid on white")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode != "RGB":
        notes.append(f"{_MODE_NAMES.get(image.mode, image.mode)} picture converted to RGB")
    return image.convert("RGB")
