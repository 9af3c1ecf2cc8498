"""Runs of one configuration on several splits, each in its own folder, for any logger."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from lml_iqa.cli import resolve
from lml_iqa.experiments.markup import to_json
from lml_iqa.experiments.runs import Run
from lml_iqa.utils.files import write_text

_BY_VERSION = {"CSVLogger", "TensorBoardLogger"}


class OptionsError(Exception):
    """Invalid options of an experiment; the message says what to change."""


@dataclass(frozen=True)
class Series:
    """Runs that differ only in their split.

    Attributes:
        out: Folder that contains one folder per run.
        arguments: The subcommand of ``lml-iqa`` with its options.
        logger: Resolved ``trainer.logger``.
        identity: Random ID of the folder; keeps run IDs of tables in one wandb project distinct.
    """

    out: Path
    arguments: tuple[str, ...]
    logger: Any
    identity: str

    @classmethod
    def start(cls, out: Path, command: str, options: Sequence[str]) -> Series:
        """Check the options and record them in ``options.json``.

        Args:
            out: Folder of the runs.
            command: ``fit`` or ``test``.
            options: Its options.

        Raises:
            OptionsError: The folder contains runs with different options.
            SystemExit: An option is invalid; the reason is printed.
        """
        config = resolve([command, *options])
        return cls(out, (command, *options), config["trainer"]["logger"], remember(out, config))

    def run(self, split: int) -> Run:
        """Run of a split, with its test; the split number seeds the split and everything else."""
        seeds = (f"--seed_everything={split}", f"--data.split_seed={split}")
        return self.named(f"split{split}", *seeds, "--test_after_fit=true")

    def named(self, name: str, *more: str, result: str = "metrics.json") -> Run:
        """Run with additional options."""
        loggers = json.dumps(_place(self.logger, self.out / name, f"{self.identity}-{name}"))
        return Run(name, self.out, (*self.arguments, *more, f"--trainer.logger={loggers}"), result)


def remember(out: Path, options: Mapping[str, Any]) -> str:
    """Record the options of a folder's runs in ``options.json``.

    Returns:
        Random ID of the folder.

    Raises:
        OptionsError: The folder contains runs with different options.
    """
    out.mkdir(parents=True, exist_ok=True)
    note = out / "options.json"
    with FileLock(out / ".options.lock"):
        if not note.exists():
            content = {"identity": secrets.token_hex(4), "options": options}
            write_text(note, to_json(content))
        before = json.loads(note.read_text(encoding="utf-8"))
    changes = _changes(before["options"], json.loads(to_json(options)))
    if changes:
        raise OptionsError(
            f"{out}: contains runs with different options ({', '.join(changes)}); "
            "use a new --out or the original options"
        )
    identity: str = before["identity"]
    return identity


def _changes(before: Any, now: Any) -> list[str]:
    old, new = dict(_leaves(before)), dict(_leaves(now))
    pairs = {name: (old.get(name, "not given"), new.get(name, "not given")) for name in sorted(old.keys() | new.keys())}
    return [f"{name}: {then} -> {now}" for name, (then, now) in pairs.items() if then != now]


def _leaves(options: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(options, dict):
        for key, value in options.items():
            yield from _leaves(value, f"{name}.{key}".removeprefix("."))
    else:
        yield name, options


def _place(given: Any, folder: Path, identity: str) -> list[dict[str, Any]]:
    """Configure the loggers of a run to write to its folder.

    Args:
        given: ``trainer.logger``: none, a class with its arguments, or a list of them.
        folder: The run's folder.
        identity: Unique ID of the run, for loggers that share a project between tables.

    Raises:
        OptionsError: A logger is not supported.
    """
    loggers: list[dict[str, Any]] = given if isinstance(given, list) else [given]
    if not isinstance(given, (list, dict)):
        loggers = [{"class_path": "CSVLogger"}]
    placed = []
    for logger in loggers:
        arguments = dict(logger.get("init_args", {}))
        kind = logger["class_path"].rpartition(".")[2]
        if kind in _BY_VERSION:
            arguments.update(save_dir=str(folder.parent), name="", version=folder.name)
        elif kind == "WandbLogger":
            folder.mkdir(parents=True, exist_ok=True)  # wandb uses a temporary folder if it is missing
            name = f"{arguments.get('name') or folder.parent.name} {folder.name}"
            arguments.update(save_dir=str(folder), version=identity, name=name, resume="allow")
        else:
            raise OptionsError(
                f"trainer.logger: {kind} is not supported here; use CSVLogger, TensorBoardLogger or WandbLogger"
            )
        placed.append({**logger, "init_args": arguments})
    return placed
