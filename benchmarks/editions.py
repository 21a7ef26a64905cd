"""The lessons as online notebooks, and the links that open them there.

    python benchmarks/editions.py FOLDER     writes FOLDER/en/00_where_does_it_look.ipynb and so on
    python benchmarks/editions.py --badges   writes the links into README.md and docs/cloud.md
    python benchmarks/editions.py --check    fails if those links are not what --badges would write

An edition is a lesson without its outputs, behind two cells more: one says what to know about Colab and Kaggle, the
other installs cambook. Its relative links become absolute, because an online notebook stands alone. The workflow
editions.yml pushes the editions to the branch that the links lead to. The standard library is enough.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from release import PLACEHOLDER, ROOT, project

from cambook import files

RELEASED = False  # True once the package index has cambook; then editions.yml goes by tags (a test compares the two)
BRANCH = "editions"
BINDER = ("00", "02")  # the lessons that fit into Binder's 2 GB of memory
BEGIN, END = "<!-- badges -->\n", "<!-- end of badges -->"
NOT_YET = "Links that open the lessons stand here as soon as the repository has its address."

ABOUT = {
    "en": """\
**This copy of the lesson runs online.** The cell below installs cambook, which takes about a minute. Then run all
cells, as you would on your own computer.

- **Google Colab:** a runtime without a GPU is enough. *Runtime > Change runtime type* gives you one with a GPU, and
  cambook then uses it.
- **Kaggle:** first switch *Internet* on in the notebook's settings, or the installation fails. The accelerator is
  chosen there, too.
- **Nothing is kept** when the session ends: neither trained networks nor results. Download the folder `runs/` and this
  notebook if you want to keep them.

[Open in Colab]({colab}) · [open in Kaggle]({kaggle}) · [the lesson with its outputs]({lesson})""",
}


# ---- addresses ----


def repository() -> str:
    """The repository's address, from the one line that has it."""
    return project()["tool"]["cambook"]["repository"].rstrip("/")


def known(address: str) -> bool:
    """Whether an address names an owner."""
    return PLACEHOLDER not in address.split("/")


def lessons() -> list[Path]:
    """The lessons in reading order."""
    return sorted((ROOT / "notebooks").glob(files.LESSONS))


def addresses(lesson: Path, address: str, language: str) -> dict[str, str]:
    """Where a lesson opens: its edition on GitHub, Colab, Kaggle and Binder, and the lesson itself."""
    edition = f"{address}/blob/{BRANCH}/{language}/{lesson.name}"
    tree = quote(f"lab/tree/notebooks/{lesson.name}", safe="")
    return {
        "edition": edition,
        "colab": edition.replace("https://github.com/", "https://colab.research.google.com/github/"),
        "kaggle": f"https://kaggle.com/kernels/welcome?src={edition}",
        "binder": f"{address.replace('https://github.com/', 'https://mybinder.org/v2/gh/')}/main?urlpath={tree}",
        "lesson": f"{address}/blob/main/notebooks/{lesson.name}",
    }


# ---- editions ----


def absolute(target: str, address: str, language: str) -> str:
    """A link of a lesson as it works anywhere: to the edition of another lesson, or to a file of the repository."""
    if re.match(r"[a-z][a-z0-9+.-]*:|#", target):
        return target
    name, mark, anchor = target.partition("#")
    file = (ROOT / "notebooks" / name).resolve()
    if not file.exists() or not file.is_relative_to(ROOT):
        raise SystemExit(f"A lesson links to {target}, which the repository does not have: mend the link.")
    if file in lessons():
        return addresses(file, address, language)["edition"] + mark + anchor
    kind = "raw" if file.suffix in (".png", ".jpg", ".svg") else "blob"
    return f"{address}/{kind}/main/{file.relative_to(ROOT).as_posix()}{mark}{anchor}"


def with_absolute_links(text: str, address: str, language: str) -> str:
    """Markdown with its relative links made absolute; code and formulas stay as they are."""
    aside = r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$"
    return re.sub(
        rf"{aside}|\]\(([^)\s]+)",
        lambda found: f"]({absolute(found[1], address, language)}" if found[1] else found[0],
        text,
        flags=re.DOTALL,
    )


def requirement(address: str) -> str:
    """What pip installs: the package by its name, or before the first release the repository."""
    return "cambook" if RELEASED else f'"cambook @ git+{address}"'


