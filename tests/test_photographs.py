"""Tiny folders in the published layout of each set, with the dirt of the real ones."""

import json
import os
import threading
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from cambook import datasets, files, maps, metrics, networks, training
from cambook.course.lessons import tuning
from cambook.datasets import downloads, photographs
from cambook.metrics import evaluation

SIZE = 40
WIDTH, HEIGHT = 80, 40  # squashed to 40 x 40: columns halved, rows kept
BOX = (20, 10, 60, 30)  # half-open, of the object in every clean picture
GRID_BOX = [10, 10, 30, 30]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")


def scene(box=BOX, size=(WIDTH, HEIGHT)) -> Image.Image:
    """A dark image with a red rectangle in the box."""
    pixels = np.full((size[1], size[0], 3), 20, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = (250, 10, 10)
    return Image.fromarray(pixels)


def encoded(image, format="JPEG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **({"quality": 95, "subsampling": 0} if format == "JPEG" else {}) | options)
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def xml(name, box=(20, 10, 59, 29), size=(WIDTH, HEIGHT)) -> str:
    sides = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    tag = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>{tag}<object><name>{name}</name><bndbox>{sides}</bndbox></object></annotation>"


def grey(image) -> bytes:
    return encoded(Image.fromarray(image), "PNG")


def block(value, around, box=BOX, size=(WIDTH, HEIGHT)) -> np.ndarray:
    values = np.full((size[1], size[0]), around, np.uint8)
    values[box[1] : box[3], box[0] : box[2]] = value
    return values


def red(image) -> list[int]:
    rows, columns = np.nonzero((image[0] > 0.6).numpy() & (image[1] < 0.4).numpy())
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def one(data, name):
    return data.batch([data.names.index(name)])


def the_line(data, word) -> str:
    lines = [line for line in data.report if word in line]
    assert len(lines) == 1, data.report
    return lines[0]


# ---- ILSVRC ----

TENCH, SHARK, CRANE, OTHER_CRANE = "n01440764", "n01484850", "n02012849", "n03126707"
SYNSETS = [TENCH, SHARK, CRANE, OTHER_CRANE]
MAPPING = "n01440764 tench, Tinca tinca\nn01484850 great white shark, white shark\nn02012849 crane\nn03126707 crane\n"


def ilsvrc(root, kit=True) -> Path:
    """Two training images a synset, one of them with a box, and a validation image of each, flat."""
    data, annotations = (root / f"ILSVRC/{part}/CLS-LOC" if kit else root for part in ("Data", "Annotations"))
    annotations = annotations if kit else root / "Annotations/CLS-LOC"
    for number, synset in enumerate(SYNSETS, 1):
        for index in (7, 12):
            write(data / f"train/{synset}/{synset}_{index}.JPEG", encoded(scene()))
        write(annotations / f"train/{synset}/{synset}_7.xml", xml(synset))
        validation(root, number, synset, kit)
    write(root / "LOC_synset_mapping.txt", MAPPING)
    return root


def validation(root, number, synset, kit=True, picture=None, annotation=None):
    name = f"ILSVRC2012_val_{number:08d}"
    data, annotations = ("ILSVRC/Data/CLS-LOC", "ILSVRC/Annotations/CLS-LOC") if kit else ("", "Annotations/CLS-LOC")
    write(root / data / f"val/{name}.JPEG", encoded(scene()) if picture is None else picture)
    if annotation != "":
        write(root / annotations / f"val/{name}.xml", annotation or xml(synset))
    return name


@pytest.mark.parametrize("kit", [True, False], ids=["kit", "archives unpacked"])
def test_ilsvrc_has_classes_in_the_order_of_synsets_and_boxes_counted_from_zero(tmp_path, kit):
    root = ilsvrc(tmp_path, kit)
    train, test = (datasets.load(f"ilsvrc:{root}", split, SIZE) for split in ("train", "test"))
    assert train.classes == test.classes == ["tench", "great white shark", f"crane ({CRANE})", f"crane ({OTHER_CRANE})"]
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and test.labels.tolist() == [0, 1, 2, 3]
    batch = test.batch([0, 3])
    assert batch.masks is None and batch.labels.tolist() == [0, 3]
    for image, boxes in zip(batch.images, batch.boxes, strict=True):
        np.testing.assert_allclose(boxes, [GRID_BOX], atol=1e-5)
        np.testing.assert_allclose(red(image), GRID_BOX, atol=1)


def test_ilsvrc_trains_on_pictures_without_box_and_says_how_many(tmp_path):
    train = datasets.load(f"ilsvrc:{ilsvrc(tmp_path)}", "train", SIZE)
    assert train.report == ["4 of 8 training images have no annotated box, which none needs"]
    assert [len(boxes) for boxes in train.batch(range(8)).boxes] == [0, 1] * 4  # _12 sorts before _7


def test_ilsvrc_leaves_the_blacklist_out_of_the_denominator(tmp_path):
    root = ilsvrc(tmp_path)
    assert "no blacklist found" in datasets.load(f"ilsvrc:{root}", "test", SIZE).report[0]
    write(root / "ILSVRC/devkit/data/ILSVRC2015_det_validation_blacklist.txt", "1 1\n")
    write(root / "ILSVRC/devkit/data/ILSVRC2015_clsloc_validation_blacklist.txt", "2\n4\n49999\n")
    test = datasets.load(f"ilsvrc:{root}", "test", SIZE)
    assert test.names == ["ILSVRC2012_val_00000001", "ILSVRC2012_val_00000003"]
    assert test.report[0] == "2 images on the blacklist are left out of every metric"


def test_ilsvrc_validation_pictures_may_lie_in_their_synsets(tmp_path):
    root = ilsvrc(tmp_path, kit=False)
    for number, synset in enumerate(SYNSETS, 1):
        file = root / f"val/ILSVRC2012_val_{number:08d}.JPEG"
        write(root / f"val/{synset}/{file.name}", file.read_bytes())
        file.unlink()
    assert datasets.load(f"ilsvrc:{root}", "test", SIZE).labels.tolist() == [0, 1, 2, 3]


def test_ilsvrc_takes_names_from_the_devkit_where_no_mapping_is(tmp_path):
    root = ilsvrc(tmp_path)
    (root / "LOC_synset_mapping.txt").unlink()
    assert datasets.load(f"ilsvrc:{root}", "test", SIZE).classes == SYNSETS
    rows = [{"ILSVRC2012_ID": i, "WNID": s, "words": f"animal {i}, beast"} for i, s in enumerate(SYNSETS)]
    meta = np.array([tuple(r.values()) for r in rows], dtype=[(k, object) for k in rows[0]])
    folder = root / "ILSVRC2012_devkit_t12/data"
    folder.mkdir(parents=True)
    savemat(folder / "meta.mat", {"synsets": meta})
    assert datasets.load(f"ilsvrc:{root}", "test", SIZE).classes == [f"animal {i}" for i in range(4)]
    (folder / "meta.mat").write_bytes(b"no MATLAB")
    data = datasets.load(f"ilsvrc:{root}", "test", SIZE)
    assert data.classes == SYNSETS and "data/meta.mat cannot be read" in the_line(data, "meta.mat")


def test_the_dirt_of_ilsvrc_is_repaired_or_left_out_and_reported(tmp_path):
    root = ilsvrc(tmp_path)
    noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)))
    dirt = {
        10: dict(picture=encoded(scene(), "PNG")),  # as n02105855_2933.JPEG
        11: dict(picture=encoded(scene().convert("CMYK"))),
        12: dict(picture=encoded(scene().convert("L"))),
        13: dict(picture=noise[: len(noise) // 2]),
        14: dict(picture=b""),
        15: dict(annotation=""),
        16: dict(annotation=xml(TENCH, (20, 10, 200, 29))),
        17: dict(annotation=xml("n09999999")),
        18: dict(annotation="<annotation>"),
    }
    names = {n: validation(root, n, TENCH, **made) for n, made in dirt.items()}
    data = datasets.load(f"ilsvrc:{root}", "test", SIZE)
    left_out = {n: the_line(data, name) for n, name in names.items() if name not in data.names}
    assert list(left_out) == [13, 14, 15, 17, 18] and all("left out: " in line for line in left_out.values())
    for number, reason in (
        (13, "cut off"),
        (14, "the file is empty"),
        (15, "Annotations/ILSVRC2012_val_00000015.xml is missing"),
        (17, "its synset n09999999 is not one of the classes"),
        (18, "not valid XML"),
    ):
        assert reason in left_out[number]
    for number in (10, 11):
        np.testing.assert_allclose(red(one(data, names[number]).images[0]), GRID_BOX, atol=1)
    assert not [line for line in data.report if names[10] in line]
    assert "CMYK image converted to RGB" in the_line(data, names[11])
    assert "grey image converted to RGB" in the_line(data, names[12])
    assert "1 of 1 boxes passed the border and were clipped" in the_line(data, names[16])
    np.testing.assert_allclose(one(data, names[16]).boxes[0], [[10, 10, 40, 30]], atol=1e-4)


def test_a_training_picture_with_a_damaged_annotation_is_used_without_boxes(tmp_path):
    root = ilsvrc(tmp_path)
    write(root / f"ILSVRC/Annotations/CLS-LOC/train/{TENCH}/{TENCH}_7.xml", "<annotation>")
    data = datasets.load(f"ilsvrc:{root}", "train", SIZE)
    assert len(data) == 8 and len(one(data, f"{TENCH}_7").boxes[0]) == 0
    assert "used without boxes" in the_line(data, f"{TENCH}_7.xml")


def test_ilsvrc_may_be_linked_from_another_disk(tmp_path):
    root = ilsvrc(tmp_path / "disk", kit=False)
    linked = tmp_path / "linked"
    linked.mkdir()
    for part in ("train", "val", "Annotations", "LOC_synset_mapping.txt"):
        (linked / part).symlink_to(root / part)
    assert len(datasets.load(f"ilsvrc:{linked}", "train", SIZE)) == 8


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("ILSVRC/Data/CLS-LOC/val", "has no folder val: it must contain train/"),
        ("ILSVRC/Annotations", "has no folder Annotations/CLS-LOC/val: unpack the validation boxes"),
        ("", "there is no folder"),
    ],
)
def test_what_is_missing_of_ilsvrc_is_told(tmp_path, missing, sentence):
    root = ilsvrc(tmp_path / "ilsvrc")
    (root / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=sentence):
        datasets.load(f"ilsvrc:{root}", "test", SIZE)


