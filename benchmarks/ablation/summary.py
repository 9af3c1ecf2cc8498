"""Summarize finished runs of the ablation in results.csv, results.md and results.png, in the folder of the runs.

    python benchmarks/ablation/summary.py runs/ablation

Differences are paired by seed against the row's partner (`against` in rows.yaml), over the seeds finished by both. The
95 % interval is Student's, over seeds: it covers other splits, initial weights and orders of the same data. It is
followed by the number of seeds in which the row was better, which is robust to a single outlier.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import pandas as pd
from matplotlib.figure import Figure
from rows import partners
from scipy.stats import ttest_1samp

METRICS = ("plcc", "srcc")


def read_runs(folder: Path) -> pd.DataFrame:
    """Return one line per finished run: row, seed, metrics on the development test set."""
    runs = []
    for path in sorted(folder.glob("*/seed*/metrics.json")):
        metrics = json.loads(path.read_text())["metrics"]
        seed = int(path.parent.name.removeprefix("seed"))
        runs.append({"row": path.parents[1].name, "seed": seed, **{m: metrics[f"test/{m}"] for m in METRICS}})
    return pd.DataFrame(runs).sort_values(["row", "seed"], ignore_index=True)


def compare(runs: pd.DataFrame, row: str, partner: str | None, metric: str) -> dict[str, float]:
    """Compare a row with its partner: mean paired difference, 95 % interval, and number of seeds with a gain.

    All values are NaN with fewer than two common seeds.
    """
    values = runs.pivot(index="seed", columns="row", values=metric)
    differences = (values[row] - values.get(partner, float("nan"))).dropna()
    if len(differences) < 2:
        return dict.fromkeys(("difference", "low", "high", "better", "of"), float("nan"))
    interval = ttest_1samp(differences, 0).confidence_interval(0.95)
    return {
        "difference": differences.mean(),
        "low": interval.low,
        "high": interval.high,
        "better": (differences > 0).sum(),
        "of": len(differences),
    }


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one line per row of the ablation, in the order of rows.yaml."""
    lines = []
    for row, partner in partners().items():
        finished = runs[runs.row == row]
        if finished.empty:
            continue
        line: dict[str, object] = {"row": row, "against": partner or "", "seeds": len(finished)}
        for metric in METRICS:
            line[metric], line[f"{metric}_sd"] = finished[metric].mean(), finished[metric].std()
            line.update({f"{metric}_{name}": value for name, value in compare(runs, row, partner, metric).items()})
        lines.append(line)
    return pd.DataFrame(lines)


def markdown(summary: pd.DataFrame) -> str:
    lines = [
        "| row | seeds | PLCC | SRCC | against | PLCC difference [95 %], up in | SRCC difference [95 %], up in |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in summary.to_dict("records"):
        spread = [f" ± {line[f'{m}_sd']:.4f}" if line["seeds"] > 1 else "" for m in METRICS]
        means = [f"{line[m]:.4f}{sd}" for m, sd in zip(METRICS, spread, strict=True)]
        differences = [
            f"{line[f'{m}_difference']:+.4f} [{line[f'{m}_low']:+.4f}, {line[f'{m}_high']:+.4f}], "
            f"{line[f'{m}_better']:.0f}/{line[f'{m}_of']:.0f}"
            if line[f"{m}_difference"] == line[f"{m}_difference"]
            else ""
            for m in METRICS
        ]
        lines.append(f"| {' | '.join([line['row'], str(line['seeds']), *means, line['against'], *differences])} |")
    return "\n".join(lines) + "\n"


def draw(summary: pd.DataFrame, path: Path) -> None:
    shown = summary.dropna(subset=["plcc_difference"]).iloc[::-1]
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(shown)), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2, sharey=True), METRICS, strict=True):
        middle = shown[f"{metric}_difference"]
        reach = [middle - shown[f"{metric}_low"], shown[f"{metric}_high"] - middle]
        axes.errorbar(middle, shown.row + " vs " + shown.against, xerr=reach, fmt="o", capsize=3)
        axes.axvline(0, color="0.5", linewidth=0.8)
        axes.set_xlabel(f"difference in {metric.upper()}, with 95 % interval")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the runs (--out of run.py)")
    folder = parser.parse_args().folder
    runs = read_runs(folder)
    summary = summarize(runs)
    runs.to_csv(folder / "results.csv", index=False)
    (folder / "results.md").write_text(markdown(summary))
    draw(summary, folder / "results.png")
    print(markdown(summary))


if __name__ == "__main__":
    main()
