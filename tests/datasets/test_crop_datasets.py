import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, DistributedSampler

from lml_iqa.datasets import GridCropDataset, ImageReadError, ImageTable, RandomCropDataset, ScoreScale, read_image
from lml_iqa.datasets.crops import FixedRandomCropDataset
from lml_iqa.samplers import EpochSampler, ShareSampler

COUNT, SIZE, CROPS = 11, 8, 3


def coordinates(height, width, channel):
    """An image whose pixels tell where they stand."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(y, channel)], axis=-1).astype(np.uint8)


def write_table(root, sides=((200, 230),) * COUNT):
    for i, (height, width) in enumerate(sides):
        Image.fromarray(coordinates(height, width, i)).save(root / f"{i}.png")
    files = np.array([f"{i}.png" for i in range(len(sides))])
    return ImageTable("toy", root, files, np.linspace(20.0, 40.0, len(sides)), ScoreScale("DMOS", 0, 100, False))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("images"))


def random_crops(table, rows=None, seed=5, **options):
    rows = np.arange(len(table)) if rows is None else np.array(rows)
    return RandomCropDataset(table, rows, crops=CROPS, crop_size=SIZE, seed=seed, **options)


def grid_crops(table, rows=None, crops=CROPS, crop_size=SIZE):
    return GridCropDataset(
        table, np.arange(len(table)) if rows is None else np.array(rows), crops=crops, crop_size=crop_size
    )


def batches(dataset, sampler, workers=0, batch_size=4):
    return list(DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers))


def epoch(dataset, number, workers=0, replicas=1, rank=0, seed=5, batch_size=4):
    """Every image; the sampler's one batch of all is dealt out in smaller ones."""
    sampler = EpochSampler(dataset, batch_size=COUNT, num_replicas=replicas, rank=rank, seed=seed)
    sampler.set_epoch(number)
    return batches(dataset, sampler, workers, batch_size)


def order(table, number, batch_size=COUNT, replicas=1, rank=0):
    sampler = EpochSampler(random_crops(table), batch_size=batch_size, num_replicas=replicas, rank=rank, seed=5)
    sampler.set_epoch(number)
    assert len(sampler) == len(list(sampler))
    return list(sampler)


def by_image(parts):
    """(positions, first crop) of each image, whatever batch it came in."""
    served = {}
    for batch in parts:
        for i, image in enumerate(batch["image_id"].tolist()):
            served[image] = (batch["positions"][i].tolist(), batch["crops"][i], batch["mos"][i].item())
    return served


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("kind", ["grid", "random"])
def test_batch(table, kind):
    dataset = grid_crops(table) if kind == "grid" else random_crops(table, flip=False)
    served = dataset[3] if kind == "grid" else dataset[2, 3]
    assert {key: (tuple(value.shape), value.dtype) for key, value in served.items()} == {
        "crops": ((CROPS, 3, SIZE, SIZE), torch.uint8),
        "positions": ((CROPS, 2), torch.int64),
        "mos": ((), torch.float32),
        "image_id": ((), torch.int64),
    }
    assert served["image_id"] == 3
    assert served["mos"].item() == pytest.approx(1 - (20 + 20 * 3 / 10) / 100)  # DMOS: low is good
    for crop, (y, x) in zip(served["crops"], served["positions"].tolist(), strict=True):
        np.testing.assert_array_equal(crop.permute(1, 2, 0), coordinates(200, 230, 3)[y : y + SIZE, x : x + SIZE])


def test_rows_choose_the_images(table):
    dataset = grid_crops(table, [9, 2])
    assert len(dataset) == 2
    assert [dataset[i]["image_id"].item() for i in range(2)] == [9, 2]
    assert [dataset[i]["crops"][0, 2, 0, 0].item() for i in range(2)] == [9, 2]


def test_flips(table):
    mirrored = total = 0
    for number in range(30):
        for index in range(4):
            served = random_crops(table)[number, index]
            for crop, (_, x) in zip(served["crops"], served["positions"].tolist(), strict=True):
                columns = crop[1, 0].tolist()
                assert columns in (list(range(x, x + SIZE)), list(range(x, x + SIZE))[::-1])
                mirrored += columns[0] > columns[-1]
                total += 1
    assert 0.4 < mirrored / total < 0.6


def test_flips_leave_the_positions_alone(table):
    assert torch.equal(random_crops(table)[1, 2]["positions"], random_crops(table, flip=False)[1, 2]["positions"])


