"""``lml-iqa fit | validate | test | predict``: Lightning's command line with our model, data sets and checks."""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import lightning
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info

from lml_iqa.callbacks import Provenance, run_folder, writes_files
from lml_iqa.callbacks.nan_guard import FiniteLoss
from lml_iqa.callbacks.resume import ResumePoint
from lml_iqa.datamodules import IQADataModule
from lml_iqa.errors import ConfigError, LMLError, message_of
from lml_iqa.tasks import LMLTask
from lml_iqa.utils.arguments import ArgumentParser, expand_home
from lml_iqa.utils.checkpoint_io import is_local, read_checkpoint
from lml_iqa.utils.files import write_text
from lml_iqa.utils.malloc import keep_freed_memory
from lml_iqa.utils.run_dir import claim
from lml_iqa.utils.trainer_options import check_trainer_options

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
    """LightningCLI that checks options before data is read.

    ``fit`` can go on to ``test``; hyper-parameters of a checkpoint that replace given ones are printed; evaluation
    without a checkpoint is refused, and so are options that cannot work.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with ExitStack() as self._run_folder:
            super().__init__(*args, **kwargs)

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
        """Parse, expand home folders, and check the checkpoint, which Lightning opens next.

        Raises:
            ConfigError: ``ckpt_path`` is a keyword, not a file.
            CheckpointError: It is not a checkpoint of this package.
        """
        super().parse_arguments(parser, args)
        self.config = expand_home(self.config)
        self._model_options = dict(self._given.model.items())
        path = self._given.get("ckpt_path")
        if path and _KEYWORD.fullmatch(str(path)):
            if (self.config["subcommand"], path) != ("fit", "last"):  # resumes if there is a last checkpoint
                raise ConfigError(f"ckpt_path {path}: names no file; give the path of a run's .ckpt file")
        elif path and is_local(path):
            read_checkpoint(path, mmap=True)

    def before_instantiate_classes(self) -> None:
        """Refuse what cannot work; leave out callbacks that other options rule out.

        Raises:
            ConfigError: An evaluation has no checkpoint, or a trainer option cannot work.
        """
        self._print_replaced_options()
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

    def before_fit(self) -> None:
        """Keep the run's folder for this process, unless the folder's name is unique anyway."""
        # Nothing is deleted: the folder holds our lock, and earlier metrics were put aside.
        warnings.filterwarnings("ignore", r"(?s)Experiment logs directory .* will be deleted", UserWarning)
        named = all(logger.version is not None for logger in self.trainer.loggers)
        if named and writes_files(self.trainer):
            self._run_folder.enter_context(claim(run_folder(self.trainer)))

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

    def _print_replaced_options(self) -> None:
        # Lightning lets a checkpoint's hyper-parameters replace those of YAML and command line without a message.
        for name, given in sorted(self._model_options.items()):
            taken = self._given.model[name]
            if taken != given and name != "pretrained":
                print(f"model.{name}: {taken!r} from the checkpoint replaces {given!r}", file=sys.stderr)

    def _leave_out(self, name: str, why: str) -> None:
        kept = [callback for callback in self._callbacks() if not callback["class_path"].endswith(f".{name}")]
        if len(kept) < len(self._callbacks()):
            print(f"{name} is left out: {why}", file=sys.stderr)
            self._given["trainer"]["callbacks"] = kept

    @property
    def _given(self) -> Any:
        return self.config[self.config["subcommand"]]


def run(arguments: Sequence[str]) -> None:
    """Run ``fit``, ``validate``, ``test`` or ``predict``.

    Args:
        arguments: The subcommand and its options.

    Raises:
        SystemExit: What was asked for cannot work; why, is printed.
    """
    keep_freed_memory()
    try:
        _run(LMLCLI, arguments)
    except LMLError as error:
        sys.exit(f"error: {message_of(error)}")  # for the user: a message, not a traceback
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        if not _raised_by_lightning(error):
            raise
        sys.exit(f"error: {error}")  # what Lightning refuses is a wrong option


def resolve(arguments: Sequence[str]) -> dict[str, Any]:
    """All options of a subcommand with their values, defaults included.

    Args:
        arguments: The subcommand and its options.

    Raises:
        SystemExit: An option is wrong; which, is printed.
    """
    resolved: dict[str, Any] = {}

    class Parse(LMLCLI):
        def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
            super().parse_arguments(parser, args)
            command = self.config["subcommand"]
            resolved.update(yaml.safe_load(parser.dump(self.config, skip_unset=False))[command])
            raise _Parsed

    with suppress(_Parsed):
        _run(Parse, arguments)
    return resolved


class _Parsed(Exception):  # noqa: N818  ends the command line where running it would begin
    pass


def _run(cli: type[LMLCLI], arguments: Sequence[str]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LightningCLI's args parameter")  # meant: ours are not always the process's
        cli(
            LMLTask,
            IQADataModule,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            parser_class=ArgumentParser,
            trainer_defaults={"callbacks": [Provenance(), FiniteLoss()]},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=list(arguments),
        )


def _raised_by_lightning(error: BaseException) -> bool:
    """Whether the error comes from Lightning's own code, not from what it calls."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Path(str(lightning.__file__)).parent in Path(last.filename).parents
