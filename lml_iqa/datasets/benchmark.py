"""What the published sets of rated images have in common: a label file somewhere, images somewhere else."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.download import Archive
from lml_iqa.datasets.errors import DatasetError
from lml_iqa.datasets.faults import find_faults
from lml_iqa.datasets.files import CaseFolder, contents, entries_of, find_root, match_files
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.table import ImageTable

_DEPTH = 2  # folders below the given one in which a data set is looked for


@dataclass(frozen=True, eq=False)
class Listing:
    """What the label files of a data set say, before any image is looked for.

    Attributes:
        names: n file names, relative to the folder of the images.
        scores: (n,) float64 scores in native units.
        scale: Range and direction of ``scores``.
        references: n names of the clean photographs, or None.
        types: n distortion types, or None.
        levels: n distortion levels, or None.
        parts: n official parts (``train``, ``val``, ``test`` or empty), or None.
        unrated: Further images of the set that lie beside these and are not rated (clean photographs, examples).
        note: What else a reader of the log must know of these labels.
        listed_in: The label files, for messages, where they are several.
    """

    names: Sequence[str]
    scores: NDArray[np.float64]
    scale: ScoreScale
    references: Sequence[str] | None = None
    types: Sequence[str] | None = None
    levels: Sequence[int] | None = None
    parts: Sequence[str] | None = None
    unrated: frozenset[str] = frozenset()
    note: str = ""
    listed_in: str = ""


class Benchmark(abc.ABC):
    """A published data set on disk, in any of the layouts that people have it in.

    A subclass states the facts below and reads its label files. The folder given may be the data set's own or up to two
    above it; names are found without regard to case.

    Attributes:
        name: The name the field uses.
        images: Number of rated images in the published label files.
        scale: Native range and direction of the scores.
        labels_in: Where the label file may lie below the data set's folder, the preferred one first.
        images_in: Where the images may lie below the data set's folder, the preferred one first; ``{type}`` stands for
            the distortion type.
        landmarks: Scores that the published labels give to the set's best and worst images: they tell a reversed or
            rescaled label file from the set's own.
        archives: What ``download`` fetches; empty where it cannot.
        access: How to get the set by hand.

    Args:
        root: The data set's folder, or one above it.

    Raises:
        DatasetError: The folder does not exist, or no label file lies in it.
    """

    name: ClassVar[str]
    images: ClassVar[int]
    scale: ClassVar[ScoreScale]
    labels_in: ClassVar[tuple[str, ...]]
    images_in: ClassVar[tuple[str, ...]]
    landmarks: ClassVar[Mapping[str, float]] = {}
    archives: ClassVar[tuple[Archive, ...]] = ()
    access: ClassVar[str] = ""

    def __init__(self, root: str | Path) -> None:
        given = find_root(root, self.name)
        homes = self.homes(given)
        if not homes:
            labels = " or ".join(map(repr, self.labels_in[:2]))
            raise DatasetError(
                f"{self.name}: no label file in {given} (found: {contents(given)}); "
                f"set data.root to the folder that holds {labels}, or to one above it. {self.access}"
            )
        if len(homes) > 1:
            raise DatasetError(
                f"{self.name}: {given} holds the set more than once ({', '.join(map(str, homes))}); "
                "set data.root to the one that is meant"
            )
        self.folder = CaseFolder(homes[0])
        self.labels = self.find(*self.labels_in)

    @classmethod
    def homes(cls, root: Path) -> list[Path]:
        """Folders that hold a label file of this set: ``root`` itself, else those nearest below it."""
        level = [root]
        for _ in range(_DEPTH + 1):
            found = [folder for folder in level if any(map(CaseFolder(folder).find_file, cls.labels_in))]
            if found:
                once = {folder.resolve(): folder for folder in reversed(found)}  # a link is no second copy
                return list(once.values())[::-1]
            level = [folder / e.name for folder in level for e in entries_of(folder) if e.is_dir() and e.name[0] != "."]
        return []

    @abc.abstractmethod
    def read_labels(self) -> Listing:
        """Read the label files. All that a further data set has to write, beside the facts.

        Raises:
            DatasetError: A label file is not what the set's should be.
        """

    def load(self) -> ImageTable:
        """Read the labels and find every image.

        Raises:
            DatasetError: The labels are not this set's (unreadable, too many rows, reversed scores, scores off the
                scale, an image listed twice), or an image is missing.
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
        """The one of ``images_in`` that holds most images of the listing; of equals the first.

        Raises:
            DatasetError: None holds any.
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
                f"{listing.listed_in or self.labels} lists {len(listing.names)} images, and none of them lies in "
                f"{' or '.join(str(self.folder.root / images) for images in self.images_in)} "
                f"(found: {contents(self.folder.root)}); unpack the images there. {self.access}"
            )
        return max(held, key=lambda images: held[images])

    @staticmethod
    def paths(listing: Listing, images: str) -> list[str]:
        """Paths of the listed images below the data set's folder, if they lie in ``images``."""
        types = listing.types if listing.types is not None else [""] * len(listing.names)
        return [f"{images.format(type=kind)}/{name}" for kind, name in zip(types, listing.names, strict=True)]

    def find(self, *names: str) -> Path:
        """The first of some files that exists below the data set's folder.

        Raises:
            DatasetError: None does.
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