def test_workers_do_not_change_training_batches(table):
    plain = epoch(random_crops(table), 4)
    for workers in (1, 3):
        assert_equal(plain, epoch(random_crops(table), 4, workers))


def test_batch_size_and_subset_do_not_change_what_an_image_gives(table):
    plain = by_image(epoch(random_crops(table), 4))
    for other in (
        by_image(epoch(random_crops(table), 4, batch_size=3)),
        by_image(epoch(random_crops(table), 4, seed=99)),  # another order
        by_image(epoch(random_crops(table, [7, 1, 10]), 4)),
    ):
        for image, (positions, crops, mos) in other.items():
            assert positions == plain[image][0]
            assert torch.equal(crops, plain[image][1])
            assert mos == plain[image][2]


def test_epochs_and_seeds_differ(table):
    streams = [
        by_image(epoch(random_crops(table), 0)),
        by_image(epoch(random_crops(table), 1)),
        by_image(epoch(random_crops(table), 2)),
        by_image(epoch(random_crops(table, seed=6), 0)),
        by_image(epoch(random_crops(table, seed=2**64 - 1), 0)),
    ]
    for image in range(COUNT):
        assert len({str(stream[image][0]) for stream in streams}) == len(streams)
    orders = [[index for _, index in order(table, number)] for number in range(5)]
    assert len(set(map(tuple, orders))) == 5


@pytest.mark.parametrize("workers", [0, 3])
def test_no_two_images_share_a_stream(table, workers):
    dataset = random_crops(table)
    drawn = [
        str(positions)
        for number in range(3)
        for positions, _, _ in by_image(epoch(dataset, number, workers, batch_size=1)).values()
    ]
    assert len(set(drawn)) == 3 * COUNT


def test_a_second_process_draws_the_same(table):
    program = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch; torch.manual_seed(123)
from pathlib import Path
import numpy as np; np.random.seed(9)
import test_crop_datasets as t
from lml_iqa.datasets import ImageTable, ScoreScale
files = np.array([f"{{i}}.png" for i in range(t.COUNT)])
table = ImageTable("toy", Path({str(table.root)!r}), files, np.linspace(20., 40., t.COUNT), ScoreScale("DMOS", 0, 100))
served = t.epoch(t.random_crops(table), 4)
print([b["image_id"].tolist() for b in served], [b["positions"].tolist() for b in served])
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    here = epoch(random_crops(table), 4)
    assert answer.strip() == f"{[b['image_id'].tolist() for b in here]} {[b['positions'].tolist() for b in here]}"


