import errno
import hashlib
import io
import os
import random
import re
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

import lml_iqa
from lml_iqa.datasets import DatasetError
from lml_iqa.datasets import download as module
from lml_iqa.datasets.download import Archive, download

NOISE = random.Random(0).randbytes(60_000)
FILES = {"set/a.png": NOISE[:40_000], "set/deep/b.png": NOISE[40_000:], "labels.csv": b"a.png,1\n"}
REVISION = 40 * "a"


def pack(files, kind="gz"):
    """Bytes of a tar archive; a value that is no bytes is a ready member without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as archive:
        for name, content in files.items():
            member = content
            if isinstance(content, bytes):
                member = tarfile.TarInfo(name)
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


TGZ = pack(FILES)


class Hub(ThreadingHTTPServer):
    """Stands in for the Hub, and can misbehave in the ways servers do."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.asked = []  # the Range header of every request
        self.cuts = 0  # answers that are cut off after 10,000 bytes
        self.knows_ranges = True
        self.status = None
        self.delay_s = 0.0  # before an answer, and within those that are cut off

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}"

    def archive(self, content, name="set.tgz", digest_of=None):
        self.files[f"/datasets/us/sets/resolve/{REVISION}/{name}"] = content
        digest = hashlib.sha256(content if digest_of is None else digest_of).hexdigest()
        return Archive("us/sets", REVISION, name, digest, len(content))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        time.sleep(server.delay_s)
        if server.status or self.path not in server.files:
            self.send_error(server.status or 404)
            return
        content = server.files[self.path]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = server.cuts > 0
        server.cuts -= cut
        with suppress(ConnectionError):
            self.wfile.write(content[start : start + 10_000] if cut else content[start:])
            time.sleep(server.delay_s * cut)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    with Hub() as running:
        monkeypatch.setattr(
            huggingface_hub, "hf_hub_url", partial(huggingface_hub.hf_hub_url, endpoint=running.endpoint)
        )
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "set"


def tree(folder):
    """Contents of the files below a folder by name, but for the lock and the note of what is done."""
    entries = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    own = (".download.lock", ".downloaded")
    return {name: path.read_bytes() for name, path in entries.items() if path.is_file() and name not in own}


def refused(archive, folder):
    with pytest.raises(DatasetError) as error:
        download([archive], folder)
    return str(error.value)


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_fetches_and_unpacks(hub, folder, kind):
    download([hub.archive(pack(FILES, kind))], folder)
    assert tree(folder) == FILES
    assert hub.asked == [None]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["set"]


def test_several_archives(hub, folder):
    archives = [hub.archive(pack({"one/a.png": b"a"}), "a.tgz"), hub.archive(pack({"one/b.png": b"b"}), "b.tgz")]
    download(archives, folder)
    assert tree(folder) == {"one/a.png": b"a", "one/b.png": b"b"}


@pytest.mark.parametrize("note", [".downloaded", ".downloaded.json"])
def test_repeated_call_asks_for_nothing(hub, folder, monkeypatch, note):
    archive = hub.archive(TGZ)
    download([archive], folder)
    (folder / ".downloaded").rename(folder / note)
    (folder / "labels.csv").unlink()
    monkeypatch.setattr(module, "FileLock", None)  # nor needs to write: a finished set may be read-only
    download([archive], folder)
    assert len(hub.asked) == 1
    assert "labels.csv" not in tree(folder)


def test_new_checksum_is_fetched(hub, folder):
    download([hub.archive(TGZ)], folder)
    download([hub.archive(pack({"new.csv": b"n"}))], folder)
    assert tree(folder) == {**FILES, "new.csv": b"n"}


