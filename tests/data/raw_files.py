"""Writers of TIFF and PNG files of kinds that Pillow itself does not write."""

import struct
import zlib

import numpy as np


def packed(samples, bits, order):
    """Rows of (H, N) samples as TIFF stores them: packed from the highest bit, each row filled up to whole bytes."""
    if bits in (8, 16, 32):
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    planes = (samples[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(planes.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def write_tiff(
    path,
    samples,
    *,
    bits,
    photometric,
    order="<",
    deflate=False,
    planar=False,
    fill_order=1,
    extra=(),
    sample_format=1,
    colormap=None,
    tags=None,
    strip=None,
):
    """Write (H, W, S) unsigned samples as a TIFF of one strip (one for each channel if planar).

    Args:
        colormap: Palette, all reds first.
        tags: Type (of struct) and values of further tags.
        strip: What is stored instead of the samples.
    """
    height, width, channels = samples.shape
    if strip is not None:
        strips = [strip]
    elif planar:
        strips = [packed(samples[..., c], bits, order) for c in range(channels)]
    else:
        strips = [packed(samples.reshape(height, -1), bits, order)]
    if fill_order == 2:
        mirrored = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], dtype=np.uint8)
        strips = [mirrored[np.frombuffer(strip, dtype=np.uint8)].tobytes() for strip in strips]
    if deflate:
        strips = [zlib.compress(strip) for strip in strips]
    offsets = np.cumsum([8] + [len(strip) for strip in strips])
    entries = {
        256: ("H", [width]),
        257: ("H", [height]),
        258: ("H", [bits] * channels),
        259: ("H", [8 if deflate else 1]),
        262: ("H", [photometric]),
        266: ("H", [fill_order]),
        273: ("I", offsets[:-1].tolist()),
        277: ("H", [channels]),
        278: ("H", [height]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [2 if planar else 1]),
        339: ("H", [sample_format] * channels),
    }
    if extra:
        entries[338] = ("H", list(extra))
    if colormap is not None:
        entries[320] = ("H", list(colormap))
    entries.update(tags or {})
    start = int(offsets[-1]) + int(offsets[-1]) % 2
    far = start + 2 + 12 * len(entries) + 4
    directory, data = struct.pack(f"{order}H", len(entries)), b""
    for tag, (code, values) in sorted(entries.items()):
        packed_values = struct.pack(f"{order}{len(values)}{code}", *values)
        directory += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4, "B": 7, "i": 9}[code], len(values))
        if len(packed_values) <= 4:
            directory += packed_values.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", far + len(data))
            data += packed_values + b"\0" * (len(packed_values) % 2)
    header = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start)
    path.write_bytes((header + b"".join(strips)).ljust(start, b"\0") + directory + b"\0" * 4 + data)
    return path


def chunk(kind, content):
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path, samples, *, bits, color_type, chunks=(), late=()):
    """Write (H, W, S) unsigned samples as a PNG.

    Args:
        chunks: Pairs of type and content that stand before the pixels.
        late: Those that stand after them.
    """
    height, width, _ = samples.shape
    rows = packed(samples.reshape(height, -1), bits, ">")
    size = len(rows) // height
    filtered = b"".join(b"\0" + rows[y * size : (y + 1) * size] for y in range(height))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(filtered)), *late, (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path
