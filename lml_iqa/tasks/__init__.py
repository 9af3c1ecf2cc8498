"""LightningModules."""

from lml_iqa.tasks.lml import LMLTask
from lml_iqa.tasks.prediction import Prediction

__all__ = ["LMLTask", "Prediction"]
