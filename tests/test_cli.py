"""The command line, in-process, on a tiny BIQ2021."""

import csv
import json
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest
import torch
import yaml
from data.benchmarks import LAYOUTS
from PIL import Image

from lml_iqa.main import main

CONFIGS = Path(__file__).parents[1] / "configs"
TINY = [
    "--model.backbone=test_vit",
    "--model.pretrained=false",
    "--model.decoder_heads=4",
    "--model.freeze_backbone=false",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--data.crop_size=32",
    "--data.short_side=null",
    "--data.eval_crops=4",
    "--data.batch_size=4",
    "--data.num_workers=0",
    "--trainer.max_epochs=2",
]


def fit(root, folder, *more):
    config = str(CONFIGS / "biq2021.yaml")
    main(
        ["fit", "--config", config, f"--data.root={root}", "--data.val_fraction=0.25"]
        + [*TINY, f"--trainer.logger.init_args.save_dir={folder}", *more]
    )
    return folder / "biq2021" / "version_0"


@pytest.fixture(scope="module")
def run(biq2021_root, tmp_path_factory):
    """Folder of a finished run: fit, then test."""
    return fit(biq2021_root, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_parse(config, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(config), f"--data.root={tmp_path}", "--print_config"])
    assert stop.value.code == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    given = yaml.safe_load(config.read_text())
    for part in (("model",), ("data", "init_args"), ("trainer",)):
        for name, value in reduce(dict.__getitem__, part, given).items():
            if not isinstance(value, (dict, list)):
                assert reduce(dict.__getitem__, part, resolved)[name] == value


@pytest.mark.parametrize("overlay", sorted((CONFIGS / "trainer").glob("*.yaml")), ids=lambda p: p.stem)
def test_trainer_overlays_change_only_their_options(overlay, tmp_path, capsys):
    def resolved(*more):
        with pytest.raises(SystemExit):
            main(["fit", "--config", str(CONFIGS / "tid2013.yaml"), *more, f"--data.root={tmp_path}", "--print_config"])
        return yaml.safe_load(capsys.readouterr().out)

    plain, changed = resolved(), resolved("--config", str(overlay))
    given = yaml.safe_load(overlay.read_text())
    plain["trainer"].update(given["trainer"])
    plain["data"]["init_args"].update(given.get("data", {}).get("init_args", {}))
    assert changed == plain


@pytest.mark.parametrize("name", ["live", "csiq", "tid2013", "kadid10k", "livec", "koniq10k", "flive", "spaq"])
def test_every_data_set_trains(name, tmp_path, monkeypatch):
    """The command line on a tiny copy of each data set, with an encoder that needs no download."""
    layout = next(layout for layout in LAYOUTS if layout.startswith(name))
    root = LAYOUTS[layout](tmp_path / name)
    monkeypatch.chdir(tmp_path)
    main(
        ["fit", "--config", str(CONFIGS / f"{name}.yaml"), "--config", str(CONFIGS / "trainer" / "cpu.yaml")]
        + [f"--data.root={root}", "--trainer.fast_dev_run=true", "--data.num_workers=0", f"--data.cache={tmp_path}"]
        + ["--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4"]
    )
    assert not (tmp_path / "runs").exists()


def test_files_of_a_run(run, biq2021_root):
    assert {p.name for p in run.iterdir()} >= {
        "checkpoints",
        "config.yaml",
        "environment.json",
        "losses.png",
        "metrics.json",
        "predictions.csv",
        "report.png",
        "split.json",
    }
    facts = json.loads((run / "metrics.json").read_text())
    assert facts["images"] == 5
    assert facts["trained_on"]["split"] == "official"
    assert facts["checkpoint"].endswith("best.ckpt")
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    human = {row["path"]: float(row["human_score"]) for row in rows}
    assert human["Images/ss00 (5000).jpg"] == 0.92
    errors = [(float(r["score"]) - float(r["human_score"])) ** 2 for r in rows]
    assert facts["metrics"]["test/rmse"] == pytest.approx((sum(errors) / 5) ** 0.5, rel=1e-4)
    for plot in ("report.png", "losses.png"):
        with Image.open(run / plot) as image:
            assert min(image.size) > 200
            assert len(image.convert("RGB").getcolors(10**6)) > 50
    parts = json.loads((run / "split.json").read_text())
    assert len(parts["test"]) == 5
    assert not set(parts["train"]) & set(parts["val"])


def test_saved_config_reproduces_the_run(run, tmp_path):
    main(["fit", "--config", str(run / "config.yaml"), f"--trainer.logger.init_args.save_dir={tmp_path}"])
    again = json.loads((tmp_path / "biq2021" / "version_0" / "metrics.json").read_text())
    assert again["metrics"] == json.loads((run / "metrics.json").read_text())["metrics"]


