"""`VOCFolder`, photographs in the layout of Pascal VOC, and `VOC2007`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from cambook.datasets.annotations import Annotation, read_annotation
from cambook.datasets.base import check_counts
from cambook.datasets.downloads import Archive
from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import SUFFIXES, Unusable, nearest_path, read_inside, short_path
from cambook.datasets.registry import register


@register
class VOCFolder(Photographs):
    """The images of one split of a folder in Pascal VOC layout.

    Batches come from `Photographs.batch`. Annotations count pixels from 1 and include the last one; boxes here are
    half-open (x0, y0, x1, y1), x0 = xmin - 1 and x1 = xmax, then scaled with the image.

    Args:
        folder: the one that contains JPEGImages, Annotations and ImageSets/Main.
        split: "train" reads train.txt; "test" reads test.txt or else val.txt. Any other list in ImageSets/Main is
            called by its own name ("trainval"; "cat_val", whose lines "id 1" belong to it and "id -1" and "id 0" not).
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: before decoding, for a missing folder or list.
        ValueError: before decoding, if the lists name fewer than two classes; after it, if no image can be used.

    Attributes:
        classes: sorted names of the labels in the train and test lists together, so that both splits agree.
        labels: the class of an image's objects; of several, the one with the largest total box area. Objects marked
            difficult are ignored, as in the VOC challenge.

    Source: Everingham et al. 2010, The Pascal Visual Object Classes Challenge.

    Example:
        >>> VOCFolder.written(), VOCFolder.splits["test"] is None
        ('voc:FOLDER', True)
    """

    kind, needs = "voc", "FOLDER"
    source = "a folder with JPEGImages, Annotations and ImageSets/Main"
    licence = "your own"

    smaller = False  # data/results/photographs.csv was measured on images that were decoded in full

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        root = Path(folder).expanduser()
        super().__init__(folder, split, size, root)
        check_counts(size, length)
        lists = _split_lists(root)
        pictures = _listing(root, "JPEGImages", SUFFIXES)
        annotations = _listing(root, "Annotations", (".xml",))
        chosen_list = _list_of(split, lists, root)
        ids = self._read_list(chosen_list, pictures)
        listed = set(ids)
        for file in _files(root, "JPEGImages", SUFFIXES):
            if file.stem in listed and file != pictures[file.stem]:
                used = pictures[file.stem].name
                self.report.append(f"{short_path(file)}: not used, {used} is the image of that name")

        split_ids = {s: set(_listed(lists[n], pictures)) for s, n in _standard_lists(lists).items()}
        known, problems = _read_annotations(sorted(set(ids).union(*split_ids.values())), annotations, root)
        classes = _classes({i: one for i, one in known.items() if i in pictures}, problems, root)
        for identity in sorted(set(ids).intersection(*split_ids.values()) if len(split_ids) == 2 else ()):
            self.report.append(f"{identity}: kept, though it is in the train list and in the test list")
        problems |= {identity: _why_missing(identity) for identity in ids if identity not in pictures}
        self.look_through(
            [Listed(i, None, _text(pictures.get(i)), _text(annotations.get(i)), None, problems.get(i)) for i in ids],
            classes,
            length,
            seed,
        )
        if several := sum(len(known[name].boxes) > 1 for name in self.names):
            self.report.append(
                f"{several} of {len(self.names)} images show several classes: "
                "labelled by the one with the largest total box area"
            )
        if difficult := sum(known[name].difficult for name in self.names):
            self.report.append(f"{difficult} objects marked difficult are ignored, as in the VOC challenge")

    def _read_list(self, list_file: Path, pictures: dict[str, Path]) -> list[str]:
        listed = _listed(list_file, pictures)
        for identity, times in Counter(listed).items():
            if times > 1:
                self.report.append(f"{short_path(list_file)}: {identity} is listed {times} times, used once")
        if not listed:
            raise ValueError(f"{list_file} lists no image: write one id per line, a file name without ending")
        return sorted(set(listed))

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        found = read_annotation(data)
        return Truth(self.classes.index(found.label), found.boxes[found.label], found.tag, None, found.notes)


@register
class VOC2007(VOCFolder):
    """Pascal VOC 2007: "train" is its list trainval, "test" its list test, as in the challenge.

    Args:
        folder: VOC2007 (JPEGImages, Annotations, ImageSets/Main), or one that contains it or VOCdevkit.
        split, size, length, seed: as for `VOCFolder`, with the same errors.

    Example:
        >>> VOC2007.written(), VOC2007.splits["test"]
        ('voc2007', 4952)
    """

    kind, needs = "voc2007", ""
    splits = {"train": 5011, "test": 4952}
    source = "Pascal VOC 2007, http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"
    licence = "images under Flickr's terms of use"
    archives = tuple(
        Archive.at(
            ("https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/", "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"),
            *each,
        )
        for each in (  # the MD5 are torchvision's
            ("VOCtrainval_06-Nov-2007.tar", 460_032_000, "md5:c52e279531787c972589f7e41ab4ae64"),
            ("VOCtest_06-Nov-2007.tar", 451_020_800, "md5:b6e924de25625d8de591ea690078ad9f"),
        )
    )

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        roots = [Path(folder).expanduser() / inner for inner in ("VOCdevkit/VOC2007", "VOC2007", "")]
        root = next((each for each in roots if (each / "JPEGImages").is_dir()), roots[-1])
        super().__init__(root, {"train": "trainval"}.get(split, split), size, length=length, seed=seed)
        self.split = split


# ---- the folder: which files it has, and none outside of it


def _split_lists(root: Path) -> dict[str, Path]:
    if not os.path.isdir(root):
        raise FileNotFoundError(f"there is no folder {root}{nearest_path(root)}")
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        if not (root / part).is_dir():
            nested = next((p.parent for p in root.glob(f"*/{part.split('/')[0]}") if p.is_dir()), None)
            mend = f"give {nested}" if nested else "it must contain JPEGImages, Annotations and ImageSets/Main"
            raise FileNotFoundError(f"{root} has no folder {part}: {mend}")
        if not (root / part).resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{root / part} is a link that leaves the folder: put the files there")
    return _listing(root, "ImageSets/Main", (".txt",))


def _listing(root: Path, part: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Id -> file. Ids are only ever looked up here, so that no id can name a file outside."""
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
            f'{root}/ImageSets/Main has no {wanted} for the split "{split}": add it, one id per line (there: {there})'
        )
    return lists[name]


