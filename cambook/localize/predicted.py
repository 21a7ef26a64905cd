"""The predicted boxes of images, written as COCO JSON, CSV or VOC XML: pre-annotations for labelling tools.

Each is written whole at the end or not at all, and `coco:` and `voc:` load what is written here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import escape

import torch

from cambook import files
from cambook.datasets import Photographs
from cambook.datasets.batches import prefetch
from cambook.datasets.decoding import stored_size
from cambook.datasets.reading import nfc, suffixes
from cambook.datasets.splits import quarter
from cambook.localize.findings import Box, scaled_box
from cambook.localize.records import write_record
from cambook.machine import resolve_device
from cambook.maps import arrays, upsample
from cambook.maps.boxes import box_from_map
from cambook.maps.methods import find_method
from cambook.metrics.evaluation import check_finite
from cambook.networks import Network

COLUMNS = ("file", "width", "height", "class", "score", "x0", "y0", "x1", "y1")
FORMATS = {".json": "COCO JSON", ".csv": "CSV", "": "VOC XML"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")  # what XML or a list of ids lacks


@dataclass(frozen=True)
class Predicted:
    """The box of one class in an image.

    Attributes:
        label: index of the class.
        score: its probability, 0 to 1.
        box: (x0, y0, x1, y1), half-open, in pixels of the upright image; None if the map is nowhere high enough.
    """

    label: int
    score: float
    box: Box | None


@dataclass(frozen=True)
class Boxes:
    """The boxes of an image.

    Attributes:
        file: its path below the folder of the images, with forward slashes and ending.
        name: its id in the data set.
        size: width and height of the upright image in pixels.
        predicted: one for each class that was asked for, found or not.
    """

    file: str
    name: str
    size: tuple[int, int]
    predicted: tuple[Predicted, ...]

    @property
    def found(self) -> list[Predicted]:
        """Those that have a box."""
        return [each for each in self.predicted if each.box is not None]


# ---- prediction


@torch.no_grad()
def predict(
    network: Network,
    data: Photographs,
    *,
    true: bool = False,
    top: int = 1,
    source: str = "cam",
    rule: str = "paper",
    threshold: float = 0.2,
    device: str = "cpu",
    batch_size: int = 32,
) -> Iterator[Boxes]:
    """The boxes of every image, in pixels of the upright photograph.

    Args:
        network: from `ready_network`.
        data: photographs, squashed to the size for which the network is made.
        true: whether the class is the one with which an image is labelled, rather than the most likely ones.
        top: otherwise how many classes.
        source: what makes the maps, a name in `maps.MAPS`.
        rule, threshold: how a box is read from a map, as in `box_from_map`.
        device: "cpu", "cuda", ...
        batch_size: images at a time.

    Returns:
        An iterator, in the data set's order.

    Raises:
        ValueError: if a score or a map is NaN or infinite, with the image's name.
    """
    device = resolve_device(device)
    network.to(device)
    paths, _ = paths_of(data)
    wanted = torch.arange(len(data)).split(batch_size)
    made = prefetch(data, lambda some: (data.batch(some, device=device), [_upright(data, i) for i in some]), wanted)
    for batch, sizes in made:
        logits, feature_maps = network(batch.images)
        classes = batch.labels[:, None] if true else logits.topk(min(top, network.classes)).indices
        raw = arrays.widened(find_method(source)(network, batch.images, feature_maps, classes)).cpu()
        check_finite(logits, batch, data, "a score of the network")
        check_finite(raw, batch, data, f"its {source} map")
        scores = logits.double().softmax(1).gather(1, classes).tolist()
        full = upsample(raw, data.size).numpy()
        for row, i in enumerate(batch.indices.tolist()):
            boxes = [box_from_map(map2d, rule, threshold) for map2d in full[row]]
            boxes = [None if box is None else scaled_box(box, (data.size,) * 2, sizes[row]) for box in boxes]
            each = zip(classes[row].tolist(), scores[row], boxes, strict=True)
            yield Boxes(paths[i], data.names[i], sizes[row], tuple(Predicted(*one) for one in each))


def paths_of(data: Photographs) -> tuple[list[str], Path]:
    """The images' paths below one folder, with forward slashes and endings, and that folder.

    Args:
        data: photographs.

    Returns:
        N paths in the order of the data set, and the folder: the one that the data set is read from, or the nearest one
        that contains all images.
    """
    found = [Path(os.path.abspath(file)) for file in data._pictures]
    root = data.root and Path(os.path.abspath(data.root))
    if root is None or not all(file.is_relative_to(root) for file in found):
        root = Path(os.path.commonpath([file.parent for file in found]))
    return [nfc(file.relative_to(root).as_posix()) for file in found], root


def _upright(data: Photographs, i: torch.Tensor) -> tuple[int, int]:
    """Width and height of an upright image, at whatever size it was decoded."""
    image = data.picture(int(i))
    width, height = stored_size(image)
    turned = (width > height) != (image.width > image.height)
    return (height, width) if turned else (width, height)


# ---- where they are written


def format_of(out: Path) -> str:
    """The format that a path asks for: a key of FORMATS, "" for a folder.

    Raises:
        ValueError: for another ending, or if something is there that `cambook boxes` did not write.
        PermissionError: if nothing can be written there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [format_of(Path(folder, name)) for name in ("boxes.json", "boxes.CSV", "new")]
        ['.json', '.csv', '']
    """
    ending = "" if out.is_dir() else out.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(
            f"{out} ends in {out.suffix}: end it in .json for COCO JSON or in .csv, or give a folder for VOC XML"
        )
    if ending:
        files.check_writable(out.parent)
        if out.exists() and _digest(out) != _recorded(record_of(out)):
            raise ValueError(f"{out} is there already and not as `cambook boxes` wrote it: give another name")
    else:
        files.check_writable(out)
        for part in ("Annotations", "ImageSets"):
            if (out / part).exists():
                raise ValueError(f"{out} contains {part} already: give another folder, or move {part} away")
    return ending


def record_of(out: Path) -> Path:
    """Where the record of boxes is: beside a file, or in a folder.

    Example:
        >>> record_of(Path("boxes.json")).name, record_of(Path("new")).as_posix()
        ('boxes.record.json', 'new/record.json')
    """
    return out.with_name(f"{out.stem}.record.json") if out.suffix.lower() in (".json", ".csv") else out / "record.json"


def write(
    out: Path,
    images: Sequence[Boxes],
    root: Path,
    classes: Sequence[str],
    listed: Sequence[int],
    split: str | None,
    made_by: dict,
) -> None:
    """Writes boxes as the ending of a path says, whole or not at all, with a record beside them.

    Args:
        out: a path that passed `format_of`.
        images: from `predict`.
        root: the folder below which their files are (`paths_of`).
        classes: the names of the network's outputs.
        listed: indices of the classes that COCO's categories list.
        split: of the data set, whose list VOC's folder gets; None: a quarter of the images is "test".
        made_by: the command's parameters, for the record and the files' own remarks.

    Raises:
        ValueError: for VOC, if an id leads out of the folder, or two images have one id.
    """
    ending = "" if out.is_dir() else out.suffix.lower()
    results: dict[str, Any] = {
        "images": len(images),
        "boxes": sum(len(each.found) for each in images),
        "images_without_box": sum(not each.found for each in images),
    }
    if ending:
        if ending == ".json":
            text = coco_json(_from(out.parent, images, root), classes, listed, made_by)
        else:
            text = table(images, classes)
        content = text.encode()
        results["sha256"] = hashlib.sha256(content).hexdigest()
        with files.atomic_write(out) as part:
            part.write_bytes(content)
    else:
        write_voc(out, images, classes, split, made_by)
    write_record(record_of(out), "boxes", made_by, results)


def _from(folder: Path, images: Sequence[Boxes], root: Path) -> Sequence[Boxes]:
    """The images with their paths from a folder that contains the folder of the images; else as they are."""
    root, folder = root.resolve(), folder.resolve()
    if root == folder or not root.is_relative_to(folder):
        return images
    return [replace(each, file=f"{root.relative_to(folder).as_posix()}/{each.file}") for each in images]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _recorded(record: Path) -> str | None:
    """The SHA-256 of the file that a record of `cambook boxes` belongs to; None if it is not such a record."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        found = json.loads(record.read_text(encoding="utf-8"))
        return found["results"]["sha256"] if found["command"] == "boxes" else None
    return None


