"""Maps of one class for each image, and what lessons 03 and 03b count on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from cambook import maps, metrics
from cambook.course.lessons.second_look import crop
from cambook.maps.boxes import box_from_map, mask_above


def class_maps(feature_maps: Tensor, weight: Tensor, classes: Tensor, size: int | tuple[int, int]) -> Tensor:
    """The class activation map of one class for each image, at the size of the image.

    Args:
        feature_maps: (B, K, h, w).
        weight: (C, K), the rows of the classifier.
        classes: (B,), the class whose map is wanted for each image.
        size: of the image, one side or (H, W).

    Returns:
        (B, H, W), raw.

    Example:
        >>> features = torch.tensor([[[[1.0, 3.0]]]])  # one image, one feature map of 1 x 2 positions
        >>> class_maps(features, torch.tensor([[2.0], [-1.0]]), torch.tensor([1]), (1, 2)).tolist()
        [[[-1.0, -3.0]]]
    """
    return maps.upsample(maps.class_activation_map(feature_maps, weight[classes][:, None]), size)[:, 0]


def as_read(maps_: ArrayLike, rule: str = "paper") -> np.ndarray:
    """Maps (B, H, W) in [0, 1] as a box rule reads them: "paper" from 0 to the maximum, "wsol" from the minimum.

    A map without a position above 0 is 0 everywhere under rule "paper".
    """
    values = maps.as_array(maps_).astype(np.float32)
    low = values.min((1, 2), keepdims=True) if rule == "wsol" else np.zeros((len(values), 1, 1), np.float32)
    span = values.max((1, 2), keepdims=True) - low
    return np.where(span > 0, ((values - low) / np.where(span > 0, span, 1)).clip(0, 1), 0)


def map_boxes(maps_: ArrayLike, rule: str, threshold: float) -> list[np.ndarray | None]:
    """The box of each of the maps (B, H, W), by a rule at a threshold; None where nothing is above it."""
    return [box_from_map(one, rule, threshold) for one in maps.as_array(maps_)]


def middle_correct(side: float, size: int, truth: Sequence[ArrayLike]) -> np.ndarray:
    """Whether one centred square, the same for every image, is right at IoU 0.5.

    Args:
        side: of the square, in pixels.
        size: side of the images.
        truth: N times (n_i, 4), the true boxes.

    Returns:
        (N,) bool.

    Example:
        >>> middle_correct(2, 4, [[[1, 1, 3, 3]], [[0, 0, 1, 1]]]).tolist()
        [True, False]
    """
    low = (size - side) / 2
    return metrics.gt_known_correct([[low, low, low + side, low + side]] * len(truth), truth)


def perfect_maps(masks: Tensor, cells: int) -> Tensor:
    """The maps of a network that is always right and only coarse: in each cell the share of it that the object covers.

    masks: (B, S, S) bool; cells: of the map along a side; returns (B, S, S), enlarged as any map is
    """
    return maps.upsample(F.adaptive_avg_pool2d(masks[:, None].float(), cells), masks.shape[-1])[:, 0]


def object_covered(maps_: Tensor, masks: Tensor) -> float:
    """How much of the object a map keeps that may keep as many pixels as the object has, in percent, on average.

    maps_: (B, H, W); masks: (B, H, W) bool. No threshold is chosen: each map's is the one that keeps so many pixels.

    Example:
        >>> object_covered(torch.tensor([[[5.0, 4.0, 1.0, 0.0]]]), torch.tensor([[[True, False, True, False]]]))
        50.0
    """
    kept = []
    for one, mask in zip(maps_, masks, strict=True):
        level = one.flatten().sort(descending=True).values[mask.sum() - 1]
        kept.append((one[mask] >= level).float().mean().item())
    return 100 * float(np.mean(kept))


def peak_in_own_half(maps_: Tensor) -> Tensor:
    """Whether the maximum of each map lies in the half of its own object, in images of two objects side by side.

    maps_: (B, 2, h, w), for each image the map of the class on the left and of the class on the right
    returns: (B, 2) bool

    Example:
        >>> peak_in_own_half(torch.tensor([[[[9.0, 0.0]], [[5.0, 1.0]]]])).tolist()
        [[True, False]]
    """
    width = maps_.shape[3]
    column = maps_.flatten(2).argmax(2) % width
    return (column >= width // 2) == torch.tensor([False, True], device=maps_.device)


def sliding_windows(width: int, height: int, sizes: Sequence[tuple[int, int]], step: int) -> list[tuple[int, ...]]:
    """All windows of some sizes (w, h) that fit an image, moved in steps: (x0, y0, x1, y1), half-open.

    Example:
        >>> sliding_windows(4, 2, [(2, 2)], 1)
        [(0, 0, 2, 2), (1, 0, 3, 2), (2, 0, 4, 2)]
    """
    return [
        (x, y, x + w, y + h)
        for w, h in sizes
        for y in range(0, height - h + 1, step)
        for x in range(0, width - w + 1, step)
    ]


@torch.no_grad()
def best_windows(network: torch.nn.Module, images: Tensor, classes: Tensor, windows: Sequence[Sequence[int]]) -> Tensor:
    """The window of each image for which the network finds a class most probable: a forward pass for each window.

    Args:
        network: gives (logits, feature maps) for images (B, 3, S, S).
        images: (B, 3, S, S).
        classes: (B,), the class that is looked for in each image.
        windows: (N, 4), each cut out and enlarged to S x S.

    Returns:
        (B, 4) float32.
    """
    windows = torch.as_tensor(windows, dtype=torch.float32)
    found = []
    for image, wanted in zip(images, classes.tolist(), strict=True):
        pieces = crop(image.expand(len(windows), -1, -1, -1), windows, image.shape[-1])
        found.append(windows[network(pieces)[0].softmax(1)[:, wanted].argmax()])
    return torch.stack(found)


@torch.no_grad()
def steps_to_a_box(
    network: torch.nn.Module, image: Tensor, wanted: int, rule: str = "paper", threshold: float = 0.2
) -> dict[str, Tensor | np.ndarray | None]:
    """What `show.pipeline` draws: an image, its feature maps, the weights of a class, its map, the mask and the box.

    Args:
        network: with `class_weight`; gives (logits, feature maps).
        image: (3, H, W).
        wanted: the class.
        rule, threshold: of the mask and the box.

    Returns:
        image, feature_maps (K, h, w), weights (K,), map2d (h, w), mask (H, W) bool, box (4,) or None.
    """
    features = network(image[None])[1][0]
    weights = network.class_weight[wanted]
    small = maps.class_activation_map(features[None], weights[None])
    large = maps.upsample(small, tuple(image.shape[1:]))[0, 0].numpy()
    mask, box = mask_above(large, threshold, rule), box_from_map(large, rule, threshold)
    return {
        "image": image,
        "feature_maps": features,
        "weights": weights,
        "map2d": small[0, 0],
        "mask": mask,
        "box": box,
    }
