"""Custom ratings: a CSV file of image paths and scores."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lml_iqa.datasets.layout.case_folder import CaseFolder
from lml_iqa.datasets.layout.files import find_root, match_files
from lml_iqa.datasets.readers.decimals import parse_numbers
from lml_iqa.datasets.readers.ratings import read_arrays
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.table import ImageTable
from lml_iqa.errors import ConfigError, DatasetError


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
) -> ImageTable:
    r"""Read a CSV with one rated image per row.

    The file has a header row; columns are separated by comma, semicolon, tab or ``|``; the decimal separator is a point
    or, unless commas separate the columns, a comma. The encoding is UTF-8, or UTF-16 or UTF-32 with a byte order mark.
    Paths may be absolute, use ``/`` or ``\``, and differ from the files on disk in letter case and Unicode composition.
    Ambiguous input is an error.

    Args:
        root: Folder that the paths in the CSV are relative to.
        labels: The CSV file. A relative path is resolved against ``root``, then against the current folder.
        path_column: Column of the images' paths.
        score_column: Column of the scores.
        reference_column: Column of the reference images' names: all images of a reference are in the same set of a
            split. See :func:`~lml_iqa.datasets.splits.reference_key` for spellings that count as equal.
        split_column: Column with ``train``, ``val`` or ``test``.
        low: Lowest score of the scale; default the lowest score in the file.
        high: Highest score of the scale; default the highest score in the file.
        higher_is_better: False for scores such as DMOS, where lower is better.

    Raises:
        DatasetError: The file, a column or an image is missing, a row is ambiguous, a score is not a number or off the
            scale, or all scores are equal.
        ConfigError: An option has the wrong type.
    """
    for option, column, needed in (
        ("path_column", path_column, True),
        ("score_column", score_column, True),
        ("reference_column", reference_column, False),
        ("split_column", split_column, False),
    ):
        if not (isinstance(column, str) and column) and (needed or column is not None):
            raise ConfigError(f"{option}={column!r} is not a column name; give one from the header of {labels}")
    if not isinstance(higher_is_better, bool):
        raise ConfigError(f"higher_is_better={higher_is_better!r} must be True or False")
    for option, limit in (("low", low), ("high", high)):
        if isinstance(limit, bool) or not isinstance(limit, (int, float, np.number, type(None))):
            raise ConfigError(f"{option}={limit!r} must be a number, in the units of the scores")
    folder = find_root(root, "table")
    file = Path(labels).expanduser()
    file = folder / file if os.path.lexists(folder / file) else file
    columns = [c for c in (path_column, score_column, reference_column, split_column) if c is not None]
    table = read_arrays(file, columns)
    scores = parse_numbers(file, score_column, table[score_column], table[path_column])
    stated = low is not None and high is not None
    low = float(scores.min()) if low is None else low
    high = float(scores.max()) if high is None else high
    if not -np.inf < low < high < np.inf:
        raise DatasetError(
            f"{file}: column {score_column!r} spans {low:g}..{high:g}, which is not a valid scale; "
            "give scores that differ, or set low and high of their scale"
        )
    return ImageTable(
        name=file.stem,
        root=folder,
        files=match_files(CaseFolder(folder), table[path_column], listed_in=str(file)),
        scores=scores,
        scale=ScoreScale("MOS" if higher_is_better else "DMOS", low, high, higher_is_better, stated=stated),
        references=table[reference_column] if reference_column is not None else None,
        parts=table[split_column] if split_column is not None else None,
        source=f"{file.name}, column {score_column!r}",
    )
