"""Grid of a wandb sweep without a server, resumable and shared between processes."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lml_iqa.cli import resolve
from lml_iqa.experiments.markup import csv_text, markdown_table, number
from lml_iqa.experiments.runs import Run, do_all
from lml_iqa.experiments.series import OptionsError, Series, remember
from lml_iqa.utils.files import printable, write_text


def sweep(content: Mapping[str, Any], out: Path, more: Sequence[str], jobs: int) -> int:
    """Train every combination of the grid and write ``sweep.csv`` and ``sweep.md``, best first.

    The runs are those that ``wandb agent`` would start; they are ranked on the validation set and not tested.

    Args:
        content: A sweep file of wandb, with ``method: grid``.
        out: Folder for runs and tables.
        more: Additional options of ``lml-iqa fit``, which override the file's.
        jobs: Number of concurrent runs.

    Returns:
        Exit status of ``lml-iqa protocol``.

    Raises:
        OptionsError: The file is not a grid, names no metric, or its command is not ``lml-iqa fit``.
    """
    if "name" not in (content.get("metric") or {}):
        raise OptionsError("metric: has no name; give the metric that ranks the runs, such as val/srcc")
    combinations = grid(content)
    config = resolve(["fit", *fit_options(content, {}), *more])
    identity = remember(out, {"sweep": content, "config": config})
    runs: dict[Run, dict[str, Any]] = {}
    for n, drawn in enumerate(combinations):
        arguments = ("fit", *fit_options(content, drawn), *more, "--test_after_fit=false")
        series = Series(out, arguments, config["trainer"]["logger"], identity)
        runs[series.named(f"run{n}", result="losses.png")] = drawn
    metric = content["metric"]["name"]
    found: dict[str, float] = {}
    failures: dict[str, str] = {}
    elsewhere = []
    states = {}
    for run, state in do_all(list(runs), jobs):
        print(f"{run.name} ({', '.join(f'{k} {v}' for k, v in runs[run].items())}): {state}", flush=True)
        states[run] = state
    for run, state in states.items():
        done = state == "done" or (state == "elsewhere" and run.folder is not None)  # finished in the meantime
        value = best_of(run, metric) if done else math.nan
        if math.isfinite(value):
            found[run.name] = value
        elif state == "elsewhere" and not done:
            elsewhere.append(run.name)
        else:
            failures[run.name] = (
                run.failure() if state == "failed" else f"{metric} is NaN, or no checkpoint monitors it"
            )
            print(f"{run.name} failed: {failures[run.name]} (full log: {printable(run.log)})", file=sys.stderr)
    highest_first = content["metric"].get("goal") == "maximize"
    best_first = dict(sorted(found.items(), key=lambda item: item[1], reverse=highest_first))
    drawn_of = {run.name: drawn for run, drawn in runs.items()}
    print(f"\n{_write(out, metric, drawn_of, best_first, failures)}\ntables in {printable(out)}")
    if elsewhere:
        print(f"another process is still running {', '.join(elsewhere)}; run the command again to complete the table")
    return 1 if failures else 3 if elsewhere else 0


def grid(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All combinations of a grid's values, by parameter.

    Raises:
        OptionsError: The sweep is not a grid; only a wandb server can draw its values.
    """
    lists = {
        name: given.get("values") or ([given["value"]] if "value" in given else [])
        for name, given in content["parameters"].items()
    }
    if content.get("method") != "grid" or not all(lists.values()):
        raise OptionsError("method: only a grid of values can run without a server; use wandb sweep and wandb agent")
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def fit_options(content: Mapping[str, Any], drawn: Mapping[str, Any]) -> list[str]:
    """Options of ``lml-iqa fit`` in the command line of a sweep's run, as wandb's agent builds it.

    Raises:
        OptionsError: The command is not ``lml-iqa fit``, or this version of wandb cannot build it.
    """
    try:
        from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args  # slow to import
    except ImportError as error:
        raise OptionsError(
            f"wandb {version('wandb')}: cannot build the command line of a sweep's run ({error}); "
            "install another version of wandb"
        ) from error
    macros = create_sweep_command_args({"args": {name: {"value": value} for name, value in drawn.items()}})
    command = create_sweep_command(list(content.get("command", [])))
    if "fit" not in command:
        raise OptionsError(f"command: {command} has no fit; it must run lml-iqa fit")
    options = command[command.index("fit") + 1 :]
    return [part for given in options for part in (macros["args"] if given == "${args}" else [str(given)])]


def best_of(run: Run, metric: str) -> float:
    """Best value of a metric, from the checkpoint that monitors it; NaN if there is none."""
    for path in (run.out / run.name).rglob("*.ckpt"):
        for state in torch.load(path, map_location="cpu", weights_only=True)["callbacks"].values():
            if state.get("monitor") == metric and state.get("best_model_score") is not None:
                return float(state["best_model_score"])
    return math.nan


def _write(
    out: Path,
    metric: str,
    drawn: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, float],
    failures: Mapping[str, str],
) -> str:
    head = ["run", *next(iter(drawn.values())), metric]
    done = [[run, *drawn[run].values(), value, ""] for run, value in found.items()]
    failed = [[run, *drawn[run].values(), "", why] for run, why in failures.items()]
    write_text(out / "sweep.csv", csv_text([[*head, "failure"], *done, *failed]))
    rows = [[run, *map(str, drawn[run].values()), number(value, 4)] for run, value in found.items()]
    rows += [[run, *map(str, drawn[run].values()), f"failed: {why}"] for run, why in failures.items()]
    markdown = "\n".join(markdown_table(head, rows)) + "\n"
    write_text(out / "sweep.md", markdown)
    return markdown
