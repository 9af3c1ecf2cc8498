"""Image files decoded to 8-bit sRGB as a viewer would show them."""

from lml_iqa.images.read import read_image, read_size
from lml_iqa.images.resized import ResizedImages, shrink

__all__ = ["ResizedImages", "read_image", "read_size", "shrink"]
