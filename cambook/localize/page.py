"""What a network sees in photographs as figures, one HTML page, a CSV table and a record in a folder.

The page is one file beside the figures. It needs no script, no network and no server, and the same photographs give
the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import math
import re
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cambook import files
from cambook.course.show.pictures import picture
from cambook.course.show.style import box_line, styled
from cambook.localize.findings import Box, Finding, Seen, printable
from cambook.localize.records import write_record

PAGE, TABLE, RECORD = "index.html", "results.csv", "record.json"
COLUMNS = ("file", "rank", "class", "probability", "x0", "y0", "x1", "y1")
WIDE = 5.4  # inches of a figure, few enough for its letters to be read on a telephone
PIXELS = 1280  # of its width: sharp on a telephone and in half a window, and two megabytes a file
QUICK = {"compress_level": 3}  # a third of the time of PNG's usual level, and files larger by a twentieth
UNSURE = 0.2  # a most likely class below this probability is said to be a guess
_LONGEST_NAME = 100  # bytes of a figure's name
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no file of Windows is called so
_HANGUL = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo")


@dataclass(frozen=True)
class How:
    """How photographs were looked at, as figures and pages say it.

    Attributes:
        network: its name.
        weights: "pretrained", or a file.
        classes: how many it distinguishes.
        title: of what makes the maps, such as "CAM".
        rule: by which a box is read from a map.
        threshold: share of the maximum ("paper") or of the range ("wsol").
        side: pixels of the shorter side, as the network sees a photograph.
        square: whether photographs were squashed into squares.
        pixels: whether maps follow single pixels; then no line is drawn around what is lit.

    Example:
        >>> How("lite0-gap", "pretrained", 1000, "CAM", "paper", 0.2, 224).of_box
        "the largest region above 20% of the map's maximum (rule paper)"
    """

    network: str
    weights: str
    classes: int
    title: str
    rule: str
    threshold: float
    side: int
    square: bool = False
    pixels: bool = False

    @property
    def of_box(self) -> str:
        """What the box of a map is drawn around."""
        of = "the map's maximum" if self.rule == "paper" else "the way from the map's minimum to its maximum"
        return f"the largest region above {100 * self.threshold:g}% of {of} (rule {self.rule})"


# ---- words


def percent(probability: float) -> str:
    """A probability as a person would say it.

    Example:
        >>> [percent(value) for value in (0.996, 0.873, 0.0004)]
        ['over 99%', '87%', 'under 1%']
    """
    return "over 99%" if probability >= 0.995 else "under 1%" if probability < 0.01 else f"{100 * probability:.0f}%"


def takeaway(findings: Sequence[Finding]) -> str:
    """What a photograph's figure says first.

    Example:
        >>> takeaway([Finding("espresso", 0.87, None)]), takeaway([Finding("espresso", 0.12, None)])
        ('Most likely: espresso (87%)', 'Unsure: espresso comes first with only 12%')
    """
    first, sure = findings[0], percent(findings[0].probability)
    if first.probability < UNSURE:
        return f"Unsure: {first.name} comes first with only {sure.removeprefix('under ')}"
    return f"Most likely: {first.name} ({sure})"


def corners(box: Box | None) -> str:
    """A box in words.

    Example:
        >>> corners((10, 20, 300, 400)), corners(None)
        ('x 10 to 300, y 20 to 400', 'no box')
    """
    return "no box" if box is None else f"x {box[0]} to {box[2]}, y {box[1]} to {box[3]}"


# ---- the figure of a photograph


@styled
def figure(seen: Seen, shown: Image.Image, maps: np.ndarray, how: How) -> Figure:
    """A photograph with the box of its most likely class, and the map and box of each class.

    Args:
        seen, shown, maps: from `look_at`.
        how: how it was looked at.

    Returns:
        A figure that belongs to no window and not to pyplot.
    """
    width, height = shown.size
    panels = 1 + len(seen.findings)
    columns = min(panels, 1 if width > 2.2 * height else 3 if height > 1.25 * width else 2)
    letters = int((WIDE / columns - 0.1) * 8.4)
    titles = ["the photograph"] + [
        f"{each.name} ({percent(each.probability)})".replace("r 1%)", "r\N{NO-BREAK SPACE}1%)")
        for each in seen.findings
    ]
    titles = [textwrap.fill(title, letters) for title in titles]
    rows = -(-panels // columns)
    lines = sum(max(title.count("\n") + 1 for title in titles[row * columns :][:columns]) for row in range(rows))
    head = textwrap.fill(takeaway(seen.findings), int(WIDE * 7.2))
    note = textwrap.fill(
        f"Box: {how.of_box}{'' if how.pixels else ', whose edge is the line'}. "
        f"The brighter a map, the more that part speaks for its class ({how.title} of "
        f"{how.network}).",
        52,
    )
    panel = (WIDE / columns - 0.1) * height / width
    tall = rows * (panel + 0.12) + 0.23 * lines + 0.28 * (head.count("\n") + 1) + 0.2 * (note.count("\n") + 1) + 0.25
    fig = Figure(figsize=(WIDE, tall), dpi=PIXELS / WIDE)
    FigureCanvasAgg(fig)
    image = np.asarray(fitted(shown, math.ceil(PIXELS / columns)))
    first = seen.findings[0].box
    for number, title in enumerate(titles):
        ax = fig.add_subplot(rows, columns, number + 1)
        found, map2d = (seen.findings[number - 1].box, maps[number - 1]) if number else (first, None)
        picture(ax, image, map2d, predicted=on(found, seen.size, image), level=None if how.pixels else how.threshold)
        ax.set_title(title, parse_math=False, fontfamily=fonts())
        if found is None and number:
            ax.set_xlabel("no box: the map is nowhere above 0" if how.rule == "paper" else "no box: the map is flat")
    fig.legend(
        handles=[box_line("predicted box")], labels=[note], loc="outside lower left", handlelength=2, fontsize=12
    )
    fig.suptitle(head, parse_math=False, fontfamily=fonts())
    return fig


def fitted(image: Image.Image, longest: int) -> Image.Image:
    """An image whose longer side has at most so many pixels.

    Example:
        >>> fitted(Image.new("RGB", (400, 200)), 100).size
        (100, 50)
    """
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    return image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)


def on(box: Box | None, size: tuple[int, int], image: np.ndarray) -> np.ndarray | None:
    """A box of a photograph in pixels, fractions included, of the image (h, w, 3) that is drawn of it."""
    if box is None:
        return None
    return np.array(box) * np.array([image.shape[1] / size[0], image.shape[0] / size[1]] * 2)


def fonts() -> list[str]:
    """The course's font, and after it those of this machine that have Hangul."""
    return ["DejaVu Sans", *(name for name in _HANGUL if name in font_manager.get_font_names())]


