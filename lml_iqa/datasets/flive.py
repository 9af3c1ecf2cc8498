"""FLIVE (LIVE-FB)."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np

from lml_iqa.datasets import archives
from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.readers.ratings import read_ratings
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.table import ImageTable
from lml_iqa.images.read import read_size

TEST_ABOVE = 640
"""Images with a side above this many pixels are the official test set."""


class FLIVE(IQADataset):
    """FLIVE (LIVE-FB, PaQ-2-PiQ): 39,810 authentic images of all sizes and shapes, the largest data set.

    - **Scores**: MOS 0..100 (0 .. 94.33, most of them 65 .. 80), higher is better, from Mechanical Turk.
    - **Layout**: ``database/{voc_emotic_ava,blur_dataset,EE371R,...}/`` and ``labels_image.csv``.
    - **Split**: official: images with a side over 640 pixels are the test set (1,827 in the authors' list), three rows
      of ``EE371R`` are in no set. The label file does not contain it: :meth:`with_official_split` reads image sizes.
    - **Get it**: ``download``; https://github.com/baidut/PaQ-2-PiQ describes how its authors collected the images,
      which have licenses of their own.
    - **Cite**: Z. Ying et al., "From patches to pictures (PaQ-2-PiQ): mapping the perceptual space of picture quality",
      CVPR 2020.
    """

    name = "FLIVE"
    images = 39810
    scale = ScoreScale("MOS", 0.0, 100.0)
    labels_in = ("labels_image.csv", "database/labels_image.csv")
    images_in = ("database", ".")
    landmarks: ClassVar = {
        "blur_dataset/motion0091.jpg": 0.0,
        "blur_dataset/motion0076.jpg": 9.034,
        "voc_emotic_ava/EMOTIC__COCO_train2014_000000547485.jpg": 9.656,
        "voc_emotic_ava/AVA__687920.jpg": 9.706,
        "voc_emotic_ava/AVA__466834.jpg": 92.39,
        "voc_emotic_ava/AVA__124523.jpg": 92.705,
        "voc_emotic_ava/JPEGImages__2009_004898.jpg": 93.109,
        "blur_dataset/out_of_focus0478.jpg": 94.333,
    }
    archives = archives.FLIVE
    access = "Set data.download to fetch FLIVE; its authors' page: https://github.com/baidut/PaQ-2-PiQ."

    def read_labels(self) -> Listing:
        """Read ``labels_image.csv``."""
        names, numbers = read_ratings(self.labels, "name", ["mos"])
        return Listing(names=names, scores=numbers["mos"], scale=self.scale)

    @classmethod
    def with_official_split(cls, table: ImageTable) -> ImageTable:
        """Add the official split, which depends on the image sizes; reading all headers takes a few seconds.

        Raises:
            ImageReadError: An image's size cannot be read.
        """
        with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
            sizes = np.array(list(pool.map(read_size, (table.path(row) for row in range(len(table))))))
        parts = np.where(sizes.max(axis=1) > TEST_ABOVE, "test", "train")
        parts[np.char.startswith(table.ids, "ee371r/")] = ""
        return dataclasses.replace(table, parts=parts)
