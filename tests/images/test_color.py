"""Embedded color profiles are converted to sRGB as browsers do."""

import io
import struct

import numpy as np
import pytest
from data.profiles import PROPHOTO, SRGB, black_ink_profile, gray_profile, profile, rgb_profile
from PIL import Image, ImageCms

from lml_iqa.images import color, read_image

BUILT_IN = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def picture():
    """Colors of medium saturation, which are inside of sRGB in a wide profile too."""
    y, x = np.mgrid[0 : 1 : 32 * 1j, 0 : 1 : 48 * 1j]
    return np.rint(np.stack([60 + 150 * y, 70 + 120 * x, 90 + 80 * x * y], axis=-1)).astype(np.uint8)


def encoded(light):
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def converted(levels, columns, gamma):
    """Levels of a matrix profile to those of sRGB, in floating point."""
    return encoded((levels / 255) ** gamma @ (np.linalg.inv(SRGB) @ columns).T)


def wide(levels):
    return converted(levels, PROPHOTO, 1.8)


def save(path, image, **options):
    image.save(path, **options)
    return path


LOSSLESS = {
    "a.png": {},
    "a.tif": {},
    "a.webp": {"lossless": True},
    "a.avif": {"quality": 100, "subsampling": "4:4:4", "speed": 10},
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_wide_profile(tmp_path, name):
    path = save(tmp_path / name, Image.fromarray(picture()), icc_profile=rgb_profile(), **LOSSLESS[name])
    stored = np.asarray(Image.open(path)).astype(float)
    image = read_image(path)
    np.testing.assert_allclose(image, wide(stored), atol=1.01)
    assert np.abs(image.astype(int) - picture()).mean() > 5  # the profile does something


def test_wide_profile_of_a_jpeg(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(picture()), icc_profile=rgb_profile(), quality=95)
    np.testing.assert_allclose(read_image(path), wide(np.asarray(Image.open(path)).astype(float)), atol=1.01)


def test_transparency_is_applied_after_the_profile(tmp_path):
    alpha = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48, 1) % 251
    image = Image.fromarray(np.concatenate([picture(), alpha], axis=2))
    for name in ("a.png", "a.webp"):
        options = {"lossless": True, "exact": True} if name == "a.webp" else {}
        path = save(tmp_path / name, image, icc_profile=rgb_profile(), **options)
        expected = wide(picture().astype(float)) * (alpha / 255) + 255 * (1 - alpha / 255)
        np.testing.assert_allclose(read_image(path), expected, atol=2)


