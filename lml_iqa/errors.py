"""Errors that a user can cause and fix."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 5  # items of a list in a message


class LMLError(Exception):
    """Base of all errors of this package that a user can fix.

    The message names the file or option and the value; the text after the first ``"; "`` says what to do. The command
    line prints the message without a traceback.
    """

    @property
    def problem(self) -> str:
        """Message up to the cure."""
        return str(self).partition("; ")[0]

    @property
    def cure(self) -> str:
        """Recommended action; empty if the message has none."""
        return str(self).partition("; ")[2]


class ConfigError(LMLError, ValueError):
    """An option or combination of options is invalid."""


class DatasetError(LMLError, ValueError):
    """A data set on disk does not match its labels or layout."""


class ImageReadError(DatasetError):
    """An image file is missing, corrupt or of an unsupported kind."""


def first_few(items: Sequence[str]) -> str:
    """Format the first items of a list, and the number of others, for a message."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"


def message_of(error: LMLError) -> str:
    """Message of an error, without the traceback that a data loader adds to errors of worker processes.

    The data loader passes on only the class of the error and this text.
    """
    text = str(error)
    return text.strip().rsplit(f"{type(error).__name__}: ", 1)[-1] if "Original Traceback" in text else text
