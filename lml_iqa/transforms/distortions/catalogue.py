"""The 24 types: what each is called, how it is made, and how strong its levels are."""

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
"""PSNR in dB at which levels 1 to 5 lie, for the types that it defines."""


@dataclass(frozen=True)
class Reach:
    """Where to look for the severity that gives a level its PSNR.

    Attributes:
        gentle: Severity that gives an ordinary photograph about 33 dB: where the search starts.
        harsh: Likewise for 21 dB.
        least: Smallest severity that may be used.
        most: Greatest severity that may be used.
    """

    gentle: float
    harsh: float
    least: float
    most: float


@dataclass(frozen=True)
class Distortion:
    """One type of distortion.

    Attributes:
        number: TID2013's number, 1 .. 24.
        name: The field's term in snake_case.
        transform: Makes the albumentations transform of a given severity, in the unit that the transform documents.
        severity: Where to search for the severity that puts each level at :data:`LEVEL_PSNR`, or the five severities
            themselves.
    """

    number: int
    name: str
    transform: Callable[[float], A.BasicTransform | A.BaseCompose]
    severity: Reach | tuple[float, float, float, float, float]


def _gaussian_noise(std: float) -> A.GaussNoise:
    """White noise of ``std`` gray levels."""
    return A.GaussNoise(std_range=(std / 255, std / 255), p=1)


def _correlated_noise(std: float) -> A.GaussNoise:
    """White noise of ``std`` gray levels at half the resolution, enlarged to the image's."""
    return A.GaussNoise(std_range=(std / 255, std / 255), noise_scale_factor=0.5, p=1)


def _impulse_noise(share: float) -> A.SaltAndPepper:
    """``share`` of the pixels turned black or white."""
    return A.SaltAndPepper(amount=(share, share), salt_vs_pepper=(0.5, 0.5), p=1)


def _gaussian_blur(sigma: float) -> A.GaussianBlur:
    """Gaussian low-pass of ``sigma`` pixels."""
    return A.GaussianBlur(sigma_limit=(sigma, sigma), blur_limit=0, p=1)


def _contrast_change(change: float) -> A.RandomBrightnessContrast:
    """Distances from the image's mean grown by ``change``, a share; negative for less contrast."""
    # Taking the same share of the mean away is what keeps the mean.
    return A.RandomBrightnessContrast((-change, -change), (change, change), brightness_by_max=False, p=1)


def _saturation_change(kept: float) -> A.ColorJitter:
    """Blend with the gray version, of which ``kept`` is the share of color that stays."""
    return A.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=(kept, kept), hue=(0, 0), p=1)


def _chromatic_aberration(distortion: float) -> A.ChromaticAberration:
    """Red and blue magnified in opposite senses; ``distortion`` is the radial coefficient."""
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
    # From here to 18 TID2013 gives no PSNR, and the severities below are this package's choice.
    Distortion(14, "non_eccentricity_pattern_noise", PatternNoise, (20, 40, 80, 160, 320)),
    # Fainter but more blocks from level to level: people mind the few glaring ones most.
    Distortion(15, "local_blockwise_distortion", BlockShifts, (128, 90.5, 64, 45.25, 32)),
    Distortion(16, "mean_shift", MeanShift, (8, 14, 24, 36, 52)),
    # Less and more contrast in turn: people prefer a little more to the original.
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
