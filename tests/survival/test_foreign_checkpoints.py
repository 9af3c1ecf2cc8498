"""Truncated, foreign or missing checkpoints: a one-line error with the file name, before a run begins."""

import pickle
import random
import socket
import zipfile
from contextlib import suppress

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from safetensors.torch import save_file

from lml_iqa import LMLTask
from lml_iqa.main import main
from lml_iqa.models import WeightsError
from lml_iqa.utils.checkpoint_io import CheckpointError, read_checkpoint

NETWORK = {"backbone": "test_vit", "decoder_heads": 4, "embedding_dim": 8}


class Other(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)


def quiet_trainer(**options):
    return Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, **options)


def save_checkpoint(module, path):
    trainer = quiet_trainer(max_epochs=1)
    trainer.strategy.connect(module)
    module.trainer = trainer
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save_checkpoint(LMLTask(pretrained=False, **NETWORK), tmp_path_factory.mktemp("good") / "good.ckpt")


def cut_off(path, good):
    path.write_bytes(good.read_bytes()[:-1000])


def half(path, good):
    path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])


def another_module(path, good):
    save_checkpoint(Other(), path)


def state_dict(path, good):
    torch.save(Other().state_dict(), path)


def tensor(path, good):
    torch.save(torch.ones(3), path)


def whole_module(path, good):
    torch.save(Other(), path)


def plain_pickle(path, good):
    path.write_bytes(pickle.dumps({"state_dict": {}, "lml_iqa": {}}))


def code(path, good):
    path.write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")


def text(path, good):
    path.write_text("best.ckpt\n")


def empty(path, good):
    path.touch()


def safetensors(path, good):
    save_file({"weight": torch.ones(3)}, path)


def other_zip(path, good):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/1.png", b"")


def folder(path, good):
    path.mkdir()


def missing(path, good):
    pass


WRONG = [
    *(cut_off, half, another_module, state_dict, tensor, whole_module, plain_pickle, code, text, empty, safetensors),
    *(other_zip, folder, missing),
]
every_wrong_file = pytest.mark.parametrize("make", WRONG, ids=lambda make: make.__name__)


@pytest.fixture
def wrong(make, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.ckpt"
    make(path, good)
    return path


def is_one_line(message, path):
    return str(path) in message and "\n" not in message and len(message) < 500


@every_wrong_file
def test_read_checkpoint(wrong):
    for mmap in (False, True):
        with pytest.raises(CheckpointError) as error:
            read_checkpoint(wrong, mmap=mmap)
        assert is_one_line(str(error.value), wrong)
    assert not wrong.with_name("executed").exists()


@every_wrong_file
def test_load_from_checkpoint(wrong):
    with pytest.raises(CheckpointError) as error:
        LMLTask.load_from_checkpoint(wrong)
    assert is_one_line(str(error.value), wrong)


@every_wrong_file
def test_trainer(wrong, tmp_path):
    task = LMLTask(pretrained=False, **NETWORK)
    with pytest.raises(CheckpointError) as error:
        quiet_trainer().test(task, [torch.ones(1)], ckpt_path=str(wrong), verbose=False)
    assert is_one_line(str(error.value), wrong)


@every_wrong_file
def test_command_line(wrong, tmp_path, capsys):
    for command in ("fit", "validate", "test", "predict"):
        # The data set is missing too, but the checkpoint is checked first.
        data = ["--data=TableDataModule", "--data.root=nowhere", "--data.labels=nowhere.csv"]
        with pytest.raises(SystemExit) as stop:
            main([command, *data, f"--ckpt_path={wrong}"])
        assert str(stop.value).startswith("error: ")
        assert is_one_line(str(stop.value), wrong)
    assert not wrong.with_name("executed").exists()


@every_wrong_file
def test_initial_weights(wrong):
    with pytest.raises(WeightsError) as error:
        LMLTask(initial_weights=str(wrong), **NETWORK)
    assert is_one_line(str(error.value), wrong)


@pytest.mark.parametrize("keyword", ["best", "last", "hpc", "registry", "registry:mine", "Registry:mine:version:2"])
@pytest.mark.parametrize("command", ["fit", "test"])
def test_keywords_without_a_checkpoint(keyword, command, biq2021_root):
    if (command, keyword) == ("fit", "last"):
        pytest.skip("means: resume if there is a last checkpoint")
    with pytest.raises(SystemExit) as stop:
        main([command, "--data=BIQ2021DataModule", f"--data.root={biq2021_root}", f"--ckpt_path={keyword}"])
    assert str(stop.value).startswith(f"error: ckpt_path {keyword}: ")
    assert "\n" not in str(stop.value)


def test_checkpoint_in_the_home_folder(good, monkeypatch):
    monkeypatch.setenv("HOME", str(good.parent))
    content = torch.load(good, weights_only=True)["state_dict"]
    for loaded in (
        LMLTask.load_from_checkpoint("~/good.ckpt").state_dict(),
        LMLTask(pretrained=False, initial_weights="~/good.ckpt", **NETWORK).state_dict(),
    ):
        assert loaded.keys() == content.keys()
        assert all(torch.equal(loaded[name], value) for name, value in content.items())


def test_mutated_checkpoints(good, tmp_path):
    """Bytes are changed and dropped by a seeded generator; each file is loaded or rejected with a clear error."""
    whole = good.read_bytes()
    rng = random.Random(0)
    path = tmp_path / "mutated.ckpt"
    loaded = 0
    for _ in range(200):
        content = bytearray(whole)
        # Most of the file is tensors: mutate the bytes before and after them as often.
        for _ in range(rng.choice([1, 3, 30])):
            end = len(content)
            place = rng.choice([rng.randrange(4000), end - 1 - rng.randrange(4000), rng.randrange(end)])
            content[place] = rng.randrange(256)
        if rng.random() < 0.3:
            start = rng.randrange(len(content))
            content[start : start + rng.randrange(1, 3000)] = b""
        path.write_bytes(content)
        with suppress(CheckpointError):
            read_checkpoint(path)
            loaded += 1
    assert 0 < loaded < 150


def test_other_network_options(good, tmp_path):
    path = str(good)
    other = {**NETWORK, "embedding_dim": 16}
    with pytest.raises(CheckpointError, match=r"good\.ckpt: trained with other network options: .*projector"):
        quiet_trainer().test(LMLTask(pretrained=False, **other), [torch.ones(1)], ckpt_path=path, verbose=False)
    with pytest.raises(WeightsError, match=r"good\.ckpt: trained with other network options: .*projector") as error:
        LMLTask(initial_weights=path, **other)
    assert is_one_line(str(error.value), path)


def test_initial_weights_need_no_network(good, monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("network access")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("lml_iqa.models.weights.constants.HF_HUB_CACHE", str(tmp_path))
    assert LMLTask(pretrained=True, initial_weights=str(good), **NETWORK).hparams["pretrained"] is True
    with pytest.raises(AssertionError, match="network access"):
        LMLTask(pretrained=True, **NETWORK)
