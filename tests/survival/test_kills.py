"""SIGKILL at random moments: the run resumes from its last checkpoint to the weights of an uninterrupted run."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from killed import train


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
def test_killed_twenty_times_equals_unbroken(biq2021_root, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(biq2021_root, whole)
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(biq2021_root), str(broken)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) >= 20
    ends = [torch.load(folder / "end.ckpt", weights_only=True)["state_dict"] for folder in (whole, broken)]
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name
