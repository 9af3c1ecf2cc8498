"""Tables of finished runs, as CSV, JSON, Markdown, LaTeX and a plot."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lml_iqa.experiments.markup import csv_text, latex_table, legacy_note, markdown_table, number, one_line, to_json
from lml_iqa.experiments.results import Result
from lml_iqa.experiments.statistics import METRICS, Summary, srcc_by_group, summarize
from lml_iqa.utils.files import atomic_path, printable, write_text


def published(dataset: str) -> list[dict[str, str]]:
    """Published results on a data set: ``model``, ``srcc``, ``plcc`` and ``source``; empty for most sets.

    All numbers are from the model's own paper, at the place given by ``source``.
    """
    text = files("lml_iqa.experiments").joinpath("published.csv").read_text(encoding="utf-8")
    return [row for row in csv.DictReader(text.splitlines()) if row["set"] == dataset]


def srcc_by(column: str, predictions: Mapping[str, Sequence[str]]) -> Mapping[str, float]:
    """SRCC within each value of a column (``type``, ``level``); empty if the set has no such column."""
    if not any(predictions.get(column, [])):
        return {}
    score, human = (np.array(predictions[name], dtype=np.float64) for name in ("score", "human_score"))
    return srcc_by_group(score, human, predictions[column])


def write_tables(out: Path, runs: Mapping[str, Result], failures: Mapping[str, str]) -> str:
    """Write ``splits.csv``, ``table.json``, ``table.md``, ``table.tex``, ``groups.csv`` and ``table.png``.

    Args:
        out: Folder to write to.
        runs: Results, by run name.
        failures: Reasons of failed runs, by run name.

    Returns:
        The Markdown table.
    """
    dataset = next((run.dataset for run in runs.values()), "no finished run")
    notes = legacy_note(runs.values())
    _write_splits(out / "splits.csv", runs, failures)
    summaries = {metric: summarize([run.metrics[metric] for run in runs.values()]) for metric in METRICS}
    best = [run.best_on_test for run in runs.values() if run.best_on_test is not None]
    by_group = {
        column: _merge([srcc_by(column, run.predictions) for run in runs.values()]) for column in ("type", "level")
    }
    _write_groups(out / "groups.csv", by_group)
    content = {
        "dataset": dataset,
        "notes": notes,
        "runs": {name: run.metrics for name, run in runs.items()},
        "failed": dict(failures),
        "summary": {metric: summary._asdict() for metric, summary in summaries.items()},
        "best_on_test_srcc": summarize(best)._asdict() if best else None,
        "srcc_by_type": {name: summary._asdict() for name, summary in by_group["type"].items()},
        "srcc_by_level": {name: summary._asdict() for name, summary in by_group["level"].items()},
        "published": published(dataset),
    }
    write_text(out / "table.json", to_json(content))
    markdown = _markdown(dataset, notes, summaries, summarize(best) if best else None, by_group, failures)
    write_text(out / "table.md", markdown)
    write_text(out / "table.tex", _latex(dataset, notes, summaries))
    _draw(out / "table.png", [f"{printable(dataset)}: {len(runs)} runs, line: median", *notes], runs, summaries)
    return markdown


def _merge(repeats: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    names = sorted({name for repeat in repeats for name in repeat})
    return {name: summarize([repeat[name] for repeat in repeats if name in repeat]) for name in names}


def _write_splits(path: Path, runs: Mapping[str, Result], failures: Mapping[str, str]) -> None:
    done = [[name, *(run.metrics[metric] for metric in METRICS), ""] for name, run in runs.items()]
    failed = [[name, *[""] * len(METRICS), reason] for name, reason in failures.items()]
    write_text(path, csv_text([["run", *METRICS, "failure"], *done, *failed]))


def _write_groups(path: Path, by_group: Mapping[str, Mapping[str, Summary]]) -> None:
    head = ["column", "value", *(f"srcc_{name}" for name in Summary._fields)]
    rows = [[column, name, *summary] for column, groups in by_group.items() for name, summary in groups.items()]
    write_text(path, csv_text([head, *rows]))


def _markdown(
    dataset: str,
    notes: Sequence[str],
    summaries: Mapping[str, Summary],
    best: Summary | None,
    by_group: Mapping[str, Mapping[str, Summary]],
    failures: Mapping[str, str],
) -> str:
    count = summaries["srcc"].n
    rows = {metric.upper().replace("_", " "): summary for metric, summary in summaries.items()}
    if best is not None:
        rows["SRCC, epoch selected on the test set (not comparable)"] = best
    metrics = []
    for name, summary in rows.items():
        interval = f"{number(summary.low)} to {number(summary.high)}" if summary.n >= 3 else "-"
        metrics.append([name, number(summary.median), interval, number(summary.mean), number(summary.std)])
    lines = [f"# {one_line(dataset)}: {count} runs" + (f", {len(failures)} failed" if failures else ""), ""]
    lines += [f"**{note}**\n" for note in notes]
    lines += markdown_table(["", "median", "95 % interval", "mean", "std"], metrics)
    others = [[r["model"], r["srcc"] or "-", r["plcc"] or "-", r["source"]] for r in published(dataset)]
    if others:
        lines += ["", *markdown_table(["published", "SRCC", "PLCC", "source"], others)]
    for column, groups in by_group.items():
        if groups:
            medians = [[name, number(summary.median), str(summary.n)] for name, summary in groups.items()]
            lines += ["", *markdown_table([f"distortion {column}", "median SRCC", "runs"], medians)]
    if failures:
        lines += ["", *markdown_table(["failed", "why"], list(failures.items()))]
    return "\n".join(lines) + "\n"


def _latex(dataset: str, notes: Sequence[str], summaries: Mapping[str, Summary]) -> str:
    rows = [[r["model"], r["srcc"], r["plcc"]] for r in published(dataset)]
    ours = f"Ours, median of {summaries['srcc'].n}" + (", legacy protocol" if notes else "")
    rows.append([ours, *(number(summaries[metric].median) for metric in ("srcc", "plcc"))])
    return latex_table([dataset, "SRCC", "PLCC"], rows, notes)


def _draw(path: Path, title: Sequence[str], runs: Mapping[str, Result], summaries: Mapping[str, Summary]) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    shown = [metric for metric in METRICS if metric != "rmse"]
    for place, metric in enumerate(shown):
        values = [run.metrics[metric] for run in runs.values()]
        axes.scatter(np.full(len(values), place) + np.linspace(-0.12, 0.12, len(values)), values, s=18, alpha=0.7)
        axes.hlines(summaries[metric].median, place - 0.25, place + 0.25, color="black", linewidth=1.2)
    axes.set_xticks(range(len(shown)), [metric.upper().replace("_", " ") for metric in shown])
    axes.set_title("\n".join(title), fontsize=10, parse_math=False)
    axes.set_ylabel("correlation on the test set")
    axes.grid(axis="y", alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
