"""The data modules of the published sets, on tiny trees."""

import numpy as np
import pytest
import torch
from data import benchmarks as made
from data.benchmarks import LAYOUTS
from data.biq2021 import write_biq2021

from lml_iqa import datamodules
from lml_iqa.datasets import BENCHMARKS, DatasetError

SMALL = {"crop_size": 24, "batch_size": 4, "crops": 2, "eval_crops": 4, "num_workers": 0}
PARTS = ("train", "val", "test")

# A module, its tree, its best and its worst image, and the rule of its split.
MODULES = [
    ("LIVEDataModule", "live", "jp2k/img11.bmp", "wn/img126.bmp", "reference"),
    ("CSIQDataModule", "csiq_official", "1600.awgn.1.png", "turtle.jpeg2000.5.png", "reference"),
    ("TID2013DataModule", "tid2013", "i04_01_1.bmp", "i25_24_5.bmp", "reference"),
    ("KADID10kDataModule", "kadid10k_official", "i01_01_01.png", "i81_25_05.png", "reference"),
    ("LIVECDataModule", "livec", "918.bmp", "5.jpg", "random"),
    ("KonIQ10kDataModule", "koniq10k_metadata_both", "8200519025.jpg", "10004473376.jpg", "official"),
    ("FLIVEDataModule", "flive", "voc_emotic_ava/ava__103.jpg", "blur_dataset/motion0001.jpg", "official"),
    ("SPAQDataModule", "spaq_zip", "08834.jpg", "00001.jpg", "random"),
    ("BIQ2021DataModule", "biq2021", "ss00 (5000).jpg", "ss00 (1000).jpg", "official"),
]
SOURCES = {
    "live": "dmos_realigned.mat; images in databaserelease2; realigned DMOS",
    "csiq_official": "csiq.DMOS.xlsx; images in dst_imgs/{type}",
    "tid2013": "mos_with_names.txt; images in distorted_images",
    "kadid10k_official": "dmos.csv; images in images",
    "livec": "AllMOS_release.mat; images in Images",
    "koniq10k_metadata_both": ("koniq10k_scores_and_distributions.csv; images in 512x384; column MOS_zscore, 0..100"),
    "flive": "labels_image.csv; images in database",
    "spaq_zip": "MOS and Image attribute scores.xlsx; images in SPAQ zip",
    "biq2021": "{Train,Test} (Images and MOS).csv; images in Images",
}
every_module = pytest.mark.parametrize(
    ("name", "layout", "best", "worst", "rule"), MODULES, ids=[layout for _, layout, *_ in MODULES]
)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A tree each. Read them, do not write to them."""
    write = {**LAYOUTS, "biq2021": write_biq2021}
    return {layout: write[layout](tmp_path_factory.mktemp(layout) / "set") for _, layout, *_ in MODULES}


def module(name, root, **options):
    return getattr(datamodules, name)(root, **{**SMALL, **options})


def test_every_published_set_has_a_module():
    assert [getattr(datamodules, name).dataset for name, *_ in MODULES] == list(BENCHMARKS)


@every_module
def test_batches(trees, name, layout, best, worst, rule):
    data = module(name, trees[layout])
    for stage in ("fit", "test"):
        data.prepare_data()
        data.setup(stage)
    assert data.split.rule == rule
    assert sorted(set(np.concatenate([data.split.train, data.split.val, data.split.test]))) == [
        row for row in range(len(data.table)) if data.table.parts is None or data.table.parts[row] != ""
    ]
    for loader, crops in ((data.train_dataloader(), 2), (data.val_dataloader(), 4), (data.test_dataloader(), 4)):
        batch = next(iter(loader))
        images = len(batch["mos"])
        assert 1 <= images <= 4
        assert (batch["crops"].shape, batch["crops"].dtype) == ((images, crops, 3, 24, 24), torch.uint8)
        assert (batch["positions"].shape, batch["positions"].dtype) == ((images, crops, 2), torch.int64)
        assert (batch["mos"].shape, batch["mos"].dtype) == ((images,), torch.float32)
        assert (batch["image_id"].shape, batch["image_id"].dtype) == ((images,), torch.int64)
    assert len(next(iter(data.train_dataloader()))["mos"]) == 4


@every_module
def test_the_best_image_has_the_highest_mos(trees, name, layout, best, worst, rule):
    data = module(name, trees[layout])
    batches = list(data.predict_dataloader())
    mos = torch.cat([batch["mos"] for batch in batches])
    rows = torch.cat([batch["image_id"] for batch in batches])
    assert rows.tolist() == list(range(len(data.table)))
    assert 0 <= mos.min() < mos.max() <= 1
    assert mos.max() - mos.min() > 0.5
    names = [file.casefold() for file in data.table.files]
    assert names[mos.argmax()].endswith(f"/{best}")
    assert names[mos.argmin()].endswith(f"/{worst}")
    native = torch.from_numpy(data.table.scores)
    order = -native if layout in {"live", "csiq_official"} else native
    assert torch.equal(mos.argsort(stable=True), order.argsort(stable=True))


@every_module
def test_provenance(trees, name, layout, best, worst, rule):
    data = module(name, trees[layout], split_seed=3)
    remembered = data.provenance()
    assert remembered["dataset"] == data.table.name == data.dataset.name
    assert remembered["source"] == SOURCES[layout]
    assert (remembered["split"], remembered["split_seed"], remembered["short_side"]) == (rule, 3, None)
    assert remembered["data_sha256"] == data.table.digest()


@every_module
def test_short_side(trees, tmp_path, name, layout, best, worst, rule):
    plain = module(name, trees[layout])
    small = module(name, trees[layout], short_side=24, cache=tmp_path)
    assert small.provenance()["short_side"] == 24
    assert small.table.digest() == plain.table.digest()
    for row in (0, len(plain.table) - 1):
        height, width, _ = plain.table.read(row).shape
        assert min(height, width) >= 32
        shape = small.table.read(row).shape
        assert min(shape[:2]) == 24
        assert shape[0] / shape[1] == pytest.approx(height / width, rel=0.03)
    batch = next(iter(small.predict_dataloader()))
    assert (batch["positions"].amin(dim=2) == 0).all()  # no room on the short side
    assert len(list((tmp_path / "resized").rglob("*.png"))) >= 4


def test_a_split_of_one_layout_serves_the_other(tmp_path):
    """A run's split.json, given to a run on the other layout of the same set."""
    layouts = ("csiq_official", "csiq_community")
    official, community = (LAYOUTS[layout](tmp_path / layout) for layout in layouts)
    data = module("CSIQDataModule", official, split_seed=5)
    data.split.save(tmp_path / "split.json", data.table)
    other = module("CSIQDataModule", community, split=tmp_path / "split.json")
    assert other.table.source != data.table.source
    for part in PARTS:
        ours, theirs = (set(m.table.ids[getattr(m.split, part)]) for m in (data, other))
        assert ours == theirs


