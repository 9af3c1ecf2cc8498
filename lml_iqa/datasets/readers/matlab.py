"""Reader of MATLAB label files (version 5 to 7).

``scipy.io.loadmat`` supports more types, but can crash with a segmentation fault on a damaged file.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lml_iqa.errors import DatasetError

# Type codes of the format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_STORED_TEXT = {2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHARACTERS, _NUMBERS = 1, 4, range(6, 16)
_COMPLEX = 8  # flag
_LARGEST = 1 << 28  # bytes of a decompressed variable; label files have a few thousand rows


def read_numbers(path: Path, variable: str) -> NDArray[np.float64]:
    """Read a vector of real numbers as a one-dimensional array.

    Raises:
        DatasetError: The file is missing or not a MATLAB file, lacks the variable, or the variable is not a vector of
            real numbers.
    """
    values = _read(path, variable)
    if not isinstance(values, np.ndarray):
        raise DatasetError(f"{path}: variable {variable!r} has no numbers; give the original label file")
    return values


def read_texts(path: Path, variable: str) -> NDArray[np.str_]:
    """Read a cell array of strings as a one-dimensional array; empty cells become ``""``.

    Raises:
        DatasetError: The file is missing or not a MATLAB file, lacks the variable, or the variable has no strings.
    """
    values = _read(path, variable)
    if not isinstance(values, list) or not all(
        isinstance(text, str) or (isinstance(text, np.ndarray) and not len(text)) for text in values
    ):
        raise DatasetError(f"{path}: variable {variable!r} has no text; give the original label file")
    return np.array([text if isinstance(text, str) else "" for text in values], dtype=np.str_)


def _read(path: Path, variable: str) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}); give the path of the label file") from error
    if content.startswith((b"MATLAB 7.3", b"\x89HDF")) or content[512:516] == b"\x89HDF":
        raise DatasetError(f"{path}: a MATLAB 7.3 file, which is not supported; save it again with -v7")
    try:
        variables = _variables(content)
    except (ValueError, IndexError, OverflowError, RecursionError, zlib.error) as error:
        raise DatasetError(
            f"{path}: not a MATLAB file, or damaged ({error}); copy or download the file again"
        ) from error
    if variable not in variables:
        raise DatasetError(f"{path}: no variable {variable!r}, only {sorted(variables)}; give the original label file")
    return variables[variable]


def _variables(content: bytes) -> dict[str, Any]:
    """Variables by name: float64 vectors, lists for cell arrays, str for characters, None for other types."""
    mark = content[126:128]
    if mark not in {b"IM", b"MI"} or content[125 if mark == b"IM" else 124] != 1:
        raise ValueError("no header of a MATLAB 5 file")
    order = "<" if mark == b"IM" else ">"
    found: dict[str, Any] = {}
    for kind, data in _elements(content[128:], order):
        if kind == _COMPRESSED:
            inflater = zlib.decompressobj()
            data = inflater.decompress(data, _LARGEST)
            if not inflater.eof:
                raise ValueError("a compressed variable is cut off or too large")
            kind, data = next(_elements(data, order), (0, b""))
        if kind == _MATRIX:
            name, value = _matrix(data, order)
            found[name] = value
    return found


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Iterate over the type and content of consecutive elements."""
    start = 0
    while start < len(data):
        if len(data) - start < 8:
            raise ValueError("an element is cut off")
        kind, size = (int(x) for x in np.frombuffer(data, f"{order}u4", 2, start))
        if kind >> 16:  # small element: up to four bytes are stored in the tag
            kind, size, place, after = kind & 0xFFFF, kind >> 16, start + 4, start + 8
            if size > 4:
                raise ValueError("a small element is larger than 4 bytes")
        else:
            place = start + 8
            after = place + size + (-size % 8 if kind != _COMPRESSED else 0)
        if place + size > len(data):
            raise ValueError("an element is cut off")
        yield kind, data[place : place + size]
        start = after


def _matrix(data: bytes, order: str) -> tuple[str, Any]:
    parts = _elements(data, order)
    head = [next(parts, (0, b"")) for _ in range(3)]
    if not data:
        return "", np.empty(0)  # an empty cell
    if [kind for kind, _ in head] != [6, 5, 1] or len(head[0][1]) != 8:
        raise ValueError("a variable without flags, size and name")
    flags, _ = np.frombuffer(head[0][1], f"{order}u4")
    shape = np.frombuffer(head[1][1], f"{order}i4").tolist()
    name = head[2][1].decode("ascii", "backslashreplace")
    kind, count = int(flags) & 0xFF, math.prod(shape)
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"variable {name!r} has the size {shape}")
    rest = list(parts)
    if kind == _CELL:
        cells = [_matrix(cell, order)[1] for code, cell in rest if code == _MATRIX]
        if len(cells) != count:
            raise ValueError(f"variable {name!r} has {len(cells)} cells of {count}")
        return name, cells
    if kind == _CHARACTERS:
        return name, _text(name, shape, rest, order)
    if kind not in _NUMBERS or (int(flags) >> 8) & _COMPLEX or count != max(shape, default=0) * (count > 0):
        return name, None
    values = np.frombuffer(rest[0][1], np.dtype(order + _STORED.get(rest[0][0], "V1"))) if rest else np.empty(0)
    if len(values) != count or values.dtype.kind == "V":
        raise ValueError(f"variable {name!r} has {len(values)} numbers of {count}")
    return name, values.astype(np.float64)


def _text(name: str, shape: list[int], rest: list[tuple[int, bytes]], order: str) -> str | None:
    if math.prod(shape) == 0:
        return ""
    if not rest or rest[0][0] not in _STORED_TEXT:
        raise ValueError(f"variable {name!r} has characters of an unknown type")
    code = _STORED_TEXT[rest[0][0]]
    suffix = ("-le" if order == "<" else "-be") if code in {"utf-16", "utf-32"} else ""
    text = rest[0][1].decode(code + suffix)
    if len(shape) != 2 or shape[0] != 1:
        return None  # several rows
    if len(text) != shape[1]:
        raise ValueError(f"variable {name!r} has {len(text)} characters of {shape[1]}")
    return text.rstrip("\0")
