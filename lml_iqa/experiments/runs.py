"""Runs of a table: each is done once, across interruptions and concurrent processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from filelock import FileLock, Timeout

State = Literal["done", "failed", "elsewhere"]

_TAIL = 2000  # characters at the end of a log that contain the cause of a failure


@dataclass(frozen=True)
class Run:
    """A training with its test, or a test.

    Attributes:
        name: Name in the table, and of the run's folder.
        out: Parent of the run's folder.
        arguments: The subcommand of ``lml-iqa`` with its options.
        result: Name of the file that marks a finished run; written last.
    """

    name: str
    out: Path
    arguments: tuple[str, ...]
    result: str = "metrics.json"

    @property
    def log(self) -> Path:
        """Log file of the run's output."""
        return self.out / f"{self.name}.log"

    @property
    def folder(self) -> Path | None:
        """Folder with the results; None while the run is unfinished."""
        found = self._newest(self.result)
        return None if found is None else found.parent

    def read(self) -> tuple[dict[str, Any], Path]:
        """Return the content of ``metrics.json`` and the folder of the finished run."""
        folder = self.folder
        if folder is None:
            raise FileNotFoundError(f"{self.out}: {self.name} is not finished; run it first")
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8")), folder

    def failure(self) -> str:
        """Return the last line of the log, which states why the run failed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip().splitlines()
        return lines[-1].strip() if lines else "no output"

    def do(self) -> State:
        """Execute the run unless it is finished; resume it from its last checkpoint if it was interrupted.

        A run that another process is working on is skipped.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.out / f".{self.name}.lock", timeout=0):
                return "done" if self.folder is not None or self._call() else "failed"
        except Timeout:
            return "elsewhere"

    def _call(self) -> bool:
        command = [sys.executable, "-m", "lml_iqa", *self.arguments]
        last = self._newest("checkpoints/last.ckpt", "checkpoints/interrupted.ckpt")
        if last is not None:
            command.append(f"--ckpt_path={last}")
        with self.log.open("a" if last is not None else "w", encoding="utf-8") as log:
            status = call(command, log)
            if status < 0:
                log.write(f"\nkilled by {signal.Signals(-status).name}; SIGKILL may mean that memory ran out\n")
            elif status == 0 and self.folder is None:
                log.write(f"\n{self.result}: not written; add lml_iqa.Report to trainer.callbacks\n")
        return status == 0 and self.folder is not None

    def _newest(self, *files: str) -> Path | None:
        # Loggers use different layouts below the run's folder.
        found = [path for file in files for path in (self.out / self.name).rglob(file)]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)


def call(command: Sequence[str], log: TextIO) -> int:
    """Run a command with its output in a log, and return its exit status."""
    return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode


def do_all(runs: Sequence[Run], jobs: int = 1) -> Iterator[tuple[Run, State]]:
    """Execute all unfinished runs, ``jobs`` at a time, and yield the state of each run in order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from zip(runs, pool.map(Run.do, runs), strict=True)
