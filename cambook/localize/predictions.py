"""The classes that a network guessed, from a CSV file: `image_id,top1,...,top5`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cambook.datasets.reading import nfc

NAME = "predictions.csv"  # beside maps that `cambook maps` wrote
COLUMNS = ("top1", "top2", "top3", "top4", "top5")
LONGEST = 10_000  # characters of a line

_MEND = "write image_id,top1,top2,... with indices of classes, which count from 0"
_INDEX = re.compile(r"\d{1,9}", re.ASCII)


def read_predictions(file: str | Path, ids: Sequence[str]) -> np.ndarray:
    """The guessed classes of each image, best first.

    Args:
        file: CSV in UTF-8; its first line is image_id,top1 and so on up to top5, fewer for fewer classes.
        ids: of the images, in the order of the result; rows of others are passed over.

    Returns:
        (N, k) int64, indices of classes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is damaged, an image has two rows or none; the message names file and line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "predictions.csv")
        ...     _ = file.write_text("image_id,top1,top2\\ncat.jpg,0,1\\ndog.jpg,1,0\\n", encoding="utf-8")
        ...     read_predictions(file, ["dog.jpg", "cat.jpg"]).tolist()
        [[1, 0], [0, 1]]
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not a file: give a CSV file of predictions, image_id,top1,...,top5.")
    wanted, found = set(ids), {}
    k = 0
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        for number, row in enumerate(_rows(file, opened), start=1):
            if number == 1:
                k = len(row) - 1
                if row[0].strip() != "image_id" or k < 1 or tuple(name.strip() for name in row[1:]) != COLUMNS[:k]:
                    raise ValueError(f"{file}, line 1 is {','.join(row)[:60]!r}: {_MEND}.")
                continue
            guesses = [word.strip() for word in row[1:]]
            if len(guesses) != k or not all(map(_INDEX.fullmatch, guesses)):
                raise ValueError(f"{file}, row {number} is {','.join(row)[:60]!r}: {_MEND}.")
            identity = nfc(row[0].strip())
            if identity in wanted:
                if identity in found:
                    raise ValueError(f"{file}, row {number} is a second one of {identity}: remove one of the two.")
                found[identity] = list(map(int, guesses))
    lacking = [identity for identity in ids if identity not in found]
    if lacking:
        raise ValueError(
            f"{file} has no row for {len(lacking)} of the {len(ids)} images, the first of them {lacking[0]}: add them."
        )
    return np.array([found[identity] for identity in ids], np.int64).reshape(len(ids), k)


def _rows(file: Path, opened: Iterable[str]) -> Iterable[list[str]]:
    def short(lines: Iterable[str]) -> Iterable[str]:
        for number, line in enumerate(lines, start=1):
            if len(line) > LONGEST or "\0" in line:
                raise ValueError(f"{file}, line {number} is not a row of text: {_MEND}.")
            yield line

    try:
        yield from filter(None, csv.reader(short(opened)))
    except csv.Error as error:
        raise ValueError(f"{file} is not a CSV file ({error}): {_MEND}.") from error
