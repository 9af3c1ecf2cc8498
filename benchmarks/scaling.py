"""Compare the training speed of one and two processes on this machine's CPU.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/scaling.py

Each round times the same training step (student, teacher, all losses, AdamW, EMA) in four settings, one after another,
so that other load on the machine affects all equally. Prints medians with quartiles of the seconds per step.

- ``alone``: one process with its batch, while the other waits;
- ``alone, double``: one process with the batch of both;
- ``apart``: both at once, without communication: the limit set by cores and memory;
- ``together``: both at once with DDP and gathered negatives.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import lml_iqa.utils.distributed
from lml_iqa import LMLNetwork, LMLPair, LocalManifoldLoss, mutual_loss


class Objective(nn.Module):
    """The losses of a training step."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.pair = LMLPair(LMLNetwork(backbone, pretrained=False))
        self.manifold = LocalManifoldLoss(inter_weighting="mos_gap")

    def forward(self, crops: Tensor, mos: Tensor, image_id: Tensor) -> Tensor:
        student, teacher = self.pair(crops)
        quality = F.smooth_l1_loss(student.quality, mos[:, None].expand_as(student.quality), beta=0.1)
        manifold = self.manifold(student.embedding, teacher.embedding, teacher.saliency, mos, image_id)
        where, what = mutual_loss(student.quality, teacher.quality, student.saliency, teacher.saliency)
        return quality + 0.1 * manifold + 0.5 * (where + what)


def steps(model: nn.Module, objective: Objective, images: int, options: argparse.Namespace) -> list[float]:
    """Time training steps on random crops, in seconds."""
    crops = torch.randint(0, 256, (images, options.crops, 3, options.size, options.size), dtype=torch.uint8)
    batch = crops, torch.rand(images), torch.arange(images) + images * distributed.get_rank()
    optimizer = torch.optim.AdamW(objective.pair.student.parameters(), lr=1e-5)
    seconds = []
    for _ in range(options.steps + 1):  # the first is a warm-up
        start = time.perf_counter()
        model(*batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        objective.pair.update_teacher(0.99)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def ungathered(work: Callable[[], list[float]]) -> list[float]:
    """Run ``work`` as if in a single process, so that the losses gather nothing."""
    world = lml_iqa.utils.distributed.world
    lml_iqa.utils.distributed.world = lambda: (1, 0)
    try:
        return work()
    finally:
        lml_iqa.utils.distributed.world = world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="deit3_small_patch16_224")
    parser.add_argument("--images", type=int, default=4, help="images per process")
    parser.add_argument("--crops", type=int, default=2)
    parser.add_argument("--size", type=int, default=96, help="side of a crop in pixels")
    parser.add_argument("--steps", type=int, default=2, help="steps per setting and round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", timeout=timedelta(hours=1))
    rank, n = distributed.get_rank(), options.images
    objective = Objective(options.backbone)
    ddp = DistributedDataParallel(objective)
    settings: dict[str, Callable[[], list[float]]] = {
        "alone": lambda: ungathered(lambda: steps(objective, objective, n, options)) if rank == 0 else [],
        "alone, double": lambda: ungathered(lambda: steps(objective, objective, 2 * n, options)) if rank == 0 else [],
        "apart": lambda: ungathered(lambda: steps(objective, objective, n, options)),
        "together": lambda: steps(ddp, objective, n, options),
    }
    seconds: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(options.rounds):
        for name, work in settings.items():
            distributed.barrier()
            seconds[name] += work()
    if rank == 0:
        trained = sum(p.numel() for p in objective.parameters() if p.requires_grad)
        print(f"{options.backbone}, {n} images x {options.crops} crops of {options.size} px per process; ", end="")
        print(f"{trained / 1e6:.2f} M trained parameters, {4 * trained / 1e6:.0f} MB of gradients per step")
        median = {name: statistics.median(values) for name, values in seconds.items()}
        for name, values in seconds.items():
            low, _, high = statistics.quantiles(values, n=4)
            print(f"{name:14} {median[name]:7.3f} s per step ({low:.3f} to {high:.3f}; {len(values)} steps)")
        print(f"weak scaling, images per second:     x {2 * median['alone'] / median['together']:.2f}")
        print(f"  limit set by the machine:          x {2 * median['alone'] / median['apart']:.2f}")
        print(f"strong scaling, the same batch:      x {median['alone, double'] / median['together']:.2f}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
