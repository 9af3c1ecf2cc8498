"""Files of scores that a killed run continues: CSV and JSON lines, row by row; Parquet, at the end."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from lml_iqa.errors import ConfigError
from lml_iqa.utils.files import atomic_path, printable

COLUMNS = ("path", "score", "low", "high", "spread", "scale", "model")
ENDINGS = (".csv", ".jsonl", ".parquet")


class ScoreFile:
    """Rows of scores in a file, in the order of the images.

    Each row is written whole and flushed. A file of an earlier run of the same images and model is continued after its
    last complete row.

    Args:
        path: The file; its ending gives the format: ``.csv``, ``.jsonl``, or ``.parquet`` (needs pyarrow; written at
            the end, not continued).
        images: Paths of all images, in order.
        model: ID of the model.

    Attributes:
        done: Number of rows that the file already has.

    Raises:
        ConfigError: Another ending, pyarrow is not installed, or the file has rows of other images or another model.
    """

    def __init__(self, path: Path, images: Sequence[str], model: str) -> None:
        self.path = path
        self.model = model
        self._ending = path.suffix.lower()
        self._rows: list[list[Any]] = []
        if self._ending not in ENDINGS:
            raise ConfigError(f"{printable(path)}: unknown format; give a name that ends with {', '.join(ENDINGS)}")
        if self._ending == ".parquet":
            try:
                import pyarrow  # noqa: F401
            except ImportError as error:
                raise ConfigError(
                    f'{printable(path)}: Parquet needs pyarrow; pip install "lml-iqa[parquet]"'
                ) from error
        elif path.exists():
            self._continue(images)
        self.done = len(self._rows)

    def __enter__(self) -> Self:
        if self._ending != ".parquet":
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists() or self.path.stat().st_size == 0
            self._file = self.path.open("a", encoding="utf-8", errors="surrogateescape", newline="")
            if new and self._ending == ".csv":
                self._file.write(_csv_line(COLUMNS))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ending != ".parquet":
            self._file.close()
        elif kind is None:
            import pyarrow
            from pyarrow import parquet

            columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in COLUMNS)
            table = pyarrow.table({name: list(column) for name, column in zip(COLUMNS, columns, strict=True)})
            with atomic_path(self.path) as temporary:
                parquet.write_table(table, temporary)

    def add(self, row: Sequence[Any]) -> None:
        """Append the row of an image: path, score, low, high, spread and scale."""
        values = [*row, self.model]
        self._rows.append(values)
        if self._ending == ".csv":
            self._file.write(_csv_line(values))
        elif self._ending == ".jsonl":
            numbers = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
            self._file.write(json.dumps(dict(zip(COLUMNS, numbers, strict=True)), allow_nan=False) + "\n")
        if self._ending != ".parquet":
            self._file.flush()

    def rows(self) -> list[list[Any]]:
        """All rows, those of an earlier run included."""
        return self._rows

    def _continue(self, images: Sequence[str]) -> None:
        """Read the complete rows of an earlier run, and cut off an incomplete one after them."""
        content = self.path.read_bytes()
        read = _read_csv if self._ending == ".csv" else _read_jsonl
        try:
            rows, end = read(content)
        except (ValueError, TypeError, KeyError, csv.Error):
            rows, end = [["", ""]], 0
        if [(row[0], row[-1]) for row in rows] != [(name, self.model) for name in images[: len(rows)]]:
            raise ConfigError(
                f"{printable(self.path)}: has scores of other images or of another model; give another name, or remove "
                "the file"
            )
        self._rows = rows
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
    rows = [[json.loads(line)[name] for name in COLUMNS] for line in content[:end].decode().splitlines()]
    start = b'{"path": "'
    if not (content[end:].startswith(start) or start.startswith(content[end:])):
        raise ValueError("another file")
    return [[math.nan if value is None else value for value in row] for row in rows], end
