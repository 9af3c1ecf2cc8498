"""From runs to figures: doing them, and reading what they left."""

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
    """What the tables need of a finished run.

    Attributes:
        dataset: Name of the set that it was tested on.
        metrics: Its figures, by METRICS.
        images: Number of images tested.
        predictions: Columns of its ``predictions.csv``.
        legacy: What makes its figures incomparable with honest ones, in words.
        best_on_test: SRCC of the epoch that is best on the test part, where it was asked for.
    """

    dataset: str
    metrics: Mapping[str, float]
    images: int
    predictions: Mapping[str, Sequence[str]]
    legacy: Sequence[str] = ()
    best_on_test: float | None = None


@dataclass
class Outcome:
    """What became of the runs of a table, by name.

    Attributes:
        done: Results.
        failures: Why others failed.
        elsewhere: Those that another process is at.
    """

    done: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 0 all done, 1 some failed, 3 another process is still at some."""
        return 1 if self.failures else 3 if self.elsewhere else 0

    def adopt(self, name: str, other: Outcome, its_name: str) -> None:
        """Take over what became of a run that another outcome knows by another name."""
        if its_name in other.done:
            self.done[name] = other.done[its_name]
        elif its_name in other.failures:
            self.failures[name] = other.failures[its_name]
        else:
            self.elsewhere.append(name)


def worst(statuses: Iterable[int]) -> int:
    """Exit status of several tables: a failure goes before an unfinished run."""
    return min((status for status in statuses if status), default=0)


def carry_out(runs: Mapping[str, Run], jobs: int) -> Outcome:
    """Do the runs, ``jobs`` at a time, telling each one's state; a run without a finite figure counts as failed."""
    outcome = Outcome()
    for name, (run, state) in zip(runs, do_all(list(runs.values()), jobs), strict=True):
        print(f"{name}: {state}", flush=True)
        if state == "elsewhere":
            outcome.elsewhere.append(name)
        elif state == "failed":
            outcome.failures[name] = run.failure()
            print(f"{name} failed: {run.failure()} (all of it: {printable(run.log)})", file=sys.stderr)
        else:
            take(run, name, outcome)
    for name in [name for name in outcome.elsewhere if runs[name].folder is not None]:
        outcome.elsewhere.remove(name)  # finished meanwhile: whoever ends last sees every run
        take(runs[name], name, outcome)
    if outcome.elsewhere:
        print(f"another process is still at {', '.join(outcome.elsewhere)}; the same command makes the table then")
    return outcome


def take(run: Run, name: str, outcome: Outcome) -> None:
    """Read a finished run into the outcome."""
    result = read(run)
    missing = [metric for metric, value in result.metrics.items() if not math.isfinite(value)]
    if missing:
        outcome.failures[name] = f"{', '.join(missing)} is NaN: its scores are NaN or all the same"
        print(f"{name} failed: {outcome.failures[name]} (all of it: {printable(run.log)})", file=sys.stderr)
    else:
        outcome.done[name] = result


def read(run: Run) -> Result:
    """What a finished run left."""
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
    """Numbers of the splits that somebody finished in a folder: a job of a SLURM array tabulates those of all."""
    names = [re.fullmatch(r"split(\d+)", path.name) for path in out.glob("split*") if path.is_dir()]
    return {int(name[1]) for name in names if name and Run(name[0], out, ()).folder is not None}
