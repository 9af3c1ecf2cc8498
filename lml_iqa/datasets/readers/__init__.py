"""Readers of label files: CSV, text, Excel workbooks and MATLAB files."""
