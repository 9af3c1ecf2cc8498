"""Reading a photograph as a viewer would show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lml_iqa.datasets.errors import ImageReadError


def read_image(path: str | Path, content: BinaryIO | None = None) -> NDArray[np.uint8]:
    """Decode an image file to 8-bit RGB, as a viewer would show it.

    The EXIF orientation is applied; grey becomes three equal channels; a palette is looked up; 16-bit grey is scaled
    to 8 bits; CMYK and YCbCr become RGB; transparency lies over white; of an animation the first frame is taken.

    Args:
        path: Any file that Pillow reads (BMP included, which torchvision's decoder does not read).
        content: What is in the file, where it does not lie on disk by itself; ``path`` is then its name in messages.

    Returns:
        (H, W, 3) uint8 array, RGB.

    Raises:
        ImageReadError: The file is missing, is no image, is cut off or corrupt, is larger than Pillow's safety limit,
            or holds numbers with no known black and white (floating point, 32-bit integers).
    """
    with _readable(path), Image.open(path if content is None else content) as opened:
        image = ImageOps.exif_transpose(opened)
        # Transposing forgets the format.
        return np.asarray(_to_rgb(image, opened.format, path))


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image as a viewer shows it, in pixels, from its header: nothing is decoded.

    Raises:
        ImageReadError: The file is missing or no image.
    """
    with _readable(path), Image.open(path) as opened:
        turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (opened.width, opened.height) if turned else (opened.height, opened.width)


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    """Turns what can go wrong while a file is read into an error that names file and cure."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageReadError(f"{path}: no such image; restore the file, or remove its row from the labels") from error
    except UnidentifiedImageError as error:
        raise ImageReadError(f"{path}: not an image that Pillow can read; replace the file") from error
    except Image.DecompressionBombError as error:
        raise ImageReadError(f"{path}: {error}; scale the image down first") from error
    except (IsADirectoryError, PermissionError) as error:
        raise ImageReadError(f"{path}: cannot be opened ({error.strerror}); give a file that may be read") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, ImageReadError):
            raise
        raise ImageReadError(f"{path}: corrupt or cut off ({error}); copy or download the file again") from error


def _to_rgb(image: Image.Image, file_format: str | None, path: str | Path) -> Image.Image:
    if image.mode in {"I;16", "I;16L", "I;16B", "I;16N"} or (image.mode == "I" and file_format in {"PNG", "PPM"}):
        # Pillow would clip 16 bits at 255; 65535 must become 255. Some versions open 16-bit PNG as "I", all do PGM.
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise ImageReadError(
            f"{path}: pixel mode {image.mode!r} has no defined black and white; save the image with 8 or 16 bits"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
