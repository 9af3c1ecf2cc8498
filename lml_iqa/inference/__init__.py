"""Scoring of images with a trained model."""

from lml_iqa.inference.model import ImageSource, QualityModel, Score, load

__all__ = ["ImageSource", "QualityModel", "Score", "load"]
