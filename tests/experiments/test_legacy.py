"""The legacy protocol is an overlay, and all of its results are marked."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from data.benchmarks import LAYOUTS

from lml_iqa.cli import resolve
from lml_iqa.experiments.command import protocol
from lml_iqa.experiments.markup import legacy_note
from lml_iqa.experiments.results import Result

CONFIGS = Path(__file__).parents[2] / "configs"
LEGACY = CONFIGS / "protocol" / "legacy.yaml"
HABITS = ["the model was selected on the test set", "random test crops"]


def test_overlay_changes_only_its_options(tmp_path):
    config = [f"--config={CONFIGS / 'tid2013.yaml'}", f"--data.root={tmp_path}"]
    plain, legacy = resolve(["fit", *config]), resolve(["fit", *config, f"--config={LEGACY}"])
    plain["data"]["init_args"].update(yaml.safe_load(LEGACY.read_text())["data"]["init_args"])
    assert legacy == plain
    assert legacy["data"]["init_args"]["validate_on"] == "test"
    assert legacy["data"]["init_args"]["eval_positions"] == "random"
    assert "LEGACY" in LEGACY.read_text().splitlines()[0]


@pytest.mark.usefixtures("in_process")
def test_all_results_are_marked(tiny, tmp_path, capsys):
    root = LAYOUTS["tid2013"](tmp_path / "tid2013")
    out = tmp_path / "out"
    options = [f"--config={CONFIGS / 'tid2013.yaml'}", f"--data.root={root}", *tiny, f"--config={LEGACY}"]
    assert protocol(["--out", str(out), "--splits", "1", *options, "--trainer.max_epochs=2", "--best_on_test"]) == 0
    run = out / "split0"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["tested_on"]["legacy"] == metrics["trained_on"]["legacy"] == HABITS
    assert json.loads((run / "environment.json").read_text())["data"]["legacy"] == HABITS
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["lml_iqa"]["provenance"]["legacy"] == HABITS
    (note,) = legacy_note([Result("TID2013", {}, 0, {}, legacy=HABITS)])
    assert HABITS[0] in note
    assert HABITS[1] in note
    assert note in capsys.readouterr().out
    content = json.loads((out / "table.json").read_text())
    assert content["notes"] == [note]
    assert note in (out / "table.tex").read_text()
    split = json.loads((run / "split.json").read_text())
    assert split["val"] == []
    # Selected on the test set: exactly the best test epoch.
    assert content["runs"]["split0"]["srcc"] == pytest.approx(content["best_on_test_srcc"]["median"], abs=1e-6)
    hashes = {split["split_sha256"], metrics["trained_on"]["split_sha256"], metrics["tested_on"]["split_sha256"]}
    assert hashes == {json.loads((run / "environment.json").read_text())["data"]["split_sha256"]}