# ---- the formats


def coco_json(images: Sequence[Boxes], classes: Sequence[str], listed: Sequence[int], made_by: dict) -> str:
    """Boxes as COCO JSON: x, y, width and height in pixels counted from 0, a score for each.

    Args:
        images, classes, listed, made_by: as for `write`; the id of a category is its index + 1.

    Source: Lin et al. 2014, Microsoft COCO: Common Objects in Context; its data format.

    Example:
        >>> found = Boxes("a/cat.jpg", "cat", (80, 40), (Predicted(1, 0.75, (10, 5, 30, 15)),))
        >>> json.loads(coco_json([found], ["dog", "cat"], [0, 1], {}))["annotations"][0]["bbox"]
        [10, 5, 20, 10]
    """
    annotations = []
    for number, each in enumerate(images, start=1):
        for one in each.found:
            x0, y0, x1, y1 = one.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": one.label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "score": round(one.score, 6),
                }
            )
    content = {
        "info": {"description": remark(made_by)},
        "licenses": [],
        "categories": [{"id": label + 1, "name": classes[label], "supercategory": ""} for label in listed],
        "images": [
            {"id": number, "file_name": each.file, "width": each.size[0], "height": each.size[1]}
            for number, each in enumerate(images, start=1)
        ],
        "annotations": annotations,
    }
    lists = [f"{json.dumps(key)}: {_lines(value)}" for key, value in content.items()]
    return "{" + ",\n".join(lists) + "}\n"


