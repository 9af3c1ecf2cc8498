"""Reading of command-line values: home folders, and the spellings of Python that wandb's sweeps use."""

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
    """Expand ``~`` and ``~user`` at the start of every text and path of a parsed configuration."""
    if isinstance(value, Namespace):
        for name, content in list(value.items()):
            value[name] = expand_home(content)
    elif isinstance(value, dict):
        return {name: expand_home(content) for name, content in value.items()}
    elif isinstance(value, list):
        return [expand_home(content) for content in value]
    elif isinstance(value, (str, Path)) and _HOME.match(str(value)):
        return type(value)(os.path.expanduser(value))  # noqa: PTH111  unknown users stay as they are
    return value


def whole_number(text: str) -> int:
    """An int, also from the spellings ``4.0`` and ``1e3`` of a whole number.

    Raises:
        ValueError: It is not a whole number.
    """
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text} is not a whole number")
    return int(number)


class ArgumentParser(LightningArgumentParser):
    """Takes ``None`` for ``null``, and ``4.0`` and ``1e3`` for whole numbers, where the option's type has them.

    Sweeps of wandb pass values as Python prints them. Text stays text: only an option whose type is neither text nor
    float takes ``4.0`` as 4. And ``1`` stays an int for options that are an int or a float (``limit_test_batches``: one
    batch, where 1.0 is all of them).
    """

    # Two private methods, as no public one sees a value together with its option: of the command line, and of files and
    # nested classes. If a new version no longer calls one, such values are refused again, and nothing else changes.
    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        return super()._get_values(action, [_plain(text, action) for text in arg_strings])

    def _check_value_key(self, action: argparse.Action, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._check_value_key(action, _plain(value, action), *args, **kwargs)


def _plain(value: Any, action: Any) -> Any:
    types = set(get_args(getattr(action, "_typehint", None))) or {getattr(action, "_typehint", None)}
    if {int, float} <= types:
        # Python caches unions: an equal one in the other order, of any library, may have taken its place.
        order = [int, float, *sorted(types - {int, float}, key=str)]
        action._typehint = Union.__getitem__(tuple(order))
    if value == "None" and NoneType in types:
        return "null"
    if isinstance(value, (str, float)) and int in types and not {float, str} & types:
        with suppress(ValueError, OverflowError):  # otherwise the parser refuses it, or takes it as another type
            return str(whole_number(str(value)))
    return value
