"""Command line with two processes started by Lightning: the files match those of one process."""

import json

import pytest
import torch
from distributed.launch import facts, fit, predictions, weights
from torch import distributed

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")


def test_two_processes_leave_the_files_of_one(biq2021_root, tmp_path):
    one = fit(biq2021_root, tmp_path / "one", "--data.batch_size=4")
    two = fit(biq2021_root, tmp_path / "two", "--data.batch_size=2", "--trainer.devices=2", "--trainer.strategy=ddp")
    assert not (tmp_path / "two" / "biq2021" / "version_1").exists()  # one run, not one per process
    assert facts(one)["images"] == facts(two)["images"] == 5
    assert facts(two)["metrics"] == pytest.approx(facts(one)["metrics"], abs=1e-4)
    assert json.loads((two / "environment.json").read_text())["processes"] == 2
    assert predictions(two) == pytest.approx(predictions(one), abs=1e-4)
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-4)
