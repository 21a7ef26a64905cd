"""Hostile cases of `wsol:`: lists that are damaged, disagree or point elsewhere, and masks that cannot be used."""

import tracemalloc
from pathlib import Path

import numpy as np
from hostile import SIZE, Found, Refused, Right, call, case
from test_photographs import block, cub, encoded, grey, scene, write
from test_wsol import BOX, lists, masked, wsol

from cambook import datasets
from cambook.datasets.wsol_lists import grid_boxes, grid_mask, read_lists
from cambook.machine import environ

FIRST = "001.Wren/test_1.jpg"
ALL = [f"{bird}/test_{n}.jpg" for bird in ("001.Wren", "002.Tit") for n in (1, 2)]
REST = ALL[1:]


def loaded(root, split="test") -> Found:
    """The ids of the used images, and the report on files: without the rule of scaling, and classes left empty."""
    data = datasets.load(f"wsol:{root}", split, SIZE)
    batch = data.batch(range(len(data)))
    assert batch.images.isfinite().all() and all(len(boxes) for boxes in batch.boxes)
    assert data.report[0].startswith("no blacklist is applied")
    return Found(data.names, [line for line in data.report[1:] if not line.startswith("no usable image of class")])


def changed(folder: Path, name: str, row: str | None, replaces=FIRST, encoding="utf-8") -> Path:
    """The folder of `wsol`, with one row of a list of its test split replaced, or left out."""
    file = wsol(folder) / f"metadata/test/{name}.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    lines = [line if not line.startswith(replaces) else row for line in lines]
    file.write_bytes("".join(f"{line}\n" for line in lines if line is not None).encode(encoding))
    return folder


def listed(name, expected, of, row, **options):
    case("lists", f"wsol: {name}", expected)(lambda folder: loaded(changed(folder, of, row, **options)))


# ---- ids that lead elsewhere

OUTSIDE = "left out: its id in image_ids.txt is not a path inside the folder of images"
for name, identity in {
    "an id out of the folder": "../secret.jpg",
    "an id out of the folder in its middle": "001.Wren/../../secret.jpg",
    "an absolute id": "/etc/secret.jpg",
    "an id on a drive of Windows": "C:/secret.jpg",
    "an id with backslashes": r"..\secret.jpg",
    "an id with a NUL": "001.Wren/\0secret.jpg",
    "an id of 5000 characters": "x" * 4988 + "/secret.jpg",
}.items():
    listed(name, Right(REST, f".*secret.jpg.*: {OUTSIDE}"), "image_ids", identity)
listed(
    "an id without a file",
    Right(REST, r".*001.Wren/none.jpg: left out: class_labels.txt has no.*"),
    "image_ids",
    "001.Wren/none.jpg",
)
listed(
    "an id twice",
    Refused(r"image_ids.txt, line 2 lists '001.Wren/test_1.jpg' again, after line 1: remove"),
    "image_ids",
    f"{FIRST}\n{FIRST}",
)

# ---- rows that are damaged

BOXES = r"localization.txt, line 1 is .*: it must be an id and x0, y0, x1, y1 in whole pixels, separated by commas"
for name, row in {
    "a box with NaN": f"{FIRST},nan,10,59,29",
    "a box with infinity": f"{FIRST},0,0,inf,29",
    "a box with fractions": f"{FIRST},20.5,10,59,29",
    "a box of three numbers": f"{FIRST},20,10,59",
    "a box of five thousand digits": f"{FIRST},0,0,{'9' * 5000},29",
    "a heading over the boxes": "image_id,x0,y0,x1,y1",
}.items():
    listed(name, Refused(BOXES), "localization", row)
