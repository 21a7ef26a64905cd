"""The README's picture: CAM and cam-fine on photographs of the album. Writes data/results/cam-and-cam-fine.jpg at 2x.

    python benchmarks/readme_picture.py

The threshold of each method is the one that is best for it on the whole album (data/results/real.csv).
"""

import torch

from cambook import datasets, files, networks
from cambook.course import show
from cambook.course.papers import real
from cambook.maps import MAPS, box_from_map, normalize, upsample

SHOWN = (0, 1, 3, 5)  # of the album
METHODS = {"cam": "CAM", "cam-fine": "cam-fine"}


@torch.no_grad()
def main() -> None:
    network = networks.build("lite0-gap", weights="pretrained").eval()
    best = real.rows().set_index(["dataset", "network", "training", "map"])["best_threshold"]
    album = datasets.load("album", "test", 224)
    batch = album.batch(SHOWN)
    maps, boxes, titles = [], [], []
    for method, title in METHODS.items():
        threshold = best["album", "lite0-gap", real.IMAGENET, method]
        raw = MAPS[method](network, batch.images, network.features(batch.images), batch.labels[:, None])
        found = normalize(upsample(raw, 224))[:, 0]
        maps += list(found)
        boxes += [box_from_map(one, rule="wsol", threshold=threshold) for one in found]
        titles += [f"{album.classes[label]}, {title}" for label in batch.labels]
    figure = show.pictures(
        [*album.sharp(SHOWN, 448)] * len(METHODS),
        maps,
        list(batch.boxes) * len(METHODS),
        boxes,
        titles,
        "One network, trained on labels alone: CAM above, cam-fine below",
        columns=len(SHOWN),
        frame=224,
        level=None,
    )
    print(show.save(figure, files.DATA / "results" / "cam-and-cam-fine.jpg"))


if __name__ == "__main__":
    main()
