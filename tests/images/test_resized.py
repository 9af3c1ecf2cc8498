import errno
import logging
import multiprocessing
import os
import pickle
import signal
import time
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lml_iqa.errors import DatasetError, ImageReadError
from lml_iqa.images.read import read_image
from lml_iqa.images.resized import ResizedImages, shrink

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs to fork")


def picture(height, width, seed=0):
    """Noise on slopes: hard to compress, and no two rows or columns alike."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    slopes = np.stack([150 * y, 150 * x, 60 + 90 * x * y], axis=-1)
    return (slopes + np.random.default_rng(seed).integers(0, 100, slopes.shape)).astype(np.uint8)


def save(path, height=60, width=80, seed=0, **options):
    Image.fromarray(picture(height, width, seed)).save(path, **options)
    return path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def files(cache):
    return [path for path in cache.rglob("*") if path.is_file()]


def only_copy(cache):
    (copy,) = files(cache)
    return copy


def hide(path):
    """Replace what is in a file by as many zeros, unnoticeably: whoever reads it now fails."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# ---- sizes and pixels


@pytest.mark.parametrize(
    ("before", "short_side", "after"),
    [
        ((768, 1024), 384, (384, 512)),  # KonIQ-10k
        ((1024, 768), 384, (512, 384)),
        ((700, 700), 512, (512, 512)),
        ((333, 500), 100, (100, 150)),  # 150.15
        ((97, 131), 50, (50, 68)),  # 67.53
        ((131, 97), 50, (68, 50)),
        ((513, 514), 512, (512, 513)),  # 512.998
        ((10, 5000), 3, (3, 1500)),
        ((7, 5), 1, (1, 1)),
    ],
)
def test_sizes(before, short_side, after):
    image = shrink(picture(*before), short_side)
    assert image.shape == (*after, 3)
    assert image.dtype == np.uint8


def test_proportions_are_kept():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(side) for side in rng.integers(2, 200, 2))
        short_side = int(rng.integers(1, min(height, width)))
        after = shrink(np.zeros((height, width, 3), dtype=np.uint8), short_side).shape
        assert min(after[:2]) == short_side
        for side, length in ((height, after[0]), (width, after[1])):
            assert abs(length - Fraction(side * short_side, min(height, width))) <= Fraction(1, 2)


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (60, 60), (59, 900), (1, 1)])
def test_never_enlarges_and_never_copies_what_is_small(tmp_path, cache, size):
    image = picture(*size)
    assert shrink(image, 60) is image
    np.testing.assert_array_equal(ResizedImages(60, cache).read(save(tmp_path / "a.png", *size)), image)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pixels_are_those_of_pillow(tmp_path, cache, name):
    path = save(tmp_path / name, 90, 140)
    with Image.open(path) as opened:
        expected = np.asarray(opened.resize((62, 40), Image.Resampling.LANCZOS))  # 140 * 40 / 90 = 62.2
    np.testing.assert_array_equal(ResizedImages(40, cache).read(path), expected)


def test_is_antialiased():
    y, x = np.mgrid[:120, :160]
    board = np.repeat((255 * ((x + y) % 2))[..., None], 3, axis=2).astype(np.uint8)
    np.testing.assert_allclose(shrink(board, 50)[3:-3, 3:-3], 127.5, atol=3)


