"""Damaged files of every format are read, or refused with an error that names them.

``benchmarks/fuzz.py images`` does the same to 20,000 files and measures their time.
"""

import warnings

import pytest
from data.mutated_images import HEIGHT, WIDTH, mutated, whole_files
from PIL import Image

from lml_iqa.datasets import ImageReadError
from lml_iqa.images.read import read_image, read_size

FLOATS = {"spider", "pfm"}  # refused: which level is white is not defined
RESIZED = {"ico", "ico bmp", "icns"}
COUNT, TESTS = 960, 4


def test_every_format_that_pillow_writes_is_among_them(tmp_path):
    written = set()
    for content in whole_files().values():
        (tmp_path / "a").write_bytes(content)
        with Image.open(tmp_path / "a") as image:
            written.add(image.format)
    Image.init()
    assert (Image.SAVE.keys() & Image.OPEN.keys()) - written <= {"BUFR", "EPS", "GRIB", "HDF5", "WMF"}  # not pixels


def test_whole_files_are_read(tmp_path):
    path = tmp_path / "a"
    for name, content in whole_files().items():
        print(name)
        path.write_bytes(content)
        if name in FLOATS:
            with pytest.raises(ImageReadError, match="no defined black and white"):
                read_image(path)
            continue
        image = read_image(path)
        assert image.shape[:2] == read_size(path)
        assert image.shape in {(HEIGHT, WIDTH, 3), (WIDTH, HEIGHT, 3)} or name in RESIZED


def outcome(function, path):
    """What a function returns, or how it refuses the file. Any other exception fails the test."""
    try:
        return function(path)
    except ImageReadError as error:
        return str(error)


@pytest.mark.parametrize("first", range(TESTS))
def test_damaged_files_are_read_or_refused_by_name(tmp_path, first):
    path = tmp_path / "a"
    read = 0
    for number in range(first, COUNT, TESTS):
        name, content = mutated(number)
        print(number, name)
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error" if first % 2 else "ignore")  # Pillow's warnings may be errors too
            image, size = outcome(read_image, path), outcome(read_size, path)
        if isinstance(image, str):
            assert image.startswith(f"{path}: ")
            assert not isinstance(size, str) or size.startswith(f"{path}: ")
        else:
            assert image.shape == (*size, 3)
            read += 1
    assert 0 < read < COUNT // TESTS
