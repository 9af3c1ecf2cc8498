"""Score scales, and comparison of scores on different scales."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Scores = TypeVar("Scores", NDArray[np.float64], Tensor)


@dataclass(frozen=True)
class ScoreScale:
    """Range and direction of native scores, and the conversion to the model's 0..1 (higher is better) and back.

    Attributes:
        name: Kind of the scores, for example ``"MOS"`` or ``"DMOS"``.
        low: Lowest score of the scale, in native units.
        high: Highest score of the scale, in native units.
        higher_is_better: False for difference scores (DMOS), where the best image has the lowest score.
        stated: True if ``low`` and ``high`` are the limits of the scale, False if they are only the lowest and highest
            score of a label file. Not part of the comparison of two scales.

    Raises:
        ValueError: ``low`` or ``high`` is not finite, or ``low`` is not below ``high``.
    """

    name: str
    low: float
    high: float
    higher_is_better: bool = True
    stated: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a score scale needs finite low < high, not low={self.low}, high={self.high}")

    def __str__(self) -> str:
        return f"{self.name} {self.low:g}..{self.high:g}, {'higher' if self.higher_is_better else 'lower'} is better"

    def to_unit(self, native: Scores) -> Scores:
        """Map native scores (array or tensor) to 0..1, higher better. Scores off the scale map outside 0..1."""
        unit = (native - self.low) / (self.high - self.low)
        return unit if self.higher_is_better else 1.0 - unit

    def to_native(self, unit: Scores) -> Scores:
        """Map the model's 0..1 scores (array or tensor) back to native units; the inverse of :meth:`to_unit`."""
        return self.low + (unit if self.higher_is_better else 1.0 - unit) * (self.high - self.low)

    def convert(self, native: Scores, to: ScoreScale) -> Scores:
        """Map native scores (array or tensor) linearly to another scale, best to best and worst to worst."""
        same = (self.low, self.high, self.higher_is_better) == (to.low, to.high, to.higher_is_better)
        return native if same else to.to_native(self.to_unit(native))

    @property
    def native_per_unit(self) -> float:
        """Length of the native scale, to convert a spread on 0..1 to native units."""
        return self.high - self.low


def ratings_scale(model: ScoreScale, data: ScoreScale) -> ScoreScale:
    """Scale of a data set's ratings, for comparison with the scores of a model trained on other data.

    Ratings without a stated scale are assumed to be on the model's scale (a second label file of the same study), not
    on the range from their lowest to their highest score.

    Args:
        model: Scale of the ratings that the model was trained on.
        data: Scale of the data set.

    Returns:
        ``model`` if ``data`` has the same direction and is not stated, else ``data``.
    """
    return model if not data.stated and data.higher_is_better == model.higher_is_better else data


def scale_warning(model: ScoreScale, data: ScoreScale) -> str:
    """Warning for a comparison of a model's scores with a data set's ratings; empty if the scales agree."""
    if ratings_scale(model, data) == data:
        if (model.low, model.high, model.higher_is_better) == (data.low, data.high, data.higher_is_better):
            return ""
        return (
            f"the model was trained on {model}, and the ratings are on {data}: scores are mapped linearly from one "
            "range to the other. RMSE depends on both ranges; correlations do not"
        )
    if model.low <= data.low and data.high <= model.high:
        return ""
    return (
        f"the model was trained on {model}, and the ratings, whose scale is not stated, range from {data.low:g} to "
        f"{data.high:g}: they are compared as if on the model's scale. Set their scale with data.low and data.high"
    )
