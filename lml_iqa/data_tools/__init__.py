"""Tools that identify, validate and prepare data sets on disk: ``lml-iqa data``."""

from lml_iqa.data_tools.findings import Finding
from lml_iqa.data_tools.recognize import recognize
from lml_iqa.data_tools.validate import Diagnosis, check

__all__ = ["Diagnosis", "Finding", "check", "recognize"]
