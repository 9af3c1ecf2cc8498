"""Allocator setting that keeps freed memory for the next training step."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1  # from glibc's malloc.h
_M_MMAP_THRESHOLD = -3
_TENSOR = 2**30  # bytes: larger than the activations of any step on a CPU


def keep_freed_memory() -> bool:
    """Let glibc's allocator reuse the memory of large tensors instead of returning it to the kernel.

    By default, each large activation is mapped anew and zeroed page by page at every step, which slows down training on
    CPUs (``benchmarks/README.md``). With this setting, the process keeps its peak memory until it ends. Call this from
    programs only, not from libraries, as it applies to the whole process.

    Returns:
        Whether the setting was applied; False without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _TENSOR)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
