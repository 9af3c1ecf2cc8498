"""KonIQ-10k."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar

from lml_iqa.datasets import archives
from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.readers.csv_rows import read_header
from lml_iqa.datasets.readers.decimals import parse_numbers
from lml_iqa.datasets.readers.ratings import read_columns
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import DatasetError, first_few

_SCORES = "koniq10k_scores_and_distributions.csv"
_SETS = "koniq10k_distributions_sets.csv"
_PARTS = {"training": "train", "validation": "val", "test": "test"}


class KonIQ10k(IQADataset):
    """KonIQ-10k: 10,073 authentic photographs from YFCC100m, chosen for diversity.

    - **Scores**: MOS, higher is better. Two scales that are *not* a rescaling of each other (Spearman .992): the
      z-scored one, 0..100 (3.91 .. 88.39), if present; otherwise the raw one, 1..5 (1.10 .. 4.31). The log and the
      checkpoint name the scale in use.
    - **Layout**: ``1024x768/`` or ``512x384/``; ``koniq10k_scores_and_distributions.csv`` (raw and z-score) and
      ``koniq10k_distributions_sets.csv`` (0..100, official split), either or both, at the root or under ``metadata/``.
    - **Split**: official 7,058 / 1,000 / 2,015 if ``koniq10k_distributions_sets.csv`` is present; papers also use 80/20
      by image.
    - **Get it**: ``download``, or https://database.mmsp-kn.de/koniq-10k-database.html. Free for research, without a
      formal license; the photographs are from Flickr, under Creative Commons.
    - **Cite**: V. Hosu, H. Lin, T. Sziranyi, D. Saupe, "KonIQ-10k: an ecologically valid database for deep learning of
      blind image quality assessment", IEEE Transactions on Image Processing 29, 2020.
    """

    name = "KonIQ-10k"
    images = 10073
    scale = ScoreScale("MOS", 0.0, 100.0)
    labels_in = (_SCORES, f"metadata/{_SCORES}", _SETS, f"metadata/{_SETS}")
    images_in = ("1024x768", "512x384")
    landmarks: ClassVar = {
        "80184044.jpg": 3.912,
        "3632417985.jpg": 4.167,
        "10344921126.jpg": 4.466,
        "33000255.jpg": 4.706,
        "213906996.jpg": 86.662,
        "6285698915.jpg": 87.296,
        "121123359.jpg": 88.244,
        "5869585652.jpg": 88.389,
    }
    archives = archives.KONIQ10K
    access = "KonIQ-10k is at https://database.mmsp-kn.de/koniq-10k-database.html."

    def read_labels(self) -> Listing:
        """Read the z-scores, or else the raw scores, and the official split if it is available."""
        score = "MOS_zscore" if "MOS_zscore" in read_header(self.labels, "image_name") else "MOS"
        columns = read_columns(self.labels, ["image_name", score])
        names = columns["image_name"]
        scores = parse_numbers(self.labels, score, columns[score], names)
        raw = bool(score == "MOS" and scores.max() <= 5)
        sets = self.folder.find_file(_SETS) or self.folder.find_file(f"metadata/{_SETS}")
        return Listing(
            names=names,
            scores=scores,
            scale=ScoreScale("MOS", 1.0, 5.0) if raw else self.scale,
            parts=None if sets is None else self._parts(self.folder.root / sets, names),
            note=f"column {score}, {'raw, 1..5' if raw else '0..100'}",
        )

    def _parts(self, file: Path, names: list[str]) -> list[str]:
        columns = read_columns(file, ["image_name", "set"])
        part = dict(zip(columns["image_name"], columns["set"], strict=True))
        if len(part) < len(columns["image_name"]):
            twice = [name for name, count in Counter(columns["image_name"]).items() if count > 1]
            raise DatasetError(f"{file}: images are listed more than once: {first_few(twice)}; keep one row per image")
        for name in names:
            if part.get(name) not in _PARTS:
                found = f"set {part[name]!r}" if name in part else "no set"
                raise DatasetError(
                    f"{file}: {name!r} of {self.labels.name} is in {found} (known: {', '.join(_PARTS)}); "
                    "use the original file"
                )
        return [_PARTS[part[name]] for name in names]
