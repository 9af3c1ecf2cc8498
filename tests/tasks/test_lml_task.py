"""The LightningModule on a tiny BIQ2021, with a tiny transformer and small crops."""

import copy
import math

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from scipy import stats

from lml_iqa.datamodules import BIQ2021DataModule, TableDataModule
from lml_iqa.models import WeightsError
from lml_iqa.tasks import LMLTask
from lml_iqa.utils.checkpoint_io import CheckpointError


def make_task(**options):
    seed_everything(3, verbose=False)
    return LMLTask(
        **{
            "backbone": "test_vit",  # timm's own tiny transformer
            "pretrained": False,
            "decoder_heads": 4,
            "embedding_dim": 8,
            "lr": 1e-3,
            "teacher_horizon": 0.5,
            **options,
        }
    )


def make_data(root, **options):
    return BIQ2021DataModule(
        root,
        **{
            "batch_size": 4,
            "crops": 3,
            "eval_crops": 4,
            "crop_size": 32,
            "val_fraction": 0.25,
            "num_workers": 0,
            **options,
        },
    )


def make_trainer(folder, **options):
    return Trainer(
        **{
            "accelerator": "cpu",
            "max_epochs": 2,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "default_root_dir": folder,
            **options,
        }
    )


class Losses(Callback):
    def __init__(self):
        self.rows = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.rows.append({k: float(v) for k, v in trainer.callback_metrics.items() if k.endswith("_step")})


@pytest.mark.parametrize("saliency", ["joint_attention", "panel_attention", "uniform", "random"])
@pytest.mark.parametrize("positives", ["salient", "cluster"])
def test_trains_with_every_variant(biq2021_root, tmp_path, saliency, positives):
    losses = Losses()
    task = make_task(saliency=saliency, positives=positives)
    before = copy.deepcopy(task.pair.student.state_dict())
    trainer = make_trainer(tmp_path, callbacks=[losses])
    trainer.fit(task, datamodule=make_data(biq2021_root))
    assert all(math.isfinite(value) for row in losses.rows for value in row.values())
    moved = [k for k, v in task.pair.student.state_dict().items() if not torch.equal(v, before[k])]
    assert any("backbone" in k for k in moved)
    assert any("projector" in k for k in moved)
    assert math.isfinite(float(trainer.callback_metrics["val/rmse"]))


