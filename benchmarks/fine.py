"""How `cam-fine` was chosen: writes data/results/fine.csv, one row for each setting that was tried.

    python benchmarks/fine.py FOLDER

FOLDER contains cub, pets and tiny-imagenet in the layouts of docs/data.md. Only their training splits are used; the
test splits were opened once, by benchmarks/real.py, when the setting was chosen. The network is lite0-gap with
ImageNet's weights, the map that of its own first guess. Numbers are MaxBoxAccV2, and PxAP on pets, the only set of the
three with masks; the last column is the mean of the three V2.
"""

from __future__ import annotations

import copy
import itertools
import platform
import sys
from datetime import date

import pandas as pd
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from tqdm import tqdm

from cambook import datasets, files, networks
from cambook.maps.cam import class_activation_map, normalize
from cambook.metrics import PixelAveragePrecision
from cambook.metrics.grid import boxes_on_grid, count_boxes, maps_on_grid, masks_on_grid

SETS = {"cub": "cub:{}/cub", "pets": "pets:{}/pets", "tiny-imagenet": "tiny-imagenet:{}/tiny-imagenet"}
LENGTH, GRID, GUESSES = 250, 224, 5
SIZES, DILATED_SIZES = (224, 288, 336, 448), (224, 336)
FLIPS = (False, True)
KINDS = ("guess", *(f"guess {i}" for i in range(2, GUESSES + 1)), "mean row")


def dilated(network: networks.Network) -> networks.Network:
    """lite0-gap with its last stride 1 in place of 2 and the convolutions behind it dilated: maps of 14 x 14 cells."""
    finer = copy.deepcopy(network)
    blocks = finer.backbone.body._blocks
    (last,) = [i for i, block in enumerate(blocks) if block._depthwise_conv.stride[0] == 2][-1:]
    blocks[last]._depthwise_conv.stride = (1, 1)
    for block in blocks[last + 1 :]:
        block._depthwise_conv.dilation = (2, 2)
    return finer


@torch.no_grad()
def raw_maps(data) -> dict[tuple[bool, int, bool], Tensor]:
    """(dilated, size, mirrored) -> (N, 6, h, w): the maps of five guesses and of the mean row, mirrored back."""
    plain = networks.build("lite0-gap", 1000, weights="pretrained").eval().to(memory_format=torch.channels_last)
    both = ((plain, SIZES), (dilated(plain), DILATED_SIZES))
    found: dict[tuple[bool, int, bool], list[Tensor]] = {}
    for indices in tqdm(torch.arange(len(data)).split(25), desc=data.name.partition(":")[0]):
        images = data.batch(indices).images
        guesses = plain(images)[0].topk(GUESSES).indices
        rows = torch.cat([plain.class_weight[guesses], plain.class_weight.mean(0).expand(len(images), 1, -1)], 1)
        for network, sizes in both:
            for size, mirrored in itertools.product(sizes, FLIPS):
                seen = images if size == GRID else F.interpolate(images, size, mode="bicubic").clamp(0, 1)
                seen = seen.contiguous(memory_format=torch.channels_last)
                maps = class_activation_map(network(seen.flip(-1) if mirrored else seen)[1], rows)
                key = (network is not plain, size, mirrored)
                found.setdefault(key, []).append(maps.flip(-1) if mirrored else maps)
    return {key: torch.cat(maps) for key, maps in found.items()}


def combined(
    raw: dict, sizes=(224,), flips=False, dilate=False, minus="", relu=False, mode="bilinear", each="", end=""
) -> Tensor:
    """One map for each image, (N, 1, 224, 224), from the raw maps and one setting.

    minus: "mean row", "next guesses" (their mean), or "second guess": the map of a difference of scores
    each:  "max" or "min-max": how each map is normalized before the mean; "": not at all
    end:   what is done to the mean before it is read from its minimum to its maximum: "max" (ReLU), "PaS" (nothing is
           higher than the ninth decile), "IVR" (nothing is lower than the third decile); "": nothing
    """
    total = torch.zeros(())
    for size, mirrored in itertools.product(sizes, FLIPS if flips else (False,)):
        maps = raw[dilate, size, mirrored]
        one = maps[:, :1]
        if minus:
            one = one - {"mean row": maps[:, -1:], "second guess": maps[:, 1:2]}.get(minus, maps[:, 1:-1].mean(1, True))
        one = one.relu() if relu else one
        if each == "max":
            one = one / one.amax((-2, -1), keepdim=True).clamp(min=1e-6)
        one = normalize(one) if each == "min-max" else one
        total = total + F.interpolate(one, GRID, mode=mode)
    if end == "max":
        return total.relu()
    if end:
        level = torch.quantile(total.flatten(1), 0.9 if end == "PaS" else 0.3, dim=1)[:, None, None, None]
        return torch.minimum(total, level) if end == "PaS" else torch.maximum(total, level)
    return total