# ---- CUB ----


def cub(root, masks=True) -> Path:
    """Two species, two training and two test images; ids start at 1 and are no line numbers."""
    lists = {name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")}
    top = root / "CUB_200_2011"
    for number, (species, part) in enumerate([(1, 1), (1, 0), (2, 1), (2, 0)], 1):
        file = f"00{species}.Bird_{species}/Bird_{species}_{number:04d}.jpg"
        rows = (file, species, part, "20.0 10.0 40.0 20.0")
        for lines, row in zip(lists.values(), rows, strict=True):
            lines.append(f"{number} {row}")
        write(top / "images" / file, encoded(scene()))
        if masks:
            mask = block(255, 0)
            mask[12:14, 40:44] = 102  # two of five annotators
            write(root / "segmentations" / file.replace(".jpg", ".png"), grey(mask))
    for name, lines in lists.items():
        write(top / f"{name}.txt", "\n".join(lines) + "\n")
    write(top / "classes.txt", "1 001.Black_footed_Bird\n2 002.Bird_2\n")
    return root


def replace_line(file: Path, start: str, line: str | None):
    kept = [old for old in file.read_text(encoding="utf-8").splitlines() if not old.startswith(f"{start} ")]
    file.write_text("\n".join(kept + ([line] if line else [])) + "\n", encoding="utf-8")


@pytest.mark.parametrize("inner", ["", "CUB_200_2011"])
def test_cub_has_its_lists_boxes_and_masks(tmp_path, inner):
    root = cub(tmp_path) / inner
    train, test = (datasets.load(f"cub:{root}", split, SIZE) for split in ("train", "test"))
    assert train.report == test.report == []
    assert train.classes == ["Black footed Bird", "Bird 2"] and train.labels.tolist() == [0, 1]
    assert train.names == ["001.Bird_1/Bird_1_0001", "002.Bird_2/Bird_2_0003"]
    assert test.names == ["001.Bird_1/Bird_1_0002", "002.Bird_2/Bird_2_0004"]
    batch = test.batch([1, 0])
    np.testing.assert_allclose(batch.boxes, [[GRID_BOX]] * 2, atol=1e-5)
    assert batch.masks.shape == (2, SIZE, SIZE) and batch.masks.dtype == torch.bool and batch.ignore is None
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    expected[10:30, 10:30] = True
    expected[12:14, 20:22] = False
    assert torch.equal(batch.masks[0], expected)


def test_cub_without_segmentations_has_no_masks(tmp_path):
    data = datasets.load(f"cub:{cub(tmp_path, masks=False)}", "test", SIZE)
    assert data.batch([0]).masks is None and data.report == []


def test_the_box_of_a_whole_cub_picture_is_the_whole_grid(tmp_path):
    root = cub(tmp_path)
    replace_line(root / "CUB_200_2011/bounding_boxes.txt", "1", "1 0.0 0.0 80.0 40.0")
    data = datasets.load(f"cub:{root}", "train", SIZE)
    assert data.report == [] and data.batch([0]).boxes[0].tolist() == [[0, 0, SIZE, SIZE]]


@pytest.mark.parametrize(
    ("dirt", "sentence"),
    [
        (("bounding_boxes.txt", "1 20 10 400 20"), "1 of 1 boxes passed the border and were clipped"),
        (("bounding_boxes.txt", None), "left out: bounding_boxes.txt has no line for image 1"),
        (("bounding_boxes.txt", "1 20 10 nan 20"), "left out: bounding_boxes.txt gives no box: 20 10 nan 20"),
        (("bounding_boxes.txt", "1 20 10 0 20"), "left out: bounding_boxes.txt gives no box"),
        (("bounding_boxes.txt", "1 200 10 20 20"), "left out: every box lies outside the image"),
        (("image_class_labels.txt", "1 7"), "left out: its class 7 is not in classes.txt"),
        (("images.txt", "1 ../../secret.jpg"), "left out: images.txt names a path outside images/"),
        (("images.txt", "1 001.Bird_1/nowhere.jpg"), "nowhere.jpg cannot be read (No such file or directory)"),
    ],
)
def test_the_dirt_in_cubs_lists_is_repaired_or_left_out_and_reported(tmp_path, dirt, sentence):
    root = cub(tmp_path)
    write(tmp_path / "secret.jpg", encoded(scene()))
    replace_line(root / "CUB_200_2011" / dirt[0], "1", dirt[1])
    data = datasets.load(f"cub:{root}", "train", SIZE)
    assert len(data) == (1 if "left out" in sentence or "cannot be read" in sentence else 2)
    assert sentence in data.report[0]


def test_a_damaged_list_of_cub_is_told_with_its_line(tmp_path):
    root = cub(tmp_path)
    write(root / "CUB_200_2011/images.txt", "1 a.jpg\n<html>\n")
    with pytest.raises(ValueError, match='images.txt, line 2 is "<html>": it must be a number and what it stands for'):
        datasets.load(f"cub:{root}", "train", SIZE)
    (root / "CUB_200_2011/images.txt").unlink()
    with pytest.raises(FileNotFoundError, match="CUB_200_2011 has no images.txt: give the folder CUB_200_2011"):
        datasets.load(f"cub:{root}", "train", SIZE)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (None, "0001.png cannot be read (No such file or directory)"),
        (b"no image", "the mask is not a readable PNG"),
        (grey(block(255, 0))[:60], "the mask is not a readable PNG"),
        (grey(np.zeros((HEIGHT, WIDTH), np.uint8)), "the segmentation marks no object"),
        (grey(block(255, 0, size=(90, 40))), "the mask has 90 x 40 pixels, the image 80 x 40"),
    ],
    ids=["missing", "noise", "cut off", "empty", "other size"],
)
def test_a_cub_picture_whose_segmentation_cannot_be_used_is_left_out(tmp_path, mask, reason):
    root = cub(tmp_path)
    file = root / "segmentations/001.Bird_1/Bird_1_0001.png"
    file.unlink()
    if mask is not None:
        write(file, mask)
    data = datasets.load(f"cub:{root}", "train", SIZE)
    assert len(data) == 1
    line = the_line(data, "Bird_1_0001.jpg")
    assert "left out" in line and reason in line


