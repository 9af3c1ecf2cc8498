"""Base of tasks whose checkpoints store the score scale and allow exact resuming."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import ConfigError
from lml_iqa.utils.checkpoint_io import CheckpointError, is_local, read_checkpoint

if TYPE_CHECKING:
    from typing_extensions import Self

_SHOWN = 300  # characters of torch's list of mismatched weights


class RatedData(Protocol):
    """Interface that a task needs of a data module."""

    @property
    def scale(self) -> ScoreScale:
        """Range and direction of the native scores."""

    def provenance(self) -> dict[str, Any]:
        """Data set, label source and split, with their hashes ``data_sha256`` and ``split_sha256``."""


class CheckpointedTask(LightningModule):
    """Task that stores its score scale, data provenance and training progress in the checkpoint.

    Attributes:
        training_scale: Scale of the data that the model was trained on.
        provenance: :meth:`RatedData.provenance` of the training data.
    """

    def __init__(self) -> None:
        super().__init__()
        self.training_scale = ScoreScale("MOS", 0.0, 1.0)
        self.provenance: dict[str, Any] = {}
        self._training_data: RatedData | None = None
        self._resumed_rng: dict[str, Tensor] | None = None
        self._resumed_progress = (0.0, 0)  # epochs and optimizer steps of the resumed run

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Load like Lightning; code in the file is not executed unless ``weights_only`` is False.

        Raises:
            CheckpointError: The file is missing, damaged, not such a checkpoint, or has other network options.
        """
        kwargs.setdefault("weights_only", True)
        if not is_local(checkpoint_path):
            return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        if kwargs["weights_only"]:
            read_checkpoint(checkpoint_path, mmap=True)
        try:
            return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        except CheckpointError as error:
            raise CheckpointError(f"{checkpoint_path}: {error}") from error

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load like torch, with a short error message.

        Raises:
            CheckpointError: The weights belong to a network with other options.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            file = f"{self._trainer.ckpt_path}: " if self._trainer and self._trainer.ckpt_path else ""
            raise CheckpointError(f"{file}{other_network(error)}") from error

    def setup(self, stage: str) -> None:
        """Take the score scale and the provenance from the data when training starts."""
        self._training_data = self._data if stage == "fit" else None
        if self._training_data is not None:
            self.training_scale = self._training_data.scale
            self.provenance = self._training_data.provenance()

    def on_train_start(self) -> None:
        """Restore the random state of a resumed run, so that stochastic depth drops the same paths."""
        if self._resumed_rng is not None:
            torch.set_rng_state(self._resumed_rng["cpu"].cpu())
            if self.device.type == "cuda" and "cuda" in self._resumed_rng:
                torch.cuda.set_rng_state(self._resumed_rng["cuda"].cpu(), self.device)
            self._resumed_rng = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the score scale, provenance and progress; loading needs no pretrained weights."""
        checkpoint["lml_iqa"] = {
            "scale": dataclasses.asdict(self.training_scale),
            "provenance": self.provenance,
            "rng": self._random_state(),
            "epochs": self._epochs() if self._training_data is not None else 0.0,
            "data_module": type(self._data).__qualname__,
        }
        checkpoint["hyper_parameters"] = {**checkpoint.get("hyper_parameters", {}), "pretrained": False}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the score scale; in ``fit``, resume the run or start a new one from the checkpoint's networks.

        With the data of the checkpoint, the run is resumed. With other data, only the networks are loaded: a new run
        starts, with scores on the scale of the new data.

        Raises:
            CheckpointError: The checkpoint does not belong to this class.
            ConfigError: The checkpoint was trained on another split of the same data, so its training images are in the
                current validation or test set.
        """
        saved = checkpoint.get("lml_iqa")
        if saved is None:
            raise CheckpointError("the checkpoint was not saved by LMLTask; give a checkpoint of a run of lml-iqa")
        if self._training_data is None:
            self.training_scale = ScoreScale(**saved["scale"])
            self.provenance = saved["provenance"]
            return
        before, now = saved["provenance"], self.provenance
        if before.get("data_sha256") != now["data_sha256"]:
            rank_zero_info(
                f"the checkpoint was trained on {before.get('dataset')}, the data is {now['dataset']} with other "
                f"images or scores: a new run starts from its networks, with scores on {self.training_scale}"
            )
            # Keep only the entries that Lightning requires.
            for key in checkpoint.keys() - {"state_dict", "pytorch-lightning_version"}:
                del checkpoint[key]
            checkpoint.update(optimizer_states=[], lr_schedulers=[])
            return
        if before["split_sha256"] != now["split_sha256"]:
            raise ConfigError(
                f"the checkpoint was trained on another split of {now['dataset']}, so its training images are in the "
                "current validation or test set; to resume, give data.split, data.split_seed and "
                "data.train_fraction of its run (or its split.json); to fine-tune anyway, use model.initial_weights"
            )
        if "epochs" not in saved:
            raise CheckpointError(
                "the checkpoint was saved by an earlier version, which did not store its progress; "
                "start from its networks with model.initial_weights"
            )
        # The same data may come from another class of data module, such as ShardsDataModule.
        position = checkpoint.get(saved["data_module"])
        if position is not None:
            checkpoint[type(self._training_data).__qualname__] = position
        self._resumed_rng = saved["rng"]
        self._resumed_progress = saved["epochs"], checkpoint["global_step"]

    @property
    def _data(self) -> RatedData | None:
        """The trainer's data module, if it implements :class:`RatedData`."""
        data = getattr(self.trainer, "datamodule", None)
        return data if all(hasattr(type(data), name) for name in ("scale", "provenance")) else None

    def _random_state(self) -> dict[str, Tensor]:
        """State of torch's generators, the only ones used in training; the same on all processes."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _total_steps(self) -> int:
        """Optimizer steps of the whole run with the current batch size and number of processes."""
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total) or total < 1:
            raise ConfigError(
                "trainer.max_epochs: the schedule needs the length of the run; set trainer.max_epochs or "
                "trainer.max_steps, and keep trainer.limit_train_batches above 0"
            )
        return int(total)

    def _steps_resumed(self) -> float:
        """Steps that the resumed run would have taken with the current batch size, minus the steps it took.

        The schedules thus continue by epochs. A run whose length is given in steps counts steps.
        """
        total = self._total_steps()
        epochs, steps = self._resumed_progress
        if not steps or total == self.trainer.max_steps:
            return 0.0
        return epochs * total / self._max_epochs() - steps

    def _max_epochs(self) -> int:
        return max(1, self.trainer.max_epochs or 1)

    def _progress(self) -> float:
        """Completed share of the run's optimizer steps, 0..1."""
        return min(1.0, (self.trainer.global_step + self._steps_resumed()) / self._total_steps())

    def _epochs(self) -> float:
        """Completed epochs, as counted by the schedules."""
        return (self.trainer.global_step + self._steps_resumed()) * self._max_epochs() / self._total_steps()


def other_network(error: Exception) -> str:
    """Format torch's list of mismatched weights as one line, with the cure."""
    found = " ".join(str(error).split())
    return (
        f"trained with other network options: {found[:_SHOWN]}{'...' if len(found) > _SHOWN else ''}; "
        "give the options that it was trained with"
    )
