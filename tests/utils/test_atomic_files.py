import os

import pytest

from lml_iqa.utils.files import atomic_path, printable, write_text

NAMES = [
    "a.csv",
    "with space.csv",
    "$x$ %d {y}.csv",
    "new\nline.csv",
    "quote'\".csv",
    "\u202egpj.csv",
    os.fsdecode(b"\xff\xfe.csv"),
    "é" * 125 + ".csv",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_name_is_written(tmp_path, name):
    write_text(tmp_path / "new folder" / name, "text\n")
    assert (tmp_path / "new folder" / name).read_text() == "text\n"
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == [name]


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path):
    write_text(tmp_path / "names.txt", os.fsdecode(b"\xff.png\n"))
    assert (tmp_path / "names.txt").read_bytes() == b"\xff.png\n"


def test_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_printable(name):
    shown = printable(name)
    assert shown.encode("utf-8").decode().isprintable()
    assert (shown == name) == name.isprintable()