def _lines(value: dict | list) -> str:
    """JSON, each entry on its own line."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(json.dumps(each, ensure_ascii=False) for each in value) + "\n]" if value else "[]"


def table(images: Sequence[Boxes], classes: Sequence[str]) -> str:
    """Boxes as CSV, half-open; an image without one has a row whose last six cells are empty.

    Example:
        >>> found = Boxes("a/cat.jpg", "cat", (80, 40), (Predicted(0, 0.75, (10, 5, 30, 15)),))
        >>> print(table([found], ["cat"]), end="")
        file,width,height,class,score,x0,y0,x1,y1
        a/cat.jpg,80,40,cat,0.750000,10,5,30,15
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in images:
        for one in each.found:
            writer.writerow([each.file, *each.size, classes[one.label], f"{one.score:.6f}", *one.box])
        if not each.found:
            writer.writerow([each.file, *each.size, *[""] * 6])
    return text.getvalue()


def write_voc(out: Path, images: Sequence[Boxes], classes: Sequence[str], split: str | None, made_by: dict) -> None:
    """Boxes as VOC XML: Annotations/ID.xml and lists in ImageSets/Main, without the images.

    Args:
        out: a folder without these two.
        images, classes, split, made_by: as for `write`.

    Raises:
        ValueError: if an id leads out of the folder or cannot be written in a list, or two images have one id.

    Source: Everingham et al. 2010, The Pascal Visual Object Classes Challenge.
    """
    ids = voc_ids(images)
    lists = quarter(ids, str) if split is None else {split: ids}
    out.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".boxes-", dir=out))
    try:
        for identity, each in zip(ids, images, strict=True):
            file = made / "Annotations" / f"{identity}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(annotation(each, classes, remark(made_by)), encoding="utf-8", newline="\n")
        for name, some in lists.items():
            file = made / "ImageSets" / "Main" / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{each}\n" for each in sorted(some)), encoding="utf-8", newline="\n")
        for part in ("Annotations", "ImageSets"):
            files.move(made / part, out / part)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def voc_ids(images: Sequence[Boxes]) -> list[str]:
    """The ids under which VOC keeps images: their names without the ending of an image.

    Raises:
        ValueError: if one leads out of the folder or cannot be written in a list, or two images have one id.

    Example:
        >>> voc_ids([Boxes("a/cat.jpg", "a/cat.jpg", (8, 8), ())])
        ['a/cat']
    """
    ids: dict[str, str] = {}
    for each in images:
        stem, ending = os.path.splitext(each.name)
        identity = stem if ending.lower() in suffixes() else each.name
        shown = _CONTROL.sub("?", each.name)
        steps = identity.split("/")
        if not all(steps) or {".", ".."} & set(steps) or "\\" in identity or ":" in steps[0]:
            raise ValueError(f"{shown} is not a path inside a folder, so VOC has no id for it: rename the image")
        if _CONTROL.search(identity) or identity != identity.strip():
            raise ValueError(f"{shown} contains what a list of ids cannot: rename the image, or write COCO JSON or CSV")
        if identity in ids:
            raise ValueError(f"{ids[identity]} and {shown} have one id in VOC: rename one, or write COCO JSON or CSV")
        ids[identity] = shown
    return list(ids)


