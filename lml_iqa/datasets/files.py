"""Finding files by name without regard to case, and loudly when one is missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.columns import BLOCK, TextColumn
from lml_iqa.datasets.errors import DatasetError, first_few


def find_root(root: str | Path, dataset: str) -> Path:
    """Check the folder that a user gave for a data set.

    Args:
        root: The folder; ``~`` is expanded.
        dataset: Name of the data set, for the message.

    Raises:
        DatasetError: ``root`` does not exist or is a file.
    """
    folder = Path(root).expanduser()
    if not folder.exists():
        raise DatasetError(f"{dataset}: the folder {folder} does not exist; set data.root to where the data set lies")
    if not folder.is_dir():
        raise DatasetError(
            f"{dataset}: {folder} is a file; set data.root to the folder of the data set (unpack an archive first)"
        )
    return folder


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name; nothing where there is no folder, or one that may not be read."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def contents(folder: Path) -> str:
    """The first few names in a folder, for a message."""
    return ", ".join(entry.name for entry in entries_of(folder)[:8]) or "nothing"


class CaseFolder:
    """A folder whose files are found without regard to case.

    Archives unpacked on different systems disagree with their label lists about case (``I01.BMP``, ``i01.bmp``), so a
    plain join fails on half of them. Each folder is listed once.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, dict[str, list[str]]] = {}
        self._folders = {"."}  # all folders met, as POSIX paths relative to root

    def find(self, name: str) -> str | None:
        """POSIX path relative to ``root`` of a file or folder, spelled as it is on disk; None where there is none.

        Raises:
            DatasetError: Several entries differ only by case and none is spelled as ``name``.
        """
        actual = "."
        for part in name.split("/"):
            if part in {"", "."}:
                continue
            if part == "..":
                actual = f"{actual}/.."
                continue
            spellings = self._listing(actual).get(part.casefold(), [])
            if not spellings:
                return None
            if part not in spellings and len(spellings) > 1:
                raise DatasetError(
                    f"{name!r} could be any of {sorted(spellings)} in {self.root / actual}; "
                    "rename the file that is meant exactly as listed"
                )
            spelled = part if part in spellings else spellings[0]
            actual = spelled if actual == "." else f"{actual}/{spelled}"
        return actual

    def find_file(self, name: str) -> str | None:
        """As :meth:`find`, but None for a folder."""
        found = self.find(name)
        return None if found in self._folders else found

    def _listing(self, directory: str) -> dict[str, list[str]]:
        if directory not in self._listings:
            entries: dict[str, list[str]] = {}
            for entry in entries_of(self.root / directory):
                entries.setdefault(entry.name.casefold(), []).append(entry.name)
                if entry.is_dir():
                    self._folders.add(entry.name if directory == "." else f"{directory}/{entry.name}")
            self._listings[directory] = entries
        return self._listings[directory]


def match_files(folder: CaseFolder, names: Sequence[str] | NDArray[np.str_], *, listed_in: str) -> NDArray[np.str_]:
    """Match the names of a label list to the files on disk.

    Args:
        folder: The data set's folder.
        names: Paths relative to it, as the label list spells them.
        listed_in: The label file, for the message.

    Returns:
        (n,) POSIX paths relative to the folder, spelled as they are on disk, in the order of ``names``.

    Raises:
        DatasetError: A listed file does not exist, points outside the folder, or is one of several that differ only by
            case.
    """
    names = np.asarray(names, dtype=np.str_)
    found = TextColumn(len(names))
    missing: list[str] = []
    for start in range(0, len(names), BLOCK):
        block: list[str] = names[start : start + BLOCK].tolist()
        outside = [name for name in block if ".." in name.split("/") or Path(name).is_absolute()]
        if outside:
            raise DatasetError(
                f"{listed_in}: {outside[0]!r} points outside the data set; list paths below {folder.root}"
            )
        try:
            paths = [folder.find_file(name) for name in block]
        except DatasetError as error:
            raise DatasetError(f"{listed_in}: {error}") from error
        missing += [name for name, path in zip(block, paths, strict=True) if path is None]
        found.extend([path or "" for path in paths])
    if missing:
        raise DatasetError(
            f"{listed_in} lists {len(missing)} of {len(names)} images that are not in {folder.root}: "
            f"{first_few(missing)}; unpack the data set again, or remove their rows"
        )
    return found.array()
