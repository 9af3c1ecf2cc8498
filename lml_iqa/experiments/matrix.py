"""Tables and plot of a cross-dataset experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lml_iqa.experiments.markup import csv_text, latex_table, legacy_note, markdown_table, number, to_json
from lml_iqa.experiments.results import Outcome
from lml_iqa.experiments.statistics import METRICS, Summary, summarize
from lml_iqa.utils.files import atomic_path, write_text

_SHOWN = {"srcc": "SRCC", "plcc_fitted": "PLCC after fit"}  # after a fit, as data sets have different score scales

Cells = Mapping[tuple[str, str], Outcome]
"""Outcomes of the tests, by training and test data set."""


def write_matrix(out: Path, cells: Cells, others: str) -> str:
    """Write ``cross.csv`` (every test), ``cross.json``, ``cross.md``, ``cross.tex`` and ``cross.png``.

    Args:
        out: Folder to write to.
        cells: Outcomes of the tests.
        others: Description of the images tested in the other data sets.

    Returns:
        The Markdown tables.
    """
    rows, columns = (list(dict.fromkeys(pair[side] for pair in cells)) for side in (0, 1))
    summaries = {
        metric: {pair: summarize([run.metrics[metric] for run in cell.done.values()]) for pair, cell in cells.items()}
        for metric in METRICS
    }
    notes = [
        f"Median of {max(len(cell.done) for cell in cells.values())} run(s). Row: trained on; column: tested on. "
        f"A model is tested on the test set of its own data and on {others} of the other data sets.",
        *legacy_note(run for cell in cells.values() for run in cell.done.values()),
    ]
    _write_runs(out / "cross.csv", cells)
    content = {
        "notes": notes,
        "cells": [
            {
                "trained_on": pair[0],
                "tested_on": pair[1],
                "images": {name: run.images for name, run in cell.done.items()},
                "summary": {metric: summaries[metric][pair]._asdict() for metric in METRICS},
                "failed": cell.failures,
            }
            for pair, cell in cells.items()
        ],
    }
    write_text(out / "cross.json", to_json(content))
    grids = {
        title: [[row, *(_cell_text(cells[row, to], summaries[metric][row, to]) for to in columns)] for row in rows]
        for metric, title in _SHOWN.items()
    }
    markdown = _markdown(cells, columns, grids, notes)
    write_text(out / "cross.md", markdown)
    tables = [latex_table([title, *columns], grid, notes) for title, grid in grids.items()]
    write_text(out / "cross.tex", "\n".join(tables))
    _draw(out / "cross.png", rows, columns, summaries, grids, notes)
    return markdown


def _cell_text(cell: Outcome, summary: Summary) -> str:
    if cell.done:
        failed = f" ({len(cell.failures)} failed)" if cell.failures else ""
        return number(summary.median) + failed
    return "failed" if cell.failures else "not yet"


def _write_runs(path: Path, cells: Cells) -> None:
    rows: list[list[Any]] = [["trained_on", "tested_on", "run", "images", *METRICS, "failure"]]
    for pair, cell in cells.items():
        for name, run in cell.done.items():
            rows.append([*pair, name, run.images, *(run.metrics[metric] for metric in METRICS), ""])
        rows += [[*pair, name, *[""] * (1 + len(METRICS)), reason] for name, reason in cell.failures.items()]
    write_text(path, csv_text(rows))


def _markdown(cells: Cells, columns: list[str], grids: Mapping[str, list[list[str]]], notes: list[str]) -> str:
    lines = ["# Trained on one set, tested on others", "", "\n\n".join(notes)]
    for title, grid in grids.items():
        lines += ["", *markdown_table([f"{title}: trained on", *columns], grid)]
    failed = [
        [f"{row} on {column}, {name}", reason]
        for (row, column), cell in cells.items()
        for name, reason in cell.failures.items()
    ]
    if failed:
        lines += ["", *markdown_table(["failed", "why"], failed)]
    return "\n".join(lines) + "\n"


def _draw(
    path: Path,
    rows: list[str],
    columns: list[str],
    summaries: Mapping[str, Mapping[tuple[str, str], Summary]],
    grids: Mapping[str, list[list[str]]],
    notes: list[str],
) -> None:
    """Draw one heat map per metric; cells without a value stay gray."""
    figure = Figure(figsize=(2 * (2 + 0.9 * len(columns)), 2 + 0.7 * len(rows)), layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(1, len(_SHOWN)), _SHOWN.items(), strict=True):
        values = np.array([[summaries[metric][row, column].median for column in columns] for row in rows])
        axes.set_facecolor("lightgray")
        image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis")
        for y, line in enumerate(grids[title]):
            for x, text in enumerate(line[1:]):
                dark = values[y, x] < 0.6  # of the background; False for NaN
                axes.text(x, y, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", parse_math=False)
        axes.set_yticks(range(len(rows)), rows, parse_math=False)
        axes.set_xlabel("tested on")
        axes.set_ylabel("trained on")
        axes.set_title(title)
        figure.colorbar(image, ax=axes, shrink=0.8)
    figure.suptitle("\n".join(notes), fontsize=8, wrap=True, parse_math=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
