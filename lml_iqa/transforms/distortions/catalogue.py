"""Names, transforms and severities of the 24 distortion types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import albumentations as A

from lml_iqa.transforms.distortions.compression import Jpeg2000, compressed_noise, jpeg
from lml_iqa.transforms.distortions.denoising import Denoising
from lml_iqa.transforms.distortions.local import BlockShifts, MeanShift, PatternNoise
from lml_iqa.transforms.distortions.noise import (
    ColorNoise,
    ComfortNoise,
    HighFrequencyNoise,
    MaskedNoise,
    MultiplicativeNoise,
)
from lml_iqa.transforms.distortions.quantization import DitheredPalette, QuantizationNoise
from lml_iqa.transforms.distortions.sampling import SparseSampling
from lml_iqa.transforms.distortions.transmission import Jpeg2000Errors, JpegErrors

LEVEL_PSNR: tuple[float, ...] = (33.0, 30.0, 27.0, 24.0, 21.0)
"""PSNR in dB of levels 1 to 5, for the types whose levels are defined by PSNR."""


@dataclass(frozen=True)
class Reach:
    """Search range for the severity that results in the PSNR of a level.

    Attributes:
        gentle: Severity for about 33 dB on a typical photograph; the search starts from it.
        harsh: Severity for about 21 dB on a typical photograph.
        least: Lowest severity.
        most: Highest severity.
    """

    gentle: float
    harsh: float
    least: float
    most: float


@dataclass(frozen=True)
class Distortion:
    """Distortion type.

    Attributes:
        number: TID2013's number, 1 .. 24.
        name: Common name in snake_case.
        transform: Function that creates the albumentations transform of a given severity, in the transform's unit.
        severity: Search range for the severity of each level, or the five severities themselves.
    """

    number: int
    name: str
    transform: Callable[[float], A.BasicTransform | A.BaseCompose]
    severity: Reach | tuple[float, float, float, float, float]


def _gaussian_noise(std: float) -> A.GaussNoise:
    """White noise of ``std`` gray levels."""
    return A.GaussNoise(std_range=(std / 255, std / 255), p=1)


def _correlated_noise(std: float) -> A.GaussNoise:
    """White noise of ``std`` gray levels at half the resolution, upsampled to the image size."""
    return A.GaussNoise(std_range=(std / 255, std / 255), noise_scale_factor=0.5, p=1)


def _impulse_noise(share: float) -> A.SaltAndPepper:
    """Random black or white pixels; ``share`` is the fraction of affected pixels."""
    return A.SaltAndPepper(amount=(share, share), salt_vs_pepper=(0.5, 0.5), p=1)


def _gaussian_blur(sigma: float) -> A.GaussianBlur:
    """Gaussian low-pass of ``sigma`` pixels."""
    return A.GaussianBlur(sigma_limit=(sigma, sigma), blur_limit=0, p=1)


def _contrast_change(change: float) -> A.RandomBrightnessContrast:
    """Relative change of contrast around the image's mean by ``change``; negative for less contrast."""
    # The opposite change of brightness keeps the mean constant.
    return A.RandomBrightnessContrast((-change, -change), (change, change), brightness_by_max=False, p=1)


def _saturation_change(kept: float) -> A.ColorJitter:
    """Blend with the gray version; ``kept`` is the share of the color image."""
    return A.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=(kept, kept), hue=(0, 0), p=1)


def _chromatic_aberration(distortion: float) -> A.ChromaticAberration:
    """Opposite magnification of red and blue; ``distortion`` is the radial coefficient."""
    limits = (distortion, distortion)
    return A.ChromaticAberration(limits, (0, 0), mode="red_blue", p=1)


_ALL = (
    Distortion(1, "additive_gaussian_noise", _gaussian_noise, Reach(6.3, 24.6, 0.5, 250)),
    Distortion(2, "color_component_noise", ColorNoise, Reach(4.1, 17, 0.5, 250)),
    Distortion(3, "spatially_correlated_noise", _correlated_noise, Reach(10.2, 39, 0.5, 250)),
    Distortion(4, "masked_noise", MaskedNoise, Reach(5.7, 24.6, 0.5, 250)),
    Distortion(5, "high_frequency_noise", HighFrequencyNoise, Reach(5.8, 24, 0.5, 250)),
    Distortion(6, "impulse_noise", _impulse_noise, Reach(0.0015, 0.024, 0.0001, 1)),
    Distortion(7, "quantization_noise", QuantizationNoise, Reach(20, 80, 2, 250)),
    Distortion(8, "gaussian_blur", _gaussian_blur, Reach(0.62, 4.8, 0.3, 40)),
    Distortion(9, "image_denoising", Denoising, Reach(7.6, 100, 1, 1000)),
    Distortion(10, "jpeg_compression", jpeg, Reach(0.63, 27, 0.02, 50)),
    Distortion(11, "jpeg2000_compression", Jpeg2000, Reach(5.7, 22, 1, 120)),
    Distortion(12, "jpeg_transmission_errors", JpegErrors, Reach(5.7, 22.7, 1, 120)),
    Distortion(13, "jpeg2000_transmission_errors", Jpeg2000Errors, Reach(0.1, 0.9, 0.00001, 8)),
    # For types 14 to 18 TID2013 defines no PSNR; the severities are our choice.
    Distortion(14, "non_eccentricity_pattern_noise", PatternNoise, (20, 40, 80, 160, 320)),
    # Higher levels have more but fainter blocks: raters score a few conspicuous blocks lowest.
    Distortion(15, "local_blockwise_distortion", BlockShifts, (128, 90.5, 64, 45.25, 32)),
    Distortion(16, "mean_shift", MeanShift, (8, 14, 24, 36, 52)),
    # Less and more contrast in turn: raters prefer slightly more contrast to the original.
    Distortion(17, "contrast_change", _contrast_change, (-0.2, 0.2, -0.4, 0.4, -0.6)),
    Distortion(18, "color_saturation_change", _saturation_change, (0.5, 0.35, 0.2, 0.1, 0.0)),
    Distortion(19, "multiplicative_gaussian_noise", MultiplicativeNoise, Reach(0.045, 0.19, 0.002, 10)),
    Distortion(20, "comfort_noise", ComfortNoise, Reach(18, 200, 1, 500)),
    Distortion(21, "lossy_compression_of_noisy_image", compressed_noise, Reach(5, 47, 0.5, 250)),
    Distortion(22, "color_quantization_with_dither", DitheredPalette, Reach(2.4, 38, 1, 128)),
    Distortion(23, "chromatic_aberration", _chromatic_aberration, Reach(0.011, 0.116, 0.0002, 1)),
    Distortion(24, "sparse_sampling_and_reconstruction", SparseSampling, Reach(0.25, 24, 0.001, 3000)),
)

DISTORTIONS: Mapping[int, Distortion] = MappingProxyType({distortion.number: distortion for distortion in _ALL})
"""TID2013's 24 types by number."""