STEPS = {
    "CAM: 7 x 7 cells, bilinear": {},
    "bicubic": {"mode": "bicubic"},
    "ReLU": {"relu": True},
    "normalized by the maximum": {"end": "max"},
    "PaS": {"end": "PaS"},
    "IVR": {"end": "IVR"},
    "minus the mean row": {"minus": "mean row"},
    "minus the second guess": {"minus": "second guess"},
    "minus the next four guesses": {"minus": "next guesses"},
    "last stride 1, dilated": {"dilate": True},
    "last stride 1, dilated, at 336": {"dilate": True, "sizes": (336,)},
    "mirrored": {"flips": True},
    **{f"at {size}": {"sizes": (size,)} for size in SIZES[1:]},
    "at 224 and 336": {"sizes": (224, 336)},
    "at 224 and 448": {"sizes": (224, 448)},
    "at 224, 336 and 448": {"sizes": (224, 336, 448)},
}
SEVERAL = {"224, 288": (224, 288), "224, 336": (224, 336), "224, 288, 336": (224, 288, 336)}
SEVERAL |= {"224, 448": (224, 448), "224, 336, 448": (224, 336, 448), "224 to 448": SIZES}
TOGETHER = {
    ", ".join(filter(None, (f"sizes {name}, mirrored", mode, "ReLU" if relu else "", *words))): {
        **{"sizes": sizes, "flips": True, "mode": mode, "relu": relu, **more}
    }
    for name, sizes in SEVERAL.items()
    for mode in ("bilinear", "bicubic")
    for relu in (False, True)
    for words, more in (
        ((), {}),
        (("each by its maximum",), {"each": "max"}),
        (("minus the mean row",), {"minus": "mean row"}),
        (("minus the next four guesses",), {"minus": "next guesses"}),
        (("PaS",), {"end": "PaS"}),
        (("IVR",), {"end": "IVR"}),
        (("last stride 1, dilated",), {"dilate": True}),
    )
    if not (more.get("dilate") and set(sizes) - set(DILATED_SIZES))
}


def main(folder: str) -> None:
    table: dict[str, dict[str, float]] = {name: {} for name in (*STEPS, *TOGETHER)}
    for name, written in SETS.items():
        data = datasets.load(written.format(folder), "train", GRID, length=LENGTH)
        batch = data.batch(range(len(data)))
        raw, truth = raw_maps(data), boxes_on_grid(batch.boxes, GRID)
        for setting, how in tqdm((STEPS | TOGETHER).items(), desc=f"{name}, settings"):
            maps = maps_on_grid(combined(raw, **how))
            table[setting][f"{name} V2"] = count_boxes(maps, truth).max_box_acc_v2()
            if batch.masks is not None:
                pixels, masks, ignored = PixelAveragePrecision(), *map(masks_on_grid, (batch.masks, batch.ignore))
                for one, mask, ignore in zip(maps, masks, ignored, strict=True):
                    pixels.update(one, mask, ignore)
                table[setting][f"{name} PxAP"] = pixels.value()
    rows = pd.DataFrame(table).T.rename_axis("setting")
    rows["mean V2"] = rows[[column for column in rows if column.endswith("V2")]].mean(axis=1)
    with files.atomic_write(files.DATA / "results" / "fine.csv") as part:
        part.write_text(
            f"# python benchmarks/fine.py FOLDER\n# {date.today()}, CPU {platform.machine()}, "
            f"{torch.get_num_threads()} threads, python {platform.python_version()}, torch {torch.__version__}, "
            f"torchvision {torchvision.__version__}; at most {LENGTH} images of each training split\n"
            + rows.round(2).to_csv(lineterminator="\n"),
            encoding="utf-8",
        )
    print(rows.sort_values("mean V2").round(2).to_string())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give the folder with cub, pets and tiny-imagenet: python benchmarks/fine.py FOLDER")
    main(sys.argv[1])
