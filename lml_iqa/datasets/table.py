"""Common table of all data sets: one row per rated image."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.readers.columns import BLOCK
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import DatasetError, first_few
from lml_iqa.images.read import read_image
from lml_iqa.images.resized import ResizedImages


class ImageSource(Protocol):
    """Source of a table's images if they are not files in its folder.

    Attributes:
        packing: Unique ID of this set of images; part of the cache key of resized copies.
    """

    packing: str

    def image(self, row: int, name: str) -> bytes:
        """Content of the image file of a row.

        Args:
            row: Row number.
            name: Name of the image in the table.

        Raises:
            DatasetError: The image cannot be read.
        """


@dataclass(frozen=True, eq=False)
class ImageTable:
    """One row per rated image. Columns are NumPy arrays, so worker processes share them without copies.

    Attributes:
        name: Name of the data set.
        root: Folder that ``files`` are relative to.
        files: (n,) POSIX paths relative to ``root``, as they are on disk.
        scores: (n,) float64 scores in native units.
        scale: Range and direction of ``scores``.
        references: (n,) name of each image's reference image; None for authentic data sets.
        types: (n,) distortion type of each image, or None.
        levels: (n,) int64 distortion level of each image, or None.
        parts: (n,) set of each image in the official split, ``"train"``, ``"val"``, ``"test"`` or ``""`` (none), or
            None.
        ids: (n,) name of each image, independent of the folder layout; splits are made from these names and stored
            with them. Default ``files``.
        resized: Cache of resized images; None to read the images at their original size.
        shards: Source of the images if they are packed into large files instead of stored in ``root``.
        source: Layout and label file that the table was read from; written to logs and checkpoints.
        rated: False for unrated images, which can only be scored; their ``scores`` are NaN.

    Raises:
        DatasetError: Columns of unequal length, no rows, a file listed twice, a score that is not finite or off the
            scale, or an unknown set in ``parts``.
    """

    name: str
    root: Path
    files: NDArray[np.str_]
    scores: NDArray[np.float64]
    scale: ScoreScale
    references: NDArray[np.str_] | None = None
    types: NDArray[np.str_] | None = None
    levels: NDArray[np.int64] | None = None
    parts: NDArray[np.str_] | None = None
    ids: NDArray[np.str_] = field(default_factory=lambda: np.array([], dtype=np.str_), kw_only=True)
    resized: ResizedImages | None = field(default=None, kw_only=True)
    shards: ImageSource | None = field(default=None, kw_only=True)
    source: str = field(default="", kw_only=True)
    rated: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if len(self.files) == 0:
            raise DatasetError(f"{self._where}: the table has no rows; give a label file with at least one rated image")
        if len(self.ids) == 0:
            object.__setattr__(self, "ids", self.files)
        for column in ("scores", "references", "types", "levels", "parts", "ids"):
            values = getattr(self, column)
            if values is not None and len(values) != len(self.files):
                raise DatasetError(f"{self._where}: {len(self.files)} files but {len(values)} {column}")
        if self.rated:
            self._check_scores()
        self._refuse_repeated(self.ids, self.order)
        if self.ids is not self.files:
            self._refuse_repeated(self.files, np.argsort(self.files, kind="stable"))
        if self.parts is not None:
            known = [self.parts == part for part in ("train", "val", "test", "")]
            self._refuse(
                ~np.logical_or.reduce(known),
                "belongs to an unknown set of the split",
                'name the sets "train", "val" and "test" (empty: none)',
            )

    def _refuse_repeated(self, names: NDArray[np.str_], order: NDArray[np.int64]) -> None:
        repeated = np.zeros(len(names), dtype=bool)
        for start in range(0, len(names), BLOCK):
            rows = order[start : start + BLOCK + 1]  # one more: the last name is compared with the next block's first
            repeated[rows[:-1][names[rows[:-1]] == names[rows[1:]]]] = True
        self._refuse(repeated, "is listed more than once", "keep one row per image (average its scores)")

    def _check_scores(self) -> None:
        self._refuse(~np.isfinite(self.scores), "has a score that is not a finite number", "correct or remove the row")
        off = (self.scores < self.scale.low) | (self.scores > self.scale.high)
        self._refuse(
            off,
            f"has a score outside the scale {self.scale.low:g}..{self.scale.high:g} of this {self.scale.name}",
            "correct the score, or set the scale of the scores",
        )

    def __len__(self) -> int:
        return len(self.files)

    @property
    def _where(self) -> str:
        return f"{self.name} in {self.root} ({self.source})" if self.source else f"{self.name} in {self.root}"

    def _refuse(self, bad: NDArray[np.bool_], what: str, cure: str) -> None:
        if bad.any():
            rows = [f"{self.files[row]} (score {self.scores[row]:g})" for row in np.flatnonzero(bad)]
            raise DatasetError(f"{self._where}: {first_few(rows)} {what}; {cure}")

    def path(self, row: int) -> Path:
        """Absolute path of one row's image."""
        return self.root / str(self.files[row])

    def facts(self, row: int) -> dict[str, Any]:
        """``path`` of one row's image, and its ``reference``, ``type`` and ``level`` if the data set has them."""
        columns = {"path": self.files, "reference": self.references, "type": self.types, "level": self.levels}
        return {name: values[row].item() for name, values in columns.items() if values is not None}

    def content(self, row: int) -> bytes:
        """Content of one row's image file.

        Raises:
            DatasetError: The image is not in the shards, or they cannot be read.
            OSError: There are no shards, and the file cannot be read.
        """
        if self.shards is None:
            return self.path(row).read_bytes()
        return self.shards.image(row, str(self.files[row]))

    def size(self, row: int) -> int:
        """Size of one row's image file in bytes; reads the image if it is in shards."""
        return self.path(row).stat().st_size if self.shards is None else len(self.content(row))

    def read(self, row: int) -> NDArray[np.uint8]:
        """Decode one row's image to (H, W, 3) RGB, resized if the table is.

        Raises:
            ImageReadError: See :func:`~lml_iqa.images.read.read_image`.
            DatasetError: The image is not in the shards, or they cannot be read.
        """
        path = self.path(row)
        if self.shards is None:
            return read_image(path) if self.resized is None else self.resized.read(path)

        def decode() -> NDArray[np.uint8]:
            return read_image(path, io.BytesIO(self.content(row)))

        return decode() if self.resized is None else self.resized.keep(f"{self.shards.packing} {row}", path, decode)

    def shrunk(self, resized: ResizedImages) -> ImageTable:
        """Copy of the table with resized images; columns are shared and not checked again."""
        table = copy.copy(self)
        object.__setattr__(table, "resized", resized)
        return table

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(n,) rows in the order of their ids. Cached: sorting the names dominates the loading time of large tables."""
        return np.argsort(self.ids, kind="stable")

    def sorted_ids(self, rows: NDArray[np.int64]) -> Iterator[list[str]]:
        """Sorted ids of some rows, in blocks: millions of Python strings at a time would take gigabytes.

        Args:
            rows: (m,) row numbers, each once.
        """
        for block in _blocks(self._sorted(rows)):
            yield self.ids[block].tolist()

    def digest(self, rows: NDArray[np.int64] | None = None) -> str:
        """SHA-256 (hex) of ids, scores and references; independent of row order and folder.

        Args:
            rows: (m,) row numbers to hash, in any order; default all rows. The digest equals that of a table with only
                these rows.
        """
        return self._digest if rows is None else self._hash(self._sorted(rows))

    @cached_property
    def _digest(self) -> str:
        return self._hash(self.order)

    def _hash(self, rows: NDArray[np.int64]) -> str:
        hasher = hashlib.sha256()
        for block in _blocks(rows):
            references = [""] * len(block) if self.references is None else self.references[block].tolist()
            columns = self.ids[block].tolist(), self.scores[block].astype(np.float64).tolist(), references
            lines = (f"{name}\t{score!r}\t{reference}\n" for name, score, reference in zip(*columns, strict=True))
            hasher.update("".join(lines).encode("utf-8", "surrogateescape"))
        return hasher.hexdigest()

    def _sorted(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows without duplicates, in the order of their ids."""
        wanted = np.zeros(len(self), dtype=bool)
        wanted[rows] = True
        return self.order[wanted[self.order]]


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]
