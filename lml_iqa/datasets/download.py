"""Downloading the archives of published data sets: resumed, verified, and unpacked whole or not at all."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import logging
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from filelock import FileLock
from tqdm import tqdm

from lml_iqa.errors import DatasetError

_log = logging.getLogger(__name__)

LOCK = ".download.lock"
"""File in the target folder that a download leaves behind."""

_FINISHED = ".downloaded"  # lines of SHA-256 and file name


@dataclass(frozen=True)
class Archive:
    """A tar archive (plain, gz, bz2 or xz) in a dataset repository on the Hugging Face Hub.

    Attributes:
        repository: ``owner/name`` of the repository.
        revision: Commit of the repository.
        name: File name in the repository.
        sha256: Lower-case digits.
        size: Bytes.
    """

    repository: str
    revision: str
    name: str
    sha256: str
    size: int

    @property
    def url(self) -> str:
        """Its address; the environment variable ``HF_ENDPOINT`` names another server."""
        from huggingface_hub import hf_hub_url  # slow to import

        return hf_hub_url(self.repository, self.name, repo_type="dataset", revision=self.revision)


def download(archives: Sequence[Archive], folder: Path) -> None:
    """Fetch, verify and unpack archives into a folder, each of them once.

    Several processes may call it: one works, the others wait. What is done is noted in ``.downloaded``, so that a
    further call does nothing and a killed one continues where it stopped; remove that file to fetch everything anew.
    A file that is there already stays if its bytes are the same; if one differs, nothing is moved into place. Mac
    metadata (``__MACOSX``, ``.DS_Store``, ``._*``) is left out.

    Args:
        archives: The archives; each is deleted once it is unpacked.
        folder: Their target; created if missing, ``~`` is expanded.

    Raises:
        DatasetError: An archive cannot be fetched, its checksum differs (then it is removed), it is broken, holds
            links, devices or paths that lead out of ``folder``, or differs from a file that is there; the disk is full
            or ``folder`` cannot be written.
    """
    folder = folder.expanduser()
    try:
        if not _missing(archives, folder):  # asked without the lock: a finished set may be read-only
            return
        folder.mkdir(parents=True, exist_ok=True)
        _log.info("downloading into %s, after any process that already does", folder)
        with FileLock(folder / LOCK):
            for archive in _missing(archives, folder):
                path = folder / archive.name
                _fetch(archive, path)
                _unpack(path, folder)
                with (folder / _FINISHED).open("a") as note:
                    note.write(f"{archive.sha256}  {archive.name}\n")
                path.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{folder}: the disk is full; free some space and run again: what was downloaded is kept"
        elif isinstance(error, (FileExistsError, NotADirectoryError)):
            message = f"{error.filename or folder} is a file; give the folder to download into"
        else:
            message = f"{folder}: {error}; make the folder writable, or give another one"
        raise DatasetError(message) from error


def _missing(archives: Sequence[Archive], folder: Path) -> list[Archive]:
    finished = "".join(note.read_text() for note in folder.glob(f"{_FINISHED}*"))  # former notes end in .json
    return [archive for archive in archives if archive.sha256 not in finished]


def _fetch(archive: Archive, path: Path) -> None:
    """Fetch the bytes of an archive that its file lacks, and verify it.

    ``hf_hub_download`` would start a killed download anew, and leave the bytes of the former one on the disk.
    """
    from huggingface_hub.file_download import http_get

    by_hand = f"or download it by hand and unpack it into {path.parent}"
    with path.open("ab") as file:
        start, free = file.tell(), shutil.disk_usage(path.parent).free
        if archive.size - start > free:
            need = f"{archive.size - start:,} bytes to come, {free:,} are free"
            raise DatasetError(f"{archive.url}: {need}; free some space, {by_hand}")
        try:
            if start < archive.size:
                http_get(archive.url, file, resume_size=start, headers={"user-agent": "lml-iqa"})
        except Exception as error:  # the HTTP client and its errors depend on the version of huggingface_hub
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            cause = " ".join(str(error).split())
            raise DatasetError(f"{archive.url}: {cause}; try later: the downloaded part is kept, {by_hand}") from error
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    if hasher.hexdigest() != archive.sha256:
        path.unlink()
        cause = f"the SHA-256 is {hasher.hexdigest()} instead of {archive.sha256}, and the file was removed"
        raise DatasetError(f"{archive.url}: {cause}; run again, {by_hand}")


def _unpack(path: Path, folder: Path) -> None:
    """Unpack an archive into a hidden folder and move its members into place."""
    hidden = folder / f".{path.name}.unpacking"
    shutil.rmtree(hidden, ignore_errors=True)  # left by a killed process
    hidden.mkdir()
    try:
        with tarfile.open(path) as tar:
            tar.extractall(hidden, tqdm(tar, desc=f"unpacking {path.name}", disable=None), filter=_wanted)
        for new, place in list(_moves(hidden, folder, path)):
            new.rename(place)
    except Exception as error:  # decoders raise whatever broken bytes lead to
        if isinstance(error, DatasetError) or (isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)):
            raise
        message = f"{path}: nothing was unpacked, as it is broken, unsafe or no tar archive ({error})"
        raise DatasetError(f"{message}; remove it and run again, or unpack it by hand if you trust it") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _wanted(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """A member as it is safe to unpack, or None for Mac metadata."""
    if not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"{member.name!r} is a link or a device")
    parts = PurePath(member.name).parts
    mac = "__MACOSX" in parts or any(part == ".DS_Store" or part.startswith("._") for part in parts)
    return None if mac else tarfile.data_filter(member, folder)


def _moves(new: Path, place: Path, path: Path) -> Iterator[tuple[Path, Path]]:
    """What to rename: whole folders where there is none yet, else their members; files that are there stay."""
    if not place.exists() and not place.is_symlink():
        yield new, place
    elif new.is_dir() and place.is_dir():
        for entry in sorted(new.iterdir()):
            yield from _moves(entry, place / entry.name, path)
    elif not (new.is_file() and place.is_file() and filecmp.cmp(new, place, shallow=False)):
        raise DatasetError(f"{place}: differs from what {path} holds; move it away and run again")
