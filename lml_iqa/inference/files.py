"""Files of scores, CSV or JSON lines, that a killed run continues."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Self

from lml_iqa.errors import ConfigError
from lml_iqa.utils.files import printable

COLUMNS = ("path", "score", "low", "high", "spread", "scale", "model")
ENDINGS = (".csv", ".jsonl")


class ScoreFile:
    """Rows of scores in a file, in the order of the images.

    Each row is written whole and flushed. A file of an earlier run of the same images and model is continued after its
    last complete row.

    Args:
        path: The file; its ending gives the format: ``.csv`` or ``.jsonl``.
        images: Paths of all images, in order.
        model: ID of the model.

    Attributes:
        rows: All rows, those of an earlier run included.

    Raises:
        ConfigError: Another ending, or the file has rows of other images or of another model.
    """

    def __init__(self, path: Path, images: Sequence[str], model: str) -> None:
        self.path = path
        self.model = model
        self.rows: list[list[Any]] = []
        self._csv = path.suffix.lower() == ".csv"
        if path.suffix.lower() not in ENDINGS:
            raise ConfigError(f"{printable(path)}: unknown format; give a name that ends with {' or '.join(ENDINGS)}")
        if path.exists():
            self._continue(images)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8", errors="surrogateescape", newline="")
        if self._csv and self._file.tell() == 0:
            self._file.write(_csv_line(COLUMNS))
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, row: Sequence[Any]) -> None:
        """Append the row of an image: path, score, low, high, spread and scale."""
        values = [*row, self.model]
        self.rows.append(values)
        if self._csv:
            self._file.write(_csv_line(values))
        else:
            numbers = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
            self._file.write(json.dumps(dict(zip(COLUMNS, numbers, strict=True)), allow_nan=False) + "\n")
        self._file.flush()

    def _continue(self, images: Sequence[str]) -> None:
        """Read the complete rows of an earlier run, and cut off an incomplete one after them."""
        content = self.path.read_bytes()
        read = _read_csv if self._csv else _read_jsonl
        try:
            rows, end = read(content)
        except (ValueError, TypeError, KeyError, csv.Error):
            rows, end = [["", ""]], 0
        if [(row[0], row[-1]) for row in rows] != [(name, self.model) for name in images[: len(rows)]]:
            raise ConfigError(
                f"{printable(self.path)}: has scores of other images or of another model; give another name, or remove "
                "the file"
            )
        self.rows = rows
        if end < len(content):
            with self.path.open("r+b") as file:
                file.truncate(end)


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _read_csv(content: bytes) -> tuple[list[list[Any]], int]:
    """Complete rows of a file of scores, and where the last one ends.

    Raises:
        ValueError: It is another file.
        csv.Error: It is not CSV.
    """
    header = _csv_line(COLUMNS).encode()
    if not content.startswith(header):
        if header.startswith(content):
            return [], 0
        raise ValueError("another header")
    rows, end, place = [], len(header), len(header)

    def lines() -> Iterator[str]:
        nonlocal place
        for line in content[len(header) :].splitlines(keepends=True):
            place += len(line)
            yield line.decode("utf-8", "surrogateescape")

    for path, *numbers in csv.reader(lines()):  # a path may contain line breaks
        if place == len(content) and not (content.endswith(b"\n") and len(numbers) == len(COLUMNS) - 1):
            break
        rows.append([path, *map(float, numbers[:4]), *numbers[4:]])
        end = place
    return rows, end


def _read_jsonl(content: bytes) -> tuple[list[list[Any]], int]:
    """Complete rows of a file of scores, and where the last one ends.

    Raises:
        ValueError: It is another file.
        KeyError: It is another file.
        TypeError: It is another file.
    """
    end = content.rfind(b"\n") + 1
    rows = [[json.loads(line)[name] for name in COLUMNS] for line in content[:end].splitlines()]
    start = b'{"path": "'
    if not (content[end:].startswith(start) or start.startswith(content[end:])):
        raise ValueError("another file")
    return [[math.nan if value is None else value for value in row] for row in rows], end
