"""How fast images come: scenes, and a Pascal VOC folder beside torchvision's plain way to read a folder.

    python benchmarks/bench_data.py

The folder is CAMBOOK_TEST_DATA/wildlife where that is set, else photographs of scikit-image and others as JPEG. Both
loaders read the same files, those that Pillow decodes as they are, and give float batches of 224 x 224 pixels.
torchvision: ImageFolder (one folder a class, of links to the same files) with v2 transforms (ToImage, Resize with
antialias to the same square, ToDtype), in a DataLoader, once plainly and once with as many workers as cores, which are
started before. The works take turns; each ratio is of one turn over all images. Not timed is the first look through
the folder, in which the VOC loader checks every file: it comes once for each set. Writes data/results/bench-data.json.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from form import CORES, row, write
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.functional import to_pil_image

from cambook.datasets import EXAMPLE_PICTURES, Scenes, Subset, VOCFolder, example_picture

SIDE, BATCH, TURNS = 224, 64, 9
PER_SECOND, TIMES = "images a second", "times as fast"


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def scene_rows(device: str, sizes: dict[int, int]) -> list[dict]:
    """sizes: pixels a side -> how many scenes a turn"""
    rows = []
    for side, number in sizes.items():
        data = Scenes("train", side, length=(TURNS + 1) * number)

        def turn(n: int, data: Scenes = data, number: int = number) -> None:
            for indices in torch.arange(n * number, (n + 1) * number).split(BATCH):
                data.batch(indices, device=device)
            if device == "cuda":
                torch.cuda.synchronize()

        turn(0)
        found = [number / seconds(partial(turn, n)) for n in range(1, TURNS + 1)]
        rows.append(row(f"scenes of {side} pixels with box and mask, on {device}", found, PER_SECOND))
    return rows


def example_folder(root: Path) -> Path:
    """The photographs of EXAMPLE_PICTURES as a Pascal VOC folder of two classes, each twelve times."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    names = []
    for place, example in enumerate(EXAMPLE_PICTURES):
        picture = to_pil_image(example_picture(example)[0])
        box = "<xmin>9</xmin><ymin>9</ymin><xmax>90</xmax><ymax>90</ymax>"
        label = ("left", "right")[place % 2]
        width, height = picture.size
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        annotation = f"<annotation>{size}<object><name>{label}</name><bndbox>{box}</bndbox></object></annotation>"
        for again in range(12):
            names.append(f"{example}-{again:02}")
            picture.save(root / "JPEGImages" / f"{names[-1]}.jpg", quality=90)
            (root / "Annotations" / f"{names[-1]}.xml").write_text(annotation, encoding="utf-8")
    for split in ("train", "test"):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names), encoding="utf-8")
    return root


def plainly_readable(file: Path) -> bool:
    """Whether Pillow decodes the file as it is, as ImageFolder does."""
    try:
        Image.open(file).convert("RGB")
    except OSError:
        return False
    return True


def by_class(data, files: list[Path], root: Path) -> ImageFolder:
    """Links to the same files in one folder a class, as ImageFolder wants them."""
    for file, label in zip(files, data.labels, strict=True):
        folder = root / data.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).symlink_to(file)
    resize = v2.Resize((SIDE, SIDE), antialias=True)
    return ImageFolder(root, v2.Compose([v2.ToImage(), resize, v2.ToDtype(torch.float32, scale=True)]))


def check_that_pictures_are_alike(data, names: list[str], images: ImageFolder, tolerance: float = 1 / 255) -> None:
    """Both scale with antialias; ours has JPEG decoded at a fraction of its size where that is enough.

    raises: AssertionError where a picture's mean difference, of values from 0 to 1, is more than one level of 8 bits
    """
    place_of = {Path(file).stem: place for place, (file, _) in enumerate(images.samples)}
    for n, name in enumerate(names):
        apart = (data.batch(torch.tensor([n])).images[0] - images[place_of[name]][0]).abs().mean().item()
        assert apart <= tolerance, f"{name}: the two loaders' pictures are {apart:.3f} apart"


def folder_rows(folder: Path, which: str, scratch: Path) -> list[dict]:
    whole = VOCFolder(folder, "train", SIDE)
    by_name = {file.stem: file for file in sorted((folder / "JPEGImages").resolve().iterdir())}
    readable = [n for n, name in enumerate(whole.names) if plainly_readable(by_name[name])]
    data = Subset(whole, readable)
    images = by_class(data, [by_name[whole.names[n]] for n in readable], scratch / "classes")
    assert len(images) == len(data)
    check_that_pictures_are_alike(data, [whole.names[n] for n in readable], images)
    print(f"{len(data)} of {len(whole)} photographs: ImageFolder stops at the others, which the VOC loader repairs.")

    def ours() -> None:
        for indices in torch.arange(len(data)).split(BATCH):
            data.batch(indices)

    def theirs(loader: DataLoader) -> None:
        for batch, _ in loader:
            assert batch.shape[1:] == (3, SIDE, SIDE)

    plain = DataLoader(images, BATCH)
    parallel = DataLoader(images, BATCH, num_workers=CORES, persistent_workers=True)
    works = {"ours": ours, "plain": partial(theirs, plain), "workers": partial(theirs, parallel)}
    for work in works.values():
        work()
    turns = [{name: seconds(work) for name, work in works.items()} for _ in range(TURNS)]
    what = f"{len(data)} {which} at {SIDE} pixels"
    return [
        row(f"{what}: VOC loader, with boxes", [len(data) / turn["ours"] for turn in turns], PER_SECOND),
        row(f"{what}: torchvision ImageFolder and v2", [len(data) / turn["plain"] for turn in turns], PER_SECOND),
        row(f"{what}: VOC loader over ImageFolder", [turn["plain"] / turn["ours"] for turn in turns], TIMES),
        row(
            f"{what}: VOC loader over ImageFolder in {CORES} worker processes",
            [turn["workers"] / turn["ours"] for turn in turns],
            TIMES,
        ),
    ]


def main() -> None:
    rows = scene_rows("cpu", {64: 512, 224: 64})
    if torch.cuda.is_available():
        rows += scene_rows("cuda", {64: 4096, 224: 1024})
    else:
        print("No GPU here: no row for scenes on one.")
    with tempfile.TemporaryDirectory() as scratch:
        given = os.environ.get("CAMBOOK_TEST_DATA")
        if given:
            folder, which = Path(given) / "wildlife", "photographs of animals"
        else:
            folder, which = example_folder(Path(scratch) / "voc"), "example photographs"
        rows += folder_rows(folder, which, Path(scratch))
    write("data", "python benchmarks/bench_data.py", ["torch", "torchvision", "pillow", "numpy"], rows)


if __name__ == "__main__":
    main()
