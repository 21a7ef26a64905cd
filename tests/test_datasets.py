"""Each kind of dirt is made in a folder of its own; repaired value AND report sentence are checked."""

import json
import os
import shutil
import warnings
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile
from typer.testing import CliRunner

from cambook import datasets, files, metrics, networks
from cambook.cli import commands
from cambook.course.parameters import Parameters
from cambook.datasets import (
    EXAMPLE_PICTURES,
    Scenes,
    Subset,
    VOCFolder,
    annotations,
    example_picture,
    load,
    load_picture,
    photographs,
)

SIZE = 80
WIDTH, HEIGHT = 80, 40  # a picture squashed to 80 x 80 keeps its columns and doubles its rows
BOX = (11, 6, 30, 15)  # as annotated: counted from 1, last pixel included
GRID_BOX = [10, 10, 30, 30]  # the same box, half-open, on the 80 x 80 grid


def picture(box=BOX, size=(WIDTH, HEIGHT)) -> Image.Image:
    """A dark image with a red rectangle exactly in the annotated box."""
    pixels = np.full((size[1], size[0], 3), 20, np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0 - 1 : y1, x0 - 1 : x1] = (250, 10, 10)
    return Image.fromarray(pixels)


def encoded(image, format="PNG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def noise_jpeg(height=400, **options) -> bytes:
    values = np.random.default_rng(0).integers(0, 255, (height, 400, 3), dtype=np.uint8)
    return encoded(Image.fromarray(values), "JPEG", quality=90, **options)


def thing(name="cat", box=BOX, extra="") -> str:
    sides = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{extra}<bndbox>{sides}</bndbox></object>"


def annotation(*objects, size=(WIDTH, HEIGHT), head="") -> str:
    tag = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"{head}<annotation><filename>another.jpg</filename>{tag}{''.join(objects)}</annotation>"


class Folder:
    """A clean folder: a cat and a dog to train on, a cat and a dog to test on; add() puts dirt into it."""

    def __init__(self, root: Path):
        self.root = root
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / part).mkdir(parents=True)
        for split in ("train", "val"):
            for name in ("cat", "dog"):
                self.add(f"{name}-{split}", split=split, xml=annotation(thing(name)))

    def add(self, identity="dirty", data=None, xml=None, split="train", ending=".jpg"):
        data = encoded(picture()) + identity.encode() if data is None else data  # no copies of one another
        xml = annotation(thing()) if xml is None else xml
        (self.root / "JPEGImages" / f"{identity}{ending}").write_bytes(data)
        (self.root / "Annotations" / f"{identity}.xml").write_text(xml, encoding="utf-8")
        self.enlist(identity, split)

    def enlist(self, line, split="train"):
        with open(self.root / "ImageSets" / "Main" / f"{split}.txt", "a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def train(self, **options) -> VOCFolder:
        return VOCFolder(self.root, "train", SIZE, **options)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path / "voc")


def one(data: VOCFolder, identity="dirty"):
    """Image and boxes of that image."""
    batch = data.batch([data.names.index(identity)])
    return batch.images[0], batch.boxes[0]


def red_box(image) -> list[int]:
    """The tight half-open box of the red pixels."""
    rows, columns = np.nonzero((image[0] > 0.5).numpy() & (image[1] < 0.3).numpy())
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def only_line(data: VOCFolder, identity="dirty") -> str:
    lines = [line for line in data.report if identity in line]
    assert len(lines) == 1, data.report
    return lines[0]


def kept(folder, boxes=GRID_BOX, tolerance=0.01) -> str:
    """The dirty image is used with these boxes, red where the first is; returns the report's sentence."""
    data = folder.train()
    image, found = one(data)
    np.testing.assert_allclose(found, np.reshape(boxes, (-1, 4)), atol=tolerance)
    np.testing.assert_allclose(red_box(image), found[0], atol=1)
    return only_line(data)


def left_out(folder, identity="dirty") -> str:
    """The dirty image is not used, the others are; returns the report's sentence."""
    data = folder.train()
    assert data.names == ["cat-train", "dog-train"]
    line = only_line(data, identity)
    assert "left out" in line
    return line


# ---- a clean folder


def test_a_clean_folder_has_an_empty_report(folder):
    assert folder.train().report == []
    assert load(f"voc:{folder.root}", "test", SIZE).report == []


def test_boxes_counted_from_one_become_half_open_on_the_squashed_grid(folder):
    image, boxes = one(folder.train(), "cat-train")
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, [GRID_BOX], atol=1e-5)
    np.testing.assert_allclose(red_box(image), GRID_BOX, atol=1)


def test_a_batch_has_the_shapes_and_types_that_networks_expect(folder):
    data = folder.train()
    batch = data.batch(np.array([1, 0, 1]))
    assert batch.images.shape == (3, 3, SIZE, SIZE) and batch.images.dtype == torch.float32
    assert 0 <= batch.images.min() and batch.images.max() <= 1 and batch.images.max() > 0.9
    assert batch.labels.tolist() == [1, 0, 1] and batch.labels.dtype == torch.int64
    assert batch.indices.tolist() == [1, 0, 1] and batch.masks is None
    assert torch.equal(batch.images[0], batch.images[2])


def test_changing_a_batch_changes_nothing_in_the_data_set(folder):
    data = folder.train()
    first = data.batch([0])
    first.images.zero_()
    first.boxes[0][:] = 0
    assert data.batch([0]).images.max() > 0.9 and data.batch([0]).boxes[0].max() > 0


def test_pictures_are_resized_with_antialiasing(folder):
    stripes = np.zeros((SIZE * 8, SIZE * 8, 3), np.uint8)
    stripes[:, ::2] = 255
    folder.add(data=encoded(Image.fromarray(stripes)), xml=annotation(thing(), size=(SIZE * 8, SIZE * 8)))
    image, _ = one(folder.train())
    assert (image - 0.5).abs().max() < 0.05