# ---- the folder


@dataclass
class Folder:
    """The folder of a page: what an earlier run left there is replaced, files of anybody else stay as they are.

    Args:
        path: of the folder; made if it is missing.

    Raises:
        PermissionError: if it cannot be written to.
        ValueError: if it contains a page, table or record that `cambook look` did not write.

    Attributes:
        figures: {name: SHA-256} of the figures that this run wrote.
    """

    path: Path
    figures: dict[str, str] = field(default_factory=dict)
    _before: dict[str, str] = field(default_factory=dict, repr=False)
    _taken: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        files.check_writable(self.path)
        there = [name for name in (PAGE, TABLE, RECORD) if (self.path / name).exists()]
        written = _written_before(self.path / RECORD)
        if there and written is None:
            raise ValueError(
                f"{self.path} contains {there[0]}, which `cambook look` did not write: give another folder with --out"
            )
        for name, digest in (written or {}).items():
            if _digest(self.path / name) == digest:
                self._before[name] = digest
        self._taken = {each.name.casefold() for each in self.path.iterdir()} - set(map(str.casefold, self._before))

    def add(self, name: str, fig: Figure) -> str:
        """Writes the figure of a photograph of that name; returns the figure's own name."""
        stem = _file_name(name)
        number, found = 1, f"{stem}.png"
        while found.casefold() in self._taken:
            number += 1
            found = f"{stem}-{number}.png"
        self._taken.add(found.casefold())
        content = io.BytesIO()
        fig.savefig(content, format="png", dpi=fig.dpi, metadata={"Software": None}, pil_kwargs=QUICK)
        with files.atomic_write(self.path / found) as part:
            part.write_bytes(content.getbuffer())
        self.figures[found] = hashlib.sha256(content.getbuffer()).hexdigest()
        return found

    def close(
        self, seen: Sequence[tuple[str, Seen]], left_out: Sequence[str], how: How, parameters: dict[str, Any]
    ) -> Path:
        """Writes table, record and page, and removes the figures of the run before; returns the page's path.

        Args:
            seen: each photograph with its figure's name.
            left_out: one sentence for each that was left out.
            how: how they were looked at.
            parameters: of the command, for the record.
        """
        results = {
            "photographs": [
                {
                    "file": _text(each.name),
                    "figure": name,
                    "width": each.size[0],
                    "height": each.size[1],
                    "classes": [
                        {"class": one.name, "percent": round(100 * one.probability, 4), "box": one.box}
                        for one in each.findings
                    ],
                    "notes": each.notes,
                }
                for name, each in seen
            ],
            "left_out": [_text(sentence) for sentence in left_out],
            "figures": self.figures,
        }
        # first the record: killed after it, the next run knows which files are its own
        write_record(self.path / RECORD, "look", parameters, {**results, "figures": self._before | self.figures})
        for name, text in {TABLE: table([each for _, each in seen]), PAGE: page(seen, left_out, how)}.items():
            with files.atomic_write(self.path / name) as part:
                part.write_text(text, encoding="utf-8", newline="")
        for name, digest in self._before.items():
            if name not in self.figures and _digest(self.path / name) == digest:
                (self.path / name).unlink()
        write_record(self.path / RECORD, "look", parameters, results)
        return self.path / PAGE


