"""Train every row of the ablation with every seed, on development splits without the official test set.

    python benchmarks/ablation/run.py --root BIQ2021 --subset benchmarks/biq2021/split.json --out runs/ablation
    python benchmarks/ablation/summary.py runs/ablation

A seed determines the split, the initial weights, the order and the crops; the rows of a seed share them, so differences
are paired. Rows that differ in evaluation only (`of`) are scored from the other row's checkpoint. Finished runs are
skipped.
"""

import argparse
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from rows import HERE, Row, read_rows

from lml_iqa.datasets import BIQ2021, ImageTable, Split


def development_rows(table: ImageTable, subset: Path | None) -> np.ndarray:
    """Return the rows to split: the official training set, or the training and validation images of a split.json."""
    if subset is None:
        return np.flatnonzero(table.parts == "train")
    split = Split.load(subset, table)
    return np.sort(np.concatenate([split.train, split.val]))


def development_split(table: ImageTable, rows: np.ndarray, seed: int) -> Split:
    """Split the rows 70 / 10 / 20 %; other rows are in no set."""
    rows = np.random.default_rng(seed).permutation(rows)
    val, test = round(0.7 * len(rows)), round(0.8 * len(rows))
    parts = {"train": rows[:val], "val": rows[val:test], "test": rows[test:]}
    return Split(**{p: np.sort(r) for p, r in parts.items()}, rule="development", seed=seed, data_digest=table.digest())


def add_subset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--subset",
        type=Path,
        help="split.json whose training and validation images to use; default: the official training set",
    )


def train_and_rescore(row: Row, seed: int, args: argparse.Namespace) -> list[bool]:
    """Train and test a row with one seed, then test its rescored rows. Return whether each succeeded."""
    command = ["fit", *(f"--config={config}" for config in args.config), f"--data.root={args.root}"]
    command += [f"--seed_everything={seed}", f"--data.split={args.out / f'split{seed}.json'}"]
    command += [f"--model.{name}={value}" for name, value in row.options.items()]
    command += [f"--data.{name}={value}" for name, value in row.data.items()]
    done = [run(row.name, seed, args, [*command, *args.more])]
    if not done[0]:
        return done
    trained = args.out / row.name / f"seed{seed}"
    for name, options in row.rescored.items():
        checkpoint = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
        checkpoint["hyper_parameters"].update(options)
        changed = args.out / f"{name}_seed{seed}.ckpt"
        torch.save(checkpoint, changed)
        done.append(run(name, seed, args, ["test", f"--config={trained / 'config.yaml'}", f"--ckpt_path={changed}"]))
        changed.unlink()
    return done


def run(row: str, seed: int, args: argparse.Namespace, command: list[str]) -> bool:
    """Run an lml-iqa command in the row's folder unless it is finished. Return whether it succeeded."""
    folder = args.out / row / f"seed{seed}"
    if (folder / "metrics.json").exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed run
    command = [sys.executable, "-m", "lml_iqa", *command, "--trainer.enable_progress_bar=false"]
    logger = {"save_dir": args.out, "name": row, "version": f"seed{seed}"}
    command += [f"--trainer.logger.init_args.{name}={value}" for name, value in logger.items()]
    with (args.out / f"{row}_seed{seed}.log").open("w") as log:
        threads = {"OMP_NUM_THREADS": str(args.threads), "MKL_NUM_THREADS": str(args.threads)}
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **threads}).returncode
    print(f"{row}, seed {seed}: {'done' if code == 0 else f'FAILED, see {log.name}'}", flush=True)
    return code == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of BIQ2021")
    add_subset(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument(
        "--config", type=Path, nargs="+", default=[HERE.parents[1] / "configs/biq2021.yaml", HERE / "cpu.yaml"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", help="names of rows; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="number of parallel runs")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads per run")
    args, args.more = parser.parse_known_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(args.rows)
    table = BIQ2021(args.root).load()
    rows_to_split = development_rows(table, args.subset)
    for seed in args.seeds:
        development_split(table, rows_to_split, seed).save(args.out / f"split{seed}.json", table)
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = [pool.submit(train_and_rescore, row, seed, args) for seed in args.seeds for row in rows]
        done = [succeeded for job in jobs for succeeded in job.result()]
    sys.exit(f"{done.count(False)} of {len(done)} runs failed" if not all(done) else 0)


if __name__ == "__main__":
    main()
