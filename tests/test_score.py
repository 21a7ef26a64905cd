"""`cambook score`: maps on disk against wsolevaluation's own answers, and against answers known by hand."""

import csv
import json
import os
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_wsol import lists
from typer.testing import CliRunner

from cambook import datasets, files
from cambook.cli import commands
from cambook.localize import map_files, scoring
from cambook.localize.counting import CENTRE, MAPS, WHOLE, controls, count, paper_box
from cambook.localize.inputs import image_ids
from cambook.localize.map_files import MapFiles, check_complete, find_maps, read_map
from cambook.localize.predictions import read_predictions
from cambook.localize.records import write_record
from cambook.localize.score_report import as_text, write
from cambook.localize.scoring import max_box_acc, score, threshold_of
from cambook.localize.truths import Truth, Truths, from_dataset, from_metadata
from cambook.maps import box_from_map
from cambook.metrics import IOUS, BoxAccuracy, bootstrap_interval, paired_interval
from cambook.metrics.box_accuracy import SameMap
from cambook.metrics.intervals import share_interval

SIDE = 224
BOX = (56, 56, 168, 168)  # a quarter of the grid, half-open


def square(x0, y0, x1, y1, inside=1.0, outside=0.0):
    map2d = np.full((SIDE, SIDE), outside, np.float32)
    map2d[y0:y1, x0:x1] = inside
    return map2d


def save(folder: Path, **maps) -> Path:
    for name, map2d in maps.items():
        path = folder / f"{name}.jpg.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, map2d)
    return folder


def of(boxes: dict, split="test", labels=None, **known) -> Truths:
    """Truths of images `name.jpg` by name: one half-open box on the grid each."""
    where = {f"{name}.jpg": Truth(np.array([box], float)) for name, box in boxes.items()}
    labels = labels or dict.fromkeys(boxes, 0)
    named = {f"{name}.jpg": label for name, label in labels.items()}
    return Truths("mine", split, named, where.__getitem__, **known)


def described(root: Path, boxes: dict, split="test", size=SIDE) -> Path:
    """The same as lists in wsolevaluation's form: the last pixel included."""
    ids = {name: f"{name}.jpg" for name in boxes}
    return lists(
        root,
        split,
        image_ids=list(ids.values()),
        class_labels=[f"{identity},{number % 2}" for number, identity in enumerate(ids.values())],
        image_sizes=[f"{identity},{size},{size}" for identity in ids.values()],
        localization=[f"{ids[n]},{x0},{y0},{x1 - 1},{y1 - 1}" for n, (x0, y0, x1, y1) in boxes.items()],
    )