def _written_before(record: Path) -> dict[str, str] | None:
    """The figures that a record of `cambook look` lists, with their SHA-256; None if it is not such a record."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        figures = found["results"]["figures"] if found["command"] == "look" else None
        return {name: digest for name, digest in figures.items() if re.fullmatch(r"[^/\\:\0]+\.png", name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _digest(file: Path) -> str:
    with suppress(OSError, ValueError):
        if not file.is_symlink():
            return hashlib.sha256(file.read_bytes()).hexdigest()
    return ""


def _file_name(name: str) -> str:
    """A name for the figure of a photograph, without ending, that every operating system takes."""
    stem = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]+', "-", name.rpartition(".")[0] or name)
    stem = stem.encode("utf-8")[:_LONGEST_NAME].decode("utf-8", "ignore").strip(" .-") or "photograph"
    return f"_{stem}" if _RESERVED.fullmatch(stem) else stem


def _text(text: str) -> str:
    """Text that can be written in UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# ---- the table


def table(seen: Sequence[Seen]) -> str:
    """What is seen as CSV: a row for each class of each photograph; without a box its last four cells are empty.

    Example:
        >>> print(table([Seen("a.jpg", (9, 9), (Finding("tench", 0.5, (0, 1, 5, 9)), Finding("crane", 0.25, None)))]))
        file,rank,class,probability,x0,y0,x1,y1
        a.jpg,1,tench,0.500000,0,1,5,9
        a.jpg,2,crane,0.250000,,,,
        <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in seen:
        for rank, one in enumerate(each.findings, start=1):
            writer.writerow([_text(each.name), rank, one.name, f"{one.probability:.6f}", *(one.box or [""] * 4)])
    return text.getvalue()


# ---- the page

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #595959; --paper: #fafafa; --card: #fff; --line: #d8d8d8;
  --link: #00538a; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #b3b3b3; --paper: #141414; --card: #1f1f1f;
  --line: #3d3d3d; --link: #7cc4f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Noto Sans", "Noto Sans KR", "Malgun Gothic", "Apple SD Gothic Neo", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .6rem; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 0 0 .2rem; }
p, ul { margin: 0 0 .8rem; max-width: 46rem; }
a { color: var(--link); }
h1, h2, li, td a { overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; margin: 0 0 1.6rem; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); }
.number { text-align: right; white-space: nowrap; }
.whole { white-space: nowrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 20px;
  align-items: start; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px; min-width: 0; }
article img { display: block; width: 100%; height: auto; border-radius: 6px; background: #fff; margin: .5rem 0; }
@media (max-width: 500px) { main { padding: 16px 10px 32px; } article { padding: 10px; } .wide { display: none; } }
"""


