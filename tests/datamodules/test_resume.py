"""A resumed training goes on at the same image, with any batch size and number of processes."""

import contextlib
import itertools
import json
import os

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from lml_iqa.datamodules import TableDataModule

SEED = 3


class StoppedError(Exception):
    pass


class Recorder(LightningModule):
    """Learns nothing, and keeps (epoch, image) of every batch; in a folder if there are several processes."""

    def __init__(self, folder=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches = []
        self.folder = folder

    def training_step(self, batch):
        self.batches.append([self.current_epoch, *batch["image_id"].tolist()])
        if self.folder is not None:
            (self.folder / f"{self.global_rank}.json").write_text(json.dumps(self.batches))
        return self.weight * 0

    def validation_step(self, batch):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class StopBefore(Callback):
    """Saves a checkpoint and stops before the given batch of the run (counted over epochs from 0)."""

    def __init__(self, batch, path):
        self.batch, self.path = batch, path

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if len(pl_module.batches) == self.batch:
            trainer.save_checkpoint(self.path)
            raise StoppedError


@pytest.fixture
def data(tmp_path):
    def make(batch_size, images=12, **options):
        parts = ["train"] * images + ["val"] * 3 + ["test"]
        for i in range(len(parts)):
            Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / f"{i}.png")
        rows = "".join(f"{i}.png,{i},{part}\n" for i, part in enumerate(parts))
        (tmp_path / "labels.csv").write_text(f"path,score,part\n{rows}")
        small = {"crop_size": 8, "crops": 2, "eval_crops": 1, "num_workers": 0, "seed": SEED}
        return TableDataModule(
            tmp_path, "labels.csv", split_column="part", batch_size=batch_size, **{**small, **options}
        )

    return make


def trainer(*callbacks, epochs=3, **options):
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def fit(module, *callbacks, resume=None, **options):
    recorder = Recorder()
    with contextlib.suppress(StoppedError):
        trainer(*callbacks, **options).fit(recorder, module, ckpt_path=resume, weights_only=True if resume else None)
    return recorder.batches


def epochs_of(*runs):
    """Images by epoch, in the order in which they were trained on."""
    seen = {}
    for epoch, *images in itertools.chain(*runs):
        seen.setdefault(epoch, []).extend(images)
    return seen


def orders(images, epochs=3):
    return {
        epoch: torch.randperm(images, generator=torch.Generator().manual_seed(SEED + epoch)).tolist()
        for epoch in range(epochs)
    }


