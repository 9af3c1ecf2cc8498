import pickle
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lml_iqa.data_tools.command import run
from lml_iqa.datamodules import BIQ2021DataModule, ShardsDataModule, TableDataModule
from lml_iqa.datasets import DatasetError, ImageTable, Split
from lml_iqa.datasets.folder import load_folder
from lml_iqa.datasets.shards import load_shards, pack
from lml_iqa.experiments.seen import SeenImages

pytest.importorskip("litdata", reason='shards need litdata: pip install "lml-iqa[litdata]"')

SMALL = {"crop_size": 16, "batch_size": 4, "crops": 2, "eval_crops": 4, "seed": 3}
SHARD = 3000  # bytes: a few images each
COLUMNS = ("files", "scores", "references", "types", "levels", "parts", "ids")


@pytest.fixture(scope="module")
def packed(biq2021_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "shards"
    pack(BIQ2021DataModule(root=biq2021_root).table, folder, shard_bytes=SHARD)
    assert len(list(folder.glob("*.bin"))) > 5
    return folder


@pytest.fixture
def own(tmp_path):
    """Four photographs with every column, and a name that is not ASCII."""
    names = ["a.png", "b/Größe.png", "b/c.jpg", "d.bmp"]
    for i, name in enumerate(names):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / name)
    rows = [
        f"{names[0]},1,r0,train\n",
        f"{names[1]},2.5,r0,train\n",
        f"{names[2]},3,r1,val\n",
        f"{names[3]},4,r2,test\n",
    ]
    (tmp_path / "set" / "labels.csv").write_text("path,score,clean,part\n" + "".join(rows), encoding="utf-8")
    options = {"reference_column": "clean", "split_column": "part", "low": 0, "high": 9, "higher_is_better": False}
    return lambda **more: TableDataModule(tmp_path / "set", "labels.csv", **options, **more)


def refused(function, *args, **kwargs):
    with pytest.raises(DatasetError) as error:
        function(*args, **kwargs)
    return str(error.value)


def same_table(packed: ImageTable, table: ImageTable):
    for name in COLUMNS:
        ours, theirs = getattr(packed, name), getattr(table, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    assert (packed.name, packed.source, packed.scale, packed.rated) == (
        table.name,
        table.source,
        table.scale,
        table.rated,
    )
    assert packed.digest() == table.digest()


def batches(module, part, epoch):
    module.setup("fit")
    loader = getattr(module, f"{part}_dataloader")()
    if part == "train":
        loader.sampler.set_epoch(epoch)
    return list(loader)


# ---- the same data


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_batches_as_from_files(biq2021_root, packed, workers):
    files = BIQ2021DataModule(root=biq2021_root, num_workers=0, **SMALL)
    shards = ShardsDataModule(str(packed), num_workers=workers, **SMALL)
    shards.setup("predict")
    shards.table.read(0)  # a worker must not go on with the reader of the process that it was forked from
    for part, epoch in [("train", 0), ("train", 5), ("val", 0), ("test", 0), ("predict", 0)]:
        expected, found = batches(files, part, epoch), batches(shards, part, epoch)
        assert len(expected) > 0
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_same_table_and_bytes(own, tmp_path):
    table = own().table
    pack(table, tmp_path / "shards", shard_bytes=SHARD)
    for path in table.root.rglob("*"):
        path.is_dir() or path.unlink()  # nothing is read from where the set lay
    packed = load_shards(tmp_path / "shards")
    same_table(packed, table)
    for row in range(4):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 50 + row, 3), dtype=np.uint8)
        if row != 2:  # JPEG loses
            np.testing.assert_array_equal(packed.read(row), pixels)


def test_bytes_are_those_of_the_files(biq2021_root, packed):
    table, shards = BIQ2021DataModule(root=biq2021_root).table, load_shards(packed)
    same_table(shards, table)
    for row in range(len(table)):
        assert shards.content(row) == table.path(row).read_bytes() == table.content(row)
        assert shards.size(row) == table.size(row) == table.path(row).stat().st_size


def test_unrated_folder(own, tmp_path):
    table = load_folder(own().table.root)
    pack(table, tmp_path / "shards")
    same_table(load_shards(tmp_path / "shards"), table)


def test_one_split_file_serves_both(biq2021_root, packed, tmp_path):
    files = BIQ2021DataModule(root=biq2021_root, split="random", split_seed=4)
    files.split.save(tmp_path / "split.json", files.table)
    shards = ShardsDataModule(str(packed), split=tmp_path / "split.json")
    np.testing.assert_array_equal(shards.split.test, files.split.test)
    assert shards.provenance() == files.provenance() | {"split": "random"}
    assert Split.load(tmp_path / "split.json", shards.table).digest(shards.table) == files.split.digest(files.table)


def test_images_in_use_are_found_in_shards(biq2021_root, packed):
    files, shards = BIQ2021DataModule(root=biq2021_root), ShardsDataModule(str(packed))
    expected = SeenImages(files, files).find(0, whole=True)
    assert expected
    assert SeenImages(files, shards).find(0, whole=True) == expected


def test_short_side(biq2021_root, packed, tmp_path, monkeypatch):
    files = BIQ2021DataModule(root=biq2021_root, short_side=20, cache=tmp_path / "files").table
    shards = ShardsDataModule(str(packed), short_side=20, cache=tmp_path / "shards").table
    for row in range(len(files)):
        np.testing.assert_array_equal(shards.read(row), files.read(row))
    assert shards.read(0).shape != load_shards(packed).read(0).shape
    copies = len(list((tmp_path / "shards").rglob("*.png")))
    assert copies == len(files)
    monkeypatch.setattr(ImageTable, "content", lambda *_: pytest.fail("read again from the shards"))
    np.testing.assert_array_equal(shards.read(1), files.read(1))


