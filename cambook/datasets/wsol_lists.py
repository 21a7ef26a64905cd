"""Lists as wsolevaluation writes them, read without any image: ids, labels, sizes, boxes and the paths of masks."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cambook.datasets.decoding import decode_mask
from cambook.datasets.reading import (
    Unusable,
    as_on_disk,
    existing_folder,
    folders_in,
    leads_out,
    nfc,
    read_inside,
    short_path,
)

FOLDERS = {"train": ("train", "train-weaksup"), "val": ("val", "train-fullsup"), "test": ("test",)}
GRID = 224  # the side of the grid on which wsolevaluation counts
OUTSIDE = "its id in image_ids.txt is not a path inside the folder of images"

_LONGEST = 10_000  # characters of a line
_MOST_CLASSES = 100_000
_WHOLE = re.compile(r"-?\d{1,9}", re.ASCII)


@dataclass
class Lists:
    """What the lists of one split say about its images; ids that cannot be used are in `left_out` alone.

    Attributes:
        root: the folder of the split.
        ids: in the order of image_ids.txt.
        labels: id -> index of its class, counted from 0.
        sizes: id -> (width, height) that its boxes count in; empty if there are no boxes.
        boxes: id -> its boxes (x0, y0, x1, y1) as written, the last pixel included; empty if there are masks.
        masks: id -> (paths of its masks, path of its ignore mask or ""); empty if there are boxes.
        has_masks: whether localization.txt gives masks.
        left_out: id -> why it cannot be used.

    Example:
        >>> Lists(Path("metadata/test"), ["cat.jpg"], {"cat.jpg": 0}).has_masks
        False
    """

    root: Path
    ids: list[str]
    labels: dict[str, int]
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    boxes: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=dict)
    masks: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    has_masks: bool = False
    left_out: dict[str, str] = field(default_factory=dict)


def read_lists(metadata: str | Path, split: str) -> Lists:
    """The lists of one split, without a look at any image.

    Args:
        metadata: contains the folders of the splits, or metadata/ with them or with one folder that contains them; or
            the folder of the split itself, in which image_ids.txt lies.
        split: "train" (also "train-weaksup"), "val" (also "train-fullsup"), "test", or "train-proxy", those of the
            training images that image_ids_proxy.txt lists.

    Returns:
        `Lists`, with every image that has a label and, unless it is a training image, a box or a mask.

    Raises:
        FileNotFoundError: for a folder or list that is missing.
        ValueError: for an unknown split, or if a list is damaged or its rows disagree, with file and line; or if no
            listed image can be used.

    Source: Choe et al. 2020, Evaluating weakly supervised object localization methods right;
        https://github.com/clovaai/wsolevaluation.

    Example:
        >>> import tempfile
        >>> rows = {"image_ids": "cat.jpg", "class_labels": "cat.jpg,0", "image_sizes": "cat.jpg,80,40"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "test").mkdir()
        ...     for name, row in {**rows, "localization": "cat.jpg,20,10,59,29"}.items():
        ...         _ = Path(folder, f"test/{name}.txt").write_text(row, encoding="utf-8")
        ...     lists = read_lists(folder, "test")
        >>> lists.labels, lists.boxes, grid_boxes(lists.boxes["cat.jpg"], lists.sizes["cat.jpg"]).tolist()
        ({'cat.jpg': 0}, {'cat.jpg': [(20, 10, 59, 29)]}, [[56.0, 56.0, 166.0, 163.0]])
    """
    part, top = part_of(split), existing_folder(metadata)
    if (top / "image_ids.txt").is_file():
        named = next((name for name, called in FOLDERS.items() if top.name in called), part)
        if named != part:
            raise ValueError(
                f'{top} is the folder of the split {named}, not {split}: ask for "{named}", or give another'
            )
        root = top
    else:
        root = split_folder(metadata_in(top), part)
    ids = read_ids(root, split)
    wanted, labels = set(ids), {}
    for identity, label in read_labels(root, wanted):
        if identity in wanted:
            labels[identity] = label
    lists = with_truth(root, ids, labels, needed=part != "train")
    if not lists.ids:
        first, why = next(iter(lists.left_out.items()))
        raise ValueError(f"{root}: no listed image can be used, the first, {first[:60]!r}, as {why}; correct the lists")
    return lists


def with_truth(root: Path, ids: list[str], labels: dict[str, int], needed: bool) -> Lists:
    """The boxes or masks of labelled ids, from the lists in a split's folder.

    Args:
        root: the folder of the split.
        ids: from `read_ids`.
        labels: of those that have one.
        needed: whether each image must have a box; one without it is left out.

    Raises:
        FileNotFoundError, ValueError: as `read_lists`.

    Example:
        >>> with_truth(Path("/nowhere/train"), ["cat.jpg", "dog.jpg"], {"cat.jpg": 0}, needed=False).left_out
        {'dog.jpg': 'class_labels.txt has no row for it'}
    """
    truths, masks = _truths(root, set(ids), needed)
    sizes = _sizes(root, set(truths)) if truths and not masks else {}
    lists = Lists(root, [], {}, has_masks=masks)
    for identity in ids:
        found = truths.get(identity)
        if leads_out(identity):
            problem = OUTSIDE
        elif identity not in labels:
            problem = "class_labels.txt has no row for it"
        elif not found:
            problem = "localization.txt has no row for it" if masks or needed else ""
        elif masks:
            leads = any(leads_out(path) for path in found if path)
            problem = "localization.txt names a mask outside the folder of masks" if leads else ""
        else:
            problem = _why_not(found, sizes.get(identity))
        if problem:
            lists.left_out[identity] = problem
            continue
        lists.ids.append(identity)
        lists.labels[identity] = labels[identity]
        if found and masks:
            lists.masks[identity] = tuple(found[:-1]), found[-1]
        elif found:
            lists.boxes[identity], lists.sizes[identity] = found, sizes[identity]
    return lists


# ---- onto the grid


def grid_boxes(boxes: Sequence[Sequence[float]], size: tuple[float, float]) -> np.ndarray:
    """Boxes on the grid of 224 x 224 pixels as wsolevaluation scales them, but half-open.

    Each of the four numbers is multiplied by 224 / size and its fraction cut off, the last pixel included.

    Args:
        boxes: (n, 4), x0, y0, x1, y1 with the last pixel included.
        size: width and height of the image that they count in.

    Returns:
        (n, 4) float64, x0, y0, x1 + 1, y1 + 1 on the grid; `metrics.BoxAccuracy` counts with the inclusive box.

    Raises:
        ValueError: if a box is not four finite numbers, or the size not at least 1 x 1.

    Source: wsolevaluation, util.py, resize_bbox.

    Example:
        >>> grid_boxes([(20, 10, 59, 29)], (80, 40)).tolist()
        [[56.0, 56.0, 166.0, 163.0]]
    """
    sides = (*size, *size)
    if not min(sides) >= 1 or not all(len(box) == 4 and np.isfinite(box).all() for box in boxes):
        raise ValueError(
            f"boxes {str(boxes)[:60]} in {size[0]} x {size[1]} pixels: give x0, y0, x1, y1, at least 1 x 1"
        )
    scaled = [[int(float(v) * GRID / of) for v, of in zip(box, sides, strict=True)] for box in boxes]
    return np.array(scaled, float).reshape(-1, 4) + [0, 0, 1, 1]


def grid_mask(paths: Iterable[str], ignore: str, folder: str | Path, size: int = GRID) -> tuple[np.ndarray, np.ndarray]:
    """The masks of one image on the grid as wsolevaluation puts them there: all of them together are the object.

    Args:
        paths: of its masks, from `folder`; each may have its own size.
        ignore: path of what counts neither way, or "".
        folder: what the paths start from.
        size: side of the grid.

    Returns:
        Object pixels (size, size) bool, all False if the masks mark none there; and those that are ignored, none of
        them object.

    Raises:
        FileNotFoundError: if a mask is missing.
        ValueError: if a path leads out of the folder, or a mask is damaged.

    Source: wsolevaluation, evaluation.py, get_mask.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[0, 255]], np.uint8)).save(Path(folder, "cat.png"))
        ...     mask, ignored = grid_mask(["cat.png"], "", folder)
        >>> bool(mask[:, :112].any()), bool(mask[:, 112:].all()), bool(ignored.any())
        (False, True, False)
    """
    masks = [_mask_in(Path(folder), path) for path in paths]
    found = joined(masks, _mask_in(Path(folder), ignore) if ignore else None, size)
    return found == 1, found == 2


def joined(masks: Iterable[np.ndarray], ignored: np.ndarray | None, size: int) -> np.ndarray:
    """All masks of an image on a grid: each cell has the value of the pixel at its first corner, as in OpenCV.

    Args:
        masks: (h, w) grey values, above 0 on the object; each may have its own size.
        ignored: (h, w), above 0 on what counts neither way, unless it is object; None if there is nothing of it.
        size: side of the grid.

    Returns:
        (size, size) uint8: 0 background, 1 object, 2 ignored.

    Example:
        >>> joined([np.array([[0, 255]])], np.array([[255]]), 4)[0].tolist()
        [2, 2, 1, 1]
    """
    found = np.zeros((size, size), np.uint8)
    if ignored is not None:
        found[_nearest(ignored, size) > 0] = 2
    for mask in masks:
        found[_nearest(mask, size) > 0] = 1
    return found


def _nearest(grey: np.ndarray, size: int) -> np.ndarray:
    """Grey values (h, w) on a grid of size x size: each cell that of the pixel at its first corner, as OpenCV does."""
    rows, columns = (
        np.minimum(np.floor(np.arange(size) * (1 / (size / side))).astype(int), side - 1) for side in grey.shape
    )
    return grey[np.ix_(rows, columns)]


def _mask_in(folder: Path, path: str) -> np.ndarray:
    if leads_out(path):
        raise ValueError(f"the mask {path[:60]!r} is not a path inside {folder}: correct localization.txt")
    file = as_on_disk(folder / path)
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no mask {file}: give the folder that the paths of localization.txt start from"
        )
    try:
        return np.asarray(decode_mask(read_inside(file, None)))
    except Unusable as error:
        raise ValueError(f"{short_path(file)}: {error}; put a PNG file there") from error


# ---- folders


def part_of(split: str) -> str:
    """The folder that a split is read from: "train", "val" or "test".

    Raises:
        ValueError: for an unknown split.

    Example:
        >>> part_of("train-fullsup"), part_of("train-proxy")
        ('val', 'train')
    """
    known = {name: part for part, called in FOLDERS.items() for name in called} | {"train-proxy": "train"}
    if split not in known:
        raise ValueError(f'unknown split "{split}": use {", ".join(known)}')
    return known[split]


def metadata_in(top: Path) -> Path:
    """The folder that contains the splits: the given one, metadata/ in it, or the one folder there that does.

    Raises:
        FileNotFoundError: if none of them does.
        ValueError: if several folders in metadata/ do.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "metadata/CUB/test").mkdir(parents=True)
        ...     _ = Path(folder, "metadata/CUB/test/image_ids.txt").write_text("cat.jpg", encoding="utf-8")
        ...     metadata_in(Path(folder)).name
        'CUB'
    """
    inside = folders_in(top / "metadata") if (top / "metadata").is_dir() else []
    found = [each for each in (top, top / "metadata", *inside) if any(map(folders_of(each).get, FOLDERS))]
    if not found:
        raise FileNotFoundError(
            f"{top} has no train/image_ids.txt, val/image_ids.txt or test/image_ids.txt, in it or in its folder "
            "metadata: give the folder that contains the metadata in the form of wsolevaluation"
        )
    if len(found) > 1 and found[0] in inside:
        names = ", ".join(each.name for each in found)
        raise ValueError(f"{top}/metadata describes several sets ({names}): give one of them, such as {found[0]}")
    return found[0]


def folders_of(metadata: Path) -> dict[str, Path | None]:
    """The folder of each split, None if it is not there.

    Example:
        >>> folders_of(Path("/nowhere"))
        {'train': None, 'val': None, 'test': None}
    """
    there = {part: [metadata / name for name in called] for part, called in FOLDERS.items()}
    return {part: next((f for f in some if (f / "image_ids.txt").is_file()), None) for part, some in there.items()}


def split_folder(metadata: Path, part: str) -> Path:
    """The folder of one split. Raises FileNotFoundError if it is not there, with those that are.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "train-fullsup").mkdir()
        ...     _ = Path(folder, "train-fullsup/image_ids.txt").write_text("cat.jpg", encoding="utf-8")
        ...     split_folder(Path(folder), "val").name
        'train-fullsup'
    """
    there = folders_of(metadata)
    if there[part] is None:
        known = ", ".join(name for name, found in there.items() if found)
        raise FileNotFoundError(f"{metadata} has no folder {part} with image_ids.txt: the splits there are {known}")
    return there[part]


# ---- rows


def read_ids(root: Path, split: str) -> list[str]:
    """The ids of image_ids.txt, or of image_ids_proxy.txt for the split "train-proxy", in their order.

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if it lists none, or one twice.

    Example:
        >>> read_ids(Path("/nowhere"), "train-proxy")
        Traceback (most recent call last):
        FileNotFoundError: /nowhere has no image_ids_proxy.txt: add it, or use the split "train"
    """
    file = root / ("image_ids_proxy.txt" if split == "train-proxy" else "image_ids.txt")
    if not file.is_file():
        raise FileNotFoundError(f'{root} has no {file.name}: add it, or use the split "train"')
    found: dict[str, int] = {}
    for number, line in _lines(file):
        if found.setdefault(line, number) != number:
            raise ValueError(
                f"{file}, line {number} lists {line[:60]!r} again, after line {found[line]}: remove one of the two, or "
                "the image would count twice"
            )
    if not found:
        raise ValueError(f"{file} lists no image: write one id per line, the path of an image with its ending")
    return list(found)


def read_labels(root: Path, wanted: Iterable[str] = ()) -> Iterator[tuple[str, int]]:
    """Id and label of each row of class_labels.txt, in its order.

    Args:
        root: the folder of a split.
        wanted: ids that may have one label alone.

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if a row is damaged, or disagrees with another.

    Example:
        >>> list(read_labels(Path("/nowhere")))
        Traceback (most recent call last):
        FileNotFoundError: /nowhere has no class_labels.txt: it must give a row id,label for each image
    """
    file, wanted = root / "class_labels.txt", set(wanted)
    if not file.is_file():
        raise FileNotFoundError(f"{root} has no class_labels.txt: it must give a row id,label for each image")
    labels: dict[str, int] = {}
    for number, line in _lines(file):
        identity, label = _split(file, number, line, 1, "an id and a label that counts from 0")
        if not 0 <= label < _MOST_CLASSES:
            raise ValueError(
                f"{file}, line {number}: the label is {label}, and labels count from 0 to at most "
                f"{_MOST_CLASSES - 1}; correct it"
            )
        if identity in wanted and labels.setdefault(identity, label) != label:
            raise ValueError(
                f"{file}, line {number}: {identity} has label {label} there and {labels[identity]} above; "
                "remove one of the two rows"
            )
        yield identity, label


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not empty, one after the other, so that no file is in memory as a whole."""
    with file.open("rb") as opened:
        wide = opened.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    with file.open(encoding="utf-16" if wide else "utf-8-sig", errors="replace") as opened:
        number = 0
        while line := opened.readline(_LONGEST + 1):
            number += 1
            if len(line) > _LONGEST:
                raise ValueError(f"{file}, line {number} has more than {_LONGEST} characters: write one row per line")
            if line := nfc(line.strip()):
                yield number, line


