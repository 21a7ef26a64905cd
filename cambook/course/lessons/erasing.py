"""Evidence by erasing: take a region out of an image and see whether the network still says the same.

A region is (S, S) bool, True where the image is erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cambook.maps.cam import blur, class_activation_map, upsample
from cambook.maps.gradients import choose_classes
from cambook.networks.base import Network
from cambook.training.fitting import generator

FILLS = ("mean", "blurred")
BLUR_SHARE = 0.12  # standard deviation of the blur that takes an object's shape away, as a share of the picture's side


def top_region(maps: Tensor, share: float) -> Tensor:
    """The given share of the pixels, those where the map is highest: (B, H, W) -> (B, H, W) bool.

    Every region has the same number of pixels, so that none is larger evidence only because it is larger.
    raises: ValueError where the share leaves no pixel, or all
    """
    count = round(share * maps[0].numel())
    if not 0 < count < maps[0].numel():
        raise ValueError(f"share={share} erases nothing, or everything: give a number between 0 and 1.")
    places = maps.flatten(1).topk(count).indices
    return torch.zeros_like(maps.flatten(1), dtype=torch.bool).scatter_(1, places, True).view(maps.shape)


def elsewhere(regions: Tensor, seed: int) -> Tensor:
    """Each region moved to a random other position, its shape kept: (B, H, W) bool -> (B, H, W) bool.

    What leaves the image at one edge comes back at the other one. The position is drawn from those where the moved
    region shares as few pixels as it can with the region itself, none if that is possible.
    """
    moved = torch.empty_like(regions)
    for i, region in enumerate(regions):
        spectrum = torch.fft.rfft2(region.double())
        shared = torch.fft.irfft2(spectrum.abs() ** 2, s=region.shape).round()  # pixels shared at each shift
        shifts = torch.nonzero(shared == shared.min())
        dy, dx = shifts[torch.randint(len(shifts), (), generator=generator(seed, i))].tolist()
        moved[i] = region.roll((dy, dx), (0, 1))
    return moved


def enlarged(regions: Tensor, side: int) -> Tensor:
    """Regions (B, S, S) bool on a finer grid (B, side, side) bool, with smooth edges, for drawing.

    Example:
        >>> region = torch.zeros(1, 4, 4, dtype=torch.bool)
        >>> region[0, :2] = True
        >>> enlarged(region, 8)[0, :, 0].tolist()
        [True, True, True, True, False, False, False, False]
    """
    return upsample(regions[:, None].float(), (side, side))[:, 0] > 0.5


def cover(images: Tensor, regions: Tensor, fill: str = "mean") -> Tensor:
    """The images with their regions filled: (B, 3, H, W) and (B, H, W) bool -> (B, 3, H, W).

    fill "mean":    one colour, the image's own mean
    fill "blurred": a copy so blurred that no shape is left, which leaves the colours roughly where they were
    raises: ValueError for another fill
    """
    if fill not in FILLS:
        raise ValueError(f"fill={fill!r} is unknown: choose one of {', '.join(FILLS)}.")
    filling = images.mean((2, 3), keepdim=True) if fill == "mean" else blur(images, BLUR_SHARE * images.shape[-1])
    return torch.where(regions[:, None], filling, images)


class OnePicture(NamedTuple):
    """Erasing in one image: probabilities of its most likely class, in percent.

    label: that class; before, after: with nothing erased, with the map's highest positions erased
    after_elsewhere: as much erased in other positions, one number per position
    pictures: three (3, H, W), whole, without the highest positions, and without the first of the other positions
    """

    label: int
    before: float
    after: float
    after_elsewhere: list[float]
    pictures: list[Tensor]

    def captions(self, names: Sequence[str]) -> list[str]:
        """A title for each of the three images; names: those of the network's classes."""
        low, high = min(self.after_elsewhere), max(self.after_elsewhere)
        places = len(self.after_elsewhere)
        return [
            f"{names[self.label]}: {self.before:.0f}%",
            f"without the high positions: {self.after:.0f}%",
            f"elsewhere: {low:.0f} to {high:.0f}%\n({places} positions, one shown)",
        ]


def on_one_picture(
    network: Network, image: Tensor, share: float, places: int, seed: int, fill: str = "mean"
) -> OnePicture:
    """Takes the highest share of the most likely class's activation map out of an image (1, 3, H, W), and as much from
    `places` random other positions."""
    with torch.no_grad():
        logits, feature_maps = network.eval()(image)
    label = logits[0].argmax()
    map_of_label = upsample(class_activation_map(feature_maps, network.class_weight[label][None]), image.shape[-2:])
    region = top_region(map_of_label[:, 0], share)
    others = elsewhere(region.expand(places, -1, -1), seed)
    shown = torch.cat([image, cover(image, region, fill), *(cover(image, other[None], fill) for other in others)])
    found = probabilities(network, shown, label.expand(len(shown)))
    return OnePicture(int(label), float(found[0]), float(found[1]), found[2:].tolist(), list(shown[:3].cpu()))


@torch.no_grad()
def probabilities(network: Network, images: Tensor, classes: Tensor | int) -> Tensor:
    """What the network gives each image's class, in percent: (B, 3, H, W) and (B,), or one class for all -> (B,)."""
    network.eval()
    found = torch.cat([network(some)[0].softmax(1) for some in images.split(128)])
    return 100 * found.gather(1, choose_classes(found, classes, one_each=True))[:, 0]
