"""Pixels of every depth, color kind and file format come out as the same picture saved plainly, or are refused."""

import io
import struct

import numpy as np
import PIL
import pytest
from data.raw_files import write_png, write_tiff
from PIL import Image

from lml_iqa.datasets import ImageReadError, read_image
from lml_iqa.images.read import read_size

HEIGHT, WIDTH = 7, 10
PILLOW_13 = int(PIL.__version__.split(".")[0]) >= 13  # which needs Python 3.11


def levels(bits, channels, seed=0):
    """(H, W, S) samples that hold the lowest and the highest level."""
    samples = np.random.default_rng(seed).integers(0, 1 << bits, (HEIGHT, WIDTH, channels))
    samples[0, 0], samples[0, 1] = 0, (1 << bits) - 1
    return samples


def plain(samples, bits):
    """The same picture with 8 bits."""
    return np.rint(samples * (255 / ((1 << bits) - 1)))


def over_white(color, alpha):
    """Color of 0..255 over white; alpha 0..1."""
    return color * alpha + 255 * (1 - alpha)


def assert_shows(path, expected, tolerance=1):
    image = read_image(path)
    assert image.shape[:2] == read_size(path)
    np.testing.assert_allclose(image.astype(int), np.broadcast_to(expected, image.shape), atol=tolerance)


def refused(path):
    with pytest.raises(ImageReadError) as error:
        read_image(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "save " in str(error.value)
    return str(error.value)


# ---- TIFF


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
def test_gray_tiff(tmp_path, bits, white_is_zero, order, deflate):
    samples = levels(bits, 1)
    expected = plain(samples, bits)
    path = write_tiff(
        tmp_path / "a.tif", samples, bits=bits, photometric=0 if white_is_zero else 1, order=order, deflate=deflate
    )
    read_by_pillow = bits in {1, 2, 4, 8} or (
        (bits == 16 and (not white_is_zero or order == "<")) or (bits == 12 and not white_is_zero and order == "<")
    )
    if read_by_pillow:
        assert_shows(path, 255 - expected if white_is_zero else expected, tolerance=0)
    else:
        message = refused(path)
        assert f"BitsPerSample ({bits},), PhotometricInterpretation {0 if white_is_zero else 1}" in message


def test_12_bit_tiff_of_odd_width_and_many_levels(tmp_path):
    samples = np.arange(4096).reshape(64, 64, 1)[:, :63]
    assert_shows(write_tiff(tmp_path / "a.tif", samples, bits=12, photometric=1), plain(samples, 12), tolerance=0)


def test_highest_value_tag_does_not_change_the_picture(tmp_path):  # as the TIFF specification demands
    samples = levels(16, 1)
    path = write_tiff(tmp_path / "a.tif", samples, bits=16, photometric=1, tags={281: ("H", [4095])})
    assert_shows(path, plain(samples, 16), tolerance=0)


@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_order_of_bits(tmp_path, bits, fill_order):
    samples = levels(bits, 1)
    path = write_tiff(tmp_path / "a.tif", samples, bits=bits, photometric=1, fill_order=fill_order)
    assert_shows(path, plain(samples, bits), tolerance=0)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [8, 16])
def test_color_tiff(tmp_path, bits, order, deflate, planar):
    path = tmp_path / "a.tif"
    options = {"bits": bits, "order": order, "deflate": deflate, "planar": planar}
    rgb, cmyk = levels(bits, 3), levels(bits, 4)
    ink = cmyk / ((1 << bits) - 1)
    for samples, photometric, expected in (
        (rgb, 2, plain(rgb, bits)),
        (cmyk, 5, 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])),
    ):
        write_tiff(path, samples, photometric=photometric, **options)
        if planar and bits == 16 and not deflate:
            assert "separate planes" in refused(path)
        else:
            assert_shows(path, expected, tolerance=2 if photometric == 5 else 1)


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_with_a_further_channel(tmp_path, bits, deflate, colors, extra):
    """An unspecified channel is ignored; associated alpha is multiplied into the color, unassociated is not."""
    top = (1 << bits) - 1
    color, alpha = levels(bits, colors), levels(bits, 1, seed=1)
    stored = np.rint(color * (alpha / top)).astype(int) if extra == 1 else color
    path = write_tiff(
        tmp_path / "a.tif",
        np.concatenate([stored, alpha], axis=2),
        bits=bits,
        photometric=1 if colors == 1 else 2,
        deflate=deflate,
        extra=[extra],
    )
    if colors == 1 and (bits == 16 or (extra < 2 and not PILLOW_13)):
        assert f"BitsPerSample ({bits}, {bits})" in refused(path)
        return
    expected = plain(color, bits)
    assert_shows(path, expected if extra == 0 else over_white(expected, alpha / top), tolerance=3)


