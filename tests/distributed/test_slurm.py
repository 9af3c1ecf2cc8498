"""The shipped batch scripts on a real SLURM."""

import contextlib
import re
import time

import pytest
from distributed.launch import CONFIGS, assert_equal, environment, facts, fit, options
from distributed.slurm import Hold, lacking, private_slurm, wait_for
from torch import distributed

TESTS = CONFIGS.parent / "tests"
TWO_TASKS = ["--ntasks-per-node=2", "--cpus-per-task=1", "--time=30"]
SMALL = ["--data.batch_size=1", "--trainer.max_epochs=3", "--trainer.precision=32-true", "--trainer.accelerator=cpu"]

pytestmark = [
    pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed"),
    pytest.mark.skipif(lacking() != "", reason=lacking()),
]


@pytest.fixture(scope="module")
def slurm():
    with private_slurm() as running:
        yield running


def submit(slurm, folder, script, *more, size=("--time=30",), **variables):
    """Submit a shipped script with its output in ``folder``, and return the number of the job."""
    command = ["sbatch", "--parsable", f"--chdir={folder}", f"--output={folder}/log.%j", *size]
    variables = environment(PYTHONPATH=str(TESTS), **variables)
    return slurm(*command, str(CONFIGS / "slurm" / script), *more, variables=variables)


def output(folder):
    return "\n".join(path.read_text() for path in sorted(folder.glob("log.*")))


def train(root):
    """Options of the run: two processes, 5 steps per epoch."""
    return options(root, "elsewhere", "--config", str(CONFIGS / "trainer" / "slurm.yaml"), *SMALL)


def test_a_training_goes_on_after_its_time_limit_as_if_unbroken(slurm, biq2021_root, tmp_path):
    hold = ["--trainer.callbacks+=distributed.slurm.Hold", f"--trainer.callbacks.folder={tmp_path}"]
    job = submit(slurm, tmp_path, "train.sbatch", *train(biq2021_root), *hold, size=TWO_TASKS, RUNS="results")
    begin = time.monotonic()
    unbroken = fit(biq2021_root, tmp_path, *SMALL, "--trainer.devices=2", "--trainer.strategy=ddp")
    slurm.until(lambda: len(list(tmp_path.glob("held.*"))) == 2, job)
    # Shorten the time limit: SLURM signals 90 s before it, or at its next check, every 30 s.
    slurm("scontrol", "update", f"JobId={job}", f"TimeLimit={int(time.monotonic() - begin) // 60 + 2}")
    checkpoints = tmp_path / "results" / "biq2021" / f"slurm_{job}" / "checkpoints"
    slurm.until((checkpoints / "interrupted.ckpt").exists, job)

    def extended():
        with contextlib.suppress(RuntimeError):  # a job cannot be updated while it is requeued
            return slurm("scontrol", "update", f"JobId={job}", "TimeLimit=30") == ""

    wait_for(extended, "an extended time limit")
    ended = slurm.end(job)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), output(tmp_path)
    assert f"after step {Hold.STEPS};" in output(tmp_path)
    assert re.search("Restored all states from the checkpoint at .*interrupted.ckpt", output(tmp_path))
    assert_equal(checkpoints.parent, unbroken)
    assert not (checkpoints / "interrupted.ckpt").exists()


def test_a_training_that_fails_is_not_queued_again(slurm, tmp_path):
    job = submit(slurm, tmp_path, "train.sbatch", *train(tmp_path / "nothing"), size=TWO_TASKS)
    ended = slurm.end(job)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "1:0", "0")
    assert "nothing" in output(tmp_path)


def test_tasks_of_an_array_share_a_table_also_over_a_time_limit(slurm, biq2021_root, tmp_path):
    table = [str(CONFIGS / "protocol" / "repeats.yaml"), "--out", "table", "--splits", "2"]
    size = ["--array=0-1", "--time=30"]
    job = submit(slurm, tmp_path, "protocol.sbatch", *table, *options(biq2021_root, "elsewhere"), size=size)
    slurm.until(lambda: len(list(tmp_path.glob("table/split*.log"))) == 2, f"{job}_0")
    slurm("scancel", "--batch", "--signal=USR1", f"{job}_0")  # as SLURM does before the limit
    ended = [slurm.end(f"{job}_{task}") for task in range(2)]
    assert [each["JobState"] for each in ended] == ["COMPLETED", "COMPLETED"], output(tmp_path)
    assert [each["Restarts"] for each in ended] == ["1", "0"]
    runs = sorted(tmp_path.glob("table/split*/**/metrics.json"))
    assert [facts(run.parent)["images"] for run in runs] == [5, 5]
    assert "2 runs" in (tmp_path / "table" / "table.md").read_text()


def test_one_agent_a_job(slurm, tmp_path):
    """Without a wandb server; tests/experiments/test_wandb_schema.py covers the runs of an agent."""
    wandb = tmp_path / "bin" / "wandb"
    wandb.parent.mkdir()
    wandb.write_text('#!/bin/sh\necho "$@" "${SLURM_NTASKS-on its own}" > agent.$SLURM_ARRAY_TASK_ID\n')
    wandb.chmod(0o755)
    path = {"PATH": f"{wandb.parent}:{environment()['PATH']}"}
    job = submit(slurm, tmp_path, "agent.sbatch", "ENTITY/lml-iqa/ID", size=["--array=1-2"], **path)
    for task in (1, 2):
        assert slurm.end(f"{job}_{task}")["JobState"] == "COMPLETED", output(tmp_path)
        assert (tmp_path / f"agent.{task}").read_text() == "agent --count 1 ENTITY/lml-iqa/ID on its own\n"
