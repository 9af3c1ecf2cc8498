"""Networks of LML-IQA in plain PyTorch."""

from lml_iqa.models.lml import Aggregate, CropScores, LMLNetwork, LMLPair, image_score
from lml_iqa.models.saliency import Saliency
from lml_iqa.models.weights import Pretrained, WeightsError, read_state

__all__ = [
    "Aggregate",
    "CropScores",
    "LMLNetwork",
    "LMLPair",
    "Pretrained",
    "Saliency",
    "WeightsError",
    "image_score",
    "read_state",
]
