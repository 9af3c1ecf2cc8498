"""Folders of unrated images, for prediction."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from lml_iqa.datasets.layout.files import find_root
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.table import ImageTable
from lml_iqa.errors import DatasetError, first_few
from lml_iqa.images.formats import image_endings, unreadable_endings
from lml_iqa.utils.files import printable

_log = logging.getLogger(__name__)

# Folders of thumbnails, deleted files and backups made by file servers and operating systems, besides hidden ones.
_SYSTEM_FOLDERS = {
    *("#recycle", "#snapshot", "@eadir", "@__thumb", "@recently-snapshot", "@recycle", "@sharebin", "@tmp"),
    *("$recycle.bin", "recycled", "recycler", "system volume information"),
    *("__macosx", "lost+found", "network trash folder", "temporary items"),
}


class _Listing:
    """Result of a walk through a folder; paths are POSIX and relative to the folder."""

    def __init__(self) -> None:
        self.images: list[str] = []
        self.hidden: list[str] = []
        self.unreadable: defaultdict[str, list[str]] = defaultdict(list)  # by cure
        self.lost: list[str] = []  # broken links, folders without permission


def list_images(root: Path) -> list[str]:
    """Paths of all images below a folder, sorted by code points.

    Linked folders are followed, each real folder once. Hidden files and folders, and those made by file servers and
    operating systems (thumbnails, deleted files), are skipped and logged. Image files in unsupported formats are
    skipped with a warning.

    Args:
        root: The folder; it may be hidden itself.

    Returns:
        POSIX paths relative to ``root``.

    Raises:
        DatasetError: The folder has no readable image.
    """
    found = _walk(root)
    if found.hidden:
        names = first_few([printable(path) for path in sorted(found.hidden)])
        _log.info("%s: skipped %d hidden files and folders: %s", printable(root), len(found.hidden), names)
    skipped = []
    for cure, paths in sorted(found.unreadable.items()):
        names = first_few([printable(path) for path in sorted(paths)])
        skipped.append(f"{len(paths)} images of formats that cannot be read here ({names}); to score them, {cure}")
    if found.lost:
        names = first_few([printable(path) for path in sorted(found.lost)])
        skipped.append(f"{len(found.lost)} folders or links that cannot be opened ({names}); correct or remove them")
    if not found.images:
        hint = f" except {'. '.join(skipped)}" if skipped else "; give the folder that contains the images"
        raise DatasetError(f"{printable(root)}: no image files in this folder{hint}")
    for reason in skipped:
        rank_zero_warn(f"{printable(root)}: skipped {reason}")
    return sorted(found.images)


def load_folder(root: str | Path) -> ImageTable:
    """List all images below a folder as an unrated table.

    Raises:
        DatasetError: The folder does not exist or has no readable image.
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


def _walk(root: Path) -> _Listing:
    found = _Listing()
    folders, links = [""], list[str]()  # still to be walked; all but the root end with a slash
    seen: set[tuple[int, int]] = set()
    while folders or links:
        # Real folders first, so that the names of their images do not depend on links.
        prefix = folders.pop() if folders else links.pop(0)
        # Strings, because Path takes a second for 100,000 files.
        folder = f"{root}/{prefix}"
        try:
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    _place(entry, f"{prefix}{entry.name}", found, folders, links)
        except OSError:
            found.lost.append(prefix or ".")
    return found


def _place(entry: os.DirEntry[str], path: str, found: _Listing, folders: list[str], links: list[str]) -> None:
    """Add one entry of a folder to the result, or to the folders to be walked."""
    ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
    image = ending in image_endings()
    hidden = entry.name.startswith(".")
    if _is_folder(entry):
        if hidden or entry.name.lower() in _SYSTEM_FOLDERS:
            found.hidden.append(f"{path}/")
        else:
            (links if entry.is_symlink() else folders).append(f"{path}/")
    elif not image and ending not in unreadable_endings():
        return
    elif hidden:
        found.hidden.append(path)
    elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
        found.lost.append(path)
    elif not entry.is_file():  # a pipe or a device
        return
    elif image:
        found.images.append(path)
    else:
        found.unreadable[unreadable_endings()[ending]].append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False
