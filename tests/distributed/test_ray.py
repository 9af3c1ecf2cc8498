"""Ray starts the processes with the program of the how-to: the results match those of Lightning's DDP."""

import json
import re
import subprocess
import sys
import tempfile

import pytest
from distributed.launch import CONFIGS, assert_equal, environment, fit, options

pytest.importorskip("ray.train.lightning", reason='no Ray Train here: pip install -e ".[ray]"')


@pytest.fixture
def program(tmp_path):
    """Path of the program in ``configs/README.md``."""
    (code,) = re.findall(r"^```python\n(.*?)^```", (CONFIGS / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    path = tmp_path / "train_on_ray.py"
    path.write_text(code)
    return str(path)


def run_on_ray(program, folder, arguments):
    """Run the program, and retry if Ray's startup timeout of 30 s is too short on a busy machine."""
    for _ in range(3):
        with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as session:  # short, as it contains sockets
            variables = environment(
                HOME=str(folder),
                RAY_TMPDIR=session,
                RAY_USAGE_STATS_ENABLED="0",
                RAY_CHDIR_TO_TRIAL_DIR="0",
                RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S="600",
            )
            command = [sys.executable, program, "2", *arguments]
            done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, timeout=900)
        if "timed out during startup" not in done.stderr:
            break
    return done


def test_two_workers_do_what_two_processes_do(program, biq2021_root, tmp_path):
    done = run_on_ray(program, tmp_path, options(biq2021_root, "on_ray", "--data.batch_size=2"))
    assert done.returncode == 0, done.stderr
    run = tmp_path / "on_ray" / "biq2021" / "version_0"
    assert json.loads((run / "environment.json").read_text())["processes"] == 2
    assert "RayDDPStrategy" in (run / "config.yaml").read_text()
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2"]
    assert_equal(run, fit(biq2021_root, tmp_path / "plain", *two))
