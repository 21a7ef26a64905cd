"""Values as NumPy takes them, whatever a network left them as."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from torch import Tensor


def as_array(values: Any, dtype: DTypeLike = None) -> np.ndarray:
    """An array of a tensor of any kind, of a list of tensors, or of what NumPy reads itself.

    Args:
        values: a tensor, also one that requires a gradient; its floats of 16 bits or fewer become float32, which NumPy
            counts with exactly. Or a list of tensors, or anything that np.asarray takes.
        dtype: of the array; None: as the values are.

    Returns:
        The array; it shares its memory with the values if nothing has to be converted.

    Example:
        >>> import torch
        >>> as_array(torch.tensor([0.5, 2.0], dtype=torch.bfloat16, requires_grad=True))
        array([0.5, 2. ], dtype=float32)
    """
    return np.asarray(_plain(values), dtype)


def widened(values: Tensor) -> Tensor:
    """A tensor without its gradient, its floats of 16 bits or fewer as float32.

    Args:
        values: any tensor.

    Returns:
        The same numbers on the same device, exactly.

    Example:
        >>> import torch
        >>> widened(torch.ones(2, dtype=torch.float16, requires_grad=True))
        tensor([1., 1.])
    """
    values = values.detach()
    return values.float() if values.is_floating_point() and values.dtype.itemsize < 4 else values


def _plain(values: Any) -> Any:
    if isinstance(values, Tensor):
        return widened(values).cpu().numpy()
    if isinstance(values, list | tuple) and any(isinstance(one, Tensor | list | tuple) for one in values):
        return [_plain(one) for one in values]
    return values