def test_test_split_reads_test_txt_before_val_txt(folder):
    assert load(f"voc:{folder.root}", "test", SIZE).names == ["cat-val", "dog-val"]
    folder.add("held-out", split="test")
    assert load(f"voc:{folder.root}", "test", SIZE).names == ["held-out"]


def test_both_splits_agree_on_the_classes(folder):
    folder.add("owl", xml=annotation(thing("ant")), split="val")
    train, test = (load(f"voc:{folder.root}", split, SIZE) for split in ("train", "test"))
    assert train.classes == test.classes == ["ant", "cat", "dog"]
    assert train.labels.tolist() == [1, 2] and test.labels.dtype == np.int64
    assert train.report == ['no usable image of class "ant" in the train list']


def test_other_lists_go_by_their_name_and_per_class_lists_by_their_flag(folder):
    for line in ("cat-train  1", "dog-train -1", "dog-val  0", "cat-val  1"):
        folder.enlist(line, "cat_trainval")
    data = VOCFolder(folder.root, "cat_trainval", SIZE)
    assert data.names == ["cat-train", "cat-val"] and data.classes == ["cat", "dog"]


def test_length_draws_that_many_pictures_by_seed(folder):
    for i in range(10):
        folder.add(f"cat{i}")
    full = folder.train()
    few = [folder.train(length=5, seed=seed) for seed in (0, 0, 1)]
    assert all(len(data) == 5 and set(data.names) <= set(full.names) for data in few)
    assert few[0].names == few[1].names != few[2].names
    assert few[0].fingerprint == few[1].fingerprint != few[2].fingerprint
    assert folder.train(length=99).names == full.names


def test_the_fingerprint_follows_content_size_and_split_but_not_the_place(folder, tmp_path):
    first = folder.train().fingerprint
    moved = shutil.copytree(folder.root, tmp_path / "moved")
    assert VOCFolder(moved, "train", SIZE).fingerprint == first
    others = {VOCFolder(moved, "train", SIZE + 1).fingerprint, VOCFolder(moved, "test", SIZE).fingerprint}
    (moved / "Annotations" / "cat-train.xml").write_text(annotation(thing(box=(12, 6, 30, 15))), encoding="utf-8")
    others.add(VOCFolder(moved, "train", SIZE).fingerprint)
    (moved / "JPEGImages" / "cat-train.jpg").write_bytes(encoded(picture((12, 6, 30, 15))))
    others.add(VOCFolder(moved, "train", SIZE).fingerprint)
    assert len(others - {first}) == 4


# ---- several objects in a picture


def test_all_boxes_of_the_label_are_kept(folder):
    folder.add(xml=annotation(thing(), thing(box=(41, 21, 60, 30))))
    _, boxes = one(folder.train())
    np.testing.assert_allclose(boxes, [GRID_BOX, [40, 40, 60, 60]], atol=1e-5)


def test_of_several_classes_the_largest_total_area_is_the_label_and_the_report_counts_them(folder):
    small = [thing("dog", (1 + 10 * i, 31, 10 + 10 * i, 40)) for i in range(3)]  # 3 x 100 pixels against 200
    folder.add(xml=annotation(thing("cat"), *small))
    data = folder.train()
    assert data.classes[data.labels[data.names.index("dirty")]] == "dog"
    assert len(one(data)[1]) == 3
    assert data.report == ["1 of 3 images show several classes: labelled by the one with the largest total box area"]


def test_difficult_objects_count_neither_for_the_label_nor_for_the_boxes(folder):
    folder.add(xml=annotation(thing(), thing("dog", (1, 1, 80, 40), "<difficult>1</difficult>")))
    data = folder.train()
    assert data.classes[data.labels[data.names.index("dirty")]] == "cat"
    np.testing.assert_allclose(one(data)[1], [GRID_BOX], atol=1e-5)
    assert data.report == ["1 objects marked difficult are ignored, as in the VOC challenge"]


def test_of_two_pictures_of_one_name_the_jpeg_is_used_and_the_other_is_named(folder):
    folder.add()
    Image.new("RGB", (8, 8)).save(folder.root / "JPEGImages" / "dirty.png")
    data = folder.train()
    assert data.report == ["JPEGImages/dirty.png: not used, dirty.jpg is the image of that name"]
    np.testing.assert_allclose(one(data)[1], [GRID_BOX], atol=1e-5)


def test_the_box_of_a_part_is_not_the_box_of_the_object(folder):
    part = thing("head", (1, 1, 3, 3)).replace("object>", "part>")
    folder.add(xml=annotation(thing(extra=part)))
    np.testing.assert_allclose(one(folder.train())[1], [GRID_BOX], atol=1e-5)


# ---- dirty pictures


