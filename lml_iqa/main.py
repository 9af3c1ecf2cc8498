"""Entry point of ``lml-iqa``: dispatches each subcommand to its module, which is imported lazily."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lml_iqa import __version__, shipped
from lml_iqa.errors import LMLError
from lml_iqa.utils.files import printable

_COMMANDS = {
    "fit": "train a model, and test it with --test_after_fit true",
    "validate": "compute metrics on the validation set",
    "test": "compute metrics on the test set; write predictions and a report",
    "predict": "score images",
    "score": "scores of image files, with a trained model",
    "data": "check, show, split and pack a data set",
    "protocol": "make tables over several splits, shares of labels or data sets",
    "configs": "list the shipped configurations, or copy one",
}
_HELP = """usage: lml-iqa COMMAND [OPTIONS]

No-reference image quality assessment.

commands:
{commands}

`lml-iqa COMMAND --help` explains a command, `lml-iqa --version` prints the version."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Arguments; default: those of the process.

    Raises:
        SystemExit: Always, except after a successful ``fit``, ``validate``, ``test`` or ``predict``.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    command = arguments[0] if arguments else "--help"
    if command in {"-h", "--help"}:
        print(_HELP.format(commands="\n".join(f"  {name:10}{what}" for name, what in _COMMANDS.items())))
        sys.exit(0 if arguments else 2)
    if command == "--version":
        print(f"lml-iqa {__version__}")
        sys.exit(0)
    if command == "data":
        from lml_iqa.data_tools import command as data

        sys.exit(data.run(arguments[1:]))
    if command == "score":
        from lml_iqa.inference import command as score

        sys.exit(score.run(arguments[1:]))
    if command == "configs":
        sys.exit(shipped.run(arguments[1:]))
    foreign = next((a for a in arguments if any("\ud800" <= character <= "\udfff" for character in a)), None)
    if foreign is not None:
        sys.exit(
            f"error: {printable(foreign)}: not UTF-8, which YAML cannot express; use a symbolic link with a plain name"
        )
    if command not in _COMMANDS and not command.startswith("-"):
        sys.exit(f"error: {printable(command)!r} is not one of the commands {', '.join(_COMMANDS)}")
    try:
        arguments = shipped.find_all(arguments)
        if command == "protocol" and arguments[1:] and not arguments[1].startswith("-"):
            arguments[1] = shipped.find(arguments[1])
    except LMLError as error:
        sys.exit(f"error: {error}")
    if command == "protocol":
        from lml_iqa.experiments.command import protocol

        sys.exit(protocol(arguments[1:]))
    from lml_iqa import cli

    cli.run(arguments)