def test_gray_and_alpha_in_separate_planes(tmp_path):
    path = tmp_path / "a.tif"
    for deflate in (False, True):
        write_tiff(path, levels(8, 2), bits=8, photometric=1, deflate=deflate, planar=True, extra=[2])
        assert "separate planes" in refused(path)


@pytest.mark.parametrize("scale", [257, 256, 1])  # 1: some programs write 8 bits
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_tiff(tmp_path, bits, order, scale):
    palette, samples = np.random.default_rng(2).integers(0, 256, (1 << bits, 3)), levels(bits, 1)
    palette[-1] = 255
    for deflate in (False, True):
        path = write_tiff(
            tmp_path / "a.tif",
            samples,
            bits=bits,
            photometric=3,
            order=order,
            deflate=deflate,
            colormap=(palette.T * scale).ravel(),
        )
        assert_shows(path, palette[samples[..., 0]], tolerance=0)


def from_ycbcr(y, cb, cr):
    rgb = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    return np.stack(rgb, axis=-1)


def test_ycbcr_tiff(tmp_path):
    samples = np.random.default_rng(0).integers([60, 110, 110], [200, 146, 146], (HEIGHT, WIDTH, 3))
    full = {530: ("H", [1, 1])}
    expected = from_ycbcr(*np.moveaxis(samples.astype(float), 2, 0))
    for deflate in (False, True):
        path = write_tiff(tmp_path / "a.tif", samples, bits=8, photometric=6, deflate=deflate, tags=full)
        if deflate or PILLOW_13:
            assert_shows(path, expected, tolerance=2)
        else:
            assert "before version 13" in refused(path)


@pytest.mark.parametrize("tags", [{}, {530: ("H", [2, 2])}])  # 2, 2 is the default
def test_ycbcr_tiff_with_subsampled_color(tmp_path, tags):
    rng = np.random.default_rng(0)
    y, color = rng.integers(60, 200, (8, 8)), rng.integers(110, 146, (4, 4, 2))
    blocks = np.concatenate([y.reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(4, 4, 4), color], axis=2)
    cb, cr = np.moveaxis(color.repeat(2, 0).repeat(2, 1).astype(float), 2, 0)
    options = {"bits": 8, "photometric": 6, "tags": tags, "strip": blocks.astype(np.uint8).tobytes()}
    path = write_tiff(tmp_path / "a.tif", np.zeros((8, 8, 3), dtype=int), deflate=True, **options)
    assert_shows(path, from_ycbcr(y.astype(float), cb, cr), tolerance=2)
    write_tiff(path, np.zeros((8, 8, 3), dtype=int), **options)
    assert "uncompressed YCbCr" in refused(path)


