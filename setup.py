"""What pyproject.toml cannot say: a wheel brings data/ and notebooks/ along, and its links name the one repository."""

import json
import re
import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PYPROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY, TAG = PYPROJECT["tool"]["cambook"]["repository"], "v" + PYPROJECT["project"]["version"]
KINDS = {".csv", ".ipynb", ".jpg", ".json", ".md", ".txt", ".yaml"}
OWN = {"data/cache", "data/real"}  # a reader's; git does not know them either


def resources() -> list[Path]:
    """The files below data/ and notebooks/ that travel: of known kinds, not hidden, not a run's."""
    files = [path for folder in ("data", "notebooks") for path in Path(folder).rglob("*") if path.suffix in KINDS]
    own = [path for path in files if "runs" in path.parts or OWN & {parent.as_posix() for parent in path.parents}]
    return sorted(path for path in set(files) - set(own) if not any(part.startswith(".") for part in path.parts))


def without_outputs(notebook: str) -> str:
    """A notebook before its first run: sources, ids and tags as they are."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def readme() -> str:
    """README.md with links that lead to this version's files from anywhere."""
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com")
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\g<1>{raw}/{TAG}/", Path("README.md").read_text(encoding="utf-8"))
    return re.sub(r"(?<=\]\()(?!https?:|#)", f"{REPOSITORY}/blob/{TAG}/", text)


class BuildWithResources(build_py):
    """The package, and beside its code cambook/resources; an editable install reads the clone itself."""

    def get_source_files(self) -> list[str]:  # what a source distribution takes along
        return [*super().get_source_files(), *map(str, resources())]

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib, "cambook"), ignore_errors=True)  # an earlier build's
        super().run()
        for file in [] if self.editable_mode else resources():
            copy = Path(self.build_lib, "cambook", "resources", file)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".ipynb":
                copy.write_text(without_outputs(file.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
            else:
                shutil.copyfile(file, copy)


setup(
    cmdclass={"build_py": BuildWithResources},
    author="the cambook authors",
    author_email=f"{REPOSITORY.split('/')[3]}@users.noreply.github.com",  # indexes want one; this reaches nobody
    long_description=readme(),
    long_description_content_type="text/markdown",
    project_urls={
        "Homepage": REPOSITORY,
        "Documentation": f"{REPOSITORY}/tree/{TAG}/docs",
        "Source": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{REPOSITORY}/blob/{TAG}/CHANGELOG.md",
    },
)
