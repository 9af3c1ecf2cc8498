import errno
import hashlib
import io
import random
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

import lml_iqa
from lml_iqa.datasets import DatasetError
from lml_iqa.datasets import download as module
from lml_iqa.datasets import unpack as unpack_module
from lml_iqa.datasets.download import Archive, download, fetch_archive
from lml_iqa.datasets.unpack import unpack

NOISE = random.Random(0).randbytes(60_000)
FILES = {"set/a.png": NOISE[:40_000], "set/deep/b.png": NOISE[40_000:], "labels.csv": b"a.png,1\n"}
KINDS = ["zip", "tar", "gz", "bz2", "xz"]


def pack(kind, files):
    """Bytes of an archive; a value that is no bytes is a ready tar or zip member without content."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(*((name, content) if isinstance(content, bytes) else (content, "..")))
    else:
        with tarfile.open(fileobj=buffer, mode="w:" + kind.removeprefix("tar")) as archive:
            for name, content in files.items():
                member = content
                if isinstance(content, bytes):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


ZIP = pack("zip", FILES)


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path, and can misbehave in the ways servers do."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.asked = []  # the Range header of every request
        self.cuts = 0  # answers that are cut off
        self.cut_after = 10_000
        self.knows_ranges = True
        self.length = "told"  # "untold", "chunked"
        self.status = None
        self.delay_s = 0.0

    def archive(self, content, path="/set.zip", checksum_of=None, **options):
        self.files[path] = content
        digest = hashlib.sha256(content if checksum_of is None else checksum_of).hexdigest()
        return Archive(f"http://127.0.0.1:{self.server_port}{path}", f"sha256:{digest}", **options)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        time.sleep(server.delay_s)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        if server.status or self.path not in server.files:
            self.send_error(server.status or 404)
            return
        content = server.files[self.path]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.length == "told":
            self.send_header("Content-Length", str(len(content) - start))
        if server.length == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cut = server.cuts > 0
        server.cuts -= cut
        with suppress(ConnectionError):
            if server.length == "chunked":
                self.wfile.write(b"%x\r\n" % (len(content) - start))
            self.wfile.write(content[start : start + server.cut_after] if cut else content[start:])
            if server.length == "chunked" and not cut:
                self.wfile.write(b"\r\n0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    with Server() as running:
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
    own = (".download.lock", ".downloaded.json")
    return {name: path.read_bytes() for name, path in entries.items() if path.is_file() and name not in own}


def refused(function, *args):
    with pytest.raises(DatasetError) as error:
        function(*args)
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_fetches_and_unpacks(server, folder, kind):
    archive = server.archive(pack(kind, FILES), "/files/set%20(1)?download=1")
    server.files["/files/set%20(1)"] = server.files["/files/set%20(1)?download=1"]
    assert archive.name == "set__1_"
    download([archive], folder)
    assert tree(folder) == FILES
    assert server.asked == [None]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["set"]


@pytest.mark.parametrize(
    ("end", "name"),
    [("a/b.zip", "b.zip"), ("b%20c.zip?x=/y", "b_c.zip"), ("..", "archive"), ("", "archive"), ("%2e%2e%2f.x", "x")],
)
def test_name_on_disk(end, name):
    assert Archive(f"https://example.org/{end}", "md5:").name == name


def test_md5(server, folder):
    archive = server.archive(ZIP)
    download([Archive(archive.url, f"md5:{hashlib.md5(ZIP).hexdigest()}")], folder)
    assert tree(folder) == FILES


def test_several_archives_in_their_folders(server, folder):
    archives = [
        server.archive(pack("zip", {"a.png": b"a"}), "/a/data.zip", into="images/one"),
        server.archive(pack("tar", {"b.png": b"b"}), "/b/data.zip", into="images/two"),
        server.archive(pack("gz", {"images/one/c.png": b"c", "labels.csv": b"l"}), "/c"),
    ]
    download(archives, folder)
    assert tree(folder) == {
        "images/one/a.png": b"a",
        "images/one/c.png": b"c",
        "images/two/b.png": b"b",
        "labels.csv": b"l",
    }
    download(archives, folder)
    assert len(server.asked) == 3


def test_repeated_call_asks_for_nothing(server, folder, monkeypatch):
    archive = server.archive(ZIP)
    download([archive], folder)
    (folder / "labels.csv").unlink()
    monkeypatch.setattr(module, "FileLock", None)  # nor needs to write: a finished set may be read-only
    download([archive], folder)
    assert len(server.asked) == 1
    assert "labels.csv" not in tree(folder)


def test_new_checksum_is_fetched(server, folder):
    download([server.archive(ZIP)], folder)
    download([server.archive(pack("zip", {"new.csv": b"n"}))], folder)
    assert tree(folder) == {**FILES, "new.csv": b"n"}


def test_home_is_expanded(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    download([server.archive(ZIP)], Path("~/sets"))
    assert tree(tmp_path / "sets") == FILES


def test_redirects_are_followed(server, folder):
    server.archive(ZIP, "/set.zip")
    server.cuts = 1
    download([server.archive(ZIP, "/moved/set.zip")], folder)
    assert tree(folder) == FILES
    assert server.asked == [None, None, "bytes=10000-", "bytes=10000-"]


def test_resumes_where_an_answer_was_cut_off(server, folder):
    server.cuts = 2
    path = fetch_archive(server.archive(ZIP), folder)
    assert server.asked == [None, "bytes=10000-", "bytes=20000-"]
    assert tree(folder) == {"set.zip": ZIP}
    assert path == folder / "set.zip"


def test_server_that_cuts_every_answer(server, folder):
    archive = server.archive(ZIP)
    server.cuts, server.cut_after = 5, 2000
    message = refused(download, [archive], folder)
    assert message == (
        f"{archive.url}: cut off 5 times, 10,000 of {len(ZIP):,} bytes came; run again to resume, "
        f"or download it by hand and unpack it into {folder}"
    )
    assert tree(folder) == {"set.zip.part": ZIP[:10_000]}
    download([archive], folder)
    assert server.asked[5:] == ["bytes=10000-"]
    assert tree(folder) == FILES


def test_server_without_ranges(server, folder):
    server.knows_ranges = False
    server.cuts = 2
    fetch_archive(server.archive(ZIP), folder)
    assert server.asked == [None, "bytes=10000-", "bytes=10000-"]
    assert tree(folder) == {"set.zip": ZIP}


@pytest.mark.parametrize(("length", "size"), [("untold", len(ZIP)), ("chunked", None)])
def test_server_that_does_not_tell_the_length(server, folder, monkeypatch, length, size):
    monkeypatch.setattr(module, "_CHUNK", 1000)  # what comes with the break of a chunked answer is lost
    server.length = length
    server.cuts = 1
    fetch_archive(server.archive(ZIP, size=size), folder)
    assert server.asked == [None, "bytes=10000-"]
    assert tree(folder) == {"set.zip": ZIP}


def test_nobody_knows_the_length(server, folder):
    server.length = "untold"
    download([server.archive(ZIP)], folder)
    assert tree(folder) == FILES


def test_nobody_knows_the_length_of_a_cut_off_answer(server, folder):
    server.length, server.cuts = "untold", 1
    assert "the checksum is" in refused(download, [server.archive(ZIP)], folder)
    assert tree(folder) == {}


def test_part_that_is_whole_already(server, folder):
    folder.mkdir(parents=True)
    (folder / "set.zip.part").write_bytes(ZIP)
    download([server.archive(ZIP)], folder)  # the server answers 416
    assert server.asked == [f"bytes={len(ZIP)}-"]
    assert tree(folder) == FILES


@pytest.mark.parametrize("size", [20_000, 100_000])  # 100,000: the server answers 416
def test_part_of_something_else(server, folder, size):
    folder.mkdir(parents=True)
    (folder / "set.zip.part").write_bytes(bytes(size))
    archive = server.archive(ZIP)
    assert "the file was removed; run again" in refused(download, [archive], folder)
    assert tree(folder) == {}
    download([archive], folder)
    assert tree(folder) == FILES


def test_wrong_checksum(server, folder):
    archive = server.archive(ZIP, checksum_of=b"another")
    message = refused(download, [archive], folder)
    assert message.startswith(f"{archive.url}: the checksum is sha256:{hashlib.sha256(ZIP).hexdigest()} instead of ")
    assert archive.checksum in message
    assert tree(folder) == {}


def test_archive_of_a_former_run(server, folder):
    archive = server.archive(ZIP)
    fetch_archive(archive, folder)
    download([archive], folder)
    assert len(server.asked) == 1
    assert tree(folder) == FILES


def test_damaged_archive_of_a_former_run(server, folder):
    archive = server.archive(ZIP)
    folder.mkdir(parents=True)
    (folder / "set.zip").write_bytes(ZIP[:-1])
    assert "the checksum is" in refused(download, [archive], folder)
    assert tree(folder) == {}
    assert server.asked == []


@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (403, "Forbidden"), (503, "Service Unavailable")])
def test_server_that_refuses(server, folder, status, reason):
    server.status = status
    archive = server.archive(ZIP, into="images")
    assert refused(download, [archive], folder) == (
        f"{archive.url}: the server answers {status} {reason}; try later, "
        f"or download it by hand and unpack it into {folder / 'images'}"
    )
    assert server.asked == [None]


def test_no_server(folder):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    archive = Archive(f"http://127.0.0.1:{port}/set.zip", "sha256:" + 64 * "0")
    message = refused(download, [archive], folder)
    assert message.startswith(f"{archive.url}: no connection (")
    assert "refused" in message
    assert message.endswith(f"; try later, or download it by hand and unpack it into {folder}")


def test_unknown_host(folder, monkeypatch):
    def urlopen(*_, **__):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(module, "urlopen", urlopen)
    archive = Archive("https://nowhere.invalid/set.zip", "sha256:" + 64 * "0")
    assert f"{archive.url}: no connection ([Errno -2] Name or service not known)" in refused(
        download, [archive], folder
    )


def test_server_that_does_not_answer(server, folder, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    server.delay_s = 0.3
    assert "no connection (timed out); try later" in refused(download, [server.archive(ZIP)], folder)


def test_folder_that_is_a_file(server, tmp_path):
    (tmp_path / "file").touch()
    message = refused(download, [server.archive(ZIP)], tmp_path / "file")
    assert message == f"{tmp_path / 'file'} is a file; give the folder to download into"


def test_unreadable_note(server, folder):
    folder.mkdir(parents=True)
    (folder / ".downloaded.json").write_text("{")
    message = refused(download, [server.archive(ZIP)], folder)
    assert message.startswith(f"{folder / '.downloaded.json'}: unreadable")
    assert message.endswith("remove it to fetch the archives again")


def free(monkeypatch, space):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=space))


def test_too_little_space_for_the_download(server, folder, monkeypatch):
    free(monkeypatch, 50_000)
    message = refused(download, [server.archive(ZIP)], folder)
    assert f": {len(ZIP):,} bytes to come, 50,000 are free; free some space" in message
    assert tree(folder) == {}


def test_space_is_needed_for_the_rest_only(server, folder, monkeypatch):
    free(monkeypatch, len(ZIP) - 20_000)
    folder.mkdir(parents=True)
    (folder / "set.zip.part").write_bytes(ZIP[:20_000])
    fetch_archive(server.archive(ZIP), folder)
    assert tree(folder) == {"set.zip": ZIP}


@pytest.mark.parametrize("kind", KINDS)
def test_too_little_space_to_unpack(tmp_path, monkeypatch, kind):
    bomb = tmp_path / "bomb"
    bomb.write_bytes(pack(kind, {"a": bytes(1_000_000), "b": bytes(1_000_000)}))
    free(monkeypatch, 1_999_999)
    message = refused(unpack, bomb, tmp_path / "set")
    assert message == f"{bomb}: unpacks to 2,000,000 bytes, 1,999,999 are free in {tmp_path}; free some space"
    assert list(tmp_path.iterdir()) == [bomb]
    free(monkeypatch, 2_000_000)
    unpack(bomb, tmp_path / "set")
    assert (tmp_path / "set" / "b").stat().st_size == 1_000_000


def fill_up(monkeypatch, name, writes):
    """Let the disk be full after some writes to files of a name."""
    original = Path.open

    def opened(path, mode="r", *args):
        file = original(path, mode, *args)
        if path.name != name or mode not in {"wb", "ab"}:
            return file

        class Full(io.BufferedWriter):
            left = writes

            def write(self, data):
                if self.left == 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                self.left -= 1
                return super().write(data)

        return Full(file.detach())

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(module, "_CHUNK", 1000)
    monkeypatch.setattr(unpack_module, "_CHUNK", 1000)


def test_full_disk_while_downloading(server, folder, monkeypatch):
    archive = server.archive(ZIP)
    with monkeypatch.context() as patch:
        fill_up(patch, "set.zip.part", 3)
        message = refused(download, [archive], folder)
    assert message == f"{folder}: the disk is full; free some space and run again: what was downloaded is kept"
    assert tree(folder) == {"set.zip.part": ZIP[:3000]}
    download([archive], folder)
    assert server.asked == [None, "bytes=3000-"]
    assert tree(folder) == FILES


def test_full_disk_while_unpacking(server, folder, monkeypatch):
    archive = server.archive(ZIP)
    with monkeypatch.context() as patch:
        fill_up(patch, "b.png", 3)
        assert "the disk is full" in refused(download, [archive], folder)
    assert tree(folder) == {"set.zip": ZIP}
    download([archive], folder)
    assert len(server.asked) == 1
    assert tree(folder) == FILES


def link(kind, target):
    member = tarfile.TarInfo("set/link")
    member.type, member.linkname = kind, target
    return {"set/link": member}


def zip_link():
    member = zipfile.ZipInfo("set/link")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return {"set/link": member}


OUTSIDE = ["../evil", "set/../../evil", "{root}/evil", "..\\evil", "C:/evil", "set/c:evil", "\\evil", "set/.."]
MALICIOUS = {
    **{f"{kind} {name}": (kind, {name: b"evil"}) for kind in ("zip", "gz") for name in OUTSIDE},
    "zip link": ("zip", zip_link()),
    "symlink up": ("tar", {**link(tarfile.SYMTYPE, "../.."), "set/link/evil": b"evil"}),
    "symlink absolute": ("tar", {**link(tarfile.SYMTYPE, "/tmp"), "set/link/evil": b"evil"}),
    "hard link": ("tar", link(tarfile.LNKTYPE, "../victim")),
    "character device": ("tar", link(tarfile.CHRTYPE, "")),
    "block device": ("tar", link(tarfile.BLKTYPE, "")),
    "pipe": ("tar", link(tarfile.FIFOTYPE, "")),
}


@pytest.mark.parametrize("case", MALICIOUS)
def test_malicious_members_are_refused(tmp_path, case):
    kind, files = MALICIOUS[case]
    files = {name.format(root=tmp_path): content for name, content in files.items()}
    path = tmp_path / "evil.zip"
    path.write_bytes(pack(kind, {"good.png": b"good", **files}))
    (tmp_path / "victim").write_bytes(b"victim")
    (tmp_path / "data").mkdir()
    before = {entry: entry.lstat() for entry in tmp_path.rglob("*")}
    message = refused(unpack, path, tmp_path / "data" / "set")
    bad = next(iter(files))
    assert message.startswith(f"{path}: {bad!r} {'is a link or a device' if 'link' in bad else 'leads out of'}")
    assert "nothing was unpacked" in message
    after = {entry: entry.lstat() for entry in tmp_path.rglob("*")}
    assert after.keys() == before.keys()
    assert (tmp_path / "victim").read_bytes() == b"victim"


def test_malicious_download(server, folder):
    archive = server.archive(pack("zip", {"good.png": b"good", "../evil": b"evil"}))
    assert "'../evil' leads out of the folder" in refused(download, [archive], folder)
    assert list(tree(folder)) == ["set.zip"]
    assert list(tree(folder.parent)) == ["set/.download.lock", "set/set.zip"]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_archive(server, folder, kind, share):
    whole = pack(kind, FILES)
    message = refused(download, [server.archive(whole[: int(share * len(whole))])], folder)
    assert message.startswith(f"{folder / 'set.zip'}: cut off, broken or no zip or tar archive (")
    assert message.endswith("; remove it and download it again")
    assert list(tree(folder)) == ["set.zip"]


@pytest.mark.parametrize("size", [512 + 40_448, 512 + 40_448 + 100])  # before and within the second header
def test_tar_cut_off_between_members(tmp_path, size):
    whole = pack("tar", FILES)
    (tmp_path / "a.tar").write_bytes(whole[:size])
    assert "no end of archive" in refused(unpack, tmp_path / "a.tar", tmp_path / "set")


def test_tar_with_a_negative_size(tmp_path):
    member = tarfile.TarInfo("a.png")
    member.size = -2048  # tarfile seeks before the start of the file
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    assert "cut off, broken or no" in refused(unpack, tmp_path / "a.tar", tmp_path / "set")


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>Please log in</html>", bytes(100), NOISE])
def test_not_an_archive(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    assert "cut off, broken or no zip or tar archive" in refused(unpack, tmp_path / "a.zip", tmp_path / "set")
    assert list(tree(tmp_path)) == ["a.zip"]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_archive_is_unpacked_or_refused(tmp_path, kind):
    """Whatever bytes are hit, nothing but a DatasetError leaves unpack, and nothing half unpacked stays."""
    whole = pack(kind, {name: content[:3000] for name, content in FILES.items()})
    rng = random.Random(0)
    path = tmp_path / "a"
    for trial in range(40):
        damaged = bytearray(whole)
        for _ in range(4):
            last = len(whole) if trial % 3 else 600
            damaged[rng.randrange(last) * (-1 if trial % 3 == 1 else 1)] = rng.randrange(256)
        path.write_bytes(damaged)
        message = ""
        try:
            unpack(path, tmp_path / "set")
        except DatasetError as error:
            message = str(error)
        if message:
            assert "leads out of" in message or "is a link or a device" in message or "cut off, broken" in message
            assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
        shutil.rmtree(tmp_path / "set", ignore_errors=True)


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
def test_damage_within_a_member(tmp_path, kind):
    whole = bytearray(pack(kind, FILES))
    whole[len(whole) // 2] ^= 1
    (tmp_path / "a").write_bytes(whole)
    assert "cut off, broken or no" in refused(unpack, tmp_path / "a", tmp_path / "set")
    assert list(tree(tmp_path)) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
def test_mac_metadata_is_left_out(tmp_path, kind):
    metadata = ["__MACOSX/set/._a.png", "__MACOSX/x", "set/.DS_Store", "set/._a.png", ".DS_Store", "set/__MACOSX/y"]
    (tmp_path / "a").write_bytes(pack(kind, {**FILES, **dict.fromkeys(metadata, b"mac")}))
    unpack(tmp_path / "a", tmp_path / "set")
    assert tree(tmp_path / "set") == FILES
    assert not (tmp_path / "set" / "__MACOSX").exists()


def test_folders_and_odd_names(tmp_path):
    folder = tarfile.TarInfo("./empty")
    folder.type = tarfile.DIRTYPE
    root = tarfile.TarInfo(".")
    root.type = tarfile.DIRTYPE
    (tmp_path / "a.tar").write_bytes(pack("tar", {".": root, "./empty": folder, "./ä (1)..png": b"a"}))
    (tmp_path / "b.zip").write_bytes(pack("zip", {"windows\\": b"", "windows\\b.png": b"b"}))
    unpack(tmp_path / "a.tar", tmp_path / "set")
    unpack(tmp_path / "b.zip", tmp_path / "set")
    assert tree(tmp_path / "set") == {"ä (1)..png": b"a", "windows/b.png": b"b"}
    assert (tmp_path / "set" / "empty").is_dir()


def test_files_that_are_there_stay(tmp_path):
    (tmp_path / "a.zip").write_bytes(ZIP)
    target = tmp_path / "set"
    (target / "set").mkdir(parents=True)
    (target / "set" / "a.png").write_bytes(FILES["set/a.png"])
    (target / "mine.txt").write_bytes(b"mine")
    before = (target / "set" / "a.png").stat()
    unpack(tmp_path / "a.zip", target)
    assert tree(target) == {**FILES, "mine.txt": b"mine"}
    after = (target / "set" / "a.png").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("mine", [NOISE[:20_000], b"shorter", None])  # None: a folder
def test_files_that_differ_are_not_overwritten(tmp_path, mine):
    (tmp_path / "a.zip").write_bytes(ZIP)
    there = tmp_path / "set" / "set" / "deep" / "b.png"  # after labels.csv, which must not be moved either
    there.parent.mkdir(parents=True)
    there.mkdir() if mine is None else there.write_bytes(mine)
    message = refused(unpack, tmp_path / "a.zip", tmp_path / "set")
    assert message == f"{there}: differs from what {tmp_path / 'a.zip'} holds; move it away and run again"
    assert tree(tmp_path / "set") == ({} if mine is None else {"set/deep/b.png": mine})
    assert there.is_dir() == (mine is None)


# In a process of its own, without the rest of the package: that imports torch for seconds.
CHILD = f"""
import shutil, sys, time, types
from pathlib import Path
for name in ("lml_iqa", "lml_iqa.datasets"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(Path({str(Path(lml_iqa.__file__).parent)!r}, *name.split(".")[1:]))]
from lml_iqa.datasets.download import Archive, download
copy = shutil.copyfileobj
def copy_slowly(*args):
    time.sleep(0.01)
    copy(*args)
