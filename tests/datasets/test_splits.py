import dataclasses
import hashlib
import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from lml_iqa.datasets import BIQ2021, DatasetError, ImageTable, ScoreScale, Split, make_split
from lml_iqa.datasets.folder import load_folder
from lml_iqa.datasets.splits import reference_key, thin_out

PARTS = ("train", "val", "test")


def table(references=20, versions=6, parts=None, shuffle=None, authentic=False):
    """Images r03_v2.png and so on; the score tells which image it is, wherever its row stands."""
    names = np.array([f"r{r:03d}" for r in range(references) for _ in range(versions)])
    files = np.array([f"{name}_v{i % versions}.png" for i, name in enumerate(names)])
    scores = np.linspace(0, 1, len(files))
    order = np.arange(len(files)) if shuffle is None else np.random.default_rng(shuffle).permutation(len(files))
    return ImageTable(
        "toy",
        Path("/data"),
        files[order],
        scores[order],
        ScoreScale("MOS", 0, 1),
        references=None if authentic else names[order],
        parts=None if parts is None else np.array(parts)[order],
        source="made up",
    )


def files(split, of):
    return {part: frozenset(of.files[getattr(split, part)].tolist()) for part in PARTS}


def check_partition(split, rows):
    together = np.concatenate([split.train, split.val, split.test])
    assert sorted(together) == list(rows)
    assert all(len(getattr(split, part)) > 0 for part in PARTS)


def refused(function, *args, **kwargs):
    with pytest.raises(DatasetError) as error:
        function(*args, **kwargs)
    return str(error.value)


@pytest.mark.parametrize("references", [3, 4, 5, 25, 29])
def test_no_reference_stands_on_two_sides(references):
    data = table(references, 4)
    for seed in range(100):
        split = make_split(data, seed=seed)
        check_partition(split, range(len(data)))
        sides = [set(data.references[getattr(split, part)]) for part in PARTS]
        assert sum(map(len, sides)) == references


@pytest.mark.parametrize("references", [29, 30, 25, 81])
def test_usual_counts(references):
    """LIVE 23/6, CSIQ 24/6, TID2013 20/5, KADID-10k 65/16."""
    data = table(references, 2)
    test = np.unique(data.references[make_split(data).test])
    assert len(test) == {29: 6, 30: 6, 25: 5, 81: 16}[references]


@pytest.mark.parametrize(("test_fraction", "val_fraction"), [(0.2, 0.1), (0.5, 0.5), (0.1, 0.3)])
def test_fractions(test_fraction, val_fraction):
    data = table(200, 5, authentic=True)
    split = make_split(data, test_fraction=test_fraction, val_fraction=val_fraction)
    assert split.rule == "random"
    assert len(split.test) == pytest.approx(1000 * test_fraction, abs=1)
    assert len(split.val) == pytest.approx(1000 * (1 - test_fraction) * val_fraction, abs=1)


@pytest.mark.parametrize("authentic", [True, False])
def test_row_order_does_not_matter(authentic):
    plain = table(authentic=authentic)
    for seed in range(5):
        for order in (1, 2):
            shuffled = table(authentic=authentic, shuffle=order)
            assert not np.array_equal(shuffled.files, plain.files)
            assert files(make_split(shuffled, seed=seed), shuffled) == files(make_split(plain, seed=seed), plain)


@pytest.mark.parametrize("part", ["test", "val"])
def test_seeds_differ(part):
    data = table(81, 1)
    assert len({files(make_split(data, seed=seed), data)[part] for seed in range(10)}) == 10


def test_every_reference_is_tested_by_some_seed():
    data = table()
    tested = set().union(*(data.references[make_split(data, seed=seed).test] for seed in range(40)))
    assert tested == set(data.references)


