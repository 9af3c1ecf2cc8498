"""Grid of a sweep without a server, on a tiny quickstart."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from lml_iqa.experiments.command import protocol

ROOT = Path(__file__).parents[2]


@pytest.fixture
def options(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (72, 80, 3), dtype=np.uint8)).save(photographs / f"photo{i}.png")
    mine = [f"--data.root={photographs}", "--data.types=[1, 8]", f"--data.cache={tmp_path / 'cache'}"]
    return [*tiny, *mine, "--model.freeze_backbone=false"]


def sweep_file(tmp_path, **changes):
    content = yaml.safe_load((ROOT / "configs" / "sweep" / "quickstart.yaml").read_text())
    content["parameters"] = {"model.lambda_manifold": {"values": [0.0, 3.0]}, "model.lr": {"values": [0.01, 1e20]}}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return str(path)


@pytest.mark.usefixtures("in_process")
def test_every_combination_is_run_and_ranked_by_validation(options, tmp_path, capsys):
    out = tmp_path / "out"
    command = [sweep_file(tmp_path), "--out", str(out), *options]
    assert protocol(command) == 1  # a learning rate of 1e20 diverges
    frame = pd.read_csv(out / "sweep.csv")
    assert frame[["run", "model.lambda_manifold", "model.lr"]].sort_values("run").values.tolist() == [
        ["run0", 0.0, 0.01],
        ["run1", 0.0, 1e20],
        ["run2", 3.0, 0.01],
        ["run3", 3.0, 1e20],
    ]
    sound = frame[frame["model.lr"] == 0.01]
    assert sound["val/srcc"].is_monotonic_decreasing
    assert set(frame[frame["model.lr"] == 1e20].run) == set(frame[frame.failure.notna()].run)
    assert frame.failure.dropna().str.contains("training diverged: the loss is nan").all()
    weights = []
    for run in sound.itertuples():
        (checkpoint,) = (out / run.run).rglob("best.ckpt")
        folder = checkpoint.parents[1]
        assert folder.name.endswith(f"-{run.run}")  # the wandb run's ID
        assert not (folder / "metrics.json").exists()  # nothing was tested
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["model"]["lambda_manifold"] == sound.loc[run.Index, "model.lambda_manifold"]
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        weights.append(torch.cat([value.flatten().float() for value in state.values()]))
    assert not torch.equal(*weights)
    assert len(list(out.rglob("offline-run-*"))) == 4
    assert "| run | model.lambda_manifold | model.lr | val/srcc |" in capsys.readouterr().out
    stamps = [path.stat().st_mtime_ns for path in out.rglob("best.ckpt")]
    assert protocol(command) == 1
    assert stamps == [path.stat().st_mtime_ns for path in out.rglob("best.ckpt")]  # finished runs are skipped
    assert protocol([*command, "--model.lr=0.5"]) == 2  # runs with other options do not mix


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "random"}, "only a grid of values can run without a server; use wandb sweep"),
        ({"parameters": {"model.lr": {"min": 0.1, "max": 0.2}}}, "only a grid of values can run"),
        ({"metric": None}, "metric: has no name; give the metric that ranks the runs"),
        ({"command": ["python", "train.py"]}, "it must run lml-iqa fit"),
    ],
)
def test_invalid_sweep(changes, message, tmp_path, capsys):
    assert protocol([sweep_file(tmp_path, **changes), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_the_shipped_sweep_is_a_few_runs_of_one_epoch(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    seen = []
    monkeypatch.setattr("lml_iqa.experiments.runs.call", lambda command, log: seen.append(command) or 1)
    assert protocol(["configs/sweep/quickstart.yaml", "--out", str(tmp_path)]) == 1
    assert len(seen) == 6
    for command in seen:
        assert command[3:6] == ["fit", "--config", "configs/quickstart.yaml"]
        assert "--trainer.max_epochs=1" in command
        (logger,) = json.loads(next(part for part in command if part.startswith("--trainer.logger=["))[17:])
        assert logger["class_path"].endswith("WandbLogger")
