import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from lml_iqa.transforms.crops import cut_crops, grid_positions, pad_to, random_positions


def shape_of_grid(positions):
    return len(np.unique(positions[:, 0])), len(np.unique(positions[:, 1]))


@pytest.mark.parametrize("count", range(1, 17))
@pytest.mark.parametrize(("height", "width"), [(512, 512), (384, 512), (768, 512), (224, 224), (225, 900), (1500, 230)])
def test_grid_lies_inside_the_image(height, width, count):
    positions = grid_positions(height, width, 224, count)
    assert positions.shape == (count, 2)
    assert positions.dtype == np.int64
    assert positions.min() >= 0
    assert positions[:, 0].max() <= height - 224
    assert positions[:, 1].max() <= width - 224
    np.testing.assert_array_equal(positions, grid_positions(height, width, 224, count))


@pytest.mark.parametrize("count", [4, 6, 8, 9, 10, 12, 15, 16, 25])
@pytest.mark.parametrize(("height", "width"), [(512, 512), (384, 512), (513, 511)])
def test_grid_touches_all_edges(height, width, count):
    positions = grid_positions(height, width, 224, count)
    assert positions.min(axis=0).tolist() == [0, 0]
    assert positions.max(axis=0).tolist() == [height - 224, width - 224]
    assert len(np.unique(positions, axis=0)) == count


@pytest.mark.parametrize(
    ("height", "width", "count", "grid"),
    [
        (512, 512, 9, (3, 3)),
        (384, 512, 9, (3, 3)),
        (300, 2000, 9, (1, 9)),
        (2000, 300, 9, (9, 1)),
        (512, 768, 10, (2, 5)),
        (768, 512, 10, (5, 2)),
        (400, 3200, 10, (1, 10)),
        (3200, 400, 10, (10, 1)),
        (480, 640, 12, (3, 4)),
        (640, 480, 12, (4, 3)),
        (512, 512, 1, (1, 1)),
    ],
)
def test_grid_follows_the_aspect(height, width, count, grid):
    assert shape_of_grid(grid_positions(height, width, 224, count)) == grid


def test_grid_by_hand():
    np.testing.assert_array_equal(grid_positions(10, 14, 4, 1), [[3, 5]])
    np.testing.assert_array_equal(grid_positions(10, 14, 4, 6), [[0, 0], [0, 5], [0, 10], [6, 0], [6, 5], [6, 10]])
    np.testing.assert_array_equal(grid_positions(4, 60, 4, 3), [[0, 0], [0, 28], [0, 56]])
    np.testing.assert_array_equal(grid_positions(4, 4, 4, 4), np.zeros((4, 2)))


def test_grid_is_even():
    steps = np.diff(np.unique(grid_positions(3000, 500, 224, 9)[:, 0]))
    assert steps.max() - steps.min() <= 1


def draw(height, width, size, count=20_000, seed=0):
    return random_positions(height, width, size, count, np.random.default_rng(seed))


@pytest.mark.parametrize(("height", "width"), [(17, 25), (25, 17), (8, 12), (8, 8)])
def test_random_positions_are_uniform_from_end_to_end(height, width):
    positions = draw(height, width, 8)
    assert positions.shape == (20_000, 2)
    assert positions.dtype == np.int64
    for axis, side in enumerate((height, width)):
        counts = np.bincount(positions[:, axis])
        assert len(counts) == side - 8 + 1  # 0 and side - 8 occur, nothing beyond
        assert chisquare(counts).pvalue > 1e-3 or side == 8


def test_random_rows_and_columns_are_independent():
    y, x = draw(12, 12, 8).T
    counts = np.bincount(y * 5 + x, minlength=25)
    assert chisquare(counts).pvalue > 1e-3


def test_random_positions_follow_the_generator():
    np.testing.assert_array_equal(draw(100, 100, 8, 50), draw(100, 100, 8, 50))
    assert (draw(100, 100, 8, 50) != draw(100, 100, 8, 50, seed=1)).any()


@pytest.mark.parametrize("flip", [False, True])
def test_crops_equal_slices(flip):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    positions = np.array([[0, 0], [12, 22], [5, 9], [0, 22]])
    flips = np.array([True, False, True, False]) if flip else None
    crops = cut_crops(image, positions, 8, flips)
    assert crops.shape == (4, 3, 8, 8)
    assert crops.dtype == torch.uint8
    assert crops.is_contiguous()
    for k, (y, x) in enumerate(positions):
        for row in range(8):
            for column in range(8):
                place = 7 - column if flip and flips[k] else column
                assert crops[k, :, row, place].tolist() == image[y + row, x + column].tolist()


def test_crops_are_copies():
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image.flags.writeable = False  # as Pillow hands them out
    cut_crops(image, np.array([[0, 0]]), 8).add_(1)
    assert image.max() == 0


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 30)])
def test_large_enough_images_are_not_padded(height, width):
    image = np.ones((height, width, 3), dtype=np.uint8)
    assert pad_to(image, 8) is image


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (3, 500), (500, 3), (1, 300), (223, 224), (2, 2), (100, 100), (224, 1)]
)
def test_small_images_are_padded(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    padded = pad_to(image, 224)
    assert padded.shape == (max(height, 224), max(width, 224), 3)
    assert padded.dtype == np.uint8
    np.testing.assert_array_equal(padded[:height, :width], image)
    crops = cut_crops(padded, grid_positions(*padded.shape[:2], 224, 9), 224)
    assert crops.shape == (9, 3, 224, 224)
    seen = {tuple(color) for color in crops.permute(0, 2, 3, 1).reshape(-1, 3)[::97].tolist()}
    assert seen <= {tuple(color) for color in image.reshape(-1, 3).tolist()}  # reflected, not invented


def test_padding_reflects_again_and_again():
    image = np.array([1, 2, 3], dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    assert pad_to(image, 8)[0, :, 0].tolist() == [1, 2, 3, 2, 1, 2, 3, 2]
    assert pad_to(image, 8)[7, :, 0].tolist() == [1, 2, 3, 2, 1, 2, 3, 2]
