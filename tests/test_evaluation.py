import numpy as np
import pytest
import torch

from cambook import maps, networks
from cambook.datasets import Batch
from cambook.metrics import evaluate, evaluation
from cambook.networks import PooledNetwork


class Corners:
    """Black pictures with a square, red for class 0, green for 1, blue for 2, in the top left corner or the middle."""

    name, split, size, classes = "corners", "test", 56, ["red", "green", "blue"]

    def __init__(self, where="corner", length=12, masks=True):
        self.labels = np.arange(length) % 3
        self.place = 2 if where == "corner" else 16
        self.masks = masks
        self.fingerprint = f"corners {where} {length}"

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, device="cpu"):
        indices = torch.as_tensor(indices)
        images, masks = torch.zeros(len(indices), 3, 56, 56), torch.zeros(len(indices), 56, 56, dtype=torch.bool)
        square = slice(self.place, self.place + 24)
        masks[:, square, square] = True
        labels = torch.from_numpy(self.labels)[indices]
        for image, label in zip(images, labels, strict=True):
            image[label, square, square] = 1
        box = np.array([[self.place, self.place, self.place + 24, self.place + 24]], np.float32)
        return Batch(images, labels, [box] * len(indices), masks if self.masks else None, indices)


@pytest.fixture
def seer():
    """A network whose feature maps are the colours themselves: red speaks for red, and so on."""
    network = PooledNetwork(torch.nn.Identity(), 3, 3, "gap", mean=(0.0,) * 3, std=(1.0,) * 3)
    with torch.no_grad():
        network.classifier.weight.copy_(torch.eye(3))
        network.classifier.bias.zero_()
    network.name = "seer"
    return network


def test_a_network_that_sees_the_objects_gets_everything_right(seer):
    found = evaluate(seer, Corners())
    assert found.row["top1_error"] == found.row["top1_loc_error"] == 0
    for metric in ("gt_known", "max_box_acc", "max_box_acc_v2", "pointing"):
        assert found.row[metric] == 100, metric
    assert found.row["pxap"] > 95
    assert list(found.row) == [m for m in evaluation.METRICS if not m.startswith("top5")]


def test_coverage_is_taken_at_the_best_threshold_or_the_given_one_and_needs_masks(seer):
    found = evaluate(seer, Corners())
    # every threshold gives the right box, so the lowest, 0, counts as the best: it finds the whole picture
    assert found.best_threshold == 0 and found.coverage() == pytest.approx((100, 100 * 24**2 / 56**2))
    # the square is red itself; only the enlarging from 56 to 224 pixels blurs its edge
    low, high = found.coverage(0.1), found.coverage(0.9)
    assert low[0] == 100 and high[1] == 100 and 80 < low[1] < 100 and 80 < high[0] < 100
    without = evaluate(seer, Corners(masks=False))
    assert without.coverage() is None
    table = evaluation.coverage_table({"with": found, "without": without})
    assert list(table.loc["with"]) == ["0.00", "100.0", "18.4"]
    assert list(table.loc["without"])[1:] == ["not applicable"] * 2


def test_three_of_twelve_pictures_wrong_is_a_quarter(seer):
    data = Corners()
    data.labels[:3] = [1, 2, 0]  # so that batch() paints them so
    plain = data.batch

    def other_labels(indices, device="cpu"):
        batch = plain(indices)
        batch.labels = torch.where(batch.indices < 3, (batch.labels + 1) % 3, batch.labels)
        return batch

    data.batch = other_labels
    found = evaluate(seer, data)
    assert found.row["top1_error"] == found.row["top1_loc_error"] == 25
    assert found.row["gt_known"] == 75  # the map of a colour that is nowhere has no positive place: no box
    assert found.correct["top1"].tolist() == [False] * 3 + [True] * 9
    low, high = found.intervals["top1_error"]
    assert 0 <= low < 25 < high <= 60


def test_the_centre_control_never_looks(seer):
    corner, middle = evaluate(seer, Corners(), "centre"), evaluate(seer, Corners("middle"), "centre")
    assert corner.row["max_box_acc"] == 0
    assert middle.row["max_box_acc"] == middle.row["pointing"] == 100
    assert corner.row["top1_error"] == 0  # classification is the network's all the same
    one = maps.centre_maps(seer, torch.rand(2, 3, 8, 8), torch.empty(0), torch.zeros(2, 4))
    assert one.shape == (2, 4, 8, 8) and torch.equal(one[0, 0], one[1, 3])


def test_without_masks_there_is_no_pxap_and_the_boxes_are_pointed_at(seer):
    found = evaluate(seer, Corners(masks=False))
    assert "pxap" not in found.row and found.row["pointing"] == 100


