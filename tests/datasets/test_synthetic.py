import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lml_iqa.datamodules import SyntheticDataModule
from lml_iqa.datasets import DatasetError, read_image
from lml_iqa.datasets.synthetic import LEVELS, fit_to_tid2013, load_synthetic, packaged_photographs
from lml_iqa.datasets.tid2013 import TYPES as NAMES
from lml_iqa.transforms.distortions import DISTORTIONS, psnr

TYPES = [1, 8, 10]  # noise, blur, JPEG


def write_photographs(root, count=5):
    rng = np.random.default_rng(1)
    root.mkdir()
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        fine = rng.normal(0, 4, (96, 128, 1))
        picture = np.asarray(coarse.resize((128, 96), Image.Resampling.BICUBIC)) + fine
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / f"photo{i}.png")
    return root


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return sorted(write_photographs(tmp_path_factory.mktemp("clean") / "photos").iterdir())


@pytest.fixture(scope="module")
def table(photographs, tmp_path_factory):
    return load_synthetic(photographs, TYPES, tmp_path_factory.mktemp("cache") / "synthetic", seed=0)


def test_types_are_called_as_in_tid2013():
    assert list(NAMES) == [DISTORTIONS[number].name for number in range(1, len(DISTORTIONS) + 1)]


def test_every_photograph_comes_with_every_type_and_level(table, photographs):
    assert len(table) == len(photographs) * len(TYPES) * len(LEVELS)
    assert set(table.references) == {p.stem for p in photographs}
    assert set(table.levels) == set(LEVELS)
    assert all(table.path(row).is_file() for row in range(len(table)))


def test_labels_are_the_mean_mos_per_type_and_level_and_say_so(table):
    published = Path("lml_iqa/transforms/distortions/tid2013_mean_mos.csv")
    with (Path(__file__).parents[2] / published).open(newline="") as file:
        opinion = {(int(r["type"]), int(r["level"])): float(r["mean"]) for r in csv.DictReader(file)}
    for row in range(len(table)):
        kind, level = (int(part) for part in table.path(row).stem.split("_")[1:])
        assert table.scores[row] == opinion[kind, level]
        assert table.levels[row] == level
    assert (table.scale.name, table.scale.low, table.scale.high) == ("mean MOS per type and level", 0, 9)
    assert table.source == "5 reference images; pseudo-labels: TID2013's mean MOS per type and level"


def test_severities_of_the_rendered_files_are_tid2013s(table, photographs):
    clean = {p.stem: fit_to_tid2013(read_image(p)) for p in photographs}
    for kind in ("additive_gaussian_noise", "jpeg_compression"):
        rows = np.flatnonzero(table.types == kind)
        values = [psnr(clean[table.references[r]], read_image(table.path(r))) for r in rows]
        by_level = [np.mean([v for v, r in zip(values, rows, strict=True) if table.levels[r] == n]) for n in LEVELS]
        np.testing.assert_allclose(by_level, [33, 30, 27, 24, 21], atol=1.0)


def test_rendering_is_done_once_and_is_the_same_every_time(table, photographs, tmp_path):
    before = table.path(0).stat().st_mtime_ns
    again = load_synthetic(photographs, TYPES, table.root.parent, seed=0)
    assert again.root == table.root
    assert again.path(0).stat().st_mtime_ns == before
    elsewhere = load_synthetic(photographs, TYPES, tmp_path, seed=0)
    for row in range(0, len(table), 7):
        assert (read_image(elsewhere.path(row)) == read_image(table.path(row))).all()
    other = load_synthetic(photographs, [1], tmp_path, seed=1)
    assert other.root != elsewhere.root
    same_file = np.flatnonzero(elsewhere.files == other.files[0])[0]
    assert (read_image(other.path(0)) != read_image(elsewhere.path(int(same_file)))).any()


def test_an_interrupted_rendering_leaves_nothing_that_looks_complete(photographs, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise RuntimeError("no more")

    monkeypatch.setattr("lml_iqa.transforms.distortions.distort", interrupted)
    with pytest.raises(RuntimeError, match="no more"):
        load_synthetic(photographs, [1], tmp_path, seed=0)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(load_synthetic(photographs, [1], tmp_path, seed=0)) == 25


def test_no_clean_photograph_on_two_sides(photographs, table):
    for seed in range(20):
        data = SyntheticDataModule(
            photographs[0].parent, types=TYPES, cache=table.root.parents[1], split_seed=seed, num_workers=0
        )
        sides = [set(table.references[getattr(data.split, part)]) for part in ("train", "val", "test")]
        assert sum(map(len, sides)) == len(photographs)
        assert set.union(*sides) == set(table.references)  # with the line above: no photograph in two parts


def test_photographs_are_fitted_to_tid2013s_size():
    assert fit_to_tid2013(np.zeros((384, 512, 3), np.uint8)).shape == (384, 512, 3)
    assert fit_to_tid2013(np.zeros((3000, 4000, 3), np.uint8)).shape == (384, 512, 3)
    assert fit_to_tid2013(np.zeros((4000, 3000, 3), np.uint8)).shape == (384, 512, 3)
    assert fit_to_tid2013(np.zeros((300, 451, 3), np.uint8)).shape == (300, 451, 3)  # never enlarged
    wide = np.zeros((384, 1512, 3), np.uint8)
    wide[:, 500:1012] = 255
    assert (fit_to_tid2013(wide) == 255).all()  # cut around the center


def test_packaged_photographs_need_no_download():
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    found = packaged_photographs()
    assert len(found) == 9
    for path in found:
        image = read_image(path)
        assert image.std(axis=2).mean() > 1, f"{path.name} is not a color image"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"skimage.*lml-iqa\[quickstart\].*data\.root"):
        packaged_photographs()


@pytest.mark.parametrize("types", [[0], [25], []])
def test_unknown_types_are_refused(photographs, tmp_path, types):
    with pytest.raises(DatasetError, match="1 to 24"):
        load_synthetic(photographs, types, tmp_path, seed=0)


def test_two_photographs_of_one_name_are_refused(photographs, tmp_path):
    with pytest.raises(DatasetError, match="'photo0'"):
        load_synthetic([*photographs, photographs[0]], [1], tmp_path, seed=0)


def test_kodak_photographs(shared_data, tmp_path):
    data = SyntheticDataModule(shared_data / "Kodak24", types=[16], cache=tmp_path, num_workers=0)
    assert len(data.table) == 24 * 5
    assert len(set(data.table.references[data.split.test])) == 5
