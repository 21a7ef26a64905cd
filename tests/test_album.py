"""The data set `album`: what album.json says, what its photographs and masks become, and the tables that name them."""

import ast
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_docs import blocks, printed

from cambook import datasets, files
from cambook.course import parameters
from cambook.datasets import album, examples
from cambook.metrics import PixelAveragePrecision

ROOT = Path(__file__).parents[1]
CLASSES = (ROOT / "data" / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
SOURCE = ROOT / "data" / "album" / "album.json"
IDS = ["astronaut", "camera", "chelsea", "china", "clock", "coffee", "grace_hopper", "rocket"]


@pytest.fixture(scope="module")
def data():
    return datasets.load("album", "test", 224)


def by_hand(polygons, size):
    """The pixels whose centres lie inside a polygon, by the crossing number, with the pixels of its corners."""
    found = np.zeros((size[1], size[0]), bool)
    for corners in polygons:
        (left, top), (right, bottom) = np.min(corners, 0), np.max(corners, 0) + 1
        columns, rows = np.arange(left, right)[None], np.arange(top, bottom)[:, None]
        inside = np.zeros((bottom - top, right - left), bool)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            if y0 != y1:
                inside ^= ((y0 > rows) != (y1 > rows)) & (columns < (x1 - x0) * (rows - y0) / (y1 - y0) + x0)
        found[top:bottom, left:right] |= inside
        found[[y for _, y in corners], [x for x, _ in corners]] = True
    return found


# ---- what it says


def test_the_album_is_a_data_set_with_boxes_and_masks_and_imagenets_classes(data):
    assert (data.names, len(data), data.left_out) == (IDS, 8, 0)
    assert [data.classes[label] for label in data.labels] == [
        "space shuttle",
        "tripod",
        "tabby",
        "palace",
        "wall clock",
        "cup",
        "military uniform",
        "missile",
    ]
    assert data.classes == CLASSES and data.imagenet_classes and data.has_boxes and data.has_masks and data.labelled
    assert data.protocol == "true boxes by their edges; all images"
    assert data.report == [f"data/{name}.png: grey image converted to RGB" for name in ("camera", "clock_motion")]
    assert ("album", "8") in [row[:2] for row in datasets.catalogue()]
    (row,) = [row for row in datasets.catalogue() if row[0] == "album"]
    assert row[3] == "CC0, CC BY 2.0 or public domain: see NOTICE" and "nothing to fetch" in row[4]


def test_a_batch_gives_the_photographs_their_masks_and_boxes(data):
    batch = data.batch(range(8))
    assert batch.images.shape == (8, 3, 224, 224) and batch.masks.shape == (8, 224, 224)
    assert not (batch.masks & batch.ignore).any() and batch.ignore.flatten(1).any(1).all()
    for i, (mask, (box,)) in enumerate(zip(batch.masks, batch.boxes, strict=True)):
        rows, columns = torch.nonzero(mask, as_tuple=True)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, np.array(tight, float), atol=1.5, err_msg=data.names[i])
        assert data.picture(i).size == data.entries[i].size
    half = datasets.load("album", "test", 112).batch([2])
    np.testing.assert_allclose(half.boxes[0] * 2, batch.boxes[2], atol=1e-4)


def test_masks_lie_on_their_objects_by_colour(data):
    """The rocket and the cup's rim are brighter than what surrounds them, and the palace darker than the sky."""
    grey = data.batch(range(8)).images.mean(1)
    masks = data.batch(range(8)).masks
    for name, brighter in {"rocket": True, "coffee": True, "clock": True, "china": False}.items():
        i = IDS.index(name)
        inside, outside = grey[i][masks[i]].mean(), grey[i][~masks[i]].mean()
        assert (inside > outside) == brighter, name


def test_pixels_in_one_drawing_alone_are_ignored(data):
    entry = data.entries[IDS.index("camera")]
    first, second = (album.mask(each, entry.size) for each in (entry.first, entry.second))
    marked = np.asarray(data.grey(f"any\0{entry.id}"))
    objects, ignored = data.masks(marked)
    assert (objects == (first & second)).all() and (ignored == (first ^ second)).all() and ignored.sum() > 1000
    pixels, twice = PixelAveragePrecision(), PixelAveragePrecision()
    pixels.update(np.where(ignored, 1.0, objects * 0.9), objects, ignored)
    twice.update(np.where(ignored, 1.0, objects * 0.9), objects)
    assert pixels.value() == 100 and twice.value() < 100


# ---- how masks are made


def test_a_polygon_contains_its_corners_and_what_lies_between():
    square = album.mask([[(1, 1), (3, 1), (3, 3), (1, 3)]], (5, 5))
    assert square[1:4, 1:4].all() and square.sum() == 9
    assert album.mask([[(0, 0), (1, 0), (0, 1)], [(4, 4), (4, 3), (3, 4)]], (5, 5)).sum() == 6
    assert album.iou(square, np.zeros((5, 5), bool)) == 0 and album.iou(square & False, square & False) == 0
    assert album.iou(square, album.mask([[(2, 1), (4, 1), (4, 3), (2, 3)]], (5, 5))) == 6 / 12


