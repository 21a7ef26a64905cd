"""Evidence by erasing: regions of one size, moved with their shape, filled without touching the rest."""

import pytest
import torch

from cambook.course.lessons import erasing


@pytest.fixture
def maps():
    return torch.rand(6, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("share", [0.05, 0.15, 0.5])
def test_the_region_is_that_share_of_the_pixels_and_the_highest_of_them(maps, share):
    regions = erasing.top_region(maps, share)
    assert regions.sum((1, 2)).tolist() == [round(share * 1024)] * 6
    for one, region in zip(maps, regions, strict=True):
        assert one[region].min() >= one[~region].max()


def test_of_a_constant_map_as_many_pixels_are_taken():
    assert erasing.top_region(torch.zeros(1, 10, 10), 0.2).sum() == 20


@pytest.mark.parametrize("share", [0, 1, 1.5])
def test_a_share_that_erases_nothing_or_everything_is_refused(maps, share):
    with pytest.raises(ValueError, match="erases nothing, or everything"):
        erasing.top_region(maps, share)


def test_a_region_elsewhere_has_the_same_shape_and_shares_no_pixel_where_that_is_possible():
    regions = torch.zeros(5, 32, 32, dtype=torch.bool)
    regions[:, 4:16, 10:20] = True
    moved = erasing.elsewhere(regions, 0)
    assert not (moved & regions).any()
    assert len({tuple(one.nonzero()[0].tolist()) for one in moved}) > 1  # other places for other pictures
    for region, one in zip(regions, moved, strict=True):
        spectra = [torch.fft.rfft2(mask.double()).abs() for mask in (region, one)]
        assert torch.allclose(*spectra, atol=1e-9)  # the same up to a shift


def test_a_region_too_large_to_avoid_itself_moves_to_where_it_overlaps_least():
    regions = torch.ones(1, 8, 8, dtype=torch.bool)
    regions[0, :, 0] = False
    assert (erasing.elsewhere(regions, 0) & regions).sum() == 64 - 16


def test_the_same_seed_moves_to_the_same_place_and_another_one_to_another(maps):
    regions = erasing.top_region(maps, 0.1)
    assert torch.equal(erasing.elsewhere(regions, 1), erasing.elsewhere(regions, 1))
    assert not torch.equal(erasing.elsewhere(regions, 1), erasing.elsewhere(regions, 2))


@pytest.mark.parametrize("fill", erasing.FILLS)
def test_only_the_region_changes_and_what_fills_it_has_no_detail(fill):
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    regions = torch.zeros(2, 40, 40, dtype=torch.bool)
    regions[:, 10:30, 5:25] = True
    erased = erasing.cover(images, regions, fill)
    outside = ~regions[:, None].expand_as(images)
    assert torch.equal(erased[outside], images[outside])
    assert erased[..., 10:30, 5:25].std((2, 3)).max() < 0.2 * images.std()
    assert torch.allclose(erased[..., 10:30, 5:25].mean((2, 3)), images.mean((2, 3)), atol=0.05)


def test_another_fill_is_refused(maps):
    with pytest.raises(ValueError, match="choose one of mean, blurred"):
        erasing.cover(torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool), "black")


def test_probabilities_are_those_of_the_classes_in_percent():
    from cambook import networks

    network = networks.build("mini-gap", 3, seed=0)
    images = torch.rand(5, 3, 64, 64)
    together = sum(erasing.probabilities(network, images, torch.full((5,), c)) for c in range(3))
    assert torch.equal(
        erasing.probabilities(network, images, 2), erasing.probabilities(network, images, torch.full((5,), 2))
    )
    assert torch.allclose(together, torch.full((5,), 100.0), atol=1e-3)


def test_of_one_picture_the_highest_places_and_as_much_elsewhere_are_erased():
    from cambook import networks

    network = networks.build("mini-gap", 5, seed=0)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    found = erasing.on_one_picture(network, image, share=0.2, places=4, seed=0)
    changed = [(one != image[0]).any(0).sum().item() for one in found.pictures]
    assert changed == [0, round(0.2 * 64 * 64), round(0.2 * 64 * 64)] and len(found.after_elsewhere) == 4
    before, after = erasing.probabilities(network, torch.stack(found.pictures[:2]), torch.tensor([found.label] * 2))
    assert found.before == pytest.approx(before.item()) and found.after == pytest.approx(after.item(), abs=1e-4)
    assert found.label == network(image)[0].argmax()
    assert found.captions("abcde")[0].startswith("abcde"[found.label])
