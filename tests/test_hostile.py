"""Hostile input, one row a case: what is made here is refused in one sentence of ours, or repaired and reported.

How a case is written is in tests/hostile.py; cases_*.py beside it hold more of them.

Nothing here may open a connection, write a file where it should not, or raise another library's error.
"""

import dis
import hashlib
import io
import json
import math
import os
import re
import socket
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import cases_album
import cases_coco
import cases_commands_look
import cases_commands_maps
import cases_datasets
import cases_maps
import cases_networks
import cases_runs
import cases_score
import cases_wsol
import cases_zips
import numpy as np
import pytest
import torch
import typer
from hostile import (
    CASES,
    FIELD,
    KINDS,
    RECIPE,
    SIZE,
    Found,
    LeftOut,
    Near,
    Refused,
    Right,
    Squares,
    annotation,
    call,
    case,
    checkpoint,
    holed,
    no_weights,
    right,
    row,
    saved,
    thing,
    used,
    voc,
    weights,
)
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_datasets import HEIGHT, WIDTH, encoded, picture
from test_downloads import tar

from cambook import datasets, files, maps, metrics, networks, training
from cambook.cli import commands
from cambook.course import papers, results, runs, sweeps
from cambook.course.papers import published
from cambook.course.parameters import check_parameters
from cambook.datasets import downloads
from cambook.maps import boxes
from cambook.metrics import evaluation

LEAST = 40
OF_THEIR_OWN = (cases_coco, cases_datasets, cases_maps, cases_runs, cases_wsol, cases_zips)  # entered by the import
OF_THEIR_OWN += (cases_album, cases_commands_look, cases_commands_maps, cases_networks, cases_score)
ERRORS = (ValueError, TypeError, IndexError, FileNotFoundError, PermissionError, RuntimeError, downloads.DownloadError)
ERRORS += (typer.BadParameter, typer.Exit)
PACKAGE = Path(files.__file__).parent


# ---- pictures


