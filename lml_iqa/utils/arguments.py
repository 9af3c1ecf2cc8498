"""Parsing of command-line values: home folders, and the Python spellings that wandb sweeps pass."""

from __future__ import annotations

import argparse
import os
import re
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any, Union, get_args

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

_HOME = re.compile(r"~[\w.-]*(/|$)")


def expand_home(value: Any) -> Any:
    """Expand ``~`` and ``~user`` at the start of every string and path in a parsed configuration."""
    if isinstance(value, Namespace):
        for name, content in list(value.items()):
            value[name] = expand_home(content)
    elif isinstance(value, dict):
        return {name: expand_home(content) for name, content in value.items()}
    elif isinstance(value, list):
        return [expand_home(content) for content in value]
    elif isinstance(value, (str, Path)) and _HOME.match(str(value)):
        return type(value)(os.path.expanduser(value))  # noqa: PTH111  keeps unknown users
    return value


def whole_number(text: str) -> int:
    """Parse an int, also from the spellings ``4.0`` and ``1e3`` of a whole number.

    Raises:
        ValueError: The text is not a whole number.
    """
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text} is not a whole number")
    return int(number)


class ArgumentParser(LightningArgumentParser):
    """Parser that accepts ``None`` for ``null``, and ``4.0`` and ``1e3`` for ints, where the option's type allows it.

    wandb sweeps pass values as Python prints them. Strings are kept: ``4.0`` becomes 4 only if the option's type
    includes neither str nor float. ``1`` stays an int for options of type int or float (``limit_test_batches``: 1 is
    one batch, 1.0 all batches).
    """

    # Private methods, as no public one sees a value together with its option: the first for the command line, the
    # second for files and nested classes. If a later version stops calling one, such values are rejected again.
    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        return super()._get_values(action, [_plain(text, action) for text in arg_strings])

    def _check_value_key(self, action: argparse.Action, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._check_value_key(action, _plain(value, action), *args, **kwargs)


def _plain(value: Any, action: Any) -> Any:
    types = set(get_args(getattr(action, "_typehint", None))) or {getattr(action, "_typehint", None)}
    if {int, float} <= types:
        # Python caches unions, so the type may be an equal union in the other order, created by any library.
        order = [int, float, *sorted(types - {int, float}, key=str)]
        action._typehint = Union.__getitem__(tuple(order))
    if value == "None" and NoneType in types:
        return "null"
    if isinstance(value, (str, float)) and int in types and not {float, str} & types:
        with suppress(ValueError, OverflowError):  # left to the parser
            return str(whole_number(str(value)))
    return value