def call(*arguments):
    result = CliRunner().invoke(commands.app, ["score", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# ---- wsolevaluation's own answers


@pytest.fixture(scope="module")
def golden():
    """Their code's answers, and the folder with the maps that they are about."""
    root = os.environ.get("CAMBOOK_TEST_DATA")
    if not root:
        pytest.skip("CAMBOOK_TEST_DATA is not set: the real boxes are not here")
    folder = Path(root).absolute().parent / "reference" / "wsol_golden"
    assert folder.is_dir(), f"CAMBOOK_TEST_DATA is set, but {folder} does not exist"
    return json.loads((folder / "expected.json").read_text(encoding="utf-8")), folder, Path(root)


def unpacked(archive: Path, folder: Path) -> Path:
    """Maps of 16 bits, a/b.jpg as a__b.jpg in one archive, as .npy files of float64."""
    with np.load(archive) as maps:
        for name in maps.files:
            path = folder / (name.replace("__", "/") + ".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, maps[name] / 65535.0)
    return folder


@pytest.mark.parametrize("name", ["cub", "ilsvrc"])
def test_boxes_are_those_of_wsolevaluation(golden, tmp_path, name):
    expected, folder, data = golden
    maps = unpacked(folder / f"{name}_maps.npz", tmp_path)
    truths = from_metadata(data / name / "metadata", "test")
    assert len(expected[name]["results"]) == 4
    by_interval = {each: score(maps, truths, interval=each, partial_set=True) for each in (0.001, 0.01)}
    for theirs in expected[name]["results"]:
        found = by_interval[theirs["interval"]]
        assert found.counts.ids == expected[name]["ids"]
        contours = "all" if theirs["all_contours"] else "largest"
        metrics = [f"MaxBoxAccV2, IoU {iou}" if theirs["all_contours"] else max_box_acc(iou) for iou in IOUS]
        assert [found.value(metric) for metric in metrics] == pytest.approx(theirs["max_box_acc_30_50_70"], abs=1e-12)
        boxes = found.counts.boxes[MAPS]
        curves = [np.rint(boxes.curve(iou, contours) * len(boxes) / 100).astype(int) for iou in IOUS]
        assert [curve.max() for curve in curves] == theirs["correct_at_best"]
        every = slice(None, None, round(0.1 / theirs["interval"]))
        assert curves[1][every].tolist() == theirs["curve_50_every_100th"]
        if theirs["all_contours"]:
            mean = np.mean(theirs["max_box_acc_30_50_70"])
            assert found.value("MaxBoxAccV2") == pytest.approx(mean, abs=1e-12)


def test_pixels_are_those_of_wsolevaluation(golden, tmp_path):
    expected, folder, _ = golden
    masks = expected["openimages"]["masks"]
    rows = [f"{identity},{path},{m['ignore']}" for identity, m in masks.items() for path in m["masks"]]
    lists(
        tmp_path, "test", image_ids=list(masks), class_labels=[f"{identity},0" for identity in masks], localization=rows
    )
    maps = unpacked(folder / "openimages_maps.npz", tmp_path / "maps")
    truths = from_metadata(tmp_path, "test", folder / "masks")
    assert [theirs["interval"] for theirs in expected["openimages"]["results"]] == [0.001, 0.01]
    for theirs in expected["openimages"]["results"]:
        found = score(maps, truths, interval=theirs["interval"])
        assert found.value("PxAP") == pytest.approx(theirs["pxap"], abs=1e-9)
        outside, inside = found.counts.pixels[MAPS]._count.sum(axis=1)
        assert (inside, outside) == (theirs["object_pixels"], theirs["background_pixels"])
        assert found.value("PxAP", WHOLE) == pytest.approx(100 * inside / (inside + outside))
        assert "masks" in found.protocol and not found.counts.boxes
        assert any("masks mark nothing count" in note for note in found.notes) == (found.counts.unmarked > 0)


# ---- answers known by hand


def test_a_map_that_is_the_box_is_right_everywhere(tmp_path):
    found = score(save(tmp_path, a=square(*BOX)), of({"a": BOX}))
    for metric in (*map(max_box_acc, IOUS), "MaxBoxAccV2"):
        assert found.value(metric) == 100 and found.row(metric).low == 100
    assert found.value(threshold_of(max_box_acc(0.7))) == 0 and found.value(scoring.PAPER_BOX) == 100


def test_the_whole_image_is_right_on_large_objects(tmp_path):
    sides = {"a": 224, "b": 190, "c": 170, "d": 150, "e": 100}  # shares 1, .72, .58, .45, .20
    boxes = {name: (0, 0, side, side) for name, side in sides.items()}
    maps = save(tmp_path, **{name: np.ones((SIDE, SIDE), np.float32) for name in boxes})
    found = score(maps, of(boxes))
    for name in (MAPS, WHOLE):
        assert [found.value(max_box_acc(iou), name) for iou in IOUS] == [80, 60, 40]
        assert found.value("MaxBoxAccV2", name) == 60
    assert [found.value("BoxAcc, IoU 0.5, at 0", size, "size") for size in ("10 to 25%", "50 to 75%")] == [0, 100]
    assert found.row("BoxAcc, IoU 0.5, at 0", "50 to 75%", "size").images == 2


def test_a_map_upside_down_finds_the_rest_of_the_image(tmp_path):
    maps = save(tmp_path, a=1 - square(*BOX))  # a frame: its box is the whole image
    found = score(maps, of({"a": BOX}))
    assert [found.value(max_box_acc(iou)) for iou in IOUS] == [0, 0, 0] and found.value(scoring.PAPER_BOX) == 0
    assert found.value("MaxBoxAccV2") == 100  # the hole has a contour, too
    found = score(maps, of({"a": (0, 0, SIDE, SIDE)}))
    assert found.value(max_box_acc(0.7)) == 100


def test_the_centre_control_is_right_in_the_centre(tmp_path):
    maps = save(tmp_path, a=square(0, 0, 20, 20), b=square(*BOX))
    found = score(maps, of({"a": BOX, "b": BOX}))
    assert found.value(max_box_acc(0.5), CENTRE) == 100 and found.value(max_box_acc(0.5)) == 50
    lead = found.row(max_box_acc(0.5), scoring.LEAD)
    assert lead.value == -50 and lead.low <= -50 <= lead.high == 0


def test_the_threshold_is_one_for_the_whole_set(tmp_path):
    low, high = square(*BOX, outside=0.0), square(*BOX, inside=1.0, outside=0.5)
    high[0, 0] = 0
    found = score(save(tmp_path, a=low, b=high), of({"a": BOX, "b": BOX}))
    assert found.value(max_box_acc(0.7)) == 100
    assert found.value(threshold_of(max_box_acc(0.7))) == pytest.approx(0.499)  # int(0.499 * 255) = 127


def test_the_box_by_rule_paper_is_that_of_the_lessons():
    draw = np.random.default_rng(0)
    for number in range(200):
        map2d = cv2.resize(draw.random((4 + number % 9,) * 2, np.float32), (30, 20)) ** (1 + number % 4)
        map2d = np.round(map2d - map2d.min(), 1 + number % 3).astype(np.float32)
        expected = box_from_map(map2d, "paper", 0.2)
        assert np.array_equal(paper_box(map2d), np.zeros(4) if expected is None else expected)
    assert paper_box(np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]], np.float32)).tolist() == [2, 0, 3, 2]
    assert paper_box(np.zeros((3, 3), np.float32)).tolist() == [0, 0, 0, 0]


