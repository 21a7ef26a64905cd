"""Hostile cases of `cambook score`: maps that are damaged, misnamed or lead elsewhere; lists that disagree."""

import io
import os
from pathlib import Path

import numpy as np
from hostile import Refused, Right, case
from test_photographs import grey, write
from test_wsol import lists

from cambook.localize.scoring import score
from cambook.localize.truths import from_metadata

SIDE = 224
IDS = ["001.Wren/a.jpg", "001.Wren/b.jpg", "002.Tit/c.jpg"]
BOX = (56, 56, 167, 167)
MAP = np.zeros((SIDE, SIDE), np.float32)
MAP[56:168, 56:168] = 1


def saved(map2d) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, map2d)
    return buffer.getvalue()


def header(text: str, version=b"\x01\x00", data=b"") -> bytes:
    """An .npy file with this header, whatever it says."""
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text.encode() + data


def described(folder: Path, ids=IDS, **changed: list[str]) -> Path:
    rows = {
        "image_ids": list(ids),
        "class_labels": [f"{identity},{number % 2}" for number, identity in enumerate(ids)],
        "image_sizes": [f"{identity},{SIDE},{SIDE}" for identity in ids],
        "localization": [",".join(map(str, (identity, *BOX))) for identity in ids],
    }
    return lists(folder / "lists", "test", **{**rows, **changed})


def scored(folder: Path, given=None, metadata=None, **options):
    """Two good maps and the given files beside or instead; MaxBoxAcc at IoU 0.7, how many images, and the notes."""
    files = {f"{identity}.npy": saved(MAP) for identity in IDS} | (given or {})
    for name, content in files.items():
        if content is not None:
            write(folder / "maps" / name, content)
    truths = from_metadata(metadata or described(folder), "test")
    found = score(folder / "maps", truths, **options)
    return [found.value("MaxBoxAcc, IoU 0.7"), len(found.counts.ids), *found.notes]


def one(name, expected, content, **options):
    """A case in which the second map is this file."""
    case("maps", f"score: {name}", expected)(lambda folder: scored(folder, {f"{IDS[1]}.npy": content()}, **options))


# ---- one map

WHERE = r"001.Wren.b.jpg.npy "
for name, value in {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf}.items():

    def holed(value=value):
        map2d = MAP.copy()
        map2d[3, 5] = value
        return saved(map2d)

    one(f"a map with {name}", Refused(WHERE + rf"contains {value} in row 3, column 5: look at what made it"), holed)
one("a map with infinity is not rescued by --normalize", Refused(WHERE + "contains -inf"), holed, normalize="min-max")
for name, shape in {
    "of one row": (SIDE * SIDE,),
    "with a channel": (1, SIDE, SIDE),
    "of one number": (),
    "without a pixel": (0, SIDE),
}.items():
    one(
        f"a map {name}",
        Refused(WHERE + r"has shape \(.*\): a map has rows and columns alone, such as \(224, 224\)"),
        lambda shape=shape: saved(np.zeros(shape, np.float32)),
    )
one(
    "a map of another size",
    Refused(WHERE + r"has shape \(14, 14\), and maps are compared at 224 x 224: name with --resize"),
    lambda: saved(MAP[::16, ::16]),
)
one("a map of another size, resized", Right([100, 3]), lambda: saved(MAP[::16, ::16]), resize="nearest")
one(
    "a map with 40,000 columns",
    Refused(WHERE + r"has shape \(1, 40000\): a map has at most 4096 pixels a side"),
    lambda: saved(np.zeros((1, 40_000), np.float32)),
    resize="bilinear",
)
one("a map to 255", Refused(WHERE + "goes from 0 to 255, and maps run from 0 to 1"), lambda: saved(np.uint8(255 * MAP)))
one("a map to 255, normalized", Right([100, 3]), lambda: saved(np.uint8(255 * MAP)), normalize="max")
one("a map below 0", Refused(WHERE + "goes from -1 to 0, and maps run from 0"), lambda: saved(MAP - 1))
one(
    "a map that bicubic carries beyond 1",
    Refused(WHERE + r"goes from -0.\d+ to 1.\d+ after bicubic resizing"),
    lambda: saved(MAP[::16, ::16]),
    resize="bicubic",
)
one("a constant map shows no position", Right([200 / 3, 3]), lambda: saved(0 * MAP))
for name, kind in {"complex": np.complex64, "text": "U4", "dates": "M8[s]"}.items():
    one(
        f"a map of {name}",
        Refused(WHERE + "contains values of type .*: a map has real numbers"),
        lambda kind=kind: saved(np.zeros((SIDE, SIDE), kind)),
    )
one(
    "a map of named fields",
    Refused(WHERE + "contains values of type .*: a map has real numbers"),
    lambda: saved(np.zeros((SIDE, SIDE), [("map", "f4")])),
)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def pickled():
    objects = np.empty((SIDE, SIDE), object)
    objects[0, 0] = Evil()
    return saved(objects)


