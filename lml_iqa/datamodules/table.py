"""Data module of custom ratings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datasets.csv_table import load_csv_table
from lml_iqa.datasets.table import ImageTable


class TableDataModule(IQADataModule):
    """CSV file of paths and scores, with optional references and split.

    Args:
        root: Folder that the paths in the CSV are relative to.
        labels: The CSV file, with a header row; a relative path is resolved against ``root`` first. Delimiters,
            encodings and path styles: see :func:`~lml_iqa.datasets.csv_table.load_csv_table`.
        path_column: Column of the images' paths.
        score_column: Column of the scores.
        reference_column: Column of the reference images' names; all images of a reference are in the same set of a
            split.
        split_column: Column with ``train``, ``val`` or ``test``, used as the official split.
        low: Lowest score of the scale; default the lowest in the file.
        high: Highest score of the scale; default the highest in the file.
        higher_is_better: False for scores such as DMOS, where lower is better.
        kwargs: See :class:`~lml_iqa.datamodules.base.IQADataModule`.
    """

    def __init__(
        self,
        root: Path,
        labels: Path,
        *,
        path_column: str = "path",
        score_column: str = "score",
        reference_column: str | None = None,
        split_column: str | None = None,
        low: float | None = None,
        high: float | None = None,
        higher_is_better: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.labels = labels
        self.options: dict[str, Any] = {
            "path_column": path_column,
            "score_column": score_column,
            "reference_column": reference_column,
            "split_column": split_column,
            "low": low,
            "high": high,
            "higher_is_better": higher_is_better,
        }

    def load_table(self) -> ImageTable:
        """Read the CSV."""
        return load_csv_table(self.root, self.labels, **self.options)