def test_saliency_is_smoothed_in_proportion_to_the_picture():
    network, images = networks.build("mini-gap", 5, seed=1), torch.rand(2, 3, 64, 64)
    classes = torch.tensor([[0, 1], [2, 0]])
    _, feature_maps = network(images)
    raw = maps.MAPS["saliency"](network, images, feature_maps, classes)
    assert raw.shape == (2, 2, 64, 64)
    smooth = maps.MAPS["smooth-saliency"](network, images, feature_maps, classes)
    assert torch.equal(smooth, maps.blur(raw, 9 * 64 / 224)) and not torch.allclose(smooth, raw)


def test_a_bias_is_no_part_of_a_map(seer):
    images, classes = Corners().batch(range(3)).images, torch.tensor([[0, 1], [1, 2], [2, 0]])
    without = maps.cam_maps(seer, images, seer(images)[1], classes)
    with torch.no_grad():
        seer.classifier.bias.copy_(torch.tensor([5.0, -3.0, 1.0]))
    assert torch.equal(maps.cam_maps(seer, images, seer(images)[1], classes), without)


def test_each_guess_has_the_box_of_its_own_map_and_boxes_are_examined_by_that_of_the_true_class():
    """Six classes: the fourth is guessed first in every picture and sees nothing, the true one comes second."""
    network = PooledNetwork(torch.nn.Identity(), 3, 6, "gap", mean=(0.0,) * 3, std=(1.0,) * 3)
    with torch.no_grad():
        network.classifier.weight.zero_()[:3].copy_(torch.eye(3))
        network.classifier.bias.copy_(torch.tensor([0.0, 0, 0, 9, -1, -2]))
    row = evaluate(network, Corners()).row
    assert row["top1_error"] == row["top1_loc_error"] == 100
    assert row["top5_error"] == row["top5_loc_error"] == 0
    assert row["gt_known"] == row["max_box_acc"] == row["pointing"] == 100


def test_gt_known_reads_the_raw_map_and_max_box_acc_the_stretched_one(seer):
    seer.mean.fill_(-0.5)  # now black is 0.5, above 20% of the square's 1.5: the paper's rule boxes the whole picture
    row = evaluate(seer, Corners()).row
    assert row["top1_error"] == row["gt_known"] == 0 and row["top1_loc_error"] == row["max_box_acc"] == 100


def test_the_mean_over_batches_is_the_mean_over_pictures(seer):
    rows = [evaluate(seer, Corners(), batch_size=size).row for size in (1, 5, 64)]
    assert rows[0] == rows[1] == rows[2]


def test_evaluation_leaves_no_gradients_and_evaluation_mode(seer):
    seer.train()
    evaluate(seer, Corners(), "saliency")
    assert not seer.training and all(p.grad is None for p in seer.parameters())


def test_top_five_rows_are_there_for_more_than_five_classes():
    data = Corners()
    network = networks.build("mini-gap", 12)
    found = evaluate(network, data)
    assert {"top5_error", "top5_loc_error"} <= set(found.row)
    assert found.row["top5_error"] <= found.row["top1_error"] <= found.row["top1_loc_error"]


def test_top1_error_agrees_with_the_row(seer):
    assert evaluation.top1_error(seer, Corners()) == evaluate(seer, Corners()).row["top1_error"]
    assert evaluation.classify(seer, Corners()).shape == (12, 3)


def test_a_table_shows_values_with_their_intervals(seer):
    table = evaluation.table({"seer": evaluate(seer, Corners()), "blind": evaluate(seer, Corners(), "centre")})
    assert table.loc["seer", "max_box_acc"] == "100.0 [100.0, 100.0]"
    assert table.loc["blind", "max_box_acc"].startswith("0.0 ")


def test_unknown_sources_and_networks_without_a_map_are_refused(seer):
    with pytest.raises(ValueError, match="source='gradcam' is unknown: choose one of cam"):
        evaluate(seer, Corners(), "gradcam")
    with pytest.raises(TypeError, match="mini-fc has a hidden layer"):
        evaluate(networks.build("mini-fc", 12), LargerCorners())


class LargerCorners(Corners):
    """The same at mini-fc's own size."""

    size = 64

    def batch(self, indices, device="cpu"):
        batch = super().batch(indices)
        batch.images = torch.nn.functional.pad(batch.images, (0, 8, 0, 8))
        batch.masks = torch.nn.functional.pad(batch.masks, (0, 8, 0, 8))
        return batch


def test_the_share_inside_is_whole_for_a_seer_and_the_objects_own_for_a_map_without_places(seer):
    found = evaluate(seer, Corners(), "grad-cam")
    assert found.inside.shape == (12,) and np.allclose(found.inside, 100)
    with torch.no_grad():
        seer.classifier.weight.fill_(1)  # every place of the black ground counts as much as before: nothing
        seer.mean.fill_(-1.0)  # now black is 1 and the square's colour 2
    expected = 100 * 24**2 * 4 / (24**2 * 4 + (56**2 - 24**2) * 3)
    assert np.allclose(evaluate(seer, Corners(), "grad-cam").inside, expected)


def test_without_masks_there_is_no_share_inside(seer):
    assert evaluate(seer, Corners(masks=False)).inside is None
