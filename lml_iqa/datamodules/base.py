"""Base of all data modules: table, split and crops. A new data set implements `load_table`."""

from __future__ import annotations

import abc
import math
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from platformdirs import user_cache_path
from torch.utils.data import DataLoader, Sampler

from lml_iqa.datamodules.loading import make_loader, name_images_of_dead_workers
from lml_iqa.datamodules.progress import EpochProgress
from lml_iqa.datasets.crops import CropBatch, FixedRandomCropDataset, GridCropDataset, RandomCropDataset
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.splits import Split, SplitRule, make_split, thin_out
from lml_iqa.datasets.table import ImageTable
from lml_iqa.errors import ConfigError, DatasetError
from lml_iqa.images.resized import ResizedImages
from lml_iqa.samplers import EpochSampler, Position, ShareSampler
from lml_iqa.utils.files import printable
from lml_iqa.utils.options import check_choice, check_range
from lml_iqa.utils.worker_notes import Reading

EvalPositions = Literal["grid", "random"]
ValidateOn = Literal["val", "test"]

_RULES = get_args(SplitRule)


class IQADataModule(LightningDataModule, abc.ABC):
    """Base of all data modules.

    A batch is a :class:`~lml_iqa.datasets.crops.CropBatch`: B images of K uint8 crops each, with their scores on the
    model's 0..1. Training crops are random, a function of seed, epoch and image. Evaluation crops are on a fixed grid,
    and each process evaluates a share of the images without repeats.

    Args:
        batch_size: Images per batch in each process (not crops).
        crops: Crops K per image in training.
        eval_crops: Crops K per image in validation, test and prediction, on a grid: 4, 6, 9, 12; a prime number makes
            a single row or column.
        eval_positions: Positions of the evaluation crops: ``grid``, or ``random``, drawn once from the seed, as in many
            published results. Scores then depend on the seed.
        crop_size: Side S of a crop in pixels; smaller images are reflect-padded.
        flip: Whether to mirror training crops horizontally with probability 1/2.
        short_side: Short side in pixels to which larger images are resized once, keeping the aspect ratio; the copies
            are stored in ``cache``. Default: no resizing.
        cache: Folder of resized and rendered images; default the user's cache folder.
        split: A rule (``auto``, ``reference``, ``random``, ``official``; ``whole`` for a test on all images) or the
            path of a ``split.json``. Images that are not in the file are left out.
        split_seed: Seed of the split.
        test_fraction: Share of the images or references in the test set, if the rule draws one.
        val_fraction: Share of the remaining ones in the validation set, if the rule draws one.
        validate_on: ``val`` to select the model on the validation set, or ``test`` to select it on the test set,
            without a validation set, as in many papers; only for comparison with their results.
        train_fraction: Share of the training set to use, for few-label curves; validation and test set are unchanged.
        seed: Seed of the training order and of random crops; default the run's (``seed_everything``).
        num_workers: Number of processes that decode images.
    """

    def __init__(
        self,
        *,
        batch_size: int = 16,
        crops: int = 4,
        eval_crops: int = 9,
        eval_positions: EvalPositions = "grid",
        crop_size: int = 224,
        flip: bool = True,
        short_side: int | None = None,
        cache: Path | None = None,
        split: SplitRule | Path = "auto",
        split_seed: int = 0,
        test_fraction: float = 0.2,
        val_fraction: float = 0.1,
        validate_on: ValidateOn = "val",
        train_fraction: float = 1.0,
        seed: int | None = None,
        num_workers: int = 2,
    ) -> None:
        super().__init__()
        at_least_one = {"batch_size": batch_size, "crops": crops, "eval_crops": eval_crops, "crop_size": crop_size}
        for name, value in (at_least_one | ({} if short_side is None else {"short_side": short_side})).items():
            check_range(f"data.{name}", value, 1)
        for name, value in {"split_seed": split_seed, "seed": seed or 0, "num_workers": num_workers}.items():
            check_range(f"data.{name}", value, 0)
        check_choice("data.eval_positions", eval_positions, EvalPositions)
        check_choice("data.validate_on", validate_on, ValidateOn)
        self.batch_size = batch_size
        self.crops = crops
        self.eval_crops = eval_crops
        self.eval_positions = eval_positions
        self.crop_size = crop_size
        self.flip = flip
        self.short_side = short_side
        self.cache = user_cache_path("lml_iqa") if cache is None else Path(cache).expanduser()
        self.split_rule = split
        self.split_seed = split_seed
        self.test_fraction = test_fraction
        self.val_fraction = val_fraction
        self.validate_on = validate_on
        self.train_fraction = train_fraction
        self.seed = seed
        self.num_workers = num_workers
        self._table: ImageTable | None = None
        self._split: Split | None = None
        self._start: Position | None = None  # start of a resumed run
        self._resumed_seed: int | None = None
        self._progress: EpochProgress | None = None
        self._reading: list[Reading] = []

    @abc.abstractmethod
    def load_table(self) -> ImageTable:
        """Read the label files: one row per rated image. The only method that a new data set has to implement."""

    @property
    def table(self) -> ImageTable:
        """The data set's rows; read on first use."""
        if self._table is None:
            self._table = self.load_table()
            if self.short_side is not None:
                self._table = self._table.shrunk(ResizedImages(self.short_side, self.cache / "resized"))
            rank_zero_info(f"{printable(self._table.name)}: {len(self._table)} images; {printable(self._table.source)}")
        return self._table

    @property
    def split(self) -> Split:
        """Row numbers of the training, validation and test set; made on first use."""
        if self._split is None:
            rule = str(self.split_rule)
            if rule in _RULES:
                self._split = make_split(
                    self.table,
                    rule=rule,  # type: ignore[arg-type]
                    seed=self.split_seed,
                    test_fraction=self.test_fraction,
                    val_fraction=self.val_fraction if self.validate_on == "val" else None,
                )
            elif Path(rule).expanduser().exists():
                self._split = Split.load(Path(rule).expanduser(), self.table)
                named = sum(len(getattr(self._split, part)) for part in ("train", "val", "test"))
                if named < len(self.table):
                    rank_zero_info(f"{printable(rule)} lists {named} of {len(self.table)} images; others are left out")
            else:
                raise DatasetError(
                    f"data.split: {rule} is neither one of {', '.join(_RULES)} nor the path of a split.json"
                )
            self._split = thin_out(self._split, self.table, self.train_fraction)
        return self._split

    @property
    def scale(self) -> ScoreScale:
        """Range and direction of the native scores."""
        return self.table.scale

    def provenance(self) -> dict[str, Any]:
        """Metadata for the checkpoint: data, label source, split, and crop settings."""
        return {
            "dataset": self.table.name,
            "source": self.table.source,
            "data_sha256": self.split.data_digest,
            "split_sha256": self.split.digest(self.table),
            "split": self.split.rule,
            "split_seed": self.split.seed,
            "train_fraction": self.train_fraction,
            "crop_size": self.crop_size,
            "eval_crops": self.eval_crops,
            "short_side": self.short_side,
            "legacy": self.legacy,
        }

    @property
    def legacy(self) -> list[str]:
        """Settings that make metrics incomparable with the default protocol, as text; empty by default."""
        chosen = ["the model was selected on the test set"] if self.validate_on == "test" else []
        return chosen + (["random test crops"] if self.eval_positions == "random" else [])

    def setup(self, stage: str) -> None:
        """Read the table, and make the split if the stage needs one.

        Raises:
            DatasetError: The split has no training or validation set, and the stage needs one.
        """
        if stage == "fit":
            self._start = self._resumed_seed = None
        if stage == "predict":
            _ = self.table
            return
        needed: tuple[str, ...] = {"fit": ("train", self.validate_on), "validate": (self.validate_on,)}.get(stage, ())
        for part in needed:
            if len(getattr(self.split, part)) == 0:
                raise DatasetError(
                    f"{self.table.name}: data.split: {self.split_rule} has no {part} set; give another split"
                )
        _ = self.split

    def train_dataloader(self) -> DataLoader[CropBatch]:
        """Shuffled batches of random crops."""
        dataset = RandomCropDataset(
            self.table, self.split.train, crops=self.crops, crop_size=self.crop_size, seed=self._seed, flip=self.flip
        )
        world_size, rank = self._world()
        self._enough(self.split.train, "train on")
        sampler = EpochSampler(
            dataset,
            batch_size=self.batch_size,
            num_replicas=world_size,
            rank=rank,
            seed=self._seed % 2**32,
            start=self._start or Position(),
        )
        self._progress = EpochProgress(sampler)
        if self._start is not None and self.trainer is not None:
            self.trainer.callbacks.append(self._progress)  # type: ignore[attr-defined]
        self._start = None
        # Lightning warns because it looks for resumable state in the loader; here it is in the sampler.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before", PossibleUserWarning)
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[CropBatch]:
        """Batches of the validation set (or the set selected by ``validate_on``), each image once.

        Raises:
            ConfigError: ``trainer.overfit_batches`` is a share of this set that is less than one batch.
        """
        rows = self.split.val if self.validate_on == "val" else self.split.test
        share = getattr(self.trainer, "overfit_batches", 0)
        if isinstance(share, float) and 0 < share < 1 / math.ceil(len(rows) / self.batch_size):
            raise ConfigError(
                f"trainer.overfit_batches: {share} of the validation set is less than one batch; give a number of "
                "batches, such as 1"
            )
        return self._evaluation_loader(rows)

    def test_dataloader(self) -> DataLoader[CropBatch]:
        """Batches of the test set, each image once."""
        return self._evaluation_loader(self.split.test)

    def predict_dataloader(self) -> DataLoader[CropBatch]:
        """Batches of all images of the table."""
        return self._evaluation_loader(np.arange(len(self.table)))

    def state_dict(self) -> dict[str, Any]:
        """Progress of the run in images, and the seed of their order; empty outside training."""
        if self.trainer is None or self._progress is None:
            return {}
        return {**self._progress.position(self.trainer)._asdict(), "seed": self._seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the checkpoint's run with its seed; has no effect when testing the checkpoint.

        The batch size and the number of processes may differ from those of the checkpoint.
        """
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._start = Position(state_dict["epoch"], state_dict["images"])
            self._resumed_seed = state_dict["seed"]

    def on_exception(self, exception: BaseException) -> None:
        """Add the images that a dead worker process was reading to the error, which does not name them."""
        if self._table is not None:
            name_images_of_dead_workers(exception, self._table, self._reading)

    def _evaluation_loader(self, rows: NDArray[np.int64]) -> DataLoader[CropBatch]:
        dataset: GridCropDataset
        if self.eval_positions == "random":
            dataset = FixedRandomCropDataset(
                self.table, rows, crops=self.eval_crops, crop_size=self.crop_size, seed=self._seed
            )
        else:
            dataset = GridCropDataset(self.table, rows, crops=self.eval_crops, crop_size=self.crop_size)
        world_size, rank = self._world()
        self._enough(rows, "evaluate")
        return self._loader(dataset, ShareSampler(dataset, num_replicas=world_size, rank=rank))

    def _enough(self, rows: NDArray[np.int64], purpose: str) -> None:
        world_size, _ = self._world()
        if len(rows) < world_size:  # Lightning skips the loop of an idle process, and the others would wait forever
            raise DatasetError(
                f"{self.table.name}: {len(rows)} images to {purpose} for {world_size} processes; "
                "use fewer devices (trainer.devices), or a larger set"
            )

    def _loader(self, dataset: GridCropDataset, sampler: Sampler[Any]) -> DataLoader[CropBatch]:
        dataset.reading = Reading(self.num_workers)
        self._reading.append(dataset.reading)
        return make_loader(dataset, sampler, self.batch_size, self.num_workers)

    @property
    def _seed(self) -> int:
        if self._resumed_seed is not None:
            return self._resumed_seed
        return self.seed if self.seed is not None else torch.initial_seed()

    def _world(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer is not None else (1, 0)
