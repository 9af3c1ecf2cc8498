"""Validation of option values; types are checked by the command line."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, get_args


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Check that a value is one of the choices of a ``Literal``.

    Raises:
        ValueError: The value is not one of the choices.
    """
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}")


def check_range(name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Check that a number is finite and in ``low..high``.

    Args:
        name: Name of the option.
        value: Number to check.
        low: Lowest allowed number.
        high: Highest allowed number.
        open_low: Whether to exclude ``low`` itself.

    Raises:
        ValueError: The number is not finite or out of range.
    """
    if isinstance(value, Real) and math.isfinite(value) and low <= value <= high and not (open_low and value == low):
        return
    least = f"above {low:g}" if open_low else f"at least {low:g}"
    raise ValueError(f"{name} must be {least}{f' and at most {high:g}' if high < math.inf else ''}, not {value}")
