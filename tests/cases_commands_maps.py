"""Hostile cases of `images:FOLDER`, `cambook maps` and `cambook few-shot`."""

import json
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from cases_runs import command
from hostile import Found, Refused, Right, case
from test_localize_maps import contents, noisy, voc, weights
from test_photographs import encoded, scene, write
from test_wsol import wsol

from cambook import datasets, files, networks, training
from cambook.localize import few_shot, inputs, making

HALF = noisy(0)[:900]


def plain(folder: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        write(folder / "mine" / name, encoded(scene()) + name.encode())
    return folder / "mine"


def network(**changed) -> networks.Network:
    made = networks.build("mini-gap", 2)
    with torch.no_grad():
        for name, value in changed.items():
            getattr(made.classifier, name).fill_(value)
    return made


def made(data, out: Path, source="cam", **changed):
    """What `cambook maps` does after it has read its options."""
    files.check_writable(out)
    ready = network(**changed)
    how = making.parameters_of(ready, data, source=source, classes="top", enlarge="bilinear")
    making.check_same(out, how)
    return making.make_maps(ready, data, out, how)


def opened(folder: Path):
    return inputs.open_images(plain(folder), "test", 64)


def with_ids(folder: Path, *ids: str):
    """Two images under other ids, as a list could give them."""
    data = opened(folder)
    data.names = list(ids)
    return made(data, folder / "maps")


# ---- images without labels


@case("folders", "images: an empty folder", Refused("input contains no image that can be read: give a folder of JPEG"))
def _(folder):
    datasets.load(f"images:{folder}", "test", 64, boxes=False)


@case("folders", "images: notes and raw photographs alone", Refused("no image that can be read: 1 file with .cr2 left"))
def _(folder):
    write(folder / "a.cr2", b"II*")
    write(folder / "notes.txt", "none")
    datasets.load(f"images:{folder}", "test", 64, boxes=False)


@case("pictures", "images: half a photograph alone", Refused("can be used, the first for this reason: .*cut off"))
def _(folder):
    write(folder / "a.jpg", HALF)
    datasets.load(f"images:{folder}", "test", 64, boxes=False)


@case(
    "pictures",
    "images: half a photograph among others",
    Right(["a.jpg", "b.jpg"], ".*half.jpg: left out: .*cut off.*"),
)
def _(folder):
    write(plain(folder) / "half.jpg", HALF)
    data = inputs.open_images(folder / "mine", "test", 64)
    return Found(data.names, data.report)


@case("folders", "images: a link out of the folder", Right(["a.jpg", "b.jpg"], ".*evil.jpg: left out: .*leaves.*"))
def _(folder):
    write(folder / "secret/evil0.jpg", encoded(scene()))
    (plain(folder) / "evil1.jpg").symlink_to(folder / "secret/evil0.jpg")
    data = inputs.open_images(folder / "mine", "test", 64)
    return Found(data.names, [line.replace("evil1", "evil") for line in data.report])


@case("parameters", "images: training on them", Refused("has no labels, and training needs them: give folder:FOLDER"))
def _(folder):
    training.trained("mini-gap", opened(folder))


@case("parameters", "images: boxes of them", Refused("neither labels nor boxes, so nothing can be trained or measured"))
def _(folder):
    inputs.open_images(plain(folder), "test", 64, boxes=True)


@case("parameters", "images: training by name", Right([1, True]))
def _(folder):
    code, said = command("train", "mini-gap", f"images:{plain(folder)}")
    return [code, "images has no labels, which are needed here: give folder:FOLDER" in said and "\n" not in said]


# ---- ids


for _name, _ids, _sentence in (
    ("out of the folder", ("../evil.jpg", "b.jpg"), "'../evil.jpg' cannot be .* since it leads out of the folder"),
    ("absolute", ("/tmp/evil.jpg", "b.jpg"), "since it is empty, absolute or has an empty part: rename the image"),
    ("with backslashes", ("..\\evil.jpg", "b.jpg"), "since it leads out of the folder"),
    ("with a NUL", ("a\0evil.jpg", "b.jpg"), "since it is empty, absolute or has an empty part|cannot be printed"),
    ("of 5000 characters", ("evil" * 1250, "b.jpg"), "a part of it has more than 251 bytes"),
    ("that is another's folder", ("a", "a.npy/b"), "a.npy would be a map and a folder of maps"),
):
    case("maps", f"maps under an id {_name}", Refused(_sentence))(lambda folder, ids=_ids: with_ids(folder, *ids))


@case(
    "maps", "a path that is too long for the system", Refused("cannot be written .File name too long.: give an --out")
)
def _(folder):
    with_ids(folder, "/".join(["x" * 200] * 30), "b.jpg")


@case("lists", "maps of a list whose ids lead out of the folder", Right([0, 3, []]))
def _(folder):
    file = wsol(folder / "set") / "metadata/test/image_ids.txt"
    file.write_text("../../evil.jpg\n" + "\n".join(file.read_text(encoding="utf-8").splitlines()[1:]), "utf-8")
    given = ("--weights", weights(folder / "mine.pt"), "--out", folder / "maps")
    code, _ = command("maps", "mini-gap", f"wsol:{folder / 'set'}", *given)
    return [code, len([*(folder / "maps").rglob("*.npy")]), [*folder.parent.rglob("evil*.npy")]]


# ---- folders of maps


def refused(name, sentence, *options, prepare=lambda folder: None):
    """`cambook maps mini-gap FOLDER --out FOLDER/maps` ends with status 1, one line, and writes no map."""

    @case("runs", f"maps: {name}", Right([1, True, []]))
    def _(folder):
        root, file = plain(folder), weights(folder / "mine.pt")
        prepare(folder)
        words = [word.format(folder=folder) for word in options] or ["--out", folder / "maps"]
        code, said = command("maps", "mini-gap", root, "--weights", file, *words)
        last = said.splitlines()[-1].split("\r")[-1]
        return [code, sentence in last or last, [*folder.rglob("*.jpg.npy")]]


refused("--out inside the images", "from which the images are read", "--out", "{folder}/mine/maps")
refused("--out is the images", "from which the images are read", "--out", "{folder}/mine")
refused("--out is a file", "cannot be written to", "--out", "{folder}/mine.pt")
refused("--out below a file", "cannot be written to", "--out", "{folder}/mine.pt/maps")
refused(
    "true classes of images without labels",
    "has no labels, so it is not known which class each image shows",
    *("--out", "{folder}/maps", "--classes", "true"),
)
refused(
    "a record of another command",
    "record.json is not a record of `cambook maps`",
    prepare=lambda folder: write(folder / "maps/record.json", '{"command": "score", "parameters": {}}'),
)
refused(
    "half a record",
    "record.json is not a record of `cambook maps`",
    prepare=lambda folder: write(folder / "maps/record.json", '{"command": "maps", "param'),
)
refused(
    "a record in another encoding",
    "record.json is not a record of `cambook maps`",
    prepare=lambda folder: write(folder / "maps/record.json", b"\xff\xfe\x00"),
)
refused(
    "a record that is a list",
    "record.json is not a record of `cambook maps`",
    prepare=lambda folder: write(folder / "maps/record.json", "[1, 2]"),
)
refused(
    "maps without a record",
    "no record.json in",
    prepare=lambda folder: write(folder / "maps/other.npy", b"x"),
)


@case("maps", "maps of other settings", Refused("other settings .source: were 'cam' and are now 'grad-cam'.: give"))
def _(folder):
    data = opened(folder)
    made(data, folder / "maps")
    made(data, folder / "maps", source="grad-cam")


@case("maps", "maps of other weights", Refused("other settings .the network's weights: were others.: give another"))
def _(folder):
    data = opened(folder)
    made(data, folder / "maps")
    made(data, folder / "maps", bias=1.0)


@case("maps", "maps of another version of cambook", Refused("maps that cambook 0.0.0 made, this is .*: give another"))
def _(folder):
    data = opened(folder)
    made(data, folder / "maps")
    file = folder / "maps/record.json"
    write(file, json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"cambook": "0.0.0"}))
    made(data, folder / "maps")


