"""Hostile cases of maps, of networks and of their files, whose right values are computed in another way."""

import json
import math
import struct
import warnings
from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from hostile import Right, Squares, call, case, checkpoint, no_weights, right, weights
from torch import nn

from cambook import files, maps, metrics, networks
from cambook.course import explore, show
from cambook.course.lessons import attributions
from cambook.maps import boxes


def draw(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network_of(make):
    """A network with weights that are the same each time, in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double().eval()


def equal(ours, theirs):
    """Up to the order of sums in double precision, and not zero everywhere."""
    assert ours.shape == theirs.shape and theirs.abs().max() > 0, (ours.shape, theirs.shape)
    return bool((ours - theirs).abs().max() <= 1e-10 * theirs.abs().max())


# ---- layers whose output is not (B, K, h, w)


class Tail(nn.Module):
    """A convolution, then whatever comes."""

    def __init__(self, *tail, channels=8, **parts):
        super().__init__()
        self.conv, self.tail, self.fc = (
            nn.Conv2d(3, channels, 3, padding=1),
            nn.Sequential(*tail),
            nn.Linear(channels, 5),
        )
        for name, part in parts.items():
            self.add_module(name, part)


class Last(Tail):
    """Its layer `last` gives (B, h, w, K), and the mean over the positions follows."""

    def forward(self, images):
        return self.fc(self.tail(self.last(self.conv(images))).mean((1, 2)))


def permuted(*dims):
    return torchvision.ops.Permute(list(dims))


def by_hand(network, images, c, layer, to_maps):
    """Grad-CAM from a hook and one ordinary backward pass, the sum over channels written out."""
    kept = []
    hook = network.get_submodule(layer).register_forward_hook(lambda *call: kept.append(call[2]))
    logits = network(images)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[:, c].sum(), kept[-1])
    activations, gradient = to_maps(kept[-1].detach()), to_maps(gradient)
    found = torch.zeros(len(images), *activations.shape[2:], dtype=images.dtype)
    for k in range(activations.shape[1]):
        found += gradient[:, k].mean((1, 2))[:, None, None] * activations[:, k]
    return found.clamp(min=0)[:, None]


def last_to_first(values):
    return values.permute(0, 3, 1, 2)


def grid(height, width, before=1):
    return lambda values: values[:, before:].transpose(1, 2).reshape(len(values), -1, height, width)


def layer_case(name, make, layer, to_maps, size=(32, 32), **options):
    def compare():
        network, images = network_of(make), draw(2, 3, *size)
        ours = maps.grad_cam(network, images, torch.arange(5), layer, **options).maps
        return equal(ours, torch.cat([by_hand(network, images, c, layer, to_maps) for c in range(5)], 1))

    right("networks", name, True, compare)


def swin():
    return torchvision.models.swin_transformer.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=5)


def convnext():
    block = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.ConvNeXt([block(8, 16, 2), block(16, None, 1)], num_classes=5)


def vit():
    network = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(network.heads.head.weight)  # torchvision's start from zeros
    return network


class Registers(nn.Module):
    """Tokens of patches of 8 x 8 pixels, behind a class token and four registers; the class token asks them all."""

    def __init__(self, before=5):
        super().__init__()
        self.patches, self.before = nn.Conv2d(3, 12, 8, 8), nn.Parameter(torch.randn(1, before, 12))
        self.norm, self.attention, self.fc = (
            nn.LayerNorm(12),
            nn.MultiheadAttention(12, 2, batch_first=True),
            nn.Linear(12, 5),
        )

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([self.before.expand(len(images), -1, -1), tokens], 1))
        return self.fc(self.attention(tokens, tokens, tokens, need_weights=False)[0][:, 0])


layer_case("Swin, channels last", swin, "features.3", last_to_first)
layer_case("Swin, its norm", swin, "norm", last_to_first)
layer_case("Swin, an early layer of an image that is not square", swin, "features.1", last_to_first, (32, 64))
layer_case("ConvNeXt, a linear layer inside a block", convnext, "features.1.0.block.3", last_to_first)
layer_case("ConvNeXt, an activation inside a block", convnext, "features.3.0.block.4", last_to_first)
layer_case("ConvNeXt, a block", convnext, "features.3.0", lambda values: values)
layer_case("channels last, then a mean", lambda: Last(last=permuted(0, 2, 3, 1)), "last", last_to_first)
layer_case(
    "channels last, as many as positions", lambda: Last(last=permuted(0, 2, 3, 1)), "last", last_to_first, (8, 8)
)
layer_case("ViT, tokens", vit, "encoder.layers.encoder_layer_1.ln_1", grid(4, 4), layout="tokens")
layer_case("registers before the tokens", Registers, "norm", grid(4, 4, 5), layout="tokens")
layer_case("tokens of an image that is not square", Registers, "norm", grid(3, 6, 5), (24, 48), layout="tokens")


class Unknown(Tail):
    """What follows its layer `last` says nothing about its channels."""

    def forward(self, images):
        return self.fc(torch.einsum("bhwc->bc", self.last(self.conv(images)).sin()))


def unknown(**options):
    return maps.grad_cam(
        network_of(lambda: Unknown(last=permuted(0, 2, 3, 1))), draw(2, 3, 16, 16), 1, "last", **options
    )


def tokens_of(make, layer, size=32, **options):
    return maps.grad_cam(network_of(make), draw(1, 3, size, size), 1, layer, **options)


call(
    "networks",
    "channels that nothing finds",
    r"layer 'last' gives shape \(2, 16, 16, 8\), and nothing says where its channels are: give layout='BHWC'",
    unknown,
)
layer_case(
    "channels that nothing finds, named",
    lambda: Unknown(last=permuted(0, 2, 3, 1)),
    "last",
    last_to_first,
    layout="BHWC",
)
call(
    "networks",
    "tokens without a word",
    r"layer 'norm' gives shape \(1, 21, 12\), no \(B, K, h, w\): give layout='tokens' if",
    lambda: tokens_of(Registers, "norm"),
)
call(
    "networks",
    "tokens after the last attention",
    "no score depends on the positions of layer 'encoder.ln': choose one before the last attention",
    lambda: tokens_of(vit, "encoder.ln", layout="tokens"),
)
call(
    "networks",
    "tokens that are no grid",
    r"layer 'norm' gives 36 tokens, not a grid of positions of images \(32, 32\): choose a layer whose",
    lambda: tokens_of(lambda: Registers(20), "norm", layout="tokens"),
)
call(
    "networks",
    "a layout that is not",
    "layout='NHWC' is unknown: choose one of 'BCHW', 'BHWC'",
    lambda: unknown(layout="NHWC"),
)
call(
    "networks",
    "a layout that does not fit",
    r"layer 'norm' gives shape \(1, 21, 12\), which is not layout='BHWC': choose another",
    lambda: tokens_of(Registers, "norm", layout="BHWC"),
)


# ---- guided backpropagation, however a ReLU is called


class Guided(torch.autograd.Function):
    """A ReLU whose backward pass lets through what is positive on both ways, written out."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return torch.where((x > 0) & (gradient > 0), gradient, 0.0)


class Two(nn.Module):
    """Two convolutions, each with a ReLU of some kind behind it."""

    def __init__(self, first, second):
        super().__init__()
        self.c, self.d, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)
        self.first, self.second = first, second

    def forward(self, images):
        return self.fc(self.second(self.d(self.first(self.c(images)))).mean((2, 3)))


