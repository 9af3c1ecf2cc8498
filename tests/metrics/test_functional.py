import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import stats

from lml_iqa.metrics import UndefinedCorrelationWarning, krcc, plcc, rmse, srcc

CORRELATIONS = [srcc, plcc, krcc]


def scores(seed, n, ties):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = rng.choice([-1, 1]) * x + rng.normal(size=n)
    return (np.round(x), np.round(y)) if ties else (x, y)


def pearson_by_hand(x, y):
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return covariance / math.sqrt(sum((a - x_mean) ** 2 for a in x) * sum((b - y_mean) ** 2 for b in y))


def ranks_by_hand(x):
    return [sum(other < value for other in x) + (sum(other == value for other in x) + 1) / 2 for value in x]


def kendall_by_hand(x, y):
    concordant = discordant = x_tied = y_tied = pairs = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        direction = (x[i] - x[j]) * (y[i] - y[j])
        pairs += 1
        concordant += direction > 0
        discordant += direction < 0
        x_tied += x[i] == x[j]
        y_tied += y[i] == y[j]
    return (concordant - discordant) / math.sqrt((pairs - x_tied) * (pairs - y_tied))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 30, 80])
@pytest.mark.parametrize("seed", range(4))
class TestOracles:
    def test_spearman(self, seed, n, ties):
        x, y = scores(seed, n, ties)
        assert srcc(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-15)
        assert srcc(x, y) == pytest.approx(pearson_by_hand(ranks_by_hand(x), ranks_by_hand(y)), abs=1e-12)

    def test_pearson(self, seed, n, ties):
        x, y = scores(seed, n, ties)
        assert plcc(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-15)
        assert plcc(x, y) == pytest.approx(pearson_by_hand(x, y), abs=1e-12)

    def test_kendall(self, seed, n, ties):
        x, y = scores(seed, n, ties)
        assert krcc(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-15)
        assert krcc(x, y) == pytest.approx(kendall_by_hand(x, y), abs=1e-12)

    def test_rmse(self, seed, n, ties):
        x, y = scores(seed, n, ties)
        assert rmse(x, y) == pytest.approx(math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / n))


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_sign_is_kept(correlation):
    assert correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert correlation([1, 2, 3, 4], [40, 30, 20, 10]) == pytest.approx(-1)


def test_two_images_are_enough():
    assert srcc([1, 2], [5, 3]) == pytest.approx(-1)
    assert krcc([1, 2], [5, 3]) == pytest.approx(-1)
    assert plcc([1, 2], [5, 3]) == pytest.approx(-1)


def test_float32_is_evaluated_in_float64():
    x = np.array([1.0, 2.0, 4.0], dtype=np.float32) + np.float32(2**20)
    y = np.array([1.0, 2.0, 4.0], dtype=np.float32)
    assert plcc(x, y) == pytest.approx(1, abs=1e-9)
    assert rmse(x, y) == 2**20


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize(
    ("prediction", "mos", "named"),
    [
        ([2.5, 2.5, 2.5], [1, 2, 3], r"prediction \(2\.5\) is constant"),
        ([1, 2, 3], [7, 7, 7], r"mos \(7\) is constant"),
        ([1, 1], [7, 7], r"prediction \(1\) and mos \(7\) is constant"),
    ],
)
def test_constant_side_is_named(correlation, prediction, mos, named):
    with pytest.warns(UndefinedCorrelationWarning, match=named) as caught:
        assert math.isnan(correlation(prediction, mos))
    assert [warning.filename for warning in caught] == [__file__]


def test_rmse_of_a_constant_is_defined():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rmse([3, 3], [0, 0]) == 3


@pytest.mark.parametrize("figure", [*CORRELATIONS, rmse])
class TestErrors:
    def test_invalid_values_are_counted_and_located(self, figure):
        prediction = np.arange(20.0)
        prediction[[3, 5, 8, 9, 10, 11]] = [np.nan, np.inf, -np.inf, np.nan, np.nan, np.nan]
        with pytest.raises(ValueError, match=r"prediction has 6 NaN .* of 20, first at \[3, 5, 8, 9, 10\]"):
            figure(prediction, np.arange(20.0))

    def test_invalid_mos(self, figure):
        with pytest.raises(ValueError, match=r"mos has 1 NaN .* first at \[1\]"):
            figure([1, 2], [1, np.nan])

    @pytest.mark.parametrize(
        ("prediction", "mos"), [([1, 2, 3], [1, 2]), ([1], [1]), ([], []), ([[1, 2]], [[1, 2]]), (1, 1)]
    )
    def test_shapes(self, figure, prediction, mos):
        with pytest.raises(ValueError, match="1-D, of equal length and at least 2"):
            figure(prediction, mos)
