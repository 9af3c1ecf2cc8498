"""Disk cache of images resized to a smaller size."""

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

_RECIPE = "2"  # part of the cache key; change it when reading or shrinking changes


@dataclass(frozen=True)
class ResizedImages:
    """Images resized to a short side once and cached on disk.

    Copies are lossless, so scores do not depend on the state of the cache. The cache key includes the image's path,
    size and modification time, so a changed image gets a new copy. Any number of processes and nodes may share the
    folder; a process that is killed leaves no incomplete copy, at most an unused ``.tmp`` file.

    Attributes:
        short_side: Target of the smaller of height and width for larger images, in pixels; >= 1.
        cache: Folder of the copies, created on the first write. ``~`` is expanded.

    Raises:
        ValueError: ``short_side`` is below 1.
    """

    short_side: int
    cache: Path

    def __post_init__(self) -> None:
        if self.short_side < 1:
            raise ValueError(f"short_side is {self.short_side}; give a number of pixels, 1 or more")

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Decode one image at the smaller size, from its copy if there is one.

        Args:
            path: Image file. Images that are small enough are not copied.

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
            return shrink(read_image(path), self.short_side)  # raises an error that explains the problem
        return self.keep(f"{status.st_size} {status.st_mtime_ns} {source}", path, lambda: read_image(path))

    def keep(self, identity: str, path: Path, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Variant of :meth:`read` for images that are not files.

        Args:
            identity: Cache key; changes when the image content changes.
            path: Name of the image in messages.
            decode: Function that decodes the image if there is no copy.
        """
        origin = f"{_RECIPE} {self.short_side} {identity}"
        key = hashlib.sha256(os.fsencode(origin)).hexdigest()
        copy = self.cache.expanduser() / key[:2] / f"{key}.png"
        try:
            if copy.is_file():
                try:
                    return read_image(copy)
                except ImageReadError as error:
                    _log.warning("the resized copy of %s is damaged and will be replaced: %s", path, error)
            image = decode()
            smaller = shrink(image, self.short_side)
            if smaller is not image:
                _write(smaller, copy)
            return smaller
        except OSError as error:
            raise DatasetError(
                f"{copy.parents[1]}: cannot keep a resized copy of {path} ({error.strerror or error}); "
                "set data.cache to another folder, or leave out data.short_side"
            ) from error


def shrink(image: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Resize an image to a short side, keeping its aspect ratio; smaller images are returned unchanged.

    The filter is antialiased Lanczos, which of Pillow's filters preserves the most fine detail and aliases least.

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
    """Write a file atomically: to a temporary name, synced to disk, then renamed."""
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