RELUS = {
    "torch.relu": torch.relu,
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "Tensor.relu_": lambda x: x.relu_(),
    "clamp(min=0)": lambda x: x.clamp(min=0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "F.threshold": lambda x: F.threshold(x, 0, 0),
    "torch.maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
}


def guided_by_hand(make, images, c):
    images = images.clone().requires_grad_(True)
    return torch.autograd.grad(network_of(make)(images)[:, c].sum(), images)[0]


def guided_case(name, relu):
    def compare():
        theirs = guided_by_hand(lambda: Two(Guided.apply, Guided.apply), draw(2, 3, 16, 16), 1)
        return equal(maps.guided_backprop(network_of(lambda: Two(nn.ReLU(), relu)), draw(2, 3, 16, 16), 1), theirs)

    right("networks", f"guided backpropagation, {name}", True, compare)


for name, relu in RELUS.items():
    guided_case(name, relu)


@case("networks", "guided backpropagation of a DenseNet, whose last ReLU is a function", Right(True))
def _(folder):
    def make():
        return torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5)

    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = make()
            for module in list(self.inner.modules()):
                for name, part in module.named_children():
                    if isinstance(part, nn.ReLU):
                        setattr(module, name, Own())

        def forward(self, images):
            features = Guided.apply(self.inner.features(images)).mean((2, 3))
            return self.inner.classifier(features)

    class Own(nn.Module):
        def forward(self, x):
            return Guided.apply(x)

    images = draw(2, 3, 64, 64)
    return equal(maps.guided_backprop(network_of(make), images, 1), guided_by_hand(Written, images, 1))


@case("networks", "guided backpropagation where an activation never runs", Right(True))
def _(folder):
    network, images = network_of(lambda: Two(nn.ReLU(), nn.ReLU())), draw(2, 3, 16, 16)
    theirs = maps.guided_backprop(network, images, 1)
    network.unused = nn.SiLU()
    return equal(maps.guided_backprop(network, images, 1), theirs)


