"""Quality metrics of a set of images, from arrays or over the processes of a distributed run."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lml_iqa.metrics.functional import UndefinedCorrelationWarning, krcc, paired, plcc, rmse, srcc
from lml_iqa.metrics.logistic_fit import fit_logistic


class InvalidScoreWarning(UserWarning):
    """A model predicted NaN or infinity, so that no metric is defined."""


@dataclass(frozen=True)
class QualityScores:
    """Agreement of predictions with opinion scores.

    Attributes:
        srcc: Spearman's rank correlation, -1..1, signed. All correlations are NaN if predictions or opinion scores are
            constant.
        plcc: Pearson's correlation of the raw predictions, -1..1, signed.
        plcc_fitted: Pearson's correlation after :func:`~lml_iqa.metrics.logistic_fit.fit_logistic`; its sign has no
            meaning.
        krcc: Kendall's tau-b, -1..1, signed.
        rmse: Root mean squared error of the raw predictions, in their units.
        rmse_fitted: Root mean squared error after the fit, in units of the opinion scores.
        fit_converged: True if there is a fit. If False, the fitted metrics are the raw ones.
        n: Number of images.
    """

    srcc: float
    plcc: float
    plcc_fitted: float
    krcc: float
    rmse: float
    rmse_fitted: float
    fit_converged: bool
    n: int

    def as_dict(self) -> dict[str, float]:
        """The metrics by name; ``fit_converged`` as 0 or 1."""
        return {name: float(getattr(self, name)) for name in FIGURES}


FIGURES = ("srcc", "plcc", "plcc_fitted", "krcc", "rmse", "rmse_fitted", "fit_converged")


def evaluate(prediction: npt.ArrayLike, mos: npt.ArrayLike) -> QualityScores:
    """Compute all metrics for (N,) predictions and opinion scores, N >= 2.

    Warns once with an :class:`~lml_iqa.metrics.functional.UndefinedCorrelationWarning` if predictions or opinion scores
    are constant.

    Raises:
        ValueError: The two are not (N,) with N >= 2, or contain NaN or infinity.
    """
    x, y = paired(prediction, mos)
    rank_correlation = srcc(x, y)
    defined = not math.isnan(rank_correlation)
    fit = fit_logistic(x, y)
    fitted = fit(x)
    return QualityScores(
        srcc=rank_correlation,
        plcc=plcc(x, y) if defined else math.nan,
        plcc_fitted=plcc(fitted, y) if defined else math.nan,
        krcc=krcc(x, y) if defined else math.nan,
        rmse=rmse(x, y),
        rmse_fitted=rmse(fitted, y),
        fit_converged=fit.converged,
        n=len(x),
    )


class ImageScores(NamedTuple):
    """Predictions and opinion scores per image, sorted by id.

    Attributes:
        image_id: (N,) int64, strictly increasing.
        prediction: (N,) float32.
        mos: (N,) float32.
    """

    image_id: npt.NDArray[np.int64]
    prediction: npt.NDArray[np.float32]
    mos: npt.NDArray[np.float32]


class QualityMetrics(Metric):
    """SRCC, PLCC (raw and fitted), KRCC and RMSE over images, in the units of the inputs.

    Every image counts once, since Lightning pads the last distributed batch with repeated images. Scores are stored in
    float32 and evaluated in float64 regardless of the run's precision, because bfloat16 creates ties between most
    predictions.

    ``compute`` returns () float32 tensors named as in :class:`QualityScores`, identical on every process. All are NaN,
    with a warning, if a prediction is NaN or infinite or there are fewer than two images.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    prediction: list[Tensor]
    mos: list[Tensor]
    image_id: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("prediction", "mos", "image_id"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, mos: Tensor, image_id: Tensor) -> None:
        """Add a batch.

        Args:
            prediction: (B,) predicted scores, any float type.
            mos: (B,) opinion scores.
            image_id: (B,) int64 id of each image, the same on every process.

        Raises:
            ValueError: The three tensors are not all (B,).
        """
        if prediction.ndim != 1 or not prediction.shape == mos.shape == image_id.shape:
            raise ValueError(
                "prediction, mos and image_id must all be (B,), not "
                f"{tuple(prediction.shape)}, {tuple(mos.shape)} and {tuple(image_id.shape)}"
            )
        self.prediction.append(prediction.detach().float())
        self.mos.append(mos.detach().float())
        self.image_id.append(image_id.detach().long())

    def compute(self) -> dict[str, Tensor]:
        """Compute all metrics over the images of all processes.

        Raises:
            ValueError: An image has two different opinion scores, or an opinion score is NaN or infinite.
        """
        return {
            name: torch.tensor(value, dtype=torch.float32, device=self.device)
            for name, value in _metrics(self._table()).items()
        }

    def per_image(self) -> ImageScores:
        """Scores of the images of all processes; every process must call this method.

        Raises:
            ValueError: An image has two different opinion scores.
        """
        with self.sync_context():
            return self._table()

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the images of all processes; a process may have none."""
        if not self.update_called:
            # Otherwise torchmetrics would send an empty float tensor, which does not match the int64 ids.
            nothing = torch.empty(0, device=self.device)
            self.update(nothing, nothing, nothing)
        super().sync(*args, **kwargs)

    def _table(self) -> ImageScores:
        prediction, mos, image_id = (
            dim_zero_cat(state).cpu().numpy() for state in (self.prediction, self.mos, self.image_id)
        )
        unique, first, row = np.unique(image_id, return_index=True, return_inverse=True)
        first_mos = mos[first][row]
        conflicts = np.flatnonzero((mos != first_mos) & ~(np.isnan(mos) & np.isnan(first_mos)))
        if len(conflicts):
            repeat = conflicts[0]
            raise ValueError(
                f"image {image_id[repeat]} has two opinion scores, {first_mos[repeat]:g} and {mos[repeat]:g}; "
                "use image ids that are unique over the data set"
            )
        return ImageScores(unique, prediction[first], mos[first])


def _metrics(table: ImageScores) -> dict[str, float]:
    invalid = table.image_id[~np.isfinite(table.prediction)]
    if len(invalid):
        warnings.warn(
            f"{len(invalid)} of {len(table.image_id)} predictions are NaN or infinite, first for images "
            f"{invalid[:5].tolist()}; every metric is reported as NaN",
            InvalidScoreWarning,
            stacklevel=2,
        )
    elif len(table.image_id) < 2:
        warnings.warn(
            f"the correlation is undefined for {len(table.image_id)} image(s); every metric is reported as NaN",
            UndefinedCorrelationWarning,
            stacklevel=2,
        )
    else:
        return evaluate(table.prediction, table.mos).as_dict()
    return dict.fromkeys(FIGURES, math.nan)
