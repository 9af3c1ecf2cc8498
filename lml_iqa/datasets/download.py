"""Fetching the archives of published data sets: resumed, verified, and unpacked whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

from lml_iqa.datasets.unpack import clear_errors, unpack
from lml_iqa.errors import DatasetError

_log = logging.getLogger(__name__)

LOCK = ".download.lock"
"""File in the target folder that a download leaves behind."""

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
    with clear_errors(folder):
        if not _missing(archives, folder):  # asked without the lock: a finished set may be read-only
            return
        folder.mkdir(parents=True, exist_ok=True)
        _log.info("downloading into %s, after any process that already does", folder)
        with FileLock(folder / LOCK):
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
    with clear_errors(folder):
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