def hidden_relu(x):
    return torch.utils.checkpoint.checkpoint(torch.relu, x, use_reentrant=True)


OTHERS = {
    "SiLU": F.silu,
    "GELU": F.gelu,
    "LeakyReLU": lambda x: F.leaky_relu(x, 0.2),
    "Sigmoid": lambda x: x * torch.sigmoid(x),
    "ReLU6": F.relu6,
    "torch.where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "CheckpointFunction, a function of its own": hidden_relu,
}
for name, activation in OTHERS.items():
    call(
        "networks",
        f"guided backpropagation through {name}",
        f"defined for nn.ReLU and the network has {name}.*: use mini-gap",
        lambda activation=activation: maps.guided_backprop(
            network_of(lambda: Two(nn.ReLU(), activation)), draw(2, 3, 16, 16), 1
        ),
    )


# ---- images that are not from 0 to 1


def images_of(low, high, dtype=torch.float32, size=64):
    drawn = low + (high - low) * draw(2, 3, size, size)
    drawn.view(-1)[:2] = torch.tensor([low, high])
    return drawn.to(dtype)


def mini(**options):
    return networks.build("mini-gap", 5, **options)


BY_255 = "the images run from 0 to 255.*, but mini-gap takes floats from 0 to 1: divide them by 255"
call("networks", "images up to 255", BY_255, lambda: mini()(images_of(0, 255)))
call("networks", "images up to 255, uint8", BY_255, lambda: mini()(images_of(0, 255, torch.uint8)))
call("networks", "images up to 255, int64", BY_255, lambda: mini()(images_of(0, 255, torch.int64)))
call("networks", "images up to 255, to Grad-CAM", BY_255, lambda: maps.grad_cam(mini(), images_of(0, 255), 1))
call("networks", "images up to 255, to saliency", BY_255, lambda: maps.saliency(mini(), images_of(0, 255), top=2))
call(
    "networks",
    "images up to 255, in training",
    BY_255,
    lambda: mini().train().loss(images_of(0, 255), torch.tensor([0, 1])),
)
call(
    "networks",
    "images of 16 bits",
    "run from 0 to 65535, .*: divide them by 65535",
    lambda: mini()(images_of(0, 65535)),
)
call(
    "networks",
    "images up to 255, to ACoL's branches",
    "the images run from 0 to 255, but mini-acol takes floats",
    lambda: networks.build("mini-acol", 5).loss(images_of(0, 255), torch.tensor([0, 1])),
)


class Bright(Squares):
    """Its images run to 255."""

    def batch(self, indices, device="cpu"):
        batch = super().batch(indices, device)
        batch.images.mul_(255)
        return batch


call(
    "networks",
    "a data set of images up to 255",
    BY_255,
    lambda: metrics.evaluate(networks.build("mini-gap", 2), Bright()),
)
right(
    "networks",
    "images that are scaled already",
    torch.Size([2, 5]),
    lambda: [mini()(images_of(-2.1, 2.6))[0].shape][0],
    r"The images run from -2.1 to 2.6, but mini-gap takes them from 0 to 1 and scales them itself: leave out .*",
)
right(
    "networks",
    "images with noise on them, and none at all",
    [torch.Size([2, 5]), torch.Size([0, 5])],
    lambda: [mini()(images)[0].shape for images in (images_of(-0.6, 1.7), torch.zeros(0, 3, 64, 64))],
)
right(
    "networks",
    "images up to 255 of another's network",
    torch.Size([2, 1, 62, 62]),
    lambda: maps.grad_cam(Two(nn.ReLU(), nn.ReLU()), images_of(0, 255), 1, "c").maps.shape,
)


# ---- where gradients are switched off


def maps_of(network, images):
    """Every map that takes a gradient."""
    return torch.cat(
        [
            maps.grad_cam(network, images, 1).maps.flatten(),
            maps.grad_cam_plus_plus(network, images, top=2).maps.flatten(),
            maps.saliency(network, images, torch.tensor([1, 2])).flatten(),
            maps.guided_backprop(network, images, top=2).flatten(),
        ]
    )


def inside(context, **options):
    """Whether maps made inside a context, of images made there, are those made outside."""
    network = mini().double()
    expected = maps_of(network, draw(2, 3, 64, 64))
    with context:
        found = maps_of(network, draw(2, 3, 64, 64))
        assert not torch.is_grad_enabled()
    assert not found.requires_grad
    return equal(found.clone(), expected)


right("networks", "maps inside inference_mode", True, lambda: inside(torch.inference_mode()))
right("networks", "maps inside no_grad", True, lambda: inside(torch.no_grad()))


