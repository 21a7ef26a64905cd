"""Whether a release may be made: `python benchmarks/release.py v0.1.0` prints one sentence per fault and exits with 1.

The release workflow calls it with the tag, before anything is built. Without an argument it says what else is missing.
It needs the standard library alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACEHOLDER = "OWNER"
# OWNER/cambook as files write it: on GitHub, and in the links of Colab, Binder, Kaggle and Codespaces
ADDRESS = re.compile(r"(?:github(?:usercontent)?\.com|codespaces\.new|/github|/gh)/([\w.-]+/cambook)\b")


def project(root: Path = ROOT) -> dict:
    """pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def tracked(root: Path = ROOT) -> list[Path]:
    """The files that git knows, as paths below the root."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (root / name).is_file()]


def other_addresses(root: Path = ROOT) -> dict[str, set[str]]:
    """The files that give the repository another OWNER/cambook than pyproject.toml does, each with what it says."""
    ours = project(root)["tool"]["cambook"]["repository"].removeprefix("https://github.com/")
    found = {}
    for path in tracked(root):
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if others := set(ADDRESS.findall(text)) - {ours}:
            found[path.as_posix()] = others
    return found


def faults(tag: str | None = None, root: Path = ROOT) -> Iterator[str]:
    """What keeps this commit from being released, one sentence each."""
    described = project(root)
    version, repository = described["project"]["version"], described["tool"]["cambook"]["repository"]
    if not re.fullmatch(r"https://github\.com/[\w.-]+/cambook", repository):
        yield f"pyproject.toml: [tool.cambook] repository = {repository!r} does not name a repository on GitHub."
    elif f"/{PLACEHOLDER}/" in repository:
        yield f"pyproject.toml: write the account that owns the repository for {PLACEHOLDER} in {repository}."
    for name, others in other_addresses(root).items():
        yield f"{name} names {', '.join(sorted(others))}: write the repository of pyproject.toml, {repository}."
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    for line in (f"version: {version}", f'repository-code: "{repository}"'):
        if line not in citation.splitlines():
            yield f"CITATION.cff lacks the line `{line}`, as pyproject.toml has it."
    if f'__version__ = "{version}"\n' not in (root / "cambook" / "__init__.py").read_text(encoding="utf-8"):
        yield f'cambook/__init__.py lacks the line `__version__ = "{version}"`, as pyproject.toml has it.'
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        yield f"CHANGELOG.md lacks the heading `## [{version}] - YYYY-MM-DD`: give the changes their version and date."
    if tag is not None and tag != f"v{version}":
        yield f"The tag {tag} is not v{version}: tag the version that pyproject.toml names, or change it there."


if __name__ == "__main__":
    found = list(faults(*sys.argv[1:2]))
    print("\n".join(found) or "Ready to be released.")
    sys.exit(bool(found))
