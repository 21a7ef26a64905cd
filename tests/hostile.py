"""How a hostile case is written, for tests/test_hostile.py and the files of cases beside it.

A row is (kind, name, what makes the input and gives it to a public function, what has to come of it), the last one of

    Refused(sentence)        an error that cambook itself raises, one line, that says what is wrong and how to mend it
    LeftOut(sentence)        the image is not used, the others are, and the report names its file and says why
    Right(value, sentences)  the right value, and the report has exactly these lines (none: there was nothing to repair)

Nothing here may open a connection, write a file where it should not, or raise another library's error.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from test_datasets import BOX, GRID_BOX, HEIGHT, WIDTH, encoded, picture

from cambook import datasets, networks, training
from cambook.datasets import Batch

KINDS = ("pictures", "annotations", "archives", "checkpoints", "parameters", "maps", "networks", "batches", "tables")
KINDS += ("folders", "lists", "runs")


# ---- what has to come of a case


@dataclass
class Refused:
    sentence: str


@dataclass
class LeftOut:
    sentence: str


@dataclass
class Right:
    value: Any
    sentences: str | tuple[str, ...] = ()


@dataclass
class Found:
    """What came of a case: a value, and the lines of the report (of warnings, where there is no report)."""

    value: Any
    report: list[str] = field(default_factory=list)


class Near(list):
    """Places that are right up to a pixel, where resizing and JPEG blur an edge."""


CASES: list[tuple] = []


def case(kind, name, expected):
    """Enters the function below as a case; it gets an empty folder and returns a Found, or a value."""

    def enter(function):
        CASES.append((kind, name, function, expected))
        return function

    return enter


# ---- a folder in Pascal VOC layout, and one dirty picture in it

SIZE = 80


def thing(box=BOX, name="cat") -> str:
    sides = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"


def annotation(*objects, size=(WIDTH, HEIGHT), head="") -> str:
    tag = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"{head}<annotation>{tag}{''.join(objects)}</annotation>"


def voc(folder: Path, data=None, xml=None, ending=".jpg", identity="dirty", listed=None, place=None) -> Found:
    """A cat and a dog to train on, and a dirty image: its boxes, and the box of its red pixels."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)

    def add(name, data, xml, ending=".png"):
        (folder / "JPEGImages" / f"{name}{ending}").write_bytes(data)
        (folder / "Annotations" / f"{name}.xml").write_bytes(xml.encode() if isinstance(xml, str) else xml)

    for name in ("cat", "dog"):
        add(name, encoded(picture()) + name.encode(), annotation(thing(name=name)))  # no copies of one another
    add(identity, encoded(picture()) if data is None else data, annotation(thing()) if xml is None else xml, ending)
    (folder / "ImageSets/Main/train.txt").write_text(f"cat\ndog\n{listed or identity}\n", encoding="utf-8")
    (folder / "ImageSets/Main/val.txt").write_text("cat\ndog\n", encoding="utf-8")
    data = datasets.load(f"voc:{folder}", "train", SIZE)
    report = [line for line in data.report if "in the train list and in the test list" not in line]
    if identity not in data.names:
        assert data.names == ["cat", "dog"]
        return Found(None, report)
    batch = data.batch([data.names.index(identity)])
    assert batch.images.shape == (1, 3, SIZE, SIZE) and batch.images.isfinite().all()
    rows, columns = np.nonzero((batch.images[0, 0] > 0.5).numpy() & (batch.images[0, 1] < 0.3).numpy())
    red = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0] * 4
    return Found([*batch.boxes[0].tolist(), red], report)


def row(kind, name, expected, **options):
    """A case of `voc`; options may be functions, so that nothing is made before the case runs."""
    made = {key: value if callable(value) else (lambda value=value: value) for key, value in options.items()}
    CASES.append((kind, name, lambda folder: voc(folder, **{key: make() for key, make in made.items()}), expected))


def used(*sentences, box=GRID_BOX, red=None):
    """The dirty image is used: the box of its annotation, by default also of its red pixels; ... for any."""
    red = Near(box) if red is None else red
    return Right([box, red], tuple(f"[^:]*dirty[^:]*: {sentence}" for sentence in sentences))


# ---- a call


def call(kind, name, sentence, function):
    CASES.append((kind, name, lambda folder: function(), Refused(sentence)))


def right(kind, name, value, function, *sentences):
    CASES.append((kind, name, lambda folder: function(), Right(value, sentences)))


# ---- checkpoints, data and maps


def checkpoint(name, expected, make, network="mini-gap", classes=5):
    """A case of networks.build with weights from a file that holds what make(folder) gives: bytes, or an object."""

    def build(folder):
        made = make(folder)
        file = folder / "mine.pt"
        file.write_bytes(made) if isinstance(made, bytes) else torch.save(made, file)
        networks.build(network, classes, weights=file)

    CASES.append(("checkpoints", name, build, expected))


def weights(name="mini-gap", classes=5, **changed):
    state = networks.build(name, classes).state_dict()
    return state | {key.replace("__", "."): value for key, value in changed.items()}


def saved(state) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def no_weights(reason):
    return Refused(rf"mine.pt contains no weights of mini-gap with 5 classes \({reason}\): give a file")


class Squares:
    """Two classes of plain images, red and green; the last batch of five is smaller than the others."""

    name, split, classes, size = "squares", "train", ["red", "green"], 64
    labels, fingerprint, report = np.arange(10) % 2, "squares", []
    names = [f"square-{i}" for i in range(10)]

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, device="cpu"):
        indices = torch.as_tensor(indices)
        labels = torch.from_numpy(self.labels)[indices]
        images, masks = torch.zeros(len(indices), 3, 64, 64), torch.zeros(len(indices), 64, 64, dtype=torch.bool)
        for image, mask, label, i in zip(images, masks, labels, indices, strict=True):
            place = slice(4 * int(i), 4 * int(i) + 24)
            image[label, place, place], mask[place, place] = 1, True
        found = [np.array([[4 * i, 4 * i, 4 * i + 24, 4 * i + 24]], np.float32) for i in indices.tolist()]
        return Batch(images, labels, found, masks, indices)


RECIPE = training.Recipe(epochs=1, batch_size=5)
FIELD = np.add.outer(np.arange(8.0), np.arange(8.0)) / 14  # rises to the lower right corner


def holed(value):
    map2d = FIELD.copy()
    map2d[2, 3] = value
    return map2d
