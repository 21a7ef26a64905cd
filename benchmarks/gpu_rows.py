"""What the stages of `make gpu` share: the settings of a call, its pieces, and the file of their rows."""

from __future__ import annotations

import csv
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACK = next((folder for folder in (ROOT / ".gpu", ROOT) if (folder / "atlas.npz").is_file()), ROOT / ".gpu")
sys.path += [str(ROOT), str(PACK / "packages")]  # behind what is installed

import torch  # noqa: E402
import torchvision  # noqa: E402

from cambook import files  # noqa: E402

RESULTS = files.DATA / "results" / "gpu.csv"
CONTEXT = ("stage", "device", "torch", "torchvision", "python", "date", "command")  # columns of every row


@dataclass(frozen=True)
class Settings:
    """What all pieces of a call share. dry: tiny sizes, for a machine without a GPU."""

    device: torch.device
    dry: bool
    results: Path
    command: str

    def small(self, dry, full):
        """The first in a dry run, else the second."""
        return dry if self.dry else full

    @property
    def precision(self) -> str:
        """Of trainings: mixed, as on a GPU, also in a dry run."""
        return "bf16"

    def photographs(self, name: str) -> Path | None:
        """The folder of a packed set of photographs, None where it is not in the pack."""
        folder = PACK / "photographs" / name
        return folder if folder.is_dir() else None

    def context(self) -> dict[str, str]:
        """On what, with what, when and by which command."""
        gpu = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self.device) if gpu else f"CPU {platform.machine()}",
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
            "python": platform.python_version(),
            "date": str(date.today()),
            "command": self.command,
        }


@dataclass(frozen=True)
class Piece:
    """One thing to measure: the columns that show that it was done, and the function that makes its rows."""

    key: dict[str, str]
    make: Callable[[Settings], list[dict]]

    def __str__(self) -> str:
        return ", ".join(self.key.values())


def measure(piece: Piece, settings: Settings) -> tuple[Piece, list[dict] | str]:
    """The rows of a piece, or one sentence on why there are none."""
    try:
        return piece, piece.make(settings)
    except Exception as error:  # out of memory, a compiler's fault: the others go on
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return piece, f"{piece} failed and is tried again next time: {reason}"


# ---- rows ----


def rows(file: Path = RESULTS) -> list[dict[str, str]]:
    """The rows of a results file, none where it is not there; an empty cell is left out.

    raises: ValueError where a column of CONTEXT is missing
    """
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    table = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    if missing := [column for column in CONTEXT if table and column not in table[0]]:
        raise ValueError(f"{file} has no column {', '.join(missing)}: restore it, or make it again with `make gpu`.")
    return [{column: value for column, value in row.items() if value} for row in table]


def add(new: Iterable[dict], file: Path) -> None:
    """Writes further rows behind those that are there; the file is at every moment the old one or the new one."""
    table = [*rows(file), *new]
    columns = list(dict.fromkeys(column for row in table for column in row))
    with files.atomic_write(file) as part, part.open("w", encoding="utf-8", newline="") as opened:
        opened.write("# make gpu; rates: images per second; errors, shares: percent; tflops: of matrix work alone\n")
        writer = csv.DictWriter(opened, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def is_done(piece: Piece, table: list[dict[str, str]]) -> bool:
    return any(piece.key.items() <= row.items() for row in table)
