"""Finding the files that a label list names: without regard to case, and loudly when one is missing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.errors import DatasetError

_SHOWN = 5


def find_root(root: str | Path, required: Sequence[str], dataset: str) -> Path:
    """Check that a data set's folder holds what it must hold.

    Args:
        root: Folder given by the user.
        required: Files or folders, relative to ``root``, that the layout cannot do without.
        dataset: Name of the data set, for the message.

    Raises:
        DatasetError: ``root`` is missing, is a file, or lacks one of ``required``.
    """
    folder = Path(root).expanduser()
    if not folder.exists():
        raise DatasetError(f"{dataset}: the folder {folder} does not exist; set data.root to where the data set lies")
    if not folder.is_dir():
        raise DatasetError(f"{dataset}: {folder} is a file; set data.root to the folder of the data set")
    missing = [name for name in required if not (folder / name).exists()]
    if missing:
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        raise DatasetError(
            f"{dataset}: {folder} lacks {', '.join(repr(m) for m in missing)} (found: {found}); "
            "set data.root to the folder that holds them"
        )
    return folder


def match_files(root: Path, folder: str, names: Iterable[str], *, listed_in: str) -> NDArray[np.str_]:
    """Match the names of a label list to the files on disk, without regard to case.

    Archives unpacked on different systems disagree with their label lists about case (``I01.BMP``, ``i01.bmp``), so a
    plain join fails on half of them.

    Args:
        root: Root of the data set.
        folder: Folder below ``root`` that the names are relative to; ``"."`` for the root itself.
        names: Paths relative to ``folder``, as the label list spells them.
        listed_in: The label file, for the message.

    Returns:
        (n,) POSIX paths relative to ``root``, spelled as they are on disk, in the order of ``names``.

    Raises:
        DatasetError: A listed file does not exist, or two files differ only by case and the list spells neither.
    """
    listings: dict[Path, dict[str, list[str]]] = {}
    folders = {root}

    def listing(directory: Path) -> dict[str, list[str]]:
        if directory not in listings:
            entries: dict[str, list[str]] = {}
            if directory.is_dir():
                for entry in os.scandir(directory):
                    entries.setdefault(entry.name.casefold(), []).append(entry.name)
                    if entry.is_dir():
                        folders.add(directory / entry.name)
            listings[directory] = entries
        return listings[directory]

    def resolve(name: str) -> str | None:
        parts = Path(folder, name).parts
        if ".." in parts or Path(name).is_absolute():
            raise DatasetError(f"{listed_in}: {name!r} points outside the data set; list paths below {root / folder}")
        actual = Path()
        for part in parts:
            spellings = listing(root / actual).get(part.casefold(), [])
            if part in spellings:
                actual /= part
            elif len(spellings) == 1:
                actual /= spellings[0]
            elif spellings:
                raise DatasetError(
                    f"{listed_in}: {name!r} could be any of {sorted(spellings)} in {root / actual}; "
                    "rename the file that is meant exactly as listed"
                )
            else:
                return None
        return None if root / actual in folders else actual.as_posix()

    names = list(names)
    found = [resolve(name) for name in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DatasetError(
            f"{listed_in} lists {len(missing)} of {len(names)} images that are not in {root / folder}: "
            f"{', '.join(missing[:_SHOWN])}{more}; unpack the data set again, or remove their rows"
        )
    return np.array(found, dtype=np.str_)