def test_exif_rotation_comes_first(tmp_path, cache):
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored picture lies on its side
    path = save(tmp_path / "a.png", 60, 80, exif=exif)
    upright = np.rot90(picture(60, 80), k=-1)
    expected = np.asarray(Image.fromarray(upright).resize((30, 40), Image.Resampling.LANCZOS))
    for _ in ("cold", "warm"):
        np.testing.assert_array_equal(ResizedImages(30, cache).read(path), expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_copies_are_rgb(tmp_path, cache, mode):
    path = tmp_path / "a.tif"
    Image.fromarray(picture(60, 80)).convert(mode).save(path)
    for _ in ("cold", "warm"):
        np.testing.assert_array_equal(ResizedImages(30, cache).read(path), shrink(read_image(path), 30))


@pytest.mark.parametrize("short_side", [0, -384])
def test_refuses_senseless_short_side(cache, short_side):
    with pytest.raises(ValueError, match=f"short_side is {short_side}; give"):
        ResizedImages(short_side, cache)
    with pytest.raises(ValueError, match=f"short_side is {short_side}; give"):
        shrink(picture(4, 4), short_side)


# ---- copies


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp"])
def test_cold_and_warm_are_equal(tmp_path, cache, name):
    path = save(tmp_path / name, 301, 203)
    images = ResizedImages(101, cache)
    cold, warm = images.read(path), images.read(path)
    np.testing.assert_array_equal(cold, warm)
    assert (cold.dtype, cold.strides, cold.flags.writeable) == (warm.dtype, warm.strides, warm.flags.writeable)


def test_second_read_leaves_the_image_alone(tmp_path, cache):
    path = save(tmp_path / "a.png")
    images = ResizedImages(30, cache)
    cold = images.read(path)
    hide(path)
    np.testing.assert_array_equal(images.read(path), cold)
    with pytest.raises(ImageReadError):  # the image is indeed no longer there to be read
        ResizedImages(31, cache).read(path)


def test_second_read_writes_nothing(tmp_path, cache):
    path = save(tmp_path / "a.png")
    ResizedImages(30, cache).read(path)
    before = only_copy(cache).stat()
    ResizedImages(30, cache).read(path)
    after = only_copy(cache).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_changed_time_gives_a_new_copy(tmp_path, cache):
    path = save(tmp_path / "a.bmp", seed=0)
    images = ResizedImages(30, cache)
    images.read(path)
    status = path.stat()
    save(path, seed=1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    assert path.stat().st_size == status.st_size
    np.testing.assert_array_equal(images.read(path), shrink(picture(60, 80, seed=1), 30))


def test_changed_size_gives_a_new_copy(tmp_path, cache):
    path = save(tmp_path / "a.bmp", 60, 80)
    images = ResizedImages(30, cache)
    images.read(path)
    status = path.stat()
    save(path, 60, 90)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    np.testing.assert_array_equal(images.read(path), shrink(picture(60, 90), 30))


def test_images_of_one_size_and_time_are_told_apart(tmp_path, cache):
    (tmp_path / "x").mkdir()
    names = ["a.bmp", "b.bmp", "x/a.bmp"]
    paths = [save(tmp_path / name, seed=seed) for seed, name in enumerate(names)]
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))
    for _ in ("cold", "warm"):
        for seed, path in enumerate(paths):
            np.testing.assert_array_equal(ResizedImages(30, cache).read(path), shrink(picture(60, 80, seed), 30))


def test_each_short_side_has_its_copy(tmp_path, cache):
    path = save(tmp_path / "a.png")
    for _ in ("cold", "warm"):
        for short_side in (10, 20, 30):
            image = ResizedImages(short_side, cache).read(path)
            np.testing.assert_array_equal(image, shrink(picture(60, 80), short_side))
    assert len(files(cache)) == 3


def test_one_image_by_several_paths_has_one_copy(tmp_path, cache, monkeypatch):
    save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to("a.png")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "a.png", Path("a.png"), Path("link.png"), tmp_path / "cache" / ".." / "a.png"):
        ResizedImages(30, cache).read(path)
    copy = only_copy(cache)
    assert copy.parent.parent == cache
    assert len(copy.parent.name) == 2
    assert copy.name.startswith(copy.parent.name)


def test_name_that_is_no_text(tmp_path, cache):
    path = tmp_path / os.fsdecode(b"\xff\xfe.bmp")
    try:
        save(path, format="BMP")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    np.testing.assert_array_equal(ResizedImages(30, cache).read(path), shrink(picture(60, 80), 30))


