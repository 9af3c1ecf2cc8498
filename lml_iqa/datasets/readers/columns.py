"""Columns of text that are filled block by block: no Python object per row, and no second copy of the column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 16  # rows that are Python objects at one time


class TextColumn:
    """A column of text under way.

    Args:
        capacity: The most rows that may come. Memory is taken as they come.
    """

    def __init__(self, capacity: int) -> None:
        self._texts = np.empty(capacity, dtype="U1")
        self._rows = 0

    def extend(self, texts: Sequence[str]) -> None:
        """Append rows."""
        block = np.array(texts, dtype=np.str_)
        if block.dtype.itemsize > self._texts.dtype.itemsize:
            wider = np.empty(len(self._texts), dtype=block.dtype)
            wider[: self._rows] = self._texts[: self._rows]
            self._texts = wider
        self._texts[self._rows : self._rows + len(block)] = block
        self._rows += len(block)

    def array(self) -> NDArray[np.str_]:
        """The rows so far."""
        return self._texts[: self._rows]
