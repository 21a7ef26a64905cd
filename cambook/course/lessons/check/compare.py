"""Comparing what a reader's function returns with what the solution returns, and the first difference in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

TOLERANCE = 1e-5
ORDINALS = ("first", "second", "third", "fourth", "fifth")


def same(a: Any, b: Any) -> bool:
    """Do two outcomes say the same: equal shapes and numbers (NaN equals NaN), or exceptions of one type?

    Tensors, arrays, numbers, and tuples or lists of them are alike, whatever their dtype.
    """
    if isinstance(a, Exception) or isinstance(b, Exception):
        return type(a) is type(b)
    a, b = plain(a), plain(b)
    if isinstance(a, list) or isinstance(b, list):
        return isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return a is b
    return a.shape == b.shape and np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def difference(got: Any, expected: Any) -> str:
    """Where two outcomes first differ, in words."""
    if expected is None:
        return f"the answer is None, not {short(got)}"
    if got is None or got is Ellipsis:
        return "your function returns nothing (is a return missing?)"
    if _is_several(expected):
        return _difference_of_parts(got, list(expected))
    got, expected = plain(got), plain(expected)
    if not (isinstance(got, np.ndarray) and isinstance(expected, np.ndarray)) or got.shape != expected.shape:
        return f"expected {short(expected)} but got {short(got)}"
    wrong = ~np.isclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    at = f"at [{', '.join(map(str, index))}] " if index else ""
    wanted, given = written(expected[index], got[index])
    return f"{at}expected {wanted} but got {given}"


def written(expected: float, got: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ: four, or more.

    Example:
        >>> written(25088000.0, 25089000.0)
        ('25088000', '25089000')
        >>> written(0.51, 2 / 3)
        ('0.51', '0.6667')
    """
    if max(abs(expected), abs(got)) < 1e15 and float(expected).is_integer() and float(got).is_integer():
        return f"{expected:.0f}", f"{got:.0f}"
    pairs = ((f"{expected:.{digits}g}", f"{got:.{digits}g}") for digits in range(4, 18))
    return next((pair for pair in pairs if pair[0] != pair[1]), (f"{expected:.17g}", f"{got:.17g}"))


def plain(value: Any) -> Any:
    """A float64 array if the value consists of numbers of one shape, a list if of several, otherwise itself."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    if isinstance(value, (tuple, list)):
        parts = [plain(part) for part in value]
        arrays = all(isinstance(part, np.ndarray) for part in parts)
        return np.stack(parts) if arrays and len({part.shape for part in parts}) == 1 else parts
    if isinstance(value, (bool, int, float, np.ndarray, np.generic)):
        try:
            return np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return value
    return value


def short(value: Any) -> str:
    """A value in a few words: the shape of an array, how many things a tuple has."""
    if isinstance(value, (tuple, list)) and _is_several(value):
        return f"{len(value)} things"
    value = plain(value)
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}" if value.ndim else "one number"
    return f"{len(value)} things" if isinstance(value, list) else f"{value!r}"


def described(names: list[str], arguments: tuple) -> str:
    """The arguments of a call in words: shapes of arrays, everything small as it is."""
    words = [
        f"{name} of shape {tuple(each.shape)}" if hasattr(each, "shape") and each.ndim else f"{name} = {each!r}"
        for name, each in zip(names, arguments, strict=True)
    ]
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])


def _is_several(value: Any) -> bool:
    """Whether a value is a tuple or list of things of which at least one is more than a number."""
    return isinstance(value, (tuple, list)) and any(
        not isinstance(part, np.ndarray) or part.ndim > 0 for part in map(plain, value)
    )


def _difference_of_parts(got: Any, expected: list) -> str:
    """As difference, for an answer of several things."""
    count = len(expected)
    ways = f"expected {count} things ({', '.join(short(part) for part in expected)}) but got"
    if isinstance(got, (tuple, list)):
        given = list(got)
    else:
        array = plain(got)
        stacked = isinstance(array, np.ndarray) and array.ndim > 1 and len(array) == count
        if not stacked:
            return f"{ways} {short(got)}"
        given = list(array)
    if len(given) != count:
        return f"{ways} {len(given)}"
    i = next(i for i, pair in enumerate(zip(given, expected, strict=True)) if not same(*pair))
    return f"in the {ORDINALS[i]} of the {count} things that you return, {difference(given[i], expected[i])}"
