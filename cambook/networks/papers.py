"""The papers' networks: torchvision's, Network in Network, ACoL on their backbones, and their cuts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from cambook.networks.acol import with_branches
from cambook.networks.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    HiddenLayerNetwork,
    Network,
    NetworkInNetwork,
    PooledNetwork,
)
from cambook.networks.downloads import downloaded
from cambook.networks.registry import Spec, Weights, register

# ---- Network in Network, from scratch: no weights of it come with torchvision ----


def mlpconv(channels: int, *units: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """One block of Network in Network: a perceptron that slides over the maps.

    A convolution of kernel x kernel, then 1x1 ones, each with ReLU.

    Args:
        channels: of its input.
        units: of its convolutions, one after another.
        kernel, stride, padding: of the first convolution.

    Returns:
        The layers in order, for nn.Sequential.

    Source: Lin et al. 2014, section 3.1.

    Example:
        >>> import torch
        >>> nn.Sequential(*mlpconv(3, 96, 96, kernel=11, stride=4))(torch.rand(1, 3, 224, 224)).shape
        torch.Size([1, 96, 54, 54])
    """
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


# ---- adversarial complementary learning: two classifiers on one backbone ----


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

    The pooling before inception4a (maxpool3) moves by one position instead of two. Zhang et al. 2018 report a
    GoogLeNet-ACoL and released code for VGG-16 only: here it is cut where Zhou et al. 2016 cut, and finer by one
    halving, as VGG-16 is.
    """
    original = googlenet(classes, pretrained)
    backbone = original.backbone[: list(original.backbone._modules).index("inception4e") + 1]
    backbone.maxpool3 = nn.MaxPool2d(3, stride=1, padding=1)
    return with_branches(original, backbone, 832, 1024, pretrained)


# ---- torchvision's networks and the paper's cuts ----


def torchvision_network(name: str, classes: int, pretrained: bool) -> nn.Module:
    """A network as torchvision builds it; with its ImageNet weights it has 1000 classes, whatever is asked.

    Raises:
        OSError: if the weights are not here and cannot be downloaded, or their file is damaged.
    """
    import torchvision  # slow to import, and most networks here do without it

    state = downloaded(name) if pretrained else None
    extra = {"init_weights": False} if name == "vgg16" and pretrained else {}
    if name == "googlenet":
        extra = {"aux_logits": pretrained, "init_weights": False, "transform_input": False}
    whole = torchvision.models.get_model(name, num_classes=1000 if pretrained else classes, **extra)
    if state:
        whole.load_state_dict(state)
    return whole


def replace_last_linear(classifier: nn.Sequential, classes: int) -> tuple[str, ...]:
    """Gives the classifier a new last layer if the number of classes differs; returns the names of new parts."""
    if classifier[-1].out_features == classes:
        return ()
    classifier[-1] = nn.Linear(classifier[-1].in_features, classes)
    return (f"classifier.{len(classifier) - 1}",)


def with_hidden_layers(name: str) -> Callable[[int, bool], Network]:
    """The builder of torchvision's AlexNet or VGG-16, with the fully connected layers as published."""

    def original(classes: int, pretrained: bool) -> Network:
        whole = torchvision_network(name, classes, pretrained)
        classifier = nn.Sequential(whole.avgpool, nn.Flatten(), *whole.classifier)
        network = HiddenLayerNetwork(whole.features, classifier, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        network.new_layers = replace_last_linear(classifier, classes)
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
    return with_own_pooling("googlenet", 1024, classes, pretrained, dropout=0.2)


def resnet50_gap(classes: int, pretrained: bool) -> Network:
    """torchvision's ResNet-50, which has average pooling of its own: feature_maps (B, 2048, 7, 7) at 224 pixels.

    Choe et al. 2020 change strides in their released code: layer4 has stride 1 (14x14), and with large_feature_map
    layer3 too (28x28): resnet50-gap-14 and resnet50-gap-28. Here it is as published by He et al. 2016, a condition to
    name beside their figures.
    """
    return with_own_pooling("resnet50", 2048, classes, pretrained, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def with_finer_maps(*layers: str) -> Callable[[int, bool], Network]:
    """The builder of ResNet-50 with stride 1 in the first block of some layers, weights as they are: finer maps.

    The convolutions behind are not dilated, so with pretrained weights they read less of the image than in training,
    until they are trained further. So are the networks in the released code of Choe et al. 2020.

    Args:
        layers: "layer4" alone, maps of 14x14 cells at 224 pixels; "layer3" and "layer4", 28x28.

    Returns:
        A function (classes, pretrained) -> Network, for a Spec.
    """

    def finer(classes: int, pretrained: bool) -> Network:
        network = resnet50_gap(classes, pretrained)
        for layer in layers:
            first = network.backbone.get_submodule(layer)[0]
            first.conv2.stride = first.downsample[0].stride = (1, 1)
        return network

    return finer


# ---- their names; the learning rates from scratch are ours, and VGG-16's is small since it is deep without batch norm

ONE_TOWER = "torchvision's AlexNet is the version with one tower"
NORMED = "torchvision's GoogLeNet has batch norm, and 3x3 convolutions in place of 5x5"
COARSE = "maps of 7x7 cells, where Choe et al. change strides for 14x14 or 28x28"
FINER = "strides of 1 without dilation as in Choe et al.'s code; there layer4 learns ten times as fast, too"

register(Spec("nin", nin, recipe="nin", scratch_lr=3e-4))
register(
    Spec(
        "alexnet",
        with_hidden_layers("alexnet"),
        weights=Weights("alexnet"),
        recipe="cam",
        scratch_lr=3e-4,
        keeps="11",  # the ReLU after conv5
        differs=ONE_TOWER,
    )
)
register(
    Spec(
        "vgg16",
        with_hidden_layers("vgg16"),
        weights=Weights("vgg16"),
        recipe="cam",
        scratch_lr=1e-4,
        keeps="29",  # the ReLU after conv5-3
    )
)
register(Spec("vgg16-acol", vgg16_acol, weights=Weights("vgg16"), recipe="acol", scratch_lr=1e-4))
register(
    Spec(
        "googlenet",
        googlenet,
        weights=Weights("googlenet"),
        recipe="cam",
        scratch_lr=1e-3,
        keeps="inception4e",
        differs=NORMED,
    )
)
register(
    Spec(
        "googlenet-acol",
        googlenet_acol,
        weights=Weights("googlenet"),
        recipe="acol",
        scratch_lr=1e-3,
        differs=NORMED,
    )
)
register(
    Spec(
        "resnet50-gap",
        resnet50_gap,
        weights=Weights("resnet50"),
        recipe="resnet50",
        scratch_lr=1e-3,
        differs=COARSE,
    )
)
for _name, _layers in (("resnet50-gap-14", ("layer4",)), ("resnet50-gap-28", ("layer3", "layer4"))):
    register(
        Spec(
            _name,
            with_finer_maps(*_layers),
            weights=Weights("resnet50"),
            recipe="resnet50",
            scratch_lr=1e-3,
            differs=FINER,
        )
    )
register(Spec("alexnet-gap", original="alexnet", pooling="gap", recipe="cam"))
# AlexNet*-GAP: "two convolutional layers just before GAP" in the paper, each of 512 units in its released network
register(Spec("alexnet-star-gap", original="alexnet", pooling="gap", units=(512, 512), recipe="cam"))
register(Spec("vgg16-gap", original="vgg16", pooling="gap", recipe="cam"))
register(Spec("googlenet-gap", original="googlenet", pooling="gap", recipe="cam"))
register(Spec("googlenet-gmp", original="googlenet", pooling="gmp", recipe="cam"))
