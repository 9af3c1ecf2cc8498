"""Reading the label files of rated images."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.columns import BLOCK, TextColumn
from lml_iqa.datasets.errors import DatasetError


def read_columns(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """Read named columns of a CSV file (UTF-8, comma, header row); blank lines and other columns are passed over.

    Returns:
        The stripped texts of each column, in file order.

    Raises:
        DatasetError: The file is missing or no UTF-8 text, lacks a column or has a row without a value in one.
    """
    return by_name(path, columns, list(_read_rows(path, columns)))


def read_arrays(path: Path, columns: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """As :func:`read_columns`, for files of millions of rows: arrays, and never a Python object for every row."""
    rows = _read_rows(path, columns)
    block = list(islice(rows, BLOCK))
    by_name(path, columns, block)  # refuses a file without rows
    with path.open("rb") as file:
        lines = 1 + sum(chunk.count(b"\n") + chunk.count(b"\r") for chunk in iter(lambda: file.read(1 << 20), b""))
    texts = [TextColumn(lines) for _ in columns]
    while block:
        for text, cells in zip(texts, zip(*block, strict=True), strict=True):
            text.extend(cells)
        block = list(islice(rows, BLOCK))
    return {name: text.array() for name, text in zip(columns, texts, strict=True)}


def _read_rows(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                raise DatasetError(
                    f"{path}: no column {missing[0]!r}, only {header}; rename it, or name the one to use"
                )
            places = [header.index(name) for name in columns]
            for line in reader:
                if not any(cell.strip() for cell in line):
                    continue
                cells = [line[place].strip() if place < len(line) else "" for place in places]
                if "" in cells:
                    empty = columns[cells.index("")]
                    raise DatasetError(
                        f"{path}, line {reader.line_num}: no value in column {empty!r} ({', '.join(line)}); "
                        "fill it in or remove the row"
                    )
                yield cells
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); give the path of the label file") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text; save the label file as CSV in UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{path}: not CSV ({error}); look for a quotation mark that is never closed") from error


def read_header(path: Path) -> list[str]:
    """Names of the columns of a CSV file.

    Raises:
        DatasetError: The file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as CSV ({error}); give the set's own label file") from error


def read_pairs(path: Path, first: str, second: str) -> dict[str, list[str]]:
    """Read a text file of two words a line, parted by white space; blank lines are passed over.

    Args:
        path: The file.
        first: What the first word is, for messages and as key of the answer.
        second: What the second word is.

    Raises:
        DatasetError: The file is missing or no text, a line is not two words, or there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); give the path of the label file") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text; give the set's own label file") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words and len(words) != 2:
            raise DatasetError(
                f"{path}, line {number}: {line.strip()!r} is not `{first} {second}`; give the set's own label file"
            )
        if words:
            rows.append(words)
    return by_name(path, [first, second], rows)


def by_name(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Turn rows into columns.

    Raises:
        DatasetError: There are no rows.
    """
    if not rows:
        raise DatasetError(f"{path}: holds no rows; give a label file with at least one rated image")
    return {name: [row[i] for row in rows] for i, name in enumerate(columns)}


def parse_numbers(
    path: Path, column: str, texts: Sequence[str] | NDArray[np.str_], rows: Sequence[str] | NDArray[np.str_]
) -> NDArray[np.float64]:
    """Turn a column into finite float64 numbers.

    Args:
        path: The file, for the message.
        column: The column's name, for the message.
        texts: (n,) what stands in the column.
        rows: (n,) what each row is about, for the message.

    Raises:
        DatasetError: A text is not a finite number.
    """
    numbers = np.empty(len(texts), dtype=np.float64)
    for i, text in enumerate(texts):
        try:
            numbers[i] = float(text)
        except ValueError:
            numbers[i] = np.nan
        if not np.isfinite(numbers[i]):
            raise DatasetError(
                f"{path}: {str(text)!r} in column {column!r} of {str(rows[i])!r} is no finite number; "
                "correct or remove the row"
            )
    return numbers


def read_ratings(path: Path, key: str, numbers: Sequence[str]) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Read the column that names the images, and columns of finite numbers beside it.

    Raises:
        DatasetError: As :func:`read_columns` and :func:`parse_numbers`.
    """
    columns = read_columns(path, [key, *numbers])
    names = columns[key]
    return names, {name: parse_numbers(path, name, columns[name], names) for name in numbers}
