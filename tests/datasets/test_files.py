import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lml_iqa.datasets import DatasetError
from lml_iqa.datasets.folder import list_images, load_folder
from lml_iqa.datasets.layout.case_folder import CaseFolder
from lml_iqa.datasets.layout.files import find_root, match_files
from lml_iqa.images.formats import image_endings, unreadable_endings


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def match(root, *names):
    return match_files(CaseFolder(root), names, listed_in="labels.csv").tolist()


def refused(function, *args, **kwargs):
    with pytest.raises(DatasetError) as error:
        function(*args, **kwargs)
    return str(error.value)


def test_match_keeps_order_and_disk_spelling(tmp_path):
    touch(tmp_path, "Images/i01.BMP", "Images/I02.bmp", "Images/a b (1).JPG")
    names = ["images/I02.BMP", "images/a B (1).jpg", "IMAGES/I01.bmp"]
    assert match(tmp_path, *names) == ["Images/I02.bmp", "Images/a b (1).JPG", "Images/i01.BMP"]


def test_match_in_sub_folders(tmp_path):
    touch(tmp_path, "Part1/Deep/a.png", "part2/a.png", "a.png")
    assert match(tmp_path, "part1/deep/A.png", "./PART2/a.png", "a.png") == [
        "Part1/Deep/a.png",
        "part2/a.png",
        "a.png",
    ]


def test_exact_spelling_wins(tmp_path):
    touch(tmp_path, "a.jpg", "A.jpg", "a.JPG")
    assert match(tmp_path, "A.jpg", "a.jpg") == ["A.jpg", "a.jpg"]


def test_ambiguous_spelling_is_refused(tmp_path):
    touch(tmp_path, "x/a.jpg", "x/A.JPG")
    message = refused(match, tmp_path, "x/A.jpg")
    assert message.startswith("labels.csv: 'x/A.jpg' could be any of ['A.JPG', 'a.jpg'] in ")
    assert str(tmp_path / "x") in message
    assert "rename the correct file exactly as listed" in message


def test_missing_files_are_counted_and_named(tmp_path):
    touch(tmp_path, "0.png", "1.png")
    message = refused(match, tmp_path, *(f"{i}.png" for i in range(9)))
    assert message == (
        f"labels.csv lists 7 of 9 images that are not in {tmp_path}: 2.png, 3.png, 4.png, 5.png, 6.png and 2 more; "
        "unpack the data set again, or remove their rows"
    )


def test_missing_folder(tmp_path):
    assert f"lists 1 of 1 images that are not in {tmp_path}: Images/a.png;" in refused(match, tmp_path, "Images/a.png")


def test_file_in_place_of_a_folder(tmp_path):
    assert "lists 1 of 1" in refused(match, touch(tmp_path, "a.png"), "a.png/b.png")


@pytest.mark.parametrize("name", ["sub", "."])
def test_folder_in_place_of_a_file(tmp_path, name):
    assert f": {name};" in refused(match, touch(tmp_path, "sub/a.png"), name)


@pytest.mark.parametrize("name", ["../a.png", "sub/../../a.png", "{root}/a.png"])
def test_paths_out_of_the_root_are_refused(tmp_path, name):
    root = touch(tmp_path, "a.png", "root/sub/b.png") / "root"
    message = refused(match, root, name.format(root=tmp_path))
    assert "points outside the data set; list paths below" in message
    assert str(root) in message