def test_total_loss_is_the_weighted_sum_of_its_terms(biq2021_root, tmp_path):
    losses = Losses()
    task = make_task(lambda_image=0.4, lambda_manifold=0.3, lambda_mutual=0.7, mutual_ramp=0.0)
    make_trainer(tmp_path, callbacks=[losses], max_epochs=1).fit(task, datamodule=make_data(biq2021_root))
    for row in losses.rows:
        mutual = row["train/mutual_where_step"] + row["train/mutual_what_step"]
        expected = row["train/quality_step"] + 0.4 * row["train/image_step"]
        expected += 0.3 * row["train/manifold_step"] + 0.7 * mutual
        assert row["train/loss_step"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("saliency", ["joint_attention", "panel_attention"])
def test_image_term_trains_the_saliency(biq2021_root, tmp_path, saliency):
    """Value and gradient of the first batch, computed by hand at the queries and keys of the saliency."""

    class Gradients(Callback):
        def on_after_backward(self, trainer, pl_module):
            self.found = {n: p.grad.clone() for n, p in pl_module.pair.student.named_parameters() if p.grad is not None}

    task = make_task(saliency=saliency, lambda_image=1.0, lambda_manifold=0.0, lambda_mutual=0.0)
    data = make_data(biq2021_root)
    start = copy.deepcopy(task.pair.student).train()
    losses, gradients = Losses(), Gradients()
    make_trainer(tmp_path, callbacks=[losses, gradients], max_steps=1, max_epochs=-1).fit(task, datamodule=data)

    def smooth_l1(gap):  # beta 0.1
        return torch.where(gap.abs() < 0.1, gap**2 / 0.2, gap.abs() - 0.05).mean()

    batch = next(iter(data.train_dataloader()))
    scores = start(batch["crops"])
    image = smooth_l1((scores.saliency * scores.quality).sum(dim=1) - batch["mos"])
    assert losses.rows[0]["train/image_step"] == pytest.approx(image.item(), rel=1e-4)
    (smooth_l1(scores.quality - batch["mos"][:, None]) + image).backward()
    name = "backbone.network.blocks.5.attn.qkv.weight"
    name = name if saliency == "joint_attention" else "decoder.cross_attention.key.weight"
    expected = dict(start.named_parameters())[name].grad
    torch.testing.assert_close(gradients.found[name], expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_terms_switch_off(biq2021_root, tmp_path):
    losses = Losses()
    task = make_task(lambda_image=0.0, lambda_manifold=0.0, lambda_mutual=0.0)
    make_trainer(tmp_path, callbacks=[losses], max_epochs=1).fit(task, datamodule=make_data(biq2021_root))
    assert set(losses.rows[-1]) == {"train/loss_step", "train/quality_step"}
    assert not any(p.requires_grad for p in task.pair.student.projector.parameters())


def test_teacher_is_updated_once_per_optimizer_step(biq2021_root, tmp_path):
    """With gradients accumulated over 3 batches, against an EMA computed by hand."""

    class ByHand(Callback):
        def on_fit_start(self, trainer, pl_module):
            self.step = 0
            self.average = {n: p.detach().clone() for n, p in pl_module.pair.student.named_parameters()}

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step > self.step:
                self.step = trainer.global_step
                momentum = math.exp(-1 / (0.7 * self.step))
                for name, parameter in pl_module.pair.student.named_parameters():
                    self.average[name] = momentum * self.average[name] + (1 - momentum) * parameter.detach()

    by_hand = ByHand()
    task = make_task(teacher_horizon=0.7)
    trainer = make_trainer(tmp_path, callbacks=[by_hand], accumulate_grad_batches=3)
    trainer.fit(task, datamodule=make_data(biq2021_root, batch_size=2))
    assert by_hand.step == trainer.global_step == 4  # 5 batches an epoch: steps after 3 and 5
    for name, parameter in task.pair.teacher.named_parameters():
        torch.testing.assert_close(parameter, by_hand.average[name], rtol=1e-5, atol=1e-7)


def test_resume_continues_bit_equal(biq2021_root, tmp_path):
    options = {"saliency": "joint_attention", "lambda_mutual": 0.5}
    whole = make_task(**options)
    make_trainer(tmp_path, max_epochs=3).fit(whole, datamodule=make_data(biq2021_root))

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "first.ckpt")

    make_trainer(tmp_path, max_epochs=3, callbacks=[Stop()]).fit(
        make_task(**options), datamodule=make_data(biq2021_root)
    )
    torch.manual_seed(99)  # a new process has another random state
    resumed = LMLTask(**{**dict(whole.hparams), "pretrained": False})
    seed_everything(3, verbose=False)
    make_trainer(tmp_path, max_epochs=3).fit(
        resumed, datamodule=make_data(biq2021_root), ckpt_path=tmp_path / "first.ckpt", weights_only=True
    )
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


class OtherModule(BIQ2021DataModule):
    """The same data from another class, as with shards."""


def test_another_class_of_data_module_resumes_at_the_same_image(biq2021_root, tmp_path):
    class Images(Callback):
        def __init__(self, stop=None):
            self.seen, self.stop = [], stop

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if len(self.seen) == self.stop:
                trainer.save_checkpoint(tmp_path / "stopped.ckpt")
                raise KeyError("stopped")
            self.seen.append((trainer.current_epoch, *batch["image_id"].tolist()))

    options = {"batch_size": 2, "seed": 5}
    whole, before, after = Images(), Images(stop=3), Images()
    make_trainer(tmp_path, callbacks=[whole]).fit(make_task(), datamodule=make_data(biq2021_root, **options))
    with pytest.raises(KeyError, match="stopped"):
        make_trainer(tmp_path, callbacks=[before]).fit(make_task(), datamodule=make_data(biq2021_root, **options))
    data = OtherModule(biq2021_root, crops=3, eval_crops=4, crop_size=32, val_fraction=0.25, num_workers=0, **options)
    make_trainer(tmp_path, callbacks=[after]).fit(
        make_task(), datamodule=data, ckpt_path=tmp_path / "stopped.ckpt", weights_only=True
    )
    assert before.seen + after.seen == whole.seen


def test_checkpoint_without_progress_is_not_resumed(biq2021_root, tmp_path):
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(make_task(), datamodule=make_data(biq2021_root))
    trainer.save_checkpoint(tmp_path / "new.ckpt")
    content = torch.load(tmp_path / "new.ckpt", weights_only=True)
    del content["lml_iqa"]["epochs"]
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(CheckpointError, match=r"earlier version.*model\.initial_weights"):
        make_trainer(tmp_path).fit(
            make_task(), datamodule=make_data(biq2021_root), ckpt_path=tmp_path / "old.ckpt", weights_only=True
        )
    assert LMLTask.load_from_checkpoint(tmp_path / "old.ckpt", weights_only=True).provenance["dataset"] == "BIQ2021"


def test_metrics_equal_scipy_on_native_scores(biq2021_root, tmp_path):
    task, data = make_task(), make_data(biq2021_root)
    trainer = make_trainer(tmp_path)
    (metrics,) = trainer.test(task, datamodule=data, verbose=False)
    predicted, human = [], []
    with torch.no_grad():
        for batch in data.test_dataloader():
            scores = task(batch["crops"])
            predicted += (scores.saliency * scores.quality).sum(dim=1).tolist()
            human += batch["mos"].tolist()
    assert metrics["test/srcc"] == pytest.approx(stats.spearmanr(predicted, human).statistic, abs=1e-6)
    assert metrics["test/plcc"] == pytest.approx(stats.pearsonr(predicted, human).statistic, abs=1e-5)
    assert metrics["test/krcc"] == pytest.approx(stats.kendalltau(predicted, human).statistic, abs=1e-6)
    assert metrics["test/rmse"] == pytest.approx(np.sqrt(np.mean(np.subtract(predicted, human) ** 2)), rel=1e-5)


def write_dmos(root, low, high):
    files = sorted(p.relative_to(root).as_posix() for p in (root / "Images").iterdir())
    rows = [f"{name},{low + (high - low) * i / (len(files) - 1)}" for i, name in enumerate(files)]
    table = root / "dmos.csv"
    table.write_text("path,score\n" + "\n".join(rows), encoding="utf-8")
    return table


def test_scores_come_back_in_native_units_and_direction(biq2021_root, tmp_path):
    """A model trained on a DMOS of 20..100 predicts on that scale, also after loading its checkpoint."""
    labels = tmp_path / "dmos.csv"
    write_dmos(biq2021_root, 20, 100).rename(labels)
    data = TableDataModule(
        biq2021_root,
        labels,
        higher_is_better=False,
        batch_size=4,
        crops=2,
        eval_crops=4,
        crop_size=32,
        num_workers=0,
    )
    task = make_task()
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(tmp_path / "dmos.ckpt")
    loaded = LMLTask.load_from_checkpoint(tmp_path / "dmos.ckpt", weights_only=True)
    assert (loaded.training_scale.low, loaded.training_scale.high) == (20, 100)
    assert not loaded.training_scale.higher_is_better
    assert loaded.provenance["source"] == "dmos.csv, column 'score'"
    batch = make_trainer(tmp_path).predict(loaded, datamodule=data)[0]
    with torch.no_grad():
        scores = loaded(next(iter(data.predict_dataloader()))["crops"])
        unit = (scores.saliency * scores.quality).sum(dim=1)
    torch.testing.assert_close(batch["score"], 20 + 80 * (1 - unit))
    assert (batch["spread"] >= 0).all()


def test_scores_do_not_depend_on_batches_and_workers(biq2021_root, tmp_path):
    task = make_task()

    def scores(**options):
        batches = make_trainer(tmp_path).predict(task, datamodule=make_data(biq2021_root, **options))
        return {int(i): float(s) for b in batches for i, s in zip(b["image_id"], b["score"], strict=True)}

    reference = scores(batch_size=1)
    for options in ({"batch_size": 5}, {"batch_size": 18}, {"batch_size": 7, "num_workers": 2}):
        other = scores(**options)
        assert other.keys() == reference.keys()
        assert max(abs(other[i] - reference[i]) for i in reference) < 1e-6, options


def test_checkpoint_loads_without_pretrained_weights(biq2021_root, tmp_path):
    """Nodes without internet must be able to load models trained from weights of the hub."""
    task = make_task()
    task.hparams["pretrained"] = True
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(task, datamodule=make_data(biq2021_root))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = LMLTask.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    for name, value in task.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_fine_tuning_loads_weights_but_no_options(biq2021_root, tmp_path):
    trainer = make_trainer(tmp_path, max_epochs=1)
    task = make_task(lr=1e-3)
    trainer.fit(task, datamodule=make_data(biq2021_root))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    tuned = make_task(lr=5e-5, initial_weights=str(tmp_path / "a.ckpt"))
    assert tuned.hparams["lr"] == 5e-5
    for name, value in task.pair.state_dict().items():
        assert torch.equal(value, tuned.pair.state_dict()[name])
    with pytest.raises(WeightsError, match="other network options"):
        make_task(embedding_dim=16, initial_weights=str(tmp_path / "a.ckpt"))
    torch.save({"backbone.weight": torch.zeros(1)}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match=r"model\.pretrained"):
        make_task(initial_weights=str(tmp_path / "b.pth"))


@pytest.mark.parametrize(
    "option",
    [
        {"mutual_ramp": 1.5},
        {"teacher_horizon": -0.1},
        {"teacher_horizon": 0.0},
        {"warmup": 2.0},
        {"lambda_mutual": -1.0},
    ],
)
def test_options_out_of_range(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        make_task(**option)


def test_endless_training_has_no_schedule(biq2021_root, tmp_path):
    with pytest.raises(ValueError, match=r"trainer\.max_epochs"):
        make_trainer(tmp_path, max_epochs=-1).fit(make_task(), datamodule=make_data(biq2021_root))