def test_box_and_mask_turn_with_a_picture_that_its_camera_held_upright(tmp_path):
    root = cub(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter clockwise: (x, y) of 80 x 40 goes to (40 - y, x)
    write(root / "CUB_200_2011/images/001.Bird_1/Bird_1_0001.jpg", encoded(scene((0, 0, 40, 20)), exif=exif))
    write(root / "segmentations/001.Bird_1/Bird_1_0001.png", grey(block(255, 0, (0, 0, 40, 20))))
    replace_line(root / "CUB_200_2011/bounding_boxes.txt", "1", "1 0 0 40 20")
    batch = datasets.load(f"cub:{root}", "train", SIZE).batch([0])
    np.testing.assert_allclose(batch.boxes[0], [[20, 0, 40, 20]], atol=1e-4)
    np.testing.assert_allclose(red(batch.images[0]), [20, 0, 40, 20], atol=1)
    rows, columns = np.nonzero(batch.masks[0].numpy())
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [20, 0, 40, 20]


# ---- Pets ----


def trimap(border=True) -> np.ndarray:
    values = block(3, 2, (18, 8, 62, 32)) if border else block(2, 2)
    values[10:30, 20:60] = 1
    return values


def pets(root) -> Path:
    """Two breeds of cats and one of dogs, of which one has two words; trimaps with a border of two pixels."""
    lists = {"trainval": [], "test": []}
    for breed, number in (("Abyssinian", 1), ("american_bulldog", 2), ("Sphynx", 3)):
        for part, index in (("trainval", 100), ("test", 201)):
            name = f"{breed}_{index}"
            lists[part].append(f"{name} {number} 1 1")
            write(root / f"images/{name}.jpg", encoded(scene()))
            write(root / f"annotations/trimaps/{name}.png", grey(trimap()))
            write(root / f"annotations/trimaps/._{name}.png", b"of an Apple")
    for part, lines in lists.items():
        write(root / f"annotations/{part}.txt", "\n".join(lines) + "\n")
    write(root / "annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID\n")
    return root


def test_pets_have_breeds_boxes_around_all_but_background_and_ignored_borders(tmp_path):
    root = pets(tmp_path)
    train, test = (datasets.load(f"pets:{root}", split, SIZE) for split in ("train", "test"))
    assert train.classes == ["Abyssinian", "American Bulldog", "Sphynx"] and train.report == test.report == []
    assert train.names == ["Abyssinian_100", "Sphynx_100", "american_bulldog_100"] and train.labels.tolist() == [
        0,
        2,
        1,
    ]
    batch = test.batch([0])
    np.testing.assert_allclose(batch.boxes[0], [[9, 8, 31, 32]], atol=1e-5)
    assert batch.masks[0, 10:30, 10:30].all() and batch.masks.sum() == 400
    assert batch.ignore.sum() == 22 * 24 - 400 and not (batch.ignore & batch.masks).any()


@pytest.mark.parametrize(
    ("part", "content", "reason"),
    [
        ("annotations/trimaps/Sphynx_100.png", grey(block(2, 2)), "the trimap marks no object"),
        ("annotations/trimaps/Sphynx_100.png", grey(block(1, 0)), "the trimap contains 0, which is not 1, 2 or 3"),
        ("annotations/trimaps/Sphynx_100.png", b"", "the mask is not a readable PNG"),
        ("images/Sphynx_100.jpg", b"<html>", "the file contains a web page"),
    ],
)
def test_a_pet_whose_files_cannot_be_used_is_left_out(tmp_path, part, content, reason):
    root = pets(tmp_path)
    write(root / part, content)
    data = datasets.load(f"pets:{root}", "train", SIZE)
    assert len(data) == 2 and reason in the_line(data, "Sphynx_100.jpg: left out")
    assert 'no usable image of class "Sphynx" in the train list' in data.report


def test_a_damaged_list_of_pets_is_told(tmp_path):
    root = pets(tmp_path)
    write(root / "annotations/test.txt", "Abyssinian_1 one 1 1\n")
    with pytest.raises(ValueError, match='test.txt, line 1 is "Abyssinian_1 one 1 1": it must be an image'):
        datasets.load(f"pets:{root}", "train", SIZE)
    write(root / "annotations/test.txt", "Persian_1 1 1 1\n")
    with pytest.raises(ValueError, match="class 1 is Abyssinian and Persian; correct the lists"):
        datasets.load(f"pets:{root}", "train", SIZE)
    (root / "annotations/trainval.txt").unlink()
    with pytest.raises(FileNotFoundError, match="has no annotations/trainval.txt: unpack images.tar.gz"):
        datasets.load(f"pets:{root}", "train", SIZE)


def test_an_object_smaller_than_a_pixel_of_the_grid_keeps_one(tmp_path):
    root = pets(tmp_path)
    tiny = np.full((HEIGHT, WIDTH), 2, np.uint8)
    tiny[13, 50] = 1
    write(root / "annotations/trimaps/Sphynx_100.png", grey(tiny))
    masks = one(datasets.load(f"pets:{root}", "train", 8), "Sphynx_100").masks[0]
    assert np.argwhere(masks.numpy()).tolist() == [[2, 5]]


# ---- VOC 2007 ----


@pytest.mark.parametrize("inner", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_voc2007_trains_on_trainval_and_tests_on_test(tmp_path, inner):
    root = tmp_path / "VOCdevkit/VOC2007"
    for number, (name, part) in enumerate([("cat", "train"), ("dog", "val"), ("cat", "test"), ("dog", "test")]):
        write(root / f"JPEGImages/{number:06d}.jpg", encoded(scene()))
        write(root / f"Annotations/{number:06d}.xml", xml(name, (21, 11, 60, 30)))
        for each in {part, "trainval" if part in ("train", "val") else part}:
            file = root / f"ImageSets/Main/{each}.txt"
            write(file, (file.read_text(encoding="utf-8") if file.exists() else "") + f"{number:06d}\n")
    name = f"voc2007:{tmp_path / inner}"
    train, test = (datasets.load(name, split, SIZE) for split in ("train", "test"))
    assert train.names == ["000000", "000001"] and test.names == ["000002", "000003"]
    assert (train.name, train.split, train.classes) == (name, "train", ["cat", "dog"])
    np.testing.assert_allclose(train.batch([1]).boxes[0], [GRID_BOX], atol=1e-5)


# ---- the first look, and what is remembered of it ----


@pytest.fixture
def looked_at(monkeypatch):
    """Names of the images that were looked at; four are worth remembering, in parts of two."""
    monkeypatch.setattr(photographs, "_PART", 2)
    monkeypatch.setattr(photographs, "_WORTH_REMEMBERING", 2)
    names, look = [], photographs.Photographs._look
    monkeypatch.setattr(photographs.Photographs, "_look", lambda self, one: names.append(one.name) or look(self, one))
    return names


def test_a_set_is_looked_through_once_and_again_only_where_a_file_changed(tmp_path, looked_at):
    root = ilsvrc(tmp_path)
    first = datasets.load(f"ilsvrc:{root}", "test", SIZE)
    assert len(looked_at) == 4
    again = datasets.load(f"ilsvrc:{root}", "test", SIZE)
    assert len(looked_at) == 4 and again.fingerprint == first.fingerprint and again.report == first.report
    np.testing.assert_array_equal(again.batch([2]).boxes[0], first.batch([2]).boxes[0])
    write(root / f"ILSVRC/Data/CLS-LOC/val/{first.names[3]}.JPEG", b"")
    changed = datasets.load(f"ilsvrc:{root}", "test", SIZE)
    assert sorted(looked_at[4:]) == first.names[2:]  # that part alone
    assert changed.names == first.names[:3] and changed.fingerprint != first.fingerprint


def test_a_first_look_that_was_killed_goes_on_where_it_was(tmp_path, looked_at, monkeypatch):
    root = ilsvrc(tmp_path)
    look = photographs.Photographs._look

    def killed(self, one):
        if one.name.endswith("3"):
            raise KeyboardInterrupt
        return look(self, one)

    monkeypatch.setattr(photographs.Photographs, "_look", killed)
    with pytest.raises(KeyboardInterrupt):
        datasets.load(f"ilsvrc:{root}", "test", SIZE)
    monkeypatch.setattr(photographs.Photographs, "_look", look)
    done = len(looked_at)
    assert len(datasets.load(f"ilsvrc:{root}", "test", SIZE)) == 4 and len(looked_at) == done + 2


def test_the_fingerprint_follows_content_and_not_place_or_time(tmp_path):
    first, second = (datasets.load(f"cub:{cub(tmp_path / name)}", "train", SIZE) for name in ("a", "b"))
    assert first.fingerprint == second.fingerprint
    replace_line(tmp_path / "b/CUB_200_2011/bounding_boxes.txt", "1", "1 20 10 41 20")
    moved = datasets.load(f"cub:{tmp_path / 'b'}", "train", SIZE).fingerprint
    write(tmp_path / "a/segmentations/001.Bird_1/Bird_1_0001.png", grey(block(255, 0, (20, 10, 60, 29))))
    redrawn = datasets.load(f"cub:{tmp_path / 'a'}", "train", SIZE).fingerprint
    assert len({first.fingerprint, moved, redrawn}) == 3


def test_a_file_that_changes_after_the_first_look_stops_with_its_name(tmp_path):
    root = cub(tmp_path)
    data = datasets.load(f"cub:{root}", "train", SIZE)
    write(root / "CUB_200_2011/images/001.Bird_1/Bird_1_0001.jpg", b"")
    with pytest.raises(RuntimeError, match="Bird_1_0001.jpg could be used when .* was loaded and now cannot"):
        data.batch([0, 1])


def test_many_files_with_the_same_repair_are_reported_in_one_line(tmp_path):
    root = ilsvrc(tmp_path)
    for number in range(10, 40):
        validation(root, number, TENCH, picture=encoded(scene().convert("L")))
    lines = [line for line in datasets.load(f"ilsvrc:{root}", "test", SIZE).report if "grey" in line]
    assert lines == ["30 files, the first of them val/ILSVRC2012_val_00000010.JPEG: grey image converted to RGB"]


def test_a_batch_does_not_depend_on_threads_or_company(tmp_path, monkeypatch):
    data = datasets.load(f"ilsvrc:{ilsvrc(tmp_path)}", "train", SIZE)
    whole = data.batch(range(8)).images
    assert torch.equal(whole, torch.cat([data.batch([i]).images for i in range(8)]))
    monkeypatch.setattr(photographs, "cores", lambda: 7)
    assert torch.equal(whole, data.batch(range(8)).images)
    got = []
    others = [threading.Thread(target=lambda: got.append(data.batch(range(8)).images)) for _ in range(4)]
    for each in others:
        each.start()
    for each in others:
        each.join()
    assert len(got) == 4 and all(torch.equal(whole, images) for images in got)


def test_a_large_jpeg_is_decoded_smaller_and_differs_by_a_few_grey_levels(tmp_path, monkeypatch):
    root = ilsvrc(tmp_path)
    yy, xx = np.mgrid[:600, :800]
    waves = np.stack([127 + 120 * np.sin(xx / 40), 127 + 120 * np.cos(yy / 30), (xx + yy) / 6], 2).astype(np.uint8)
    name = validation(root, 50, TENCH, picture=encoded(Image.fromarray(waves)), annotation=xml(TENCH, size=(800, 600)))
    data = datasets.load(f"ilsvrc:{root}", "test", SIZE)
    sizes, decode = [], photographs.decode_image
    monkeypatch.setattr(
        photographs, "decode_image", lambda *a, **k: sizes.append((found := decode(*a, **k))[0].size) or found
    )
    drafted = one(data, name).images[0]
    full = Image.open(BytesIO(encoded(Image.fromarray(waves)))).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    assert sizes == [(200, 150)]  # a quarter; an eighth would be shorter than 80
    difference = 255 * (drafted - torch.from_numpy(np.array(full)).permute(2, 0, 1) / 255).abs()
    assert difference.max() < 6 and difference.mean() < 1.5


def test_length_draws_that_many_pictures_by_seed(tmp_path):
    root = ilsvrc(tmp_path)
    few = [datasets.load(f"ilsvrc:{root}", "train", SIZE, length=5, seed=seed) for seed in (0, 0, 1)]
    assert few[0].names == few[1].names != few[2].names and all(len(data) == 5 for data in few)
    assert few[0].fingerprint == few[1].fingerprint != few[2].fingerprint


def test_a_set_without_a_usable_picture_is_told_with_a_reason(tmp_path):
    root = cub(tmp_path)
    for file in (root / "CUB_200_2011/images").rglob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(
        ValueError, match="no image of the train list can be used.*the file is empty; correct the files"
    ):
        datasets.load(f"cub:{root}", "train", SIZE)


def test_a_link_out_of_a_downloaded_set_is_left_out(tmp_path):
    root = cub(tmp_path / "cub")
    outside = write(tmp_path / "outside.jpg", encoded(scene()))
    file = root / "CUB_200_2011/images/001.Bird_1/Bird_1_0001.jpg"
    file.unlink()
    os.symlink(outside, file)
    assert "is a link that leaves the folder" in the_line(datasets.load(f"cub:{root}", "train", SIZE), "Bird_1_0001")


# ---- class folders ----


def class_folders(root: Path, parts=("train/", "val/"), number=4) -> Path:
    for part in parts:
        for name in ("cat", "ant"):
            for i in range(number):
                write(root / f"{part}{name}/{name}_{i}.jpg", encoded(scene()))
    return root


def test_class_folders_give_labels_and_no_boxes(tmp_path):
    root = class_folders(tmp_path / "x")
    write(root / "train/ant/deeper/ant_9.PNG", encoded(scene(), "PNG"))
    write(root / "train/ant/ant_0.txt", "no image")
    write(root / "train/.hidden/a.jpg", encoded(scene()))
    write(root / "train/cat/cat_0.jpg", b"<html>")
    train, test = (datasets.load(f"folder:{root}", split, SIZE, boxes=False) for split in ("train", "test"))
    assert train.classes == test.classes == ["ant", "cat"] and test.labels.tolist() == [0] * 4 + [1] * 4
    assert train.labels.tolist() == [0] * 5 + [1] * 3 and "left out" in the_line(train, "cat_0.jpg")
    batch = test.batch([0, 7])
    assert batch.images.shape == (2, 3, SIZE, SIZE) and batch.masks is None
    assert [len(boxes) for boxes in batch.boxes] == [0, 0]


def test_class_folders_without_a_split_are_split_the_same_way_every_time(tmp_path):
    root = class_folders(tmp_path / "x", ("",), 8)
    train, test = (datasets.load(f"folder:{root}", split, SIZE, boxes=False) for split in ("train", "test"))
    assert np.bincount(test.labels).tolist() == [2, 2] and np.bincount(train.labels).tolist() == [6, 6]
    assert not set(train.names) & set(test.names)
    write(root / "cat/cat_99.jpg", encoded(scene()))
    again = datasets.load(f"folder:{root}", "test", SIZE, boxes=False)
    assert len(set(again.names) & set(test.names)) >= 3  # one picture more moves one at most


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (("train/",), "has train alone: it must contain train and test, or classes"),
        (("val/", "test/"), "has test and val alone"),
        (("train/", "test/x/"), "class ant is in one of train and test alone; put a folder into the other"),
        (("x/",), "contains 1 folders, and each of at least two classes needs one"),
    ],
)
def test_class_folders_that_do_not_fit_are_told_in_one_sentence(tmp_path, parts, sentence):
    root = class_folders(tmp_path / "y", parts, 1)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        datasets.load(f"folder:{root}", "test", SIZE, boxes=False)


