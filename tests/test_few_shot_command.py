"""`cambook few-shot`: the lesson's localizer and the tuned threshold on any set with boxes, from the same draws."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_localize_maps import noisy, real, voc, weights
from test_photographs import write
from test_wsol import wsol
from typer.testing import CliRunner

from cambook import datasets, files, networks
from cambook.cli import commands
from cambook.course.lessons import few_shot as lesson
from cambook.course.lessons import tuning
from cambook.localize import few_shot, inputs


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")


def call(*arguments):
    result = CliRunner().invoke(commands.app, ["few-shot", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def both(root: Path, size=64):
    return (datasets.load(f"voc:{root}", split, size) for split in ("train", "test"))


# ---- what is measured


def test_it_measures_what_the_lessons_functions_measure(tmp_path):
    root = voc(tmp_path / "voc", count=6)
    network = inputs.ready_network("mini-gap", weights(tmp_path / "mine.pt"))
    boxed, test = both(root)
    found = few_shot.baseline(network, boxed, test, [1, 3], repeats=3, seed=5)
    shown = [data.batch(range(len(data))) for data in (boxed, test)]
    features = [tuning.feature_maps(network, batch) for batch in shown]
    taught = lesson.accuracies(features[0], shown[0].boxes, features[1], shown[1].boxes, 64, [1, 3], 3, 5)
    assert np.array_equal(found.taught, taught)
    maps = [tuning.evaluate_maps(tuning.true_class_maps(network, batch, "cam"), batch) for batch in shown]
    for n, one in zip([1, 3], found.tuned, strict=True):
        wanted = tuning.tune(maps[0].hits, maps[1].hits, n, 3, 5)
        assert np.array_equal(one.choice, wanted.choice) and np.array_equal(one.apparent, wanted.apparent)
        np.testing.assert_allclose(one.actual, wanted.actual)
    assert (found.best, found.best_threshold) == maps[1].accuracy.max_box_acc()
    plain = tuning.rule_hits(maps[1].maps, shown[1], "wsol", [found.best_threshold])
    assert found.best_plain == 100 * plain.mean()
    assert (found.classes, found.boxed, found.test, found.without_box) == ("true", 4, 6, 0)


def test_the_controls_look_at_no_image(tmp_path, monkeypatch):
    """The object is a quarter in the middle: right for a small centre spot, never for the whole image."""
    network = inputs.ready_network("mini-gap", weights(tmp_path / "mine.pt"))
    boxed, test = both(voc(tmp_path / "voc", count=3))
    found = few_shot.baseline(network, boxed, test, [1], repeats=1)
    assert (found.centre, found.whole) == (100, 0)
    assert found.results()["centre_max_box_acc"] == 100 and found.results()["whole_image"] == 0


def test_features_that_show_the_object_teach_its_box(tmp_path):
    """A network whose channels are colours on 16 x 16 positions: one image teaches what red means."""

    class Colours(networks.Network):
        classes, class_weight = 2, torch.eye(3)[:2]

        def features(self, images):
            return torch.nn.functional.avg_pool2d(images, 4)

        def scores(self, feature_maps):
            return feature_maps.mean((2, 3))[:, :2]

    boxed, test = both(voc(tmp_path / "voc", count=5))
    red = datasets.photographs.Photographs.batch  # pixels as they are stored
    dark = lambda data, indices, device="cpu": darkened(red(data, indices, device))  # noqa: E731
    network = Colours(torch.nn.Identity())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datasets.photographs.Photographs, "batch", dark)
        found = few_shot.baseline(network, boxed, test, [4], repeats=2)
    assert (found.taught == 100).all()


def darkened(batch):
    """The noise around the object becomes black."""
    inside = (batch.images[:, :1] > 0.9) & (batch.images[:, 1:2] < 0.2)
    batch.images = batch.images * inside
    return batch


def test_images_without_a_box_are_neither_drawn_nor_measured(tmp_path):
    network = inputs.ready_network("mini-gap", weights(tmp_path / "mine.pt"))
    boxed, test = both(voc(tmp_path / "voc", count=3))
    boxed.boxes = lambda i, width, height: type(boxed).boxes(boxed, i, width, height)[: i % 2]  # as in ILSVRC's train
    assert few_shot.with_boxes(boxed) == [1, 3]
    found = few_shot.baseline(network, boxed, test, [2], repeats=1)
    assert (found.boxed, found.without_box) == (2, 2)
    with pytest.raises(ValueError, match="--numbers asks for 3 boxed images, and the train split of voc:.* has 2"):
        few_shot.baseline(network, boxed, test, [3], repeats=1)


def test_large_maps_are_not_all_kept(tmp_path, monkeypatch):
    network = inputs.ready_network("mini-gap", weights(tmp_path / "mine.pt"))
    boxed, test = both(voc(tmp_path / "voc", count=3))
    monkeypatch.setattr(few_shot, "MOST_BYTES", 4 * 128 * 64 * 2)  # feature maps of two images
    assert few_shot.baseline(network, boxed, test, [1], repeats=2, source="saliency").best_plain is None
    with pytest.raises(ValueError, match="the feature maps of the drawn images take 0.0 GiB, more than"):
        few_shot.baseline(network, boxed, test, [3], repeats=2)


# ---- the command


def test_the_command_writes_a_table_every_draw_and_a_record(tmp_path):
    root, out = voc(tmp_path / "voc", count=5), tmp_path / "out"
    file = weights(tmp_path / "mine.pt")
    given = ["--network", "mini-gap", "--weights", file, "--numbers", "4,1", "--repeats", 2, "--seed", 3, "--out", out]
    said = call(f"voc:{root}", *given).stdout
    noted = json.loads((out / "few-shot.json").read_text(encoding="utf-8"))
    assert noted["command"] == "few-shot" and noted["parameters"]["numbers"] == [1, 4]
    assert (noted["parameters"]["boxed"], noted["parameters"]["split"]) == ("train", "test")
    assert (
        noted["parameters"]["protocol"].startswith("true boxes by their edges")
        and noted["parameters"]["protocol"] in said
    )
    assert "plain IoU >= 0.5 of half-open boxes" in noted["results"]["rules"]["few-shot"]
    assert "box rule wsol" in noted["results"]["rules"]["threshold"]
    boxed, test = both(root)
    found = few_shot.baseline(inputs.ready_network("mini-gap", file), boxed, test, [1, 4], repeats=2, seed=3)
    one = noted["results"]["draws"][0]
    assert one["boxed_images"] == 1 and one["few_shot"]["mean"] == pytest.approx(found.taught[:, 0].mean())
    assert one["tuned_threshold"]["std"] == pytest.approx(found.tuned[0].actual.std())
    with (out / "few-shot.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["boxed_images"], row["draw"]) for row in rows] == [("1", "1"), ("1", "2"), ("4", "1"), ("4", "2")]
    assert [float(row["few_shot"]) for row in rows[:2]] == pytest.approx(found.taught[:, 0].tolist())
    assert [float(row["threshold"]) for row in rows[2:]] == (found.tuned[1].choice / 1000).tolist()
    assert re.search(r"^boxed images  +few-shot localizer  cam, tuned threshold", said, re.MULTILINE)
    assert "centre: 100.0; whole image: 0.0; maps of the true class" in said
    assert f"best threshold on the test images, {found.best_threshold:.3f}: {found.best:.1f}" in said


def test_boxes_are_drawn_from_val_where_there_is_one(tmp_path):
    root = wsol(tmp_path / "wsol")
    test = datasets.load(f"wsol:{root}", "test", 64)
    assert few_shot.open_boxed(f"wsol:{root}", None, test).split == "val"
    assert few_shot.open_boxed(f"wsol:{root}", "train", test).split == "train"
    for split in ("val", "train-fullsup"):
        measured = datasets.load(f"wsol:{root}", "val", 64)
        with pytest.raises(ValueError, match="drawn from the val split, which is measured: give another split"):
            few_shot.open_boxed(f"wsol:{root}", split, measured)
    (root / "metadata/val/image_ids.txt").unlink()
    assert few_shot.open_boxed(f"wsol:{root}", None, test).split == "train"


@pytest.mark.parametrize("numbers", ["0", "1,0", "five", "1;2", "", "-1", "1.5", "٣", "1" * 400])
def test_numbers_that_are_none_are_refused_before_the_work(tmp_path, numbers):
    with pytest.raises(ValueError, match="give whole numbers of at least 1, separated by commas"):
        call(f"voc:{tmp_path}", f"--numbers={numbers}")


def test_what_cannot_be_measured_is_refused_before_the_work(tmp_path, monkeypatch):
    root = voc(tmp_path / "voc", count=2)
    monkeypatch.setattr(few_shot, "_batches", lambda *arguments: pytest.fail("the work began"))
    given = ["--network", "mini-gap", "--weights", weights(tmp_path / "mine.pt")]
    with pytest.raises(ValueError, match="--numbers asks for 20 boxed images, and the train split of voc:.* has 4"):
        call(f"voc:{root}", *given)
    with pytest.raises(ValueError, match="neither labels nor boxes"):
        call(root / "JPEGImages", *given, "--out", tmp_path / "out")
    write(tmp_path / "classes/cat/1.jpg", noisy(0))
    with pytest.raises(ValueError, match="has labels and no boxes"):
        call(f"folder:{tmp_path / 'classes'}", *given)
    with pytest.raises(ValueError, match="lies in .*voc, from which the images are read"):
        call(f"voc:{root}", *given, "--out", root / "out")
    fully = ["--network", "mini-fc", "--weights", weights(tmp_path / "fc.pt", "mini-fc")]
    result = call(f"voc:{root}", *fully, "--numbers", 1)
    assert result.exit_code == 2 and "grad-cam works for any head" in re.sub(r"[\s│]+", " ", result.output)


# ---- real photographs


def test_lite0_on_real_photographs(tmp_path, wildlife):
    out = tmp_path / "out"
    given = ["--length", 16, "--numbers", "2,8", "--repeats", 2, "--out", out]
    said = call(f"voc:{wildlife}", *given).output
    results = json.loads((out / "few-shot.json").read_text(encoding="utf-8"))["results"]
    assert "maps of the network's own top class" in said and results["maps_of_class"] == "top"
    few, more = (row["few_shot"]["mean"] for row in results["draws"])
    assert more > few and results["test_images"] == 16
    assert all(
        0 < row["tuned_threshold"]["mean"] <= results["best_threshold_on_test"]["max_box_acc"]
        for row in results["draws"]
    )


def test_the_val_split_of_real_lists_teaches(tmp_path):
    root = real("cub")
    splits = [name for name in ("train", "val", "test") if (root / "metadata" / name / "image_ids.txt").is_file()]
    assert {"train", "test"} <= set(splits)
    test = datasets.load(f"wsol:{root}", "test", 64, length=8)
    boxed = few_shot.open_boxed(f"wsol:{root}", None, test, 8)
    assert boxed.split == ("val" if "val" in splits else "train") and len(few_shot.with_boxes(boxed)) == len(boxed) == 8
    network = networks.build("mini-gap", len(test.classes))
    found = few_shot.baseline(network, boxed, test, [1, 8], repeats=2)
    assert (found.boxed, found.test, found.classes) == (8, 8, "true")
    assert "wsolevaluation" in test.protocol and 0 < found.centre <= 100