@case("networks", "maps inside inference_mode and autocast, after a forward pass", Right(True))
def _(folder):
    network, images = mini(), images_of(0, 1)
    with torch.autocast("cpu", torch.bfloat16):
        expected = maps.grad_cam(network, images, 1).maps.float()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        network(images)
        return equal(maps.grad_cam(network, images.clone(), 1).maps.float(), expected)


@case("networks", "layer-wise relevance propagation inside inference_mode", Right(True))
def _(folder):
    network, images = mini(), images_of(0, 1)
    expected = attributions.lrp(network, images, 1)
    with torch.inference_mode():
        found = attributions.lrp(network, images.clone(), 1)
    return bool(torch.equal(found, expected)) and bool(expected.any())


@case("networks", "an evaluation by Grad-CAM inside inference_mode", Right(True))
def _(folder):
    network = networks.build("mini-gap", 2, seed=1)
    expected = metrics.evaluate(network, Squares(), "grad-cam", batch_size=5)
    with torch.inference_mode():
        return metrics.evaluate(network, Squares(), "grad-cam", batch_size=5).row == expected.row


class Pair(Two):
    """It takes a tuple of two images."""

    def forward(self, pair):
        return super().forward(pair[0] + pair[1])


@case("networks", "a tuple of images made inside inference_mode", Right(True))
def _(folder):
    network, images = network_of(lambda: Pair(nn.ReLU(), nn.ReLU())), draw(2, 3, 16, 16)
    expected = maps.grad_cam(network, (images, images), 1, "d").maps
    with torch.inference_mode():
        return equal(maps.grad_cam(network, (images.clone(), images.clone()), 1, "d").maps, expected)


@case("networks", "classes made inside inference_mode", Right(True))
def _(folder):
    network, images = mini().double(), draw(2, 3, 64, 64)
    with torch.inference_mode():
        classes = network(images)[0].argmax(1)
    own = maps.saliency(network, images, classes)
    return equal(own, maps.saliency(network, images, top=1))


def made_in_inference_mode():
    with torch.inference_mode():
        network = mini()
    maps.grad_cam(network, images_of(0, 1), 1, "backbone.17")


call(
    "networks",
    "weights made inside inference_mode",
    r"weights that were made inside torch.inference_mode\(\), which allow no gradient: build or load it outside",
    made_in_inference_mode,
)


# ---- outputs that are not (B, C)


class Returns(nn.Module):
    """A network that returns its logits as somebody wants them."""

    def __init__(self, give):
        super().__init__()
        self.inner, self.give = Two(nn.ReLU(), nn.ReLU()), give

    def forward(self, images):
        return self.give(self.inner(images))


class Output:
    def __init__(self, logits):
        self.loss, self.logits = None, logits


class Named(OrderedDict):
    """As the outputs of the transformers library are."""


OUTPUTS = {
    "a dictionary with out": lambda y: {"out": y, "aux": 2 * y},
    "an ordered dictionary with logits": lambda y: Named(loss=y.sum(), logits=y),
    "a dictionary of one": lambda y: {"scores": y},
    "a list": lambda y: [y, y.sum()],
    "an object with logits": Output,
    "a dictionary in a tuple": lambda y: ({"out": y}, None),
}
for name, give in OUTPUTS.items():

    def compare(give=give):
        network, images = network_of(lambda: Returns(give)), draw(2, 3, 16, 16)
        pairs = [
            (maps.grad_cam(network, images, 1, "inner.d").maps, maps.grad_cam(network.inner, images, 1, "d").maps),
            (maps.saliency(network, images, 1), maps.saliency(network.inner, images, 1)),
            (maps.guided_backprop(network, images, 1), maps.guided_backprop(network.inner, images, 1)),
        ]
        return [equal(ours, theirs) for ours, theirs in pairs]

    right("networks", f"an output that is {name}", [True] * 3, compare)

NO_LOGITS = {
    "(B,) after squeeze": (lambda y: y[:, :1].squeeze(), r"a tensor of shape \(2,\)"),
    "a number": (lambda y: y.sum(), r"a tensor of shape \(\)"),
    "a score for each pixel": (
        lambda y: y[..., None, None].expand(-1, -1, 4, 4),
        r"scores for .*, a tensor of shape \(2, 5, 4, 4\)",
    ),
    "nothing": (lambda y: None, "None"),
    "a dictionary of several": (lambda y: {"a": y, "b": y}, r"a dict with the entries \['a', 'b'\]"),
    "an empty tuple": (lambda y: (), "an object of type tuple without logits"),
    "text": (lambda y: "cat", "an object of type str without logits"),
}
for name, (give, sentence) in NO_LOGITS.items():
    call(
        "networks",
        f"an output that is {name}",
        f"^the network returns {sentence}: give one that returns logits .B, C., one row per image",
        lambda give=give: maps.grad_cam(network_of(lambda: Returns(give)), draw(2, 3, 16, 16), 0, "inner.d"),
    )
    call(
        "networks",
        f"an output that is {name}, to saliency",
        f"^the network returns {sentence}: give one",
        lambda give=give: maps.saliency(network_of(lambda: Returns(give)), draw(2, 3, 16, 16), 0),
    )


