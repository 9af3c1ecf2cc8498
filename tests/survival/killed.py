"""A run that is killed repeatedly: ``python killed.py ROOT FOLDER`` with BIQ2021 in ROOT.

Prints the number of kills. Every attempt is a process forked from this one, to import packages only once, and killed
after a random number of steps and a random delay: in a step, in validation, or while a checkpoint is written.
"""

import os
import random
import signal
import sys
import time
from multiprocessing import Value
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from lml_iqa.callbacks.resume import ResumePoint
from lml_iqa.datamodules import BIQ2021DataModule
from lml_iqa.tasks import LMLTask
from lml_iqa.utils.checkpoint_io import WholeCheckpointIO

STEPS = Value("i", 0)  # of the current attempt


class Count(Callback):
    """Report the number of steps of this attempt to the parent."""

    def on_train_batch_end(self, *args, **kwargs):
        STEPS.value += 1


def train(root, folder):
    """Train to the end, from the newest checkpoint if there is one."""
    saved = sorted((folder / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    seed_everything(os.getpid() if saved else 3, verbose=False)
    trainer = Trainer(
        max_epochs=20,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[WholeCheckpointIO()],
        callbacks=[ResumePoint(every_minutes=0), ModelCheckpoint(folder / "checkpoints", save_last=True), Count()],
    )
    trainer.fit(
        LMLTask(backbone="test_vit", pretrained=False, decoder_heads=4, drop_path=0.3, lambda_mutual=0.5, lr=1e-3),
        datamodule=BIQ2021DataModule(
            root, batch_size=3, crops=2, eval_crops=2, crop_size=32, val_fraction=0.25, num_workers=0, seed=5
        ),
        ckpt_path=saved[-1] if saved else None,
        weights_only=True,
    )
    trainer.save_checkpoint(folder / "end.ckpt")


def main(root, folder):
    """Fork and kill until an attempt reaches the end."""
    draw = random.Random(0)
    kills = 0
    while not (folder / "end.ckpt").exists():
        STEPS.value, steps = 0, draw.randint(1, 3)
        child = os.fork()
        if child == 0:
            train(root, folder)
            os._exit(0)
        while STEPS.value < steps and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.005)
        if STEPS.value < steps:
            continue  # reached the end, or failed, which the timeout of the test detects
        time.sleep(draw.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
    print(kills)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
