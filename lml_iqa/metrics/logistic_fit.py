r"""Logistic fit of predictions to opinion scores, the usual step before PLCC and RMSE are reported.

VQEG's four-parameter function (Video Quality Experts Group, *Final report on the validation of objective models of
video quality assessment*, 2000):

.. math:: f(x) = \frac{b_1 - b_2}{1 + \exp(-(x - b_3) / |b_4|)} + b_2

The fit removes the nonlinearity of a model's scale. It also removes the sign, since :math:`b_1 < b_2` makes the curve
fall: report raw PLCC and signed SRCC beside the fitted metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from lml_iqa.metrics.functional import Scores, is_constant, paired

_MAX_EVALUATIONS = 500
# Share of the scores' variance that a fit may lose to a straight line, which the curve only reaches in the limit.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class LogisticFit:
    """Curve from predictions to opinion scores.

    Attributes:
        parameters: (b1, b2, b3, b4): upper and lower end in units of the opinion scores, midpoint and width in units of
            the predictions. NaN without a fit.
        converged: True if there is a fit. If False, predictions are returned unchanged.
    """

    parameters: tuple[float, float, float, float]
    converged: bool

    def __call__(self, prediction: npt.ArrayLike) -> Scores:
        """Map (N,) predictions to (N,) float64 in units of the opinion scores."""
        x: Scores = np.array(prediction, dtype=np.float64)
        if self.converged:
            b1, b2, b3, b4 = self.parameters
            x = (b1 - b2) * expit((x - b3) / abs(b4)) + b2
        return x


_NO_FIT = LogisticFit((math.nan, math.nan, math.nan, math.nan), converged=False)


def fit_logistic(prediction: npt.ArrayLike, mos: npt.ArrayLike) -> LogisticFit:
    """Least-squares logistic from predictions to opinion scores, rising or falling.

    For a given midpoint and width, the best ends follow from linear regression, so only two parameters are searched
    (separable least squares: Golub & Pereyra, 1973). This makes a grid of starting points affordable and lets the
    regression determine the direction; the best start is refined by a simplex search with a bounded number of steps.

    There is no fit if predictions or opinion scores are constant, if there are four scores or fewer (which the curve
    would interpolate), if the search does not converge, or if a straight line explains the scores better.

    Args:
        prediction: (N,) finite, N >= 2, any units.
        mos: (N,) finite, any units.

    Raises:
        ValueError: The two are not (N,) with N >= 2, or contain NaN or infinity.
    """
    x, y = paired(prediction, mos)
    if len(x) <= 4 or is_constant(x) or is_constant(y):
        return _NO_FIT
    # Quartiles, because the standard deviation would let one outlier compress all other predictions.
    x_low, x_center, x_high = (float(quartile) for quartile in np.quantile(x, [0.25, 0.5, 0.75]))
    x_spread = (x_high - x_low) or float(x.std())
    y_center, y_spread = float(y.mean()), float(y.std())
    u, v = (x - x_center) / x_spread, (y - y_center) / y_spread

    def loss(curve: Scores) -> float:
        return _regress(_sigmoid(u, curve), v).unexplained

    start = min(_starts(u), key=loss)
    found = minimize(
        loss,
        start,
        method="Nelder-Mead",
        options={
            "initial_simplex": start + np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]]),
            "maxfev": _MAX_EVALUATIONS,
            # A step between two neighbors can be anywhere between them, so only the loss converges.
            "xatol": np.inf,
            "fatol": 1e-10,
        },
    )
    line = _regress(u, v)
    if not found.success or found.fun > min(line.unexplained, 1 - 2 * _TOLERANCE) + _TOLERANCE:
        return _NO_FIT
    midpoint, log_width = (float(value) for value in found.x)
    ends = _regress(_sigmoid(u, found.x), v)
    return LogisticFit(
        parameters=(
            y_center + y_spread * (ends.intercept + ends.slope),
            y_center + y_spread * ends.intercept,
            x_center + x_spread * midpoint,
            x_spread * math.exp(log_width),
        ),
        converged=True,
    )


class _Regression(NamedTuple):
    slope: float
    intercept: float
    unexplained: float  # mean squared residual


def _regress(s: Scores, v: Scores) -> _Regression:
    """Straight line from (N,) ``s`` to (N,) ``v`` of zero mean."""
    mean = float(s.mean())
    centered = s - mean
    power = float(centered @ centered)
    # For a flatter curve, the ends would be so far apart that float64 cannot resolve the scores between them.
    slope = float(centered @ v) / power if power > 1e-16 * len(s) else 0.0
    return _Regression(slope, -slope * mean, float(np.mean((v - slope * centered) ** 2)))


def _sigmoid(u: Scores, curve: Scores) -> Scores:
    """Logistic of (N,) predictions, 0..1; ``curve`` is (midpoint, log width)."""
    return np.asarray(expit((u - curve[0]) * math.exp(-curve[1])), dtype=np.float64)


def _starts(u: Scores) -> list[Scores]:
    """Starting (midpoint, log width) pairs for (N,) predictions in units of the interquartile range.

    Midpoints cover the predictions and extend beyond them, for scores that show only one bend of the curve. Widths
    range from a step to a curve that is straight over all predictions.
    """
    lowest, highest = float(u.min()), float(u.max())
    reach = highest - lowest
    midpoints = [lowest - reach / 2, *np.quantile(u, np.linspace(0, 1, 9)), highest + reach / 2]
    log_widths = np.linspace(math.log(0.02), math.log(30 * reach), 14)
    return [np.array([midpoint, log_width]) for midpoint in midpoints for log_width in log_widths]