def test_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    ResizedImages(30, Path("~/copies")).read(save(tmp_path / "a.png"))
    assert len(files(tmp_path / "home" / "copies")) == 1
    assert not (tmp_path / "~").exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_others_may_read_copies(tmp_path, cache):
    umask = os.umask(0o022)
    try:
        ResizedImages(30, cache).read(save(tmp_path / "a.png"))
    finally:
        os.umask(umask)
    assert only_copy(cache).stat().st_mode & 0o777 == 0o644


def test_pickles(tmp_path, cache):
    images = ResizedImages(30, cache)
    again = pickle.loads(pickle.dumps(images))
    assert again == images
    path = save(tmp_path / "a.png")
    np.testing.assert_array_equal(again.read(path), images.read(path))
    assert len(files(cache)) == 1


# ---- what goes wrong


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.7, 0.97])
def test_cut_off_copy_is_made_anew(tmp_path, cache, caplog, share):
    path = save(tmp_path / "a.png")
    images = ResizedImages(30, cache)
    cold = images.read(path)
    copy = only_copy(cache)
    whole = copy.read_bytes()
    copy.write_bytes(whole[: int(share * len(whole))])
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(images.read(path), cold)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()
    assert str(copy) in record.getMessage()
    assert only_copy(cache).read_bytes() == whole
    caplog.clear()
    np.testing.assert_array_equal(images.read(path), cold)
    assert not caplog.records


def test_overwritten_copy_is_made_anew(tmp_path, cache):
    path = save(tmp_path / "a.png")
    cold = ResizedImages(30, cache).read(path)
    hide(only_copy(cache))
    np.testing.assert_array_equal(ResizedImages(30, cache).read(path), cold)


def test_missing_image(tmp_path, cache):
    path = save(tmp_path / "a.png")
    ResizedImages(30, cache).read(path)
    path.unlink()
    with pytest.raises(ImageReadError, match="no such image; restore the file"):
        ResizedImages(30, cache).read(path)


def test_links_in_a_circle(tmp_path, cache):
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    with pytest.raises(ImageReadError, match=r"a\.png"):
        ResizedImages(30, cache).read(tmp_path / "a.png")


def test_broken_image_is_not_copied(tmp_path, cache):
    path = save(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ImageReadError, match="copy or download the file again"):
        ResizedImages(30, cache).read(path)
    assert not cache.exists()


def refused(images, path):
    with pytest.raises(DatasetError, match=r"set data\.cache to another folder, or leave out data\.short_side") as e:
        images.read(path)
    assert not isinstance(e.value, ImageReadError)  # the image is not to blame
    assert str(e.value).startswith(f"{images.cache}: ")
    assert str(path) in str(e.value)
    return str(e.value)


@pytest.mark.parametrize("below", [".", "below"])
def test_file_in_place_of_the_cache(tmp_path, cache, below):
    cache.write_text("a file")
    refused(ResizedImages(30, cache / below), save(tmp_path / "a.png"))
    assert cache.read_text() == "a file"


def test_folder_in_place_of_a_copy(tmp_path, cache):
    path = save(tmp_path / "a.png")
    ResizedImages(30, cache).read(path)
    copy = only_copy(cache)
    copy.unlink()
    copy.mkdir()
    (copy / "something").touch()
    refused(ResizedImages(30, cache), path)