def test_an_object_smaller_than_a_pixel_of_the_grid_and_several_boxes(tmp_path):
    root = lists(
        tmp_path / "lists",
        "test",
        image_ids=["a.jpg"],
        class_labels=["a.jpg,0"],
        image_sizes=["a.jpg,4480,4480"],
        localization=["a.jpg,0,0,3,3", "a.jpg,2240,2240,4479,4479"],
    )
    truths = from_metadata(root)
    assert truths.where("a.jpg").boxes.tolist() == [[0, 0, 1, 1], [112, 112, 224, 224]]
    assert truths.where("a.jpg").share == 25
    assert score(save(tmp_path, a=square(112, 112, 224, 224)), truths).value("MaxBoxAccV2") == 100


def test_pixels_and_boxes_of_a_data_set(tmp_path):
    data = datasets.load("scenes", "test", SIDE, length=4)
    ids = image_ids(data)
    for identity, mask in zip(ids, data.batch(range(4)).masks, strict=True):
        np.save(tmp_path / f"{identity}.npy", mask.numpy())
    found = score(tmp_path, from_dataset(data, ids))
    assert found.value("PxAP") == 100 and found.value(max_box_acc(0.3)) == 100 and found.protocol
    masks = data.batch(range(4)).masks
    assert found.value("PxAP", WHOLE) == pytest.approx(100 * float(masks.float().mean()))
    assert sum(row.images for row in found.rows if row.part == "size" and row.metric == "PxAP") == 4
    with pytest.raises(ValueError, match="loaded at 64 pixels: load it at 224"):
        from_dataset(datasets.load("scenes", "test", 64, length=4), ids)


# ---- guessed classes


def test_loc_needs_the_class_and_the_box(tmp_path):
    boxes = dict.fromkeys("abcd", BOX)
    maps = save(tmp_path, a=square(*BOX), b=square(*BOX), c=square(0, 0, 9, 9), d=square(*BOX, outside=0.3))
    rows = ["image_id,top1,top2,top3,top4,top5", "a.jpg,7,1,2,3,4", "b.jpg,1,2,3,4,7", "c.jpg,7,1,2,3,4"]
    text = "\n".join([*rows, "d.jpg,7,1,2,3,4", "other.jpg,1,2,3,4,5", ""])
    (tmp_path / "guesses.csv").write_text(text, encoding="utf-8")
    truths = of(boxes, labels=dict.fromkeys("abcd", 7))
    found = score(maps, truths, predictions=tmp_path / "guesses.csv")
    loc = {row.metric: row.value for row in found.rows if row.part == "loc" and row.name == MAPS}
    assert loc == {
        "top-1 class": 75,
        "top-1 Loc, rule paper, 20%": 25,  # a: d's map is above 20% everywhere
        "top-1 Loc, MaxBoxAcc's threshold": 50,  # a and d
        "top-5 class": 100,
        "top-5 Loc, rule paper, 20%": 50,
        "top-5 Loc, MaxBoxAcc's threshold": 75,
    }
    assert found.value("top-1 Loc, MaxBoxAcc's threshold", CENTRE, "loc") == 75


