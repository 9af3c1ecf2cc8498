"""Reader of image files, decoded as displayed by an image viewer."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from lml_iqa.errors import ImageReadError
from lml_iqa.images.formats import NOT_PIXELS, register_plugins
from lml_iqa.images.pixels import decode
from lml_iqa.images.quirks import PixelsError, explain
from lml_iqa.utils.files import printable

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SMALL = 1 << 24  # pixels; smaller images are not checked for density
_DENSEST = 2000  # pixels per byte; photographs have fewer than 100, a blank PNG 350
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # EXIF types


def read_image(path: str | Path, content: BinaryIO | None = None) -> NDArray[np.uint8]:
    """Decode an image file to 8-bit sRGB, as displayed by an image viewer.

    - The EXIF orientation is applied; malformed EXIF is ignored.
    - Gray is repeated over three channels, palettes are expanded, and levels of any bit depth are scaled to 0..255.
    - Embedded ICC profiles and the gamma of PNG files are converted to sRGB; an unsuitable profile is ignored.
    - CMYK, YCbCr and CIELAB are converted to RGB.
    - Transparent pixels are composited over white.
    - Only the first frame or page of a file is read.

    Args:
        path: Any file that Pillow reads, and HEIC or JPEG XL if ``pillow-heif`` or ``pillow-jxl-plugin`` is installed.
        content: The file's content, if it is not read from disk; ``path`` is then its name in messages.

    Returns:
        (H, W, 3) uint8 array, RGB.

    Raises:
        ImageReadError: The file is missing, not an image, cut off or corrupt, exceeds Pillow's safety limit, or has
            pixels with no defined appearance (floating point, signed or 32-bit numbers).
    """
    with _errors_named(path), _open(path if content is None else content) as image:
        _check_density(image, path if content is None else content)
        return to_array(image)


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Decode an opened image like :func:`read_image`.

    Args:
        image: Image of Pillow, from a file or not.

    Returns:
        (H, W, 3) uint8 array, RGB.

    Raises:
        PixelsError: The pixels have no defined appearance.
    """
    rgb = decode(image)
    # After decoding: Pillow orients TIFF files by itself and then forgets their orientation.
    turn = _TURNS.get(_orientation(image))
    return np.asarray(rgb if turn is None else rgb.transpose(turn))


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the array that :func:`read_image` returns, without decoding most formats.

    Raises:
        ImageReadError: The file is missing or not an image.
    """
    with _errors_named(path), _open(path) as image:
        if image.format in {"ICO", "ICNS"}:  # the listed sizes may differ from those of the images
            image.load()
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # some versions of Pillow swap these
            width, height = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
        return (width, height) if _orientation(image) >= 5 else (height, width)


def _open(source: str | Path | BinaryIO) -> ImageFile.ImageFile:
    register_plugins()
    try:
        image = Image.open(source)
    except UnidentifiedImageError as error:
        with Path(source).open("rb") if isinstance(source, (str, Path)) else nullcontext(source) as file:
            why = explain(file)
        raise UnidentifiedImageError(f"({why})" if why else "") from error
    if image.format in NOT_PIXELS:
        image.close()
        raise PixelsError(f"{image.format} files contain drawings or other data, not pixels")
    return image


def _check_density(image: Image.Image, source: str | Path | BinaryIO) -> None:
    """Reject a small file that declares a huge image, which would take seconds and gigabytes to decode."""
    pixels = image.width * image.height
    if pixels <= _SMALL:
        return
    size = Path(source).stat().st_size if isinstance(source, (str, Path)) else source.seek(0, io.SEEK_END)
    if pixels > _DENSEST * size:
        raise ValueError(f"{image.width}x{image.height} pixels in {size} bytes")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 if it is missing, unreadable or not applicable."""
    if image.format == "JXL" and not getattr(image, "jpeg", None):
        return 1  # decoded upright; EXIF applies only to a recompressed JPEG
    orientation = None
    with suppress(Exception):  # on malformed metadata, parsers can raise any exception
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    with suppress(LookupError, struct.error):
        # Pillow stops at the first malformed tag, which may precede the orientation.
        orientation = _orientation_tag(image.info.get("exif") or b"") or orientation
    return int(orientation) if orientation in _TURNS else 1


def _orientation_tag(exif: bytes) -> int | None:
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}[exif[:2]]
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", exif, place)
        if tag == ExifTags.Base.Orientation and kind in _INTEGERS:
            return int(struct.unpack_from(f"{order}{_INTEGERS[kind]}", exif, place + 8)[0])
    return None


@contextmanager
def _errors_named(path: str | Path) -> Iterator[None]:
    """Convert any exception raised while reading a file to an error that names the file and the cure."""
    name = printable(path)
    try:
        yield
    except FileNotFoundError as error:
        raise ImageReadError(f"{name}: no such image; restore the file, or remove its row from the labels") from error
    except UnidentifiedImageError as error:
        what = f"not an image that Pillow can read {error}".strip()
        cure = "replace the file, or save it as 8-bit PNG" if str(error) else "replace the file"
        raise ImageReadError(f"{name}: {what}; {cure}") from error
    except PixelsError as error:
        raise ImageReadError(f"{name}: {error}; save the image with 8 or 16 bits, for example as PNG") from error
    except Image.DecompressionBombError as error:
        raise ImageReadError(f"{name}: {error}; scale the image down first") from error
    except MemoryError as error:
        raise ImageReadError(f"{name}: not enough memory to decode it; scale the image down first") from error
    except Exception as error:  # on damaged files, decoders can raise any exception
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageReadError(f"{name}: cannot be read ({error.strerror}); check the file's permissions") from error
        what = str(error) if isinstance(error, (OSError, ValueError, SyntaxError)) else repr(error)
        raise ImageReadError(f"{name}: corrupt or cut off ({what}); copy or download the file again") from error
