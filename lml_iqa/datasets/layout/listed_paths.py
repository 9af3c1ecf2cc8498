"""Conversion of the paths in a label file to paths relative to the data set's folder."""

from __future__ import annotations

import logging
import os
import posixpath
import re

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.layout.case_folder import CaseFolder
from lml_iqa.datasets.readers.columns import BLOCK
from lml_iqa.errors import DatasetError
from lml_iqa.utils.files import printable

_log = logging.getLogger(__name__)

_SEPARATORS = re.compile(r"[\\/]+")
_ABSOLUTE = re.compile(r"\s*(/|[A-Za-z]:[\\/]|\\\\)")  # POSIX, Windows drive, Windows share


class ListedPaths:
    r"""Converter of listed paths to paths relative to the data set's folder.

    Label files from another machine may contain absolute paths such as ``/home/ann/set/a.jpg`` or ``C:\set\a.jpg``.
    Their common prefix is removed with a warning if all paths begin with the same folder, none of them exists on this
    machine, and only one prefix leaves paths of files in the data set's folder.

    Args:
        folder: The data set's folder.
        names: (n,) all listed paths.

    Raises:
        DatasetError: Several prefixes of paths from another machine would leave paths of files.
    """

    def __init__(self, folder: CaseFolder, names: NDArray[np.str_]) -> None:
        self._folder = folder
        self._bases = [_posix(os.path.abspath(folder.root)), _posix(os.path.realpath(folder.root))]  # noqa: PTH100
        self._foreign = ""
        if len(names) and _ABSOLUTE.match(str(names[0])) and self._below(str(names[0])) is None:
            self._foreign = self._foreign_beginning(names)

    def relative(self, name: str) -> str:
        """The path relative to the folder.

        Raises:
            DatasetError: The path is outside the folder.
        """
        if _ABSOLUTE.match(name):
            below = name[len(self._foreign) :] if self._foreign else self._below(name)
            # On POSIX systems, a backslash or a colon may be part of a file name.
            below = name if below is None and not name.lstrip().startswith("/") and self._folder.find(name) else below
        else:
            below = None if ".." in name and _leaves(name) else name
        if below is None:
            raise DatasetError(f"{printable(name)!r} points outside the data set; list paths below {self._folder.root}")
        return below

    def _below(self, name: str) -> str | None:
        path = posixpath.normpath(_posix(name.strip()))
        path = f"/{path.lstrip('/')}" if path.startswith("/") else path
        real = _posix(os.path.realpath(posixpath.dirname(path)))
        for whole in (path, posixpath.join(real, posixpath.basename(path))):
            for base in self._bases:
                if whole.startswith(f"{base.rstrip('/')}/"):
                    return whole[len(base.rstrip("/")) + 1 :]
        return None

    def _foreign_beginning(self, names: NDArray[np.str_]) -> str:
        blocks = [names[start : start + BLOCK] for start in range(0, len(names), BLOCK)]
        # Not commonpath, which only handles the separators of one system.
        common = os.path.commonprefix([f(block.tolist()) for block in blocks for f in (min, max)])  # noqa: RUF071
        found = {common[: match.end()]: 0 for match in _SEPARATORS.finditer(common)}
        for block in blocks:
            for name in block.tolist():
                if os.path.lexists(name.strip()) or ".." in _SEPARATORS.split(name):
                    return ""
                for beginning in found:
                    found[beginning] += self._folder.find_file(name[len(beginning) :]) is not None
        ways = [beginning for beginning, count in found.items() if count]
        if len(ways) > 1:
            raise DatasetError(
                f"the paths are from another machine, and {printable(str(names[0]))!r} could be "
                f"{' or '.join(repr(printable(str(names[0])[len(way) :])) for way in ways)} in {self._folder.root}; "
                "list paths relative to that folder"
            )
        if ways:
            _log.warning("paths from another machine: %s is replaced by %s", printable(ways[0]), self._folder.root)
        return "".join(ways)


def _posix(path: str) -> str:
    return path.replace(os.sep, "/")


def _leaves(name: str) -> bool:
    """True if the path leaves its base folder through ``..``."""
    depth = 0
    for part in _SEPARATORS.split(name.strip()):
        depth += -1 if part == ".." else part not in {"", "."}
        if depth < 0:
            return True
    return False
