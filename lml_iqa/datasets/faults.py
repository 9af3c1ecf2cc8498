"""What a label file can have wrong before any image is looked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from lml_iqa.datasets.errors import first_few

if TYPE_CHECKING:
    from lml_iqa.datasets.benchmark import Benchmark, Listing

_ENOUGH = 4  # landmarks: fewer could be reversed or close together by chance
_REVERSED = -0.5  # Spearman correlation of the landmarks with their published scores
_SHRUNK = (
    0.25  # span of the landmarks as a share of the published one; LIVE's first DMOS have 0.58 of the realigned ones
)
_OWN = "use the set's own label file, or TableDataModule"


class Fault(NamedTuple):
    """One thing that is wrong with a label file.

    Attributes:
        what: What it is.
        cure: What to do about it.
        rows: The rows concerned, all of them.
    """

    what: str
    cure: str
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}{': ' if self.rows else ''}{first_few(self.rows)}; {self.cure}"


def find_faults(listing: Listing, benchmark: Benchmark) -> Iterator[Fault]:
    """Look for rows and scores that cannot be the set's."""
    names, scores, scale = listing.names, listing.scores, listing.scale
    if len(names) > benchmark.images:
        yield Fault(
            f"lists {len(names)} rated images, but {benchmark.name} has {benchmark.images}",
            f"{_OWN} for ratings of your own",
        )
    twice = tuple(name for name, count in Counter(map(str.casefold, names)).items() if count > 1)
    if twice:
        yield Fault("images are listed more than once", "keep one row an image", twice)
    off = np.flatnonzero(~((scores >= scale.low) & (scores <= scale.high))).tolist()
    if off:
        yield Fault(
            f"scores lie off the scale {scale.low:g}..{scale.high:g} of {benchmark.name}",
            f"{_OWN} with low and high for ratings of your own",
            tuple(f"{names[row]} ({scores[row]:g})" for row in off),
        )
    else:
        yield from _against_landmarks(listing, benchmark)


def listed_landmarks(listing: Listing, benchmark: Benchmark) -> list[tuple[str, float, float]]:
    """Name, listed score and published score of the landmarks in a listing."""
    listed = {name.casefold(): float(score) for name, score in zip(listing.names, listing.scores, strict=True)}
    return [
        (name, listed[name.casefold()], published)
        for name, published in benchmark.landmarks.items()
        if name.casefold() in listed
    ]


def _against_landmarks(listing: Listing, benchmark: Benchmark) -> Iterator[Fault]:
    landmarks = listed_landmarks(listing, benchmark)
    if len(landmarks) < _ENOUGH:
        return
    listed = listing.scale.to_unit(np.array([score for _, score, _ in landmarks]))
    published = benchmark.scale.to_unit(np.array([score for _, _, score in landmarks]))
    name, has, should = landmarks[0]
    if np.ptp(listed) < _SHRUNK * np.ptp(published):
        yield Fault(
            f"the scores are on another scale: {name} has {has:g}, where {benchmark.name} gives it {should:g}, and the "
            f"best and worst images lie {np.ptp(listed) / np.ptp(published):.2g} times as far apart as published",
            f"{_OWN} with low and high for ratings of your own",
        )
    elif spearmanr(listed, published).statistic < _REVERSED:
        better = "higher" if listing.scale.higher_is_better else "lower"
        yield Fault(
            f"the scores run the wrong way: {name} has {has:g}, where {benchmark.name} gives it {should:g} "
            f"({better} is better)",
            f"{_OWN} with higher_is_better for ratings of your own",
        )
