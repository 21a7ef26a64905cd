"""`cambook look`."""

from __future__ import annotations


def look() -> None:
    """Look at photographs: the most likely classes, a map and a box of each, as figures and one HTML page."""
    raise NotImplementedError