def test_boxes_asked_of_class_folders_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="has labels and no boxes.*give voc:FOLDER.*reproduce/table5"):
        datasets.load(f"folder:{tmp_path / 'missing'}", "test", SIZE)


# ---- Tiny ImageNet ----


def tiny(root) -> Path:
    """Two classes, two training photographs and a validation one each, a box that ends before the last column."""
    folder = root / "tiny-imagenet-200"
    write(folder / "wnids.txt", f"{SHARK}\n{TENCH}\n")
    write(folder / "words.txt", f"{TENCH}\ttench, Tinca tinca\n{SHARK}\tgreat white shark\n{CRANE}\tcrane\n")
    square = scene((10, 20, 30, 50), (64, 64))
    for synset in (TENCH, SHARK):
        lines = [f"{synset}_{i}.JPEG\t10\t20\t29\t49" for i in range(2)]
        write(folder / f"train/{synset}/{synset}_boxes.txt", "\n".join(lines) + "\n")
        for i in range(2):
            write(folder / f"train/{synset}/images/{synset}_{i}.JPEG", encoded(square))
    rows = [f"val_{i}.JPEG\t{synset}\t10\t20\t29\t49" for i, synset in enumerate((SHARK, TENCH))]
    write(folder / "val/val_annotations.txt", "\n".join(rows) + "\n")
    for i in range(2):
        write(folder / f"val/images/val_{i}.JPEG", encoded(square))
    return root