def test_links_are_followed(tmp_path):
    touch(tmp_path, "elsewhere/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert match(tmp_path / "set", "images/a.png", "b.png") == ["images/a.png", "b.png"]


def test_root(tmp_path, monkeypatch):
    touch(tmp_path, "Images/a.png", "labels.csv")
    assert find_root(str(tmp_path), "SET") == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert find_root(f"~/{tmp_path.name}", "SET") == tmp_path


def test_root_errors(tmp_path):
    touch(tmp_path, "a")
    assert refused(find_root, tmp_path / "gone", "SET") == (
        f"SET: the folder {tmp_path / 'gone'} does not exist; set data.root to the folder of the data set"
    )
    assert refused(find_root, tmp_path / "a", "SET") == (
        f"SET: {tmp_path / 'a'} is a file; set data.root to the folder of the data set (unpack an archive first)"
    )


def test_root_that_cannot_be_read(tmp_path):
    for root in ("~nobody-of-that-name/set", tmp_path / ("x" * 300), "a\0b"):
        message = refused(find_root, root, "SET")
        assert message.startswith("SET: the folder ")
        assert message.endswith("; set data.root to the folder of the data set")


def test_folders_left_by_dots(tmp_path):
    touch(tmp_path, "a.png", "sub/b.png")
    assert match(tmp_path, "sub/../a.png", "SUB/./../sub/b.png") == ["a.png", "sub/b.png"]
    for name in ("gone/../a.png", "a.png/../a.png"):
        assert f": {name};" in refused(match, tmp_path, name)


def test_backslash_in_a_name(tmp_path):
    touch(tmp_path, "a\\b.png", "c/b.png")
    assert match(tmp_path, "a\\b.png", "c\\b.png", "C\\B.png") == ["a\\b.png", "c/b.png", "c/b.png"]


NO_PHOTOGRAPHS = [
    "notes.txt",
    "report.pdf",
    "video.mpg",
    "data.h5",
    "b",
    ".hidden.jpg",
    "._a.jpg",
    "c.jpg.part",
    "a.csv",
]


def test_list_images(tmp_path, recwarn):
    touch(tmp_path, *NO_PHOTOGRAPHS, *(f"sub/{name}" for name in NO_PHOTOGRAPHS))
    photographs = ["B.JPG", "a b.jpeg", "sub/deep/c.bmp", "sub/d.webp", "z.PNG"]
    touch(tmp_path, *photographs)
    (tmp_path / "folder.jpg").mkdir()
    assert list_images(tmp_path) == sorted(photographs)
    table = load_folder(tmp_path)
    assert table.files.tolist() == sorted(photographs)
    assert not table.rated
    assert table.path(0) == tmp_path / "B.JPG"
    assert table.name == tmp_path.name
    assert not recwarn.list


def test_folder_named_by_a_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "a.png"))
    assert load_folder(Path()).name == tmp_path.name


def test_folder_without_images_is_refused(tmp_path):
    touch(tmp_path, *NO_PHOTOGRAPHS)
    message = refused(load_folder, tmp_path)
    assert re.match(re.escape(str(tmp_path)) + ".*no image files.*; give the folder that contains", message)


SYSTEM_FOLDERS = [
    *(".Trash-1000", ".ipynb_checkpoints", ".git", ".thumbnails", ".AppleDouble", ".@__thumb"),
    *("@eaDir", "@EADIR", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "lost+found"),
]


@pytest.mark.parametrize("name", SYSTEM_FOLDERS)
def test_folders_of_thumbnails_and_trash_are_skipped(tmp_path, caplog, name):
    touch(tmp_path, "a.jpg", f"{name}/b.jpg", f"sub/{name}/deep/a.jpg", "sub/c.jpg")
    with caplog.at_level("INFO"):
        assert list_images(tmp_path) == ["a.jpg", "sub/c.jpg"]
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: skipped 2 hidden files and folders: {name}/, sub/{name}/"
    ]


def test_names_that_only_resemble_those_of_the_system_are_listed(tmp_path):
    names = ["#1/a.jpg", "$5/a.jpg", "@home/a.jpg", "_MACOSX/a.jpg", "lost/a.jpg", "recycle/a.jpg", "~a/a.jpg"]
    assert list_images(touch(tmp_path, *names)) == sorted(names)


def test_hidden_images_are_counted_and_other_hidden_files_are_not(tmp_path, caplog):
    touch(tmp_path, "a.jpg", "._a.jpg", ".DS_Store", ".b.heic", "sub/.c.png")
    with caplog.at_level("INFO"):
        assert list_images(tmp_path) == ["a.jpg"]
    assert caplog.messages == [f"{tmp_path}: skipped 3 hidden files and folders: ._a.jpg, .b.heic, sub/.c.png"]


def test_hidden_root_is_listed(tmp_path):
    touch(tmp_path, ".cache/@eaDir/a.jpg")
    assert list_images(tmp_path / ".cache" / "@eaDir") == ["a.jpg"]


@pytest.fixture
def no_plugins(monkeypatch):
    monkeypatch.setattr("lml_iqa.datasets.folder.image_endings", lambda: {".jpg", ".png"})
    monkeypatch.setattr("lml_iqa.datasets.folder.unreadable_endings", lambda: CURES)


CURES = {".heic": 'pip install "lml-iqa[heif]"', ".jxl": 'pip install "lml-iqa[jxl]"', ".nef": "export them as PNG"}


def test_formats_that_cannot_be_read_are_counted_and_named(tmp_path, no_plugins):
    touch(tmp_path, "a.jpg", *(f"IMG_{number}.HEIC" for number in range(7)), "b/c.jxl", "notes.txt")
    with pytest.warns(UserWarning, match="to score them") as warned:
        assert list_images(tmp_path) == ["a.jpg"]
    assert [str(warning.message) for warning in warned] == [
        f"{tmp_path}: skipped 7 images of formats that cannot be read here (IMG_0.HEIC, IMG_1.HEIC, IMG_2.HEIC, "
        'IMG_3.HEIC, IMG_4.HEIC and 2 more); to score them, pip install "lml-iqa[heif]"',
        f"{tmp_path}: skipped 1 images of formats that cannot be read here (b/c.jxl); "
        'to score them, pip install "lml-iqa[jxl]"',
    ]


