"""Fixtures of the experiments' tests."""

import traceback

import pytest
import wandb

from lml_iqa.main import main


@pytest.fixture(scope="session")
def tiny():
    """Options for runs of a few seconds."""
    return [
        "--data.num_workers=0",
        "--data.batch_size=8",
        "--data.crop_size=32",
        "--data.crops=2",
        "--data.eval_crops=4",
        "--model.backbone=test_vit",
        "--model.pretrained=false",
        "--model.decoder_heads=4",
        "--model.saliency=joint_attention",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
    ]


@pytest.fixture
def in_process(monkeypatch):
    """Execute runs in this process, one at a time, as new processes start slowly; test_repeats.py covers those."""

    def call(command, log):
        assert command[1:3] == ["-m", "lml_iqa"]
        try:
            main(command[3:])
        except SystemExit as stop:
            log.write(f"{stop.code}\n")
            return 1
        except Exception:
            traceback.print_exc(file=log)
            return 1
        finally:
            wandb.finish()
        return 0

    monkeypatch.setattr("lml_iqa.experiments.runs.call", call)
    return call