def test_global_random_state_is_neither_used_nor_changed(table):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    first = epoch(random_crops(table), 1)
    assert_equal(first, epoch(random_crops(table), 1))
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    random_crops(table)[0, 0]
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(("replicas", "batch_size"), [(1, 4), (2, 2), (4, 1), (2, 1), (3, 1), (5, 2), (3, 4), (4, 5)])
def test_processes_share_every_batch(table, replicas, batch_size):
    """The n-th batch of all processes is the n-th slice of one permutation, whatever the number of processes."""
    alone = order(table, 3)
    assert sorted(alone) == [(3, index) for index in range(COUNT)]
    shares = [order(table, 3, batch_size, replicas, rank) for rank in range(replicas)]
    together = replicas * batch_size
    if together > COUNT:  # one batch of all images, as even as it goes
        assert [pair for share in shares for pair in share] == alone
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert max(map(len, shares)) <= batch_size
        return
    for n in range(COUNT // together):
        dealt = [pair for share in shares for pair in share[n * batch_size : (n + 1) * batch_size]]
        assert dealt == alone[n * together : (n + 1) * together]
    assert {len(share) for share in shares} == {COUNT // together * batch_size}  # what is left over is left out


def test_two_processes_serve_what_one_serves(table):
    alone = by_image(epoch(random_crops(table), 3))
    shares = [by_image(epoch(random_crops(table), 3, replicas=2, rank=rank)) for rank in range(2)]
    assert set(alone) == set(shares[0]) | set(shares[1])
    for share in shares:
        for image, (positions, crops, _) in share.items():
            assert positions == alone[image][0]
            assert torch.equal(crops, alone[image][1])


@pytest.mark.parametrize("kind", [EpochSampler, ShareSampler])
def test_lightning_leaves_these_samplers_in_place(kind):
    assert issubclass(kind, DistributedSampler)


@pytest.mark.parametrize(("images", "replicas"), [(11, 1), (11, 3), (9, 3), (2, 3), (1, 4), (3, 3)])
def test_share_sampler_gives_each_image_once(table, images, replicas):
    dataset = grid_crops(table, np.arange(images))
    samplers = [ShareSampler(dataset, num_replicas=replicas, rank=rank) for rank in range(replicas)]
    shares = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(share) for share in shares]
    assert sorted(index for share in shares for index in share) == list(range(images))
    assert all(share == sorted(share) for share in shares)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    served = torch.cat([batch["image_id"] for sampler in samplers for batch in batches(dataset, sampler, batch_size=2)])
    assert sorted(served.tolist()) == list(range(images))


def test_share_sampler_is_in_order_and_the_same_each_epoch(table):
    sampler = ShareSampler(grid_crops(table), num_replicas=1, rank=0)
    assert list(sampler) == list(range(COUNT))
    sampler.set_epoch(3)
    assert list(sampler) == list(range(COUNT))


def test_grid_does_not_depend_on_batch_order_or_workers(table):
    plain = by_image(batches(grid_crops(table), None))
    shuffled = np.random.default_rng(0).permutation(COUNT)
    for other in (
        by_image(batches(grid_crops(table), None, batch_size=1)),
        by_image(batches(grid_crops(table), None, workers=2)),
        by_image(batches(grid_crops(table, shuffled), None, batch_size=5)),
    ):
        assert other.keys() == plain.keys()
        for image, (positions, crops, mos) in other.items():
            assert positions == plain[image][0]
            assert torch.equal(crops, plain[image][1])
            assert mos == plain[image][2]


def test_images_of_many_sizes(tmp_path):
    table = write_table(tmp_path, [(1, 1), (3, 200), (200, 5), (8, 8), (7, 9), (40, 30)])
    served = by_image(batches(grid_crops(table, crops=4, crop_size=32), None, batch_size=6))
    assert all(crops.shape == (4, 3, 32, 32) for _, crops, _ in served.values())
    assert served[0][0] == [[0, 0]] * 4
    assert (served[0][1] == 0).all()
    assert served[1][0] == [[0, 0], [0, 56], [0, 112], [0, 168]]
    np.testing.assert_array_equal(served[1][1][1, 1, 0], np.arange(56, 88))
    np.testing.assert_array_equal(served[1][1][0, 0, :6, 0], [0, 1, 2, 1, 0, 1])  # rows reflected
    trained = by_image(epoch(RandomCropDataset(table, np.arange(6), crops=5, crop_size=32, seed=0), 0, batch_size=6))
    assert all(crops.shape == (5, 3, 32, 32) for _, crops, _ in trained.values())


def test_matches_read_image(table):
    served = grid_crops(table, [6])[0]
    image = read_image(table.path(6))
    for crop, (y, x) in zip(served["crops"], served["positions"].tolist(), strict=True):
        np.testing.assert_array_equal(crop, image[y : y + SIZE, x : x + SIZE].transpose(2, 0, 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_image_is_named(tmp_path, workers):
    table = write_table(tmp_path, [(10, 10), (10, 10)])
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    with pytest.raises(ImageReadError, match=r"1\.png: corrupt or cut off"):
        batches(grid_crops(table), None, workers)


def test_random_crops_that_are_drawn_once(table):
    def crops(rows, seed=5):
        dataset = FixedRandomCropDataset(table, np.array(rows), crops=CROPS, crop_size=SIZE, seed=seed)
        return {int(item["image_id"]): item for item in (dataset[i] for i in range(len(dataset)))}

    whole, some = crops(range(COUNT)), crops([7, 2])
    for row, item in some.items():  # whatever else is served
        assert torch.equal(item["positions"], whole[row]["positions"])
        for crop, (y, x) in zip(item["crops"], item["positions"].tolist(), strict=True):
            expected = np.stack(np.mgrid[y : y + SIZE, x : x + SIZE]).astype(np.uint8)
            np.testing.assert_array_equal(crop[:2].numpy(), expected)  # the place it says, not mirrored
    places = torch.cat([item["positions"] for item in whole.values()])
    assert len(places.unique(dim=0)) > 0.9 * len(places)
    assert not torch.equal(crops([7], seed=6)[7]["positions"], whole[7]["positions"])
