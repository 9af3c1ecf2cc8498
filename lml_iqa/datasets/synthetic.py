"""Reference images with TID2013's distortions, labeled with the mean MOS per type and level (pseudo-labels)."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lml_iqa.datasets.folder import list_images
from lml_iqa.datasets.layout.files import find_root
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.table import ImageTable
from lml_iqa.datasets.tid2013 import TYPES
from lml_iqa.errors import DatasetError
from lml_iqa.images.read import read_image

_log = logging.getLogger(__name__)

LEVELS = (1, 2, 3, 4, 5)
WIDTH, HEIGHT = 512, 384  # TID2013's size, which its severities and ratings refer to
_RECIPE = "1"  # part of the cache key; change it when rendering changes

# Photographs in installed packages: (package, folder, file).
PACKAGED_PHOTOGRAPHS = (
    ("skimage", "data", "astronaut.png"),
    ("skimage", "data", "chelsea.png"),
    ("skimage", "data", "coffee.png"),
    ("skimage", "data", "hubble_deep_field.jpg"),
    ("skimage", "data", "motorcycle_left.png"),
    ("skimage", "data", "rocket.jpg"),
    ("sklearn", "datasets/images", "china.jpg"),
    ("sklearn", "datasets/images", "flower.jpg"),
    ("matplotlib", "mpl-data/sample_data", "grace_hopper.jpg"),
)


def packaged_photographs() -> list[Path]:
    """Reference images that are installed with scikit-image, scikit-learn and matplotlib.

    Raises:
        DatasetError: A package or its file is missing.
    """
    photographs = []
    for package, folder, name in PACKAGED_PHOTOGRAPHS:
        spec = importlib.util.find_spec(package)
        path = Path(spec.origin).parent / folder / name if spec is not None and spec.origin else None
        if path is None or not path.is_file():
            raise DatasetError(
                f"the reference image {name} is part of {package}, which is not installed or lacks it; "
                "pip install 'lml-iqa[quickstart]', or give a folder of reference images (data.root)"
            )
        photographs.append(path)
    return photographs


def folder_photographs(root: str | Path) -> list[Path]:
    """All images below a folder, sorted.

    Raises:
        DatasetError: The folder does not exist or contains no image.
    """
    folder = find_root(root, "synthetic")
    return [folder / name for name in list_images(folder)]


def load_synthetic(photographs: Sequence[Path], types: Sequence[int], cache: Path, seed: int) -> ImageTable:
    """Distort every reference image with every type and level, and label the results.

    The reference images are shrunk to cover TID2013's 512x384 and center-cropped, never enlarged. The labels are
    pseudo-labels: TID2013's MOS of the type and level, averaged over its reference images. The images themselves are
    not rated, and all images of one type and level have the same label, so metrics on them measure the ranking of types
    and levels, not the agreement with ratings of single images.

    Args:
        photographs: Files of the reference images.
        types: TID2013 distortion types, 1..24.
        cache: Folder of the rendered images; a complete rendering is reused.
        seed: Seed of the noise.

    Returns:
        A table with reference, type and level of each image; scores on TID2013's MOS scale, 0..9.

    Raises:
        DatasetError: An unknown type, or two reference images with the same name.
    """
    from lml_iqa.transforms.distortions import human_mean_opinion  # loads albumentations and OpenCV

    unknown = sorted(set(types) - set(range(1, len(TYPES) + 1)))
    if unknown or not types:
        raise DatasetError(f"types: {unknown or 'empty'}; give TID2013 distortion types, 1 to {len(TYPES)}")
    names = [path.stem for path in photographs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DatasetError(f"two reference images are called {repeated[0]!r}; rename one of them")
    folder = _rendered(photographs, sorted(set(types)), cache, seed)
    mean_mos = human_mean_opinion()
    rows = [(n, t, level) for n in names for t in sorted(set(types)) for level in LEVELS]
    return ImageTable(
        name="synthetic",
        root=folder,
        files=np.array([_file(*row) for row in rows], dtype=np.str_),
        scores=np.array([mean_mos[t, level] for _, t, level in rows]),
        scale=ScoreScale("mean MOS per type and level", 0.0, 9.0),
        references=np.array([n for n, _, _ in rows], dtype=np.str_),
        types=np.array([TYPES[t - 1] for _, t, _ in rows], dtype=np.str_),
        levels=np.array([level for _, _, level in rows], dtype=np.int64),
        source=f"{len(names)} reference images; pseudo-labels: TID2013's mean MOS per type and level",
    )


def _file(name: str, kind: int, level: int) -> str:
    return f"{name}/{name}_{kind:02d}_{level}.png"


def _rendered(photographs: Sequence[Path], types: Sequence[int], cache: Path, seed: int) -> Path:
    """Folder of the rendered images; rendered into a temporary folder and renamed when complete."""
    hasher = hashlib.sha256(f"{_RECIPE} {list(types)} {seed}".encode())
    for path in photographs:
        hasher.update(path.stem.encode() + path.read_bytes())
    folder = cache / hasher.hexdigest()[:16]
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    _log.info("rendering %d distorted images into %s", len(photographs) * len(types) * len(LEVELS), folder)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=cache))
    try:
        jobs = [(path, kind, partial, seed) for path in photographs for kind in types]
        # Threads suffice: OpenCV, Pillow and NumPy release the GIL.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_render, *zip(*jobs, strict=True)))
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process has rendered the same images
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _render(photograph: Path, kind: int, folder: Path, seed: int) -> None:
    """Render all levels of one type for one reference image."""
    from lml_iqa.transforms.distortions import distort

    image = fit_to_tid2013(read_image(photograph))
    (folder / photograph.stem).mkdir(exist_ok=True)
    for level in LEVELS:
        digest = hashlib.sha256(f"{seed} {photograph.stem} {kind} {level}".encode()).digest()
        distorted = distort(image, kind, level, seed=int.from_bytes(digest[:4], "little"))
        # Twice as fast to write as the default level, a fifth larger.
        Image.fromarray(distorted).save(folder / _file(photograph.stem, kind, level), compress_level=1)


def fit_to_tid2013(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink an (H, W, 3) image to cover 512x384 and center-crop it; smaller sides are kept."""
    height, width = image.shape[:2]
    ratio = max(WIDTH / width, HEIGHT / height)
    if ratio < 1:
        size = (max(WIDTH, round(width * ratio)), max(HEIGHT, round(height * ratio)))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        height, width = image.shape[:2]
    top, left = max(0, height - HEIGHT) // 2, max(0, width - WIDTH) // 2
    return np.ascontiguousarray(image[top : top + HEIGHT, left : left + WIDTH])
