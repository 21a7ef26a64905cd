"""What stopped a reader's function, in plain words: the line, what was there, and what Python's message means."""

from __future__ import annotations

import difflib
import linecache
import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

PRECEDENCE = "& and | come before == and >=, so each comparison needs parentheses: (a == b) & (c >= d)"
SHAPES = (
    "the shapes do not fit each other: sizes must be equal or 1, axis by axis from the last one (keepdim=True keeps "
    "the axis of a sum, mean or maximum)"
)
IN_PLACE = "compute a new tensor instead (a - b, not a -= b)"
NO_TENSOR = "a function of torch was given something that is not a tensor: torch.as_tensor(...) makes it one"
NUMBERS = "True and False must become numbers first: .double() for a tensor, .astype(float) for an array"
MIXED = "two dtypes meet that torch does not mix: bring one to the other, for example with a.to(b.dtype)"

MODULES = {
    "np": "import numpy as np",
    "torch": "import torch",
    "math": "import math",
    "F": "import torch.nn.functional as F",
    "boxes": "from cambook.maps import boxes",
    "largest_component": "from cambook.maps.boxes import largest_component",
}

# Python's, NumPy's and torch's messages, as regular expressions, with what they mean; the first that fits is told.
MEANINGS: list[tuple[str, str]] = [
    (r"'ellipsis'", "there is still a ... to fill in"),
    (r"ufunc '(?:bitwise_\w+|invert)' not supported|bitwise_\w+.*not implemented|for [&|]:", PRECEDENCE),
    (
        r"ruth value of an array|Boolean value of Tensor",
        "one True or False is needed, but this is a whole array of them: `and`, `or`, `not`, `if`, max() and a < b < c "
        "take single values; for arrays write &, | and ~ (each comparison in parentheses), or use the maximum of numpy "
        "or torch",
    ),
    (
        r"requires grad.*numpy|numpy.*requires grad",
        "this tensor has a gradient to pass on, which NumPy cannot do: use the functions of torch here",
    ),
    (
        r"[Ll]eaf [Vv]ariable.*in-place",
        f"this would change an argument in place (as -= and x[...] = ... do), which stops its gradient; {IN_PLACE}",
    ),
    (r"single memory location", f"a tensor would be changed in place by a part of itself; {IN_PLACE}"),
    (
        r"spatial targets|input batch_size|0D or 1D target|target.*(?:shape|size|dimension)",
        "cross_entropy takes logits (B, C), one row per image, and labels (B,)",
    ),
    (
        r"einsum",
        "the letters of einsum do not fit: each operand needs one letter per axis, and equal letters equal sizes",
    ),
    (
        r"is invalid for input of size|cannot reshape array|view size is not compatible",
        "the values cannot be arranged in that shape: the sizes multiplied must give the number of values",
    ),
    (
        r"mat1 and mat2|core dimension|size mismatch|inconsistent tensor size|not aligned|vector @|input.*mat.*vec",
        "the shapes do not fit a matrix product: the last axis on the left must be as long as the first axis on the "
        "right (swap the two, or transpose one with .T)",
    ),
    (r"could not be broadcast|must match the|could not broadcast|boolean index did not match|shape mismatch", SHAPES),
    (
        r"too many indices|dimension specified as 0 but",
        "there are more indices in the brackets than the array has axes",
    ),
    (
        r"[Dd]imension out of range|axis -?\d+ is out of bounds",
        "the array does not have that axis: they are counted from 0, so the last of two is axis 1",
    ),
    (
        r"out of bounds|out of range",
        "an index is too large: they are counted from 0, so the last one is the length - 1",
    ),
    (
        r"as indices must be|only integers, slices|only integer .*arrays",
        "an index must be an integer (or a whole array of True and False): use // instead of /, or convert with "
        ".long() or .astype(int)",
    ),
    (
        r"tuple indices must be|return_types|'max'|'min'",
        "this is a tuple, which takes one index: t[0] (.max(dim) of a tensor returns the tuple (values, indices))",
    ),
    (r"not callable", "round brackets follow something that is not a function: an index is written [ ], a product *"),
    (r"'tuple'", "a tuple cannot be computed with: take its numbers one by one, t[0], t[1]"),
    (r"floating point or complex|could not infer output dtype", NUMBERS),
    (r"with (?:a|two) bool tensors?|numpy boolean (?:subtract|negative)", NUMBERS + ", and ~ says `not`"),
    (
        r"can't be cast to|Cannot cast",
        "the result has decimals, but it goes into a variable of integers: x = x - ... makes a new variable, x -= ... "
        "does not",
    ),
    (r"same dtype|expected scalar type|expected dtype|not implemented for '", MIXED),
    (
        r"must be Tensor|expected Tensor|but got \w*ndarray|'numpy.ndarray' and 'Tensor'|'Tensor' and 'numpy.ndarray'",
        NO_TENSOR,
    ),
    (r"expected np.ndarray", "torch.from_numpy takes an array, and this is not one; torch.as_tensor takes both"),
    (r"unexpected keyword argument '(?:dim|axis|keepdims?)'", "NumPy says axis and keepdims, torch dim and keepdim"),
    (r"step must be greater than zero", "a tensor cannot be reversed with [::-1]: use .flip(0)"),
    (r"negative strides?|strides.*negative", "torch cannot take a reversed array: .copy() it first"),
    (
        r"zero-size|numel\(\) == 0|empty sequence|arg is an empty|iterable argument is empty",
        "a maximum, minimum or mean was asked of an empty array: nothing is left to choose from for this input",
    ),
    (r"'NoneType'", "there is a None: a function without a return, or a method that works in place, gives None"),
    (r"for .*: '(?:list|str)'|and '(?:list|str)'", "a list or text cannot be computed with: make it an array first"),
    (r"division by zero", "something is divided by 0 for this input"),
    (r"cannot unpack|to unpack", "there are more, or fewer, names on the left of = than values on the right"),
]


