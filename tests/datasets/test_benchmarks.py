"""The published sets: tiny trees in every layout, and the genuine label files where they are at hand."""

import json
import os
import random
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from data import benchmarks as made
from data.benchmarks import LAYOUTS

from lml_iqa.datasets import (
    BENCHMARKS,
    FLIVE,
    DatasetError,
    ScoreScale,
    Split,
    make_split,
    read_image,
)
from lml_iqa.datasets.kadid10k import TYPES
from lml_iqa.transforms.distortions import DISTORTIONS

SETS = {benchmark.__name__.lower(): benchmark for benchmark in BENCHMARKS if benchmark.name != "BIQ2021"}
BY_REFERENCE = {"live", "csiq", "tid2013", "kadid10k"}
PARTS = ("train", "val", "test")


def load(layout, root):
    return SETS[layout.split("_")[0]](root).load()


def by_id(table, column="scores"):
    return dict(zip(table.ids.tolist(), getattr(table, column).tolist(), strict=True))


def expected(scores):
    return {name.casefold(): score for name, score in scores.items()}


def refused(layout, root):
    with pytest.raises(DatasetError) as error:
        load(layout, root)
    return str(error.value).replace(str(root), "{root}")


def check_partition(split, table, rated=None):
    together = np.concatenate([split.train, split.val, split.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(table)) if rated is None else np.flatnonzero(rated))
    assert min(len(split.train), len(split.val), len(split.test)) > 0
    if table.references is not None:
        sides = [set(table.references[getattr(split, part)]) for part in PARTS]
        assert len(set.union(*sides)) == sum(map(len, sides)) == len(set(table.references))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The folder of a layout's tiny tree, with two folders of its own above. Read it, do not write to it."""

    @cache
    def write(layout):
        return LAYOUTS[layout](tmp_path_factory.mktemp(layout) / "above" / "set")

    return write


@pytest.fixture
def copy(tree, tmp_path):
    """A layout's tiny tree to change at will, all but what is in an image: those are linked, which is faster."""

    def copied(source, target):
        labels = Path(source).suffix in {".mat", ".xlsx", ".txt", ".csv"}
        shutil.copyfile(source, target) if labels else os.link(source, target)

    return lambda layout: shutil.copytree(tree(layout), tmp_path / "set", copy_function=copied)


# ---- tiny trees: every layout


TINY = {
    "live": (made.LIVE, "dmos_realigned.mat; images in databaserelease2; realigned DMOS"),
    "live_mats_above": (made.LIVE, "dmos_realigned.mat; images in databaserelease2; realigned DMOS"),
    "csiq_official": (made.CSIQ, "csiq.DMOS.xlsx; images in dst_imgs/{type}"),
    "csiq_community": (made.CSIQ, "csiq_label.txt; images in dst_imgs_all"),
    "csiq_mixed": (made.CSIQ, "csiq_label.txt; images in dst_imgs/{type}"),
    "tid2013": (made.TID2013, "mos_with_names.txt; images in distorted_images"),
    "kadid10k_official": (made.KADID10K, "dmos.csv; images in images"),
    "kadid10k_community": (made.KADID10K, "dmos.csv; images in distorted_images"),
    "livec": (made.LIVEC, "AllMOS_release.mat; images in Images"),
    "koniq10k_zscore_1024x768": (
        made.KONIQ10K_ZSCORE,
        "koniq10k_scores_and_distributions.csv; images in 1024x768; column MOS_zscore, 0..100",
    ),
    "koniq10k_sets_512x384": (
        made.KONIQ10K_SETS,
        "koniq10k_distributions_sets.csv; images in 512x384; column MOS, 0..100",
    ),
    "koniq10k_metadata_both": (
        made.KONIQ10K_ZSCORE,
        "koniq10k_scores_and_distributions.csv; images in 512x384; column MOS_zscore, 0..100",
    ),
    "flive": (made.FLIVE, "labels_image.csv; images in database"),
    "spaq_testimage": (made.SPAQ, "MOS and Image attribute scores.xlsx; images in TestImage"),
    "spaq_zip": (made.SPAQ, "MOS and Image attribute scores.xlsx; images in SPAQ zip"),
    "spaq_512x384": (made.SPAQ, "MOS and Image attribute scores.xlsx; images in SPAQ zip/512x384"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows(tree, layout):
    scores, source = TINY[layout]
    table = load(layout, tree(layout))
    assert by_id(table) == pytest.approx(expected(scores), abs=1e-12)
    assert len(table) == len(scores)
    assert table.source == source
    for row in range(len(table)):
        assert table.path(row).as_posix().casefold().endswith(f"/{table.ids[row].rpartition('/')[2]}")
        assert 32 <= min(read_image(table.path(row)).shape[:2]) <= 64


@pytest.mark.parametrize(
    ("layout", "name", "scale"),
    [
        ("live", "LIVE", ("DMOS", -3, 112, False)),
        ("csiq_official", "CSIQ", ("DMOS", 0, 1, False)),
        ("tid2013", "TID2013", ("MOS", 0, 9, True)),
        ("kadid10k_official", "KADID-10k", ("MOS", 1, 5, True)),
        ("livec", "LIVEC", ("MOS", 0, 100, True)),
        ("koniq10k_zscore_1024x768", "KonIQ-10k", ("MOS", 0, 100, True)),
        ("koniq10k_sets_512x384", "KonIQ-10k", ("MOS", 0, 100, True)),
        ("flive", "FLIVE", ("MOS", 0, 100, True)),
        ("spaq_zip", "SPAQ", ("MOS", 0, 100, True)),
    ],
)
def test_scales(tree, layout, name, scale):
    table = load(layout, tree(layout))
    assert table.name == name
    assert table.scale == ScoreScale(*scale)


@pytest.mark.parametrize(
    ("layout", "file", "facts"),
    [
        ("live", "databaserelease2/jpeg/img57.bmp", (87.75, "caps", "jpeg", None)),
        ("live_mats_above", "databaserelease2/jp2k/img11.bmp", (-1.625, "bikes", "jp2k", None)),
        ("csiq_official", "dst_imgs/awgn/1600.AWGN.5.png", (0.79, "1600", "awgn", 5)),
        ("csiq_official", "dst_imgs/jpeg2000/turtle.jpeg2000.1.png", (0.1015, "turtle", "jpeg2000", 1)),
        ("csiq_community", "dst_imgs_all/log_seaside.contrast.5.png", (0.8159, "log_seaside", "contrast", 5)),
        ("csiq_mixed", "dst_imgs/fnoise/boston.fnoise.1.png", (0.0743, "boston", "fnoise", 1)),
        ("tid2013", "distorted_images/i04_01_1.bmp", (6.78179, "I04", "additive_gaussian_noise", 1)),
        ("tid2013", "distorted_images/I25_24_5.BMP", (0.98190, "I25", "sparse_sampling_and_reconstruction", 5)),
        ("kadid10k_official", "images/I01_01_01.png", (4.89, "I01", "gaussian_blur", 1)),
        ("kadid10k_community", "distorted_images/I81_25_05.png", (1.19, "I81", "contrast_change", 5)),
        ("livec", "Images/5.JPG", (4.25, None, None, None)),
        ("koniq10k_sets_512x384", "512x384/10004473376.jpg", (9.0, None, None, None)),
        ("flive", "database/blur_dataset/motion0001.jpg", (12.5, None, None, None)),
        ("spaq_512x384", "SPAQ zip/512x384/00001.jpg", (3.5, None, None, None)),
    ],
)
def test_facts_of_one_row(tree, layout, file, facts):
    table = load(layout, tree(layout))
    row = table.files.tolist().index(file)
    columns = (table.scores, table.references, table.types, table.levels)
    assert tuple(None if column is None else column[row].item() for column in columns) == pytest.approx(facts)


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout.split("_")[0] in BY_REFERENCE])
def test_names_agree_with_references_and_levels(tree, layout):
    table = load(layout, tree(layout))
    if layout.startswith("live"):
        assert by_id(table, "references") == made.LIVE_REFERENCES
        assert all(name.startswith(f"{kind}/") for name, kind in by_id(table, "types").items())
        assert table.levels is None
        return
    parts = [name.replace("_0", "_").rsplit(".", 1)[0] for name in table.ids]
    parts = [name.rsplit("." if layout.startswith("csiq") else "_", 2) for name in parts]
    assert [reference.casefold() for reference in table.references] == [reference for reference, _, _ in parts]
    assert table.levels.tolist() == [int(level) for _, _, level in parts]
    assert len(set(zip((kind for _, kind, _ in parts), table.types, strict=True))) == len(set(table.types))


