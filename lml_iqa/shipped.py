"""Configurations shipped with the package: found by name, listed and copied by ``lml-iqa configs``."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from lml_iqa.errors import ConfigError
from lml_iqa.utils.files import printable

_OPTIONS = ("--config", "-c", "--trainer")  # options of the command line that take the path of a YAML file


def folder() -> Path:
    """Folder of the shipped configurations: inside the installed package, or beside it in a source tree."""
    package = Path(str(files("lml_iqa")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """Paths of all shipped configurations relative to :func:`folder`, sorted."""
    return sorted(path.relative_to(folder()).as_posix() for path in folder().rglob("*.yaml"))


def find(name: str) -> str:
    """Path of a configuration: the file itself if it exists, else the shipped one of that name.

    Args:
        name: A path, or the name of a shipped configuration such as ``tid2013.yaml`` or ``protocol/repeats.yaml``,
            with or without the prefix ``configs/``.

    Raises:
        ConfigError: Neither exists.
    """
    path = Path(name).expanduser()
    shipped = folder() / name.removeprefix("configs/")
    if path.exists() or path.is_absolute() or not name.endswith((".yaml", ".yml")):
        return name
    if shipped.is_file() and folder() in shipped.resolve().parents:
        return str(shipped)
    raise ConfigError(f"{printable(name)}: no such file or shipped configuration; run `lml-iqa configs` for a list")


def find_all(arguments: Sequence[str]) -> list[str]:
    """Replace the names of shipped configurations in command-line arguments by their paths.

    Raises:
        ConfigError: A configuration does not exist.
    """
    found: list[str] = []
    for n, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if equals and option in _OPTIONS:
            found.append(f"{option}={find(value)}")
        else:
            found.append(find(argument) if n and arguments[n - 1] in _OPTIONS else argument)
    return found


def run(arguments: Sequence[str]) -> int:
    """``lml-iqa configs``: list the shipped configurations, or copy one.

    Returns:
        Exit status: 0, or 2 if there is no such configuration or the target exists.
    """
    parser = argparse.ArgumentParser(
        prog="lml-iqa configs", description="List the configurations shipped with lml-iqa, or copy one to edit it."
    )
    parser.add_argument("name", nargs="?", help="configuration to copy, such as tid2013.yaml; default: list all")
    parser.add_argument(
        "target", nargs="?", type=Path, help="file to write; default: the same name in the current folder"
    )
    given = parser.parse_args(arguments)
    if given.name is None:
        for name in names():
            head = (folder() / name).read_text(encoding="utf-8").partition("\n")[0]
            print(f"{name:28}{head.removeprefix('#').strip() if head.startswith('#') else ''}".rstrip())
        return 0
    source = folder() / given.name.removeprefix("configs/")
    target = given.target or Path(source.name)
    if not source.is_file():
        print(f"error: {printable(given.name)}: not one of {', '.join(names())}", file=sys.stderr)
        return 2
    if target.exists():
        print(f"error: {printable(target)}: already exists; give another name", file=sys.stderr)
        return 2
    shutil.copyfile(source, target)
    print(printable(target))
    return 0