def annotation(image: Boxes, classes: Sequence[str], source: str) -> str:
    """One image's XML in VOC's layout: pixels counted from 1, the last one included, and a confidence for each box.

    Example:
        >>> found = Boxes("a/cat.jpg", "cat", (80, 40), (Predicted(0, 0.75, (10, 5, 30, 15)),))
        >>> "<xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>15</ymax>" in annotation(found, ["cat"], "")
        True
    """
    path = PurePosixPath(image.file)
    objects = "".join(
        f"  <object>\n    <name>{_xml(classes[one.label])}</name>\n    <pose>Unspecified</pose>\n"
        f"    <truncated>0</truncated>\n    <difficult>0</difficult>\n    <confidence>{one.score:.6f}</confidence>\n"
        f"    <bndbox><xmin>{one.box[0] + 1}</xmin><ymin>{one.box[1] + 1}</ymin>"
        f"<xmax>{one.box[2]}</xmax><ymax>{one.box[3]}</ymax></bndbox>\n  </object>\n"
        for one in image.found
    )
    width, height = image.size
    return (
        f"<annotation>\n  <folder>{_xml(path.parent.name or 'JPEGImages')}</folder>\n"
        f"  <filename>{_xml(path.name)}</filename>\n  <source><annotation>{_xml(source)}</annotation></source>\n"
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        f"  <segmented>0</segmented>\n{objects}</annotation>\n"
    )


def _xml(text: str) -> str:
    return escape(_CONTROL.sub("?", text))


def remark(made_by: dict) -> str:
    """How boxes were made, in one sentence."""
    how = ", ".join(f"{name} {made_by[name]}" for name in ("network", "source", "rule", "threshold") if name in made_by)
    return f"boxes predicted by cambook boxes: {how}"


# ---- how they are loaded


def how_to_load(out: Path, data: Photographs, images: Sequence[Boxes]) -> str:
    """What to write to load the boxes again, and where the images must be for that, in one sentence.

    Args:
        out: where the boxes were written: COCO JSON, or VOC's folder.
        data: the photographs.
        images: their boxes.
    """
    if len({_label(each) for each in images if each.found}) < 2:
        return "to load them, boxes of at least two classes are needed; labelling tools take them as they are"
    _, root = paths_of(data)
    if not out.is_dir():
        if root.resolve().is_relative_to(out.parent.resolve()):
            return f"to load them: coco:{out}"
        return f"to load them, put {out.name} beside the images: coco:{root / out.name}"
    first = images[0]
    base, wanted = f"{root.as_posix()}/{first.file}", out.absolute() / "JPEGImages"
    ending = "" if os.path.splitext(first.name)[1].lower() in suffixes() else PurePosixPath(base).suffix
    if base.endswith(f"/{first.name}{ending}"):
        base = base.removesuffix(f"/{first.name}{ending}")
        if wanted.is_dir() and wanted.resolve() == Path(base).resolve():
            return f"to load them: voc:{out}"
        return f"to load them, copy the images of {base} to {out / 'JPEGImages'}: voc:{out}"
    return f"to load them, copy the images to {out / 'JPEGImages'}, called by their ids: voc:{out}"


def _label(image: Boxes) -> int:
    """The class with the largest box, which `coco:` and `voc:` take as the label."""
    return max(image.found, key=lambda one: (one.box[2] - one.box[0]) * (one.box[3] - one.box[1])).label
