"""Maps of a whole data set as .npy files, which an interrupted run continues; predictions as CSV."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cambook import files
from cambook.datasets import DataSet, kind_and_folder, prefetch
from cambook.datasets.reading import split_options
from cambook.localize.findings import printable
from cambook.localize.inputs import check_classes, class_names, image_ids, own_classes
from cambook.localize.records import write_record
from cambook.machine import tqdm
from cambook.maps import MAPS, normalize, upsample
from cambook.maps.arrays import widened
from cambook.maps.methods import GRID
from cambook.metrics import check_finite
from cambook.networks import Network
from cambook.training.fingerprint import digest_of_network

ENLARGE = ("bilinear", "bicubic")
CHOICES = ("true", "top")
PREDICTIONS, RECORD, CLASSES = "predictions.csv", "record.json", "classes.csv"
GUESSES = 5  # so many classes of an image are written
TOGETHER = 64  # images of a batch, as many as `metrics.evaluate` takes
_UNFINISHED = ".unfinished"  # the folder of what is being written; files get their names from there at once
_ROWS, _MAP = "rows.csv", "map.npy"  # in it: an id, whether its map is constant and its top classes; one map
_BYTES = 128 + 4 * GRID**2  # of a whole map's file
_LONGEST = 255  # bytes of a file's name
_FOR_WINDOWS = set('<>:"|?*')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
# What must be the same for a folder to be continued, and how a message calls it. Fingerprints know the rest.
_SAME = {
    "network": "the network",
    "network_fingerprint": "the network's weights",
    "data_fingerprint": "the images",
    "source": "source",
    "classes": "classes",
    "enlarge": "enlarge",
}


@dataclass
class Made:
    """What came of `make_maps`.

    Attributes:
        maps: how many there are now, one per image.
        kept: how many of them were there before.
        constant: ids of the images whose map was the same everywhere; it was written as zeros.
        top1_error: percent, if the network's outputs are the data set's classes; else None.
    """

    maps: int
    kept: int
    constant: list[str] = field(default_factory=list)
    top1_error: float | None = None


# ---- before the work


def class_choice(network: Network, data: DataSet, wanted: str | None = None) -> str:
    """Of which class an image's map is.

    Args:
        network: from `inputs.ready_network`.
        data: the images.
        wanted: "true" or "top"; None: "true" if the network's outputs are the data set's classes, else "top".

    Returns:
        "true" for the class that an image is labelled with, "top" for the network's most likely one.

    Raises:
        ValueError: if "true" is wanted and cannot be had.

    Example:
        >>> from cambook import datasets, networks
        >>> class_choice(networks.build("mini-gap", 5), datasets.load("scenes", "test", 32, length=2))
        'top'
    """
    if wanted == "true":
        check_classes(network, data)
    return wanted or ("true" if own_classes(network, data) else "top")


def check_apart(dataset: str, out: Path) -> None:
    """Refuses to write into the folder that a data set is read from.

    Args:
        dataset: a data set's name, or a folder.
        out: where something will be written.

    Raises:
        ValueError: if it is that folder or lies inside it.

    Example:
        >>> check_apart("voc:data/birds", Path("maps"))
        >>> check_apart("voc:data/birds", Path("data/birds/maps"))
        Traceback (most recent call last):
        ValueError: data/birds/maps lies in data/birds, from which the images are read: give a folder outside it
    """
    try:
        folder = kind_and_folder(dataset)[1] or ""
    except ValueError:
        folder = dataset
    first, options = split_options(folder)
    target = Path(out).expanduser().resolve()
    for each in filter(None, (first, *options.values())):
        place = Path(each).expanduser()
        if not place.is_file() and target.is_relative_to(place.resolve()):
            raise ValueError(
                f"{Path(out).as_posix()} lies in {each}, from which the images are read: give a folder outside it"
            )


def map_paths(ids: Sequence[str], out: Path) -> list[Path]:
    """The file of each image's map: its id, with folders and ending, and .npy.

    Args:
        ids: of the images, with forward slashes.
        out: the folder of the maps.

    Returns:
        N paths in it.

    Raises:
        ValueError: if an id cannot be the name of a file here, or would lead out of the folder, or if two would be the
            same file.

    Example:
        >>> [path.as_posix() for path in map_paths(["birds/owl.jpg"], Path("maps"))]
        ['maps/birds/owl.jpg.npy']
        >>> map_paths(["../owl.jpg"], Path("maps"))
        Traceback (most recent call last):
        ValueError: '../owl.jpg' cannot be the name of a map's file, since it leads out of the folder: rename the image
    """
    blind = os.name == "nt" or sys.platform == "darwin"  # to upper and lower case
    seen: dict[str, str] = {}
    paths = []
    for identity in ids:
        if reason := _unfit(identity):
            raise ValueError(f"{identity[:80]!r} cannot be the name of a map's file, since {reason}: rename the image")
        path = out.joinpath(*PurePosixPath(f"{identity}.npy").parts)
        key = path.as_posix().casefold() if blind else path.as_posix()
        if (other := seen.setdefault(key, identity)) is not identity:
            raise ValueError(f"{other!r} and {identity!r} would be the same file {path}: rename one of the images")
        paths.append(path)
    folders = {parent for path in paths for parent in path.parents}
    if clash := next((path for path in paths if path in folders), None):
        raise ValueError(f"{clash} would be a map and a folder of maps: rename the image {clash.name}")
    return paths


def _unfit(identity: str, windows: bool = os.name == "nt") -> str:
    """Why an id cannot be the name of a map's file; empty if it can."""
    parts = identity.split("/")
    if not identity or "\0" in identity or not all(parts):
        return "it is empty, absolute or has an empty part"
    if ".." in parts or "." in parts or "\\" in identity:
        return "it leads out of the folder"
    if parts[0] == _UNFINISHED:
        return f"{_UNFINISHED} is the name of a folder of cambook's own"
    if not identity.isprintable():
        return "it has characters that cannot be printed"
    if max(len(os.fsencode(part)) for part in parts) > _LONGEST - len(".npy"):
        return f"a part of it has more than {_LONGEST - len('.npy')} bytes"
    if windows:
        if found := sorted(_FOR_WINDOWS & set(identity)):
            return f"Windows allows no {found[0]} in it"
        for part in parts:
            if part.partition(".")[0].rstrip(" ").casefold() in _DEVICES or (
                part is not parts[-1] and part[-1] in ". "
            ):
                return f"Windows allows no name such as {part}"
    return ""


