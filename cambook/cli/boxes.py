"""`cambook boxes`."""

from __future__ import annotations


def boxes() -> None:
    """Write the predicted boxes of a data set, or of a folder of images: COCO JSON, VOC XML or CSV."""
    raise NotImplementedError
