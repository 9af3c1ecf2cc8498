"""Checks of options given in Python; the command line checks types by itself."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, get_args


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Refuse a value that is not one of a ``Literal``'s.

    Raises:
        ValueError: Names the option, the value and the choices.
    """
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}")


def check_range(name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Refuse a number that is not finite or not in ``low..high``.

    Args:
        name: The option.
        value: The number.
        low: Lowest allowed number.
        high: Highest allowed number.
        open_low: Whether ``low`` itself is refused.

    Raises:
        ValueError: Names the option, the value and the range.
    """
    if isinstance(value, Real) and math.isfinite(value) and low <= value <= high and not (open_low and value == low):
        return
    least = f"above {low:g}" if open_low else f"at least {low:g}"
    raise ValueError(f"{name} must be {least}{f' and at most {high:g}' if high < math.inf else ''}, not {value}")
