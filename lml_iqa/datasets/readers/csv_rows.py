"""Rows of CSV files with any common delimiter."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from lml_iqa.datasets.readers.decimals import is_number
from lml_iqa.datasets.readers.text import from_windows, is_utf8, not_utf8, read_lines
from lml_iqa.errors import DatasetError
from lml_iqa.utils.files import printable

_DELIMITERS = ",;\t|"
_HEADER_WITHIN = 100  # lines; comments and blank lines may come before the header
_LONGEST = 4096  # characters of one cell; no path is longer


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    """Cells of named columns, row by row, not stripped.

    Raises:
        DatasetError: See :func:`~lml_iqa.datasets.readers.ratings.read_columns`.
    """
    lines = read_lines(path)
    start, head, delimiter, header = _find_header(path, lines, columns)
    places = [header.index(name) for name in columns]
    named = max(place for place, name in enumerate(header) if name) + 1
    reader = csv.reader(chain(head, lines), delimiter=delimiter, strict=True)
    try:
        next(reader)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path}, line {start + reader.line_num}"
            cells = [row[place] if place < len(row) else "" for place in places]
            for name, cell in zip(columns, cells, strict=True):
                if not cell.strip():
                    raise DatasetError(
                        f"{where}: no value in column {name!r} ({brief(row)}); fill it in or remove the row"
                    )
                if len(cell) > _LONGEST:
                    raise DatasetError(
                        f"{where}: {len(cell)} characters in column {name!r} ({brief(row)}); "
                        "look for an unclosed quotation mark"
                    )
            if not all(map(is_utf8, cells[1:])):
                raise not_utf8(where, f" ({brief(row)})")
            if len(row) < named:
                raise DatasetError(
                    f"{where}: fewer values than the header has columns ({brief(row)}); "
                    "correct the row, or add empty cells"
                )
            # `3,45` takes two cells of a comma-separated file and may push an empty one past the header.
            if any(cell.strip() for cell in row[named:]) or (
                len(row) > len(header) and _holds_decimal_comma(row, delimiter, places)
            ):
                raise DatasetError(
                    f"{where}: more values than the header has columns ({brief(row)}); write decimals with a point "
                    "(3.45), or separate the columns by semicolons; quote text that contains a separator"
                )
            yield cells
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {start + reader.line_num}: not CSV ({error}); look for an unclosed quotation mark"
        ) from error


def _holds_decimal_comma(row: Sequence[str], delimiter: str, places: Sequence[int]) -> bool:
    return delimiter == "," and any(
        row[place].strip().lstrip("+-").isdigit() and row[place + 1].isdigit()
        for place in places
        if place + 1 not in places
    )


def read_header(path: Path, *columns: str) -> list[str]:
    """Names of all columns of a CSV file.

    Args:
        path: The file.
        columns: Columns that the file must have; they identify the header row.

    Raises:
        DatasetError: The file cannot be read, or lacks one of the columns.
    """
    return _find_header(path, read_lines(path), columns)[3]


def _find_header(path: Path, lines: Iterator[str], columns: Sequence[str]) -> tuple[int, list[str], str, list[str]]:
    """Number of lines before the header, the lines read from the header on, the delimiter, and the column names."""
    head = list(islice(lines, _HEADER_WITHIN))
    delimiters = _DELIMITERS
    names: list[str] = []
    for start, line in enumerate(head):
        text = line.strip('\r\n "')
        if not text.strip(_DELIMITERS):
            continue
        if not names and text[:-1].lower() == "sep=":
            delimiters = text[-1]
            continue
        ways = [(delimiter, _header_cells(head[start:], delimiter)) for delimiter in delimiters]
        # numpy.savetxt writes the header as a comment.
        ways += [(delimiter, [cells[0].lstrip("# "), *cells[1:]]) for delimiter, cells in ways]
        for delimiter, cells in ways:
            if set(columns) <= set(cells):
                for name in columns:
                    if cells.count(name) > 1:
                        raise DatasetError(
                            f"{path}: {cells.count(name)} columns are called {name!r}; rename all but one"
                        )
                return start, head[start:], delimiter, cells
        names = max((cells for _, cells in ways), key=len)
        if not line.startswith("#"):
            break
    why = _why_no_header(names, columns)
    if not all(map(is_utf8, head)):
        raise not_utf8(path, f" ({why})")
    raise DatasetError(f"{path}: {why}")


def _header_cells(lines: Sequence[str], delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader(iter(lines), delimiter=delimiter, strict=True), []) or [""]
    except csv.Error:
        cells = [lines[0]]
    return [(cell if is_utf8(cell) else from_windows(cell)).strip() for cell in cells]


def _why_no_header(found: Sequence[str], columns: Sequence[str]) -> str:
    missing = next((name for name in columns if name not in found), columns[0])
    if not found:
        return f"empty, so no column {missing!r}; give the label file"
    if any(map(is_number, found)):
        return (
            f"no column {missing!r}: the first row ({brief(found)}) looks like data; "
            f"add a header line with the column names ({','.join(columns)})"
        )
    shown = f"{[name[:60] for name in found[:30]]}{f' and {len(found) - 30} more' if len(found) > 30 else ''}"
    near = [name for name in found if _plain(name) == _plain(missing)]
    meant = f" (is {near[0][:60]!r} meant?)" if near else ""
    how = " (columns are separated by comma, semicolon, tab or |)" if len(found) == 1 else ""
    return f"no column {missing!r}, only {shown}{meant}; rename it, or name the one to use{how}"


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def brief(row: Sequence[str]) -> str:
    """Cells of a row for a message, truncated to 200 characters."""
    text = printable(", ".join(row))
    return text if len(text) <= 200 else f"{text[:200]}..."