def test_a_jpeg_that_lacks_its_last_rows_is_filled_up_with_grey(folder):
    data = noise_jpeg()
    folder.add(data=data[: int(len(data) * 0.97)], xml=annotation(thing(), size=(400, 400)))
    loaded = folder.train()
    image, _ = one(loaded)
    whole = np.asarray(Image.open(BytesIO(data)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) / 255
    rows = int(SIZE * 0.93)
    np.testing.assert_allclose(image.permute(1, 2, 0)[:rows], whole[:rows], atol=1e-6)
    assert (image[:, -1, SIZE // 2 :] - 128 / 255).abs().max() < 0.01
    assert "dirty.jpg: cut off: what is missing of the last 15 of 400 rows filled with grey" in only_line(loaded)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_jpeg_that_lacks_more_than_a_tenth_is_left_out(folder, share):
    data = noise_jpeg()
    folder.add(data=data[: int(len(data) * share)])
    assert "JPEGImages/dirty.jpg" in left_out(folder)


def test_a_cut_off_progressive_jpeg_is_left_out_since_its_loss_is_everywhere(folder):
    data = noise_jpeg(progressive=True)
    folder.add(data=data[: int(len(data) * 0.97)])
    assert "cut off or damaged" in left_out(folder)


def test_reading_a_cut_off_jpeg_leaves_pillows_switch_alone(folder):
    folder.add(data=noise_jpeg()[:-500], xml=annotation(thing(), size=(400, 400)))
    assert len(folder.train()) == 3
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n <!DOCTYPE html><html>404</html>", "web page"),
        (b"\x00\x01\x02 no image" * 50, "no image of a known format"),
        (encoded(picture())[:80], "cut off or damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no image of a known format"),
    ],
    ids=["empty", "html", "noise", "cut-off png", "postscript"],
)
def test_a_file_that_holds_no_picture_is_left_out(folder, data, reason):
    folder.add(data=data)
    assert reason in left_out(folder)


def test_a_decompression_bomb_is_left_out(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    folder.add(data=encoded(Image.new("RGB", (100, 80))))
    assert "more than 5000 pixels" in left_out(folder)


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("L", "grey image converted to RGB"),
        ("1", "black and white image converted to RGB"),
        ("P", "palette image converted to RGB"),
        ("CMYK", "CMYK image converted to RGB"),
        ("RGBA", "RGBA image with transparency laid on white"),
        ("LA", "LA image with transparency laid on white"),
    ],
)
def test_pictures_of_other_modes_become_rgb(folder, mode, sentence):
    two_halves = np.zeros((HEIGHT, WIDTH), np.uint8)
    two_halves[:, 40:] = 255
    format = "JPEG" if mode == "CMYK" else "PNG"
    folder.add(data=encoded(Image.fromarray(two_halves).convert(mode), format))
    data = folder.train()
    image, _ = one(data)
    assert image[:, :, :36].max() < 0.05 and image[:, :, 44:].min() > 0.95
    assert only_line(data) == f"JPEGImages/dirty.jpg: {sentence}"


def test_colours_survive_palette_and_cmyk(folder):
    for name, image, format in (
        ("palette", picture().quantize(16), "PNG"),
        ("cmyk", picture().convert("CMYK"), "JPEG"),
    ):
        folder.add(name, encoded(image, format))
    data = folder.train()
    for name in ("palette", "cmyk"):
        centre = one(data, name)[0][:, 20, 20]
        assert centre[0] > 0.9 and centre[1:].max() < 0.1


def test_what_is_transparent_is_white_and_not_its_hidden_colour(folder):
    pixels = np.array(picture().convert("RGBA"))
    pixels[:, 50:] = (0, 0, 255, 0)
    folder.add(data=encoded(Image.fromarray(pixels)))
    data = folder.train()
    image, _ = one(data)
    assert image[:, :, 55:].min() == 1 and image[:, 20, 20].tolist()[0] > 0.9
    assert "transparency laid on white" in only_line(data)


def test_sixteen_bits_are_scaled_not_cut(folder):
    ramp = np.tile(np.linspace(0, 65535, WIDTH).astype(np.uint16), (HEIGHT, 1))
    folder.add(data=encoded(Image.fromarray(ramp)), ending=".png")
    data = folder.train()
    image, _ = one(data)
    np.testing.assert_allclose(image[0, 40], np.linspace(0, 1, SIZE), atol=0.01)
    assert only_line(data) == "JPEGImages/dirty.png: 16-bit image converted to 8-bit RGB"


# ---- EXIF


