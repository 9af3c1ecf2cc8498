"""Score scales in tests, predictions and fine-tuning on other data."""

import csv
import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from scipy import stats

from lml_iqa import CollapseMonitor, FolderDataModule, LMLTask, Report, ScoreScale, TableDataModule
from lml_iqa.datasets.scale import ratings_scale, scale_warning
from lml_iqa.errors import ConfigError

OPTIONS = {"batch_size": 4, "crops": 2, "eval_crops": 2, "crop_size": 32, "num_workers": 0, "split": "random"}
UNIT = ScoreScale("MOS", 0.0, 1.0)
DMOS = ScoreScale("DMOS", 0.0, 100.0, higher_is_better=False)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    return folder


def table(folder, scores, **options):
    """Data module with the given scores for the first images."""
    path = folder.parent / f"labels{len(list(folder.parent.glob('labels*')))}.csv"
    path.write_text("path,score\n" + "".join(f"{i:02}.png,{float(score)!r}\n" for i, score in enumerate(scores)))
    return TableDataModule(folder, path, **{**OPTIONS, **options})


def make_task(**options):
    seed_everything(3, verbose=False)
    small = {"backbone": "test_vit", "pretrained": False, "decoder_heads": 4, "embedding_dim": 8, "lr": 1e-3}
    return LMLTask(**{**small, **options})


def make_trainer(folder, *callbacks, **options):
    return Trainer(
        accelerator="cpu",
        **{"max_epochs": 1, "logger": CSVLogger(folder, name="", version="run"), **options},
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )


@pytest.fixture
def trained(images, tmp_path):
    """Checkpoint of a model trained on MOS 1..5."""
    trainer = make_trainer(tmp_path)
    trainer.fit(make_task(), datamodule=table(images, np.linspace(1.2, 4.8, 20), low=1, high=5))
    trainer.save_checkpoint(tmp_path / "mos.ckpt")
    return tmp_path / "mos.ckpt"


def rows_of(path):
    with path.open(newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("scale", "other", "native", "expected"),
    [
        (ScoreScale("MOS", 1, 5), DMOS, [1.0, 2.0, 5.0], [100.0, 75.0, 0.0]),
        (DMOS, UNIT, [0.0, 30.0, 100.0], [1.0, 0.7, 0.0]),
        (UNIT, UNIT, [0.1, 0.3], [0.1, 0.3]),
    ],
)
def test_conversion(scale, other, native, expected):
    np.testing.assert_allclose(scale.convert(np.array(native), other), expected, rtol=1e-12)
    np.testing.assert_allclose(other.convert(np.array(expected), scale), native, rtol=1e-12)


@pytest.mark.parametrize(
    ("data", "shared", "warning"),
    [
        (UNIT, UNIT, ""),
        (ScoreScale("MOS", 0.2, 0.9, stated=False), UNIT, ""),
        (ScoreScale("MOS", 1.0, 4.0, stated=False), UNIT, r"MOS 0\.\.1, higher.*range from 1 to 4.*data\.low"),
        (ScoreScale("MOS", 1.0, 5.0), None, r"trained on MOS 0\.\.1, higher.* ratings are on MOS 1\.\.5, higher"),
        (DMOS, None, r"MOS 0\.\.1, higher is better.*DMOS 0\.\.100, lower is better"),
        (ScoreScale("DMOS", 0.2, 0.9, False, stated=False), None, r"MOS 0\.\.1.*DMOS 0\.2\.\.0\.9, lower is better"),
    ],
)
def test_which_scale_ratings_are_on(data, shared, warning):
    import re

    assert ratings_scale(UNIT, data) == (shared or data)
    found = scale_warning(UNIT, data)
    assert re.search(warning, found) if warning else found == ""


