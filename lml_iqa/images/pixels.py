"""Conversion of an opened image file to 8-bit sRGB over white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lml_iqa.images.color import gamma_curve, to_srgb
from lml_iqa.images.quirks import PixelsError, Quirks, quirks_of

_SIXTEEN_BIT = {"I;16", "I;16L", "I;16B", "I;16N"}


def decode(image: Image.Image) -> Image.Image:
    """Decode an image to 8-bit sRGB, with transparency composited over white.

    Args:
        image: File that has been opened but not loaded, or image in memory.

    Returns:
        Image of mode RGB, not yet oriented by EXIF.

    Raises:
        PixelsError: The pixels have no defined black and white, or Pillow would decode them incorrectly.
    """
    quirks = quirks_of(image)
    image.load()
    if image.mode in _SIXTEEN_BIT or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        # All versions of Pillow open 16-bit PGM as mode "I", some also 16-bit PNG.
        color, alpha = _from_16_bits(image, quirks)
    elif image.mode in {"I", "F"}:
        raise PixelsError(f"pixel mode {image.mode!r} has no defined black and white")
    else:
        color, alpha = _separate(image)
        if quirks.white_of_8 < 255 and image.palette is None:
            color = _brightened(color, quirks.white_of_8)
            alpha = alpha and _brightened(alpha, quirks.white_of_8)
        curve = gamma_curve(quirks.gamma, 256)
        if curve is not None:
            color = color.point(curve.tolist() * len(color.getbands()))
    rgb = to_srgb(color, quirks.profile)
    if alpha is None:
        return rgb
    rgb.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", rgb.size, "white"), rgb).convert("RGB")


def _from_16_bits(image: Image.Image, quirks: Quirks) -> tuple[Image.Image, Image.Image | None]:
    """Convert 16-bit gray to 8-bit gray and alpha."""
    if quirks.white is None:
        raise PixelsError(f"16-bit {image.format} has no defined black and white")
    levels: NDArray[np.int64] = np.asarray(image).astype(np.int64)
    curve = gamma_curve(quirks.gamma, quirks.white + 1)
    if curve is None:
        curve = np.rint(np.arange(quirks.white + 1) * (255 / quirks.white)).astype(np.uint8)
    gray = curve[::-1] if quirks.inverted else curve
    transparent = image.info.get("transparency")
    alpha = None if transparent is None else Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8))
    return Image.fromarray(gray[np.clip(levels, 0, quirks.white)]), alpha


def _separate(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Split 8-bit pixels into color (mode L, RGB, CMYK or LAB) and alpha."""
    gray = image.mode in {"1", "L", "LA", "La"}
    if not image.has_transparency_data:
        if image.mode in {"L", "RGB", "CMYK", "LAB"}:
            return image, None
        return image.convert("L" if gray else "RGB"), None
    if image.mode == "La":  # Pillow un-premultiplies gray only when converting to LA
        image = image.convert("LA")
    image = image.convert("LA" if gray else "RGBA")
    return image.convert("L" if gray else "RGB"), image.getchannel("A")


def _brightened(image: Image.Image, white: int) -> Image.Image:
    """Scale levels of 0..white to 0..255."""
    return image.point([min(255, round(level * 255 / white)) for level in range(256)] * len(image.getbands()))
