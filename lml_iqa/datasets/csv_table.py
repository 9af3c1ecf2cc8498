"""People's own ratings: any CSV of path and score."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lml_iqa.datasets.errors import DatasetError
from lml_iqa.datasets.files import CaseFolder, find_root, match_files
from lml_iqa.datasets.ratings import parse_numbers, read_arrays
from lml_iqa.datasets.table import ImageTable, ScoreScale


def load_csv_table(
    root: str | Path,
    labels: str | Path,
    *,
    path_column: str = "path",
    score_column: str = "score",
    reference_column: str | None = None,
    split_column: str | None = None,
    low: float | None = None,
    high: float | None = None,
    higher_is_better: bool = True,
    name: str | None = None,
) -> ImageTable:
    """Read a CSV with one rated image a row.

    Args:
        root: Folder that the paths in the CSV are relative to.
        labels: The CSV file: UTF-8, comma, header row. A relative path is looked for in ``root``, then where it stands.
        path_column: Column of the images' paths.
        score_column: Column of the scores.
        reference_column: Column naming the clean photograph that each image was made from: rows that share one never
            stand on both sides of a split.
        split_column: Column with ``train``, ``val`` or ``test``.
        low: Lowest score of the scale; default the lowest score in the file.
        high: Highest score of the scale; default the highest score in the file.
        higher_is_better: False for scores such as DMOS, where low is good.
        name: Name of the data set; default the file's name.

    Raises:
        DatasetError: The file, a column or an image is missing, a score is no number or off the scale, all scores
            are equal.
    """
    folder = find_root(root, "table")
    file = folder / labels if (folder / labels).exists() else Path(labels)
    columns = [c for c in (path_column, score_column, reference_column, split_column) if c is not None]
    table = read_arrays(file, columns)
    scores = parse_numbers(file, score_column, table[score_column], table[path_column])
    stated = low is not None and high is not None
    low = float(scores.min()) if low is None else low
    high = float(scores.max()) if high is None else high
    if not -np.inf < low < high < np.inf:
        raise DatasetError(
            f"{file}: column {score_column!r} spans {low:g}..{high:g}, which is no scale; "
            "give differing scores, or low and high of the scale they are on"
        )
    return ImageTable(
        name=name or file.stem,
        root=folder,
        files=match_files(CaseFolder(folder), table[path_column], listed_in=str(file)),
        scores=scores,
        scale=ScoreScale("MOS" if higher_is_better else "DMOS", low, high, higher_is_better, stated=stated),
        references=table[reference_column] if reference_column is not None else None,
        parts=table[split_column] if split_column is not None else None,
        source=f"{file.name}, column {score_column!r}",
    )
