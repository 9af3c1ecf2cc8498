"""``lml-iqa fit | validate | test | predict``: LightningCLI with this package's model, data and checks."""

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

_KEYWORD = re.compile(r"(best|last|hpc|registry(:.*)?)", re.IGNORECASE)  # values of ckpt_path that are not files


class SaveConfig(SaveConfigCallback):
    """Save the full resolved configuration in the run's folder, for any logger.

    Lightning's callback writes to the logger's save_dir, which wandb runs share: the second run would fail because of
    the file of the first.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml``; called on rank zero."""
        if stage == "fit" and writes_files(trainer):
            write_text(run_folder(trainer) / "config.yaml", self.parser.dump(self.config, skip_unset=False))


class LMLCLI(LightningCLI):
    """LightningCLI that validates options before data is read.

    ``fit`` can be followed by ``test``; hyper-parameters replaced by those of a checkpoint are printed; evaluation
    without a checkpoint and unsupported options are errors.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with ExitStack() as self._run_folder:
            super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of this package."""
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=False,
            help="Whether to run a test after fit: of the checkpoint with the best validation metric, or of the last "
            "one if the run never validates.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments, expand home folders, and check the checkpoint before Lightning opens it.

        Raises:
            ConfigError: ``ckpt_path`` is a keyword instead of a file.
            CheckpointError: The file is not a checkpoint of this package.
        """
        super().parse_arguments(parser, args)
        self.config = expand_home(self.config)
        self._model_options = dict(self._given.model.items())
        path = self._given.get("ckpt_path")
        if path and _KEYWORD.fullmatch(str(path)):
            if (self.config["subcommand"], path) != ("fit", "last"):  # resumes if there is a last checkpoint
                raise ConfigError(f"ckpt_path {path}: not a file; give the path of a run's .ckpt file")
        elif path and is_local(path):
            read_checkpoint(path, mmap=True)

    def before_instantiate_classes(self) -> None:
        """Reject unsupported options, and remove callbacks that other options rule out.

        Raises:
            ConfigError: An evaluation has no checkpoint, or a trainer option is not supported.
        """
        self._print_replaced_options()
        command, trainer = str(self.subcommand), self._given["trainer"]
        if command != "fit" and not self._given.get("ckpt_path"):
            raise ConfigError(f"{command}: needs trained weights; give --ckpt_path runs/.../best.ckpt")
        check_trainer_options(command, self._given)
        if trainer["logger"] is False:
            self._leave_out("LearningRateMonitor", "trainer.logger: false")
        if trainer["enable_checkpointing"] is False:
            self._leave_out("ModelCheckpoint", "trainer.enable_checkpointing: false")
        if command == "fit" and trainer["fast_dev_run"]:
            for callback in self._callbacks():
                if callback["class_path"].endswith("ModelCheckpoint"):
                    callback["init_args"]["save_last"] = False  # Lightning would write it to the working folder

    def instantiate_classes(self) -> None:
        """Instantiate the classes.

        Raises:
            ConfigError: A class rejects its options.
        """
        try:
            super().instantiate_classes()
        except LMLError:
            raise
        except ValueError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:  # the parser wraps the error of the class
                cause = cause.__cause__
            if isinstance(cause, LMLError):
                raise cause from None
            raise ConfigError(str(cause)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Instantiate the trainer, with resume points unless checkpoints are disabled.

        Raises:
            ConfigError: The trainer rejects its options.
        """
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
            if not _raised_by_lightning(error):
                raise
            given = self._given["trainer"]
            device = ", ".join(f"trainer.{name}={given[name]}" for name in ("accelerator", "devices", "strategy"))
            raise ConfigError(f"trainer: invalid options ({device}): {error}") from error
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        wanted = self._given["trainer"]["enable_checkpointing"] is not False
        if wanted and not any(isinstance(callback, ResumePoint) for callback in callbacks):
            callbacks.append(ResumePoint())
        return trainer

    def before_fit(self) -> None:
        """Lock the run's folder, unless its name is unique."""
        # Nothing is lost: the logger would delete only metrics.csv, which claim() has renamed.
        warnings.filterwarnings("ignore", r"(?s)Experiment logs directory .* will be deleted", UserWarning)
        named = all(logger.version is not None for logger in self.trainer.loggers)
        if named and writes_files(self.trainer):
            self._run_folder.enter_context(claim(run_folder(self.trainer)))

    def after_fit(self) -> None:
        """Test the best checkpoint if requested, or the last one of a run that never validated."""
        if not self._given.get("test_after_fit") or self._given["trainer"]["fast_dev_run"]:
            return
        callback: Any = self.trainer.checkpoint_callback
        if callback is None:
            rank_zero_info("no checkpoints are kept: testing the final weights")
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
            return
        path = "best"
        if not callback.best_model_path:
            path = str(self._last_checkpoint(Path(callback.dirpath)))
            rank_zero_info(f"no checkpoint was selected, as the run never validated: testing {path}")
        self.trainer.test(datamodule=self.datamodule, ckpt_path=path, weights_only=True, verbose=False)

    def _last_checkpoint(self, folder: Path) -> Path:
        """Return the checkpoint of the last step; save it if it does not exist."""
        path: Path = self.trainer.strategy.broadcast(folder / "last.ckpt")
        there = path.is_file() and read_checkpoint(path, mmap=True)["global_step"] == self.trainer.global_step
        if not self.trainer.strategy.broadcast(there):
            self.trainer.save_checkpoint(path)
        return path

    def _callbacks(self) -> list[Any]:
        given = self._given["trainer"]["callbacks"] or []
        return given if isinstance(given, list) else [given]

    def _print_replaced_options(self) -> None:
        # Lightning silently replaces hyper-parameters of YAML and command line by those of a checkpoint.
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
        SystemExit: An option or input is invalid; the reason is printed.
    """
    keep_freed_memory()
    try:
        _run(LMLCLI, arguments)
    except LMLError as error:
        sys.exit(f"error: {message_of(error)}")  # a message without a traceback
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        if not _raised_by_lightning(error):
            raise
        sys.exit(f"error: {error}")  # errors from Lightning itself mean invalid options


def resolve(arguments: Sequence[str]) -> dict[str, Any]:
    """Resolve all options of a subcommand, including defaults.

    Args:
        arguments: The subcommand and its options.

    Raises:
        SystemExit: An option is invalid; the reason is printed.
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


class _Parsed(Exception):  # noqa: N818  ends the command line after parsing
    pass


def _run(cli: type[LMLCLI], arguments: Sequence[str]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LightningCLI's args parameter")  # intended: may differ from sys.argv
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
    """Return whether Lightning's code raised the error, not code that it calls."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Path(str(lightning.__file__)).parent in Path(last.filename).parents