def test_tiny_imagenet_has_boxes_that_include_their_last_pixel(tmp_path):
    root = tiny(tmp_path)
    for folder in (root, root / "tiny-imagenet-200"):
        train, test = (datasets.load(f"tiny-imagenet:{folder}", split, 64) for split in ("train", "test"))
        assert train.classes == test.classes == ["tench", "great white shark"]
        assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1, 1], [0, 1])
        for data in (train, test):
            batch = data.batch(range(len(data)))
            assert all(box.tolist() == [[10, 20, 30, 50]] for box in batch.boxes) and batch.masks is None
            assert red(batch.images[0]) == [10, 20, 30, 50] and not data.report
    whole = train.picture(0)
    assert whole.size == (64, 64) and train.boxes(0, 32, 128).tolist() == [[5, 40, 15, 100]]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("val/val_annotations.txt", f"val_0.JPEG\t{CRANE}\t1\t2\t3\t4\n", 'line 1 is "val_0.JPEG.* synset of wnids'),
        ("val/val_annotations.txt", f"val_0.JPEG\t{TENCH}\t1\t2\tx\t4\n", "it must be a file name, a synset"),
        ("val/val_annotations.txt", f"../x.JPEG\t{TENCH}\t1\t2\t3\t4\n", "line 1 is"),
        ("val/val_annotations.txt", "val_0.JPEG\n", "line 1 is"),
        ("val/val_annotations.txt", f"val_0.JPEG\t{TENCH}\t9\t2\t3\t4\n", "its box ends before it begins: 9 2 3 4"),
    ],
)
def test_a_damaged_list_of_tiny_imagenet_is_named(tmp_path, file, content, sentence):
    write(tiny(tmp_path) / "tiny-imagenet-200" / file, content)
    with pytest.raises(ValueError, match=sentence):
        datasets.load(f"tiny-imagenet:{tmp_path}", "test", 64)