def test_masks_are_those_of_another_rasterization_up_to_their_outlines(data):
    for entry in data.entries:
        for drawing in (entry.first, entry.second):
            ours, theirs = album.mask(drawing, entry.size), by_hand(drawing, entry.size)
            assert not (theirs & ~ours).any(), entry.id
            length = sum(np.hypot(*np.subtract(a, b)) for each in drawing for a, b in zip(each, each[1:], strict=False))
            assert (ours & ~theirs).sum() < 1.5 * length, entry.id


# ---- the file and the tables beside it


def test_boxes_are_the_tight_ones_around_what_both_drawings_contain(data):
    for entry in data.entries:
        both = album.mask(entry.first, entry.size) & album.mask(entry.second, entry.size)
        rows, columns = np.nonzero(both)
        assert entry.boxes.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], entry.id


def test_the_readme_names_each_photograph_with_its_iou(data):
    text = (SOURCE.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \((\d+)\) \| (.*) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    agreement, shares = data.agreement, []
    for entry in data.entries:
        both = album.mask(entry.first, entry.size) & album.mask(entry.second, entry.size)
        shares.append(100 * both.mean())
    expected = [
        (entry.id, entry.name, str(entry.label), entry.object, f"{share:.1f}", f"{iou:.3f}")
        for entry, share, iou in zip(data.entries, shares, agreement, strict=True)
    ]
    assert rows == expected
    assert f"| mean | | | {np.mean(shares):.1f} | {agreement.mean():.3f} |" in text
    assert agreement.min() > 0.8 and agreement.argmin() == IDS.index("camera")


def test_every_photograph_has_its_licence_and_credit_in_notice(data):
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for entry in data.entries:
        words = {"CC0": "CC0", "CC BY 2.0": "CC BY 2.0", "public domain": "public domain"}[entry.licence]
        names = (entry.file, Path(entry.file).stem)
        lines = [line for line in notice.splitlines() if line.split(" ")[0] in names]
        assert lines and words in lines[0], entry.id
        assert any(word in lines[0] for word in re.findall(r"[A-Z]\w+|danielbuechele", entry.credit)), entry.id


def test_the_file_contains_no_photograph_and_nothing_else_lies_beside_it():
    assert sorted(path.name for path in SOURCE.parent.iterdir()) == ["README.md", "album.json"]
    assert SOURCE.stat().st_size < 20_000


def test_the_python_of_the_page_measures_a_network_on_it():
    code, _ = blocks(ROOT / "docs" / "data.md", "python")
    row = ast.literal_eval(printed(code))
    assert row["top1_error"] < 100 and 0 < row["max_box_acc"] <= 100 and row["max_box_acc"] % 12.5 == 0


# ---- what is refused


def test_there_is_nothing_to_train_on():
    refused = '^"album" has no images to train on: train on another data set, or look at this one'
    with pytest.raises(ValueError, match=refused):
        datasets.load("album", "train", 224)
    with pytest.raises(ValueError, match=refused):
        datasets.Album("train", 224)
    with pytest.raises(ValueError, match='"album" has no images to train on'):
        parameters.Parameters(dataset="album")
    assert parameters.Parameters(dataset="scenes").dataset == "scenes"
    with pytest.raises(ValueError, match='^unknown split "val": use "test"$'):
        datasets.load("album", "val", 224)
    with pytest.raises(ValueError, match='"album:mine" names a folder, and album is not read from a folder'):
        datasets.load("album:mine", "test", 224)


def test_the_same_pixels_in_another_file_are_accepted_and_others_refused(tmp_path, monkeypatch):
    (entry,) = [each for each in album.read_entries(SOURCE, CLASSES) if each.id == "chelsea"]
    own = tmp_path / "chelsea.png"
    pixels = np.array(Image.open(examples.installed_file("scikit-image", "chelsea.png")).convert("RGB"))
    Image.fromarray(pixels).save(own, compress_level=1)
    monkeypatch.setattr(album, "installed_file", lambda *_: own)
    assert hashlib.sha256(own.read_bytes()).hexdigest() != entry.sha256 and album.checked_photograph(entry) == own
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(own)
    with pytest.raises(ValueError, match="chelsea.png is not the photograph of album .it shows other pixels"):
        album.checked_photograph(entry)


def test_a_fingerprint_depends_on_the_drawings_and_not_on_the_folder(data, tmp_path, monkeypatch):
    assert datasets.load("album", "test", 224).fingerprint == data.fingerprint
    assert datasets.load("album", "test", 64).fingerprint != data.fingerprint
    (tmp_path / "album").mkdir()
    (tmp_path / "imagenet_classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    monkeypatch.setattr(files, "DATA", tmp_path)
    rows = json.loads(SOURCE.read_text(encoding="utf-8"))
    for corner, same in (("173,105", True), ("174,105", False)):
        rows[5]["first"][0] = re.sub(r"^\d+,\d+", corner, rows[5]["first"][0])
        (tmp_path / "album" / "album.json").write_text(json.dumps(rows), encoding="utf-8")
        assert (datasets.load("album", "test", 224).fingerprint == data.fingerprint) == same


def test_some_of_the_images_are_asked_for_by_length():
    some = datasets.load("album", "test", 64, length=3, seed=1)
    assert len(some) == 3 and set(some.names) < set(IDS) and len(some.agreement) == 3
    assert some.protocol.endswith("the 3 of 8 images that seed 1 chose")
