"""Repeated splits on a tiny TID2013: resumed, failed and shared runs."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from data.benchmarks import LAYOUTS
from filelock import FileLock

from lml_iqa.experiments.command import protocol
from lml_iqa.experiments.few_labels import FewLabels
from lml_iqa.experiments.repeats import Repeats

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def fit(tmp_path_factory, tiny):
    root = LAYOUTS["tid2013"](tmp_path_factory.mktemp("data") / "tid2013")
    return [f"--config={CONFIGS / 'tid2013.yaml'}", f"--data.root={root}", *tiny, "--trainer.max_epochs=4"]


@pytest.fixture(scope="module")
def whole(fit, tmp_path_factory):
    """Folder of three splits, run without interruption."""
    out = tmp_path_factory.mktemp("whole")
    assert protocol(["--out", str(out), "--splits", "3", "--jobs", "2", "--best_on_test", *fit]) == 0
    return out


def test_table(whole):
    content = json.loads((whole / "table.json").read_text())
    assert content["dataset"] == "TID2013"
    assert list(content["runs"]) == ["split0", "split1", "split2"]
    assert content["summary"]["srcc"]["n"] == 3
    for n in range(3):
        split = json.loads((whole / f"split{n}" / "split.json").read_text())
        assert split["seed"] == n
        with (whole / f"split{n}" / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert sorted(row["path"].rpartition("/")[2].casefold() for row in rows) == sorted(split["test"])
        assert {row["type"] for row in rows} == set(content["srcc_by_type"])
        with (whole / f"split{n}" / "test_every_epoch.csv").open(newline="") as file:
            epochs = [float(row["srcc"]) for row in csv.DictReader(file)]
        assert len(epochs) == 4
        assert content["runs"][f"split{n}"]["srcc"] <= max(epochs) + 1e-6
    assert content["best_on_test_srcc"]["median"] >= content["summary"]["srcc"]["median"] - 1e-6


def test_finished_splits_are_not_run_again(whole, fit):
    before = {path: path.stat().st_mtime_ns for path in whole.glob("split*/metrics.json")}
    started = time.monotonic()
    assert protocol(["--out", str(whole), "--splits", "3", "--best_on_test", *fit]) == 0
    assert time.monotonic() - started < 10
    assert before == {path: path.stat().st_mtime_ns for path in whole.glob("split*/metrics.json")}


def test_runs_with_other_options_do_not_mix(whole, fit, capsys):
    assert protocol(["--out", str(whole), "--splits", "3", "--best_on_test", *fit, "--model.lr=0.5"]) == 2
    error = capsys.readouterr().err
    assert f"{whole}: contains runs with different options (model.lr: 0.0002 -> 0.5); use a new --out" in error
    assert protocol(["--out", str(whole), "--splits", "3", *fit]) == 2  # without the callback of --best_on_test
    assert "trainer.callbacks: " in capsys.readouterr().err


def test_killed_and_resumed_equals_uninterrupted(whole, fit, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "lml_iqa", "protocol", "--out", str(out), "--splits", "3", "--best_on_test", *fit]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 1200
    try:
        while not (out / "split1" / "checkpoints" / "last.ckpt").exists():
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert (out / "split0" / "metrics.json").exists()
    assert not (out / "split1" / "metrics.json").exists()
    assert protocol(["--out", str(out), "--splits", "3", "--jobs", "2", "--best_on_test", *fit]) == 0
    assert "Restor" in (out / "split1.log").read_text()  # resumed from the checkpoint
    killed, uninterrupted = (json.loads((folder / "table.json").read_text()) for folder in (out, whole))
    assert killed == uninterrupted


CALLBACKS = """
import torch
from lightning.pytorch import Callback


class Fail(Callback):
    def on_train_start(self, trainer, pl_module):
        split = trainer.datamodule.split_seed
        if split == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if split == 2:
            torch.nn.init.constant_(next(pl_module.pair.student.decoder.parameters()), float("nan"))
        if split == 3:
            pl_module.test_step = lambda *args: nan(pl_module, type(pl_module).test_step(pl_module, *args))


