"""Plots of a run: predictions against ratings, example images and loss curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lml_iqa.datasets.scale import ScoreScale, ratings_scale
from lml_iqa.datasets.table import ImageTable
from lml_iqa.transforms.crops import pad_to
from lml_iqa.utils.figures import save_figure, set_file_title
from lml_iqa.utils.files import printable


class ScoredImage(NamedTuple):
    """One image with its scores.

    Attributes:
        scale: Scale of the scores.
        score: Image score.
        spread: Standard deviation between its crops' scores.
        saliency: (K,) saliency of its crops.
        positions: (K, 2) top-left corners (y, x) of its crops.
    """

    scale: ScoreScale
    score: float
    spread: float
    saliency: NDArray[np.float32]
    positions: NDArray[np.int64]


def draw_report(
    path: Path,
    table: ImageTable,
    scored: Mapping[int, ScoredImage],
    metrics: Mapping[str, float],
    crop_size: int,
    photographs: int,
) -> None:
    """Draw predicted scores against ratings, and images with their crops.

    Args:
        path: PNG to write.
        table: The dataset.
        scored: Scores by row of the table, all on one scale.
        metrics: Metrics of the test, shown in the title.
        crop_size: Side of the crops in pixels.
        photographs: Number of images to show, spread over the range of predicted scores.
    """
    rows = np.array(list(scored))
    predicted = np.array([image.score for image in scored.values()])
    by_score = np.argsort(predicted)
    shown = rows[by_score[np.linspace(0, len(rows) - 1, min(photographs, len(rows))).round().astype(int)]]
    figure = Figure(figsize=(5.0 + 4.2 * len(shown), 4.6), layout="constrained")
    axes = figure.subplots(1, 1 + len(shown), squeeze=False, width_ratios=[5.0] + [4.2] * len(shown))[0]

    scale = scored[int(rows[0])].scale
    ratings = ratings_on(scale, table)[rows]
    spreads = [image.spread for image in scored.values()]
    axes[0].errorbar(ratings, predicted, yerr=spreads, fmt="none", ecolor="0.88", elinewidth=0.7, zorder=1)
    axes[0].scatter(ratings, predicted, s=9, c="tab:blue", alpha=0.6, linewidths=0, zorder=2)
    axes[0].plot([scale.low, scale.high], [scale.low, scale.high], color="0.5", linewidth=0.8, linestyle="--")
    axes[0].set_xlabel(str(scale))
    axes[0].set_ylabel("predicted (bars: spread between crops)")
    axes[0].set_title(
        f"{printable(table.name)}, {len(rows)} images\n"
        f"SRCC {metrics['test/srcc']:.3f}  PLCC {metrics['test/plcc']:.3f}  RMSE {metrics['test/rmse']:.3g}",
        parse_math=False,
    )
    for panel, row in zip(axes[1:], shown, strict=True):
        _draw_crops(panel, table, int(row), scored[int(row)], crop_size)
    save_figure(figure, path)


def ratings_on(scale: ScoreScale, table: ImageTable) -> NDArray[np.float64]:
    """(n,) ratings of a table, on the scale of a model's scores."""
    return ratings_scale(scale, table.scale).convert(table.scores, scale)


def _draw_crops(axes: Axes, table: ImageTable, row: int, image: ScoredImage, crop_size: int) -> None:
    axes.imshow(pad_to(table.read(row), crop_size))
    salient = int(image.saliency.argmax())
    for k, (y, x) in enumerate(image.positions):
        color, width = ("yellow", 2.5) if k == salient else ("white", 0.5)
        side = crop_size - 1
        axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=color, linewidth=width, zorder=1 + width))
    axes.set_axis_off()
    rating = ratings_on(image.scale, table)[row]
    set_file_title(axes, str(table.files[row]), f"predicted {image.score:.3g} ± {image.spread:.2g}, label {rating:.3g}")


def draw_losses(path: Path, curves: Mapping[str, NDArray[np.float32]], points: int = 40) -> None:
    """Draw each loss term over the run, on separate axes because the magnitudes differ widely.

    Args:
        path: PNG to write.
        curves: Unweighted value at each training step, by term.
        points: Maximum number of points per curve; each is the mean of consecutive steps.
    """
    figure = Figure(figsize=(3.2 * len(curves), 2.8), layout="constrained")
    for axes, (term, values) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        means = [chunk.mean() for chunk in np.array_split(values, min(points, len(values)))]
        axes.plot(np.linspace(1, len(values), len(means)), means)
        axes.set_title(term)
        axes.set_xlabel("training step")
        axes.set_ylim(bottom=0)
    save_figure(figure, path)
