"""Reading label files of MATLAB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from lml_iqa.datasets.errors import DatasetError


def read_numbers(path: Path, variable: str) -> NDArray[np.float64]:
    """Read a numeric variable, flattened to one axis.

    Raises:
        DatasetError: The file is missing or no MATLAB file, lacks the variable, or it holds no real numbers.
    """
    values = _read(path, variable)
    if values.dtype.kind not in "biuf":
        raise DatasetError(f"{path}: variable {variable!r} holds no numbers; give the set's own label file")
    return values.astype(np.float64)


def read_texts(path: Path, variable: str) -> NDArray[np.str_]:
    """Read a cell array of texts, flattened to one axis; empty cells become ``""``.

    Raises:
        DatasetError: The file is missing or no MATLAB file, lacks the variable, or it holds no texts.
    """
    values = _read(path, variable)
    texts = [np.ravel(cell) for cell in values]
    if values.dtype != object or any(len(text) > 1 or (len(text) and text.dtype.kind != "U") for text in texts):
        raise DatasetError(f"{path}: variable {variable!r} holds no texts; give the set's own label file")
    return np.array([str(text[0]) if len(text) else "" for text in texts], dtype=np.str_)


def _read(path: Path, variable: str) -> NDArray[Any]:
    try:
        variables = scipy.io.loadmat(path)
    except NotImplementedError as error:
        raise DatasetError(f"{path}: a MATLAB 7.3 file, which is not read here; save it again with -v7") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}); give the path of the label file") from error
    except (Exception, MemoryError) as error:  # a damaged file raises whatever its broken parts lead to
        raise DatasetError(
            f"{path}: not a MATLAB file, or damaged ({error}); copy or download the file again"
        ) from error
    if variable not in variables:
        found = sorted(name for name in variables if not name.startswith("__"))
        raise DatasetError(f"{path}: no variable {variable!r}, only {found}; give the set's own label file")
    values: NDArray[Any] = variables[variable].ravel()
    return values
