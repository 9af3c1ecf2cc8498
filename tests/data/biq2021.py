"""Makes a tiny BIQ2021 from nothing, in the genuine layout with its quirks.

Run as a program it writes one: ``python tests/data/biq2021.py FOLDER``.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN = {f"ss{i % 3:02d} ({1000 + 7 * i}).jpg": round(0.05 + 0.07 * i, 4) for i in range(13)}
TEST = {f"ss{i % 3:02d} ({5000 + 3 * i}).jpg": round(0.92 - 0.17 * i, 4) for i in range(5)}
UPPER_CASE = "ss01 (1007).jpg"  # listed so, but on disk ends in .JPG


def write_biq2021(root: Path, size: int = 48) -> Path:
    """Write ``Images/`` and the two label files; the train list ends its lines with two empty columns."""
    rng = np.random.default_rng(0)
    (root / "Images").mkdir(parents=True)
    for i, name in enumerate([*TRAIN, *TEST]):
        height, width = size + 8 * (i % 2), size + 16 * (i % 3)
        pixels = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        name = name.replace(".jpg", ".JPG") if name == UPPER_CASE else name
        Image.fromarray(pixels).save(root / "Images" / name, "JPEG", quality=95)
    train = ["Image Name,MOS,,", *(f"{name},{score},," for name, score in TRAIN.items())]
    test = ["Image Name,MOS", *(f"{name},{score}" for name, score in TEST.items())]
    (root / "Train (Images and MOS).csv").write_bytes("\r\n".join([*train, ""]).encode())
    (root / "Test (Images and MOS).csv").write_bytes("\r\n".join([*test, ""]).encode())
    return root


if __name__ == "__main__":
    write_biq2021(Path(sys.argv[1]))
