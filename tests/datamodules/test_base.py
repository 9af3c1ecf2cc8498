import itertools
import json
import os

import numpy as np
import pytest
import torch
from data.biq2021 import TEST, TRAIN
from lightning.pytorch import LightningModule, Trainer, seed_everything
from PIL import Image
from torch.utils.data import DistributedSampler

from lml_iqa.datamodules import BIQ2021DataModule, TableDataModule
from lml_iqa.datasets import DatasetError, make_split

SMALL = {"crop_size": 16, "batch_size": 4, "crops": 2, "eval_crops": 4, "num_workers": 0}


@pytest.fixture
def data(biq2021_root):
    return lambda **options: BIQ2021DataModule(root=biq2021_root, **{**SMALL, **options})


@pytest.fixture(autouse=True)
def keep_random_state():
    with torch.random.fork_rng():
        yield


class Recorder(LightningModule):
    """Learns nothing, and remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": [], "test": [], "predict": []}

    def _note(self, part, batch):
        self.seen[part] += [
            (self.current_epoch, image, str(positions.tolist()))
            for image, positions in zip(batch["image_id"].tolist(), batch["positions"], strict=True)
        ]

    def training_step(self, batch):
        self._note("train", batch)
        return self.weight * 0

    def validation_step(self, batch):
        self._note("val", batch)

    def test_step(self, batch):
        self._note("test", batch)

    def predict_step(self, batch):
        self._note("predict", batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def images(self, part):
        return [image for _, image, _ in self.seen[part]]


def trainer(epochs=1, **options):
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"enable_checkpointing": False, **options},
    )


def positions(loader, epoch=0):
    loader.sampler.set_epoch(epoch)
    return torch.cat([batch["positions"] for batch in loader])


@pytest.mark.parametrize("option", ["batch_size", "crops", "eval_crops", "crop_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused(data, option, value):
    with pytest.raises(ValueError, match=rf"data\.{option} must be at least 1, not {value}"):
        data(**{option: value})


@pytest.mark.parametrize("option", ["split_seed", "seed", "num_workers"])
def test_negative_numbers_are_refused(data, option):
    with pytest.raises(ValueError, match=rf"data\.{option} must be at least 0, not -1"):
        data(**{option: -1})


def test_unknown_option_is_refused(data):
    with pytest.raises(TypeError, match="cropsize"):
        data(cropsize=3)


@pytest.mark.parametrize("options", [{"test_fraction": 1.0}, {"val_fraction": 0}])
def test_senseless_fractions_are_refused(data, options):
    with pytest.raises(DatasetError, match="between 0 and 1"):
        data(split="random", **options).setup("fit")


def test_unknown_split_is_refused(data):
    with pytest.raises(DatasetError, match=r"data\.split: randm is neither one of auto, .*random.* nor the path of"):
        data(split="randm").setup("fit")


def test_rule_that_does_not_apply_is_refused(data):
    with pytest.raises(DatasetError, match="use split: random"):
        data(split="reference").setup("fit")


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"gone does not exist; set data\.root"):
        BIQ2021DataModule(root=tmp_path / "gone").setup("predict")


def test_parts(data):
    module = data()
    module.setup("fit")
    assert module.split.rule == "official"
    assert (len(module.split.train), len(module.split.val), len(module.split.test)) == (12, 1, 5)
    assert (module.scale.low, module.scale.high) == (0, 1)
    assert module.table is module.table  # read once
    assert module.split is module.split


def test_split_options_reach_the_split(data):
    module = data(split="random", split_seed=4, test_fraction=0.5, val_fraction=0.3)
    expected = make_split(module.table, rule="random", seed=4, test_fraction=0.5, val_fraction=0.3)
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(module.split, part), getattr(expected, part))
    assert len(module.split.test) == 9


def test_split_by_path(data, tmp_path):
    module = data(split="random", split_seed=8)
    module.split.save(tmp_path / "split.json", module.table)
    for path in (tmp_path / "split.json", str(tmp_path / "split.json")):
        again = data(split=path)
        np.testing.assert_array_equal(again.split.test, module.split.test)
        assert (again.split.rule, again.split.seed) == ("random", 8)
    with pytest.raises(DatasetError, match="made for other data"):
        _ = other_table(tmp_path, split=tmp_path / "split.json").split


def other_table(root, rows=5, **options):
    for i in range(rows):
        Image.new("RGB", (20, 20), (i, i, i)).save(root / f"{i}.png")
    (root / "labels.csv").write_text("path,score\n" + "".join(f"{i}.png,{i}\n" for i in range(rows)))
    return TableDataModule(root=root, labels="labels.csv", **{**SMALL, **options})


def test_provenance(data):
    module = data(split="random", split_seed=3)
    assert module.provenance() == {
        "dataset": "BIQ2021",
        "source": module.table.source,
        "data_sha256": module.table.digest(),
        "split_sha256": module.split.digest(module.table),
        "split": "random",
        "split_seed": 3,
        "train_fraction": 1.0,
        "crop_size": 16,
        "eval_crops": 4,
        "short_side": None,
        "legacy": [],
    }


def test_the_legacy_options(data):
    module = data(split="random", validate_on="test", eval_positions="random", seed=4)
    module.setup("fit")
    default = data(split="random")
    assert len(module.split.val) == 0
    assert len(module.split.train) == len(default.split.train) + len(default.split.val)
    np.testing.assert_array_equal(module.split.test, default.split.test)
    assert module.provenance()["legacy"] == ["the model was selected on the test set", "random test crops"]
    loaders = module.val_dataloader(), module.test_dataloader()
    for loader in loaders:
        assert [image for batch in loader for image in batch["image_id"].tolist()] == module.split.test.tolist()
    assert torch.equal(positions(loaders[0]), positions(loaders[1]))  # a seed's crops never change
    again, other = (data(split="random", eval_positions="random", seed=seed).test_dataloader() for seed in (4, 5))
    assert torch.equal(positions(loaders[1]), positions(again))
    assert not torch.equal(positions(loaders[1]), positions(other))
    assert not torch.equal(positions(loaders[1]), positions(default.test_dataloader()))


@pytest.mark.parametrize("option", ["validate_on", "eval_positions"])
def test_unknown_choices_are_refused(data, option):
    with pytest.raises(ValueError, match=rf"data\.{option} must be one of .*, not 'dice'"):
        data(**{option: "dice"})


def test_a_split_without_the_part_that_is_needed_is_refused(data, tmp_path):
    whole = data(split="whole")
    whole.setup("test")
    assert len(whole.split.test) == 18
    with pytest.raises(DatasetError, match=r"BIQ2021: data\.split: whole has no train set; give another split"):
        data(split="whole").setup("fit")
    module = data(split="random", validate_on="test")
    module.split.save(tmp_path / "split.json", module.table)
    data(split=tmp_path / "split.json", validate_on="test").setup("fit")
    for stage in ("fit", "validate"):
        with pytest.raises(DatasetError, match="has no val set"):
            data(split=tmp_path / "split.json").setup(stage)


def test_batches(data):
    batch = next(iter(data().train_dataloader()))
    assert batch["crops"].shape == (4, 2, 3, 16, 16)
    assert batch["crops"].dtype == torch.uint8
    assert batch["positions"].shape == (4, 2, 2)
    assert batch["mos"].dtype == torch.float32
    scores = np.array([*TRAIN.values(), *TEST.values()])
    np.testing.assert_allclose(batch["mos"], scores[batch["image_id"]], rtol=1e-6)
    assert next(iter(data().test_dataloader()))["crops"].shape == (4, 4, 3, 16, 16)


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 4]), (5, [5, 5]), (12, [12]), (13, [12]), (99, [12])])
def test_incomplete_last_training_batch_is_dropped_unless_alone(data, batch_size, sizes):
    loader = data(batch_size=batch_size).train_dataloader()
    assert [len(batch["mos"]) for batch in loader] == sizes
    assert len(loader) == len(sizes)


@pytest.mark.parametrize(("part", "rows"), [("val", 1), ("test", 5), ("predict", 18)])
def test_evaluation_gives_each_image_once(data, part, rows):
    module = data()
    loader = getattr(module, f"{part}_dataloader")()
    served = [image for batch in loader for image in batch["image_id"].tolist()]
    expected = range(18) if part == "predict" else getattr(module.split, part)
    assert served == list(expected)
    assert len(served) == rows
    assert torch.equal(positions(loader), positions(loader, 1))


def test_predicting_needs_no_split(tmp_path):
    module = other_table(tmp_path, rows=2)  # too few for three parts
    module.setup("predict")
    assert len(list(module.predict_dataloader())) == 1
    with pytest.raises(DatasetError, match="set of the random split is empty"):
        module.setup("fit")


def test_default_training_crops_are_deterministic(data):
    torch.manual_seed(7)
    first = positions(data().train_dataloader())
    torch.rand(10)  # drawing does not matter
    assert torch.equal(first, positions(data().train_dataloader()))
    assert not torch.equal(first, positions(data().train_dataloader(), epoch=1))


def test_seed_everything_changes_the_training_crops(data):
    drawn = []
    for seed in (1, 2, 1):
        seed_everything(seed, verbose=False)
        drawn.append(positions(data().train_dataloader()))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_seed_of_the_data_goes_before_seed_everything(data):
    drawn = []
    for run, own in itertools.product((1, 2), (0, 3)):
        seed_everything(run, verbose=False)
        drawn.append(positions(data(seed=own).train_dataloader()))
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_leave_the_random_state_of_the_run_alone(data, workers):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    module = data(num_workers=workers)
    list(module.train_dataloader())
    list(module.test_dataloader())
    assert torch.equal(torch.rand(3), expected)


def test_flip_reaches_the_crops(data):
    plain = torch.cat([batch["crops"] for batch in data(flip=False, seed=0).train_dataloader()])
    flipped = torch.cat([batch["crops"] for batch in data(seed=0).train_dataloader()])
    same = (plain == flipped).flatten(2).all(dim=2)
    mirrored = (plain.flip(-1) == flipped).flatten(2).all(dim=2)
    assert (same | mirrored).all()
    assert mirrored.any()
    assert same.any()


@pytest.mark.parametrize("workers", [0, 2])
def test_trainer_sets_the_epoch(data, workers):
    """Two epochs under Lightning: new crops in the second, each as the pure function of (seed, epoch) says."""
    model = Recorder()
    module = data(num_workers=workers, seed=3)
    trainer(epochs=2).fit(model, module)
    loader = data(seed=3).train_dataloader()
    expected = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            for image, where in zip(batch["image_id"].tolist(), batch["positions"], strict=True):
                expected.append((epoch, image, str(where.tolist())))
    assert model.seen["train"] == expected
    assert len(expected) == 24
    assert len({where for _, _, where in expected}) > 20
    assert model.images("val") == 2 * module.split.val.tolist()


def test_resumed_run_goes_on_with_the_same_crops(data, tmp_path):
    whole = Recorder()
    trainer(epochs=2).fit(whole, data(seed=3))
    begun = Recorder()
    first = trainer(epochs=1)
    first.fit(begun, data(seed=3))
    first.save_checkpoint(tmp_path / "last.ckpt")
    resumed = Recorder()
    trainer(epochs=2).fit(resumed, data(seed=3), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    assert begun.seen["train"] + resumed.seen["train"] == whole.seen["train"]


def test_trainer_evaluates_each_image_once(data):
    model, module = Recorder(), data(batch_size=3)
    trainer().validate(model, module, verbose=False)
    trainer().test(model, module, verbose=False)
    trainer().predict(model, module)
    assert model.images("val") == module.split.val.tolist()
    assert model.images("test") == module.split.test.tolist()
    assert model.images("predict") == list(range(18))


class Rank:
    """As much of a Trainer as the data module asks for."""

    def __init__(self, rank, world_size=3):
        self.global_rank = rank
        self.world_size = world_size


@pytest.mark.parametrize("rank", [0, 1])
def test_fewer_images_than_processes_are_refused_on_every_process(data, rank):
    module = data()
    module.trainer = Rank(rank, world_size=2)
    with pytest.raises(DatasetError, match=r"BIQ2021: 1 images to evaluate for 2 processes; use fewer devices"):
        module.val_dataloader()
    module.trainer = Rank(rank, world_size=99)
    with pytest.raises(DatasetError, match=r"BIQ2021: 12 images to train on for 99 processes; use fewer devices"):
        module.train_dataloader()


def test_ranks_of_a_trainer_share_the_images(data):
    served = {"train": [], "test": [], "predict": []}
    for rank, part in itertools.product(range(3), served):
        module = data()
        module.trainer = Rank(rank)
        loader = getattr(module, f"{part}_dataloader")()
        assert isinstance(loader.sampler, DistributedSampler)
        served[part] += [image for batch in loader for image in batch["image_id"].tolist()]
    assert sorted(served["train"]) == data().split.train.tolist()  # 12 images, one batch of 4 on each
    assert sorted(served["test"]) == data().split.test.tolist()
    assert sorted(served["predict"]) == list(range(18))


class Witness(Recorder):
    """Leaves what its rank saw in a folder."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def _leave(self):
        (self.folder / f"{self.global_rank}.json").write_text(json.dumps(self.seen))

    on_train_end = on_predict_end = on_test_end = _leave


