"""Helpers that are independent of image quality."""
