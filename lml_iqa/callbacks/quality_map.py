"""Maps of local quality and saliency from the scores of an image's crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.tasks import LMLTask, Prediction
from lml_iqa.transforms.crops import pad_to
from lml_iqa.utils.figures import save_figure, set_file_title
from lml_iqa.utils.files import with_ending
from lml_iqa.utils.run_dir import run_folder


class QualityMaps(Callback):
    """Draw each tested or predicted image beside its quality map and its saliency map.

    The maps are saved in ``maps/`` in the run's folder, under the file names of the images. Each pixel of a map is the
    mean over the crops that cover it, so more crops make finer maps::

        lml-iqa predict ... --trainer.callbacks+=lml_iqa.QualityMaps --data.eval_crops 60
    """

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Broadcast the output folder to all processes."""
        self._folder = trainer.strategy.broadcast(run_folder(trainer)) / "maps"

    on_predict_start = on_test_start

    def on_test_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction, *args: Any, **kwargs: Any
    ) -> None:
        """Draw the images of a batch; each process draws the images that it scored."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, IQADataModule) or not isinstance(pl_module, LMLTask):
            raise TypeError("QualityMaps: needs an LMLTask and a data module of lml_iqa; remove the callback")
        if getattr(trainer, "fast_dev_run", False):
            return
        scale = ScoreScale(**outputs["scale"])
        columns = [outputs[key].cpu().numpy() for key in ("image_id", "score", "crop_scores", "saliency", "positions")]
        for row, score, crop_scores, saliency, positions in zip(*columns, strict=True):
            name = str(data.table.files[row])
            draw_maps(
                self._folder / with_ending(name, ".png"),
                pad_to(data.table.read(int(row)), data.crop_size),
                crop_scores,
                saliency,
                positions,
                crop_size=data.crop_size,
                name=name,
                score=score,
                scale=scale,
            )

    on_predict_batch_end = on_test_batch_end


def map_crops(
    values: NDArray[np.float32], positions: NDArray[np.int64], crop_size: int, height: int, width: int
) -> NDArray[np.float32]:
    """Average crop values over the pixels that the crops cover.

    Args:
        values: (K,) one value per crop.
        positions: (K, 2) top-left corners (y, x).
        crop_size: Side of the crops in pixels.
        height: Height of the image.
        width: Width of the image.

    Returns:
        (height, width) float32 mean over the crops that cover each pixel; NaN where none does.
    """
    total, count = np.zeros((2, height, width), dtype=np.float32)
    for value, (y, x) in zip(values, positions, strict=True):
        total[y : y + crop_size, x : x + crop_size] += value
        count[y : y + crop_size, x : x + crop_size] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def draw_maps(
    path: Path,
    image: NDArray[np.uint8],
    crop_scores: NDArray[np.float32],
    saliency: NDArray[np.float32],
    positions: NDArray[np.int64],
    *,
    crop_size: int,
    name: str,
    score: float,
    scale: ScoreScale,
) -> None:
    """Draw an image, its quality map and its saliency map side by side.

    Args:
        path: PNG to write; its folder is created.
        image: (H, W, 3) uint8 image that the crops were cut from.
        crop_scores: (K,) scores of the crops, in native units.
        saliency: (K,) saliency of the crops; the most salient one is framed.
        positions: (K, 2) top-left corners (y, x) of the crops.
        crop_size: Side of the crops in pixels.
        name: File name of the image.
        score: Score of the image, in native units.
        scale: Scale of the scores; green means good quality in either direction.
    """
    figure = Figure(figsize=(13.5, 4.5), layout="constrained")
    original, quality, salience = figure.subplots(1, 3)
    original.imshow(image)
    y, x = positions[saliency.argmax()]
    frame = Rectangle((x, y), crop_size - 1, crop_size - 1, fill=False, edgecolor="yellow", linewidth=2)
    original.add_patch(frame)
    set_file_title(original, name, f"{score:.3g} on {scale}")
    colors = "RdYlGn" if scale.higher_is_better else "RdYlGn_r"
    for axes, values, cmap, name in (
        (quality, crop_scores, colors, f"quality ({scale.name} of the crops)"),
        (salience, saliency * len(saliency), "viridis", "saliency (1: as salient as the average crop)"),
    ):
        axes.imshow(image.mean(axis=2), cmap="gray")
        overlay = axes.imshow(map_crops(values, positions, crop_size, *image.shape[:2]), cmap=cmap, alpha=0.6)
        figure.colorbar(overlay, ax=axes, shrink=0.8)
        axes.set_title(name)
    for axes in (original, quality, salience):
        axes.set_axis_off()
    save_figure(figure, path, dpi=80)