@pytest.mark.parametrize("stage", ["fit", "test", "predict"])
def test_two_processes_under_lightning(data, tmp_path, stage):
    """Lightning keeps our samplers: every image once in evaluation, and in training the crops of a single process."""
    if not hasattr(os, "fork") or torch.cuda.is_initialized():
        pytest.skip("needs to fork, which a started CUDA does not survive")
    run = getattr(trainer(epochs=2, devices=2, strategy="ddp_fork"), stage)
    run(Witness(tmp_path), data(seed=3, batch_size=2, val_fraction=0.4))
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    part = "train" if stage == "fit" else stage
    together = [tuple(row) for rank in ranks for row in rank[part]]
    alone = Recorder()
    getattr(trainer(epochs=2), stage)(alone, data(seed=3, batch_size=4, val_fraction=0.4))
    assert sorted(together) == sorted(alone.seen[part])
    assert len(together) == {"fit": 16, "test": 5, "predict": 18}[stage]
    assert all(len(rank[part]) >= 2 for rank in ranks)


def test_options_of_the_table_module(tmp_path):
    module = other_table(tmp_path, score_column="score", low=-4.0, high=4.0, higher_is_better=False)
    assert (module.scale.name, module.scale.low, module.scale.high) == ("DMOS", -4, 4)
    batch = next(iter(module.predict_dataloader()))
    np.testing.assert_allclose(batch["mos"], [0.5, 0.375, 0.25, 0.125])
    with pytest.raises(DatasetError, match="no column 'x'"):
        other_table(tmp_path, path_column="x").setup("fit")


def test_original_biq2021(shared_data):
    module = BIQ2021DataModule(root=shared_data / "BIQ2021", batch_size=4, num_workers=0)
    module.setup("fit")
    assert (len(module.split.train), len(module.split.val), len(module.split.test)) == (2881, 320, 799)
    assert (len(module.train_dataloader()), len(module.val_dataloader())) == (720, 80)
    row = module.table.files.tolist().index("Images/ss03 (6538).jpg")
    assert row in module.split.test
    batch = next(iter(module.test_dataloader()))
    assert batch["crops"].shape == (4, 9, 3, 224, 224)
    assert batch["image_id"][0] == row
    assert batch["mos"][0].item() == pytest.approx(0.7454)
    assert batch["positions"][0].tolist() == [[y, x] for y in (0, 144, 288) for x in (0, 144, 288)]
    assert next(iter(module.train_dataloader()))["crops"].shape == (4, 4, 3, 224, 224)