def test_each_packing_has_its_own_copies(biq2021_root, packed, tmp_path):
    """A set that was packed anew may hold other images under the old names."""
    pack(BIQ2021DataModule(root=biq2021_root).table, tmp_path / "again")
    for folder in (packed, tmp_path / "again", packed):
        ShardsDataModule(str(folder), short_side=20, cache=tmp_path / "cache").table.read(0)
    assert len(list((tmp_path / "cache").rglob("*.png"))) == 2


def test_pickles(packed):
    """As a worker process that is spawned gets it."""
    table = load_shards(packed)
    expected = table.read(3)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(table)).read(3), expected)


def test_readers_of_several_processes(packed):
    """Processes forked after the first read, all at once."""
    table = load_shards(packed)
    expected = [table.read(row).sum() for row in range(len(table))]
    loader = torch.utils.data.DataLoader(
        [(table, row) for row in range(len(table))] * 4, num_workers=2, batch_size=None, collate_fn=_sum_of
    )
    assert list(loader) == expected * 4


def _sum_of(item):
    table, row = item
    return table.read(row).sum()


# ---- the command


def test_command_packs_a_known_set(capsys, biq2021_root, tmp_path):
    assert run(["shard", str(biq2021_root), "--output", str(tmp_path / "shards")]) == 0
    out = capsys.readouterr().out
    assert "18 images of BIQ2021" in out
    assert f"--data ShardsDataModule --data.shards {tmp_path / 'shards'}" in out
    same_table(load_shards(tmp_path / "shards"), BIQ2021DataModule(root=biq2021_root).table)


def test_command_packs_own_ratings(own, tmp_path):
    table = own().table
    options = ["--labels", "labels.csv", "--reference_column", "clean", "--split_column", "part"]
    options += ["--low", "0", "--high", "9", "--lower_is_better", "--output", str(tmp_path / "shards")]
    assert run(["shard", str(table.root), *options]) == 0
    same_table(load_shards(tmp_path / "shards"), table)


# ---- what goes wrong


def test_folder_that_is_not_empty(biq2021_root, packed, capsys):
    before = sorted(packed.iterdir())
    assert run(["shard", str(biq2021_root), "--output", str(packed)]) == 2
    assert f"error: {packed}: not empty; give a new folder" in capsys.readouterr().err
    assert sorted(packed.iterdir()) == before


def test_image_that_vanishes_while_packing(own, tmp_path):
    table = own().table
    table.path(2).unlink()
    message = refused(pack, table, tmp_path / "shards")
    assert message.startswith(f"{table.path(2)}: No such file or directory, while packing labels into {tmp_path}")
    assert "pack again" in message
    assert "cannot read table.npz from the shards" in refused(load_shards, tmp_path / "shards")  # it is unfinished


@pytest.mark.parametrize("place", ["gone", "empty"])
def test_no_shards_there(tmp_path, place):
    (tmp_path / "empty").mkdir()
    message = refused(ShardsDataModule(str(tmp_path / place)).setup, "fit")
    assert message.startswith(f"{tmp_path / place}: cannot read table.npz from the shards (")
    assert "give a complete folder written by `lml-iqa data shard`" in message


def damaged(packed, tmp_path, harm):
    """A copy whose last shard is harmed, and a row that it holds."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in packed.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    last = max(folder.glob("*.bin"), key=lambda path: int(re.findall(r"\d+", path.name)[-1]))
    harm(last)
    return load_shards(folder)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "harm",
    [
        lambda shard: shard.unlink(),
        lambda shard: shard.write_bytes(shard.read_bytes()[:-100]),
        lambda shard: shard.write_bytes(bytes(shard.stat().st_size)),
        lambda shard: shard.write_bytes(b"\xff" * shard.stat().st_size),
    ],
    ids=["missing", "cut off", "zeros", "ones"],
)
def test_broken_shard(packed, tmp_path, harm, workers):
    table = damaged(packed, tmp_path, harm)
    row = len(table) - 1
    module = ShardsDataModule(str(table.root), num_workers=workers, **{**SMALL, "batch_size": 1})
    with pytest.raises(DatasetError) as error:
        list(module.predict_dataloader())
    assert re.search(rf"{re.escape(str(table.root))}: .*{re.escape(str(table.files[row]))}", str(error.value))
    assert "copy" in str(error.value)
    assert table.read(0).shape == load_shards(packed).read(0).shape  # the others can be read


def test_shards_mixed_from_two_packings(own, packed, tmp_path):
    folder = tmp_path / "shards"
    pack(own().table, folder, shard_bytes=1)
    first, second = folder / "chunk-0-1.bin", folder / "chunk-0-2.bin"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    message = refused(load_shards(folder).read, 0)
    assert message.startswith(f"{folder}: ")
    assert "a.png" in message


def test_image_that_is_none(own, tmp_path):
    table = own().table
    table.path(0).write_bytes(b"no picture")
    pack(table, tmp_path / "shards")
    assert f"{tmp_path / 'shards' / 'a.png'}: not an image" in refused(load_shards(tmp_path / "shards").read, 0)


def test_another_set_of_shards_does_not_fit_the_split(own, packed, tmp_path):
    own().split.save(tmp_path / "split.json", own().table)
    module = ShardsDataModule(str(packed), split=tmp_path / "split.json")
    assert "made for other data" in refused(module.setup, "fit")


def test_without_litdata(packed, tmp_path, monkeypatch, biq2021_root):
    monkeypatch.setitem(sys.modules, "litdata", None)
    assert 'pip install "lml-iqa[litdata]"' in refused(load_shards, packed)
    assert 'pip install "lml-iqa[litdata]"' in refused(
        pack, BIQ2021DataModule(root=biq2021_root).table, tmp_path / "new"
    )
