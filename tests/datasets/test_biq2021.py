import shutil

import numpy as np
import pandas as pd
import pytest
from data.biq2021 import TEST, TRAIN, UPPER_CASE

from lml_iqa.datasets import BIQ2021, DatasetError, make_split, read_image


@pytest.fixture
def copy(biq2021_root, tmp_path):
    return shutil.copytree(biq2021_root, tmp_path / "BIQ2021")


def refused(root):
    with pytest.raises(DatasetError) as error:
        BIQ2021(root).load()
    return str(error.value)


def test_rows(biq2021_root):
    table = BIQ2021(biq2021_root).load()
    listed = {**TRAIN, **TEST}
    on_disk = [f"Images/{n.replace('.jpg', '.JPG') if n == UPPER_CASE else n}" for n in listed]
    assert table.files.tolist() == on_disk
    assert table.scores.tolist() == list(listed.values())
    assert table.parts.tolist() == ["train"] * len(TRAIN) + ["test"] * len(TEST)
    assert (table.name, table.scale.name, table.scale.low, table.scale.high) == ("BIQ2021", "MOS", 0, 1)
    assert table.references is None
    for row in range(len(table)):
        assert min(read_image(table.path(row)).shape[:2]) >= 48


def test_official_split(biq2021_root):
    split = make_split(BIQ2021(biq2021_root).load())
    assert split.rule == "official"
    assert split.test.tolist() == list(range(len(TRAIN), len(TRAIN) + len(TEST)))
    assert len(split.val) == 1  # a tenth of 13
    assert sorted([*split.train, *split.val]) == list(range(len(TRAIN)))


def test_missing_images_folder(copy):
    (copy / "Images").rename(copy / "elsewhere")
    message = refused(copy)
    assert f"none of them is in {copy / 'Images'} (found: " in message
    assert "elsewhere" in message
    assert "unpack the images there" in message


@pytest.mark.parametrize("name", ["Train (Images and MOS).csv", "Test (Images and MOS).csv"])
def test_missing_label_file(copy, name):
    (copy / name).rename(copy / "elsewhere")
    assert f"{copy} lacks {name!r} (found: Images, " in refused(copy)


def test_missing_image(copy):
    name = list(TEST)[2]
    (copy / "Images" / name).unlink()
    assert refused(copy) == (
        f"{copy / '{Train,Test} (Images and MOS).csv'} lists 1 of 18 images that are not in {copy}: Images/{name}; "
        "unpack the data set again, or remove their rows"
    )


def test_wrong_column(copy):
    labels = copy / "Test (Images and MOS).csv"
    labels.write_text(labels.read_text().replace("MOS", "Score"))
    assert f"{labels}: no column 'MOS', only ['Image Name', 'Score']" in refused(copy)


def test_score_off_the_scale(copy):
    labels = copy / "Train (Images and MOS).csv"
    labels.write_text(labels.read_text().replace("0.05,", "50,", 1))
    assert "scores are outside the scale 0..1 of BIQ2021: ss00 (1000).jpg (50)" in refused(copy)


def test_image_in_both_parts(copy):
    labels = copy / "Test (Images and MOS).csv"
    labels.write_text(labels.read_text() + f"{next(iter(TRAIN))},0.5\n")
    assert f"images are listed more than once: {next(iter(TRAIN))}" in refused(copy)


def test_original_images(shared_data):
    root = shared_data / "BIQ2021"
    table = BIQ2021(root).load()
    assert len(table) == 4000
    assert (table.parts == "train").sum() == 3201
    assert (table.parts == "test").sum() == 799
    row = table.files.tolist().index("Images/ss03 (6538).jpg")
    assert (table.scores[row], table.parts[row]) == (0.7454, "test")
    oracle = pd.concat([pd.read_csv(root / f"{part} (Images and MOS).csv") for part in ("Train", "Test")])
    assert [f.removeprefix("Images/").lower() for f in table.files] == oracle["Image Name"].str.lower().tolist()
    np.testing.assert_array_equal(table.scores, oracle["MOS"])
    split = make_split(table)
    assert (len(split.train), len(split.val), len(split.test)) == (2881, 320, 799)
    assert read_image(table.path(row)).shape == (512, 512, 3)