def test_a_folder_that_is_no_tiny_imagenet_is_told_what_is_missing(tmp_path):
    (tiny(tmp_path) / "tiny-imagenet-200" / "words.txt").unlink()
    with pytest.raises(FileNotFoundError, match="has no words.txt: give tiny-imagenet-200 as the archive unpacks it"):
        datasets.load(f"tiny-imagenet:{tmp_path}", "test", 64)


@pytest.mark.parametrize("name", [name for name in networks.names() if name.startswith("mini-")])
def test_small_networks_learn_from_tiny_imagenet_at_its_own_size(name):
    root = os.environ.get("CAMBOOK_TEST_DATA")
    if not root:
        pytest.skip("CAMBOOK_TEST_DATA is not set: the real photographs are not here")
    data = datasets.load(f"tiny-imagenet:{root}/tiny-imagenet", "train", networks.spec(name).side, length=40)
    assert (data.size, len(data), data.left_out) == (64, 40, 0)
    made = training.trained(name, data, replace(training.recipe_for(name), epochs=6, batch_size=20))
    losses = [row["loss"] for row in made.history]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


# ---- names ----


def test_a_set_named_without_its_folder_is_fetched(tmp_path, monkeypatch):
    root, asked = cub(tmp_path), []
    monkeypatch.setattr(downloads, "fetch_archives", lambda name, archives: asked.append(name) or root)
    data = datasets.load("cub", "train", SIZE)
    assert asked == ["cub"] and data.name == "cub" and len(data) == 2


