"""Weights from files: whatever wrote them, they are read as data alone."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cambook.networks.base import Network, misfit

TYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "BOOL": torch.bool},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8},
}  # the names of .safetensors files
UNREADABLE = "it is damaged, or it contains more than weights"


def load_weights(network: Network, path: Path) -> None:
    """Loads the weights in a file into the network.

    The file is one that torch.save wrote of a state_dict, a .safetensors file, or an entry of cambook's own cache. A
    checkpoint that has such a state_dict among its entries, or under a prefix ("model." of Lightning, "module." of
    nn.DataParallel, "_orig_mod." of torch.compile), is taken, too, with a warning that says where the weights were, if
    they are found in it once. For a network `tv:NAME` the file may be torchvision's own.

    Args:
        network: it is changed in place.
        path: the file. Nothing in it is executed.

    Raises:
        ValueError: if the file is damaged, contains more than weights or does not fit; the network is then as it was.

    Example:
        >>> import tempfile
        >>> from cambook.networks import build
        >>> one, other = (build("mini-gap", 2, seed=seed) for seed in (0, 1))
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     torch.save(one.state_dict(), file.name)
        ...     load_weights(other, Path(file.name))
        >>> torch.equal(one.class_weight, other.class_weight)
        True
    """
    held, reason = _read(path)
    held = network.own_names(held) if hasattr(network, "own_names") else held
    where = ""
    if not reason and (reason := misfit(network, held)):
        held, where, reason = _found_in(network, held, reason)
    if reason:
        raise ValueError(
            f"{path} contains no weights of {network.name} with {network.classes} classes ({reason}): "
            "give a file that torch.save wrote of this network's state_dict()."
        )
    if where:
        warnings.warn(f"{path}: the weights of {network.name} are taken from it {where}.", stacklevel=3)
    network.load_state_dict(held)


# ---- what a file contains ----


def _read(path: Path) -> tuple[Any, str]:
    """What a file contains, and why it cannot be read; empty if it can."""
    with path.open("rb") as file:
        head = file.read(66)
    try:
        if re.fullmatch(rb"[0-9a-f]{64}PK", head):  # files.save_whole wrote it
            content = path.read_bytes()
            if head[:64] != hashlib.sha256(content[64:]).hexdigest().encode():
                return None, "it is damaged: its checksum differs"
            held = torch.load(io.BytesIO(content[64:]), map_location="cpu", weights_only=True)
            return held.get("network", held) if isinstance(held, Mapping) else held, ""
        if _is_safetensors(path, head):
            return _safetensors(path.read_bytes()), ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that it would run TorchScript, and does not
            return torch.load(path, map_location="cpu", weights_only=True), ""
    except Exception as error:  # a damaged file fails in every way there is
        if _is_safetensors(path, head):
            return None, "it is a damaged .safetensors file"
        return None, _why(path, error)


def _is_safetensors(path: Path, head: bytes) -> bool:
    return path.suffix == ".safetensors" or head[8:10] == b'{"'


def _safetensors(content: bytes) -> dict[str, Tensor]:
    """The tensors of a .safetensors file: a header in JSON says where each one's numbers lie."""
    size = int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8 : 8 + size]), content[8 + size :]
    state = {}
    for name, each in header.items():
        if name != "__metadata__":
            (begin, end), shape, dtype = each["data_offsets"], each["shape"], TYPES[each["dtype"]]
            if not 0 <= begin <= end <= len(numbers) or end - begin != math.prod(shape) * dtype.itemsize:
                raise ValueError(name)
            state[name] = torch.frombuffer(bytearray(numbers[begin:end]) or bytearray(8), dtype=dtype)
            state[name] = state[name][: math.prod(shape)].view(shape)
    return state


def _why(path: Path, error: Exception) -> str:
    """Why torch.load cannot read a file, as far as it can be told."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                return "it is a TorchScript archive: save the state_dict() of the network in it"
    more = re.search(r"GLOBAL (\w+\.[\w.]+)", str(error))
    return f"{UNREADABLE}: {more[1]}" if more else UNREADABLE


# ---- weights among other things ----


class _Part(NamedTuple):
    """Tensors in a checkpoint: where they are, in words, and why they do not fit; empty if they do."""

    state: dict[str, Tensor]
    where: str
    reason: str


def _found_in(network: Network, held: Any, reason: str) -> tuple[Any, str, str]:
    """The weights in a checkpoint that does not fit as a whole; where they are; or why they are not taken."""
    parts = list(_parts(network, held)) if isinstance(held, Mapping) else []
    fitting = [part for part in parts if not part.reason]
    if len(fitting) == 1:
        return fitting[0].state, fitting[0].where, ""
    if fitting:
        places = " and ".join(part.where for part in fitting)
        return None, "", f"it contains such weights more than once, {places}: save one of them alone"
    if parts and reason == "it is not a state_dict":
        return None, "", f"{parts[0].where}, {parts[0].reason}"
    return None, "", reason


def _parts(network: Network, held: Mapping, entry: str = "") -> Iterator[_Part]:
    """Every group of tensors in a checkpoint, also in entries of entries, that has a layer of this network."""
    tensors = {name: values for name, values in held.items() if isinstance(name, str) and isinstance(values, Tensor)}
    own = list(network.state_dict())
    for prefix in dict.fromkeys(name.removesuffix(own[0]) for name in tensors if name.endswith(own[0])):
        state = {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
        where = [f"in its entry {entry}"] if entry else []
        where += [f"under the prefix {prefix!r}"] if prefix else []
        if len(state) < len(held):
            where.append("without its other entries")
        yield _Part(state, ", ".join(where), misfit(network, state))
    for name, values in held.items():
        if isinstance(values, Mapping):
            yield from _parts(network, values, f"{entry}[{name!r}]")
