"""Compare horizons of the EMA teacher on a single run of plain regression.

    python benchmarks/ablation/teacher_horizon.py --root BIQ2021 --subset benchmarks/biq2021/split.json

A horizon is a share of the run's optimizer steps: momentum = exp(-1 / (horizon * steps)). All EMAs are of the same
run, so they differ in nothing else. Prints metrics on the development test set (not the official one).
"""

import argparse
import copy
import math
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from run import add_subset, development_rows, development_split
from torch import Tensor, nn

from lml_iqa import BIQ2021DataModule, LMLTask, image_score, plcc, srcc
from lml_iqa.utils.malloc import keep_freed_memory

HORIZONS = (0.01, 0.02, 0.05, 0.1, 0.2)


class MovingAverages(Callback):
    """EMAs of the student with several horizons."""

    def on_fit_start(self, trainer: Trainer, task: LMLTask) -> None:
        steps = trainer.estimated_stepping_batches
        self.momenta = {h: math.exp(-1 / (h * steps)) for h in HORIZONS}
        self.networks = {h: copy.deepcopy(task.pair.student) for h in HORIZONS}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, task: LMLTask, *_: object) -> None:
        for horizon, network in self.networks.items():
            for average, new in zip(network.parameters(), task.pair.student.parameters(), strict=True):
                average.lerp_(new, 1 - self.momenta[horizon])
            for average, new in zip(network.buffers(), task.pair.student.buffers(), strict=True):
                average.copy_(new)


@torch.no_grad()
def score(network: nn.Module, data: BIQ2021DataModule) -> tuple[float, float]:
    network.eval()
    scores: list[Tensor] = []
    mos: list[Tensor] = []
    for batch in data.test_dataloader():
        scores.append(image_score(network(batch["crops"]), "mean")[0])
        mos.append(batch["mos"])
    given, human = torch.cat(scores), torch.cat(mos)
    return float(plcc(given, human)), float(srcc(given, human))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    add_subset(parser)
    parser.add_argument("--pretrained", default="packaged")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/teacher_horizon"))
    args = parser.parse_args()
    keep_freed_memory()
    args.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[tuple[float, float]]] = {}
    for seed in args.seeds:
        seed_everything(seed)
        data = BIQ2021DataModule(args.root, batch_size=12, crops=4, eval_crops=9, crop_size=128, num_workers=0)
        split = args.out / f"split{seed}.json"
        development_split(data.table, development_rows(data.table, args.subset), seed).save(split, data.table)
        data.split_rule = split
        task = LMLTask(
            backbone="tf_efficientnet_lite0",
            pretrained=args.pretrained,
            saliency="panel_attention",
            lambda_manifold=0.0,
            lambda_mutual=0.0,
            lr=1e-3,
            backbone_lr=0.3,
        )
        averages = MovingAverages()
        trainer = Trainer(
            max_epochs=args.epochs,
            accelerator="cpu",
            gradient_clip_val=5.0,
            logger=False,
            enable_checkpointing=False,
            callbacks=[averages],
            limit_val_batches=0,
            enable_progress_bar=False,
        )
        trainer.fit(task, datamodule=data)
        for name, network in {"student": task.pair.student, **averages.networks}.items():
            results.setdefault(str(name), []).append(score(network, data))
            print(seed, name, *(f"{metric:.4f}" for metric in results[str(name)][-1]), flush=True)
    print("\n| horizon | PLCC | SRCC |\n|---|---|---|")
    for name, metrics in results.items():
        mean = np.mean(metrics, axis=0)
        print(f"| {name} | {mean[0]:.4f} | {mean[1]:.4f} |")


if __name__ == "__main__":
    main()
