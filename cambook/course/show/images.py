"""Images, and maps and masks laid over them, as arrays of pixels."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import ListedColormap, to_rgb
from PIL import Image

from cambook import maps
from cambook.course.show.style import PREDICTED

_LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue
LEVEL = 0.2  # of a map's maximum: the paper's threshold, along which a line is drawn unless another one is given
SHARP = 256  # pixels: images with fewer a side are enlarged smoothly before they are drawn


def array(values: Any) -> np.ndarray:
    """Numbers as a numpy array, whether they came as a tensor (on any device), an array or a list."""
    return maps.as_array(values)


def as_boxes(found: Any) -> np.ndarray:
    """(n, 4) boxes from one box, several, an empty list or None."""
    return np.zeros((0, 4)) if found is None else array(found).reshape(-1, 4).astype(np.float64)


def pixels(image: Any) -> np.ndarray:
    """An image as (H, W, 3) uint8, from (3, H, W) or (H, W, 3), either uint8 or float in [0, 1].

    raises: ValueError for another shape or for floats outside [0, 1]
    """
    image = array(image)
    if image.ndim == 3 and image.shape[0] == 3:
        image = image.transpose(1, 2, 0)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image has shape (3, H, W) or (H, W, 3), not {image.shape}: pass one image, not a batch.")
    if image.dtype == np.uint8:
        return image
    if not (image.min() >= -1e-4 and image.max() <= 1 + 1e-4):
        raise ValueError(
            f"the image runs from {image.min():.3g} to {image.max():.3g}: pass values in [0, 1], "
            "as they are before any normalization."
        )
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def frame_of(image: Any, frame: int | tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the image that boxes belong to: `frame`, a side or (H, W), or those of the image."""
    if frame is None:
        return pixels(image).shape[:2]
    return (frame, frame) if isinstance(frame, int | np.integer) else tuple(frame)


def enlarged(image: Any, side: int = SHARP) -> np.ndarray:
    """An image as (H, W, 3) uint8, enlarged smoothly by a whole factor until its longer side has at least `side`
    pixels: a figure shows no blocks."""
    image = pixels(image)
    height, width = image.shape[:2]
    factor = -(-side // max(height, width))
    if factor <= 1:
        return image
    return np.asarray(Image.fromarray(image).resize((width * factor, height * factor), Image.Resampling.BICUBIC))


def overlay(image: Any, map2d: Any, opacity: float = 0.8, grey: bool = True, level: float | None = LEVEL) -> np.ndarray:
    """The image in grey under its map in magma, and a line around what is lit. Where the map is low the image stays
    visible, since opacity grows with the value.

    image:   (3, H, W) or (H, W, 3) in [0, 1]
    map2d:   (h, w) in [0, 1], of any size: brought to the image's size by `maps.upsample`
    opacity: of the map at the pixels at which it is 1; grey: whether the image loses its own colours
    level:   value of the map along which the line is drawn, None for no line
    returns: (H, W, 3) uint8
    raises:  ValueError if the map is not one map in [0, 1]
    """
    picture = pixels(image)
    value = sized(map2d, picture.shape[:2])
    if grey:
        picture = np.repeat((picture @ _LUMINANCE)[..., None], 3, 2)
    blended = _blended(picture, value, opacity)
    return blended if level is None else outlined(blended, value > level)


def outlined(image: Any, mask: Any, colour: str = PREDICTED) -> np.ndarray:
    """The image with a line around a mask, dark on both sides so that it is seen on any photograph.

    image: (3, H, W) or (H, W, 3) in [0, 1]; mask: (h, w) bool of any size; returns (H, W, 3) uint8

    Example:
        >>> mask = np.zeros((1, 10), bool)
        >>> mask[:, :5] = True
        >>> outlined(np.zeros((10, 10, 3)), mask, "white")[5, :, 0].tolist()
        [255, 17, 0, 17, 255, 255, 17, 0, 0, 0]
    """
    picture = pixels(image).copy()
    inside = torch.from_numpy(smooth_mask(mask, picture.shape[:2]))[None].float()
    half = max(1, round(max(picture.shape) / 400))  # of the line's width, in pixels
    for reach, tint in ((half + 1, "#111111"), (half, colour)):
        padded = F.pad(inside, [reach + 1] * 4)
        wider, narrower = (sign * F.max_pool2d(sign * padded, 2 * reach + 1, 1, reach) for sign in (1, -1))
        line = (wider > narrower)[0, reach + 1 : -reach - 1, reach + 1 : -reach - 1]
        picture[line.numpy()] = [round(255 * part) for part in to_rgb(tint)]
    return picture


def sized(map2d: Any, size: tuple[int, int]) -> np.ndarray:
    """One map in [0, 1], brought to `size` by `maps.upsample`. Raises ValueError for anything else."""
    value = array(map2d).astype(np.float32)
    if value.ndim != 2:
        raise ValueError(f"overlay draws one map (h, w), not {value.shape}: choose one, for instance maps[0, c].")
    if not (value.min() >= -1e-4 and value.max() <= 1 + 1e-4):
        raise ValueError(
            f"the map runs from {value.min():.3g} to {value.max():.3g}: bring it to [0, 1] with cambook.maps.normalize."
        )
    if value.shape != tuple(size):
        value = maps.upsample(torch.from_numpy(value)[None, None], tuple(size))[0, 0].numpy()
    return value.clip(0, 1)


def _blended(picture: np.ndarray, value: np.ndarray, opacity: float) -> np.ndarray:
    alpha = opacity * value[..., None]
    colour = plt.get_cmap("magma")(value)[..., :3] * 255
    return ((1 - alpha) * picture + alpha * colour).round().astype(np.uint8)


def overlaid_colours(opacity: float = 0.8) -> ListedColormap:
    """The colours that `overlay` gives a mid-grey image, for a colour bar."""
    steps = np.linspace(0, 1, 256, dtype=np.float32)[None]
    return ListedColormap(_blended(np.full((1, 256, 3), 128.0), steps, opacity)[0] / 255)


def left_over(image: Any, kept: Any) -> np.ndarray:
    """The image in flat grey wherever a coarse mask does not keep it, each cell of the mask a rectangle.

    image: (3, H, W) or (H, W, 3) in [0, 1]; kept: (h, w) bool, for instance what ACoL's second branch is left with
    returns: (H, W, 3) uint8; raises ValueError if the mask is not one of (h, w)
    """
    picture, kept = pixels(image), array(kept).astype(bool)
    if kept.ndim != 2:
        raise ValueError(f"left_over draws one mask (h, w), not {kept.shape}: choose one, for instance kept[0].")
    (height, width), (rows, columns) = picture.shape[:2], kept.shape
    large = kept[np.arange(height) * rows // height][:, np.arange(width) * columns // width]
    return np.where(large[..., None], picture, 128).astype(np.uint8)


def smooth_mask(mask: Any, size: tuple[int, int]) -> np.ndarray:
    """A mask (h, w) bool at another size, its edges smooth rather than steps of large pixels."""
    mask = array(mask).astype(bool)
    if mask.shape == tuple(size):
        return mask
    values = torch.from_numpy(mask.astype(np.float32))[None, None]
    return (F.interpolate(values, tuple(size), mode="bicubic", align_corners=False)[0, 0] > 0.5).numpy()
