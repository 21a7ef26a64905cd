"""The rule by which true boxes are scaled, and what each data set and result says about it and about its images."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_coco import export
from test_photographs import class_folders, cub, encoded, ilsvrc, pets, scene, tiny, validation, write, xml
from test_wsol import lists, masked, theirs, wsol
from typer.testing import CliRunner

from cambook import datasets, files, networks
from cambook.cli import commands
from cambook.course import runs
from cambook.datasets import photographs
from cambook.datasets.annotations import fit_boxes
from cambook.metrics import BoxAccuracy, evaluate
from cambook.metrics.grid import boxes_on_grid

EDGES, WSOL = "true boxes by their edges", "true boxes as wsolevaluation scales them, int(v * 224 / size)"
CACHE = files.CACHE  # what scenes are drawn from
PART = 24  # so many real photographs are enough


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.delenv("CAMBOOK_BOX_RULE", raising=False)


def counted(data, i=None):
    """The inclusive boxes that the metric counts with, of image i or of each one."""
    if i is not None:
        return counted_in([data.boxes(i, data.size, data.size).astype(np.float32)], data.size)[0]
    return counted_in(data.batch(range(len(data))).boxes, data.size)


def counted_in(boxes, size):
    return [BoxAccuracy(224)._ground_truth(each).tolist() for each in boxes_on_grid(boxes, size)]


def voc(root: Path, annotations: dict[str, str], sizes: dict[str, tuple[int, int]], exif=None) -> Path:
    for name, text in annotations.items():
        width, height = sizes[name]
        write(root / f"JPEGImages/{name}.jpg", encoded(scene(size=(width, height)), **({"exif": exif} if exif else {})))
        write(root / f"Annotations/{name}.xml", text)
    for split in ("train", "val"):
        write(root / f"ImageSets/Main/{split}.txt", "\n".join(annotations))
    return root


# ---- the rule


SETS = {  # what is made, and the numbers that their code would scale in images of 80 x 40 (Tiny ImageNet: 64 x 64)
    "ilsvrc": (ilsvrc, (20, 10, 59, 29)),
    "cub": (cub, (20, 10, 60, 30)),  # wsolevaluation's lists give x + width and y + height
    "pets": (pets, (18, 8, 61, 31)),  # around the border of two pixels, too
    "tiny-imagenet": (tiny, (10, 20, 29, 49)),
}


@pytest.mark.parametrize("size", [40, 224])
@pytest.mark.parametrize("kind", SETS)
def test_every_published_set_gives_the_integers_of_their_code(tmp_path, kind, size):
    made, numbers = SETS[kind]
    name = f"{kind}:{made(tmp_path)}"
    of = (64, 64) if kind == "tiny-imagenet" else (80, 40)
    data, edges = (datasets.load(name, "test", size, box_rule=rule) for rule in ("wsol", "edges"))
    assert counted(data) == [[theirs(numbers, of)]] * len(data)
    assert counted(edges) != counted(data) and data.fingerprint != edges.fingerprint
    assert data.protocol.startswith(f"{WSOL}; all images") and edges.protocol.startswith(f"{EDGES}; all images")
    assert "boxes scaled as in wsolevaluation" in data.summary and "wsol" not in edges.summary


@pytest.mark.parametrize("size", [32, 64, 224, 299])
def test_boxes_of_xml_are_theirs_at_any_size_of_the_images(tmp_path, size):
    rng, expected, annotations, sizes = np.random.default_rng(0), {}, {}, {}
    for n in range(20):
        of = tuple(rng.integers(20, 500, 2).tolist())
        (x0, x1), (y0, y1) = (sorted(rng.integers(1, side + 1, 2).tolist()) for side in of)
        boxes = [(x0, y0, x1, y1), (1, 1, *of)]
        name = f"{n:02d}"
        objects = "".join(xml("dog" if n % 2 else "cat", box, of).partition("</size>")[2][:-13] for box in boxes)
        annotations[name], sizes[name] = xml("x", size=of).partition("<object>")[0] + objects + "</annotation>", of
        expected[name] = [theirs([v - 1 for v in box], of) for box in boxes]  # VOC counts pixels from 1
    data = datasets.load(f"voc:{voc(tmp_path, annotations, sizes)}", "train", size, box_rule="wsol")
    assert dict(zip(data.names, counted(data), strict=True)) == expected


def test_boxes_count_in_pixels_of_the_size_tag_if_the_image_was_made_smaller(tmp_path):
    annotations = {name: xml(name, (41, 21, 118, 59), (160, 80)) for name in ("cat", "dog")}
    data = datasets.load(f"voc:{voc(tmp_path, annotations, dict.fromkeys(annotations, (80, 40)))}", "train", 224)
    same = datasets.load(data.name, "train", 224, box_rule="wsol")
    assert any("same shape, boxes rescaled" in line for line in same.report)
    assert counted(same) == [[theirs((40, 20, 117, 58), (160, 80))]] * 2 != counted(data)


def test_boxes_turn_on_the_grid_with_an_image_that_exif_turns(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right: (x, y) goes to (height - y, x)
    annotations = {name: xml(name, (21, 11, 60, 30)) for name in ("cat", "dog")}
    data = datasets.load(
        f"voc:{voc(tmp_path, annotations, dict.fromkeys(annotations, (80, 40)), exif)}", "train", 224, box_rule="wsol"
    )
    x0, y0, x1, y1 = theirs((20, 10, 59, 29), (80, 40))
    assert counted(data) == [[[223 - y1, x0, 223 - y0, x1]]] * 2


def test_fractions_and_boxes_narrower_than_a_pixel(tmp_path):
    boxes = {"1.jpg": [(7, [10.5, 5.25, 20.5, 10.25])], "2.jpg": [(3, [0.25, 3.5, 0.5, 0.5])]}
    names = [f"{n}.jpg" for n in range(9)]
    data = datasets.load(f"coco:{export(tmp_path / 'my.json', tmp_path, names, boxes)}", "train", 224, box_rule="wsol")
    wanted = {"1.jpg": theirs((10.5, 5.25, 30, 14.5), (80, 40)), "2.jpg": theirs((0.25, 3.5, 0.25, 3.5), (80, 40))}
    assert set(wanted) <= set(data.names)
    for name, box in wanted.items():
        assert counted(data, data.names.index(name)) == [box]


def test_a_box_up_to_the_border_and_one_beyond_it():
    boxes, notes, _ = fit_boxes(
        np.array([[0, 0, 80, 40], [60, 10, 90, 30.0]]), None, (80, 40), 1, tagged=False, beyond=1
    )
    assert boxes.tolist() == [[0, 0, 222, 219], [168, 56, 222, 163]]
    assert notes == ["1 of 2 boxes passed the border and were clipped"]


def test_drawn_scenes_follow_the_rule_too(monkeypatch):
    monkeypatch.setattr(files, "CACHE", CACHE)
    data, edges = (datasets.load("scenes", "test", 64, length=12, box_rule=rule) for rule in ("wsol", "edges"))
    drawn = np.concatenate(edges.batch(range(12)).boxes)
    assert counted(data) == [[theirs((x0, y0, x1 - 1, y1 - 1), (64, 64))] for x0, y0, x1, y1 in drawn.tolist()]
    assert data.protocol == f"{WSOL}; all images" and edges.protocol == f"{EDGES}; all images"
    assert edges.fingerprint == datasets.load("scenes", "test", 64, length=12).fingerprint != data.fingerprint


def test_training_images_without_a_box_stay_so(tmp_path):
    data = datasets.load(f"ilsvrc:{ilsvrc(tmp_path)}", "train", 64, box_rule="wsol")
    assert sorted(len(boxes) for boxes in data.batch(range(len(data))).boxes) == [0] * 4 + [1] * 4


# ---- who says which rule


def test_the_environment_says_the_rule_for_all_and_the_parameter_for_one(tmp_path, monkeypatch):
    name = f"pets:{pets(tmp_path)}"
    before = datasets.load(name, "test", 40)
    monkeypatch.setenv("CAMBOOK_BOX_RULE", "wsol")
    assert datasets.load(name, "test", 40).box_rule == "wsol"
    for rule in ("edges", None):
        assert datasets.load(name, "test", 40, box_rule=rule).box_rule == (rule or "wsol")
    again = datasets.load(name, "test", 40, box_rule="edges")
    assert (again.protocol, again.fingerprint) == (before.protocol, before.fingerprint)
    assert os.environ["CAMBOOK_BOX_RULE"] == "wsol"
    folders = f"folder:{class_folders(tmp_path / 'classes')}"
    bare = datasets.load(folders, "train", 40, boxes=False)
    monkeypatch.delenv("CAMBOOK_BOX_RULE")
    assert bare.fingerprint == datasets.load(folders, "train", 40, boxes=False).fingerprint
    assert bare.protocol == "no true boxes; all images"


def test_the_same_look_is_not_remembered_for_another_rule(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "_WORTH_REMEMBERING", 1)
    name = f"cub:{cub(tmp_path)}"
    rules = ("edges", "wsol", "edges", "wsol")
    first, second, third, fourth = (datasets.load(name, "test", 224, box_rule=rule) for rule in rules)
    assert counted(first) == counted(third) != counted(second) == counted(fourth)
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 2
    assert (first.fingerprint, second.fingerprint) == (third.fingerprint, fourth.fingerprint)


def test_a_rule_that_is_not_possible_is_refused_in_one_sentence(tmp_path, monkeypatch):
    ours, own = f"pets:{pets(tmp_path / 'pets')}", f"wsol:{wsol(tmp_path / 'wsol')}"
    with pytest.raises(ValueError, match="^box_rule='corners' is not possible with pets:.*: write edges or wsol$"):
        datasets.load(ours, "test", 40, box_rule="corners")
    with pytest.raises(ValueError, match="^box_rule='edges' is not possible with wsol:.*: write wsol$"):
        datasets.load(own, "test", 40, box_rule="edges")
    assert datasets.load(own, "test", 40, box_rule="wsol").box_rule == "wsol"
    monkeypatch.setenv("CAMBOOK_BOX_RULE", "edges")
    with pytest.raises(ValueError, match='BOX_RULE is "edges", and boxes of wsol are always scaled by "wsol": leave'):
        datasets.load(own, "test", 40)
    monkeypatch.setenv("CAMBOOK_BOX_RULE", "corners")
    for name in (ours, own, "scenes"):
        with pytest.raises(ValueError, match='^CAMBOOK_BOX_RULE is "corners": write edges or wsol, or leave it out$'):
            datasets.load(name, "test", 40)


# ---- which images count


def test_each_set_says_which_images_count(tmp_path):
    assert datasets.load(f"wsol:{wsol(tmp_path / 'a')}", "test", 40).protocol == (
        f"{WSOL}; all listed images count, no blacklist"
    )
    assert datasets.load(f"wsol:{masked(tmp_path / 'b')}", "test", 40).protocol == (
        "masks as wsolevaluation puts them on the grid, true boxes around them; all listed images count, no blacklist"
    )
    root = cub(tmp_path / "c")
    write(root / "CUB_200_2011/images/002.Bird_2/Bird_2_0004.jpg", b"")
    assert datasets.load(f"cub:{root}", "test", 40).protocol == f"{EDGES}; all images but 1 that cannot be used"
    some = datasets.load(f"pets:{pets(tmp_path / 'd')}", "test", 40, length=2, seed=7)
    assert some.protocol == f"{EDGES}; the 2 of 3 images that seed 7 chose"
    assert datasets.load(some.name, "test", 40, length=3).protocol == f"{EDGES}; all images"
    part = datasets.Subset(some, [1])
    assert (part.protocol, part.box_rule) == (some.protocol, "edges")


def test_ilsvrc_says_whether_a_blacklist_left_images_out(tmp_path):
    root = ilsvrc(tmp_path)
    test = datasets.load(f"ilsvrc:{root}", "test", 40)
    assert test.protocol == f"{EDGES}; all images, no blacklist is there, so that no image is left out by it"
    assert datasets.load(f"ilsvrc:{root}", "train", 40).protocol == f"{EDGES}; all images"
    write(root / "devkit/ILSVRC2015_clsloc_validation_blacklist.txt", "2\n4\n")
    assert datasets.load(f"ilsvrc:{root}", "test", 40).protocol == (
        f"{EDGES}; all images, the 2 blacklisted images are left out"
    )


@pytest.mark.parametrize("name", datasets.names())
def test_every_class_has_a_rule_of_its_own(name):
    cls = datasets.KNOWN[name]
    assert cls.box_rules[0] == ("wsol" if cls.kind == "wsol" else "edges")
    assert cls.drawn or "wsol" in cls.box_rules


# ---- results


def test_an_evaluation_names_the_protocol_and_counts_by_it(tmp_path):
    name = f"pets:{pets(tmp_path)}"
    found = {}
    for rule in ("edges", "wsol"):
        data = datasets.load(name, "test", 64, box_rule=rule)
        found[rule] = evaluate(networks.build("mini-gap", 3, seed=0), data)
        assert found[rule].protocol == data.protocol
    assert found["edges"].protocol != found["wsol"].protocol and "protocol='true boxes" in repr(found["wsol"])


def test_a_training_run_from_the_command_line_records_and_prints_the_protocol(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMBOOK_BOX_RULE", "wsol")
    arguments = ["train", "mini-gap", f"pets:{pets(tmp_path / 'my')}", "--epochs", "1"]
    output = CliRunner().invoke(commands.app, arguments).output
    assert f"counted with {WSOL}; all images\n" in output
    (file,) = (tmp_path / "runs").rglob("record.json")
    environment = json.loads(file.read_text(encoding="utf-8"))["environment"]
    assert environment["protocol"] == f"{WSOL}; all images" and environment["box_rule"] == "wsol"


def test_a_run_of_a_notebook_records_the_rule(tmp_path, monkeypatch):
    assert runs.start("one", tmp_path / "one")._record.environment["box_rule"] == "edges"
    assert runs._box_rule("wsol:data/CUB") == "wsol"
    monkeypatch.setenv("CAMBOOK_BOX_RULE", "wsol")
    assert runs.start("two", tmp_path / "two")._record.environment["box_rule"] == "wsol"


# ---- real photographs


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("CAMBOOK_TEST_DATA")
    if not root:
        pytest.skip("CAMBOOK_TEST_DATA is not set: the real photographs are not here")
    for name in ("cub", "ilsvrc", "pets", "tiny-imagenet", "wildlife"):
        assert Path(root, name).is_dir(), f"CAMBOOK_TEST_DATA is set, but {root}/{name} does not exist"
    return Path(root)


@pytest.mark.parametrize(("split", "images"), [("train", 332), ("test", 309)])
def test_cub_as_published_has_every_box_of_cub_as_listed_by_wsolevaluation(real, split, images):
    published = datasets.load(f"cub:{real}/cub", split, 224, box_rule="wsol")
    listed = datasets.load(f"wsol:{real}/cub", split, 224)
    assert len(published) == len(listed) == images == len(set(published.names))
    assert published.names == [name.removesuffix(".jpg") for name in listed.names]
    assert published.labels.tolist() == listed.labels.tolist()
    for i in range(images):
        assert counted(published, i) == counted(listed, i), published.names[i]


def test_ilsvrc_as_published_has_every_box_of_ilsvrc_as_listed_by_wsolevaluation(real, tmp_path):
    """Its photographs are squashed there, so they get their own size back, and the annotations are made of the rows."""
    found = datasets.wsol_lists.read_lists(real / "ilsvrc", "test")
    names = found.ids[:: len(found.ids) // PART][:PART]
    several = next(name for name in found.ids if len(found.boxes[name]) > 2 and name not in names)
    rows = {"image_ids": [], "class_labels": [], "image_sizes": [], "localization": []}
    write(tmp_path / "LOC_synset_mapping.txt", "".join(f"n{label:08d} class {label}\n" for label in range(1000)))
    for name in dict.fromkeys([*names, several]):
        label, size, boxes = found.labels[name], found.sizes[name], found.boxes[name]
        with Image.open(real / "ilsvrc" / name) as image:
            picture = encoded(image.convert("RGB").resize(size))
        parts = [xml(f"n{label:08d}", box, size) for box in boxes]
        objects = "".join(part.partition("</size>")[2].removesuffix("</annotation>") for part in parts)
        annotation = parts[0].partition("<object>")[0] + objects + "</annotation>"
        validation(tmp_path, int(Path(name).stem[-8:]), "", kit=False, picture=picture, annotation=annotation)
        rows["image_ids"].append(name)
        rows["class_labels"].append(f"{name},{label}")
        rows["image_sizes"].append(f"{name},{size[0]},{size[1]}")
        rows["localization"] += [f"{name},{','.join(map(str, box))}" for box in boxes]
    lists(tmp_path, "test", **rows)
    published = datasets.load(f"ilsvrc:{tmp_path}", "test", 224, box_rule="wsol")
    listed = datasets.load(f"wsol:{tmp_path}", "test", 224)
    assert [f"val/{name}.JPEG" for name in published.names] == listed.names and len(listed) == PART + 1
    assert [counted(published, i) for i in range(PART + 1)] == [counted(listed, i) for i in range(PART + 1)]
    assert published.labels.tolist() == listed.labels.tolist() and not published.left_out


@pytest.mark.parametrize(
    ("name", "classes"),
    [("cub:cub", 200), ("wsol:cub", 200), ("pets:pets", 3), ("tiny-imagenet:tiny-imagenet", 20), ("voc:wildlife", 2)],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_each_set_of_real_photographs_is_read_by_either_rule(real, name, classes, split):
    kind, _, folder = name.partition(":")
    for rule in datasets.find(kind).box_rules:
        data = datasets.load(f"{kind}:{real / folder}", split, 64, length=6, seed=1, box_rule=rule)
        assert (len(data), len(data.classes), data.left_out) == (6, classes, 0)
        batch = data.batch(range(6))
        assert batch.images.std((1, 2, 3)).min() > 0.01 and batch.labels.tolist() == data.labels.tolist()
        boxes = np.concatenate(batch.boxes)
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= 64 * 225 / 224 + 1e-3).all()
        assert (boxes[:, 2:] - boxes[:, :2]).min() > 1
