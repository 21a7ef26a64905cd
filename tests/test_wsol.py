"""`wsol:FOLDER`: metadata in the form of wsolevaluation, and the boxes and pixels that its code counts with."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_photographs import GRID_BOX, HEIGHT, SIZE, WIDTH, block, encoded, grey, one, red, scene, write

from cambook import datasets, files, networks
from cambook.course.parameters import Parameters
from cambook.datasets.wsol_lists import grid_boxes, grid_mask, read_lists
from cambook.metrics import BoxAccuracy, PixelAveragePrecision, evaluate
from cambook.metrics.grid import boxes_on_grid, count_boxes

BOX = (20, 10, 59, 29)  # of the red rectangle: its first and its last pixel, in an image of 80 x 40
ON_GRID = [56, 56, 166, 163]  # int(20 * 224 / 80), int(10 * 224 / 40), int(59 * 224 / 80) + 1, int(29 * 224 / 40) + 1


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")


def lists(root: Path, split: str, **content: list[str]) -> Path:
    """Metadata of one split: each list by its name, as lines."""
    for name, lines in content.items():
        write(root / split / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    return root


def wsol(root: Path, metadata="metadata", pictures="") -> Path:
    """Two classes, two images of each to train, validate and test on; each has a box."""
    for split in ("train", "val", "test"):
        ids = [f"{bird}/{split}_{n}.jpg" for bird in ("001.Wren", "002.Tit") for n in (1, 2)]
        for number, identity in enumerate(ids):
            write(root / pictures / identity, encoded(scene()) + f"{split} {number}".encode())
        lists(
            root / metadata,
            split,
            image_ids=ids,
            class_labels=[f"{identity},{label}" for identity, label in zip(ids, (0, 0, 1, 1), strict=True)],
            image_sizes=[f"{identity},{WIDTH},{HEIGHT}" for identity in ids],
            localization=[",".join(map(str, (identity, *BOX))) for identity in ids],
        )
    lists(root / metadata, "train", image_ids_proxy=["001.Wren/train_1.jpg"])
    return root


def masked(root: Path, ignore=True) -> Path:
    """Two images with two masks each, and a region that counts neither way."""
    ids = [f"{split}/{name}/1.jpg" for split, name in (("test", "cat"), ("test", "dog"))]
    rows = []
    for identity in ids:
        stem = identity.removesuffix(".jpg")
        write(root / identity, encoded(scene()) + identity.encode())
        write(root / f"{stem}_a.png", grey(block(255, 0, (20, 10, 40, 30))))
        write(root / f"{stem}_b.png", grey(block(255, 0, (40, 10, 60, 30))))
        write(root / f"{stem}_ignore.png", grey(block(255, 0, (40, 0, 80, 40))))
        rows += [f"{identity},{stem}_a.png,{stem + '_ignore.png' if ignore else ''}", f"{identity},{stem}_b.png,"]
    return lists(root, "test", image_ids=ids, class_labels=[f"{ids[0]},0", f"{ids[1]},1"], localization=rows)


# ---- what is read


def test_images_labels_and_boxes_of_every_split(tmp_path):
    root = wsol(tmp_path)
    for split in ("train", "val", "test"):
        data = datasets.load(f"wsol:{root}", split, SIZE)
        assert data.names == sorted(f"{bird}/{split}_{n}.jpg" for bird in ("001.Wren", "002.Tit") for n in (1, 2))
        assert data.classes == ["Wren", "Tit"] and data.labels.tolist() == [0, 0, 1, 1]
        batch = data.batch(range(4))
        assert batch.masks is None
        for image, boxes in zip(batch.images, batch.boxes, strict=True):
            np.testing.assert_allclose(boxes, [np.array(ON_GRID) * SIZE / 224], rtol=1e-5)
            np.testing.assert_allclose(red(image), GRID_BOX, atol=1)


def test_other_names_of_splits(tmp_path):
    root = wsol(tmp_path)
    val, same = (datasets.load(f"wsol:{root}", split, SIZE) for split in ("val", "train-fullsup"))
    assert same.names == val.names and same.fingerprint == val.fingerprint
    assert datasets.load(f"wsol:{root}", "train-proxy", SIZE).names == ["001.Wren/train_1.jpg"]
    (root / "metadata/val").rename(root / "metadata/train-fullsup")
    (root / "metadata/train").rename(root / "metadata/train-weaksup")
    assert datasets.load(f"wsol:{root}", "val", SIZE).names == val.names
    assert len(datasets.load(f"wsol:{root}", "train-weaksup", SIZE)) == len(
        datasets.load(f"wsol:{root}", "train", SIZE)
    )


@pytest.mark.parametrize("pictures", ["", "images", "CUB_200_2011/images", "dataset"])
def test_images_are_found_below_the_folder(tmp_path, pictures):
    assert len(datasets.load(f"wsol:{wsol(tmp_path, pictures=pictures)}", "test", SIZE)) == 4


def test_metadata_as_a_clone_of_their_code_has_them(tmp_path):
    wsol(tmp_path, "metadata/CUB", "dataset/CUB")
    for name in (f"wsol:{tmp_path}", f"wsol:{tmp_path}/metadata/CUB", f"wsol:{tmp_path}/metadata"):
        if not name.endswith("metadata"):
            assert len(datasets.load(name, "test", SIZE)) == 4
    wsol(tmp_path, "metadata/ILSVRC", "dataset/ILSVRC")
    with pytest.raises(ValueError, match="describes several sets .CUB, ILSVRC.: give one of them"):
        datasets.load(f"wsol:{tmp_path}", "test", SIZE)


def test_images_in_a_folder_of_their_own(tmp_path):
    root = wsol(tmp_path / "a, b", pictures="../elsewhere, images")
    with pytest.raises(
        FileNotFoundError, match="give the folder that the ids start from, as wsol:FOLDER,images=FOLDER"
    ):
        datasets.load(f"wsol:{root}", "test", SIZE)
    data = datasets.load(f"wsol:{root},images={tmp_path / 'elsewhere, images'}", "test", SIZE)
    assert len(data) == 4 and data.report == [data.report[0]]
    given = Parameters(dataset=data.name)
    assert given.dataset == data.name and given.portable()["dataset"] == "wsol:a, b"


def test_a_training_split_needs_no_boxes(tmp_path):
    root = wsol(tmp_path)
    for name in ("localization", "image_sizes"):
        (root / f"metadata/train/{name}.txt").unlink()
    train = datasets.load(f"wsol:{root}", "train", SIZE)
    assert len(train) == 4 and [boxes.shape for boxes in train.batch(range(4)).boxes] == [(0, 4)] * 4


def test_report_and_summary_name_the_rule(tmp_path):
    data = datasets.load(f"wsol:{wsol(tmp_path)}", "test", SIZE)
    assert data.report == [
        "no blacklist is applied, every listed image counts; a true box on the grid of 224 pixels is wsolevaluation's, "
        "each of its four numbers times 224 / size, the fraction cut off"
    ]
    assert data.summary.startswith("test: 4 images used, 0 repaired, 0 left out, no blacklist, boxes and masks as in")
    masks = datasets.load(f"wsol:{masked(tmp_path / 'masks')}", "test", SIZE)
    assert "a true box is the tight one around them" in masks.report[0]


def test_classes_are_the_same_in_every_split_and_imagenets_if_the_ids_are(tmp_path):
    root = wsol(tmp_path)
    lists(root / "metadata", "val", class_labels=[f"003.Owl/{n}.jpg,7" for n in (1, 2)])
    train = datasets.load(f"wsol:{root}", "train", SIZE)
    assert train.classes == ["Wren", "Tit", *(f"class {n}" for n in range(2, 7)), "Owl"] and not train.imagenet_classes
    ids = [f"val/ILSVRC2012_val_{n:08d}.JPEG" for n in (1, 2)]
    for identity in ids:
        write(tmp_path / "imagenet" / identity, encoded(scene()) + identity.encode())
    boxes = [f"{identity},0,0,9,9" for identity in ids]
    sizes = [f"{identity},10,10" for identity in ids]
    labels = [f"{ids[0]},999", f"{ids[1]},3"]
    lists(tmp_path / "imagenet", "test", image_ids=ids, class_labels=labels, localization=boxes, image_sizes=sizes)
    test = datasets.load(f"wsol:{tmp_path / 'imagenet'}", "test", SIZE)
    assert test.imagenet_classes and len(test.classes) == 1000 and test.labels.tolist() == [999, 3]
    lists(tmp_path / "imagenet", "test", class_labels=[f"{ids[0]},1", f"{ids[1]},0"])
    assert datasets.load(f"wsol:{tmp_path / 'imagenet'}", "test", SIZE).classes == ["class 0", "class 1"]


# ---- boxes, scaled as their code does


def theirs(box, size):
    """An inclusive box on the grid of 224 pixels, as their resize_bbox computes it."""
    return [int(float(edge) * 224.0 / float(of)) for edge, of in zip(box, 2 * size, strict=True)]


def counted(data, size):
    """The true boxes that the metric counts with, inclusive."""
    boxes = data.batch(range(len(data))).boxes
    return [BoxAccuracy(224)._ground_truth(each).tolist() for each in boxes_on_grid(boxes, size)]


@pytest.mark.parametrize("size", [32, 64, 224, 299])
def test_boxes_are_theirs_at_any_size_of_the_images(tmp_path, size):
    rng, boxes, sizes = np.random.default_rng(0), [], []
    for _ in range(40):
        of = tuple(rng.integers(20, 900, 2).tolist())
        (x0, x1), (y0, y1) = (sorted(rng.integers(0, side, 2).tolist()) for side in of)
        boxes.append([(x0, y0, x1, y1), (0, 0, of[0] - 1, of[1] - 1), (x0, y0, of[0], of[1])])
        sizes.append(of)
    ids = [f"{n:02d}.jpg" for n in range(len(boxes))]
    for identity in ids:
        write(tmp_path / identity, encoded(scene()) + identity.encode())
    lists(
        tmp_path,
        "test",
        image_ids=ids,
        class_labels=[f"{identity},{n % 2}" for n, identity in enumerate(ids)],
        image_sizes=[f"{i},{w},{h}" for i, (w, h) in zip(ids, sizes, strict=True)],
        localization=[f"{i},{','.join(map(str, b))}" for i, each in zip(ids, boxes, strict=True) for b in each],
    )
    data = datasets.load(f"wsol:{tmp_path}", "test", size)
    assert counted(data, size) == [[theirs(b, of) for b in each] for each, of in zip(boxes, sizes, strict=True)]


@pytest.mark.parametrize(
    ("orientation", "tag", "kept"), [(3, (80, 40), False), (6, (80, 40), False), (6, (40, 80), True)]
)
def test_boxes_turn_with_an_image_that_exif_turns(tmp_path, orientation, tag, kept):
    root = wsol(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = (
        scene((20, 10, 60, 30)) if not kept else scene((10, 20, 30, 60), (40, 80)).transpose(Image.Transpose.ROTATE_90)
    )
    identity = "001.Wren/test_1.jpg"
    write(root / identity, encoded(stored, exif=exif))
    box = "10,20,29,59" if kept else ",".join(map(str, BOX))
    for name, row in {"localization": box, "image_sizes": f"{tag[0]},{tag[1]}"}.items():
        file = root / f"metadata/test/{name}.txt"
        rows = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith(identity)]
        lists(root / "metadata", "test", **{name: [*rows, f"{identity},{row}"]})
    data = datasets.load(f"wsol:{root}", "test", SIZE)
    found = one(data, identity)
    np.testing.assert_allclose(found.boxes[0][0], red(found.images[0]), atol=1)
    assert f"EXIF orientation {orientation}" in data.report[-1] and ("kept" in data.report[-1]) == kept


# ---- masks


def test_masks_are_joined_and_ignored_pixels_drop_out(tmp_path):
    data = datasets.load(f"wsol:{masked(tmp_path)}", "test", SIZE)
    batch = data.batch([0, 1])
    assert data.has_masks and data.classes == ["cat", "dog"]
    for mask, ignore, boxes in zip(batch.masks.numpy(), batch.ignore.numpy(), batch.boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == GRID_BOX
        assert mask[10:30, 10:30].all() and not (mask & ignore).any() and ignore.sum() == 20 * 40 - 10 * 20
        np.testing.assert_allclose(boxes, [GRID_BOX], atol=1e-4)
    whole = datasets.load(f"wsol:{masked(tmp_path / 'other', ignore=False)}", "test", SIZE).batch([0])
    assert whole.ignore is None or not whole.ignore.any()


def test_a_mask_that_changes_is_noticed_by_the_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setattr("cambook.datasets.photographs._WORTH_REMEMBERING", 1)
    root = masked(tmp_path)
    before = datasets.load(f"wsol:{root}", "test", SIZE)
    again = datasets.load(f"wsol:{root}", "test", SIZE)
    assert before.fingerprint == again.fingerprint and len(list((tmp_path / "cache").rglob("*.json"))) == 1
    write(root / "test/cat/1_b.png", grey(block(255, 0, (40, 10, 70, 30))))
    after = datasets.load(f"wsol:{root}", "test", SIZE)
    assert after.fingerprint != before.fingerprint and after.batch([0]).boxes[0][0][2] > 30
    at_32 = datasets.load(f"wsol:{root}", "test", 32).batch([1]).boxes[0]  # remembered, whatever the size was then
    np.testing.assert_allclose(at_32, np.array([GRID_BOX]) * 32 / SIZE, atol=1e-3)


def test_masks_lie_in_a_folder_of_their_own(tmp_path):
    root = masked(tmp_path / "a")
    for file in sorted(root.rglob("*.png")):
        write(tmp_path / "m" / file.relative_to(root), file.read_bytes())
        file.unlink()
    with pytest.raises(ValueError, match="no image of the test list can be used"):
        datasets.load(f"wsol:{root}", "test", SIZE)
    data = datasets.load(f"wsol:{root},masks={tmp_path / 'm'},images={root}", "test", SIZE)
    assert data.batch([0]).masks.any()


def test_a_set_with_masks_is_evaluated(tmp_path):
    data = datasets.load(f"wsol:{masked(tmp_path)}", "test", 64)
    found = evaluate(networks.build("mini-gap", 2), data)
    assert {"pxap", "max_box_acc", "gt_known", "pointing"} <= set(found.row) and len(found.inside) == 2


# ---- lists alone, without any image


def test_lists_are_read_where_no_image_is(tmp_path):
    root = wsol(tmp_path)
    for image in root.rglob("*.jpg"):
        image.unlink()
    found = read_lists(root, "test")
    assert found.ids == [f"{bird}/test_{n}.jpg" for bird in ("001.Wren", "002.Tit") for n in (1, 2)]
    assert list(found.labels.values()) == [0, 0, 1, 1] and found.root == root / "metadata/test"
    assert found.boxes == dict.fromkeys(found.ids, [BOX]) and found.sizes == dict.fromkeys(found.ids, (WIDTH, HEIGHT))
    assert (found.masks, found.has_masks, found.left_out) == ({}, False, {})
    for same in (root / "metadata", root / "metadata/test"):
        assert read_lists(same, "test") == found
    lists(root / "metadata", "test", image_ids=found.ids[::-1])
    assert read_lists(str(root), "test").ids == found.ids[::-1]


def test_splits_of_lists_have_their_other_names(tmp_path):
    root = wsol(tmp_path)
    val, train = (read_lists(root, split) for split in ("val", "train"))
    assert read_lists(root, "train-fullsup") == val and read_lists(root, "train-weaksup") == train
    assert read_lists(root / "metadata/val", "train-fullsup") == val
    proxy = read_lists(root / "metadata/train", "train-proxy")
    assert proxy.ids == ["001.Wren/train_1.jpg"] == list(proxy.labels)
    (root / "metadata/val").rename(root / "mine")
    assert read_lists(root / "mine", "test").ids == val.ids
    for name in ("localization", "image_sizes"):
        (root / f"metadata/train/{name}.txt").unlink()
    bare = read_lists(root, "train")
    assert bare.ids == train.ids and not bare.boxes and not bare.sizes
    with pytest.raises(FileNotFoundError, match="has no folder val with image_ids.txt: the splits there are train, te"):
        read_lists(root, "val")


def test_paths_of_masks_are_read_without_them(tmp_path):
    root = masked(tmp_path)
    for file in (*root.rglob("*.png"), *root.rglob("*.jpg")):
        file.unlink()
    found = read_lists(root, "test")
    assert found.has_masks and not found.boxes and not found.sizes
    paths = ("test/cat/1_a.png", "test/cat/1_b.png")
    assert found.masks["test/cat/1.jpg"] == (paths, "test/cat/1_ignore.png")
    bare = read_lists(masked(tmp_path / "bare", ignore=False), "test")
    assert bare.masks["test/cat/1.jpg"] == (paths, "")


def test_a_mask_that_vanishes_on_the_grid_marks_nothing_as_there(tmp_path):
    pixel = np.zeros((1000, 1000), np.uint8)
    pixel[501, 777] = 255  # no cell begins there
    write(tmp_path / "a.png", grey(pixel))
    mask, ignored = grid_mask(["a.png"], "", tmp_path)
    assert mask.shape == (224, 224) and mask.dtype == bool and not mask.any() and not ignored.any()
    write(tmp_path / "b.png", grey(pixel[500:502, 776:778]))
    both, ignored = grid_mask(["a.png", "b.png"], "b.png", tmp_path, 56)
    assert both.sum() == 28 * 28 and both[28:, 28:].all() and not ignored.any()


@pytest.mark.parametrize("size", [(80, 40), (500, 375), (33, 999)])
def test_boxes_on_the_grid_come_out_as_their_integers(size):
    rng = np.random.default_rng(1)
    corners = np.sort(rng.integers(0, np.array(size) + 1, (200, 2, 2)), axis=1).reshape(-1, 4)
    found = grid_boxes(corners.tolist(), size)
    assert found.dtype == np.float64 and BoxAccuracy(224)._ground_truth(found).tolist() == [
        theirs(box, size) for box in corners.tolist()
    ]
    assert grid_boxes([], size).shape == (0, 4)


# ---- real photographs, and what wsolevaluation's own code answers


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("CAMBOOK_TEST_DATA")
    if not root or not Path(root, "ilsvrc/metadata").is_dir():
        pytest.skip("CAMBOOK_TEST_DATA is not set, or has no ilsvrc/metadata: the real photographs are not here")
    return Path(root)


@pytest.mark.parametrize(
    ("name", "split", "images", "classes", "boxes"),
    [("ilsvrc", "test", 994, 1000, 1472), ("cub", "train", 332, 200, 332), ("cub", "test", 309, 200, 309)],
)
def test_every_real_photograph_is_read(real, name, split, images, classes, boxes):
    data = datasets.load(f"wsol:{real / name}", split, 224)
    assert (len(data), len(data.classes), data.left_out, data.repaired) == (images, classes, 0, data.repaired)
    assert data._starts[-1] == boxes and data.imagenet_classes == (name == "ilsvrc")
    rows = (real / name / "metadata" / split / "localization.txt").read_text(encoding="utf-8").splitlines()
    sizes = (real / name / "metadata" / split / "image_sizes.txt").read_text(encoding="utf-8").splitlines()
    size_of = {row.split(",")[0]: tuple(map(int, row.split(",")[1:])) for row in sizes}
    expected = {}
    for row in rows:
        identity, *box = row.split(",")
        expected.setdefault(identity, []).append(theirs(map(int, box), size_of[identity]))
    turned = {line.partition(":")[0] for line in data.report if "EXIF" in line}
    assert not turned
    for start in range(0, len(data), 100):
        part = range(start, min(start + 100, len(data)))
        found = [BoxAccuracy(224)._ground_truth(data.boxes(i, 224, 224).astype(np.float32)).tolist() for i in part]
        assert found == [expected[data.names[i]] for i in part]


@pytest.fixture(scope="module")
def golden(real):
    folder = real.parent / "reference" / "wsol_golden"
    if not (folder / "expected.json").is_file():
        pytest.skip("the answers of wsolevaluation's own code are not here")
    return folder


@pytest.mark.parametrize(
    ("name", "split", "images", "boxes"), [("ilsvrc", "test", 994, 1472), ("cub", "train", 332, 332)]
)
def test_real_lists_alone_say_the_same_as_the_set_with_its_photographs(real, name, split, images, boxes):
    found = read_lists(real / name, split)
    assert (len(found.ids), sum(map(len, found.boxes.values())), found.left_out) == (images, boxes, {})
    data = datasets.load(f"wsol:{real / name}", split, 224, length=40)
    for i, identity in enumerate(data.names):
        on_grid = grid_boxes(found.boxes[identity], found.sizes[identity])
        assert on_grid.tolist() == data.boxes(i, 224, 224).tolist() and found.labels[identity] == data.labels[i]
    if name == "ilsvrc":
        files_there = {f"val/{file.name}" for file in (real / "ilsvrc/val").iterdir()}
        assert set(found.ids) <= files_there


@pytest.mark.parametrize("name", ["cub", "ilsvrc"])
def test_boxes_are_right_as_often_as_in_their_code(golden, real, name):
    expected = json.loads((golden / "expected.json").read_text(encoding="utf-8"))[name]
    data = datasets.load(f"wsol:{real / name}", "test", 224)
    maps = np.load(golden / f"{name}_maps.npz")
    ids = expected["ids"]
    chosen = [data.names.index(identity) for identity in ids]
    boxes = boxes_on_grid([data.boxes(i, 224, 224).astype(np.float32) for i in chosen], 224)
    grid_maps = np.stack([maps[identity.replace("/", "__")] / 65535.0 for identity in ids])
    for asked in expected["results"]:
        accuracy = BoxAccuracy(224, round(1 / asked["interval"]))
        count_boxes(grid_maps, boxes, accuracy)
        contours = "all" if asked["all_contours"] else "largest"
        curves = [accuracy.curve(iou, contours) * len(ids) / 100 for iou in (0.3, 0.5, 0.7)]
        assert [round(curve.max()) for curve in curves] == asked["correct_at_best"]
        step = len(curves[1]) // 10
        assert np.rint(curves[1][::step]).astype(int).tolist() == asked["curve_50_every_100th"]


def test_pixels_are_those_of_their_code(golden, tmp_path):
    expected = json.loads((golden / "expected.json").read_text(encoding="utf-8"))["openimages"]
    ids, rows = list(expected["masks"]), []
    for identity, each in expected["masks"].items():
        write(tmp_path / identity, encoded(scene()) + identity.encode())
        rows += [f"{identity},{path},{'' if n else each['ignore']}" for n, path in enumerate(each["masks"])]
    labels = [f"{identity},{int('0by6g' in identity)}" for identity in ids]
    lists(tmp_path, "test", image_ids=ids, class_labels=labels, localization=rows)
    read = read_lists(tmp_path, "test")
    alone = {identity: grid_mask(*read.masks[identity], golden / "masks") for identity in read.ids}
    data = datasets.load(f"wsol:{tmp_path},masks={golden / 'masks'}", "test", 224)
    batch = data.batch(range(len(data)))
    known = dict(zip(data.names, zip(batch.masks.numpy(), batch.ignore.numpy(), strict=True), strict=True))
    (empty,) = set(ids) - set(known)
    assert data.report[1].endswith(
        "left out: its masks mark no object (wsolevaluation counts all its pixels as background)"
    )
    known[empty] = np.zeros((2, 224, 224), bool)
    assert list(alone) == ids and not alone[empty][0].any()
    for identity in set(ids) - {empty}:
        assert (np.array(alone[identity]) == np.array(known[identity])).all()
    maps = np.load(golden / "openimages_maps.npz")
    for asked in expected["results"]:
        pixels = PixelAveragePrecision(round(1 / asked["interval"]))
        for identity, (mask, ignore) in known.items():
            pixels.update(maps[identity.replace("/", "__")] / 65535.0, mask, ignore)
        assert sum(mask.sum() for mask, _ in known.values()) == asked["object_pixels"]
        assert sum((~(mask | ignore)).sum() for mask, ignore in known.values()) == asked["background_pixels"]
        assert pixels.value() == pytest.approx(asked["pxap"], abs=1e-9)
        assert sum(mask.sum() for mask, _ in alone.values()) == asked["object_pixels"]
        assert sum((~(mask | ignore)).sum() for mask, ignore in alone.values()) == asked["background_pixels"]
