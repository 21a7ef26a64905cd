"""Lesson 07b: seeds from a map, how masks are scored, and how to fill what is erased."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task


def _maps_and_levels(g):
    """With a map that reaches both thresholds exactly, and whose minimum is larger in size than its maximum."""
    levels = (((5, 5), (0.6, 0.2)), ((4, 7), (0.4, 0.1)), ((8, 3), (0.5, 0.3)))
    result = [(normal(g, *shape) + 0.5, *shares) for shape, shares in levels]
    exact = torch.tensor([[4.0, 2, 1, 3], [1.5, -10, 2, 0], [1, 2.5, 0.5, 4]], dtype=torch.float64)
    return [*result, (exact, 0.5, 0.25)]


@exercise(
    "seeds (h, w) of a map: 1 where it is at least `foreground` of its maximum, 0 where it is at most `background` "
    "of it, -100 between",
    inputs=_maps_and_levels,
    hints=[
        "Divide the map by its maximum; a negative position is then below every background threshold.",
        "Start with torch.full(map2d.shape, -100) and fill in the ones and the zeros.",
        "value = map2d / map2d.max(); result[value >= foreground] = 1; result[value <= background] = 0",
    ],
)
def cam_seeds(map2d, foreground, background):
    value = map2d / map2d.max()
    result = torch.full(map2d.shape, -100)
    result[value >= foreground] = 1
    result[value <= background] = 0
    return result


@cam_seeds.mistake("the thresholds are shares of the map's maximum; divide by it first")
def undivided(map2d, foreground, background):
    result = torch.full(map2d.shape, -100)
    result[map2d >= foreground] = 1
    result[map2d <= background] = 0
    return result


def _seeds(value, object_here, background_here):
    result = torch.full(value.shape, -100)
    result[object_here] = 1
    result[background_here] = 0
    return result


@cam_seeds.mistake("a position exactly at a threshold is a seed too: at least is >=, at most is <=")
def strict_seeds(map2d, foreground, background):
    value = map2d / map2d.max()
    return _seeds(value, value > foreground, value < background)


@cam_seeds.mistake("a position exactly at the foreground threshold is object: at least is >=, not >")
def strict_foreground(map2d, foreground, background):
    value = map2d / map2d.max()
    return _seeds(value, value > foreground, value <= background)


@cam_seeds.mistake("a position exactly at the background threshold is background: at most is <=, not <")
def strict_background(map2d, foreground, background):
    value = map2d / map2d.max()
    return _seeds(value, value >= foreground, value < background)


@cam_seeds.mistake(
    "you divided by the largest |value|, which can be that of a very negative position; divide by the map's maximum"
)
def largest_size(map2d, foreground, background):
    value = map2d / map2d.abs().max()
    return _seeds(value, value >= foreground, value <= background)


@cam_seeds.mistake(
    "you took the absolute values first, so a very negative position passes for object; divide the map as it is by its "
    "maximum"
)
def without_sign(map2d, foreground, background):
    return cam_seeds.reference(map2d.abs(), foreground, background)


@cam_seeds.mistake("you shifted the minimum to 0; here a position below 0 is background whatever its size")
def stretched(map2d, foreground, background):
    return cam_seeds.reference(map2d - map2d.min(), foreground, background)


@cam_seeds.mistake("what is not sure must be ignored (-100), not background")
def no_doubt(map2d, foreground, background):
    return (map2d / map2d.max() >= foreground).long()


@cam_seeds.mistake("you exchanged object (1) and background (0)")
def exchanged(map2d, foreground, background):
    right = cam_seeds.reference(map2d, foreground, background)
    return torch.where(right == -100, right, 1 - right)


def _masks(g):
    result = []
    for count, side in ((3, 6), (2, 9), (4, 5)):
        truth = g.random((count, side, side)) < g.random((count, 1, 1))
        found = truth ^ (g.random(truth.shape) < 0.3 * g.random((count, 1, 1)))
        result.append((found, truth))
    return result


@exercise(
    "mean IoU in percent of masks (N, H, W) bool: IoU of the object and IoU of the background over all pixels of the "
    "set, then their mean",
    inputs=_masks,
    hints=[
        "IoU of the object: pixels True in both, divided by pixels True in either; & and | and .sum().",
        "The background is the same with ~found and ~truth.",
        "Sum over ALL images before you divide.",
    ],
)
def mean_iou(found, truth):
    of_object = (found & truth).sum() / (found | truth).sum()
    of_background = (~found & ~truth).sum() / (~found | ~truth).sum()
    return 100 * (of_object + of_background) / 2


@mean_iou.mistake("this is the IoU of the object alone; the background counts as a class too")
def object_only(found, truth):
    return 100 * (found & truth).sum() / (found | truth).sum()


@mean_iou.mistake("this is the share of right pixels; it is high wherever the background is large")
def pixel_accuracy(found, truth):
    return 100 * (found == truth).mean()


@mean_iou.mistake("you averaged over images; add up the pixels of the whole set before you divide")
def picture_by_picture(found, truth):
    return np.mean([mean_iou.reference(a, b) for a, b in zip(found, truth, strict=True)])


@mean_iou.mistake("you divided by both areas added up (half of the Dice score); the shared pixels count once")
def added_areas(found, truth):
    of_object = (found & truth).sum() / (found.sum() + truth.sum())
    of_background = (~found & ~truth).sum() / ((~found).sum() + (~truth).sum())
    return 100 * (of_object + of_background) / 2


@mean_iou.mistake("this is a share between 0 and 1; give percent")
def unit_share(found, truth):
    return mean_iou.reference(found, truth) / 100


# ---- the open task ----


def mean_of_the_rest(image, region):
    filled = image.clone()
    filled[:, region] = image[:, ~region].mean(1, keepdim=True)
    return filled


def _images_and_regions():
    """Two images (3, H, W) in [0, 1] with a region (H, W) each."""
    g = np.random.default_rng(11)
    for (height, width), (top, left, side) in (((24, 24), (5, 9, 10)), ((20, 28), (0, 16, 8))):
        region = torch.zeros(height, width, dtype=torch.bool)
        region[top : top + side, left : left + side] = True
        region[top, left] = False
        yield torch.from_numpy(g.random((3, height, width))), region


def _shuffled(image, region):
    """The image with the pixels of its region in another order."""
    order = torch.from_numpy(np.random.default_rng(3).permutation(int(region.sum())))
    shuffled = image.clone()
    shuffled[:, region] = image[:, region][:, order]
    return shuffled


@task(
    "the image (3, H, W), in [0, 1], with the pixels of the region (H, W) bool filled so that nothing of what was "
    "there can be seen; the filling is your choice",
    hints=[
        "Copy the image first; filled[:, region] are the pixels to be replaced, (3, n).",
        "One colour will do: grey, the mean of the other pixels, a colour from the rim. So will noise, or a patch from "
        "elsewhere.",
        "filled = image.clone(); filled[:, region] = image[:, ~region].mean(1, keepdim=True)",
    ],
    example=mean_of_the_rest,
)
def erased_image(function):
    for image, region in _images_and_regions():
        filled = np.asarray(function(image.clone(), region.clone()), dtype=np.float64)
        if filled.shape != tuple(image.shape):
            yield f"give an image of the same shape, {tuple(image.shape)}, not {filled.shape}"
        if not (np.isfinite(filled).all() and filled.min() >= 0 and filled.max() <= 1):
            yield "an image has values from 0 to 1; yours leave that range"
        outside = ~region.numpy()
        if np.abs(filled - image.numpy())[:, outside].max() > 1e-6:
            yield "pixels outside the region have changed; only the region may be filled"
        other, inside = _shuffled(image, region), region.numpy()
        again = np.asarray(function(other.clone(), region.clone()), dtype=np.float64)
        if np.abs(again - filled)[:, inside].mean() > 0.1 * (other - image).abs().numpy()[:, inside].mean():
            yield (
                "what was in the region can still be seen: with its pixels in another order, your filling looks "
                "different. Let it depend on the other pixels, or on none"
            )


@erased_image.wrong
def untouched(image, region):
    return image.clone()


@erased_image.wrong
def dimmed(image, region):
    return torch.where(region, 0.4 * image, image)


@erased_image.wrong
def everything(image, region):
    return image.mean((1, 2), keepdim=True).expand_as(image)


@erased_image.wrong
def below_black(image, region):
    return image.masked_fill(region, -1.0)


@erased_image.wrong
def a_little_blur(image, region):
    blurred = torch.nn.functional.avg_pool2d(image[None], 3, 1, 1, count_include_pad=False)[0]
    return torch.where(region, blurred, image)


@erased_image.wrong
def the_region_alone(image, region):
    return torch.full((3, int(region.sum())), 0.5)
