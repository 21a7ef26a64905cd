"""COCO's JSON: boxes and labels by hand, the folders that annotation tools export, files larger than a memory."""

import json
import re
import shutil
import tracemalloc
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from test_datasets import encoded, picture

from cambook import datasets, files
from cambook.datasets import json_lists

SIZE = 40
CATEGORIES = [{"id": 0, "name": "animals"}, {"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
HAND = [10, 5, 20, 10]  # x, y, width and height in an image of 80 x 40 pixels
ON_GRID = [5, 5, 15, 15]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")


def export(file: Path, images: Path, names, boxes=None, written=str, categories=CATEGORIES) -> Path:
    """A JSON file, and its images in another folder or the same; the even ones are dogs. `written` is a file_name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    content = {"info": {"year": 2026}, "licenses": [], "images": [], "annotations": [], "categories": categories}
    for number, name in enumerate(names):
        (images / name).write_bytes(encoded(picture((11, 6, 30, 15))) + f"{images}{name}".encode())
        content["images"].append({"id": 50 + number, "file_name": written(name), "width": 80, "height": 40})
        for category, box in (boxes or {}).get(name, [((7, 3)[number % 2], HAND)]):
            one = {"id": len(content["annotations"]), "image_id": 50 + number, "category_id": category, "bbox": box}
            content["annotations"].append(one | {"area": 1.0, "iscrowd": 0, "segmentation": [[0, 0, 1, 0, 1, 1]]})
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def both(file, **options):
    return [datasets.load(f"coco:{file}", split, SIZE, **options) for split in ("train", "test")]


def numbered(*numbers):
    return [f"{number}.png" for number in numbers]


# ---- boxes and labels


def test_boxes_become_half_open_on_the_squashed_grid_and_show_the_object(tmp_path):
    train, _ = both(export(tmp_path / "result.json", tmp_path, numbered(*range(8))))
    batch = train.batch([0])
    np.testing.assert_allclose(batch.boxes[0], [ON_GRID], atol=1e-5)
    rows, columns = np.nonzero((batch.images[0, 0] > 0.5).numpy())
    assert np.abs([columns.min() - 5, rows.min() - 5, columns.max() - 14, rows.max() - 14]).max() <= 1
    assert train.report == [] and train.classes == ["cat", "dog"]
    assert batch.masks is None


def test_the_label_is_the_category_with_the_largest_total_area_and_its_boxes_alone_are_kept(tmp_path):
    two_cats = [(7, [0, 0, 30, 30]), (3, [40, 0, 20, 25]), (3, [60, 0, 20, 25])]
    file = export(tmp_path / "a.json", tmp_path, numbered(*range(8)), {"0.png": two_cats})
    found = both(file)
    data = next(each for each in found if "0.png" in each.names)
    index = data.names.index("0.png")
    assert data.classes[data.labels[index]] == "cat"
    np.testing.assert_allclose(data.boxes(index, 80, 40), [[40, 0, 60, 25], [60, 0, 80, 25]])
    assert [re.sub(r"of \d", "of n", line) for line in data.report] == [
        "1 of n images show several classes: labelled by the one with the largest total box area"
    ]


def test_crowds_count_neither_for_the_label_nor_for_the_boxes_and_are_counted(tmp_path):
    file = export(tmp_path / "a.json", tmp_path, numbered(*range(8)))
    content = json.loads(file.read_text(encoding="utf-8"))
    crowd = {"image_id": 50, "category_id": 3, "bbox": [0, 0, 80, 40], "iscrowd": 1}
    file.write_text(json.dumps(content | {"annotations": [*content["annotations"], crowd]}), encoding="utf-8")
    found = both(file)
    data = next(each for each in found if "0.png" in each.names)
    assert data.classes[data.labels[data.names.index("0.png")]] == "dog"
    assert data.report == [f"{tmp_path.name}/a.json: 1 box left out, marked iscrowd (first: image_id 50)"]


def test_a_category_without_an_image_is_no_class(tmp_path):
    """Roboflow writes the name of the project as category 0."""
    assert both(export(tmp_path / "a.json", tmp_path, numbered(*range(8))))[1].classes == ["cat", "dog"]


def test_the_fingerprint_follows_boxes_and_labels_but_not_the_folder(tmp_path):
    def of(name, **options):
        folder = tmp_path / name
        file = export(folder / "a.json", folder, numbered(*range(8)), **options)
        for each in folder.glob("*.png"):
            each.write_bytes(encoded(picture()) + each.name.encode())
        return datasets.load(f"coco:{file}", "train", SIZE).fingerprint

    one = of("here")
    assert one == of("there")
    assert one != of("moved", boxes={f"{n}.png": [((7, 3)[n % 2], [9, 5, 20, 10])] for n in range(8)})
    assert one != of("renamed", categories=[{"id": 7, "name": "wolf"}, {"id": 3, "name": "cat"}])


# ---- splits and folders, as annotation tools export them


def test_a_file_alone_is_split_as_class_folders_are(tmp_path):
    train, test = both(export(tmp_path / "a.json", tmp_path, numbered(*range(16))))
    for number in range(16):
        inner = tmp_path / "folders" / ("dog", "cat")[number % 2]
        inner.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{number}.png").rename(inner / f"{number}.png")
    for data in (train, test):
        same = datasets.load(f"folder:{tmp_path / 'folders'}", data.split, SIZE, boxes=False)
        assert sorted(Path(name).name for name in same.names) == data.names
    assert (len(train), len(test)) == (12, 4) and not set(train.names) & set(test.names)


def roboflow(root):
    for number, part in enumerate(("train", "valid", "test")):
        names = [f"{part}-{each}.png" for each in range(4 + 2 * number)]
        export(root / part / "_annotations.coco.json", root / part, names)
    return root / "train/_annotations.coco.json"


def test_roboflows_folders(tmp_path):
    train, test = both(roboflow(tmp_path))
    assert (len(train), len(test)) == (4, 8) and test.names[0] == "test-0.png"
    assert train.report == test.report == []
    train, valid = both(tmp_path / "valid/_annotations.coco.json")
    assert (len(train), len(valid)) == (4, 6) and valid.names[0] == "valid-0.png"


def test_coco_2017s_folders(tmp_path):
    for year, number in ((2014, 4), (2017, 6)):
        for part in ("train", "val"):
            names = [f"{part}{year}-{each}.png" for each in range(number)]
            export(tmp_path / f"annotations/instances_{part}{year}.json", tmp_path / f"{part}{year}", names)
            export(tmp_path / f"annotations/person_keypoints_{part}{year}.json", tmp_path / f"{part}{year}", names[:2])
    for part in ("train", "val"):
        train, test = both(tmp_path / f"annotations/instances_{part}2017.json")
        assert train.names == [f"train2017-{each}.png" for each in range(6)]
        assert test.names == [f"val2017-{each}.png" for each in range(6)]


@pytest.mark.parametrize("inner", ("images", "images/default"))
def test_cvats_folders(tmp_path, inner):
    train, test = both(export(tmp_path / "annotations/instances_default.json", tmp_path / inner, numbered(*range(8))))
    assert (len(train), len(test), train.report, test.report) == (6, 2, [], [])


def test_label_studios_folders(tmp_path):
    for name, slash in (("linux", "/"), ("windows", "\\")):
        root = tmp_path / name
        file = export(root / "result.json", root / "images", numbered(*range(8)), None, f"images{slash}{{}}".format)
        train, test = both(file)
        assert (len(train), len(test), train.report, test.report) == (6, 2, [], [])
        assert train.names[0].startswith("images/")


def test_a_file_called_after_a_split_without_the_other_says_that_it_is_split_here(tmp_path):
    train, test = both(export(tmp_path / "instances_val2017.json", tmp_path / "val2017", numbered(*range(8))))
    (line,) = train.report
    assert line.endswith("no file of the train split is beside it, so a quarter of each class is the test split")
    assert (len(train), len(test)) == (6, 2)


def test_an_image_in_both_files_is_reported(tmp_path):
    export(tmp_path / "train.json", tmp_path / "images", numbered(*range(4)))
    train, test = both(export(tmp_path / "val.json", tmp_path / "images", numbered(3, 4, 5, 6)))
    for data in (train, test):
        assert "3.png: kept, though it is in the train file and in the test file" in data.report


# ---- large files


def test_entries_are_the_same_however_the_text_is_cut_into_pieces(tmp_path, monkeypatch):
    content = {"version": 12, "images": [{"é": [1, -2.5e-3]}, 17, "ü€𝄞", None, [[]]], "x": [3], "annotations": []}
    for dumped in (json.dumps(content), json.dumps(content, ensure_ascii=False, indent=3)):
        file = tmp_path / "a.json"
        file.write_text(dumped, encoding="utf-8")
        for chunk in (1, 2, 3, 7, 1000):
            monkeypatch.setattr(json_lists, "_CHUNK", chunk)
            found = list(json_lists.entries_of(file, ("images", "annotations")))
            assert found == [("images", each) for each in content["images"]]


def test_a_long_file_takes_no_more_memory_than_its_entries(tmp_path):
    """10 MB, nearly all of them polygons."""
    polygon = list(range(2100))
    entry = json.dumps({"image_id": 1, "segmentation": [polygon]})
    file = tmp_path / "a.json"
    file.write_text(f'{{"annotations": [{",".join([entry] * 1000)}]}}', encoding="utf-8")
    assert file.stat().st_size > 10_000_000
    tracemalloc.start()
    assert sum(len(entry) for _, entry in json_lists.entries_of(file, ("annotations",))) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


# ---- real photographs


def test_wildlife_as_coco_has_the_boxes_that_it_has_as_voc(tmp_path, wildlife):
    """Its XML files as COCO's JSON, one file for each list: the same images, labels and boxes."""
    shutil.copytree(wildlife / "JPEGImages", tmp_path / "images")
    for part in ("train", "val"):
        content = {"images": [], "annotations": [], "categories": []}
        for number, name in enumerate((wildlife / f"ImageSets/Main/{part}.txt").read_text(encoding="utf-8").split()):
            tree = ElementTree.parse(wildlife / f"Annotations/{name}.xml").getroot()
            file = next((wildlife / "JPEGImages").glob(f"{name}.*")).name
            sides = {side: int(tree.findtext(f"size/{side}")) for side in ("width", "height")}
            content["images"].append({"id": number, "file_name": file} | sides)
            for item in tree.findall("object"):
                x0, y0, x1, y1 = (float(item.findtext(f"bndbox/{s}")) for s in ("xmin", "ymin", "xmax", "ymax"))
                category = {"id": item.findtext("name"), "name": item.findtext("name")}
                content["categories"] += [] if category in content["categories"] else [category]
                box = [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1]
                content["annotations"].append({"image_id": number, "category_id": category["id"], "bbox": box})
        (tmp_path / f"{part}.json").write_text(json.dumps(content), encoding="utf-8")
    for split, part, number in (("train", "train", 143), ("test", "val", 118)):
        data = datasets.load(f"coco:{tmp_path / part}.json", split, 224)
        same = datasets.load(f"voc:{wildlife}", split, 224)
        assert len(data) == number and data.classes == ["kangaroo", "raccoon"]
        assert [Path(name).stem for name in data.names] == same.names and (data.labels == same.labels).all()
        for i in range(number):
            np.testing.assert_allclose(data.boxes(i, 224, 224), same.boxes(i, 224, 224), atol=1e-9)
