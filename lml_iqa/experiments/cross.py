"""Cross-dataset evaluation: train on some data sets, test on all."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser

from lml_iqa.cli import resolve
from lml_iqa.datamodules import IQADataModule
from lml_iqa.datasets import DatasetError
from lml_iqa.experiments.matrix import write_matrix
from lml_iqa.experiments.results import Outcome, carry_out, worst
from lml_iqa.experiments.runs import Run
from lml_iqa.experiments.seen import SeenImages
from lml_iqa.experiments.series import OptionsError, Series, remember
from lml_iqa.utils.files import printable

_OTHERS = {"whole": "all images", "test": "the test sets"}

# Options of every data module. All others belong to one set and must not carry over to another.
_SHARED = inspect.signature(IQADataModule).parameters.keys() - {"split"}


@dataclass(frozen=True)
class Cross:
    """Train on each of several data sets and test on all of them.

    A model is tested on the test set of its own data, and on all images (or only the test sets) of the other data. A
    pair fails if its test images include byte-for-byte copies of images that the model was trained or selected on. Data
    sets that distort the same reference images, such as LIVE and TID2013, are not detected.

    Args:
        sets: Data module of each data set (``class_path`` and ``init_args``), by its name in the table.
        train_on: Names of the data sets to train on; default: all.
        others: ``whole``: test on all images of the other data sets, as is usual; ``test``: on their test sets, so that
            all metrics of a column are over the same images.
        splits: Number of splits; the tables report medians.
    """

    sets: dict[str, dict[str, Any]]
    train_on: list[str] | None = None
    others: Literal["whole", "test"] = "whole"
    splits: int = 1

    def run(self, out: Path, splits: Sequence[int], fit: Sequence[str], jobs: int) -> int:
        """Run the experiment; arguments as in :meth:`Repeats.run`. Options in ``fit`` for a single set are ignored."""
        trained_on = self._trained_on()
        options = {name: _data_option(name, given) for name, given in self.sets.items()}
        data = {name: _data_module(name, [*fit, option]) for name, option in options.items()}
        seen = {
            (name, other): SeenImages(data[name], data[other])
            for name in trained_on
            for other in self.sets
            if other != name
        }
        series = {name: Series.start(out / name, "fit", [*fit, options[name]]) for name in trained_on}
        runs = {(name, n): series[name].run(n) for name in trained_on for n in splits}
        trained = carry_out({f"{name}, split{n}": run for (name, n), run in runs.items()}, jobs)
        cells = {(name, other): Outcome() for name in trained_on for other in self.sets}
        tests: dict[tuple[str, str, int], Run] = {}
        for (name, n), run in runs.items():
            own = f"{name}, split{n}"
            for other in self.sets:
                cell = cells[name, other]
                if other == name or own not in trained.done:
                    cell.adopt(f"split{n}", trained, own)
                elif found := seen[name, other].find(n, whole=self.others == "whole"):
                    cell.failures[f"split{n}"] = (
                        f"the model was trained or selected on {len(found)} of these images, such as {found[0]}; "
                        f"remove them from {other}, or {name} from train_on"
                    )
                else:
                    tests[name, other, n] = self._test(out, series[name], run, other, options[other])
        names = {place: f"{place[0]} on {place[1]}, split{place[2]}" for place in tests}
        tested = carry_out({names[place]: run for place, run in tests.items()}, jobs)
        for (name, other, n), test in names.items():
            cells[name, other].adopt(f"split{n}", tested, test)
        print(f"\n{write_matrix(out, cells, _OTHERS[self.others])}\ntables in {printable(out)}")
        return worst(cell.status for cell in cells.values())

    def _trained_on(self) -> list[str]:
        for name in self.sets:
            if not re.fullmatch(r"\w[\w.-]*", name):
                raise OptionsError(f"sets: {name!r} cannot name a folder; use letters, digits, '_', '.' and '-'")
        chosen = list(self.sets) if self.train_on is None else self.train_on
        unknown = [name for name in chosen if name not in self.sets]
        if unknown or not chosen:
            raise OptionsError(f"train_on: {unknown or 'none'}; use names in sets: {', '.join(self.sets)}")
        return chosen

    def _test(self, out: Path, trained: Series, run: Run, other: str, option: str) -> Run:
        """Test of a finished run on another data set; all options but the data are those of the training."""
        content, folder = run.read()
        rule = ["--data.split=whole"] if self.others == "whole" else []
        place = out / f"{trained.out.name}_on_{other}"
        identity = remember(place, {"data": option, "others": self.others})
        checkpoint = folder / "checkpoints" / Path(content["checkpoint"]).name
        arguments = ("test", f"--config={folder / 'config.yaml'}", f"--ckpt_path={checkpoint}", option, *rule)
        return Series(place, arguments, trained.logger, identity).named(run.name)


def _data_option(name: str, given: Mapping[str, Any]) -> str:
    """Option that replaces the data module; states every option of the set, so that none is inherited."""
    try:
        complete = resolve(["fit", f"--data={json.dumps(given)}"])["data"]
    except SystemExit as stop:
        raise OptionsError(f"sets.{name}: {json.dumps(given)} is not a valid data module (see above)") from stop
    own = {option: value for option, value in complete["init_args"].items() if option not in _SHARED}
    return "--data=" + json.dumps(
        {"class_path": complete["class_path"], "init_args": {**own, **given.get("init_args", {})}}
    )


def _data_module(name: str, options: Sequence[str]) -> IQADataModule:
    """Data module of a set, with the options of its runs."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(IQADataModule, "data")
    try:
        config = parser.parse_object({"data": resolve(["fit", *options])["data"]})
        module: IQADataModule = parser.instantiate(config)["data"]
        module.prepare_data()
        _ = module.table
    except (DatasetError, ValueError, ArgumentError) as error:
        raise OptionsError(f"sets.{name}: {error}") from error
    return module
