"""Runs of the command line on a tiny BIQ2021, and their results."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

# Variables that Lightning sets in distributed processes; new runs must not inherit them.
RENDEZVOUS = {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "RANK", "WORLD_SIZE"}
CONFIGS = Path(__file__).parents[2] / "configs"


def options(root, folder, *more):
    """Options of ``lml-iqa fit``: two epochs and the test."""
    return [
        *("--config", str(CONFIGS / "biq2021.yaml"), f"--data.root={root}"),
        *("--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4"),
        *("--model.freeze_backbone=false", "--model.drop_path=0.2"),
        *("--data.val_fraction=0.25", "--data.crop_size=32", "--data.eval_crops=4", "--data.num_workers=0"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=2"),
        *(f"--trainer.logger.init_args.save_dir={folder}", *more),
        # Checkpoint of the last epoch; last.ckpt is of the last epoch that improved.
        *("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename=end"),
        "--trainer.callbacks.enable_version_counter=false",
    ]


def environment(**more):
    """Environment in which processes use the loopback interface and this ``lml-iqa``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {name: value for name, value in os.environ.items() if name not in RENDEZVOUS}
    return {**ours, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PATH": path, **more}


def fit(root, folder, *more):
    """Train and test in a new process, and return the run's folder."""
    command = [sys.executable, "-m", "lml_iqa", "fit", *options(root, folder, *more)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert "sync_dist" not in done.stderr
    return folder / "biq2021" / "version_0"


def facts(run):
    return json.loads((run / "metrics.json").read_text())


def predictions(run):
    with (run / "predictions.csv").open(newline="") as file:
        return {row["path"]: float(row["score"]) for row in csv.DictReader(file)}


def weights(run):
    return torch.load(run / "checkpoints" / "end.ckpt", weights_only=True)["state_dict"]


def assert_equal(run, other):
    """Check that two runs have bit-identical weights, predictions and metrics."""
    first, second = weights(run), weights(other)
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []
    assert predictions(run) == predictions(other)
    assert facts(run)["metrics"] == facts(other)["metrics"]
