"""Few-label curve on a tiny TID2013, against pandas and the splits of the runs."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from data.benchmarks import LAYOUTS
from PIL import Image

from lml_iqa.experiments.command import protocol

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.usefixtures("in_process")
def test_curve(tiny, tmp_path, capsys):
    root = LAYOUTS["tid2013"](tmp_path / "tid2013")
    out = tmp_path / "out"
    plan = yaml.safe_load((CONFIGS / "protocol" / "few_labels.yaml").read_text())
    assert plan["train_fractions"] == [0.2, 0.4, 0.6, 0.8, 1.0]
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({**plan, "train_fractions": [1.0, 0.5]}))
    command = [str(tmp_path / "plan.yaml"), "--out", str(out), "--splits", "2", f"--config={CONFIGS / 'tid2013.yaml'}"]
    command += [f"--data.root={root}", *tiny, "--trainer.max_epochs=1"]
    assert protocol(command) == 0
    splits = {
        (share, n): json.loads((out / f"labels{share:g}" / f"split{n}" / "split.json").read_text())
        for share in (0.5, 1.0)
        for n in range(2)
    }
    for n in range(2):
        few, all_labels = splits[0.5, n], splits[1.0, n]
        assert (few["val"], few["test"]) == (all_labels["val"], all_labels["test"])
        assert set(few["train"]) < set(all_labels["train"])
        assert few["split_sha256"] != all_labels["split_sha256"]
    frame = pd.read_csv(out / "curve.csv")
    assert frame[["train_fraction", "run"]].values.tolist() == [[s, f"split{n}"] for s in (0.5, 1.0) for n in range(2)]
    content = json.loads((out / "curve.json").read_text())
    shown = capsys.readouterr().out
    for found in content:
        values = frame[frame.train_fraction == found["train_fraction"]]
        for metric in ("srcc", "plcc_fitted", "krcc"):
            assert found["summary"][metric]["median"] == pytest.approx(values[metric].median())
            assert found["summary"][metric]["std"] == pytest.approx(values[metric].std())
        table = json.loads((out / f"labels{found['train_fraction']:g}" / "table.json").read_text())
        assert table["summary"]["srcc"] == found["summary"]["srcc"]
        assert f"| {100 * found['train_fraction']:g} % | 2 | {values.srcc.median():.3f} |" in shown
    assert r"50 \% & " in (out / "curve.tex").read_text()
    with Image.open(out / "curve.png") as picture:
        assert min(picture.size) > 300
    before = {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    assert len(before) == 4
    assert protocol(command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}


@pytest.mark.parametrize("shares", [[], [0.0], [0.2, 1.5]])
def test_invalid_shares(shares, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"protocol": "few_labels", "train_fractions": shares}))
    assert protocol([str(tmp_path / "plan.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "give shares above 0 and up to 1" in capsys.readouterr().err