def test_predictions_beside_the_maps_are_taken_if_they_fit(tmp_path):
    maps, truths = save(tmp_path, a=square(*BOX)), of({"a": BOX})
    (tmp_path / "predictions.csv").write_text("image_id,top1\na.jpg,0\n", encoding="utf-8")
    found = score(maps, truths)
    assert found.value("top-1 class", part="loc") == 100 and "guessed classes are those in" in found.notes[0]
    (tmp_path / "predictions.csv").write_text("image_id,top1\nb.jpg,0\n", encoding="utf-8")
    found = score(maps, truths)
    assert not any(row.part == "loc" for row in found.rows) and "Loc is not counted" in found.notes[0]


def test_guesses_come_in_the_order_of_the_images(tmp_path):
    (tmp_path / "p.csv").write_text("\ufeffimage_id,top1,top2\r\na,1,0\r\n\r\nb,0,1\r\n", encoding="utf-8")
    assert read_predictions(tmp_path / "p.csv", ["b", "a"]).tolist() == [[0, 1], [1, 0]]


# ---- a threshold from another split


def test_a_threshold_is_chosen_on_one_split_and_reported_on_another(tmp_path):
    faint = square(*BOX, inside=1.0, outside=0.5)  # right above 0.5
    faint[0, 0] = 0
    core = square(*BOX, inside=0.2)  # right below 0.2
    core[100:110, 100:110] = 1
    maps = save(tmp_path, val=faint, test=core)
    found = score(maps, of({"test": BOX}), tune_on=of({"val": BOX}, "val"))
    assert found.value(max_box_acc(0.7)) == 100
    assert found.value(max_box_acc(0.7), "best here", "tuned") == 100
    assert found.value(max_box_acc(0.7), "val", "tuned") == 0
    assert found.value(threshold_of(max_box_acc(0.7)), "val", "tuned") == pytest.approx(0.499)
    assert found.value("MaxBoxAccV2", "val", "tuned") == 0
    assert "threshold chosen on val" in as_text(found) and "optimism" in as_text(found)
    assert found.counts.ids == ["test.jpg"] and not found.notes
    with pytest.raises(ValueError, match="share 1 images, such as test.jpg: choose the threshold on other images"):
        score(maps, of({"test": BOX}), tune_on=of({"test": BOX}, "val"))


# ---- which file is whose


def test_names_of_maps(tmp_path):
    for name in ("x/0.jpeg.npy", "x/1.npy", "b.JPG.npy", "c.v2.npy", "notes.txt", "d.npy.bak"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_maps(tmp_path, ["x/0.jpeg", "x/1.jpeg", "b.jpg", "c.v2.jpg", "d.jpg"])
    assert found.files == {
        "x/0.jpeg": "x/0.jpeg.npy",
        "x/1.jpeg": "x/1.npy",
        "b.jpg": "b.JPG.npy",
        "c.v2.jpg": "c.v2.npy",
    }
    assert found.missing == ["d.jpg"] and found.extra == []


def test_ids_that_differ_in_their_ending_alone(tmp_path):
    for name in ("a.jpg.npy", "a.png.npy"):
        (tmp_path / name).touch()
    assert find_maps(tmp_path, ["a.png", "a.jpg"]).files == {"a.jpg": "a.jpg.npy", "a.png": "a.png.npy"}
    (tmp_path / "a.png.npy").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="a.npy could be the map of a.png or of a.jpg: name it after one of them"):
        find_maps(tmp_path, ["a.png", "a.jpg"])


def test_letters_that_a_mac_writes_decomposed(tmp_path):
    (tmp_path / "Zu\u0308rich.jpg.npy").touch()
    assert list(find_maps(tmp_path, ["Z\u00fcrich.jpg"]).files) == ["Z\u00fcrich.jpg"]


