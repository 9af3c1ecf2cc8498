"""Measure decoded crops per second, memory of worker processes over epochs, and tables of millions of rows.

    python benchmarks/data_at_scale.py crops [--root DIR]   # DIR: a folder of images; default: generated images
    python benchmarks/data_at_scale.py workers
    python benchmarks/data_at_scale.py rows [--rows 10000000]

`workers` and `rows` need Linux (/proc).
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lml_iqa.datasets import ImageTable, RandomCropDataset, ScoreScale, Split, make_split
from lml_iqa.datasets.folder import load_folder
from lml_iqa.datasets.shards import load_shards, pack
from lml_iqa.samplers import EpochSampler

CROPS, SIZE, BATCH = 10, 224, 8


def photographs(folder: Path, count: int = 24, height: int = 1200, width: int = 1600) -> None:
    """Write JPEG files of 2 megapixels whose spectrum falls with frequency, as in photographs."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) + 1 / width
    rng = np.random.default_rng(0)
    for i in range(count):
        noise = np.fft.rfft2(rng.standard_normal((3, height, width))) / frequency
        picture = np.fft.irfft2(noise, s=(height, width))
        picture = 128 + 50 * (picture - picture.mean()) / picture.std()
        Image.fromarray(picture.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(folder / f"{i}.jpg", quality=90)


def loader(table: ImageTable, rows: np.ndarray, workers: int) -> DataLoader:
    dataset = RandomCropDataset(table, rows, crops=CROPS, crop_size=SIZE, seed=0)
    sampler = EpochSampler(dataset, batch_size=BATCH, num_replicas=1, rank=0, seed=0)
    return DataLoader(
        dataset,
        BATCH,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=lambda _: gc.freeze(),  # as the data modules do
    )


def crops(root: Path) -> None:
    """Print crops per second for several numbers of workers, measured alternately, from files and from shards."""
    table = load_folder(root)
    rows = np.tile(np.arange(len(table)), max(1, 48 // len(table)))
    with tempfile.TemporaryDirectory() as folder:
        settings = {f"{workers} workers": (table, workers) for workers in (0, 1, 2, 4)}
        if find_spec("litdata"):
            pack(table, Path(folder) / "shards")
            settings["0 workers, shards"] = (load_shards(Path(folder) / "shards"), 0)
        found: dict[str, list[float]] = {name: [] for name in settings}
        for _ in range(3):
            for name, (source, workers) in settings.items():
                batches = loader(source, rows, workers)
                for epoch in range(2):  # the first starts the workers
                    batches.sampler.set_epoch(epoch)
                    start = time.perf_counter()
                    number = sum(batch["crops"].shape[0] * CROPS for batch in batches)
                found[name].append(number / (time.perf_counter() - start))
    for name, speeds in found.items():
        ratios = [speed / alone for speed, alone in zip(speeds, found["0 workers"], strict=True)]
        print(
            f"{name:18} {statistics.median(speeds):6.0f} crops per second ({min(speeds):.0f} to {max(speeds):.0f}), "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


class Repeated(ImageTable):
    """A table of millions of rows that repeats a few image files."""

    def path(self, row: int) -> Path:
        return super().path(row).with_name(f"{row % 24}.jpg")


def names(rows: int) -> np.ndarray:
    """Return shuffled names of 40 characters."""
    numbers = np.random.default_rng(0).permutation(rows)
    letters = np.empty((rows, 40), dtype=np.uint32)
    letters[:] = np.frombuffer(b"photographs_of_a_set/image_000000000.jpg", np.uint8)
    for digit in range(9):
        letters[:, 35 - digit] = ord("0") + numbers // 10**digit % 10
    return letters.view("U40").ravel()


def memory(process: int | str = "self") -> dict[str, float]:
    """Return RSS, PSS (shared memory divided among its processes) and USS (memory of this process only) in MB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    unique = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return {"RSS": kilobytes["Rss"] / 1024, "PSS": kilobytes["Pss"] / 1024, "USS": unique / 1024}


def workers(rows: int) -> None:
    """Print the memory of each of two workers after every epoch of 480 images, drawn anew each time."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "photographs_of_a_set").mkdir()
        photographs(Path(folder) / "photographs_of_a_set")
        scores = np.random.default_rng(1).uniform(1, 5, rows)
        table = Repeated("big", Path(folder), names(rows), scores, ScoreScale("MOS", 1, 5))
        batches = loader(table, np.arange(rows), 2)
        for epoch in range(8):
            batches.sampler.set_epoch(epoch)
            batches.sampler.done = (epoch, rows // BATCH - 60)  # the last 60 batches of the epoch's order
            for _ in batches:
                pass
            held = [memory(worker.pid or 0) for worker in multiprocessing.active_children()]
            shown = "; ".join(" ".join(f"{kind} {value:.1f}" for kind, value in worker.items()) for worker in held)
            print(f"epoch {epoch}: {shown} MB", flush=True)


def rows(count: int) -> None:
    """Print time and memory of each step from the columns to the split."""
    files, scores = names(count), np.random.default_rng(1).uniform(1, 5, count)

    def step(what: str, work: Callable[[], Any]) -> Any:
        before, start = memory()["RSS"], time.process_time()
        done = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        kept = (memory()["RSS"] - before) * 2**20 / count
        print(f"{what:24} {time.process_time() - start:7.1f} s of CPU, keeps {kept:4.0f} B per row, peak {peak:.0f} MB")
        return done

    print(f"{count} rows; columns {(files.nbytes + scores.nbytes) / count:.0f} B per row, RSS {memory()['RSS']:.0f} MB")
    table = step("ImageTable", lambda: ImageTable("big", Path("/"), files, scores, ScoreScale("MOS", 1, 5)))
    step("digest of the data", table.digest)
    split = step("make_split", lambda: make_split(table))
    step("digest of the split", lambda: split.digest(table))
    with tempfile.TemporaryDirectory() as folder:
        step("split.json, written", lambda: split.save(Path(folder) / "split.json", table))
        step("split.json, read", lambda: Split.load(Path(folder) / "split.json", table))
    dataset = RandomCropDataset(table, split.train, crops=CROPS, crop_size=SIZE, seed=0)
    sampler = EpochSampler(dataset, batch_size=128, num_replicas=64, rank=0, seed=0)
    step("order of an epoch", lambda: next(iter(sampler)))


def main() -> None:
    """Run the selected measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["crops", "workers", "rows"])
    parser.add_argument("--root", type=Path, help="crops: a folder of images; default: generated images")
    parser.add_argument("--rows", type=int, help="number of rows; default: 2 million for workers, 10 million for rows")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "rows":
        rows(given.rows or 10_000_000)
    elif given.what == "workers":
        workers(given.rows or 2_000_000)
    elif given.root is not None:
        crops(given.root)
    else:
        with tempfile.TemporaryDirectory() as folder:
            photographs(Path(folder))
            crops(Path(folder))


if __name__ == "__main__":
    main()