def exif_jpeg(orientation, image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", quality=100, subsampling=0, exif=exif)


UPRIGHT_BOXES = {  # where the stored box (10, 5, 30, 15) of 80 x 40 pixels goes, worked out by hand
    2: (50, 5, 70, 15),
    3: (50, 25, 70, 35),
    4: (10, 25, 30, 35),
    5: (5, 10, 15, 30),
    6: (25, 10, 35, 30),
    7: (25, 50, 35, 70),
    8: (5, 50, 15, 70),
}


@pytest.mark.parametrize("orientation", UPRIGHT_BOXES)
def test_exif_turns_the_picture_and_boxes_drawn_on_the_stored_one(folder, orientation, monkeypatch):
    monkeypatch.setenv("CAMBOOK_BOXES", "stored")
    folder.add(data=exif_jpeg(orientation, picture()))
    width, height = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
    line = kept(folder, np.array(UPRIGHT_BOXES[orientation]) * ([SIZE / width, SIZE / height] * 2))
    assert f"EXIF orientation {orientation}: image turned upright, boxes turned with it" in line
    assert ("as the size tag says" in line) == (orientation >= 5)
    assert ("the size tag cannot tell" in line) == (orientation < 5)


def test_boxes_drawn_on_the_upright_picture_stay_when_the_size_tag_says_so(folder):
    upright = picture(box=(6, 11, 15, 30), size=(HEIGHT, WIDTH))
    stored = upright.transpose(Image.Transpose.ROTATE_90)  # what a camera held upright writes, with orientation 6
    folder.add(data=exif_jpeg(6, stored), xml=annotation(thing(box=(6, 11, 15, 30)), size=(HEIGHT, WIDTH)))
    line = kept(folder, [10, 10, 30, 30])
    assert "boxes, drawn on the upright image, kept (as the size tag says)" in line


def test_without_a_size_tag_the_boxes_themselves_say_on_which_picture_they_were_drawn(folder):
    box = (6, 51, 15, 70)  # past the 40 rows of the stored picture
    stored = picture(box, (HEIGHT, WIDTH)).transpose(Image.Transpose.ROTATE_90)
    folder.add(data=exif_jpeg(6, stored), xml=annotation(thing(box=box), size=(0, 0)))
    data = folder.train()
    image, boxes = one(data)
    np.testing.assert_allclose(boxes, [[10, 50, 30, 70]], atol=1e-4)
    np.testing.assert_allclose(red_box(image), boxes[0], atol=1)
    assert any("kept (the boxes fit no other)" in line for line in data.report)


@pytest.mark.parametrize("orientation", [9, 65537])
def test_an_exif_orientation_that_does_not_exist_is_ignored(folder, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    folder.add(data=encoded(picture(), "PNG", exif=exif.tobytes() if orientation < 2**16 else _long_exif(exif)))
    assert f"EXIF orientation {orientation} does not exist and is ignored" in kept(folder)


def test_an_exif_orientation_of_0_means_that_none_is_set_and_needs_no_sentence(folder):
    folder.add(data=exif_jpeg(0, picture()))
    data = folder.train()
    assert data.report == [] and len(data) == 3
    np.testing.assert_allclose(one(data)[1], [GRID_BOX], atol=0.01)
    np.testing.assert_allclose(red_box(one(data)[0]), GRID_BOX, atol=1)


def _long_exif(exif) -> bytes:
    """The EXIF block with its orientation as a 32-bit number."""
    value = exif[0x0112]
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0" + value.to_bytes(4, "little") + b"\0\0\0\0"


# ---- dirty boxes


def test_a_box_past_the_border_is_clipped(folder):
    folder.add(data=encoded(picture((61, 31, 80, 40))), xml=annotation(thing(box=(61, 31, 95, 44))))
    line = kept(folder, [60, 60, 80, 80])
    assert line == "Annotations/dirty.xml: 1 of 1 boxes passed the border and were clipped"


def test_a_box_counted_from_zero_is_clipped(folder):
    folder.add(data=encoded(picture((1, 1, 30, 15))), xml=annotation(thing(box=(0, 0, 30, 15))))
    assert "passed the border and were clipped" in kept(folder, [0, 0, 30, 30])


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ((50, 20, 50, 30), "box 2 (cat) has no area and is left out"),
        ((0, 0, 0, 0), "box 2 (cat) has no area and is left out"),
        (("nan", 20, 50, 30), "box 2 (cat) has a coordinate that is missing or not a number and is left out"),
        ((20, "inf", 50, 30), "box 2 (cat) has a coordinate that is missing or not a number and is left out"),
        ((20, 20, "fifty", 30), "box 2 (cat) has a coordinate that is missing or not a number and is left out"),
        ((20, 20, "", 30), "box 2 (cat) has a coordinate that is missing or not a number and is left out"),
    ],
)
def test_a_box_that_is_none_is_left_out_and_the_others_stay(folder, box, sentence):
    folder.add(xml=annotation(thing(), thing(box=box)))
    assert kept(folder) == f"Annotations/dirty.xml: {sentence}"


def test_a_box_outside_the_picture_is_left_out_and_the_others_stay(folder):
    folder.add(xml=annotation(thing(), thing(box=(101, 3, 120, 20))))
    data = folder.train()
    np.testing.assert_allclose(one(data)[1], [GRID_BOX], atol=1e-5)
    assert "Annotations/dirty.xml: 1 of 2 boxes lie outside the image and are left out" in data.report


def test_swapped_corners_are_put_right(folder):
    folder.add(xml=annotation(thing(box=(30, 15, 11, 6))))
    assert kept(folder) == "Annotations/dirty.xml: box 1 (cat) had its corners swapped and was put right"


def test_broken_pixels_are_read(folder):
    folder.add(xml=annotation(thing(box=("11.0", "6.00", "30.0", " 15 "))))
    data = folder.train()
    np.testing.assert_allclose(one(data)[1], [GRID_BOX], atol=1e-5)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (annotation(), "no usable object"),
        (annotation(thing(box=(5, 5, 5, 9))), "box 1 (cat) has no area"),
        (annotation(thing(box=(101, 1, 120, 9))), "every box lies outside the image"),
        (annotation(thing(name="  ")), "object 1 has no name"),
        (annotation("<object><name>cat</name></object>"), "missing or not a number"),
        (annotation(thing(extra="<difficult>1</difficult>")), "no usable object"),
        ("", "the annotation is empty"),
        (annotation(thing())[:-20], "not valid XML"),
        ("<html><body>404</body></html>", "no usable object"),
        ("not XML at all", "not valid XML"),
        ('<?xml version="1.0" encoding="no-such-code"?>' + annotation(thing()), "not valid XML"),
    ],
)
def test_a_picture_whose_annotation_gives_no_box_is_left_out(folder, xml, reason):
    folder.add(xml=xml)
    assert reason in left_out(folder)


def test_a_picture_without_annotation_is_left_out(folder):
    folder.add()
    (folder.root / "Annotations" / "dirty.xml").unlink()
    assert left_out(folder) == "JPEGImages/dirty.jpg: left out: Annotations/dirty.xml is missing"


# ---- the size tag


@pytest.mark.parametrize("size", [(0, 0), (0, 40), (-80, -40), ("nan", 40), ("wide", "high")])
def test_a_size_tag_that_is_no_size_is_replaced_by_the_pictures_own(folder, size):
    folder.add(xml=annotation(thing(), size=size))
    assert kept(folder).endswith("the size tag gives no size: boxes read as pixels of the 80 x 40 image")


def test_boxes_of_a_picture_that_was_scaled_later_are_scaled_with_it(folder):
    folder.add(xml=annotation(thing(box=(31, 16, 90, 45)), size=(240, 120)))
    line = kept(folder)
    assert "the size tag says 240 x 120, the image has 80 x 40: same shape, boxes rescaled" in line


def test_a_wrong_size_tag_is_ignored_where_the_boxes_fit_the_picture(folder):
    folder.add(xml=annotation(thing(), size=(50, 90)))
    line = kept(folder)
    assert line.endswith("says 50 x 90, the image has 80 x 40: the boxes fit the image, which is trusted")


