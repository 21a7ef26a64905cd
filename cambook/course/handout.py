"""The lessons to work on: a copy of them in a folder, with their solutions or without, which a later call renews.

A copy begins without outputs. `MARK`, a file in its folder, says whether its solutions are released, and what each file
said when it was copied, so that a later call can tell what the reader has changed. That is never overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from cambook import files

DEFAULT = "cambook-lessons"  # the folder, if none is named
MARK = ".cambook.json"
COPIED = (files.LESSONS, "glossary.md", "project.md", "reproduce/*.ipynb", "reproduce/sweeps/*.yaml", "sweeps/*.yaml")
SOLUTIONS = "CAMBOOK_SOLUTIONS"  # "no" keeps the solutions away in every folder, whatever its mark says

# The line of a lesson that shows a solution once its # is removed, and what stands there in a student's copy.
_SHOWN = re.compile(r"^# check\.(\w+)\.solution\(\)$", re.MULTILINE)
_LATER = re.compile(r"^# (\w+): the solution comes when your lecturer releases it$", re.MULTILINE)


class HandOut(NamedTuple):
    """What a call did.

    written:   names of the files that are new, or newer than before
    changed:   those that the reader has changed and this version would have renewed; they stay as they are
    solutions: whether the copy shows how to see them
    """

    written: list[str]
    changed: list[str]
    solutions: bool


def hand_out(folder: str | os.PathLike, solutions: bool | None = None) -> HandOut:
    """Copies lessons, tables, sweeps, glossary and project to a folder, or brings an earlier copy there up to date.

    What the reader has written stays. To release the solutions, or to take them back, only the lines that show them
    are exchanged, also in a lesson that the reader has changed.

    folder:    is made if it is missing
    solutions: whether the lessons show how to see them; None: as the folder has it, and a new one has them
    raises:    ValueError if the folder is the lessons' own or cannot be written, or if CAMBOOK_SOLUTIONS=no forbids
               what was asked for
    """
    folder = Path(folder).expanduser().absolute()
    if {files.NOTEBOOKS.resolve()} & {folder.resolve(), *folder.resolve().parents}:
        raise ValueError(f"{folder} contains the lessons themselves: name another folder for the copy.")
    mark = _mark(folder)
    if solutions and not _may_be_shown():
        raise ValueError(f"The solutions are not released yet: {SOLUTIONS}=no is set, by your lecturer or by you.")
    wanted = mark["solutions"] if solutions is None else solutions  # what the mark says also while it is forbidden
    solutions = wanted and _may_be_shown()
    written, changed, known = [], [], mark["files"]
    try:
        for source in sorted(path for pattern in COPIED for path in files.NOTEBOOKS.glob(pattern)):
            name = source.relative_to(files.NOTEBOOKS).as_posix()
            new, theirs = _as_copied(source), _read(folder / name)
            said = None if theirs is None else _said(theirs, name)
            if theirs is None or (said == known.get(name) and said != _said(new, name)):  # missing, or as it was copied
                found = new
            else:
                found = theirs
                if said != _said(new, name) and known.get(name) != _said(new, name):
                    changed.append(name)
            found = _with_solutions(found, name, solutions)
            if found != theirs:
                _write(folder / name, found)
                written.append(name)
            if name not in changed:
                known[name] = _said(new, name)
        _write(folder / MARK, json.dumps({"solutions": wanted, "files": known}, indent=1) + "\n")
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be written ({error.strerror or error}): name a folder of your own, or make room there."
        ) from error
    return HandOut(written, changed, solutions)


def is_copy(folder: Path) -> bool:
    """Whether the lessons were copied to this folder."""
    return (folder / MARK).is_file()


def released() -> bool:
    """Whether solutions may be shown where this process works: not in a student's copy, nor with CAMBOOK_SOLUTIONS=no.

    It keeps nobody from reading the package's source, where the solutions are.
    """
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return _may_be_shown()
    copy = next((folder for folder in (here, *here.parents) if is_copy(folder)), None)
    return _may_be_shown() and (copy is None or _mark(copy)["solutions"])


def _may_be_shown() -> bool:
    """What the environment says; raises ValueError if it is neither yes nor no."""
    said = os.environ.get(SOLUTIONS) or "yes"
    if said not in ("yes", "no"):
        raise ValueError(f"{SOLUTIONS}={said!r} is neither yes nor no: set it to one of them, or unset it.")
    return said == "yes"


# ---- the mark ----


def _mark(folder: Path) -> dict[str, Any]:
    """What the folder's mark says; what one says that is missing or damaged: solutions, and no file known."""
    try:
        said = json.loads((folder / MARK).read_text(encoding="utf-8"))
        known = {name: digest for name, digest in said["files"].items() if isinstance(digest, str)}
        return {"solutions": said["solutions"] is not False, "files": known}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"solutions": True, "files": {}}


# ---- one file ----


def _read(path: Path) -> str | None:
    """The text of a file; None if there is none. One that is not UTF-8 is somebody else's, of which all is unknown."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""


def _write(path: Path, text: str) -> None:
    with files.atomic_write(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def _as_copied(source: Path) -> str:
    """A file of the lessons as it is handed out: of a notebook what the cells say, without outputs."""
    text = source.read_text(encoding="utf-8")
    if source.suffix != ".ipynb":
        return text
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return _as_text(notebook)


def _as_text(notebook: dict[str, Any]) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])  # a list of lines, or one text


def _with_solutions(text: str, name: str, solutions: bool) -> str:
    """The file with the lines that show solutions, or with those that put them off; otherwise the very same text."""
    if not name.endswith(".ipynb"):
        return text
    pattern, line = (_LATER, r"# check.\1.solution()") if solutions else (_SHOWN, _later(r"\1"))
    try:
        notebook, exchanged = json.loads(text), 0
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                source, found = pattern.subn(line, _source(cell))
                cell["source"] = source.splitlines(keepends=True) if found else cell["source"]
                exchanged += found
    except (ValueError, KeyError, TypeError):
        return text
    return _as_text(notebook) if exchanged else text


def _later(exercise: str) -> str:
    return f"# {exercise}: the solution comes when your lecturer releases it"


def _said(text: str, name: str) -> str:
    """What stands for what a file says: of a notebook its cells, without outputs and whether solutions are shown."""
    if name.endswith(".ipynb"):
        try:
            cells = json.loads(text)["cells"]
            parts = [[cell["cell_type"], _SHOWN.sub(lambda found: _later(found[1]), _source(cell))] for cell in cells]
            text = json.dumps(parts)
        except (ValueError, KeyError, TypeError):
            pass  # not a notebook: what it says is its text
    return hashlib.sha256(text.encode()).hexdigest()[:20]
