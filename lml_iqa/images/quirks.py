"""Pixel properties of some formats that Pillow omits or reports incorrectly."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, BinaryIO

from PIL import Image, ImageFile, ImagePalette, TiffImagePlugin
from PIL.Jpeg2KImagePlugin import BoxReader

from lml_iqa.images.color import gamma_curve

# TIFF tags
_SUBFILE, _BITS, _PHOTOMETRIC, _PLANAR, _COLORMAP, _SAMPLE_FORMAT, _SUBSAMPLING = 254, 258, 262, 284, 320, 339, 530
_SUB_IFDS = (0x8769, 0x8825, 0xA005)  # EXIF, GPS and interoperability

_PNG_GREY = {"L;2": 85, "L;4": 17}  # Pillow scales these levels to 8 bits, but not the transparent one


class PixelsError(ValueError):
    """Pixels whose appearance is not defined, or that Pillow would decode incorrectly."""


@dataclass
class Quirks:
    """Interpretation of one file's pixels.

    Attributes:
        profile: Embedded ICC profile.
        gamma: Encoding exponent, if it is not sRGB's.
        white: Level of white in Pillow's 16-bit gray; None if it is not defined.
        white_of_8: Level of white in Pillow's 8-bit pixels.
        inverted: True if level 0 of 16-bit gray is white.
    """

    profile: bytes | None = None
    gamma: float | None = None
    white: int | None = None
    white_of_8: int = 255
    inverted: bool = False


def quirks_of(image: Image.Image) -> Quirks:
    """Read the pixel properties of an image: of a file that is not loaded yet, or in memory.

    Raises:
        PixelsError: Pillow would decode the pixels incorrectly.
    """
    if not isinstance(image, ImageFile.ImageFile):
        return Quirks(image.info.get("icc_profile"))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _tiff(image)
    if image.format == "PNG":
        return _png(image)
    if image.format == "JPEG2000":
        return _jpeg2000(image)
    if image.format == "BMP":
        return Quirks(_bmp_profile(image))
    # Pillow scales the levels of a PPM to 0..65535.
    return Quirks(image.info.get("icc_profile"), white=65535 if image.format in {"PPM", "IM", "JXL"} else None)


def _tiff(image: TiffImagePlugin.TiffImageFile) -> Quirks:
    tags = image.tag_v2
    photometric = tags.get(_PHOTOMETRIC, 0)
    raw = image.info.get("compression") == "raw"
    bits = tags.get(_BITS, (1,))
    if tags.get(_SUBFILE, 0) & 1:
        raise PixelsError("the first image of this TIFF is a reduced preview (is it a camera raw file?)")
    if 2 in tags.get(_SAMPLE_FORMAT, ()):
        raise PixelsError("a TIFF of signed numbers has no defined black and white")
    if photometric == 6 and raw and len(bits) > 1:
        if image.mode != "YCbCr":
            raise PixelsError("Pillow before version 13 cannot read an uncompressed YCbCr TIFF")
        if tags.get(_SUBSAMPLING, (2, 2)) != (1, 1):
            raise PixelsError("Pillow cannot read an uncompressed YCbCr TIFF with subsampled color")
    planar = tags.get(_PLANAR, 1) == 2 and len(bits) > 1
    if planar and (photometric not in {2, 5} or (raw and max(bits) > 8)):
        raise PixelsError(
            f"Pillow cannot read a TIFF with separate planes of {max(bits)} bits, photometric {photometric}"
        )
    if image.mode in {"P", "PA"} and max(tags[_COLORMAP]) < 256:  # written with 8 bits instead of 16
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[_COLORMAP]))
    exif = image.getexif()
    for tag in _SUB_IFDS:  # not needed, and Pillow fails on malformed ones
        exif.pop(tag, None)
    return Quirks(image.info.get("icc_profile"), white=4095 if bits == (12,) else 65535, inverted=photometric == 0)


def explain(file: BinaryIO) -> str:
    """Reason why Pillow cannot open a file of a known format; empty for an unknown format."""
    file.seek(0)
    prefix = file.read(16)
    if len(prefix) < 16:
        return ""
    for kind, (factory, accept) in Image.OPEN.items():
        try:
            if accept is None or accept(prefix) is not True:
                continue
            if kind == "TIFF":
                return _tiff_pixels(file)
            file.seek(0)
            factory(file, "")
        except Exception as error:  # the error that Pillow replaced by UnidentifiedImageError
            unknown = "unknown pixel format " if any(isinstance(cause, KeyError) for cause in error.args) else ""
            return f"{kind}: {unknown}{error}"
    return ""


def _tiff_pixels(file: BinaryIO) -> str:
    file.seek(0)
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
    file.seek(tags.next)
    tags.load(file)
    names = {_BITS: "BitsPerSample", _PHOTOMETRIC: "PhotometricInterpretation", _SAMPLE_FORMAT: "SampleFormat"}
    return f"TIFF of {', '.join(f'{name} {tags.get(tag)}' for tag, name in names.items())}"


def _png(image: ImageFile.ImageFile) -> Quirks:
    raw_mode = image.tile[0][3] if image.tile else None
    transparent = image.info.get("transparency")
    if transparent is not None and raw_mode == "RGB;16B":
        raise PixelsError("Pillow cannot read a 16-bit PNG with a transparent color")
    if raw_mode in _PNG_GREY and isinstance(transparent, int):
        image.info["transparency"] = transparent * _PNG_GREY[raw_mode]
    profile = image.info.get("icc_profile")
    gamma = None if profile or "srgb" in image.info else image.info.get("gamma")
    curve = gamma_curve(gamma, 256)
    if raw_mode in {"RGB;16B", "RGBA;16B", "LA;16B"} and curve is not None and curve[1] > 2:
        raise PixelsError(f"a 16-bit color PNG of gamma {gamma:g} needs more than the 8 bits that Pillow decodes")
    return Quirks(profile, gamma, white=65535)


def _jpeg2000(image: ImageFile.ImageFile) -> Quirks:
    file, profile, bits = _file_of(image), None, 8
    file.seek(0)
    start = file.read(43)
    if start.startswith(b"\xff\x4f"):  # a bare codestream
        bits = (start[42] & 0x7F) + 1
    else:
        file.seek(0)
        boxes = BoxReader(file)
        while boxes.next_box_type() != b"jp2h":
            pass
        header = boxes.read_boxes()
        while header.has_next_box():
            box = header.next_box_type()
            if box == b"ihdr":
                depth = bytes(header.read_fields(">IIH1s")[3])[0]
                bits = 8 if depth == 255 else (depth & 0x7F) + 1  # 255: a separate depth for every channel
            elif box == b"colr" and profile is None and header.read_fields(">B2s")[0] == 2:
                profile = bytes(header.read_fields(f">{header.remaining_in_box}s")[0])
    # Pillow shifts samples to 8 or 16 bits, so white is below the highest level.
    white = (1 << bits) - 1
    return Quirks(profile, white=white << max(0, 16 - bits), white_of_8=white << (8 - bits) if bits < 8 else 255)


def _bmp_profile(image: ImageFile.ImageFile) -> bytes | None:
    file = _file_of(image)
    file.seek(14)
    header = file.read(124)
    if len(header) < 124 or header[56:60] != b"DEBM":  # version 5 with an embedded profile
        return None
    offset, size = struct.unpack_from("<II", header, 112)
    file.seek(14 + offset)
    return file.read(size)


def _file_of(image: ImageFile.ImageFile) -> IO[bytes]:
    if image.fp is None:
        raise ValueError("the file is closed")
    return image.fp
