"""Cross-dataset matrix over three tiny data sets, against the predictions of the runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy.stats import spearmanr

from lml_iqa.experiments.command import protocol

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def sets(biq2021_root, tmp_path_factory):
    """The three data sets of the shipped file, with their folders filled in."""
    plan = yaml.safe_load((CONFIGS / "protocol" / "cross.yaml").read_text())
    rng = np.random.default_rng(0)
    photographs, mine = tmp_path_factory.mktemp("photographs"), tmp_path_factory.mktemp("mine")
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (72, 80, 3), dtype=np.uint8)).save(photographs / f"photo{i}.png")
    rows = {f"{i}.png": 10 + 7 * i for i in range(11)}
    for i, name in enumerate(rows):
        Image.fromarray(rng.integers(0, 20 * (i + 1), (40, 48, 3), dtype=np.uint8)).save(mine / name)
    scores = "".join(f"{name},{score}\n" for name, score in rows.items())
    (mine / "ratings.csv").write_text(f"path,score\n{scores}")
    plan["sets"]["BIQ2021"]["init_args"]["root"] = str(biq2021_root)
    plan["sets"]["mine"]["init_args"].update(root=str(mine), higher_is_better=False)
    plan["sets"]["synthetic"]["init_args"] = {"root": str(photographs), "types": [1, 8]}
    return plan


def command(plan, out, tiny, *more):
    file = out.parent / f"{out.name}.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False))
    options = ["--config", str(CONFIGS / "biq2021.yaml"), *tiny, "--trainer.max_epochs=1", "--data.val_fraction=0.3"]
    cache = f"--data.cache={out.parent / 'cache'}"
    return [str(file), "--out", str(out), *options, cache, *more]


@pytest.fixture
def quick(in_process, tiny, tmp_path):
    return lambda plan, *more, out="cross": protocol(command(plan, tmp_path / out, tiny, *more))


def cell(out, trained, tested):
    """Row of a cell in the CSV file."""
    frame = pd.read_csv(out / "cross.csv")
    return frame[(frame.trained_on == trained) & (frame.tested_on == tested)].squeeze()


def test_three_sets(sets, quick, tmp_path, capsys):
    out = tmp_path / "cross"
    assert quick(sets) == 0
    names = ["BIQ2021", "synthetic", "mine"]
    images = {"BIQ2021": (5, 18), "synthetic": (10, 40), "mine": (2, 11)}
    content = json.loads((out / "cross.json").read_text())
    assert [(c["trained_on"], c["tested_on"]) for c in content["cells"]] == [(a, b) for a in names for b in names]
    for found in content["cells"]:
        trained, tested = found["trained_on"], found["tested_on"]
        own = trained == tested
        folder = out / (trained if own else f"{trained}_on_{tested}") / "split0"
        facts = json.loads((folder / "metrics.json").read_text())
        assert facts["tested_on"]["split"] == ("whole" if not own else facts["trained_on"]["split"])
        assert facts["trained_on"] == json.loads((out / trained / "split0" / "metrics.json").read_text())["trained_on"]
        assert facts["checkpoint"] == str(out / trained / "split0" / "checkpoints" / "best.ckpt")
        assert (folder / "environment.json").is_file()
        predictions = pd.read_csv(folder / "predictions.csv")
        assert len(predictions) == images[tested][not own] == found["images"]["split0"]
        oracle = spearmanr(predictions.score, predictions.human_score).statistic
        assert found["summary"]["srcc"]["median"] == pytest.approx(oracle, abs=1e-6)
        row = cell(out, trained, tested)
        assert (row.srcc, row.plcc_fitted) == (
            found["summary"]["srcc"]["median"],
            found["summary"]["plcc_fitted"]["median"],
        )
        assert f"{row.srcc:.3f}" in (out / "cross.md").read_text()
        assert f"{row.srcc:.3f}" in (out / "cross.tex").read_text()
    shown = capsys.readouterr().out
    assert "| SRCC: trained on | BIQ2021 | synthetic | mine |" in shown
    assert "A model is tested on the test set of its own data and on all images of the other data sets." in shown
    with Image.open(out / "cross.png") as picture:
        assert min(picture.size) > 200
    # Finished runs are skipped, and another data set is added.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    assert len(before) == 9
    more = {**sets, "sets": {**sets["sets"], "again": sets["sets"]["synthetic"] | {"init_args": {"types": [3]}}}}
    more["sets"]["again"]["init_args"]["root"] = sets["sets"]["synthetic"]["init_args"]["root"]
    assert quick({**more, "train_on": ["mine"]}) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(list(out.rglob("metrics.json"))) == 10
    assert pd.read_csv(out / "cross.csv").tested_on.tolist() == ["BIQ2021", "synthetic", "mine", "again"]


def test_others_by_their_test_set(sets, quick, tmp_path):
    plan = {**sets, "others": "test", "train_on": ["BIQ2021"]}
    assert quick(plan) == 0
    out = tmp_path / "cross"
    assert [cell(out, "BIQ2021", name).images for name in plan["sets"]] == [5, 10, 2]
    parts = {row["path"] for row in csv.DictReader((out / "BIQ2021_on_mine/split0/predictions.csv").open())}
    assert len(parts) == 2
    assert quick({**plan, "others": "whole"}) == 2  # tests of different kinds do not mix


def test_copies_of_training_images_fail(sets, quick, biq2021_root, tmp_path, capsys):
    """Test data are copies, under other names, of images that the model was trained on."""
    copies = tmp_path / "copies"
    copies.mkdir()
    for i, path in enumerate(sorted((biq2021_root / "Images").iterdir())):
        (copies / f"copy{i:02d}.jpg").write_bytes(path.read_bytes())
    scores = "".join(f"copy{i:02d}.jpg,{i}\n" for i in range(18))
    (copies / "ratings.csv").write_text(f"path,score\n{scores}")
    table = {"class_path": "TableDataModule", "init_args": {"root": str(copies), "labels": "ratings.csv"}}
    plan = {**sets, "sets": {"BIQ2021": sets["sets"]["BIQ2021"], "copies": table}, "train_on": ["BIQ2021"]}
    assert quick(plan) == 1
    reason = cell(tmp_path / "cross", "BIQ2021", "copies").failure
    assert reason.startswith("the model was trained or selected on 13 of these images, such as copy")
    assert not (tmp_path / "cross" / "BIQ2021_on_copies").exists()
    assert "| BIQ2021 | " in capsys.readouterr().out
    tested = [i for i, path in enumerate(sorted((biq2021_root / "Images").iterdir())) if "(50" in path.name]
    assert len(tested) == 5
    parts = "".join(f"copy{i:02d}.jpg,{i},{'test' if i in tested else 'train'}\n" for i in range(18))
    (copies / "ratings.csv").write_text(f"path,score,part\n{parts}")
    table["init_args"]["split_column"] = "part"
    assert (
        quick({**plan, "others": "test"}, out="parts") == 0
    )  # only copies of BIQ2021's test set, which the model has not seen
    assert cell(tmp_path / "parts", "BIQ2021", "copies").images == 5


def test_failed_training_affects_only_its_row(sets, quick, tmp_path, capsys):
    plan = {**sets, "sets": {name: sets["sets"][name] for name in ("BIQ2021", "mine")}}
    broken = plan["sets"]["mine"]["init_args"]["root"]
    image = Path(broken) / "4.png"
    whole = image.read_bytes()
    try:
        image.write_bytes(whole[:60])
        assert quick(plan) == 1
    finally:
        image.write_bytes(whole)
    out = tmp_path / "cross"
    assert np.isnan(cell(out, "BIQ2021", "BIQ2021").failure)
    assert "4.png: corrupt" in cell(out, "BIQ2021", "mine").failure
    markdown = (out / "cross.md").read_text()
    assert "| mine | failed | failed |" in markdown
    assert "| mine on BIQ2021, split0 | error: " in markdown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sets": {"a/b": {"class_path": "SyntheticDataModule"}}}, "sets: 'a/b' cannot name a folder"),
        ({"train_on": ["LIVE"]}, "train_on: ['LIVE']; use names in sets: BIQ2021, synthetic, mine"),
        ({"train_on": []}, "train_on: none; use names in sets"),
        ({"sets": {"a": {"class_path": "NoDataModule"}}}, "sets.a: "),
        ({"sets": {"a": {"class_path": "BIQ2021DataModule"}}}, "sets.a: "),
        ({"sets": {"a": {"class_path": "BIQ2021DataModule", "init_args": {"root": "gone"}}}}, "gone does not exist"),
        ({"others": "half"}, "others"),
        ({"color": 1}, "color"),
        ({"protocol": "crossed"}, "protocol: 'crossed' is not one of repeats, few_labels, cross"),
        ({"splits": 0}, "splits: 0; give at least 1"),
    ],
)
def test_invalid_file(change, message, sets, quick, tmp_path, capsys):
    assert quick({**sets, **change}) == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "cross").glob("*/split*"))
