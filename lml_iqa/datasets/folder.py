"""A folder of photographs that nobody rated, to be scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lml_iqa.datasets.errors import DatasetError
from lml_iqa.datasets.files import find_root
from lml_iqa.datasets.table import ImageTable, ScoreScale

# Pillow knows these by name but decodes none of them by itself.
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


def image_endings() -> set[str]:
    """Endings of file names, with their dot and in lower case, that Pillow reads pictures from."""
    kinds = Image.registered_extensions()  # also loads all of Pillow's plugins, which fills Image.OPEN
    readable = (Image.OPEN.keys() | {"MPO"}) - _NO_PICTURES
    return {ending for ending, kind in kinds.items() if kind in readable}


def list_images(root: Path) -> list[str]:
    """POSIX paths, relative to ``root`` and sorted, of all files below it with an image's ending.

    Hidden files are passed over: the ``._name.jpg`` that macOS leaves in archives hold no picture.

    Raises:
        DatasetError: There is none.
    """
    endings = image_endings()
    found = sorted(
        p.relative_to(root).as_posix()
        for p in root.rglob("*")
        if p.suffix.lower() in endings and not p.name.startswith(".") and p.is_file()
    )
    if not found:
        raise DatasetError(f"{root}: no image files in this folder; give the folder that holds the photographs")
    return found


def load_folder(root: str | Path) -> ImageTable:
    """List all images below a folder as an unrated table.

    Raises:
        DatasetError: The folder does not exist or holds no image.
    """
    folder = find_root(root, "folder")
    files = np.array(list_images(folder), dtype=np.str_)
    return ImageTable(
        name=folder.resolve().name,
        root=folder,
        files=files,
        scores=np.full(len(files), np.nan),
        scale=ScoreScale("score", 0.0, 1.0),
        source="all images of the folder",
        rated=False,
    )
