"""`COCO`: photographs with boxes in COCO's JSON, as Label Studio, CVAT and Roboflow export them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cambook.datasets.json_lists import entries_of
from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import as_on_disk, files_in, folders_in, is_litter, nearest_path, nfc, short_path
from cambook.datasets.registry import register
from cambook.datasets.splits import quarter, role_of

LISTS = ("images", "annotations", "categories")
_BESIDE_IMAGES = ("annotations", "annotation", "anns", "labels", "json", "coco")  # folders for the JSON files alone
_SEARCHED = "beside the JSON file, in images/ or in a folder called after it"
_ONE = {"boxes": "box", "entries": "entry", "categories": "category"}
_LONGEST_NAME = 500  # letters
_ROUNDING = 1.0  # pixels by which a tool's rounding may push a box past the border


@register
class COCO(Photographs):
    """The images of one split of a COCO file, with boxes.

    Batches come from `Photographs.batch`. A COCO box is x, y, width and height in pixels counted from 0, fractions
    included, so (x, y, x + width, y + height) is half-open. What lies past the border by less than a pixel is rounding,
    and is clipped. Boxes are all that is read: no polygons, run-length masks or keypoints.

    Args:
        file: the JSON file, as exported. Its images lie beside it, in a folder images or data, or in one called after
            the file or its split, such as train2017 for instances_train2017.json; if the JSON file is in a folder
            annotations, also beside that folder. A `file_name` with backslashes, or with a longer path, is read as the
            one image that it can only mean, and never as one outside of these folders.
        split: "train" or "test". Of instances_train2017.json and instances_val2017.json, or of
            train/_annotations.coco.json and the files of that name in valid/ and test/, one is the file to train on;
            the file to test on is the one that was given, or else that called test or, failing that, val. Of a file
            that stands alone, a quarter of each class is "test", as in `ClassFolders`.
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not COCO's JSON or too large, for fewer than two classes, or if no image can be used.

    Attributes:
        names: each image's `file_name`, with slashes between its folders.
        classes: sorted names of the labels in both splits together. Categories without an image are not among them.
        labels: the category of an image's boxes; of several, the one with the largest total box area. Boxes marked
            `iscrowd` are ignored.

    Source: Lin et al. 2014, Microsoft COCO: Common Objects in Context; its data format.

    Example:
        >>> COCO.written(), COCO.splits["test"] is None
        ('coco:FILE', True)
    """

    kind, needs = "coco", "FILE"
    source = "a JSON file as Label Studio, CVAT or Roboflow export it for COCO, with its images beside it; boxes alone"
    licence = "your own"

    def __init__(self, file: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        path = _existing_file(file)
        folder = path.parent
        above = folder.name.casefold() in _BESIDE_IMAGES or role_of(folder.name) is not None
        super().__init__(file, split, size, folder.parent if above else folder)
        files, note = _split_files(path)
        self.report += [note] if note else []
        read = {each: _Annotations(found) for each, found in files.items()}
        if not read:
            read = dict.fromkeys(("train", "test"), _Annotations(path))
        self.report += read[split].report
        parts = {each: found.images for each, found in read.items()} if files else _in_two(read[split].images)
        classes = _classes([one for part in parts.values() for one in part], path)
        listed, several = [], set()
        for one in parts[split]:
            label = classes.index(one.label) if one.label in classes else None
            box = (*one.tag, *(side for each in one.boxes.get(one.label, ()) for side in each))
            listed.append(Listed(one.name, label, one.picture, None, box, one.problem))
            if len(one.boxes) > 1:
                several.add(one.name)
        other = {one.picture for one in parts["test" if split == "train" else "train"] if not one.problem}
        for one in parts[split]:
            if not one.problem and one.picture in other:
                self.report.append(f"{one.name}: kept, though it is in the train file and in the test file")
        self.look_through(listed, classes, length, seed)
        if count := sum(name in several for name in self.names):
            self.report.append(
                f"{count} of {len(self.names)} images show several classes: "
                "labelled by the one with the largest total box area"
            )
        self.compare_with_other_split(sorted(other))

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        width, height, *sides = one.box
        boxes = np.array(sides, np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        if not (width >= 1 and height >= 1):
            return Truth(one.label, boxes, None)
        clipped = np.clip(boxes, 0, [width, height] * 2)
        return Truth(one.label, np.where(np.abs(clipped - boxes) < _ROUNDING, clipped, boxes), (width, height))


# ---- which files


def _existing_file(file: str | Path) -> Path:
    path = as_on_disk(Path(file).expanduser())
    if os.path.isdir(path):
        found = [each for where in (path, *folders_in(path)) for each in files_in(where) if each.suffix == ".json"]
        mend = f"give {min(found, key=lambda each: _role(each)[0] != 'train')}" if found else "it contains no JSON file"
        raise FileNotFoundError(f"{path} is a folder, and the JSON file in it is needed: {mend}")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {path}{nearest_path(path)}")
    return path


def _role(file: Path) -> tuple[str | None, tuple[str, ...]]:
    """The split that a file is called after, by one of the words of its name, and the rest of its name."""
    words = re.split(r"[\W_]+", nfc(file.stem).casefold())
    found = [i for i, word in enumerate(words) if role_of(word)]
    if len(found) != 1:
        return None, tuple(words)
    word = words[found[0]]
    return role_of(word), (*words[: found[0]], re.sub(r"\D", "", word), *words[found[0] + 1 :])


def _split_files(file: Path) -> tuple[dict[str, Path], str]:
    """{"train": file, "test": file}, one of them the given one; {} if it stands alone, and a sentence about that."""
    role, rest = _role(file)
    there: dict[str, list[Path]] = {}
    if role:
        for each in files_in(file.parent):
            if each.suffix.lower() == ".json" and (found := _role(each))[0] and found[1] == rest:
                there.setdefault(found[0], []).append(each)
    elif role := role_of(file.parent.name):
        for folder in folders_in(file.parent.parent):
            if (found := role_of(folder.name)) and (folder / file.name).is_file():
                there.setdefault(found, []).append(folder / file.name)
    if role is None:
        return {}, ""
    there[role] = [file]
    chosen = {"train": there.get("train"), "test": there.get("test" if role != "val" else "val") or there.get("val")}
    for split, found in chosen.items():
        if not found:
            kind = "a quarter of each class is the test split"
            return {}, f"{short_path(file)}: no file of the {split} split is beside it, so {kind}"
        if len(found) > 1:
            names = " and ".join(short_path(each) for each in found[:2])
            raise ValueError(f"{file}: {names} may both be its {split} split: move one of them away")
    return {split: found[0] for split, found in chosen.items()}, ""


def _in_two(images: list[_Entry]) -> dict[str, list[_Entry]]:
    """The train and test parts of a file that stands alone: a quarter of each class is "test"."""
    by_label: dict[str, list[_Entry]] = {}
    for one in sorted(images, key=lambda one: one.name):
        by_label.setdefault("" if one.problem else one.label, []).append(one)
    parts: dict[str, list[_Entry]] = {"train": [], "test": []}
    for each in by_label.values():
        for split, some in quarter(each, lambda one: one.name.rpartition("/")[2]).items():
            parts[split] += some
    return parts


def _classes(images: list[_Entry], file: Path) -> list[str]:
    """The names of the labels, sorted. Raises ValueError for fewer than two."""
    classes = sorted({one.label for one in images if not one.problem})
    if len(classes) < 2:
        problem = next((f" ({one.name}: {one.problem})" for one in images if one.problem), "")
        found = f'only the class "{classes[0]}"' if classes else f"no image that can be used{problem}"
        raise ValueError(f"{file} has {found}, and at least two classes are needed: add images of another class")
    return classes


# ---- what a file says


@dataclass
class _Entry:
    """An image of a file: its boxes are class -> [(x, y, width, height)], and its tag is (0, 0) if no size is given."""

    name: str
    tag: tuple[float, float]
    picture: str | None = None
    boxes: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    problem: str | None = None

    @property
    def label(self) -> str:
        """The class with the largest total box area; empty without a box."""
        return max(sorted(self.boxes), key=lambda name: sum(w * h for _, _, w, h in self.boxes[name]), default="")


class _Annotations:
    """What one file says.

    Attributes:
        images: those that it lists, found on the disk, with their boxes.
        report: one sentence for each reason why something was left out.
    """

    def __init__(self, file: Path) -> None:
        self._file, self.images, self.report = file, [], []
        self._left_out: dict[str, list] = {}  # why -> [what, how many, the first of them]
        categories: dict[Any, str] = {}
        images: dict[Any, _Entry] = {}
        boxes: dict[Any, list[tuple]] = {}
        for kind, entry in entries_of(file, LISTS):
            if not isinstance(entry, dict):
                self._leave_out("as they are not objects with names and values", "entries", f"in {kind}")
            elif kind == "categories":
                self._add_category(entry, categories)
            elif kind == "images":
                self._add_image(entry, images)
            else:
                self._add_box(entry, boxes)
        for image, found in boxes.items():
            for category, *sides in found:
                if image not in images:
                    self._leave_out("of an image that the file does not list", "boxes", f"image_id {str(image)[:40]}")
                elif category not in categories:
                    what = f"category_id {str(category)[:40]} of {images[image].name}"
                    self._leave_out("of a category that the file does not list", "boxes", what)
                else:
                    images[image].boxes.setdefault(categories[category], []).append(tuple(sides))
        others = self._find(images.values())
        for why, (what, count, first) in self._left_out.items():
            some = f"{count} {_ONE.get(what, what.removesuffix('s')) if count == 1 else what}"
            self.report.append(f"{short_path(file)}: {some} left out, {why} (first: {first})")
        if others:
            self.report.append(
                f"{short_path(file)}: {len(others)} of {len(self.images)} file names are not paths of images, and are "
                f"read as those that they can only mean, the first of them {others[0]}"
            )

    def _leave_out(self, why: str, what: str, first: str) -> None:
        self._left_out.setdefault(why, [what, 0, first])[1] += 1

    def _add_category(self, entry: dict, categories: dict[Any, str]) -> None:
        key, name = _key(entry.get("id")), _text(entry.get("name"))
        if key is None or not name:
            self._leave_out("without an id or a name", "categories", str(entry.get("id"))[:40])
        elif categories.setdefault(key, name) != name:
            raise ValueError(
                f'{self._file}: category {key} is both "{categories[key]}" and "{name}": give each category its own id'
            )

    def _add_image(self, entry: dict, images: dict[Any, _Entry]) -> None:
        key, name = _key(entry.get("id")), "/".join(_steps(_text(entry.get("file_name"))))
        if key is None or not name:
            self._leave_out("without an id or a file_name", "images", (name or str(entry.get("id")))[:40])
            return
        sides = [_number(entry.get(side)) for side in ("width", "height")]
        one = _Entry(name, tuple(sides) if None not in sides and min(sides) >= 1 else (0.0, 0.0))
        known = images.setdefault(key, one)
        if known is not one and known.name != name:
            known.problem = f"its id {key} is also that of {name}, so that nobody knows whose its boxes are"
            self._leave_out("with the id of another", "images", name)
        elif known is not one and known.tag != one.tag:
            known.problem = "it is listed twice, with different sizes"

    def _add_box(self, entry: dict, boxes: dict[Any, list[tuple]]) -> None:
        image, category, box = _key(entry.get("image_id")), _key(entry.get("category_id")), entry.get("bbox")
        sides = [_number(side) for side in box] if isinstance(box, list) and len(box) == 4 else [None]
        first = f"image_id {str(entry.get('image_id'))[:40]}"
        if entry.get("iscrowd") not in (None, 0, "0"):
            self._leave_out("marked iscrowd", "boxes", first)
        elif image is None or category is None:
            self._leave_out("without an image_id or a category_id", "boxes", first)
        elif None in sides:
            self._leave_out("whose bbox is not four numbers of pixels", "boxes", first)
        elif sides[2] <= 0 or sides[3] <= 0:
            self._leave_out("without area", "boxes", first)
        else:
            boxes.setdefault(image, []).append((category, *sides))

    def _find(self, images: Iterable[_Entry]) -> list[str]:
        """Gives each image its file, or why it cannot be used; returns those that are read as another path."""
        folders, by_file, others = _Folders(self._file), {}, []
        for one in images:
            found = folders.find(one.name)
            if found and (twin := by_file.get(found[0])):
                twin.problem = "several entries of its file mean this image"
                self._leave_out("as they mean the file of another", "images", one.name)
                continue
            self.images.append(one)
            if len(found) == 1:
                one.picture = found[0]
                by_file[one.picture] = one
                if not Path(one.picture).as_posix().endswith("/" + one.name):
                    others.append(f"{one.name} as {short_path(Path(one.picture))}")
            elif found:
                one.problem = f"{short_path(Path(found[0]))} and {short_path(Path(found[1]))} may both be meant"
            else:
                one.problem = one.problem or "there is no image of this name " + _SEARCHED
            if not one.boxes:
                one.problem = one.problem or "no box that can be used is given for it"
        return others


# ---- where images are


class _Folders:
    """The folders in which a file's images may be. A name is looked up in what they contain, so none leads out."""

    def __init__(self, file: Path) -> None:
        homes = [file.parent]
        if file.parent.name.casefold() in _BESIDE_IMAGES or role_of(file.parent.name):
            homes.append(file.parent.parent)
        words = dict.fromkeys(["images", "data", nfc(file.stem), *re.split(r"[\W_]+", nfc(file.stem))])
        self._listings: dict[str, tuple[dict[str, str], dict[str, list[str]]]] = {}
        self._folders = [str(home) for home in homes]
        for home in map(str, homes):
            for first in filter(None, words):
                self._folders += [found] if (found := self._step(home, first)) and os.path.isdir(found) else []
            for base in ("images", "data"):
                for part in filter(None, words):
                    within = (inner := self._step(home, base)) and os.path.isdir(inner) and self._step(inner, part)
                    self._folders += [within] if within and os.path.isdir(within) else []
        self._folders = list(dict.fromkeys(self._folders))

    def find(self, name: str) -> list[str]:
        """The files that the longest end of a path may mean."""
        steps = name.split("/")
        for first in range(len(steps)):
            found = dict.fromkeys(
                file for folder in self._folders if (file := self._below(folder, steps[first:])) is not None
            )
            if found:
                return list(found)
        return []

    def _below(self, folder: str, steps: list[str]) -> str | None:
        for step in steps[:-1]:
            folder = self._step(folder, step)
            if folder is None or not os.path.isdir(folder):
                return None
        found = self._step(folder, steps[-1])
        return found if found and not os.path.isdir(found) else None

    def _step(self, folder: str, name: str) -> str | None:
        """The file or folder of that name in a folder, whatever its case if there is one such alone."""
        if folder not in self._listings:
            exact: dict[str, str] = {}
            folded: dict[str, list[str]] = {}
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not is_litter(entry.name):
                        exact[nfc(entry.name)] = entry.path
                        folded.setdefault(nfc(entry.name).casefold(), []).append(entry.path)
            self._listings[folder] = exact, folded
        exact, folded = self._listings[folder]
        if name in exact:
            return exact[name]
        alike = folded.get(name.casefold(), [])
        return alike[0] if len(alike) == 1 else None


def _steps(file_name: str) -> list[str]:
    """The folders and the file of a `file_name`, with what precedes a step out of a folder, or a query, left away."""
    path = file_name.replace("\\", "/").rpartition("?d=")[2]
    steps = [step for step in path.split("/") if step not in ("", ".")]
    return steps[len(steps) - steps[::-1].index("..") :] if ".." in steps else steps


# ---- values


def _key(value: Any) -> Any:
    """An id: a whole number or text; None for anything else."""
    whole = isinstance(value, int | str) or (isinstance(value, float) and value.is_integer())
    return value if whole and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    """A name in one line that can be printed; empty for what cannot be one."""
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        return ""
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029]", "?", nfc(value).strip().encode("utf-8", "replace").decode("utf-8"))


def _number(value: Any) -> float | None:
    """A number of pixels; None for what cannot be one."""
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable and abs(value) < 1e9 else None