def test_home_is_expanded(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    download([hub.archive(TGZ)], Path("~/sets"))
    assert tree(tmp_path / "sets") == FILES


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_resumes_where_an_answer_was_cut_off(hub, folder, knows_ranges):
    hub.cuts, hub.knows_ranges = 1, knows_ranges
    download([hub.archive(TGZ)], folder)
    assert hub.asked == [None, "bytes=10000-"]
    assert tree(folder) == FILES


@pytest.mark.parametrize("there", [TGZ[:20_000], TGZ])  # downloaded in part, or not unpacked
def test_continues_what_a_killed_process_left(hub, folder, there):
    folder.mkdir(parents=True)
    (folder / "set.tgz").write_bytes(there)
    download([hub.archive(TGZ)], folder)
    assert hub.asked == (["bytes=20000-"] if len(there) < len(TGZ) else [])
    assert tree(folder) == FILES


@pytest.mark.parametrize("size", [20_000, 100_000])
def test_something_else_under_its_name(hub, folder, size):
    folder.mkdir(parents=True)
    (folder / "set.tgz").write_bytes(bytes(size))
    archive = hub.archive(TGZ)
    assert "the file was removed; run again" in refused(archive, folder)
    assert tree(folder) == {}
    download([archive], folder)
    assert tree(folder) == FILES


def test_wrong_checksum(hub, folder):
    archive = hub.archive(TGZ, digest_of=b"another")
    assert refused(archive, folder) == (
        f"{archive.url}: the SHA-256 is {hashlib.sha256(TGZ).hexdigest()} instead of {archive.sha256}, "
        f"and the file was removed; run again, or download it by hand and unpack it into {folder}"
    )
    assert tree(folder) == {}


@pytest.mark.parametrize("status", [404, 403, 503])
def test_server_that_refuses(hub, folder, status):
    hub.status = status
    archive = hub.archive(TGZ)
    message = refused(archive, folder)
    assert message.startswith(f"{archive.url}: ")
    assert str(status) in message
    assert message.endswith(
        f"; try later: the downloaded part is kept, or download it by hand and unpack it into {folder}"
    )


def test_no_server(hub, folder, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    archive = hub.archive(TGZ)
    hub.socket.close()
    message = refused(archive, folder)
    assert message.startswith(f"{archive.url}: ")
    assert re.search(r"(refused|reset by peer).*; try later", message)


def test_folder_that_is_a_file(hub, tmp_path):
    (tmp_path / "file").touch()
    message = refused(hub.archive(TGZ), tmp_path / "file")
    assert message == f"{tmp_path / 'file'} is a file; give the folder to download into"


def test_too_little_space_for_the_rest(hub, folder, monkeypatch):
    folder.mkdir(parents=True)
    (folder / "set.tgz").write_bytes(TGZ[:20_000])
    archive, rest = hub.archive(TGZ), len(TGZ) - 20_000
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=rest - 1))
    assert f": {rest:,} bytes to come, {rest - 1:,} are free; free some space" in refused(archive, folder)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=rest))
    download([archive], folder)
    assert tree(folder) == FILES


@pytest.mark.parametrize("name", ["set.tgz", "b.png"])  # while downloading, while unpacking
def test_full_disk(hub, folder, monkeypatch, name):
    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(path, mode="r", *args, original=io.open, **kwargs):
        return Full(path, mode) if Path(path).name == name and mode in {"ab", "wb"} else original(path, mode, *args)

    archive = hub.archive(TGZ)
    with monkeypatch.context() as patch:
        patch.setattr(io, "open", opened)  # of pathlib
        patch.setattr(tarfile, "bltn_open", opened)
        message = refused(archive, folder)
    assert message == f"{folder}: the disk is full; free some space and run again: what was downloaded is kept"
    assert tree(folder) == {"set.tgz": b"" if name == "set.tgz" else TGZ}
    download([archive], folder)
    assert tree(folder) == FILES


