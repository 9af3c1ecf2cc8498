"""Data module of synthetic distortions with pseudo-labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datasets.synthetic import folder_photographs, load_synthetic, packaged_photographs
from lml_iqa.datasets.table import ImageTable


class SyntheticDataModule(IQADataModule):
    """Reference images with TID2013's distortions, labeled with the mean MOS per type and level.

    The labels are pseudo-labels: TID2013's MOS of a type and level, averaged over its reference images. The images
    themselves are not rated. Training, validation and test set never share a reference image.

    Args:
        root: Folder of reference images; default those installed with scikit-image, scikit-learn and matplotlib.
        types: TID2013 distortion types, 1..24; default all.
        kwargs: See :class:`~lml_iqa.datamodules.base.IQADataModule`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        types: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.types = types if types is not None else list(range(1, 25))

    def prepare_data(self) -> None:
        """Render the images, once per node."""
        _ = self.table

    def load_table(self) -> ImageTable:
        """Render the images if they are not in the cache, and label them."""
        photographs = packaged_photographs() if self.root is None else folder_photographs(self.root)
        return load_synthetic(photographs, self.types, self.cache / "synthetic", seed=0)
