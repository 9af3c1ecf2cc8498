"""Python spellings of values, as passed by wandb's agent, and home folders."""

import sys
from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace

from lml_iqa.main import main
from lml_iqa.utils.arguments import expand_home, whole_number

CONFIG = Path(__file__).parents[2] / "configs" / "biq2021.yaml"


def resolve(capsys, *more):
    with pytest.raises(SystemExit) as stop:
        main(["fit", f"--config={CONFIG}", "--data.root=somewhere", *more, "--print_config"])
    printed = capsys.readouterr()
    assert stop.value.code == 0, printed.err
    return yaml.safe_load(printed.out)


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("trainer.max_steps", "1e3", 1000),
        ("trainer.max_steps", "-1.0", -1),
        ("trainer.max_epochs", "None", None),
        ("trainer.max_epochs", "4.0", 4),
        ("trainer.gradient_clip_val", "None", None),
        ("trainer.limit_train_batches", "1.0", 1.0),
        ("trainer.fast_dev_run", "False", False),
        ("trainer.fast_dev_run", "3.0", 3),
        ("trainer.deterministic", "None", None),
        ("data.batch_size", "4.0", 4),
        ("data.batch_size", "1e1", 10),
        ("data.init_args.batch_size", "4.0", 4),
        ("data.short_side", "None", None),
        ("data.short_side", "384.0", 384),
        ("data.flip", "True", True),
        ("data.cache", "None", None),
        ("model.decoder_width", "None", None),
        ("model.decoder_width", "6.4e1", 64),
        ("model.initial_weights", "None", None),
        ("model.freeze_backbone", "True", True),
        ("model.lr", "1", 1.0),
        ("model.lr", "1e-3", 0.001),
        ("model.backbone", "None", "None"),
        ("model.backbone", "4.0", "4.0"),
        ("trainer.logger.name", "4.0", "4.0"),
        ("trainer.logger.version", "None", None),
        ("seed_everything", "3.0", 3),
    ],
)
def test_value(option, text, value, capsys):
    found = resolve(capsys, f"--{option}={text}")
    for name in option.split("."):
        found = found[name] if name in found else found["init_args"][name]
    assert found == value
    assert type(found) is type(value)


def test_value_in_a_file(tmp_path, capsys):
    file = tmp_path / "more.yaml"
    file.write_text("trainer: {max_epochs: 1e0}\ndata: {init_args: {batch_size: 4.0, short_side: None}}\n")
    config = resolve(capsys, f"--config={file}")
    assert config["trainer"]["max_epochs"] == 1
    assert config["data"]["init_args"]["batch_size"] == 4
    assert config["data"]["init_args"]["short_side"] is None


@pytest.mark.parametrize(
    "option", ["data.batch_size=4.5", "trainer.max_steps=1.5", "trainer.max_steps=nan", "data.batch_size=inf"]
)
def test_value_that_is_not_a_whole_number(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", f"--config={CONFIG}", "--data.root=somewhere", f"--{option}"])
    assert stop.value.code == 2
    name, _, value = option.partition("=")
    printed = capsys.readouterr().err
    assert name.rpartition(".")[2] in printed
    assert "int" in printed
    assert value in printed


def test_text_of_a_logger_stays_text(capsys):
    logger = resolve(capsys, "--trainer.logger.version=v1.0", "--trainer.logger.name=None")["trainer"]["logger"]
    assert logger["init_args"]["version"] == "v1.0"


def test_whole_number():
    assert whole_number("12345678901234567890") == 12345678901234567890
    assert [whole_number(text) for text in ("4", "4.0", "1e3", "-1.0")] == [4, 4, 1000, -1]
    for text in ("4.5", "nan", "inf", "x"):
        with pytest.raises((ValueError, OverflowError)):
            whole_number(text)


def test_expand_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = Namespace(a="~/x", b=[Namespace(c="~"), {"d": Path("~/y")}], e="no~/x", f=None, g=3, h="~nobody-here/x")
    expanded = expand_home(config)
    assert expanded.a == "/home/me/x"
    assert expanded.b[0].c == "/home/me"
    assert expanded.b[1]["d"] == Path("/home/me/y")
    assert (expanded.e, expanded.f, expanded.g, expanded.h) == ("no~/x", None, 3, "~nobody-here/x")


def test_path_that_is_not_utf8():
    with pytest.raises(SystemExit, match=r"^error: --data\.root=/\\udcff: not UTF-8.*a plain name$"):
        main(["fit", f"--config={CONFIG}", "--data.root=/\udcff"])


def test_saved_command_is_valid_unicode(monkeypatch):
    from types import SimpleNamespace

    from lml_iqa.callbacks.run_metadata import environment

    monkeypatch.setattr(sys, "argv", ["lml-iqa", "a\udcff b\n"])
    assert environment(SimpleNamespace(world_size=1))["command"] == "lml-iqa 'a\\udcff b\n'"
