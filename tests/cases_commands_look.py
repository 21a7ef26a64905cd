"""Hostile cases of `cambook look` and `cambook boxes`: photographs, names and folders as somebody may have them."""

import csv
import functools
import io
import json
import os
from pathlib import Path

import torch
from hostile import Found, Refused, Right, case
from PIL import Image
from test_datasets import encoded
from test_look import said
from typer.testing import CliRunner

from cambook import networks
from cambook.cli import commands
from cambook.localize import page
from cambook.localize.predicted import Boxes, Predicted, voc_ids

SMALL = 160  # pixels of a figure's width, so that it is drawn quickly


@functools.cache
def random_weights(classes=12) -> bytes:
    content = io.BytesIO()
    torch.save(networks.build("mini-gap", classes, seed=0).state_dict(), content)
    return content.getvalue()


def called(folder: Path, command: str, *arguments) -> Found:
    """A command with a network of 12 classes and random weights: exit code and last line, and what is left out."""
    weights = folder.parent / "mine.pt"
    weights.write_bytes(random_weights())
    before, page.PIXELS = page.PIXELS, SMALL
    try:
        result = CliRunner().invoke(commands.app, [command, *map(str, arguments), "--weights", str(weights)])
    finally:
        page.PIXELS = before
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    left = [line.partition("left out: ")[2] for line in result.stderr.splitlines() if "left out: " in line]
    return Found([result.exit_code, said(result)], left)


def looked(folder: Path, *arguments, given=(), out="out") -> Found:
    """`cambook look`: exit code, and the names of the photographs on the page."""
    out = folder / out
    found = called(
        folder, "look", *(given or [folder]), "--network", "mini-gap", "--out", out, *(arguments or ("--top", 1))
    )
    names = []
    if (out / "results.csv").is_file():
        with open(out / "results.csv", encoding="utf-8", newline="") as file:
            names = list(dict.fromkeys(row["file"] for row in csv.DictReader(file)))
        figures = json.loads((out / "record.json").read_text(encoding="utf-8"))["results"]["figures"]
        assert sorted(figures) == sorted(path.name for path in out.glob("*.png")) and len(figures) == len(names)
    return Found([found.value[0], names], found.report)


def boxed(folder: Path, out: str, *arguments, of="in") -> Found:
    """`cambook boxes` of a folder: exit code, and which files it left."""
    found = called(folder, "boxes", "mini-gap", folder / of, "--out", folder / out, *arguments)
    return Found([found.value[0], (folder / out).exists()], found.report)


def image(size=(80, 64), mode="RGB") -> Image.Image:
    """Colours that change from corner to corner."""
    ramp = Image.linear_gradient("L").resize(size)
    bands = [ramp, ramp.transpose(Image.Transpose.FLIP_TOP_BOTTOM), ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return Image.merge("RGB", bands).convert(mode)


def photo(folder: Path, name: str, data: bytes | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image()) if data is None else data)
    return path


# ---- photographs that cannot be used, and odd ones that can

