"""``lml-iqa data``: check, show, split and pack a data set."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lml_iqa.data_tools.contact_sheet import draw_sheet
from lml_iqa.data_tools.recognize import recognize
from lml_iqa.data_tools.validate import Diagnosis, check
from lml_iqa.datamodules import BenchmarkDataModule
from lml_iqa.datasets import BENCHMARKS, DatasetError, IQADataset
from lml_iqa.datasets.csv_table import load_csv_table
from lml_iqa.datasets.layout.files import find_root
from lml_iqa.datasets.shards import pack

_COLUMNS = {"path_column": "path", "score_column": "score", "reference_column": None, "split_column": None}


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: Arguments after ``lml-iqa data``.

    Returns:
        Exit status: 0 if the data set is usable (or the file was written), 1 if it has problems, 2 if the request is
        invalid (no such folder, or an unknown data set).
    """
    given = _parser().parse_args(arguments)
    try:
        status: int = given.command(given)
        return status
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Convert a diagnosis to plain data.

    Returns:
        ``dataset``, ``root``, ``usable``, ``facts`` (those that could be determined: ``folder``,
        ``label_file``, ``rows``, ``published_rows``, ``note``, ``references``, ``types``, ``levels``, ``parts``,
        ``scores``, ``images_in``, ``images_found``, ``sizes``) and ``findings``, each of ``severity``, ``what``,
        ``cure``, ``files``.
    """
    return {
        "dataset": diagnosis.dataset.name,
        "root": str(diagnosis.root),
        "usable": not diagnosis.problems,
        "facts": diagnosis.facts,
        "findings": [dataclasses.asdict(finding) for finding in diagnosis.findings],
    }


def as_text(diagnosis: Diagnosis) -> str:
    """Format a diagnosis for the terminal: facts, findings (problems first) and the next command."""
    lines = [f"{diagnosis.dataset.name} in {diagnosis.facts.get('folder', diagnosis.root)}"]
    for name, value in diagnosis.facts.items():
        if value and name != "folder":
            lines.append(f"  {name.replace('_', ' '):16}{_shown(value)}")
    for finding in diagnosis.findings:
        severity = finding.severity.upper() if finding.severity == "problem" else finding.severity
        lines += ["", f"{severity}: {finding}"]
        if finding.cure:
            lines.append(f"  -> {finding.cure}")
    count = len(diagnosis.problems)
    verdict = f"{count} problem{'s' if count > 1 else ''}: not usable as is"
    if not count:
        config = f"configs/{diagnosis.dataset.__name__.lower()}.yaml"
        verdict = f"usable as is: lml-iqa fit --config {config} --data.root {shlex.quote(str(diagnosis.root))}"
    return "\n".join([*lines, "", verdict])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(item)}" for name, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _check(given: argparse.Namespace) -> int:
    diagnosis = check(given.root, given.set, decode=not given.headers_only)
    print(json.dumps(as_json(diagnosis), indent=1) if given.json else as_text(diagnosis))
    return 1 if diagnosis.problems else 0


def _show(given: argparse.Namespace) -> int:
    draw_sheet(given.output, _module(given).table, given.images)
    print(given.output)
    return 0


def _split(given: argparse.Namespace) -> int:
    rule = {"split": given.split, "split_seed": given.split_seed}
    module = _module(given, **rule, test_fraction=given.test_fraction, val_fraction=given.val_fraction)
    split = module.split
    split.save(given.output, module.table)
    print(
        f"{split.rule} split: {len(split.train)} training, {len(split.val)} validation, {len(split.test)} test images"
    )
    print(given.output)
    return 0


def _shard(given: argparse.Namespace) -> int:
    if given.labels is None:
        table = _module(given).table
    else:
        columns = {name: getattr(given, name) for name in _COLUMNS}
        scale = {"low": given.low, "high": given.high, "higher_is_better": not given.lower_is_better}
        table = load_csv_table(given.root, given.labels, **columns, **scale)
    pack(table, given.output)
    print(
        f"{len(table)} images of {table.name}; to train on them: --data ShardsDataModule --data.shards {given.output}"
    )
    return 0


def _module(given: argparse.Namespace, **options: Any) -> BenchmarkDataModule:
    root = find_root(given.root, "data")
    dataset = given.set if given.set is not None else recognize(root)
    modules = {module.dataset: module for module in BenchmarkDataModule.__subclasses__()}
    return modules[dataset](root, **options)


def _benchmark(name: str) -> type[IQADataset]:
    """Find a data set by name, ignoring case and hyphens."""
    for dataset in BENCHMARKS:
        if re.sub(r"\W", "", name).casefold() in {dataset.__name__.casefold(), dataset.name.casefold()}:
            return dataset
    raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(dataset.name for dataset in BENCHMARKS)}")


def _output(text: str) -> Path:
    """Parse an output path; fail before the work starts if it cannot be written."""
    path = Path(text).expanduser()
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path}: cannot be written; give a file in a writable folder")
    return path


def _at_least(low: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, not {text}")
        return int(text)

    return number


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("root", type=Path, metavar="DIR", help="folder of the data set, or one above it")
    common.add_argument("--set", type=_benchmark, metavar="NAME", help="name of the data set; default: detected")

    parser = argparse.ArgumentParser(prog="lml-iqa data", description="Inspect and prepare a data set before training.")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser(
        "check",
        parents=[common],
        help="identify and validate the data set in a folder",
        description="Identify and validate the data set in a folder. Exit status: 0 usable, 1 problems found, 2 no "
        "such folder or unknown data set.",
    )
    command.add_argument("--headers_only", action="store_true", help="read only the image headers: faster")
    command.add_argument("--json", action="store_true", help="print one JSON object that lists all affected files")
    command.set_defaults(command=_check)

    command = commands.add_parser(
        "show", parents=[common], help="draw a contact sheet from worst to best and a histogram of the scores"
    )
    command.add_argument("--output", type=_output, default="sheet.png", help="default: %(default)s")
    command.add_argument("--images", type=_at_least(1), default=24, help="default: %(default)s")
    command.set_defaults(command=_show)

    command = commands.add_parser(
        "split", parents=[common], help="write a split file for --data.split, without training"
    )
    command.add_argument("--output", type=_output, default="split.json", help="default: %(default)s")
    command.add_argument("--split", default="auto", choices=["auto", "reference", "random", "official"])
    command.add_argument("--split_seed", type=_at_least(0), default=0, help="default: %(default)s")
    command.add_argument("--test_fraction", type=float, default=0.2, help="default: %(default)s")
    command.add_argument("--val_fraction", type=float, default=0.1, help="default: %(default)s")
    command.set_defaults(command=_split)

    command = commands.add_parser(
        "shard",
        parents=[common],
        help="pack labels and images into a few large files for --data ShardsDataModule",
        description="Pack the labels and images of a known data set, or of your own ratings with --labels, into a few "
        "large files for --data ShardsDataModule.",
    )
    command.add_argument("--output", type=Path, required=True, metavar="SHARDS", help="new or empty folder")
    own = command.add_argument_group("own ratings", "as in TableDataModule")
    own.add_argument("--labels", type=Path, metavar="CSV", help="one rated image per row")
    for name, default in _COLUMNS.items():
        own.add_argument(f"--{name}", default=default, metavar="COLUMN", help="default: %(default)s")
    own.add_argument("--low", type=float, help="lowest score of the scale; default: lowest in the file")
    own.add_argument("--high", type=float, help="highest score of the scale; default: highest in the file")
    own.add_argument("--lower_is_better", action="store_true", help="for scores such as DMOS")
    command.set_defaults(command=_shard)
    return parser
