"""A diverged run stops and leaves no checkpoint of the diverged epoch."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from lml_iqa.callbacks.nan_guard import DivergedError, FiniteLoss


class Line(LightningModule):
    def __init__(self, bad_epochs, value):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.bad_epochs = bad_epochs
        self.value = value
        self.validated = []

    def training_step(self, batch, batch_idx):
        loss = (self.weight * batch).mean()
        if self.current_epoch in self.bad_epochs:
            loss = loss * self.value
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.validated.append(self.current_epoch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(tmp_path, model, **options):
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        callbacks=[FiniteLoss(), ModelCheckpoint(tmp_path, save_last=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(model, DataLoader(torch.ones(2, 1)), DataLoader(torch.ones(2, 1)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_stops_before_validation(tmp_path, value):
    model = Line([1], value)
    with pytest.raises(DivergedError, match=r"the loss is (nan|-?inf) after step 4; lower model\.lr"):
        train(tmp_path, model, num_sanity_val_steps=0)
    assert set(model.validated) == {0}
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0


def test_finite_loss_continues(tmp_path):
    model = Line([], 1.0)
    train(tmp_path, model)
    assert set(model.validated) == {0, 1, 2}


def test_stops_before_the_checkpoint_without_validation(tmp_path):
    with pytest.raises(DivergedError):
        train(tmp_path, Line([1], float("nan")), limit_val_batches=0)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
