"""What a folder of images and labels is, what is wrong with it, and what to do: ``lml-iqa data``."""

from lml_iqa.doctor.check import Diagnosis, Finding, check, recognise

__all__ = ["Diagnosis", "Finding", "check", "recognise"]