NOT_IN = r".*: left out: localization.txt gives the box {}, which its 80 x 40 pixels do not contain"
listed(
    "a box that leaves its image", Right(REST, NOT_IN.format("20, 10, 81, 29")), "localization", f"{FIRST},20,10,81,29"
)
listed("a box before its image", Right(REST, NOT_IN.format("-1, 10, 59, 29")), "localization", f"{FIRST},-1,10,59,29")
listed(
    "a box that ends before it begins",
    Right(REST, NOT_IN.format("59, 10, 20, 29")),
    "localization",
    f"{FIRST},59,10,20,29",
)
listed("an image without a box", Right(REST, r".*: left out: localization.txt has no row for it"), "localization", None)
listed("an image without a size", Right(REST, r".*: left out: image_sizes.txt has no row for it"), "image_sizes", None)
listed(
    "an image without a label", Right(REST, r".*: left out: class_labels.txt has no row for it"), "class_labels", None
)
listed(
    "a size of nothing",
    Refused("image_sizes.txt, line 1: the size is 0 x 40, at least 1 x 1 is needed"),
    "image_sizes",
    f"{FIRST},0,40",
)
listed(
    "a size that is no number",
    Refused("line 1 is .* it must be an id, a width and a height"),
    "image_sizes",
    f"{FIRST},wide,40",
)
listed(
    "a negative label",
    Refused("the label is -1, and labels count from 0 to at most 99999"),
    "class_labels",
    f"{FIRST},-1",
)
listed(
    "a label of half a billion",
    Refused("the label is 500000000, and labels count from 0"),
    "class_labels",
    f"{FIRST},500000000",
)
listed(
    "a label in words",
    Refused("line 1 is .*wren.* it must be an id and a label that counts from 0"),
    "class_labels",
    f"{FIRST},wren",
)
listed(
    "half a file",
    Refused("class_labels.txt, line 4 is '002.Tit/te': it must be an id and a label"),
    "class_labels",
    "002.Tit/te",
    replaces="002.Tit/test_2.jpg",
)
listed(
    "a line of three million characters",
    Refused("line 1 has more than 10000 characters: write one row per line"),
    "localization",
    "9," * 1_500_000,
)

# ---- rows that disagree

listed(
    "two labels",
    Refused("line 2: .*test_1.jpg has label 1 there and 0 above; remove one"),
    "class_labels",
    f"{FIRST},0\n{FIRST},1",
)
listed(
    "two sizes",
    Refused("line 2: .*test_1.jpg has 40 x 40 pixels there and 80 x 40 above; remove one"),
    "image_sizes",
    f"{FIRST},80,40\n{FIRST},40,40",
)
listed("the same row twice", Right(ALL), "class_labels", f"{FIRST},0\n{FIRST},0")
listed(
    "boxes and masks in one list",
    Refused("line 2 is .*: boxes and masks are mixed, give either alone"),
    "localization",
    "a.jpg,0,0,9,9\nb.jpg,m.png,",
)

# ---- lists as other tools write them

listed("a byte-order mark", Right(ALL), "localization", ",".join(map(str, (FIRST, *BOX))), encoding="utf-8-sig")
listed("UTF-16", Right(ALL), "localization", ",".join(map(str, (FIRST, *BOX))), encoding="utf-16")
listed("spaces after commas and blank lines", Right(ALL), "localization", f"\r\n{FIRST}, 20, 10 , 59, 29 \r\n\r\n")


@case("lists", "wsol: an id with a comma", Right([["a, b/1.jpg"], [20, 20, 166 / 224 * 80, 163 / 224 * 80]]))
def _(folder):
    write(folder / "a, b/1.jpg", encoded(scene()))
    rows = {"class_labels": "0", "image_sizes": "80,40", "localization": "20,10,59,29"}
    lists(folder, "test", image_ids=["a, b/1.jpg"], **{name: [f"a, b/1.jpg,{row}"] for name, row in rows.items()})
    data = datasets.load(f"wsol:{folder}", "test", SIZE)
    return [data.names, data.batch([0]).boxes[0][0].tolist()]


@case("lists", "wsol: a million characters of boxes of other images, one row in memory at a time", Right([ALL, True]))
def _(folder):
    root = wsol(folder)
    other = [f"other/{n}.jpg,0,0,9,9" for n in range(50_000)]
    rows = (root / "metadata/test/localization.txt").read_text(encoding="utf-8").splitlines()
    lists(root / "metadata", "test", localization=[*other, *rows])
    del other
    tracemalloc.start()
    found = loaded(root).value
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return [found, (root / "metadata/test/localization.txt").stat().st_size > 1_000_000 and peak < 1_000_000]


# ---- folders


def without(name, expected, part):
    @case("folders", f"wsol: {name}", expected)
    def _(folder):
        (wsol(folder) / "metadata/test" / part).unlink()
        return loaded(folder)


