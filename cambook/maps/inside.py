"""A network as one can look into it: its layers by name, gradients recorded, evaluation mode."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, without what torch.compile and data parallelism put around it."""
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif "_orig_mod" in network._modules:
            network = network._orig_mod
        else:
            return network


def check_visible(network: nn.Module) -> None:
    """Raises ValueError for a network whose layers run where Python cannot look."""
    if isinstance(network, torch.jit.ScriptModule):
        raise ValueError("a traced or scripted network has no layers to look into: give the network it was made from.")


def find_layer(network: nn.Module, layer: str | nn.Module) -> nn.Module:
    """The module itself, or the one of that name; ValueError if it is not part of the network."""
    check_visible(network)
    modules = dict(network.named_modules())
    if isinstance(layer, nn.Module):
        layer = unwrapped(layer)
        if not any(layer is module for module in modules.values()):
            kind = type(layer).__name__
            raise ValueError(f"the layer given, a {kind}, is not part of the network: pass one of its own.")
        return layer
    if layer and layer in modules:
        return unwrapped(modules[layer])
    named = {_plain(name): module for name, module in modules.items()}
    for name in (_plain(layer), _plain(layer).removeprefix("module.")):
        if name and name in named:
            return unwrapped(named[name])
    near = difflib.get_close_matches(layer, named, 1)
    top = ", ".join(name for name, _ in network.named_children())
    raise ValueError(
        f"layer={layer!r} is unknown{f', did you mean {near[0]!r}?' if near else '.'} The network's parts are {top}."
    )


def _plain(name: str) -> str:
    """A module's name without the parts that torch.compile adds."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def name_of(network: nn.Module, module: nn.Module) -> str:
    """The name of a network's module, in quotes."""
    return repr(next(_plain(name) for name, each in network.named_modules() if each is module))


def why_not_reached(network: nn.Module) -> str:
    """What to do about a layer that the forward pass does not call."""
    if isinstance(network, torch.fx.GraphModule):
        return "a network that torch.fx traced may call none: give the network it was made from"
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        return "a traced or scripted part calls none of its layers: give the network it was made from"
    return "choose another one"


@contextmanager
def recording(network: nn.Module, images: Any) -> Iterator[Any]:
    """The images as gradients can be recorded of them, also inside torch.inference_mode().

    Parts that torch.compile made run as they were written meanwhile, since compiled code calls no hooks.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            torch.clear_autocast_cache()  # the weights in it cannot be recorded
        stack.enter_context(torch.inference_mode(False))
        images = _recordable(images)
        if "torch._dynamo" in sys.modules and any(map(_is_compiled, network.modules())):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            yield images
        except RuntimeError as error:
            if reason := _hindrance(str(error)):
                raise ValueError(reason) from error
            raise


def _recordable(images: Any) -> Any:
    """Images, also several kinds of input in a tuple, list or dictionary, whose gradients can be recorded."""
    if isinstance(images, Tensor):
        return images.clone() if images.is_inference() else images
    if type(images) in (tuple, list):
        return type(images)(map(_recordable, images))
    if type(images) is dict:
        return {name: _recordable(values) for name, values in images.items()}
    return images


def _is_compiled(module: nn.Module) -> bool:
    return "_orig_mod" in module._modules or module._compiled_call_impl is not None


def _hindrance(message: str) -> str:
    """What stands in the way of gradients, and what to do; empty if torch's message says something else."""
    if "nference tensor" in message:
        return (
            "the network has weights that were made inside torch.inference_mode(), which allow no gradient: build or "
            "load it outside."
        )
    if "use_reentrant" in message:
        return (
            "the network recomputes layers by torch.utils.checkpoint with use_reentrant=True, which no gradient of a "
            "layer passes: take use_reentrant=False, or switch checkpointing off."
        )
    return ""


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, each of its modules afterwards in the mode it had."""
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval()
    except NotImplementedError:  # it is always as it was exported
        raise ValueError(
            "a network from torch.export cannot be looked into: give the network it was made from."
        ) from None
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
