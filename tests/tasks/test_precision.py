"""Mixed precision: only the encoder is rounded, and the metrics match float32."""

import math

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from PIL import Image
from test_lml_task import make_task, make_trainer

from lml_iqa.datamodules import TableDataModule
from lml_iqa.metrics import srcc


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    """48 flat images whose score is their brightness, which a small network learns in seconds."""
    root = tmp_path_factory.mktemp("gray")
    lines = ["path,score,part"]
    for i in range(48):
        level = 30 + 4 * i
        Image.new("RGB", (34, 33), (level, 255 - level, level)).save(root / f"{i}.png")
        lines.append(f"{i}.png,{i / 47:.4f},{'train' if i % 3 else 'test' if i % 2 else 'val'}")
    (root / "scores.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


def make_data(root):
    return TableDataModule(
        root, "scores.csv", split_column="part", batch_size=4, crops=2, eval_crops=2, crop_size=32, num_workers=0
    )


ONCE = {"gradient_clip_val": 5.0, "check_val_every_n_epoch": 25}


class Watch(Callback):
    """Record losses, dtypes and changes of student and teacher at every step."""

    def __init__(self):
        self.losses, self.kinds, self.changed, self.gradients, self.rates = [], set(), [], [], []

    def on_fit_start(self, trainer, pl_module):
        pl_module.manifold_loss.register_forward_hook(lambda m, inputs, output: self.kinds.add(output.dtype))
        pl_module.pair.student.backbone.register_forward_hook(lambda m, i, out: self.kinds.add(out.attention[0].dtype))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append([p.grad.clone() for p in pl_module.pair.student.parameters()])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.before = [p.detach().clone() for p in pl_module.pair.parameters()]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        names = [name for name, _ in pl_module.pair.named_parameters()]
        pairs = zip(names, self.before, pl_module.pair.parameters(), strict=True)
        moved = [name for name, old, new in pairs if not torch.equal(old, new)]
        self.changed.append(
            {network: any(name.startswith(network) for name in moved) for network in ("student", "teacher")}
        )
        self.kinds.update(v.dtype for k, v in trainer.callback_metrics.items() if k.startswith("train/"))
        self.losses.append(float(outputs["loss"]))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def fit(root, folder, **options):
    watch = Watch()
    task = make_task(lr=2e-3)
    trainer = make_trainer(folder, callbacks=[watch], **{**ONCE, "max_epochs": 25, **options})
    trainer.fit(task, datamodule=make_data(root))
    return task, trainer, watch


def figures(task, root, folder, precision):
    (tested,) = make_trainer(folder, precision=precision).test(task, datamodule=make_data(root), verbose=False)
    return tested


@pytest.fixture(scope="module")
def full(gray, tmp_path_factory):
    return fit(gray, tmp_path_factory.mktemp("full"))


def test_bfloat16_trains_as_float32_does(gray, full, tmp_path):
    """200 steps each: no NaN, and the same correlation on unseen images, within noise."""
    task, _, watch = fit(gray, tmp_path, precision="bf16-mixed")
    assert len(watch.losses) == 200
    assert torch.tensor(watch.losses).isfinite().all()
    assert watch.kinds == {torch.bfloat16, torch.float32}  # the encoder, and all losses
    assert all(p.dtype == torch.float32 for p in task.pair.parameters())
    half, whole = figures(task, gray, tmp_path, "bf16-mixed"), figures(full[0], gray, tmp_path, "32-true")
    assert whole["test/srcc"] > 0.9
    assert half["test/srcc"] == pytest.approx(whole["test/srcc"], abs=0.05)
    assert half["test/plcc"] == pytest.approx(whole["test/plcc"], abs=0.05)


def test_bfloat16_evaluates_as_float32_does(gray, full, tmp_path):
    """With the same weights. Scores rounded to bfloat16 would tie: it has only 128 steps between 0.5 and 1."""
    half, whole = (figures(full[0], gray, tmp_path, precision) for precision in ("bf16-mixed", "32-true"))
    assert half["test/rmse"] != whole["test/rmse"]  # autocast was active
    for name in ("test/srcc", "test/plcc", "test/krcc"):
        assert half[name] == pytest.approx(whole[name], abs=0.02)
    batches = make_trainer(tmp_path, precision="bf16-mixed").predict(full[0], datamodule=make_data(gray))
    scores = torch.cat([batch["score"] for batch in batches])
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.bfloat16().float())
    assert srcc(scores.numpy(), range(48)) > 0.9


def scaled(init_scale):
    """16-mixed on a CPU, with a real gradient scaler."""
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale, growth_interval=10_000)
    return MixedPrecision("16-mixed", "cpu", scaler)


def test_float16_gradients_are_those_of_float32(gray, full, tmp_path):
    _, _, watch = fit(gray, tmp_path, plugins=[scaled(2.0**10)], max_epochs=1)
    assert torch.float16 in watch.kinds
    for half, whole in zip(watch.gradients[0], full[2].gradients[0], strict=True):
        assert (half - whole).norm() <= 0.03 * whole.norm() + 1e-4


def test_a_skipped_step_moves_nobody(gray, full, tmp_path):
    """With a far too large scale, the first steps overflow, are skipped, and halve the scale until one fits."""
    _, trainer, watch = fit(gray, tmp_path, plugins=[scaled(2.0**22)], max_epochs=4)
    changed = watch.changed[:-1]  # the learning rate of the last step is zero
    taken = [moved["student"] for moved in changed]
    assert taken[0] is False
    assert taken.count(True) > 16
    assert taken.count(False) == 22 - math.log2(trainer.precision_plugin.scaler.get_scale())
    assert [moved["teacher"] for moved in changed] == taken
    assert torch.tensor(watch.losses).isfinite().all()
    assert trainer.global_step == 32  # skipped steps count in the schedule, which ends with the run
    assert watch.rates == fit(gray, tmp_path, max_epochs=4)[2].rates


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_on_a_gpu(gray, full, tmp_path, precision):
    watch = Watch()
    task = make_task(lr=2e-3)
    options = {"accelerator": "gpu", "devices": 1, "precision": precision}
    make_trainer(tmp_path, callbacks=[watch], max_epochs=25, **options).fit(task, datamodule=make_data(gray))
    assert torch.tensor(watch.losses[20:]).isfinite().all()
    (half,) = make_trainer(tmp_path, **options).test(task, datamodule=make_data(gray), verbose=False)
    assert half["test/srcc"] == pytest.approx(figures(full[0], gray, tmp_path, "32-true")["test/srcc"], abs=0.05)
