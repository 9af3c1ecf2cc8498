"""LightningModules."""

from lml_iqa.tasks.lml import LMLTask, Prediction

__all__ = ["LMLTask", "Prediction"]
