"""The JSON record that each command leaves beside its results."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from cambook.files import atomic_write
from cambook.machine import processor


def write_record(
    path: str | Path, command: str, parameters: Mapping[str, Any], results: Mapping[str, Any], device: str | None = None
) -> None:
    """Write what a command was asked for and what it found, whole or not at all.

    The record is `{"command", "parameters", "cambook", "torch", "device", "results"}`, UTF-8, indented by 1. Paths
    become text with forward slashes, NumPy's numbers and arrays become plain ones; a number that is not finite becomes
    null, for which JSON has a word.

    Args:
        path: The file, which appears or is replaced at once; missing folders are made.
        command: What ran, such as "score".
        parameters: The command's options by name.
        results: What it found; percentages in percent.
        device: What it ran on, such as "cuda:0"; None for this machine's processor.

    Raises:
        TypeError: A value is neither of these nor text, number, list or dictionary.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_record(Path(folder, "record.json"), "score", {"split": "test"}, {"MaxBoxAcc": 62.5}, "cpu")
        ...     found = json.loads(Path(folder, "record.json").read_text(encoding="utf-8"))
        >>> list(found), found["results"]
        (['command', 'parameters', 'cambook', 'torch', 'device', 'results'], {'MaxBoxAcc': 62.5})
    """
    record = {
        "command": command,
        "parameters": dict(parameters),
        "cambook": importlib.metadata.version("cambook"),
        "torch": importlib.metadata.version("torch"),
        "device": device or f"CPU {processor()}",
        "results": dict(results),
    }
    text = json.dumps(_plain(record), ensure_ascii=False, indent=1, allow_nan=False)
    with atomic_write(path) as part:
        part.write_text(text + "\n", encoding="utf-8", newline="\n")


def _plain(value: Any) -> Any:
    """The same in what JSON has: dictionaries, lists, text, numbers, true, false and null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "tolist"):  # numbers and arrays of NumPy, tensors
        return _plain(value.tolist())
    return value
