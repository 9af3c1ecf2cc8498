"""BIQ2021: 12,000 authentic photographs with human opinion scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lml_iqa.datasets.files import find_root, match_files
from lml_iqa.datasets.ratings import read_ratings
from lml_iqa.datasets.table import ImageTable, ScoreScale

_LABELS = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}


def load_biq2021(root: str | Path) -> ImageTable:
    """Read BIQ2021 from its own layout: ``Images/`` beside the two label files.

    The set: 12,000 photographs of 512x512 pixels, taken for the set or collected from the web, rated by 30 people in
    the laboratory; MOS 0..1, higher better; official split 10,000 / 2,000. Ahmed and Asif, "BIQ2021: a large-scale
    blind image quality assessment database", Journal of Electronic Imaging 31(5), 2022.

    File names hold spaces and parentheses, differ in case between list and disk, and the label files end each line
    with empty columns.

    Raises:
        DatasetError: The folder, a label file, a column or a listed image is missing, or a score is not in 0..1.
    """
    folder = find_root(root, ["Images", *_LABELS.values()], "BIQ2021")
    columns = {part: read_ratings(folder / name, "Image Name", ["MOS"]) for part, name in _LABELS.items()}
    return ImageTable(
        name="BIQ2021",
        root=folder,
        files=np.concatenate(
            [match_files(folder, "Images", columns[part][0], listed_in=str(folder / _LABELS[part])) for part in _LABELS]
        ),
        scores=np.concatenate([columns[part][1]["MOS"] for part in _LABELS]),
        scale=ScoreScale("MOS", 0.0, 1.0),
        parts=np.concatenate([np.full(len(columns[part][0]), part) for part in _LABELS]),
        source="Images/ with the official Train and Test label files",
    )
