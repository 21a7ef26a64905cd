"""What a command looks at and with what: images of a data set or a folder, and a network with its weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cambook import datasets, networks, training
from cambook.datasets import DataSet, Images
from cambook.networks import Network
from cambook.networks.states import _read

WEIGHTS = ("pretrained", "trained")


# ---- images


def open_images(
    name: str | Path | Sequence[Path], split: str, size: int, *, length: int | None = None, boxes: bool = False
) -> DataSet:
    """The images of a data set, of a folder without labels, or in some files.

    Args:
        name: a data set's name, such as "cub" or "voc:data/birds"; else the path of a folder or of one image; or the
            paths of several images. A folder that is called as a data set is written ./cub.
        split: "train", "test", or another of the data set's; of a folder both are all images.
        size: side of the square images, in pixels.
        length: at most so many images, as `datasets.load` chooses them (None: all).
        boxes: whether boxes will be needed; then a folder without labels is refused.

    Returns:
        A data set; of a folder or files a `datasets.Images`, whose `labelled` is False.

    Raises:
        FileNotFoundError: if there is neither such a data set nor such a folder, or a file is missing.
        ValueError: if boxes are needed and there are none, or as `datasets.load`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 8)).save(Path(folder, "cat.png"))
        ...     open_images(folder, "test", 8).names, open_images("scenes", "test", 32, length=4).classes[:2]
        (['cat.png'], ['land mammal', 'bird'])
    """
    if not isinstance(name, str | Path):
        return _files(list(name), split, size, length, boxes)
    text = str(name)
    kinds = {cls.kind for cls in datasets.KNOWN.values()}
    if isinstance(name, str) and text.partition(":")[0] in kinds:
        return datasets.load(text, split, size, length=length, boxes=boxes)
    path = os.path.expanduser(text)
    if os.path.isdir(path):
        return datasets.load(f"images:{text}", split, size, length=length, boxes=boxes)
    if os.path.isfile(path):
        return _files([Path(path)], split, size, length, boxes)
    if isinstance(name, str) and not re.search(r"[/\\.]", text):
        datasets.find(text)  # says which data sets there are
    path = datasets.reading.as_on_disk(Path(path))
    nearest = datasets.reading.nearest_path(path.absolute())
    raise FileNotFoundError(f'"{text}" is neither a data set (`cambook data` lists them) nor a folder{nearest}')


def _files(chosen: list[Path], split: str, size: int, length: int | None, boxes: bool) -> DataSet:
    if not chosen:
        raise ValueError("no image is given: give the path of at least one")
    folder = Path(chosen[0]).expanduser().absolute().parent
    if boxes:  # the same refusal as of a folder
        datasets.load(f"images:{folder}", split, size, boxes=True)
    return Images(folder, split, size, length=length, chosen=chosen)


def image_ids(data: DataSet) -> list[str]:
    """The ids of a data set's images, in its order: their names, or numbers if they have none.

    Args:
        data: a data set.

    Returns:
        N texts, with forward slashes; drawn images are called by their position, in six digits.

    Example:
        >>> image_ids(datasets.load("scenes", "test", 32, length=2))
        ['000000', '000001']
    """
    return list(data.names) if hasattr(data, "names") else [f"{i:06}" for i in range(len(data))]


# ---- networks


def device_here() -> str:
    """What commands compute on: "cuda" if there is a GPU that torch can use, else "cpu".

    Returns:
        One of the two.

    Example:
        >>> device_here() in ("cpu", "cuda")
        True
    """
    return "cuda" if torch.cuda.is_available() else "cpu"


def ready_network(name: str, weights: str | Path = "pretrained", data: DataSet | None = None) -> Network:
    """A network with its weights, ready to look at images.

    Args:
        name: one of `networks.names()`.
        weights: "pretrained" for ImageNet's; "trained" for the network that `cambook train NETWORK DATASET` made of the
            data set's train split, from the cache; or a file with the weights of this network, for which the number of
            classes is read from it.
        data: what it will look at; "trained" needs it.

    Returns:
        The network in evaluation mode, on the CPU; its `of_imagenet` says whether its outputs are ImageNet's classes.

    Raises:
        ValueError: for an unknown name, weights that do not fit or do not exist, or "trained" for a network that was
            not trained on that data set; the sentence says what to run.
        FileNotFoundError: if `weights` names a file that is not there.
        OSError: if ImageNet's weights cannot be downloaded.

    Example:
        >>> ready_network("mini-gap", "pretrained")
        Traceback (most recent call last):
        ValueError: mini-gap has no pretrained weights: give --weights trained or the file of its weights
    """
    found = networks.spec(name)
    if weights == "trained":
        network = _trained(name, data)
        of_imagenet = bool(getattr(data, "imagenet_classes", False))
    elif weights == "pretrained":
        if found.weights is None:
            raise ValueError(f"{name} has no pretrained weights: give --weights trained or the file of its weights")
        network = None if found.original else networks.build(name, None, "pretrained")
        if network is None or network.new_layers:
            raise ValueError(
                f"{name} has new layers, for which there are no pretrained weights: give --weights trained, the file "
                "of its weights, or a network that needs no new layers, such as lite0-gap"
            )
        of_imagenet = True
    else:
        if not os.path.isfile(weights):
            raise FileNotFoundError(f'weights="{weights}" is not a file: give one, or {" or ".join(WEIGHTS)}')
        classes = _classes_in(name, Path(weights))
        network = networks.build(name, classes, weights)
        of_imagenet = network.classes == len(networks.imagenet_classes())
    network.of_imagenet = of_imagenet
    return network.eval()


def own_classes(network: Network, data: DataSet) -> bool:
    """Whether a network's outputs are the classes of a data set.

    Args:
        network: from `ready_network`.
        data: a data set.

    Returns:
        Of a network with ImageNet's classes, whether the data set's are those; else whether there are as many.

    Example:
        >>> own_classes(networks.build("mini-gap", 12), datasets.load("scenes", "test", 32, length=2))
        True
    """
    if not getattr(data, "labelled", True) or network.classes != len(data.classes):
        return False
    return bool(getattr(data, "imagenet_classes", False)) or not getattr(network, "of_imagenet", False)


def check_classes(network: Network, data: DataSet) -> None:
    """Refuses a network whose outputs are not the classes of a data set.

    Args:
        network: from `ready_network`.
        data: a data set.

    Raises:
        ValueError: with both numbers of classes and what to do.

    Example:
        >>> check_classes(networks.build("mini-gap", 2), datasets.load("scenes", "test", 32, length=2))
        Traceback (most recent call last):
        ValueError: mini-gap has 2 outputs, which are not the 12 classes of scenes: give --weights trained
    """
    if not getattr(data, "labelled", True):
        raise ValueError(f"{data.name} has no labels, so it is not known which class each image shows")
    if not own_classes(network, data):
        whose = "ImageNet's classes" if getattr(network, "of_imagenet", False) else f"{network.classes} outputs"
        raise ValueError(
            f"{network.name} has {whose}, which are not the {len(data.classes)} classes of {data.name}: give --weights "
            "trained"
        )


def class_names(network: Network, data: DataSet | None = None) -> list[str]:
    """The names of a network's outputs.

    Args:
        network: from `ready_network`.
        data: what it looks at, or None.

    Returns:
        As many as it has outputs: the data set's classes if those are its outputs, ImageNet's, or "class 0" and so on.

    Example:
        >>> class_names(networks.build("mini-gap", 2))
        ['class 0', 'class 1']
    """
    if data is not None and own_classes(network, data):
        return list(data.classes)
    if getattr(network, "of_imagenet", False):
        return networks.imagenet_classes()
    return [f"class {i}" for i in range(network.classes)]


def _trained(name: str, data: DataSet | None) -> Network:
    if data is None or not getattr(data, "labelled", True):
        what = "without a data set" if data is None else f"and {data.name} has no labels"
        raise ValueError(f"{name} cannot have been trained on these images {what}: give the file of its weights")
    train = datasets.load(data.name, "train", data.size, boxes=False)
    try:
        return training.trained(name, train, device=device_here(), from_cache=True).network.cpu()
    except FileNotFoundError as error:
        size = "" if data.size == networks.spec(name).side else f" --size {data.size}"
        raise ValueError(
            f"{name} was not trained on {data.name} with this version of cambook and so many threads on this kind of "
            f"device: run `cambook train {name} {data.name}{size}` first"
        ) from error


def _classes_in(name: str, file: Path) -> int:
    """How many classes the weights in a file are for; 1000 if that cannot be seen, so that loading says why."""
    own = networks.build(name, 2).state_dict()
    ends = {layer: values.shape[1:] for layer, values in own.items() if layer.startswith(networks.HEADS)}
    ends = {layer: shape for layer, shape in ends.items() if len(own[layer]) == 2}
    found = {
        len(values)
        for key, values in _tensors(_read(file)[0])
        for layer, shape in ends.items()
        if (key == layer or key.endswith(f".{layer}")) and values.dim() and values.shape[1:] == shape
    }
    return found.pop() if len(found) == 1 and min(found) >= 2 else len(networks.imagenet_classes())


def _tensors(held: object) -> Iterator[tuple[str, Tensor]]:
    """Every named tensor of what a file contains, at any depth."""
    if isinstance(held, Mapping):
        for key, value in held.items():
            if isinstance(value, Tensor):
                yield str(key), value
            else:
                yield from _tensors(value)
