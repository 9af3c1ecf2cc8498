"""Errors that a user can cause and cure."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 5  # items of a list in a message


class LMLError(Exception):
    """Base of all errors of this package that a user can cure.

    The message names the file or option and the value; after the first ``"; "`` it says what to do. The command line
    prints it without a traceback.
    """

    @property
    def problem(self) -> str:
        """The message up to the cure."""
        return str(self).partition("; ")[0]

    @property
    def cure(self) -> str:
        """What to do about it; empty where the message does not say."""
        return str(self).partition("; ")[2]


class ConfigError(LMLError, ValueError):
    """An option, or a combination of options, that cannot work."""


class DatasetError(LMLError, ValueError):
    """A data set on disk does not match its labels or its layout."""


class ImageReadError(DatasetError):
    """An image file is missing, corrupt or of a kind that cannot be scored."""


def first_few(items: Sequence[str]) -> str:
    """The first items of a list, and how many more there are, for a message."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"


def message_of(error: LMLError) -> str:
    """The error's message, without the traceback that a data loader puts around the error of a worker process.

    The data loader passes on the error's class and this text, and nothing else.
    """
    text = str(error)
    return text.strip().rsplit(f"{type(error).__name__}: ", 1)[-1] if "Original Traceback" in text else text
