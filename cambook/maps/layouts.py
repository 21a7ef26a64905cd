"""Where a layer's output has its channels and its positions: (B, K, h, w), (B, h, w, K) or tokens (B, N, K)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node

from cambook.maps.graph import nodes_behind, operation
from cambook.maps.inside import name_of

LAYOUTS = ("BCHW", "BHWC", "tokens")
PREFIX = 16  # at most so many class and register tokens stand before the positions
# Operations whose result has positions and channels where what they read has them.
SAME_LAYOUT = (
    *("Add", "Sub", "Mul", "Div", "Neg", "Clone", "Alias", "ToCopy", "NativeDropout", "Relu", "Gelu", "Silu"),
    *("Sigmoid", "Tanh", "LeakyRelu", "Elu", "Hardtanh", "Hardswish", "Hardsigmoid", "Mish", "Softplus", "Clamp"),
    *("Roll", "Slice", "ConstantPadNd", "Cat"),
)
# Operations on (B, K, h, w), whatever the network calls them.
PLANES = (
    *("Convolution", "CudnnConvolution", "MkldnnConvolution", "MiopenConvolution", "NativeBatchNorm"),
    *("CudnnBatchNorm", "MiopenBatchNorm", "NativeGroupNorm", "MaxPool2DWithIndices", "AvgPool2D"),
    *("AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "UpsampleBilinear2D", "UpsampleNearest2D"),
)


def check_layout(layout: str | None) -> None:
    """Raises ValueError for a layout that there is not."""
    if layout not in (None, *LAYOUTS):
        raise ValueError(f"layout={layout!r} is unknown: choose one of {', '.join(map(repr, LAYOUTS))}.")


def check_shape(name: str, output: Any, layout: str | None) -> None:
    """Raises unless a layer's output may have that layout."""
    wanted = {"tokens": 3}.get(layout, 4)
    if isinstance(output, Tensor) and output.dim() == wanted:
        return
    shape = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    if layout:
        raise ValueError(f"layer {name} gives {shape}, which is not layout={layout!r}: choose another layer or layout.")
    if isinstance(output, Tensor) and output.dim() == 3:
        raise ValueError(
            f"layer {name} gives {shape}, no (B, K, h, w): give layout='tokens' if these are tokens (B, N, K) of a "
            "grid of positions, or choose a convolutional layer."
        )
    raise ValueError(f"layer {name} gives {shape}, no (B, K, h, w): choose a convolutional layer.")


def known_layout(network: nn.Module, module: nn.Module, scores: Tensor, clone: Tensor) -> str:
    """The layout of a layer's output (B, K, h, w) or (B, h, w, K), from what follows it and from its own parts.

    Where all maps are square and no layer normalizes the last dimension, there is nothing to find out.
    """
    one, two, three = clone.shape[1:]
    if one != two == three and not any(isinstance(m, nn.LayerNorm | nn.RMSNorm) for m in network.modules()):
        return "BCHW"
    known = layout_read(scores, clone.grad_fn) or _layout_made(module)
    if known:
        return known
    if one == two != three:
        raise ValueError(
            f"layer {name_of(network, module)} gives shape {tuple(clone.shape)}, and nothing says where its channels "
            "are: give layout='BHWC' if they are last, or layout='BCHW'."
        )
    return "BCHW"


def _layout_made(module: nn.Module) -> str | None:
    """The layout in which a module's last part returns positions, as far as its kind says; else None."""
    parts = [part for part in module.modules() if not any(part.children())]
    while parts and (
        type(parts[-1]).__module__ == nn.ReLU.__module__ or isinstance(parts[-1], nn.Dropout | nn.Identity)
    ):
        parts.pop()
    if not parts:
        return None
    if type(parts[-1]) in (nn.LayerNorm, nn.RMSNorm) and len(parts[-1].normalized_shape) == 1:
        return "BHWC"
    if isinstance(parts[-1], nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.GroupNorm | nn.MaxPool2d):
        return "BCHW"
    return None


