"""Callbacks: what a run leaves behind."""

from lml_iqa.callbacks.folder import run_folder, writes_files
from lml_iqa.callbacks.oracle import TestEveryEpoch
from lml_iqa.callbacks.report import Report

__all__ = ["Report", "TestEveryEpoch", "run_folder", "writes_files"]
