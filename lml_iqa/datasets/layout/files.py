"""Match of the file names in a label file to the files on disk; a missing file is an error."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.layout.case_folder import CaseFolder, entries_of
from lml_iqa.datasets.layout.listed_paths import ListedPaths
from lml_iqa.datasets.readers.columns import BLOCK, TextColumn
from lml_iqa.datasets.readers.text import is_utf8, not_utf8
from lml_iqa.errors import DatasetError, first_few
from lml_iqa.utils.files import printable


def find_root(root: str | Path, dataset: str) -> Path:
    """Check the root folder of a data set.

    Args:
        root: The folder; ``~`` is expanded.
        dataset: Name of the data set, for the message.

    Raises:
        DatasetError: ``root`` does not exist or is a file.
    """
    try:
        folder = Path(root).expanduser()
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"{dataset}: the folder {folder} does not exist; set data.root to the folder of the data set"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no home folder of that user
        raise DatasetError(
            f"{dataset}: the folder {str(root)!r} cannot be read ({error}); set data.root to the folder of the data set"
        ) from error
    if not is_folder:
        raise DatasetError(
            f"{dataset}: {folder} is a file; set data.root to the folder of the data set (unpack an archive first)"
        )
    return folder


def contents(folder: Path) -> str:
    """First few names in a folder, for a message."""
    return ", ".join(entry.name for entry in entries_of(folder)[:8]) or "nothing"


def match_files(folder: CaseFolder, names: Sequence[str] | NDArray[np.str_], *, listed_in: str) -> NDArray[np.str_]:
    """Match the file names in a label file to the files on disk.

    Names are paths below the folder, relative or absolute. Absolute paths from another machine are accepted if all of
    them begin with the same folder, which does not exist here, and files are found for only one way to replace it.

    Args:
        folder: The data set's folder.
        names: Paths as spelled in the label file.
        listed_in: The label file, for messages.

    Returns:
        (n,) POSIX paths relative to the folder, spelled as on disk, in the order of ``names``.

    Raises:
        DatasetError: A listed file does not exist, is outside the folder, or is one of several that differ only in
            spelling.
    """
    names = np.asarray(names, dtype=np.str_)
    found = TextColumn(len(names))
    missing: list[str] = []
    try:
        paths = ListedPaths(folder, names)
        for start in range(0, len(names), BLOCK):
            block: list[str] = names[start : start + BLOCK].tolist()
            files = [folder.find_file(paths.relative(name)) for name in block]
            missing += [name for name, file in zip(block, files, strict=True) if file is None]
            found.extend([file or "" for file in files])
    except DatasetError as error:
        raise DatasetError(f"{listed_in}: {error}") from error
    if missing:
        message = (
            f"{listed_in} lists {len(missing)} of {len(names)} images that are not in {folder.root}: "
            f"{first_few([printable(name) for name in missing])}"
        )
        if not all(map(is_utf8, missing)):
            raise not_utf8(message)
        raise DatasetError(f"{message}; unpack the data set again, or remove their rows")
    return found.array()