def parameters_of(
    network: Network, data: DataSet, *, source: str, classes: str, enlarge: str, **given: Any
) -> dict[str, Any]:
    """What the maps are made of and how, for the record: the same parameters make the same maps.

    Args:
        network: from `inputs.ready_network`.
        data: the images.
        source: a name in maps.MAPS.
        classes: "true" or "top".
        enlarge: "bilinear" or "bicubic".
        given: what else was asked for, such as the split.

    Returns:
        Name -> value.

    Example:
        >>> from cambook import datasets, networks
        >>> data, how = datasets.load("scenes", "test", 32, length=2), {"source": "cam", "enlarge": "bilinear"}
        >>> parameters_of(networks.build("mini-gap", 12), data, classes="true", **how)["size"]
        32
    """
    return {
        "network": network.name,
        "dataset": printable(data.name),
        "split": data.split,
        **{name: printable(value) if isinstance(value, str) else value for name, value in given.items()},
        "images": len(data),
        "size": data.size,
        "source": source,
        "classes": classes,
        "enlarge": enlarge,
        "normalize": "min-max",
        "protocol": getattr(data, "protocol", ""),
        "network_fingerprint": digest_of_network(network),
        "data_fingerprint": data.fingerprint,
    }


def check_same(out: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether a folder has a record of maps with these parameters, so that they can be continued.

    Args:
        out: the folder of the maps.
        parameters: from `parameters_of`.

    Returns:
        False if it has no record and no maps.

    Raises:
        ValueError: if its record is of something else, or of another version of cambook, or if it has maps of which no
            record says how they were made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_same(Path(folder), {})
        False
    """
    file, mend = out / RECORD, "give another --out, or delete that folder"
    if not file.exists():
        if stray := next(out.rglob("*.npy"), None):
            raise ValueError(f"{stray} is a map, and no {RECORD} in {out} says how it was made: {mend}")
        return False
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        former = dict(record["parameters"]) if record["command"] == "maps" and dict(record["results"]) else {}
    except (ValueError, KeyError, TypeError):
        former = {}
    if not former:
        raise ValueError(f"{file} is not a record of `cambook maps`: {mend}")
    for name, called in _SAME.items():
        if former.get(name) != parameters[name]:
            short = isinstance(former.get(name), str) and "fingerprint" not in name
            was = f"were {former[name]!r} and are now {parameters[name]!r}" if short else "were others"
            raise ValueError(f"{out} contains maps of other settings ({called}: {was}): {mend}")
    import importlib.metadata

    if record.get("cambook") != (here := importlib.metadata.version("cambook")):
        raise ValueError(f"{out} contains maps that cambook {record.get('cambook')} made, this is {here}: {mend}")
    return True


def score_command(data: DataSet, out: Path, partial: bool) -> str:
    """The command that scores a folder of maps.

    Args:
        data: the images, with boxes.
        out: the folder.
        partial: whether it has the maps of a part of the split alone.

    Returns:
        One line for the shell.

    Example:
        >>> from cambook import datasets
        >>> score_command(datasets.load("scenes", "test", 32, length=2), Path("my maps"), partial=False)
        "cambook score 'my maps' --dataset scenes --predictions 'my maps/predictions.csv'"
    """
    kind, folder = kind_and_folder(data.name)
    lists = ["--metadata", split_options(folder or "")[0]] if kind == "wsol" else ["--dataset", data.name]
    split = [] if data.split == "test" else ["--split", data.split]
    more = ["--partial"] if partial else []
    words = ["cambook", "score", str(out), *lists, *split, "--predictions", str(out / PREDICTIONS), *more]
    return shlex.join(words) if os.name != "nt" else subprocess.list2cmdline(words)


# ---- the work


def grid_maps(raw: Tensor, enlarge: str = "bilinear") -> np.ndarray:
    """Raw maps as they are kept: enlarged to 224 x 224, then normalized from 0 to 1.

    Args:
        raw: (N, 1, h, w).
        enlarge: "bilinear", as everywhere in this package, or "bicubic", the published way; both between the centres of
            the cells.

    Returns:
        (N, 224, 224) float32.

    Source: Choe et al. 2020, section 3, whose code enlarges by cv2.INTER_CUBIC.

    Example:
        >>> grid_maps(torch.tensor([[[[0.0, 2.0]]]]))[0, 0, [0, 223]].tolist()
        [0.0, 1.0]
    """
    raw = widened(raw).float()
    if enlarge == "bicubic":
        large = F.interpolate(raw, size=(GRID, GRID), mode="bicubic", align_corners=False)
    else:
        large = upsample(raw, GRID)
    return normalize(large)[:, 0].cpu().numpy()


@torch.no_grad()
def make_maps(
    network: Network, data: DataSet, out: Path, parameters: Mapping[str, Any], *, device: str | torch.device = "cpu"
) -> Made:
    """Writes the map of every image, and the network's predictions; what is there already is kept.

    A map is a .npy file of 224 x 224 float32 from 0 to 1 under its image's id. Each takes its name when it is whole,
    and batches are those of an uninterrupted run, so that a continued run leaves the same files.

    Args:
        network: from `inputs.ready_network`.
        data: the images.
        out: the folder, which `check_same` let pass.
        parameters: from `parameters_of`.
        device: "cpu", "cuda", ...

    Returns:
        How many maps there are, and which of them are constant.

    Raises:
        ValueError: for an id that cannot be a file's name; a score or a map that is not finite, with the image's name.
        OSError: if a file cannot be written.

    Example:
        >>> import tempfile
        >>> from cambook import datasets, networks
        >>> network, data = networks.build("mini-gap", 12), datasets.load("scenes", "test", 32, length=2)
        >>> how = parameters_of(network, data, source="cam", classes="true", enlarge="bilinear")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = make_maps(network, data, Path(folder), how)
        ...     made.maps, np.load(Path(folder, "000001.npy"), allow_pickle=False).shape
        (2, (224, 224))
    """
    out, ids, guesses = Path(out), image_ids(data), min(GUESSES, network.classes)
    paths = map_paths(ids, out)
    _try_longest(paths)
    rows = _known_rows(out, guesses)
    waiting = [identity not in rows or not _is_whole(path) for identity, path in zip(ids, paths, strict=True)]
    made = Made(len(ids), len(ids) - sum(waiting))
    write = {"path": out / RECORD, "command": "maps", "parameters": parameters}
    write["device"] = None if str(device) == "cpu" else str(device)
    if any(waiting) or not (out / PREDICTIONS).is_file():
        part = _begin(out, rows)
        write_record(**write, results={"finished": False})
        _write_table(out / CLASSES, [("class", "name"), *enumerate(class_names(network, data))])
        with (part / _ROWS).open("a", encoding="utf-8", newline="") as file:
            for identity, row in _make(network.to(device).eval(), data, parameters, device, paths, waiting, part):
                csv.writer(file, lineterminator="\n").writerow([identity, *row])
                file.flush()
                rows[identity] = row
        heading = ["image_id", *(f"top{k + 1}" for k in range(guesses))]
        _write_table(out / PREDICTIONS, [heading, *([identity, *rows[identity][1:]] for identity in ids)])
    made.constant = [identity for identity in ids if rows[identity][0]]
    if own_classes(network, data):
        wrong = [rows[identity][1] != label for identity, label in zip(ids, data.labels.tolist(), strict=True)]
        made.top1_error = 100 * sum(wrong) / len(wrong)
    results = {"finished": True, "maps": made.maps, "constant": made.constant, "top1_error": made.top1_error}
    write_record(**write, results=results)
    shutil.rmtree(out / _UNFINISHED, ignore_errors=True)
    return made


def _make(
    network: Network,
    data: DataSet,
    parameters: Mapping[str, Any],
    device: str | torch.device,
    paths: list[Path],
    waiting: list[bool],
    part: Path,
) -> Iterator[tuple[str, list[int]]]:
    """Writes the maps that are not there; after each one its id, whether it is constant, and the top classes."""
    ids, source = image_ids(data), parameters["source"]
    batches = [some for some in torch.arange(len(data)).split(TOGETHER) if any(waiting[i] for i in some.tolist())]
    with closing(prefetch(data, lambda some: data.batch(some, device=device), batches)) as shown:
        with tqdm(total=len(data), initial=len(data) - sum(waiting), desc=f"maps ({source})", leave=False) as bar:
            for batch in shown:
                logits, feature_maps = network(batch.images)
                guesses = logits.topk(min(GUESSES, network.classes)).indices
                wanted = batch.labels[:, None] if parameters["classes"] == "true" else guesses[:, :1]
                raw = MAPS[source](network, batch.images, feature_maps, wanted)
                check_finite(logits, batch, data, "a score of the network")
                check_finite(raw, batch, data, f"its {source} map")
                flat = (raw.amax((1, 2, 3)) == raw.amin((1, 2, 3))).tolist()
                found = zip(batch.indices.tolist(), grid_maps(raw, parameters["enlarge"]), flat, strict=True)
                for (i, map2d, constant), tops in zip(found, guesses.tolist(), strict=True):
                    if waiting[i]:
                        np.save(part / _MAP, map2d, allow_pickle=False)
                        paths[i].parent.mkdir(parents=True, exist_ok=True)
                        files.move(part / _MAP, paths[i])
                        yield ids[i], [int(constant), *tops]
                        bar.update()


# ---- what is there


def _begin(out: Path, rows: Mapping[str, list[int]]) -> Path:
    """The folder of what is being written, with the rows that are known and without anything half written."""
    part = out / _UNFINISHED
    part.mkdir(exist_ok=True)
    _write_table(part / _ROWS, [[identity, *row] for identity, row in rows.items()])
    (part / _MAP).unlink(missing_ok=True)
    return part


def _known_rows(out: Path, guesses: int) -> dict[str, list[int]]:
    """Of each image whose prediction was written: whether its map is constant, and its top classes."""
    rows = _read_rows(out / _UNFINISHED / _ROWS, guesses + 1)
    if (out / PREDICTIONS).is_file():
        record = json.loads((out / RECORD).read_text(encoding="utf-8")) if (out / RECORD).is_file() else {}
        constant = set(record.get("results", {}).get("constant", ()))
        for identity, row in _read_rows(out / PREDICTIONS, guesses).items():
            rows.setdefault(identity, [int(identity in constant), *row])
    return rows


def _read_rows(file: Path, numbers: int) -> dict[str, list[int]]:
    """Id -> numbers, of the rows that are whole; the last one of a killed run may not be."""
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    rows = {}
    with suppress(csv.Error):  # what follows is made again
        for row in csv.reader(whole.splitlines()):
            with suppress(ValueError):  # the heading
                if len(row) == numbers + 1:
                    rows[row[0]] = list(map(int, row[1:]))
    return rows


def _is_whole(path: Path) -> bool:
    try:
        return path.stat().st_size == _BYTES
    except OSError:
        return False


def _try_longest(paths: Sequence[Path]) -> None:
    """Refuses, before the work, paths that are too long for this system."""
    path = max(paths, key=lambda one: len(os.fsencode(one)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        if not path.stat().st_size:
            path.unlink()
    except OSError as error:
        shown = f"{str(path)[:300]}..." if len(str(path)) > 300 else path
        raise ValueError(f"{shown} cannot be written ({error.strerror}): give an --out with a shorter path") from error


def _write_table(file: Path, rows: Iterable[Sequence[object]]) -> None:
    with files.atomic_write(file) as part, part.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(rows)
