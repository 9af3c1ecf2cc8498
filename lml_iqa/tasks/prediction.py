"""Output of the validation, test and prediction steps."""

from __future__ import annotations

from typing import Any, TypedDict

from torch import Tensor


class Prediction(TypedDict):
    """Scores of a batch of B images.

    Attributes:
        scale: Range and direction of all scores in this prediction, as arguments of
            :class:`~lml_iqa.datasets.scale.ScoreScale`.
        score: (B,) float32 image scores.
        spread: (B,) float32 standard deviation of an image's crop scores.
        crop_scores: (B, K) float32.
        saliency: (B, K) float32, sums to one over K.
        embedding: (B, Z) float32 unit vectors: the embeddings of the most salient crops.
        positions: (B, K, 2) int64 top-left corners (y, x) of the crops.
        image_id: (B,) int64 rows of the images in the data module's table.
    """

    scale: dict[str, Any]
    score: Tensor
    spread: Tensor
    crop_scores: Tensor
    saliency: Tensor
    embedding: Tensor
    positions: Tensor
    image_id: Tensor
