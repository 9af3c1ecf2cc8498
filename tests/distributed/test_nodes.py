"""Two simulated machines: network namespaces connected by a virtual cable."""

import os
import shutil
import subprocess
import sys

import pytest
from distributed.launch import CONFIGS, assert_equal, environment, fit, options, weights
from torch import distributed

ADDRESSES = ("192.0.2.1", "192.0.2.2")  # reserved for documentation
CARD = "lml0"
STEPS = 4  # two epochs of 10 images, 4 a step

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def machines():
    """Names of two namespaces, each with its own network interface."""
    if shutil.which("ip") is None:
        pytest.skip("no `ip` here: install iproute2")
    names = [f"lml-{os.getpid()}-{number}" for number in range(2)]
    made = []
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                made.append(name)
            ip("link", "add", CARD, "netns", names[0], "type", "veth", "peer", "name", CARD, "netns", names[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here (they need root): {error.stderr.strip()}")
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", CARD)
            ip("-n", name, "link", "set", CARD, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in made:
            ip("netns", "delete", name)


def torchrun(machine, number, log, arguments):
    """Start torchrun on one of the machines, as in ``configs/trainer/multinode.yaml``, and return its process."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    command += [f"--node-rank={number}", f"--master-addr={ADDRESSES[0]}", "--master-port=29500"]
    return subprocess.Popen(
        ["ip", "netns", "exec", machine, *command, "-m", "lml_iqa", "fit", *arguments],
        env=environment(GLOO_SOCKET_IFNAME=CARD),
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )


def sent(machine):
    """Bytes that a machine has sent."""
    return int(ip("netns", "exec", machine, "cat", f"/sys/class/net/{CARD}/statistics/tx_bytes"))


def test_two_machines_do_what_one_with_two_processes_does(machines, biq2021_root, tmp_path):
    shipped = ["--config", str(CONFIGS / "trainer" / "multinode.yaml"), "--trainer.precision=32-true"]
    here = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--data.batch_size=2"]
    arguments = options(biq2021_root, tmp_path / "two", *shipped, *here)
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    launched = [torchrun(m, n, log, arguments) for n, (m, log) in enumerate(zip(machines, logs, strict=True))]
    try:
        for process, log in zip(launched, logs, strict=True):
            assert process.wait(timeout=900) == 0, log.read_text()
    finally:
        for process in launched:
            process.terminate()  # also ends its worker
            process.wait()
    two = tmp_path / "two" / "biq2021" / "version_0"
    one = fit(biq2021_root, tmp_path / "one", "--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2")
    assert_equal(two, one)
    assert [path.name for path in two.parent.iterdir()] == ["version_0"]
    trained = sum(value.numel() for name, value in weights(two).items() if "student" in name)
    assert min(map(sent, machines)) > 4 * trained * STEPS  # the gradients, in float32
