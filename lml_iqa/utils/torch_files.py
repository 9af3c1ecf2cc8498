"""Reading ``torch.save`` files that may be damaged, foreign or malicious."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_ZIP = b"PK\x03\x04"  # what torch.save writes since version 1.6


def load_torch_file(path: Path, map_location: Any = "cpu", *, mmap: bool = False) -> Any:
    """Load a ``torch.save`` file without executing code in it (``weights_only``).

    Args:
        path: An existing file.
        map_location: As in :func:`torch.load`.
        mmap: Leave tensors on disk until they are used, where the file's format allows it.

    Raises:
        ValueError: The file cannot be loaded; the message is a clause that says why.
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
        return "it holds Python objects, which are not loaded because loading them could execute code"
    if start == _ZIP:
        return "it is cut off or damaged, or another kind of archive"
    return "it is not a file of torch.save, or it is damaged"
