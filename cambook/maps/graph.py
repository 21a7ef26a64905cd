"""What autograd recorded of a forward pass: which operations ran, and which way a layer's output was read.

A network's modules say what may run; the graph behind its scores says what ran, functions as well as modules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from torch import Tensor
from torch.autograd.graph import Node


def operation(node: Node) -> str:
    """What a node of the graph undoes, without the ending and the number that autograd adds.

    Args:
        node: a tensor's grad_fn, or one that it leads to.

    Returns:
        Such as "Relu", "Convolution", "AccumulateGrad" (a leaf).

    Example:
        >>> import torch
        >>> operation(torch.ones(1, requires_grad=True).relu().grad_fn)
        'Relu'
    """
    name = node.name().rsplit("::", 1)[-1].rstrip("0123456789")
    return name.removesuffix("Backward")


def nodes_behind(output: Tensor) -> Iterator[Node]:
    """Every operation that a tensor was computed by, as far as gradients were recorded.

    Args:
        output: the end of the graph, such as the logits.

    Returns:
        The nodes, each once, those next to the output first.

    Example:
        >>> import torch
        >>> [operation(node) for node in nodes_behind((2 * torch.ones(1, requires_grad=True)).relu())]
        ['Relu', 'Mul', 'AccumulateGrad']
    """
    waiting, seen = deque([output.grad_fn] if output.grad_fn else []), {output.grad_fn}
    while waiting:
        node = waiting.popleft()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
