"""A CSV file of data/ in, a table out; a file that is not as it should be is one sentence that names it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def read_table(path: Path, columns: Sequence[str] = (), numbers: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """The table in a CSV file, without its remarks, the lines that begin with #.

    columns: those that it must have; numbers: those of them that must hold a finite number in every row
    options: of pandas.read_csv
    raises:  ValueError where a column is missing, a cell of `numbers` is none, or the file is no table
    """
    mend = "restore the file from the repository, or make it again"
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        table = pd.read_csv(io.StringIO("".join(line for line in lines if not line.startswith("#"))), **options)
    except (ValueError, pd.errors.ParserError) as error:  # no UTF-8, an empty file, a row that is too long
        raise ValueError(f"{path} is no table ({str(error).strip().splitlines()[0]}): {mend}.") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path} has rows with more cells than its first line has names: {mend}.")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}: {mend}.")
    for column in numbers:
        found = pd.to_numeric(table[column], errors="coerce").astype(float)
        if not (finite := np.isfinite(found)).all():
            row = int(finite.argmin())
            raise ValueError(f"{path}, row {row + 1}: {column} is {table[column].iloc[row]!r}, no number: {mend}.")
        table[column] = found
    return table
