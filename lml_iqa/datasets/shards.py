"""Data sets packed into a few large files with random access, on disk or in object storage."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.table import ImageTable
from lml_iqa.errors import DatasetError

if TYPE_CHECKING:
    from litdata import StreamingDataset

_COLUMNS = ("files", "scores", "references", "types", "levels", "parts", "ids")
_TABLE = "table.npz"  # name of item 0; item i + 1 is the image of row i


def pack(table: ImageTable, folder: str | Path, *, shard_bytes: int = 1 << 26) -> None:
    """Pack a data set into shards.

    Image files are stored byte for byte, so the decoded pixels are identical.

    Args:
        table: The data set.
        folder: Folder of the shards, new or empty.
        shard_bytes: Size of a shard; a larger item gets a shard of its own.

    Raises:
        DatasetError: The folder is not empty or not writable, an image cannot be read, or litdata is not installed.
    """
    folder = Path(folder).expanduser()
    _require_litdata()
    from litdata.streaming import Cache

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DatasetError(f"{folder}: not empty; give a new folder for the shards, or clear this one")
        warnings.filterwarnings("ignore", "An item was larger than the target chunk size")  # expected, see shard_bytes
        writer = Cache(str(folder), chunk_bytes=shard_bytes)
        writer[0] = (_TABLE.encode(), _packed_columns(table))
        for row in tqdm(range(len(table)), desc="packing", unit="image", disable=None):
            writer[row + 1] = (_encoded(str(table.files[row])), table.content(row))
        writer.done()
        writer.merge()
    except OSError as error:
        raise DatasetError(
            f"{error.filename or folder}: {error.strerror or error}, while packing {table.name} into {folder}; "
            "fix the cause, clear the folder, and pack again"
        ) from error


def load_shards(place: str | Path) -> ImageTable:
    """Read the table of a data set packed by :func:`pack`; images are read on access.

    Args:
        place: Folder of the shards, or an address that litdata reads (``s3://bucket/folder``).

    Raises:
        DatasetError: There are no shards, or they cannot be read; litdata is not installed.
    """
    shards = Shards(str(place) if "://" in str(place) else str(Path(place).expanduser()))
    with np.load(io.BytesIO(shards.table()), allow_pickle=False) as packed:
        facts = json.loads(str(packed["facts"]))
        columns: dict[str, Any] = {name: packed[name] for name in packed.files if name != "facts"}
    for name, column in columns.items():
        if column.dtype.kind == "S":
            columns[name] = np.char.decode(column, "utf-8", "surrogateescape")
    if "ids" not in columns:
        columns["ids"] = columns["files"]
    shards.packing = facts.pop("packing")
    scale = ScoreScale(**facts.pop("scale"))
    return ImageTable(root=Path(shards.place), scale=scale, shards=shards, **columns, **facts)


class Shards:
    """Images of a packed data set.

    litdata reads only the bytes of the requested image, from a folder or by a range request to object storage. Each
    process opens a separate reader on first use.

    Args:
        place: Folder or address.

    Attributes:
        packing: Unique ID of this set of images.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.packing = ""
        self._reader: tuple[int, StreamingDataset] | None = None

    def table(self) -> bytes:
        """Content of the packed columns.

        Raises:
            DatasetError: There are no shards at this address, or they cannot be read.
        """
        return self._item(0, _TABLE)

    def image(self, row: int, name: str) -> bytes:
        """Content of one row's image file.

        Args:
            row: Row number.
            name: Name of the image in the table.

        Raises:
            DatasetError: The shards cannot be read, or contain another image in this row.
        """
        return self._item(row + 1, name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def _item(self, number: int, name: str) -> bytes:
        try:
            found, content = self._open()[number]
        except Exception as error:  # litdata does not wrap the errors of damaged files
            raise DatasetError(
                f"{self.place}: cannot read {name} from the shards ({type(error).__name__}: {str(error)[:200]}); "
                "give a complete folder written by `lml-iqa data shard`, copy it again, or pack again"
            ) from error
        if found != _encoded(name):
            raise DatasetError(
                f"{self.place}: the shards contain {bytes(found)[:80]!r} instead of {name}: they are mixed from "
                "several packings, or damaged; copy them again, or pack again"
            )
        return bytes(content)

    def _open(self) -> StreamingDataset:
        _require_litdata()
        from litdata import StreamingDataset

        if self._reader is None or self._reader[0] != os.getpid():  # a forked process must not share file positions
            self._reader = os.getpid(), StreamingDataset(self.place)
        return self._reader[1]


def _packed_columns(table: ImageTable) -> bytes:
    facts = {
        "name": table.name,
        "source": table.source,
        "rated": table.rated,
        "scale": dataclasses.asdict(table.scale),
        "packing": uuid.uuid4().hex,
    }
    columns: dict[str, Any] = {"facts": json.dumps(facts)}
    for name in _COLUMNS:
        column = getattr(table, name)
        if column is None or (name == "ids" and table.ids is table.files):
            continue
        columns[name] = np.char.encode(column, "utf-8", "surrogateescape") if column.dtype.kind == "U" else column
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **columns)
    return packed.getvalue()


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _require_litdata() -> None:
    try:
        import litdata  # noqa: F401
    except ImportError as error:
        raise DatasetError(f'shards need litdata ({error}): pip install "lml-iqa[litdata]"') from error