def test_auto_prefers_official_then_reference_then_random():
    official = ["train"] * 90 + ["test"] * 30
    assert make_split(table(parts=official)).rule == "official"
    assert make_split(table()).rule == "reference"
    assert make_split(table(authentic=True)).rule == "random"
    assert make_split(table(parts=official), rule="reference").rule == "reference"
    assert make_split(table(parts=official), rule="random").rule == "random"


def test_random_rule_divides_single_images():
    data = table()
    split = make_split(data, rule="random")
    assert len(np.intersect1d(data.references[split.train], data.references[split.test])) > 0


def test_official_split_is_kept_and_validation_carved_out_of_training():
    parts = ["train"] * 80 + ["test"] * 36 + [""] * 4
    data = table(parts=parts, authentic=True)
    validated = set()
    for seed in range(5):
        split = make_split(data, seed=seed)
        assert split.test.tolist() == list(range(80, 116))
        assert len(split.val) == 8
        check_partition(split, range(116))
        validated.add(tuple(split.val))
    assert len(validated) == 5


def test_validation_part_of_official_split_goes_by_reference():
    data = table(parts=["train"] * 90 + ["test"] * 30)
    for seed in range(20):
        split = make_split(data, seed=seed)
        assert not set(data.references[split.train]) & set(data.references[split.val])


def test_official_validation_part_is_kept():
    data = table(parts=["val"] * 10 + ["train"] * 80 + ["test"] * 30, authentic=True)
    for seed in range(3):
        split = make_split(data, seed=seed)
        assert (split.val.tolist(), split.test.tolist()) == (list(range(10)), list(range(90, 120)))


@pytest.mark.parametrize("images", [1, 2])
def test_too_few_groups(images):
    message = refused(make_split, table(images, 5))
    assert "toy (made up): the " in message
    assert f"set of the reference split is empty ({5 * images} images in {images} groups); add images" in message
    assert "images in" in refused(make_split, table(images, 1, authentic=True))


@pytest.mark.parametrize("part", ["train", "test", ""])
def test_official_split_lacking_a_part(part):
    message = refused(make_split, table(parts=[part] * 120, authentic=True))
    assert "set of the official split is empty" in message


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("which", ["test_fraction", "val_fraction"])
def test_senseless_fractions(which, fraction):
    message = refused(make_split, table(), **{which: fraction})
    assert f"{which}={fraction}" in message
    assert "between 0 and 1" in message


@pytest.mark.parametrize("fraction", [1e-6, 0.999999])
def test_extreme_fractions_leave_no_part_empty(fraction):
    check_partition(make_split(table(), test_fraction=min(fraction, 0.9), val_fraction=fraction), range(120))


def test_rules_that_do_not_apply():
    assert "no official split; use split: random or split: reference" in refused(make_split, table(), rule="official")
    assert "no reference images; use split: random" in refused(make_split, table(authentic=True), rule="reference")


def test_unrated_images_cannot_be_split(tmp_path):
    (tmp_path / "a.png").touch()
    message = refused(make_split, load_folder(tmp_path))
    assert str(tmp_path) in message
    assert "no human scores, so they can only be scored (predict)" in message


@pytest.fixture
def saved(tmp_path):
    data = table()
    make_split(data, seed=3).save(tmp_path / "split.json", data)
    return tmp_path / "split.json"


def test_round_trip(saved):
    data, split = table(), make_split(table(), seed=3)
    loaded = Split.load(saved, data)
    for part in PARTS:
        rows = getattr(loaded, part)
        np.testing.assert_array_equal(rows, getattr(split, part))
        assert rows.dtype == np.int64
    assert (loaded.rule, loaded.seed, loaded.data_digest) == ("reference", 3, data.digest())


def test_loads_whatever_the_row_order(saved):
    shuffled = table(shuffle=7)
    assert files(Split.load(str(saved), shuffled), shuffled) == files(make_split(table(), seed=3), table())


