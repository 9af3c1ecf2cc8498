"""Contact sheet of a data set: images from worst to best, and a histogram of the scores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lml_iqa.datasets import ImageTable
from lml_iqa.utils.figures import save_figure, set_file_title
from lml_iqa.utils.files import printable

_COLUMNS = 6
_THUMBNAIL = 320  # pixels; larger images are subsampled before drawing


def draw_sheet(path: Path, table: ImageTable, images: int = 24) -> None:
    """Draw a contact sheet and the histogram of the scores.

    Args:
        path: PNG to write.
        table: The data set.
        images: Number of images to show, evenly spaced over the range of scores.

    Raises:
        ImageReadError: An image cannot be read.
    """
    quality = table.scale.to_unit(table.scores)
    shown = _spread(quality, images)
    rows = math.ceil(len(shown) / _COLUMNS)
    figure = Figure(figsize=(2.4 * _COLUMNS, 2.6 + 2.1 * rows), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[2.4, 2.1 * rows], squeeze=False).ravel()

    axes = top.subplots()
    axes.hist(table.scores, bins=60, color="tab:blue")
    axes.set_xlim(table.scale.low, table.scale.high)
    axes.set_xlabel(f"{table.scale.name}, {'higher' if table.scale.higher_is_better else 'lower'} is better")
    axes.set_ylabel("images")
    axes.set_title(
        f"{printable(table.name)}: {len(table):,} images, {table.scale.name} {table.scores.min():.4g} to "
        f"{table.scores.max():.4g}, mean {table.scores.mean():.4g}",
        parse_math=False,
    )
    panels = bottom.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, row in zip(panels, shown, strict=False):
        image = table.read(int(row))
        step = max(1, max(image.shape[:2]) // _THUMBNAIL)
        panel.imshow(image[::step, ::step])
        set_file_title(panel, str(table.files[row]), f"{table.scores[row]:.4g}", fontsize=7)
    bottom.suptitle("from worst to best", fontsize=10)
    save_figure(figure, path)


def _spread(quality: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Rows whose quality is nearest to evenly spaced values from worst to best, without repeats."""
    order = np.argsort(quality, kind="stable")
    wanted = np.linspace(quality[order[0]], quality[order[-1]], count)
    places = np.searchsorted(quality[order], wanted).clip(0, len(order) - 1)
    return np.array(order[np.unique(places)], dtype=np.int64)
