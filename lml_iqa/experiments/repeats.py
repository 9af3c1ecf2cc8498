"""The same training on ten splits, and the table that papers print."""

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
    """Train and test once a split.

    Args:
        splits: How many splits.
        best_on_test: Also report the best epoch on the test part, as many papers do: labelled, and not comparable.
    """

    splits: int = 10
    best_on_test: bool = False

    def run(self, out: Path, splits: Sequence[int], fit: Sequence[str], jobs: int) -> int:
        """Do it.

        Args:
            out: Folder of runs and tables.
            splits: Numbers of the splits to do; the tables take in all that are finished.
            fit: Options of ``lml-iqa fit``.
            jobs: How many runs at a time.

        Returns:
            Exit status of ``lml-iqa protocol``.
        """
        series = Series.start(out, "fit", [*fit, *([BEST_ON_TEST] if self.best_on_test else [])])
        outcome = repeat(series, splits, jobs)
        if outcome.done or outcome.failures:
            print(f"\n{write_tables(out, outcome.done, outcome.failures)}\ntables in {printable(out)}")
        return outcome.status


def repeat(series: Series, splits: Sequence[int], jobs: int) -> Outcome:
    """Do the splits, and take in those that others finished."""
    runs = {f"split{n}": series.run(n) for n in splits}
    outcome = carry_out(runs, jobs)
    for n in sorted(finished_splits(series.out) - set(splits)):
        take(series.run(n), f"split{n}", outcome)
    outcome.done = dict(sorted(outcome.done.items(), key=lambda item: int(item[0].removeprefix("split"))))
    return outcome
