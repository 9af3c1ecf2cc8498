"""Runs stopped by a signal at any step and resumed reach the weights of an uninterrupted run."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from distributed.launch import environment, facts, options, predictions
from distributed.launch import fit as fit_command
from lightning.pytorch import Callback, Trainer, seed_everything

from lml_iqa.callbacks.resume import ResumePoint
from lml_iqa.datamodules import BIQ2021DataModule
from lml_iqa.tasks import LMLTask

STEPS = 9  # 3 epochs of 3 batches


class Ask(Callback):
    """Send a signal to this process in the middle of a step."""

    def __init__(self, step, number=signal.SIGUSR1):
        self.step, self.number = step, number

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


def fit(root, folder, *callbacks, resume=None, seed=3, epochs=3, **options):
    """Train as a new process would, and return the task."""
    seed_everything(seed, verbose=False)
    task = LMLTask(
        backbone="test_vit",
        pretrained=False,
        decoder_heads=4,
        drop_path=0.3,
        lambda_mutual=0.5,
        lr=1e-3,
        teacher_horizon=0.5,
    )
    data = BIQ2021DataModule(
        root, batch_size=3, crops=2, eval_crops=2, crop_size=32, val_fraction=0.25, num_workers=0, seed=5
    )
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ResumePoint(), *callbacks],
        **options,
    )
    trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    assert trainer.global_step == STEPS // options.get("accumulate_grad_batches", 1)
    return task


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 3}, {"val_check_interval": 2}])
def test_broken_at_every_step_equals_unbroken(biq2021_root, tmp_path, options):
    whole = fit(biq2021_root, tmp_path, **options)
    saved = tmp_path / "checkpoints" / "interrupted.ckpt"
    resume = None
    last = STEPS // options.get("accumulate_grad_batches", 1) - 1
    for step in range(last):
        with pytest.raises(SystemExit) as left:
            # New processes have other seeds: all random state must come from the checkpoint or the data's seed.
            fit(biq2021_root, tmp_path, Ask(step), resume=resume, seed=3 if resume is None else 90 + step, **options)
        assert left.value.code == 75
        resume = saved
        assert torch.load(saved, weights_only=True)["global_step"] == step + 1
    broken = fit(biq2021_root, tmp_path, resume=resume, seed=99, **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, broken.state_dict()[name]), name
    assert not saved.exists()


def test_termination_saves_and_restores_the_handlers(biq2021_root, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)]
    with pytest.raises(SystemExit) as left:
        fit(biq2021_root, tmp_path, Ask(1, signal.SIGTERM))
    assert left.value.code == 143
    assert torch.load(tmp_path / "checkpoints" / "interrupted.ckpt", weights_only=True)["global_step"] == 2
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)] == before


def test_signal_after_the_last_step_stops_the_test(biq2021_root, tmp_path):
    task = LMLTask(backbone="test_vit", pretrained=False, decoder_heads=4)
    data = BIQ2021DataModule(root=biq2021_root, batch_size=3, eval_crops=2, crop_size=32, num_workers=0)

    class AskInTest(Callback):
        seen = 0

        def on_test_batch_end(self, trainer, *args, **kwargs):
            self.seen += 1
            os.kill(os.getpid(), signal.SIGUSR1)

    ask = AskInTest()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[ResumePoint(), ask],
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    with pytest.raises(SystemExit) as left:
        trainer.test(task, datamodule=data, verbose=False)
    assert left.value.code == 75
    assert ask.seen == 1  # of two batches


def test_signal_to_one_process_stops_both(biq2021_root, tmp_path):
    """Command line with two processes, and a signal to the second: same files as an uninterrupted run."""
    (tmp_path / "asking.py").write_text(
        "import os, signal\n"
        "from lightning.pytorch import Callback\n"
        "class Ask(Callback):\n"
        "    def on_train_batch_end(self, trainer, *args, **kwargs):\n"
        "        if trainer.global_rank == 1 and trainer.global_step == 3:\n"
        "            os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    two = ["--data.batch_size=2", "--trainer.devices=2", "--trainer.strategy=ddp"]
    whole = fit_command(biq2021_root, tmp_path / "whole", *two)
    command = [sys.executable, "-m", "lml_iqa", "fit", *options(biq2021_root, tmp_path / "broken", *two)]
    command += ["--trainer.callbacks+=asking.Ask", "--trainer.logger.init_args.version=0"]
    stopped = subprocess.run(
        command, env=environment(PYTHONPATH=str(tmp_path)), capture_output=True, text=True, timeout=900, check=False
    )
    assert stopped.returncode == 75, stopped.stderr
    saved = tmp_path / "broken" / "biq2021" / "version_0" / "checkpoints" / "interrupted.ckpt"
    assert torch.load(saved, weights_only=True)["global_step"] == 3
    broken = fit_command(
        biq2021_root, tmp_path / "broken", *two, "--trainer.logger.init_args.version=0", f"--ckpt_path={saved}"
    )
    assert not saved.exists()
    assert facts(broken)["metrics"] == facts(whole)["metrics"]
    assert predictions(broken) == predictions(whole)
