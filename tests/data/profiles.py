"""Small ICC profiles."""

import struct

import numpy as np


def _fixed(*numbers):
    return b"".join(struct.pack(">i", round(65536 * number)) for number in numbers)


def profile(space, pcs, tags, kind=b"mntr"):
    """An ICC profile of version 2.4."""
    table, data, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        padded = content.ljust(-(-len(content) // 4) * 4, b"\0")
        table += name + struct.pack(">II", place + len(data), len(content))
        data += padded
    size = place + len(data)
    d50 = _fixed(0.9642, 1, 0.8249)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, kind, space, pcs, b"acsp").ljust(68, b"\0") + d50
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _xyz(values):
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _gamma(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma))


# Columns of ProPhoto RGB and of sRGB: their primaries in XYZ, adapted to D50
PROPHOTO = np.array([[0.7977, 0.1352, 0.0313], [0.2880, 0.7119, 0.0001], [0, 0, 0.8249]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def rgb_profile(columns=PROPHOTO, gamma=1.8):
    """RGB of the given primaries whose levels are light ** (1 / gamma)."""
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)}
    tags |= {name: _gamma(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return profile(b"RGB ", b"XYZ ", tags | {b"wtpt": _xyz((0.9642, 1, 0.8249))})


def gray_profile(gamma):
    """Gray whose levels are light ** (1 / gamma)."""
    return profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma), b"wtpt": _xyz((0.9642, 1, 0.8249))})


def black_ink_profile():
    """CMYK whose lightness falls from 100 to 20 with the black ink, whatever the others do."""
    ramp = bytes(range(256))
    grid = b"".join(bytes([255 if ink % 2 == 0 else 51, 128, 128]) for ink in range(16))  # the last ink runs fastest
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + 4 * ramp + grid + 3 * ramp
    return profile(b"CMYK", b"Lab ", {b"A2B0": table, b"wtpt": _xyz((0.9642, 1, 0.8249))}, kind=b"prtr")
