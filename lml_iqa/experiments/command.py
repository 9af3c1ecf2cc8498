"""``lml-iqa protocol``: tables over many runs."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from lml_iqa.experiments.cross import Cross
from lml_iqa.experiments.few_labels import FewLabels
from lml_iqa.experiments.repeats import Repeats
from lml_iqa.experiments.series import OptionsError
from lml_iqa.experiments.sweep import sweep
from lml_iqa.utils.arguments import whole_number

PROTOCOLS = {"repeats": Repeats, "few_labels": FewLabels, "cross": Cross}


def protocol(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: Arguments after ``lml-iqa protocol``; unknown options are passed to ``lml-iqa fit``.

    Returns:
        Exit status: 0 if all runs are done, 1 if some failed, 2 if an option is invalid or the folder contains runs
        with different options, 3 if other processes are still working on some runs.
    """
    # Not left to argparse, which would take the value of an unknown option for the file.
    file = Path(arguments[0]).expanduser() if arguments and not arguments[0].startswith("-") else None
    given, fit = _parser().parse_known_args(arguments[0 if file is None else 1 :])
    out = given.out.expanduser() if given.out else None
    try:
        content = {"protocol": "repeats"} if file is None else _read(file)
        out = out or _default_folder(content, fit)
        if "parameters" in content:
            return sweep(content, out, fit, given.jobs)
        plan = read_plan(content, {"splits": given.splits, "best_on_test": given.best_on_test})
        splits = range(given.first, given.first + plan.splits)
        return plan.run(out, splits, fit, given.jobs)
    except OptionsError as error:
        print(f"error: {f'{file}: ' if file else ''}{error}", file=sys.stderr)
        return 2


def read_plan(content: Mapping[str, Any], override: Mapping[str, Any]) -> Repeats | FewLabels | Cross:
    """Create the experiment described by a file of ``configs/protocol``.

    Args:
        content: ``protocol`` (a key of PROTOCOLS) and its options.
        override: Options that take precedence; None means not given.

    Raises:
        OptionsError: An option is invalid.
    """
    options = {**content, **{option: value for option, value in override.items() if value is not None}}
    name = options.pop("protocol", None)
    if name not in PROTOCOLS:
        raise OptionsError(f"protocol: {name!r} is not one of {', '.join(PROTOCOLS)}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(PROTOCOLS[name])
    try:
        plan: Repeats | FewLabels | Cross = PROTOCOLS[name](**parser.parse_object(options).as_dict())
    except ArgumentError as error:
        raise OptionsError(f"protocol {name}: {error}") from error
    if plan.splits < 1:
        raise OptionsError(f"splits: {plan.splits}; give at least 1")
    return plan


def _default_folder(content: Mapping[str, Any], fit: Sequence[str]) -> Path:
    """``runs/tid2013_repeats`` for ``--config configs/tid2013.yaml``; for sweeps, as named in their command."""
    given = " ".join([*map(str, content.get("command", [])), *fit])
    config = re.search(r"--config[ =](\S+)", given)
    kind = "sweep" if "parameters" in content else content.get("protocol")
    return Path("runs", f"{Path(config[1]).stem}_{kind}" if config else str(kind))


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OptionsError(f"cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise OptionsError(f"not a mapping of options; give protocol ({', '.join(PROTOCOLS)}) and its options")
    return content


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lml-iqa protocol",
        usage="lml-iqa protocol [FILE] [--out DIR] [--splits N] [--first N] [--jobs N] [--best_on_test] FIT_OPTIONS",
        description="Train and test on several splits and write tables. FILE selects the experiment, as in "
        "configs/protocol: repeats (the default), few_labels or cross; options given here override the file's. FILE "
        "can also be a wandb sweep, as in configs/sweep; its grid is then run without a server. FIT_OPTIONS are passed "
        "to `lml-iqa fit`, in particular --config. Finished runs are skipped, and interrupted runs resume from their "
        "last checkpoint. Several processes can run the same command at once and share the runs. Exit status: 0 all "
        "runs done, 1 some failed, 2 invalid options or a folder of runs with different options, 3 other processes are "
        "still working on some runs.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out", type=Path, help="folder for runs and tables; default: runs/SET_TABLE, from --config and FILE"
    )
    parser.add_argument("--splits", type=whole_number, help="number of splits; default: the file's, or 10")
    parser.add_argument(
        "--first", type=whole_number, default=0, help="first split, for SLURM arrays; default: %(default)s"
    )
    parser.add_argument("--jobs", type=whole_number, default=1, help="number of concurrent runs; default: %(default)s")
    parser.add_argument(
        "--best_on_test",
        action="store_true",
        default=None,
        help="repeats: also report the best epoch on the test set, as many papers do; labeled as not comparable",
    )
    return parser