def test_file_is_readable_json(saved):
    content = json.loads(saved.read_text())
    assert (content["dataset"], content["rule"], content["seed"]) == ("toy", "reference", 3)
    assert content["data_sha256"] == table().digest()
    assert {part: frozenset(content[part]) for part in PARTS} == files(make_split(table(), seed=3), table())


def test_other_data_is_refused(saved):
    message = refused(Split.load, saved, table(versions=5))
    assert message.startswith(f"{saved}: made for other data (hash {table().digest()[:12]}, this toy has ")
    assert "make a new split" in message
    changed = ImageTable(
        "toy", Path("/data"), table().files, table().scores[::-1], ScoreScale("MOS", 0, 1), table().references
    )
    assert "made for other data" in refused(Split.load, saved, changed)


def rows_of(data, rows, **changed):
    """A table of some rows of another."""
    columns = {"files": data.files, "scores": data.scores, "references": data.references, **changed}
    taken = {name: None if column is None else column[rows] for name, column in columns.items()}
    return ImageTable("toy", Path("/data"), scale=data.scale, **taken)


@pytest.mark.parametrize("authentic", [False, True])
def test_a_split_of_some_rows_loads_on_a_table_that_has_more(tmp_path, authentic):
    everything = table(40, 3, shuffle=2, authentic=authentic)
    part = rows_of(everything, np.random.default_rng(0).permutation(len(everything))[:70])
    split = make_split(part, rule="random", seed=3)
    split.save(tmp_path / "split.json", part)
    loaded = Split.load(tmp_path / "split.json", everything)
    assert files(loaded, everything) == files(split, part)
    assert loaded.digest(everything) == split.digest(part)
    assert (loaded.rule, loaded.seed, loaded.data_digest) == ("random", 3, part.digest())
    assert sum(len(getattr(loaded, name)) for name in PARTS) == 70  # the other rows are in no set
    loaded.save(tmp_path / "again.json", everything)  # what a run on it leaves
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "split.json").read_bytes()
    fewer = [thin_out(split, part, 0.5), thin_out(loaded, everything, 0.5)]
    assert files(fewer[0], part) == files(fewer[1], everything)


def change_a_score(data, row):
    scores = data.scores.copy()
    scores[row] += 1e-9 if scores[row] < 0.5 else -1e-9
    return rows_of(data, np.arange(len(data)), scores=scores)


def change_a_reference(data, row):
    references = data.references.copy()
    references[row] = "another"
    return rows_of(data, np.arange(len(data)), references=references)


def rename_an_image(data, row):
    names = data.files.copy()
    names[row] = "r9.png"
    return rows_of(data, np.arange(len(data)), files=names)


def drop_an_image(data, row):
    return rows_of(data, np.delete(np.arange(len(data)), row))


def drop_the_references(data, row):
    return rows_of(data, np.arange(len(data)), references=None)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(
    "change", [change_a_score, change_a_reference, rename_an_image, drop_an_image, drop_the_references]
)
def test_a_split_of_some_rows_is_refused_where_one_of_them_differs(tmp_path, change, name):
    everything = table()
    part = rows_of(everything, np.arange(0, 120, 2))
    split = make_split(part, rule="random")
    split.save(tmp_path / "split.json", part)
    row = 2 * int(getattr(split, name)[0])
    message = refused(Split.load, tmp_path / "split.json", change(everything, row))
    assert message.startswith(f"{tmp_path}/split.json: made for other data (hash {part.digest()[:12]}, this toy has ")
    if change is not drop_the_references:  # of a row in no set it does not matter
        assert files(Split.load(tmp_path / "split.json", change(everything, row + 1)), everything)["val"]


def test_an_edited_split_of_some_rows_is_refused(tmp_path):
    everything = table()
    part = rows_of(everything, np.arange(0, 120, 2))
    make_split(part, rule="random").save(tmp_path / "split.json", part)
    content = json.loads((tmp_path / "split.json").read_text())
    for edit in (leak, rename, rename_last, empty, repeat, move, borrow):
        edited = {**content, **{name: list(content[name]) for name in PARTS}}
        edit(edited)
        (tmp_path / "split.json").write_text(json.dumps(edited))
        assert "make a new split" in refused(Split.load, tmp_path / "split.json", everything)


