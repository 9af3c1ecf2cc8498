"""The command line: Lightning's fit, validate, test and predict with data sets chosen in YAML, and the data doctor."""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info

from lml_iqa.arguments import ArgumentParser, expand_home
from lml_iqa.callbacks import Provenance, run_folder, writes_files
from lml_iqa.callbacks.finite import FiniteLoss
from lml_iqa.callbacks.folder import claim
from lml_iqa.callbacks.resume import ResumePoint
from lml_iqa.checkpoints import is_local, read_checkpoint
from lml_iqa.datamodules import IQADataModule
from lml_iqa.doctor import command as doctor
from lml_iqa.errors import ConfigError, LMLError
from lml_iqa.memory import keep_freed_memory
from lml_iqa.protocol.command import protocol
from lml_iqa.tasks import LMLTask
from lml_iqa.trainer_options import check_trainer_options
from lml_iqa.utils.files import printable, write_text

_KEYWORD = re.compile(r"(best|last|hpc|registry(:.*)?)", re.IGNORECASE)  # what Lightning takes for a checkpoint's path


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
            write_text(run_folder(trainer) / "config.yaml", self.parser.dump(self.config, skip_unset=False))


class LMLCLI(LightningCLI):
    """LightningCLI with habits of its own.

    ``fit`` can go on to ``test``; a checkpoint's hyper-parameters that replace given ones are printed; evaluating
    without a checkpoint is refused, and so are options that cannot work, before anything is read.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our own options."""
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=False,
            help="Whether fit ends with a test: of the checkpoint that validated best, or of the last one if the run "
            "never validates.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and expand home folders."""
        super().parse_arguments(parser, args)
        self.config = expand_home(self.config)

    def before_instantiate_classes(self) -> None:
        """Refuse what cannot work; leave out callbacks that other options rule out.

        Raises:
            ConfigError: An evaluation has no checkpoint, or a trainer option cannot work.
        """
        command, trainer = str(self.subcommand), self._given["trainer"]
        if command != "fit" and not self._given.get("ckpt_path"):
            raise ConfigError(f"{command} needs trained weights: give --ckpt_path runs/.../best.ckpt")
        check_trainer_options(command, self._given)
        if trainer["logger"] is False:
            self._leave_out("LearningRateMonitor", "trainer.logger: false")
        if trainer["enable_checkpointing"] is False:
            self._leave_out("ModelCheckpoint", "trainer.enable_checkpointing: false")
        if command == "fit" and trainer["fast_dev_run"]:
            for callback in self._callbacks():
                if callback["class_path"].endswith("ModelCheckpoint"):
                    callback["init_args"]["save_last"] = False  # Lightning would write it into the working folder

    def instantiate_classes(self) -> None:
        """Instantiate.

        Raises:
            ConfigError: A class refuses its options.
        """
        try:
            super().instantiate_classes()
        except LMLError:
            raise
        except ValueError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:  # the parser wraps what a class says in all that the option could be
                cause = cause.__cause__
            if isinstance(cause, LMLError):
                raise cause from None
            raise ConfigError(str(cause)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with points to resume from, unless there are to be no checkpoints.

        Raises:
            ConfigError: The trainer refuses its options.
        """
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
            if not _raised_by_lightning(error):
                raise
            given = self._given["trainer"]
            device = ", ".join(f"trainer.{name}={given[name]}" for name in ("accelerator", "devices", "strategy"))
            raise ConfigError(f"the trainer cannot be made with these options ({device}): {error}") from error
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        wanted = self._given["trainer"]["enable_checkpointing"] is not False
        if wanted and not any(isinstance(callback, ResumePoint) for callback in callbacks):
            callbacks.append(ResumePoint())
        return trainer

    def after_fit(self) -> None:
        """Test the best checkpoint, where asked; the last one of a run that did not validate."""
        if not self._given.get("test_after_fit") or self._given["trainer"]["fast_dev_run"]:
            return
        callback: Any = self.trainer.checkpoint_callback
        if callback is None:
            rank_zero_info("no checkpoints are kept: testing the weights that the training ended with")
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
            return
        path = "best"
        if not callback.best_model_path:
            path = str(self._last_checkpoint(Path(callback.dirpath)))
            rank_zero_info(f"no checkpoint was chosen, as the training never validated: testing {path}")
        self.trainer.test(datamodule=self.datamodule, ckpt_path=path, weights_only=True, verbose=False)

    def _last_checkpoint(self, folder: Path) -> Path:
        """The checkpoint of the training's end, saved unless it is there."""
        path: Path = self.trainer.strategy.broadcast(folder / "last.ckpt")
        there = path.is_file() and read_checkpoint(path, mmap=True)["global_step"] == self.trainer.global_step
        if not self.trainer.strategy.broadcast(there):
            self.trainer.save_checkpoint(path)
        return path

    def _callbacks(self) -> list[Any]:
        given = self._given["trainer"]["callbacks"] or []
        return given if isinstance(given, list) else [given]

    def _leave_out(self, name: str, why: str) -> None:
        kept = [callback for callback in self._callbacks() if not callback["class_path"].endswith(f".{name}")]
        if len(kept) < len(self._callbacks()):
            print(f"{name} is left out: {why}", file=sys.stderr)
            self._given["trainer"]["callbacks"] = kept

    def _run_subcommand(self, subcommand: str) -> None:
        # A training keeps its folder to itself, unless the folder's name is unique anyway.
        named = all(logger.version is not None for logger in self.trainer.loggers)
        alone = subcommand == "fit" and writes_files(self.trainer) and named
        # Nothing is: the folder holds our lock, and earlier metrics were put aside.
        warnings.filterwarnings("ignore", r"(?s)Experiment logs directory .* will be deleted", UserWarning)
        try:
            with claim(run_folder(self.trainer)) if alone else nullcontext():
                super()._run_subcommand(subcommand)
        except MisconfigurationException as error:
            share = self._given["trainer"]["overfit_batches"]
            if not share or "limit_val_batches" not in str(error):
                raise
            raise ConfigError(
                f"trainer.overfit_batches: {share} of the validation set is less than one batch; give a number of "
                "batches, such as 1"
            ) from error

    @property
    def _given(self) -> Any:
        return self.config[self.config["subcommand"]]

    def _parse_ckpt_path(self) -> None:
        # Lightning lets a checkpoint's hyper-parameters replace those of YAML and command line without a word.
        before = dict(self._given.model.items()) if self.config.get("subcommand") else {}
        path = self._given.get("ckpt_path") if before else None
        if path and _KEYWORD.fullmatch(str(path)):
            if (self.config["subcommand"], path) != ("fit", "last"):  # resumes if there is a last checkpoint
                raise ConfigError(f"ckpt_path {path}: names no file; give the path of a run's .ckpt file")
        elif path and is_local(path):
            read_checkpoint(path, mmap=True)
        super()._parse_ckpt_path()
        if before:
            changed = {k: (v, self._given.model[k]) for k, v in before.items() if self._given.model[k] != v}
            for name, (given, taken) in sorted(changed.items()):
                if name != "pretrained":
                    print(f"model.{name}: {taken!r} from the checkpoint replaces {given!r}", file=sys.stderr)


def _raised_by_lightning(error: BaseException) -> bool:
    """Whether the error comes from Lightning's own code, not from what it calls."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Path(str(lightning.__file__)).parent in Path(last.filename).parents


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Arguments; default those of the process.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    foreign = next((a for a in arguments if any("\ud800" <= character <= "\udfff" for character in a)), None)
    if foreign is not None and arguments[0] != "data":
        sys.exit(f"error: {printable(foreign)}: not UTF-8, which YAML cannot express; give a link with a plain name")
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
            parser_class=ArgumentParser,
            trainer_defaults={"callbacks": [Provenance(), FiniteLoss()]},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={
                "description": "No-reference image quality: train, test, score. Also: lml-iqa data | protocol"
            },
            args=list(args) if args is not None else None,
        )
    except LMLError as error:
        # For the user: a message, not a traceback. An error raised in a worker has its traceback in its text.
        message = str(error)
        if "Original Traceback" in message:
            message = message.strip().rsplit(f"{type(error).__name__}: ", 1)[-1]
        sys.exit(f"error: {message}")
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        if not _raised_by_lightning(error):
            raise
        sys.exit(f"error: {error}")  # what Lightning refuses is a wrong option
