"""Rejection of unsupported trainer options, before any data is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lml_iqa.errors import ConfigError

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
_LIMITS = {
    "fit": "limit_train_batches",
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}


def check_precision(precision: Any) -> None:
    """Reject precisions without float32 weights, which heads, losses and metrics need.

    Args:
        precision: ``Trainer.precision``, or a spelling of it that Lightning accepts.

    Raises:
        ConfigError: The weights would not be float32.
    """
    full = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "None": "32-true"}
    if full.get(str(precision), str(precision)) not in _PRECISIONS:
        raise ConfigError(
            f"trainer.precision: {precision} does not keep float32 weights; use one of {', '.join(_PRECISIONS)}"
        )


def check_trainer_options(subcommand: str, given: Mapping[str, Any]) -> None:
    """Reject trainer options that this package does not support.

    Args:
        subcommand: ``fit``, ``validate``, ``test`` or ``predict``.
        given: Options of the subcommand, including ``trainer``.

    Raises:
        ConfigError: An option is not supported.
    """
    trainer = given["trainer"]
    if trainer["barebones"]:
        raise ConfigError(
            "trainer.barebones: true switches off the logs, metrics and checkpoints that a run needs; leave it out "
            "(to try a few batches, use --trainer.fast_dev_run true)"
        )
    check_precision(trainer["precision"])
    limit, verb = _LIMITS[subcommand], "train on" if subcommand == "fit" else subcommand
    for option in (limit, "max_epochs", "max_steps") if subcommand == "fit" else (limit,):
        if trainer[option] is not None and trainer[option] == 0:
            raise ConfigError(f"trainer.{option}: 0 leaves nothing to {verb}; give a larger number, or leave it out")
    if subcommand == "fit" and given.get("test_after_fit") and trainer["limit_test_batches"] == 0:
        raise ConfigError(
            "trainer.limit_test_batches: 0 leaves nothing to test; give --test_after_fit false to skip the test"
        )
