"""What training, a test and a prediction leave behind: figures, predictions, and a picture worth looking at."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, distributed

from lml_iqa.callbacks.figures import ScoredImage, draw_losses, draw_report
from lml_iqa.callbacks.folder import run_folder, writes_files
from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.tasks.lml import LMLTask, Prediction


class Report(Callback):
    """Writes what a person wants to see into the run's folder.

    - while training: ``split.json``, and at its end ``losses.png``, each loss term over the run;
    - after a test: ``metrics.json``, ``predictions.csv`` and ``report.png`` (predicted against human scores, and
      photographs with their salient crop marked);
    - after a prediction: ``predictions.csv``.

    Args:
        photographs: How many photographs ``report.png`` shows, spread over the predicted scores.
    """

    def __init__(self, photographs: int = 3) -> None:
        self.photographs = photographs
        self._scored: dict[int, ScoredImage] = {}
        self._losses: dict[str, list[Tensor]] = {}

    def state_dict(self) -> dict[str, Any]:
        """The curves so far, so that a resumed run draws them whole."""
        return {"losses": self._curves()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the curves of the run that is resumed."""
        self._losses = {term: list(values) for term, values in state_dict["losses"].items()}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the split: a score is worth what its split is worth."""
        if writes_files(trainer):
            data = _data_module(trainer)
            folder = run_folder(trainer)
            folder.mkdir(parents=True, exist_ok=True)
            data.split.save(folder / "split.json", data.table)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch's losses, where they are: reading them now would make a GPU wait."""
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/") and name.endswith("_step"):
                self._losses.setdefault(name[len("train/") : -len("_step")], []).append(value.detach())

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the losses."""
        if writes_files(trainer) and self._losses:
            curves = {term: values.numpy() for term, values in self._curves().items()}
            draw_losses(run_folder(trainer) / "losses.png", curves)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with nothing."""
        self._scored = {}

    on_predict_start = on_test_start

    def on_test_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the scores of a batch."""
        columns = [outputs[key].cpu().numpy() for key in ("image_id", "score", "spread", "saliency", "positions")]
        for row, *values in zip(*columns, strict=True):
            self._scored[int(row)] = ScoredImage(*values)

    on_predict_batch_end = on_test_batch_end

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write figures, predictions and picture; say where they lie."""
        scored = self._gather()
        if not writes_files(trainer):
            return
        if not isinstance(pl_module, LMLTask):
            raise TypeError(f"Report describes an LMLTask, not {type(pl_module).__name__}")
        data = _data_module(trainer)
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("test/")}
        facts = {
            "metrics": metrics,
            "images": len(scored),
            "tested_on": data.provenance(),
            "trained_on": pl_module.provenance,
            "checkpoint": str(trainer.ckpt_path or ""),
        }
        _write_predictions(folder / "predictions.csv", data, scored)
        draw_report(folder / "report.png", data.table, scored, metrics, data.crop_size, self.photographs)
        # Last and at once: where this file is, the others are too.
        unfinished = folder / "metrics.json.part"
        unfinished.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(folder / "metrics.json")
        print(
            f"\n{data.table.name}, {len(scored)} test images\n"
            + "".join(f"  {k.removeprefix('test/'):12} {v:8.4f}\n" for k, v in metrics.items())
            + f"checkpoint  {trainer.ckpt_path}\nreport      {folder / 'report.png'}\n"
            + f"scores      {folder / 'predictions.csv'}"
        )

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions; say where they lie."""
        scored = self._gather()
        if writes_files(trainer):
            folder = run_folder(trainer)
            folder.mkdir(parents=True, exist_ok=True)
            _write_predictions(folder / "predictions.csv", _data_module(trainer), scored)
            print(f"\nscores of {len(scored)} images  {folder / 'predictions.csv'}")

    def _curves(self) -> dict[str, Tensor]:
        """Each term's values on the CPU: after a resume the old ones lie there, the new ones on the device."""
        return {term: torch.stack([value.cpu() for value in values]) for term, values in self._losses.items()}

    def _gather(self) -> dict[int, ScoredImage]:
        """All processes' images by row, sorted."""
        scored = self._scored
        if distributed.is_available() and distributed.is_initialized():
            shares: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(shares, scored)
            scored = {row: image for share in shares for row, image in share.items()}
        return dict(sorted(scored.items()))


def _data_module(trainer: Trainer) -> IQADataModule:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, IQADataModule):
        raise TypeError("Report needs a data module of lml_iqa; leave it out of the callbacks otherwise")
    return data


def _write_predictions(path: Path, data: IQADataModule, scored: Mapping[int, ScoredImage]) -> None:
    """Write one line an image.

    File, score, spread between crops, human score, top-left corner of the salient crop, and the clean photograph,
    distortion type and level where the set has them.
    """
    table = data.table
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        known = {"reference": table.references, "type": table.types, "level": table.levels}
        extra = {name: values for name, values in known.items() if values is not None}
        writer.writerow(["path", "score", "spread", "human_score", "salient_y", "salient_x", "crop_size", *extra])
        for row, image in scored.items():
            y, x = image.positions[image.saliency.argmax()]
            human = f"{table.scores[row]:.6g}" if table.rated else ""
            writer.writerow(
                [table.files[row], f"{image.score:.6f}", f"{image.spread:.6f}", human, y, x, data.crop_size]
                + [values[row] for values in extra.values()]
            )
