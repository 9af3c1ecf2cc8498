"""Unpacking archives that nobody has looked into: whole or not at all, and never outside the folder."""

from __future__ import annotations

import errno
import filecmp
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from lml_iqa.errors import DatasetError

_CHUNK = 1 << 18


class _Member(NamedTuple):
    name: str
    size: int
    is_file: bool
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip or tar archive (also gz, bz2, xz; told by content), whole or not at all.

    Members go to a hidden folder first and are moved into place at the end. A file that is there already stays if its
    bytes are the same; if one differs, nothing is moved. Mac metadata (``__MACOSX``, ``.DS_Store``, ``._*``) is left
    out. Call it from one process at a time, as :func:`~lml_iqa.datasets.download.download` does.

    Args:
        path: The archive; it is kept.
        folder: Where the members go; created if missing.

    Raises:
        DatasetError: The archive is broken or none, holds links, devices or paths that lead out of ``folder``, is
            larger than the free space, or differs from a file that is there.
    """
    base = next(above for above in (folder, *folder.absolute().parents) if above.is_dir())
    hidden = base / f".{path.name}.unpacking"
    with clear_errors(folder, path), _opened(path) as listed:
        members = [(member, parts) for member in listed if (parts := _parts(member, path))]
        shutil.rmtree(hidden, ignore_errors=True)  # left by a killed process
        size, free = sum(member.size for member, _ in members), shutil.disk_usage(base).free
        if size > free:
            raise DatasetError(f"{path}: unpacks to {size:,} bytes, {free:,} are free in {base}; free some space")
        hidden.mkdir()
        try:
            for member, parts in tqdm(members, desc=f"unpacking {path.name}", disable=None):
                target = hidden.joinpath(*parts)
                (target if member.is_folder else target.parent).mkdir(parents=True, exist_ok=True)
                if member.is_file and (source := member.open()):
                    with source, target.open("wb") as file:
                        shutil.copyfileobj(source, file, _CHUNK)
            for new, place in list(_moves(hidden, folder, path)):
                place.parent.mkdir(parents=True, exist_ok=True)
                new.rename(place)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def _opened(path: Path) -> Iterator[list[_Member]]:
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        with zipfile.ZipFile(path) as zipped:
            yield [_zip_member(zipped, info) for info in zipped.infolist()]
    else:
        with tarfile.open(path) as tarred:
            members = [
                _Member(info.name, info.size, info.isfile(), info.isdir(), partial(tarred.extractfile, info))
                for info in tarred
            ]
            if tarred.fileobj is not None:  # tarfile asks for neither the empty block at the end nor gzip's checksum
                tarred.fileobj.seek(tarred.offset)
                if tarred.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("no end of archive")
                while tarred.fileobj.read(_CHUNK):
                    pass
            yield members


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    is_folder = info.filename.endswith(("/", "\\"))
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0: not packed on Unix
    is_file = not is_folder and kind in (0, stat.S_IFREG)
    return _Member(info.filename, info.file_size, is_file, is_folder, partial(zipped.open, info))


def _parts(member: _Member, path: Path) -> list[str]:
    """Folders and file of a member's name, on any system; empty for what is not unpacked."""
    parts = [part for part in re.split(r"[/\\]", member.name) if part not in ("", ".")]
    outside = member.name.startswith(("/", "\\")) or any(re.match(r"\.\.$|[A-Za-z]:", part) for part in parts)
    if outside or not (member.is_file or member.is_folder):
        what = "leads out of the folder" if outside else "is a link or a device"
        raise DatasetError(f"{path}: {member.name!r} {what}, so nothing was unpacked; do it by hand if you trust it")
    mac = "__MACOSX" in parts or any(part == ".DS_Store" or part.startswith("._") for part in parts)
    return [] if mac else parts


def _moves(new: Path, place: Path, path: Path) -> Iterator[tuple[Path, Path]]:
    """What to rename: whole folders where there is none yet, else their members; files that are there stay."""
    if not place.exists() and not place.is_symlink():
        yield new, place
    elif new.is_dir() and place.is_dir():
        for entry in sorted(new.iterdir()):
            yield from _moves(entry, place / entry.name, path)
    elif not (new.is_file() and place.is_file() and filecmp.cmp(new, place, shallow=False)):
        raise DatasetError(f"{place}: differs from what {path} holds; move it away and run again")


@contextmanager
def clear_errors(folder: Path, path: Path | None = None) -> Iterator[None]:
    """Say what the disk, or the decoders at a broken archive, ran into."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else None
        if path is not None and code in (None, errno.EINVAL):  # decoders raise whatever broken bytes lead to
            message = f"{path}: cut off, broken or no zip or tar archive ({error}); remove it and download it again"
        elif code is None:
            raise
        elif code in (errno.ENOSPC, errno.EDQUOT):
            message = f"{folder}: the disk is full; free some space and run again: what was downloaded is kept"
        elif isinstance(error, (FileExistsError, NotADirectoryError)):
            message = f"{error.filename or folder} is a file; give the folder to download into"
        else:
            message = f"{folder}: {error}; make the folder writable, or give another one"
        raise DatasetError(message) from error
