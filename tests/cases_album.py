"""Hostile cases of `album`: a damaged album.json, and packages whose photographs are missing or others."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
from hostile import Found, Refused, case
from PIL import Image

from cambook import datasets, files
from cambook.datasets import album, examples

FOLDER = Path(__file__).parents[1] / "data"
ROWS = json.loads((FOLDER / "album" / "album.json").read_text(encoding="utf-8"))


def loaded(split="test") -> Found:
    data = datasets.load("album", split, 32)
    assert data.batch(range(len(data))).images.isfinite().all()
    return Found(data.names, data.report)


def from_json(folder: Path, text: str) -> Found:
    """The album as another album.json describes it."""
    (folder / "album").mkdir()
    classes = (FOLDER / "imagenet_classes.txt").read_text(encoding="utf-8")
    (folder / "imagenet_classes.txt").write_text(classes, encoding="utf-8")
    (folder / "album" / "album.json").write_text(text, encoding="utf-8")
    with mock.patch.object(files, "DATA", folder):
        return loaded()


def damaged(name, reason, text):
    sentence = rf"album.json is damaged \({reason}\): install cambook again, or restore the file"
    case("lists", f"album: {name}", Refused(sentence))(lambda folder: from_json(folder, text))


def changed(name, reason, **fields):
    damaged(name, reason, json.dumps([ROWS[0] | fields, *ROWS[1:]]))


damaged("half of its file", "Unterminated string.*", json.dumps(ROWS)[:3000])
damaged("brackets without end", ".*", "[" * 100_000)
damaged("a photograph twice", "astronaut is listed twice", json.dumps([ROWS[0], *ROWS]))
changed(
    "a polygon outside of its photograph",
    "the second drawing of astronaut has the corner 512,20 outside its 512 x 512 pixels",
    second=["0,0 512,20 9,9"],
)
changed(
    "a polygon of two corners", "the first drawing of astronaut has a polygon that is not three.*", first=["0,0 1,1"]
)
changed("a polygon of numbers without end", "the first drawing of .*", first=["0,0 1,1 " + "9" * 5000 + ",1"])
changed("a mask without a polygon", "the first drawing of astronaut has no polygon", first=[])
changed(
    "a box that is empty", "the box 5, 5, 5, 9 of astronaut is not inside its 512 x 512 pixels", boxes=[[5, 5, 5, 9]]
)
changed("a class that is another", "class 811 of astronaut is not space shuttle", **{"class": 811})
changed("a photograph outside of its package", '"id" and "file" of astronaut must be plain names', file="../secret.png")


@case(
    "folders", "album: a photograph that was changed", Refused(r"chelsea.png is not the photograph of album \(it shows")
)
def repainted(folder):
    Image.fromarray(np.zeros((300, 451, 3), np.uint8)).save(folder / "chelsea.png")
    found = examples.installed_file
    with mock.patch.object(
        album, "installed_file", lambda *of: folder / "chelsea.png" if "chelsea.png" in of else found(*of)
    ):
        return loaded()


@case(
    "folders", "album: a package that is missing", Refused("^scikit-learn is not installed: pip install scikit-learn$")
)
def without_package(folder):
    found = examples.find_spec
    with mock.patch.object(examples, "find_spec", lambda name: None if name == "sklearn" else found(name)):
        return loaded()


@case(
    "folders", "album: a package without its photograph", Refused('"chelsea" is not at .*: install scikit-image again')
)
def without_file(folder):
    found = Path.is_file
    with mock.patch.object(Path, "is_file", lambda path: path.name != "chelsea.png" and found(path)):
        return loaded()


@case("parameters", "album: the split train", Refused('^"album" has no images to train on: train on another data set'))
def training(folder):
    return loaded("train")