def member(kind, target="", name="set/link"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


UNSAFE = {
    "up": ({"../evil": b"evil"}, "outside"),
    "up from below": ({"set/../../evil": b"evil"}, "outside"),
    "symlink up": ({"set/link": member(tarfile.SYMTYPE, "../.."), "set/link/evil": b"evil"}, "'set/link' is a link"),
    "symlink absolute": ({"set/link": member(tarfile.SYMTYPE, "/tmp")}, "'set/link' is a link"),
    "symlink inside": ({"set/link": member(tarfile.SYMTYPE, "good.png")}, "'set/link' is a link"),
    "hard link": ({"set/link": member(tarfile.LNKTYPE, "../victim")}, "'set/link' is a link"),
    "character device": ({"set/link": member(tarfile.CHRTYPE)}, "or a device"),
    "pipe": ({"set/link": member(tarfile.FIFOTYPE)}, "or a device"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_members_are_refused(hub, folder, case):
    files, cause = UNSAFE[case]
    folder.mkdir(parents=True)
    (folder.parent / "victim").write_bytes(b"victim")
    message = refused(hub.archive(pack({"good.png": b"good", **files})), folder)
    assert message.startswith(f"{folder / 'set.tgz'}: nothing was unpacked")
    assert cause in message
    assert list(tree(folder.parent)) == ["set/.download.lock", "set/set.tgz", "victim"]


def test_absolute_names_are_unpacked_inside(hub, folder, tmp_path):
    download([hub.archive(pack({f"{tmp_path}/evil": b"evil"}))], folder)
    assert not (tmp_path / "evil").exists()
    assert list(tree(folder).values()) == [b"evil"]


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>", NOISE, TGZ[:100], TGZ[:40_000]])
def test_broken_archive(hub, folder, content):
    message = refused(hub.archive(content), folder)
    assert message.startswith(f"{folder / 'set.tgz'}: nothing was unpacked, as it is broken")
    assert list(tree(folder)) == ["set.tgz"]


def test_mac_metadata_is_left_out(hub, folder):
    metadata = ["__MACOSX/set/._a.png", "__MACOSX/x", "set/.DS_Store", "set/._a.png", ".DS_Store", "set/__MACOSX/y"]
    download([hub.archive(pack({**FILES, **dict.fromkeys(metadata, b"mac")}))], folder)
    assert tree(folder) == FILES
    assert not (folder / "__MACOSX").exists()


def test_folders_and_odd_names(hub, folder):
    folders = {name: member(tarfile.DIRTYPE, name=name) for name in (".", "./empty")}
    download([hub.archive(pack({**folders, "./ä (1)..png": b"a"}))], folder)
    assert tree(folder) == {"ä (1)..png": b"a"}
    assert (folder / "empty").is_dir()


def test_files_that_are_there_stay(hub, folder):
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "a.png").write_bytes(FILES["set/a.png"])
    (folder / "mine.txt").write_bytes(b"mine")
    before = (folder / "set" / "a.png").stat()
    download([hub.archive(TGZ)], folder)
    assert tree(folder) == {**FILES, "mine.txt": b"mine"}
    after = (folder / "set" / "a.png").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("mine", [NOISE[:20_000], None])  # None: a folder
def test_files_that_differ_are_not_overwritten(hub, folder, mine):
    there = folder / "set" / "deep" / "b.png"  # after labels.csv, which must not be moved either
    there.parent.mkdir(parents=True)
    there.mkdir() if mine is None else there.write_bytes(mine)
    message = refused(hub.archive(TGZ), folder)
    assert message == f"{there}: differs from what {folder / 'set.tgz'} holds; move it away and run again"
    assert tree(folder) == {"set.tgz": TGZ} | ({} if mine is None else {"set/deep/b.png": mine})


# In a process of its own, without the rest of the package: that imports torch for seconds.
CHILD = f"""
import sys, tarfile, time, types
from pathlib import Path
for name in ("lml_iqa", "lml_iqa.datasets"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(Path({str(Path(lml_iqa.__file__).parent)!r}, *name.split(".")[1:]))]
from huggingface_hub import constants
from lml_iqa.datasets.download import Archive, download
constants.DOWNLOAD_CHUNK_SIZE = 1000
copy = tarfile.copyfileobj
def copy_slowly(*args, **kwargs):
    time.sleep(0.01)
    copy(*args, **kwargs)
tarfile.copyfileobj = copy_slowly
repository, revision, name, sha256, size, folder = sys.argv[1:]
print("ready", flush=True)
input()
download([Archive(repository, revision, name, sha256, int(size))], Path(folder))
"""


def start_children(hub, archive, folder, count=1):
    values = (archive.repository, archive.revision, archive.name, archive.sha256, str(archive.size), str(folder))
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint}
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, *values], env=environment, **options) for _ in range(count)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    return children


def kill_when(child, condition):
    give_up = time.monotonic() + 30
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.005)
    child.kill()
    child.communicate()


def test_killed_while_downloading(hub, folder):
    hub.cuts, hub.delay_s = 1, 3.0
    archive, path = hub.archive(TGZ), folder / "set.tgz"
    (child,) = start_children(hub, archive, folder)
    kill_when(child, lambda: path.exists() and path.stat().st_size > 5000)
    size = path.stat().st_size
    assert 5000 < size <= 10_000
    hub.delay_s = 0.0
    download([archive], folder)
    assert hub.asked == [None, f"bytes={size}-"]
    assert tree(folder) == FILES


def test_killed_while_unpacking(hub, folder):
    files = {f"set/{i}.png": NOISE[i : i + 50] for i in range(500)}  # 5 s
    archive = hub.archive(pack(files))
    hidden = folder / ".set.tgz.unpacking" / "set"
    (child,) = start_children(hub, archive, folder)
    kill_when(child, lambda: hidden.is_dir() and len(list(hidden.iterdir())) >= 10)
    assert 10 <= len(list(hidden.iterdir())) < 500
    assert not (folder / "set").exists()
    download([archive], folder)
    assert tree(folder) == files
    assert not hidden.exists()
    assert len(hub.asked) == 1


def test_two_processes_at_once(hub, folder):
    hub.delay_s = 0.3
    children = start_children(hub, hub.archive(TGZ), folder, count=2)
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0, 0]
    assert hub.asked == [None]
    assert tree(folder) == FILES