@case("networks", "a score for each pixel, and what to make of it", Right(True))
def _(folder):
    network = network_of(lambda: Returns(lambda y: y[..., None, None].expand(-1, -1, 4, 4)))
    images = draw(2, 3, 16, 16)
    found = maps.grad_cam(network, images, 1, "inner.d", score=lambda logits: logits.mean((2, 3)))
    return equal(found.maps, maps.grad_cam(network.inner, images, 1, "d").maps)


call(
    "networks",
    "a score that is not (B, C)",
    r"score gives a tensor of shape \(2,\): let it give one score per class",
    lambda: maps.grad_cam(two(), draw(2, 3, 16, 16), 1, "d", score=lambda logits: logits.sum(1)),
)


# ---- networks that hide their layers


def two():
    return network_of(lambda: Two(nn.ReLU(), nn.ReLU()))


TRACED = "a traced or scripted network has no layers to look into: give the network it was made from"


def quietly(make, *given):
    """What torch.jit makes, without its word that torch.compile is newer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*given)


def traced():
    return quietly(torch.jit.trace, two(), draw(1, 3, 16, 16))


call("networks", "a traced network", TRACED, lambda: maps.grad_cam(traced(), draw(2, 3, 16, 16), 1, "d"))
call(
    "networks", "a traced network's module", TRACED, lambda: maps.grad_cam((t := traced()), draw(2, 3, 16, 16), 1, t.d)
)
call(
    "networks",
    "a scripted network",
    TRACED,
    lambda: maps.layer_gradients(
        quietly(torch.jit.script, nn.Sequential(nn.Conv2d(3, 5, 3))), draw(2, 3, 16, 16), 1, "0"
    ),
)
call(
    "networks",
    "guided backpropagation of a traced network",
    TRACED,
    lambda: maps.guided_backprop(traced(), draw(2, 3, 16, 16), 1),
)
call(
    "networks",
    "a misspelt layer that nothing is near",
    r"layer='xyz' is unknown\. The network's parts are c, d, fc, first, second\.",
    lambda: maps.grad_cam(two(), draw(2, 3, 16, 16), 1, "xyz"),
)


def wrapped_case(name, wrap, layers):
    def compare():
        network, images = two(), draw(2, 3, 16, 16)
        wrapped = wrap(network)
        expected = maps.grad_cam(network, images, 1, "d").maps
        return [equal(maps.grad_cam(wrapped, images, 1, layer).maps, expected) for layer in (*layers, network.d)]

    right("networks", name, [True] * (len(layers) + 1), compare)


wrapped_case("layers of a compiled network", lambda n: torch.compile(n, backend="eager"), ("d", "_orig_mod.d"))
wrapped_case("layers of a network in data parallel", nn.DataParallel, ("d", "module.d"))
wrapped_case("layers of a network traced by torch.fx", lambda n: torch.fx.symbolic_trace(n), ("d",))


def exported():
    return torch.export.export(two(), (draw(2, 3, 16, 16),)).module()


class Partly(Two):
    """Its second convolution is a part that was traced."""

    def __init__(self):
        super().__init__(nn.ReLU(), nn.ReLU())
        self.d = quietly(torch.jit.trace, nn.Sequential(OrderedDict(inner=self.d)), torch.rand(1, 8, 14, 14))


call(
    "networks",
    "an exported network",
    "a network from torch.export cannot be looked into: give the network it was made from",
    lambda: maps.grad_cam(exported(), draw(2, 3, 16, 16), 1, "d"),
)


def traced_in_one():
    """torch.fx keeps no module of its own: the second half is a function."""
    network = torch.fx.symbolic_trace(two())
    for node in network.graph.nodes:
        if node.target == "first":
            with network.graph.inserting_after(node):
                node.replace_all_uses_with(network.graph.call_function(torch.relu, node.args))
            network.graph.erase_node(node)
            break
    network.recompile()
    return network


call(
    "networks",
    "a layer that torch.fx made a function of",
    "layer 'first' is not reached by the forward pass: a network that torch.fx traced may call none: give",
    lambda: maps.grad_cam(traced_in_one(), draw(2, 3, 16, 16), 1, "first"),
)
call(
    "networks",
    "a layer inside a traced part",
    "layer 'd.inner' is not reached by the forward pass: a traced or scripted part calls none of its layers: give",
    lambda: maps.grad_cam(network_of(Partly), draw(2, 3, 16, 16), 1, "d.inner"),
)


class Recomputed(Two):
    """Its second half is recomputed in the backward pass."""

    def __init__(self, reentrant):
        super().__init__(nn.ReLU(), nn.ReLU())
        self.reentrant = reentrant

    def forward(self, images):
        half = torch.utils.checkpoint.checkpoint(
            lambda x: self.second(self.d(x)), self.first(self.c(images)), use_reentrant=self.reentrant
        )
        return self.fc(half.mean((2, 3)))


REENTRANT = "torch.utils.checkpoint with use_reentrant=True, .*: take use_reentrant=False, or switch checkpointing off"
for name, found in {
    "Grad-CAM": lambda network: maps.grad_cam(network, draw(2, 3, 16, 16), 1, "c"),
    "Grad-CAM of several classes": lambda network: maps.grad_cam(network, draw(2, 3, 16, 16), None, "c", top=3),
    "saliency": lambda network: maps.saliency(network, draw(2, 3, 16, 16), 1),
}.items():
    call(
        "networks",
        f"{name} through layers that are recomputed",
        REENTRANT,
        lambda found=found: found(network_of(lambda: Recomputed(True))),
    )


@case("networks", "maps through layers that are recomputed without re-entering", Right([True] * 3))
def _(folder):
    network, images = network_of(lambda: Recomputed(False)), draw(2, 3, 16, 16)
    return [
        equal(
            maps.grad_cam(network, images, None, "c", top=2).maps, maps.grad_cam(two(), images, None, "c", top=2).maps
        ),
        equal(maps.saliency(network, images, 1), maps.saliency(two(), images, 1)),
        equal(maps.guided_backprop(network, images, 1), maps.guided_backprop(two(), images, 1)),
    ]


class Off(Two):
    """It switches gradients off half-way."""

    def forward(self, images):
        with torch.no_grad():
            return super().forward(images)


call(
    "networks",
    "a network that switches gradients off",
    "no score depends on layer 'd', or the network switches gradients off after it: choose",
    lambda: maps.grad_cam(network_of(lambda: Off(nn.ReLU(), nn.ReLU())), draw(2, 3, 16, 16), 1, "d"),
)
call(
    "networks",
    "a network that switches gradients off, to saliency",
    "no score depends on the images, or the network switches gradients off: take",
    lambda: maps.saliency(network_of(lambda: Off(nn.ReLU(), nn.ReLU())), draw(2, 3, 16, 16), 1),
)


# ---- classes


def classes_of(classes, **options):
    return maps.grad_cam(two(), draw(2, 3, 16, 16), classes, "d", **options).classes.tolist()


for name, classes in {
    "uint8": torch.tensor([3, 1], dtype=torch.uint8),
    "int8": torch.tensor([3, 1], dtype=torch.int8),
    "a list": [3, 1],
    "a tuple of NumPy integers": (np.int64(3), np.uint8(1)),
    "an array of uint16": np.array([3, 1], np.uint16),
    "an array backwards": np.array([1, 3])[::-1],
    "a nested list": [[3, 1], [3, 1]],
    "a list of tensors": [torch.tensor(3), torch.tensor(1)],
}.items():
    right("parameters", f"classes as {name}", [[3, 1], [3, 1]], lambda classes=classes: classes_of(classes))
right("parameters", "classes as one NumPy integer", [[3], [3]], lambda: classes_of(np.uint8(3)))
for name, (classes, sentence) in {
    "float": (1.0, "classes has type torch.float32: give whole numbers from 0"),
    "bool": (True, "classes has type torch.bool: give whole"),
    "a boolean mask": (np.array([True, False]), "classes has type torch.bool: give whole"),
    "complex numbers": (torch.tensor([1j]), "classes has type torch.complex64: give whole"),
    "text": ("cat", "classes='cat' cannot be read: give a whole number from 0"),
    "rows of different lengths": ([[1, 2], [3]], r"classes=\[\[1, 2\], \[3\]\] cannot be read: give"),
    "a list with a hole": ([1, None], r"classes=\[1, None\] cannot be read: give"),
    "a number beyond all": (2**70, "classes=1180591620717411303424 cannot be read: give"),
    "the number of classes": (np.int64(5), "classes run from 5 to 5: the network has classes 0 to 4"),
    "no class": ([], r"classes has (type torch.float32|shape \(0,\)): give"),
    "three dimensions": (np.zeros((2, 1, 1), int), r"classes has shape \(2, 1, 1\): give a number"),
}.items():
    call("parameters", f"classes: {name}", sentence, lambda classes=classes: classes_of(classes))
for top in (2.0, "2", True):
    call(
        "parameters",
        f"top={top!r}",
        f"classes=None, top={top} of 5 classes: give one of them, top from 1 to 5",
        lambda top=top: classes_of(None, top=top),
    )


@case("parameters", "guided backpropagation of a nested list of classes", Right(True))
def _(folder):
    network, images = two(), draw(2, 3, 16, 16)
    several = maps.guided_backprop(network, images, [[3, 1], [0, 2]])
    each = [maps.guided_backprop(network, images, torch.tensor(column)) for column in ([3, 0], [1, 2])]
    return equal(several, torch.stack(each, 1))


# ---- maps that NumPy cannot read

STEPS = torch.zeros(32, 32)
STEPS[8:24, 8:24], STEPS[10:16, 10:20], STEPS[12:14, 12:14] = 0.5, 0.75, 1.0  # in half precision, too
AS = {
    "bfloat16": lambda x: x.bfloat16(),
    "float16": lambda x: x.half(),
    "with a gradient": lambda x: x.clone().requires_grad_(True),
    "bfloat16 with a gradient": lambda x: x.bfloat16().requires_grad_(True),
}
TRUTH = [[8, 8, 24, 24]]


def numbers(map2d):
    """What is read from one map."""
    seen, mask = metrics.BoxAccuracy(32), STEPS > 0.6
    seen.update(map2d, TRUTH)
    seen.update_all([map2d], [TRUTH])
    pixels = metrics.PixelAveragePrecision()
    pixels.update(map2d, mask)
    return [
        *(boxes.box_from_map(map2d, rule, 0.45).tolist() for rule in boxes.RULES),
        boxes.mask_above(map2d, 0.45, "wsol").sum(),
        [box.tolist() for box in maps.loose_and_tight(map2d)],
        seen.max_box_acc_v2(),
        pixels.value(),
        float(metrics.pointing_hit(map2d, mask, 0)),
        metrics.share_inside(map2d, mask),
        metrics.lands_on([map2d], mask[None], 0)["mass"],
        metrics.topk_error(map2d[:2], [0, 10], 1),
        maps.normalize(map2d).double().mean().item(),
        maps.upsample(map2d[None, None], 48).double().mean().item(),
        maps.blur(map2d[None, None], 1.0).double().mean().item(),
    ]


for name, turn in AS.items():

    def compare(turn=turn):
        found, expected = numbers(turn(STEPS)), numbers(STEPS)
        return all(
            one == other if isinstance(one, list) else abs(one - other) <= 2e-3
            for one, other in zip(found, expected, strict=True)
        )

    right("maps", f"{name}, read by everything", True, compare)


@case("maps", "half precision and gradients, drawn", Right([True] * len(AS)))
def _(folder):
    image, grown = torch.rand(3, 32, 32), maps.normalize(STEPS)
    expected = show.overlay(image, grown)
    raw = torch.stack([STEPS, 1 - STEPS])
    for turn in AS.values():
        explore.cam_explorer(turn(image), turn(raw), ["cat", "dog"], truth=turn(torch.tensor(TRUTH[0]).float()))
        show.cells([turn(image)], turn(STEPS[None, None]), alone=True)
    near = [np.abs(show.overlay(turn(image), turn(grown)).astype(int) - expected).max() for turn in AS.values()]
    return [bool(one <= 2) for one in near]


@case("maps", "feature maps in half precision, and their weight in single", Right([True] * 3))
def _(folder):
    network, images = mini(), images_of(0, 1)
    with torch.autocast("cpu", torch.bfloat16):
        feature_maps = network.features(images)
    assert feature_maps.dtype == torch.bfloat16
    expected = torch.einsum("bkhw,ck->bchw", feature_maps.double(), network.class_weight.double())
    found = maps.class_activation_map(feature_maps, network.class_weight)
    each = maps.class_activation_map(feature_maps.half(), network.class_weight.expand(2, -1, -1))
    double = maps.class_activation_map(feature_maps, network.class_weight.double())
    return [bool(torch.allclose(one.double(), expected, rtol=1e-2, atol=1e-3)) for one in (found, each, double)]


@case("maps", "a network evaluated under autocast", Right(True))
def _(folder):
    network = networks.build("mini-gap", 2, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        found = metrics.evaluate(network, Squares(), batch_size=5)
    return all(math.isfinite(value) for value in found.row.values())


# ---- weights from files


def state_of(seed=1):
    return networks.build("mini-gap", 5, seed=seed).state_dict()


def loads(name, make, *sentences, ending=".pt"):
    """A case of a file from which the weights of the network of seed 1 must come."""

    def build(folder):
        file, made = folder / f"mine{ending}", make(folder)
        file.write_bytes(made) if isinstance(made, bytes) else torch.save(made, file)
        found, right = networks.build("mini-gap", 5, weights=file).state_dict(), state_of()
        return sum(bool((found[name] == right[name]).all()) for name in right)

    CASE = Right(
        len(state_of()), tuple(rf".*mine{ending}: the weights of mini-gap are taken from it {s}\." for s in sentences)
    )
    case("checkpoints", name, CASE)(build)


def under(prefix, state=None, **more):
    return {f"{prefix}{name}": values for name, values in (state or state_of()).items()} | more


def safetensors(state, head=None) -> bytes:
    """The bytes of a .safetensors file, as its format is described."""
    kinds = {torch.float32: "F32", torch.int64: "I64", torch.bfloat16: "BF16"}
    header, numbers = {"__metadata__": {"format": "pt"}}, b""
    for name, values in state.items():
        content = (
            values.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            if values.dim()
            else values[None].view(torch.uint8).numpy().tobytes()
        )
        offsets = [len(numbers), len(numbers) + len(content)]
        header[name] = {"dtype": kinds[values.dtype], "shape": list(values.shape), "data_offsets": offsets}
        numbers += content
    text = json.dumps(header if head is None else head).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def cached(folder):
    entry = {"network": state_of(), "history": [{"loss": 1.0}], "seconds": 1.0, "processes": 1}
    files.save_whole(entry, folder / "entry.pt")
    return (folder / "entry.pt").read_bytes()


loads("an entry of the cache", cached)
loads(
    "Lightning's",
    lambda _: {"state_dict": under("model."), "epoch": 3},
    r"in its entry \['state_dict'\], under the prefix 'model\.'",
)
loads("of nn.DataParallel", lambda _: under("module."), r"under the prefix 'module\.'")
loads("of torch.compile", lambda _: under("_orig_mod."), r"under the prefix '_orig_mod\.'")
loads(
    "of both",
    lambda _: {"model": under("_orig_mod.module.")},
    r"in its entry \['model'\], under the prefix '_orig_mod\.module\.'",
)
loads(
    "with the state of an optimizer",
    lambda _: {
        "model": state_of(),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []},
        "epoch": 1,
    },
    r"in its entry \['model'\]",
)
loads(
    "averaged by torch.optim.swa_utils",
    lambda _: under("module.", n_averaged=torch.tensor(3)),
    r"under the prefix 'module\.', without its other entries",
)
loads("beside a number", lambda _: state_of() | {"epoch": 3}, "without its other entries")
loads("safetensors", lambda _: safetensors(state_of()), ending=".safetensors")
loads("safetensors under another name", lambda _: safetensors(state_of()), ending=".bin")
loads(
    "safetensors with a prefix",
    lambda _: safetensors(under("net.")),
    r"under the prefix 'net\.'",
    ending=".safetensors",
)
checkpoint(
    "with the weights twice",
    no_weights(r"it contains such weights more than once, in its entry \['model'\] and in its entry \['ema'\]: .*"),
    lambda folder: {"model": state_of(), "ema": state_of(2)},
)
checkpoint(
    "of other classes in an entry",
    no_weights(
        r"in its entry \['state_dict'\], under the prefix 'model\.', classifier.weight is \(6, 128\) and should be .*"
    ),
    lambda folder: {"state_dict": under("model.", weights(classes=6)), "epoch": 1},
)
checkpoint("without any tensor", no_weights("it is not a state_dict"), lambda folder: {"epoch": 1, "best": [1, 2]})
checkpoint(
    "an optimizer alone",
    no_weights("it is not a state_dict"),
    lambda folder: {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []},
)
checkpoint(
    "half an entry of the cache", no_weights("it is damaged: its checksum differs"), lambda folder: cached(folder)[:-99]
)
checkpoint(
    "half a safetensors file",
    no_weights("it is a damaged .safetensors file"),
    lambda folder: safetensors(state_of())[:-99],
)
checkpoint(
    "safetensors whose numbers lie elsewhere",
    no_weights("it is a damaged .safetensors file"),
    lambda folder: safetensors({}, {"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 8]}}),
)
checkpoint(
    "a whole network",
    no_weights("it is damaged, or it contains more than weights: cambook.networks.base.PooledNetwork"),
    lambda folder: networks.build("mini-gap", 5),
)


def scripted(folder):
    quietly(torch.jit.script, nn.Linear(2, 2)).save(folder / "scripted.pt")
    return (folder / "scripted.pt").read_bytes()


checkpoint(
    "TorchScript", no_weights("it is a TorchScript archive: save the state_dict.. of the network in it"), scripted
)
