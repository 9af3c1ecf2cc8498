"""Reading label files that are Excel workbooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl

from lml_iqa.datasets.errors import DatasetError
from lml_iqa.datasets.ratings import by_name

_HEADER_ROWS = 20  # the header row is looked for in so many


def read_sheet(path: Path, columns: Sequence[str], sheet: str | None = None) -> dict[str, list[str]]:
    """Read named columns of a sheet (xlsx); the header row is the first that holds all their names.

    Args:
        path: The workbook.
        columns: The columns to read.
        sheet: Name of the sheet; default the first.

    Returns:
        The texts of each column, in file order; whole numbers without a decimal point. Empty rows are passed over.

    Raises:
        DatasetError: The file is missing, damaged or no workbook, lacks the sheet or a column, or a row lacks a value.
    """
    try:
        with path.open("rb") as file:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            if sheet is not None and sheet not in book.sheetnames:
                raise DatasetError(f"{path}: no sheet {sheet!r}, only {book.sheetnames}; give the set's own workbook")
            rows = list(book[sheet or book.sheetnames[0]].iter_rows(values_only=True))
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}); give the path of the label file") from error
    except Exception as error:  # a damaged workbook raises whatever its broken parts lead to
        raise DatasetError(
            f"{path}: not an Excel workbook, or damaged ({error}); copy or download the file again"
        ) from error
    texts = [[_text(cell) for cell in row] for row in rows]
    header = next((n for n, row in enumerate(texts[:_HEADER_ROWS]) if set(columns) <= set(row)), None)
    if header is None:
        raise DatasetError(f"{path}: no row holds the column names {list(columns)}; give the set's own workbook")
    places = [texts[header].index(name) for name in columns]
    chosen = []
    for number, row in enumerate(texts[header + 1 :], start=header + 2):
        values = [row[place] if place < len(row) else "" for place in places]
        if any(values) and "" in values:
            raise DatasetError(
                f"{path}, row {number}: no value in column {columns[values.index('')]!r} "
                f"({', '.join(filter(None, row))}); fill it in or remove the row"
            )
        if any(values):
            chosen.append(values)
    return by_name(path, columns, chosen)


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