def failure(error: Exception, function: Callable, names: list[str]) -> str:
    """What stopped a reader's function, in plain words.

    Args:
        error: what it raised.
        function: the reader's function.
        names: of the arguments that the check passes to it.

    Returns:
        What follows on "your function stopped": the line, what the error means, and what the names in the line were.
    """
    found = _last_line(error, function)
    if found is None:
        return f": {_meaning(error, names)}"
    where, code, variables = found
    there = "" if isinstance(error, NameError) else _variables(code, variables)
    return f" in {where}{f', `{code}`' if code else ''}: {_meaning(error)}{f'. There {there}' if there else ''}"


def words(value: Any) -> str:
    """What a value is, in words: its kind, dtype and shape; small values as they are.

    Example:
        >>> words(np.zeros((2, 3)))
        'an array of float64, shape (2, 3)'
        >>> words(0.5)
        '0.5'
    """
    if isinstance(value, torch.Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')}, shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}"
    if isinstance(value, (bool, int, float, type(None), type(...))):
        return f"{value!r}"
    return f"a {type(value).__name__}"


def _last_line(error: Exception, function: Callable) -> tuple[str, str, dict[str, Any]] | None:
    """(which line, its code, the variables there) of the last line of the reader's own that ran, if any did."""
    code = getattr(function, "__code__", None)
    trace, last = error.__traceback__, None
    while trace is not None and code is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            last = trace
        trace = trace.tb_next
    if last is None:
        return None
    at = last.tb_frame.f_code
    other = at is not code and at.co_name.isidentifier()
    line = last.tb_lineno - (at if other else code).co_firstlineno + 1
    text = linecache.getline(code.co_filename, last.tb_lineno).strip()
    return f"line {line}{f' of {at.co_name}' if other else ''}", text, last.tb_frame.f_locals


def _variables(code: str, variables: dict[str, Any], most: int = 4) -> str:
    """What the variables are whose names occur in a line of code."""
    names = [name for name in dict.fromkeys(re.findall(r"(?<![.\w])[A-Za-z_]\w*", code)) if name in variables]
    simple = [name for name in names if not isinstance(variables[name], (types.ModuleType, Callable))]
    return ", ".join(f"{name} is {words(variables[name])}" for name in simple[:most])


def _meaning(error: Exception, names: list[str] | None = None) -> str:
    """What an error means, as a clause."""
    message = " ".join(str(error).split())
    if names is not None and isinstance(error, TypeError) and "argument" in message:
        count = f"{len(names)} argument{'s' if names[1:] else ''}"
        return f"the check calls it with {count} ({', '.join(names)}), so it must take as many"
    if called := re.match(r"([A-Za-z_]\w*)\(\) (?:missing|takes|got (?:multiple|some))", message):
        return f"{message}; help({called[1]}) shows what it takes"
    if isinstance(error, UnboundLocalError):
        name = re.search(r"'(\w+)'", message)
        return f"the variable {name[1] if name else '?'} is used before it gets a value"
    if isinstance(error, NameError) and error.name:
        return _unknown_name(error.name)
    if isinstance(error, AttributeError) and error.name:
        return _unknown_attribute(error.obj, error.name)
    for pattern, meaning in MEANINGS:
        if re.search(pattern, message):
            return meaning
    return f"{type(error).__name__}: {message.rstrip('.')}" if message else type(error).__name__


def _unknown_name(name: str) -> str:
    if name in MODULES:
        return f"the name {name} is not defined: {MODULES[name]} comes first"
    return f"the name {name} is not defined: check its spelling, and that a line before gives it a value"


def _unknown_attribute(owner: Any, name: str) -> str:
    if isinstance(owner, np.ndarray) and hasattr(torch.Tensor, name):
        return f".{name} belongs to tensors (torch), and this is {words(owner)}; torch.from_numpy makes it a tensor"
    if isinstance(owner, torch.Tensor) and hasattr(np.ndarray, name):
        return f".{name} belongs to arrays (NumPy), and this is {words(owner)}; .numpy() makes it an array"
    if owner is None:
        return f".{name} is asked of None: a function without a return, or a method that works in place, gives None"
    what = owner.__name__ if isinstance(owner, types.ModuleType) else words(owner)
    close = difflib.get_close_matches(name, dir(owner), 1)
    return f"{what} does not have .{name}" + (f" (.{close[0]} exists)" if close else "")
