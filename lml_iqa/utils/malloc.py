"""Keeping freed memory for the next training step, where the C library would hand it back."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1  # from glibc's malloc.h
_M_MMAP_THRESHOLD = -3
_TENSOR = 2**30  # bytes: larger than the activations of any step on a CPU


def keep_freed_memory() -> bool:
    """Let glibc's allocator reuse the memory of large tensors instead of returning it to the kernel.

    By default each large activation is mapped afresh and zeroed page by page at every step, which made a training step
    on CPU cores 1.4 to 2 times as long (``benchmarks/cpu_step.py``). The process keeps its peak memory until it
    ends. Only programs should call this, libraries not: it holds for the whole process.

    Returns:
        Whether the C library is glibc and took the setting; elsewhere nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _TENSOR)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