def encoded(light):
    """The transfer curve of sRGB: light 0..1 to levels 0..255."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def from_lab(lightness, a, b):
    """CIELAB of white point D50 to sRGB, by the Bradford-adapted matrix."""
    f = (lightness[..., None] + 16) / 116 + np.stack([a / 500, 0 * a, -b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    return encoded(xyz @ np.transpose(matrix))


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_lab_tiff(tmp_path, order, deflate):
    rng = np.random.default_rng(0)
    lightness, a, b = rng.integers(20, 256, (HEIGHT, WIDTH)), *rng.integers(-40, 41, (2, HEIGHT, WIDTH))
    samples = np.stack([lightness, a % 256, b % 256], axis=-1)
    options = {"bits": 8, "photometric": 8, "order": order, "deflate": deflate}
    path = write_tiff(tmp_path / "a.tif", samples, **options)
    assert_shows(path, from_lab(lightness / 2.55, a, b), tolerance=2)
    assert "separate planes" in refused(write_tiff(path, samples, planar=True, **options))


@pytest.mark.parametrize(("sample_format", "bits"), [(2, 8), (2, 16), (2, 32), (3, 16), (3, 32), (4, 8), (1, 32)])
def test_numbers_without_black_and_white(tmp_path, sample_format, bits):
    refused(write_tiff(tmp_path / "a.tif", levels(8, 1), bits=bits, photometric=1, sample_format=sample_format))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_refused_tiff_is_described(tmp_path, bits):
    message = refused(write_tiff(tmp_path / "a.tif", levels(bits, 3), bits=bits, photometric=2))
    assert f"(TIFF of BitsPerSample ({bits}, {bits}, {bits}), PhotometricInterpretation 2" in message


def test_preview_of_a_camera_raw_file_is_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", levels(8, 3), bits=8, photometric=2, tags={254: ("I", [1])})
    assert "reduced preview (is it a camera raw file?)" in refused(path)


def test_tiff_size_is_that_of_the_oriented_picture(tmp_path):
    for orientation in range(1, 9):
        path = write_tiff(tmp_path / "a.tif", levels(8, 3), bits=8, photometric=2, tags={274: ("H", [orientation])})
        assert read_size(path) == ((WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH))
        assert read_image(path).shape[:2] == read_size(path)


# ---- PNG and PNM


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_gray_png(tmp_path, bits):
    samples = levels(bits, 1)
    path = write_png(tmp_path / "a.png", samples, bits=bits, color_type=0)
    assert_shows(path, plain(samples, bits), tolerance=0)
    for key in {0, 1, int(samples[3, 3, 0])}:
        write_png(path, samples, bits=bits, color_type=0, chunks=[(b"tRNS", struct.pack(">H", key))])
        assert_shows(path, np.where(samples == key, 255, plain(samples, bits)), tolerance=0)


@pytest.mark.parametrize("bits", [8, 16])
def test_color_png(tmp_path, bits):
    top = (1 << bits) - 1
    for color_type, colors, alphas in ((2, 3, 0), (4, 1, 1), (6, 3, 1)):
        color, alpha = levels(bits, colors), levels(bits, alphas, seed=1) if alphas else top
        samples = np.concatenate([color, alpha], axis=2) if alphas else color
        path = write_png(tmp_path / "a.png", samples, bits=bits, color_type=color_type)
        assert_shows(path, over_white(plain(color, bits), alpha / top), tolerance=2 if bits == 16 else 1)


def test_transparent_color_of_a_png(tmp_path):
    for bits in (8, 16):
        samples = levels(bits, 3)
        key = samples[2, 2]
        chunks = [(b"tRNS", struct.pack(">3H", *key))]
        path = write_png(tmp_path / "a.png", samples, bits=bits, color_type=2, chunks=chunks)
        if bits == 8:
            assert_shows(path, np.where((samples == key).all(axis=2, keepdims=True), 255, samples), tolerance=0)
        else:
            assert "16-bit PNG with a transparent color" in refused(path)


@pytest.mark.parametrize("known", [0, 1, 2])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_png(tmp_path, bits, known):
    rng = np.random.default_rng(3)
    palette, alpha, samples = rng.integers(0, 256, (1 << bits, 3)), np.full((1 << bits, 1), 255), levels(bits, 1)
    for index, value in enumerate((77, 0)[:known]):
        alpha[index] = value
    chunks = [(b"PLTE", palette.astype(np.uint8).tobytes())]
    if known:
        chunks.append((b"tRNS", alpha[:known].astype(np.uint8).tobytes()))
    path = write_png(tmp_path / "a.png", samples, bits=bits, color_type=3, chunks=chunks)
    assert_shows(path, over_white(palette, alpha / 255)[samples[..., 0]])


@pytest.mark.parametrize("gamma", [1.0, 0.7, 0.5, 1 / 1.8])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("color_type", [0, 2, 4, 6])
def test_gamma_of_a_png(tmp_path, color_type, bits, gamma):
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color_type]
    samples = np.repeat(
        np.linspace(0, (1 << bits) - 1, HEIGHT * WIDTH).astype(int).reshape(HEIGHT, WIDTH, 1), channels, 2
    )
    alpha = samples[..., -1:] / ((1 << bits) - 1) if color_type >= 4 else 1
    chunks = [(b"gAMA", struct.pack(">I", round(1e5 * gamma)))]
    path = write_png(tmp_path / "a.png", samples, bits=bits, color_type=color_type, chunks=chunks)
    if bits == 16 and color_type and gamma == 1:
        assert "needs more than the 8 bits" in refused(path)
        return
    light = (samples[..., :1] / ((1 << bits) - 1)) ** (1 / round(gamma, 5))
    assert_shows(path, over_white(encoded(light), alpha), tolerance=2 if bits == 16 and color_type else 1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", struct.pack(">I", 45455))],  # what most programs write and mean by it sRGB
        [(b"gAMA", struct.pack(">I", 0))],
        [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100000))],
    ],
)
def test_gamma_that_is_ignored(tmp_path, chunks, bits):
    samples = levels(bits, 1)
    path = write_png(tmp_path / "a.png", samples, bits=bits, color_type=0, chunks=chunks)
    assert_shows(path, plain(samples, bits), tolerance=0)


@pytest.mark.parametrize("top", [1, 15, 100, 255, 1023, 4095, 16383, 40000, 65535])
@pytest.mark.parametrize("ascii_", [False, True])
def test_pnm_of_any_highest_level(tmp_path, ascii_, top):
    rng = np.random.default_rng(0)
    for channels, magics in ((1, ("P5", "P2")), (3, ("P6", "P3"))):
        samples = rng.integers(0, top + 1, (HEIGHT, WIDTH, channels))
        head = f"{magics[ascii_]}\n# comment\n{WIDTH} {HEIGHT}\n{top}\n".encode()
        body = " ".join(map(str, samples.ravel())).encode() if ascii_ else samples.astype(">u1" if top < 256 else ">u2")
        (tmp_path / "a.pnm").write_bytes(head + (body if ascii_ else body.tobytes()))
        assert_shows(tmp_path / "a.pnm", samples * (255 / top))


# ---- JPEG 2000


def set_depth(content, bits):
    """Declare another depth in the header of a one-component JPEG 2000 file (samples are stored without loss)."""
    for marker, offset in ((b"ihdr", 4 + 10), (b"\xff\x4f\xff\x51", 42)):
        place = content.find(marker)
        if place >= 0:
            content[place + offset] = bits - 1
    return content


@pytest.mark.parametrize("no_jp2", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8, 10, 12, 16])
def test_gray_jpeg_2000(tmp_path, bits, no_jp2):
    samples = np.random.default_rng(0).integers(0, 1 << bits, (32, 32))
    samples[0, :2] = 0, (1 << bits) - 1
    # The level shift of half the range is what a decoder adds: written with 8 or 16 bits, it differs by a constant.
    stored_bits = 8 if bits <= 8 else 16
    shifted = samples - (1 << (bits - 1)) + (1 << (stored_bits - 1))
    buffer = io.BytesIO()
    image = Image.fromarray(shifted.astype(np.uint8 if stored_bits == 8 else np.uint16))
    image.save(buffer, "JPEG2000", irreversible=False, no_jp2=no_jp2, num_resolutions=1)
    (tmp_path / "a.jp2").write_bytes(set_depth(bytearray(buffer.getvalue()), bits))
    assert_shows(tmp_path / "a.jp2", np.rint(samples * (255 / ((1 << bits) - 1)))[..., None])


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_color_jpeg_2000(tmp_path, mode):
    channels = len(mode)
    samples = np.random.default_rng(0).integers(0, 256, (32, 32, channels)).astype(np.uint8)
    Image.fromarray(samples).save(tmp_path / "a.jp2", irreversible=False)
    color = samples[..., : channels - mode.endswith("A")]
    assert_shows(tmp_path / "a.jp2", over_white(color, samples[..., -1:] / 255) if mode.endswith("A") else color)


# ---- other formats


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tga", "a.dds", "a.ico", "a.sgi", "a.qoi", "a.tif", "a.jp2"])
def test_alpha_is_over_white(tmp_path, name):
    samples = np.random.default_rng(0).integers(0, 256, (32, 32, 4)).astype(np.uint8)
    options = {"webp": {"lossless": True, "exact": True}, "jp2": {"irreversible": False}, "ico": {"sizes": [(32, 32)]}}
    Image.fromarray(samples).save(tmp_path / name, **options.get(name[2:], {}))
    assert_shows(tmp_path / name, over_white(samples[..., :3].astype(float), samples[..., 3:] / 255))


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
def test_transparent_palette_entry(tmp_path, name):
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) % 4, "P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(tmp_path / name, transparency=2)
    colors = np.array([[10, 20, 30], [200, 0, 0], [255, 255, 255], [0, 0, 200]])
    assert_shows(tmp_path / name, colors[np.arange(16).reshape(4, 4) % 4], tolerance=0)


def test_16_bit_fits_has_no_defined_white(tmp_path):
    cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 2", "END"]
    (tmp_path / "a.fits").write_bytes("".join(f"{card:80}" for card in cards).ljust(2880).encode() + bytes(8))
    assert "16-bit FITS has no defined black and white" in refused(tmp_path / "a.fits")


def test_drawings_are_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    assert "EPS files contain drawings or other data" in refused(tmp_path / "a.eps")


def test_kinds_that_pillow_does_not_read_are_named(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    content[content.find(b"\xff\xc0") + 4] = 12
    (tmp_path / "a.jpg").write_bytes(content)
    assert "JPEG: cannot handle 12-bit layers" in refused(tmp_path / "a.jpg")
    psd = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 4, 4, 16, 3)
    (tmp_path / "a.psd").write_bytes(psd + bytes(100))
    assert "PSD: unknown pixel format (3, 16)" in refused(tmp_path / "a.psd")