def test_palette(tmp_path):
    image = Image.fromarray(picture()).quantize(16)
    path = save(tmp_path / "a.png", image, icc_profile=rgb_profile(), transparency=3)
    expected = wide(np.asarray(image.convert("RGB")).astype(float))
    expected[np.asarray(image) == 3] = 255
    np.testing.assert_allclose(read_image(path), expected, atol=1.01)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_gray_profile(tmp_path, mode, gamma):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(levels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(levels).convert(mode)
    shown = np.asarray(image.convert("L")) if mode == "1" else levels
    path = save(tmp_path / "a.png", image, icc_profile=gray_profile(gamma))
    np.testing.assert_allclose(read_image(path)[..., 1], encoded((shown / 255) ** gamma), atol=1)


def test_gray_pixels_with_a_color_profile(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save(tmp_path / "a.png", Image.fromarray(levels), icc_profile=rgb_profile(SRGB, 1.0))
    np.testing.assert_allclose(read_image(path)[..., 2], encoded(levels / 255), atol=1.5)


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_cmyk_profile(tmp_path, name):
    inks = np.zeros((16, 16, 4), dtype=np.uint8)
    inks[..., 3] = np.arange(256).reshape(16, 16)
    inks[..., 0] = 200
    options = {"quality": 100, "subsampling": 0} if name == "a.jpg" else {}
    path = save(tmp_path / name, Image.fromarray(inks, "CMYK"), icc_profile=black_ink_profile(), **options)
    light = ((100 - 80 * (inks[..., 3] / 255) + 16) / 116) ** 3  # L* 100 to 20: all above the linear part of CIELAB
    darkest = ((20 + 16) / 116) ** 3
    expected = encoded((light - darkest) / (1 - darkest))  # perceptual intent: the darkest ink becomes black
    image = read_image(path).astype(int)
    assert np.abs(image - expected[..., None]).max() <= (4 if name == "a.jpg" else 1)
    assert np.ptp(image, axis=2).max() <= 2


def with_colr_box(content, icc):
    """A JP2 file with its enumerated color space replaced by a restricted ICC profile."""
    place = content.find(b"colr") - 4
    (length,) = struct.unpack_from(">I", content, place)
    box = struct.pack(">I4sBBB", 11 + len(icc), b"colr", 2, 0, 0) + icc
    grown = content[:place] + box + content[place + length :]
    start = content.find(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", content, start)
    return grown[:start] + struct.pack(">I", size + len(box) - length) + grown[start + 4 :]


def test_profile_of_a_jpeg_2000(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "JPEG2000", irreversible=False)
    (tmp_path / "a.jp2").write_bytes(with_colr_box(buffer.getvalue(), rgb_profile()))
    np.testing.assert_allclose(read_image(tmp_path / "a.jp2"), wide(picture().astype(float)), atol=1.01)


def test_profile_of_a_bmp(tmp_path):
    height, width, _ = picture().shape
    icc, rows = rgb_profile(), picture()[::-1, :, ::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    header = header.ljust(56, b"\0") + b"DEBM"
    header = header.ljust(108, b"\0") + struct.pack("<IIII", 0, 124 + len(rows), len(icc), 0)
    size = 14 + 124 + len(rows) + len(icc)
    content = struct.pack("<2sIHHI", b"BM", size, 0, 0, 14 + 124) + header + rows + icc
    (tmp_path / "a.bmp").write_bytes(content)
    np.testing.assert_allclose(read_image(tmp_path / "a.bmp"), wide(picture().astype(float)), atol=1.01)


@pytest.mark.parametrize(
    "icc",
    [
        b"",
        b"no profile",
        rgb_profile()[:200],
        rgb_profile()[:-300],
        bytes(128) + rgb_profile()[128:],
        gray_profile(1.0),  # of another color space than the pixels
        black_ink_profile(),
        LAB,
        profile(b"RGB ", b"RGB ", {}, kind=b"link"),
        profile(b"RGB ", b"XYZ ", {}),
        profile(b"RGB ", b"XYZ ", {}, kind=b"abst"),
        rgb_profile(np.zeros((3, 3)))[:-40],
    ],
)
def test_unsuitable_profile_is_ignored(tmp_path, icc):
    path = save(tmp_path / "a.png", Image.fromarray(picture()), icc_profile=icc)
    np.testing.assert_array_equal(read_image(path), picture())


@pytest.mark.parametrize("icc", [BUILT_IN, None])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_srgb_is_left_alone(tmp_path, mode, icc):
    image = Image.fromarray(picture()).convert(mode)
    path = save(tmp_path / "a.tif", image, **({"icc_profile": icc} if icc else {}))
    np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))


def test_profiles_are_parsed_once(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", Image.fromarray(picture()), icc_profile=rgb_profile(SRGB, 1.5))
    first = read_image(path)
    monkeypatch.setattr(color.ImageCms, "buildTransform", None)
    np.testing.assert_array_equal(read_image(path), first)


def test_random_damage_to_a_profile(tmp_path):
    whole = np.frombuffer(rgb_profile(), dtype=np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = whole.copy()
        hit = rng.integers(0, len(whole), 3)
        damaged[hit] = rng.integers(0, 256, len(hit))
        path = save(tmp_path / "a.png", Image.fromarray(picture()), icc_profile=damaged.tobytes())
        assert read_image(path).shape == picture().shape
