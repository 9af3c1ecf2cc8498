"""Provenance of runs."""

import json
import subprocess
from types import SimpleNamespace

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from lml_iqa.callbacks.run_metadata import Provenance, environment, revision


class Line(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    run = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_revision(tmp_path, monkeypatch):
    assert revision(tmp_path) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "package.py").write_text("")
    (tmp_path / "mine.py").write_text("a = 1\n")
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert revision(tmp_path) == {"revision": head, "dirty": False}
    assert revision(tmp_path / "installed") is None  # inside the work tree, but untracked
    (tmp_path / "mine.py").write_text("a = 2\n")
    assert revision(tmp_path) == {"revision": head, "dirty": True}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision(tmp_path) is None


def test_without_git_data_module_or_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.argv", ["train.py", "--name", "two words"])
    seed_everything(7)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=[CSVLogger(tmp_path, name="a"), CSVLogger(tmp_path, name="b")],
        callbacks=Provenance(),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Line(), DataLoader(torch.ones(2, 1)))
    facts = json.loads((tmp_path / "a" / "version_0" / "environment.json").read_text())
    assert facts["command"] == "train.py --name 'two words'"
    assert facts["seed"] == 7
    assert facts["data"] is None
    assert facts["git"] == {"lml_iqa": None, "working_folder": None}
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    for name in "ab":
        assert "environment:" in (tmp_path / name / "version_0" / "hparams.yaml").read_text()


def test_only_rank_zero_writes_and_dry_runs_do_not(tmp_path):
    for zero, dry in ((False, False), (True, True)):
        trainer = SimpleNamespace(is_global_zero=zero, fast_dev_run=dry, loggers=[], default_root_dir=tmp_path / "run")
        Provenance().on_fit_start(trainer, Line())
        assert not (tmp_path / "run").exists()


def test_environment_is_valid_json(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    facts = environment(SimpleNamespace(world_size=2))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["seed"] is None
    assert facts["processes"] == 2


def test_test_writes_environment_unless_training_has(tmp_path):
    trainer = SimpleNamespace(
        is_global_zero=True, fast_dev_run=False, loggers=[], default_root_dir=tmp_path / "run", world_size=1
    )
    Provenance().on_test_start(trainer, Line())
    file = tmp_path / "run" / "environment.json"
    assert json.loads(file.read_text())["packages"]["numpy"] == np.__version__
    file.write_text("{}")
    Provenance().on_test_start(trainer, Line())
    assert file.read_text() == "{}"
