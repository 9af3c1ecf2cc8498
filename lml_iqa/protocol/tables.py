"""From finished runs to tables that go into a paper: CSV, JSON, Markdown, LaTeX, and a picture."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lml_iqa.protocol.statistics import METRICS, Summary, srcc_by_group, summarise

_DAGGER = r"$^\dagger$"


def published(dataset: str) -> list[dict[str, str]]:
    """What papers report on a set: ``model``, ``srcc``, ``plcc``, ``source`` and whether we checked it there."""
    text = files("lml_iqa.protocol").joinpath("published.csv").read_text(encoding="utf-8")
    return [row for row in csv.DictReader(text.splitlines()) if row["set"] == dataset]


def read_predictions(path: Path) -> dict[str, list[str]]:
    """Columns of a run's ``predictions.csv``."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}


def srcc_by(column: str, predictions: Mapping[str, Sequence[str]]) -> Mapping[str, float]:
    """SRCC within each value of a column (``type``, ``level``); nothing where the set has no such column."""
    if not any(predictions.get(column, [])):
        return {}
    score, human = (np.array(predictions[name], dtype=np.float64) for name in ("score", "human_score"))
    return srcc_by_group(score, human, predictions[column])


def write_tables(out: Path, dataset: str, runs: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str]) -> str:
    """Write ``splits.csv``, ``table.json``, ``table.md``, ``table.tex``, ``groups.csv`` and ``table.png``.

    Args:
        out: Folder to write to.
        dataset: Name of the set, for the published figures.
        runs: By name of the run its ``metrics`` (by METRICS), ``predictions`` (columns) and, where it was asked for,
            ``best_on_test``.
        failures: Why other runs failed, by name.

    Returns:
        The Markdown table.
    """
    _write_splits(out / "splits.csv", runs, failures)
    summaries = {metric: summarise([run["metrics"][metric] for run in runs.values()]) for metric in METRICS}
    best = [run["best_on_test"] for run in runs.values() if run.get("best_on_test") is not None]
    by_group = {
        column: _merge([srcc_by(column, run["predictions"]) for run in runs.values()]) for column in ("type", "level")
    }
    _write_groups(out / "groups.csv", by_group)
    content = {
        "dataset": dataset,
        "runs": {name: run["metrics"] for name, run in runs.items()},
        "failed": dict(failures),
        "summary": {metric: summary._asdict() for metric, summary in summaries.items()},
        "best_on_test_srcc": summarise(best)._asdict() if best else None,
        "srcc_by_type": {name: summary._asdict() for name, summary in by_group["type"].items()},
        "srcc_by_level": {name: summary._asdict() for name, summary in by_group["level"].items()},
        "published": published(dataset),
    }
    (out / "table.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    markdown = _markdown(dataset, summaries, summarise(best) if best else None, by_group, failures)
    (out / "table.md").write_text(markdown, encoding="utf-8")
    (out / "table.tex").write_text(_latex(dataset, summaries), encoding="utf-8")
    _draw(out / "table.png", dataset, runs, summaries)
    return markdown


def _merge(repeats: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    names = sorted({name for repeat in repeats for name in repeat})
    return {name: summarise([repeat[name] for repeat in repeats if name in repeat]) for name in names}


def _write_splits(path: Path, runs: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", *METRICS, "failure"])
        for name, run in runs.items():
            writer.writerow([name, *(run["metrics"][metric] for metric in METRICS), ""])
        for name, reason in failures.items():
            writer.writerow([name, *([""] * len(METRICS)), reason])


def _write_groups(path: Path, by_group: Mapping[str, Mapping[str, Summary]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["column", "value", *(f"srcc_{name}" for name in Summary._fields)])
        for column, groups in by_group.items():
            for name, summary in groups.items():
                writer.writerow([column, name, *summary])


def _figure(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _markdown(
    dataset: str,
    summaries: Mapping[str, Summary],
    best: Summary | None,
    by_group: Mapping[str, Mapping[str, Summary]],
    failures: Mapping[str, str],
) -> str:
    count = summaries["srcc"].n
    lines = [
        f"# {dataset}: {count} runs" + (f", {len(failures)} failed" if failures else ""),
        "",
        "| | median | 95 % of the median | mean | std |",
        "|---|---|---|---|---|",
    ]
    rows = {**{metric.upper().replace("_", " "): summary for metric, summary in summaries.items()}}
    if best is not None:
        rows["SRCC, epoch chosen on the test part (not comparable)"] = best
    for name, summary in rows.items():
        interval = f"{_figure(summary.low)} to {_figure(summary.high)}" if summary.n >= 3 else "-"
        figures = [_figure(summary.median), interval, _figure(summary.mean), _figure(summary.std)]
        lines.append(f"| {' | '.join([name, *figures])} |")
    rivals = published(dataset)
    if rivals:
        lines += ["", "| published | SRCC | PLCC | source |", "|---|---|---|---|"]
        for row in rivals:
            mark = "" if row["checked"] == "yes" else " (not checked by us)"
            lines.append(f"| {row['model']} | {row['srcc'] or '-'} | {row['plcc'] or '-'} | {row['source']}{mark} |")
    for column, groups in by_group.items():
        if groups:
            lines += ["", f"| distortion {column} | median SRCC | runs |", "|---|---|---|"]
            lines += [f"| {name} | {_figure(summary.median)} | {summary.n} |" for name, summary in groups.items()]
    if failures:
        lines += ["", "| failed | why |", "|---|---|"]
        lines += [f"| {name} | {reason} |" for name, reason in failures.items()]
    return "\n".join(lines) + "\n"


def _latex(dataset: str, summaries: Mapping[str, Summary]) -> str:
    rows = [(r["model"] + ("" if r["checked"] == "yes" else _DAGGER), r["srcc"], r["plcc"]) for r in published(dataset)]
    ours = [f"{summaries[metric].median:.3f}" for metric in ("srcc", "plcc")]
    rows.append((f"Ours, median of {summaries['srcc'].n}", ours[0], ours[1]))
    body = [" & ".join(cell or "--" for cell in row) + r" \\" for row in rows]
    head = [r"\begin{tabular}{lcc}", r"\toprule", dataset + r" & SRCC & PLCC \\", r"\midrule"]
    tail = [r"\bottomrule", r"\end{tabular}", f"% {_DAGGER}: as printed or quoted elsewhere, not checked"]
    return "\n".join([*head, *body, *tail]) + "\n"


def _draw(path: Path, dataset: str, runs: Mapping[str, Mapping[str, Any]], summaries: Mapping[str, Summary]) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    shown = [metric for metric in METRICS if metric != "rmse"]
    for place, metric in enumerate(shown):
        values = [run["metrics"][metric] for run in runs.values()]
        axes.scatter(np.full(len(values), place) + np.linspace(-0.12, 0.12, len(values)), values, s=18, alpha=0.7)
        axes.hlines(summaries[metric].median, place - 0.25, place + 0.25, color="black", linewidth=1.2)
    axes.set_xticks(range(len(shown)), [metric.upper().replace("_", " ") for metric in shown])
    axes.set_title(f"{dataset}: {len(runs)} runs, line: median")
    axes.set_ylabel("correlation on the test part")
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=110)
