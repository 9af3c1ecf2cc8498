"""Provenance of a run: code, packages, machine, data and options."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.utils.files import write_text
from lml_iqa.utils.run_dir import run_folder, writes_files

_PACKAGES = (
    "lml-iqa",
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "torchmetrics",
    "albumentations",
    "numpy",
    "scipy",
)
_FILE = "environment.json"


class Provenance(Callback):
    """Write ``environment.json`` to the run's folder, and log it to every logger, when training starts.

    Loggers receive it as the hyper-parameter ``environment``, and the resolved options of the command line as
    ``config``. A test writes the file if its folder has none.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and log the environment, on rank zero."""
        if not writes_files(trainer):
            return
        facts = environment(trainer)
        _write(trainer, facts)
        for logger in trainer.loggers:
            logger.log_hyperparams({"environment": facts, **_options(trainer)})

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the environment unless training has done so, on rank zero."""
        if writes_files(trainer) and not (run_folder(trainer) / _FILE).exists():
            _write(trainer, environment(trainer))


def environment(trainer: Trainer) -> dict[str, Any]:
    """Collect the facts that the results of a run may depend on, as JSON-compatible values.

    Returns:
        Command line, seed, data with the hashes of its labels and its split (:meth:`IQADataModule.provenance`), number
        of processes, revisions of this package's source and of the working folder, versions of packages and Python,
        operating system, CUDA and GPUs. Entries that do not apply are None.
    """
    data = getattr(trainer, "datamodule", None)
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        # Bytes that are not UTF-8 become escapes, as some JSON readers reject lone surrogates.
        "command": shlex.join(sys.argv).encode("utf-8", "backslashreplace").decode(),
        "seed": None if seed is None else int(seed),
        "data": data.provenance() if isinstance(data, IQADataModule) else None,
        "processes": trainer.world_size,
        "git": {"lml_iqa": revision(Path(__file__).parent), "working_folder": revision(Path())},
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def revision(folder: Path) -> dict[str, Any] | None:
    """Git revision of a folder, and whether tracked files have changed since.

    Returns:
        None without git, or if it tracks no file of the folder (a package installed inside another work tree).
    """
    try:
        if not _git(folder, "ls-files", "."):
            return None
        return {
            "revision": _git(folder, "rev-parse", "HEAD").strip(),
            "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _write(trainer: Trainer, facts: dict[str, Any]) -> None:
    write_text(run_folder(trainer) / _FILE, json.dumps(facts, indent=1, allow_nan=False) + "\n")


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # concurrent runs must not wait for each other
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=30,
        check=True,
    )
    return run.stdout


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _options(trainer: Trainer) -> dict[str, Any]:
    """Resolved options, if the run was started from the command line."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SaveConfigCallback):
            return {"config": json.loads(callback.parser.dump(callback.config, format="json", skip_unset=False))}
    return {}
