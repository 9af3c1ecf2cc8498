"""Statistics of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, spearmanr

METRICS = ("srcc", "plcc", "plcc_fitted", "krcc", "rmse")
"""Metrics in the tables, by their names in ``metrics.json``."""


class Summary(NamedTuple):
    """Summary of one metric over n repeats.

    Attributes:
        n: Number of repeats.
        median: Median.
        mean: Mean.
        std: Standard deviation (n - 1); NaN for a single repeat.
        low: Lower end of the median's 95 % bootstrap interval; NaN below three repeats.
        high: Upper end of the interval.
    """

    n: int
    median: float
    mean: float
    std: float
    low: float
    high: float


def summarize(values: Sequence[float] | NDArray[np.float64]) -> Summary:
    """Summarize the repeats of one metric; the bootstrap (percentile, 9,999 samples) is seeded."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0:
        return Summary(0, *[float("nan")] * 5)
    low = high = float("nan")
    if len(array) >= 3:
        found = bootstrap((array,), np.median, method="percentile", rng=np.random.default_rng(0)).confidence_interval
        low, high = float(found.low), float(found.high)
    std = float(array.std(ddof=1)) if len(array) > 1 else float("nan")
    return Summary(len(array), float(np.median(array)), float(array.mean()), std, low, high)


def srcc_by_group(
    predicted: NDArray[np.float64], human: NDArray[np.float64], groups: Sequence[str]
) -> Mapping[str, float]:
    """Spearman correlation within each group of at least three images; NaN where one side is constant."""
    names = np.asarray(groups)
    found = {}
    for name in np.unique(names):
        inside = names == name
        if inside.sum() >= 3:
            constant = np.ptp(predicted[inside]) == 0 or np.ptp(human[inside]) == 0
            found[str(name)] = (
                float("nan") if constant else float(spearmanr(predicted[inside], human[inside]).statistic)
            )
    return found
