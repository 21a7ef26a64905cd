"""The registry of networks: one `Spec` for each, from which every list of networks is made.

A network is added by one call beside its builder, `register(Spec("mine", builder, recipe="cam"))`, and nothing here
changes.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cambook.networks.base import Network


@dataclass(frozen=True)
class Weights:
    """Where ImageNet's weights come from: a model's name, and the packages that ship or download it."""

    model: str
    packages: tuple[str, ...] = ("torchvision",)


@dataclass(frozen=True)
class Spec:
    """What there is to know about a network.

    Attributes:
        name: what it is called everywhere: in `build`, on the command line, in a notebook's parameters.
        builder: a function (classes, pretrained) -> Network; None for a cut, which is made from its original.
        side: of the square images that it is made for, in pixels.
        weights: where its ImageNet weights come from; None if there are none.
        recipe: how it is trained: a name in `training.RECIPES`, or a `training.Recipe` of its own.
        scratch_lr: AdamW's learning rate for training it from random weights on drawn images, whatever weights it has;
            None: it is trained there as everywhere (`training.policy`).
        keeps: the name of the last module of its backbone that a cut keeps; None if nothing is cut off it.
        original: for a cut the network that it is cut from. Its side, weights and scratch_lr are the original's.
        pooling: for a cut "gap" or "gmp".
        units: for a cut the units of its new 3x3 convolutions, one after another.
        differs: how it differs from the network of that name in the papers, in a few words.
    """

    name: str
    builder: Callable[[int, bool], Network] | None = None
    side: int = 224
    weights: Weights | None = None
    recipe: Any = None
    scratch_lr: float | None = None
    keeps: str | None = None
    original: str | None = None
    pooling: str | None = None
    units: tuple[int, ...] = (1024,)
    differs: str = ""


KNOWN: dict[str, Spec] = {}
FAMILIES: dict[str, tuple[Callable[[str], Spec], str]] = {}  # what a name begins with -> its finder, and what it is


def register(new: Spec) -> Spec:
    """Makes a network known by its name: to `build`, training, the command line, the notebooks.

    Args:
        new: the network. A cut takes side, weights and scratch_lr from its original, and differs if it has none.

    Returns:
        The Spec as it is known from now on.

    Raises:
        ValueError: if the name is taken or is not letters, digits, "-", "_" and ".", if there is neither a builder nor
            an original, or if nothing can be cut off the original.

    Example:
        >>> from cambook.networks import mini_pooled
        >>> mine = register(Spec("my-gap", mini_pooled("gap"), side=64, recipe="mini"))
        >>> spec("my-gap").side, KNOWN.pop("my-gap") is mine
        (64, True)
    """
    if not re.fullmatch(r"[\w.-]+", new.name):
        raise ValueError(f"A network cannot be called {new.name!r}: use letters, digits, '-', '_' and '.' alone.")
    if new.name in KNOWN and _where(KNOWN[new.name]) != _where(new):
        raise ValueError(
            f"There is a network {new.name} already, from {_where(KNOWN[new.name])[0]}: choose another name."
        )
    if (new.builder is None) == (new.original is None):
        raise ValueError(f"{new.name} needs either a builder or the original that it is cut from.")
    if new.original:
        whole = spec(new.original)
        if whole.keeps is None:
            raise ValueError(
                f"Nothing can be cut off {whole.name}, so {new.name} cannot be made: give its Spec `keeps`."
            )
        same = {field: getattr(whole, field) for field in ("side", "weights", "scratch_lr")}
        new = dataclasses.replace(new, **same, differs=new.differs or whole.differs)
    KNOWN[new.name] = new
    return new


def register_family(prefix: str, find: Callable[[str], Spec], what: str) -> None:
    """Makes networks known that are written `PREFIX:NAME` and are not listed one by one.

    Args:
        prefix: what their names begin with, without the colon.
        find: the whole name -> its Spec; it raises ValueError for an unknown name, with the nearest.
        what: what they are, for the error of an unknown name.

    Example:
        >>> register_family("twice", lambda name: spec(name.removeprefix("twice:")), "a network under a second name")
        >>> spec("twice:mini-gap").side, FAMILIES.pop("twice")[1]
        (64, 'a network under a second name')
    """
    FAMILIES[prefix] = (find, what)


def _where(known: Spec) -> tuple[str, str]:
    """The module and the name of what makes the network: a notebook's cell may be run twice."""
    builder = known.builder
    if builder is None:
        return "a cut", known.original
    return getattr(builder, "__module__", type(builder).__module__), getattr(builder, "__qualname__", "")


def spec(name: str) -> Spec:
    """The Spec of the network of that name.

    Args:
        name: what a network is called, such as "vgg16-gap" or "tv:resnet18".

    Returns:
        What is known about it; for a cut with the side, weights and scratch_lr of its original.

    Raises:
        ValueError: for an unknown name, with the known ones and the nearest.

    Example:
        >>> spec("vgg16-gap").original, spec("vgg16-gap").side, spec("mini-gap").side
        ('vgg16', 224, 64)
    """
    if name in KNOWN:
        return KNOWN[name]
    prefix, colon, _ = str(name).partition(":")
    if colon and prefix in FAMILIES:
        return FAMILIES[prefix][0](name)
    near = difflib.get_close_matches(str(name), names(), 1)
    if colon and prefix.lower() in FAMILIES:
        near = [name.lower()]
    families = "".join(f", or {prefix}:NAME, {what}" for prefix, (_, what) in FAMILIES.items())
    raise ValueError(
        f"network={name!r} is unknown{f'; did you mean {near[0]!r}?' if near else '.'} Known: {', '.join(names())}"
        f"{families}."
    )


def names() -> list[str]:
    """The names of the networks that `build` knows, without families such as `tv:NAME`.

    Returns:
        Originals before cuts, small images before large ones, else in the order of registration.

    Example:
        >>> names()[:3]
        ['mini-fc', 'mini-gap', 'mini-gmp']
    """
    return sorted(KNOWN, key=lambda name: (KNOWN[name].original is not None, KNOWN[name].side))


def cuts() -> list[str]:
    """The names of the networks that are cut from another one.

    Returns:
        A part of `names()`, in its order.

    Example:
        >>> cuts()[:3]
        ['mini-fc-gap', 'mini-fc-gmp', 'alexnet-gap']
    """
    return [name for name in names() if KNOWN[name].original]


def models_of(package: str) -> list[str]:
    """The models whose ImageNet weights come from a package, each once.

    Args:
        package: the name by which it is installed, such as "torchvision".

    Returns:
        Its models by its own names, in the order of `names()`; none if no network has weights from it.

    Example:
        >>> models_of("torchvision")
        ['alexnet', 'vgg16', 'googlenet', 'resnet50', 'squeezenet1_1']
    """
    found = [KNOWN[name].weights for name in names()]
    return list(dict.fromkeys(weights.model for weights in found if weights and package in weights.packages))


def check_name(name: str) -> str:
    """The name itself, if a network is called so.

    Args:
        name: what a network is called, such as "vgg16-gap" or "tv:resnet18".

    Returns:
        The same name.

    Raises:
        ValueError: for an unknown name, with the known ones and the nearest.

    Example:
        >>> check_name("mini-gap")
        'mini-gap'
    """
    spec(name)
    return name
