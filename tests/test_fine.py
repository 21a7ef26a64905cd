"""cam-fine: six maps in one, equal to the same sum by hand; nothing of it depends on the side that an image faces."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cambook import datasets, files, networks
from cambook.files import read_table
from cambook.maps import MAPS, fine_class_activation_map
from cambook.maps.fine import LOWEST, SCALES
from cambook.metrics import evaluate


class Cells(nn.Module):
    """Feature maps are the mean colours of cells of 8 x 8 pixels; two classes."""

    class_weight = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.5, 2.0]])

    def forward(self, images):
        return None, F.avg_pool2d(images, 8)


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))


CLASSES = torch.tensor([[0, 1], [1, 0], [1, 1]])


def by_hand(image, row):
    """One map of one class, written out: sizes, mirror images, mean, and the level below which all is lowest."""
    total = torch.zeros(32, 48)
    for height, width in ((32, 48), (48, 72), (64, 96)):
        seen = F.interpolate(image[None], (height, width), mode="bicubic").clamp(0, 1) if height > 32 else image[None]
        for turn in (lambda x: x, lambda x: x.flip(-1)):
            cells = F.avg_pool2d(turn(seen), 8)[0]
            cam = turn((cells * row[:, None, None]).sum(0))
            total += F.interpolate(cam[None, None], (32, 48), mode="bicubic")[0, 0]
    mean = total / 6
    return torch.maximum(mean, torch.quantile(mean, 0.3))


def test_it_is_the_mean_over_three_sizes_and_their_mirror_images(images):
    found = fine_class_activation_map(Cells(), images, CLASSES)
    assert found.shape == (3, 2, 32, 48)
    for i in range(3):
        for place, c in enumerate(CLASSES[i]):
            torch.testing.assert_close(found[i, place], by_hand(images[i], Cells.class_weight[c]))


def test_a_mirrored_image_has_the_mirrored_map(images):
    there, back = (fine_class_activation_map(Cells(), seen, CLASSES) for seen in (images, images.flip(-1)))
    torch.testing.assert_close(back.flip(-1), there)


def test_the_lowest_pixels_have_one_value(images):
    found = fine_class_activation_map(Cells(), images, CLASSES)
    lowest = (found == found.amin((-2, -1), keepdim=True)).float().mean((-2, -1))
    assert ((lowest >= LOWEST - 0.01) & (lowest < LOWEST + 0.01)).all()


def test_it_is_in_the_registry_and_refused_where_there_is_no_class_weight():
    scenes = datasets.load("scenes", "test", 64, length=12)
    found = evaluate(networks.build("mini-gap", 12, seed=0), scenes, "cam-fine")
    assert found.source == "cam-fine" and 0 <= found.row["max_box_acc_v2"] <= 100
    assert MAPS["cam-fine"].passes == (2 * len(SCALES), 0)
    assert (
        MAPS["cam-fine"].refusal(networks.build("mini-fc", 2))
        == MAPS["cam"].refusal(networks.build("mini-fc", 2))
        != ""
    )


def test_the_setting_is_the_one_that_was_best_where_settings_were_tried():
    tried = read_table(files.DATA / "results" / "fine.csv", ["setting", "mean V2"], ["mean V2"]).set_index("setting")
    assert tried["mean V2"].idxmax() == "sizes 224, 336, 448, mirrored, bicubic, IVR"
    assert [round(224 * scale) for scale in SCALES] == [224, 336, 448]
