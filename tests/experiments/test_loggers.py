"""Experiments with each logger: same table, files in the run's folder, and unique wandb IDs."""

import json
from pathlib import Path

import pytest
import torch
from data.benchmarks import LAYOUTS

from lml_iqa.experiments.command import protocol
from lml_iqa.experiments.series import OptionsError, _place

CONFIGS = Path(__file__).parents[2] / "configs"
WANDB = ["--trainer.logger=WandbLogger", "--trainer.logger.project=mine", "--trainer.logger.name=null"]


@pytest.fixture(scope="module")
def fit(tmp_path_factory, tiny):
    root = LAYOUTS["tid2013"](tmp_path_factory.mktemp("data") / "tid2013")
    return [f"--config={CONFIGS / 'tid2013.yaml'}", f"--data.root={root}", *tiny, "--trainer.max_epochs=1"]


@pytest.fixture(autouse=True)
def wandb_offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.mark.usefixtures("in_process")
def test_all_loggers_give_the_same_table(fit, tmp_path):
    assert protocol(["--out", str(tmp_path / "csv"), "--splits", "2", *fit]) == 0
    expected = json.loads((tmp_path / "csv" / "table.json").read_text())
    for name in ("one", "other"):
        assert protocol(["--out", str(tmp_path / name), "--splits", "2", *fit, *WANDB]) == 0
        assert json.loads((tmp_path / name / "table.json").read_text()) == expected
        for n in range(2):
            (metrics,) = (tmp_path / name / f"split{n}").rglob("metrics.json")
            assert metrics.parent.name.endswith(f"-split{n}")
            assert metrics.parent.parent.name == "mine"
            assert (metrics.parent / "checkpoints" / "best.ckpt").is_file()
            assert (metrics.parent / "environment.json").is_file()
    ids = [path.parent.name for path in tmp_path.rglob("mine/*/metrics.json")]
    assert len(set(ids)) == 4  # two splits of two tables in one project
    left = [path.name.split("-", 3)[-1] for path in tmp_path.rglob("offline-run-*")]
    assert sorted(left) == sorted(ids)
    pytest.importorskip("tensorboard")
    assert protocol(["--out", str(tmp_path / "tb"), "--splits", "2", *fit, "--trainer.logger=TensorBoardLogger"]) == 0
    assert json.loads((tmp_path / "tb" / "table.json").read_text()) == expected
    assert len(list((tmp_path / "tb" / "split0").glob("events.out.tfevents.*"))) >= 1
    assert (tmp_path / "tb" / "split1" / "metrics.json").is_file()


def test_one_wandb_run_per_job(fit, tmp_path):
    """Two processes, as on two GPUs, log one run."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no distributed package")
    out = tmp_path / "out"
    more = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=4"]
    assert protocol(["--out", str(out), "--splits", "1", *fit, *WANDB, *more]) == 0, (out / "split0.log").read_text()
    assert len(list(out.rglob("offline-run-*"))) == 1
    (metrics,) = out.rglob("metrics.json")
    facts = json.loads((metrics.parent / "environment.json").read_text())
    assert facts["processes"] == 2


def test_loggers_write_to_the_run_folder(tmp_path):
    csv, wandb = _place(
        [
            {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "runs", "prefix": "x"}},
            {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"name": "mine", "project": "p"}},
        ],
        tmp_path / "table" / "split3",
        "1a2b-split3",
    )
    assert csv["init_args"] == {"save_dir": str(tmp_path / "table"), "prefix": "x", "name": "", "version": "split3"}
    assert wandb["init_args"]["version"] == "1a2b-split3"
    assert wandb["init_args"]["name"] == "mine split3"
    assert wandb["init_args"]["save_dir"] == str(tmp_path / "table" / "split3")
    assert _place(True, tmp_path / "split0", "x")[0]["class_path"] == "CSVLogger"
    with pytest.raises(
        OptionsError, match="CometLogger is not supported here; use CSVLogger, TensorBoardLogger or Wandb"
    ):
        _place({"class_path": "lightning.pytorch.loggers.CometLogger"}, tmp_path / "split0", "x")