def nan(task, prediction):
    task.test_metrics.prediction[-1] *= float("nan")
    return prediction
"""


def test_failed_splits_are_reported(fit, tmp_path, capsys, monkeypatch, in_process):
    """Out of memory, killed by the system, NaN loss, NaN scores; only the last split succeeds."""

    def kill_one(command, log):
        return -signal.SIGKILL if "--data.split_seed=1" in command else in_process(command, log)

    monkeypatch.setattr("lml_iqa.experiments.runs.call", kill_one)
    (tmp_path / "failing.py").write_text(CALLBACKS)
    monkeypatch.syspath_prepend(tmp_path)
    options = [*fit, "--trainer.callbacks+=failing.Fail", "--trainer.max_epochs=1"]
    assert protocol(["--out", str(tmp_path / "out"), "--splits", "5", *options]) == 1
    shown = capsys.readouterr()
    content = json.loads((tmp_path / "out" / "table.json").read_text())
    failed = content["failed"]
    assert set(failed) == {"split0", "split1", "split2", "split3"}
    assert "OutOfMemoryError: CUDA out of memory" in failed["split0"]
    assert failed["split1"] == "killed by SIGKILL; SIGKILL may mean that memory ran out"
    assert "training diverged: the loss is nan after step" in failed["split2"]
    assert "the scores are NaN or constant" in failed["split3"]
    assert list(content["runs"]) == ["split4"]
    assert content["summary"]["srcc"]["n"] == 1
    assert content["summary"]["srcc"]["median"] == content["runs"]["split4"]["srcc"]
    assert "1 runs, 4 failed" in shown.out
    assert str(tmp_path / "out" / "split0.log") in shown.err
    assert not (tmp_path / "out" / "split2" / "checkpoints").exists()  # nothing to resume from


def test_split_of_another_process_is_skipped(whole, fit, capsys):
    with FileLock(whole / ".split3.lock"):
        assert protocol(["--out", str(whole), "--splits", "4", "--best_on_test", *fit]) == 3
    assert "another process is still running split3" in capsys.readouterr().out
    assert not (whole / "split3.log").exists()


def test_array_job_tabulates_all_finished_splits(whole, fit, capsys):
    assert protocol(["--out", str(whole), "--first", "2", "--splits", "1", "--best_on_test", *fit]) == 0
    assert "split2: done" in capsys.readouterr().out
    assert list(json.loads((whole / "table.json").read_text())["runs"]) == ["split0", "split1", "split2"]


@pytest.mark.usefixtures("in_process")
def test_run_without_metrics_has_failed(fit, tmp_path, capsys):
    options = ["--trainer.callbacks=[]", "--trainer.max_epochs=1"]
    assert protocol(["--out", str(tmp_path), "--splits", "1", *fit, *options]) == 1
    assert "metrics.json: not written; add lml_iqa.Report to trainer.callbacks" in capsys.readouterr().err


def test_invalid_option_stops_before_any_run(fit, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        protocol(["--out", str(tmp_path), *fit, "--model.lr=fast"])
    assert stop.value.code == 2
    assert "model.lr" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_folder_is_named_after_configuration_and_table(monkeypatch, tmp_path):
    seen = []
    for plan in (Repeats, FewLabels):
        monkeypatch.setattr(plan, "run", lambda self, out, *rest: seen.append(out) or 0)
    assert protocol(["--config", "configs/tid2013.yaml", "--splits", "10"]) == 0
    (tmp_path / "labels.yaml").write_text("protocol: few_labels\n")
    assert protocol([str(tmp_path / "labels.yaml"), "--config=configs/livec.yaml"]) == 0
    assert seen == [Path("runs/tid2013_repeats"), Path("runs/livec_few_labels")]
