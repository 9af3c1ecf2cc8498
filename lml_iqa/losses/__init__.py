"""Losses of LML-IQA in plain PyTorch."""

from lml_iqa.losses.local_manifold import InterWeighting, LocalManifoldLoss, Positives
from lml_iqa.losses.mutual import mutual_loss

__all__ = ["InterWeighting", "LocalManifoldLoss", "Positives", "mutual_loss"]
