"""``lml-iqa score``."""

import csv
import io
import json
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lml_iqa.inference import QualityModel
from lml_iqa.main import main

NETWORK = {"backbone": "test_vit", "decoder_heads": 4, "embedding_dim": 8}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of two models: higher is better, lower is better."""
    folder = tmp_path_factory.mktemp("models")
    for name, scale in (
        ("mos", {"name": "MOS", "low": 1.0, "high": 5.0}),
        ("dmos", {"name": "DMOS", "low": 0.0, "high": 9.0, "higher_is_better": False}),
    ):
        torch.manual_seed(0)
        QualityModel(NETWORK, scale, crops=4, crop_size=32, interval=0.5).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for n, name in enumerate(["b.png", "a.png", "sub/c d.png", "sub/<script>.png", "sub/line\nbreak.png"]):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40 + n, 50, 3), dtype=np.uint8) // (n + 1)).save(folder / name)
    return folder


def score(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["score", *map(str, arguments)])
    return stop.value.code


def read(path):
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [{**row, "score": float(row["score"])} for row in csv.DictReader(file)]
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_table_is_sorted_with_the_best_first(saved, photos, capsys):
    for name, sign in (("mos", -1), ("dmos", 1)):
        assert score(photos, "--model", saved / name) == 0
        *lines, last = capsys.readouterr().out.splitlines()
        scores = [float(line.split()[0]) for line in lines]
        assert len(scores) == 5
        assert scores == sorted(scores, key=lambda value: sign * value)
        assert last.startswith(f"5 images scored, {name.upper()} ")
        assert any(line.endswith(r"sub/line\nbreak.png") for line in lines)
        low, high = map(float, lines[0].split()[1].split(".."))
        assert low < scores[0] < high


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_file_of_scores(saved, photos, tmp_path, ending):
    model = QualityModel.from_pretrained(saved / "mos")
    files = [tmp_path / f"{n}{ending}" for n in range(3)]
    for file, workers in zip(files, (1, 2, 5), strict=True):
        assert score(photos, "--model", saved / "mos", "--out", file, "--workers", workers) == 0
    assert len({file.read_bytes() for file in files}) == 1
    rows = read(files[0])
    names = ["a.png", "b.png", "sub/<script>.png", "sub/c d.png", "sub/line\nbreak.png"]
    assert [row["path"] for row in rows] == [str(photos / name) for name in names]
    expected = [round(result.score, 6) for result in model.score([photos / name for name in names])]
    assert [row["score"] for row in rows] == expected
    assert {row["scale"] for row in rows} == {"MOS 1..5, higher is better"}
    assert {row["model"] for row in rows} == {model.id}


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_killed_run_continues_to_the_same_file(saved, photos, tmp_path, ending):
    file = tmp_path / f"scores{ending}"
    arguments = (photos, "--model", saved / "mos", "--out", file)
    assert score(*arguments) == 0
    whole = file.read_bytes()
    assert score(*arguments) == 0  # nothing left to do
    assert file.read_bytes() == whole
    for cut in np.linspace(0, len(whole) - 1, 6).astype(int):
        file.write_bytes(whole[:cut])
        assert score(*arguments) == 0
        assert file.read_bytes() == whole


def test_other_scores_are_not_mixed(saved, photos, tmp_path, capsys):
    file = tmp_path / "scores.csv"
    assert score(photos / "a.png", photos / "b.png", "--model", saved / "mos", "--out", file) == 0
    before = file.read_bytes()
    for arguments in (
        (photos / "b.png", photos / "a.png", "--model", saved / "mos"),
        (photos / "a.png", "--model", saved / "mos"),
        (photos / "a.png", photos / "b.png", "--model", saved / "dmos"),
    ):
        assert score(*arguments, "--out", file) == 2
        assert f"{file}: has scores of" in capsys.readouterr().err
    file.write_text("something,else\n1,2\n")
    assert score(photos / "a.png", "--model", saved / "mos", "--out", file) == 2
    assert score(photos / "a.png", "--model", saved / "mos", "--out", tmp_path / "scores.txt") == 2
    assert "unknown format" in capsys.readouterr().err
    file.write_bytes(before)
    assert score(photos / "a.png", photos / "b.png", photos, "--model", saved / "mos", "--out", file) == 0
    assert file.read_bytes().startswith(before)  # more images: continued


def test_unreadable_files_are_named_and_the_others_scored(saved, photos, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"not an image")
    file = tmp_path / "scores.jsonl"
    arguments = (photos / "a.png", tmp_path / "broken.png", tmp_path / "gone.png", photos / "b.png")
    for _ in range(2):  # the second run finds them in the file
        assert score(*arguments, "--model", saved / "mos", "--out", file) == 1
        printed = capsys.readouterr()
        assert "2 images scored" in printed.out
        assert "2 files could not be scored" in printed.err
        assert "broken.png" in printed.err
        assert "gone.png" in printed.err
    assert [row["score"] is None for row in read(file)] == [False, True, True, False]


def test_gate(saved, photos):
    for name, good, bad in (("mos", -99, 99), ("dmos", 99, -99)):
        assert score(photos, "--model", saved / name, f"--min={good}") == 0
        assert score(photos, "--model", saved / name, f"--min={bad}") == 3


def test_patterns_and_standard_input(saved, photos, capsys, monkeypatch):
    assert score(f"{photos}/*.png", "--model", saved / "mos") == 0
    assert "2 images scored" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{photos}/a.png\n{photos}/b.png\n\n{photos}/a.png\n"))
    assert score("-", "--model", saved / "mos") == 0
    assert "2 images scored" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8(saved, photos, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.png"
    with open(name, "wb") as file:  # noqa: PTH123
        file.write((photos / "a.png").read_bytes())
    for ending in (".csv", ".jsonl"):
        out = tmp_path / f"scores{ending}"
        for _ in range(2):
            assert score(tmp_path, "--model", saved / "mos", "--out", out) == 0
        (row,) = read(out)
        assert os.fsencode(row["path"]) == name
