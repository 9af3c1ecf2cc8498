"""Base of the published data sets."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lml_iqa.datasets.download import LOCK, Archive
from lml_iqa.datasets.download import download as download_archives
from lml_iqa.datasets.labels import Listing, find_faults
from lml_iqa.datasets.layout.case_folder import CaseFolder, folders_by_level
from lml_iqa.datasets.layout.files import contents, find_root, match_files
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.splits import make_split
from lml_iqa.datasets.table import ImageTable
from lml_iqa.errors import DatasetError
from lml_iqa.utils.options import check_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DatasetSplit = Literal["train", "val", "test", "all"]


class Sample(TypedDict, total=False):
    """One image of an :class:`IQADataset`.

    Attributes:
        image: (3, H, W) uint8 RGB, or the output of the data set's ``transform``.
        score: () float32 score in native units.
        path: Path of the image relative to the data set's folder.
        reference: Name of the reference image, if the data set has reference images.
        type: Distortion type, if the data set has types.
        level: Distortion level, if the data set has levels.
    """

    image: Any
    score: Tensor
    path: str
    reference: str
    type: str
    level: int


class IQADataset(Dataset[Sample], abc.ABC):
    """Base class of the published data sets: images with scores, in any of the common folder layouts.

    A subclass defines the class attributes below and reads its label files. ``root`` may be the data set's folder or
    up to two levels above it; file names match regardless of case. Label files are read on first use.

    Example:
        >>> from lml_iqa import KonIQ10k
        >>> train = KonIQ10k("data/koniq10k", split="train")  # doctest: +SKIP
        >>> train[0]["score"], train.scale  # doctest: +SKIP

    Attributes:
        name: Name used in the literature.
        images: Number of rated images in the published label files.
        scale: Native range and direction of the scores.
        labels_in: Possible paths of the label file, relative to the data set's folder, in order of preference.
        images_in: Possible folders of the images, relative to the data set's folder, in order of preference;
            ``{type}`` is replaced by the distortion type.
        landmarks: Published scores of the set's best and worst images, used to detect a reversed or rescaled label
            file.
        archives: Archives that ``download`` fetches; empty if the set cannot be downloaded.
        access: How to get the set by hand.

    Args:
        root: The data set's folder, or a folder above it.
        split: ``train``, ``val`` or ``test`` set of the default split (``auto`` of
            :func:`~lml_iqa.datasets.splits.make_split`), or ``all`` images.
        transform: Callable applied to each (3, H, W) uint8 image.
        download: Whether to download the set into ``root`` if it is not there yet.
        split_seed: Seed of the split; has no effect on an official split.

    Raises:
        DatasetError: The folder does not exist or has no label file, or the set cannot be downloaded.
        ValueError: Unknown ``split``.
    """

    name: ClassVar[str]
    images: ClassVar[int]
    scale: ClassVar[ScoreScale]
    labels_in: ClassVar[tuple[str, ...]]
    images_in: ClassVar[tuple[str, ...]]
    landmarks: ClassVar[Mapping[str, float]] = {}
    archives: ClassVar[tuple[Archive, ...]] = ()
    access: ClassVar[str] = ""

    def __init__(
        self,
        root: str | Path,
        split: DatasetSplit = "train",
        transform: Callable[[Tensor], Any] | None = None,
        download: bool = False,
        *,
        split_seed: int = 0,
    ) -> None:
        check_choice("split", split, DatasetSplit)
        if download:
            self.fetch(root)
        self.split: DatasetSplit = split
        self.transform = transform
        self.split_seed = split_seed
        given = find_root(root, self.name)
        homes = self.homes(given)
        if not homes:
            labels = " or ".join(map(repr, self.labels_in[:2]))
            raise DatasetError(
                f"{self.name}: no label file in {given} (found: {contents(given)}); "
                f"set data.root to the folder that contains {labels}, or to one above it. {self.access}"
            )
        if len(homes) > 1:
            raise DatasetError(
                f"{self.name}: {given} contains more than one copy of the set ({', '.join(map(str, homes))}); "
                "set data.root to one of them"
            )
        self.folder = CaseFolder(homes[0])
        self.labels = self.find(*self.labels_in)

    @classmethod
    def fetch(cls, root: str | Path) -> None:
        """Download the set into ``root``, unless it is already there.

        Raises:
            DatasetError: The set cannot be downloaded.
        """
        folder = Path(root).expanduser()
        if folder.is_dir() and cls.homes(folder) and not (folder / LOCK).exists():
            return
        if not cls.archives:
            raise DatasetError(f"{cls.name} cannot be downloaded automatically. {cls.access}")
        download_archives(cls.archives, folder)

    @cached_property
    def table(self) -> ImageTable:
        """All rated images of the set."""
        table = self.load()
        return table if self.split == "all" else self.with_official_split(table)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(n,) rows of ``table`` that belong to ``split``."""
        if self.split == "all":
            return np.arange(len(self.table))
        rows: NDArray[np.int64] = getattr(make_split(self.table, seed=self.split_seed), self.split)
        return rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Decode an image.

        Raises:
            ImageReadError: See :func:`~lml_iqa.images.read.read_image`.
        """
        row = int(self.rows[index])
        image: Any = torch.from_numpy(self.table.read(row).copy()).permute(2, 0, 1)
        if self.transform is not None:
            image = self.transform(image)
        score = torch.tensor(self.table.scores[row], dtype=torch.float32)
        sample: Sample = {"image": image, "score": score, **self.table.facts(row)}  # type: ignore[typeddict-item]
        return sample

    def plot(self, sample: Sample) -> Figure:
        """Plot an image with its name and score as title.

        Args:
            sample: An item of this data set whose image is (3, H, W), uint8 or float in 0..1.
        """
        from matplotlib.figure import Figure

        from lml_iqa.utils.figures import set_file_title

        figure = Figure(layout="constrained")
        axes = figure.subplots()
        axes.imshow(sample["image"].permute(1, 2, 0).numpy())
        axes.set_axis_off()
        set_file_title(axes, sample["path"], f"{sample['score']:.4g} on {self.table.scale}")
        return figure

    @classmethod
    def with_official_split(cls, table: ImageTable) -> ImageTable:
        """Add the official split to a table, for data sets whose label files do not contain it."""
        return table

    @classmethod
    def homes(cls, root: Path) -> list[Path]:
        """Folders with a label file of this set: ``root`` itself, otherwise the nearest ones below it."""
        for level in folders_by_level(root):
            found = [folder for folder in level if any(map(CaseFolder(folder).find_file, cls.labels_in))]
            if found:
                once = {folder.resolve(): folder for folder in reversed(found)}  # a link is not a second copy
                return list(once.values())[::-1]
        return []

    @abc.abstractmethod
    def read_labels(self) -> Listing:
        """Read the label files. The only method that a new data set has to implement.

        Raises:
            DatasetError: A label file does not have the set's format.
        """

    def load(self) -> ImageTable:
        """Read the labels and find every image.

        Raises:
            DatasetError: The labels are invalid for this set (unreadable, too many rows, reversed scores, scores off
                the scale, an image listed twice), or an image is missing.
        """
        listing = self.read_labels()
        listed_in = listing.listed_in or str(self.labels)
        for fault in find_faults(listing, self):
            raise DatasetError(f"{listed_in}: {fault}")
        images = self.image_folder(listing)
        return ImageTable(
            name=self.name,
            root=self.folder.root,
            files=match_files(self.folder, self.paths(listing, images), listed_in=listed_in),
            scores=listing.scores,
            scale=listing.scale,
            references=_column(listing.references),
            types=_column(listing.types),
            levels=None if listing.levels is None else np.array(listing.levels, dtype=np.int64),
            parts=_column(listing.parts),
            ids=np.array([name.casefold() for name in listing.names], dtype=np.str_),
            source="; ".join(
                filter(None, [Path(listed_in).name, "" if images == "." else f"images in {images}", listing.note])
            ),
        )

    def image_folder(self, listing: Listing) -> str:
        """The folder of ``images_in`` with the most images of the listing; the first in case of a tie.

        Raises:
            DatasetError: No folder has any of the images.
        """
        held: dict[str, int] = {}
        for images in self.images_in:
            try:
                held[images] = sum(self.folder.find_file(path) is not None for path in self.paths(listing, images))
            except DatasetError as error:
                raise DatasetError(f"{listing.listed_in or self.labels}: {error}") from error
            if held[images] == len(listing.names):
                break
        if not any(held.values()):
            raise DatasetError(
                f"{listing.listed_in or self.labels} lists {len(listing.names)} images, and none of them is in "
                f"{' or '.join(str(self.folder.root / images) for images in self.images_in)} "
                f"(found: {contents(self.folder.root)}); unpack the images there. {self.access}"
            )
        return max(held, key=lambda images: held[images])

    @staticmethod
    def paths(listing: Listing, images: str) -> list[str]:
        """Paths of the listed images relative to the data set's folder, given that they are in ``images``."""
        types = listing.types if listing.types is not None else [""] * len(listing.names)
        return [f"{images.format(type=kind)}/{name}" for kind, name in zip(types, listing.names, strict=True)]

    def find(self, *names: str) -> Path:
        """Path of the first of several files that exists in the data set's folder.

        Raises:
            DatasetError: None of them exists.
        """
        for name in names:
            found = self.folder.find_file(name)
            if found is not None:
                return self.folder.root / found
        raise DatasetError(
            f"{self.name}: {self.folder.root} lacks {' or '.join(map(repr, names))} "
            f"(found: {contents(self.folder.root)}); copy the file there. {self.access}"
        )


def _column(values: Sequence[str] | None) -> NDArray[np.str_] | None:
    return None if values is None else np.array(values, dtype=np.str_)
