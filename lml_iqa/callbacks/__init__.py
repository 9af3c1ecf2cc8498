"""Callbacks: what a run leaves behind."""

from lml_iqa.callbacks.collapse import CollapseMonitor
from lml_iqa.callbacks.folder import run_folder, writes_files
from lml_iqa.callbacks.maps import QualityMaps
from lml_iqa.callbacks.oracle import TestEveryEpoch
from lml_iqa.callbacks.provenance import Provenance
from lml_iqa.callbacks.report import Report
from lml_iqa.callbacks.resume import ResumePoint

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