@pytest.mark.parametrize("name", datasets.names())
def test_every_data_set_says_where_it_comes_from_and_what_it_has(name):
    cls = datasets.KNOWN[name]
    assert name == cls.written() and cls.source and cls.licence
    assert set(cls.splits) >= ({"test"} if name == "album" else {"train", "test"}), "only album has nothing to train on"
    assert isinstance(cls.has_boxes, bool) and isinstance(cls.has_masks, bool)
    assert [cls.drawn, bool(cls.needs), bool(cls.archives)].count(True) <= 1, "one way to its images"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cubs", 'did you mean "cub"'),
        ("ilsvrc", '"ilsvrc" names no folder: write ilsvrc:FOLDER'),
        ("ilsvrc:", '"ilsvrc:" names no folder'),
        ("scenes:here", "scenes is not read from a folder: write scenes"),
        ("voc2008", 'did you mean "voc2007"'),
    ],
)
def test_a_misspelt_name_is_told_with_the_nearest(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        datasets.load(name, "train", SIZE)


# ---- where a batch lies ----


def test_masks_and_ignored_pixels_stay_on_the_cpu_where_metrics_read_them(tmp_path):
    batch = datasets.load(f"pets:{pets(tmp_path)}", "test", SIZE).batch([0, 1], device="meta")
    assert batch.images.device.type == batch.labels.device.type == "meta"
    assert {part.device.type for part in (batch.masks, batch.ignore, batch.indices)} == {"cpu"}


# ---- ignored pixels ----


def test_ignored_pixels_leave_pxap_and_the_share_inside(tmp_path, monkeypatch):
    """Maps that are highest on the ignored border: with it dropped they are perfect."""
    data = datasets.load(f"pets:{pets(tmp_path)}", "test", SIZE)
    network = networks.build("mini-gap", 3, None, 0)

    def border_first(network, images, feature_maps, classes):
        batch = data.batch(range(len(images)))
        maps = batch.masks.float() + 2 * batch.ignore.float()
        return maps[:, None].expand(-1, classes.shape[1], -1, -1).to(images.device)

    monkeypatch.setitem(maps.MAPS, "cam", replace(maps.MAPS["cam"], maps=border_first))
    found = evaluation.evaluate(network, data, batch_size=len(data))
    assert found.row["pxap"] == pytest.approx(100, abs=1.5) and found.inside.tolist() == [100.0] * 3
    batch = data.batch(range(3))
    examined = tuning.evaluate_maps(border_first(network, batch.images, None, batch.labels[:, None]), batch)
    assert examined.pxap() == pytest.approx(found.row["pxap"])
    for one_batch in (batch, data.batch(range(3))):
        one_batch.ignore = None
    monkeypatch.setattr(data, "batch", lambda indices, device="cpu": batch)
    around = lambda *_: trimap_maps(batch).expand(-1, _[3].shape[1], -1, -1)  # noqa: E731
    monkeypatch.setitem(maps.MAPS, "cam", replace(maps.MAPS["cam"], maps=around))
    counted = evaluation.evaluate(network, data, batch_size=len(data))
    assert counted.row["pxap"] < found.row["pxap"] - 10 and counted.inside.max() < 75


def trimap_maps(batch):
    around = torch.nn.functional.max_pool2d(batch.masks[:, None].float(), 5, 1, 2)
    return batch.masks[:, None].float() + 2 * (around - batch.masks[:, None].float())


def test_share_inside_drops_ignored_pixels_unless_the_mask_holds_them():
    map2d, mask = np.array([[1.0, 2.0, 4.0]]), np.array([[True, False, False]])
    assert metrics.share_inside(map2d, mask) == pytest.approx(100 / 7)
    assert metrics.share_inside(map2d, mask, [[False, False, True]]) == pytest.approx(100 / 3)
    assert metrics.share_inside(map2d, mask, [[True, True, True]]) == 100


def test_a_damaged_memory_of_the_first_look_is_not_used(tmp_path, looked_at):
    root = ilsvrc(tmp_path)
    first = datasets.load(f"ilsvrc:{root}", "test", SIZE)
    parts = sorted((files.CACHE / "datasets/looked-through").iterdir())
    assert len(parts) == 2 and all(len(json.loads(file.read_text(encoding="utf-8"))) == 2 for file in parts)
    parts[0].write_text(parts[0].read_text(encoding="utf-8")[:-9], encoding="utf-8")
    parts[1].write_text("[]", encoding="utf-8")
    assert datasets.load(f"ilsvrc:{root}", "test", SIZE).fingerprint == first.fingerprint and len(looked_at) == 8
    assert datasets.load(f"ilsvrc:{root}", "test", SIZE).names == first.names and len(looked_at) == 8
