"""Small image files of every format that can be written here, and seeded damage to them."""

import io
import struct
import warnings
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from data.raw_files import write_png, write_tiff
from PIL import Image, ImageCms

from lml_iqa.images.formats import register_plugins

HEIGHT, WIDTH = 24, 32
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def picture(mode="RGB"):
    """A smooth image with some noise."""
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    noise = np.random.default_rng(0).integers(0, 40, (HEIGHT, WIDTH, 3))
    image = Image.fromarray((np.stack([200 * y, 200 * x, 60 + 100 * x * y], axis=-1) + noise).astype(np.uint8))
    if mode in {"RGBA", "LA"}:
        image.putalpha(Image.fromarray((255 * x).astype(np.uint8)))
    if mode == "I;16":
        return Image.fromarray((60000 * x * y).astype(np.uint16))
    if mode == "LAB":
        return Image.frombytes("LAB", image.size, image.tobytes())
    return image.convert(mode)


def exif():
    """EXIF with an orientation, rationals and two directories of its own."""
    tags = Image.Exif()
    tags.update({0x0112: 6, 0x010F: "maker", 0x011A: 72.0})
    tags[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x829A: (1, 100), 0x927C: b"maker note"}
    tags[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    return tags.tobytes()


def _variants():
    """Name, format, mode of the image and options of all files that Pillow writes."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rich = {"exif": exif(), "icc_profile": icc}

    def frames():
        return {"save_all": True, "append_images": [picture().rotate(90 * turn) for turn in (1, 2)]}

    for mode in ("RGB", "L", "CMYK"):
        yield f"jpeg {mode}", "JPEG", mode, {}
    yield "jpeg progressive", "JPEG", "RGB", {"progressive": True, "quality": 90}
    yield "jpeg rich", "JPEG", "RGB", rich
    yield "mpo", "MPO", "RGB", frames()
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"png {mode}", "PNG", mode, {}
    yield "png rich", "PNG", "RGB", rich
    yield "png palette with alpha", "PNG", "P", {"transparency": bytes(range(256))}
    yield "png frames", "PNG", "RGB", frames()
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16"):
        yield f"tiff {mode}", "TIFF", mode, {}
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd"):
        yield f"tiff {compression}", "TIFF", "RGB", {"compression": compression}
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield f"tiff {compression}", "TIFF", "1", {"compression": compression}
    yield "tiff rich", "TIFF", "RGB", {"icc_profile": icc, "tiffinfo": {274: 6, 306: "2020:01:01"}}
    yield "tiff frames", "TIFF", "RGB", frames()
    yield "tiff big", "TIFF", "RGB", {"big_tiff": True}
    for mode in ("L", "P", "RGB"):
        yield f"gif {mode}", "GIF", mode, {}
    yield "gif transparent", "GIF", "P", {"transparency": 3, "interlace": 0}
    yield "gif frames", "GIF", "P", frames()
    for image_format in ("BMP", "DIB"):
        for mode in ("1", "L", "P", "RGB", "RGBA"):
            yield f"{image_format} {mode}", image_format, mode, {}
    yield "webp", "WEBP", "RGB", rich
    yield "webp lossless", "WEBP", "RGBA", {"lossless": True}
    yield "webp frames", "WEBP", "RGB", frames()
    yield "avif", "AVIF", "RGB", {**rich, "speed": 10}
    yield "avif alpha", "AVIF", "RGBA", {"speed": 10}
    for mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        yield f"jpeg2000 {mode}", "JPEG2000", mode, {}
    yield "jpeg2000 tiles", "JPEG2000", "RGB", {"tile_size": (16, 16), "irreversible": True}
    yield "jpeg2000 codestream", "JPEG2000", "RGB", {"no_jp2": True}
    yield "ico", "ICO", "RGBA", {"sizes": [(16, 16), (24, 24)]}
    yield "ico bmp", "ICO", "RGBA", {"sizes": [(16, 16)], "bitmap_format": "bmp"}
    yield "icns", "ICNS", "RGBA", {}
    for mode in ("1", "L", "P", "RGB"):
        yield f"pcx {mode}", "PCX", mode, {}
    for mode in ("L", "LA", "P", "RGB", "RGBA"):
        yield f"tga {mode}", "TGA", mode, {"compression": "tga_rle"}
    for mode in ("1", "L", "RGB", "I;16"):
        yield f"ppm {mode}", "PPM", mode, {}
    for mode in ("L", "RGB", "RGBA"):
        yield f"sgi {mode}", "SGI", mode, {}
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield f"dds {mode}", "DDS", mode, {}
    for codec in ("DXT1", "DXT3", "DXT5", "BC2", "BC3", "BC5"):
        yield f"dds {codec}", "DDS", "RGB" if codec == "BC5" else "RGBA", {"pixel_format": codec}
    for mode in ("1", "L", "P", "RGB", "I;16"):
        yield f"im {mode}", "IM", mode, {}
    yield "qoi", "QOI", "RGBA", {}
    yield "msp", "MSP", "1", {}
    yield "xbm", "XBM", "1", {}
    yield "blp", "BLP", "P", {}
    yield "spider", "SPIDER", "F", {}
    if find_spec("pillow_heif") is not None:
        yield "heif", "HEIF", "RGB", {"quality": 80}
    if find_spec("pillow_jxl") is not None:
        yield "jxl", "JXL", "RGB", rich


def _hand_made():
    """Name and content of files that Pillow reads but does not write."""
    gray = np.asarray(picture("L"))[..., None].astype(np.uint16)
    rgb = np.asarray(picture()).astype(np.uint16)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        for order in "<>":
            yield f"tiff 16 bit {order}", write_tiff(path, rgb * 257, bits=16, photometric=2, order=order).read_bytes()
        yield "tiff 12 bit", write_tiff(path, gray * 16, bits=12, photometric=1).read_bytes()
        ycbcr = write_tiff(path, rgb, bits=8, photometric=6, deflate=True, tags={530: ("H", [1, 1])})
        yield "tiff YCbCr", ycbcr.read_bytes()
        planar = write_tiff(path, rgb, bits=8, photometric=2, deflate=True, planar=True)
        yield "tiff planar", planar.read_bytes()
        gamma = (b"gAMA", struct.pack(">I", 60000))
        yield "png 16 bit", write_png(path, rgb * 257, bits=16, color_type=2, chunks=[gamma]).read_bytes()
        key = (b"tRNS", struct.pack(">H", 3))
        yield "png 4 bit", write_png(path, gray // 16, bits=4, color_type=0, chunks=[key]).read_bytes()
    gray, rgb = gray.astype(np.uint8), rgb.astype(np.uint8)
    raw = rgb.tobytes()
    yield "pgm 12 bit", b"P5 %d %d 4095\n" % (WIDTH, HEIGHT) + (gray.astype(">u2") * 16).tobytes()
    for magic, samples in ((b"P2", gray), (b"P3", rgb)):
        yield (
            f"ppm {magic}",
            magic
            + b" # comment\n%d %d 255\n" % (WIDTH, HEIGHT)
            + b" ".join(b"%d" % value for value in samples.ravel()),
        )
    yield "pfm", b"Pf\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + gray.astype("<f4").tobytes()
    planes = rgb.transpose(2, 0, 1).tobytes()
    psd = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, HEIGHT, WIDTH, 8, 3) + bytes(12) + bytes(2) + planes
    yield "psd", psd
    sun = struct.pack(">8I", 0x59A66A95, WIDTH, HEIGHT, 24, len(raw), 1, 0, 0)
    yield "sun", sun + rgb[..., ::-1].tobytes()
    cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", f"NAXIS1  = {WIDTH}", f"NAXIS2  = {HEIGHT}", "END"]
    yield "fits", "".join(f"{card:80}" for card in cards).ljust(2880).encode() + gray.tobytes()
    rows = ",\n".join('"' + "ab" * (WIDTH // 2) + '"' for _ in range(HEIGHT))
    xpm = f'/* XPM */\nstatic char *x[] = {{\n"{WIDTH} {HEIGHT} 2 1",\n"a c #ff0000",\n"b c #00ff00",\n{rows}}};\n'
    yield "xpm", xpm.encode()
    brun = b"".join(b"\x01" + bytes([256 - WIDTH]) + row.tobytes() for row in gray[..., 0])
    chunk = struct.pack("<IH", 6 + len(brun), 15) + brun
    frame = struct.pack("<IHH8x", 16 + len(chunk), 0xF1FA, 1) + chunk
    head = struct.pack("<IHHHHHH", 128 + len(frame), 0xAF12, 1, WIDTH, HEIGHT, 8, 3)
    yield "flc", head.ljust(80, b"\0") + struct.pack("<II", 128, 128).ljust(48, b"\0") + frame


@lru_cache(maxsize=1)
def whole_files():
    """Name and content of the undamaged files."""
    register_plugins()
    Image.init()
    files = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Pillow 15 drops some formats
        for name, image_format, mode, options in _variants():
            if image_format in Image.SAVE:
                buffer = io.BytesIO()
                picture(mode).save(buffer, image_format, **options)
                files[name] = buffer.getvalue()
    files.update(_hand_made())
    return files


def mutated(number):
    """Name of the file that was damaged, and the damaged content; the same for the same number."""
    files = whole_files()
    rng = np.random.default_rng(number)
    names = list(files)
    name = names[number % len(names)]
    content = bytearray(files[name])
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        content = _damaged(content, rng, bytearray(files[names[rng.integers(len(names))]]))
    return name, bytes(content)


def _damaged(content, rng, other):
    size = max(1, len(content))
    near = min(size, 256)  # headers decide most
    place = int(rng.integers(near if rng.random() < 0.6 else size))
    length = int(rng.integers(1, max(2, size // 4)))
    match rng.integers(8):
        case 0:  # bits flipped
            for _ in range(rng.integers(1, 9)):
                at = int(rng.integers(near if rng.random() < 0.6 else size))
                if at < len(content):
                    content[at] ^= 1 << int(rng.integers(8))
        case 1:  # an extreme number
            width = int(rng.choice([1, 2, 4]))
            value = int(rng.choice(EXTREMES)) & ((1 << 8 * width) - 1)
            content[place : place + width] = value.to_bytes(width, str(rng.choice(["big", "little"])))
        case 2:
            del content[place:]
        case 3:
            del content[place : place + length]
        case 4:
            content[place:place] = rng.bytes(length)
        case 5:  # a block twice
            content[place:place] = content[place : place + length]
        case 6:
            content[place : place + length] = bytes(len(content[place : place + length]))
        case 7:  # the header of another file
            content[:place] = other[:place]
    return content