def test_a_box_slightly_past_the_border_under_a_wrong_size_tag_is_clipped(folder):
    folder.add(data=encoded(picture((11, 6, 80, 15))), xml=annotation(thing(box=(11, 6, 83, 15)), size=(90, 35)))
    data = folder.train()
    np.testing.assert_allclose(one(data)[1], [[10, 10, 80, 30]], atol=1e-4)
    assert any("boxes nearly fit the image" in line for line in data.report)


def test_a_picture_whose_boxes_fit_neither_the_size_tag_nor_it_is_left_out(folder):
    folder.add(xml=annotation(thing(box=(11, 6, 300, 400)), size=(90, 35)))
    assert "the boxes fit neither" in left_out(folder)


# ---- lists and ids


def test_an_id_listed_twice_is_used_once(folder):
    folder.add()
    folder.enlist("dirty")
    data = folder.train()
    assert data.names.count("dirty") == 1
    assert only_line(data) == "ImageSets/Main/train.txt: dirty is listed 2 times, used once"


def test_an_id_without_a_picture_is_left_out(folder):
    folder.enlist("nowhere")
    assert left_out(folder, "nowhere") == "nowhere: left out: JPEGImages has no image of this name"


@pytest.mark.parametrize("identity", ["1", "-1", "0"])
def test_an_id_that_looks_like_a_flag_is_still_an_id(folder, identity):
    folder.enlist(identity)
    assert any(line.startswith(f"{identity}: left out") for line in folder.train().report)


def test_an_id_with_a_space_is_still_one_id(folder):
    folder.add("photo 1")
    assert "photo 1" in folder.train().names


def test_a_picture_in_both_lists_is_reported(folder):
    folder.enlist("cat-train", "val")
    for data in (folder.train(), VOCFolder(folder.root, "test", SIZE)):
        assert data.report == ["cat-train: kept, though it is in the train list and in the test list"]


@pytest.mark.parametrize("identity", ["../../secret", "../secret", "/etc/passwd", "..\\secret"])
def test_an_id_that_is_a_path_is_left_out(folder, identity):
    secret = folder.root.parent / "secret"
    secret.with_suffix(".jpg").write_bytes(encoded(picture()))
    secret.with_suffix(".xml").write_text(annotation(thing()), encoding="utf-8")
    folder.enlist(identity)
    assert "may not be a path" in left_out(folder, identity)


@pytest.mark.parametrize("part", ["JPEGImages/dirty.jpg", "Annotations/dirty.xml"])
def test_a_link_that_leaves_the_folder_is_left_out(folder, tmp_path, part):
    folder.add()
    outside = (folder.root / part).rename(tmp_path / "outside")
    (folder.root / part).symlink_to(outside)
    assert f"{part} is a link that leaves the folder" in left_out(folder)


def test_a_folder_of_pictures_that_is_a_link_to_elsewhere_is_refused(folder, tmp_path):
    (folder.root / "JPEGImages").rename(tmp_path / "elsewhere")
    (folder.root / "JPEGImages").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="JPEGImages is a link that leaves the folder: put the files there"):
        folder.train()


# ---- hostile XML


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/voc.dtd">',
    ],
    ids=["entities", "external entity", "external document type"],
)
def test_a_document_type_is_refused(folder, head):
    folder.add(xml=annotation(thing(name="&a;" if "ENTITY" in head else "cat"), head=head))
    assert "declares a document type (DOCTYPE), which may hide entities" in left_out(folder)


def test_a_billion_laughs_is_refused_before_it_grows(folder):
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    folder.add(xml=annotation(thing(name="&l11;"), head=f'<!DOCTYPE a [<!ENTITY l0 "ha">{levels}]>'))
    assert "DOCTYPE" in left_out(folder)


def test_an_annotation_nested_a_hundred_thousand_deep_does_no_harm(folder):
    folder.add(xml=annotation("<a>" * 100_000 + "</a>" * 100_000))
    assert "no usable object" in left_out(folder)


def test_a_giant_annotation_is_left_out_unread(folder):
    folder.add(xml=annotation(thing(), " " * (annotations.MAX_ANNOTATION_BYTES + 1)))
    assert "more than any box file needs" in left_out(folder)


# ---- what a load says in one line


def test_a_load_counts_what_was_used_repaired_and_left_out(folder):
    assert folder.train().summary == "train: 2 images used, 0 repaired, 0 left out"
    folder.add("grey", encoded(picture().convert("L")))
    folder.add("empty", b"")
    folder.enlist("nowhere")
    data = folder.train()
    assert data.summary == "train: 3 images used, 1 repaired, 2 left out: see report"
    assert (len(data), data.repaired, data.left_out) == (3, 1, 2)


@pytest.mark.parametrize("number", ["04", "07", "08", "09"])
def test_a_lesson_prints_what_was_repaired_and_left_out(folder, capsys, number):
    folder.add("grey", encoded(picture().convert("L")))
    folder.add("empty", b"")
    folder.enlist("nowhere")
    (lesson,) = files.NOTEBOOKS.glob(f"{number}_*.ipynb")
    cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
    (code,) = ("".join(cell["source"]) for cell in cells if cell["id"] == "data")
    run = SimpleNamespace(pick=lambda quick, **_: quick, seed=0, device="cpu")
    here = {"run": run, "dataset": f"voc:{folder.root}", "network": "mini-gap"}
    exec(code, {"datasets": datasets, "networks": networks, **here})
    said = capsys.readouterr().out.splitlines()
    assert "JPEGImages/grey.jpg: grey image converted to RGB" in said
    assert "JPEGImages/empty.jpg: left out: the file is empty" in said
    assert [line for line in said if line.startswith("nowhere: left out")]


