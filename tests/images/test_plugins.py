"""HEIC and JPEG XL are read where their plug-ins for Pillow are installed."""

import subprocess
import sys

import numpy as np
import pytest
from data.mutated_images import whole_files
from PIL import Image

from lml_iqa.datasets import ImageReadError, read_image
from lml_iqa.datasets.folder import load_folder
from lml_iqa.images.formats import register_plugins
from lml_iqa.images.read import read_size

LOSSLESS = {"a.heic": {"quality": -1, "chroma": 444}, "a.jxl": {"lossless": True}}


@pytest.fixture(autouse=True, scope="module")
def plugins():
    register_plugins()


def picture():
    y, x = np.mgrid[0 : 1 : 24 * 1j, 0 : 1 : 40 * 1j]
    return np.rint(np.stack([60 + 150 * y, 70 + 120 * x, 90 + 80 * x * y], axis=-1)).astype(np.uint8)


@pytest.mark.parametrize("name", LOSSLESS)
def test_pixels(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(picture()).save(path, **LOSSLESS[name])
    np.testing.assert_allclose(read_image(path).astype(int), picture(), atol=3)  # HEIC is stored as YCbCr
    alpha = np.full((24, 40, 1), 51, dtype=np.uint8)
    Image.fromarray(np.concatenate([picture(), alpha], axis=2)).save(path, **LOSSLESS[name])
    np.testing.assert_allclose(read_image(path), 0.2 * picture() + 0.8 * 255, atol=3)
    Image.fromarray(picture()[..., 0]).save(path, **LOSSLESS[name])
    np.testing.assert_array_equal(read_image(path)[..., 1], picture()[..., 0])


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def test_heic_is_oriented_once(tmp_path):
    path = tmp_path / "a.heic"
    Image.fromarray(np.rot90(picture()).copy()).save(path, exif=exif(6), **LOSSLESS["a.heic"])
    np.testing.assert_allclose(read_image(path).astype(int), picture(), atol=3)
    assert read_size(path) == (24, 40)


def test_jpeg_xl_is_oriented_once(tmp_path):
    # Decoders turn the pixels by what the codestream says; EXIF only repeats it.
    Image.fromarray(picture()).save(tmp_path / "a.jxl", exif=exif(6), lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jxl"), picture())
    assert read_size(tmp_path / "a.jxl") == (24, 40)
    # A JPEG inside is restored as it was.
    Image.fromarray(np.rot90(picture()).copy()).save(tmp_path / "a.jpg", exif=exif(6), quality=95)
    Image.open(tmp_path / "a.jpg").save(tmp_path / "b.jxl", lossless_jpeg=True)
    np.testing.assert_array_equal(read_image(tmp_path / "b.jxl"), read_image(tmp_path / "a.jpg"))
    assert read_size(tmp_path / "b.jxl") == (24, 40)


def test_folder(tmp_path, recwarn):
    for name, options in LOSSLESS.items():
        Image.fromarray(picture()).save(tmp_path / name, **options)
    assert load_folder(tmp_path).files.tolist() == ["a.heic", "a.jxl"]
    assert not recwarn.list


def test_plugins_are_registered_on_first_use(tmp_path):
    for name, options in LOSSLESS.items():
        Image.fromarray(picture()).save(tmp_path / name, **options)
    script = "import sys; from lml_iqa import read_image; print([read_image(path).shape for path in sys.argv[1:]])"
    command = [sys.executable, "-c", script, *(tmp_path / name for name in LOSSLESS)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "[(24, 40, 3), (24, 40, 3)]"


@pytest.mark.parametrize("name", ["heif", "jxl"])
def test_damaged_files_are_refused(tmp_path, name):
    whole = whole_files()[name]
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "a").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ImageReadError):
            read_image(tmp_path / "a")
