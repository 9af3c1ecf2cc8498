import io
import struct
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from data.raw_files import write_png, write_tiff
from PIL import Image, PngImagePlugin

from lml_iqa.datasets import DatasetError, ImageReadError, read_image
from lml_iqa.images.read import read_size

EXIF_ORIENTATION = 0x0112


def picture(height=24, width=40):
    """A smooth picture with four different corners, so that no flip or turn of it equals another."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.rint(np.stack([255 * y, 255 * x, 60 + 100 * x * y], axis=-1)).astype(np.uint8)


def save(path, array_or_image, **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.BMP", "a.tif", "a.PNG", "a.TiFF", "a (1).ppm", "ä ö.png"])
def test_lossless_formats_give_their_pixels(tmp_path, name):
    expected = picture()
    image = read_image(save(tmp_path / name, expected))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


def test_takes_strings(tmp_path):
    np.testing.assert_array_equal(read_image(str(save(tmp_path / "a.png", picture()))), picture())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("name", ["a.jpg", "a.JPG", "a.JPEG"])
def test_jpeg(tmp_path, name, options):
    image = read_image(save(tmp_path / name, picture(), quality=95, **options))
    assert image.shape == (24, 40, 3)
    assert np.abs(image.astype(int) - picture()).mean() < 3


@pytest.mark.parametrize(
    ("mode", "value"),
    [("RGB", (1, 2, 3)), ("L", 7), ("RGBA", (1, 2, 3, 4)), ("LA", (9, 100)), ("P", 5), ("1", 1), ("I;16", 700)],
)
def test_result_suits_torch(tmp_path, mode, value):
    image = read_image(save(tmp_path / "a.png", Image.new(mode, (5, 3), value)))
    assert image.shape == (3, 5, 3)
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    torch.from_numpy(image.copy())
    assert all(stride > 0 for stride in image.strides)


def test_gray_becomes_three_equal_channels(tmp_path):
    gray = picture()[..., 0]
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", gray)), np.repeat(gray[..., None], 3, axis=2))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm", "jp2"])
def test_16_bit_gray_is_scaled(tmp_path, ending):
    eight = np.arange(256, dtype=np.uint16).reshape(16, 16)
    path = save(tmp_path / f"a.{ending}", eight * 257, **({"irreversible": False} if ending == "jp2" else {}))
    image = read_image(path)  # 0 -> 0, 257 v -> v, 65535 -> 255
    np.testing.assert_array_equal(image, np.repeat(eight[..., None], 3, axis=2))


def test_16_bit_gray_is_rounded_to_the_nearest(tmp_path):
    sixteen = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(sixteen / 65535 * 255)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", sixteen))[..., 0], expected)


def test_16_bit_big_endian_tiff(tmp_path):
    eight = np.arange(256, dtype=np.uint16).reshape(16, 16)
    image = Image.frombytes("I;16B", (16, 16), (eight * 257).astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.tif", image))[..., 1], eight)


def test_16_bit_png_that_older_pillow_opens_as_32_bit(tmp_path, monkeypatch):
    # Pillow before 10.3 (our floor is lower) opened 16-bit gray PNG in mode "I".
    monkeypatch.setitem(PngImagePlugin._MODES, (16, 0), ("I", "I;16B"))
    eight = np.arange(256, dtype=np.uint16).reshape(16, 16)
    path = save(tmp_path / "a.png", eight * 257)
    with Image.open(path) as opened:
        assert opened.mode == "I"
    np.testing.assert_array_equal(read_image(path)[..., 0], eight)


def test_one_bit(tmp_path):
    bits = np.array([[True, False, True], [False, False, True]])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", bits)), bits[..., None].repeat(3, 2) * 255)


@pytest.mark.parametrize(
    ("cmyk", "rgb"),
    [((0, 0, 0, 0), (255, 255, 255)), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))],
)
def test_cmyk_jpeg(tmp_path, cmyk, rgb):
    image = read_image(save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), cmyk), quality=100))
    np.testing.assert_allclose(image, np.broadcast_to(rgb, (16, 16, 3)), atol=3)


@pytest.mark.parametrize(
    ("rgba", "over_white"),
    [
        ((10, 20, 30, 255), (10, 20, 30)),
        ((10, 20, 30, 0), (255, 255, 255)),
        ((0, 100, 255, 51), (204, 224, 255)),  # alpha 1/5: 255 - (255 - c) / 5
        ((0, 0, 0, 128), (127, 127, 127)),
    ],
)
def test_transparency_lies_over_white(tmp_path, rgba, over_white):
    image = read_image(save(tmp_path / "a.png", Image.new("RGBA", (2, 2), rgba)))
    np.testing.assert_allclose(image, np.broadcast_to(over_white, (2, 2, 3)), atol=1)


def test_gray_transparency_lies_over_white(tmp_path):
    image = read_image(save(tmp_path / "a.png", Image.new("LA", (2, 2), (100, 51))))
    np.testing.assert_allclose(image, np.full((2, 2, 3), 224), atol=1)


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 30, 0, 0, 255])
    image.putdata([0, 1])
    save(tmp_path / "a.png", image, transparency=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[200, 10, 30], [255, 255, 255]]])
    save(tmp_path / "b.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), [[[200, 10, 30], [0, 0, 255]]])


# What undoes each orientation, from the EXIF standard: where the stored row 0 and column 0 lie in the upright picture.
STORED = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda a: a[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_exif_orientation(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored = np.ascontiguousarray(STORED[orientation](picture()))
    path = save(tmp_path / name, stored, exif=exif, **({"quality": 100, "subsampling": 0} if "jpg" in name else {}))
    image = read_image(path)
    assert image.shape == picture().shape
    np.testing.assert_allclose(image.astype(int), picture(), atol=4 if "jpg" in name else 0)


def test_exif_orientation_of_16_bit_gray(tmp_path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    gray = picture()[..., 0]
    stored = np.ascontiguousarray(STORED[6](gray)).astype(np.uint16) * 257
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", stored, exif=exif))[..., 0], gray)


def exif_block(*entries, order="<"):
    """EXIF of one directory, as in a JPEG: pairs of tag, type, count and the 4 bytes of the value."""
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    fields = [struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries]
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(fields)) + b"".join(fields) + bytes(4) + bytes(range(64))


SIDEWAYS = (EXIF_ORIENTATION, 3, 1, struct.pack("<HH", 6, 0))


@pytest.mark.parametrize(
    "entry",
    [
        (0x011A, 2, 8, struct.pack("<I", 40)),  # XResolution as text
        (0x011A, 5, 1, struct.pack("<I", 40)),  # a rational that is 0 / 0 or beyond the data
        (0x011A, 5, 1, struct.pack("<I", 1 << 31)),
        (0x011A, 10, 0xFFFFFFFF, bytes(4)),
        (0x0131, 99, 1, bytes(4)),  # unknown type
        (0x9206, 12, 1, struct.pack("<I", 40)),
        (0x0102, 8, 1, struct.pack("<h", -1) + bytes(2)),
        (0x8769, 4, 1, struct.pack("<I", 8)),  # directory that holds itself
        (0x8769, 9, 1, struct.pack("<i", -42)),
        (0x8825, 2, 4, b"text"),
    ],
)
def test_malformed_exif_does_not_matter(tmp_path, entry):
    for entries in ([entry, SIDEWAYS], [SIDEWAYS, entry]):
        path = save(tmp_path / "a.jpg", picture(), quality=100, subsampling=0, exif=exif_block(*entries))
        assert read_size(path) == (40, 24)
        np.testing.assert_allclose(read_image(path).astype(int), np.rot90(picture(), k=-1), atol=4)


@pytest.mark.parametrize(
    "exif",
    [
        exif_block((EXIF_ORIENTATION, 2, 4, b"six\0")),
        exif_block((EXIF_ORIENTATION, 7, 4, b"\6\6\6\6")),
        exif_block((EXIF_ORIENTATION, 5, 1, struct.pack("<I", 1 << 30))),
        exif_block((EXIF_ORIENTATION, 8, 1, struct.pack("<hH", -6, 0))),
        b"Exif\0\0",
        b"Exif\0\0II*",
        b"Exif\0\0neither of the two byte orders",
        exif_block(SIDEWAYS)[:20],
    ],
    ids=["text", "bytes", "fraction", "negative", "empty", "short", "no byte order", "cut off"],
)
def test_orientation_that_cannot_be_read_is_passed_over(tmp_path, exif):
    path = save(tmp_path / "a.jpg", picture(), quality=100, subsampling=0, exif=exif)
    assert read_size(path) == (24, 40)
    np.testing.assert_allclose(read_image(path).astype(int), picture(), atol=4)


@pytest.mark.parametrize("pointer", [0x8769, 0x8825, 0xA005])
@pytest.mark.parametrize("place", [-42, 1 << 30, 8, 0])
def test_malformed_exif_of_a_tiff_does_not_matter(tmp_path, pointer, place):
    samples = picture().astype(int)
    tags = {pointer: ("i", [place]), EXIF_ORIENTATION: ("H", [6])}
    path = write_tiff(tmp_path / "a.tif", samples, bits=8, photometric=2, tags=tags)
    assert read_size(path) == (40, 24)
    np.testing.assert_array_equal(read_image(path), np.rot90(picture(), k=-1))


def test_random_damage_to_exif_does_not_matter(tmp_path):
    plain = np.asarray(Image.open(save(tmp_path / "plain.jpg", picture(), quality=90)))
    exif = Image.Exif()
    exif.update({0x010F: "maker", 0x011A: 72.0, 0x8769: {0x829A: (1, 100), 0x927C: b"note"}, 0x8825: {1: "N"}})
    whole = np.frombuffer(exif.tobytes(), dtype=np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = whole.copy()
        hit = rng.integers(6, len(whole), 4)
        damaged[hit] = rng.integers(0, 256, len(hit))
        image = read_image(save(tmp_path / "a.jpg", picture(), quality=90, exif=damaged.tobytes()))
        assert any(np.array_equal(stored(image), plain) for stored in STORED.values())


def test_orientation_from_xmp(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for name in ("a.webp", "a.png"):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"xmp": xmp, "lossless": True} if name == "a.webp" else {"pnginfo": info}
        path = save(tmp_path / name, picture(), **options)
        assert read_size(path) == (40, 24)
        np.testing.assert_array_equal(read_image(path), np.rot90(picture(), k=-1))


def test_exif_after_the_pixels_of_a_png(tmp_path):
    exif = exif_block(SIDEWAYS)[6:]
    path = write_png(tmp_path / "a.png", picture().astype(int), bits=8, color_type=2, late=[(b"eXIf", exif)])
    np.testing.assert_array_equal(read_image(path), np.rot90(picture(), k=-1))
    assert read_size(path) == (40, 24)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.webp", "a.avif"])
def test_size_agrees_with_the_image(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    path = save(tmp_path / name, picture(), exif=exif)
    assert read_size(path) == read_image(path).shape[:2]


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_senseless_orientation_is_passed_over(tmp_path, orientation):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", picture(), exif=exif)), picture())


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.tif"])
def test_first_frame_of_an_animation(tmp_path, name):
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "lime", "blue")]
    save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / name), np.broadcast_to([255, 0, 0], (6, 8, 3)))


def encoded(image_format, **options):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, image_format, **options)
    return buffer.getvalue()


def refused(path):
    with pytest.raises(ImageReadError) as error:
        read_image(path)
    assert isinstance(error.value, DatasetError)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


def test_refuses_missing_file(tmp_path):
    message = refused(tmp_path / "gone.jpg")
    assert "no such image; restore the file, or remove its row" in message


@pytest.mark.parametrize("content", [b"", b"these are no pixels\n", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM"])
def test_refuses_what_is_no_image(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    assert "replace the file" in refused(tmp_path / "a.jpg")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG2000"])
def test_refuses_truncated_file(tmp_path, image_format, share):
    whole = encoded(image_format)
    (tmp_path / "a").write_bytes(whole[: int(share * len(whole))])
    message = refused(tmp_path / "a")
    assert "copy or download the file again" in message or "replace the file" in message


def test_refuses_truncated_progressive_jpeg(tmp_path):
    whole = encoded("JPEG", progressive=True)
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    assert "copy or download the file again" in refused(tmp_path / "a.jpg")


def test_refuses_directory(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    message = refused(tmp_path / "a.jpg")
    assert "directory" in message
    assert "corrupt" not in message


def test_refuses_unreadable_file(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", picture())

    def deny(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("lml_iqa.images.read.Image.open", deny)
    message = refused(path)
    assert "Permission denied" in message
    assert "corrupt" not in message


@pytest.mark.parametrize("pixels", [np.ones((4, 4), dtype=np.float32), np.ones((4, 4), dtype=np.int32)])
def test_refuses_numbers_without_black_and_white(tmp_path, pixels):
    assert "save the image with 8 or 16 bits" in refused(save(tmp_path / "a.tif", pixels))


def test_refuses_decompression_bomb(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", picture())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", picture()[..., 0].size // 2 - 1)
    assert "scale the image down" in refused(path)


def test_refuses_small_file_that_declares_a_huge_image(tmp_path):
    whole = bytearray(encoded("JPEG2000", no_jp2=True))
    whole[8:12] = struct.pack(">I", 1 << 20)  # width
    (tmp_path / "a.j2k").write_bytes(whole)
    message = f"1048576x64 pixels in {len(whole)} bytes"
    assert message in refused(tmp_path / "a.j2k")
    with pytest.raises(ImageReadError, match=message):
        read_image("a.j2k", io.BytesIO(whole))


def test_reads_large_blank_image(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (5000, 4000)))  # as dense as whole files get
    assert read_image(path).shape == (4000, 5000, 3)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG2000"])
def test_damaged_file_is_read_or_refused(tmp_path, image_format):
    """Whatever bytes are hit, nothing but an ImageReadError leaves read_image."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    whole = np.frombuffer(encoded(image_format, exif=exif), dtype=np.uint8)
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    for trial in range(80):
        damaged = whole.copy()
        hit = rng.integers(0, min(len(whole), 200 if trial % 2 else len(whole)), 4)
        damaged[hit] = rng.integers(0, 256, len(hit))
        path.write_bytes(damaged.tobytes())
        with suppress(ImageReadError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert read_image(path).shape[2] == 3
