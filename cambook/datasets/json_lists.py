"""`entries_of`: the lists of a JSON file, entry by entry, so that a large one does not fill the memory."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

MAX_BYTES = 2**30  # of a whole file; the boxes of COCO's 118,287 training images take 448 MB
MAX_ENTRY = 4 * 2**20  # characters of one entry of a list
MAX_ENTRIES = 5_000_000  # of the lists that are read; COCO's training images have a million
_CHUNK = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")


def entries_of(file: Path, wanted: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The entries of the lists in a JSON file that contains one object.

    No more than one entry and a megabyte of text are in memory at a time.

    Args:
        file: in UTF-8, or in UTF-16 with a byte-order mark.
        wanted: names of lists. What else the object contains is passed over.

    Returns:
        (name of the list, entry), in the order of the file.

    Raises:
        ValueError: if the file is not such an object, lacks one of the lists, or is too large.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.json").write_text('{"info": {}, "images": [{"id": 7}]}', encoding="utf-8")
        ...     list(entries_of(Path(folder, "a.json"), ["images"]))
        [('images', {'id': 7})]
    """
    size, seen, count = os.path.getsize(file), set(), 0
    if size > MAX_BYTES:
        raise ValueError(
            f"{file} has {size:,} bytes, and at most {MAX_BYTES:,} are read: split it into files of fewer images, or "
            "export it without segmentations"
        )
    try:
        with open(file, "rb") as opened:
            for name, entry in _walk(_Text(opened), wanted, seen):
                count += 1
                if count > MAX_ENTRIES:
                    raise _Refused(
                        f"has more than {MAX_ENTRIES:,} entries in {' and '.join(wanted)}: split it into files of "
                        "fewer images"
                    )
                yield name, entry
    except _Refused as error:
        raise ValueError(f"{file} {error}") from error
    except RecursionError as error:
        raise ValueError(f"{file} is nested too deep to be read: export it again") from error
    except UnicodeError as error:
        raise ValueError(f"{file} is not text in UTF-8 ({error.reason}): export it again") from error
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}): copy it to this disk again") from error
    except ValueError as error:
        reason = getattr(error, "msg", str(error).partition(":")[0])
        raise ValueError(f"{file} is not valid JSON, or ends too early ({reason}): export it again") from error
    if missing := [name for name in wanted if name not in seen]:
        raise ValueError(f"{file} has no list {' or '.join(missing)}: export your annotations as COCO JSON")


class _Refused(Exception):
    """Why a file cannot be read; the message follows its name."""


class _Text:
    """The text of an opened file from `at` on, of which more is read when it is needed."""

    def __init__(self, opened: BinaryIO) -> None:
        start = opened.read(2)
        opened.seek(0)
        wide = start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        self._decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")("strict")
        self._opened, self._text, self._at, self._ended = opened, "", 0, False

    def _more(self) -> bool:
        """Reads as much again as is left; False at the end of the file."""
        self._text, self._at = self._text[self._at :], 0
        if not self._ended:
            data = self._opened.read(max(_CHUNK, len(self._text)))
            self._ended = not data
            self._text += self._decoder.decode(data, final=self._ended)
        return not self._ended

    def peek(self) -> str:
        """The next character that is not space; empty at the end of the file."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, *marks: str) -> str:
        """Passes over one of these characters, which must be next."""
        found = self.peek()
        if found not in marks or not found:
            where = f'"{found}"' if found else "its end"
            raise _Refused(f"is not valid JSON ({where} instead of {' or '.join(marks)}): export it again")
        self._at += 1
        return found

    def value(self) -> Any:
        """Reads a whole value."""
        while True:
            self.peek()
            try:
                found, end = json.JSONDecoder().raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > MAX_ENTRY:
                    raise _Refused(
                        f"has an entry of more than {MAX_ENTRY:,} characters, or is not valid JSON: export it again, "
                        "without segmentations"
                    ) from None
                if not self._more():
                    raise
                continue
            length = end - self._at
            if end == len(self._text) and self._more():  # a number may go on
                continue
            self._at += length
            return found


def _walk(text: _Text, wanted: Collection[str], seen: set[str]) -> Iterator[tuple[str, Any]]:
    """(name, entry) of the wanted lists; `seen` gets the names of those that are there."""
    if (first := text.peek()) != "{":
        raise _Refused(
            f'begins with "{first}" and not with "{{": COCO\'s JSON is one object with images, annotations and '
            "categories; export as COCO"
        )
    text.take("{")
    if text.peek() == "}":
        return
    while True:
        name = text.value()
        text.take(":")
        if text.peek() != "[":
            text.value()
        else:
            text.take("[")
            if isinstance(name, str) and name in wanted:
                if name in seen:
                    raise _Refused(f"has two lists {name}: put their entries into one")
                seen.add(name)
            end = text.peek() == "]" and text.take("]")
            while not end:
                entry = text.value()
                if name in seen:
                    yield name, entry
                end = text.take(",", "]") == "]"
        if text.take(",", "}") == "}":
            return
