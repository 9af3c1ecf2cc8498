"""A task whose checkpoints say what its scores mean, and from which a run goes on exactly."""

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

_SHOWN = 300  # characters of torch's list of weights that do not fit


class RatedData(Protocol):
    """What a task needs to know of a data module; any data module with these two will do."""

    @property
    def scale(self) -> ScoreScale:
        """Range and direction of the native scores."""

    def provenance(self) -> dict[str, Any]:
        """Data set, label source and split, with their hashes ``data_sha256`` and ``split_sha256``."""


class CheckpointedTask(LightningModule):
    """Base of tasks that store the scale of their scores, their data and their progress in the checkpoint.

    Attributes:
        training_scale: Scale of the data that the model was trained on.
        provenance: What it was trained on: :meth:`RatedData.provenance`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.training_scale = ScoreScale("MOS", 0.0, 1.0)
        self.provenance: dict[str, Any] = {}
        self._training_data: RatedData | None = None
        self._resumed_rng: dict[str, Tensor] | None = None
        self._resumed_progress = (0.0, 0)  # epochs and optimizer steps of the training that is resumed

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As Lightning's; code in the file is not executed unless ``weights_only`` is False.

        Raises:
            CheckpointError: The file is missing, damaged, something else, or of other network options.
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
        """As torch's, with a short error.

        Raises:
            CheckpointError: The weights are of a network with other options.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            file = f"{self._trainer.ckpt_path}: " if self._trainer and self._trainer.ckpt_path else ""
            raise CheckpointError(f"{file}{other_network(error)}") from error

    def setup(self, stage: str) -> None:
        """Take over the scale and the provenance of the data when training begins."""
        self._training_data = self._data if stage == "fit" else None
        if self._training_data is not None:
            self.training_scale = self._training_data.scale
            self.provenance = self._training_data.provenance()

    def on_train_start(self) -> None:
        """Draw on from where a resumed run stood: what stochastic depth drops is the same as without a break."""
        if self._resumed_rng is not None:
            torch.set_rng_state(self._resumed_rng["cpu"].cpu())
            if self.device.type == "cuda" and "cuda" in self._resumed_rng:
                torch.cuda.set_rng_state(self._resumed_rng["cuda"].cpu(), self.device)
            self._resumed_rng = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what the scores mean, how far training is, and that no other weights are needed to load this file."""
        checkpoint["lml_iqa"] = {
            "scale": dataclasses.asdict(self.training_scale),
            "provenance": self.provenance,
            "rng": self._random_state(),
            "epochs": self._epochs() if self._training_data is not None else 0.0,
            "data_module": type(self._data).__qualname__,
        }
        checkpoint["hyper_parameters"] = {**checkpoint.get("hyper_parameters", {}), "pretrained": False}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what the scores mean; in ``fit``, resume the training or start another one from these networks.

        On the data of the checkpoint, training is resumed. On other data only the networks are taken over: a new
        training starts, and scores mean what the new data says.

        Raises:
            CheckpointError: The checkpoint is not one of this class.
            ConfigError: The checkpoint was trained on another split of the same data, so that its training images are
                in today's validation or test set.
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
                f"the checkpoint was trained on {before.get('dataset')}, this is {now['dataset']} with other images or "
                f"scores: a new training starts from its networks, and scores are on {self.training_scale}"
            )
            # What is left is what Lightning must find in a checkpoint.
            for key in checkpoint.keys() - {"state_dict", "pytorch-lightning_version"}:
                del checkpoint[key]
            checkpoint.update(optimizer_states=[], lr_schedulers=[])
            return
        if before["split_sha256"] != now["split_sha256"]:
            raise ConfigError(
                f"the checkpoint was trained on another split of {now['dataset']}, so it knows images of today's "
                "validation or test set. Give data.split, data.split_seed and data.train_fraction of its run (or the "
                "split.json beside it) to resume; to fine-tune all the same, use model.initial_weights"
            )
        if "epochs" not in saved:
            raise CheckpointError(
                "the checkpoint was saved by an earlier version, which did not store what it had trained on; "
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
        """The trainer's data module, if it states the scale and the source of its scores."""
        data = getattr(self.trainer, "datamodule", None)
        return data if all(hasattr(type(data), name) for name in ("scale", "provenance")) else None

    def _random_state(self) -> dict[str, Tensor]:
        """State of torch's generators, which alone training draws from; all processes' are alike."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _total_steps(self) -> int:
        """Optimizer steps of a whole run with today's batch size and number of processes."""
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total) or total < 1:
            raise ConfigError(
                "the schedule needs the length of the run: set trainer.max_epochs or trainer.max_steps, and leave "
                "trainer.limit_train_batches above 0"
            )
        return int(total)

    def _steps_resumed(self) -> float:
        """Steps that the training before a resume would have taken with today's batch size, less those it took.

        So the schedules go on where they were, by epochs. A run whose length is given in steps counts steps.
        """
        total = self._total_steps()
        epochs, steps = self._resumed_progress
        if not steps or total == self.trainer.max_steps:
            return 0.0
        return epochs * total / self._max_epochs() - steps

    def _max_epochs(self) -> int:
        return max(1, self.trainer.max_epochs or 1)

    def _progress(self) -> float:
        """Share of the run's optimizer steps that is done, 0..1."""
        return min(1.0, (self.trainer.global_step + self._steps_resumed()) / self._total_steps())

    def _epochs(self) -> float:
        """Epochs that are done, as the schedules count them."""
        return (self.trainer.global_step + self._steps_resumed()) * self._max_epochs() / self._total_steps()


def other_network(error: Exception) -> str:
    """One line of torch's list of weights that do not fit, and the cure."""
    found = " ".join(str(error).split())
    return (
        f"trained with other network options: {found[:_SHOWN]}{'...' if len(found) > _SHOWN else ''}; "
        "give the options that it was trained with"
    )