def test_the_published_split_of_biq2021(shared_data):
    """Loads on the 4,000 photographs it was made from, with the hashes that the published figures were tested on."""
    path = Path(__file__).parents[2] / "benchmarks" / "biq2021" / "split.json"
    data = BIQ2021(shared_data / "BIQ2021").load()
    split = Split.load(path, data)
    assert tuple(len(getattr(split, name)) for name in PARTS) == (2881, 320, 799)
    assert files(split, data) == files(make_split(data), data)
    tested_on = json.loads((path.parent / "lml.json").read_text())["tested_on"]
    assert tested_on["data_sha256"] == split.data_digest
    assert tested_on["split_sha256"] == split.digest(data)
    # The complete set lists these and 8,000 more; the official test part is in none of the three.
    others = np.array([f"other{n}.jpg" for n in range(8000)])
    complete = ImageTable(
        "BIQ2021",
        data.root,
        np.concatenate([data.files, others]),
        np.concatenate([data.scores, np.full(8000, 0.5)]),
        data.scale,
        parts=np.array(["train"] * 10000 + ["test"] * 2000),
        ids=np.concatenate([data.ids, others]),
    )
    assert Split.load(path, complete).digest(complete) == split.digest(data)


@pytest.mark.parametrize(
    "content",
    ["", "not json", "[]", "[" * 100_000, "3", "null", "{}", '{"data_sha256": "x", "rule": "", "seed": 0}', "\udcff"],
)
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "split.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    message = refused(Split.load, path, table())
    assert message.startswith(f"{path}: not a split file (")
    assert "give one that a run saved as split.json" in message


def test_missing_file_is_refused(tmp_path):
    assert f"{tmp_path}/gone.json: not a split file" in refused(Split.load, tmp_path / "gone.json", table())


@pytest.mark.parametrize("seed", [None, "x", [1], 1.5, float("inf"), float("nan"), True])
def test_senseless_seed_in_the_file_is_refused(saved, seed):
    saved.write_text(json.dumps({**json.loads(saved.read_text()), "seed": seed}))
    assert "not a split file" in refused(Split.load, saved, table())


@pytest.mark.parametrize("key", ["rule", "data_sha256"])
@pytest.mark.parametrize("value", [3, None, [], "refer\udcffence"])
def test_senseless_head_of_the_file_is_refused(saved, key, value):
    saved.write_text(json.dumps({**json.loads(saved.read_text()), key: value}))
    refused(Split.load, saved, table())


def test_deeply_nested_file_is_refused(saved):
    saved.write_text("[" * 100_000)
    assert "not a split file" in refused(Split.load, saved, table())


def leak(content):
    content["train"].append(content["test"][0])


def rename(content):
    content["val"][0] = "aaaa.png"


def rename_last(content):
    content["val"][-1] = "zzzz.png"


def empty(content):
    content["val"] = []


def repeat(content):
    content["train"] *= 2


def move(content):
    content["train"].append(content["test"].pop())


def borrow(content):
    content["train"].append("r000_v1.png")


def nest(content):
    content["train"] = [content["train"]]


def text(content):
    content["train"] = "r000_v0.png"


def numbers(content):
    content["train"] = [1, 2, 3]


@pytest.mark.parametrize("edit", [leak, rename, rename_last, empty, repeat, move, nest, text, numbers])
def test_edited_file_is_refused(saved, edit):
    content = json.loads(saved.read_text())
    edit(content)
    saved.write_text(json.dumps(content))
    message = refused(Split.load, saved, table())
    assert message.startswith(f"{saved}: ")
    assert "make a new split" in message


