import re
from pathlib import Path

import pytest

from lml_iqa.datasets import DatasetError
from lml_iqa.datasets.files import CaseFolder, find_root, match_files
from lml_iqa.datasets.folder import list_images, load_folder


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
    assert "rename the file that is meant" in message


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
        f"SET: the folder {tmp_path / 'gone'} does not exist; set data.root to where the data set lies"
    )
    assert refused(find_root, tmp_path / "a", "SET") == (
        f"SET: {tmp_path / 'a'} is a file; set data.root to the folder of the data set (unpack an archive first)"
    )


def test_root_that_cannot_be_read(tmp_path):
    for root in ("~nobody-of-that-name/set", tmp_path / ("x" * 300), "a\0b"):
        message = refused(find_root, root, "SET")
        assert message.startswith("SET: the folder ")
        assert message.endswith("; set data.root to where the data set lies")


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


def test_list_images(tmp_path):
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


def test_folder_named_by_a_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "a.png"))
    assert load_folder(Path()).name == tmp_path.name


def test_folder_without_images_is_refused(tmp_path):
    touch(tmp_path, *NO_PHOTOGRAPHS)
    message = refused(load_folder, tmp_path)
    assert re.match(re.escape(str(tmp_path)) + ".*no image files.*; give the folder that holds", message)