def _listed(list_file: Path, pictures: dict[str, Path]) -> list[str]:
    root = list_file.parents[2]
    try:
        lines = read_inside(list_file, root).decode("utf-8-sig", "replace").splitlines()
    except Unusable as error:
        raise ValueError(f"{list_file}: {error}; put a text file with one id per line there") from error
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
        return "an id is the name of an image in JPEGImages and may not be a path"
    return "JPEGImages has no image of this name"


# ---- the annotations


def _read_annotations(
    ids: list[str], annotations: dict[str, Path], root: Path
) -> tuple[dict[str, Annotation], dict[str, str]]:
    """Id -> its annotation, and id -> why it has none that can be used."""
    known: dict[str, Annotation] = {}
    problems: dict[str, str] = {}
    for identity in ids:
        try:
            if identity not in annotations:
                raise Unusable(f"Annotations/{identity}.xml is missing")
            known[identity] = read_annotation(read_inside(annotations[identity], root))
        except Unusable as error:
            problems[identity] = str(error)
    return known, problems


def _classes(known: dict[str, Annotation], problems: dict[str, str], root: Path) -> list[str]:
    """The names of the labels, sorted. Raises ValueError for fewer than two."""
    classes = sorted({annotation.label for annotation in known.values()})
    if len(classes) < 2:
        reason = next((f" ({problem})" for problem in problems.values()), "")
        found = f'only the class "{classes[0]}"' if classes else f"no listed image with a usable annotation{reason}"
        raise ValueError(
            f"{root} has {found} and at least two classes are needed: add images of another class "
            "to JPEGImages, Annotations and ImageSets/Main"
        )
    return classes