def test_missing_maps_are_listed_and_refused_unless_a_part_is_asked_for(tmp_path):
    save(tmp_path, a=square(*BOX), owl=square(*BOX))
    truths = of(dict.fromkeys("abcdefg", BOX))
    with pytest.raises(FileNotFoundError, match=r"no files b.jpg.npy, c.jpg.npy, d.jpg.npy and 3 more: maps of 6 of"):
        score(tmp_path, truths)
    found = score(tmp_path, truths, partial_set=True)
    assert found.notes[0] == "1 of the 7 images of the test split of mine have a map; only these count"
    assert found.notes[1] == ".npy files that belong to no image here: 1, such as owl.jpg.npy"
    assert len(found.counts.ids) == 1 and "note: 1 of the 7 images" in as_text(found)


def test_where_missing_maps_may_be(tmp_path):
    save(tmp_path / "scoremaps", a=square(*BOX))
    with pytest.raises(FileNotFoundError, match=r"scoremaps has such names; give the folder"):
        check_complete(find_maps(tmp_path, ["a.jpg"]), "mine")
    with pytest.raises(FileNotFoundError, match=r"a.jpg.npy is there without the folder val/; give the folder"):
        check_complete(find_maps(tmp_path / "scoremaps", ["val/a.jpg"]), "mine")


def test_links_to_files_count_and_linked_folders_are_not_entered(tmp_path):
    save(tmp_path / "elsewhere" / "x", a=square(*BOX))
    (tmp_path / "maps").mkdir()
    try:
        (tmp_path / "maps" / "b.npy").symlink_to(tmp_path / "elsewhere" / "x" / "a.jpg.npy")
        (tmp_path / "maps" / "x").symlink_to(tmp_path / "elsewhere" / "x", target_is_directory=True)
        (tmp_path / "maps" / "round").symlink_to(tmp_path / "maps", target_is_directory=True)
    except OSError:
        pytest.skip("links are not allowed here")
    found = find_maps(tmp_path / "maps", ["x/a.jpg", "b"])
    assert found.files == {"b": "b.npy"} and sorted(found.linked) == ["round", "x"]
    with pytest.raises(FileNotFoundError, match="is a link to a folder, in which maps are not looked for"):
        check_complete(found, "mine")


def test_a_hundred_thousand_maps_are_found_by_name_without_opening_one(tmp_path, monkeypatch):
    ids = [f"val/{number // 50:04}/{number:06}.jpg" for number in range(100_000)]
    monkeypatch.setattr(map_files, "_listed", lambda folder, linked: (f"{identity}.npy" for identity in ids))
    monkeypatch.setattr(Path, "open", None)
    tracemalloc.start()
    found = find_maps(tmp_path, ids)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.files) == 100_000 and not found.missing and not found.extra
    assert peak < 150e6  # names alone


# ---- one map


@pytest.mark.parametrize("how, theirs", [("bilinear", 1), ("bicubic", 2), ("nearest", 0)])
@pytest.mark.parametrize("shape", [(7, 7), (14, 28), (300, 500)])
def test_maps_are_resized_as_by_opencv(tmp_path, how, theirs, shape):
    assert [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC] == [0, 1, 2]
    map2d = np.random.default_rng(0).random(shape, np.float32)
    np.save(tmp_path / "a.npy", map2d)
    expected = cv2.resize(map2d, (SIDE, SIDE), interpolation=theirs)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(read_map(tmp_path / "a.npy", how, "min-max"), expected, atol=1e-4)


def test_maps_are_normalized_as_asked(tmp_path):
    map2d = np.full((SIDE, SIDE), -1.0)
    map2d[0, :3] = 0, 1, 3
    np.save(tmp_path / "a.npy", map2d)
    assert read_map(tmp_path / "a.npy", None, "min-max")[0, :4].tolist() == [0.25, 0.5, 1, 0]
    assert read_map(tmp_path / "a.npy", None, "max")[0, :4].tolist() == [0, 1 / 3, 1, 0]
    for level in (-2.0, 0.0, 5.0):
        np.save(tmp_path / "a.npy", np.full((SIDE, SIDE), level))
        assert read_map(tmp_path / "a.npy", None, "min-max").max() == 0


