"""`VOCFolder`, photographs in the layout of Pascal VOC, and `VOC2007`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from cambook.datasets.annotations import Annotation, read_annotation
from cambook.datasets.base import check_counts
from cambook.datasets.downloads import Archive
from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import (
    Unusable,
    as_on_disk,
    decoded,
    existing_folder,
    files_below,
    is_litter,
    nfc,
    read_inside,
    short_path,
    suffixes,
)
from cambook.datasets.registry import register
from cambook.datasets.splits import split_lists


@register
class VOCFolder(Photographs):
    """The images of one split of a folder in Pascal VOC layout.

    Batches come from `Photographs.batch`. Annotations count pixels from 1 and include the last one; boxes here are
    half-open (x0, y0, x1, y1), x0 = xmin - 1 and x1 = xmax, then scaled with the image.

    Args:
        folder: the one that contains JPEGImages, Annotations and ImageSets/Main.
        split: "train" reads train.txt; "test" reads test.txt or else val.txt, or a list called after the split in
            another of the usual ways, such as Training.txt. Any other list in ImageSets/Main is called by its own name
            ("trainval"; "cat_val", whose lines "id 1" belong to it and "id -1" and "id 0" not).
        size, length, seed: as for `load`.

    A list names images by their ids, file names without ending; "day1/cat0" is in the folder day1 of JPEGImages. Lines
    with an ending, quotes, backslashes or a longer path are read as the image that they can only mean, which `report`
    says.

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
        root = as_on_disk(Path(folder).expanduser())
        super().__init__(folder, split, size, root)
        check_counts(size, length)
        lists = _split_lists(root)
        files = _Files(root, self.report)
        standard = split_lists(lists)
        ids = self._read_list(_list_of(split, lists, standard, root), files)
        for identity in ids:
            for unused in files.twins.get(identity, ()):
                used = Path(files.pictures[identity]).name
                self.report.append(f"{short_path(Path(unused))}: not used, {used} is the image of that name")

        split_ids = {s: set(_listed(lists[n], files)[0]) for s, n in standard.items()}
        known, problems = _read_annotations(sorted(set(ids).union(*split_ids.values())), files, root)
        classes = _classes({i: one for i, one in known.items() if i in files.pictures}, problems, root)
        for identity in sorted(set(ids).intersection(*split_ids.values()) if len(split_ids) == 2 else ()):
            self.report.append(f"{identity}: kept, though it is in the train list and in the test list")
        problems |= {identity: files.why_missing(identity) for identity in ids if identity not in files.pictures}
        self.look_through(
            [Listed(i, None, files.pictures.get(i), files.annotation(i), None, problems.get(i)) for i in ids],
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
        other = split_ids.get({"train": "test", "test": "train"}.get(split, ""), ())
        self.compare_with_other_split([files.pictures[i] for i in sorted(other) if i in files.pictures])

    def _read_list(self, list_file: Path, files: _Files) -> list[str]:
        listed, others = _listed(list_file, files)
        if others:
            line, identity = next(iter(others.items()))
            self.report.append(
                f"{short_path(list_file)}: {len(others)} of {len(listed)} lines are not the names of images without "
                f'ending, and are read as those that they mean, the first of them "{line}" as {identity}'
            )
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
    drawn_on = "stored"  # as all tools of its time did
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
    existing_folder(root)
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        if not (root / part).is_dir():
            inside = [p.parent for p in sorted(root.glob(f"*/{part.split('/')[0]}")) if p.is_dir()]
            nested = next((each for each in inside if not is_litter(each.name)), None)
            mend = f"give {nested}" if nested else "it must contain JPEGImages, Annotations and ImageSets/Main"
            raise FileNotFoundError(f"{root} has no folder {part}: {mend}")
        if not (root / part).resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{root / part} is a link that leaves the folder: put the files there")
    files = [p for p in sorted((root / "ImageSets/Main").iterdir()) if p.suffix.lower() == ".txt" and p.is_file()]
    return {nfc(p.stem): p for p in files if not is_litter(p.name)}


class _Files:
    """The images and annotations of a folder by id, the path without ending; no id can name a file outside.

    Attributes:
        pictures: id -> file.
        twins: id -> files that are not used, as another one of that id is.
    """

    def __init__(self, root: Path, report: list[str]) -> None:
        known = suffixes()
        self.pictures: dict[str, str] = {}
        self.twins: dict[str, list[str]] = {}
        self._unread: dict[str, str] = {}
        ranked = []
        for identity, ending, file in _with_ids(root / "JPEGImages", report):
            if ending in known:
                ranked.append((known.index(ending), file, identity))
            else:
                self._unread[identity] = ending
        for _, file, identity in sorted(sorted(ranked, key=itemgetter(1), reverse=True), key=itemgetter(0)):
            if identity in self.pictures:
                self.twins.setdefault(identity, []).append(file)
            else:
                self.pictures[identity] = file
        annotations = sorted(_with_ids(root / "Annotations", report))
        self._annotations = {identity: file for identity, ending, file in annotations if ending == ".xml"}
        self._by_name: dict[str, list[str]] = {}
        self._any_case: dict[str, list[str]] = {}
        for identity in self.pictures:
            self._by_name.setdefault(identity.rpartition("/")[2], []).append(identity)
            self._any_case.setdefault(identity.casefold(), []).append(identity)

    def identity(self, text: str) -> str | None:
        """The id of the image that a line of a list means; None if there is none, or more than one."""
        if text in self.pictures:
            return text
        path = _as_path(text)
        *folders, name = path.split("/")
        if "JPEGImages" in folders:
            folders = folders[len(folders) - folders[::-1].index("JPEGImages") :]
        elif path.startswith("/") or ":" in path.partition("/")[0]:  # absolute
            return None
        if ".." in folders:
            return None
        stem, ending = os.path.splitext(name)
        names = [name, stem] if ending.lower() in (*suffixes(), ".xml") else [name]
        for first in range(len(folders) + 1):
            for each in names:
                if (found := "/".join([*folders[first:], each])) in self.pictures:
                    return found
        if not folders:
            for each in names:
                if len(found := self._by_name.get(each, ())) == 1:
                    return found[0]
        for each in names:
            if len(found := self._any_case.get("/".join([*folders, each]).casefold(), ())) == 1:
                return found[0]
        return None

    def annotation(self, identity: str) -> str | None:
        """The annotation of an image: of its id, or of its name if no other image is called so."""
        name = identity.rpartition("/")[2]
        alone = len(self._by_name.get(name, ())) == 1
        return self._annotations.get(identity) or (self._annotations.get(name) if alone else None)

    def why_missing(self, identity: str) -> str:
        path = _as_path(identity)
        name = path.rpartition("/")[2]
        if len(several := self._by_name.get(name, ())) > 1 and name == identity:
            return f"JPEGImages has several images of this name: list the one that is meant, such as {min(several)}"
        if ending := self._unread.get(path) or self._unread.get(os.path.splitext(path)[0]):
            return f"Pillow does not read files with {ending}: save it as JPEG or PNG"
        if "/" in path:
            return "an id is the name of an image in JPEGImages and may not be a path out of it"
        return "JPEGImages has no image of this name"


def _as_path(line: str) -> str:
    """A line of a list without quotes and commas around it, with slashes between its folders."""
    return line.strip("\"'`,; \t").replace("\\", "/").removeprefix("./")


def _with_ids(folder: Path, report: list[str]) -> Iterator[tuple[str, str, str]]:
    """(id, ending, path) of the files in a folder and those inside it."""
    start = len(str(folder)) + 1
    for file in files_below(folder, report):
        stem, ending = os.path.splitext(file[start:])
        yield nfc(stem.replace(os.sep, "/")), ending.lower(), file


def _list_of(split: str, lists: dict[str, Path], standard: dict[str, str], root: Path) -> Path:
    name = standard.get(split, nfc(split))
    if name not in lists:
        there = ", ".join(f"{n}.txt" for n in sorted(lists)[:8]) or "none"
        wanted = "test.txt or val.txt" if split == "test" else f"{split}.txt"
        raise FileNotFoundError(
            f'{root}/ImageSets/Main has no {wanted} for the split "{split}": add it, one id per line (there: {there})'
        )
    return lists[name]


def _listed(list_file: Path, files: _Files) -> tuple[list[str], dict[str, str]]:
    """The ids in a list, and line -> id for lines that are not ids and can only mean that one."""
    root = list_file.parents[2]
    try:
        lines = _lines(read_inside(list_file, root), files)
    except Unusable as error:
        raise ValueError(f"{list_file}: {error}; put a text file with one id per line there") from error
    listed, others, folders = [], {}, {}
    for line in filter(None, map(str.strip, lines)):
        *words, flag = line.split()
        named, flagged = files.identity(line), len(words) > 0 and flag in ("1", "0", "-1")
        if named is None and flagged:
            line = " ".join(words)
            named = files.identity(line)
            if flag != "1":
                continue
        if named not in (None, line):
            others[line] = named
            folder = _as_path(line).rpartition("/")[0].rpartition("JPEGImages")[2]
            if folder and folders.setdefault(named, folder) != folder:
                raise ValueError(
                    f"{list_file}: {folders[named]}/{named} and {folder}/{named} may both mean JPEGImages/{named}: put "
                    "the images into those folders of JPEGImages"
                )
        listed.append(line if named is None else named)
    return listed, others


def _lines(data: bytes, files: _Files) -> list[str]:
    """The lines of a list, in UTF-8 or else in the encoding of East Asia in which most of them name images."""

    def known(text: str) -> int:
        lines = [line.strip() for line in text.splitlines()]
        return sum(
            (files.identity(line) or files.identity(line.rpartition(" ")[0].rstrip())) is not None for line in lines
        )

    texts = [decoded(data)]
    if "\N{REPLACEMENT CHARACTER}" in texts[0]:
        texts += [nfc(data.decode(codec, "replace")) for codec in ("cp949", "cp932", "gb18030", "big5hkscs")]
    return max(texts, key=known).splitlines() if len(texts) > 1 else texts[0].splitlines()


# ---- the annotations


def _read_annotations(ids: list[str], files: _Files, root: Path) -> tuple[dict[str, Annotation], dict[str, str]]:
    """Id -> its annotation, and id -> why it has none that can be used."""
    known: dict[str, Annotation] = {}
    problems: dict[str, str] = {}
    for identity in ids:
        try:
            file = files.annotation(identity)
            if file is None:
                raise Unusable(f"Annotations/{identity}.xml is missing")
            known[identity] = read_annotation(read_inside(Path(file), root))
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