def _split(file: Path, number: int, line: str, count: int, wanted: str) -> tuple:
    """The id of a row and its `count` whole numbers."""
    identity, *words = [word.strip() for word in line.rsplit(",", count)]
    if len(words) != count or not identity or not all(map(_WHOLE.fullmatch, words)):
        raise ValueError(f"{file}, line {number} is {line[:60]!r}: it must be {wanted}, separated by commas")
    return identity, *map(int, words)


def _sizes(root: Path, ids: set[str]) -> dict[str, tuple[int, int]]:
    file = root / "image_sizes.txt"
    if not file.is_file():
        raise FileNotFoundError(f"{root} has no image_sizes.txt: it must give a row id,width,height for each image")
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in _lines(file):
        identity, width, height = _split(file, number, line, 2, "an id, a width and a height")
        if min(width, height) < 1:
            raise ValueError(
                f"{file}, line {number}: the size is {width} x {height}, at least 1 x 1 is needed; correct it"
            )
        if identity in ids and sizes.setdefault(identity, (width, height)) != (width, height):
            raise ValueError(
                f"{file}, line {number}: {identity} has {width} x {height} pixels there and "
                f"{' x '.join(map(str, sizes[identity]))} above; remove one of the two rows"
            )
    return sizes


def _truths(root: Path, ids: set[str], needed: bool) -> tuple[dict[str, list], bool]:
    """Of each id its boxes, or the paths of its masks with that of its ignore mask (or "") last; and whether masks."""
    file = root / "localization.txt"
    if not file.is_file():
        if needed:
            raise FileNotFoundError(
                f"{root} has no localization.txt: it must give a row id,x0,y0,x1,y1 for each box, or id,mask,ignore "
                "for each mask"
            )
        return {}, False
    found: dict[str, list] = {}
    ignored: dict[str, str] = {}
    masks = None
    for number, line in _lines(file):
        fields = [word.strip() for word in line.rsplit(",", 2)]
        of_mask = len(fields) == 3 and all(f.lower().endswith(".png") for f in fields[1:] if f) and bool(fields[1])
        if masks is None:
            masks = of_mask
        if of_mask != masks:
            raise ValueError(f"{file}, line {number} is {line[:60]!r}: boxes and masks are mixed, give either alone")
        if masks:
            identity, truth, ignore = fields
            if ignore and ignored.setdefault(identity, ignore) != ignore:
                raise ValueError(f"{file}, line {number}: {identity} has a second ignore mask, one alone is possible")
        else:
            identity, *sides = _split(file, number, line, 4, "an id and x0, y0, x1, y1 in whole pixels")
            truth = tuple(sides)
        if identity in ids:
            found.setdefault(identity, []).append(truth)
    if masks:
        found = {identity: [*paths, ignored.get(identity, "")] for identity, paths in found.items()}
    return found, bool(masks)


def _why_not(boxes: list[tuple[int, ...]], size: tuple[int, int] | None) -> str:
    """Why an image with these boxes cannot be used; empty if it can."""
    if size is None:
        return "image_sizes.txt has no row for it"
    for x0, y0, x1, y1 in boxes:
        if not (0 <= x0 <= x1 <= size[0] and 0 <= y0 <= y1 <= size[1]):
            return (
                f"localization.txt gives the box {x0}, {y0}, {x1}, {y1}, which its {size[0]} x {size[1]} pixels do "
                "not contain"
            )
    return ""