without(
    "no list of images",
    Refused("has no folder test with image_ids.txt: the splits there are train, val"),
    "image_ids.txt",
)
without("no labels", Refused("has no class_labels.txt: it must give a row id,label for each image"), "class_labels.txt")
without(
    "no boxes", Refused("has no localization.txt: it must give a row id,x0,y0,x1,y1 for each box"), "localization.txt"
)
without("no sizes", Refused("has no image_sizes.txt: it must give a row id,width,height for each"), "image_sizes.txt")


@case(
    "folders", "wsol: no metadata", Refused("has no train/image_ids.txt, .* give the folder that contains the metadata")
)
def _(folder):
    return loaded(folder)


@case("folders", "wsol: an empty list", Refused("image_ids.txt lists no image: write one id per line"))
def _(folder):
    lists(wsol(folder) / "metadata", "test", image_ids=["", " "])
    return loaded(folder)


@case("folders", "wsol: images in two folders", Refused("must give images=FOLDER once: write FOLDER,images=FOLDER"))
def _(folder):
    datasets.load(f"wsol:{wsol(folder)},images={folder},images={folder}", "test", SIZE)


@case("folders", "wsol: images in a folder that is missing", Refused("there is no folder /nowhere/birds"))
def _(folder):
    datasets.load(f"wsol:{wsol(folder)},images=/nowhere/birds", "test", SIZE)


@case("folders", "wsol: no proxy", Refused('has no image_ids_proxy.txt: add it, or use the split "train"'))
def _(folder):
    (wsol(folder) / "metadata/train/image_ids_proxy.txt").unlink()
    return loaded(folder, "train-proxy")


