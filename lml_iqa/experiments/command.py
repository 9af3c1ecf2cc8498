"""``lml-iqa protocol``: whole tables in one command."""

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
        arguments: What follows ``lml-iqa protocol``; options it does not know go to ``lml-iqa fit``.

    Returns:
        Exit status: 0 every run is done, 1 some failed, 2 wrong options, or the folder holds runs made with others,
        3 another process is still at some.
    """
    # Not left to argparse: it would take the value of an option that it does not know for the file.
    file = Path(arguments[0]).expanduser() if arguments and not arguments[0].startswith("-") else None
    given, fit = _parser().parse_known_args(arguments[0 if file is None else 1 :])
    out = given.out.expanduser() if given.out else None
    try:
        content = {"protocol": "repeats"} if file is None else _read(file)
        out = out or _own_folder(content, fit)
        if "parameters" in content:
            return sweep(content, out, fit, given.jobs)
        plan = read_plan(content, {"splits": given.splits, "best_on_test": given.best_on_test})
        splits = range(given.first, given.first + plan.splits)
        return plan.run(out, splits, fit, given.jobs)
    except OptionsError as error:
        print(f"error: {f'{file}: ' if file else ''}{error}", file=sys.stderr)
        return 2


def read_plan(content: Mapping[str, Any], override: Mapping[str, Any]) -> Repeats | FewLabels | Cross:
    """What a file of ``configs/protocol`` asks for.

    Args:
        content: ``protocol`` (one of PROTOCOLS) and its options.
        override: Options that go before those; None: not given.

    Raises:
        OptionsError: An option is wrong.
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


def _own_folder(content: Mapping[str, Any], fit: Sequence[str]) -> Path:
    """``runs/tid2013_repeats`` for ``--config configs/tid2013.yaml``; a sweep's own command names the configuration."""
    given = " ".join([*map(str, content.get("command", [])), *fit])
    config = re.search(r"--config[ =](\S+)", given)
    kind = "sweep" if "parameters" in content else content.get("protocol")
    return Path("runs", f"{Path(config[1]).stem}_{kind}" if config else str(kind))


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OptionsError(f"not readable: {error}") from error
    if not isinstance(content, dict):
        raise OptionsError(f"give options by name, first of all protocol: {', '.join(PROTOCOLS)}")
    return content


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lml-iqa protocol",
        usage="lml-iqa protocol [FILE] [--out DIR] [--splits N] [--first N] [--jobs N] [--best_on_test] FIT_OPTIONS",
        description="Train and test on several splits, and tabulate. FILE says what table, as in configs/protocol: "
        "repeats (the default), few_labels or cross; options given here go before the file's. Or it is a wandb sweep, "
        "as in configs/sweep, whose grid is then run without a server. FIT_OPTIONS are those of `lml-iqa fit`, first "
        "of all --config. Finished runs are not run again, a killed one goes on from its last checkpoint, and any "
        "number of processes may run the same command at once: each takes runs that nobody is at. Exit status: 0 all "
        "done, 1 some failed, 2 wrong options or runs made with others in the folder, 3 another process is at some.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the runs and tables; default: runs/SET_TABLE, after --config and FILE"
    )
    parser.add_argument("--splits", type=whole_number, help="how many; default: the file's, or 10")
    parser.add_argument(
        "--first", type=whole_number, default=0, help="number of the first; for SLURM arrays; default: %(default)s"
    )
    parser.add_argument("--jobs", type=whole_number, default=1, help="how many at a time; default: %(default)s")
    parser.add_argument(
        "--best_on_test",
        action="store_true",
        default=None,
        help="repeats: also the best epoch on the test part, as many papers report: labelled, and not comparable",
    )
    return parser