one("a pickle in place of numbers", Refused(WHERE + "contains values of type object"), pickled)
one("a file of nothing", Refused(WHERE + "does not begin as an .npy file does: write the map with"), lambda: b"")
one("a text", Refused(WHERE + "does not begin as an .npy file does"), lambda: b"0.1,0.2\n" * 9)
one("an archive of maps", Refused(WHERE + "does not begin as an .npy file"), lambda: b"PK\x03\x04" + bytes(100))
one(
    "half a map",
    Refused(WHERE + r"is cut off: it has \d+ bytes, its header says 200832; write"),
    lambda: saved(MAP)[:99_999],
)
one("half a header", Refused(WHERE + "does not begin as an .npy file does"), lambda: saved(MAP)[:60])
one("two maps in one file", Refused(WHERE + "contains more than one map: it has"), lambda: 2 * saved(MAP))
SHAPED = "{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}"
one(
    "a header that promises 10 GB",
    Refused(WHERE + r"has shape \(50000, 50000\)"),
    lambda: header(SHAPED.format("(50000, 50000)"), data=bytes(100)),
    resize="bilinear",
)
one(
    "a header with a negative side",
    Refused(WHERE + r"has shape \(-224, 224\): a map has rows and columns"),
    lambda: header(SHAPED.format("(-224, 224)")),
)
one(
    "a header that calls a function",
    Refused(WHERE + "does not begin as an .npy file does"),
    lambda: header("__import__('os').mkdir('evil')"),
)
one(
    "a header of a million brackets",
    Refused(WHERE + "does not begin as an .npy file does"),
    lambda: header("(" * 1_000_000, version=b"\x02\x00"),
)
one(
    "a header of a version to come",
    Refused(WHERE + r"is an .npy file of version \(9, 0\)"),
    lambda: header(SHAPED.format("(224, 224)"), version=b"\x09\x00"),
)

# ---- names

NOT_TWO = "has two maps of 001.Wren/b.jpg, 001.Wren/b.jpg.npy and 001.Wren/b.npy: remove one of them"


def named(name, expected, given, **options):
    case("folders", f"score: {name}", expected)(lambda folder: scored(folder, given, **options))


named("two maps for one id", Refused(NOT_TWO), {"001.Wren/b.npy": saved(MAP)})
named(
    "a map with another ending beside the right one",
    Refused("has two maps of 001.Wren/b.jpg, .*b.jpg.npy and .*b.jpeg.npy"),
    {"001.Wren/b.jpeg.npy": saved(MAP)},
)
named(
    "a missing map",
    Refused("has no file 001.Wren/b.jpg.npy: maps of 1 of the 3 images of the test split .* are missing; add them"),
    {f"{IDS[1]}.npy": None},
)
named(
    "a missing map, and a part is enough",
    Right([100, 2, ...]),
    {f"{IDS[1]}.npy": None},
    partial_set=True,
)
named(
    "no map at all",
    Refused("maps of 3 of the 3 images .*; give the folder from which"),
    {**dict.fromkeys(f"{i}.npy" for i in IDS), "notes.txt": b"none yet"},
    partial_set=True,
)
named("a map of nobody", Right([100, 3, ".npy files that belong to no image here: 1, such as x.npy"]), {"x.npy": b"?"})
named("an empty name", Right([100, 3, ".npy files that belong to no image here: 1, such as .npy"]), {".npy": b"?"})


@case("folders", "score: a folder that has the name of a map", Refused("has no file 002.Tit/c.jpg.npy"))
def _(folder):
    (folder / "maps" / f"{IDS[2]}.npy").mkdir(parents=True)
    scored(folder, {f"{IDS[2]}.npy": None})


@case("folders", "score: a folder of maps that is not there", Refused("nowhere is not a folder: give the one that"))
def _(folder):
    score(folder / "nowhere", from_metadata(described(folder)))


@case("folders", "score: a folder that contains itself by a link", Right([100, 3]))
def _(folder):
    (folder / "maps").mkdir()
    try:
        (folder / "maps" / "again").symlink_to(folder / "maps", target_is_directory=True)
    except OSError:
        pass  # Windows allows links to some users alone
    return scored(folder)


@case("folders", "score: a map that is a link to a file elsewhere, which is read as numbers alone", Refused(WHERE))
def _(folder):
    write(folder / "secret.txt", b"a secret")
    write(folder / "maps" / f"{IDS[0]}.npy", saved(MAP))
    try:
        (folder / "maps" / f"{IDS[1]}.npy").symlink_to(folder / "secret.txt")
    except OSError:
        write(folder / "maps" / f"{IDS[1]}.npy", b"a secret")
    scored(folder, {f"{IDS[1]}.npy": None})


# ---- lists


for name, identity in {
    "out of the folder": "../secret.jpg",
    "that is absolute": "/etc/passwd",
    "on a drive of Windows": "C:/secret.jpg",
    "with backslashes": r"..\secret.jpg",
    "with a NUL": "x\0y.jpg",
}.items():
    ids = [*IDS, identity]
    case("lists", f"score: an id {name}", Refused("1 of the images that .* cannot be counted, such as .*: its id"))(
        lambda folder, ids=ids: scored(folder, metadata=described(folder, ids))
    )
    case("lists", f"score: an id {name}, and a part is enough", Right([100, 3, ...]))(
        lambda folder, ids=ids: scored(folder, metadata=described(folder, ids), partial_set=True)
    )


