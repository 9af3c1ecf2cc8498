"""Samplers that divide the images among processes and set their order."""

from lml_iqa.samplers.epoch import EpochSampler, Position
from lml_iqa.samplers.evaluation import ShareSampler

__all__ = ["EpochSampler", "Position", "ShareSampler"]
