"""Readers of rated images: CSV files, and text files with two words per line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.readers.columns import BLOCK, TextColumn
from lml_iqa.datasets.readers.csv_rows import brief, read_rows
from lml_iqa.datasets.readers.decimals import parse_numbers
from lml_iqa.datasets.readers.text import is_utf8, read_lines
from lml_iqa.errors import DatasetError


def read_columns(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """Read named columns of a CSV file with a header row.

    The delimiter is a comma, semicolon, tab or ``|``, detected from the header, or the one in an Excel line ``sep=;``.
    Blank lines, lines before the header that begin with ``#``, and other columns are skipped. Encoding: see
    :func:`~lml_iqa.datasets.readers.text.read_lines`.

    Args:
        path: The file.
        columns: Names of the columns. The first contains the image names; only it may have bytes that are not UTF-8.

    Returns:
        The stripped text of each column, in file order.

    Raises:
        DatasetError: The file cannot be read or is not CSV, a column is missing or occurs twice, a value is missing, or
            a row does not match the header (for example because of decimal commas).
    """
    rows = [[cell.strip() for cell in row] for row in read_rows(path, columns)]
    return by_name(path, columns, rows)


def read_arrays(path: Path, columns: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """Variant of :func:`read_columns` for files with millions of rows: arrays, without a Python object per row.

    The first column, which contains the image names, is not stripped: file names may begin or end with spaces.
    """
    rows = read_rows(path, columns)
    block = list(islice(rows, BLOCK))
    by_name(path, columns, block)  # raises an error if there are no rows
    with path.open("rb") as file:
        lines = 1 + sum(chunk.count(b"\n") + chunk.count(b"\r") for chunk in iter(lambda: file.read(1 << 20), b""))
    texts = [TextColumn(lines) for _ in columns]
    while block:
        for i, (text, cells) in enumerate(zip(texts, zip(*block, strict=True), strict=True)):
            text.extend(cells if i == 0 else [cell.strip() for cell in cells])
        block = list(islice(rows, BLOCK))
    return {name: text.array() for name, text in zip(columns, texts, strict=True)}


def read_pairs(path: Path, first: str, second: str) -> dict[str, list[str]]:
    """Read a text file with two whitespace-separated words per line; blank lines are skipped.

    Args:
        path: The file.
        first: Name of the first word, for messages and as key of the result.
        second: Name of the second word.

    Raises:
        DatasetError: The file is missing, empty or not text, or a line does not have two words.
    """
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if words and (len(words) != 2 or not is_utf8(line)):
            raise DatasetError(
                f"{path}, line {number}: {brief([line.strip()])!r} is not `{first} {second}`; "
                "give the original label file"
            )
        if words:
            rows.append(words)
    return by_name(path, [first, second], rows)


def by_name(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Convert rows to columns.

    Raises:
        DatasetError: There are no rows.
    """
    if not rows:
        raise DatasetError(f"{path}: has no rows; give a label file with at least one rated image")
    return {name: [row[i] for row in rows] for i, name in enumerate(columns)}


def read_ratings(path: Path, key: str, numbers: Sequence[str]) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Read the column of image names, and columns of finite numbers.

    Raises:
        DatasetError: See :func:`read_columns` and :func:`parse_numbers`.
    """
    columns = read_columns(path, [key, *numbers])
    names = columns[key]
    return names, {name: parse_numbers(path, name, columns[name], names) for name in numbers}
