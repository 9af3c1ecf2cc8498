"""The command line with two processes, started by Lightning itself: the run's files are those of one process."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed

CONFIG = Path(__file__).parents[2] / "configs" / "biq2021.yaml"

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")


def fit(root, folder, *more):
    """Train and test in a process of its own; its run folder."""
    command = [sys.executable, "-m", "lml_iqa", "fit", "--config", str(CONFIG), f"--data.root={root}"]
    command += ["--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4"]
    command += ["--model.freeze_backbone=false", "--model.drop_path=0.2"]
    command += ["--data.val_fraction=0.25", "--data.crop_size=32", "--data.eval_crops=4", "--data.num_workers=0"]
    command += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=2"]
    command += [f"--trainer.logger.init_args.save_dir={folder}", *more]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert "sync_dist" not in done.stderr
    return folder / "biq2021" / "version_0"


def predictions(run):
    with (run / "predictions.csv").open(newline="") as file:
        return {row["path"]: float(row["score"]) for row in csv.DictReader(file)}


def test_two_processes_leave_the_files_of_one(biq2021_root, tmp_path):
    one = fit(biq2021_root, tmp_path / "one", "--data.batch_size=4")
    two = fit(biq2021_root, tmp_path / "two", "--data.batch_size=2", "--trainer.devices=2", "--trainer.strategy=ddp")
    assert not (tmp_path / "two" / "biq2021" / "version_1").exists()  # one run, not one a process
    facts = [json.loads((run / "metrics.json").read_text()) for run in (one, two)]
    assert facts[0]["images"] == facts[1]["images"] == 5
    assert facts[1]["metrics"] == pytest.approx(facts[0]["metrics"], abs=1e-4)
    assert json.loads((two / "environment.json").read_text())["processes"] == 2
    assert predictions(two) == pytest.approx(predictions(one), abs=1e-4)
    weights = [torch.load(r / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for r in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)