@pytest.mark.parametrize("kind", [">f4", "<f2", "f8", "bool", "u1"])
def test_other_types_of_numbers(tmp_path, kind):
    np.save(tmp_path / "a.npy", np.asfortranarray(square(*BOX).T).astype(kind))
    found = read_map(tmp_path / "a.npy")
    assert found.dtype == (np.float64 if kind == "f8" else np.float32) and np.array_equal(found, square(*BOX))


def test_rounding_beyond_0_and_1_is_cut(tmp_path):
    np.save(tmp_path / "a.npy", square(*BOX, inside=1 + 1e-7, outside=-1e-7))
    found = read_map(tmp_path / "a.npy")
    assert found.min() == 0 and found.max() == 1


# ---- many maps


def linked(folder: Path, number: int) -> list[str]:
    """So many maps that are one file on the disk."""
    np.save(folder / "one.npy", square(*BOX))
    names = [f"{n:04}" for n in range(number)]
    for name in names:
        os.link(folder / "one.npy", folder / f"{name}.npy")
    return names


def test_memory_does_not_grow_with_the_number_of_maps(tmp_path):
    names = linked(tmp_path, 150)
    truth = Truth(np.array([BOX], float), square(*BOX).astype(bool))
    peaks = []
    for number in (30, 30, 150):  # the first compiles and imports
        truths = Truths("mine", "test", dict.fromkeys(names[:number], 0), lambda identity: truth, has_masks=True)
        tracemalloc.start()
        found = count(find_maps(tmp_path, names[:number]), truths, read_map, thresholds=10)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found.boxes[MAPS]) == number and found.boxes[MAPS].max_box_acc(0.7)[0] == 100
    assert peaks[2] - peaks[1] < 6e6  # 120 maps are 24 MB


def test_headers_are_parsed_by_one_thread_at_a_time(tmp_path, monkeypatch):
    """CPython 3.11's parser fails now and then in several threads at once, with a SystemError."""
    names = [f"{n}" for n in range(1, 33)]
    for name in names:  # headers that differ, so that none is remembered
        np.save(tmp_path / f"{name}.npy", np.zeros((3001 + int(name), 2), np.uint8))
    reading, read = [], np.lib.format.read_array_header_1_0

    def slowly(text):
        reading.append("in")
        time.sleep(0.003)
        reading.append("out")
        return read(text)

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", slowly)
    map_files.check_headers(find_maps(tmp_path, names), "bilinear")
    assert reading == ["in", "out"] * 32


def test_an_error_in_the_middle_names_its_file(tmp_path):
    save(tmp_path, a=square(*BOX), b=square(*BOX, inside=2), c=square(*BOX))
    with pytest.raises(
        ValueError, match=r"b.jpg.npy goes from 0 to 2, and maps run from 0 to 1: name with --normalize"
    ):
        score(tmp_path, of(dict.fromkeys("abc", BOX)))


def drawn_accuracy(number: int) -> tuple[BoxAccuracy, BoxAccuracy]:
    """Boxes of so many maps, drawn from a few; and of the centre."""
    draw = np.random.default_rng(0)
    accuracy, beside, centre = BoxAccuracy(), BoxAccuracy(), SameMap(controls()[CENTRE])
    judged = []
    for _ in range(40):
        x0, y0, width, height = draw.integers(20, 100, 4)
        truth = [[x0, y0, x0 + width, y0 + height]]
        x0, y0 = np.maximum(0, [x0, y0] + draw.integers(-15, 15, 2))
        map2d = square(x0, y0, x0 + width, y0 + height, outside=draw.random() / 2)
        map2d[0, 0] = 0
        judged.append((accuracy.judge(map2d, truth), accuracy.judge(centre, truth)))
    for which in draw.integers(40, size=number):
        accuracy.add(*judged[which][0])
        beside.add(*judged[which][1])
    return accuracy, beside


