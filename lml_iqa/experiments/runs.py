"""Runs that are part of a table: each is done once, whoever does it and however often that is interrupted."""

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

_TAIL = 2000  # characters of a log that hold the cause of a failure


@dataclass(frozen=True)
class Run:
    """One training with its test, or one test.

    Attributes:
        name: What it is called in the table; the name of its folder.
        out: Folder that its folder lies in.
        arguments: The subcommand of ``lml-iqa`` with its options.
        result: Name of the file that a finished run has left; written last.
    """

    name: str
    out: Path
    arguments: tuple[str, ...]
    result: str = "metrics.json"

    @property
    def log(self) -> Path:
        """Everything that the run printed."""
        return self.out / f"{self.name}.log"

    @property
    def folder(self) -> Path | None:
        """The folder with the results of the finished run; None as long as it is not finished."""
        found = self._newest(self.result)
        return None if found is None else found.parent

    def read(self) -> tuple[dict[str, Any], Path]:
        """Content of the finished run's ``metrics.json``, and its folder."""
        folder = self.folder
        if folder is None:
            raise FileNotFoundError(f"{self.out}: {self.name} is not finished; run it first")
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8")), folder

    def failure(self) -> str:
        """The last line of the log: why the run failed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip().splitlines()
        return lines[-1].strip() if lines else "no output"

    def do(self) -> State:
        """Do it, a training from the last checkpoint of one that was killed.

        Another process may be at the same run: then this one leaves it alone.
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
                log.write(f"\nleft no {self.result}: trainer.callbacks needs lml_iqa.Report\n")
        return status == 0 and self.folder is not None

    def _newest(self, *files: str) -> Path | None:
        # Where a logger puts its runs below the run's folder is its own affair.
        found = [path for file in files for path in (self.out / self.name).rglob(file)]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)


def call(command: Sequence[str], log: TextIO) -> int:
    """Exit status of a command that prints into a log."""
    return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode


def do_all(runs: Sequence[Run], jobs: int = 1) -> Iterator[tuple[Run, State]]:
    """Do every run that is not done, ``jobs`` at a time, and tell each one's state in their order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from zip(runs, pool.map(Run.do, runs), strict=True)
