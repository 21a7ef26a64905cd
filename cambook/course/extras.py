"""Packages that only an extra of cambook brings: what is said to whoever lacks one."""

from __future__ import annotations

from importlib.util import find_spec

BRINGS = {
    "course": "what runs notebooks",
    "cluster": "what makes a sweep's runs on many machines",
    "squeezenet": "ImageNet's weights for the network squeezenet",
    "test": "what the tests need",
}


class MissingPackage(ImportError):
    """A package of an extra is needed and not installed."""


def install(extra: str = "") -> str:
    """How to install what cambook itself needs, or what one of its extras brings."""
    what = f'"cambook[{extra}]"' if extra else "cambook"
    return f"`pip install {what}` (in a clone: make setup)"


def require(extra: str, *packages: str) -> None:
    """Lets pass whoever has an extra's packages; to be called before any work begins.

    packages: as they are imported
    raises:   MissingPackage with one sentence that names the first that is missing and how to install it
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingPackage(f"{package} is not installed: {install(extra)} brings {BRINGS[extra]}.")