shutil.copyfileobj = copy_slowly
url, checksum, folder = sys.argv[1:]
print("ready", flush=True)
input()
download([Archive(url, checksum)], Path(folder))
"""


def start_child(archive, folder):
    command = [sys.executable, "-c", CHILD, archive.url, archive.checksum, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def let_go(children):
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()


def test_killed_while_unpacking(server, folder):
    files = {f"set/{i}.png": NOISE[i : i + 50] for i in range(500)}  # 5 s
    archive = server.archive(pack("zip", files))
    with start_child(archive, folder) as child:
        let_go([child])
        hidden = folder / ".set.zip.unpacking" / "set"
        give_up = time.monotonic() + 30
        while not (hidden.is_dir() and len(list(hidden.iterdir())) >= 10) and time.monotonic() < give_up:
            time.sleep(0.005)
        child.kill()
    assert child.returncode != 0
    assert 10 <= len(list(hidden.iterdir())) < 500
    assert not (folder / "set").exists()
    download([archive], folder)
    assert tree(folder) == files
    assert not hidden.exists()
    assert len(server.asked) == 1


def test_two_processes_at_once(server, folder):
    server.delay_s = 0.3
    archive = server.archive(ZIP)
    with start_child(archive, folder) as one, start_child(archive, folder) as other:
        let_go([one, other])
    assert (one.returncode, other.returncode) == (0, 0)
    assert server.asked == [None]
    assert tree(folder) == FILES
