"""`images:FOLDER`, what commands open, and `cambook maps`: the files score as `evaluate` does, and a run continues."""

import csv
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_photographs import block, encoded, scene, write, xml
from typer.testing import CliRunner

from cambook import datasets, files, networks, training
from cambook.cli import commands
from cambook.course.parameters import ParameterError, checked
from cambook.datasets import Images
from cambook.localize import inputs, making
from cambook.maps import MAPS, upsample
from cambook.metrics import IOUS, BoxAccuracy, boxes_on_grid, evaluate

CLASSES = ("cat", "dog")
COUNT = 70  # more than a batch


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")


def noisy(seed) -> bytes:
    """A photograph that differs from every other, with the red rectangle of its annotation."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 255, (40, 80, 3), dtype=np.uint8)
    pixels[10:30, 20:60] = (250, 10, 10)
    return encoded(Image.fromarray(pixels))


def voc(root: Path, count=COUNT) -> Path:
    """A set in Pascal VOC layout: four images to train on, `count` to test on."""
    lists = {"train": [f"train{i}" for i in range(4)], "val": [f"test{i}" for i in range(count)]}
    for seed, name in enumerate(lists["train"] + lists["val"]):
        write(root / f"JPEGImages/{name}.jpg", noisy(seed))
        write(root / f"Annotations/{name}.xml", xml(CLASSES[seed % 2]))
    for part, names in lists.items():
        write(root / f"ImageSets/Main/{part}.txt", "".join(f"{name}\n" for name in names))
    return root


def weights(path: Path, name="mini-gap", classes=2, seed=0, **changed) -> Path:
    state = networks.build(name, classes, seed=seed).state_dict()
    torch.save(state | {key.replace("__", "."): value for key, value in changed.items()}, path)
    return path


def photographs(root: Path) -> Path:
    for n, name in enumerate(("b.jpg", "garden/a.png", "garden/old/c.jpg")):
        write(root / name, encoded(scene(size=(80 + n, 40)), "PNG" if name.endswith("png") else "JPEG"))
    return root


def call(*arguments):
    result = CliRunner().invoke(commands.app, ["maps", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def record(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text(encoding="utf-8"))


# ---- images:FOLDER


def test_all_images_below_a_folder_are_found_without_labels(tmp_path):
    root = photographs(tmp_path / "mine")
    write(root / "garden/._a.png", b"x")
    write(root / ".hidden/d.jpg", encoded(scene()))
    for split in ("train", "test"):
        data = datasets.load(f"images:{root}", split, 32, boxes=False)
        assert data.names == ["b.jpg", "garden/a.png", "garden/old/c.jpg"] and data.report == []
        assert (data.labelled, data.has_boxes, data.classes) == (False, False, ["not labelled"])
        assert data.labels.tolist() == [0, 0, 0] and data.name == f"images:{root}"
    batch = data.batch([0, 2])
    assert batch.images.shape == (2, 3, 32, 32) and [box.shape for box in batch.boxes] == [(0, 4)] * 2
    assert batch.masks is None and data.picture(2).size == (82, 40)
    assert "images:FOLDER" in CliRunner().invoke(commands.app, ["data"]).output


def test_what_cannot_be_used_is_reported_and_what_can_is_repaired(tmp_path):
    root = photographs(tmp_path / "mine")
    write(root / "cut.jpg", noisy(0)[:900])
    write(root / "raw.cr2", b"II*")
    write(root / "notes.txt", "mine")
    image = Image.fromarray(block(255, 0))
    exif = image.getexif()
    exif[0x0112] = 6
    write(root / "turned.jpg", encoded(image, exif=exif.tobytes()))
    data = datasets.load(f"images:{root}", "test", 32, boxes=False)
    assert data.names == ["b.jpg", "garden/a.png", "garden/old/c.jpg", "turned.jpg"] and data.left_out == 2
    assert any("cut.jpg: left out" in line for line in data.report)
    assert any("1 file with .cr2 left out" in line for line in data.report) and "notes" not in str(data.report)
    assert data.picture(3).size == (40, 80)


def test_chosen_files_may_lie_anywhere(tmp_path):
    root = photographs(tmp_path / "mine")
    other = write(tmp_path / "other/e.jpg", encoded(scene()))
    data = inputs.open_images([root / "b.jpg", root / "garden/a.png"], "test", 32)
    assert isinstance(data, Images) and data.names == ["b.jpg", "garden/a.png"]
    data = inputs.open_images([root / "garden/a.png", other, other], "test", 32)
    assert data.names == ["mine/garden/a.png", "other/e.jpg"]
    assert inputs.open_images(root / "b.jpg", "test", 32).names == ["b.jpg"]
    with pytest.raises(FileNotFoundError, match="there is no file .*none.jpg"):
        inputs.open_images([root / "none.jpg"], "test", 32)


def test_nothing_is_trained_or_measured_without_labels(tmp_path):
    root = photographs(tmp_path / "mine")
    data = datasets.load(f"images:{root}", "test", 64, boxes=False)
    for each in (data, datasets.Subset(data, [0])):
        with pytest.raises(ValueError, match="has no labels, and training needs them: give folder:FOLDER"):
            training.trained("mini-gap", each)
    with pytest.raises(ValueError, match="has no labels, and evaluation needs them"):
        evaluate(networks.build("mini-gap", 2), data)
    with pytest.raises(ValueError, match="has neither labels nor boxes"):
        datasets.load(f"images:{root}", "test", 64)
    with pytest.raises(ParameterError, match="images has no labels, which are needed here"):
        checked({"dataset": f"images:{root}"}, ["dataset"], "04")
    result = CliRunner().invoke(commands.app, ["train", "mini-gap", f"images:{root}"])
    assert isinstance(result.exception, ParameterError) and not (tmp_path / "cache" / "networks").exists()


# ---- what commands open


def test_a_name_is_a_data_set_or_a_folder_and_a_wrong_one_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "voc")
    with pytest.raises(ValueError, match='"voc" names no folder: write voc:FOLDER'):
        inputs.open_images("voc", "test", 32)
    assert inputs.open_images("./voc", "test", 32, length=2).labelled is False
    assert inputs.open_images(Path("voc"), "test", 32).names[0] == "b.jpg"
    with pytest.raises(ValueError, match='did you mean "cub"'):
        inputs.open_images("cubs", "test", 32)
    with pytest.raises(FileNotFoundError, match='"./vocs" is neither a data set .* nor a folder: did you mean'):
        inputs.open_images("./vocs", "test", 32)
    with pytest.raises(ValueError, match="neither labels nor boxes"):
        inputs.open_images([tmp_path / "voc/b.jpg"], "test", 32, boxes=True)


def test_a_file_of_weights_says_how_many_classes_it_has(tmp_path):
    file = weights(tmp_path / "mine.pt", classes=7)
    network = inputs.ready_network("mini-gap", file)
    assert (network.classes, network.training, network.of_imagenet) == (7, False, False)
    torch.save({"state_dict": {f"model.{k}": v for k, v in networks.build("mini-acol", 5).state_dict().items()}}, file)
    with pytest.warns(UserWarning, match="are taken from it"):
        assert inputs.ready_network("mini-acol", file).classes == 5
    with pytest.raises(ValueError, match="contains no weights of mini-gap"):
        inputs.ready_network("mini-gap", file)
    with pytest.raises(ValueError, match="vgg16-gap has new layers, for which there are no pretrained weights"):
        inputs.ready_network("vgg16-gap")


def test_the_trained_network_comes_from_the_cache_or_the_command_is_named(tmp_path):
    root = voc(tmp_path / "voc", count=2)
    data = datasets.load(f"voc:{root}", "test", 64)
    with pytest.raises(ValueError, match=re.escape(f"run `cambook train mini-gap voc:{root}` first")):
        inputs.ready_network("mini-gap", "trained", data)
    made = training.trained("mini-gap", datasets.load(f"voc:{root}", "train", 64))
    network = inputs.ready_network("mini-gap", "trained", data)
    assert not made.reused and torch.equal(network.class_weight, made.network.class_weight)
    assert inputs.own_classes(network, data) and inputs.class_names(network, data) == list(CLASSES)
    plain = datasets.load(f"images:{root}", "test", 64, boxes=False)
    with pytest.raises(ValueError, match="has no labels: give the file of its weights"):
        inputs.ready_network("mini-gap", "trained", plain)


# ---- cambook maps


@pytest.mark.parametrize("source", ["cam", "grad-cam"])
def test_the_written_maps_score_exactly_as_evaluate_does(tmp_path, source):
    root, out = voc(tmp_path / "voc"), tmp_path / "maps"
    file = weights(tmp_path / "mine.pt", seed=3)
    said = call("mini-gap", f"voc:{root}", "--weights", file, "--source", source, "--out", out).output
    data = datasets.load(f"voc:{root}", "test", 64)
    found = evaluate(inputs.ready_network("mini-gap", file), data, source)
    accuracy = BoxAccuracy()
    for i, name in enumerate(data.names):
        map2d = np.load(out / f"{name}.npy", allow_pickle=False)
        assert map2d.shape == (224, 224) and map2d.dtype == np.float32
        assert (map2d.min(), map2d.max()) == (0, 1)
        accuracy.update(map2d, boxes_on_grid(data.batch([i]).boxes, 64)[0])
    for iou in IOUS:
        assert np.array_equal(accuracy.curve(iou, "all"), found.boxes.curve(iou, "all"))
    assert accuracy.curve(0.3, "all").max() > 0
    assert accuracy.max_box_acc_v2() == found.row["max_box_acc_v2"]
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as opened:
        heading, *rows = csv.reader(opened)
    assert heading == ["image_id", "top1", "top2"] and [row[0] for row in rows] == data.names
    assert 100 * np.mean([int(row[1]) != label for row, label in zip(rows, data.labels, strict=True)]) == (
        pytest.approx(found.row["top1_error"])
    )
    assert f"{COUNT} maps in" in said and f"{source} of each image's true class, bilinear" in said
    assert re.search(r"cambook score \S+maps --dataset voc:\S+voc --predictions \S+predictions.csv\n", said)
    assert sorted(p.name for p in out.iterdir() if p.suffix != ".npy") == [
        "classes.csv",
        "predictions.csv",
        "record.json",
    ]
    noted = record(out)
    assert noted["command"] == "maps" and noted["parameters"]["classes"] == "true" and noted["results"]["finished"]
    assert noted["results"]["top1_error"] == pytest.approx(found.row["top1_error"])
    assert noted["parameters"]["data_fingerprint"] == data.fingerprint and noted["parameters"]["protocol"]


def test_an_interrupted_run_continues_and_leaves_the_same_files(tmp_path, monkeypatch):
    root, file = voc(tmp_path / "voc"), weights(tmp_path / "mine.pt")
    given = ["mini-gap", f"voc:{root}", "--weights", file, "--out"]
    call(*given, tmp_path / "whole")
    move, seen = files.move, []

    def killed(source, target):
        if Path(target).suffix == ".npy":
            seen.append(target)
            if len(seen) == 67:
                raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files, "move", killed)
        assert call(*given, tmp_path / "part").exit_code != 0
    part = tmp_path / "part"
    assert not record(part)["results"]["finished"] and len([*part.glob("*.npy")]) == 66
    whole = contents(tmp_path / "whole")
    some = sorted(part.glob("*.npy"))[0]
    some.write_bytes(some.read_bytes()[:1000])  # half of a file, as a full disk leaves it
    rows = part / ".unfinished/rows.csv"
    rows.write_text(rows.read_text(encoding="utf-8")[:-3], encoding="utf-8")  # half of a row
    said = call(*given, part).output
    assert f"{COUNT} maps in" in said and "64 of them from before" in said
    assert contents(part) == whole
    assert "70 of them from before" in call(*given, part).output and contents(part) == whole
    (part / "test7.npy").unlink()
    assert "69 of them from before" in call(*given, part).output and contents(part) == whole


def test_a_folder_of_other_maps_is_refused(tmp_path):
    root, out = voc(tmp_path / "voc", count=2), tmp_path / "maps"
    file = weights(tmp_path / "mine.pt")
    given = ["mini-gap", f"voc:{root}", "--weights", file, "--out", out]
    call(*given)
    before = contents(out)
    for more, sentence in (
        (["--source", "grad-cam"], "source: were 'cam' and are now 'grad-cam'"),
        (["--enlarge", "bicubic"], "enlarge: were 'bilinear' and are now 'bicubic'"),
        (["--classes", "top"], "classes: were 'true' and are now 'top'"),
        (["--split", "train"], "the images: were others"),
        (["--size", "32"], "the images: were others"),
        (["--weights", weights(tmp_path / "other.pt", seed=1)], "the network's weights: were others"),
    ):
        with pytest.raises(ValueError, match=f"contains maps of other settings .{sentence}.*give another --out"):
            call(*given, *more)
    assert contents(out) == before
    (out / "record.json").unlink()
    with pytest.raises(ValueError, match="test0.npy is a map, and no record.json in .* says how it was made"):
        call(*given)


def test_a_plain_folder_gets_maps_of_the_networks_own_class(tmp_path):
    root, out = photographs(tmp_path / "mine"), tmp_path / "maps"
    file = weights(tmp_path / "mine.pt", classes=7)
    said = call("mini-gap", root, "--weights", file, "--out", out).output
    assert "cam of the class that mini-gap finds most likely" in said and "cambook score" not in said
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.npy")) == [
        *("b.jpg.npy", "garden/a.png.npy", "garden/old/c.jpg.npy")
    ]
    network, data = inputs.ready_network("mini-gap", file), inputs.open_images(root, "test", 64)
    logits, feature_maps = network(data.batch([0]).images)
    top = int(logits.argmax())
    raw = torch.einsum("bkhw,k->bhw", feature_maps, network.class_weight[top])[:, None].detach()
    large = upsample(raw, 224)[0, 0]
    wanted = (large - large.min()) / (large.max() - large.min())
    np.testing.assert_allclose(np.load(out / "b.jpg.npy"), wanted.numpy(), atol=1e-5)
    line = (out / "predictions.csv").read_text(encoding="utf-8").splitlines()[1]
    assert line == ",".join(["b.jpg", *map(str, logits.topk(5).indices[0].tolist())])
    assert (out / "classes.csv").read_text(encoding="utf-8").splitlines()[:2] == ["class,name", "0,class 0"]
    with pytest.raises(ValueError, match="has no labels, so it is not known which class each image shows"):
        call("mini-gap", root, "--weights", file, "--out", tmp_path / "other", "--classes", "true")


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 are Linux's")
def test_a_folder_whose_name_is_not_utf8(tmp_path):
    root, out = tmp_path / "mine\udcff", tmp_path / "maps"
    photographs(root)
    (root / "b\udcff.jpg").write_bytes(encoded(scene()))
    said = call("mini-gap", root, "--weights", weights(tmp_path / "mine.pt"), "--out", out).output
    assert "left out: its name is not UTF-8: rename it" in said and len([*out.rglob("*.npy")]) == 3
    assert record(out)["parameters"]["dataset"].startswith(f"images:{tmp_path}/mine")


def test_a_network_of_other_classes_needs_top(tmp_path):
    root, out = voc(tmp_path / "voc", count=2), tmp_path / "maps"
    file = weights(tmp_path / "mine.pt", classes=7)
    with pytest.raises(ValueError, match="mini-gap has 7 outputs, which are not the 2 classes of voc:.*give --weights"):
        call("mini-gap", f"voc:{root}", "--weights", file, "--out", out, "--classes", "true")
    said = call("mini-gap", f"voc:{root}", "--weights", file, "--out", out).output
    assert "finds most likely" in said and "top-1 error" not in said
    assert record(out)["parameters"]["classes"] == "top" and record(out)["results"]["top1_error"] is None


def test_constant_maps_become_zeros_and_are_counted(tmp_path):
    root, out = voc(tmp_path / "voc", count=2), tmp_path / "maps"
    blank = networks.build("mini-gap", 2).class_weight * 0
    file = weights(tmp_path / "mine.pt", classifier__weight=blank)
    given = ["mini-gap", f"voc:{root}", "--weights", file, "--out", out]
    for _ in range(2):
        said = call(*given).output
        assert "2 maps are the same everywhere and became zeros, the first of them that of test0" in said
        assert record(out)["results"]["constant"] == ["test0", "test1"]
    assert not np.load(out / "test1.npy", allow_pickle=False).any()


def test_a_map_that_is_not_finite_names_its_image(tmp_path, monkeypatch):
    def broken(network, images, feature_maps, classes):
        maps = torch.rand(len(images), 1, 2, 2)
        maps[1, 0, 1, 1] = torch.nan
        return maps

    monkeypatch.setitem(MAPS, "cam", replace(MAPS["cam"], maps=broken))
    root, file = voc(tmp_path / "voc", count=2), weights(tmp_path / "mine.pt")
    with pytest.raises(ValueError, match=r"voc:.*, image 1 \(test1\): its cam map is NaN or infinite"):
        call("mini-gap", f"voc:{root}", "--weights", file, "--out", tmp_path / "maps")


def test_bicubic_overshoots_and_bilinear_does_not():
    raw = torch.zeros(1, 1, 3, 3)
    raw[0, 0, 1, 1] = 1
    bilinear, bicubic = (making.grid_maps(raw, how)[0] for how in making.ENLARGE)
    assert bilinear[0, 0] == 0 and bicubic[37, 37] > 0.01  # 0 lies below: cubic weights with a = -0.75 are negative
    assert (bicubic.min(), bicubic.max(), bilinear.max()) == (0, 1, 1)


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (["a/../b.jpg"], "leads out of the folder"),
        (["/etc/b.jpg"], "it is empty, absolute or has an empty part"),
        (["a\\b.jpg"], "leads out of the folder"),
        (["a\nb.jpg"], "characters that cannot be printed"),
        (["\udcff.jpg"], "characters that cannot be printed"),
        (["ü" * 130], "a part of it has more than 251 bytes"),
        ([".unfinished/a.jpg"], "a folder of cambook's own"),
        (["a.jpg", "a.jpg"], None),
        (["a", "a.npy/b"], "would be a map and a folder of maps"),
    ],
)
def test_ids_that_cannot_be_files_are_refused(tmp_path, ids, sentence):
    if sentence:
        with pytest.raises(ValueError, match=sentence):
            making.map_paths(ids, tmp_path)
    assert making.map_paths(["c/é ,;'.jpg"], tmp_path) == [tmp_path / "c/é ,;'.jpg.npy"]


def test_names_that_windows_forbids_are_known():
    for name in ("a:b.jpg", "what?.jpg", "con.jpg", "birds/LPT1", "owl./a.jpg", 'a"b'):
        assert "Windows allows no" in making._unfit(name, windows=True) and not making._unfit(name, windows=False)
    assert not making._unfit("condor/console.jpg", windows=True)


def test_options_are_checked_before_the_work(tmp_path):
    root = photographs(tmp_path / "mine")
    file = weights(tmp_path / "mine.pt", "mini-fc", 2)
    for more, sentence in (
        (["--enlarge", "cubic"], "--enlarge cubic: give bilinear or bicubic"),
        (["--classes", "all"], "--classes all: give true or top"),
        ([], "--source cam: mini-fc has a hidden layer"),
        ([], "grad-cam works for any head"),
    ):
        result = call("mini-fc", root, "--weights", file, "--out", tmp_path / "maps", *more)
        assert result.exit_code == 2 and sentence in re.sub(r"[\s│]+", " ", result.output)
    with pytest.raises(ValueError, match="lies in .*, from which the images are read"):
        call("mini-fc", root, "--weights", file, "--out", root / "maps")
    with pytest.raises(PermissionError, match="cannot be written to"):
        call("mini-fc", root, "--weights", file, "--out", file)
    assert not (root / "maps").exists() and not [*tmp_path.rglob("*.npy")]


# ---- real photographs


def real(part: str) -> Path:
    root = os.environ.get("CAMBOOK_TEST_DATA")
    if not root:
        pytest.skip("CAMBOOK_TEST_DATA is not set: the real photographs are not here")
    assert Path(root, part).is_dir()
    return Path(root, part)


def test_real_photographs_with_their_classes_score_as_evaluate_does(tmp_path):
    name, out = f"wsol:{real('ilsvrc')}", tmp_path / "maps"
    said = call("lite0-gap", name, "--length", 10, "--out", out).output
    data = datasets.load(name, "test", 224, length=10)
    found = evaluate(inputs.ready_network("lite0-gap"), data)
    accuracy = BoxAccuracy()
    for i, identity in enumerate(data.names):
        boxes = boxes_on_grid(data.batch([i]).boxes, 224)[0]
        accuracy.update(np.load(out / f"{identity}.npy", allow_pickle=False), boxes)
    assert np.array_equal(accuracy.curve(), found.boxes.curve()) and accuracy.max_box_acc()[0] >= 40
    assert "cambook score" in said and "--metadata" in said and "--partial" in said
    assert f"top-1 error {found.row['top1_error']:.1f}%" in said


def test_a_folder_of_real_photographs(tmp_path, wildlife):
    out, chosen = tmp_path / "maps", sorted((wildlife / "JPEGImages").iterdir())[:3]
    data = inputs.open_images(chosen, "test", 224)
    network = inputs.ready_network("lite0-gap")
    how = making.parameters_of(network, data, source="cam", classes="top", enlarge="bicubic")
    made = making.make_maps(network, data, out, how)
    assert (made.maps, made.kept, made.constant) == (3, 0, [])
    rows = (out / "predictions.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == data.names and all(len(row.split(",")) == 6 for row in rows)
    for name in data.names:
        map2d = np.load(out / f"{name}.npy", allow_pickle=False)
        assert (map2d.min(), map2d.max()) == (0, 1) and 0.01 < map2d.mean() < 0.9
