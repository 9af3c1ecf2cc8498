"""Every output supports any file name that the file system allows."""

import csv
import json
import os

import numpy as np
import pytest
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from lml_iqa import FolderDataModule, LMLTask, QualityMaps, Report, TableDataModule
from lml_iqa.data_tools.contact_sheet import draw_sheet

NAMES = [
    os.fsdecode(b"caf\xe9 \xff.png"),  # not UTF-8
    "$x$ $\\frac{.png",
    "100%s %d.png",
    "quotes '\" `id`.png",
    "two\nlines\r.png",
    "é" * 125 + ".png",  # 254 bytes
    "l" * 251 + ".png",  # 255 bytes
    "\u202efdp.\u202c.png",  # right to left
    "日本語 🙂.png",
    "-rf; &<b>|.png",
    " spaces .png",
    "comma, semicolon; tab\t.png",
    "back\\slash.png",
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in NAMES:
        with (folder / name).open("wb") as file:
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file, "PNG")
    return folder


def trainer(folder, *callbacks):
    return Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=CSVLogger(folder, name="$run$ %s", version="1"),
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def make_task():
    seed_everything(0, verbose=False)
    return LMLTask(backbone="test_vit", pretrained=False, decoder_heads=4, embedding_dim=8)


OPTIONS = {"crop_size": 32, "crops": 2, "eval_crops": 2, "batch_size": 2}


def names_in(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return sorted(row["path"] for row in csv.DictReader(file))


@pytest.mark.parametrize("workers", [0, 1])
def test_prediction(images, tmp_path, workers, capsys):
    data = FolderDataModule(images, num_workers=workers, **OPTIONS)
    trainer(tmp_path, Report(), QualityMaps()).predict(make_task(), data)
    run = tmp_path / "$run$ %s" / "1"
    assert names_in(run / "predictions.csv") == sorted(NAMES)
    maps = sorted(path.name for path in (run / "maps").iterdir())
    assert len(maps) == len(NAMES)
    for name in maps:
        assert len(os.fsencode(name)) <= 255
        with Image.open(run / "maps" / name) as picture:
            picture.load()
    assert "$x$ $\\frac{.png.png" in maps
    assert capsys.readouterr().out.encode("utf-8")


def test_fit_and_test(images, tmp_path):
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "score", "ref"])
        writer.writerows([name, i, f"reference {i}"] for i, name in enumerate(NAMES) if name == name.strip())
    data = TableDataModule(images, labels, reference_column="ref", num_workers=0, test_fraction=0.4, **OPTIONS)
    run = trainer(tmp_path, Report(photographs=9))
    task = make_task()
    run.fit(task, datamodule=data)
    run.test(task, datamodule=data, verbose=False)
    folder = tmp_path / "$run$ %s" / "1"
    split = json.loads((folder / "split.json").read_text())
    assert sorted(split["test"]) == names_in(folder / "predictions.csv")
    again = TableDataModule(images, labels, reference_column="ref", split=folder / "split.json", **OPTIONS)
    assert again.split.digest(again.table) == data.split.digest(data.table)
    draw_sheet(tmp_path / "sheet", data.table, images=12)
    for path in (folder / "report.png", tmp_path / "sheet"):
        with Image.open(path) as picture:
            picture.load()
    assert not [path for path in folder.iterdir() if path.name.startswith(".") and path.name != ".lock"]