@case("maps", "halves of files that a killed run left", Right([1, True, 4]))
def _(folder):
    data = opened(folder)
    made(data, folder / "maps")
    whole = contents(folder / "maps")
    out = folder / "maps"
    (out / "a.jpg.npy").write_bytes(whole["a.jpg.npy"][:5000])
    write(out / ".unfinished/map.npy", b"half")
    write(out / ".unfinished/rows.csv", 'a.jpg,0,1\n"b.jp')
    kept = made(data, out).kept
    return [kept, contents(out) == whole, len(whole) - 1]


@case("maps", "predictions that are damaged", Right([0, True]))
def _(folder):
    data = opened(folder)
    made(data, folder / "maps")
    whole = contents(folder / "maps")
    write(folder / "maps/predictions.csv", b'image_id,top1\n"a.jpg\n\n,,,,\nb.jpg,x,y\n')
    kept = made(data, folder / "maps").kept
    return [kept, contents(folder / "maps") == whole]


@case("maps", "a disk that is full in the middle, and then is not", Right([0, False, 2, True]))
def _(folder):
    def full(file, *arguments, **options):
        raise OSError(28, "No space left on device", str(file))

    data, out = opened(folder), folder / "maps"
    with patch.object(np, "save", full), suppress(OSError):
        made(data, out)
    found = [len([*out.rglob("*.npy")]), json.loads((out / "record.json").read_text("utf-8"))["results"]["finished"]]
    return [*found, made(data, out).maps, not (out / ".unfinished").exists()]


