"""Images that were damaged on their way."""

from __future__ import annotations

import io
import re

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8
from lml_iqa.transforms.distortions.wavelet import Plane, decompose, recompose

_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_START_OF_SCAN = b"\xff\xda"


class JpegErrors(Degradation):
    """JPEG transmission errors (type 12): bytes of the coded data arrive wrong, and the decoder makes what it can of it.

    A good JPEG with a restart marker after every few blocks is encoded; in some of the intervals between two markers one
    byte is changed. Decoding goes astray there and recovers at the next marker. ``severity`` is the share of the
    intervals that are hit, 0 .. 1.
    """

    QUALITY = 92
    INTERVAL = 12
    """Blocks of 8 x 8 pixels between two restart markers."""

    def degrade(self, image: Image) -> Image:
        """Encode, damage, decode."""
        # cv2 writes the markers for every Pillow that the package accepts; without chroma subsampling a damaged interval
        # cannot bleed into the next.
        options = [
            cv2.IMWRITE_JPEG_QUALITY,
            self.QUALITY,
            cv2.IMWRITE_JPEG_RST_INTERVAL,
            self.INTERVAL,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
        coded = cv2.imencode(".jpg", image[..., ::-1], options)[1]
        damaged = self._damage(coded.tobytes())
        # Pillow, unlike cv2, says nothing on stderr about the damage.
        return np.asarray(PILImage.open(io.BytesIO(damaged)).convert("RGB"))

    def _damage(self, coded: bytes) -> bytes:
        data = bytearray(coded)
        scan = coded.index(_START_OF_SCAN)
        start = scan + 2 + int.from_bytes(coded[scan + 2 : scan + 4], "big")
        ends = [*(match.start() for match in _RESTART.finditer(coded, start)), len(coded) - 2]
        starts = [start, *(end + 2 for end in ends[:-1])]
        order = self.random_generator.permutation(len(starts))
        where = self.random_generator.random(len(starts))
        wrong = self.random_generator.integers(1, 256, len(starts))
        for i in order[: max(1, round(self.severity * len(starts)))]:
            place = starts[i] + int(where[i] * (ends[i] - starts[i]))
            # 0xFF and the byte after it would be read as a marker.
            if data[place] != 0xFF and data[place - 1] != 0xFF and data[place] ^ wrong[i] != 0xFF:
                data[place] ^= int(wrong[i])
        return bytes(data)


class Jpeg2000Errors(Degradation):
    """JPEG 2000 transmission errors (type 13): code-blocks whose decoding went astray.

    Simulated on the wavelet of the standard, for a real decoder may refuse a damaged stream: in a code-block that is
    hit, every bit plane below a random one is noise, as after a wrong bit in its arithmetic code. The coarsest
    approximation, which a sender protects best, arrives whole. ``severity`` is the share of the code-blocks of the
    detail bands that are hit, 0 .. 1.
    """

    LEVELS = 4
    CODE_BLOCK = 16

    def degrade(self, image: Image) -> Image:
        """Transform, damage code-blocks, transform back."""
        height, width = image.shape[:2]
        multiple = 2**self.LEVELS
        padding = ((0, -height % multiple), (0, -width % multiple), (0, 0))
        padded = np.pad(image.astype(np.float32), padding, mode="reflect")
        approximation, bands = decompose(cv2.cvtColor(padded, cv2.COLOR_RGB2YCrCb), self.LEVELS)
        for level in bands:
            for band in level:
                for channel in range(3):
                    self._damage(band[..., channel])
        decoded = cv2.cvtColor(recompose(approximation, bands), cv2.COLOR_YCrCb2RGB)
        return to_uint8(decoded[:height, :width])

    def _damage(self, band: Plane) -> None:
        side = self.CODE_BLOCK
        rows, columns = (-(-length // side) for length in band.shape)
        hit = self.random_generator.random((rows, columns)) < self.severity
        planes = self.random_generator.integers(0, 4, (rows, columns))
        garble = self.random_generator.uniform(-1, 1, band.shape)
        for row, column in np.argwhere(hit):
            block = band[row * side : (row + 1) * side, column * side : (column + 1) * side]
            noise = garble[row * side : (row + 1) * side, column * side : (column + 1) * side]
            _garble(block, noise, float(np.abs(block).max()) / 2 ** planes[row, column])


def _garble(block: Plane, noise: NDArray[np.float64], step: float) -> None:
    """Keep the bits above ``step`` of every coefficient and replace the rest, in place."""
    if step > 0:
        kept = np.trunc(block / step) * step
        sign = np.where(kept == 0, np.sign(noise), np.sign(kept))
        block[:] = kept + sign * np.abs(noise) * step
