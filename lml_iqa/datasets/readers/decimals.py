"""Conversion of text to numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lml_iqa.errors import DatasetError

# Narrower than float(), which also takes 1_000, nan, infinity and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+|\d*,\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_COULD_BE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)


def is_number(text: str) -> bool:
    """True for plain decimal numbers such as ``3``, ``-3.45``, ``3,45`` or ``1e-3``."""
    return _NUMBER.fullmatch(text) is not None


def parse_numbers(
    path: Path, column: str, texts: Sequence[str] | NDArray[np.str_], rows: Sequence[str] | NDArray[np.str_]
) -> NDArray[np.float64]:
    """Convert a column to finite float64 numbers, with decimal points or decimal commas.

    Args:
        path: The file, for messages.
        column: The column's name, for messages.
        texts: (n,) cells of the column.
        rows: (n,) name of each row, for messages.

    Raises:
        DatasetError: A cell is not a finite number, or commas may be thousands separators: some cells have a point, or
            every comma is followed by exactly three digits.
    """
    numbers = np.empty(len(texts), dtype=np.float64)
    with_comma = with_point = proof = None  # first cell of each kind
    for i, text in enumerate(map(str, texts)):
        number = float(text.replace(",", ".")) if is_number(text) else np.nan
        if not np.isfinite(number):
            shown = text if len(text) <= 200 else f"{text[:200]}..."
            raise DatasetError(
                f"{path}: {shown!r} in column {column!r} of {str(rows[i])!r} is not a finite number; "
                "correct or remove the row"
            )
        numbers[i] = number
        if "," in text:
            with_comma = with_comma or text
            if not _COULD_BE_THOUSANDS.fullmatch(text):
                proof = text
        elif "." in text:
            with_point = with_point or text
    if with_comma and (with_point or not proof):
        seen = f"{with_comma!r} and {with_point!r}" if with_point else repr(with_comma)
        raise DatasetError(
            f"{path}: column {column!r} has {seen}: the comma may separate decimals or thousands; "
            "write decimals with a point, and thousands without a separator"
        )
    return numbers
