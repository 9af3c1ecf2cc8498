"""The errors a user of a data set can meet. Each says which file, which value and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from lml_iqa.errors import LMLError

_SHOWN = 5


class DatasetError(LMLError, ValueError):
    """A data set on disk is not what its labels or its layout promise.

    The message names the file, the value and the cure.
    """


class ImageReadError(DatasetError):
    """One image file is missing, corrupt or of a kind that cannot be scored."""


def first_few(items: Sequence[str]) -> str:
    """The first items of a list, and how many more there are, for a message."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"