def png_of(width, height) -> bytes:
    """A PNG that says it has so many pixels and holds none."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def noise(**options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), "JPEG", quality=90, **options)


def text_bomb() -> bytes:
    info = PngInfo()
    info.add_text("comment", "a" * 2**21, zip=True)
    return encoded(picture(), pnginfo=info)


def animated(format) -> bytes:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("white", "black")]
    options = {"lossless": True} if format == "WEBP" else {}
    return encoded(picture(), format, save_all=True, append_images=frames, **options)


def palette_with_alpha() -> bytes:
    pixels = np.array(picture().convert("RGBA"))
    pixels[:, 50:] = (0, 0, 255, 0)
    return encoded(Image.fromarray(pixels).quantize(16))


def turned(orientation) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), "JPEG", quality=100, subsampling=0, exif=exif)


def sixteen_bit() -> bytes:
    """Grey levels of 16 bits; none is red, so the mean of all of them is looked at in its own case below."""
    return encoded(Image.fromarray(np.tile(np.linspace(0, 65535, WIDTH).astype(np.uint16), (HEIGHT, 1))))


CLIPPED = "1 of . boxes passed the border and were clipped"
FRAMES = "contains several frames, of which the first is used"
row("pictures", "an empty file", LeftOut("the file is empty"), data=b"")
row("pictures", "a truncated PNG", LeftOut("cut off or damaged"), data=lambda: encoded(picture())[:90])
row("pictures", "half a JPEG", LeftOut(r"cut off: \d+ of 200 rows are missing"), data=lambda: noise()[:4000])
row("pictures", "a truncated progressive JPEG", LeftOut("cut off"), data=lambda: noise(progressive=True)[:-900])
row(
    "pictures",
    "a JPEG without its last bytes",
    used(r"cut off: what is missing of the last \d+ of 200 rows filled with grey", red=...),
    data=lambda: noise()[:-200],
    xml=annotation(thing((26, 26, 75, 75)), size=(200, 200)),
)
row("pictures", "HTML named .jpg", LeftOut("a web page or other text"), data=b"\n <!DOCTYPE html><html>404</html>")
row("pictures", "PostScript named .jpg", LeftOut("no image of a known format"), data=b"%!PS-Adobe-3.0 EPSF-3.0\n")
row("pictures", "noise named .jpg", LeftOut("no image of a known format"), data=bytes(range(256)) * 9)
row(
    "pictures",
    "1 x 1",
    used("has 1 x 1 pixels, of which a square shows little", CLIPPED, box=[0, 0, 80, 80]),
    data=lambda: encoded(Image.new("RGB", (1, 1), (250, 10, 10))),
    xml=annotation(thing(("0.5", "0.5", "1", "1")), size=(1, 1)),
)
row(
    "pictures",
    "30000 x 1",
    used("has 30000 x 1 pixels, of which a square shows little", CLIPPED, box=[0, 0, 40, 80]),
    data=lambda: encoded(picture((1, 1, 15000, 1), (30000, 1))),
    xml=annotation(thing((1, "0.5", 15000, 1)), size=(30000, 1)),
)
row("pictures", "CMYK", used("CMYK image converted to RGB"), data=lambda: encoded(picture().convert("CMYK"), "TIFF"))
row("pictures", "palette with alpha", used("palette image with transp.* laid on white"), data=palette_with_alpha)
row("pictures", "an animated GIF", used(FRAMES, "palette image converted to RGB"), data=lambda: animated("GIF"))
row("pictures", "an animated WebP", used(FRAMES), data=lambda: animated("WEBP"))
row("pictures", "an animated PNG", used(FRAMES), data=lambda: animated("PNG"))
row(
    "pictures",
    "EXIF-rotated",
    used("EXIF orientation 6: image turned upright, boxes turned with it.*", box=[50, 10, 70, 30]),
    data=lambda: turned(6),
)
row(
    "pictures",
    "an EXIF orientation that does not exist",
    used("EXIF orientation 99 does not exist and is ignored"),
    data=lambda: turned(99),
)
row("pictures", "a decompression bomb", LeftOut("more than 89478485 pixels"), data=lambda: png_of(40_000, 40_000))
row(
    "pictures", "a bomb below twice the limit", LeftOut("more than 89478485 pixels"), data=lambda: png_of(10_000, 9_999)
)
row("pictures", "a bomb in a comment", LeftOut("damaged .*Decompressed data too large"), data=text_bomb)
row(
    "pictures",
    "infinite floats",
    LeftOut("floating-point numbers, whose white is unknown"),
    data=lambda: encoded(Image.fromarray(np.full((HEIGHT, WIDTH), np.inf, np.float32)), "TIFF"),
)


@case("pictures", "16-bit", Right([0.0, 0.5, 1.0], "JPEGImages/dirty.png: 16-bit image converted to 8-bit RGB"))
def _(folder):
    found = voc(folder, sixteen_bit(), ending=".png")
    image = datasets.load(f"voc:{folder}", "train", SIZE).batch([1]).images[0, 0]
    return Found([round(image[40, x].item(), 1) for x in (0, 40, 79)], found.report)


@case("pictures", "a name too long for any file", Refused("there is no image x{300}: check the spelling"))
def _(folder):
    datasets.load_picture("x" * 300)


@case("pictures", "a ribbon that would grow without bound", Refused("would be 3000000 x 100 pixels at size 100: crop"))
def _(folder):
    (folder / "ribbon.png").write_bytes(encoded(Image.new("L", (30000, 1))))
    datasets.load_picture(folder / "ribbon.png", 100)


# ---- annotations


def laughs() -> str:
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    return annotation(thing(name="&l11;"), head=f'<!DOCTYPE a [<!ENTITY l0 "ha">{levels}]>')


def external(place) -> str:
    return annotation(thing(name="&a;"), head=f'<!DOCTYPE a [<!ENTITY a SYSTEM "{place}">]>')


def second(box) -> str:
    return annotation(thing(), thing(box))


def thousand() -> str:
    return annotation(*[thing((1 + i % 40, 1 + i % 20, 2 + i % 40, 2 + i % 20)) for i in range(1000)])


LATIN = '<?xml version="1.0" encoding="latin-1"?>'
DOCTYPE = "declares a document type .DOCTYPE., which may hide entities"
row("annotations", "billion laughs", LeftOut(DOCTYPE), xml=laughs)
row("annotations", "an external entity", LeftOut(DOCTYPE), xml=external("file:///etc/passwd"))
row("annotations", "an entity from the network", LeftOut(DOCTYPE), xml=external("http://127.0.0.1:9/a.dtd"))
row("annotations", "100,000 deep", LeftOut("no usable object"), xml="<a>" * 100_000 + "</a>" * 100_000)
row("annotations", "5 MB", LeftOut("more than any box file needs"), xml=lambda: annotation(thing(), " " * 5 * 2**20))
row("annotations", "cut off", LeftOut("not valid XML"), xml=annotation(thing())[:-20])
row("annotations", "empty", LeftOut("the annotation is empty"), xml="")
row(
    "annotations",
    "an id outside the folder",
    LeftOut("an id is the name of an image in JPEGImages and may not be a path"),
    listed="../../dirty",
)
row(
    "annotations",
    "a negative box",
    used(CLIPPED, box=[0, 0, 30, 30]),
    data=lambda: encoded(picture((1, 1, 30, 15))),
    xml=annotation(thing((-20, -9, 30, 15))),
)
row(
    "annotations",
    "swapped corners",
    used("box 1 .cat. had its corners swapped and was put right"),
    xml=annotation(thing((30, 15, 11, 6))),
)
row(
    "annotations",
    "a NaN box",
    used("box 2 .cat. has a coordinate that is missing or not a number and is left out"),
    xml=second(("nan", 1, 9, 9)),
)
row(
    "annotations",
    "an infinite box",
    used("box 2 .cat. has a coordinate that is missing or not a number .*"),
    xml=second((1, 1, "1e999", 9)),
)
row(
    "annotations",
    "a box outside the image",
    used(CLIPPED, "1 of 2 boxes lie outside .* are left out"),
    xml=second((101, 3, 120, 20)),
)
row(
    "annotations",
    "a size tag of nothing",
    used("the size tag gives no size: boxes read as pixels of the 80 x 40 .*"),
    xml=annotation(thing(), size=("wide", -1)),
)
row(
    "annotations",
    "wrong encoding",
    LeftOut("not valid XML"),
    xml=annotation(thing(), "<source>Zürich</source>").encode("latin-1"),
)
row(
    "annotations",
    "an encoding that does not exist",
    LeftOut("not valid XML"),
    xml=annotation(thing(), head='<?xml version="1.0" encoding="no-such-code"?>'),
)
row(
    "annotations",
    "another encoding that says so",
    used(),
    xml=annotation(thing(), "<source>Zürich</source>", head=LATIN).encode("latin-1"),
)


@case("annotations", "a thousand objects", Right(1000))
def _(folder):
    found = voc(folder, xml=thousand())
    return Found(len(found.value) - 1, found.report)  # the last one is the red box


@case("annotations", "an unknown class", Right(["known"], "lone: left out: its class 9 is not in classes.txt"))
def _(folder):
    (folder / "images").mkdir()
    for name in ("known", "lone"):
        (folder / "images" / f"{name}.png").write_bytes(encoded(picture()))
    lists = {
        "images": "1 known.png\n2 lone.png",
        "image_class_labels": "1 1\n2 9",
        "train_test_split": "1 1\n2 1",
        "bounding_boxes": "1 10 5 20 10\n2 10 5 20 10",
        "classes": "1 001.Auk\n2 002.Wren",
    }
    for name, text in lists.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    data = datasets.load(f"cub:{folder}", "train", SIZE)
    return Found(data.names, [line for line in data.report if "lone" in line])


# ---- archives


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(name) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


def flipped(content: bytes) -> bytes:
    """Some bytes in the middle of the compressed content are others."""
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]


def random_bytes(number) -> bytes:
    return np.random.default_rng(0).bytes(number)


def archive(name, expected, content, checksum=None, held=None):
    """A case of a data set whose archive is this content, already downloaded as far as `held`."""

    def fetch(folder):
        data = content()
        url = "http://127.0.0.1:9/birds.tgz"
        right = checksum or f"sha256:{hashlib.sha256(data).hexdigest()}"
        one = downloads.Archive("birds.tgz", (url,), len(data), right)
        kept = files.CACHE / "datasets/downloads"
        kept.mkdir(parents=True)
        (kept / "birds.tgz.part").write_bytes(data[:held])
        try:
            return str(downloads.fetch_archives("birds", (one,)))
        finally:
            left = [p.name for p in (files.CACHE / "datasets").iterdir() if p.name != "downloads"]
            assert left == [], "something of it was used"

    CASES.append(("archives", name, fetch, expected))


OUTSIDE, NEEDLESS = (
    Refused("birds.tgz contains '.*', a path outside its folder"),
    Refused("contains what no data set needs"),
)
archive("tar slip", OUTSIDE, lambda: tar(("../evil", b"x")))
archive("tar slip, deeper", OUTSIDE, lambda: tar(("a/../../evil", b"x")))
archive("an absolute path", OUTSIDE, lambda: tar(("/tmp/evil", b"x")))
archive(
    "zip slip", Refused("birds.tgz cannot be unpacked .*it is not a tar file.*: delete it"), lambda: zipped("../evil")
)
archive("a symlink out", NEEDLESS, lambda: tar(link("a", "../.."), ("a/evil", b"x")))
archive("a hard link out", NEEDLESS, lambda: tar(link("a", "../../evil", tarfile.LNKTYPE)))
archive("a device", NEEDLESS, lambda: tar(link("a", "", tarfile.CHRTYPE)))
archive("a bomb", Refused("unpacks to more than .* it is not a data set"), lambda: tar(("a", bytes(66 * 2**20))))
archive(
    "a wrong checksum", Refused("has the sha256 checksum .* it was deleted"), lambda: b"x" * 99, "sha256:" + "0" * 64
)
archive(
    "half a file",
    Refused("could not be downloaded .*: 50 of 99 bytes are here and are kept; run"),
    lambda: b"x" * 99,
    held=50,
)
archive(
    "half an archive, with its checksum",
    Refused("birds.tgz cannot be unpacked .*: delete it and fetch it again"),
    lambda: tar(("a", random_bytes(200_000)))[:90_000],
)
archive(
    "damaged in the middle",
    Refused("birds.tgz cannot be unpacked .*: delete it and fetch it again"),
    lambda: flipped(tar(("a", b"".join(b"%d " % i for i in range(99_999))))),
)
archive(
    "damaged in the middle, xz",
    Refused("birds.tgz cannot be unpacked .*: delete it and fetch it again"),
    lambda: flipped(tar(("a", b"".join(b"%d " % i for i in range(99_999))), compression="xz")),
)


# ---- checkpoints


class Shouts:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).write_text, (self.path, "here"))


UNREADABLE = no_weights("it is damaged, or it contains more than weights")
checkpoint("a pickle with code in it", UNREADABLE, lambda folder: {"classifier.weight": Shouts(folder / "evil")})
checkpoint("truncated", UNREADABLE, lambda folder: saved(weights())[:-20_000])
checkpoint("HTML named .pt", UNREADABLE, lambda folder: b"<html>404</html>")
checkpoint("empty", UNREADABLE, lambda folder: b"")
checkpoint(
    "another architecture",
    no_weights("it lacks classifier.weight and has classifier.1.weight"),
    lambda folder: weights("mini-fc"),
)
checkpoint(
    "other classes",
    no_weights(r"classifier.weight is \(6, 128\) and should be \(5, 128\)"),
    lambda folder: weights(classes=6),
)
checkpoint(
    "NaN weights",
    no_weights("classifier.bias contains NaN or infinity"),
    lambda folder: weights(classifier__bias=torch.full((5,), math.nan)),
)
checkpoint(
    "infinite weights",
    no_weights("classifier.bias contains NaN or infinity"),
    lambda folder: weights(classifier__bias=torch.full((5,), math.inf)),
)
checkpoint("a tensor alone", no_weights("it is not a state_dict"), lambda folder: torch.zeros(3))


@case(
    "checkpoints",
    "of another network, to go on from",
    Refused("half.part is not a checkpoint of this mini-gap .it lacks"),
)
def _(folder):
    files.save_whole({"network": weights("mini-fc", 2)}, folder / "half.part")
    training.fit(networks.build("mini-gap", 2), Squares(), RECIPE, checkpoint=folder / "half.part")


@case(
    "checkpoints",
    "of another seed, to go on from",
    Refused("half.part is not a checkpoint .*another recipe, seed or data"),
)
def _(folder):
    files.save_whole({"network": weights("mini-gap", 2), "of": "another"}, folder / "half.part")
    training.fit(networks.build("mini-gap", 2), Squares(), RECIPE, checkpoint=folder / "half.part")


@case(
    "checkpoints",
    "half of one, to go on from",
    Right(1, ".*half.part is damaged .its checksum differs.: .*made again."),
)
def _(folder):
    files.save_whole({"network": weights("mini-gap", 2)}, folder / "half.part")
    (folder / "half.part").write_bytes((folder / "half.part").read_bytes()[:5000])
    return len(training.fit(networks.build("mini-gap", 2), Squares(), RECIPE, checkpoint=folder / "half.part"))


@case(
    "checkpoints",
    "code in the cache, with its checksum",
    Right(None, ".*entry.pt contains more than weights, or none.*"),
)
def _(folder):
    files.save_whole({"network": Shouts(folder / "evil")}, folder / "entry.pt")
    return files.load_whole(folder / "entry.pt")


@case(
    "checkpoints",
    "NaN weights in the cache",
    Right(False, ".*does not fit mini-gap .classifier.bias contains NaN or inf.*"),
)
def _(folder):
    training.trained("mini-gap", Squares(), RECIPE)
    (entry,) = (files.CACHE / "networks").glob("*.pt")
    held = files.load_whole(entry)
    held["network"]["classifier.bias"][0] = math.nan
    files.save_whole(held, entry)
    again = training.trained("mini-gap", Squares(), RECIPE)
    assert not networks.misfit(again.network, again.network.state_dict())
    return again.reused


# ---- parameters


def notebook(folder: Path, cell="seed = 0\nepochs = 1\nnetwork = 'mini-gap'\ndataset = 'scenes'\nlearning_rate = 0.1"):
    cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": cell}]
    (folder / "tiny.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}), encoding="utf-8")
    return folder / "tiny.ipynb"


def parameter(name, sentence, **given):
    CASES.append(("parameters", name, lambda folder: check_parameters(notebook(folder), given), Refused(sentence)))


parameter("unknown", "tiny.ipynb has no parameter 'sead', it accepts .*, did you mean seed[?]", sead=1)
parameter("a wrong type", "seed='many' is refused: .*integer", seed="many")
parameter("a list for a number", "epochs=.*is refused: .*integer", epochs=[1])
parameter("out of range", "epochs=0 is refused: .*greater than or equal to 1", epochs=0)
parameter("out of range, far", "seed='9{50}' is refused", seed="9" * 50)
parameter("NaN", "learning_rate='nan' is refused: .*finite", learning_rate="nan")
parameter("a misspelt network", "network='mini-gapp' is refused: .*did you mean mini-gap[?]", network="mini-gapp")
parameter("a misspelt data set", 'dataset=.scnes. is refused: .*did you mean "scenes"[?]', dataset="scnes")
parameter("a folder that is not there", "the folder /no/such does not exist", dataset="voc:/no/such")
parameter("a folder with a name too long", "the folder .* does not exist", dataset="voc:" + "x" * 300)


call(
    "parameters",
    "a misspelt network, in Python",
    "network='googlenetgap' is unknown; did you mean 'googlenet-gap'[?]",
    lambda: networks.build("googlenetgap"),
)
call("parameters", "no network", "network=None is unknown. Known: mini-fc", lambda: networks.build(None, 2))
call(
    "parameters",
    "half a class",
    "classes=2.5 is not a number of classes: give a whole number of at least 2",
    lambda: networks.build("mini-gap", 2.5),
)
call(
    "parameters",
    "a misspelt source of maps",
    "source='gradcam' is unknown: .*did you mean 'grad-cam'[?]",
    lambda: evaluation.evaluate(networks.build("mini-gap", 2), Squares(), "gradcam"),
)
call(
    "parameters",
    "branches of a network without",
    "source='acol' needs ACoL's two branches, which mini-gap lacks",
    lambda: evaluation.evaluate(networks.build("mini-gap", 2), Squares(), "acol"),
)
call(
    "parameters",
    "the map of a hidden layer",
    "mini-fc has a hidden layer .* no class activation map: cut it",
    lambda: evaluation.evaluate(networks.build("mini-fc", 2), Squares()),
)
call(
    "parameters",
    "half an epoch",
    r"No recipe can have epochs=2.5 \(whole, at least 1\)",
    lambda: training.Recipe(epochs=2.5),
)
call(
    "parameters",
    "a learning rate of NaN",
    r"No recipe can have lr=nan \(above 0\)",
    lambda: training.Recipe(lr=math.nan),
)
call(
    "parameters",
    "no batch",
    "batch_size=0 contains no image: give a whole number of at least 1",
    lambda: evaluation.evaluate(networks.build("mini-gap", 2), Squares(), batch_size=0),
)
call(
    "parameters",
    "labels of classes that are not there",
    "needs 10 labels from 0 to 1; got 10 from 0 to 7: build",
    lambda: training.fit(networks.build("mini-gap", 2), Squares(), RECIPE, labels=np.arange(10) % 8),
)
call(
    "parameters",
    "an image of no pixels",
    "size is 0: give a whole number of at least 1",
    lambda: datasets.load("scenes", "train", 0),
)
call(
    "parameters",
    "a misspelt layer",
    "layer='backbon.3' is unknown, did you mean 'backbone.3'[?]",
    lambda: maps.grad_cam(networks.build("mini-gap", 2), torch.rand(1, 3, 64, 64), 1, "backbon.3"),
)


@case(
    "parameters", "a cell that is no Python", Refused("tiny.ipynb: keep only lines like `seed = 0` in the cell tagged")
)
def _(folder):
    check_parameters(notebook(folder, "seed = ("), {})


@case("parameters", "a cell with code in it", Refused("tiny.ipynb: keep only lines like `seed = 0` in the cell tagged"))
def _(folder):
    check_parameters(notebook(folder, f"seed = open({str(folder / 'evil')!r}, 'w')"), {})


@case(
    "parameters",
    "a bomb in YAML",
    Refused("bomb.yaml: grid is refused: network needs a list of values, .* not .{1,200}$"),
)
def _(folder):
    levels = "".join(f", &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12))
    (folder / "bomb.yaml").write_text(f"notebook: table2\ngrid:\n  network: [&l0 [a]{levels}]\n", encoding="utf-8")
    sweeps.read(folder / "bomb.yaml")


def command(*arguments) -> Found:
    """The `cambook` command: its exit status and what it says to stderr, as the report."""
    said, argv = io.StringIO(), sys.argv
    sys.argv, stderr, sys.stderr = ["cambook", *arguments], sys.stderr, said
    try:
        commands.main()
        status = 0
    except SystemExit as end:
        status = end.code
    finally:
        sys.argv, sys.stderr = argv, stderr
    lines = [re.sub(r"[│╭╮╰╯─]", " ", line).strip() for line in said.getvalue().splitlines()]
    return Found(status, [" ".join(filter(None, lines))])


@case(
    "parameters",
    "a misspelt network, at the command line",
    Right(1, "cambook: network='mini-gapp' .*mean 'mini-gap'.*"),
)
def _(folder):
    return command("train", "mini-gapp", "scenes")


@case(
    "parameters",
    "a folder of one class, at the command line",
    Right(1, 'cambook: .*only the class "cat" and at least.*'),
)
def _(folder):
    voc(folder)
    for name in ("train", "val"):
        (folder / f"ImageSets/Main/{name}.txt").write_text("cat\n", encoding="utf-8")
    return command("train", "mini-gap", f"voc:{folder}")


@case("parameters", "a map that the network lacks, at the command line", Right(2, ".*mini-fc has a hidden layer.*"))
def _(folder):
    return command("train", "mini-fc", "scenes")


# ---- maps


def examined(source="cam", **state):
    """Evaluates a network with those weights in place of its own."""
    network = networks.build("mini-gap", 2)
    with torch.no_grad():
        for name, value in state.items():
            network.get_parameter(name.replace("__", ".")).fill_(value)
    return evaluation.evaluate(network, Squares(), source, batch_size=4)


def box_accuracy(value):
    """The second map is the bad one: its place is what the sentence must say."""
    seen = metrics.BoxAccuracy(8)
    for map2d in (FIELD, holed(value)):
        seen.update(map2d, [[4, 4, 8, 8]])


def box_accuracy_of_all(value):
    seen = metrics.BoxAccuracy(8)
    seen.update(FIELD, [[4, 4, 8, 8]])
    try:
        seen.update_all([FIELD, FIELD, holed(value)], [[[4, 4, 8, 8]]] * 3)
    finally:
        assert len(seen) == 1


def pxap(value):
    seen = metrics.PixelAveragePrecision()
    for map2d in (FIELD, holed(value)):
        seen.update(map2d, FIELD > 0.5)


call("maps", "NaN, MaxBoxAcc", r"map 1 contains nan at \[2, 3\]", lambda: box_accuracy(math.nan))
call("maps", "infinite, MaxBoxAcc", r"map 1 contains inf at \[2, 3\]", lambda: box_accuracy(math.inf))
call("maps", "NaN, MaxBoxAcc of several", r"map 3 contains nan at \[2, 3\]", lambda: box_accuracy_of_all(math.nan))
call("maps", "NaN, PxAP", r"map 1 contains nan at \[2, 3\]", lambda: pxap(math.nan))
call("maps", "infinite, PxAP", r"map 1 contains -inf at \[2, 3\]", lambda: pxap(-math.inf))
call(
    "maps",
    "infinite, share on the object",
    r"map contains inf at \[2, 3\]",
    lambda: metrics.share_inside(holed(math.inf), FIELD > 0.5),
)
call(
    "maps",
    "NaN scores, top-1 error",
    r"logits\[1\] contain a value that is not finite: look at the network",
    lambda: metrics.topk_error([[0.0, 1.0], [math.nan, 1.0]], [0, 1], 1),
)
call(
    "maps",
    "NaN scores of a network",
    "squares, image 0 .square-0.: a score of the network is NaN or infinite; look at",
    lambda: examined(classifier__bias=math.nan),
)
call(
    "maps",
    "infinite maps of a network",
    "squares, image 0 .square-0.: (a score of the network|its cam map) is NaN or inf",
    lambda: examined(classifier__weight=math.inf),
)
call(
    "maps",
    "negative, where 0 to 1 is asked",
    r"The map goes from -1.0 to 0.0: bring it to \[0, 1\] with maps.normalize",
    lambda: metrics.BoxAccuracy(8).update(FIELD - 1, [[4, 4, 8, 8]]),
)
call(
    "maps",
    "none at all",
    r"The map has shape \(0, 8\): give one map of shape \(H, W\)",
    lambda: boxes.box_from_map(np.zeros((0, 8)), "paper", 0.2),
)
call(
    "maps",
    "NaN in a box",
    r"a\[1\] is \[0.0, nan, 1.0, 1.0\]: give \(x0, y0, x1, y1\)",
    lambda: boxes.box_iou([[0, 0, 1, 1], [0, math.nan, 1, 1]], [[0, 0, 1, 1]]),
)
call(
    "maps",
    "swapped corners in a box",
    r"b\[0\] is \[1.0, 1.0, 0.0, 0.0\]: give \(x0, y0, x1, y1\), x0 <= x1",
    lambda: boxes.box_iou([[0, 0, 1, 1]], [[1, 1, 0, 0]]),
)
call(
    "maps",
    "complex numbers",
    "The map contains values of type complex128: give real numbers",
    lambda: boxes.box_from_map(FIELD + 1j, "wsol", 0.2),
)
call(
    "maps",
    "text",
    "The map contains values of type <U1: give real numbers",
    lambda: boxes.box_from_map([["a", "b"]], "paper", 0.2),
)
call(
    "maps",
    "a mask of a class that is none",
    "truth contains a class that is not 0 to 1",
    lambda: metrics.iou_counts(np.zeros((1, 2, 2)), np.full((1, 2, 2), 7)),
)
call(
    "maps",
    "NaN in what is resampled",
    r"per_picture contains nan at \[1\]",
    lambda: metrics.bootstrap_interval([1.0, math.nan], seed=0),
)


def by_both_rules(map2d):
    found = [boxes.box_from_map(map2d, rule, 0.5) for rule in boxes.RULES]
    return [None if box is None else box.tolist() for box in found]


LOWER_RIGHT = [[1, 1, 2, 2], [1, 1, 2, 2]]
right("maps", "constant", [[0, 0, 8, 8], None], lambda: by_both_rules(np.full((8, 8), 3.0)))
right("maps", "zero", [None, None], lambda: by_both_rules(np.zeros((8, 8))))
right("maps", "one pixel", [[0, 0, 1, 1], None], lambda: by_both_rules([[2.0]]))
right("maps", "negative", [None, [1, 1, 2, 2]], lambda: by_both_rules([[-5.0, -4.0], [-4.0, -1.0]]))
NO_PLACE = "The map contains NaN or infinity and shows no position: look at the network."
right("maps", "NaN has no box", [None, None], lambda: by_both_rules(holed(math.nan)), NO_PLACE, NO_PLACE)
right("maps", "infinity has no box", [None, None], lambda: by_both_rules(holed(math.inf)), NO_PLACE, NO_PLACE)
right("maps", "NaN has no loose box", (None, None), lambda: maps.loose_and_tight(holed(math.nan)), NO_PLACE)
right("maps", "NaN does not point", False, lambda: metrics.pointing_hit(holed(math.nan), FIELD > 0.5), NO_PLACE)
right(
    "maps",
    "normalized: NaN, infinite",
    [0, 0, 1],
    lambda: maps.normalize(torch.tensor([[[math.nan, 1.0]], [[math.inf, 1.0]], [[0.0, 1.0]]]))[:, 0].amax(1).tolist(),
    "2 of 3 maps contain NaN or infinity and become zeros: look at the network.",
)
right(
    "maps",
    "whole numbers whose range does not fit",
    LOWER_RIGHT,
    lambda: by_both_rules(np.array([[-100, -100], [-100, 100]], np.int8)),
)
right(
    "maps",
    "normalized: constant, one pixel, negative",
    [0, 0, 0, 1],
    lambda: [
        *maps.normalize(torch.full((1, 1, 2, 2), 7.0)).unique().tolist(),
        *maps.normalize(torch.full((1, 1, 1, 1), 7.0)).unique().tolist(),
        *maps.normalize(torch.tensor([[-3.0, -1.0]])[None]).flatten().tolist(),
    ],
)


@case("maps", "constant, of every metric", Right([0.0, 0.0, 0.0]))
def _(folder):
    """A constant map becomes zeros: its box is the first pixel, which is no object, and it points at that pixel."""
    flat, seen = np.zeros((224, 224)), metrics.BoxAccuracy()
    seen.update(flat, [[100, 100, 200, 200]])
    return [seen.max_box_acc()[0], seen.max_box_acc_v2(), float(metrics.pointing_hit(flat, [[100, 100, 200, 200]]))]


# ---- batches


def in_batches(network, same):
    """Whether batches of 1, of 4 with a last one of 2, of 7 with one of 3, and of more than all give what one gives."""
    at_once, *others = [evaluation.evaluate(network, Squares(), batch_size=size) for size in (10, 1, 4, 7, 1000)]
    return [same(other, at_once) for other in others]


@case("batches", "size 1, last smaller, all at once: every bit", Right([True] * 4))
def _(folder):
    """A network of no rounding, whose feature maps are the colours; a convolution may add up in another order."""
    network = networks.PooledNetwork(torch.nn.Identity(), 3, 2, "gap")
    network.classifier.load_state_dict({"weight": torch.eye(2, 3), "bias": torch.zeros(2)})
    return in_batches(network, lambda a, b: a.row == b.row and bool((a.curve == b.curve).all()))


@case("batches", "size 1, last smaller, all at once: convolutions", Right([True] * 4))
def _(folder):
    network = networks.build("mini-gap", 2, seed=1)
    return in_batches(network, lambda a, b: a.row == pytest.approx(b.row, abs=1e-4))


@case("batches", "one image, one batch", Right([1, True]))
def _(folder):
    one = datasets.Subset(Squares(), [3])
    found = evaluation.evaluate(networks.build("mini-gap", 2), one)
    return [len(found.correct["top1"]), all(math.isfinite(value) for value in found.row.values())]


@case("batches", "classified one by one", Right(0.0))
def _(folder):
    network = networks.build("mini-gap", 2, seed=1)
    found = [evaluation.classify(network, Squares(), batch_size=size) for size in (10, 1, 4)]
    return max(float((other - found[0]).abs().max() > 1e-6) for other in found[1:])


@case("batches", "trained with a last batch of one image", Right([1, True]))
def _(folder):
    network = networks.build("mini-gap", 2)
    history = training.fit(network, Squares(), training.Recipe(epochs=1, batch_size=9))
    return [len(history), math.isfinite(history[0]["loss"])]


@case("batches", "an image that is not there", Refused("voc:.* train has images 0 to 2, not .99."))
def _(folder):
    voc(folder)
    datasets.load(f"voc:{folder}", "train", SIZE).batch([99])


@case("batches", "no image", Refused("voc:.* train has images 0 to 2, not .."))
def _(folder):
    voc(folder)
    datasets.load(f"voc:{folder}", "train", SIZE).batch([])


call(
    "batches",
    "a subset of nothing",
    "indices must lie from 0 to 9, at least one of them",
    lambda: datasets.Subset(Squares(), []),
)
call(
    "batches",
    "labels and scores of different numbers",
    r"logits \(2, 3\) and labels \(1,\) do not fit",
    lambda: metrics.topk_error(np.zeros((2, 3)), [0], 1),
)
call(
    "batches",
    "boxes and images of different numbers",
    "1 boxes, 2 images: give a box or None for each",
    lambda: metrics.gt_known_accuracy([None], [[[0, 0, 1, 1]]] * 2),
)


# ---- tables

HEAD = ",".join(published.COLUMNS)


def our_table(name, sentence, function, content, file):
    """A case of a CSV file of data/ with this content."""

    def read(folder):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        before, files.DATA = files.DATA, folder
        try:
            function(folder)
        finally:
            files.DATA = before
            published._read.cache_clear()

    CASES.append(("tables", name, read, Refused(sentence)))


def figures(folder):
    published.table("mine")


PUBLISHED = "published/mine.csv"
our_table(
    "published figures without a column",
    r"published/mine.csv has no column unit, evidence: restore",
    figures,
    HEAD.replace(",unit,evidence", "") + "\n",
    PUBLISHED,
)
our_table(
    "published figures without a figure",
    r"mine.csv, row 2: value is 'n/a', which is not a number: restore",
    figures,
    f"{HEAD}\n{'a,' * 7}1.5,%,paper,\n{'b,' * 7}n/a,%,paper,\n",
    PUBLISHED,
)
our_table("an empty table", "mine.csv is not a table .*: restore the file", figures, "", PUBLISHED)
our_table(
    "a table in another encoding",
    "mine.csv is not a table .*: restore the file",
    figures,
    f"{HEAD}\nZürich".encode("latin-1"),
    PUBLISHED,
)
our_table(
    "a row that is too long",
    "mine.csv is not a table .*: restore the file",
    figures,
    f"{HEAD}\n{'a,' * 7}1.5,%,paper,\n{'a,' * 7}1.5,%,paper,a,b,c\n",
    PUBLISHED,
)
our_table(
    "every row too long",
    "mine.csv has rows with more cells than its first line has names: restore",
    figures,
    f"{HEAD}\n{'a,' * 7}1.5,%,paper,,more\n",
    PUBLISHED,
)
our_table(
    "recorded runs without a column",
    "results/table2.csv has no column seed, value: restore",
    lambda folder: papers.recorded_runs("table2"),
    "# by a command\n" + ",".join(c for c in papers.COLUMNS if c not in ("seed", "value")) + "\n",
    "results/table2.csv",
)
our_table(
    "measurements that are none",
    "results/course.csv is not a table .*: restore the file",
    lambda folder: runs.recorded("course"),
    "# by a command\n",
    "results/course.csv",
)


@case("tables", "a list of Tiny ImageNet that ends in the middle of a line", Refused("val_annotations.txt, line 2 is"))
def _(folder):
    for file, text in {
        "wnids.txt": "n01440764\nn02012849\n",
        "words.txt": "n01440764\ttench\nn02012849\tcrane\n",
        "train/n01440764/n01440764_boxes.txt": "",
        "val/val_annotations.txt": "val_0.JPEG\tn01440764\t0\t0\t9\t9\nval_1.JPEG\tn02",
    }.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    datasets.load(f"tiny-imagenet:{folder}", "test", 64)


@case("tables", "results handed over without a column", Refused("The results have no column metric: take them from"))
def _(folder):
    table = papers.recorded_runs("table2").drop(columns="metric")
    papers.table("table2", table)


@case("tables", "a damaged record of a run", Right(0, ".*record.json is damaged and left out."))
def _(folder):
    (folder / "01/record").mkdir(parents=True)
    (folder / "01/record/record.json").write_text('{"notebook": "01"', encoding="utf-8")
    (folder / "01/record").rename(folder / "run")
    return len(results.collect(folder))


# ---- the runner


@pytest.fixture
def walled(tmp_path, monkeypatch):
    """An own cache, runs and no network."""

    def refuse(*arguments):
        raise ConnectionRefusedError("hostile input opened a connection")

    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    (tmp_path / "input").mkdir()
    yield tmp_path / "input"
    assert not [*tmp_path.rglob("evil"), *Path(os.sep, "tmp").glob("evil")], "it ran, or left its folder"


def raised_by_us(error: BaseException) -> bool:
    """Whether the error comes from a raise statement in cambook, and not out of something that cambook called."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    instruction = next(i for i in dis.get_instructions(code) if i.offset == trace.tb_lasti)
    return Path(code.co_filename).is_relative_to(PACKAGE) and instruction.opname in ("RAISE_VARARGS", "RERAISE")


