"""The README's picture: CAM and cam-fine on photographs of the album. Writes data/results/cam-and-cam-fine.jpg at 2x.

python benchmarks/readme_picture.py
"""

import torch

from cambook import datasets, files, networks
from cambook.course import show
from cambook.maps import MAPS, box_from_map, normalize, upsample
from cambook.metrics import evaluate

SHOWN = (0, 1, 3, 5)  # of the album
METHODS = {"cam": "CAM", "cam-fine": "cam-fine"}


@torch.no_grad()
def main() -> None:
    network = networks.build("lite0-gap", weights="pretrained").eval()
    album = datasets.load("album", "test", 224)
    batch = album.batch(SHOWN)
    maps, boxes, titles = [], [], []
    for method, title in METHODS.items():
        threshold = evaluate(network, album, method).best_threshold
        raw = MAPS[method](network, batch.images, network.features(batch.images), batch.labels[:, None])
        found = normalize(upsample(raw, 224))[:, 0]
        maps += list(found)
        boxes += [box_from_map(one, rule="wsol", threshold=threshold) for one in found]
        titles += [f"{title}: {album.classes[label]}" for label in batch.labels]
    figure = show.pictures(
        [*album.sharp(SHOWN, 448)] * len(METHODS),
        maps,
        list(batch.boxes) * len(METHODS),
        boxes,
        titles,
        "The same network, trained on labels alone: CAM, and the finer cam-fine",
        columns=len(SHOWN),
        frame=224,
        level=None,
    )
    print(show.save(figure, files.DATA / "results" / "cam-and-cam-fine.jpg"))


if __name__ == "__main__":
    main()
