"""Tables for readers: a notebook shows every word of their cells."""

from __future__ import annotations

import pandas as pd


class InFull(pd.DataFrame):
    """A table that a notebook shows with every word of its cells; pandas alone cuts them at 50 characters.

    What is selected, sorted, joined or computed from it is one again.
    """

    @property
    def _constructor(self) -> type[InFull]:
        return InFull

    def __repr__(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return repr(pd.DataFrame(self))

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None):
            return pd.DataFrame(self)._repr_html_()
