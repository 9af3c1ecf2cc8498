"""Full or read-only disks: the previous checkpoint stays intact, and the error names the cause."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from lml_iqa.main import main
from lml_iqa.utils.checkpoint_io import CheckpointError, WholeCheckpointIO

resource = pytest.importorskip("resource", reason="no limits on the size of files here")
CONFIG = Path(__file__).parents[2] / "configs" / "biq2021.yaml"
SMALL, LARGE = {"weights": torch.ones(1000)}, {"weights": torch.ones(1_000_000)}


@contextmanager
def files_up_to(size):
    """Limit the size of files, which looks like a full disk to the writing process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def mounted(folder, options):
    """Mount a small disk."""
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("mounting a disk takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def check_refused(path, cause):
    """Try to replace a small checkpoint by a large one."""
    with pytest.raises(
        CheckpointError, match=rf"{path.name}.*could not be written \({cause}.*is unchanged; .*--ckpt_path"
    ):
        WholeCheckpointIO().save_checkpoint(LARGE, path)
    assert torch.equal(torch.load(path, weights_only=True)["weights"], SMALL["weights"])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_large_file(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpointIO().save_checkpoint(SMALL, path)
    with files_up_to(100_000):
        check_refused(path, "File too large")
    WholeCheckpointIO().save_checkpoint(LARGE, path)
    assert torch.equal(torch.load(path, weights_only=True)["weights"], LARGE["weights"])


def test_full_disk(tmp_path):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        WholeCheckpointIO().save_checkpoint(SMALL, disk / "last.ckpt")
        check_refused(disk / "last.ckpt", "No space left on device")


def test_read_only_disk(tmp_path):
    with mounted(tmp_path / "disk", "size=9m") as disk:
        WholeCheckpointIO().save_checkpoint(SMALL, disk / "last.ckpt")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        check_refused(disk / "last.ckpt", "Read-only file system")


def test_first_checkpoint(tmp_path):
    with files_up_to(100_000), pytest.raises(CheckpointError, match="there is no previous one"):
        WholeCheckpointIO().save_checkpoint(LARGE, tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())


def test_command_line(biq2021_root, tmp_path):
    command = ["fit", "--config", str(CONFIG), f"--data.root={biq2021_root}", "--model.backbone=test_vit"]
    command += [
        "--model.pretrained=false",
        "--model.decoder_heads=4",
        "--data.val_fraction=0.25",
        "--data.crop_size=32",
    ]
    command += ["--data.num_workers=0", "--data.batch_size=4", "--trainer.accelerator=cpu", "--trainer.max_epochs=1"]
    command += [f"--trainer.logger.init_args.save_dir={tmp_path}"]
    with files_up_to(500_000), pytest.raises(SystemExit) as end:
        main(command)
    assert str(end.value).startswith("error: ")
    assert "best.ckpt: the checkpoint could not be written (File too large)" in str(end.value)