def edition(lesson: Path, address: str, language: str) -> dict[str, Any]:
    """A lesson as an online notebook: two cells that explain and install, then its own cells without outputs."""
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        elif cell["cell_type"] == "markdown":
            text = with_absolute_links("".join(cell["source"]), address, language)
            cell["source"] = text.splitlines(keepends=True)
    about = ABOUT[language].format(**addresses(lesson, address, language))
    install = f"%pip install -q {requirement(address)}"
    notebook["cells"][:0] = [
        {"cell_type": "markdown", "id": "online", "metadata": {}, "source": about.splitlines(keepends=True)},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "install",
            "metadata": {},
            "outputs": [],
            "source": [install],
        },
    ]
    return notebook


def write(folder: Path, address: str, language: str = "en") -> list[Path]:
    """The editions of all lessons in a language, in the folder's folder of that name."""
    if not known(address):
        raise SystemExit(
            f"pyproject.toml names the repository {address}: write its real address under [tool.cambook] first."
        )
    written = []
    for lesson in lessons():
        path = folder / language / lesson.name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(edition(lesson, address, language), ensure_ascii=False, indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        written.append(path)
    return written


# ---- the links in the pages ----


def badge(site: str, url: str) -> str:
    """An image that opens a lesson on a site."""
    images = {
        "Colab": "https://colab.research.google.com/assets/colab-badge.svg",
        "Kaggle": "https://kaggle.com/static/images/open-in-kaggle.svg",
        "Binder": "https://mybinder.org/badge_logo.svg",
    }
    return f"[![Open in {site}]({images[site]})]({url})"


def in_short(address: str, language: str = "en") -> str:
    """What README shows: the first lesson on each site."""
    found = addresses(lessons()[0], address, language)
    shown = " | ".join(badge(site, found[site.lower()]) for site in ("Colab", "Kaggle", "Binder"))
    return f"| Lesson 00, with nothing to install ([the others](docs/cloud.md)): | {shown} |\n|---|---|---|---|\n"


def in_full(address: str, language: str = "en") -> str:
    """What docs/cloud.md shows: every lesson, on Binder those that fit."""
    lines = ["| lesson | Colab | Kaggle | Binder |", "|---|---|---|---|"]
    for lesson in lessons():
        found = addresses(lesson, address, language)
        first = json.loads(lesson.read_text(encoding="utf-8"))["cells"][0]
        title = "".join(first["source"]).partition("\n")[0].strip("# ")
        cells = [f"[{title}]({found['edition']})", badge("Colab", found["colab"]), badge("Kaggle", found["kaggle"])]
        cells.append(badge("Binder", found["binder"]) if lesson.name[:2] in BINDER else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def pages(address: str) -> dict[Path, str]:
    """README.md and docs/cloud.md as they should be, with the links between their marks; none to a placeholder."""
    readme, page = ROOT / "README.md", ROOT / "docs" / "cloud.md"
    shown = (
        {readme: in_short(address), page: in_full(address)} if known(address) else {readme: "", page: NOT_YET + "\n"}
    )
    found = {}
    for path, links in shown.items():
        text = path.read_text(encoding="utf-8")
        if text.count(BEGIN) != 1 or text.count(END) != 1:
            raise SystemExit(f"{path.name} needs one line {BEGIN.strip()} and one line {END} for the links.")
        before, _, rest = text.partition(BEGIN)
        found[path] = f"{before}{BEGIN}{links}{END}{rest.partition(END)[2]}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where the editions go")
    parser.add_argument("--language", choices=list(ABOUT), default="en")
    parser.add_argument("--badges", action="store_true", help="write the links into README.md and docs/cloud.md")
    parser.add_argument("--check", action="store_true", help="fail if those links are stale")
    given = parser.parse_args()
    if not (given.folder or given.badges or given.check):
        parser.error("name a folder for the editions, or --badges, or --check")
    for page, text in pages(repository()).items() if given.badges or given.check else ():
        stale = page.read_text(encoding="utf-8") != text
        if given.badges and stale:
            page.write_text(text, encoding="utf-8", newline="\n")
        elif stale:
            raise SystemExit(f"The links in {page.name} are stale: run python benchmarks/editions.py --badges.")
    if given.folder:
        for path in write(given.folder, repository(), given.language):
            print(path)


if __name__ == "__main__":
    main()
