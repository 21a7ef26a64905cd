"""Every benchmark, and the table of them all in docs/results.md.

    python benchmarks/bench.py              each benchmarks/bench_NAME.py in a process of its own, then the table
    python benchmarks/bench.py maps data    these alone, then the table
    python benchmarks/bench.py --write      only the table, from the files

Each writes data/results/bench-NAME.json. The course takes too long to be among them: its rows are of the last
`python benchmarks/course.py`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from cambook import files

HERE = Path(__file__).parent
RESULTS = files.DATA / "results"
PAGE = files.ROOT / "docs" / "results.md"
BEGIN, END = "<!-- bench -->\n", "<!-- end of bench -->"


class Row(BaseModel):
    """One measurement: value with low and high (none where it was made once), and what was hoped for.

    note: of another library's row, which follows ours: how the two compare
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    what: str
    value: float
    low: float | None
    high: float | None
    unit: str
    aim: str | None
    met: bool | None
    why: str | None
    note: str | None = None

    @model_validator(mode="after")
    def whole(self) -> Row:
        if (self.low is None) != (self.high is None) or not (self.low is None or self.low <= self.value <= self.high):
            raise ValueError(f"{self.what}: {self.low}, {self.value}, {self.high} are no low, value and high")
        if (self.aim is None) != (self.met is None) or (self.met is False) != bool(self.why):
            raise ValueError(f"{self.what}: an aim is met or not, and where it is not the row says why")
        return self


class Report(BaseModel):
    """What one benchmark found: data/results/bench-NAME.json."""

    model_config = ConfigDict(extra="forbid", strict=True)
    command: str
    date: str
    device: str
    versions: dict[str, str]
    rows: list[Row]


def read(file: Path) -> Report:
    """raises: SystemExit that names the file and its first fault"""
    try:
        return Report.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(map(str, first["loc"]))
        raise SystemExit(f"{file.name} has not the form of benchmarks/form.py ({place}: {first['msg']}).") from error


def reports() -> list[Report]:
    """Those of the committed files."""
    return [read(file) for file in sorted(RESULTS.glob("bench-*.json"))]


def shown(row: Row) -> str:
    """Three digits or all before the point: 1.02 (0.98 to 1.05)."""

    def number(value: float) -> str:
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")

    return number(row.value) + ("" if row.low is None else f" ({number(row.low)} to {number(row.high)})")


def table(found: list[Report]) -> str:
    """Markdown: one line a measurement; another library's stand beside ours."""
    lines = ["| what | measured | other libraries | aim |", "|---|---|---|---|"]
    for report in found:
        lines.append(f"| **`{report.command}`**, {report.date}, {report.device} | | | |")
        for place, row in enumerate(report.rows):
            if row.note:
                continue
            others = []
            for other in report.rows[place + 1 :]:
                if not other.note:
                    break
                others.append(f"{other.what.rpartition(': ')[2]} {shown(other)}, {other.note}")
            judged = "" if row.aim is None else f"{row.aim}: " + ("met" if row.met else f"**not met**, {row.why}")
            what = row.what.removesuffix(": cambook")
            level = row.unit == "times as fast" and row.low is not None and row.low <= 1 <= row.high
            measured = f"{shown(row)} {row.unit}" + (": equal" if level else "")
            lines.append(f"| {what} | {measured} | {'; '.join(others)} | {judged} |")
    return "\n".join(lines)


def with_table(page: str, found: list[Report]) -> str:
    """The page with the table between its two marks; SystemExit where it has not one pair of them."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(
            f"{PAGE.name} needs one line {BEGIN.strip()} and one line {END}: the table stands between them."
        )
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table(found)}\n{END}{rest.partition(END)[2]}"


def benchmarks(names: list[str]) -> list[Path]:
    """The files asked for, all where none is named; SystemExit for an unknown one."""
    known = {file.stem.removeprefix("bench_"): file for file in sorted(HERE.glob("bench_*.py"))}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SystemExit(f"There is no benchmark {', '.join(unknown)}: there are {', '.join(known)}.")
    return [known[name] for name in names or known]


def main(arguments: list[str]) -> None:
    with_table(PAGE.read_text(encoding="utf-8"), [])  # marks are looked for before minutes of work
    failed = []
    for file in [] if arguments == ["--write"] else benchmarks(arguments):
        print(f"== {file.name}", flush=True)
        if subprocess.run([sys.executable, file]).returncode:
            failed.append(file.name)
    text = with_table(PAGE.read_text(encoding="utf-8"), reports())
    with files.atomic_write(PAGE) as part:
        part.write_text(text, encoding="utf-8")
    if failed:
        raise SystemExit(f"{', '.join(failed)} failed: the table has their earlier rows.")


if __name__ == "__main__":
    main(sys.argv[1:])