def test_an_official_split_that_tears_a_reference_apart_is_refused():
    data = table(4, 3, parts=["train"] * 7 + ["test"] * 5)  # r002 stands on both sides
    message = refused(make_split, data)
    assert "'r002'" in message
    assert "split: reference" in message
    assert set(make_split(data, rule="reference").test) <= set(range(12))


@pytest.mark.parametrize("authentic", [False, True])
def test_fewer_labels(authentic):
    data = table(authentic=authentic)
    whole = make_split(data, seed=4)
    kept = set(whole.train)
    for fraction in (0.8, 0.6, 0.4, 0.2):
        split = thin_out(whole, data, fraction)
        assert split.val.tolist() == whole.val.tolist()
        assert split.test.tolist() == whole.test.tolist()
        assert set(split.train) < kept  # a smaller share is part of a larger one
        kept = set(split.train)
        assert len(kept) == pytest.approx(fraction * len(whole.train), rel=0.1)
        if not authentic:
            references = set(data.references[split.train])
            assert len(kept) == 6 * len(references)  # all versions of a photograph, or none
    assert thin_out(whole, data, 1.0) is whole
    assert len(thin_out(whole, data, 1e-9).train) == (1 if authentic else 6)


@pytest.mark.parametrize("fraction", [0.0, -0.2, 1.1, float("nan")])
def test_shares_out_of_range_are_refused(fraction):
    data = table()
    assert f"train_fraction={fraction} must be above 0" in refused(thin_out, make_split(data), data, fraction)


@pytest.mark.parametrize("authentic", [False, True])
def test_without_a_validation_part(authentic):
    data = table(authentic=authentic)
    default, without = make_split(data, seed=2), make_split(data, seed=2, val_fraction=None)
    assert len(without.val) == 0
    np.testing.assert_array_equal(without.test, default.test)
    np.testing.assert_array_equal(without.train, np.sort(np.concatenate([default.train, default.val])))


def test_images_of_an_official_validation_part_are_then_trained_on():
    data = table(parts=["val"] * 10 + ["train"] * 80 + ["test"] * 28 + [""] * 2, authentic=True)
    split = make_split(data, val_fraction=None)
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == (
        list(range(90)),
        [],
        list(range(90, 118)),
    )


@pytest.mark.parametrize("options", [{}, {"references": 1, "versions": 1}, {"parts": ["train"] * 90 + ["test"] * 30}])
def test_the_whole_set_as_test_part(options):
    data = table(**options)
    split = make_split(data, rule="whole", seed=1)
    assert (len(split.train), len(split.val), split.test.tolist()) == (0, 0, list(range(len(data))))
    assert split.rule == "whole"


def test_digest_tells_splits_apart_and_nothing_else():
    data, shuffled = table(), table(shuffle=5)
    split = make_split(data, seed=3)
    listed = "".join(f"{part}\t{name}\n" for part in PARTS for name in sorted(data.ids[getattr(split, part)].tolist()))
    assert split.digest(data) == hashlib.sha256(listed.encode()).hexdigest()
    assert make_split(shuffled, seed=3).digest(shuffled) == split.digest(data)
    others = [make_split(data, seed=4), make_split(data, seed=3, val_fraction=0.3), thin_out(split, data, 0.5)]
    assert len({split.digest(data), *(other.digest(data) for other in others)}) == 4


def test_an_image_moved_to_another_part_is_seen(saved):
    content = json.loads(saved.read_text())
    assert content["split_sha256"] == make_split(table(), seed=3).digest(table())
    content["train"].append(content["test"].pop())
    saved.write_text(json.dumps(content))
    assert "edited by hand" in refused(Split.load, saved, table())
    del content["split_sha256"]  # as files of before are
    saved.write_text(json.dumps(content))
    assert len(Split.load(saved, table()).train) == len(content["train"])


SAME = ["I01.BMP", "i01.bmp", " I01.bmp ", "./I01.bmp", ".\\I01.png", "I01", "i01.JPEG", "x/../I01.bmp", ".//I01.tiff"]


