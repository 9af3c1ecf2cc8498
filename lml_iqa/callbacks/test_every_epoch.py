"""Test metrics of every epoch, to compare with results selected on the test set."""

from __future__ import annotations

import csv

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.metrics import QualityMetrics
from lml_iqa.models import image_score
from lml_iqa.tasks.lml import LMLTask
from lml_iqa.utils.run_dir import run_folder, writes_files


class TestEveryEpoch(Callback):
    """Test after every epoch and write ``test_every_epoch.csv``.

    Many papers report the best epoch *on the test set*. This callback measures the difference; nothing is selected by
    it.
    """

    __test__ = False  # keeps pytest from collecting the class

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the test set with the network of this epoch."""
        data = getattr(trainer, "datamodule", None)
        if trainer.sanity_checking or not isinstance(data, IQADataModule) or not isinstance(pl_module, LMLTask):
            return
        metrics = QualityMetrics().to(pl_module.device)
        with torch.inference_mode():
            for batch in data.test_dataloader():
                batch = pl_module.transfer_batch_to_device(batch, pl_module.device, 0)
                score, _ = image_score(pl_module(batch["crops"]), pl_module.hparams["aggregate"])
                metrics.update(score, batch["mos"], batch["image_id"])
        values = metrics.compute()
        if writes_files(trainer):
            path = run_folder(trainer) / "test_every_epoch.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(["epoch", "srcc", "plcc"])
                writer.writerow([trainer.current_epoch, float(values["srcc"]), float(values["plcc"])])