NOISE = bytes(range(256)) * 40
LEFT_OUT = {
    "a text called .jpg": (lambda: b"just some text", "odd.jpg: the file contains no image of a known format"),
    "a web page called .jpg": (
        lambda: b"<!doctype html><p>404",
        "odd.jpg: the file contains a web page or other text.*",
    ),
    "an empty file": (lambda: b"", "odd.jpg: the file is empty"),
    "one pixel": (lambda: encoded(image((1, 1))), "odd.jpg: it has 1 x 1 pixels, and fewer than 8 a side show nothing"),
    "a ribbon of 10000 x 20": (
        lambda: encoded(image((10000, 20))),
        "odd.jpg: it has 10000 x 20 pixels: crop it to at most 20 times as long as wide",
    ),
    "half a JPEG": (
        lambda: (data := encoded(image((400, 400)), "JPEG"))[: len(data) // 2],
        r"odd.jpg: the image is (cut off|damaged).*",
    ),
    "half a PNG": (
        lambda: (data := encoded(image((400, 400))))[: len(data) // 2],
        "odd.jpg: the image is (cut off|damaged).*",
    ),
    "numbers with fractions": (
        lambda: encoded(Image.new("F", (80, 64)), "TIFF"),
        "odd.jpg: the image contains floating-point numbers, whose white is unknown",
    ),
}
for title, (make, reason) in LEFT_OUT.items():

    @case("pictures", f"look: {title}", Right([0, ["cat.png"]], reason))
    def _(folder, make=make):
        photo(folder, "cat.png")
        photo(folder, "odd.jpg", make())
        return looked(folder)


def frames() -> bytes:
    return encoded(image(), "GIF", save_all=True, append_images=[image().rotate(90), image().rotate(180)])


USED = {
    "CMYK": lambda: encoded(image(mode="CMYK"), "JPEG"),
    "16 bits": lambda: encoded(
        Image.linear_gradient("L").resize((80, 64)).convert("I").point(lambda x: x * 256), "TIFF"
    ),
    "an animated GIF": frames,
    "transparency": lambda: encoded(image(mode="RGBA")),
    "a palette": lambda: encoded(image(mode="P")),
    "one bit": lambda: encoded(image(mode="1")),
    "a panorama of 1000 x 64": lambda: encoded(image((1000, 64))),
    "one colour": lambda: encoded(Image.new("RGB", (80, 64))),
    "an EXIF orientation that does not exist": lambda: encoded(image(), "JPEG", exif=turned(9)),
}


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


for title, make in USED.items():

    @case("pictures", f"look: {title}", Right([0, ["odd"]]))
    def _(folder, make=make):
        return looked(folder, given=[photo(folder, "odd", make())])


# ---- names

STRANGE = [
    "<script>alert(1)<",
    "a 'b' \"c\".png",
    "#1 50%.png",
    "two\nlines.png",
    "\u202egnp.exe",
    "-x.png",
    ".png",
    "\\.png",
]


@case("folders", "look: names that a page, a list or a folder minds", Right([0, sorted(STRANGE)]))
def _(folder):
    if os.name == "nt":  # Windows has no such names
        return [0, sorted(STRANGE)]
    found = looked(folder, given=[photo(folder / "in", name) for name in STRANGE])
    text = (folder / "out/index.html").read_text(encoding="utf-8")
    assert "<script" not in text and "\u202e" not in text and "two?lines" in text
    return Found([found.value[0], sorted(found.value[1])], found.report)


@case("folders", "look: photographs of one name", Right([0, ["a/cat.png", "b/cat.png", "b/cat.jpg"]]))
def _(folder):
    found = looked(folder, given=[photo(folder, name) for name in ("a/cat.png", "b/cat.png", "b/cat.jpg")])
    assert len([*(folder / "out").glob("*cat*.png")]) == 3
    return found


@case("folders", "look: one photograph five times", Right([0, ["cat.png"]]))
def _(folder):
    photo(folder, "cat.png")
    return looked(folder, given=[folder, folder / "cat.png", folder / "." / "cat.png", folder, folder / "cat.png"])


@case("folders", "look: a name that is not UTF-8", Right([0, ["cat.png", ...]]))
def _(folder):
    photo(folder, "cat.png")
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(encoded(image()))
    except OSError:  # macOS and Windows have no such names
        photo(folder, "other.png")
    return looked(folder)


# ---- folders


@case("folders", "look: an empty folder", Right([1, []], ".*in: the folder contains no image: give one with JPEG.*"))
def _(folder):
    (folder / "in").mkdir()
    return looked(folder, given=[folder / "in"])


@case("folders", "look: a folder 200 levels deep", Right([0, [..., "cat.png"]]))
def _(folder):
    photo(folder, "/".join(["d"] * 200) + "/deep.png")
    photo(folder, "cat.png")
    found = looked(folder)
    assert any(name.endswith("d/deep.png") for name in found.value[1])
    return Found([found.value[0], sorted(found.value[1], key=len, reverse=True)])


@case("folders", "look: links in a circle", Right([0, ["cat.png"]], "loop.png: .*loop.png cannot be read .*"))
def _(folder):
    photo(folder, "in/cat.png")
    try:
        (folder / "in/loop.png").symlink_to("loop.png")
        (folder / "in/again").symlink_to(folder, target_is_directory=True)
    except OSError:  # Windows, without the right to make links
        return Found([0, ["cat.png"]], ["loop.png: in/loop.png cannot be read (Too many levels of symbolic links)"])
    return looked(folder, given=[folder / "in"])


@case("folders", "look: nothing but paths that are wrong", Right([1, []], (".*a.jpg: there is no such file.*",) * 2))
def _(folder):
    return looked(folder, given=[folder / "a.jpg", folder / "deep/a.jpg"])


@case("folders", "look: --out is a file", Refused("out cannot be written to .*: give a folder that can"))
def _(folder):
    (folder / "out").write_bytes(b"")
    return looked(folder, given=[photo(folder, "cat.png")])


@case(
    "folders",
    "look: --out is somebody's web page",
    Refused("contains index.html, which .* did not write: give another"),
)
def _(folder):
    (folder / "out").mkdir()
    (folder / "out/index.html").write_text("<p>mine", encoding="utf-8")
    return looked(folder, given=[photo(folder, "cat.png")])


@case("folders", "look: a record that lists files of others", Right([0, ["cat.png"], True]))
def _(folder):
    cat = photo(folder, "cat.png")
    looked(folder, given=[cat])
    record = folder / "out/record.json"
    found = json.loads(record.read_text(encoding="utf-8"))
    found["results"]["figures"] |= {
        "../cat.png": page._digest(cat),
        str(cat): page._digest(cat),
        "..": "",
        "a\0.png": "",
    }
    record.write_text(json.dumps(found), encoding="utf-8")
    found = looked(folder, given=[cat])
    return [*found.value, cat.is_file()]


# ---- options


def option(command, name, sentence, *arguments):
    @case("parameters", f"{command}: {name}", Right([2, True]))
    def _(folder):
        photo(folder, "cat.png")
        out = ("--network", "mini-gap") if command == "look" else ()
        given = (folder / "cat.png",) if command == "look" else ("mini-gap", folder)
        found = called(folder, command, *given, *out, *arguments, "--out", folder / "out.json")
        return Found([found.value[0], sentence in found.value[1]])


option("look", "--top 0", "'--top': ", "--top", "0")
option("look", "--top 2000", "'--top': ", "--top", "2000")
option("look", "--threshold 2", "'--threshold': ", "--threshold", "2")
option("look", "--threshold nan", "'--threshold': ", "--threshold", "nan")
option("look", "a rule that is unknown", "--rule mine is unknown: choose paper or wsol", "--rule", "mine")
option("boxes", "--top 0", "'--top': ", "--top", "0")
option("boxes", "--threshold -1", "'--threshold': ", "--threshold", "-1")
option("boxes", "--classes of both kinds", "--classes both is unknown: choose true or top", "--classes", "both")


@case("parameters", "look: more classes than the network has", Right([0, 12]))
def _(folder):
    looked(folder, "--top", "20", given=[photo(folder, "cat.png")])
    lines = (folder / "out/results.csv").read_text(encoding="utf-8").splitlines()
    return [0, len(lines) - 1]


@case("parameters", "look: a source that is unknown", Refused("source='cams' is unknown: .* did you mean 'cam'?"))
def _(folder):
    return looked(folder, "--source", "cams", given=[photo(folder, "cat.png")])


@case("networks", "look: a network that is unknown", Refused("network='mini-gab' is unknown; did you mean 'mini-gap'?"))
def _(folder):
    return called(folder, "look", photo(folder, "cat.png"), "--network", "mini-gab", "--out", folder / "out")


@case("networks", "look: maps that the network lacks", Right([2, True]))
def _(folder):
    found = called(folder, "look", photo(folder, "cat.png"), "--network", "mini-fc", "--out", folder / "out")
    return [found.value[0], "mini-fc has a hidden layer" in found.value[1] and not (folder / "out").exists()]


@case("networks", "boxes: weights of NaN", Refused("mine.pt.* contains NaN or infinity"))
def _(folder):
    state = networks.build("mini-gap", 12).state_dict()
    state["classifier.weight"][3] = torch.nan
    torch.save(state, folder / "mine.pt")
    photo(folder, "in/cat.png")
    arguments = ["mini-gap", str(folder / "in"), "--out", str(folder / "a.json"), "--weights", str(folder / "mine.pt")]
    raise CliRunner().invoke(commands.app, ["boxes", *arguments]).exception


# ---- boxes


@case(
    "parameters", "boxes: an ending that is unknown", Refused("boxes.txt ends in .txt: end it in .json for COCO JSON")
)
def _(folder):
    photo(folder, "in/cat.png")
    return boxed(folder, "boxes.txt")


@case("folders", "boxes: somebody's annotations", Refused("mine.json is there already and not as .* give another name"))
def _(folder):
    photo(folder, "in/cat.png")
    (folder / "mine.json").write_text('{"images": []}', encoding="utf-8")
    return boxed(folder, "mine.json")


@case("folders", "boxes: somebody's Annotations", Refused("voc contains Annotations already: give another folder"))
def _(folder):
    photo(folder, "in/cat.png")
    (folder / "voc/Annotations").mkdir(parents=True)
    return boxed(folder, "voc")


@case("folders", "boxes: below a file", Refused("cat.png cannot be written to .*: give a folder that can"))
def _(folder):
    photo(folder, "in/cat.png")
    return boxed(folder, "in/cat.png/boxes.json")


@case("folders", "boxes: two images with one id in VOC", Refused("cat.jpg and cat.png have one id in VOC: rename one"))
def _(folder):
    photo(folder, "in/cat.png")
    photo(folder, "in/cat.jpg", encoded(image(), "JPEG"))
    return boxed(folder, "voc")


@case("folders", "boxes: a name of two lines in VOC", Refused(r"two\?lines.png contains what a list of ids cannot"))
def _(folder):
    if os.name == "nt":  # Windows has no such names
        return voc_ids([Boxes("two\nlines.png", "two\nlines.png", (8, 8), ())])
    photo(folder, "in/cat.png")
    photo(folder, "in/two\nlines.png")
    return boxed(folder, "voc")


for title, name in {
    "out of the folder": "../../evil.jpg",
    "absolute": "/evil.jpg",
    "on a drive": "C:/evil.jpg",
    "with backslashes": "..\\evil.jpg",
    "with a step to itself": "a/./evil.jpg",
}.items():

    @case("lists", f"boxes: an id {title} in VOC", Refused("evil.jpg is not a path inside a folder, so VOC has no id"))
    def _(folder, name=name):
        voc_ids([Boxes("evil.jpg", name, (8, 8), (Predicted(0, 1.0, (0, 0, 8, 8)),))])


@case("folders", "boxes: an empty folder", Refused("in contains no image that can be read"))
def _(folder):
    (folder / "in").mkdir()
    return boxed(folder, "boxes.json")


@case("folders", "boxes: no such folder", Refused("is neither a data set .* nor a folder"))
def _(folder):
    return boxed(folder, "boxes.json")
