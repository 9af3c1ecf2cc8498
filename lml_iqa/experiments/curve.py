"""Tables and plot of a few-label experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lml_iqa.experiments.markup import csv_text, latex_table, legacy_note, markdown_table, number, one_line, to_json
from lml_iqa.experiments.results import Outcome
from lml_iqa.experiments.statistics import METRICS, Summary, summarize
from lml_iqa.utils.files import atomic_path, write_text

_SHOWN = {"srcc": "SRCC", "plcc_fitted": "PLCC after fit"}


def write_curve(out: Path, outcomes: Mapping[float, Outcome]) -> str:
    """Write ``curve.csv`` (every run), ``curve.json``, ``curve.md``, ``curve.tex`` and ``curve.png``.

    Args:
        out: Folder to write to.
        outcomes: Outcomes of the splits, by share of the training labels.

    Returns:
        The Markdown table.
    """
    rows: list[list[Any]] = [["train_fraction", "run", *METRICS, "failure"]]
    for share, outcome in outcomes.items():
        rows += [[share, name, *run.metrics.values(), ""] for name, run in outcome.done.items()]
        rows += [[share, name, *[""] * len(METRICS), why] for name, why in outcome.failures.items()]
    write_text(out / "curve.csv", csv_text(rows))
    summaries = {
        share: {metric: summarize([run.metrics[metric] for run in outcome.done.values()]) for metric in METRICS}
        for share, outcome in outcomes.items()
    }
    content = [
        {
            "train_fraction": share,
            "summary": {metric: summary._asdict() for metric, summary in found.items()},
            "failed": outcomes[share].failures,
        }
        for share, found in summaries.items()
    ]
    write_text(out / "curve.json", to_json(content))
    markdown = _markdown(outcomes, summaries)
    write_text(out / "curve.md", markdown)
    cells = [
        [f"{100 * share:g} %", *(number(found[metric].median) for metric in _SHOWN)]
        for share, found in summaries.items()
    ]
    write_text(out / "curve.tex", latex_table(["labels", *_SHOWN.values()], cells, _legacy(outcomes)))
    _draw(out / "curve.png", outcomes, summaries)
    return markdown


def _legacy(outcomes: Mapping[float, Outcome]) -> list[str]:
    return legacy_note(run for outcome in outcomes.values() for run in outcome.done.values())


def _title(outcomes: Mapping[float, Outcome]) -> str:
    names = {run.dataset for outcome in outcomes.values() for run in outcome.done.values()}
    return f"{', '.join(map(one_line, sorted(names))) or 'no finished run'}: trained on a share of the labels"


def _markdown(outcomes: Mapping[float, Outcome], summaries: Mapping[float, Mapping[str, Summary]]) -> str:
    rows = []
    for share, found in summaries.items():
        metrics = []
        for metric in _SHOWN:
            summary = found[metric]
            interval = f"{number(summary.low)} to {number(summary.high)}" if summary.n >= 3 else "-"
            metrics += [number(summary.median), interval, number(summary.std)]
        failed = len(outcomes[share].failures)
        rows.append([f"{100 * share:g} %", str(found["srcc"].n) + (f" ({failed} failed)" if failed else ""), *metrics])
    head = ["training labels", "runs"]
    for name in _SHOWN.values():
        head += [f"{name}, median", "95 % interval", "std"]
    lines = [f"# {_title(outcomes)}", "", *(f"**{note}**\n" for note in _legacy(outcomes)), *markdown_table(head, rows)]
    failures = [
        [f"{100 * share:g} %, {name}", why]
        for share, outcome in outcomes.items()
        for name, why in outcome.failures.items()
    ]
    if failures:
        lines += ["", *markdown_table(["failed", "why"], failures)]
    return "\n".join(lines) + "\n"


def _draw(path: Path, outcomes: Mapping[float, Outcome], summaries: Mapping[float, Mapping[str, Summary]]) -> None:
    """Plot each split as a point, the median as a line and the range as a band."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for color, (metric, name) in zip(("C0", "C1"), _SHOWN.items(), strict=True):
        points = {
            share: np.array([run.metrics[metric] for run in outcome.done.values()])
            for share, outcome in outcomes.items()
            if outcome.done
        }
        shares = [100 * share for share in points]
        for share, values in points.items():
            axes.scatter(np.full(len(values), 100 * share), values, s=14, alpha=0.6, color=color)
        low, high = ([float(edge(values)) for values in points.values()] for edge in (np.min, np.max))
        axes.fill_between(shares, low, high, alpha=0.15, color=color, linewidth=0)
        axes.plot(shares, [summaries[share][metric].median for share in points], marker="o", color=color, label=name)
    axes.set_xlabel("share of the training labels, %")
    axes.set_ylabel("correlation on the test set")
    title = [_title(outcomes), "line: median, band: range over splits", *_legacy(outcomes)]
    axes.set_title("\n".join(title), fontsize=9, parse_math=False)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