@case("pictures", "wsol: an image that is cut off", Right(REST, "001.Wren/test_1.jpg: left out: .*cut off.*"))
def _(folder):
    noise = encoded(scene().resize((400, 400)))
    write(wsol(folder) / FIRST, noise[: len(noise) // 3])
    return loaded(folder)


@case("pictures", "wsol: an image that is missing", Right(REST, "001.Wren/test_1.jpg: left out: .*cannot be read.*"))
def _(folder):
    (wsol(folder) / FIRST).unlink()
    return loaded(folder)


# ---- masks

DOG = ["test/dog/1.jpg"]


def mask(name, expected, file="test/cat/1_a.png", data=None, rows=None):
    @case("pictures", f"wsol: {name}", expected)
    def _(folder):
        root = masked(folder)
        if data is not None:
            write(root / file, data())
        if rows is not None:
            found = (root / "test/localization.txt").read_text(encoding="utf-8").splitlines()
            lists(root, "test", localization=rows(found))
        return loaded(root)


mask(
    "a mask that is not a PNG",
    Right(DOG, "cat/1.jpg: left out: cat/1_(a|ignore).png: the mask is not a readable PNG.*"),
    data=lambda: b"GIF89a",
)
mask(
    "half a mask",
    Right(DOG, "cat/1.jpg: left out: cat/1_(a|ignore).png: the mask is not a readable PNG.*"),
    data=lambda: grey(block(255, 0))[:60],
)
mask(
    "an ignore mask that is empty",
    Right(DOG, "cat/1.jpg: left out: cat/1_(a|ignore).png: the mask is not a readable PNG.*"),
    file="test/cat/1_ignore.png",
    data=lambda: b"",
)
mask(
    "a mask out of the folder",
    Right(DOG, "test/cat/1.jpg: left out: localization.txt names a mask outside the folder.*"),
    rows=lambda rows: ["test/cat/1.jpg,../../a.png,", *rows[2:]],
)
mask(
    "an absolute mask",
    Right(DOG, "test/cat/1.jpg: left out: localization.txt names a mask outside the folder.*"),
    rows=lambda rows: ["test/cat/1.jpg,/etc/a.png,", *rows[2:]],
)
mask(
    "a mask that is missing",
    Right(DOG, "cat/1.jpg: left out: .*none.png cannot be read.*"),
    rows=lambda rows: ["test/cat/1.jpg,none.png,", *rows[2:]],
)
mask(
    "two ignore masks",
    Refused("line 2: test/cat/1.jpg has a second ignore mask, one alone is possible"),
    rows=lambda rows: [rows[0], "test/cat/1.jpg,b.png,c.png"],
)
mask(
    "an image without a mask",
    Right(DOG, "test/cat/1.jpg: left out: localization.txt has no row for it"),
    rows=lambda rows: rows[2:],
)


@case("pictures", "wsol: masks that mark nothing", Right(DOG, "cat/1.jpg: left out: its masks mark no object .*"))
def _(folder):
    root = masked(folder)
    for name in "ab":
        write(root / f"test/cat/1_{name}.png", grey(np.zeros((40, 80), np.uint8)))
    return loaded(root)


@case("pictures", "wsol: a mask of one pixel, and of another size than its image", Right([1, True]))
def _(folder):
    root = masked(folder)
    pixel = np.zeros((1000, 1000), np.uint8)
    pixel[501, 777] = 255
    for name, values in {"a": pixel, "b": np.zeros((3, 7), np.uint8), "ignore": np.zeros((1, 1), np.uint8)}.items():
        write(root / f"test/cat/1_{name}.png", grey(values))
    found = datasets.load(f"wsol:{root}", "test", SIZE).batch([0]).masks[0]
    return [int(found.sum()), bool(found[501 * SIZE // 1000, 777 * SIZE // 1000])]


# ---- lists alone, without any image


def read(folder: Path, split="test") -> Found:
    """The ids of which the lists say all that is needed, and why others are left out."""
    found = read_lists(folder, split)
    assert set(found.labels) == set(found.ids) and not set(found.ids) & set(found.left_out)
    return Found(found.ids, [f"{identity[:40]!r}: {why}" for identity, why in found.left_out.items()])


def alone(name, expected, of=None, row=None, split="test", at="", **options):
    @case("lists", f"lists alone: {name}", expected)
    def _(folder):
        root = wsol(folder) if of is None else changed(folder, of, row, **options)
        return read(root / at, split)


NOT_INSIDE = "its id in image_ids.txt is not a path inside the folder of images"
NOT_THERE = "class_labels.txt has no row for it"
for name, identity in {
    "an id that is a share of Windows": "//server/birds/1.jpg",
    "an id in the home of somebody": r"~\..\1.jpg",
    "an id that turns its letters around": "001.Wren/gpj.\u202e1.jpg",
    "an id with an escape sequence": "001.Wren/\x1b[2J.jpg",
}.items():
    alone(name, Right(REST, f".*: {NOT_INSIDE}"), "image_ids", identity)
alone("an id of spaces within", Right(REST, f"'001.Wren/a  b.jpg': {NOT_THERE}"), "image_ids", "001.Wren/a  b.jpg")
alone("an id in another case", Right(REST, f"'001.WREN/test_1.JPG': {NOT_THERE}"), "image_ids", "001.WREN/test_1.JPG")
alone(
    "a split that there is not", Refused('^unknown split "validation": use train, .*, train-proxy$'), split="validation"
)
alone(
    "the folder of another split",
    Refused('metadata/val is the folder of the split val, not test: ask for "val", or give another$'),
    at="metadata/val",
)
alone("the folder of the split itself", Right(ALL), at="metadata/test")
alone("a list in place of a folder", Refused("there is no folder .*image_ids.txt"), at="metadata/test/image_ids.txt")
for name, row in {
    "digits of another script": f"{FIRST},\uff12\uff10,10,59,29",
    "numbers between semicolons": f"{FIRST};20;10;59;29",
    "numbers between tabs": "\t".join(map(str, (FIRST, *BOX))),
    "a box in scientific notation": f"{FIRST},2e1,10,59,29",
    "a box of hexadecimal numbers": f"{FIRST},0x14,0xa,0x3b,0x1d",
}.items():
    alone(name, Refused(BOXES), "localization", row)
alone(
    "a label with a point", Refused("line 1 is .*,0.0': it must be an id and a label"), "class_labels", f"{FIRST},0.0"
)
alone("lines that end as on an old Mac", Right(ALL), "class_labels", f"{FIRST},0\r")
alone(
    "UTF-16 without its mark",
    Refused("class_labels.txt, line 1 is .*: it must be an id and a label that counts from 0"),
    "class_labels",
    f"{FIRST},0",
    encoding="utf-16-le",
)


@case(
    "lists", "lists alone: a photograph called image_ids.txt", Refused("test: no listed image can be used, the first")
)
def _(folder):
    (wsol(folder) / "metadata/test/image_ids.txt").write_bytes(encoded(scene().resize((400, 400)), "PNG"))
    return read(folder)


@case("lists", "lists alone: a folder called localization.txt", Refused("has no localization.txt: it must give a row"))
def _(folder):
    file = wsol(folder) / "metadata/test/localization.txt"
    file.unlink()
    file.mkdir()
    return read(folder)


@case("lists", "lists alone: letters composed here and decomposed there", Right(["Z\u00fcrich/1.jpg"]))
def _(folder):
    rows = {"class_labels": "0", "image_sizes": "80,40", "localization": "20,10,59,29"}
    lists(folder, "test", image_ids=["Zu\u0308rich/1.jpg"], **{n: [f"Z\u00fcrich/1.jpg,{r}"] for n, r in rows.items()})
    return read(folder)


@case(
    "lists",
    "lists alone: a proxy without labels",
    Refused("no listed image can be used, the first, '001.Wren/tr.*no row"),
)
def _(folder):
    lists(wsol(folder) / "metadata", "train", class_labels=["other.jpg,0"])
    return read(folder, "train-proxy")


@case("lists", "lists alone: a mask whose path has a NUL", Right(DOG, ".*: localization.txt names a mask outside.*"))
def _(folder):
    rows = (masked(folder) / "test/localization.txt").read_text(encoding="utf-8").splitlines()
    return read(lists(folder, "test", localization=["test/cat/1.jpg,a\0.png,", *rows[2:]]))


# ---- masks and boxes brought to the grid


def on_grid(name, expected, data, path="a.png", ignore=""):
    @case("pictures", f"a mask on the grid: {name}", expected)
    def _(folder):
        write(folder / "a.png", data())
        mask, ignored = grid_mask([path], ignore, folder)
        return [int(mask.sum()), int(ignored.sum())]


def wide():
    """A PNG that says it has 60,000 x 60,000 pixels."""
    found = bytearray(grey(np.zeros((2, 2), np.uint8)))
    found[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(found)


on_grid("nothing marked", Right([0, 0]), lambda: grey(np.zeros((9, 7), np.uint8)))
on_grid(
    "all marked, and ignored as well", Right([224 * 224, 0]), lambda: grey(np.ones((1, 1), np.uint8)), ignore="a.png"
)
on_grid("a JPEG of that name", Refused("a.png: the mask is not a readable PNG .*; put a PNG"), lambda: encoded(scene()))
on_grid("a bomb", Refused("a.png: the mask .*; put a PNG file there$"), wide)
on_grid("out of the folder", Refused("the mask '../a.png' is not a path inside"), lambda: b"", path="../a.png")
on_grid("missing", Refused("there is no mask .*b.png: give the folder that the paths"), lambda: b"", path="b.png")
for name, box, size in (
    ("no width", (0, 0, 9, 9), (0, 40)),
    ("a size of NaN", (0, 0, 9, 9), (float("nan"), 40)),
    ("an end that is infinite", (0, 0, float("inf"), 9), (80, 40)),
    ("three numbers", (0, 0, 9), (80, 40)),
):
    call(
        "annotations",
        f"a box on the grid: {name}",
        "pixels: give x0, y0, x1, y1, at least 1 x 1$",
        lambda box=box, size=size: grid_boxes([box], size),
    )


# ---- the rule for boxes


def ruled(name, sentence, make, **options):
    @case("annotations", f"rule for boxes: {name}", Refused(sentence))
    def _(folder):
        with environ("CAMBOOK_BOX_RULE", options.pop("variable", "")):
            datasets.load(make(folder), "test", SIZE, **options)


ruled(
    "unknown",
    "^box_rule='other' is not possible with scenes: write edges or wsol$",
    lambda _: "scenes",
    box_rule="other",
)
ruled("five thousand characters", "^box_rule='x{60}' is not possible", lambda _: "scenes", box_rule="x" * 5000)
ruled(
    "another one for wsol",
    "box_rule='edges' is not possible with wsol:.*: write wsol$",
    lambda folder: f"wsol:{wsol(folder)}",
    box_rule="edges",
)
ruled(
    "unknown in the environment",
    '^CAMBOOK_BOX_RULE is "other": write edges or wsol, or leave it out$',
    lambda folder: f"cub:{cub(folder)}",
    variable="other",
)
