"""Deletion, insertion, random layers: what they do to a network that is known by heart."""

import numpy as np
import pytest
import torch

from cambook import metrics, networks
from cambook.course.lessons import faithfulness
from cambook.datasets import Batch


class Counts(networks.Network):
    """The probability of class 0 rises with the mean of the picture: logits (10 mean, 0)."""

    def __init__(self):
        super().__init__(torch.nn.Identity(), mean=(0.0,) * 3, std=(1.0,) * 3)

    def forward(self, images):
        score = 10 * images.mean((1, 2, 3))
        return torch.stack([score, torch.zeros_like(score)], 1), images


def picture():
    image = torch.zeros(1, 3, 4, 4)
    image[:, :, 0] = 1.0  # the first row is all there is
    return image


def probability(share):
    return 1 / (1 + np.exp(-10 * share))


def test_deletion_takes_the_highest_places_first():
    image, best = picture(), torch.zeros(1, 1, 4, 4)
    best[0, 0, 0] = 1.0
    label = torch.tensor([0])
    curve = faithfulness.deletion(Counts(), image, best, label, steps=4)[0]
    assert np.allclose(curve, [probability(s) for s in (0.25, 0, 0, 0, 0)], atol=1e-6)
    worst = faithfulness.deletion(Counts(), image, -best, label, steps=4)[0]
    assert np.allclose(worst, [probability(s) for s in (0.25, 0.25, 0.25, 0.25, 0)], atol=1e-6)
    assert metrics.area_under(curve[None]) < metrics.area_under(worst[None])
    assert torch.equal(faithfulness.deletion(Counts(), image, best, 0, steps=4)[0], curve)  # a number: every picture's
    with pytest.raises(ValueError, match="classes run from 2 to 2: the network has classes 0 to 1"):
        faithfulness.deletion(Counts(), image, best, 2)


def test_insertion_ends_with_the_picture_and_a_good_map_rises_first():
    image, label = (
        torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
        torch.zeros(2, dtype=torch.long),
    )
    bright = image.mean(1, keepdim=True)
    rising = faithfulness.insertion(Counts(), image, bright, label, steps=5)
    falling = faithfulness.insertion(Counts(), image, -bright, label, steps=5)
    whole = Counts()(image)[0].softmax(1)[:, 0]
    assert torch.allclose(rising[:, -1], whole) and torch.allclose(falling[:, -1], whole)
    assert torch.equal(rising[:, 0], falling[:, 0])
    assert (rising[:, 1:-1] > falling[:, 1:-1]).all()


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="steps=0"):
        faithfulness.deletion(Counts(), picture(), torch.zeros(1, 1, 4, 4), torch.tensor([0]), steps=0)


def test_the_cascade_makes_one_more_layer_random_each_time_from_the_last_down():
    network = networks.build("mini-gap", 5, seed=3)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    stages = list(faithfulness.cascade(network, seed=9))
    assert [name for name, _ in stages] == ["linear 7", *[f"conv {n}" for n in (6, 5, 4, 3, 2, 1)]]
    before = 0
    for _, stage in stages:
        changed = {n for n, v in stage.state_dict().items() if not torch.equal(v, kept[n]) and v.numel() > 1}
        assert len(changed) > before and "classifier.weight" in changed
        before = len(changed)
    fresh = networks.build("mini-gap", 5, seed=9).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in stages[-1][1].state_dict().items())
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


def test_edges_are_where_the_picture_changes():
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 1.0
    found = faithfulness.edges(image)[0, 0]
    assert found.shape == (8, 8) and found[:, 3:5].min() > 0 and found[:, :3].max() == found[:, 5:].max() == 0


def test_an_assessment_tells_a_true_map_from_its_reverse():
    masks = torch.zeros(2, 56, 56, dtype=torch.bool)
    masks[:, 10:30, 10:30] = True
    boxes = [np.array([[10, 10, 30, 30]], np.float32)] * 2
    batch = Batch(masks[:, None].float().expand(-1, 3, -1, -1), torch.zeros(2).long(), boxes, masks, torch.arange(2))
    good, bad = (faithfulness.assess(Counts(), s * masks[:, None].float(), batch, False) for s in (1, -1))
    assert good.row["deletion"] < bad.row["deletion"] and good.row["insertion"] > bad.row["insertion"]
    assert good.row["max_box_acc"][0] == good.row["raw_max_box_acc"][0] == 100 > bad.row["max_box_acc"][0]
    assert good.curves["deletion"].shape == (11,) and good.per_picture["deletion"].shape == (2,)
    assert faithfulness.table({"good": good}).loc["good", "pointing"] == "100.0 [100.0, 100.0]"


def test_localize_counts_right_boxes_and_pointed_objects():
    side = 56
    masks = torch.zeros(2, side, side, dtype=torch.bool)
    masks[:, 10:30, 10:30] = True
    batch = Batch(
        torch.zeros(2, 3, side, side),
        torch.zeros(2, dtype=torch.long),
        [np.array([[10, 10, 30, 30]], np.float32)] * 2,
        masks,
        torch.arange(2),
    )
    away = torch.zeros(1, side, side)
    away[:, 45:50, 45:50] = 1
    found = faithfulness.localize(torch.stack([masks[:1].float(), away]), batch)
    assert found["pointing"][0] == 50 and found["max_box_acc"][0] == 50
    low, high = found["pointing"][1:]
    assert low <= 50 <= high


def test_deleted_pixels_may_be_filled_with_anything():
    image, best, label = picture(), torch.zeros(1, 1, 4, 4), torch.tensor([0])
    best[0, 0, 0] = 1.0
    curve = faithfulness.deletion(Counts(), image, best, label, steps=4, filling=torch.ones_like(image))[0]
    assert np.allclose(curve, [probability(s) for s in (0.25, 0.25, 0.5, 0.75, 1)], atol=1e-6)


def test_gains_are_paired_and_plus_is_always_good():
    def scored(deletion, insertion):
        return faithfulness.Assessment({}, {"deletion": np.array(deletion), "insertion": np.array(insertion)}, {})

    examined = {"map": scored([0.1, 0.2], [0.8, 0.8]), "control: blob": scored([0.3, 0.4], [0.5, 0.9])}
    fewer, more = (faithfulness.gains(examined, "control: blob", score) for score in ("deletion", "insertion"))
    assert list(fewer) == ["map"] and fewer["map"] == pytest.approx((0.2, 0.2, 0.2))
    assert more["map"][0] == pytest.approx(0.1) and more["map"][1] < 0 < more["map"][2]
    assert faithfulness.decided({**fewer, "other": more["map"]}) == ["map"]
