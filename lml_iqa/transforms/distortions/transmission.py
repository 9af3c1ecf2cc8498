"""Images that were damaged on their way."""

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
    """JPEG transmission errors (type 12): some bytes arrive wrong, and the decoder makes of them what it can.

    A good JPEG with a restart marker after every few blocks is encoded; in some of the intervals between two markers
    one byte is changed. Decoding goes astray there and recovers at the next marker. ``severity`` is the
    root-mean-square error in gray levels: intervals are hit in random order, but for those that would exceed it.
    """

    QUALITY = 92
    INTERVAL = 8
    """Blocks of 8 x 8 pixels between two restart markers."""

    def degrade(self, image: Image) -> Image:
        """Decode the stream whole and damaged everywhere; take each interval from the one or the other."""
        # cv2, because older versions of Pillow cannot write the markers. Without chroma subsampling a damaged interval
        # does not bleed into its neighbors.
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
    # Pillow, unlike cv2, says nothing on stderr about damage.
    return np.array(PILImage.open(io.BytesIO(coded)))


def _block_errors(reference: Image, image: Image) -> NDArray[np.float64]:
    """Sum of squared errors of every 8 x 8 block, those at the right and bottom being cut off by the image's edge."""
    error = np.square(reference.astype(np.float64) - image).sum(axis=-1)
    rows, columns = (np.arange(0, side, 8) for side in error.shape)
    blocks: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(error, rows, axis=0), columns, axis=1)
    return blocks


class Jpeg2000Errors(Degradation):
    """JPEG 2000 transmission errors (type 13): packets whose decoding went astray.

    Simulated on the wavelet of the standard, for a real decoder may refuse a damaged stream. A packet holds what one
    channel has at one resolution for one precinct, here 64 x 64 pixels of the image. In a packet that is hit, every bit
    plane from some point on is noise, as after a wrong bit in an arithmetic code. The coarsest approximation, which a
    sender protects best, arrives whole. ``severity`` is the share of the packets that are
    hit; above 1 all are, ever earlier.
    """

    LEVELS = 4
    PRECINCT = 64
    PLANES = 6
    """Bit planes of a packet that errors can reach."""

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
        """Damage the packets of one resolution; ``side`` is that of a precinct in its coefficients."""
        rows, columns = details[0].shape[0] // side, details[0].shape[1] // side
        chance = self.random_generator.random((rows, 1, columns, 1, 3), dtype=np.float32)
        # The likelier errors are, the more packets have one, and the earlier in a packet comes the first: three octaves
        # of severity on, all its planes are lost. (If they were lost at once, PSNR would fall in leaps.)
        lost = self.PLANES * np.clip(np.log2(self.severity / np.maximum(chance, 1e-9)) / 3, 0, 1)
        hl, lh, hh = (
            self._garble(band.reshape(rows, side, columns, side, 3), lost).reshape(band.shape) for band in details
        )
        return hl, lh, hh

    def _garble(self, packets: Plane, lost: Plane) -> Plane:
        """Keep the bits above the lowest ``lost`` planes and replace the others."""
        noise = self.white_noise(*packets.shape)
        step = np.abs(packets).max(axis=(1, 3), keepdims=True) * 2 ** (lost - self.PLANES)
        kept = np.trunc(packets / np.maximum(step, 1e-6)) * step
        sign = np.where(kept == 0, np.sign(noise), np.sign(kept))
        return np.where(lost > 0, kept + sign * np.abs(noise) * step / 2, packets)