def test_cambook_train_prints_what_was_repaired_and_left_out(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    folder.add("grey", encoded(picture().convert("L")))
    folder.add("empty", b"")
    arguments = ["train", "mini-gap", f"voc:{folder.root}", "--epochs", "1"]
    output = CliRunner().invoke(commands.app, arguments).output
    assert "train: 3 images used, 1 repaired, 1 left out: see report\n" in output
    assert "  JPEGImages/empty.jpg: left out: the file is empty\n" in output
    assert "  JPEGImages/grey.jpg: grey image converted to RGB\n" in output
    assert "test: 2 images used, 0 repaired, 0 left out\n" in output


def test_a_heic_photograph_is_read_once_something_in_pillow_reads_it(folder, monkeypatch):
    """pillow-heif enters a format HEIF into Pillow; here one that reads a PNG behind five letters."""
    folder.add("phone", b"HEIC:" + encoded(picture()), ending=".HEIC")
    assert "Pillow does not read files with .heic: save it as JPEG or PNG" in only_line(folder.train(), "phone")

    def opened(file, name):
        return PngImageFile(BytesIO(file.read()[5:]))

    monkeypatch.setitem(Image.OPEN, "HEIF", (opened, lambda start: start[:5] == b"HEIC:"))
    data = folder.train()
    np.testing.assert_allclose(one(data, "phone")[1], [GRID_BOX], atol=1e-5)
    np.testing.assert_allclose(red_box(one(data, "phone")[0]), GRID_BOX, atol=1)
    assert data.report == []


def test_copies_are_looked_for_in_files_of_equal_size_alone(folder, monkeypatch):
    (folder.root / "JPEGImages/dog-val.jpg").write_bytes((folder.root / "JPEGImages/cat-train.jpg").read_bytes())
    data = folder.train()
    assert "cat-train.jpg: also in the test split, byte by byte" in only_line(data, "cat-train")
    assert only_line(data, "cat-train").endswith("(JPEGImages/dog-val.jpg)")
    monkeypatch.setattr(photographs, "_REPORTED_SINGLY", 0)
    assert "1 images, the first of them JPEGImages/cat-train.jpg (JPEGImages/dog-val.jpg): also in" in only_line(
        folder.train(), "cat-train"
    )
    monkeypatch.setattr(photographs, "_COMPARED", 1)
    assert folder.train().report == []


def test_lessons_that_load_a_readers_photographs_print_the_report():
    notebooks = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))
    told = []
    for notebook in notebooks:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code")
        if "datasets.load(dataset" in code:
            told.append("for line in [*train.report, *test.report]:\n    print(line)" in code)
    assert len(told) >= 4 and all(told)


# ---- what stops before long work


@pytest.fixture
def no_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("an image was decoded before the mistake was told")

    monkeypatch.setattr(photographs, "decode_image", refuse)


def test_a_missing_folder_is_told_with_the_nearest_name(folder, no_decoding):
    with pytest.raises(FileNotFoundError, match='there is no folder .*/vox: did you mean ".*/voc"'):
        VOCFolder(folder.root.with_name("vox"), "train", SIZE)


@pytest.mark.parametrize("part", ["JPEGImages", "Annotations", "ImageSets"])
def test_a_folder_that_is_not_in_voc_layout_is_told(folder, no_decoding, part):
    shutil.rmtree(folder.root / part)
    with pytest.raises(FileNotFoundError, match=f"has no folder {part}.*it must contain JPEGImages, Annotations and"):
        folder.train()


def test_the_folder_above_is_told_where_the_pictures_are(folder, no_decoding):
    with pytest.raises(FileNotFoundError, match="has no folder JPEGImages: give .*/voc$"):
        VOCFolder(folder.root.parent, "train", SIZE)


def test_a_missing_list_is_told_with_the_lists_there_are(folder, no_decoding):
    with pytest.raises(FileNotFoundError, match=r'no dog_val.txt for the split "dog_val": .*train.txt, val.txt'):
        VOCFolder(folder.root, "dog_val", SIZE)
    (folder.root / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(FileNotFoundError, match='no test.txt or val.txt for the split "test"'):
        VOCFolder(folder.root, "test", SIZE)


def test_an_empty_list_is_told(folder, no_decoding):
    (folder.root / "ImageSets/Main/train.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(ValueError, match="train.txt lists no image: write one id per line"):
        folder.train()


def test_a_single_class_is_told(folder, no_decoding):
    for name in ("train", "val"):
        (folder.root / f"ImageSets/Main/{name}.txt").write_text(f"cat-{name}\n", encoding="utf-8")
    with pytest.raises(ValueError, match='has only the class "cat" and at least two classes are needed: add'):
        folder.train()


def test_a_folder_without_usable_annotations_is_told_with_a_reason(folder, no_decoding):
    for file in (folder.root / "Annotations").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"no listed image with a usable annotation \(Annotations/.* missing\)"):
        folder.train()


def test_a_split_without_a_usable_picture_is_told_with_a_reason(folder):
    for file in (folder.root / "JPEGImages").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="no image of the train list can be used.*the file is empty; correct"):
        folder.train()


# ---- names


def test_an_unknown_name_lists_the_known_ones_with_the_nearest_first():
    with pytest.raises(ValueError, match='"scnes": did you mean "scenes"[?] Known: scenes, scenes-new-objects, coco:'):
        load("scnes", "train", 64)


