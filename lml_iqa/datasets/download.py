"""Fetching the archives of published data sets: resumed, verified, and unpacked whole or not at all."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import logging
import re
import shutil
import ssl
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm  # type: ignore[import-untyped]

from lml_iqa.datasets.errors import DatasetError

_log = logging.getLogger(__name__)

_FINISHED = ".downloaded.json"
_TRIES = 5  # answers that a server may cut off
_PAUSE_S = 1.0  # before the second try; longer before each further one
_TIMEOUT_S = 60.0
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Archive:
    """An archive on the internet.

    Attributes:
        url: Its http or https address.
        checksum: ``sha256:`` or ``md5:`` and lower-case digits.
        size: Its bytes, where known: for the progress bar and the check of free space if the server does not tell.
        into: Folder below the target that its members are unpacked into.
    """

    url: str
    checksum: str
    size: int | None = None
    into: str = "."

    @property
    def name(self) -> str:
        """File name of the archive while it is on disk: the end of its address."""
        name = PurePosixPath(unquote(urlsplit(self.url).path)).name
        return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "archive"


class _Member(NamedTuple):
    name: str
    size: int
    is_file: bool
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def download(archives: Sequence[Archive], folder: Path) -> None:
    """Fetch, verify and unpack archives into a folder, each of them once.

    Several processes may call it: one works, the others wait. What is done is noted in ``.downloaded.json``, so that a
    further call does nothing and a killed one is taken up where it stopped; remove that file to fetch everything anew.

    Args:
        archives: The archives; each is deleted once it is unpacked.
        folder: Their target; created if missing, ``~`` is expanded.

    Raises:
        DatasetError: An archive cannot be fetched, verified or unpacked, or ``folder`` cannot be written.
    """
    folder = folder.expanduser()
    with _clear_errors(folder):
        if not _missing(archives, folder):  # asked without the lock: a finished set may be read-only
            return
        folder.mkdir(parents=True, exist_ok=True)
        _log.info("downloading into %s, after any process that already does", folder)
        with FileLock(folder / ".download.lock"):
            for archive in _missing(archives, folder):
                path = fetch_archive(archive, folder)
                unpack(path, folder / archive.into)
                note = folder / f"{_FINISHED}.part"
                note.write_text(json.dumps({**_finished(folder), archive.url: archive.checksum}, indent=2))
                note.replace(folder / _FINISHED)
                path.unlink()


def fetch_archive(archive: Archive, folder: Path) -> Path:
    """Download an archive and verify its checksum; a download that was cut off is resumed.

    Args:
        archive: The archive.
        folder: Folder for its file, ``<name>.part`` until that is whole and verified; created if missing.

    Returns:
        Path of the verified file.

    Raises:
        DatasetError: The server cannot be reached, refuses, or cuts off every answer; the checksum differs (then the
            file is removed); the disk is full.
    """
    path = folder / archive.name
    part = path.with_name(f"{path.name}.part")
    with _clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            return _verified(archive, path)
        for attempt in range(_TRIES):
            time.sleep(_PAUSE_S * attempt)
            whole, size = _transfer(archive, part)
            if whole:
                return _verified(archive, part).replace(path)
    of = f"{size:,}" if size is not None else "an unknown number of"
    raise _failure(archive, folder, f"cut off {_TRIES} times, {_size(part):,} of {of} bytes came; run again to resume")


def _transfer(archive: Archive, part: Path) -> tuple[bool, int | None]:
    """Ask once for what is missing of an archive: whether it is whole then, and its size where known."""
    start = _size(part)
    headers = {"User-Agent": "lml-iqa"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urlopen(Request(archive.url, headers=headers), timeout=_TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing comes after what is here: the checksum tells whether it is whole
            return True, start
        raise _failure(archive, part.parent, f"the server answers {error.code} {error.reason}; try later") from error
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)  # refused, unknown host, timed out, certificate
        raise _failure(archive, part.parent, f"no connection ({cause}); try later") from error
    with answer:
        start = start if answer.status == 206 else 0  # 200: the whole archive, whatever was asked for
        length = answer.headers.get("Content-Length", "")
        size = start + int(length) if length.isdecimal() else archive.size
        missing, free = (size or start) - start, shutil.disk_usage(part.parent).free
        if missing > free:
            raise _failure(archive, part.parent, f"{missing:,} bytes to come, {free:,} are free; free some space")
        bar = tqdm(total=size, initial=start, desc=archive.name, unit="B", unit_scale=True, disable=None)
        with bar, part.open("ab" if start else "wb") as file:
            try:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            except (HTTPException, ConnectionError, TimeoutError, ssl.SSLError):
                return False, size
    return size is None or _size(part) >= size, size


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip or tar archive (also gz, bz2, xz; told by content), whole or not at all.

    Members go to a hidden folder first and are moved into place at the end. A file that is there already stays if its
    bytes are the same; if one differs, nothing is moved. Mac metadata (``__MACOSX``, ``.DS_Store``, ``._*``) is left
    out. Call it from one process at a time, as :func:`download` does.

    Args:
        path: The archive; it is kept.
        folder: Where the members go; created if missing.

    Raises:
        DatasetError: The archive is broken or none, holds links, devices or paths that lead out of ``folder``, is
            larger than the free space, or differs from a file that is there.
    """
    base = next(above for above in (folder, *folder.absolute().parents) if above.is_dir())
    hidden = base / f".{path.name}.unpacking"
    with _clear_errors(folder, path), _opened(path) as listed:
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


def _failure(archive: Archive, folder: Path, cause: str) -> DatasetError:
    where = folder / archive.into
    return DatasetError(f"{archive.url}: {cause}, or download it by hand and unpack it into {where}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _verified(archive: Archive, path: Path) -> Path:
    algorithm = archive.checksum.partition(":")[0]
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    found = f"{algorithm}:{hasher.hexdigest()}"
    if found != archive.checksum:
        path.unlink()
        cause = f"the checksum is {found} instead of {archive.checksum}, and the file was removed; run again"
        raise _failure(archive, path.parent, cause)
    return path


def _finished(folder: Path) -> dict[str, str]:
    """Checksums of the archives that were unpacked into a folder, by address."""
    path = folder / _FINISHED
    try:
        return dict(json.loads(path.read_text())) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: unreadable ({error}); remove it to fetch the archives again") from error


def _missing(archives: Sequence[Archive], folder: Path) -> list[Archive]:
    finished = _finished(folder)
    return [archive for archive in archives if finished.get(archive.url) != archive.checksum]


@contextmanager
def _clear_errors(folder: Path, path: Path | None = None) -> Iterator[None]:
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