@case(
    "lists", "score: labels that disagree", Refused("class_labels.txt, line 4: 001.Wren/a.jpg has label 5 there and 0")
)
def _(folder):
    rows = [*(f"{identity},0" for identity in IDS), f"{IDS[0]},5"]
    scored(folder, metadata=described(folder, class_labels=rows))


@case("lists", "score: an image without a box", Refused("such as '002.Tit/c.jpg': localization.txt has no row for it"))
def _(folder):
    rows = [",".join(map(str, (identity, *BOX))) for identity in IDS[:2]]
    scored(folder, metadata=described(folder, localization=rows))


@case(
    "lists", "score: boxes of CUBV2_boxes.txt with their heading", Refused("localization.txt, line 1 is 'image_id,x0")
)
def _(folder):
    scored(folder, metadata=described(folder, localization=["image_id,x0,y0,x1,y1", f"{IDS[0]},1,1,9,9"]))


@case("lists", "score: masks asked for where there are boxes", Refused("gives boxes, so no masks are read: leave out"))
def _(folder):
    from_metadata(described(folder), "test", folder)


def with_masks(folder: Path, mask: bytes, given=None) -> list:
    write(folder / "m" / "a.png", mask)
    root = described(folder, IDS[:1], localization=[f"{IDS[0]},a.png,"])
    write(folder / "maps" / f"{IDS[0]}.npy", saved(MAP))
    found = score(folder / "maps", from_metadata(root, "test", given or folder / "m"))
    return [found.value("PxAP")]


@case("lists", "score: a mask that is not there", Refused("names the mask a.png, and .*nowhere does not have it: give"))
def _(folder):
    with_masks(folder, grey(np.uint8(MAP)), folder / "nowhere")


@case("lists", "score: a mask that is damaged", Refused("a.png: .*; put a PNG file there"))
def _(folder):
    with_masks(folder, b"\x89PNG damaged")


@case("lists", "score: masks of which none marks anything", Refused("no mask of the test split of .* marks a pixel"))
def _(folder):
    with_masks(folder, grey(np.uint8(0 * MAP)))


@case("lists", "score: a mask of another size than the map", Right([100]))
def _(folder):
    return with_masks(folder, grey(np.kron(np.uint8(MAP), np.ones((2, 3), np.uint8))))


# ---- predictions and options


def predicted(name, sentence, text):
    def guess(folder):
        write(folder / "guesses.csv", text if isinstance(text, bytes) else text.encode())
        scored(folder, predictions=folder / "guesses.csv")

    case("tables", f"score: predictions {name}", Refused(sentence))(guess)


ROWS = "".join(f"{identity},0\n" for identity in IDS)
predicted("without a heading", "guesses.csv, line 1 is '001.Wren/a.jpg,0': write image_id,top1", ROWS)
predicted("of nothing", "has no row for 3 of the 3 images, the first of them 001.Wren/a.jpg", "")
predicted(
    "that lack an image",
    "has no row for 1 of the 3 images, the first of them 002.Tit/c.jpg",
    "image_id,top1\n" + ROWS.replace("002", "3"),
)
predicted(
    "with two rows of an image", "row 5 is a second one of 001.Wren/a.jpg: remove", f"image_id,top1\n{ROWS}{ROWS}"
)
predicted("that are names", "row 2 is '001.Wren/a.jpg,wren': write image_id,top1", f"image_id,top1\n{IDS[0]},wren\n")
predicted("that are probabilities", "row 2 is .*: write image_id", f"image_id,top1\n{IDS[0]},0.97\n")
predicted("of classes below 0", "row 2 is .*: write image_id", f"image_id,top1\n{IDS[0]},-1\n")
predicted("with a row too short", "row 2 is .*: write image_id", f"image_id,top1,top2\n{IDS[0]},1\n")
predicted("with a quote that never ends", "(row 2 is|is not a row|is not a CSV)", f'image_id,top1\n"{IDS[0]},1\n{ROWS}')
predicted("of one endless line", "line 2 is not a row of text", "image_id,top1\n" + "9" * 100_000)
predicted("with a NUL", "line 2 is not a row of text", "image_id,top1\na\0b,1\n")

for text, given in {"0": 0.0, "2": 2.0, "a negative number": -0.1, "no whole part of 1": 0.3, "NaN": np.nan}.items():
    case("parameters", f"score: an interval of {text}", Refused("--interval .* cannot be the distance of thresholds"))(
        lambda folder, given=given: scored(folder, interval=given)
    )
case("parameters", "score: an unknown interpolation", Refused("--resize 'lanczos' is unknown: choose one of bilinear"))(
    lambda folder: scored(folder, resize="lanczos")
)
case(
    "parameters", "score: an unknown normalization", Refused("--normalize 'z' is unknown: choose one of min-max, max")
)(lambda folder: scored(folder, normalize="z"))


@case("parameters", "score: a threshold chosen on the images it is reported on", Refused("share 3 images, such as 001"))
def _(folder):
    scored(folder, tune_on=from_metadata(described(folder), "test"))
