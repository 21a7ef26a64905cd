"""ImageNet's weights as torchvision downloads them, with one sentence if it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def published_weights(model: str) -> Any:
    """torchvision's entry of a model's ImageNet weights: those published first, IMAGENET1K_V1 where there are such.

    Args:
        model: one of torchvision's classifiers, such as "resnet50".

    Returns:
        A member of the model's Weights enum, with url, meta and transforms.

    Example:
        >>> published_weights("resnet50").name
        'IMAGENET1K_V1'
    """
    import torchvision  # four seconds to import, and most networks here do without it

    return next(iter(torchvision.models.get_model_weights(model)))


def downloaded(model: str, instead: str = "") -> dict[str, Tensor]:
    """The ImageNet weights of one of torchvision's classifiers: from its cache, or downloaded into it.

    Args:
        model: its name in torchvision, such as "resnet50".
        instead: another way to come by the weights, for the error's sentence: "`pip install ...`, ".

    Returns:
        The state_dict as torchvision publishes it. Nothing in the file is executed, and its checksum is compared.

    Raises:
        OSError: if it cannot be downloaded, or if the file is damaged or contains more than weights.
    """
    weights = published_weights(model)
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[1]
    try:
        return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # no network, a wrong checksum, a damaged file: each raises another kind
        if file.is_file():
            raise OSError(f"{file} is damaged or contains more than weights: delete it, it is fetched anew.") from error
        raise OSError(
            f"The ImageNet weights of {model} could not be downloaded from {weights.url} ({error}). Go online once, "
            f"put the file into {file.parent}, {instead}or build it with weights=None."
        ) from error
