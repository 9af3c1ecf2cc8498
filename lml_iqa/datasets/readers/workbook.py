"""Reader of label files that are Excel workbooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import openpyxl

from lml_iqa.datasets.readers.csv_rows import brief
from lml_iqa.datasets.readers.ratings import by_name
from lml_iqa.errors import DatasetError

_HEADER_ROWS = 20  # number of rows that are searched for the header
_MOST_ROWS = 1 << 20  # Excel's limit per sheet


def read_sheet(path: Path, columns: Sequence[str], sheet: str | None = None) -> dict[str, list[str]]:
    """Read named columns of a sheet (xlsx); the header row is the first that contains all their names.

    Args:
        path: The workbook.
        columns: The columns to read.
        sheet: Name of the sheet; default the first.

    Returns:
        The text of each column, in file order; whole numbers without a decimal point. Hidden rows are included, empty
        rows are skipped.

    Raises:
        DatasetError: The file is missing, damaged or not a workbook, the sheet or a column is missing, a column occurs
            twice, or a row lacks a value or has a date or a formula without a stored result.
    """
    rows = _rows(path, sheet, results=True)
    texts = [[_text(cell) for cell in row] for row in rows]
    header = next((n for n, row in enumerate(texts[:_HEADER_ROWS]) if set(columns) <= set(row)), None)
    if header is None:
        raise DatasetError(f"{path}: no row has the column names {list(columns)}; give the original workbook")
    for name in columns:
        if texts[header].count(name) > 1:
            raise DatasetError(f"{path}: {texts[header].count(name)} columns are called {name!r}; rename all but one")
    places = [texts[header].index(name) for name in columns]
    values = [[row[place] if place < len(row) else "" for place in places] for row in texts]
    if any("" in row for row in values[header + 1 :]):
        _refuse_formulas(path, rows, _rows(path, sheet, results=False), places, header + 1)
    chosen = []
    for number, row in enumerate(values[header + 1 :], start=header + 1):
        if not any(row):
            continue
        where = f"{path}, row {number + 1}"
        for name, place, value in zip(columns, places, row, strict=True):
            if not value:
                raise DatasetError(
                    f"{where}: no value in column {name!r} ({brief(list(filter(None, texts[number])))}); "
                    "fill it in or remove the row"
                )
            if isinstance(rows[number][place], (date, time, timedelta)):
                raise DatasetError(
                    f"{where}: {value} in column {name!r} is a date; enter the number again "
                    "(Excel converts numbers such as 3.5 to dates)"
                )
        chosen.append(row)
    return by_name(path, columns, chosen)


def _rows(path: Path, sheet: str | None, *, results: bool) -> list[tuple[Any, ...]]:
    """Cells of a sheet, with the results of formulas or the formulas themselves."""
    try:
        with path.open("rb") as file:
            book = openpyxl.load_workbook(file, read_only=True, data_only=results)
            if sheet is not None and sheet not in book.sheetnames:
                raise DatasetError(f"{path}: no sheet {sheet!r}, only {book.sheetnames}; give the original workbook")
            chosen = book[sheet or book.sheetnames[0]]
            chosen.reset_dimensions()  # the stored dimensions may be wrong and would cut off rows
            rows = list(islice(chosen.iter_rows(values_only=True), _MOST_ROWS + 1))
            if len(rows) > _MOST_ROWS:
                raise ValueError(f"more than {_MOST_ROWS} rows")
            return rows
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}); give the path of the label file") from error
    except Exception as error:  # a damaged workbook can raise any exception
        raise DatasetError(
            f"{path}: not an Excel workbook, or damaged ({error}); copy or download the file again"
        ) from error


def _refuse_formulas(
    path: Path, results: list[tuple[Any, ...]], formulas: list[tuple[Any, ...]], places: Sequence[int], start: int
) -> None:
    """Raise an error for a formula without a stored result, as in files not saved by a spreadsheet program."""
    for number in range(start, min(len(results), len(formulas))):
        for place in places:
            formula = formulas[number][place] if place < len(formulas[number]) else None
            if formula is not None and (place >= len(results[number]) or results[number][place] is None):
                raise DatasetError(
                    f"{path}, row {number + 1}: the result of the formula {formula!r} is not stored; "
                    "open and save the workbook in Excel or LibreOffice, or replace formulas with their values"
                )


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