@pytest.mark.parametrize(("kind", "name", "make", "expected"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_hostile_input_is_refused_in_one_sentence_or_repaired_and_reported(
    walled, record_property, kind, name, make, expected
):
    if isinstance(expected, Refused):
        with pytest.raises(ERRORS) as raised:
            make(walled)
        sentence = str(raised.value)
        assert raised_by_us(raised.value), f"this comes from somewhere else: {raised.value!r}"
        assert "\n" not in sentence and len(sentence) < 1000 and re.search(expected.sentence, sentence), sentence
    else:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = make(walled)
        found = found if isinstance(found, Found) else Found(found)
        report = found.report + [str(each.message) for each in told if issubclass(each.category, UserWarning)]
        if isinstance(expected, LeftOut):
            assert found.value is None
            expected = Right(None, f".*dirty.*: left out: .*{expected.sentence}.*")
        same(found.value, expected.value)
        sentences = [expected.sentences] if isinstance(expected.sentences, str) else expected.sentences
        assert len(report) == len(sentences), report
        assert all(map(re.fullmatch, sentences, report)), report
    record_property("hostile", kind)


def same(found, value):
    """Equal, numbers up to float32's rounding; ... stands for anything."""
    if isinstance(value, Near):
        assert found == pytest.approx(list(value), abs=1)
    elif isinstance(value, list):
        assert len(found) == len(value), found
        for one, other in zip(found, value, strict=True):
            same(one, other)
    elif isinstance(value, float | int) and not isinstance(value, bool):
        assert found == pytest.approx(value, abs=1e-4)
    else:
        assert value is ... or found == value


def test_the_table_covers_every_kind_with_enough_cases():
    kinds = Counter(kind for kind, *_ in CASES)
    assert set(kinds) == set(KINDS) and min(kinds.values()) >= 5
    assert len(CASES) >= LEAST and len({(kind, name) for kind, name, *_ in CASES}) == len(CASES)


def test_the_docs_count_them():
    page = (Path(__file__).parents[1] / "docs" / "trust.md").read_text(encoding="utf-8")
    assert f"feeds {len(CASES)} hostile inputs" in page


def test_an_error_out_of_another_library_is_told_from_one_of_ours():
    with pytest.raises(ValueError) as ours:
        boxes.box_from_map(np.zeros((2, 2)), "no rule", 0.2)
    with pytest.raises(ValueError) as numpys:
        np.zeros(3).reshape(2, 2)
    with pytest.raises(TypeError) as slip:
        boxes.mask_above(np.zeros((2, 2)), None, "paper")
    assert raised_by_us(ours.value) and not raised_by_us(numpys.value) and not raised_by_us(slip.value)
