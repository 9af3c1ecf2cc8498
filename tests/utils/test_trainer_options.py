"""Trainer options that often cause problems: each works, or is rejected with a one-line message."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lml_iqa.main import main

CONFIG = Path(__file__).parents[2] / "configs" / "biq2021.yaml"
TINY = [
    "--model.backbone=test_vit",
    "--model.pretrained=false",
    "--model.decoder_heads=4",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.max_epochs=1",
    "--data.crop_size=32",
    "--data.short_side=null",
    "--data.eval_crops=2",
    "--data.batch_size=4",
    "--data.num_workers=0",
    "--data.val_fraction=0.25",
]


@pytest.fixture
def fit(biq2021_root, tmp_path, monkeypatch):
    """Train and test in a temporary folder, and return the run's folder."""
    monkeypatch.chdir(tmp_path)

    def run(*more, folder="runs/biq2021/version_0"):
        main(["fit", "--config", str(CONFIG), f"--data.root={biq2021_root}", *TINY, *more])
        return tmp_path / folder

    return run


@pytest.fixture
def rejected(fit):
    def message_for(*more):
        with pytest.raises(SystemExit) as stop:
            fit(*more)
        message = str(stop.value)
        assert message.startswith("error: ")
        assert "\n" not in message.strip()
        return message

    return message_for


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.overfit_batches=1"],
        ["--trainer.limit_train_batches=1"],
        ["--trainer.detect_anomaly=true"],
        ["--trainer.num_sanity_val_steps=-1"],
        ["--trainer.val_check_interval=0.5"],
        ["--trainer.reload_dataloaders_every_n_epochs=1", "--trainer.max_epochs=2"],
        ["--trainer.gradient_clip_algorithm=value"],
        ["--trainer.deterministic=true"],
        ["--trainer.accumulate_grad_batches=2"],
        ["--trainer.inference_mode=false"],
        ["--trainer.use_distributed_sampler=false"],
        ["--trainer.max_time=00:00:10:00"],
        ["--model.warmup=1.0"],
        ["--model.schedule=step", "--model.warmup=0.0"],
    ],
    ids=lambda options: options[0].removeprefix("--"),
)
def test_works(fit, options):
    facts = metrics_of(fit(*options))
    assert facts["images"] == 5
    assert facts["tested_on"]["legacy"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.precision=bf16-true"], "trainer.precision: bf16-true does not keep float32 weights; use"),
        (["--trainer.precision=64-true"], "trainer.precision: 64-true does not keep float32 weights; use"),
        (["--trainer.precision=16-true"], "trainer.precision: 16-true does not keep float32 weights; use"),
        (["--trainer.max_epochs=-1"], "set trainer.max_epochs or trainer.max_steps"),
        (["--trainer.max_steps=0"], "trainer.max_steps: 0 leaves nothing to train on"),
        (["--trainer.limit_train_batches=0"], "trainer.limit_train_batches: 0 leaves nothing to train on"),
        (["--trainer.limit_test_batches=0"], "trainer.limit_test_batches: 0 leaves nothing to test"),
        (["--trainer.devices=0"], "trainer.devices=0"),
        (["--trainer.barebones=true"], "trainer.barebones"),
        (["--model.teacher_horizon=0"], "model.teacher_horizon must be above 0"),
    ],
    ids=lambda value: value[0].removeprefix("--") if isinstance(value, list) else "",
)
def test_is_rejected(rejected, options, message):
    assert message in rejected(*options)


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.max_steps=1", "--trainer.val_check_interval=2"],
        ["--trainer.check_val_every_n_epoch=5"],
        ["--trainer.limit_val_batches=0"],
    ],
    ids=lambda options: options[-1].removeprefix("--"),
)
def test_run_without_validation_tests_its_last_checkpoint(fit, options, caplog):
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        run = fit(*options)
    facts = metrics_of(run)
    assert Path(facts["checkpoint"]).name == "last.ckpt"
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] > 0
    assert facts["images"] == 5
    assert "never validated: testing" in caplog.text


def test_incomplete_test_set_is_reported(fit, capsys):
    facts = metrics_of(fit("--trainer.limit_test_batches=1"))
    assert facts["images"] == 4
    assert facts["tested_on"]["legacy"] == ["only 4 of 5 test images (trainer.limit_test_batches)"]
    assert "4 of 5 test images" in capsys.readouterr().out


