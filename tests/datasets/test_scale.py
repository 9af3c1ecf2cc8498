"""Tables of a million rows and more: what they cost, and that worker processes share them."""

import gc
import itertools
import multiprocessing
import sys
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lml_iqa.datamodules import IQADataModule
from lml_iqa.datasets import ImageTable, ScoreScale, Split, make_split
from lml_iqa.datasets.csv_table import load_csv_table
from lml_iqa.samplers import EpochSampler, ShareSampler

MILLION = 1_000_000
NAME = 24  # characters
SCALE = ScoreScale("MOS", 1.0, 5.0)


def names(rows):
    """Shuffled names of 24 characters, made without a Python object each."""
    numbers = np.random.default_rng(0).permutation(rows)
    letters = np.tile(np.frombuffer(b"photographs/00000000.png", np.uint8).astype(np.uint32), (rows, 1))
    for digit in range(8):
        letters[:, 19 - digit] = ord("0") + numbers // 10**digit % 10
    return letters.view(f"U{NAME}").ravel()


def big_table(rows, kind=ImageTable):
    return kind("big", Path("/data"), names(rows), np.random.default_rng(1).uniform(1, 5, rows), SCALE)


class Gray(ImageTable):
    """Its images are made up, but each one's name is read, as for a file."""

    def read(self, row):
        return np.full((8, 8, 3), len(self.path(row).name), dtype=np.uint8)


def test_names():
    found = names(1000)
    assert sorted(found.tolist()) == [f"photographs/{i:08d}.png" for i in range(1000)]


def test_no_python_object_for_a_row():
    """Nor a second copy of the names: 96 B a row are the names here, and all the work on them takes less than that."""
    files, scores = names(MILLION), np.random.default_rng(1).uniform(1, 5, MILLION)
    blocks = sys.getallocatedblocks()
    tracemalloc.start()
    table = ImageTable("big", Path("/data"), files, scores, SCALE)
    split = make_split(table)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(split.train) == 720_000
    assert sys.getallocatedblocks() - blocks < MILLION / 100
    assert kept / MILLION < 20  # order 8 B, row numbers of the parts 8 B; measured 16.0
    assert peak / MILLION < 90  # measured 54; names sorted and drawn as strings: 560


def test_split_file_of_many_rows(tmp_path):
    table = big_table(200_000)
    split = make_split(table)
    tracemalloc.start()
    split.save(tmp_path / "split.json", table)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6  # measured 18 MB, for more rows too; as lists of strings 40 MB
    again = Split.load(tmp_path / "split.json", table)
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(again, part), getattr(split, part))


def test_samplers_hold_no_list():
    rows = 2 * MILLION
    dataset = range(rows)
    blocks = sys.getallocatedblocks()
    order = EpochSampler(dataset, batch_size=10, num_replicas=2, rank=1, seed=0)
    share = ShareSampler(dataset, num_replicas=2, rank=1)
    tracemalloc.start()
    first, second = iter(order), iter(share)
    assert next(first)[0] == 0
    assert next(second) == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(order), len(share)) == (MILLION, MILLION)
    assert peak < 1e6  # the permutation is a tensor, which is not traced
    assert sys.getallocatedblocks() - blocks < 1000


def test_csv_of_many_rows(tmp_path):
    """More rows than are read at one time, of growing length."""
    count = 150_000
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "a.png").touch()
    lines = [f"{'./' * (i % 3)}photographs/{'x' * (i // 50_000)}{i}.png,{i % 7}\n" for i in range(count)]
    (tmp_path / "labels.csv").write_text("path,score\n" + "".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lml_iqa.datasets.layout.files.CaseFolder.find_file", lambda _, name: name.removeprefix("./"))
        table = load_csv_table(tmp_path, "labels.csv")
    expected = [line.split(",")[0].removeprefix("./") for line in lines]
    assert table.files.tolist() == expected
    np.testing.assert_array_equal(table.scores, np.arange(count) % 7)


def unique_memory(process):
    """Bytes that a process shares with no other (USS)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


class BigDataModule(IQADataModule):
    def load_table(self):
        return big_table(2 * MILLION, Gray)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc/PID/smaps_rollup on this system")
def test_memory_of_workers_is_flat_over_epochs():
    """A forked worker shares the table as long as nobody writes to it, and reading a Python string writes to it.

    Once, after a number of images that depends on what was imported, a worker grows by 7 MB, so the median of the
    epochs counts, each of 2,880 images of another part of the table. Tolerance: 1 MB an epoch. Measured: 0.1 MB; with
    names as a list of Python strings 5 MB.
    """
    # In a process of its own: workers forked from one in which thousands of tests ran write to what these left behind.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_growth_of_workers).result(timeout=300) < 1


def _growth_of_workers():
    """Megabytes that a worker grows by in an epoch, the larger of two workers."""
    data = BigDataModule(crop_size=8, crops=1, batch_size=48, seed=0, num_workers=2)
    loader = data.train_dataloader()
    loader.multiprocessing_context = "fork"
    others = set(multiprocessing.active_children())
    memory = []
    for epoch in range(6):
        loader.sampler.set_epoch(epoch)
        assert sum(len(batch["mos"]) for batch in itertools.islice(loader, 60)) == 2880
        workers = set(multiprocessing.active_children()) - others
        memory.append([unique_memory(worker.pid) / 1e6 for worker in sorted(workers, key=lambda worker: worker.pid)])
    growth = np.diff(np.array(memory), axis=0)
    assert growth.shape == (5, 2)
    return np.median(growth, axis=0).max()


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc/PID/smaps_rollup on this system")
def test_collecting_garbage_in_a_worker_copies_nothing(monkeypatch):
    """The collector writes to every object that it looks at, which would copy all that was there before the fork."""
    objects = [[] for _ in range(300_000)]  # 24 MB that the collector looks at
    monkeypatch.setattr(Gray, "read", lambda *_: _collect_and_measure())
    data = BigDataModule(crop_size=8, crops=1, batch_size=1, seed=0, num_workers=1)
    data._table = big_table(1000, Gray)
    loader = data.val_dataloader()
    loader.multiprocessing_context = "fork"
    measured = [int(batch["crops"][0, 0, 0, 0, 0]) for batch in itertools.islice(loader, 3)]
    assert len(objects) == 300_000
    assert max(measured) < 12  # MB


def _collect_and_measure():
    before = unique_memory("self")
    gc.collect()
    return np.full((8, 8, 3), min(255, max(0, unique_memory("self") - before) // 2**20), dtype=np.uint8)
