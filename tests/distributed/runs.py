"""Complete runs in one or several processes, with a record of all steps."""

import contextlib
import os
import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from PIL import Image
from torch import distributed, multiprocessing

from lml_iqa.datamodules import TableDataModule
from lml_iqa.tasks import LMLTask

GLOBAL_BATCH = 8
TASK = {
    "backbone": "test_vit",  # timm's own tiny transformer
    "pretrained": False,
    "decoder_heads": 4,
    "embedding_dim": 8,
    "lr": 1e-3,
    "teacher_horizon": 0.5,
    "mutual_ramp": 0.5,
}
CNN = {"saliency": "panel_attention", "decoder_width": 32}


def write_images(root, *, train=21, val=9, test=11):
    """Images of several sizes with random scores; 21 for training make two full batches and five more."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    lines = ["path,score,part"]
    for i, part in enumerate(["train"] * train + ["val"] * val + ["test"] * test):
        shape = (40 + 8 * (i % 3), 48 + 8 * (i % 2), 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(root / f"{i:03}.png")
        lines.append(f"{i:03}.png,{rng.uniform(1, 9):.3f},{part}")
    (root / "scores.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


class Record(Callback):
    """Record of the images, losses and gradients of a process."""

    def __init__(self):
        self.images, self.losses, self.salient, self.gradients, self.evaluated = [], [], [], [], {}

    def on_fit_start(self, trainer, pl_module):
        pl_module.manifold_loss.register_forward_pre_hook(self._keep_salient)

    def _keep_salient(self, module, inputs):
        _, _, saliency, _, image_id = inputs
        self.salient.append(dict(zip(image_id.tolist(), saliency.argmax(dim=1).tolist(), strict=True)))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.images.append(batch["image_id"].tolist())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append({k: float(v) for k, v in trainer.callback_metrics.items() if k.endswith("_step")})

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        """Record gradients after averaging over processes and before clipping."""
        named = pl_module.pair.student.named_parameters()
        self.gradients.append({n: p.grad.clone() for n, p in named if p.grad is not None})

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.evaluated.setdefault("val", []).extend(batch["image_id"].tolist())

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.evaluated.setdefault("test", []).extend(batch["image_id"].tolist())


def train(root, *, world=1, task=None, data=None, trainer=None, change=None):
    """Train and test; ``data["batch_size"]`` counts the images of all processes together."""
    seed_everything(3, verbose=False)
    data = {"batch_size": GLOBAL_BATCH, "crops": 3, "eval_crops": 4, "crop_size": 32, "num_workers": 0, **(data or {})}
    data["batch_size"] //= world
    module = TableDataModule(root, Path("scores.csv"), split_column="part", low=0.0, high=10.0, **data)
    model = LMLTask(**{**TASK, **(task or {})})
    record = Record()
    runner = Trainer(
        **{
            "accelerator": "cpu",
            "devices": world,
            "strategy": "ddp" if world > 1 else "auto",
            "plugins": [TorchElasticEnvironment()] if world > 1 else None,
            "max_epochs": 2,
            "num_sanity_val_steps": 0,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "callbacks": [record],
            **(trainer or {}),
        }
    )
    if change is not None:
        change(model, module)
    runner.fit(model, datamodule=module)
    metrics = {k: float(v) for k, v in runner.callback_metrics.items() if not k.endswith("_step")}
    (tested,) = runner.test(model, datamodule=module, verbose=False)
    weights = {name: value.clone() for name, value in model.pair.state_dict().items()}
    return {**vars(record), "metrics": {**metrics, **tested}, "weights": weights, "steps": runner.global_step}


def _process(rank, world, folder, script, arguments):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world, timeout=timedelta(minutes=5)
    )
    result = script(rank, world, *arguments)
    torch.save(result, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def in_processes(world, script, *arguments):
    """Results of ``script(rank, world, *arguments)`` on each process, with gloo as backend."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["lml_iqa.tasks", "lml_iqa.datamodules"])
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.start_processes(
            _process, (world, folder, script, arguments), nprocs=world, join=False, start_method="forkserver"
        )
        try:
            while not context.join(timeout=5):
                pass
        finally:
            for process in context.processes:
                with contextlib.suppress(Exception):
                    process.kill()
        return [torch.load(f"{folder}/{rank}.pt", weights_only=False) for rank in range(world)]
