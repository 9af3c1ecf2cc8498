"""The pictures of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lml_iqa.datasets.table import ImageTable
from lml_iqa.transforms.crops import pad_to


class ScoredImage(NamedTuple):
    """One image with its scores, in native units.

    Attributes:
        score: Image score.
        spread: Standard deviation between its crops' scores.
        saliency: (K,) saliency of its crops.
        positions: (K, 2) top-left corners (y, x) of its crops.
    """

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
    """Draw predicted against human scores, and photographs with their crops.

    Args:
        path: PNG to write.
        table: The data set.
        scored: Scores by row of the table.
        metrics: Figures of the test, shown in the title.
        crop_size: Side of the crops in pixels.
        photographs: How many photographs to show, spread over the predicted scores.
    """
    rows = np.array(list(scored))
    predicted = np.array([image.score for image in scored.values()])
    by_score = np.argsort(predicted)
    shown = rows[by_score[np.linspace(0, len(rows) - 1, min(photographs, len(rows))).round().astype(int)]]
    figure = Figure(figsize=(5.0 + 4.2 * len(shown), 4.6), layout="constrained")
    axes = figure.subplots(1, 1 + len(shown), squeeze=False, width_ratios=[5.0] + [4.2] * len(shown))[0]

    human, scale = table.scores[rows], table.scale
    axes[0].errorbar(
        human, predicted, yerr=[i.spread for i in scored.values()], fmt="none", ecolor="0.88", elinewidth=0.7, zorder=1
    )
    axes[0].scatter(human, predicted, s=9, c="tab:blue", alpha=0.6, linewidths=0, zorder=2)
    axes[0].plot([scale.low, scale.high], [scale.low, scale.high], color="0.5", linewidth=0.8, linestyle="--")
    axes[0].set_xlabel(f"human {scale.name} ({'higher' if scale.higher_is_better else 'lower'} is better)")
    axes[0].set_ylabel(f"predicted {scale.name} (bars: spread between crops)")
    axes[0].set_title(
        f"{table.name}, {len(rows)} images\n"
        f"SRCC {metrics['test/srcc']:.3f}  PLCC {metrics['test/plcc']:.3f}  RMSE {metrics['test/rmse']:.3g}"
    )
    for panel, row in zip(axes[1:], shown, strict=True):
        _draw_crops(panel, table, int(row), scored[int(row)], crop_size)
    figure.savefig(path, dpi=110)


def _draw_crops(axes: Axes, table: ImageTable, row: int, image: ScoredImage, crop_size: int) -> None:
    axes.imshow(pad_to(table.read(row), crop_size))
    salient = int(image.saliency.argmax())
    for k, (y, x) in enumerate(image.positions):
        color, width = ("yellow", 2.5) if k == salient else ("white", 0.5)
        side = crop_size - 1
        axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=color, linewidth=width, zorder=1 + width))
    axes.set_axis_off()
    axes.set_title(
        f"{Path(str(table.files[row])).name}\npredicted {image.score:.3g} ± {image.spread:.2g}, "
        f"human {table.scores[row]:.3g}",
        fontsize=9,
    )


def draw_losses(path: Path, curves: Mapping[str, NDArray[np.float32]], points: int = 40) -> None:
    """Draw each loss term over the run, each on its own axes: their sizes differ by orders of magnitude.

    Args:
        path: PNG to write.
        curves: Value at each training step by term, before the term's weight.
        points: Number of points a curve; each is the mean of as many steps.
    """
    figure = Figure(figsize=(3.2 * len(curves), 2.8), layout="constrained")
    for axes, (term, values) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        means = [chunk.mean() for chunk in np.array_split(values, min(points, len(values)))]
        axes.plot(np.linspace(1, len(values), len(means)), means)
        axes.set_title(term)
        axes.set_xlabel("training step")
        axes.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
