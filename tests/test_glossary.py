"""The glossary: each symbol of the lessons' formulas has one row and one meaning, each term a lesson that has it."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NO_SYMBOLS = (  # words and operators; any other command, such as \tau, must stand in the glossary
    r"\\(?:text|mathrm|operatorname|begin|end)\{[^{}]*\}|\\(?:Big|approx|cdot|exp|frac|left|leftarrow|lfloor|log|max"
    r"|min|ne|partial|qquad|quad|rfloor|right|sqrt|sum|tfrac|times|underbrace)(?![A-Za-z])"
)
# Letters that could be mistaken: the lessons that may use them, and every way in which they may stand in a formula.
CONTEXTS = {
    "F": ("02 06 10", r"F(_k|_\d|_\\text\{\w+\})?(?![\w^(])"),  # a channel's feature: it has no position and no class
    "W": ("03b", r"(?<=H \\times )W|W(?= - n_2)"),  # a width, beside the height
    "w": ("00 01 02 03 05 06 06b 07b 08 09", r"w_[ik]|(^|(?<=[\d{]))w(?=$|,| [-=/])"),  # a weight, not a width or word
    "h": ("", "(?!)"),  # nowhere: a map has Z positions
    "t": ("", "(?!)"),  # nowhere: a threshold is tau
    "tau": ("03 08 09", r"\\tau(?=$| = 0\.\d$| \\cdot \(?\\max M)"),  # a share of the way to a map's maximum
    "delta": ("08", r"\\delta(?=$| = 0\.\d$)"),  # a height on ACoL's map, not a required IoU
    "j": ("01b", r"(?<![_{])j"),  # a step, not an index
    "y": ("01 01b 02 03 05 06 06b 07b 08 09", r"(?<=x, )y|(?<=x,)y|y_[01]|^y(\^c)?$"),  # a row, not a label or score
}


def formulas(text):
    """The formulas of a Markdown text, without its code; a Greek letter outside of them counts as one."""
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return [max(found).strip() for found in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$|([α-ω])", prose, re.DOTALL)]


def symbols(formula):
    """The symbols of a formula: f, k, x and y of f_k(x, y), and nothing of a word or an operator."""
    return re.findall(r"(?<=\\)[A-Za-z]+|[A-Za-zα-ω]", re.sub(NO_SYMBOLS, " ", formula))


def texts(*kinds):
    """{lesson or table: the text of its cells of these kinds}, in reading order."""
    paths = [path for pattern in ("[0-9]*.ipynb", "reproduce/*.ipynb") for path in sorted(NOTEBOOKS.glob(pattern))]
    books = {path.stem.split("_")[0]: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in paths}
    return {at: "\n".join("".join(c["source"]) for c in its if c["cell_type"] in kinds) for at, its in books.items()}


def table(heading):
    """The rows of the glossary's table under a heading, each a list of cells."""
    part = (NOTEBOOKS / "glossary.md").read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line[:1] == "|"][2:]


def faults(used, rows):
    """What is wrong with {lesson: its formulas} and [(the symbols of a row, the lesson that has them first)]."""
    first, listed = {}, [symbol for row, _ in rows for symbol in row]
    for symbol, at, formula in ((s, at, f) for at, its in used.items() for f in its for s in symbols(f)):
        first.setdefault(symbol, at)
        where, how = CONTEXTS.get(symbol, (at, r"[\s\S]"))
        if at not in where.split() or symbol in symbols(re.sub(how, "", formula)):
            yield f"{symbol} means something else in {at}: {formula}"
    yield from (f"{symbol} is missing" for symbol in first if symbol not in listed)
    yield from (f"{symbol} has two rows" for symbol in first if listed.count(symbol) > 1)
    yield from (f"{symbol} is in no lesson" for symbol in listed if symbol not in first)
    yield from (f"{row[0]} is not first in {at}" for row, at in rows if at != min(first.get(s, at) for s in row))


def test_each_symbol_has_one_row_and_one_meaning():
    rows = [(symbols(re.sub(r"[_^]\w|\([^()]*\)", "", row[0])), row[-1]) for row in table("Letters")]
    assert list(faults({at: formulas(text) for at, text in texts("markdown").items()}, rows)) == []


def test_each_term_is_in_a_lesson_that_its_row_names():
    said = {at: text.lower() for at, text in texts("markdown", "code").items()}
    for terms, *_, lessons in table("Terms"):
        for term in re.sub(r" \([^)]*\)", "", terms).lower().split(", "):
            assert any(term in said[at] for at in lessons.split(", ")), (term, lessons)


@pytest.mark.parametrize("rows, said", [("b", "c is missing"), ("bcb", "b has two rows"), ("bcd", "d is in no lesson")])
def test_a_faulty_row_is_found(rows, said):
    assert list(faults({"01": [r"b_c + \text{rest}"]}, [(row, "01") for row in rows])) == [said]
    assert list(faults({"01": ["b_c"]}, [("b", "01"), ("c", "02")])) == ["c is not first in 02"]


BAD = r"F 02 F(x, y);W 01 W;w 10 w;w 02 p_w;h,w 01 h \times w;t 03 M > t;tau 08 \tau_c;delta 04 \delta;j 02 P_j;y 00 y"


@pytest.mark.parametrize("letters, at, formula", [each.split(" ", 2) for each in BAD.split(";")])
def test_a_letter_with_another_meaning_is_found(letters, at, formula):
    rows = [([symbol], at) for symbol in dict.fromkeys(symbols(formula))]
    assert {fault.split()[0] for fault in faults({at: [formula]}, rows)} == set(letters.split(","))