def test_a_folder_named_without_voc_is_suggested_with_it(tmp_path):
    with pytest.raises(ValueError, match=f'did you mean "voc:{tmp_path}"'):
        load(str(tmp_path), "train", 64)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("voc:", "train", 64), '"voc:" names no folder'),
        (("scenes", "val", 64), 'unknown split "val": use "train" or "test"'),
        (("scenes", "train", 0), "size is 0: give a whole number"),
        (("scenes", "train", 64.0), "size is 64.0: give a whole number"),
        (("scenes", "train", True), "size is True: give a whole number"),
    ],
)
def test_bad_arguments_are_told(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(*arguments)


def test_scenes_are_made_with_what_was_asked_for():
    few = load("scenes", "train", 64, length=10, seed=3)
    assert (few.name, few.split, few.size, few.length, few.seed) == ("scenes", "train", 64, 10, 3)
    assert few.fingerprint == Scenes("train", 64, 10, seed=3).fingerprint
    new = load("scenes-new-objects", "test", 32)
    assert (new.name, new.split, new.size, new.length, new.seed) == ("scenes-new-objects", "test", 32, 1000, 0)
    assert new.fingerprint == Scenes("test", 32, new_objects=True).fingerprint


# ---- a data set that somebody adds


@pytest.fixture
def known():
    """What a test registers is forgotten after it."""
    before = dict(datasets.KNOWN)
    yield datasets.KNOWN
    datasets.KNOWN.clear()
    datasets.KNOWN.update(before)


def stripes() -> type:
    """The class of a new data set: a bright block, upright or lying, on black."""

    @datasets.register
    class Stripes(datasets.DataSet):
        kind = "stripes"
        splits = {"train": 40, "test": 8}
        source = "drawn in this test"
        licence = "CC0"
        has_masks = drawn = True

        def __init__(self, split, size, *, length=None, seed=0):
            self.name, self.split, self.size, self.report = self.kind, split, size, []
            self.classes, self.fingerprint = ["upright", "lying"], f"{split} {size} {length} {seed}"
            self.labels = np.arange(length or self.splits[split]) % 2

        def __len__(self):
            return len(self.labels)

        def batch(self, indices, device="cpu"):
            indices = torch.as_tensor(indices)
            labels = torch.from_numpy(self.labels)[indices]
            masks = torch.zeros(len(indices), self.size, self.size, dtype=torch.bool)
            masks[:, 8:40, 8:20] = True
            masks[labels == 1] = masks[labels == 1].transpose(1, 2)
            boxes = [np.array([[8, 8, 40, 20] if label else [8, 8, 20, 40]], np.float32) for label in labels]
            images = masks[:, None].float().expand(-1, 3, -1, -1)
            return datasets.Batch(images.to(device), labels.to(device), boxes, masks, indices)

    return Stripes


def test_one_call_adds_a_data_set_that_is_loaded_listed_suggested_and_evaluated(known):
    with pytest.raises(ValueError, match='unknown data set "stripes"'):
        load("stripes", "test", 64)
    added = stripes()
    data = load("stripes", "test", 64)
    assert type(data) is added and (data.name, data.split, len(data)) == ("stripes", "test", 8)
    assert datasets.names()[:3] == ["scenes", "scenes-new-objects", "stripes"] and datasets.find("stripes").drawn
    listed = CliRunner().invoke(commands.app, ["data"]).output
    assert "stripes" in listed and "drawn in this test" in listed and "CC0" in listed
    assert CliRunner().invoke(commands.app, ["data", "stripes"]).output == "stripes: drawn in this test\n"
    with pytest.raises(ValueError, match='did you mean "stripes"'):
        load("strips", "test", 64)
    with pytest.raises(ValueError, match='unknown split "val": use "train" or "test"'):
        load("stripes", "val", 64)
    with pytest.raises(ValueError, match="stripes is not read from a folder: write stripes"):
        load("stripes:here", "test", 64)
    assert Parameters(dataset="stripes").dataset == "stripes"
    found = metrics.evaluate(networks.build("mini-gap", 2, None, 0), data, batch_size=4)
    assert 0 <= found.row["max_box_acc"] <= 100 and found.inside.shape == (8,)


def test_a_data_set_read_from_a_file_is_one_class_too(known, tmp_path):
    @datasets.register
    class Lists(datasets.Photographs):
        kind, needs = "list", "FILE"

        def __init__(self, file, split, size, *, length=None, seed=0):
            root = Path(file).parent
            super().__init__(file, split, size, root)
            rows = json.loads(Path(file).read_text(encoding="utf-8"))[split]
            listed = [datasets.Listed(row[0], row[1], str(root / row[0]), box=tuple(row[2])) for row in rows]
            self.look_through(listed, ["cat", "dog"], length, seed)

        def truth(self, one, data):
            x, y, width, height = one.box
            return datasets.Truth(one.label, np.array([[x, y, x + width, y + height]]), None)

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(picture()))
    rows = [["a.png", 0, [10, 5, 20, 10]], ["b.png", 1, [10, 5, 20, 10]]]
    (tmp_path / "all.json").write_text(json.dumps({"train": rows, "test": rows[:1]}), encoding="utf-8")
    data = load(f"list:{tmp_path}/all.json", "train", SIZE)
    assert data.labels.tolist() == [0, 1] and data.name == f"list:{tmp_path}/all.json" and data.report == []
    np.testing.assert_allclose(data.batch([1]).boxes[0], [GRID_BOX], atol=1e-5)
    assert Parameters(dataset=data.name).dataset == data.name
    with pytest.raises(ValueError, match="the file .*/none.json does not exist, give the one that contains"):
        Parameters(dataset=f"list:{tmp_path}/none.json")
    with pytest.raises(ValueError, match='"list:" names no file: write list:FILE, for example list:data/'):
        load("list:", "train", SIZE)


def test_two_data_sets_of_one_name_are_refused_and_the_same_class_again_is_not(known):
    first, again = stripes(), stripes()
    assert datasets.find("stripes") is again and again is not first
    with pytest.raises(ValueError, match='Other and .*Stripes are both called "stripes": rename one'):
        datasets.register(type("Other", (datasets.DataSet,), {"kind": "stripes"}))


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({}, 'Odd.kind is "": name it with letters'),
        ({"kind": "a:b"}, 'Odd.kind is "a:b": name it'),
        ({"kind": "odd", "needs": "URL"}, 'Odd.needs is "URL": write FOLDER or FILE, or leave it out'),
    ],
)
def test_a_data_set_without_a_name_is_refused(known, facts, sentence):
    with pytest.raises(ValueError, match=sentence):
        datasets.register(type("Odd", (datasets.DataSet,), facts))


