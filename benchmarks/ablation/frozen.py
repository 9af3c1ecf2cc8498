r"""Train decoder and heads on the tokens of a frozen encoder, computed once for fixed crops.

    python benchmarks/ablation/frozen.py --root BIQ2021 --subset benchmarks/biq2021/split.json --out runs/frozen
    python benchmarks/ablation/summary.py runs/frozen

or, on reference images with TID2013's distortions, tested on held-out reference images:

    python benchmarks/ablation/frozen.py --root KODAK24 --set synthetic --config configs/quickstart.yaml \
        --out runs/frozen_kodak

or, with ``--short_side 256``, on smaller copies of the images, of which a crop shows more.

Task, losses, optimizer and splits are those of `run.py`. A run takes about half a minute on one core; finished runs are
skipped.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from rows import HERE, Row, read_rows
from run import add_subset, development_rows, development_split
from torch.utils.data import DataLoader, Dataset

import lml_iqa.models.lml
import lml_iqa.models.saliency
from lml_iqa import LMLTask, Split, SyntheticDataModule, make_split
from lml_iqa.datasets import BIQ2021, ImageTable
from lml_iqa.images.resized import ResizedImages
from lml_iqa.models.backbone import Encoding
from lml_iqa.samplers import EpochSampler
from lml_iqa.transforms.crops import cut_crops, grid_positions, pad_to, random_positions

SIZE, RANDOM, GRID = 128, 8, 9  # side of the crops; crops to draw from in training; crops in evaluation
CROPS, BATCH, EPOCHS = 4, 12, 2

# The networks get the stored tokens in place of pixels.
lml_iqa.models.lml.to_pixels = lml_iqa.models.saliency.to_pixels = lambda tokens: tokens


def make_task(args: argparse.Namespace, options: dict[str, object]) -> LMLTask:
    given = yaml.safe_load(args.config.read_text())["model"]
    return LMLTask(**{**given, **options, "pretrained": args.pretrained, "freeze_backbone": True})


def load(args: argparse.Namespace) -> tuple[ImageTable, np.ndarray, Callable[[int], Split]]:
    """Load the table and its usable rows, with a function that returns the split of a seed."""
    if args.set == "BIQ2021":
        table = BIQ2021(args.root).load()
        if args.short_side:
            table = dataclasses.replace(table, resized=ResizedImages(args.short_side, args.out / "resized"))
        usable = development_rows(table, args.subset)
        return table, usable, lambda seed: development_split(table, usable, seed)
    table = SyntheticDataModule(args.root).table
    return table, np.arange(len(table)), lambda seed: make_split(table, rule="reference", seed=seed)


@torch.inference_mode()
def encode(args: argparse.Namespace, table: ImageTable, rows: np.ndarray) -> torch.Tensor:
    """Encode the crops of each image to float16 tokens of shape (n, RANDOM + GRID, N, D)."""
    network = make_task(args, {}).eval().pair.student
    tokens, start = [], time.monotonic()
    for done, row in enumerate(rows):
        image, rng = pad_to(table.read(row), SIZE), np.random.default_rng(row)
        positions = [
            random_positions(*image.shape[:2], SIZE, RANDOM, rng),
            grid_positions(*image.shape[:2], SIZE, GRID),
        ]
        flips = np.append(rng.random(RANDOM) < 0.5, np.zeros(GRID, dtype=bool))
        crops = cut_crops(image, np.concatenate(positions), SIZE, flips)
        tokens.append(network.encode(crops[None]).tokens.half())
        if done % 500 == 0:
            print(f"encoded {done} of {len(rows)} images in {time.monotonic() - start:.0f} s", flush=True)
    return torch.stack(tokens)


class EncodedCrops(Dataset):
    """Encoded crops of some images: random crops drawn anew each epoch or, without a seed, the grid."""

    def __init__(
        self, tokens: dict[int, torch.Tensor], mos: np.ndarray, rows: np.ndarray, seed: int | None, crops: int = CROPS
    ) -> None:
        self.tokens, self.mos, self.rows, self.seed = tokens, torch.from_numpy(mos).float(), rows, seed
        self.crops = crops

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        if self.seed is None:
            row, crops = int(self.rows[index]), np.arange(RANDOM, RANDOM + GRID)
        else:
            epoch, position = index
            row = int(self.rows[position])
            crops = np.random.default_rng([self.seed, epoch, row]).choice(RANDOM, self.crops, replace=False)
        positions = torch.zeros(len(crops), 2, dtype=torch.int64)
        return {"crops": self.tokens[row][crops], "mos": self.mos[row], "image_id": row, "positions": positions}


def train(args: argparse.Namespace, row: Row, seed: int, encoded: EncodedCrops) -> LMLTask:
    seed_everything(seed, verbose=False)
    task = make_task(args, row.options)
    task.pair.student.backbone.forward = lambda x: Encoding(x.float(), x.float().mean(dim=1), None)  # and the teacher's
    batch = row.data.get("batch_size", BATCH)
    sampler = EpochSampler(encoded, batch_size=batch, num_replicas=1, rank=0, seed=seed)
    make_trainer().fit(task, DataLoader(encoded, batch_size=batch, sampler=sampler))
    return task


def make_trainer() -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(accelerator="cpu", max_epochs=EPOCHS, gradient_clip_val=5.0, **quiet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of BIQ2021, or of reference images")
    add_subset(parser)
    parser.add_argument("--set", choices=["BIQ2021", "synthetic"], default="BIQ2021", help="default: %(default)s")
    parser.add_argument(
        "--config",
        type=Path,
        default=HERE.parents[1] / "configs/biq2021.yaml",
        help="configuration with the model options",
    )
    parser.add_argument(
        "--short_side", type=int, help="short side of BIQ2021's images in pixels; default: original size"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--pretrained", default="packaged", help="weights of the encoder; default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", nargs="+", help="names of rows; default: all")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table, usable, split_of = load(args)
    mos = table.scale.to_unit(table.scores)
    kept = args.out / "tokens.pt"
    if not kept.exists():
        torch.save(encode(args, table, usable), kept)
    encoded = torch.load(kept)
    tokens = dict(zip(usable.tolist(), encoded, strict=True))  # views
    rows = read_rows(args.rows)
    for seed in args.seeds:
        split = split_of(seed)
        testing = DataLoader(EncodedCrops(tokens, mos, split.test, None), batch_size=32)
        for row in rows:
            results = {name: args.out / name / f"seed{seed}" / "metrics.json" for name in (row.name, *row.rescored)}
            if all(path.exists() for path in results.values()):
                continue
            crops = row.data.get("crops", CROPS)
            task = train(args, row, seed, EncodedCrops(tokens, mos, split.train, seed, crops))
            for name, path in results.items():
                task.hparams.update(row.rescored.get(name, {}))
                (metrics,) = make_trainer().test(task, testing, verbose=False)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"metrics": metrics}, indent=1) + "\n")
                print(
                    f"{name}, seed {seed}: PLCC {metrics['test/plcc']:.4f}, SRCC {metrics['test/srcc']:.4f}", flush=True
                )


if __name__ == "__main__":
    main()
