"""Repeated splits: runs that differ only in their split, and the usual table of medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lml_iqa.experiments.results import Outcome, carry_out, finished_splits, take
from lml_iqa.experiments.series import Series
from lml_iqa.experiments.tables import write_tables
from lml_iqa.utils.files import printable

BEST_ON_TEST = "--trainer.callbacks+=lml_iqa.callbacks.TestEveryEpoch"


@dataclass(frozen=True)
class Repeats:
    """Train and test once per split.

    Args:
        splits: Number of splits.
        best_on_test: Whether to also report the best epoch on the test set, as many papers do; labeled as not
            comparable.
    """

    splits: int = 10
    best_on_test: bool = False

    def run(self, out: Path, splits: Sequence[int], fit: Sequence[str], jobs: int) -> int:
        """Run the experiment.

        Args:
            out: Folder for runs and tables.
            splits: Splits to run; the tables include all finished splits in the folder.
            fit: Options of ``lml-iqa fit``.
            jobs: Number of concurrent runs.

        Returns:
            Exit status of ``lml-iqa protocol``.
        """
        series = Series.start(out, "fit", [*fit, *([BEST_ON_TEST] if self.best_on_test else [])])
        outcome = repeat(series, splits, jobs)
        if outcome.done or outcome.failures:
            print(f"\n{write_tables(out, outcome.done, outcome.failures)}\ntables in {printable(out)}")
        return outcome.status


def repeat(series: Series, splits: Sequence[int], jobs: int) -> Outcome:
    """Run the splits, and include those finished by other processes."""
    runs = {f"split{n}": series.run(n) for n in splits}
    outcome = carry_out(runs, jobs)
    for n in sorted(finished_splits(series.out) - set(splits)):
        take(series.run(n), f"split{n}", outcome)
    outcome.done = dict(sorted(outcome.done.items(), key=lambda item: int(item[0].removeprefix("split"))))
    return outcome
