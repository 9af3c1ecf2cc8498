"""The command line: Lightning's fit, validate, test and predict with data sets chosen in YAML, and the data doctor."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from lml_iqa.callbacks import Provenance, run_folder, writes_files
from lml_iqa.callbacks.finite import FiniteLoss
from lml_iqa.callbacks.folder import claim
from lml_iqa.callbacks.resume import ResumePoint
from lml_iqa.checkpoints import WholeCheckpointIO
from lml_iqa.datamodules import IQADataModule
from lml_iqa.doctor import command as doctor
from lml_iqa.errors import LMLError
from lml_iqa.memory import keep_freed_memory
from lml_iqa.protocol.command import protocol
from lml_iqa.tasks import LMLTask


class SaveConfig(SaveConfigCallback):
    """Saves the full resolved configuration beside the run's checkpoints, whatever the logger.

    Lightning's own writes into the logger's save_dir, which wandb runs share: the second one would stop on the first
    one's file.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml``; called on rank zero."""
        if stage == "fit" and writes_files(trainer):
            folder = run_folder(trainer)
            folder.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, folder / "config.yaml", skip_unset=False, overwrite=True)


class LMLCLI(LightningCLI):
    """LightningCLI with three habits of its own.

    ``fit`` can go on to ``test``; a checkpoint's hyper-parameters that replace given ones are printed; evaluating
    without a checkpoint is refused.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our own options."""
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=False,
            help="Whether fit ends with a test of the checkpoint that validated best.",
        )

    def before_instantiate_classes(self) -> None:
        """Refuse to evaluate a network that nobody trained; let a dry run leave nothing behind."""
        if self.subcommand in {"validate", "test", "predict"} and not self._given.get("ckpt_path"):
            sys.exit(f"error: {self.subcommand} needs trained weights: give --ckpt_path runs/.../best.ckpt")
        if self.subcommand == "fit" and self._given["trainer"]["fast_dev_run"]:
            for callback in self._given["trainer"]["callbacks"] or []:
                if callback["class_path"].endswith("ModelCheckpoint"):
                    callback["init_args"]["save_last"] = False  # Lightning would leave it in the working folder

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with points to resume from and whole checkpoints, unless the user has them made otherwise."""
        trainer = super().instantiate_trainer(**kwargs)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(callback, ResumePoint) for callback in callbacks):
            callbacks.append(ResumePoint())
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpointIO()
        return trainer

    def after_fit(self) -> None:
        """Test the best checkpoint, where asked."""
        if self._given.get("test_after_fit") and not self._given["trainer"]["fast_dev_run"]:
            self.trainer.test(datamodule=self.datamodule, ckpt_path="best", weights_only=True, verbose=False)

    def _run_subcommand(self, subcommand: str) -> None:
        # A training keeps its folder to itself, where the folder's name does not make it unique anyhow.
        loggers = self.trainer.loggers
        named = loggers and all(logger.version is not None for logger in loggers)
        alone = subcommand == "fit" and writes_files(self.trainer) and named
        # Nothing is: the folder holds our lock, and earlier metrics were put aside.
        warnings.filterwarnings("ignore", r"(?s)Experiment logs directory .* will be deleted", UserWarning)
        with claim(run_folder(self.trainer)) if alone else nullcontext():
            super()._run_subcommand(subcommand)

    @property
    def _given(self) -> Any:
        return self.config[self.config["subcommand"]]

    def _parse_ckpt_path(self) -> None:
        # Lightning lets a checkpoint's hyper-parameters replace those of YAML and command line without a word.
        before = dict(self._given.model.items()) if self.config.get("subcommand") else {}
        super()._parse_ckpt_path()
        if before:
            changed = {k: (v, self._given.model[k]) for k, v in before.items() if self._given.model[k] != v}
            for name, (given, taken) in sorted(changed.items()):
                if name != "pretrained":
                    print(f"model.{name}: {taken!r} from the checkpoint replaces {given!r}", file=sys.stderr)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Arguments; default those of the process.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    if arguments[:1] == ["data"]:
        sys.exit(doctor.run(arguments[1:]))
    if arguments[:1] == ["protocol"]:
        sys.exit(protocol(arguments[1:]))
    keep_freed_memory()
    try:
        LMLCLI(
            LMLTask,
            IQADataModule,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            trainer_defaults={"callbacks": [Provenance(), FiniteLoss()]},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={
                "description": "No-reference image quality: train, test, score. Also: lml-iqa data | protocol"
            },
            args=list(args) if args is not None else None,
        )
    except LMLError as error:
        # These speak to the user: a message, not a traceback. One raised in a worker carries its traceback in its text.
        message = str(error)
        if "Original Traceback" in message:
            message = message.strip().rsplit(f"{type(error).__name__}: ", 1)[-1]
        sys.exit(f"error: {message}")
