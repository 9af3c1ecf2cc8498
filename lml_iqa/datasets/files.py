"""Finding the files that a label list names, however it spells them; a missing one is an error."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.columns import BLOCK, TextColumn
from lml_iqa.datasets.errors import DatasetError, first_few
from lml_iqa.datasets.listed_paths import ListedPaths
from lml_iqa.datasets.text import from_windows, is_utf8, not_utf8
from lml_iqa.utils.files import printable


def find_root(root: str | Path, dataset: str) -> Path:
    """Check the folder that a user gave for a data set.

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
            f"{dataset}: the folder {folder} does not exist; set data.root to where the data set lies"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no home folder of that user
        raise DatasetError(
            f"{dataset}: the folder {str(root)!r} cannot be read ({error}); set data.root to where the data set lies"
        ) from error
    if not is_folder:
        raise DatasetError(
            f"{dataset}: {folder} is a file; set data.root to the folder of the data set (unpack an archive first)"
        )
    return folder


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, sorted by name; empty where there is no folder, or one that cannot be read."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []


def spelling_key(name: str) -> str:
    """Equal for names that differ only by letter case or Unicode composition (macOS writes ``é`` as two characters)."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def contents(folder: Path) -> str:
    """The first few names in a folder, for a message."""
    return ", ".join(entry.name for entry in entries_of(folder)[:8]) or "nothing"


class CaseFolder:
    """A folder whose files are found without regard to letter case and Unicode composition.

    Archives unpacked on different systems disagree with their label lists about the case of names (``I01.BMP``,
    ``i01.bmp``). Each folder is listed once.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, dict[str, list[str]]] = {}
        self._folders = {"."}  # all folders met, as POSIX paths relative to root

    def find(self, name: str) -> str | None:
        """POSIX path relative to ``root`` of a file or folder, spelled as on disk; None where there is none.

        Raises:
            DatasetError: Several entries differ only by spelling and none is spelled as ``name``, or ``..`` follows a
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
                # Composed and decomposed letters look alike: show their codes.
                alike = len({unicodedata.normalize("NFC", spelling) for spelling in spellings}) < len(spellings)
                shown = f"[{', '.join((ascii if alike else repr)(spelling) for spelling in sorted(spellings))}]"
                raise DatasetError(
                    f"{name!r} could be any of {shown} in {self.root / actual}; "
                    "rename the file that is meant exactly as listed"
                )
        return "/".join(parts) or "."

    def find_file(self, name: str) -> str | None:
        """As :meth:`find`, but None for a folder.

        Where there is no file of that name, it is looked for without spaces at the ends, with backslashes as
        separators, and, if it is not UTF-8, in Windows-1252.
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


def match_files(folder: CaseFolder, names: Sequence[str] | NDArray[np.str_], *, listed_in: str) -> NDArray[np.str_]:
    """Match the names of a label list to the files on disk.

    Names are paths below the folder, relative to it or absolute. Absolute paths from another machine are taken if all
    begin with one folder that does not exist here, and only one way to replace it by this folder finds files.

    Args:
        folder: The data set's folder.
        names: Paths as the label list spells them.
        listed_in: The label file, for messages.

    Returns:
        (n,) POSIX paths relative to the folder, spelled as on disk, in the order of ``names``.

    Raises:
        DatasetError: A listed file does not exist, is outside the folder, or is one of several that differ only by
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
