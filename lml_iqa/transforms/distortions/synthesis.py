"""Distortion of one image, with a search for the severity of a level."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lml_iqa.transforms.distortions.base import Image
from lml_iqa.transforms.distortions.catalogue import DISTORTIONS, LEVEL_PSNR, Distortion, Reach
from lml_iqa.transforms.distortions.fidelity import psnr

SMALLEST_SIDE = 64
TOLERANCE = 0.3
"""Tolerance of the PSNR search in dB, a tenth of the difference between two levels."""
TRIALS = 8


def distort(image: NDArray[np.uint8], kind: int, level: int, seed: int) -> NDArray[np.uint8]:
    """Distort a reference image as in TID2013.

    For types whose severity is a :class:`Reach`, it is searched for this image until the PSNR is within
    :data:`TOLERANCE` of ``LEVEL_PSNR[level - 1]``. If the type cannot reach it (blur of a nearly flat image, JPEG
    already at quality 1, an integer number of colors), the rendering with the nearest PSNR in at most :data:`TRIALS` is
    returned; compare :func:`psnr` with the target if it matters. Types 14 to 18 have the fixed severities of
    ``DISTORTIONS[kind].severity``. A color saturation change (18) does not change a gray image.

    The result only depends on the arguments, not on global random state or the process. Types 7, 8, 10, 11, 17, 18, 22
    and 23 are deterministic; ``seed`` has no effect on them.

    Args:
        image: (H, W, 3) uint8 RGB, both sides at least 64 pixels; not modified.
        kind: Distortion type, 1 .. 24, as in :data:`DISTORTIONS`.
        level: 1 .. 5.
        seed: Non-negative seed of all random draws, which are independent between types and levels.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ValueError: An argument is outside its range.
    """
    _check(image, kind, level, seed)
    distortion = DISTORTIONS[kind]
    draw = int(np.random.SeedSequence([seed, kind, level]).generate_state(1)[0])

    def render(severity: float) -> Image:
        return _render(distortion, image, severity, draw)

    if isinstance(distortion.severity, Reach):
        return _at_psnr(render, image, LEVEL_PSNR[level - 1], distortion.severity)
    return render(distortion.severity[level - 1])


def _check(image: NDArray[np.uint8], kind: int, level: int, seed: int) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, "dtype", type(image).__name__)
        raise ValueError(f"image is {found}, not a uint8 array; pass RGB values in 0..255 as numpy.uint8")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image has shape {image.shape}, not (H, W, 3); convert it to RGB first")
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise ValueError(f"image has shape {image.shape}; both sides must have at least {SMALLEST_SIDE} pixels")
    if kind not in DISTORTIONS:
        raise ValueError(f"kind {kind!r} is not a distortion type; choose one of 1..{len(DISTORTIONS)}")
    if level not in range(1, len(LEVEL_PSNR) + 1):
        raise ValueError(f"level {level!r} does not exist; choose one of 1..{len(LEVEL_PSNR)}")
    if seed < 0:
        raise ValueError(f"seed {seed!r} is negative; choose 0 or more")


def _render(distortion: Distortion, image: Image, severity: float, draw: int) -> Image:
    transform = distortion.transform(severity)
    transform.set_random_seed(draw)
    result: Image = transform(image=image)["image"]
    return result


def _at_psnr(render: Callable[[float], Image], image: Image, target: float, reach: Reach) -> Image:
    """Search for the severity whose rendering has the target PSNR.

    PSNR decreases roughly linearly with the logarithm of the severity. The first steps use the line through the two
    severities typical of photographs; once two trials bracket the target, the search interpolates between them.
    """
    slope = (LEVEL_PSNR[0] - LEVEL_PSNR[-1]) / math.log(reach.harsh / reach.gentle)  # decrease in dB per factor of e
    low, high = math.log(reach.least), math.log(reach.most)
    above = below = math.nan  # PSNR at low and at high, once tried
    x = math.log(reach.gentle) + (LEVEL_PSNR[0] - target) / slope
    best: Image = image.copy()
    nearest = math.inf
    for _ in range(TRIALS):
        trial = render(math.exp(x))
        found = psnr(image, trial)
        if abs(found - target) < nearest:
            best, nearest = trial, abs(found - target)
        if nearest <= TOLERANCE:
            break
        if found > target:
            low, above = x, found
        else:
            high, below = x, found
        if high - low < 1e-3:  # end of the range, or a jump
            break
        if math.isnan(above) or math.isnan(below):
            x = min(max(x + (found - target) / slope, low), high)
        else:
            share = 0.5 if math.isinf(above) else (above - target) / (above - below)
            # Away from the ends, since convergence toward one of them would be slow on a curved function.
            x = low + (high - low) * min(max(share, 0.1), 0.9)
    return best
