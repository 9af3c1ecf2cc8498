"""Which process reads which images, in which order."""

from lml_iqa.samplers.epoch import EpochSampler, Position
from lml_iqa.samplers.evaluation import ShareSampler

__all__ = ["EpochSampler", "Position", "ShareSampler"]