@pytest.mark.parametrize("sizes", [(2, 4), (4, 2), (2, 3), (3, 4), (1, 12), (12, 1), (2, 99), (4, 4)])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 1.0, 1.4])
def test_every_image_once_an_epoch_whatever_the_batch_size(data, tmp_path, sizes, share):
    path = tmp_path / "stopped.ckpt"
    stop = round(share * (12 // min(sizes[0], 12)))
    before = fit(data(sizes[0]), StopBefore(stop, path))
    assert len(before) == stop
    after = fit(data(sizes[1]), resume=path)
    assert epochs_of(before, after) == orders(12)
    assert max(map(len, after)) <= sizes[1] + 1


def test_resumed_again_and_again(data, tmp_path):
    """Every run takes two batches of another size and stops; nothing is repeated or left out."""
    runs, path = [], None
    for number, size in enumerate([2, 3, 5, 1, 4, 1, 12]):
        last = number == 6
        callbacks = () if last else (StopBefore(2, tmp_path / f"{number}.ckpt"),)
        runs.append(fit(data(size), *callbacks, resume=path))
        path = tmp_path / f"{number}.ckpt"
    assert epochs_of(*runs) == orders(12)


@pytest.mark.parametrize(("sizes", "images"), [((2, 4), 13), ((4, 2), 15), ((3, 5), 14), ((5, 4), 11)])
def test_images_that_fill_no_batch_are_at_most_those_of_a_whole_epoch(data, tmp_path, sizes, images):
    for stop in range(1, images // sizes[0]):
        path = tmp_path / "stopped.ckpt"
        before = fit(data(sizes[0], images), StopBefore(stop, path))
        after = fit(data(sizes[1], images), resume=path)
        seen, order = epochs_of(before, after), orders(images)
        whole = images // sizes[1] * sizes[1]
        assert seen[0] == order[0][: len(seen[0])]
        assert len(seen[0]) >= whole
        assert {epoch: len(trained) for epoch, trained in seen.items() if epoch} == {1: whole, 2: whole}
        assert all(trained == order[epoch][:whole] for epoch, trained in seen.items() if epoch)


@pytest.mark.parametrize("sizes", [(2, 4), (4, 2), (3, 4)])
@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_end", "on_fit_end"])
def test_a_checkpoint_of_an_epoch_s_end(data, tmp_path, sizes, hook):
    """Checkpoints of an epoch's end are saved in different hooks, where Lightning's counters differ."""
    path = tmp_path / "end.ckpt"

    class Save(Callback):
        pass

    setattr(Save, hook, lambda self, trainer, pl_module: trainer.save_checkpoint(path))
    before = fit(data(sizes[0]), Save(), epochs=1)
    middle = fit(data(sizes[1]), Save(), resume=path, epochs=2)
    after = fit(data(sizes[0]), resume=path)
    assert epochs_of(before, middle, after) == orders(12)
    assert [len(run) for run in (before, middle, after)] == [12 // sizes[0], 12 // sizes[1], 12 // sizes[0]]


@pytest.mark.parametrize(
    "options", [{"limit_train_batches": 2}, {"val_check_interval": 0.5}, {"accumulate_grad_batches": 2}]
)
def test_other_trainer_options(data, tmp_path, options):
    path = tmp_path / "stopped.ckpt"
    before = fit(data(2), StopBefore(1, path), **options)
    after = fit(data(4), resume=path, **options)
    seen, order = epochs_of(before, after), orders(12)
    images = 8 if "limit_train_batches" in options else 12  # two batches of four
    assert seen[0] == order[0][: len(seen[0])]
    assert {epoch: trained for epoch, trained in seen.items() if epoch} == {1: order[1][:images], 2: order[2][:images]}
    assert len(seen[0]) == (10 if "limit_train_batches" in options else 12)


def test_the_order_is_the_checkpoint_s_whatever_the_seed(data, tmp_path):
    path = tmp_path / "stopped.ckpt"
    before = fit(data(2), StopBefore(8, path))
    after = fit(data(2, seed=90), resume=path)
    assert epochs_of(before, after) == orders(12)


def test_fresh_training_after_a_resumed_one(data, tmp_path):
    path = tmp_path / "stopped.ckpt"
    fit(data(2), StopBefore(3, path))
    module = data(4, seed=4)
    fit(module, resume=path)
    again = epochs_of(fit(module, epochs=1))
    assert again == {0: torch.randperm(12, generator=torch.Generator().manual_seed(4)).tolist()}


@pytest.mark.parametrize("devices", [(1, 2), (2, 1), (2, 3)])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_another_number_of_processes(data, tmp_path, devices, stop):
    if not hasattr(os, "fork") or torch.cuda.is_initialized():
        pytest.skip("needs to fork, which a started CUDA does not survive")
    path = tmp_path / "stopped.ckpt"
    together = []
    for number, count in enumerate(devices):
        folder = tmp_path / str(number)
        folder.mkdir()
        callbacks = [StopBefore(stop, path)] if number == 0 else []
        options = {"devices": count, "strategy": "ddp_fork"} if count > 1 else {}
        try:
            trainer(*callbacks, epochs=2, **options).fit(Recorder(folder), data(2), ckpt_path=path if number else None)
        except (StoppedError, torch.multiprocessing.ProcessRaisedException, RuntimeError):
            assert number == 0
        ranks = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]
        assert len({len(batches) for batches in ranks}) == 1
        together += [batch for step in zip(*ranks, strict=True) for batch in step]
    seen = epochs_of(together)
    assert sorted(seen[1]) == list(range(12))
    assert len(set(seen[0])) == len(seen[0])
    left_out = 2 if (devices, stop) == ((2, 3), 1) else 0  # 8 images for batches of 6 on 3 processes
    assert len(seen[0]) == 12 - left_out


def test_a_checkpoint_saved_outside_training(data, tmp_path):
    """After a validation there is no position to store."""
    run = trainer(epochs=1)
    run.validate(Recorder(), data(2), verbose=False)
    run.save_checkpoint(tmp_path / "validated.ckpt")
    assert epochs_of(fit(data(4), resume=tmp_path / "validated.ckpt")) == orders(12)