def test_a_second_label_file_of_the_same_study(images, tmp_path, recwarn):
    """Its narrower range of scores does not define a new scale."""
    trained_on = table(images, np.linspace(0.04, 0.96, 20))
    trainer = make_trainer(tmp_path, Report())
    task = make_task()
    trainer.fit(task, datamodule=trained_on)
    second = np.linspace(0.5, 0.8, 10)
    (metrics,) = trainer.test(task, datamodule=table(images, second, split="whole"), verbose=False)
    tested = rows_of(tmp_path / "run" / "predictions.csv")
    trainer = make_trainer(tmp_path / "predict", Report())
    trainer.predict(task, datamodule=FolderDataModule(images, crop_size=32, eval_crops=2, num_workers=0))
    predicted = rows_of(tmp_path / "predict" / "run" / "predictions.csv")
    scores = {name: float(row["score"]) for name, row in predicted.items()}
    for number, (name, row) in enumerate(tested.items()):
        assert float(row["score"]) == pytest.approx(scores[name], abs=1e-6)
        assert float(row["human_score"]) == pytest.approx(second[number], abs=1e-6)
        assert row["scale"] == predicted[name]["scale"] == "MOS 0.04..0.96, higher is better"
    errors = [scores[name] - second[number] for number, name in enumerate(tested)]
    assert metrics["test/rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5)
    facts = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (facts["scale"]["low"], facts["scale"]["high"]) == (0.04, 0.96)
    assert not [w for w in recwarn if "scale" in str(w.message)]


def test_warning_for_another_unstated_scale(images, trained, tmp_path):
    task = LMLTask.load_from_checkpoint(trained, weights_only=True)
    with pytest.warns(UserWarning, match=r"trained on MOS 1\.\.5, higher is better.*range from 10 to 90"):
        make_trainer(tmp_path).test(task, table(images, np.linspace(10, 90, 20), split="whole"), verbose=False)


def test_scores_are_converted_to_another_stated_scale(images, trained, tmp_path):
    task = LMLTask.load_from_checkpoint(trained, weights_only=True)
    human = np.linspace(95, 5, 20)
    data = table(images, human, split="whole", low=0, high=100, higher_is_better=False)
    trainer = make_trainer(tmp_path, Report())
    with pytest.warns(UserWarning, match=r"trained on MOS 1\.\.5, higher is better.*DMOS 0\.\.100, lower is better"):
        (metrics,) = trainer.test(task, data, verbose=False)
    tested = rows_of(tmp_path / "run" / "predictions.csv")
    make_trainer(tmp_path / "predict", Report()).predict(task, data)
    predicted = rows_of(tmp_path / "predict" / "run" / "predictions.csv")
    for name, row in tested.items():
        assert row["scale"] == "DMOS 0..100, lower is better"
        assert predicted[name]["scale"] == "MOS 1..5, higher is better"
        for column in ("score", "human_score"):  # both columns of a file are on the same scale
            unit = (float(predicted[name][column]) - 1) / 4
            assert float(row[column]) == pytest.approx(100 * (1 - unit), abs=1e-3)
    scores = [float(row["score"]) for row in tested.values()]
    assert metrics["test/srcc"] == pytest.approx(stats.spearmanr(scores, human).statistic, abs=1e-4)


class Steps(Callback):
    def __init__(self):
        self.rates = []

    def on_train_batch_end(self, trainer, *args):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_fit_on_other_data_is_fine_tuning(images, trained, tmp_path, capsys):
    """The networks are from the checkpoint; schedule, epochs, best score and score scale are those of the new run."""
    data = table(images, np.linspace(95, 5, 20), low=0, high=100, higher_is_better=False)
    start, tuned = LMLTask.load_from_checkpoint(trained, weights_only=True), make_task(lr=1e-30, backbone_lr=1e-3)
    fresh, steps = Steps(), Steps()
    make_trainer(tmp_path, fresh, max_epochs=2).fit(make_task(lr=1e-30, backbone_lr=1e-3), datamodule=data)
    trainer = make_trainer(tmp_path, steps, Report(), max_epochs=2)
    trainer.fit(tuned, datamodule=data, ckpt_path=trained, weights_only=True)
    assert tuned.training_scale == DMOS
    assert tuned.provenance == data.provenance()
    assert trainer.current_epoch == 2
    assert steps.rates == fresh.rates
    for name, value in start.pair.student.state_dict().items():
        torch.testing.assert_close(tuned.pair.student.state_dict()[name], value)
    trainer.save_checkpoint(tmp_path / "dmos.ckpt")
    loaded = LMLTask.load_from_checkpoint(tmp_path / "dmos.ckpt", weights_only=True)
    assert (loaded.training_scale, loaded.provenance["dataset"]) == (DMOS, data.table.name)
    prediction = make_trainer(tmp_path).predict(loaded, data)[0]
    assert ScoreScale(**prediction["scale"]) == DMOS
    unit = make_trainer(tmp_path).predict(start, data)[0]["score"]
    torch.testing.assert_close(prediction["score"], 100 - 25 * (unit - 1), rtol=1e-3, atol=1e-2)


def test_resuming_on_another_split(images, trained, tmp_path):
    data = table(images, np.linspace(1.2, 4.8, 20), low=1, high=5, split_seed=1)
    with pytest.raises(ConfigError, match=r"trained on another split of labels\d.*data\.split_seed"):
        make_trainer(tmp_path, max_epochs=2).fit(make_task(), datamodule=data, ckpt_path=trained, weights_only=True)


@pytest.mark.parametrize("sizes", [(2, 4), (4, 2), (4, 4)])
def test_schedules_continue_by_epochs_with_another_batch_size(images, tmp_path, sizes):
    """After a resume with another batch size, the learning rates are those of an uninterrupted run."""

    def run(size, resume=None, epochs=4, stop=None):
        class Stop(Callback):
            def on_validation_end(self, trainer, pl_module):
                if trainer.current_epoch == stop:
                    trainer.save_checkpoint(tmp_path / "half.ckpt")
                    trainer.should_stop = True

        steps = Steps()
        trainer = make_trainer(tmp_path, steps, Stop(), max_epochs=epochs)
        data = table(images, np.linspace(1.2, 4.8, 20), batch_size=size, val_fraction=0.25)  # 12 to train on
        trainer.fit(make_task(), datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
        return steps.rates

    whole = {size: run(size) for size in sizes}
    before = run(sizes[0], stop=1)
    assert before == whole[sizes[0]][: len(before)]
    after = run(sizes[1], resume=tmp_path / "half.ckpt")
    assert len(after) == 2 * 12 // sizes[1]
    assert after == pytest.approx(whole[sizes[1]][-len(after) :], rel=1e-6, abs=1e-12)


def test_metrics_file_without_nan_and_dead_paths(images, tmp_path):
    """Constant scores have no correlation; a deleted checkpoint is not named."""
    task = make_task(aggregate="mean")
    data = table(images, np.linspace(1.2, 4.8, 20))
    trainer = make_trainer(tmp_path, Report(), CollapseMonitor())
    trainer.fit(task, datamodule=data)
    for network in (task.pair.teacher, task.pair.student):
        torch.nn.init.zeros_(network.quality_head.weight)
    trainer.save_checkpoint(tmp_path / "gone.ckpt")
    trainer.test(task, datamodule=data, ckpt_path=tmp_path / "gone.ckpt", weights_only=True, verbose=False)

    def refuse(constant):
        raise AssertionError(constant)

    facts = json.loads((tmp_path / "run" / "metrics.json").read_text(), parse_constant=refuse)
    assert facts["metrics"]["test/srcc"] is None
    assert facts["metrics"]["test/rmse"] > 0
    assert facts["checkpoint"] == str(tmp_path / "gone.ckpt")
    (tmp_path / "gone.ckpt").unlink()
    trainer.test(task, datamodule=data, verbose=False)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["checkpoint"] is None