@pytest.mark.parametrize(
    "names",
    [
        SAME,
        ["ref/I01.bmp", "ref\\I01.bmp", "REF//i01", "./ref/I01.png"],
        [unicodedata.normalize(form, "Größe é.png") for form in ("NFC", "NFD", "NFKC", "NFKD")] + ["GRÖSSE É"],
        ["scene.1", "Scene.1.png"],
        [os.fsdecode(b"gr\xf6.png"), os.fsdecode(b"GR\xf6")],
    ],
)
def test_spellings_of_one_reference(names):
    assert len({reference_key(name) for name in names}) == 1
    assert reference_key(names[0])


def test_references_that_differ_by_more_than_spelling():
    names = ["I01", "I02", "I1", "a/I01", "b/I01", "scene.1", "scene.2", "I 01", "I01.v2", "é", "e", "../I01"]
    assert len({reference_key(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["", " ", ".", "./", ".\\", "\t"])
def test_no_reference(name):
    assert reference_key(name) == ""


def respelled(**options):
    """As :func:`table`, each reference spelled in as many ways as it has images."""
    plain = table(**options)
    ways = [str.upper, str.lower, "./{}.bmp".format, " {}.PNG".format, ".\\{}".format, "{}.jpg".format]
    names = [ways[i % len(ways)](name) for i, name in enumerate(plain.references.tolist())]
    return dataclasses.replace(plain, references=np.array(names))


def test_references_spelled_in_several_ways_do_not_leak():
    data = respelled(references=12)
    assert len(set(data.references)) == 12 * 6
    for seed in range(50):
        split = make_split(data, seed=seed)
        check_partition(split, range(len(data)))
        sides = [{reference_key(name) for name in data.references[getattr(split, part)]} for part in PARTS]
        assert sum(map(len, sides)) == 12
        kept = thin_out(split, data, 0.3).train
        assert all(
            np.isin(np.flatnonzero(table(12).references == name), kept).all() for name in table(12).references[kept]
        )


def test_spellings_that_do_not_differ_change_no_split():
    """Groups keep the order of the names as listed, which the seeded shuffle starts from."""
    plain = table(20)
    names = np.array([name.upper() if i // 6 % 2 else name for i, name in enumerate(plain.references.tolist())])
    mixed = dataclasses.replace(plain, references=names)
    groups = np.unique(names, return_inverse=True)[1]
    for seed in range(5):
        count = round(0.2 * 20)
        test = np.random.default_rng(seed).permutation(20)[:count]
        assert make_split(mixed, seed=seed).test.tolist() == np.flatnonzero(np.isin(groups, test)).tolist()


def test_an_official_split_that_tears_spellings_of_a_reference_apart_is_refused():
    data = respelled(references=4, parts=["train"] * 15 + ["test"] * 9)
    assert "split: reference" in refused(make_split, data)


@pytest.mark.parametrize("name", ["", " ", "./"])
def test_images_without_a_reference_are_refused(name):
    plain = table()
    names = plain.references.copy()
    names[[5, 77]] = name
    data = dataclasses.replace(plain, references=names)
    message = refused(make_split, data)
    assert message == (
        "toy (made up): r000_v5.png has no reference image; name one for every image, or use split: random"
    )
    assert make_split(data, rule="random").rule == "random"


def test_names_that_are_not_utf8(tmp_path):
    plain = table()
    strange = np.array([os.fsdecode(b"\xff") + name for name in plain.files.tolist()])
    data = dataclasses.replace(plain, files=strange, ids=strange, references=None)
    split = make_split(data)
    split.save(tmp_path / "split.json", data)
    assert files(Split.load(tmp_path / "split.json", data), data) == files(split, data)


def test_an_unknown_rule_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"split must be one of 'auto', 'reference', .* not 'typo'"):
        make_split(table(), rule="typo")
