"""Callbacks: reports, plots, checks and resume points of a run."""

from lml_iqa.callbacks.collapse import CollapseMonitor
from lml_iqa.callbacks.quality_map import QualityMaps
from lml_iqa.callbacks.report import Report
from lml_iqa.callbacks.resume import ResumePoint
from lml_iqa.callbacks.run_metadata import Provenance
from lml_iqa.callbacks.test_every_epoch import TestEveryEpoch
from lml_iqa.utils.run_dir import run_folder, writes_files

__all__ = [
    "CollapseMonitor",
    "Provenance",
    "QualityMaps",
    "Report",
    "ResumePoint",
    "TestEveryEpoch",
    "run_folder",
    "writes_files",
]
