"""Text columns filled block by block, without a Python object per row or a second copy of the column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 16  # rows held as Python objects at a time


class TextColumn:
    """A growing text column.

    Args:
        capacity: Maximum number of rows. Memory is only used for rows that are appended.
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
        """The rows appended so far."""
        return self._texts[: self._rows]
