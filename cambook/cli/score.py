"""`cambook score`."""

from __future__ import annotations


def score() -> None:
    """Score maps of any method, kept as .npy files: MaxBoxAcc, MaxBoxAccV2, PxAP, top-1 and top-5 Loc."""
    raise NotImplementedError
