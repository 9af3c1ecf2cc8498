"""Results written after training, a test or a prediction: metrics, predictions and plots."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, distributed

from lml_iqa.callbacks.plots import ScoredImage, draw_losses, draw_report, ratings_on
from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.tasks import LMLTask, Prediction
from lml_iqa.utils.files import atomic_path, printable, write_text
from lml_iqa.utils.run_dir import run_folder, writes_files


class Report(Callback):
    """Write the results of a run to its folder.

    - ``fit``: ``split.json`` at the start, and at the end ``losses.png``, each loss term over the run;
    - ``test``: ``metrics.json``, ``predictions.csv`` and ``report.png`` (predicted scores against ratings, and images
      with the salient crop marked);
    - ``predict``: ``predictions.csv``.

    Args:
        photographs: Number of images in ``report.png``, spread over the range of predicted scores.
    """

    def __init__(self, photographs: int = 3) -> None:
        self.photographs = photographs
        self._scored: dict[int, ScoredImage] = {}
        self._losses: dict[str, list[Tensor]] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the loss curves so far, so that a resumed run draws complete curves."""
        return {"losses": self._curves()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the loss curves of the resumed run."""
        self._losses = {term: list(values) for term, values in state_dict["losses"].items()}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the split."""
        if writes_files(trainer):
            data = _data_module(trainer)
            folder = run_folder(trainer)
            folder.mkdir(parents=True, exist_ok=True)
            data.split.save(folder / "split.json", data.table)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect the batch's losses on their device: reading them here would synchronize the GPU."""
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/") and name.endswith("_step"):
                self._losses.setdefault(name[len("train/") : -len("_step")], []).append(value.detach())

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the loss curves."""
        if writes_files(trainer) and self._losses:
            curves = {term: values.numpy() for term, values in self._curves().items()}
            draw_losses(run_folder(trainer) / "losses.png", curves)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clear the collected scores."""
        self._scored = {}

    on_predict_start = on_test_start

    def on_test_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction, *args: Any, **kwargs: Any
    ) -> None:
        """Collect the scores of a batch."""
        scale = ScoreScale(**outputs["scale"])
        columns = [outputs[key].cpu().numpy() for key in ("image_id", "score", "spread", "saliency", "positions")]
        for row, *values in zip(*columns, strict=True):
            self._scored[int(row)] = ScoredImage(scale, *values)

    on_predict_batch_end = on_test_batch_end

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write metrics, predictions and the report, and print their paths."""
        scored = self._gather()
        if not writes_files(trainer):
            return
        if not isinstance(pl_module, LMLTask):
            raise TypeError(f"Report: needs an LMLTask, not {type(pl_module).__name__}; remove the callback")
        data = _data_module(trainer)
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("test/")}
        scale = next(iter(scored.values())).scale
        # The checkpoint of a resumed run is removed once the run is complete.
        checkpoint = str(trainer.ckpt_path) if trainer.ckpt_path and Path(trainer.ckpt_path).exists() else ""
        tested_on, count = data.provenance(), _count(scored, len(data.split.test))
        if len(scored) < len(data.split.test):  # tables then mark the result as not comparable
            tested_on["legacy"] = [*tested_on["legacy"], f"only {count} test images (trainer.limit_test_batches)"]
        facts = {
            # JSON has no NaN.
            "metrics": {name: value if math.isfinite(value) else None for name, value in metrics.items()},
            "scale": dataclasses.asdict(scale),
            "images": len(scored),
            "tested_on": tested_on,
            "trained_on": pl_module.provenance,
            "checkpoint": checkpoint or None,
        }
        _write_predictions(folder / "predictions.csv", data, scored)
        draw_report(folder / "report.png", data.table, scored, metrics, data.crop_size, self.photographs)
        # Written last: if this file exists, the others are complete.
        write_text(folder / "metrics.json", json.dumps(facts, indent=1, allow_nan=False) + "\n")
        print(f"\n{printable(data.table.name)}, {count} test images; {scale}")
        for name, value in metrics.items():
            print(f"  {name.removeprefix('test/'):12} {value:8.4f}")
        print(f"checkpoint   {printable(checkpoint) or 'the weights in memory'}")
        print(f"report       {printable(folder / 'report.png')}\nscores       {printable(folder / 'predictions.csv')}")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions and print their path."""
        scored = self._gather()
        if writes_files(trainer):
            path = run_folder(trainer) / "predictions.csv"
            _write_predictions(path, _data_module(trainer), scored)
            count = _count(scored, len(_data_module(trainer).table))
            print(f"\nscores of {count} images ({next(iter(scored.values())).scale})  {printable(path)}")

    def _curves(self) -> dict[str, Tensor]:
        """Stack each term's values on the CPU; restored ones are there already, new ones are on the device."""
        return {term: torch.stack([value.cpu() for value in values]) for term, values in self._losses.items()}

    def _gather(self) -> dict[int, ScoredImage]:
        """Collect the images of all processes, sorted by row."""
        scored = self._scored
        if distributed.is_available() and distributed.is_initialized():
            shares: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(shares, scored)
            scored = {row: image for share in shares for row, image in share.items()}
        return dict(sorted(scored.items()))


def _count(scored: Mapping[int, ScoredImage], whole: int) -> str:
    return str(whole) if len(scored) == whole else f"{len(scored)} of {whole}"


def _data_module(trainer: Trainer) -> IQADataModule:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, IQADataModule):
        raise TypeError("Report: needs a data module of lml_iqa; remove the callback")
    return data


def _write_predictions(path: Path, data: IQADataModule, scored: Mapping[int, ScoredImage]) -> None:
    """Write one row per image.

    Columns: file, score, spread between crops, rating (on the scale of the scores), top-left corner of the salient
    crop, scale of the scores, and the reference image, distortion type and level if the data set has them.
    """
    table = data.table
    ratings = ratings_on(next(iter(scored.values())).scale, table)
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        extra = list(table.facts(0))[1:]  # reference, type and level, if the data set has them
        columns = ["path", "score", "spread", "human_score", "salient_y", "salient_x", "crop_size", "scale"]
        writer = csv.writer(file)
        writer.writerow([*columns, *extra])
        for row, image in scored.items():
            y, x = image.positions[image.saliency.argmax()]
            scores = f"{image.score:.6f}", f"{image.spread:.6f}", f"{ratings[row]:.6g}" if table.rated else ""
            path, *facts = table.facts(row).values()
            writer.writerow([path, *scores, y, x, data.crop_size, image.scale, *facts])
