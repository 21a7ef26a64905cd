"""The few-shot baseline: instead of tuning a threshold, let the boxed images teach a very small localizer.

The network stays as the labels made it. From its feature maps one more row of weights is learned by ridge regression,
that of a class "object": its map says how much of each position the object's box covers. Choe et al. 2020 hold such a
use of the same boxes against weak supervision; theirs trains a network for it, ours is one ridge regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from sklearn.linear_model import Ridge
from torch import Tensor
from tqdm.auto import tqdm

from cambook import metrics
from cambook.maps.boxes import largest_component, tight_box
from cambook.maps.cam import class_activation_map, upsample

RIDGE = 300.0  # chosen on scenes that no lesson shows (train split, pictures 5000 to 6099)


@dataclass(frozen=True)
class Localizer:
    """weight (1, K) and bias of the class "object", float32."""

    weight: Tensor
    bias: float

    def maps(self, feature_maps: Tensor) -> Tensor:
        """feature_maps (B, K, h, w) -> (B, 1, h, w): the share of each position that the object's box should cover."""
        return class_activation_map(feature_maps, self.weight.to(feature_maps)) + self.bias

    def boxes(self, feature_maps: Tensor, size: int, threshold: float = 0.5) -> list[np.ndarray | None]:
        """The box of each image, half-open, in pixels of an image of side `size`; None where no position is above.

        Its largest piece (pixels, 8-connected) with more than `threshold` of it covered: a share has a natural
        threshold, one half, so none is tuned.
        """
        full = upsample(self.maps(feature_maps), size)[:, 0].cpu().numpy()
        found = [tight_box(largest_component(share > threshold)) for share in full]
        return [None if box is None else np.array(box) for box in found]


def box_share(boxes: list[ArrayLike], size: int, places: tuple[int, int]) -> Tensor:
    """How much of each position is covered by the boxes of the image, from 0 to 1: (N, h, w).

    boxes: N times (n, 4), half-open, in pixels of an image of side `size`, rounded to whole ones; places: (h, w)
    """
    inside = torch.zeros(len(boxes), 1, size, size)
    for picture, its_boxes in zip(inside, boxes, strict=True):
        for x0, y0, x1, y1 in np.round(its_boxes).astype(int):
            picture[0, y0:y1, x0:x1] = 1
    return F.adaptive_avg_pool2d(inside, places)[:, 0]


def fit(feature_maps: Tensor, boxes: list[ArrayLike], size: int, ridge: float = RIDGE) -> Localizer:
    """A localizer from n boxed images: min over v, b of sum (v . f(x, y) + b - share(x, y))^2 + ridge s^2 |v|^2.

    s^2 is the mean variance of a feature map over these images, so that the scale of the features has no say.

    feature_maps: (n, K, h, w), n >= 1, of the frozen network; boxes: n times (m, 4) in pixels of side `size`
    raises: ValueError where there are not as many boxes as images, none, or ridge is not above 0
    The sum runs over all positions of all images; every position counts alone, as in a 1x1 convolution.
    """
    if len(feature_maps) != len(boxes) or not len(boxes):
        raise ValueError(f"{len(feature_maps)} images, boxes of {len(boxes)}: give as many, and at least one.")
    if not ridge > 0:
        raise ValueError(f"ridge={ridge} leaves the weights undetermined: give a number above 0.")
    share = box_share(boxes, size, tuple(feature_maps.shape[2:])).flatten().double()
    places = feature_maps.detach().cpu().movedim(1, 3).flatten(0, 2).double()  # (n h w, K)
    variance = (places - places.mean(0)).square().mean()
    found = Ridge(alpha=ridge * float(variance)).fit(places.numpy(), share.numpy())
    return Localizer(torch.from_numpy(found.coef_).float()[None], float(found.intercept_))


def accuracies(
    feature_maps: Tensor,
    boxes: list[ArrayLike],
    test_maps: Tensor,
    test_boxes: list[ArrayLike],
    size: int,
    numbers: Sequence[int],
    repeats: int,
    seed: int,
) -> np.ndarray:
    """Share of test images with a right box (plain IoU >= 0.5, percent) of localizers from n drawn boxed images.

    feature_maps, boxes: of the M images that may be drawn; test_maps, test_boxes: of the N test images
    numbers: the n to try; seed: draw r shows each n the first images of one order, the very ones that tuning.tune
             draws with this seed
    returns: (repeats, len(numbers))
    """
    draw = np.random.default_rng(seed)
    found = np.empty((repeats, len(numbers)))
    for r in tqdm(range(repeats), desc="few-shot", unit="draw", leave=False):
        order = draw.permutation(len(boxes))
        for i, n in enumerate(numbers):
            localizer = fit(feature_maps[order[:n]], [boxes[k] for k in order[:n]], size)
            found[r, i] = metrics.gt_known_accuracy(localizer.boxes(test_maps, size), test_boxes)
    return found
