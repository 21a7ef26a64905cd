"""Single photographs: `load_picture` for your own, `example_picture` for those inside installed packages."""

from __future__ import annotations

import math
import os
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cambook.datasets.base import check_counts
from cambook.datasets.decoding import TooLarge, decode_image, quiet_decoders, upright
from cambook.datasets.reading import Unusable, as_on_disk, nearest_path

# Name -> (package whose files contain the photograph, credit and licence).
EXAMPLE_PICTURES = {
    "chelsea": ("scikit-image", "Chelsea the cat, photograph by Stefan van der Walt, CC0"),
    "coffee": ("scikit-image", "Coffee cup, photograph by Rachel Michetti, Pikolo Espresso Bar, CC0"),
    "camera": ("scikit-image", "Photographer with camera, photograph by Lav Varshney, CC0"),
    "rocket": ("scikit-image", "Launch of DSCOVR on Falcon 9, photograph by SpaceX, public domain"),
    "astronaut": ("scikit-image", "Eileen Collins, photograph by NASA, public domain"),
    "motorcycle": (
        "scikit-image",
        "Motorcycle, from the Middlebury 2014 stereo benchmark by N. Nesic, P. Westling, X. Wang, "
        "Y. Kitajima, G. Krathwohl and D. Scharstein",
    ),
    "china": ("scikit-learn", "Palace in China, photograph by danielbuechele (Flickr), CC BY 2.0"),
    "flower": ("scikit-learn", "Flower, photograph by vultilion (Flickr), CC BY 2.0"),
    "grace_hopper": ("matplotlib", "Grace Hopper, official photograph of the U.S. Navy, public domain"),
}

_MODULES = {  # the module of each package, and the folders inside it
    "scikit-image": ("skimage", "data"),
    "scikit-learn": ("sklearn", "datasets", "images"),
    "matplotlib": ("matplotlib", "sample_data"),
}


def load_picture(path: str | Path, size: int | None = None) -> Tensor:
    """One image file of your own, upright (EXIF) and in RGB.

    Args:
        path: the file.
        size: length of the shorter side in pixels, with the aspect ratio kept (None: as stored; a JPEG with more
            pixels than Pillow decodes comes at a half, a quarter or an eighth of its size).

    Returns:
        (1, 3, H, W) float32 in [0, 1].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read as an image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (80, 40), "red").save(f"{folder}/red.png")
        ...     load_picture(f"{folder}/red.png", 20).shape
        torch.Size([1, 3, 20, 40])
    """
    path = as_on_disk(Path(path).expanduser())
    if size is not None:
        check_counts(size, None)
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder: give the path of one image in it")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no image {path}{nearest_path(path)}")
    try:
        with quiet_decoders():
            image, orientation, _ = decode_image(path.read_bytes())
    except TooLarge as error:
        raise ValueError(f"{path} cannot be shown: {error}, for example half as wide") from error
    except (Unusable, OSError) as error:
        raise ValueError(f"{path} cannot be shown: {error}; save it again as JPEG or PNG") from error
    image = upright(image, orientation)
    if size is not None:
        shape = [max(1, round(side * size / min(image.size))) for side in image.size]
        if math.prod(shape) > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise ValueError(f"{path} would be {shape[0]} x {shape[1]} pixels at size {size}: crop it first")
        image = image.resize(shape, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div_(255)


def example_picture(name: str, size: int | None = None) -> Tensor:
    """A photograph that comes with an installed package.

    Args:
        name: one of EXAMPLE_PICTURES.
        size: length of the shorter side in pixels, with the aspect ratio kept (None: as stored).

    Returns:
        (1, 3, H, W) float32 in [0, 1].

    Raises:
        ValueError: for an unknown name, with the nearest known one.
        FileNotFoundError: if the package or its file is missing.

    Example:
        >>> example_picture("china", 64).shape
        torch.Size([1, 3, 64, 96])
    """
    if name not in EXAMPLE_PICTURES:
        near = get_close_matches(name, EXAMPLE_PICTURES, 1, 0.4)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ValueError(f'unknown example image "{name}": {hint}Known: {", ".join(EXAMPLE_PICTURES)}')
    package = EXAMPLE_PICTURES[name][0]
    files = {"rocket": "rocket.jpg", "motorcycle": "motorcycle_left.png"}
    file = files.get(name, f"{name}.png" if package == "scikit-image" else f"{name}.jpg")
    path = installed_file(package, file)
    return load_picture(path, size)


def installed_file(package: str, file: str) -> Path:
    """Where a photograph lies that an installed package brings along.

    Args:
        package: "scikit-image", "scikit-learn" or "matplotlib".
        file: its name there, such as "coffee.png".

    Raises:
        FileNotFoundError: if the package or its file is missing.
        ValueError: for another package.

    Example:
        >>> installed_file("scikit-image", "coffee.png").parts[-3:]
        ('skimage', 'data', 'coffee.png')
    """
    if package not in _MODULES:
        raise ValueError(f'photographs come from {", ".join(_MODULES)}, not from "{package[:60]}"')
    module, *inside = _MODULES[package]
    spec = find_spec(module)
    if spec is None:
        raise FileNotFoundError(f"{package} is not installed: pip install {package}")
    folder = Path(spec.submodule_search_locations[0])
    if package == "matplotlib":  # a distribution may keep its data elsewhere
        import matplotlib

        folder = Path(matplotlib.get_data_path())
    path = folder.joinpath(*inside, file)
    if not path.is_file():
        raise FileNotFoundError(f'the photograph "{path.stem}" is not at {path}: install {package} again')
    return path
