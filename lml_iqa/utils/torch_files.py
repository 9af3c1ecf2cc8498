"""Safe loading of ``torch.save`` files that may be damaged, foreign or malicious."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_ZIP = b"PK\x03\x04"  # format of torch.save since version 1.6


def load_torch_file(path: Path, map_location: Any = "cpu", *, mmap: bool = False) -> Any:
    """Load a ``torch.save`` file without executing code in it (``weights_only``).

    Args:
        path: An existing file.
        map_location: As in :func:`torch.load`.
        mmap: Whether to leave tensors on disk until they are used, if the file's format allows it.

    Raises:
        ValueError: The file cannot be loaded; the message is a clause with the reason.
    """
    start = b""
    try:
        with path.open("rb") as file:
            start = file.read(len(_ZIP))
        return torch.load(path, map_location, weights_only=True, mmap=mmap and start == _ZIP)
    except OSError as error:
        raise ValueError(str(error.strerror or error)) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(_reason(start, str(error))) from error


def _reason(start: bytes, error: str) -> str:
    if not start:
        return "the file is empty"
    if "Unsupported global" in error or "Unsupported class" in error:
        return "it contains Python objects, which could execute code when loaded"
    if start == _ZIP:
        return "it is truncated or damaged, or another kind of archive"
    return "it is not a torch.save file, or it is damaged"