def test_without_a_logger(fit, capsys):
    run = fit("--trainer.logger=false", "--trainer.default_root_dir=here", folder="here")
    assert metrics_of(run)["images"] == 5
    assert {"config.yaml", "environment.json", "predictions.csv", "split.json"} <= {p.name for p in run.iterdir()}
    assert "LearningRateMonitor is left out: trainer.logger: false" in capsys.readouterr().err


def test_without_checkpoints(fit, capsys):
    run = fit("--trainer.enable_checkpointing=false")
    assert metrics_of(run)["checkpoint"] is None
    assert not list(run.rglob("*.ckpt"))


def test_home_folders_are_expanded(fit, tmp_path, monkeypatch, biq2021_root):
    home = tmp_path / "home"
    home.mkdir()
    (home / "set").symlink_to(biq2021_root)
    monkeypatch.setenv("HOME", str(home))
    fit("--trainer.logger.init_args.save_dir=~/runs", "--data.root=~/set", "--data.cache=~/cache")
    run = home / "runs" / "biq2021" / "version_0"
    assert metrics_of(run)["images"] == 5
    main(
        ["test", "--config", str(run / "config.yaml"), "--ckpt_path=~/runs/biq2021/version_0/checkpoints/best.ckpt"]
        + ["--trainer.logger.init_args.save_dir=~/tests", "--data.split=~/runs/biq2021/version_0/split.json"]
    )
    assert metrics_of(home / "tests" / "biq2021" / "version_0")["metrics"] == metrics_of(run)["metrics"]
    assert not [path for path in tmp_path.rglob("~*")]


@pytest.mark.parametrize("name", ["with space", "100%s", "$x$ 'q'", "new\nline"])
def test_any_name_of_a_run_folder(fit, tmp_path, name):
    fit(f"--trainer.logger.init_args.save_dir={tmp_path / name}")
    run = tmp_path / name / "biq2021" / "version_0"
    assert metrics_of(run)["images"] == 5
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["logger"]["init_args"]["save_dir"]


def resolved(capsys, *options):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(CONFIG), "--data.root=x", *options, "--print_config"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    return yaml.safe_load(out)


def test_values_as_python_and_wandb_print_them(capsys):
    config = resolved(
        capsys,
        "--data.short_side=None",
        "--data.batch_size=4.0",
        "--trainer.max_steps=1e3",
        "--model.lr=1e-3",
        "--model.stages=4.0",
        "--data.flip=False",
        "--model.initial_weights=None",
        "--trainer.gradient_clip_val=None",
    )
    data, model, trainer = config["data"]["init_args"], config["model"], config["trainer"]
    assert (data["short_side"], data["batch_size"], data["flip"]) == (None, 4, False)
    assert isinstance(data["batch_size"], int)
    assert (trainer["max_steps"], trainer["gradient_clip_val"]) == (1000, None)
    assert (model["lr"], model["stages"], model["initial_weights"]) == (0.001, 4, None)


def test_text_stays_text(capsys):
    logger = "--trainer.logger.init_args."
    config = resolved(capsys, f"{logger}name=4.0", "--model.backbone=None")
    assert config["trainer"]["logger"]["init_args"]["name"] == "4.0"
    assert config["model"]["backbone"] == "None"


@pytest.mark.parametrize("option", ["--data.batch_size=4.5", "--data.batch_size=None", "--trainer.max_epochs=many"])
def test_invalid_value_names_the_option(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(CONFIG), "--data.root=x", option])
    assert stop.value.code
    printed = capsys.readouterr().err + str(stop.value)
    assert option.split("=")[0].rpartition(".")[2] in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("3", 3)])
@pytest.mark.parametrize(
    "option", ["limit_train_batches", "limit_test_batches", "overfit_batches", "val_check_interval"]
)
def test_one_batch_is_not_all_batches(capsys, option, value, expected):
    found = resolved(capsys, f"--trainer.{option}={value}")["trainer"][option]
    assert found == expected
    assert type(found) is type(expected)


def test_the_command_line_starts_without_wandb():
    code = "import sys; sys.modules['wandb'] = None; import lml_iqa.cli"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
