"""Lookup of files regardless of letter case and Unicode composition."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from lml_iqa.datasets.readers.text import from_windows, is_utf8
from lml_iqa.errors import DatasetError
from lml_iqa.utils.files import printable

_DEPTH = 2  # levels below the given folder


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, sorted by name; empty if the folder does not exist or cannot be read."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []


def folders_by_level(root: Path) -> Iterator[list[Path]]:
    """Folders in which a data set is looked for: the given one, then those one and two levels below, without hidden."""
    level = [root]
    for _ in range(_DEPTH + 1):
        yield level
        level = [folder / e.name for folder in level for e in entries_of(folder) if e.is_dir() and e.name[0] != "."]


def spelling_key(name: str) -> str:
    """Key that is equal for names differing only in case or Unicode composition (macOS stores ``é`` decomposed)."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


class CaseFolder:
    """A folder with file lookup regardless of letter case and Unicode composition.

    Label files and unpacked archives often differ in the case of file names (``I01.BMP``, ``i01.bmp``). Each folder is
    listed once.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, dict[str, list[str]]] = {}
        self._folders = {"."}  # all folders seen so far, as POSIX paths relative to root

    def find(self, name: str) -> str | None:
        """POSIX path of a file or folder relative to ``root``, spelled as on disk; None if it does not exist.

        Raises:
            DatasetError: Several entries differ only in spelling and none matches ``name`` exactly, or ``..`` follows a
                linked folder.
        """
        parts: list[str] = []
        for part in name.split("/"):
            actual = "/".join(parts) or "."
            if part in {"", "."}:
                continue
            if part == ".." and parts and parts[-1] != "..":
                if actual not in self._folders:
                    return None
                if (self.root / actual).is_symlink():
                    raise DatasetError(
                        f"{printable(name)!r} leaves the linked folder {self.root / actual} by '..'; "
                        "write the path without '..'"
                    )
                parts.pop()
                continue
            if part == "..":
                parts.append(part)
                continue
            spellings = self._listing(actual).get(spelling_key(part), [])
            if part in spellings or len(spellings) == 1:
                parts.append(part if part in spellings else spellings[0])
            elif not spellings:
                return None
            else:
                # Composed and decomposed letters look identical, so show their codes.
                alike = len({unicodedata.normalize("NFC", spelling) for spelling in spellings}) < len(spellings)
                shown = f"[{', '.join((ascii if alike else repr)(spelling) for spelling in sorted(spellings))}]"
                raise DatasetError(
                    f"{name!r} could be any of {shown} in {self.root / actual}; "
                    "rename the correct file exactly as listed"
                )
        return "/".join(parts) or "."

    def find_file(self, name: str) -> str | None:
        """POSIX path of a file relative to ``root``, see :meth:`find`; None for a folder.

        If no file has that name, surrounding spaces are stripped, backslashes read as separators, and names that are
        not UTF-8 decoded as Windows-1252.
        """
        for spelling in _spellings(name):
            found = self.find(spelling)
            if found is not None and found not in self._folders:
                return found
        return None

    def _listing(self, directory: str) -> dict[str, list[str]]:
        if directory not in self._listings:
            entries: dict[str, list[str]] = {}
            for entry in entries_of(self.root / directory):
                entries.setdefault(spelling_key(entry.name), []).append(entry.name)
                if _is_folder(entry):
                    self._folders.add(entry.name if directory == "." else f"{directory}/{entry.name}")
            self._listings[directory] = entries
        return self._listings[directory]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _spellings(name: str) -> Iterator[str]:
    yield name
    plain = name.strip()
    if plain != name:
        yield plain
    if "\\" in plain:
        yield plain.replace("\\", "/")
    if not is_utf8(plain) and is_utf8(from_windows(plain)):
        yield from _spellings(from_windows(plain))