def page(seen: Sequence[tuple[str, Seen]], left_out: Sequence[str], how: How) -> str:
    """The HTML page: what maps show, a table of all photographs, a card with the figure of each.

    Args:
        seen: each photograph with its figure's name, a file beside the page.
        left_out: one sentence for each photograph that was left out.
        how: how they were looked at.

    Returns:
        A whole document, in which every name is escaped.

    Example:
        >>> how = How("lite0-gap", "pretrained", 1000, "CAM", "paper", 0.2, 224)
        >>> text = page([("a.png", Seen("<a>.jpg", (9, 9), (Finding("tench", 0.5, None),)))], [], how)
        >>> "&lt;a&gt;.jpg" in text, "<a>.jpg" in text
        (True, False)
    """
    count = len(seen)
    title = f"What {how.network} sees in {count} photograph{'s' if count != 1 else ''}"
    shape = (
        f"It saw each photograph squashed into a square of {how.side} x {how.side} pixels, as it requires"
        if how.square
        else f"It saw each photograph whole, with {how.side} pixels on the shorter side"
    )
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_html(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{_html(title)}</h1>",
        "<p>Each map shows which parts of a photograph raise the network's score for one class: the brighter, the "
        f"more. The dashed box is drawn around {_html(how.of_box)}.</p>",
        "<p>A map shows what this network uses, which need not be the whole object: often it is only the part that "
        "gives it away, such as a face, or a background that usually comes with it. Every class has a map, whether "
        "or not it is in the photograph, so look at its probability first. Each map is scaled by itself, so "
        "brightness cannot be compared between two maps.</p>",
        f'<p class="soft">Network: {_html(how.network)}, weights: {_html(how.weights)}. Maps: {_html(how.title)}. '
        f"{shape}. It knows {how.classes} classes and nothing else; their probabilities add up to 100%. Boxes are "
        "in pixels of the upright photograph, counted from its upper left corner. The same numbers are in "
        f'<a href="{TABLE}">{TABLE}</a> and <a href="{RECORD}">{RECORD}</a>.</p>',
    ]
    if count:
        parts.append(
            '<div class="scroll"><table><thead><tr><th>photograph</th><th>most likely</th>'
            '<th class="number">probability</th><th class="wide">its box, in pixels</th></tr></thead><tbody>'
        )
        parts += [_row(number, each) for number, (_, each) in enumerate(seen, start=1)]
        parts.append("</tbody></table></div>")
    parts.append('<div class="cards">')
    parts += [_card(number, name, each) for number, (name, each) in enumerate(seen, start=1)]
    parts.append("</div>")
    if left_out:
        parts.append("<h2>Left out</h2>\n<ul>")
        parts += [f'<li dir="auto">{_html(sentence)}</li>' for sentence in left_out]
        parts.append("</ul>")
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def _row(number: int, seen: Seen) -> str:
    first = seen.findings[0]
    return (
        f'<tr><td dir="auto"><a href="#photo-{number}">{_html(seen.name)}</a></td><td>{_html(first.name)}</td>'
        f'<td class="number">{percent(first.probability)}</td><td class="wide">{corners(first.box)}</td></tr>'
    )


def _card(number: int, figure_name: str, seen: Seen) -> str:
    link, (width, height) = quote(figure_name), seen.size
    rows = "".join(
        f'<tr><td>{_html(each.name)}</td><td class="number">{percent(each.probability)}</td>'
        f"<td>{_in_two(corners(each.box))}</td></tr>"
        for each in seen.findings
    )
    notes = "".join(f" The file was repaired: {_html(note)}." for note in seen.notes)
    return (
        f'<article id="photo-{number}">\n<h2 dir="auto">{_html(seen.name)}</h2>\n'
        f'<p class="soft">{width} x {height} pixels.{notes}</p>\n'
        f'<a href="{link}"><img src="{link}" alt="{_html(alt_text(seen))}" loading="lazy"></a>\n'
        '<table><thead><tr><th>class</th><th class="number">probability</th><th>box, in pixels</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>\n</article>"
    )


def alt_text(seen: Seen) -> str:
    """What a figure shows, for readers who cannot see it.

    Example:
        >>> alt_text(Seen("a.jpg", (9, 8), (Finding("tench", 0.5, (0, 1, 5, 8)), Finding("crane", 0.2, None))))
        'a.jpg, 9 x 8 pixels, with a map for each class: tench (50%), x 0 to 5, y 1 to 8; crane (20%), no box.'
    """
    each = "; ".join(f"{one.name} ({percent(one.probability)}), {corners(one.box)}" for one in seen.findings)
    return f"{seen.name}, {seen.size[0]} x {seen.size[1]} pixels, with a map for each class: {each}."


def _in_two(box: str) -> str:
    """A box in words that breaks between its x and its y alone."""
    return ", ".join(f'<span class="whole">{part}</span>' for part in box.split(", "))


def _html(text: str) -> str:
    return html.escape(printable(text))
