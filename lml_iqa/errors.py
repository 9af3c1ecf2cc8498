"""Base classes of the errors that a user can cause and cure."""

from __future__ import annotations


class LMLError(Exception):
    """Base of all errors of this package that a user can cure.

    The message names the file or option, the value and the cure. The command line prints it without a traceback.
    """


class ConfigError(LMLError, ValueError):
    """An option, or a combination of options, that cannot work."""
