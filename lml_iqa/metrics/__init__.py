"""Agreement with opinion scores: correlations, the logistic fit, and the metric that survives distributed runs."""

from lml_iqa.metrics.correlation import UndefinedCorrelationWarning, krcc, plcc, rmse, srcc
from lml_iqa.metrics.logistic import LogisticFit, fit_logistic
from lml_iqa.metrics.quality import (
    ImageScores,
    InvalidScoreWarning,
    QualityMetrics,
    QualityScores,
    evaluate,
)

__all__ = [
    "ImageScores",
    "InvalidScoreWarning",
    "LogisticFit",
    "QualityMetrics",
    "QualityScores",
    "UndefinedCorrelationWarning",
    "evaluate",
    "fit_logistic",
    "krcc",
    "plcc",
    "rmse",
    "srcc",
]
