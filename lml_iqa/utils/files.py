"""Atomic writing of files, and display of file names that are not plain text."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_NAME = 255  # bytes, on common file systems


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Temporary path beside ``path`` that replaces it when the block ends without an error.

    Readers never see a partial file, and an existing file survives a failed write.

    Args:
        path: The file to write; its folder is created.

    Yields:
        Path of the same suffix in the same folder.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not derived from the name, which may already have the maximum length of the file system.
    temporary = target.with_name(f".{uuid.uuid4().hex}{target.suffix if len(target.suffix) < 16 else ''}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically; file names that are not UTF-8 keep their bytes (``surrogateescape``)."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))


def with_ending(name: str, ending: str) -> str:
    """Append an ending to a file name, for an output that belongs to the file; long names are shortened.

    A shortened name ends with a hash of the full name, so that two files never share an output.
    """
    *folders, last = name.split("/")
    encoded = os.fsencode(last)
    if len(encoded) + len(ending) > _LONGEST_NAME:
        mark = f"~{hashlib.sha256(encoded).hexdigest()[:8]}"
        kept = encoded[: _LONGEST_NAME - len(ending) - len(mark)].decode("utf-8", "ignore")
        last = f"{kept}{mark}"
    return "/".join([*folders, f"{last}{ending}"])


def printable(name: str | os.PathLike[str]) -> str:
    """Format a file name for terminals, figures and messages: one line of valid, visible Unicode.

    Control and format characters (such as right-to-left overrides) and bytes that are not UTF-8 become escapes.
    """
    text = os.fspath(name)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