@case("maps", "a network whose maps are NaN", Refused(r"image 0 .a.jpg.: .* is NaN or infinite; look at the weights"))
def _(folder):
    made(opened(folder), folder / "maps", bias=float("nan"))


@case("maps", "maps that are the same everywhere", Right([2, ["a.jpg", "b.jpg"], 0]))
def _(folder):
    found = made(opened(folder), folder / "maps", weight=0.0)
    return [found.maps, found.constant, int(np.load(folder / "maps/a.jpg.npy", allow_pickle=False).sum())]


# ---- networks


@case(
    "networks", "ImageNet's weights of a network with new layers", Refused("no pretrained weights: give --weights tr")
)
def _(folder):
    inputs.ready_network("mini-fc-gap" if networks.spec("mini-fc-gap").weights else "vgg16-gap")


@case("networks", "a network that was not trained on the set", Refused("run `cambook train mini-gap voc:.*` first"))
def _(folder):
    inputs.ready_network("mini-gap", "trained", datasets.load(f"voc:{voc(folder, 1)}", "test", 64))


@case("networks", "a trained network for images without labels", Refused("has no labels: give the file of its weights"))
def _(folder):
    inputs.ready_network("mini-gap", "trained", opened(folder))


@case("networks", "a map that a network does not have", Right([2, True]))
def _(folder):
    file = weights(folder / "fc.pt", "mini-fc")
    code, said = command("maps", "mini-fc", plain(folder), "--weights", file, "--out", folder / "maps")
    return [code, "grad-cam works for any head" in " ".join(said.replace("│", " ").split())]


@case("networks", "a file of weights that runs code", Refused("contains no weights of mini-gap with 1000 classes"))
def _(folder):
    class Evil:
        def __reduce__(self):
            return Path.touch, (folder / "evil",)

    torch.save({"classifier.weight": Evil()}, folder / "mine.pt")
    try:
        inputs.ready_network("mini-gap", folder / "mine.pt")
    finally:
        assert not (folder / "evil").exists()


# ---- few-shot


for _text in ("0", "5,0", "one", "", "1,,2", "1.5", "-3", "9" * 400):
    case("parameters", f"few-shot: --numbers {_text[:9]}", Refused("--numbers .*: give whole numbers of at least 1"))(
        lambda folder, text=_text: few_shot.read_numbers(text)
    )


@case(
    "parameters", "few-shot: more boxed images than there are", Refused("asks for 5 boxed images, and the train .* 4:")
)
def _(folder):
    boxed, test = (datasets.load(f"voc:{voc(folder, 2)}", split, 64) for split in ("train", "test"))
    few_shot.baseline(network(), boxed, test, [1, 5])


@case("parameters", "few-shot: drawn from the images that are measured", Refused("which is measured: give another"))
def _(folder):
    test = datasets.load(f"voc:{voc(folder, 2)}", "test", 64)
    few_shot.open_boxed(test.name, "test", test)


@case("runs", "few-shot: images without boxes", Right([1, True]))
def _(folder):
    code, said = command("few-shot", plain(folder), "--out", folder / "out")
    return [code, "neither labels nor boxes" in said]
