"""The protocol on a tiny TID2013: killed and resumed, failed and shared runs."""

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

from lml_iqa.protocol.repeats import finish, plan, protocol
from lml_iqa.protocol.runs import Run

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    root = LAYOUTS["tid2013"](tmp_path_factory.mktemp("data") / "tid2013")
    return [
        f"--config={CONFIGS / 'tid2013.yaml'}",
        f"--config={CONFIGS / 'trainer' / 'cpu.yaml'}",
        f"--data.root={root}",
        "--data.num_workers=0",
        "--data.crop_size=32",
        "--data.crops=2",
        "--data.eval_crops=4",
        "--model.backbone=test_vit",
        "--model.pretrained=false",
        "--model.decoder_heads=4",
        "--trainer.max_epochs=4",
        "--trainer.enable_progress_bar=false",
    ]


@pytest.fixture(scope="module")
def whole(fit, tmp_path_factory):
    """Three splits without interruption."""
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


def test_runs_made_otherwise_do_not_mix(whole, fit, capsys):
    assert protocol(["--out", str(whole), "--splits", "3", "--best_on_test", *fit, "--model.lr=0.5"]) == 2
    assert f"{whole} holds runs made with" in capsys.readouterr().err


def test_killed_and_resumed_equals_uninterrupted(whole, fit, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "lml_iqa", "protocol", "--out", str(out), "--splits", "3", "--best_on_test", *fit]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (out / "split1" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (out / "split0" / "metrics.json").exists()
    assert not (out / "split1" / "metrics.json").exists()
    assert protocol(["--out", str(out), "--splits", "3", "--jobs", "2", "--best_on_test", *fit]) == 0
    assert "Restor" in (out / "split1.log").read_text()  # went on from the checkpoint
    killed, uninterrupted = (json.loads((folder / "table.json").read_text()) for folder in (out, whole))
    assert killed == uninterrupted


def test_a_failed_split_is_reported_and_the_others_count(whole, fit, capsys):
    runs = plan(whole, range(3), fit)
    bad = Run("split3", whole, (*fit, "--model.lr=fast"))
    assert finish(whole, [*runs, bad], jobs=1) == 1
    shown = capsys.readouterr()
    content = json.loads((whole / "table.json").read_text())
    assert content["summary"]["srcc"]["n"] == 3
    assert "model.lr" in (whole / "split3.log").read_text()
    assert content["failed"]["split3"]
    assert "3 runs, 1 failed" in shown.out
    assert str(whole / "split3.log") in shown.err


def test_a_split_that_another_process_is_at_is_left_alone(whole, fit, tmp_path, capsys):
    runs = [*plan(whole, range(3), fit), Run("split9", whole, ("--nonsense",))]
    with FileLock(whole / ".split9.lock"):
        assert finish(whole, runs, jobs=1) == 3
    assert "another process is still at split9" in capsys.readouterr().out
    assert not (whole / "split9.log").exists()
