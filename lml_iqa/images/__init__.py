"""Decoding of image files to 8-bit sRGB, as displayed by an image viewer."""

from lml_iqa.images.read import read_image, read_size
from lml_iqa.images.resized import ResizedImages, shrink

__all__ = ["ResizedImages", "read_image", "read_size", "shrink"]
