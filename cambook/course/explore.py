"""Widgets: move a slider, see the map, the box or the image change.

Each widget is drawn once with its defaults when it is made, so that a saved page shows an image even if
nothing runs.
Images are blended with numpy and sent as one image, which follows a slider closely; matplotlib is for
still figures.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from cambook import maps
from cambook.course import show
from cambook.course.show import as_rule_reads
from cambook.maps import boxes
from cambook.maps.cam import erase, fuse

LONG_SIDE = 448
_WIDE = {"description_width": "90px"}
_OWN_SIZE = {"align_self": "flex-start"}  # a box of widgets stretches an image to its own width


def cam_explorer(
    image: Any,
    maps: Any,
    names: Sequence[str],
    rule: str = "paper",
    threshold: float = 0.2,
    truth: Any = None,
    frame: int | tuple[int, int] | None = None,
) -> widgets.VBox:
    """Choose the class, the box rule and the threshold; see the map over the image and its box at once.

    image: (3, H, W) or (H, W, 3) in [0, 1]
    maps:  (C, h, w) raw, before any normalization
    names: C class names
    truth: one true box (x0, y0, x1, y1) or several, in pixels of the image: drawn solid, its IoU said below
    frame: side or (H, W) of the images that boxes are measured in, if `image` is drawn at another size

    Its still is `show.thresholds`, or `show.pictures` of several classes.

    The map is shown as the rule reads it: "paper" divides by the maximum and shows nothing below zero, "wsol"
    runs from the minimum to the maximum. The share of the image counts every pixel kept, in all components.
    raises: ValueError if the number of names and maps differ or the rule is unknown
    """
    picture, raw = show.pixels(image), torch.from_numpy(np.array(show.array(maps), dtype=np.float32))
    if raw.ndim != 3 or len(raw) != len(names):
        raise ValueError(f"{len(names)} names but maps of shape {tuple(raw.shape)}: give maps (C, h, w) and C names.")
    if rule not in boxes.RULES:
        raise ValueError(f"unknown box rule {rule!r}: use one of {', '.join(boxes.RULES)}.")
    size = show.frame_of(picture, frame)
    large, canvas = _upsample(raw, size), _enlarged(picture)
    shown = _upsample(raw, canvas.shape[:2])

    which = widgets.Dropdown(options=[(name, i) for i, name in enumerate(names)], description="class", style=_WIDE)
    by = widgets.Dropdown(options=boxes.RULES, value=rule, description="box rule", style=_WIDE)
    level = _slider("threshold", (0.0, 0.95, 0.01, threshold))
    screen, line = widgets.Image(format="png", layout=_OWN_SIZE), widgets.Label()

    def draw(_: Any = None) -> None:
        raw_map = large[which.value]
        mask = boxes.mask_above(raw_map, level.value, by.value)
        box = boxes.box_from_map(raw_map, by.value, level.value)
        blended = show.overlay(canvas, as_rule_reads(shown[which.value], by.value), level=level.value)
        scale = blended.shape[1] / size[1], blended.shape[0] / size[0]
        screen.value = _png(draw_boxes(blended, truth, box, scale))
        line.value = describe(box, mask, truth, names[which.value], by.value, level.value)

    return _assemble([which, by, level], screen, line, draw)


def play(render: Callable[..., Any], **sliders: Any) -> widgets.VBox:
    """One image that follows sliders: render(**values) gives (H, W, 3) uint8 for the sliders' values, or that
    and one line of text to write below it.

    sliders: name=(low, high, step, start) a slider, whole numbers if all four are; name=[option, ...] a
    list to choose from.
    An underscore in a name is shown as a space. Its still is `still` with the same render.
    """
    controls = {name: _control(name.replace("_", " "), given) for name, given in sliders.items()}
    screen, line = widgets.Image(format="png", layout=_OWN_SIZE), widgets.Label()

    def draw(_: Any = None) -> None:
        drawn = render(**{name: each.value for name, each in controls.items()})
        picture, line.value = drawn if isinstance(drawn, tuple) else (drawn, "")
        screen.value = _png(_enlarged(picture))

    return _assemble(list(controls.values()), screen, line, draw)


def still(
    render: Callable[..., Any],
    settings: Mapping[str, Mapping[str, Any]],
    takeaway: str = "",
    columns: int | None = None,
) -> Figure:
    """What `play` shows, as a figure: the images that render(**values) gives for some settings, side by side.

    settings: {title: values of the sliders}; the line of text that render gives is left out
    """
    drawn = [render(**values) for values in settings.values()]
    images = [each[0] if isinstance(each, tuple) else each for each in drawn]
    return show.pictures(images, titles=list(settings), takeaway=takeaway, columns=columns)


def erasing_explorer(
    network: Any, images: Any, names: Sequence[str], delta: float = 0.6, sharp: Any = None
) -> widgets.VBox:
    """Move ACoL's delta and see, left to right, A's map, what is left for B, B's map and the fused map.

    network: an ACoL network; its own delta stays as it is, so away from it B sees what it was not trained on
    images:  (B, 3, H, W) in [0, 1], at least one; names: the classes
    sharp:   (B, 3, S, S), the same images as they are drawn, by default `images`
    The class is the one that branch A predicts, which is also the one that is erased. Its still is `show.branches`.
    """
    drawn = [show.enlarged(image) for image in (images if sharp is None else sharp)]
    device = network.mean.device
    with torch.no_grad():
        features = network.features(images.to(device))
        maps_a = network.branch_a(features)
    guesses = maps_a.mean((2, 3)).argmax(1).tolist()

    def render(picture: int, delta: float) -> tuple[np.ndarray, str]:
        one, guess = slice(picture, picture + 1), guesses[picture]
        seen = maps_a[one, guess, None]
        with torch.no_grad():
            seen_b = network.branch_b(erase(features[one], seen, delta))[:, guess, None]
        kept = (maps.normalize(seen) < delta)[0, 0]
        three = maps.normalize(seen), maps.normalize(seen_b), fuse(seen, seen_b)
        levels = delta, None, show.LEVEL
        a, b, fused = (
            show.overlay(drawn[picture], m[0, 0].cpu(), level=level) for m, level in zip(three, levels, strict=True)
        )
        shown = np.concatenate([a, show.left_over(drawn[picture], kept), b, fused], 1)
        erased = 1 - kept.float().mean().item()
        text = f"{names[guess]}: delta {delta:.2f} erases {erased:.0%} of the positions before B sees them."
        return shown, text

    last = len(images) - 1
    return play(render, picture=(0, last, 1, 0), delta=(0.2, 1.0, 0.05, delta))


def describe(box: Any, mask: np.ndarray, truth: Any, name: str, rule: str, threshold: float) -> str:
    """One line: the class, the rule, the box and the share of the image that the mask keeps."""
    if box is None:
        return f"{name}: no position passes rule {rule} at {threshold:.2f}, so there is no box."
    found = ", ".join(str(int(edge)) for edge in box)
    text = f"{name}: rule {rule} at {threshold:.2f} keeps {mask.mean():.0%} of the image; box ({found})"
    if truth is None:
        return text + "."
    best = boxes.box_iou(np.asarray(box)[None], show.array(truth).reshape(-1, 4)).max()
    return f"{text}, IoU {best:.2f}."


def draw_boxes(canvas: np.ndarray, truth: Any, predicted: Any, scale: float | tuple[float, float] = 1) -> np.ndarray:
    """True boxes solid and the predicted box dashed, in the colours of the figures, on a copy of canvas (H, W, 3)
    uint8.

    scale: how many pixels of the canvas one pixel of the boxes' image is, the same both ways or (across, down)
    """
    across, down = scale if isinstance(scale, tuple) else (scale, scale)
    factors = np.array([across, down, across, down])
    canvas = canvas.copy()
    for kind, found in zip(show.LINES, (truth, predicted), strict=True):
        colour = np.array(to_rgb(show.LINES[kind][0])) * 255
        for box in [] if found is None else show.array(found).reshape(-1, 4):
            _frame(canvas, box * factors, 5, np.full(3, 17.0), dashed=False)
            _frame(canvas, box * factors, 3, colour, dashed=kind == "predicted box")
    return canvas


def strip(
    images: Any,
    maps: Any,
    truth: Sequence[Any],
    predicted: Sequence[Any],
    side: int = 192,
    frame: int | tuple[int, int] | None = None,
    level: float | None = show.LEVEL,
) -> np.ndarray:
    """Images side by side, each under its map and with its boxes: (H, W, 3) uint8, for `play`.

    images: n times (3, H, W); maps: n times (h, w) in [0, 1]; truth, predicted: n times boxes as in `draw_boxes`
    side: of each image as it is drawn, its longer one, in pixels; frame: side or (H, W) of the images that the boxes
    belong to, if `images` have another; level: as in `show.overlay`
    """
    drawn = []
    for image, map2d, true_box, box in zip(images, maps, truth, predicted, strict=True):
        image = show.pixels(image)
        size = show.frame_of(image, frame)
        image = _sized(image, side / max(image.shape[:2]))
        scale = image.shape[1] / size[1], image.shape[0] / size[0]
        drawn.append(draw_boxes(show.overlay(image, map2d, level=level), true_box, box, scale))
    return np.concatenate(drawn, 1)


def _frame(canvas: np.ndarray, box: np.ndarray, width: int, colour: np.ndarray, dashed: bool) -> None:
    """Colour a frame `width` pixels wide along the edge of the box, inside the canvas; dashes of 12 pixels,
    gaps of 6."""
    height, breadth = canvas.shape[:2]
    half = width // 2
    x0, y0, x1, y1 = (int(edge) for edge in np.clip(np.round(box), 3, [breadth - 3, height - 3] * 2))
    across = slice(x0 - half, x1 + half + 1)
    down = slice(y0 - half, y1 + half + 1)
    strips = [canvas[y - half : y + half + 1, across].swapaxes(0, 1) for y in (y0, y1)]
    strips += [canvas[down, x - half : x + half + 1] for x in (x0, x1)]
    for strip in strips:
        strip[np.arange(len(strip)) % 18 < (12 if dashed else 18)] = colour


def _upsample(raw: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    return maps.upsample(raw[None], size)[0].numpy()


def _enlarged(picture: Any) -> np.ndarray:
    """Small images grow smoothly by a whole factor towards LONG_SIDE, so that boxes drawn on them stay thin."""
    picture = show.pixels(picture)
    return _sized(picture, max(1, LONG_SIDE // max(picture.shape[:2])))


def _sized(picture: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return picture
    height, width = (round(factor * side) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _control(label: str, given: Any) -> widgets.Widget:
    if isinstance(given, list):
        return widgets.Dropdown(options=given, description=label, style=_WIDE)
    if isinstance(given, tuple) and len(given) == 4:
        return _slider(label, given)
    raise ValueError(f"slider {label!r} is given as {given!r}: use (low, high, step, start) or a list of options.")


def _slider(label: str, given: tuple[float, float, float, float]) -> widgets.Widget:
    low, high, step, start = given
    kind = widgets.IntSlider if all(isinstance(number, int) for number in given) else widgets.FloatSlider
    return kind(
        min=low,
        max=high,
        step=step,
        value=start,
        description=label,
        style=_WIDE,
        layout={"width": f"{LONG_SIDE}px"},
    )


def _assemble(
    controls: list[widgets.Widget], screen: widgets.Image, line: widgets.Label, draw: Callable
) -> widgets.VBox:
    for control in controls:
        control.observe(draw, names="value")
    draw()
    return widgets.VBox([*controls, screen, line])
