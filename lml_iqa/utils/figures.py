"""Saving of matplotlib figures whose text contains file names."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lml_iqa.utils.files import atomic_path, printable

_SHOWN = 40  # characters of a file name that fit over an image


def save_figure(figure: Figure, path: str | Path, dpi: int = 110) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the figure shows a box instead
        figure.savefig(temporary, format="png", dpi=dpi)


def set_file_title(axes: Axes, name: str | os.PathLike[str], text: str, fontsize: float = 9) -> None:
    """Set the title of an image: the end of its file name, never parsed as math (``$x$``), and a line of text."""
    shown = printable(Path(name).name)
    shown = shown if len(shown) <= _SHOWN else f"...{shown[3 - _SHOWN :]}"
    axes.set_title(f"{shown}\n{text}", fontsize=fontsize, parse_math=False)
