"""The published sets as torch data sets."""

import numpy as np
import pytest
import torch
from data.benchmarks import LAYOUTS
from PIL import Image
from torch.utils.data import DataLoader

import lml_iqa
from lml_iqa.datasets import BENCHMARKS, make_split

NAMES = [dataset.__name__ for dataset in BENCHMARKS if dataset.__name__ != "BIQ2021"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of a tiny tree of each set, by class name."""
    made = {}
    for layout, write in LAYOUTS.items():
        name = next((name for name in NAMES if layout.split("_")[0] == name.lower()), None)
        if name is not None and name not in made:
            made[name] = write(tmp_path_factory.mktemp(name) / "set")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_those_of_the_data_module(root, name):
    dataset = getattr(lml_iqa, name)
    module = getattr(lml_iqa, f"{name}DataModule")(root[name])
    for split in ("train", "val", "test"):
        rows = dataset(root[name], split=split).rows
        np.testing.assert_array_equal(rows, getattr(module.split, split))
        assert len(dataset(root[name], split=split)) == len(rows) > 0
    assert len(dataset(root[name], split="all")) == len(module.table)


@pytest.mark.parametrize("name", NAMES)
def test_item_is_the_file_with_its_score(root, name):
    everything = getattr(lml_iqa, name)(root[name], split="all")
    table = everything.table
    for row in (0, len(everything) - 1):
        sample = everything[row]
        with Image.open(table.path(row)) as image:
            np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), np.asarray(image.convert("RGB")))
        assert sample["path"] == table.files[row]
        assert float(sample["score"]) == pytest.approx(table.scores[row])
        assert ("reference" in sample) == (table.references is not None)
        assert ("type" in sample, "level" in sample) == (table.types is not None, table.levels is not None)


def test_transform_seed_and_loader(root):
    def halves(image):
        return image[:, :8, :8].float() / 2

    dataset = lml_iqa.TID2013(root["TID2013"], "train", halves, split_seed=3)
    np.testing.assert_array_equal(dataset.rows, make_split(dataset.table, seed=3).train)
    assert not np.array_equal(dataset.rows, lml_iqa.TID2013(root["TID2013"]).rows)
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert batch["image"].shape == (2, 3, 8, 8)
    assert batch["image"].dtype == batch["score"].dtype == torch.float32
    assert len(batch["path"]) == len(batch["reference"]) == len(batch["level"]) == 2


def test_plot(root, tmp_path):
    dataset = lml_iqa.KonIQ10k(root["KonIQ10k"], split="test")
    sample = dataset[0]
    figure = dataset.plot(sample)
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, sample["image"].permute(1, 2, 0))
    assert f"{float(sample['score']):.4g}" in figure.axes[0].get_title()


def test_wrong_split_and_missing_set(root, tmp_path):
    with pytest.raises(ValueError, match=r"split must be one of 'train', 'val', 'test', 'all', not 'valid'"):
        lml_iqa.CSIQ(root["CSIQ"], split="valid")
    with pytest.raises(lml_iqa.DatasetError, match="no label file"):
        lml_iqa.CSIQ(tmp_path)
    with pytest.raises(lml_iqa.DatasetError, match="LIVE cannot be downloaded automatically"):
        lml_iqa.LIVE(tmp_path, download=True)


def test_download_leaves_a_set_that_is_there_alone(root):
    assert len(lml_iqa.LIVE(root["LIVE"], split="all", download=True)) > 0
