"""Transmission errors in JPEG and JPEG 2000."""

from __future__ import annotations

import io
import re

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8
from lml_iqa.transforms.distortions.wavelet import Details, Plane, decompose, recompose

_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_START_OF_SCAN = b"\xff\xda"


class JpegErrors(Degradation):
    """JPEG transmission errors (type 12): decoding of a stream with some corrupt bytes.

    The image is encoded at high quality with a restart marker after every few blocks, and one byte is changed in some
    of the intervals between markers. Decoding fails there and recovers at the next marker. ``severity`` is the
    root-mean-square error in gray levels: intervals are corrupted in random order, except those that would exceed it.
    """

    QUALITY = 92
    INTERVAL = 8
    """Blocks of 8 x 8 pixels between two restart markers."""

    def degrade(self, image: Image) -> Image:
        """Decode the intact stream and one with all intervals corrupted; take each interval from either of them."""
        # cv2, because older versions of Pillow cannot write the markers. No chroma subsampling, so that a corrupted
        # interval does not affect its neighbors.
        options = [
            cv2.IMWRITE_JPEG_QUALITY,
            self.QUALITY,
            cv2.IMWRITE_JPEG_RST_INTERVAL,
            self.INTERVAL,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
        coded = cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()
        whole, damaged = _decode(coded), _decode(self._damage(coded))

        error_whole, error_damaged = _block_errors(image, whole), _block_errors(image, damaged)
        interval = np.arange(error_whole.size) // self.INTERVAL
        cost = np.bincount(interval, weights=(error_damaged - error_whole).ravel())
        left = self.severity**2 * image.size - error_whole.sum()
        hit = np.zeros(len(cost), bool)
        for i in self.random_generator.permutation(len(cost)):
            if cost[i] <= left:
                hit[i] = True
                left -= cost[i]
        mask = hit[interval].reshape(error_whole.shape).repeat(8, axis=0).repeat(8, axis=1)
        return np.where(mask[: image.shape[0], : image.shape[1], None], damaged, whole)

    def _damage(self, coded: bytes) -> bytes:
        """Change one byte of each interval."""
        data = bytearray(coded)
        scan = coded.index(_START_OF_SCAN)
        start = scan + 2 + int.from_bytes(coded[scan + 2 : scan + 4], "big")
        ends = [*(match.start() for match in _RESTART.finditer(coded, start)), len(coded) - 2]
        starts = [start, *(end + 2 for end in ends[:-1])]
        places = self.random_generator.integers(starts, ends)
        wrong = self.random_generator.integers(1, 256, len(places))
        for place, bits in zip(places.tolist(), wrong.tolist(), strict=True):
            # 0xFF and the byte after it would be read as a marker.
            if 0xFF not in (data[place], data[place - 1], data[place] ^ bits):
                data[place] ^= bits
        return bytes(data)


def _decode(coded: bytes) -> Image:
    # Pillow, unlike cv2, does not report corrupt data on stderr.
    return np.array(PILImage.open(io.BytesIO(coded)))


def _block_errors(reference: Image, image: Image) -> NDArray[np.float64]:
    """Sum of squared errors of every 8 x 8 block; blocks at the right and bottom may be incomplete."""
    error = np.square(reference.astype(np.float64) - image).sum(axis=-1)
    rows, columns = (np.arange(0, side, 8) for side in error.shape)
    blocks: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(error, rows, axis=0), columns, axis=1)
    return blocks


class Jpeg2000Errors(Degradation):
    """JPEG 2000 transmission errors (type 13): packets that are decoded incorrectly.

    Simulated on the wavelet of the standard, since a real decoder may reject a damaged stream. A packet contains the
    coefficients of one channel at one resolution for one precinct, here 64 x 64 pixels of the image. In a corrupted
    packet, every bit plane from some point on is noise, as after a wrong bit in an arithmetic code. The coarsest
    approximation, usually the best protected, is intact. ``severity`` is the share of corrupted packets; above 1, all
    packets are corrupted, from increasingly early points on.
    """

    LEVELS = 4
    PRECINCT = 64
    PLANES = 6
    """Number of bit planes of a packet that errors can affect."""

    def degrade(self, image: Image) -> Image:
        """Transform, damage packets, transform back."""
        height, width = image.shape[:2]
        padding = ((0, -height % self.PRECINCT), (0, -width % self.PRECINCT), (0, 0))
        padded = np.pad(image.astype(np.float32), padding, mode="symmetric")
        approximation, bands = decompose(cv2.cvtColor(padded, cv2.COLOR_RGB2YCrCb), self.LEVELS)
        damaged = [self._damage(details, self.PRECINCT >> level) for level, details in enumerate(bands, start=1)]
        decoded = cv2.cvtColor(recompose(approximation, damaged), cv2.COLOR_YCrCb2RGB)
        return to_uint8(decoded[:height, :width])

    def _damage(self, details: Details, side: int) -> Details:
        """Corrupt the packets of one resolution; ``side`` is the side of a precinct in coefficients."""
        rows, columns = details[0].shape[0] // side, details[0].shape[1] // side
        chance = self.random_generator.random((rows, 1, columns, 1, 3), dtype=np.float32)
        # With higher severity, more packets have errors, and the first error in a packet comes earlier; all its planes
        # are lost within three octaves of severity. (If they were lost at once, PSNR would decrease in steps.)
        lost = self.PLANES * np.clip(np.log2(self.severity / np.maximum(chance, 1e-9)) / 3, 0, 1)
        hl, lh, hh = (
            self._garble(band.reshape(rows, side, columns, side, 3), lost).reshape(band.shape) for band in details
        )
        return hl, lh, hh

    def _garble(self, packets: Plane, lost: Plane) -> Plane:
        """Keep the bits above the lowest ``lost`` planes and replace the rest with noise."""
        noise = self.white_noise(*packets.shape)
        step = np.abs(packets).max(axis=(1, 3), keepdims=True) * 2 ** (lost - self.PLANES)
        kept = np.trunc(packets / np.maximum(step, 1e-6)) * step
        sign = np.where(kept == 0, np.sign(noise), np.sign(kept))
        return np.where(lost > 0, kept + sign * np.abs(noise) * step / 2, packets)
