"""Data efficiency: growing shares of the training labels, tested on the same test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lml_iqa.experiments.curve import write_curve
from lml_iqa.experiments.repeats import repeat
from lml_iqa.experiments.results import Outcome, worst
from lml_iqa.experiments.series import OptionsError, Series
from lml_iqa.experiments.tables import write_tables
from lml_iqa.utils.files import printable


@dataclass(frozen=True)
class FewLabels:
    """Train on shares of the training set and test on the whole test set.

    The validation and test sets of a split are the same for every share, and the images of a smaller share are a subset
    of those of a larger one.

    Args:
        train_fractions: Shares of the training set, above 0 and up to 1.
        splits: Number of splits.
    """

    train_fractions: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    splits: int = 10

    def run(self, out: Path, splits: Sequence[int], fit: Sequence[str], jobs: int) -> int:
        """Run the experiment; arguments as in :meth:`Repeats.run`. The tables of each share are in its folder."""
        wrong = [share for share in self.train_fractions if not 0 < share <= 1]
        if wrong or not self.train_fractions:
            raise OptionsError(f"train_fractions: {wrong or 'none'}; give shares above 0 and up to 1")
        shares = sorted(set(self.train_fractions))
        series = {
            share: Series.start(out / f"labels{share:g}", "fit", [*fit, f"--data.train_fraction={share}"])
            for share in shares
        }
        outcomes: dict[float, Outcome] = {}
        for share in shares:
            print(f"{100 * share:g} % of the training labels", flush=True)
            outcomes[share] = repeat(series[share], splits, jobs)
            write_tables(series[share].out, outcomes[share].done, outcomes[share].failures)
        print(f"\n{write_curve(out, outcomes)}\ntables in {printable(out)}")
        return worst(outcome.status for outcome in outcomes.values())
