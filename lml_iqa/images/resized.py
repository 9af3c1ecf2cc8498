"""Large photographs brought to a smaller size once, and kept on disk for every later epoch, process and run."""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lml_iqa.errors import DatasetError, ImageReadError
from lml_iqa.images.read import read_image

_log = logging.getLogger(__name__)

_RECIPE = "2"  # change it when reading or shrinking changes: it names the copies


@dataclass(frozen=True)
class ResizedImages:
    """Images brought to a short side, once, and kept on disk.

    Copies are lossless, so a score never depends on whether an image had been read before. A copy belongs to its
    image's path, size and time of change: a changed image gets a new one. Any number of processes and nodes may share
    the folder, and one that dies leaves no copy that is not whole (but perhaps a ``.tmp`` file, which nobody reads).

    Attributes:
        short_side: The smaller of height and width, in pixels, that larger images are brought to; >= 1.
        cache: Folder that keeps the copies; made when the first is written. ``~`` is expanded.

    Raises:
        ValueError: ``short_side`` is below 1.
    """

    short_side: int
    cache: Path

    def __post_init__(self) -> None:
        if self.short_side < 1:
            raise ValueError(f"short_side is {self.short_side}; give a number of pixels, 1 or more")

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Decode one image at its smaller size, from its copy where there is one.

        Args:
            path: Image file. One that is small enough is not copied.

        Returns:
            (H, W, 3) uint8 array, RGB; see :func:`shrink`.

        Raises:
            ImageReadError: See :func:`~lml_iqa.images.read.read_image`.
            DatasetError: The copy cannot be written.
        """
        try:
            source = path.resolve()
            status = source.stat()
        except (OSError, RuntimeError):  # RuntimeError: symbolic links in a circle
            return shrink(read_image(path), self.short_side)  # says what is wrong with the source
        return self.keep(f"{status.st_size} {status.st_mtime_ns} {source}", path, lambda: read_image(path))

    def keep(self, identity: str, path: Path, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """As :meth:`read`, for an image that comes from anywhere.

        Args:
            identity: What is another for another image, and for the same one changed.
            path: Its name in messages.
            decode: Gives the image, where there is no copy.
        """
        origin = f"{_RECIPE} {self.short_side} {identity}"
        key = hashlib.sha256(os.fsencode(origin)).hexdigest()
        copy = self.cache.expanduser() / key[:2] / f"{key}.png"
        try:
            if copy.is_file():
                try:
                    return read_image(copy)
                except ImageReadError as error:
                    _log.warning("the resized copy of %s is damaged and made anew: %s", path, error)
            image = decode()
            smaller = shrink(image, self.short_side)
            if smaller is not image:
                _write(smaller, copy)
            return smaller
        except OSError as error:
            raise DatasetError(
                f"{copy.parents[1]}: cannot keep a resized copy of {path} ({error.strerror or error}); "
                "give another folder with data.cache, or leave data.short_side out"
            ) from error


def shrink(image: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Bring an image's short side down to a size, its proportions kept; smaller images stay as they are.

    Lanczos, antialiased: of Pillow's filters it keeps most of the fine detail that quality is judged by and folds least
    of what is too fine back into the picture.

    Args:
        image: (H, W, 3) uint8.
        short_side: Pixels, >= 1.

    Returns:
        (H', W', 3) uint8 with min(H', W') = ``short_side`` and the other side rounded; or ``image`` itself.

    Raises:
        ValueError: ``short_side`` is below 1.
    """
    if short_side < 1:
        raise ValueError(f"short_side is {short_side}; give a number of pixels, 1 or more")
    height, width = image.shape[:2]
    shorter = min(height, width)
    if shorter <= short_side:
        return image
    size = (round(width * short_side / shorter), round(height * short_side / shorter))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _write(image: NDArray[np.uint8], copy: Path) -> None:
    """Write a file that is never seen half done: under another name first, whole on disk, then moved into place."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    temporary = copy.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            Image.fromarray(image).save(file, "PNG", compress_level=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(copy)
    finally:
        temporary.unlink(missing_ok=True)
