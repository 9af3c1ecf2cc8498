"""Lines and encodings of text label files."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from lml_iqa.errors import DatasetError

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is a prefix of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # xlsx and ods; xls


def read_lines(path: Path) -> Iterator[str]:
    r"""Iterate over the lines of a text file, including their line ends (``\n``, ``\r\n`` or ``\r``).

    The byte order mark determines the encoding, UTF-8 by default. Bytes that are not UTF-8 become surrogate escapes, as
    in ``os.fsdecode``: file names may contain such bytes, and so may columns that are not read.

    Raises:
        DatasetError: The file cannot be read, is a workbook, or is not text.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head in _WORKBOOKS:
            raise DatasetError(f"{path}: a workbook or an archive, not text; save the sheet as CSV in UTF-8")
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8")
        errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
        with path.open(newline="", encoding=encoding, errors=errors) as text:
            for line in text:
                if "\0" in line:
                    raise not_utf8(path, " (it contains zero bytes)")
                yield line
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); give the path of the label file") from error
    except UnicodeError as error:
        raise not_utf8(path, f" ({error})") from error


def not_utf8(path: Path | str, detail: str = "") -> DatasetError:
    """Error for a label file in another encoding."""
    return DatasetError(f"{path}: not UTF-8 text{detail}; save the label file as CSV in UTF-8")


def is_utf8(text: str) -> bool:
    """False for text with surrogate escapes, that is, bytes that were not UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def from_windows(text: str) -> str:
    """Decode text with surrogate escapes as Windows-1252, Excel's default encoding of CSV files.

    Almost any text decodes without an error, so confirm the result, for example by a file of that name.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("cp1252")
    except UnicodeError:
        return text
