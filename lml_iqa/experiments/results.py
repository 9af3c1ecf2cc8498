"""Execution of the runs of a table, and reading of their results."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lml_iqa.experiments.runs import Run, do_all
from lml_iqa.experiments.statistics import METRICS
from lml_iqa.utils.files import printable


class Result(NamedTuple):
    """Results of a finished run that the tables need.

    Attributes:
        dataset: Name of the data set tested on.
        metrics: Metrics, by their names in METRICS.
        images: Number of test images.
        predictions: Columns of ``predictions.csv``.
        legacy: Reasons why the metrics are not comparable with those of the default protocol; empty if they are.
        best_on_test: SRCC of the epoch selected on the test set, if requested.
    """

    dataset: str
    metrics: Mapping[str, float]
    images: int
    predictions: Mapping[str, Sequence[str]]
    legacy: Sequence[str] = ()
    best_on_test: float | None = None


@dataclass
class Outcome:
    """Outcomes of the runs of a table, by name.

    Attributes:
        done: Results of finished runs.
        failures: Reasons of failed runs.
        elsewhere: Runs that another process is working on.
    """

    done: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 0 all done, 1 some failed, 3 other processes are still working on some."""
        return 1 if self.failures else 3 if self.elsewhere else 0

    def adopt(self, name: str, other: Outcome, its_name: str) -> None:
        """Copy the outcome of a run named ``its_name`` in another outcome."""
        if its_name in other.done:
            self.done[name] = other.done[its_name]
        elif its_name in other.failures:
            self.failures[name] = other.failures[its_name]
        else:
            self.elsewhere.append(name)


def worst(statuses: Iterable[int]) -> int:
    """Exit status of several tables: failed runs take precedence over unfinished ones."""
    return min((status for status in statuses if status), default=0)


def carry_out(runs: Mapping[str, Run], jobs: int) -> Outcome:
    """Execute runs, ``jobs`` at a time, and print their states; a run with a non-finite metric counts as failed."""
    outcome = Outcome()
    for name, (run, state) in zip(runs, do_all(list(runs.values()), jobs), strict=True):
        print(f"{name}: {state}", flush=True)
        if state == "elsewhere":
            outcome.elsewhere.append(name)
        elif state == "failed":
            outcome.failures[name] = run.failure()
            print(f"{name} failed: {run.failure()} (full log: {printable(run.log)})", file=sys.stderr)
        else:
            take(run, name, outcome)
    for name in [name for name in outcome.elsewhere if runs[name].folder is not None]:
        outcome.elsewhere.remove(name)  # finished in the meantime; the last process sees all runs
        take(runs[name], name, outcome)
    if outcome.elsewhere:
        print(
            f"another process is still running {', '.join(outcome.elsewhere)}; "
            "run the command again to complete the table"
        )
    return outcome


def take(run: Run, name: str, outcome: Outcome) -> None:
    """Add the result of a finished run to the outcome."""
    result = read(run)
    missing = [metric for metric, value in result.metrics.items() if not math.isfinite(value)]
    if missing:
        outcome.failures[name] = f"{', '.join(missing)} is NaN: the scores are NaN or constant"
        print(f"{name} failed: {outcome.failures[name]} (full log: {printable(run.log)})", file=sys.stderr)
    else:
        outcome.done[name] = result


def read(run: Run) -> Result:
    """Read the result files of a finished run."""
    content, folder = run.read()
    every_epoch = folder / "test_every_epoch.csv"
    return Result(
        dataset=content["tested_on"]["dataset"],
        metrics={metric: _number(content["metrics"][f"test/{metric}"]) for metric in METRICS},
        images=content["images"],
        predictions=read_predictions(folder / "predictions.csv"),
        legacy=content["tested_on"]["legacy"],
        best_on_test=max(map(float, read_predictions(every_epoch)["srcc"])) if every_epoch.exists() else None,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)  # JSON has no NaN


def read_predictions(path: Path) -> dict[str, list[str]]:
    """Columns of a run's ``predictions.csv``."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}


def finished_splits(out: Path) -> set[int]:
    """Numbers of all finished splits in a folder, including those of other jobs of a SLURM array."""
    names = [re.fullmatch(r"split(\d+)", path.name) for path in out.glob("split*") if path.is_dir()]
    return {int(name[1]) for name in names if name and Run(name[0], out, ()).folder is not None}
