"""What a folder of images and labels is, what is wrong with it, and what to do: ``lml-iqa data``."""

from lml_iqa.data_tools.findings import Finding
from lml_iqa.data_tools.recognize import recognize
from lml_iqa.data_tools.validate import Diagnosis, check

__all__ = ["Diagnosis", "Finding", "check", "recognize"]