def test_groups_of_many_images_give_the_interval_of_all_images():
    accuracy, beside = drawn_accuracy(5300)
    groups, sizes = accuracy.grouped_hits(0.7)
    assert groups.shape == (1000, 1000) and sizes.tolist() == [6] * 300 + [5] * 700
    np.testing.assert_array_equal(groups.sum(axis=0) / 5300, accuracy.curve(0.7))
    by_groups = bootstrap_interval(groups, 0, sizes=sizes)
    assert by_groups == pytest.approx(bootstrap_interval(accuracy.hits(0.7), 0), abs=0.3)
    theirs, _ = beside.grouped_hits(0.7)
    pairs = paired_interval(groups, theirs, 0, sizes=sizes)
    assert pairs == pytest.approx(paired_interval(accuracy.hits(0.7), beside.hits(0.7), 0), abs=0.3)
    with pytest.raises(ValueError, match=r"sizes has shape \(2,\), per_picture 1000 rows"):
        bootstrap_interval(groups, 0, sizes=[1, 2])


def test_few_images_are_drawn_singly_and_each_is_known_at_each_threshold():
    accuracy, beside = drawn_accuracy(60)
    hits, sizes = accuracy.grouped_hits(0.5, "all")
    assert sizes is None and np.array_equal(hits, accuracy.hits(0.5, "all")) and 0 < hits.mean() < 1
    for number in (0, 1, 300, 999):
        assert np.array_equal(accuracy.right_at(accuracy.thresholds[number], 0.5, "all"), hits[:, number])
    with pytest.raises(ValueError, match="threshold=0.00015 was not counted"):
        accuracy.right_at(0.00015)
    own = BoxAccuracy()
    for _ in range(3):
        own.update(controls()[CENTRE], [BOX])
        beside.add(*beside.judge(SameMap(controls()[CENTRE]), [BOX]))
    assert np.array_equal(beside.hits(0.7)[-3:], own.hits(0.7)) and own.hits(0.7).any()


def test_the_interval_of_a_share_is_wilsons():
    assert share_interval(15, 50) == pytest.approx(
        (19.10, 43.75), abs=0.01
    )  # Newcombe 1998, table I: 15/50 is 0.191, 0.438
    assert share_interval(0, 20) == pytest.approx((0, 16.11), abs=0.01)
    with pytest.raises(ValueError, match="3 of 2 at level=0.95"):
        share_interval(3, 2)


# ---- the command


