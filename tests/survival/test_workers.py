"""The error after a worker's death (out of memory, crash of a library) names the file it was reading."""

import os
import signal

import pytest
from lightning.pytorch import Trainer

from lml_iqa.datamodules import BIQ2021DataModule
from lml_iqa.datasets.table import ImageTable
from lml_iqa.tasks import LMLTask


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_dead_worker_names_its_file(biq2021_root, tmp_path, monkeypatch, stage):
    data = BIQ2021DataModule(
        biq2021_root, batch_size=2, crops=2, eval_crops=2, crop_size=32, val_fraction=0.25, num_workers=2
    )
    deadly = int((data.split.train if stage == "fit" else data.split.test)[3])
    read = ImageTable.read

    def die(table, row):
        if row == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(table, row)

    monkeypatch.setattr(ImageTable, "read", die)  # inherited by forked workers
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    task = LMLTask(backbone="test_vit", pretrained=False, decoder_heads=4)
    with pytest.raises(RuntimeError, match="DataLoader worker") as death:
        getattr(trainer, stage)(task, datamodule=data)
    assert f"It was reading {data.table.path(deadly)}." in str(death.value)
    assert "data.num_workers" in str(death.value)
