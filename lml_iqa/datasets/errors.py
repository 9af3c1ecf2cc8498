"""The errors a user of a data set can meet. Each says which file, which value and what to do."""

from __future__ import annotations


class DatasetError(ValueError):
    """A data set on disk is not what its labels or its layout promise.

    The message names the file, the value and the cure.
    """


class ImageReadError(DatasetError):
    """One image file is missing, corrupt or of a kind that cannot be scored."""