def test_the_command_prints_tables_and_writes_three_files(tmp_path):
    boxes = {"birds/a": BOX, "birds/b": (0, 0, 60, 60), "fish/c": BOX}
    root = described(tmp_path / "lists", boxes)
    maps = save(tmp_path / "maps", **{name: square(*BOX) for name in boxes})
    text = "image_id,top1\nbirds/a.jpg,0\nbirds/b.jpg,1\nfish/c.jpg,1\n"
    (maps / "predictions.csv").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    result = call(maps, "--metadata", root, "--out", out)
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert (
        "3 images, the test split of" in shown and "int(v * 224 / size); all listed images count, no blacklist" in shown
    )
    assert "boxes by rule wsol at 1000 thresholds" in shown and "MaxBoxAcc, IoU 0.5 66.7 [" in shown
    assert "top-1 Loc, MaxBoxAcc's threshold 33.3 [" in shown and "95% intervals" in shown
    assert max(map(len, result.stdout.splitlines())) < 200
    rows = list(csv.DictReader((out / "score.csv").read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == ["part", "name", "metric", "value", "low", "high", "images"]
    (best,) = [r for r in rows if r["name"] == "maps" and r["metric"] == "MaxBoxAcc, IoU 0.5" and r["part"] == "all"]
    assert float(best["value"]) == pytest.approx(200 / 3) and best["images"] == "3"
    images = list(csv.DictReader((out / "per_image.csv").read_text(encoding="utf-8").splitlines()))
    assert [image["image_id"] for image in images] == [f"{name}.jpg" for name in boxes]
    assert [image["right_50"] for image in images] == ["1", "0", "1"]
    assert [image["top1"] for image in images] == ["1", "1", "0"]
    assert float(images[0]["object_share"]) == 25 and images[1]["size"] == "under 10%"
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    assert record["command"] == "score" and record["parameters"]["split"] == "test"
    assert record["results"]["all"]["maps"]["MaxBoxAcc, IoU 0.5"]["value"] == pytest.approx(200 / 3)
    assert record["results"]["protocol"] in shown


def test_the_command_scores_against_a_data_set_or_another_split(tmp_path, monkeypatch):
    boxes = {"a": BOX, "b": (0, 0, 60, 60)}
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    root = described(described(tmp_path / "lists", boxes), {"v": BOX}, "val")
    maps = save(tmp_path / "maps", **{name: square(*BOX) for name in ("a", "b", "v")})
    result = call(maps, "--metadata", root, "--tune-on", "val", "--interval", "0.01")
    assert (tmp_path / "runs" / "score" / "maps" / "score.csv").is_file()
    assert result.exit_code == 0 and "threshold chosen on val" in result.stdout and "100 thresholds" in result.stdout
    scenes = datasets.load("scenes", "test", SIDE, length=3)
    monkeypatch.setattr(datasets, "load", lambda name, split, size, boxes: scenes)
    for identity, mask in zip(image_ids(scenes), scenes.batch(range(3)).masks, strict=True):
        np.save(tmp_path / f"{identity}.npy", mask.numpy())
    result = call(tmp_path, "--dataset", "scenes", "--out", tmp_path / "o", "--normalize", "max")
    assert result.exit_code == 0 and "PxAP" in result.stdout and "normalized by max" in result.stdout


@pytest.mark.parametrize(
    "options, sentence",
    [
        ([], "give one of --metadata DIR and --dataset NAME"),
        (["--metadata", "x", "--dataset", "cub"], "give one of --metadata DIR and --dataset NAME"),
        (["--dataset", "cub", "--masks", "x"], "a data set knows its masks"),
        (["--metadata", "x", "--tune-on", "test"], "choose the threshold on another split"),
    ],
)
def test_options_that_contradict_one_another(tmp_path, options, sentence):
    result = call(tmp_path, *options, "--out", tmp_path / "out")
    assert result.exit_code == 2 and sentence in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_nothing_is_counted_if_the_result_cannot_be_written(tmp_path):
    (tmp_path / "out").touch()
    root = described(tmp_path / "lists", {"a": BOX})
    maps = save(tmp_path / "maps", a=square(*BOX))
    with pytest.raises(OSError, match="out cannot be written to"):
        call(maps, "--metadata", root, "--out", tmp_path / "out")


def test_help_names_the_traps_and_examples():
    shown = " ".join(call("--help").stdout.split())
    for trap in ("0.jpeg.npy", "original size", "evaluation.py", "blacklisted", "CUBV2_boxes.txt", "ACoL"):
        assert trap in shown
    assert "cambook score maps/cub --metadata metadata/CUB" in shown


def test_many_classes_are_shown_by_the_worst_and_the_best(tmp_path):
    names = [f"{n:02}" for n in range(14)]
    maps = save(tmp_path, **{n: square(*BOX) if int(n) > 2 else square(0, 0, 9, 9) for n in names})
    labels = {name: number for number, name in enumerate(names)}
    found = score(maps, of(dict.fromkeys(names, BOX), labels=labels))
    shown = as_text(found)
    assert "class: 5 worst, 5 best of 14" in shown and "class 0 " in shown and "class 6 " not in shown
    write(found, tmp_path / "out", {})
    rows = list(csv.DictReader((tmp_path / "out" / "score.csv").read_text(encoding="utf-8").splitlines()))
    assert sum(row["part"] == "class" and "centre" not in row["name"] for row in rows) == 14


def test_a_record_has_numbers_of_json_alone(tmp_path):
    results = {"a": np.float32(0.5), "b": float("nan"), "c": np.arange(2), 3: {"d": (Path("x") / "y", None)}}
    write_record(tmp_path / "deep" / "r.json", "score", {}, results, device="cuda:0")
    found = json.loads((tmp_path / "deep" / "r.json").read_text(encoding="utf-8"))
    assert found["results"] == {"a": 0.5, "b": None, "c": [0, 1], "3": {"d": ["x/y", None]}}
    assert found["device"] == "cuda:0" and found["cambook"] and found["torch"]


def test_classes_are_called_after_their_folders(tmp_path):
    truths = from_metadata(described(tmp_path, {"001.Sea_Wren/a": BOX, "002.Tit/b": BOX}))
    assert [truths.class_name(label) for label in (0, 1, 2)] == ["0 Sea Wren", "1 Tit", "class 2"]
    assert MapFiles(tmp_path, {"a": "b/a.npy"}).path("a") == tmp_path / "b/a.npy"