@pytest.fixture
def sizes_read(monkeypatch):
    """Counts the images whose size is looked up."""
    import lml_iqa.datasets.flive as flive

    read, plain = [], flive.read_size
    monkeypatch.setattr(flive, "read_size", lambda path: read.append(path) or plain(path))
    return read


@pytest.mark.parametrize("split", ["auto", "official"])
def test_flive_looks_the_official_parts_up(trees, sizes_read, split):
    data = module("FLIVEDataModule", trees["flive"], split=split)
    assert data.split.rule == "official"
    names = np.array(list(made.FLIVE_PARTS))
    parts = np.array(list(made.FLIVE_PARTS.values()))
    assert sorted(names[data.split.test]) == sorted(names[parts == "test"])
    assert sorted([*names[data.split.train], *names[data.split.val]]) == sorted(names[parts == "train"])
    assert len(sizes_read) == len(names)
    assert len(next(iter(data.test_dataloader()))["mos"]) == 3


def test_flive_leaves_the_sizes_alone_where_no_split_wants_them(trees, sizes_read, tmp_path):
    data = module("FLIVEDataModule", trees["flive"], split="random")
    assert data.split.rule == "random"
    data.split.save(tmp_path / "split.json", data.table)
    again = module("FLIVEDataModule", trees["flive"], split=tmp_path / "split.json")
    assert again.split.test.tolist() == data.split.test.tolist()
    assert sizes_read == []


def test_live_cannot_be_downloaded(tmp_path):
    data = module("LIVEDataModule", tmp_path / "nowhere", download=True)
    with pytest.raises(DatasetError) as error:
        data.prepare_data()
    assert "LIVE cannot be downloaded automatically" in str(error.value)
    assert "automatically. Ask its authors for the password" in str(error.value)
    assert "https://live.ece.utexas.edu/research/Quality/subjective.htm" in str(error.value)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("above", [False, True])
def test_what_is_there_is_not_downloaded(trees, above):
    root = trees["live"].parent if above else trees["live"]
    data = module("LIVEDataModule", root, download=True)
    data.prepare_data()
    assert len(data.table) == len(made.LIVE)


def test_nothing_is_downloaded_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr("lml_iqa.datasets.base.download_archives", lambda *_: pytest.fail("downloads"))
    for name, *_ in MODULES:
        data = module(name, tmp_path / "nowhere")
        data.prepare_data()
        with pytest.raises(DatasetError, match="does not exist; set"):
            data.setup("fit")
