"""Conversion of embedded color profiles and PNG gamma to sRGB."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_GAMMA_TOLERANCE = 0.05  # libpng's: a gAMA of 1 / 2.2 within 5 % counts as sRGB
_SAME = 1  # a profile that changes no color by more than this many of 255 levels counts as sRGB


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert 8-bit pixels to sRGB.

    Profiles are applied with perceptual intent, as in browsers. A profile that is broken, or of another color space
    than the pixels, is ignored. Without a profile, RGB and gray pixels count as sRGB, and CMYK is converted naively.

    Args:
        image: Image of mode L, RGB, CMYK or LAB.
        profile: Embedded ICC profile, or None.

    Returns:
        Image of mode RGB.
    """
    if image.mode == "LAB":
        return _apply(image, _lab_transform())
    if profile:
        space = _color_space(profile)
        if image.mode == "L" and space == "RGB":
            image = image.convert("RGB")
        if space == {"L": "GRAY"}.get(image.mode, image.mode):
            conversion = _conversion(profile, image.mode)
            if conversion is not None:
                return conversion(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def gamma_curve(gamma: float | None, levels: int) -> NDArray[np.uint8] | None:
    """Lookup table from the levels of a PNG with a gAMA chunk to 8-bit sRGB; None if they are already sRGB.

    Args:
        gamma: Exponent in the file (level = light ** gamma), or None.
        levels: Length of the table.
    """
    if gamma is None or gamma <= 0 or abs(gamma * 2.2 - 1) < _GAMMA_TOLERANCE:
        return None
    light = np.linspace(0, 1, levels) ** (1 / gamma)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    levels_8: NDArray[np.uint8] = np.rint(255 * encoded).astype(np.uint8)
    return levels_8


@lru_cache(maxsize=64)
def _color_space(profile: bytes) -> str | None:
    """Color space of a profile's pixels; None for an unusable profile."""
    try:
        core = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
        return core.xcolor_space.strip() if core.device_class in {"scnr", "mntr", "prtr", "spac"} else None
    except (OSError, UnicodeDecodeError):
        return None


@lru_cache(maxsize=64)
def _conversion(profile: bytes, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """Conversion from a profile to sRGB; None if the profile is broken or is sRGB."""
    # LittleCMS is exact for gray and CMYK only without optimization, which takes four times as long.
    flags = ImageCms.Flags.HIGHRESPRECALC if mode == "RGB" else ImageCms.Flags.NOOPTIMIZE
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)), _srgb(), mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags
        )
    except (OSError, ImageCms.PyCMSError):
        return None
    if mode == "CMYK":
        return lambda image: _apply(image, transform)
    axis = np.linspace(0, 255, 17).astype(np.uint8)
    colors = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(17, -1, 3)
    probe = Image.fromarray(colors if mode == "RGB" else np.arange(256, dtype=np.uint8)[None])
    table = np.asarray(_apply(probe, transform))
    if np.abs(table.astype(int) - np.asarray(probe.convert("RGB"))).max() <= _SAME:
        return None
    if mode == "L":
        return lambda image: Image.fromarray(table[0, np.asarray(image)])
    return lambda image: _apply(image, transform)


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    result = ImageCms.applyTransform(image, transform)
    return image if result is None else result  # None only for in-place conversion


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    # Not optimized: LittleCMS's interpolation is off by up to 23 levels.
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.buildTransform(lab, _srgb(), "LAB", "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