# ---- where a batch lies


def test_images_and_labels_of_photographs_go_to_the_device_and_the_rest_stays(folder):
    batch = folder.train().batch([0, 1], device="meta")
    assert batch.images.device.type == batch.labels.device.type == "meta"
    assert batch.indices.device.type == "cpu" and isinstance(batch.boxes[0], np.ndarray) and batch.masks is None


# ---- single pictures


def test_a_picture_of_ones_own_is_upright_rgb_with_its_shorter_side_as_asked(tmp_path):
    path = tmp_path / "own.jpg"
    path.write_bytes(exif_jpeg(6, picture().convert("L")))
    assert load_picture(path).shape == (1, 3, WIDTH, HEIGHT)
    image = load_picture(str(path), 20)
    assert image.shape == (1, 3, 40, 20) and image.dtype == torch.float32
    assert 0 <= image.min() and image.max() <= 1
    assert torch.equal(image[:, 0], image[:, 2])


def test_a_picture_that_is_not_there_is_told_with_the_nearest_name(tmp_path):
    (tmp_path / "kitten.jpg").write_bytes(encoded(picture()))
    with pytest.raises(FileNotFoundError, match="kiten.jpg: did you mean .*kitten.jpg"):
        load_picture(tmp_path / "kiten.jpg")
    with pytest.raises(FileNotFoundError, match="the folder .* does not exist"):
        load_picture(tmp_path / "no" / "kitten.jpg")


def test_a_file_that_is_no_picture_is_told(tmp_path):
    (tmp_path / "page.jpg").write_text("<html></html>", encoding="utf-8")
    with pytest.raises(ValueError, match="page.jpg cannot be shown: the file contains a web page"):
        load_picture(tmp_path / "page.jpg")
    with pytest.raises(ValueError, match="is a folder: give the path of one image"):
        load_picture(tmp_path)


def test_a_ribbon_that_would_grow_without_bound_is_refused(tmp_path):
    (tmp_path / "ribbon.png").write_bytes(encoded(Image.new("RGB", (20000, 1))))
    with pytest.raises(ValueError, match="would be 20000000 x 1000 pixels at size 1000: crop it first"):
        load_picture(tmp_path / "ribbon.png", 1000)


@pytest.mark.parametrize("name", EXAMPLE_PICTURES)
def test_every_example_picture_is_on_disk_and_not_blank(name):
    image = example_picture(name, 64)
    assert image.shape[:2] == (1, 3) and min(image.shape[2:]) == 64
    assert image.std() > 0.1
    package, credit = EXAMPLE_PICTURES[name]
    assert package in ("scikit-image", "scikit-learn", "matplotlib") and len(credit) > 20


def test_an_unknown_example_picture_is_told_with_the_nearest_name():
    with pytest.raises(ValueError, match='"chelsee": did you mean "chelsea"[?] Known: chelsea, coffee'):
        example_picture("chelsee")


def test_reading_pictures_leaves_the_callers_warnings_alone(tmp_path):
    (tmp_path / "own.png").write_bytes(encoded(picture()))
    before = list(warnings.filters)
    load_picture(tmp_path / "own.png")
    assert warnings.filters == before


# ---- real photographs


@pytest.fixture(scope="module")
def wildlife():
    root = os.environ.get("CAMBOOK_TEST_DATA")
    if not root:
        pytest.skip("set CAMBOOK_TEST_DATA to the folder that holds wildlife/ to test on real photographs")
    return {split: load(f"voc:{root}/wildlife", split, 224) for split in ("train", "test")}


def test_wildlife_has_all_its_pictures(wildlife):
    assert {split: len(data) for split, data in wildlife.items()} == {"train": 143, "test": 118}
    assert all(data.classes == ["kangaroo", "raccoon"] for data in wildlife.values())
    assert np.bincount(wildlife["train"].labels).tolist() == [62, 81]
    assert np.bincount(wildlife["test"].labels).tolist() == [55, 63]


def test_every_wildlife_box_lies_inside_its_picture(wildlife):
    for data in wildlife.values():
        for boxes in data.batch(range(len(data))).boxes:
            assert len(boxes) >= 1 and boxes.min() >= 0 and boxes.max() <= 224
            assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_the_report_names_the_truncated_wildlife_picture(wildlife):
    assert "JPEGImages/00090.jpg: cut off: what is missing of the last 8 of 393 rows filled with grey" in (
        wildlife["train"].report
    )
    assert "JPEGImages/raccoon-150.jpg: grey image converted to RGB" in wildlife["train"].report
    assert "JPEGImages/00103.jpg: EXIF orientation 65537 does not exist and is ignored" in wildlife["test"].report


# ---- some pictures of a data set ----


def test_a_subset_holds_the_chosen_pictures_under_new_numbers():
    whole = load("scenes", "train", 64, length=40)
    some = Subset(whole, [30, 3, 5])
    assert len(some) == 3 and some.labels.tolist() == whole.labels[[30, 3, 5]].tolist()
    batch, expected = some.batch(torch.tensor([2, 0])), whole.batch([5, 30])
    assert torch.equal(batch.images, expected.images) and batch.indices.tolist() == [2, 0]
    assert (some.name, some.split, some.size, some.classes) == ("scenes", "train", 64, whole.classes)
    assert len({some.fingerprint, whole.fingerprint, Subset(whole, [3, 30, 5]).fingerprint}) == 3


@pytest.mark.parametrize("indices", [[], [40], [-1]])
def test_a_subset_of_nothing_or_from_outside_is_refused(indices):
    with pytest.raises(ValueError, match="indices must lie from 0 to 39"):
        Subset(load("scenes", "train", 64, length=40), indices)
