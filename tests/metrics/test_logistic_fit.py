import math
import warnings

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning, curve_fit

from lml_iqa.metrics import fit_logistic, logistic_fit, plcc, rmse


def curve(x, b1, b2, b3, b4):
    return (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4))) + b2


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(3, 2, size=200)


RISING, FALLING = (90.0, 10.0, 3.5, 0.8), (5.0, 70.0, 2.0, 1.5)


@pytest.mark.parametrize("parameters", [RISING, FALLING, (1e8 + 1, 1e8, 3.0, 1.0), (2e-9, 1e-9, 3.0, 0.5)])
def test_recovers_parameters(x, parameters):
    mos = curve(x, *parameters)
    fit = fit_logistic(x, mos)
    assert fit.converged
    np.testing.assert_allclose(fit.parameters, parameters, rtol=1e-3)
    np.testing.assert_allclose(fit(x), mos, rtol=0, atol=1e-4 * np.ptp(mos))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_units_do_not_matter(x, unit):
    mos = curve(x, *RISING) + np.random.default_rng(1).normal(0, 5, size=len(x))
    b1, b2, b3, b4 = fit_logistic(x, mos).parameters
    in_units = fit_logistic(unit * x, mos / unit).parameters
    np.testing.assert_allclose(in_units, (b1 / unit, b2 / unit, b3 * unit, b4 * unit), rtol=1e-4)


def test_applies_to_new_predictions(x):
    fit = fit_logistic(x, curve(x, *FALLING))
    assert fit([2.0])[0] == pytest.approx((5 + 70) / 2, rel=1e-4)
    assert fit([-1e9, 1e9]) == pytest.approx([70, 5], rel=1e-3)


def test_saturating_scale_is_straightened(x):
    mos = curve(x, *RISING) + np.random.default_rng(1).normal(0, 2, size=len(x))
    fitted = fit_logistic(x, mos)(x)
    assert plcc(fitted, mos) > plcc(x, mos) + 0.02
    assert rmse(fitted, mos) < 2.1


def test_falling_scale_keeps_its_direction_in_the_parameters(x):
    dmos = curve(x, *FALLING) + np.random.default_rng(1).normal(0, 2, size=len(x))
    fit = fit_logistic(x, dmos)
    assert plcc(x, dmos) < -0.9
    assert plcc(fit(x), dmos) > 0.98
    assert fit.parameters[0] < fit.parameters[1]


@pytest.mark.parametrize("n", [5, 6, 10, 50, 500])
@pytest.mark.parametrize("seed", range(5))
def test_never_worse_than_a_line(n, seed):
    rng = np.random.default_rng(seed)
    prediction = rng.normal(size=n)
    for mos in (rng.normal(size=n), prediction + rng.normal(size=n), np.exp(prediction), prediction**2, prediction > 0):
        fit = fit_logistic(prediction, mos)
        assert fit.converged
        assert plcc(fit(prediction), mos) >= abs(plcc(prediction, mos)) - 1e-6


@pytest.mark.parametrize("shape", [np.sqrt, np.square, np.log1p, lambda x: 20 + 60 * x, lambda x: -3 * x])
def test_monotone_data(shape):
    x = np.linspace(0, 1, 50)
    fit = fit_logistic(x, shape(x))
    assert fit.converged
    assert plcc(fit(x), shape(x)) > 0.995


def test_line_is_reached():
    x = np.linspace(-3, 8, 40)
    fit = fit_logistic(x, 5 - 2 * x)
    assert fit.converged
    np.testing.assert_allclose(fit(x), 5 - 2 * x, atol=1e-3)


def test_fits_where_curve_fit_gives_up():
    x = np.linspace(0, 1, 50)
    mos = np.sqrt(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        with pytest.raises(RuntimeError, match="maxfev"):
            curve_fit(curve, x, mos, p0=[mos.max(), mos.min(), x.mean(), x.std() / 4])
    assert fit_logistic(x, mos).converged


@pytest.mark.parametrize("outlier", [20.0, -1e6])
def test_outlying_prediction(x, outlier):
    mos = curve(x, *RISING)
    x[0] = outlier
    mos[0] = 50.0
    fit = fit_logistic(x, mos)
    assert fit.converged
    np.testing.assert_allclose(fit(x[1:]), mos[1:], atol=8)


def test_outlying_mos(x):
    mos = curve(x, *RISING)
    mos[0] = 500.0
    fit = fit_logistic(x, mos)
    assert fit.converged
    assert plcc(fit(x), mos) >= plcc(x, mos)


def test_mostly_repeated_predictions():
    x, mos = np.r_[np.zeros(40), 1, 2, 3], np.r_[np.zeros(40), 1, 5, 5]
    fit = fit_logistic(x, mos)
    assert fit.converged
    np.testing.assert_allclose(fit(x), mos, atol=1e-2)


@pytest.mark.parametrize(
    ("prediction", "mos"),
    [
        ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]),
        ([1, 2, 3, 4, 5], [1, 1, 1, 1, 1]),
        ([1, 2], [3, 4]),
        ([1, 2, 3, 4], [1, 4, 5, 9]),
        ([0, 0, 0, 1, 1, 1], [1, 2, 3, 1, 2, 3]),
    ],
    ids=["constant prediction", "constant mos", "two", "as many as parameters", "nothing to explain"],
)
def test_falls_back_to_raw(prediction, mos):
    fit = fit_logistic(prediction, mos)
    assert not fit.converged
    assert all(math.isnan(parameter) for parameter in fit.parameters)
    np.testing.assert_array_equal(fit(prediction), np.array(prediction, dtype=float))


def test_falls_back_when_the_search_is_cut_short(x, monkeypatch):
    monkeypatch.setattr(logistic_fit, "_MAX_EVALUATIONS", 5)
    fit = fit_logistic(x, curve(x, *RISING))
    assert not fit.converged
    np.testing.assert_array_equal(fit(x), x)


def test_falls_back_when_a_line_is_better(x, monkeypatch):
    step = np.array([0.0, math.log(1e-6)])
    monkeypatch.setattr(logistic_fit, "_starts", lambda u: [step])
    assert not fit_logistic(x, 2 * x).converged


def test_ends_stay_within_reach_of_float64(x, monkeypatch):
    # 36 widths left of all predictions the sigmoid is 1 but for the last few bits.
    monkeypatch.setattr(logistic_fit, "_starts", lambda u: [np.array([u.min() - 36 * 0.3, math.log(0.3)])])
    assert not fit_logistic(x, -np.exp(-2 * x)).converged


def test_leaves_its_input_alone(x):
    before = x.copy()
    fit = fit_logistic(x, x)
    fit(x)[:] = 0
    logistic_fit._NO_FIT(x)[:] = 0
    np.testing.assert_array_equal(x, before)


def test_rejects_nan():
    with pytest.raises(ValueError, match="prediction has 1 NaN"):
        fit_logistic([1, np.nan, 3], [1, 2, 3])