def test_read_only_cache_serves_what_it_has(tmp_path, cache, monkeypatch):
    old, new = save(tmp_path / "old.png"), save(tmp_path / "new.png")
    images = ResizedImages(30, cache)
    cold = images.read(old)

    def deny(self, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", deny)
    np.testing.assert_array_equal(images.read(old), cold)
    assert "Read-only file system" in refused(images, new)


def test_full_disk(tmp_path, cache, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    images, path = ResizedImages(30, cache), save(tmp_path / "a.png")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left on device" in refused(images, path)
    assert files(cache) == []
    np.testing.assert_array_equal(images.read(path), shrink(picture(60, 80), 30))


def test_disk_fills_up_while_writing(tmp_path, cache):
    resource = pytest.importorskip("resource")
    images, path = ResizedImages(200, cache), save(tmp_path / "a.bmp", 220, 300)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # no file may grow beyond 20 kB
    try:
        message = refused(images, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.strerror(errno.EFBIG) in message
    assert files(cache) == []
    images.read(path)
    assert only_copy(cache).stat().st_size > 20_000


# ---- several processes, and dead ones


def fork(work, *args):
    process = multiprocessing.get_context("fork").Process(target=work, args=args)
    process.start()
    return process


def end(process):
    process.join(30)
    if process.is_alive():
        process.kill()
        pytest.fail("the process hangs")
    return process.exitcode


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def die_half_written(self, file, image_format, **options):
    del options
    whole = self.tobytes("raw")
    file.write(b"\x89PNG\r\n\x1a\n" + whole[: len(whole) // 2])
    file.flush()
    die()


def read_and_die(images, paths, where):
    """Read images in a process that dies at its third copy; it was forked, so that nothing need be put back."""
    for path in paths[:2]:
        images.read(path)
    owner, name, death = {
        "while writing": (Image.Image, "save", die_half_written),
        "before the disk has it": (os, "fsync", die),
        "before the move": (Path, "replace", die),
    }[where]
    setattr(owner, name, death)
    images.read(paths[2])


@needs_fork
@pytest.mark.parametrize("where", ["while writing", "before the disk has it", "before the move"])
def test_death_at_the_worst_moment(tmp_path, cache, caplog, where):
    paths = [save(tmp_path / f"{seed}.bmp", seed=seed) for seed in range(4)]
    images = ResizedImages(30, cache)
    assert end(fork(read_and_die, images, paths, where)) == -signal.SIGKILL
    assert len(list(cache.rglob("*.png"))) == 2
    (left_behind,) = (path for path in files(cache) if path.suffix != ".png")
    assert left_behind.suffix == ".tmp"
    for seed, path in enumerate(paths):
        np.testing.assert_array_equal(images.read(path), shrink(picture(60, 80, seed), 30))
    assert not caplog.records
    assert len(list(cache.rglob("*.png"))) == 4


def read_for_ever(cache, paths):
    for short_side in count(100):
        for path in paths:
            ResizedImages(short_side, cache).read(path)


@needs_fork
def test_death_at_any_moment(tmp_path, cache):
    paths = [save(tmp_path / f"{seed}.bmp", 220, 300, seed) for seed in range(6)]
    rng = np.random.default_rng(0)
    for kill in range(1, 7):
        process = fork(read_for_ever, cache / str(kill), paths)
        limit = time.monotonic() + 20
        while len(files(cache / str(kill))) < kill and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        assert end(process) == -signal.SIGKILL
    copies = list(cache.rglob("*.png"))
    assert len(copies) >= 6
    decoded = [read_image(copy) for copy in copies]  # whole, or this raises
    sides = range(100, max(image.shape[0] for image in decoded) + 1)
    right = {shrink(read_image(path), side).tobytes() for path in paths for side in sides}
    assert {image.tobytes() for image in decoded} <= right


def read_in_step(barrier, cache, paths, expected):
    for path, image in zip(paths, expected, strict=True):
        barrier.wait(20)
        np.testing.assert_array_equal(ResizedImages(60, cache).read(path), image)


@needs_fork
def test_processes_fill_one_cache_together(tmp_path, cache):
    paths = [save(tmp_path / f"{seed}.bmp", 90, 120, seed) for seed in range(20)]
    expected = [shrink(picture(90, 120, seed), 60) for seed in range(20)]
    barrier = multiprocessing.get_context("fork").Barrier(4)
    processes = [fork(read_in_step, barrier, cache, paths, expected) for _ in range(4)]
    assert [end(process) for process in processes] == [0, 0, 0, 0]
    assert len(files(cache)) == 20
    assert {read_image(copy).tobytes() for copy in files(cache)} == {image.tobytes() for image in expected}
