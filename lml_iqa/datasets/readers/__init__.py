"""Readers of label files: CSV, text, Excel workbooks and MATLAB files."""

from lml_iqa.datasets.readers.ratings import read_columns, read_pairs, read_ratings

__all__ = ["read_columns", "read_pairs", "read_ratings"]
