"""Labels of a data set, and checks that do not need the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import first_few

_ENOUGH = 4  # landmarks; fewer could be reversed or close together by chance
_REVERSED = -0.5  # Spearman correlation of the landmarks with their published scores
_SHRUNK = (
    0.25  # range of the landmarks relative to the published range; LIVE's first DMOS have 0.58 of the realigned ones
)
_OWN = "use the original label file, or TableDataModule"


@dataclass(frozen=True, eq=False)
class Listing:
    """Contents of a data set's label files, before the images are located.

    Attributes:
        names: n file names, relative to the folder of the images.
        scores: (n,) float64 scores in native units.
        scale: Range and direction of ``scores``.
        references: n names of the reference images, or None.
        types: n distortion types, or None.
        levels: n distortion levels, or None.
        parts: n sets of the official split (``train``, ``val``, ``test`` or empty), or None.
        unrated: Unrated images of the data set in the same folders (reference images, examples).
        note: Remark for the log.
        listed_in: Name of the label files in messages, if there are several.
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


class Published(Protocol):
    """Published facts that a data set's label file is validated against.

    Attributes:
        name: Name of the data set.
        images: Number of rated images.
        scale: Native range and direction of the scores.
        landmarks: Published scores of the best and worst images, by image.
    """

    name: ClassVar[str]
    images: ClassVar[int]
    scale: ClassVar[ScoreScale]
    landmarks: ClassVar[Mapping[str, float]]


class Fault(NamedTuple):
    """A problem in a label file.

    Attributes:
        what: Description of the problem.
        cure: How to fix it.
        rows: All affected rows.
    """

    what: str
    cure: str
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}{': ' if self.rows else ''}{first_few(self.rows)}; {self.cure}"


def find_faults(listing: Listing, published: Published) -> Iterator[Fault]:
    """Find rows and scores that are invalid for the data set."""
    names, scores, scale = listing.names, listing.scores, listing.scale
    if len(names) > published.images:
        yield Fault(
            f"lists {len(names)} rated images, but {published.name} has {published.images}",
            f"{_OWN} for custom ratings",
        )
    twice = tuple(name for name, count in Counter(map(str.casefold, names)).items() if count > 1)
    if twice:
        yield Fault("images are listed more than once", "keep one row an image", twice)
    off = np.flatnonzero(~((scores >= scale.low) & (scores <= scale.high))).tolist()
    if off:
        yield Fault(
            f"scores are outside the scale {scale.low:g}..{scale.high:g} of {published.name}",
            f"{_OWN} with low and high for custom ratings",
            tuple(f"{names[row]} ({scores[row]:g})" for row in off),
        )
    else:
        yield from _against_landmarks(listing, published)


def listed_landmarks(listing: Listing, published: Published) -> list[tuple[str, float, float]]:
    """Name, listed score and published score of the landmarks in a listing."""
    listed = {name.casefold(): float(score) for name, score in zip(listing.names, listing.scores, strict=True)}
    return [
        (name, listed[name.casefold()], score)
        for name, score in published.landmarks.items()
        if name.casefold() in listed
    ]


def _against_landmarks(listing: Listing, published: Published) -> Iterator[Fault]:
    landmarks = listed_landmarks(listing, published)
    if len(landmarks) < _ENOUGH:
        return
    listed = listing.scale.to_unit(np.array([score for _, score, _ in landmarks]))
    expected = published.scale.to_unit(np.array([score for _, _, score in landmarks]))
    name, has, should = landmarks[0]
    if np.ptp(listed) < _SHRUNK * np.ptp(expected):
        yield Fault(
            f"the scores are on another scale: {name} has {has:g}, published in {published.name} is {should:g}, and "
            f"the best and worst images are {np.ptp(listed) / np.ptp(expected):.2g} times as far apart as published",
            f"{_OWN} with low and high for custom ratings",
        )
    elif spearmanr(listed, expected).statistic < _REVERSED:
        better = "higher" if listing.scale.higher_is_better else "lower"
        yield Fault(
            f"the scores are reversed: {name} has {has:g}, published in {published.name} is {should:g} "
            f"({better} is better)",
            f"{_OWN} with higher_is_better for custom ratings",
        )