def maps_from(name: str, output: Tensor, layout: str, images: Any) -> Callable[[Tensor], Tensor]:
    """What brings a tensor (..., of the output's layout) to (..., K, h, w)."""
    if layout == "BCHW":
        return lambda values: values
    if layout == "BHWC":
        return lambda values: values.movedim(-1, -3)
    tokens = output.shape[1]
    size = tuple(images.shape[2:]) if isinstance(images, Tensor) and images.dim() == 4 else ()
    before, height, width = _grid_of(tokens, size)
    if before is None:
        raise ValueError(
            f"layer {name} gives {tokens} tokens, not a grid of positions of images {size}: choose a layer "
            "whose tokens are the image's patches."
        )
    return lambda values: values[..., before:, :].unflatten(-2, (height, width)).movedim(-1, -3)


def _grid_of(tokens: int, size: tuple[int, ...]) -> tuple[int | None, int, int]:
    """How many tokens stand before the positions, and their grid (h, w): square patches of images (H, W)."""
    side, common = math.isqrt(tokens), math.gcd(*size)
    if not size:
        return (tokens - side**2, side, side) if tokens - side**2 <= 1 else (None, 0, 0)
    grids = [(size[0] // patch, size[1] // patch) for patch in range(1, common + 1) if common % patch == 0]
    fitting = [(tokens - h * w, h, w) for h, w in grids if 0 <= tokens - h * w <= PREFIX]
    return min(fitting, default=(None, 0, 0))


# ---- what the operations that follow say ----


def layout_read(output: Tensor, start: Node) -> str | None:
    """Which dimension of a layer's output the network goes on to read as its channels.

    Args:
        output: what was computed from the layer's output, such as the logits.
        start: the grad_fn of the layer's output, of four dimensions, or of its clone.

    Returns:
        "BCHW" or "BHWC"; None if nothing that follows tells, or if two operations contradict each other.

    Example:
        >>> import torch
        >>> layer = torch.ones(1, 5, 5, 2, requires_grad=True).clone()
        >>> layout_read(layer.mean((1, 2)).sum(), layer.grad_fn)
        'BHWC'
    """
    readers: dict[Node, list[Node]] = {}
    for node in nodes_behind(output):
        for read, _ in node.next_functions:
            if read is not None:
                readers.setdefault(read, []).append(node)
    found, waiting, seen = set(), [start], {start}
    while waiting:
        for reader in readers.get(waiting.pop(), ()):
            if reader in seen:
                continue
            seen.add(reader)
            if operation(reader) in SAME_LAYOUT:
                waiting.append(reader)
            else:
                found.add(_layout_of(reader, readers.get(reader, ())))
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _layout_of(node: Node, later: list[Node]) -> str | None:
    """The layout in which an operation reads a tensor of four dimensions; `later` are those that read its result."""
    name = operation(node)
    if name in PLANES:
        return "BCHW"
    if name in ("NativeLayerNorm", "FusedRmsNorm"):
        return "BHWC" if len(node._saved_normalized_shape) == 1 else None
    if name in ("Mean", "Sum", "Amax") and hasattr(node, "_saved_dim"):
        return {(2, 3): "BCHW", (1, 2): "BHWC"}.get(_dimensions(node._saved_dim))
    if name == "Permute":
        return {(0, 3, 1, 2): "BHWC", (0, 2, 3, 1): "BCHW"}.get(_dimensions(node._saved_dims, ordered=True))
    if name in ("View", "UnsafeView", "ReshapeAlias"):  # a linear layer reads all positions as rows
        *positions, channels = map(int, node._saved_self_sym_sizes)
        rows = (math.prod(positions), channels)
        return "BHWC" if len(positions) == 3 and any(_rows_of(reader) == rows for reader in later) else None
    return None


def _dimensions(saved: tuple[int, ...] | int, ordered: bool = False) -> tuple[int, ...]:
    """Dimensions of four as autograd saves them, negative ones as unsigned numbers of 64 bits, from 0 to 3."""
    found = [int(one) % 4 for one in (saved if isinstance(saved, tuple | list) else [saved])]  # 4 divides 2**64
    return tuple(found if ordered else sorted(found))


def _rows_of(node: Node) -> tuple[int, ...] | None:
    """The shape of the matrix that a linear layer multiplies; None for anything else."""
    name = operation(node)
    sizes = {"Addmm": "_saved_mat1_sym_sizes", "Mm": "_saved_self_sym_sizes"}.get(name)
    return tuple(int(size) for size in getattr(node, sizes, ())) if sizes else None
