"""Data sets by name: `load` opens one, `batch` gives images with labels, boxes and masks."""

from __future__ import annotations

from cambook.datasets.album import Album
from cambook.datasets.atlas import GROUND_TILE, INNER, PACKAGES, TILE, VERSION, install_atlas, save_atlas
from cambook.datasets.base import SPLITS, DataSet, check_counts
from cambook.datasets.batches import AHEAD, IN_MEMORY, Batch, Subset, image_getter, is_large, onto, prefetch
from cambook.datasets.birds_and_pets import CUB, Pets
from cambook.datasets.class_folders import ClassFolders
from cambook.datasets.coco import COCO
from cambook.datasets.downloads import ROUNDS, TIMEOUT, Archive, DownloadError, fetch_archives, folder_of, unpack
from cambook.datasets.examples import EXAMPLE_PICTURES, example_picture, load_picture
from cambook.datasets.imagenet import ILSVRC, TinyImageNet
from cambook.datasets.pairs import ARRANGEMENTS, PAIR_LAYOUT, Pairs
from cambook.datasets.photographs import Inspection, Listed, Photographs, Truth
from cambook.datasets.plain import Images, check_labelled
from cambook.datasets.reading import Unusable, files_by_stem
from cambook.datasets.registry import KNOWN, catalogue, fetch, find, kind_and_folder, load, names, register
from cambook.datasets.scene_tables import LENGTHS, TEXTURES, Cutout
from cambook.datasets.scenes import LAYOUT, SMALLEST_SIZE, Layout, Scenes, ScenesOfNewObjects
from cambook.datasets.voc import VOC2007, VOCFolder
from cambook.datasets.wsol import WSOL

__all__ = [
    "AHEAD",
    "ARRANGEMENTS",
    "Album",
    "Archive",
    "Batch",
    "COCO",
    "CUB",
    "ClassFolders",
    "Cutout",
    "DataSet",
    "DownloadError",
    "EXAMPLE_PICTURES",
    "GROUND_TILE",
    "ILSVRC",
    "INNER",
    "IN_MEMORY",
    "Images",
    "Inspection",
    "KNOWN",
    "LAYOUT",
    "LENGTHS",
    "Layout",
    "Listed",
    "PACKAGES",
    "PAIR_LAYOUT",
    "Pairs",
    "Pets",
    "Photographs",
    "ROUNDS",
    "SMALLEST_SIZE",
    "SPLITS",
    "Scenes",
    "ScenesOfNewObjects",
    "Subset",
    "TEXTURES",
    "TILE",
    "TIMEOUT",
    "TinyImageNet",
    "Truth",
    "Unusable",
    "VERSION",
    "VOC2007",
    "VOCFolder",
    "WSOL",
    "catalogue",
    "check_counts",
    "check_labelled",
    "example_picture",
    "fetch",
    "fetch_archives",
    "files_by_stem",
    "find",
    "folder_of",
    "image_getter",
    "install_atlas",
    "is_large",
    "kind_and_folder",
    "load",
    "load_picture",
    "names",
    "onto",
    "prefetch",
    "register",
    "save_atlas",
    "unpack",
]
