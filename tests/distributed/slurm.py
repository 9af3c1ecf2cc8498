"""A private SLURM on this machine: one node with two CPUs, and its own key, ports, sockets and files."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from distributed.launch import environment
from lightning.pytorch import Callback

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
PATIENCE = 600  # timeout in seconds, for a busy machine
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
# A requeued job also waits for cred_expire.
CONF = """
ClusterName=lml
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
MpiDefault=none
MailProg=/bin/true
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ReturnToService=2
KillWait=5
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE
"""


def lacking():
    """Reason why SLURM cannot run here; empty if it can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"no {', '.join(missing)} here: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "SLURM's daemons need root"


def wait_for(condition, what, patience=PATIENCE):
    """Wait until ``condition()`` is true.

    Raises:
        TimeoutError: It took too long.
    """
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {patience} s")
        time.sleep(0.1)


class Slurm:
    """Daemons of a private SLURM, and commands for them."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = environment(SLURM_CONF=str(folder / "slurm.conf"))
        self._daemons = []

    def __call__(self, *command, variables=None):
        """Output of a SLURM command."""
        variables = {**self.environment, **(variables or {})}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout.strip()

    def job(self, number):
        """Fields of a job."""
        fields = self("scontrol", "show", "job", "--oneliner", number).split()
        return dict(field.split("=", 1) for field in fields if "=" in field)

    def until(self, condition, number):
        """Wait for a condition during a job.

        Raises:
            RuntimeError: The job ended before the condition was true.
        """
        wait_for(lambda: condition() or self.job(number)["JobState"] in ENDED, f"job {number}")
        if not condition():
            raise RuntimeError(f"job {number} ended as {self.job(number)['JobState']}")

    def end(self, number):
        """Wait for the end of a job, and return its fields."""
        wait_for(lambda: self.job(number)["JobState"] in ENDED, f"end of job {number}")
        return self.job(number)

    def start(self):
        """Start the daemons, and wait until the node is ready for jobs."""
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        conf = CONF.format(folder=self.folder, host=host, ports=free_ports(2))
        (self.folder / "slurm.conf").write_text(conf)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
        self._daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.sock", *files)
        wait_for((self.folder / "munge.sock").exists, "munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D")
        wait_for(self._ready, "slurmctld and slurmd")

    def stop(self):
        """End all jobs, then the daemons."""
        with contextlib.suppress(RuntimeError, TimeoutError):  # if it never started
            self("scancel", "--user=root")
            wait_for(lambda: not self("squeue", "--noheader"), "end of the jobs")
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _daemon(self, *command):
        with (self.folder / f"{command[0]}.out").open("w") as log:
            self._daemons.append(
                subprocess.Popen(
                    command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
            )

    def _ready(self):
        for daemon in self._daemons:
            if daemon.poll() is not None:
                raise RuntimeError((self.folder / f"{daemon.args[0]}.out").read_text())
        with contextlib.suppress(RuntimeError):  # not listening yet
            return self("sinfo", "--noheader", "--format=%T") == "idle"
        return False


def free_ports(count):
    """Unused ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def private_slurm():
    """SLURM that runs while the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # short, as socket paths have at most 107 characters
    folder.chmod(0o755)
    slurm = Slurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Hold(Callback):
    """Hold a job, unless it was requeued, before its 8th step until SIGUSR1; create a file while waiting."""

    STEPS = 7

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step != self.STEPS or "SLURM_RESTART_COUNT" in os.environ:
            return
        came = []
        leave = signal.getsignal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, lambda *arguments: (leave(*arguments), came.append(True)))
        (self.folder / f"held.{trainer.global_rank}").touch()
        wait_for(lambda: came, "SIGUSR1")
