"""Trains every row of the ablation with every seed, on development splits that never touch the official test part.

    python benchmarks/ablation/run.py --root BIQ2021 --out runs/ablation --seeds 0 1 2
    python benchmarks/ablation/summary.py runs/ablation

A seed draws the split, the first weights, the order and the crops; rows of one seed share all of them, so their
differences are paired. What is finished is not run again: a killed run goes on where it stood.
"""

import argparse
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml

from lml_iqa.datasets import BIQ2021, ImageTable, Split

HERE = Path(__file__).parent


def development_split(table: ImageTable, seed: int) -> Split:
    """70 / 10 / 20 % of the official training part; the official test part is in none."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(table.parts == "train"))
    val, test = round(0.7 * len(rows)), round(0.8 * len(rows))
    parts = {"train": rows[:val], "val": rows[val:test], "test": rows[test:]}
    return Split(**{p: np.sort(r) for p, r in parts.items()}, rule="development", seed=seed, data_digest=table.digest())


def run(row: str, options: dict[str, object], seed: int, args: argparse.Namespace) -> bool:
    """Train and test one row with one seed, unless that is done; whether it succeeded."""
    folder = args.out / row / f"seed{seed}"
    if (folder / "metrics.json").exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    command = [sys.executable, "-m", "lml_iqa", "fit", *(f"--config={config}" for config in args.config)]
    command += [f"--data.root={args.root}"]
    command += [f"--seed_everything={seed}", f"--data.split={args.out / f'split{seed}.json'}"]
    command += [f"--trainer.logger.init_args.save_dir={args.out}", f"--trainer.logger.init_args.name={row}"]
    command += [f"--trainer.logger.init_args.version=seed{seed}", "--trainer.enable_progress_bar=false"]
    command += [f"--model.{name}={value}" for name, value in options.items()] + args.more
    with (args.out / f"{row}_seed{seed}.log").open("w") as log:
        threads = {"OMP_NUM_THREADS": str(args.threads), "MKL_NUM_THREADS": str(args.threads)}
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **threads}).returncode
    print(f"{row}, seed {seed}: {'done' if code == 0 else f'FAILED, see {log.name}'}", flush=True)
    return code == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of BIQ2021")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument(
        "--config", type=Path, nargs="+", default=[HERE.parents[1] / "configs/biq2021.yaml", HERE / "cpu.yaml"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", help="names of rows; default all")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each")
    args, args.more = parser.parse_known_args()
    args.out.mkdir(parents=True, exist_ok=True)
    groups = yaml.safe_load((HERE / "rows.yaml").read_text())
    rows = {**groups["terms"], **groups["choices"]}
    chosen = args.rows or list(rows)
    if unknown := set(chosen) - set(rows):
        parser.error(f"no rows {sorted(unknown)} in rows.yaml, only {list(rows)}")
    table = BIQ2021(args.root).load()
    for seed in args.seeds:
        development_split(table, seed).save(args.out / f"split{seed}.json", table)
    with ThreadPoolExecutor(args.jobs) as pool:
        done = [pool.submit(run, row, rows[row], seed, args) for seed in args.seeds for row in chosen]
        failed = [job for job in done if not job.result()]
    sys.exit(f"{len(failed)} of {len(done)} runs failed" if failed else 0)


if __name__ == "__main__":
    main()
