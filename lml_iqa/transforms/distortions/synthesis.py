"""One distortion of one image: the severity is sought on the image itself."""

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
"""A PSNR this near its target, in dB, ends the search: a tenth of the distance between two levels."""
TRIALS = 8


def distort(image: NDArray[np.uint8], kind: int, level: int, seed: int) -> NDArray[np.uint8]:
    """Distort a clean image as TID2013 would.

    For the types whose severity is a :class:`Reach`, it is sought on this image until the PSNR lies within
    :data:`TOLERANCE` of ``LEVEL_PSNR[level - 1]``. Where the type cannot get there (a blur of a nearly flat image, JPEG
    already at quality 1, a number of colors that is a whole number) the nearest PSNR met in at most :data:`TRIALS`
    renderings is what comes back; compare :func:`psnr` with the target where it matters. Types 14 to 18 have the fixed
    severities of ``DISTORTIONS[kind].severity``. A color saturation change (18) leaves a gray image as it is.

    The result depends on the arguments alone: not on any global random state, nor on the process. Types 7, 8, 10, 11,
    17, 18, 22 and 23 have nothing random, so that ``seed`` is without effect there.

    Args:
        image: (H, W, 3) uint8 RGB, both sides at least 64 pixels; left as it is.
        kind: Type of distortion, 1 .. 24, as in :data:`DISTORTIONS`.
        level: 1 .. 5.
        seed: Non-negative; drives every random draw. Types and levels draw independently under one seed.

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
        raise ValueError(f"image is {found}, not a uint8 array: pass RGB values of 0..255 as numpy.uint8.")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image has shape {image.shape}, not (H, W, 3): convert it to RGB first.")
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise ValueError(f"image has shape {image.shape}: both sides must have at least {SMALLEST_SIDE} pixels.")
    if kind not in DISTORTIONS:
        raise ValueError(f"kind {kind!r} is not a distortion type: choose one of 1..{len(DISTORTIONS)}.")
    if level not in range(1, len(LEVEL_PSNR) + 1):
        raise ValueError(f"level {level!r} does not exist: choose one of 1..{len(LEVEL_PSNR)}.")
    if seed < 0:
        raise ValueError(f"seed {seed!r} is negative: choose 0 or more.")


def _render(distortion: Distortion, image: Image, severity: float, draw: int) -> Image:
    transform = distortion.transform(severity)
    transform.set_random_seed(draw)
    result: Image = transform(image=image)["image"]
    return result


def _at_psnr(render: Callable[[float], Image], image: Image, target: float, reach: Reach) -> Image:
    """Search the severity whose rendering has the target PSNR.

    PSNR falls about linearly with the logarithm of every severity: the first guess and the first step follow the line
    through the two severities that are usual for photographs; once the target lies between two trials, the line through
    them.
    """
    slope = (LEVEL_PSNR[0] - LEVEL_PSNR[-1]) / math.log(reach.harsh / reach.gentle)  # dB lost per e-fold
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
        if high - low < 1e-3:  # the end of the reach, or a jump
            break
        if math.isnan(above) or math.isnan(below):
            x = min(max(x + (found - target) / slope, low), high)
        else:
            share = 0.5 if math.isinf(above) else (above - target) / (above - below)
            # Kept off the ends, or a bent curve would creep towards one of them.
            x = low + (high - low) * min(max(share, 0.1), 0.9)
    return best