def test_folder_of_formats_that_cannot_be_read(tmp_path, no_plugins):
    message = refused(load_folder, touch(tmp_path, "a.heic", "b.NEF", "c.txt"))
    assert message == (
        f"{tmp_path}: no image files in this folder except 1 images of formats that cannot be read here (b.NEF); "
        "to score them, export them as PNG. 1 images of formats that cannot be read here (a.heic); "
        'to score them, pip install "lml-iqa[heif]"'
    )


def test_every_ending_is_known_once():
    readable, unreadable = image_endings(), unreadable_endings()
    assert {".jpg", ".png", ".tif", ".webp", ".avif", ".jp2", ".bmp", ".gif", ".ppm", ".psd"} <= readable
    assert {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".svg", ".eps"} <= unreadable.keys()
    assert {".heic", ".heif", ".jxl"} <= readable | unreadable.keys()
    assert not readable & unreadable.keys()
    assert all(ending == ending.lower() and ending.startswith(".") for ending in readable | unreadable.keys())


def test_parts_that_pillow_was_built_without(monkeypatch):
    for function in (image_endings, unreadable_endings):
        function.cache_clear()
    monkeypatch.setattr("lml_iqa.images.formats.features.check", lambda feature: feature != "avif")
    try:
        assert ".avif" not in image_endings()
        assert ".avif" in unreadable_endings()
    finally:
        for function in (image_endings, unreadable_endings):
            function.cache_clear()


@pytest.mark.parametrize("link", ["0", "z"])  # sorted before and after the real folder
def test_linked_folders_are_followed_once(tmp_path, link):
    root = touch(tmp_path, "elsewhere/a.jpg", "elsewhere/sub/b.jpg", "root/real/c.jpg") / "root"
    (root / link).symlink_to(root / "real")  # listed by its own name already
    (root / "real" / "up").symlink_to(root)  # circles
    (root / "self").symlink_to(root / "self")
    (root / f"{link}{link}").symlink_to(tmp_path / "elsewhere")
    (root / "twice").symlink_to(tmp_path / "elsewhere" / "sub")
    (root / "file.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    other = ["00/a.jpg", "00/sub/b.jpg"] if link == "0" else ["twice/b.jpg", "zz/a.jpg"]
    assert list_images(root) == sorted([*other, "file.jpg", "real/c.jpg"])


def test_links_that_lead_nowhere_are_named(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "gone.txt")
    with pytest.warns(UserWarning, match=r"1 folders or links that cannot be opened \(b\.jpg\); correct or remove"):
        assert list_images(tmp_path) == ["a.jpg"]


def test_folders_that_may_not_be_listed_are_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def deny(folder):
        if str(folder).rstrip("/").endswith("locked"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr("lml_iqa.datasets.folder.os.scandir", deny)
    with pytest.warns(UserWarning, match=r"cannot be opened \(locked/\)"):
        assert list_images(tmp_path) == ["a.jpg"]


ODD_NAMES = [b"\xff\xfe.jpg", b"a\nb.jpg", b"\xd7\xa9\xd7\x9c.jpg", b"$%'\"`.jpg", b"n" * 251 + b".jpg", b" .jpg"]


def test_any_file_name_is_listed_and_read(tmp_path):
    for name in ODD_NAMES:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:  # noqa: PTH123
            Image.new("RGB", (4, 3), (9, 8, 7)).save(file, "PNG")
    table = load_folder(tmp_path)
    assert [os.fsencode(name) for name in table.files.tolist()] == sorted(ODD_NAMES, key=os.fsdecode)
    assert len(table.digest()) == 64
    for row in range(len(table)):
        np.testing.assert_array_equal(table.read(row), np.broadcast_to([9, 8, 7], (3, 4, 3)))


def test_messages_about_any_file_name_can_be_printed(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\n.jpg")
    path.touch()
    with pytest.raises(DatasetError) as error:
        load_folder(tmp_path).read(0)
    assert str(error.value).encode().decode().isprintable()


def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    names = ["B.jpg", "a.jpg", "a/b.jpg", "a-/c.jpg", "z/a.jpg"]
    touch(tmp_path, *names)
    scandir = os.scandir

    class Reversed(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr("lml_iqa.datasets.folder.os.scandir", lambda folder: Reversed(reversed(list(scandir(folder)))))
    assert list_images(tmp_path) == sorted(names)
