"""`cambook maps`."""

from __future__ import annotations


def maps() -> None:
    """Keep the maps of a data set, or of a folder of images, as .npy files, and the predictions as CSV."""
    raise NotImplementedError
