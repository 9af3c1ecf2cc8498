"""``lml-iqa protocol``: the same training on ten splits, and the table that papers print."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lml_iqa.protocol.runs import Run, do_all
from lml_iqa.protocol.statistics import METRICS
from lml_iqa.protocol.tables import read_predictions, write_tables


def protocol(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows ``lml-iqa protocol``; options it does not know go to ``lml-iqa fit``.

    Returns:
        Exit status: 0 every split is done, 1 some failed, 2 the folder holds other runs, 3 another process is still at
        some.
    """
    given, fit = _parser().parse_known_args(arguments)
    try:
        remember(given.out, [*fit, *(["--best_on_test"] if given.best_on_test else [])])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    runs = plan(given.out, range(given.first, given.first + given.splits), fit, best_on_test=given.best_on_test)
    return finish(given.out, runs, given.jobs)


def remember(out: Path, options: Sequence[str]) -> None:
    """Note what the runs of a folder are made with.

    Raises:
        ValueError: Runs made with other options lie there: they do not belong into one table.
    """
    out.mkdir(parents=True, exist_ok=True)
    note = out / "options.json"
    if note.exists():
        before = json.loads(note.read_text(encoding="utf-8"))
        if before != list(options):
            raise ValueError(
                f"{out} holds runs made with {' '.join(before)}, not with {' '.join(options)}; "
                "give another --out, or the options of before"
            )
    note.write_text(json.dumps(list(options), indent=1) + "\n", encoding="utf-8")


def plan(out: Path, splits: Sequence[int], fit: Sequence[str], *, best_on_test: bool = False) -> list[Run]:
    """One run a split: its number seeds the split and everything else."""
    callback = ["--trainer.callbacks+=lml_iqa.callbacks.TestEveryEpoch"] if best_on_test else []
    return [
        Run(f"split{n}", out, (*fit, f"--seed_everything={n}", f"--data.split_seed={n}", *callback)) for n in splits
    ]


def finish(out: Path, runs: Sequence[Run], jobs: int) -> int:
    """Do the runs, and write the tables of all that are done, whoever did them; the exit status."""
    failures, elsewhere = {}, []
    for run, state in do_all(runs, jobs):
        print(f"{run.name}: {state}", flush=True)
        if state == "failed":
            failures[run.name] = run.failure()
        elif state == "elsewhere":
            elsewhere.append(run.name)
    done = {run.name: result(run) for run in runs if run.folder is not None}
    if done:
        dataset = next(iter(done.values()))["dataset"]
        print(f"\n{write_tables(out, dataset, done, failures)}\ntables in {out}")
    for name, reason in failures.items():
        print(f"{name} failed: {reason} (all of it: {out / name}.log)", file=sys.stderr)
    if elsewhere:
        print(f"another process is still at {', '.join(elsewhere)}; the same command makes the table then")
    return 1 if failures else 3 if elsewhere else 0


def result(run: Run) -> dict[str, Any]:
    """What the tables need of a finished run."""
    content, folder = run.read()
    every_epoch = folder / "test_every_epoch.csv"
    found: dict[str, Any] = {
        "dataset": content["tested_on"]["dataset"],
        "metrics": {metric: content["metrics"][f"test/{metric}"] for metric in METRICS},
        "predictions": read_predictions(folder / "predictions.csv"),
        "best_on_test": None,
    }
    if every_epoch.exists():
        found["best_on_test"] = max(float(value) for value in read_predictions(every_epoch)["srcc"])
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lml-iqa protocol",
        description="Train and test on several splits, and tabulate. Finished splits are not run again, a killed one "
        "goes on from its last checkpoint, and any number of processes may run the same command at once: each takes "
        "splits that nobody is at. Other options go to `lml-iqa fit`, first of all --config. Exit status: 0 all done, "
        "1 some failed, 2 the folder holds runs made with other options, 3 another process is still at some.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and tables")
    parser.add_argument("--splits", type=int, default=10, help="how many; default: %(default)s")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first; for SLURM arrays; default: %(default)s"
    )
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time; default: %(default)s")
    parser.add_argument(
        "--best_on_test",
        action="store_true",
        help="also report the best epoch on the test part, as many papers do: labelled, and not comparable",
    )
    return parser