def test_test_and_predict_from_a_checkpoint(run, biq2021_root, tmp_path, capsys):
    checkpoint = run / "checkpoints" / "best.ckpt"
    options = ["--config", str(run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    main(["test", *options, f"--trainer.logger.init_args.save_dir={tmp_path / 'test'}"])
    again = json.loads((tmp_path / "test" / "biq2021" / "version_0" / "metrics.json").read_text())
    assert again["metrics"] == json.loads((run / "metrics.json").read_text())["metrics"]
    main(
        ["predict", *options, f"--trainer.logger.init_args.save_dir={tmp_path / 'predict'}"]
        + ["--data", "FolderDataModule", f"--data.root={biq2021_root / 'Images'}", "--data.crop_size=32"]
        + ["--data.eval_crops=4", "--data.num_workers=0"]
    )
    with (run / "predictions.csv").open(newline="") as file:
        tested = {Path(row["path"]).name: row["score"] for row in csv.DictReader(file)}
    with (tmp_path / "predict" / "biq2021" / "version_0" / "predictions.csv").open(newline="") as file:
        predicted = {row["path"]: row for row in csv.DictReader(file)}
    assert len(predicted) == 18
    assert all(row["human_score"] == "" for row in predicted.values())
    for name, score in tested.items():
        assert float(predicted[name]["score"]) == pytest.approx(float(score), abs=2e-6)


def test_warning_for_different_preprocessing(run, tmp_path):
    options = ["--config", str(run / "config.yaml"), f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"]
    with pytest.warns(UserWarning, match=r"trained with data.short_side=None and now scores with 40.*short_side=null"):
        main(
            ["test", *options, f"--trainer.logger.init_args.save_dir={tmp_path}", "--data.short_side=40"]
            + [f"--data.cache={tmp_path / 'cache'}"]
        )
    assert len(list((tmp_path / "cache" / "resized").rglob("*.png"))) == 5  # 48 or 56 pixels high, all shrunk


def test_replaced_option_is_printed(run, biq2021_root, tmp_path, capsys):
    checkpoint = run / "checkpoints" / "last.ckpt"
    more = [f"--ckpt_path={checkpoint}", "--model.lr=0.5", "--trainer.max_epochs=3", "--test_after_fit=false"]
    fit(biq2021_root, tmp_path, *more)
    assert "model.lr: 0.001 from the checkpoint replaces 0.5" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_evaluation_needs_a_checkpoint(command, biq2021_root):
    config = str(CONFIGS / "biq2021.yaml")
    with pytest.raises(SystemExit, match=f"{command}: needs trained weights; give --ckpt_path"):
        main([command, "--config", config, f"--data.root={biq2021_root}", *TINY])


def test_missing_data_folder(tmp_path):
    with pytest.raises(SystemExit) as stop:
        fit(tmp_path / "nowhere", tmp_path)
    assert "nowhere does not exist" in str(stop.value.code)
    assert "set data.root" in str(stop.value.code)


def test_missing_weights(biq2021_root, tmp_path):
    with pytest.raises(SystemExit, match=r"none\.safetensors: no such weights file"):
        fit(biq2021_root, tmp_path, "--model.pretrained=none.safetensors")


def test_corrupt_image_is_named(tmp_path):
    from data.biq2021 import write_biq2021

    root = write_biq2021(tmp_path / "biq")
    broken = sorted((root / "Images").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(SystemExit, match=r"ss00 \(1000\)\.jpg: corrupt or cut off"):
        fit(root, tmp_path)
    with pytest.raises(SystemExit, match=r"ss00 \(1000\)\.jpg: corrupt or cut off"):
        fit(root, tmp_path / "workers", "--data.num_workers=1")


def test_dry_run_writes_nothing(biq2021_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(biq2021_root, tmp_path / "runs", "--trainer.fast_dev_run=true")
    assert not list(tmp_path.iterdir())


def test_runs_are_deterministic(run, biq2021_root, tmp_path):
    again = fit(biq2021_root, tmp_path, "--data.num_workers=2")
    first, second = (torch.load(r / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for r in (run, again))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_python_m():
    shown = subprocess.run([sys.executable, "-m", "lml_iqa", "--help"], capture_output=True, text=True, check=True)
    for command in ("fit", "validate", "test", "predict"):
        assert command in shown.stdout


def test_import_has_no_side_effects_and_exposes_the_public_names():
    script = """
import logging, os, sys
before = dict(os.environ), list(logging.getLogger().handlers)
import lml_iqa
assert (dict(os.environ), list(logging.getLogger().handlers)) == before
assert not {"torch", "lightning", "timm", "wandb", "albumentations"} & set(sys.modules)
for name in lml_iqa.__all__:
    assert getattr(lml_iqa, name).__name__ == name, name
assert logging.getLogger().handlers == before[1]
try:
    lml_iqa.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)