def test_an_official_split_is_read_where_there_is_one(tree):
    parts = {"training": "train", "validation": "val", "test": "test"}
    for layout in ("koniq10k_sets_512x384", "koniq10k_metadata_both"):
        assert by_id(load(layout, tree(layout)), "parts") == {n: parts[p] for n, p in made.KONIQ10K_PARTS.items()}
    for layout in set(LAYOUTS) - {"koniq10k_sets_512x384", "koniq10k_metadata_both"}:
        assert load(layout, tree(layout)).parts is None


@pytest.mark.parametrize("above", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_from_above(tree, layout, above):
    table = load(layout, tree(layout))
    higher = load(layout, tree(layout).parents[above - 1])
    assert higher.digest() == table.digest()
    assert higher.source == table.source
    assert [higher.path(row) for row in range(len(higher))] == [table.path(row) for row in range(len(table))]


@pytest.mark.parametrize("layout", ["live", "live_mats_above"])
def test_live_in_its_own_folder(tree, layout):
    table = load(layout, tree(layout) / "databaserelease2")
    assert table.digest() == load(layout, tree(layout)).digest()
    assert table.source == "dmos_realigned.mat; realigned DMOS"
    assert table.path(0).is_file()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_in_the_other_case(tree, copy, layout):
    root = copy(layout)
    for path in sorted(root.rglob("*"), reverse=True):  # what lies deepest first
        path.rename(path.with_name(path.name.swapcase()))
    table, plain = load(layout, root), load(layout, tree(layout))
    assert table.digest() == plain.digest()
    assert all(table.path(row).is_file() for row in range(len(table)))
    assert table.files[0] == plain.files[0].swapcase()


def test_the_generator_is_a_program_and_deterministic(tree, tmp_path):
    subprocess.run([sys.executable, made.__file__, "tid2013", str(tmp_path / "set")], check=True)
    files = {path.relative_to(tmp_path / "set"): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert files == {path.relative_to(tree("tid2013")): path.read_bytes() for path in tree("tid2013").rglob("*.*")}
    assert len(files) == len(made.TID2013) + len(made.TID2013_PICTURES) + 2


# ---- more than one score an image


def test_koniq_takes_the_scores_of_one_scale(copy):
    root = copy("koniq10k_metadata_both")
    z_scored = load("koniq10k", root)
    labels = root / "metadata" / "koniq10k_scores_and_distributions.csv"
    pd.read_csv(labels).drop(columns="MOS_zscore").to_csv(labels, index=False)
    raw = load("koniq10k", root)
    assert raw.source == "koniq10k_scores_and_distributions.csv; images in 512x384; column MOS, raw, 1..5"
    assert by_id(raw) == pytest.approx(made.KONIQ10K_RAW, abs=1e-12)
    assert (raw.scale.low, raw.scale.high) == (1, 5)
    assert raw.parts.tolist() == z_scored.parts.tolist()
    labels.unlink()
    sets = load("koniq10k", root)
    assert sets.source == "koniq10k_distributions_sets.csv; images in 512x384; column MOS, 0..100"
    assert by_id(sets) == pytest.approx(made.KONIQ10K_SETS, abs=1e-12)
    assert len({table.digest() for table in (raw, z_scored, sets)}) == 3


def test_koniq_prefers_the_large_images(copy):
    root = copy("koniq10k_zscore_1024x768")
    shutil.copytree(root / "1024x768", root / "512x384")
    assert "images in 1024x768;" in load("koniq10k", root).source


@pytest.mark.parametrize("layout", ["live", "live_mats_above"])
def test_live_falls_back_on_the_first_release_and_says_so(copy, layout):
    root = copy(layout)
    (next(root.rglob("dmos_realigned.mat"))).unlink()
    table = load(layout, root)
    assert table.source == (
        "dmos.mat; images in databaserelease2; DMOS as first released, not the realigned DMOS that papers use"
    )
    assert by_id(table) == pytest.approx(made.LIVE_AS_FIRST_RELEASED, abs=1e-12)
    assert (table.scale.name, table.scale.low, table.scale.high, table.scale.higher_is_better) == (
        "DMOS",
        0,
        100,
        False,
    )


def test_live_prefers_the_realigned_scores_from_one_folder_up(tree, copy):
    root = copy("live")
    (root / "databaserelease2" / "dmos_realigned.mat").rename(root / "dmos_realigned.mat")
    for folder in (root, root / "databaserelease2", root.parent):
        table = load("live", folder)
        assert table.source.startswith("dmos_realigned.mat; ")
        assert table.digest() == load("live", tree("live")).digest()


def test_live_beside_another_set_is_not_taken_for_it(tmp_path):
    LAYOUTS["live_mats_above"](tmp_path)
    other = LAYOUTS["tid2013"](tmp_path / "tid2013")
    assert not SETS["live"].homes(other)
    assert SETS["live"].homes(tmp_path / "databaserelease2") == [tmp_path / "databaserelease2"]


def test_csiq_prefers_the_workbook(copy):
    root = copy("csiq_official")
    made.write_csiq(root, [(name, 0.5) for name in made.CSIQ], labels="csiq_label.txt")
    assert by_id(load("csiq", root)) == pytest.approx(expected(made.CSIQ), abs=1e-12)


def test_spaq_with_underscores(tree, copy):
    """As the workbook is called in some copies."""
    root = copy("spaq_testimage")
    (root / SPAQ_LABELS).rename(root / SPAQ_LABELS.replace(" ", "_"))
    table = load("spaq", root)
    assert table.digest() == load("spaq", tree("spaq_testimage")).digest()
    assert table.source == "MOS_and_Image_attribute_scores.xlsx; images in TestImage"


def test_flive_parts_are_told_by_size(tree):
    table = FLIVE.with_official_split(load("flive", tree("flive")))
    assert by_id(table, "parts") == {name.casefold(): part for name, part in made.FLIVE_PARTS.items()}
    split = make_split(table)
    assert split.rule == "official"
    check_partition(split, table, rated=table.parts != "")
    assert [made.FLIVE_PARTS[name] for name in np.array(list(made.FLIVE))[split.test]] == ["test"] * len(split.test)
    assert len(split.test) == 3


# ---- splits


@pytest.mark.parametrize("layout", LAYOUTS)
def test_split_is_clean_for_every_seed(tree, layout):
    table = load(layout, tree(layout))
    splits = [make_split(table, seed=seed) for seed in range(100)]
    for split in splits:
        check_partition(split, table)
        rule = "random" if table.references is None else "reference"
        assert split.rule == ("official" if table.parts is not None else rule)
    if table.parts is None:
        assert len({tuple(split.test) for split in splits}) > 4


class Shuffled:
    """What ``os.scandir`` gives, in another order each time."""

    def __init__(self, entries, rng):
        self.entries = list(entries)
        rng.shuffle(self.entries)

    def __iter__(self):
        return iter(self.entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def shuffle_folders(monkeypatch):
    """Every folder lists its files in an order of its own, as file systems do."""
    rng, scandir, listdir = random.Random(0), os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda *args: Shuffled(scandir(*args), rng))
    monkeypatch.setattr(os, "listdir", lambda *args: Shuffled(listdir(*args), rng).entries)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_split_does_not_depend_on_the_order_of_folders(tree, layout, monkeypatch):
    before = load(layout, tree(layout).parent)
    shuffle_folders(monkeypatch)
    images = before.path(0).parent
    assert [entry.name for entry in os.scandir(images)] != [entry.name for entry in os.scandir(images)]
    after = load(layout, tree(layout).parent)
    assert after.files.tolist() == before.files.tolist()
    for seed in range(3):
        one, other = make_split(before, seed=seed), make_split(after, seed=seed)
        assert all(getattr(one, part).tolist() == getattr(other, part).tolist() for part in PARTS)
        assert one.data_digest == other.data_digest


SAME_LABELS = [
    ("csiq_official", "csiq_community"),
    ("csiq_community", "csiq_mixed"),
    ("kadid10k_official", "kadid10k_community"),
    ("live", "live_mats_above"),
    ("spaq_testimage", "spaq_512x384"),
]


def check_split_of_other_layout(one, other, path):
    made_here = make_split(one, seed=3)
    made_here.save(path, one)
    loaded = Split.load(path, other)
    made_there = make_split(other, seed=3)
    for part in PARTS:
        assert sorted(other.ids[getattr(loaded, part)]) == sorted(one.ids[getattr(made_here, part)])
        assert sorted(getattr(made_there, part)) == sorted(getattr(loaded, part))


@pytest.mark.parametrize(("one", "other"), [*SAME_LABELS, *(pair[::-1] for pair in SAME_LABELS)])
def test_a_split_serves_the_other_layout(tree, tmp_path, one, other):
    assert load(one, tree(one)).files.tolist() != load(other, tree(other)).files.tolist() or one.startswith("live")
    check_split_of_other_layout(load(one, tree(one)), load(other, tree(other)), tmp_path / "split.json")


@pytest.mark.parametrize(
    ("one", "other"),
    [("koniq10k_sets_512x384", "koniq10k_metadata_both"), ("koniq10k_sets_512x384", "koniq10k_zscore_1024x768")],
)
def test_a_split_of_other_scores_is_refused(tree, tmp_path, one, other):
    table = load(one, tree(one))
    make_split(table).save(tmp_path / "split.json", table)
    with pytest.raises(DatasetError, match="made for other data"):
        Split.load(tmp_path / "split.json", load(other, tree(other)))


def test_another_process_makes_the_same_splits(tree):
    program = """
import json, sys
from lml_iqa.datasets import BENCHMARKS, make_split
sets = {benchmark.__name__.lower(): benchmark for benchmark in BENCHMARKS}
splits = {}
for layout, root in json.loads(sys.argv[1]).items():
    table = sets[layout.split("_")[0]](root).load()
    made = [make_split(table, seed=seed) for seed in range(3)]
    parts = [[table.ids[getattr(split, part)].tolist() for part in ("train", "val", "test")] for split in made]
    splits[layout] = [[split.data_digest, *ids] for split, ids in zip(made, parts)]
print(json.dumps([hash("salted"), splits]))
"""
    roots = json.dumps({layout: str(tree(layout)) for layout in LAYOUTS})
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    run = [sys.executable, "-c", program, roots]
    salted, elsewhere = json.loads(subprocess.run(run, env=environment, check=True, capture_output=True).stdout)
    assert salted != hash("salted")
    for layout in LAYOUTS:
        table = load(layout, tree(layout))
        for seed, (digest, *parts) in enumerate(elsewhere[layout]):
            split = make_split(table, seed=seed)
            assert split.data_digest == digest
            assert [table.ids[getattr(split, part)].tolist() for part in PARTS] == parts


# ---- bad trees: one clear error each


def nothing(root):
    pass


def emptied(root):
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def gone(*names):
    return lambda root: [(root / name).unlink() for name in names]


def renamed(name, other):
    return lambda root: (root / name).rename(root / other)


def text(name):
    return lambda root: (root / name).write_text("image,score\n" + 50 * "a.png,3\n")


def more(layout, scores, *rows):
    """The tree with further rows in its label file, and images for them."""
    return lambda root: LAYOUTS[layout](root, [*scores.items(), *rows])


def changed(layout, scores, name, score):
    """The tree with another score of one image."""
    return lambda root: LAYOUTS[layout](root, [*{**scores, name: score}.items()])


def twice(root):
    shutil.copytree(root / "set", root / "another")


def matlab(file, **variables):
    return lambda root: made.matlab(root / file, **variables)


def edited(file, old, new):
    return lambda root: (root / file).write_text((root / file).read_text().replace(old, new))


REALIGNED = "databaserelease2/dmos_realigned.mat"
PHOTOGRAPHS = "databaserelease2/refnames_all.mat"
SPAQ_LABELS = "Annotations/MOS and Image attribute scores.xlsx"
OWN_FILE = "use the original label file"
OFF_SCALE = f"{OWN_FILE}, or TableDataModule with low and high for custom ratings"
OR_TABLE = f"{OWN_FILE}, or TableDataModule with higher_is_better for custom ratings"

# What is done to a tree, and the whole message; {root} is its folder, {access} how to get the set.
BAD = {
    # an empty folder
    "live: empty": (
        "live",
        emptied,
        "LIVE: no label file in {root} (found: nothing); set data.root to the folder that contains "
        "'dmos_realigned.mat' or 'databaserelease2/dmos_realigned.mat', or to one above it. {access}",
    ),
    "csiq: empty": (
        "csiq_official",
        emptied,
        "CSIQ: no label file in {root} (found: nothing); set data.root to the folder that contains 'csiq.DMOS.xlsx' or "
        "'csiq_label.txt', or to one above it. {access}",
    ),
    "tid2013: empty": (
        "tid2013",
        emptied,
        "TID2013: no label file in {root} (found: nothing); set data.root to the folder that contains "
        "'mos_with_names.txt', or to one above it. {access}",
    ),
    "kadid10k: empty": (
        "kadid10k_official",
        emptied,
        "KADID-10k: no label file in {root} (found: nothing); set data.root to the folder that contains 'dmos.csv', "
        "or to one above it. {access}",
    ),
    "livec: empty": (
        "livec",
        emptied,
        "LIVEC: no label file in {root} (found: nothing); set data.root to the folder that contains "
        "'Data/AllMOS_release.mat' or 'AllMOS_release.mat', or to one above it. "
        "{access}",
    ),
    "koniq10k: empty": (
        "koniq10k_metadata_both",
        emptied,
        "KonIQ-10k: no label file in {root} (found: nothing); set data.root to the folder that contains "
        "'koniq10k_scores_and_distributions.csv' or 'metadata/koniq10k_scores_and_distributions.csv', "
        "or to one above it. {access}",
    ),
    "flive: empty": (
        "flive",
        emptied,
        "FLIVE: no label file in {root} (found: nothing); set data.root to the folder that contains 'labels_image.csv' "
        "or 'database/labels_image.csv', or to one above it. {access}",
    ),
    "spaq: empty": (
        "spaq_zip",
        emptied,
        "SPAQ: no label file in {root} (found: nothing); set data.root to the folder that contains "
        "'Annotations/MOS and Image attribute scores.xlsx' or 'Annotations/MOS_and_Image_attribute_scores.xlsx', "
        "or to one above it. {access}",
    ),
    # files or folders that are not there
    "csiq: no images": (
        "csiq_official",
        renamed("dst_imgs", "elsewhere"),
        "{root}/csiq.DMOS.xlsx lists 72 images, and none of them is in {root}/dst_imgs/{type} or "
        "{root}/dst_imgs_all or {root}/dst_imgs (found: csiq.DMOS.xlsx, elsewhere, src_imgs); unpack the images "
        "there. {access}",
    ),
    "koniq10k: no images": (
        "koniq10k_metadata_both",
        renamed("512x384", "elsewhere"),
        "{root}/metadata/koniq10k_scores_and_distributions.csv lists 14 images, and none of them is in "
        "{root}/1024x768 or {root}/512x384 (found: elsewhere, metadata); unpack the images there. "
        "{access}",
    ),
    "tid2013: one image missing": (
        "tid2013",
        gone("distorted_images/i16_08_2.bmp"),
        "{root}/mos_with_names.txt lists 1 of 54 images that are not in {root}: distorted_images/i16_08_2.bmp; "
        "unpack the data set again, or remove their rows",
    ),
    "csiq: a type missing": (
        "csiq_official",
        lambda root: shutil.rmtree(root / "dst_imgs" / "awgn"),
        "{root}/csiq.DMOS.xlsx lists 12 of 72 images that are not in {root}: dst_imgs/awgn/1600.AWGN.1.png, "
        "dst_imgs/awgn/1600.AWGN.5.png, dst_imgs/awgn/boston.AWGN.1.png, dst_imgs/awgn/boston.AWGN.5.png, "
        "dst_imgs/awgn/family.AWGN.1.png and 7 more; unpack the data set again, or remove their rows",
    ),
    "livec: examples beside the others": (
        "livec",
        gone("Images/5.JPG"),
        "{root}/Data/AllMOS_release.mat lists 1 of 14 images that are not in {root}: Images/5.JPG; "
        "unpack the data set again, or remove their rows",
    ),
    "livec: no names": (
        "livec",
        gone("Data/AllImages_release.mat"),
        "LIVEC: {root} lacks 'Data/AllImages_release.mat' or 'AllImages_release.mat' (found: Data, Images); copy the "
        "file there. {access}",
    ),
    "live: no references": (
        "live",
        gone(PHOTOGRAPHS),
        "LIVE: {root} lacks 'refnames_all.mat' or 'databaserelease2/refnames_all.mat' or '../refnames_all.mat' "
        "(found: databaserelease2); copy the file there. {access}",
    ),
    # rows that do not belong there
    "csiq: no such level": (
        "csiq_community",
        more("csiq_community", made.CSIQ, ("1600.AWGN.6.png", 0.9)),
        "{root}/csiq_label.txt: '1600.AWGN.6.png' is not an image of CSIQ (like '1600.AWGN.1.png'); " + OWN_FILE,
    ),
    "csiq: no such type": (
        "csiq_official",
        more("csiq_official", made.CSIQ, ("1600.sepia.1.png", 0.9)),
        "{root}/csiq.DMOS.xlsx: dst_type 'sepia' of image '1600' is not one of noise, blur, contrast, fnoise, jpeg, "
        "jpeg 2000; use the original workbook",
    ),
    "tid2013: no such type": (
        "tid2013",
        more("tid2013", made.TID2013, ("I04_25_1.bmp", 2.5)),
        "{root}/mos_with_names.txt: 'I04_25_1.bmp' is not an image of TID2013 (like 'I01_01_1.bmp'); " + OWN_FILE,
    ),
    "kadid10k: no such type": (
        "kadid10k_official",
        more("kadid10k_official", made.KADID10K, ("I01_26_01.png", 2.5)),
        "{root}/dmos.csv: 'I01_26_01.png' is not an image of KADID-10k (like 'I01_01_01.png'); " + OWN_FILE,
    ),
    "live: every row rated": (
        "live",
        matlab(REALIGNED, dmos_new=np.ones((1, 982)), orgs=np.zeros((1, 982))),
        "{root}/" + PHOTOGRAPHS + ": row 1 (jp2k/img1.bmp) has no reference image; use the original file",
    ),
    "kadid10k: listed twice": (
        "kadid10k_official",
        more("kadid10k_official", made.KADID10K, ("I01_01_01.png", 4.0)),
        "{root}/dmos.csv: images are listed more than once: i01_01_01.png; keep one row an image",
    ),
    "tid2013: listed twice, in another case": (
        "tid2013",
        more("tid2013", made.TID2013, ("i04_01_1.bmp", 4.0)),
        "{root}/mos_with_names.txt: images are listed more than once: i04_01_1.bmp; keep one row an image",
    ),
    "livec: listed twice": (
        "livec",
        more("livec", made.LIVEC, ("5.JPG", 4.0)),
        "{root}/Data/AllMOS_release.mat: images are listed more than once: 5.jpg; keep one row an image",
    ),
    # the wrong file
    "koniq10k: another set's CSV": (
        "koniq10k_sets_512x384",
        lambda root: (made.write_kadid10k(root, clean="x", images="x") / "dmos.csv").replace(
            root / "koniq10k_distributions_sets.csv"
        ),
        "{root}/koniq10k_distributions_sets.csv: no column 'image_name', only ['dist_img', 'ref_img', 'dmos', 'var']; "
        "rename it, or name the one to use",
    ),
    "tid2013: mos.txt as mos_with_names.txt": (
        "tid2013",
        lambda root: (root / "mos.txt").replace(root / "mos_with_names.txt"),
        "{root}/mos_with_names.txt, line 1: '6.78179' is not `score image`; give the original label file",
    ),
    "live: text as .mat": (
        "live",
        text(REALIGNED),
        "{root}/" + REALIGNED + ": not a MATLAB file, or damaged (no header of a MATLAB 5 file); "
        "copy or download the file again",
    ),
    "csiq: text as .xlsx": (
        "csiq_official",
        text("csiq.DMOS.xlsx"),
        "{root}/csiq.DMOS.xlsx: not an Excel workbook, or damaged (File is not a zip file); copy or download "
        "the file again",
    ),
    "csiq: another sheet": (
        "csiq_official",
        lambda root: made.workbook(root / "csiq.DMOS.xlsx", {"Sheet1": [["image", "dmos"]], "Sheet2": []}),
        "{root}/csiq.DMOS.xlsx: no sheet 'all_by_image', only ['Sheet1', 'Sheet2']; give the original workbook",
    ),
    "spaq: another set's workbook": (
        "spaq_zip",
        lambda root: (made.write_csiq(root) / "csiq.DMOS.xlsx").replace(root / SPAQ_LABELS),
        "{root}/" + SPAQ_LABELS + ": no row has the column names ['Image name', 'MOS']; give the original workbook",
    ),
    "live: dmos.mat as dmos_realigned.mat": (
        "live",
        renamed("databaserelease2/dmos.mat", REALIGNED),
        "{root}/" + REALIGNED + ": no variable 'dmos_new', only ['dmos', 'orgs']; give the original label file",
    ),
    "livec: the deviations as the scores": (
        "livec",
        renamed("Data/AllStdDev_release.mat", "Data/AllMOS_release.mat"),
        "{root}/Data/AllMOS_release.mat: no variable 'AllMOS_release', only ['AllStdDev_release']; "
        "give the original label file",
    ),
    "live: another length": (
        "live",
        matlab(REALIGNED, dmos_new=np.ones((1, 981)), orgs=np.zeros((1, 982))),
        "{root}/" + REALIGNED + ": has 981 rows, but LIVE has 982; use the original file",
    ),
    "live: a mark that is neither 0 nor 1": (
        "live",
        matlab(REALIGNED, dmos_new=np.ones((1, 982)), orgs=np.full((1, 982), 2)),
        "{root}/" + REALIGNED + ": orgs has values other than 0 and 1; use the original file",
    ),
    "koniq10k: an image in two parts": (
        "koniq10k_metadata_both",
        edited("metadata/koniq10k_distributions_sets.csv", "9403155259.jpg", "10004473376.jpg"),
        "{root}/metadata/koniq10k_distributions_sets.csv: images are listed more than once: 10004473376.jpg; "
        "keep one row per image",
    ),
    "live: copies of another length": (
        "live",
        matlab(REALIGNED, dmos_new=np.ones((1, 982)), orgs=np.zeros((1, 983))),
        "{root}/" + REALIGNED + ": has 983 rows, but LIVE has 982; use the original file",
    ),
    "live: references of another length": (
        "live",
        matlab(PHOTOGRAPHS, refnames_all=["caps.bmp"] * 981),
        "{root}/" + PHOTOGRAPHS + ": has 981 rows, but LIVE has 982; use the original file",
    ),
    "livec: names of another length": (
        "livec",
        matlab("Data/AllImages_release.mat", AllImages_release=list(made.LIVEC)),
        "{root}/Data/AllMOS_release.mat: has 21 scores for the 14 images of AllImages_release.mat; "
        "use the two files of one release",
    ),
    "koniq10k: a set by another name": (
        "koniq10k_metadata_both",
        edited("metadata/koniq10k_distributions_sets.csv", "training", "train"),
        "{root}/metadata/koniq10k_distributions_sets.csv: '10004473376.jpg' of koniq10k_scores_and_distributions.csv "
        "is in set 'train' (known: training, validation, test); use the original file",
    ),
    "koniq10k: an image in no set": (
        "koniq10k_metadata_both",
        edited("metadata/koniq10k_distributions_sets.csv", "10004473376.jpg", "other.jpg"),
        "{root}/metadata/koniq10k_distributions_sets.csv: '10004473376.jpg' of koniq10k_scores_and_distributions.csv "
        "is in no set (known: training, validation, test); use the original file",
    ),
    "csiq: no rows": (
        "csiq_community",
        lambda root: (root / "csiq_label.txt").write_text("\n"),
        "{root}/csiq_label.txt: has no rows; give a label file with at least one rated image",
    ),
    # scores
    "kadid10k: off the scale": (
        "kadid10k_official",
        changed("kadid10k_official", made.KADID10K, "I81_25_05.png", 0.19),
        "{root}/dmos.csv: scores are outside the scale 1..5 of KADID-10k: I81_25_05.png (0.19); " + OFF_SCALE,
    ),
    "live: off the scale": (
        "live",
        changed("live", made.LIVE, "jpeg/img57.bmp", 160.0),
        "{root}/" + REALIGNED + ": scores are outside the scale -3..112 of LIVE: jpeg/img57.bmp (160); " + OFF_SCALE,
    ),
    "live: no number": (
        "live",
        changed("live", made.LIVE, "jpeg/img57.bmp", float("nan")),
        "{root}/" + REALIGNED + ": scores are outside the scale -3..112 of LIVE: jpeg/img57.bmp (nan); " + OFF_SCALE,
    ),
    "kadid10k: no number": (
        "kadid10k_official",
        changed("kadid10k_official", made.KADID10K, "I81_25_05.png", "n/a"),
        "{root}/dmos.csv: 'n/a' in column 'dmos' of 'I81_25_05.png' is not a finite number; correct or remove the row",
    ),
    "tid2013: no number": (
        "tid2013",
        changed("tid2013", made.TID2013, "i25_24_5.bmp", "nan"),
        "{root}/mos_with_names.txt: 'nan' in column 'score' of 'i25_24_5.bmp' is not a finite number; "
        "correct or remove the row",
    ),
    "csiq: no number": (
        "csiq_official",
        changed("csiq_official", made.CSIQ, "turtle.jpeg2000.5.png", "#DIV/0!"),
        "{root}/csiq.DMOS.xlsx: '#DIV/0!' in column 'dmos' of 'turtle.jpeg2000.5.png' is not a finite number; "
        "correct or remove the row",
    ),
    "spaq: no score": (
        "spaq_testimage",
        changed("spaq_testimage", made.SPAQ, "00001.jpg", None),
        "{root}/" + SPAQ_LABELS + ", row 2: no value in column 'MOS' (00001.jpg, 47.43, 55.57, 55.71, 37.86, 42.57); "
        "fill it in or remove the row",
    ),
    "flive: no score": (
        "flive",
        changed("flive", made.FLIVE, "blur_dataset/motion0001.jpg", ""),
        "{root}/labels_image.csv, line 2: no value in column 'mos' (blur_dataset/motion0001.jpg, ); "
        "fill it in or remove the row",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree_is_refused(copy, case):
    layout, spoil, message = BAD[case]
    root = copy(layout)
    spoil(root)
    assert refused(layout, root) == message.replace("{access}", SETS[layout.split("_")[0]].access)


@pytest.mark.parametrize("name", SETS)
def test_errors_can_say_where_a_set_is_from(name):
    assert "https://" in SETS[name].access


def cut(name):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[: (root / name).stat().st_size // 2])


def overwritten(name):
    """As a failing disk leaves it: a few bytes are others."""

    def spoil(root):
        content = bytearray((root / name).read_bytes())
        middle = len(content) // 2
        content[middle : middle + 8] = bytes(range(7, 15))
        (root / name).write_bytes(content)

    return spoil


def wrong_reference(root):
    edited("dmos.csv", "I01_01_01.png,I01.png", "I01_01_01.png,I02.png")(root)


def rescaled(layout, divisor):
    published = SETS[layout.split("_")[0]].landmarks
    return lambda root: LAYOUTS[layout](root, [(name, score / divisor) for name, score in published.items()])


def named(layout, spoil, what):
    return pytest.param(layout, spoil, id=f"{layout}: {what}")


@pytest.mark.parametrize(
    ("layout", "spoil"),
    [
        ("live", cut(REALIGNED)),
        ("live", cut(PHOTOGRAPHS)),
        ("livec", cut("Data/AllImages_release.mat")),
        ("csiq_official", cut("csiq.DMOS.xlsx")),
        ("csiq_community", cut("csiq_label.txt")),
        ("tid2013", overwritten("mos_with_names.txt")),
        ("kadid10k_official", overwritten("dmos.csv")),
        ("flive", overwritten("labels_image.csv")),
        named("csiq_official", overwritten("csiq.DMOS.xlsx"), "zlib.error"),
        named("spaq_zip", overwritten(SPAQ_LABELS), "zlib.error"),
        named("live", lambda root: (root / REALIGNED).write_text("DMOS, see the readme"), "IndexError"),
        named("live", matlab(REALIGNED, dmos_new=["a"] * 982, orgs=np.zeros((1, 982))), "text is no score"),
        named("live", matlab(PHOTOGRAPHS, refnames_all=np.ones((1, 982))), "number is no name"),
        named("livec", matlab("Data/AllImages_release.mat", AllImages_release=np.ones((1, 21))), "number is no name"),
        named("live", matlab(PHOTOGRAPHS, refnames_all=[""] * 982), "rated row, no reference"),
        named("kadid10k_official", wrong_reference, "reference is another than the name says, and leaks"),
        named("tid2013", rescaled("tid2013", 9), "rescaled to 0..1"),
        named("spaq_zip", rescaled("spaq_zip", 100), "rescaled to 0..1"),
    ],
)
def test_a_broken_label_file_is_refused(copy, layout, spoil):
    root = copy(layout)
    spoil(root)
    assert "{root}/" in refused(layout, root)


def test_a_folder_that_may_not_be_read_is_passed_over(tree, copy, monkeypatch):
    root = copy("csiq_community").parent
    (root / "lost+found").mkdir()

    def guarded(plain):
        def listed(folder="."):
            if os.fspath(folder).endswith("lost+found"):
                raise PermissionError(13, "Permission denied", os.fspath(folder))
            return plain(folder)

        return listed

    monkeypatch.setattr(os, "scandir", guarded(os.scandir))
    monkeypatch.setattr(os, "listdir", guarded(os.listdir))
    assert load("csiq", root).digest() == load("csiq", tree("csiq_community")).digest()


def test_a_link_to_a_set_is_no_second_copy(tree, copy):
    root = copy("csiq_community").parent
    (root / "latest").symlink_to(root / "set")
    assert load("csiq", root).digest() == load("csiq", tree("csiq_community")).digest()


def test_a_split_serves_a_workbook_with_more_decimals(tmp_path):
    scores = [(name, score + 3e-8) for name, score in made.CSIQ.items()]
    community = load("csiq", LAYOUTS["csiq_community"](tmp_path / "community", scores))
    official = load("csiq", LAYOUTS["csiq_official"](tmp_path / "official", scores))
    check_split_of_other_layout(community, official, tmp_path / "split.json")


MIRRORED = {
    "live": ("{root}/" + REALIGNED, "jpeg/img57.bmp has 111.77, published in LIVE is -2.64 (lower"),
    "csiq_official": ("{root}/csiq.DMOS.xlsx", "log_seaside.AWGN.1.png has 1, published in CSIQ is 0 (lower"),
    "csiq_community": ("{root}/csiq_label.txt", "log_seaside.AWGN.1.png has 1, published in CSIQ is 0 (lower"),
    "tid2013": ("{root}/mos_with_names.txt", "i09_24_5.bmp has 8.75758, published in TID2013 is 0.24242 (higher"),
    "kadid10k_official": ("{root}/dmos.csv", "I02_02_05.png has 5, published in KADID-10k is 1 (higher"),
    "livec": ("{root}/Data/AllMOS_release.mat", "673.JPG has 96.58, published in LIVEC is 3.42 (higher"),
    "koniq10k_zscore_1024x768": (
        "{root}/koniq10k_scores_and_distributions.csv",
        "80184044.jpg has 96.088, published in KonIQ-10k is 3.912 (higher",
    ),
    "koniq10k_sets_512x384": (
        "{root}/koniq10k_distributions_sets.csv",
        "80184044.jpg has 96.088, published in KonIQ-10k is 3.912 (higher",
    ),
    "flive": ("{root}/labels_image.csv", "blur_dataset/motion0091.jpg has 100, published in FLIVE is 0 (higher"),
    "spaq_zip": ("{root}/" + SPAQ_LABELS, "07338.jpg has 98, published in SPAQ is 2 (higher"),
}


@pytest.mark.parametrize("layout", MIRRORED)
def test_scores_that_run_the_wrong_way_are_refused(tmp_path, layout):
    """Everybody's own, inverted copy of a label file; the same rows with the published scores are accepted."""
    published = SETS[layout.split("_")[0]].landmarks
    low, high = {"live": (-2.64, 111.77), "csiq": (0, 1), "tid2013": (0, 9), "kadid10k": (1, 5)}.get(
        layout.split("_")[0], (0, 100)
    )
    root = LAYOUTS[layout](tmp_path, published.items())
    assert by_id(load(layout, root)) == pytest.approx(expected(published), abs=1e-9)
    LAYOUTS[layout](root, [(name, low + high - score) for name, score in published.items()])
    file, image = MIRRORED[layout]
    assert refused(layout, root) == f"{file}: the scores are reversed: {image} is better); {OR_TABLE}"


@pytest.mark.parametrize("layout", ["csiq_community", "kadid10k_official", "koniq10k_zscore_1024x768", "spaq_zip"])
def test_too_many_rows_are_refused(tree, monkeypatch, layout):
    scores, _ = TINY[layout]
    benchmark = SETS[layout.split("_")[0]]
    monkeypatch.setattr(benchmark, "images", len(scores))
    load(layout, tree(layout))
    monkeypatch.setattr(benchmark, "images", len(scores) - 1)
    labels = benchmark(tree(layout)).labels
    assert refused(layout, tree(layout)) == (
        f"{{root}}/{labels.relative_to(tree(layout))}: lists {len(scores)} rated images, but {benchmark.name} has "
        f"{len(scores) - 1}; use the original label file, or TableDataModule for custom ratings"
    )


def test_a_file_is_refused(tree):
    assert refused("csiq", tree("csiq_official") / "csiq.DMOS.xlsx") == (
        "CSIQ: {root} is a file; set data.root to the folder of the data set (unpack an archive first)"
    )


def test_a_folder_that_does_not_exist_is_refused(tree):
    assert refused("csiq", tree("csiq_official") / "gone") == (
        "CSIQ: the folder {root} does not exist; set data.root to the folder of the data set"
    )


def test_two_copies_of_a_set_are_refused(tree, copy):
    root = copy("kadid10k_official").parent
    twice(root)
    assert refused("kadid10k", root) == (
        "KADID-10k: {root} contains more than one copy of the set ({root}/another, {root}/set); "
        "set data.root to one of them"
    )
    assert load("kadid10k", root / "another").digest() == load("kadid10k", tree("kadid10k_official")).digest()


def test_a_set_three_folders_below_is_not_looked_for(tree, tmp_path):
    shutil.copytree(tree("spaq_zip"), tmp_path / "1" / "2" / "set")
    assert len(load("spaq", tmp_path / "1")) == len(made.SPAQ)
    assert "no label file in {root} (found: 1);" in refused("spaq", tmp_path)


def test_two_spellings_of_one_name_are_refused(copy):
    root = copy("tid2013")
    shutil.copy(root / "distorted_images/i04_01_1.bmp", root / "distorted_images/I04_01_1.BMP")
    assert refused("tid2013", root) == (
        "{root}/mos_with_names.txt: 'distorted_images/I04_01_1.bmp' could be any of ['I04_01_1.BMP', 'i04_01_1.bmp'] "
        "in {root}/distorted_images; rename the correct file exactly as listed"
    )


# ---- the genuine label files, with an empty file for every image but the genuine samples

LABELS = {  # folder of the label files, and of the images below the set's own
    "live": ("databaserelease2", "."),
    "csiq": ("CSIQ", "dst_imgs_all"),
    "tid2013": ("tid2013", "distorted_images"),
    "kadid10k": ("kadid10k", "distorted_images"),
    "livec": ("ChallengeDB_release", "Images"),
    "koniq10k": ("koniq10k", "1024x768"),
    "flive": ("FLIVE", "database"),
    "spaq": ("SPAQ", "TestImage"),
}


def live_scores(folder):
    dmos = scipy.io.loadmat(folder / "dmos_realigned.mat")["dmos_new"][0]
    first_row = dict(zip(made.LIVE_ROWS, np.cumsum([-1, *made.LIVE_ROWS.values()]), strict=False))
    return {name: dmos[first_row[name.split("/")[0]] + int(name[:-4].split("img")[1])] for name in live_info(folder)}


def live_info(folder):
    """Image: photograph, from the readable files of the release."""
    lines = {kind: (folder / kind / "info.txt").read_text().split("\n") for kind in made.LIVE_ROWS}
    return {
        f"{kind}/{line.split()[1]}": line.split()[0].removesuffix(".bmp")
        for kind, of_kind in lines.items()
        for line in of_kind
        if line.strip()
    }


def livec_scores(folder):
    names, scores = (
        scipy.io.loadmat(folder / "Data" / f"All{what}_release.mat")[f"All{what}_release"].ravel()[7:].tolist()
        for what in ("Images", "MOS")
    )
    return {name.item(): score for name, score in zip(names, scores, strict=True)}


def pairs(frame, name, score):
    return dict(zip(frame[name], frame[score], strict=True))


ORACLES = {
    "live": live_scores,
    "csiq": lambda folder: pairs(pd.read_csv(folder / "csiq_label.txt", sep=" ", header=None), 0, 1),
    "tid2013": lambda folder: pairs(pd.read_csv(folder / "mos_with_names.txt", sep=" ", header=None), 1, 0),
    "kadid10k": lambda folder: pairs(pd.read_csv(folder / "dmos.csv"), "dist_img", "dmos"),
    "livec": livec_scores,
    "koniq10k": lambda folder: pairs(pd.read_csv(folder / "koniq10k_distributions_sets.csv"), "image_name", "MOS"),
    "flive": lambda folder: pairs(pd.read_csv(folder / "labels_image.csv"), "name", "mos"),
    "spaq": lambda folder: pairs(pd.read_excel(folder / SPAQ_LABELS), "Image name", "MOS"),
}


class Original:
    """Copies with the original label files, each made once: 77,000 files in all."""

    def __init__(self, data, folder):
        self.data = data
        self.folder = folder
        self.samples = pd.read_csv(data / "samples" / "labels.csv").dropna()
        self.oracle = cache(lambda name: ORACLES[name](data / "labels" / LABELS[name][0]))
        self.table = cache(lambda name: load(name, self.root(name)))
        self.root = cache(self._write)

    def _write(self, name):
        folder, images = LABELS[name]
        root = self.folder / folder
        for path in (self.data / "labels" / folder).rglob("*.*"):
            (root / path.relative_to(self.data / "labels" / folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, root / path.relative_to(self.data / "labels" / folder))
        samples = self.samples[self.samples["set"].str.lower() == name]
        for kind, file in zip(samples["set"], samples["file"], strict=True):
            (root / images).mkdir(exist_ok=True)
            shutil.copyfile(self.data / "samples" / kind / file, root / images / file)
        present = {file.casefold() for file in samples["file"]}
        names = [image for image in self.oracle(name) if image.casefold() not in present]
        for below in {image.rpartition("/")[0] for image in names}:
            (root / images / below).mkdir(parents=True, exist_ok=True)
        empty = self.folder / f"{name}.empty"
        empty.touch()
        for image in names:
            os.link(empty, f"{root}/{images}/{image}")  # one file by so many names: much faster than so many files
        return root

    def other(self, name, root, images=None):
        """A tree with the same images and label files of its own."""
        folder, images_of_set = LABELS[name]
        root.mkdir()
        for path in (self.data / "labels" / folder).glob("*.*"):
            shutil.copyfile(path, root / path.name)
        (root / (images or images_of_set)).symlink_to(self.root(name) / images_of_set)
        return root


@pytest.fixture(scope="module")
def original(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    yield Original(shared_data, folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "images", "references", "known", "lowest", "highest", "source"),
    [
        ("live", 779, 29, ("jp2k/img2.bmp", 15.51295442), -2.64, 111.77, "dmos_realigned.mat; realigned DMOS"),
        ("csiq", 866, 30, ("1600.awgn.3.png", 0.262122), 0, 1, "csiq_label.txt; images in dst_imgs_all"),
        ("tid2013", 3000, 25, ("i01_01_5.bmp", 3.86486), 0.24, 7.21, "mos_with_names.txt; images in distorted_images"),
        ("kadid10k", 10125, 81, ("i01_01_02.png", 4.33), 1, 4.93, "dmos.csv; images in distorted_images"),
        ("livec", 1162, None, ("198.bmp", 78.51724137931035), 3.42, 92.43, "AllMOS_release.mat; images in Images"),
        (
            *("koniq10k", 10073, None, ("10004473376.jpg", 77.3836206897), 3.91, 88.39),
            "koniq10k_distributions_sets.csv; images in 1024x768; column MOS, 0..100",
        ),
        (
            *("flive", 39810, None, ("blur_dataset/motion0044.jpg", 75.44372347614072), 0, 94.33),
            "labels_image.csv; images in database",
        ),
        (
            *("spaq", 11125, None, ("00002.jpg", 62.5), 2, 96),
            "MOS and Image attribute scores.xlsx; images in TestImage",
        ),
    ],
)
def test_original_labels(original, name, images, references, known, lowest, highest, source):
    table, scores = original.table(name), original.oracle(name)
    assert len(table) == images == len(scores) == SETS[name].images
    assert references == (None if table.references is None else len(set(table.references)))
    assert by_id(table)[known[0]] == pytest.approx(known[1], abs=1e-8)
    assert (table.scores.min(), table.scores.max()) == pytest.approx((lowest, highest), abs=6e-3)
    assert table.source == source
    assert by_id(table) == pytest.approx(expected(scores), abs=1e-12)
    listed = by_id(table)
    for image, published in SETS[name].landmarks.items():
        assert listed[image.casefold()] == pytest.approx(published, abs=1e-3)
    assert len(SETS[name].landmarks) == 8


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("live", {"jp2k": 169, "jpeg": 175, "wn": 145, "gblur": 145, "fastfading": 145}),
        ("csiq", {"awgn": 150, "blur": 150, "contrast": 116, "fnoise": 150, "jpeg": 150, "jpeg2000": 150}),
        ("tid2013", {distortion.name: 125 for distortion in DISTORTIONS.values()}),
        ("kadid10k", dict.fromkeys(TYPES, 405)),
    ],
)
def test_original_types(original, name, counts):
    kinds, numbers = np.unique(original.table(name).types, return_counts=True)
    assert dict(zip(kinds.tolist(), numbers.tolist(), strict=True)) == counts


def test_original_live_references_are_those_of_the_readable_files(original):
    table = original.table("live")
    assert by_id(table, "references") == live_info(original.root("live"))
    assert [name.split("/")[0] for name in table.ids] == table.types.tolist()


@pytest.mark.parametrize(("name", "kinds"), [("tid2013", [d.name for d in DISTORTIONS.values()]), ("kadid10k", TYPES)])
def test_original_means_by_type_and_level(original, name, kinds):
    published = pd.read_csv(original.data / "labels" / f"{name}_mean_mos_by_distortion.csv")
    table = original.table(name)
    rows = pd.DataFrame({c: getattr(table, c) for c in ("references", "types", "levels", "scores")})
    rows = rows[rows["references"] != "I25"] if name == "tid2013" else rows  # no photograph
    means = rows.groupby(["types", "levels"])["scores"].agg(["mean", "count"])
    assert len(published) == len(means) == 5 * len(kinds)
    for number, level, mean, count in published[["type", "level", "mean", "count"]].itertuples(index=False):
        ours = means.loc[(kinds[int(number) - 1], level)]
        assert (ours["mean"], ours["count"]) == pytest.approx((mean, count), abs=5.1e-5)


@pytest.mark.parametrize(
    ("name", "samples", "shape"),
    [
        ("csiq", 10, (512, 512, 3)),
        ("tid2013", 2, (384, 512, 3)),
        ("kadid10k", 5, (384, 512, 3)),
        ("livec", 5, (500, 500, 3)),
        ("koniq10k", 2, (768, 1024, 3)),
    ],
)
def test_original_images_are_found_by_their_label(original, name, samples, shape):
    table = original.table(name)
    of_set = original.samples[original.samples["set"].str.lower() == name]
    assert len(of_set) == samples
    for file, label in zip(of_set["file"], of_set["label"], strict=True):
        (row,) = (
            np.flatnonzero(table.scores == label) if name == "livec" else [table.ids.tolist().index(file.casefold())]
        )
        assert table.files[row] == f"{LABELS[name][1]}/{file}"
        assert table.scores[row] == label
        image = read_image(table.path(row))
        assert image.shape == shape
        assert image.std() > 5


@pytest.mark.parametrize(
    ("name", "test"), [("live", 6), ("csiq", 6), ("tid2013", 5), ("kadid10k", 16), ("livec", 232), ("spaq", 2225)]
)
def test_original_usual_counts(original, name, test):
    table = original.table(name)
    split = make_split(table)
    assert split.rule == ("random" if table.references is None else "reference")
    assert len(split.test if table.references is None else set(table.references[split.test])) == test


@pytest.mark.parametrize("name", LABELS)
def test_original_split_is_clean_for_every_seed(original, monkeypatch, name):
    table = original.table(name)
    monkeypatch.setattr(type(table), "digest", lambda self: "")  # slow, and the same for every seed
    for seed in range(5 if name == "flive" else 100):
        check_partition(make_split(table, rule="reference" if name in BY_REFERENCE else "random", seed=seed), table)


def test_original_official_split_of_koniq(original):
    table = original.table("koniq10k")
    split = make_split(table)
    assert split.rule == "official"
    assert (len(split.train), len(split.val), len(split.test)) == (7058, 1000, 2015)
    check_partition(split, table)
    listed = pd.read_csv(original.root("koniq10k") / "koniq10k_distributions_sets.csv").set_index("image_name")["set"]
    assert set(table.ids[split.test]) == set(listed.index[listed == "test"])
    assert set(table.ids[split.val]) == set(listed.index[listed == "validation"])


def test_original_split_of_csiq_works_with_the_workbook(original, tmp_path):
    text_file = original.table("csiq")
    root = tmp_path / "official"
    for row in range(len(text_file)):
        images = root / "dst_imgs" / text_file.types[row]
        images.mkdir(parents=True, exist_ok=True)
        os.link(original.folder / "csiq.empty", images / text_file.path(row).name)
    scores = zip(map(os.path.basename, text_file.files.tolist()), text_file.scores.tolist(), strict=True)
    official = load("csiq", made.write_csiq(root, scores))
    assert official.source == "csiq.DMOS.xlsx; images in dst_imgs/{type}"
    assert official.ids.tolist() != text_file.ids.tolist()
    assert by_id(official, "types") == by_id(text_file, "types")
    check_split_of_other_layout(official, text_file, tmp_path / "split.json")
    check_split_of_other_layout(text_file, official, tmp_path / "split.json")


def test_original_split_of_kadid_works_with_the_official_layout(original, tmp_path):
    community = original.table("kadid10k")
    official = load("kadid10k", original.other("kadid10k", tmp_path / "set", "images"))
    assert official.source == "dmos.csv; images in images"
    check_split_of_other_layout(official, community, tmp_path / "split.json")
    check_split_of_other_layout(community, official, tmp_path / "split.json")


def test_original_live_as_first_released(original, tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for path in original.root("live").iterdir():
        if path.name != "dmos_realigned.mat":
            (root / path.name).symlink_to(path)
    first = load("live", root)
    table = original.table("live")
    assert first.source == "dmos.mat; DMOS as first released, not the realigned DMOS that papers use"
    assert first.ids.tolist() == table.ids.tolist()
    assert np.corrcoef(first.scores, table.scores)[0, 1] == pytest.approx(0.947, abs=5e-4)
    assert (first.scores.min(), first.scores.max()) == pytest.approx((17.9, 84.5), abs=0.05)


def test_original_labels_with_one_row_more_are_refused(original, tmp_path):
    root = original.other("csiq", tmp_path / "set")
    with (root / "csiq_label.txt").open("a") as file:
        file.write("1600.contrast.5.png 0.5\n")
    assert refused("csiq", root) == (
        "{root}/csiq_label.txt: lists 867 rated images, but CSIQ has 866; "
        "use the original label file, or TableDataModule for custom ratings"
    )


@pytest.mark.parametrize("name", ["csiq", "tid2013"])
def test_original_labels_mirrored_are_refused(original, tmp_path, name):
    root = original.other(name, tmp_path / "set")
    mirrored = {image: f"{SETS[name].scale.high - score:.6f}" for image, score in original.oracle(name).items()}
    labels = SETS[name](root).labels
    line = "{0} {1}" if name == "csiq" else "{1} {0}"
    labels.write_text("\n".join(line.format(image, score) for image, score in mirrored.items()))
    file, image = MIRRORED["csiq_community" if name == "csiq" else name]
    assert refused(name, root) == f"{file}: the scores are reversed: {image} is better); {OR_TABLE}"
