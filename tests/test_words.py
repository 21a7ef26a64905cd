"""The package speaks the field's words: its docstrings, comments and messages, as the pages for readers do."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest
from test_docs import HOUSE_WORDS

PACKAGE = Path(__file__).parents[1] / "cambook"
FILES = sorted(
    file
    for file in PACKAGE.rglob("*.py")
    if not file.is_relative_to(PACKAGE / "course" / "lessons")  # their texts are the lessons' own
)

# What code's texts are asked about beside what the pages are.
WORDS = HOUSE_WORDS + (
    r"|\b(?:tells?|told) (?:[\w-]+ ){0,4}apart\b"
    r"|\b(?:is|are|was|were) no \w+"
    r"|\b(?:an?|another|one|each|every) training\b(?! (?:run|step|set|split|data|image|part|loss))"
    r"|\bholds?\b"
    r"|(?:Error|\bNone|NaN|\bnothing|\bempty) where\b"
    r"|\b(?:one|entry|row|line|number|label|value|score|map|box)s? an? (?:\w+ )?(?:image|picture|pixel|run|line|GPU)\b"
    r"|\b(?:dear|leavings|summit|drawers?|roads?|houses?)\b"
)
ALLOWED = (
    r"\btak(?:e|es|ing) place\b|\bin place\b|\bground[- ]truth\b|\bthere (?:is|are) no \w+|\bis no longer\b"
    r"|\bgrounds\.csv\b|\ba training\.Recipe\b"
)
# What stays, as regular expressions, with the reason.
EXCEPTIONS = {
    r"^500 test pictures$": "a condition that the papers' tables show",
    r"^pictures of \{\} px, not \{\}$": "a condition that the papers' tables show",
    r'^does not hold$|"(?:holds|does not hold)" if|verdict: holds, does not hold': "verdicts in the papers' tables",
    r"\bpictures: |\bMeasurements\.pictures\b": "the name of a parameter and a field",
    r"^The CAM box helps to tell classes apart$": "a claim's name, which lessons print",
    r"\bis no share of the maximum\b": "a line of the code that lesson 03 prints",
}


def without_code(text):
    """A text without what is between backticks and without examples, whose names and outputs are code."""
    lines, example = [], False
    for line in text.splitlines():
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        lines.append("" if example else line)
    return " ".join(re.sub(r"`[^`]*`", "`", "\n".join(lines)).split())


def texts(source):
    """(line, text) of a module's comments, docstrings and other strings; {} stands for a value of an f-string."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    inside = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(value) for value in node.values}
            parts = [value.value if isinstance(value, ast.Constant) else "{}" for value in node.values]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


def found_in(source, allowed=(*EXCEPTIONS, ALLOWED)):
    """(line, word, text) of each word that is another one in the field."""
    for line, text in texts(source):
        plain = without_code(text)
        if " " in plain:
            contexts = [found.span() for found in re.finditer("|".join(allowed), plain, re.IGNORECASE)]
            for found in re.finditer(WORDS, plain, re.IGNORECASE):
                if not any(low <= found.start() < high for low, high in contexts):
                    yield line, found.group(), plain


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_modules_use_the_words_of_the_field(file):
    assert list(found_in(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("needless", EXCEPTIONS)
def test_every_exception_is_needed(needless):
    others = [each for each in EXCEPTIONS if each != needless]
    assert any(list(found_in(file.read_text(encoding="utf-8"), (*others, ALLOWED))) for file in FILES)


@pytest.mark.parametrize(
    "text, word",
    [
        ('raise ValueError(f"{x} is no map.")', "is no map"),
        ('"""Where a map is.\n\nreturns: (H, W) for each picture"""', "picture"),
        ("x = 1  # the brightest place", "place"),
        ('warn(f"map {i} holds NaN.")', "holds"),
        ('"""The classes that a network tells from others apart."""', "tells from others apart"),
        ('"""ValueError where the file is missing."""', "Error where"),
        ('"""One number a picture."""', "number a picture"),
        ('"""The key of a training."""', "a training"),
        ('"""The image without its ground."""', "ground"),
    ],
)
def test_a_house_word_is_found_in_docstrings_comments_and_messages(text, word):
    assert word in [found for _, found, _ in found_in(text)]


@pytest.mark.parametrize(
    "text",
    [
        'raise ValueError(f"There is no map; the file is no longer there.")',
        '"""Changed in place, as it takes place: ground truth of `pictures`, a training run."""',
        '"""A map.\n\nExample:\n    >>> pictures = place + 1\n    one picture\n"""',
        'names = ["picture", "holds"]',
    ],
)
def test_the_fields_words_and_code_are_let_through(text):
    assert list(found_in(text)) == []
