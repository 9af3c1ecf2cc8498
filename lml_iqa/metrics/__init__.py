"""Agreement with opinion scores (correlations, logistic fit, distributed metric), and signs of collapse."""

from lml_iqa.metrics.functional import UndefinedCorrelationWarning, krcc, plcc, rmse, srcc
from lml_iqa.metrics.logistic_fit import LogisticFit, fit_logistic
from lml_iqa.metrics.quality import (
    ImageScores,
    InvalidScoreWarning,
    QualityMetrics,
    QualityScores,
    evaluate,
)
from lml_iqa.metrics.representation import effective_rank, saliency_entropy

__all__ = [
    "ImageScores",
    "InvalidScoreWarning",
    "LogisticFit",
    "QualityMetrics",
    "QualityScores",
    "UndefinedCorrelationWarning",
    "effective_rank",
    "evaluate",
    "fit_logistic",
    "krcc",
    "plcc",
    "rmse",
    "saliency_entropy",
    "srcc",
]
