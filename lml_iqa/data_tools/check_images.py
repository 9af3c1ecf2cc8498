"""Checks of a data set's image files: unreadable files and duplicates."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lml_iqa.data_tools.findings import Finding
from lml_iqa.errors import DatasetError
from lml_iqa.images import read_image, read_size


def check_images(root: Path, present: Sequence[str], facts: dict[str, Any], *, decode: bool) -> Iterator[Finding]:
    """Find images that cannot be read, and files that are byte-for-byte copies.

    Args:
        root: The data set's folder.
        present: Paths of the images, relative to ``root``.
        facts: Updated with ``sizes``: the smallest, median and largest image.
        decode: Whether to decode every image; otherwise only the headers are read.
    """

    def measure(path: str) -> tuple[int, int] | DatasetError:
        try:
            return read_image(root / path).shape[:2] if decode else read_size(root / path)
        except DatasetError as error:
            return error

    # Pillow and hashlib release the GIL.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = list(_progress(pool.map(measure, present), "reading images", len(present)))
        broken = [(p, e) for p, e in zip(present, measured, strict=True) if isinstance(e, DatasetError)]
        same_size: defaultdict[int, list[str]] = defaultdict(list)
        for path in sorted(set(present) - {path for path, _ in broken}):
            same_size[(root / path).stat().st_size].append(path)
        candidates = [path for paths in same_size.values() if len(paths) > 1 for path in paths]
        digests = pool.map(lambda path: _digest(root / path), candidates)
        same: defaultdict[str, list[str]] = defaultdict(list)
        for path, digest in zip(candidates, _progress(digests, "comparing images", len(candidates)), strict=True):
            same[digest].append(path)
    sizes = np.array([size for size in measured if not isinstance(size, DatasetError)]).reshape(-1, 2)
    if len(sizes):
        by_pixels = sizes[np.argsort(sizes.prod(axis=1), kind="stable")]
        facts["sizes"] = {
            name: f"{by_pixels[place][1]}x{by_pixels[place][0]}"
            for name, place in (("smallest", 0), ("median", len(by_pixels) // 2), ("largest", -1))
        }
    if broken:
        yield Finding(
            "problem",
            f"{len(broken)} images cannot be read ({broken[0][1]})",
            "copy or download them again, or remove their rows",
            tuple(path for path, _ in broken),
        )
    copies = sorted(paths for paths in same.values() if len(paths) > 1)
    if copies:
        yield Finding(
            "warning",
            f"{len(copies)} images have byte-for-byte copies under other names",
            "keep one of each: copies leak between training and test set",
            tuple(" = ".join(paths) for paths in copies),
        )


def _progress(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    shown: Iterable[Any] = tqdm(items, desc=what, total=total, disable=None, leave=False)
    return shown


def _digest(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
